"""The task whose answer a request submits: its id, its kind, when it was created and solved."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .text import closest_match

if TYPE_CHECKING:
    from collections.abc import Mapping

TASK_ID: Final = "taskId"
TASK_TYPE: Final = "taskType"
SOLVED_AT: Final = "taskSolvedAt"
CREATED_AT: Final = "taskCreatedAt"
DONT_REPORT: Final = "dont_report_captcha"

_MAX_ID: Final = 2**63 - 1
_MAX_ID_DIGITS: Final = len(str(_MAX_ID))
# Thirteen digits: milliseconds from 2001 to 2286. As seconds they would lie 30,000 years ahead.
_MIN_MILLISECONDS: Final = 1e12
_MAX_MILLISECONDS: Final = 1e13
_MAX_SECONDS_AHEAD: Final = 60.0
_MAX_NAME: Final = 80


class Kind(str, Enum):
    """What a report is about. It chooses the endpoint (see ``delivery.client.ENDPOINTS``).

    Source: the service's page "How to report bad tokens".
    """

    IMAGE = "image"
    TOKEN = "token"
    RECAPTCHA = "recaptcha"


class TaskType(NamedTuple):
    """What is known of a task's ``type``: its kind, and for how many seconds an answer is good."""

    kind: Kind
    lifetime: float | None = None


_TOKEN = TaskType(Kind.TOKEN)
# Google's verify page: a token is good for two minutes.
_RECAPTCHA = TaskType(Kind.TOKEN, 120.0)

_CUSTOM_TASK: Final = "CustomTask"
_CUSTOM_CLASSES: Final = (
    *("alibaba", "altcha", "Basilisk", "Castle", "DataDome"),
    *("friendly", "HUNT", "Imperva", "Temu", "tspd"),
)

#: The service's task types (its documentation, 2026) without the suffix "Proxyless", the known
#: classes of ``CustomTask``, and the kinds, which may be given as types too. Lifetimes come from
#: the documentation of the captchas' vendors; for the other types there is no general figure.
TASK_TYPES: Final[Mapping[str, TaskType]] = {
    **dict.fromkeys(("ImageToTextTask", "ComplexImageTask", "image"), TaskType(Kind.IMAGE)),
    **dict.fromkeys(("RecaptchaV2Task", "RecaptchaV2EnterpriseTask", "NoCaptchaTask"), _RECAPTCHA),
    **dict.fromkeys(("RecaptchaV3Task", "RecaptchaV3EnterpriseTask"), _RECAPTCHA),
    "recaptcha": TaskType(Kind.RECAPTCHA, _RECAPTCHA.lifetime),
    "TurnstileTask": TaskType(Kind.TOKEN, 300.0),  # Cloudflare, server-side validation
    "GeeTestTask": TaskType(Kind.TOKEN, 600.0),  # GeeTest's glossary: the v3 challenge
    "AmazonTask": TaskType(Kind.TOKEN, 300.0),  # AWS WAF's default immunity time
    "ProsopoTask": TaskType(Kind.TOKEN, 120.0),  # Prosopo's default; a site may set 1 to 600
    "CustomTask/TenDI": TaskType(Kind.TOKEN, 300.0),  # Tencent's SDK documentation
    **dict.fromkeys(("BinanceTask", "FunCaptchaTask", "HCaptchaTask"), _TOKEN),
    **dict.fromkeys(("MTCaptchaTask", "YidunTask", _CUSTOM_TASK, "token"), _TOKEN),
    **{f"{_CUSTOM_TASK}/{name}": _TOKEN for name in _CUSTOM_CLASSES},
}
_NAMES: Final[Mapping[str, str]] = {name.lower(): name for name in TASK_TYPES}


class Task(NamedTuple):
    """A CapMonster task whose answer a request submitted.

    Args:
        id: the ``taskId``.
        kind: chooses the endpoint.
        type: the ``taskType`` as the request gave it, or ``None``.
        solved_at: when it was solved, seconds since the epoch by :class:`~.clock.SteadyClock`.
        lifetime: for how many seconds after solving a site accepts such an answer; ``None`` if
            that is not known.
        created_at: when ``createTask`` was called, by the same clock; ``None`` if not known.
    """

    id: int
    kind: Kind
    type: str | None
    solved_at: float
    lifetime: float | None
    created_at: float | None = None


