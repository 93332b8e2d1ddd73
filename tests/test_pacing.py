"""When sending pauses and goes on."""

from __future__ import annotations

import logging
import math

import pytest
from contexts import context
from scripted import LOST, OK, coded, throttled

from scrapy_capmonster_report.delivery.answer import ReportAnswer, Verdict
from scrapy_capmonster_report.delivery.pacing import (
    BAN_SECONDS,
    MAX_REFUSALS,
    MAX_STRIKES,
    PAUSE_SECONDS,
    QUIET_SECONDS,
    Pacing,
)

STOP = coded("ERROR_KEY_DOES_NOT_EXIST")
BAN = coded("ERROR_IP_BANNED")
STRIKE = coded("WRONG_CAPTCHA_ID")
OTHER = ReportAnswer(Verdict.REFUSED, "ERROR_NEW")


def pacing(concurrency: int = 4, max_age: float = 300.0, *, answered: bool = True) -> Pacing:
    """One that backs off for 0.5, 1, 2, 4 … seconds."""
    made = Pacing(context(concurrency=concurrency, max_age=max_age))
    if answered:
        made.learn(OK, 0.0, is_probe=False)
    return made


def learn(pacing: Pacing, *answers: ReportAnswer, at: float = 0.0, probe: bool = False) -> None:
    for answer in answers:
        pacing.learn(answer, at, is_probe=probe)


def told(*answers: ReportAnswer, at: float = 0.0) -> Pacing:
    """A pacing that got to know these *answers*, all at one moment."""
    made = pacing()
    learn(made, *answers, at=at)
    made.stop_backing_off()
    return made


@pytest.mark.parametrize(
    ("answers", "open_until"),
    [
        ([], None),
        ([OK], None),
        ([LOST] * 50, None),
        ([throttled("5")] * 50, None),
        ([OTHER] * (MAX_REFUSALS - 1), None),
        ([OTHER] * MAX_REFUSALS, PAUSE_SECONDS),
        ([*[OTHER] * (MAX_REFUSALS - 1), LOST, OTHER], PAUSE_SECONDS),
        ([*[OTHER] * (MAX_REFUSALS - 1), OK, OTHER], None),
        ([STOP], math.inf),
        ([coded("ERROR_IP_NOT_ALLOWED")], math.inf),
        ([BAN], BAN_SECONDS),
        ([coded("ERROR_IP_BLOCKED")], BAN_SECONDS),
        ([STRIKE] * (MAX_STRIKES - 1), None),
        ([STRIKE] * MAX_STRIKES, PAUSE_SECONDS),
        ([coded("ERROR_ZERO_BALANCE")] * MAX_STRIKES, PAUSE_SECONDS),
        ([coded("ERROR_NO_SUCH_CAPCHA_ID")] * MAX_STRIKES, PAUSE_SECONDS),
        ([coded("ERROR_WRONG_CAPTCHA_ID")] * MAX_STRIKES, PAUSE_SECONDS),
        # Whatever the kinds of strikes: it is their number that ends in a ban.
        ([STRIKE, coded("ERROR_ZERO_BALANCE")] * 3, PAUSE_SECONDS),
        # In a row: any other answer from the service begins a new count.
        (([STRIKE] * (MAX_STRIKES - 1) + [OK]) * 3, None),
        (([STRIKE] * (MAX_STRIKES - 1) + [OTHER]) * 3, None),
        # No answer at all says nothing about the strikes before it.
        ([*[STRIKE] * (MAX_STRIKES - 1), LOST, STRIKE], PAUSE_SECONDS),
        # The longest silence that was asked for holds.
        ([BAN, *[STRIKE] * MAX_STRIKES], BAN_SECONDS),
        ([*[STRIKE] * MAX_STRIKES, BAN], BAN_SECONDS),
        ([BAN, STOP, BAN], math.inf),
        # What was under way when it opened does not close it.
        ([BAN, OK, OTHER, LOST], BAN_SECONDS),
    ],
)
def test_what_opens_the_breaker(answers: list[ReportAnswer], open_until: float | None) -> None:
    pacing = told(*answers)
    assert pacing.is_paused == (open_until is not None)
    assert pacing.is_stopped == (open_until == math.inf)
    if open_until is None:
        assert pacing.paused_until == -math.inf
    else:
        assert pacing.paused_until == open_until
        assert pacing.allowed(min(open_until - 0.001, 1e12)) == 0
        assert math.isinf(open_until) or pacing.allowed(open_until) == 1


