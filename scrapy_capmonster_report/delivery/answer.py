"""The service's answer to a report, and what follows from it."""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from twisted.web.http import stringToDatetime

if TYPE_CHECKING:
    from collections.abc import Mapping


class Verdict(Enum):
    """What the service's answer means for the report."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    RETRY = "retry"


class Reaction(Enum):
    """What the service's answer means for all later reports."""

    NONE = "none"
    STOP = "stop"
    """Send nothing for the rest of the crawl."""
    BAN = "ban"
    """Send nothing until the ban is over, then send one report."""
    STRIKE = "strike"
    """Several in a row would lead to a ban: pause before."""
    THROTTLE = "throttle"
    """Too many requests: all reports wait."""
    RETRY = "retry"
    """A temporary error, like HTTP 503."""


class ErrorCode(NamedTuple):
    """The reaction to a documented ``errorCode``, and what the user should do about it."""

    reaction: Reaction
    advice: str = ""


_UNKNOWN_TASK = ErrorCode(
    Reaction.STRIKE,
    "The tasks are unknown. Check that taskId is what createTask returned for this account, and "
    "that reports are sent within five minutes of the task's creation.",
)
_BANNED = ErrorCode(
    Reaction.BAN,
    "This IP address is banned because of too many bad requests. The ban also stops solving, and "
    "it ends only if nothing is sent.",
)

_TEMPORARY = ErrorCode(Reaction.RETRY)

# The service's documentation of errors and of what leads to a ban (2026). "CAPCHA" is its spelling.
ERROR_CODES: Final[Mapping[str, ErrorCode]] = {
    "ERROR_KEY_DOES_NOT_EXIST": ErrorCode(
        Reaction.STOP, "The account key is unknown. Check CAPMONSTER_CLIENT_KEY."
    ),
    "ERROR_IP_NOT_ALLOWED": ErrorCode(
        Reaction.STOP,
        "The account key may not be used from this IP address. Allow it in the account's settings.",
    ),
    "ERROR_IP_BANNED": _BANNED,
    "ERROR_IP_BLOCKED": _BANNED,
    "ERROR_ZERO_BALANCE": ErrorCode(Reaction.STRIKE, "The account has no funds. Top it up."),
    "ERROR_NO_SUCH_CAPCHA_ID": _UNKNOWN_TASK,
    "WRONG_CAPTCHA_ID": _UNKNOWN_TASK,
    "ERROR_WRONG_CAPTCHA_ID": _UNKNOWN_TASK,
    "ERROR_TOO_MUCH_REQUESTS": ErrorCode(Reaction.THROTTLE),
    "ERROR_SERVICE_NOT_AVAILABLE": _TEMPORARY,
    "ERROR_NO_SLOT_AVAILABLE": _TEMPORARY,
}

# According to public reports, for a wrong key and for no funds; perhaps without JSON.
_UNAUTHORISED: Final = (401, 402, 403)
_UNAUTHORISED_ADVICE: Final = "Check CAPMONSTER_CLIENT_KEY and the account's balance."
_REFUSED_ADVICE: Final = (
    "If it refuses every report, there is something wrong with all of them or with the account."
)

_NO_CODE: Final = "no_error_code"
_MAX_CODE_LENGTH: Final = 64


class ReportAnswer(NamedTuple):
    """The service's answer to a report.

    Args:
        verdict: what it means for the report.
        code: the ``errorCode`` (or the HTTP status class) of a refused report, safe to show.
        reaction: what it means for all later reports.
        wait: seconds until the service may be asked again (``Retry-After``).
        reason: why the report is retried, in words for the log.
        advice: what the user should do if the answer pauses reporting.
    """

    verdict: Verdict
    code: str | None = None
    reaction: Reaction = Reaction.NONE
    wait: float | None = None
    reason: str = ""
    advice: str = ""


def read_answer(
    status: int, body: bytes, *, retry_after: str | None, wall_now: float, secret: str
) -> ReportAnswer:
    """Read the answer to a report.

    Args:
        status: the HTTP status.
        body: the whole body; empty if it was too long to be read.
        retry_after: the ``Retry-After`` header.
        wall_now: seconds since the epoch, for a date in *retry_after*.
        secret: the account key, which is masked if the service echoes it.
    """
    fields = _json_object(body)
    code = _error_code(fields)
    known = ERROR_CODES.get(code) if code else None
    wait = parse_retry_after(retry_after, wall_now)
    if known and known.reaction not in (Reaction.THROTTLE, Reaction.RETRY):
        # Before the HTTP status: a ban may come as a 429.
        return ReportAnswer(Verdict.REFUSED, code, known.reaction, advice=known.advice)
    if status == 429 or (known and known.reaction is Reaction.THROTTLE):
        return ReportAnswer(
            Verdict.RETRY, reaction=Reaction.THROTTLE, wait=wait, reason="too many requests"
        )
    if 300 <= status < 400:
        # Not followed: the key is sent to no other host. A retry would be redirected again.
        return _refused("http_3xx")
    if status >= 500 or known:
        reaction = Reaction.NONE if wait is None else Reaction.THROTTLE
        reason = code if known and code else f"HTTP {status}"
        return ReportAnswer(Verdict.RETRY, reaction=reaction, wait=wait, reason=reason)
    if code:
        return _refused(presentable(code, secret))
    if status in _UNAUTHORISED:
        advice = f"The status was {status}. {_UNAUTHORISED_ADVICE}"
        return ReportAnswer(Verdict.REFUSED, "http_4xx", Reaction.STRIKE, advice=advice)
    if status >= 400:
        return _refused("http_4xx")
    if fields.get("errorId") and isinstance(fields["errorId"], int):
        return _refused(_NO_CODE)
    if _is_success(fields):
        return ReportAnswer(Verdict.ACCEPTED)
    return ReportAnswer(Verdict.RETRY, reason="an answer that is not the documented JSON")


def _refused(code: str) -> ReportAnswer:
    return ReportAnswer(Verdict.REFUSED, code, advice=_REFUSED_ADVICE)


def presentable(code: str, secret: str) -> str:
    """An unknown *code* for stats and logs: plain, short, without the key."""
    # Twice, in case control characters were hiding the key.
    for key in (secret, _plain(secret)):
        code = _plain(re.sub(re.escape(key), "KEY", code, flags=re.IGNORECASE))
    return code[:_MAX_CODE_LENGTH]


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", text)


def parse_retry_after(value: str | None, wall_now: float) -> float | None:
    """The seconds to wait by a ``Retry-After`` header; ``None`` if it is missing or invalid.

    Both forms of RFC 9110, 10.2.3: whole seconds, or a date (0 if it is in the past).
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment: int = stringToDatetime(text.encode())
        return max(0.0, moment - wall_now)
    except (ValueError, IndexError, OverflowError):
        return None


def _json_object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _error_code(fields: dict[str, object]) -> str | None:
    """The ``errorCode`` of an answer with an error."""
    code = fields.get("errorCode")
    return code if fields.get("errorId") != 0 and isinstance(code, str) and code else None


def _is_success(fields: dict[str, object]) -> bool:
    error_id = fields.get("errorId")
    return error_id == 0 and not isinstance(error_id, bool) and fields.get("status") == "success"
