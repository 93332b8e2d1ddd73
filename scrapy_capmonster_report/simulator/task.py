"""The tasks the simulator was given, its answers to them, and the reports on those."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

IMAGE_REPORT: Final = "/reportIncorrectImageCaptcha"
TOKEN_REPORT: Final = "/reportIncorrectTokenCaptcha"
RECAPTCHA_REPORT: Final = "/reportIncorrectRecaptcha"
REPORTS: Final = (IMAGE_REPORT, TOKEN_REPORT, RECAPTCHA_REPORT)

_IMAGE_TYPES: Final = frozenset({"ImageToTextTask", "ComplexImageTask"})
#: The member of ``solution`` that carries the answer, by task type without "Proxyless". Where the
#: service has more of them (``CustomTask``, ``AmazonTask``: by what was asked), there is one here.
_SOLUTION_FIELDS: Final = {
    "ImageToTextTask": "text",
    "ComplexImageTask": "answer",
    "NoCaptchaTask": "gRecaptchaResponse",
    "RecaptchaV2Task": "gRecaptchaResponse",
    "RecaptchaV2EnterpriseTask": "gRecaptchaResponse",
    "RecaptchaV3Task": "gRecaptchaResponse",
    "RecaptchaV3EnterpriseTask": "gRecaptchaResponse",
    "HCaptchaTask": "gRecaptchaResponse",
    "GeeTestTask": "validate",
    "TurnstileTask": "token",
    "FunCaptchaTask": "token",
    "ProsopoTask": "token",
    "MTCaptchaTask": "token",
    "YidunTask": "token",
    "AmazonTask": "token",
    "BinanceTask": "token",
    "CustomTask": "token",
}
#: Of a made-up text, and of a wrong character: none that is easily taken for another.
_LETTERS: Final = "abcdefhkmnprtuvwxy34678"
_TEXT_LENGTH: Final = 5


@dataclass(frozen=True)
class Report:
    """One call of a report endpoint.

    Args:
        endpoint: the path that was called, for example ``"/reportIncorrectImageCaptcha"``.
        task_id: the ``taskId`` as it was sent, whatever its type; None if there was none.
        at: when, in seconds of the simulator's clock.
        answer: the name of the ``Answer`` that was given.
    """

    endpoint: str
    task_id: object
    at: float
    answer: str

    @property
    def accepted(self) -> bool:
        """Whether the service took it: as it takes a second report on the same task, too."""
        return self.answer == "success"


@dataclass
class SimulatedTask:
    """One task that was created, and what became of it.

    Args:
        id: the ``taskId``.
        task: the ``task`` object of ``createTask``, as it was sent.
        created: when, in seconds of the simulator's clock.
        answer: the answer that ``getTaskResult`` hands out.
        wrong: whether that answer was made wrong on purpose.
        reports: the accepted reports on it; more than one is a mistake of the reporter's.
    """

    id: int
    task: Mapping[str, Any] = field(repr=False)
    created: float
    answer: str
    wrong: bool
    reports: list[Report] = field(default_factory=list)

    @property
    def type(self) -> str:
        """The task's ``type``, for example ``"TurnstileTask"``."""
        return str(self.task["type"])

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The report endpoints that fit this type of task."""
        return (IMAGE_REPORT,) if is_picture(self.type) else (TOKEN_REPORT, RECAPTCHA_REPORT)

    @property
    def solution(self) -> dict[str, str | list[str]]:
        """The ``solution`` object of ``getTaskResult``."""
        member = _SOLUTION_FIELDS[_base(self.type)]
        # Several pictures have several answers; the page on ComplexImageTask has a list.
        return {member: [self.answer] if member == "answer" else self.answer}


def is_supported(task_type: object) -> bool:
    """Whether there are answers to tasks of this type."""
    return isinstance(task_type, str) and _base(task_type) in _SOLUTION_FIELDS


def is_picture(task_type: str) -> bool:
    """Whether tasks of this type ask what is on a picture, and not for a token."""
    return _base(task_type) in _IMAGE_TYPES


def has_body(task_type: str) -> bool:
    """Whether tasks of this type bring their picture in ``body``."""
    return _base(task_type) == "ImageToTextTask"


def made_up(random: Random, picture: bool) -> str:
    """A right answer to a task that nobody knows the answer of."""
    if picture:
        return "".join(random.choices(_LETTERS, k=_TEXT_LENGTH))
    return f"token-{random.getrandbits(128):032x}"


def spoilt(random: Random, right: str, picture: bool) -> str:
    """A wrong answer where *right* is the right one."""
    if not picture:
        return f"wrong-{random.getrandbits(128):032x}"
    position = random.randrange(max(len(right), 1))
    old = right[position : position + 1].casefold()
    new = random.choice([letter for letter in _LETTERS if letter != old])
    return right[:position] + new + right[position + 1 :]


def _base(task_type: str) -> str:
    return task_type.removesuffix("Proxyless")