@pytest.mark.parametrize(
    ("probed", "open_until"),
    [
        (OK, None),
        (OTHER, None),
        (STRIKE, 1000 + 2 * PAUSE_SECONDS),
        (LOST, 1000 + 2 * PAUSE_SECONDS),
        (throttled("5"), 1000 + 2 * PAUSE_SECONDS),
        (BAN, 1000 + BAN_SECONDS),
        (STOP, math.inf),
    ],
)
def test_one_probe_decides(probed: ReportAnswer, open_until: float | None) -> None:
    pacing = told(*[STRIKE] * MAX_STRIKES)
    pacing.learn(probed, 1000.0, is_probe=True)
    assert pacing.is_paused == (open_until is not None)
    assert open_until is None or pacing.paused_until == open_until


def test_the_pause_doubles_with_each_failed_probe_up_to_a_bans_length() -> None:
    pacing = told(*[STRIKE] * MAX_STRIKES)
    pauses, now = [], pacing.paused_until
    for _ in range(5):
        pacing.learn(STRIKE, now, is_probe=True)
        pauses.append(pacing.paused_until - now)
        now = pacing.paused_until
    assert pauses == [120, 240, 480, 600, 600]
    pacing.learn(OK, now, is_probe=True)
    for _ in range(MAX_STRIKES):
        pacing.learn(STRIKE, now, is_probe=False)
    assert pacing.paused_until - now == PAUSE_SECONDS


# -- how many at once ----------------------------------------------------------------------------


def test_one_goes_first_until_the_service_has_answered() -> None:
    """Row 33; and in an outage each failure is one of all."""
    g = pacing(answered=False)
    assert g.allowed(0.0) == 1
    learn(g, LOST)
    assert [g.allowed(t) for t in (0.4, 0.5)] == [0, 1]
    learn(g, throttled("5"), at=1.0)
    assert [g.allowed(t) for t in (5.9, 6.0)] == [0, 1]
    learn(g, OTHER, at=7.0)
    assert g.allowed(7.0) == 4


def test_it_lets_as_many_through_as_are_allowed() -> None:
    g = pacing()
    assert g.allowed(0.0) == 4
    learn(g, BAN)
    assert [g.allowed(t) for t in (0, 599.9, 600)] == [0, 0, 1]
    learn(g, OK, at=600.0, probe=True)
    assert g.allowed(600.0) == 4


@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [
        ("5", 5),
        (" 7 ", 7),
        ("Thu, 01 Jan 1970 00:00:30 GMT", 30),
        ("100000", 300),  # never past the age limit
        ("9" * 300, 300),
        *((own, 0.5) for own in (None, "0", "-3", "nan", "inf", "1e9", "soon")),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 300),
    ],
)
def test_a_429_pauses_all_for_as_long_as_it_says(retry_after: str | None, pause: float) -> None:
    g = pacing()
    learn(g, throttled(retry_after))
    assert g.opens_at == pause
    assert [g.allowed(t) for t in (0, pause - 0.01, pause)] == [0, 0, 4]


def test_a_date_in_the_past_is_no_pause_so_the_own_backoff_holds() -> None:
    g = pacing()
    learn(g, throttled("Sun, 06 Nov 1994 08:49:37 GMT", wall_now=1e9))
    assert g.opens_at == 0.5


def test_the_answers_of_one_round_are_one_throttling_and_later_ones_pause_longer() -> None:
    g = pacing()
    learn(g, *[throttled(None)] * 4, at=0.0)
    assert g.opens_at == 0.5
    learn(g, throttled(None), at=1.0)
    assert g.opens_at == 2
    learn(g, throttled(None), at=3.0)
    assert g.opens_at == 5
    learn(g, OK, throttled(None), at=7.0)
    assert g.opens_at == 7.5


