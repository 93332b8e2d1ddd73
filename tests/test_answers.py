"""What an answer of the service means: tables."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import CLIENT_KEY

from scrapy_capmonster_report.delivery.answer import (
    ERROR_CODES,
    ReportAnswer,
    Verdict,
    parse_retry_after,
    presentable,
    read_answer,
)

ACCEPTED = ReportAnswer(Verdict.ACCEPTED)
UNREADABLE = ReportAnswer(Verdict.RETRY, "an answer that is not the documented JSON")
REFUSALS = (Verdict.REFUSED, Verdict.STRIKE, Verdict.BAN, Verdict.STOP)
NOW = 784111777.0
"""RFC 9110's own example of a date: Sun, 06 Nov 1994 08:49:37 GMT."""


def read(status: int, body: Any, retry_after: str | None = None) -> ReportAnswer:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = read_answer(status, content, retry_after=retry_after, wall_now=NOW, secret=CLIENT_KEY)
    assert bool(answer.advice) == (answer.verdict in REFUSALS)
    return answer._replace(advice="")


def refused(code: str, verdict: Verdict = Verdict.REFUSED) -> ReportAnswer:
    return ReportAnswer(verdict, code)


def error(code: Any, error_id: Any = 1) -> dict[str, Any]:
    return {"errorId": error_id, "errorCode": code}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"errorId": 0, "status": "success"}, ACCEPTED),
        (201, {"errorId": 0, "status": "success", "more": [1]}, ACCEPTED),
        (200, {"errorId": 0, "errorCode": "", "status": "success"}, ACCEPTED),
        (200, {"errorId": 0, "errorCode": None, "status": "success"}, ACCEPTED),
        # No acceptance without both halves of it.
        (200, {"errorId": 0}, UNREADABLE),
        (200, {"errorId": 0, "status": "ready"}, UNREADABLE),
        (200, {"errorId": 0, "status": True}, UNREADABLE),
        (200, {"errorId": False, "status": "success"}, UNREADABLE),
        (200, {"errorId": "0", "status": "success"}, UNREADABLE),
        (200, {"errorId": None, "status": "success"}, UNREADABLE),
        (200, {"status": "success"}, UNREADABLE),
        (200, {}, UNREADABLE),
        (200, [], UNREADABLE),
        (200, None, UNREADABLE),
        (200, "success", UNREADABLE),
        (200, b"", UNREADABLE),
        (200, b"<html>", UNREADABLE),
        (200, b'{"errorId": 0, "status": "succ', UNREADABLE),
        (200, b"\xff\xfe\x00", UNREADABLE),
        (200, b"[" * 60_000, UNREADABLE),
        (200, b'{"errorId": ' + b"1" * 5000 + b"}", UNREADABLE),
        # An errorCode: never retried, whatever stands beside it.
        (200, error("ERROR_NEW"), refused("ERROR_NEW")),
        (200, error("ERROR_NEW", error_id=None), refused("ERROR_NEW")),
        (200, {**error("ERROR_NEW"), "status": "success"}, refused("ERROR_NEW")),
        (200, {"errorId": 1}, refused("no_error_code")),
        (200, error(""), refused("no_error_code")),
        (200, error(["x"]), refused("no_error_code")),
        (200, error("bad\r\nline\0" + "x" * 10_000), refused("bad__line_" + "x" * 54)),
        (200, error(f"no account {CLIENT_KEY}!"), refused("no_account_KEY_")),
        (400, error("ERROR_NEW"), refused("ERROR_NEW")),
        # HTTP's own word, where the service says nothing.
        (301, b"", refused("http_3xx")),
        (304, {"errorId": 0, "status": "success"}, refused("http_3xx")),
        (307, error("ERROR_NEW"), refused("http_3xx")),
        (400, b"", refused("http_4xx")),
        (401, {"errorId": 0, "status": "success"}, refused("http_4xx", Verdict.STRIKE)),
        (402, b"", refused("http_4xx", Verdict.STRIKE)),
        (403, b"<html>", refused("http_4xx", Verdict.STRIKE)),
        (403, error("ERROR_NEW"), refused("ERROR_NEW")),
        (403, {"errorId": 1}, refused("http_4xx", Verdict.STRIKE)),
        (402, error(None), refused("http_4xx", Verdict.STRIKE)),
        (404, b"<html>", refused("http_4xx")),
        (500, b"", ReportAnswer(Verdict.RETRY, "HTTP 500")),
        (502, error("ERROR_NEW"), ReportAnswer(Verdict.RETRY, "HTTP 502")),
        (504, {"errorId": 0, "status": "success"}, ReportAnswer(Verdict.RETRY, "HTTP 504")),
    ],
)
def test_read_answer(status: int, body: Any, expected: ReportAnswer) -> None:
    assert read(status, body) == expected


