"""The end of a crawl, whatever the service is doing. The numbers are the rows of the matrix."""

from __future__ import annotations

import logging
import signal
from typing import Any

import pytest
import pytest_twisted
from misbehaving import by_task, drips, hangs, in_turn, resets, says, stalls
from scripted import HANG, LOST, OK, Desk, coded, throttled
from support import crawl, report_stats, start_crawl
from wired import WRONG, Refused, delayed_calls, lines, until

from scrapy_capmonster_report import CapMonsterReportMiddleware
from scrapy_capmonster_report.outcome import Outcome


@pytest_twisted.ensureDeferred
async def test_a_slow_service_slows_nothing_down_and_closing_waits_for_the_reports(
    serve: Any, misbehave: Any
) -> None:
    """Nothing is answered before the spider has seen its last page."""
    server = misbehave(says())
    server.hold()
    story: list[Any] = []

    def at_last(spider: Refused) -> None:
        story.append(f"parsed {spider.parsed}")
        story.append(f"unanswered {server.in_flight}")

    def at_close(spider: Refused) -> None:
        story.append("closing")
        server.release()

    stats = await crawl(
        Refused,
        {"CAPMONSTER_API_URL": server.url, "CAPMONSTER_REPORT_CONCURRENCY": 5},
        base=serve(lambda _: WRONG).url,
        tasks=range(1, 41),
        at_last=at_last,
        at_close=at_close,
    )
    assert story == ["parsed 40", "unanswered 1", "closing"]
    assert stats["sent/accepted"] == len(server.arrivals) == 40


# -- row 19: queued, in flight, backing off -------------------------------------------------------


def busy_desk(durable: bool) -> Desk:
    """Task 1 has had an answer, 2 backs off, 3 and 4 are in flight, 5 to 9 wait."""
    script = {1: OK, 2: LOST}
    desk = Desk(
        lambda task_id, earlier: script.get(task_id, HANG),
        concurrency=2,
        durable=durable,
    )
    desk.reject(1, 2)
    desk.pass_time(0.1)
    desk.reject(*range(3, 10))
    return desk


@pytest.mark.parametrize(("durable", "left"), [(False, Outcome.SHUTDOWN), (True, Outcome.KEPT)])
@pytest.mark.parametrize("timeout", [0.0, 0.2, 30.0])
def test_what_cannot_be_sent_in_time_is_kept_or_dropped(
    timeout: float, durable: bool, left: Outcome
) -> None:
    """Row 19."""
    desk = busy_desk(durable)
    closing_at = desk.clock.seconds()
    desk.close(timeout)
    desk.pass_time(timeout)
    assert desk.closed == [pytest.approx(closing_at + timeout)]
    assert desk.outcomes == {1: [Outcome.ACCEPTED], **{n: [left] for n in range(2, 10)}}
    assert desk.clock.getDelayedCalls() == []
    assert desk.api.in_flight == 0


def test_closing_wakes_what_is_backing_off() -> None:
    """Row 19."""
    desk = Desk(lambda task_id, earlier: OK if earlier >= 12 else LOST, concurrency=4)
    desk.reject(1, 2)
    desk.pass_time(10.0)  # by now there are 8 seconds between two attempts
    assert len(desk.api.sent) == 10
    desk.api.script = lambda task_id, earlier: OK
    desk.close(30.0)
    assert desk.api.moments()[-2:] == [desk.clock.seconds()] * 2
    desk.pass_time(0.1)
    assert desk.closed
    assert desk.count(Outcome.ACCEPTED) == 2
    assert desk.clock.getDelayedCalls() == []


def test_a_callback_that_blocks_while_the_spider_closes_costs_no_report() -> None:
    """Row 28: that time is not the service's."""
    desk = Desk(concurrency=2)
    desk.reject(*range(1, 11))
    desk.close(5.0)
    desk.clock.rightNow += 7.0
    desk.pass_time(20.0)
    assert desk.count(Outcome.ACCEPTED) == 10
    assert len(desk.closed) == 1


def test_what_a_handler_hands_in_while_others_are_dropped_does_not_end_the_closing() -> None:
    """The fifth strike pauses reporting until it is too late for 6, and for 9 from a handler."""
    desk = Desk(
        lambda task_id, earlier: coded("WRONG_CAPTCHA_ID") if task_id <= 5 else OK, concurrency=1
    )
    desk.reject(1, 2, 3, 4, 5)
    desk.reject(6, age=260.0)
    desk.reject(7, 8)
    desk.listener = lambda report: desk.reject(9, age=260.0) if report.task.id == 6 else None
    desk.close(120.0)
    desk.pass_time(200.0)
    assert desk.outcomes[6] == desk.outcomes[9] == [Outcome.BREAKER]
    assert desk.outcomes[7] == desk.outcomes[8] == [Outcome.ACCEPTED]
    assert len(desk.closed) == 1


def test_what_a_handler_hands_in_while_others_are_dropped_does_not_close_before_they_are() -> None:
    """The totals in the log would miss them. The pause is longer than closing may take."""
    desk = Desk(lambda task_id, earlier: coded("WRONG_CAPTCHA_ID"), concurrency=1)
    desk.reject(1, 2, 3, 4, 5)
    desk.reject(6, 7, 8, age=260.0)
    desk.listener = lambda report: desk.reject(9) if report.task.id == 6 else None
    at_close: list[int] = []
    desk.delivery.close(30.0).addCallback(lambda _: at_close.extend(desk.outcomes))
    desk.pass_time(30.0)
    assert sorted(at_close) == [*range(1, 10)]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (throttled("100"), Outcome.SHUTDOWN),
        (coded("ERROR_IP_BANNED"), Outcome.BREAKER),
        (coded("ERROR_KEY_DOES_NOT_EXIST"), Outcome.BREAKER),
    ],
    ids=["throttled", "banned", "wrong key"],
)
def test_closing_does_not_wait_for_what_will_not_happen_in_time(
    answer: Any, outcome: Outcome
) -> None:
    """Row 19."""
    desk = Desk(lambda task_id, earlier: answer, concurrency=1)
    desk.reject(1, 2, 3)
    desk.pass_time(1.0)
    desk.close(30.0)
    assert desk.closed == [1.0]
    assert desk.outcomes[2] == desk.outcomes[3] == [outcome]


