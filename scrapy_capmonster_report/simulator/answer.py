"""The answers of the stand-in, and its record of the reports."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

IMAGE_REPORT: Final = "/reportIncorrectImageCaptcha"
TOKEN_REPORT: Final = "/reportIncorrectTokenCaptcha"
RECAPTCHA_REPORT: Final = "/reportIncorrectRecaptcha"
REPORTS: Final = (IMAGE_REPORT, TOKEN_REPORT, RECAPTCHA_REPORT)


class SimulatedAnswer(NamedTuple):
    """The answer of the stand-in to one call; see ``Simulator.answer_with``.

    Args:
        name: its name in ``SimulatedReport.answer``. Three names have an effect: ``"hang"`` (read
            the request and never answer), ``"stall"`` (send the headers and the first byte of a
            body, and then nothing more) and ``"reset"`` (read the request, then reset the
            connection).
        status: the HTTP status.
        headers: the HTTP headers.
        body: the body, for example broken JSON.
    """

    name: str
    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b""

    @classmethod
    def json(cls, content: Any) -> SimulatedAnswer:
        """HTTP 200 with *content* as JSON."""
        members = content if isinstance(content, dict) else {}
        name = str(members.get("errorCode") or members.get("status") or "json")
        headers = {"Content-Type": "application/json"}
        return cls(name, headers=headers, body=json.dumps(content).encode())

    @classmethod
    def error(cls, code: str) -> SimulatedAnswer:
        """An error in the service's format: HTTP 200, ``errorId`` 1, *code* and a description."""
        return cls.json({"errorId": 1, "errorCode": code, "errorDescription": code})

    @classmethod
    def http(cls, status: int, **headers: str) -> SimulatedAnswer:
        """An empty HTTP answer, for example ``SimulatedAnswer.http(503, retry_after="5")``."""
        titled = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return cls(f"http {status}", status, titled)


class RefusedError(Exception):
    """The service refuses a call, with this ``errorCode`` and ``errorDescription``."""


class SimulatedReport(NamedTuple):
    """One call of a report endpoint.

    Args:
        endpoint: the path that was called, for example ``"/reportIncorrectImageCaptcha"``.
        task_id: the ``taskId`` as it was sent, of any type; None if there was none.
        at: when, in seconds of the simulator's clock.
        answer: the name of the ``SimulatedAnswer`` that was given.
    """

    endpoint: str
    task_id: object
    at: float
    answer: str

    @property
    def accepted(self) -> bool:
        """Whether the service accepted it: it accepts a second report on the same task, too."""
        return self.answer == "success"
