"""The tasks of the stand-in: what the service accepts as a task, and how it is answered."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from .answer import IMAGE_REPORT, RECAPTCHA_REPORT, TOKEN_REPORT, RefusedError, SimulatedReport

#: What the URL of a site looks like; the group is its host.
URL: Final = re.compile(r"https?://(\[[^]]*\]|[^/?#:\s]+)")

# The service's ``solution`` objects (its documentation of each captcha, 2026), by type without
# "Proxyless" and, where that makes a difference, by another member of the task.
_SOLUTIONS: Final = json.loads(Path(__file__).with_name("solutions.json").read_text("utf-8"))
_IMAGE_TYPES: Final = ("ImageToTextTask", "ComplexImageTask")


@dataclass
class SimulatedTask:
    """One task that was created, with its answer and its reports.

    Args:
        id: the ``taskId``.
        task: the ``task`` object of ``createTask``, as it was sent.
        created: when, in seconds of the simulator's clock.
        answer: the answer that a site checks: a str, or the list of a ``ComplexImageTask``.
        wrong: whether that answer was made wrong on purpose.
        reports: the accepted reports on it; more than one is a mistake of the reporter.
        polls: how often ``getTaskResult`` was called for it.
    """

    id: int
    task: dict[str, Any] = field(repr=False)
    created: float
    answer: Any
    wrong: bool
    reports: list[SimulatedReport] = field(default_factory=list)
    polls: int = 0

    @property
    def type(self) -> str:
        """The task's ``type``; for a ``CustomTask`` with its class: ``"CustomTask/DataDome"``."""
        name = str(self.task["type"])
        return f"CustomTask/{self.task['class']}" if name.startswith("CustomTask") else name

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The report endpoints that fit this type of task."""
        picture = self.type.startswith(_IMAGE_TYPES)
        return (IMAGE_REPORT,) if picture else (TOKEN_REPORT, RECAPTCHA_REPORT)

    @property
    def solution(self) -> dict[str, Any]:
        """The ``solution`` object of ``getTaskResult``."""
        host, answer = URL.match(str(self.task.get("websiteURL"))), json.dumps(self.answer)
        text = json.dumps(_SOLUTIONS[_solution_name(self.task)]).replace('"{answer}"', answer)
        text = text.replace("{answer}", answer[1:-1])
        text = text.replace("{host}", json.dumps(host[1] if host else "")[1:-1])
        return dict(json.loads(text))

    @property
    def result(self) -> dict[str, Any]:
        """The result of ``getTaskResult`` when it is solved."""
        return {"errorId": 0, "status": "ready", "solution": self.solution, "cost": 0.0006}

    @property
    def summary(self) -> dict[str, Any]:
        """The entry of this task in ``GET /simulator/tasks``."""
        result = {"answer": self.answer, "wrong": self.wrong, "reported": bool(self.reports)}
        return {"taskId": self.id, "type": self.type, **result}


def check_task(task: Any) -> None:
    """Check the ``task`` object of a ``createTask``.

    Raises:
        RefusedError: the service does not solve such a task, or a required member is missing.
    """
    if not isinstance(task, dict):
        raise RefusedError("ERROR_TASK_ABSENT", "The task object is missing")
    name = _solution_name(task)
    if name is None:
        code = "ERROR_INVALID_TASK" if task.get("type") == "CustomTask" else "ERROR_NO_SUCH_METHOD"
        raise RefusedError(code, "The type or class of the task does not exist")
    if not name.startswith(_IMAGE_TYPES):
        if not URL.match(str(task.get("websiteURL"))):
            raise RefusedError("ERROR_INVALID_TASK", "websiteURL must be an http or https URL")
    elif not task.get("imageUrls"):
        listed = task.get("imagesBase64")
        pictures = listed if listed and isinstance(listed, list) else [task.get("body")]
        sizes = [len(str(picture).rstrip("=")) * 3 // 4 for picture in pictures]
        if min(sizes) < 100:
            raise RefusedError("ERROR_ZERO_CAPTCHA_FILESIZE", "The picture is below 100 bytes")
        if max(sizes) > 50 * 1024:
            raise RefusedError("ERROR_TOO_BIG_CAPTCHA_FILESIZE", "The picture is above 50 KB")


def _solution_name(task: dict[str, Any]) -> str | None:
    base = str(task.get("type")).removesuffix("Proxyless")
    if "/" in base:  # the names of solutions have one, types do not
        return None
    names = [f"{base}/{member}={value}" for member, value in task.items()]
    return next((name for name in (*names, base) if name in _SOLUTIONS), None)


def right_answer(number: int, task: dict[str, Any]) -> Any:
    """A right answer made from *number*, which has 128 random bits."""
    drawn = f"{number:032x}"
    if not task["type"].startswith("ComplexImageTask"):
        return drawn[:5] if task["type"].startswith("ImageToTextTask") else f"token-{drawn}"
    if task.get("class") == "recognition":
        return [{"X": number % 300, "Y": number % 199}]
    return [digit in "02468ace" for digit in drawn[:9]]


def wrong_answer(right: Any, task_type: str) -> Any:
    """A wrong answer that looks as good as *right*."""
    if isinstance(right, list):
        return right[::-1] if right[::-1] != right else [*right, *right[:1]]
    if not task_type.startswith(_IMAGE_TYPES):
        return f"wrong-{right}"
    # Not only in case: a site may ignore it.
    return ("y" if right.casefold().startswith("x") else "x") + right[1:]