FINAL = [code for code, answer in ERROR_CODES.items() if not answer.verdict.is_retried]


@pytest.mark.parametrize("status", [200, 400, 403, 500, 503])
@pytest.mark.parametrize("code", ["ERROR_SERVICE_NOT_AVAILABLE", "ERROR_NO_SLOT_AVAILABLE"])
def test_a_service_in_trouble_is_asked_again(status: int, code: str) -> None:
    """Row 32."""
    assert read(status, error(code)) == ReportAnswer(Verdict.RETRY, code)
    told = read(status, error(code), "5")
    assert (told.verdict, told.wait) == (Verdict.THROTTLE, 5.0)


@pytest.mark.parametrize("status", [200, 307, 400, 401, 403, 429, 500, 503])
@pytest.mark.parametrize("code", FINAL)
def test_a_documented_code_counts_with_any_http_status(status: int, code: str) -> None:
    assert read(status, error(code), "5") == refused(code, ERROR_CODES[code].verdict)


@pytest.mark.parametrize("status", [200, 400, 429, 503])
def test_too_much_requests_makes_all_wait(status: int) -> None:
    answer = read(status, error("ERROR_TOO_MUCH_REQUESTS"), "5")
    assert answer == ReportAnswer(Verdict.THROTTLE, "ERROR_TOO_MUCH_REQUESTS", 5.0)


@pytest.mark.parametrize(
    ("status", "retry_after", "verdict", "wait"),
    [
        (429, None, Verdict.THROTTLE, None),
        (429, "5", Verdict.THROTTLE, 5.0),
        (429, "soon", Verdict.THROTTLE, None),
        (503, "5", Verdict.THROTTLE, 5.0),
        (503, None, Verdict.RETRY, None),
        (503, "soon", Verdict.RETRY, None),
        (500, "5", Verdict.THROTTLE, 5.0),
    ],
)
def test_retry_after_pauses_all(
    status: int, retry_after: str | None, verdict: Verdict, wait: float | None
) -> None:
    answer = read(status, b"", retry_after)
    assert (answer.verdict, answer.wait) == (verdict, wait)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("007", 7.0),
        ("9" * 5000, 999_999_999_999.0),
        # The three forms of a date, all of them in GMT whatever the machine's own zone.
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10.0),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10.0),
        ("Sun Nov  6 08:49:47 1994", 10.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Sun, 06 Nov 9999 08:49:37 GMT", 252613382400.0),
        *(
            (garbage, None)
            for garbage in (
                *(None, "", " ", "-3", "+3", "1.5", "1e9", "nan", "inf", "-inf", "5s", "5, 7"),
                *("soon", "٣", "²", "5\x00", "\xff", "0x10", "1_000", ",", "GMT", "Sun", "Sun,"),
                *("Sun, 06 Nox 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT"),
                *("Sun, 06 Nov -1 08:49:37 GMT", "1994-11-06T08:49:37Z"),
                "Sun, 06 Nov " + "9" * 400 + " 08:49:37 GMT",
            )
        ),
    ],
)
def test_parse_retry_after(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(alphabet=st.characters(max_codepoint=255), max_size=60))
@settings(derandomize=True, deadline=None)
def test_parse_retry_after_raises_at_nothing(value: str) -> None:
    seconds = parse_retry_after(value, NOW)
    assert seconds is None or seconds >= 0


@given(st.binary(max_size=200), st.integers(200, 599))
@settings(derandomize=True, deadline=None)
def test_read_answer_raises_at_nothing(body: bytes, status: int) -> None:
    assert read(status, body).verdict in Verdict


@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("ERROR_NEW", "ERROR_NEW"),
        ("http_4xx", "http_4xx"),
        ("a b/c\n\x1b[31m", "a_b_c___31m"),
        ("ошибка", "______"),
        ("x" * 10_000, "x" * 64),
        (CLIENT_KEY, "KEY"),
        (f"x{CLIENT_KEY}{CLIENT_KEY}", "xKEYKEY"),
        ("x" * 50 + CLIENT_KEY, "x" * 50 + "KEY"),
    ],
)
def test_presentable(code: str, shown: str) -> None:
    assert presentable(code, CLIENT_KEY) == shown


def test_presentable_hides_a_key_in_another_case() -> None:
    shown = presentable(f"ERROR_{CLIENT_KEY.upper()}\n{CLIENT_KEY.title()}", CLIENT_KEY)
    assert shown == "ERROR_KEY_KEY"


def test_presentable_hides_a_key_with_signs_of_its_own() -> None:
    assert presentable("no a+b/c here, nor a_b_c", "a+b/c") == "no_KEY_here__nor_KEY"