def test_a_shorter_pause_does_not_cut_a_longer_one_short() -> None:
    g = pacing()
    learn(g, throttled("50"), throttled("5"), OK)
    assert g.opens_at == 50


def test_a_round_of_failures_pauses_all_and_a_success_ends_it() -> None:
    g = pacing(concurrency=3)
    learn(g, LOST, LOST)
    assert g.allowed(0.0) == 3
    learn(g, LOST)
    assert [g.allowed(t) for t in (0.4, 0.5)] == [0, 3]
    learn(g, LOST, LOST, LOST, at=1.0)
    assert g.opens_at == 2
    learn(g, OK, at=1.5)
    assert g.allowed(1.5) == 3


def test_closing_ends_our_own_pause_but_not_one_that_was_asked_for() -> None:
    ours, asked = pacing(concurrency=1), pacing(concurrency=1)
    learn(ours, LOST)
    learn(asked, throttled("5"))
    for g in (ours, asked):
        g.stop_backing_off()
    assert (ours.allowed(0.0), asked.allowed(0.0)) == (1, 0)


# -- what the log says -----------------------------------------------------------------------


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(record.levelno, record.getMessage()) for record in caplog.records]


@pytest.mark.parametrize(
    ("answer", "level", "words"),
    [
        (STOP, logging.ERROR, ["rest of this crawl", "CAPMONSTER_CLIENT_KEY"]),
        (coded("ERROR_IP_NOT_ALLOWED"), logging.ERROR, ["this crawl", "account's settings"]),
        (BAN, logging.ERROR, ["600 seconds", "ERROR_IP_BANNED"]),
        (STRIKE, logging.WARNING, ["60 seconds", "WRONG_CAPTCHA_ID", "createTask"]),
        (coded("ERROR_ZERO_BALANCE"), logging.WARNING, ["60 seconds", "Top it up"]),
    ],
)
def test_one_line_says_why_sending_stops_and_what_to_do(
    answer: ReportAnswer, level: int, words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    learn(pacing(), *[answer] * MAX_STRIKES * 2)
    [(found, text)] = lines(caplog)
    assert found == level
    assert [word for word in words if word not in text] == []


def test_one_line_when_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    g = pacing()
    learn(g, BAN)
    learn(g, BAN, at=600.0, probe=True)  # still banned: nothing new
    learn(g, OK, OK, at=1200.0, probe=True)
    assert [level for level, _ in lines(caplog)] == [logging.ERROR, logging.INFO]


def test_a_probe_that_finds_a_wrong_key_says_so(caplog: pytest.LogCaptureFixture) -> None:
    g = pacing()
    learn(g, BAN)
    learn(g, STOP, at=600.0, probe=True)
    assert "CAPMONSTER_CLIENT_KEY" in lines(caplog)[-1][1]


def test_an_outage_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    g = pacing()
    learn(g, *[LOST] * 20, *[throttled("5")] * 20)
    learn(g, OK, OK, at=10.0)
    (warning, why), (info, _) = lines(caplog)
    assert (warning, info) == (logging.WARNING, logging.INFO)
    assert "connection lost" in why


def test_an_api_that_flaps_is_logged_once_and_a_lasting_outage_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    g = pacing()
    for moment in range(0, 40, 2):
        learn(g, LOST, at=moment)
        learn(g, OK, at=moment + 1)
    assert len(caplog.records) == 2
    learn(g, LOST, at=50.0)
    assert len(caplog.records) == 2
    learn(g, LOST, at=QUIET_SECONDS)
    assert len(caplog.records) == 3


def test_an_outage_that_ends_in_a_ban_is_not_said_to_be_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    g = pacing()
    learn(g, LOST, BAN, OTHER)
    assert [level for level, _ in lines(caplog)] == [logging.WARNING, logging.ERROR]
