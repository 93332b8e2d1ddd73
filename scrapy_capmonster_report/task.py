"""The task a request carries: whose answer it submits, of what kind, since when."""

from __future__ import annotations

import math
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_ID: Final = "taskId"
TASK_TYPE: Final = "taskType"
SOLVED_AT: Final = "taskSolvedAt"
DONT_REPORT: Final = "dont_report_captcha"

_MAX_ID: Final = 2**63 - 1
_MAX_ID_DIGITS: Final = len(str(_MAX_ID))


class Kind(str, Enum):
    """What a report is about; it chooses the endpoint (see ``delivery.api.ENDPOINTS``).

    Source: the service's page "How to report bad tokens".
    """

    IMAGE = "image"
    TOKEN = "token"
    RECAPTCHA = "recaptcha"


class TaskType(NamedTuple):
    """What is known of a task's ``type``: its kind, and for how many seconds an answer is good."""

    kind: Kind
    lifetime: float | None = None


# Google's verify page: a token is good for two minutes.
_RECAPTCHA = TaskType(Kind.TOKEN, 120.0)
_TOKEN = TaskType(Kind.TOKEN)
_IMAGE = TaskType(Kind.IMAGE)

# The vendor's task types and the endpoint that fits (its documentation, 2026), under their names
# in lower case and without "Proxyless", which any of them may carry. Lifetimes from the pages of
# those who issue the captchas; images and the rest have no general figure.
TASK_TYPES: Final[Mapping[str, TaskType]] = {
    "imagetotexttask": _IMAGE,
    "compleximagetask": _IMAGE,
    "recaptchav2task": _RECAPTCHA,
    "recaptchav2enterprisetask": _RECAPTCHA,
    "recaptchav3task": _RECAPTCHA,
    "recaptchav3enterprisetask": _RECAPTCHA,
    "nocaptchatask": _RECAPTCHA,
    "turnstiletask": TaskType(Kind.TOKEN, 300.0),  # Cloudflare, server-side validation
    "geetesttask": TaskType(Kind.TOKEN, 600.0),  # GeeTest's glossary: the v3 challenge
    "amazontask": TaskType(Kind.TOKEN, 300.0),  # AWS WAF's default immunity time
    "prosopotask": TaskType(Kind.TOKEN, 180.0),  # Prosopo's documentation
    "customtask": _TOKEN,
    "funcaptchatask": _TOKEN,
    "hcaptchatask": _TOKEN,
    "binancetask": _TOKEN,
    "mtcaptchatask": _TOKEN,
    "yiduntask": _TOKEN,
    # The kinds themselves are types too, for those who know no more.
    "image": _IMAGE,
    "token": _TOKEN,
    "recaptcha": TaskType(Kind.RECAPTCHA, _RECAPTCHA.lifetime),
}


class Task(NamedTuple):
    """A CapMonster task whose answer a request submitted.

    Args:
        id: the ``taskId``.
        kind: chooses the endpoint.
        type: the ``taskType`` as the request gave it, or ``None``.
        solved_at: when it was solved, seconds since the epoch by :class:`~.clock.SteadyClock`.
        lifetime: for how many seconds after solving a site takes such an answer; ``None`` where
            nobody says.
    """

    id: int
    kind: Kind
    type: str | None
    solved_at: float
    lifetime: float | None


def captcha_meta(
    task_id: int | str, task_type: str | None = None, solved_at: float | None = None
) -> dict[str, Any]:
    """The ``request.meta`` of a request that submits the answer of a CapMonster task.

    It raises nothing into the crawl: what cannot be an id is counted when its answer is refused
    (``withheld/invalid_task``).

    Args:
        task_id: the ``taskId`` that ``createTask`` returned.
        task_type: the task's ``type``, as ``createTask`` was given it (``"TurnstileTask"``), or
            a kind (``"image"``, ``"token"``, ``"recaptcha"``).
        solved_at: when the answer was ready, seconds since the epoch; now by default.
    """
    meta: dict[str, Any] = {
        TASK_ID: task_id,
        SOLVED_AT: time.time() if solved_at is None else solved_at,
    }
    if task_type is not None:
        meta[TASK_TYPE] = task_type
    return meta


def parse_task_id(value: object) -> int | None:
    """The task id that *value* stands for: an int, or a str of ASCII digits, from 1 to 2^63-1."""
    if isinstance(value, str):
        digits = value.lstrip("0")
        # The length first: int() refuses thousands of digits with an exception.
        if len(digits) > _MAX_ID_DIGITS or not (digits.isascii() and digits.isdigit()):
            return None
        value = int(digits)
    elif not isinstance(value, int) or isinstance(value, bool):
        return None
    return int(value) if 1 <= value <= _MAX_ID else None


def parse_solved_at(value: object) -> float | None:
    """The moment that *value* stands for, seconds since the epoch, or ``None`` if it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        moment = float(value)
    except OverflowError:
        return None
    return moment if math.isfinite(moment) and moment > 0 else None


def task_type(meta: Mapping[str, Any]) -> TaskType | None:
    """What is known of the ``taskType`` in *meta*; ``None`` without one, or an unknown one."""
    name = meta.get(TASK_TYPE)
    if not isinstance(name, str):
        return None
    return TASK_TYPES.get(name.strip().lower().removesuffix("proxyless"))


def read_task(
    meta: Mapping[str, Any], task_id: int, solved_at: float, fallback: Kind | None = None
) -> Task:
    """The task that *meta* describes.

    Args:
        meta: ``request.meta``.
        task_id: its ``taskId``, parsed.
        solved_at: when it was solved, by :class:`~.clock.SteadyClock`.
        fallback: the kind, where *meta* has no known type: that of the rule that matched.
    """
    known = task_type(meta) or (TASK_TYPES[fallback.value] if fallback else _TOKEN)
    name = meta.get(TASK_TYPE)
    return Task(
        task_id,
        known.kind,
        name if isinstance(name, str) else None,
        solved_at,
        known.lifetime,
    )
