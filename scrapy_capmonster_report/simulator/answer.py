"""What the simulator can say to a call, the documented and the unspeakable."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ending(Enum):
    """How an answer comes to its end, if it does."""

    FINISH = "finish"
    HANG = "hang"
    STALL = "stall"
    RESET = "reset"


@dataclass(frozen=True)
class Answer:
    """What the simulator says to one call.

    Made with one of the class methods below and handed to ``Simulator.answer_with``.

    Args:
        name: what ``Report.answer`` calls it: ``"success"``, the ``errorCode``, ``"http 503"``,
            ``"raw"``, ``"hang"``, ``"stall"`` or ``"reset"``.
    """

    name: str
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ending: Ending = Ending.FINISH

    @classmethod
    def json(cls, content: Mapping[str, object]) -> Answer:
        """HTTP 200 with *content* as JSON."""
        name = content.get("errorCode") or content.get("status") or "ok"
        headers = {"Content-Type": "application/json"}
        return cls(str(name), headers=headers, body=json.dumps(content).encode())

    @classmethod
    def error(cls, code: str) -> Answer:
        """The service's way to say no: HTTP 200, ``errorId`` 1 and *code*."""
        return cls.json({"errorId": 1, "errorCode": code})

    @classmethod
    def http(cls, status: int, **headers: str) -> Answer:
        """An empty HTTP answer, for example ``Answer.http(503, retry_after="5")``."""
        titled = {name.replace("_", "-").title(): value for name, value in headers.items()}
        return cls(f"http {status}", status, titled)

    @classmethod
    def raw(cls, body: bytes) -> Answer:
        """HTTP 200 with exactly these bytes, for example broken JSON."""
        return cls("raw", body=body)

    @classmethod
    def hang(cls) -> Answer:
        """Take the request and never say a word."""
        return cls("hang", ending=Ending.HANG)

    @classmethod
    def stall(cls) -> Answer:
        """Send the headers and the first byte of a body, and then nothing more."""
        headers = {"Content-Type": "application/json", "Content-Length": "100"}
        return cls("stall", headers=headers, body=b"{", ending=Ending.STALL)

    @classmethod
    def reset(cls) -> Answer:
        """Read the request, then reset the connection."""
        return cls("reset", ending=Ending.RESET)
