"""When nothing is sent, and for how long. The numbers are the rows of the matrix of faults."""

from __future__ import annotations

import logging
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from misbehaving import by_task, in_turn, refuses, says
from scripted import LOST, OK, Desk, coded, throttled
from support import crawl
from wired import WRONG, Refused, lines, until

from scrapy_capmonster_report.clock import SteadyClock
from scrapy_capmonster_report.delivery.answer import ReportAnswer, Verdict, read_answer
from scrapy_capmonster_report.delivery.pacing import (
    BAN_SECONDS,
    MAX_BACKOFF_SECONDS,
    MAX_REFUSALS,
    MAX_STRIKES,
    PAUSE_SECONDS,
)
from scrapy_capmonster_report.outcome import Outcome

STRIKING = ["WRONG_CAPTCHA_ID", "ERROR_WRONG_CAPTCHA_ID", "ERROR_NO_SUCH_CAPCHA_ID"]


# -- row 3: a wrong key ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("waits_for_all", [False, True], ids=["at once", "after all were refused"])
@pytest.mark.parametrize("code", ["ERROR_KEY_DOES_NOT_EXIST", "ERROR_IP_NOT_ALLOWED"])
async def test_a_wrong_key_costs_no_more_requests_than_were_in_flight(
    code: str,
    waits_for_all: bool,
    serve: Any,
    misbehave: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 3."""
    server = misbehave(refuses(code))
    if waits_for_all:
        server.hold()
    stats = await crawl(
        Refused,
        {"CAPMONSTER_API_URL": server.url, "CAPMONSTER_REPORT_CONCURRENCY": 4},
        base=serve(lambda _: WRONG).url,
        tasks=range(1, 61),
        at_last=lambda spider: server.release(),
    )
    assert len(server.arrivals) == 1
    assert stats["sent/refused"] == len(server.arrivals)
    assert stats["dropped/breaker"] == 60 - len(server.arrivals)
    [error] = lines(caplog, logging.ERROR)
    assert code in error
    assert "account key" in error
    assert "Check CAPMONSTER_CLIENT_KEY" in error or "Allow it in the account's settings" in error
    assert lines(caplog, logging.WARNING) == []


def test_a_wrong_key_is_met_once_by_fifty_rejections_at_once() -> None:
    """Row 33: the spider solves with the same key, and a ban would stop that."""
    desk = Desk(
        lambda task_id, earlier: coded("ERROR_KEY_DOES_NOT_EXIST"), concurrency=16, answered=False
    )
    desk.reject(*range(1, 51))
    desk.pass_time(1.0)
    assert desk.api.task_ids() == [1]
    assert desk.count(Outcome.REFUSED) == 1
    assert desk.count(Outcome.BREAKER) == 49


@pytest.mark.parametrize("first", [OK, ReportAnswer(Verdict.REFUSED, "ERROR_NEW")])
def test_one_report_goes_first_until_the_service_has_answered_one(first: ReportAnswer) -> None:
    """Row 33."""
    desk = Desk(
        lambda task_id, earlier: {0: LOST, 1: throttled("1"), 2: first}.get(earlier, OK),
        concurrency=16,
        answered=False,
    )
    desk.reject(*range(1, 51))
    while len(desk.api.sent) < 3:
        assert desk.api.most_in_flight == 1
        desk.pass_time(0.05)
    desk.pass_time(10.0)
    assert desk.api.most_in_flight == 16
    assert desk.finished() == 50


@pytest.mark.parametrize("status", [401, 402, 403])
def test_an_unauthorised_report_is_refused_and_several_in_a_row_pause_sending(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 32: without any JSON."""
    answer = read_answer(status, b"", retry_after=None, wall_now=0.0, secret="secret")
    desk = Desk(lambda task_id, earlier: answer, concurrency=1)
    desk.reject(*range(1, 21))
    desk.pass_time(PAUSE_SECONDS - 1.0)
    assert len(desk.api.sent) == MAX_STRIKES
    assert desk.codes == ["http_4xx"] * MAX_STRIKES
    [warning] = lines(caplog, logging.WARNING)
    assert "paused for 60 seconds: CapMonster Cloud returned http_4xx." in warning
    assert f"The status was {status}. Check CAPMONSTER_CLIENT_KEY" in warning
    assert "Check CAPMONSTER_CLIENT_KEY" in warning


def test_reports_refused_with_an_unknown_code_pause_sending_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 32."""
    desk = Desk(lambda task_id, earlier: coded("ERROR_REPORTS_CLOSED"), concurrency=1)
    desk.reject(*range(1, 101))
    desk.pass_time(PAUSE_SECONDS - 1.0)
    assert len(desk.api.sent) == MAX_REFUSALS
    desk.pass_time(200.0)
    assert len(desk.api.sent) == MAX_REFUSALS + 2  # probes
    [warning] = lines(caplog, logging.WARNING)
    assert "CapMonster Cloud returned ERROR_REPORTS_CLOSED." in warning
    desk.api.script = lambda task_id, earlier: OK
    desk.reject(200)
    desk.pass_time(280.0)
    assert desk.outcomes[200] == [Outcome.ACCEPTED]


def test_a_wrong_key_stops_the_crawls_reports_for_good() -> None:
    """Row 3."""
    desk = Desk(lambda task_id, earlier: coded("ERROR_KEY_DOES_NOT_EXIST"), max_age=1e9)
    for task_id in range(1, 101):
        desk.reject(task_id)
        desk.pass_time(3600.0)
    assert desk.api.task_ids() == [1]
    assert desk.count(Outcome.BREAKER) == 99


# -- row 4: a ban ---------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ERROR_IP_BANNED", "ERROR_IP_BLOCKED"])
def test_a_ban_is_ten_minutes_of_silence_and_then_one_probe(code: str) -> None:
    """Row 4."""
    desk = Desk(lambda task_id, earlier: coded(code) if earlier < 4 else OK)
    desk.reject(*range(1, 11))
    for task_id in range(11, 70):  # refusals go on, one every ten seconds
        desk.pass_time(10.0)
        desk.reject(task_id)
    assert desk.api.task_ids() == [1, 2, 3, 4]
    desk.pass_time(5.0)
    desk.reject(70, 71, 72)
    desk.pass_time(3600.0)
    later = desk.api.sent[4:]
    assert later[0][0] >= BAN_SECONDS
    assert [moment for moment, _ in later].count(later[0][0]) == 1
    # Those younger than five minutes when the probe was answered went out.
    assert {task_id for _, task_id in later} == {*range(41, 73)}
    assert desk.count(Outcome.ACCEPTED) == len(later) == 32
    assert desk.count(Outcome.BREAKER) == 72 - 4 - 32


def test_while_the_ban_lasts_only_a_probe_is_sent_every_ten_minutes() -> None:
    """Row 4."""
    desk = Desk(lambda task_id, earlier: coded("ERROR_IP_BANNED"), concurrency=1)
    for task_id in range(1, 361):
        desk.reject(task_id)
        desk.pass_time(10.0)
    moments = desk.api.moments()
    assert len(moments) == 6
    pauses = [later - earlier for earlier, later in pairwise(moments)]
    assert min(pauses) >= BAN_SECONDS


# -- row 5: tasks that the service does not know --------------------------------------------------


@pytest.mark.parametrize("code", [*STRIKING, "ERROR_ZERO_BALANCE"])
def test_an_unknown_task_is_refused_and_several_in_a_row_pause_sending(code: str) -> None:
    """Row 5."""
    desk = Desk(lambda task_id, earlier: coded(code), concurrency=1)
    desk.reject(*range(1, 11))
    desk.pass_time(PAUSE_SECONDS - 1.0)
    assert desk.api.task_ids() == [*range(1, MAX_STRIKES + 1)]
    assert desk.retried == 0
    assert desk.codes == [code] * MAX_STRIKES
    desk.pass_time(5.0)
    assert desk.api.task_ids() == [*range(1, MAX_STRIKES + 2)]


def test_an_unknown_task_now_and_then_pauses_nothing() -> None:
    """Row 5."""
    desk = Desk(lambda task_id, _: OK if task_id % 3 else coded(STRIKING[0]), concurrency=1)
    desk.reject(*range(1, 31))
    desk.pass_time(5.0)
    assert desk.count(Outcome.ACCEPTED) == 20
    assert desk.count(Outcome.REFUSED) == 10


# -- row 9: backoff -------------------------------------------------------------------------------


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
def test_pauses_grow_with_jitter_until_the_report_is_too_old(jitter: float) -> None:
    """Row 9."""
    desk = Desk(lambda task_id, earlier: LOST, concurrency=16, random=lambda: jitter)
    desk.reject(1)
    desk.pass_time(400.0)
    moments = desk.api.moments()
    pauses = [b - a - desk.api.delay for a, b in pairwise(moments)]
    plain = [0.5, 1, 2, 4, 8, 16, *[30] * 20]
    expected = [min(pause + jitter / 2, MAX_BACKOFF_SECONDS + jitter / 2) for pause in plain]
    assert pauses == pytest.approx(expected[: len(pauses)])
    assert moments[-1] < desk.max_age < moments[-1] + pauses[-1] + 1
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}


def test_in_an_outage_ten_thousand_reports_do_not_each_find_out_for_themselves() -> None:
    """Row 9: the pause is common, so the requests are counted in rounds, not in reports."""
    outage = 240.0
    desk = Desk(concurrency=16, queue_size=10_000)
    desk.api.script = lambda task_id, earlier: LOST if desk.clock.seconds() < outage else OK
    desk.reject(*range(1, 10_001))
    desk.pass_time(outage)
    # 0.5, 1, 2 … 16 seconds, then 30 each time: 14 rounds of 16 requests in four minutes.
    assert 16 < len(desk.api.sent) <= 14 * 16
    assert desk.finished() == 0
    desk.api.delay = 0.01
    desk.pass_time(desk.max_age - outage)
    assert desk.count(Outcome.ACCEPTED) == 10_000
    assert desk.api.most_in_flight == 16


# -- row 11: told to wait -------------------------------------------------------------------------

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"),
    [
        (429, "5", 5.0),
        (503, "5", 5.0),
        (429, " 7 ", 7.0),
        (429, formatdate(NOW + 20, usegmt=True), 20.0),
        (503, formatdate(NOW + 20, usegmt=True), 20.0),
        # As good as nothing: the pause we choose ourselves.
        *((429, garbage, 0.5) for garbage in ("-3", "nan", "inf", "1e9", "0", "", "soon", "5, 6")),
        (429, formatdate(NOW - 20, usegmt=True), 0.5),
    ],
)
def test_after_a_retry_after_all_senders_wait(status: int, retry_after: str, pause: float) -> None:
    """Row 11."""
    told = read_answer(status, b"", retry_after=retry_after, wall_now=NOW, secret="secret")
    desk = Desk(lambda task_id, earlier: told if earlier == 0 else OK, concurrency=2)
    desk.reject(1)
    desk.pass_time(0.1)
    desk.reject(*range(2, 30))
    desk.pass_time(pause - 0.01)
    assert desk.api.task_ids() == [1]
    desk.pass_time(20.0)
    assert desk.count(Outcome.ACCEPTED) == 29


@pytest.mark.parametrize(
    "retry_after",
    ["100000", "9" * 400, formatdate(NOW + 1e6, usegmt=True)],
    ids=["a day", "for ever", "a date"],
)
def test_retry_after_is_limited_to_the_lifetime_of_reports(retry_after: str) -> None:
    """Row 11."""
    desk = Desk(lambda task_id, earlier: OK if earlier else throttled(retry_after, NOW))
    desk.reject(1, 2, 3, 4, 5)
    desk.pass_time(desk.max_age + 1)
    assert desk.finished() == 5
    desk.reject(6)
    desk.pass_time(1.0)
    assert desk.outcomes[6] == [Outcome.ACCEPTED]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_read_from_the_wire(status: int, wire: Any) -> None:
    """Row 11."""
    told = in_turn(says("", status, Retry_After="1"), says())
    desk = wire(by_task({1: told, 2: says(), 3: says()}), concurrency=1)
    desk.reject(1)
    await until(lambda: desk.server.arrivals)
    desk.reject(2, 3)
    await desk.settle()
    assert desk.count(Outcome.ACCEPTED) == 3
    first, second, *_ = desk.server.arrivals
    assert second.moment - first.moment >= 1.0


# -- row 15: age ----------------------------------------------------------------------------------


def test_what_grows_too_old_in_the_queue_is_not_sent() -> None:
    """Row 15."""
    desk = Desk(concurrency=1)
    desk.api.delay = 20.0
    desk.reject(1, 2)
    desk.reject(3, 4, age=285.0)
    desk.pass_time(100.0)
    assert desk.api.task_ids() == [1, 2]
    assert desk.outcomes[3] == desk.outcomes[4] == [Outcome.EXPIRED]


def test_what_would_be_too_old_after_its_backoff_is_given_up_at_once() -> None:
    """Row 15."""
    desk = Desk(lambda task_id, earlier: LOST)
    desk.reject(1, age=299.5)
    desk.pass_time(0.1)
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    assert desk.api.task_ids() == [1]


@pytest.mark.parametrize(("age", "sent"), [(299.9, [1]), (300.0, []), (1e9, [])])
def test_what_is_too_old_just_before_sending_is_not_sent(age: float, sent: list[int]) -> None:
    """Row 15."""
    desk = Desk()
    desk.reject(1, age=age)
    desk.pass_time(1.0)
    assert desk.api.task_ids() == sent
    assert desk.outcomes == {1: [Outcome.ACCEPTED if sent else Outcome.EXPIRED]}


@pytest.mark.parametrize("jump", [-86_400.0, -299.0, 299.0, 86_400.0])
def test_a_wall_clock_that_is_set_neither_kills_nor_revives_reports(jump: float) -> None:
    """Row 15."""
    desk: Any = None
    wall_offset = 1e9
    clock = SteadyClock(
        wall=lambda: wall_offset + (desk.clock.seconds() if desk else 0.0),
        steady=lambda: desk.clock.seconds() if desk else 0.0,
    )
    script = {1: LOST, 2: OK, 3: OK}
    desk = Desk(lambda task_id, earlier: script[task_id], now=clock.now, concurrency=1)
    desk.api.delay = 10.0
    desk.reject(1, 2)  # one will back off, the other waits in the queue
    desk.reject(3, age=285.0)
    desk.pass_time(10.5)
    wall_offset += jump
    script[1] = OK
    desk.pass_time(100.0)
    assert desk.outcomes[1] == desk.outcomes[2] == [Outcome.ACCEPTED]
    assert desk.outcomes[3] == [Outcome.EXPIRED]
    assert 3 not in desk.api.task_ids()


# -- row 21: half-open ----------------------------------------------------------------------------


def half_open(probed: ReportAnswer) -> Desk:
    """A desk with 50 reports in its queue and the first of them just sent as a probe."""
    desk = Desk(lambda task_id, earlier: coded(STRIKING[0]) if earlier < MAX_STRIKES else probed)
    desk.api.delay = 1.0
    desk.reject(*range(1, MAX_STRIKES + 1))
    desk.pass_time(3.0)
    desk.reject(*range(100, 150))
    desk.pass_time(PAUSE_SECONDS - 0.5)  # that was half a second ago, and its answer takes one
    assert desk.api.task_ids()[MAX_STRIKES:] == [100]
    return desk


def test_with_fifty_waiting_there_is_one_probe_and_its_success_resumes() -> None:
    """Row 21."""
    desk = half_open(OK)
    desk.pass_time(30.0)
    assert desk.api.task_ids()[MAX_STRIKES:] == [*range(100, 150)]
    assert desk.count(Outcome.ACCEPTED) == 50
    assert desk.api.most_in_flight == 4


@pytest.mark.parametrize(
    "probed", [coded(STRIKING[0]), LOST, throttled("5")], ids=["struck", "lost", "throttled"]
)
def test_a_probe_that_fails_reopens(probed: ReportAnswer) -> None:
    """Row 21."""
    desk = half_open(probed)
    desk.pass_time(2 * PAUSE_SECONDS)
    assert len(desk.api.sent) == MAX_STRIKES + 1
    assert desk.finished() <= MAX_STRIKES + 1
    desk.pass_time(1.0)
    assert len(desk.api.sent) == MAX_STRIKES + 2


def test_a_probe_that_is_refused_with_another_code_resumes() -> None:
    """Row 21: the service answers as it should, whatever it thinks of this task."""
    desk = half_open(ReportAnswer(Verdict.REFUSED, "ERROR_NEW"))
    desk.pass_time(30.0)
    # Until that is one too many in a row.
    assert desk.codes.count("ERROR_NEW") >= MAX_REFUSALS - MAX_STRIKES