def captcha_meta(
    task_id: int | str,
    task_type: str | None = None,
    solved_at: float | None = None,
    created_at: float | None = None,
) -> dict[str, Any]:
    """The ``request.meta`` of a request that submits the answer of a CapMonster task.

    It checks nothing and raises nothing. A value that cannot be used is logged as a warning when
    the request is seen; a rejection with an unusable id is counted as ``withheld/invalid_task``.

    Args:
        task_id: the ``taskId`` that ``createTask`` returned.
        task_type: the task's ``type`` as given to ``createTask`` (``"TurnstileTask"``), for a
            ``CustomTask`` with its class (``"CustomTask/DataDome"``); or a kind (``"image"``,
            ``"token"``, ``"recaptcha"``).
        solved_at: when the task was solved, seconds since the epoch; now by default.
        created_at: when ``createTask`` was called, seconds since the epoch; left out by default.
    """
    meta: dict[str, Any] = {
        TASK_ID: task_id,
        SOLVED_AT: time.time() if solved_at is None else solved_at,
    }
    if task_type is not None:
        meta[TASK_TYPE] = task_type
    if created_at is not None:
        meta[CREATED_AT] = created_at
    return meta


def parse_task_id(value: object) -> int | None:
    """The task id that *value* stands for: an int, or a str of ASCII digits, from 1 to 2^63-1."""
    if isinstance(value, str):
        digits = value.lstrip("0")
        # The length first: int() raises an exception for thousands of digits.
        if len(digits) > _MAX_ID_DIGITS or not (digits.isascii() and digits.isdigit()):
            return None
        value = int(digits)
    elif not isinstance(value, int) or isinstance(value, bool):
        return None
    return int(value) if 1 <= value <= _MAX_ID else None


def parse_moment(value: object, now: float) -> float | None:
    """The moment that *value* stands for, seconds since the epoch, or ``None`` if it is unusable.

    Args:
        value: a number of seconds or, with thirteen digits, of milliseconds; or such a number as
            a str.
        now: this moment by the wall clock. A value more than a minute later is unusable.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        moment = float(value)
    except (ValueError, OverflowError):
        return None
    if _MIN_MILLISECONDS <= moment < _MAX_MILLISECONDS:
        moment /= 1000
    # Comparisons with NaN are False.
    return moment if 0 < moment <= now + _MAX_SECONDS_AHEAD else None


def task_type(name: object) -> TaskType | None:
    """What is known of a ``taskType``; ``None`` if it is unknown or not a str.

    Case does not matter. ``CustomTask`` may have any class: the service adds new ones.
    """
    if not isinstance(name, str):
        return None
    base, slash, custom_class = name.strip().lower().partition("/")
    base = base.removesuffix("proxyless")
    known = _NAMES.get(base + slash + custom_class)
    if known is None and custom_class and base == _CUSTOM_TASK.lower():
        known = _CUSTOM_TASK
    return TASK_TYPES[known] if known else None


def type_name(meta: Mapping[str, Any]) -> str | None:
    """The ``taskType`` in *meta* as the user wrote it; ``None`` if there is none."""
    name = meta.get(TASK_TYPE)
    return name if isinstance(name, str) else None


def retries(meta: Mapping[str, Any]) -> int:
    """How often Scrapy, or a middleware like its own, has sent the request again."""
    times = meta.get("retry_times")
    return times if isinstance(times, int) else 0


def closest_task_type(name: str) -> str | None:
    """The known task type or kind whose name is most like *name*, as the service spells it."""
    return closest_match(name[:_MAX_NAME].strip().lower().removesuffix("proxyless"), TASK_TYPES)


def read_task(
    meta: Mapping[str, Any],
    task_id: int,
    solved_at: float,
    created_at: float | None = None,
    fallback: Kind | None = None,
) -> Task:
    """The task that *meta* describes.

    Args:
        meta: ``request.meta``.
        task_id: its ``taskId``, parsed.
        solved_at: when it was solved, by :class:`~.clock.SteadyClock`.
        created_at: when it was created, by the same clock, if that is known.
        fallback: the kind if *meta* has no known type: that of the rule that matched.
    """
    name = type_name(meta)
    known = task_type(name) or (TASK_TYPES[fallback.value] if fallback else _TOKEN)
    return Task(task_id, known.kind, name, solved_at, known.lifetime, created_at)
