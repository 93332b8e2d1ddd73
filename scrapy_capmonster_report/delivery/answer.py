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
    """What the service's answer means for the report, and for all later ones."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    STRIKE = "strike"
    """Refused. Several in a row would lead to a ban: pause before."""
    BAN = "ban"
    """Refused. Send nothing until the ban is over, then send one report."""
    STOP = "stop"
    """Refused. Send nothing for the rest of the crawl."""
    RETRY = "retry"
    """Not delivered because of a temporary error."""
    THROTTLE = "throttle"
    """Not delivered: too many requests. All reports wait."""

    @property
    def is_retried(self) -> bool:
        """Whether the report is sent again."""
        return self in (Verdict.RETRY, Verdict.THROTTLE)


class ReportAnswer(NamedTuple):
    """The service's answer to a report.

    Args:
        verdict: what it means.
        reason: why the report was not accepted: the ``errorCode``, or in other words; safe to show.
        wait: seconds until the service may be asked again (``Retry-After``).
        advice: what the user should do if the answer pauses reporting.
    """

    verdict: Verdict
    reason: str = ""
    wait: float | None = None
    advice: str = ""


_UNKNOWN_TASK = ReportAnswer(
    Verdict.STRIKE,
    advice="The tasks are unknown. Check that taskId is what createTask returned for this account, "
    "and that reports are sent within five minutes of the task's creation.",
)
_BANNED = ReportAnswer(
    Verdict.BAN,
    advice="This IP address is banned because of too many bad requests. The ban also stops "
    "solving, and it ends only if nothing is sent.",
)

_TEMPORARY = ReportAnswer(Verdict.RETRY)

# The service's documentation of errors and of what leads to a ban (2026). "CAPCHA" is its spelling.
ERROR_CODES: Final[Mapping[str, ReportAnswer]] = {
    "ERROR_KEY_DOES_NOT_EXIST": ReportAnswer(
        Verdict.STOP, advice="The account key is unknown. Check CAPMONSTER_CLIENT_KEY."
    ),
    "ERROR_IP_NOT_ALLOWED": ReportAnswer(
        Verdict.STOP,
        advice="The account key may not be used from this IP address. Allow it in the account's "
        "settings.",
    ),
    "ERROR_IP_BANNED": _BANNED,
    "ERROR_IP_BLOCKED": _BANNED,
    "ERROR_ZERO_BALANCE": ReportAnswer(
        Verdict.STRIKE, advice="The account has no funds. Top it up."
    ),
    "ERROR_NO_SUCH_CAPCHA_ID": _UNKNOWN_TASK,
    "WRONG_CAPTCHA_ID": _UNKNOWN_TASK,
    "ERROR_WRONG_CAPTCHA_ID": _UNKNOWN_TASK,
    "ERROR_TOO_MUCH_REQUESTS": ReportAnswer(Verdict.THROTTLE),
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


def read_answer(
    status: int, body: bytes, *, retry_after: str | None, wall_now: float, secret: str
) -> ReportAnswer:
    """Read the answer to a report.

    Args:
        status: the HTTP status.
        body: the whole body.
        retry_after: the ``Retry-After`` header.
        wall_now: seconds since the epoch, for a date in *retry_after*.
        secret: the account key, which is masked if the service echoes it.
    """
    answer = _read(status, _json_object(body), secret)
    wait = parse_retry_after(retry_after, wall_now)
    if wait is not None and answer.verdict.is_retried:
        return answer._replace(verdict=Verdict.THROTTLE, wait=wait)
    return answer


def _read(status: int, fields: dict[str, object], secret: str) -> ReportAnswer:
    code = _error_code(fields)
    if code in ERROR_CODES:
        # Before the HTTP status: a ban may come as a 429.
        return ERROR_CODES[code]._replace(reason=code)
    if status == 429:
        return ReportAnswer(Verdict.THROTTLE, "too many requests")
    if status >= 500:
        return ReportAnswer(Verdict.RETRY, f"HTTP {status}")
    if 300 <= status < 400:
        # Not followed: the key is sent to no other host. A retry would be redirected again.
        return _refused("http_3xx")
    if code:
        return _refused(presentable(code, secret))
    if status in _UNAUTHORISED:
        advice = f"The status was {status}. {_UNAUTHORISED_ADVICE}"
        return ReportAnswer(Verdict.STRIKE, "http_4xx", advice=advice)
    if status >= 400:
        return _refused("http_4xx")
    if fields.get("errorId") and isinstance(fields["errorId"], int):
        return _refused(_NO_CODE)
    if _is_success(fields):
        return ReportAnswer(Verdict.ACCEPTED)
    return ReportAnswer(Verdict.RETRY, "an answer that is not the documented JSON")


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


def _error_code(fields: dict[str, object]) -> str:
    """The ``errorCode`` of an answer with an error; ``""`` if there is none."""
    code = fields.get("errorCode")
    return code if fields.get("errorId") != 0 and isinstance(code, str) else ""


def _is_success(fields: dict[str, object]) -> bool:
    error_id = fields.get("errorId")
    return error_id == 0 and not isinstance(error_id, bool) and fields.get("status") == "success"