@pytest_twisted.ensureDeferred
async def test_no_socket_is_left_behind_by_any_state_of_the_service(wire: Any) -> None:
    """Row 19: the fixture looks for delayed calls, too."""
    behaviours = [says(), resets, hangs, stalls, drips, in_turn(resets, hangs)]
    desk = wire(by_task(dict(enumerate(behaviours * 4))), concurrency=8, timeout=2.0)
    desk.reject(*range(1, 24))
    await until(lambda: desk.server.most_in_flight == 8 and desk.retried)
    await desk.shut(0.3)
    assert desk.finished() == 23
    await until(lambda: desk.server.open_sockets() == 0)


# -- row 20: a service that hangs -----------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("behave", [hangs, drips, resets])
@pytest.mark.parametrize("timeout", [0, 0.5])
async def test_a_crawl_ends_within_its_close_timeout(
    timeout: float, behave: Any, misbehave: Any
) -> None:
    """Row 20."""
    from twisted.internet import reactor

    server = misbehave(behave)
    closing_at: list[float] = []
    site = misbehave(says(WRONG, Content_Type="text/html"))  # unlike twisted.web's, without timers
    before = delayed_calls()
    stats = await crawl(
        Refused,
        {
            "CAPMONSTER_API_URL": server.url,
            "CAPMONSTER_REPORT_CLOSE_TIMEOUT": timeout,
            "CAPMONSTER_REPORT_CONCURRENCY": 4,
        },
        base=site.url,
        tasks=range(1, 31),
        at_close=lambda spider: closing_at.append(reactor.seconds()),
    )
    assert reactor.seconds() - closing_at[0] < timeout + 1.0
    assert stats["dropped/shutdown"] == 30
    await until(lambda: server.open_sockets() == 0)
    await until(lambda: delayed_calls() <= before)


@pytest_twisted.ensureDeferred
async def test_a_rejection_found_while_closing_and_after_it_is_accounted_for(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 20."""
    server = misbehave(hangs)

    def reject(spider: Refused, *task_ids: int) -> None:
        reporter = spider.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        for task_id in task_ids:
            reporter.reject(spider.request.replace(meta={"taskId": task_id}))

    class Late(Refused):
        def parse(self, response: Any) -> None:
            self.request = response.request

    crawler = await start_crawl(
        Late,
        {"CAPMONSTER_API_URL": server.url, "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 0.1},
        base=serve(lambda _: WRONG).url,
        tasks=[1],
        at_close=lambda spider: reject(spider, 100, 101),
    )
    assert report_stats(crawler)["dropped/shutdown"] == 3
    reject(crawler.spider, 200, 201)
    assert report_stats(crawler)["dropped/shutdown"] == 5
    assert sorted(server.task_ids()) == [1]
    await until(lambda: server.open_sockets() == 0)
    assert lines(caplog, logging.ERROR) == []


def test_closing_twice_is_closing_once() -> None:
    """Row 20."""
    desk = busy_desk(durable=False)
    closing_at = desk.clock.seconds()
    desk.close(0.5)
    desk.pass_time(0.1)
    desk.close(30.0)
    desk.pass_time(0.4)
    assert desk.closed == [pytest.approx(closing_at + 0.5)] * 2
    desk.close(30.0)
    assert len(desk.closed) == 3
    assert {len(outcomes) for outcomes in desk.outcomes.values()} == {1}


def test_closing_with_nothing_to_send_is_done_at_once() -> None:
    """Row 20."""
    desk = Desk()
    desk.close(30.0)
    assert desk.closed == [0.0]
    assert desk.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=lambda sent: sent.name)
@pytest.mark.parametrize(
    "reactor",
    [
        "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "twisted.internet.selectreactor.SelectReactor",
    ],
    ids=["asyncio", "select"],
)
async def test_a_signal_while_the_spider_is_closing_loses_no_report(
    reactor: str, sent: signal.Signals, serve: Any, misbehave: Any, child_crawl: Any
) -> None:
    """Row 41: Scrapy does not wait for ``spider_closed`` then."""
    service = misbehave(says())
    service.hold()
    settings = {"CAPMONSTER_API_URL": service.url, "TWISTED_REACTOR": reactor}
    stopped = child_crawl(serve(lambda _: WRONG).url, range(1, 6), settings)
    await until(lambda: "Sending the last reports to CapMonster Cloud (5)" in stopped.log)
    stopped.process.send_signal(sent)
    await until(lambda: f"Received {sent.name}, shutting down gracefully" in stopped.log)
    service.release()
    stats = await stopped.stats()
    assert stats["rejected"] == stats["sent/accepted"] == 5
    said = stopped.log
    assert "Captcha answers: 5 checked, 0 passed, 5 rejected: 5 reported" in said
    assert said.index("Captcha answers: 5") < said.index("Dumping Scrapy stats")
    assert "'capmonster_report/sent/accepted': 5" in said
