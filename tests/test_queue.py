"""What waits to be sent: how much of it, and each task once. The numbers are the matrix's rows."""

from __future__ import annotations

import gc
import itertools
import logging
import tracemalloc
from typing import Any

import pytest
import pytest_twisted
from misbehaving import says
from scripted import HANG, LOST, OK, Desk, coded
from support import crawl
from twisted.internet.task import Clock, LoopingCall
from wired import WRONG, Refused, lines, until

from scrapy_capmonster_report.ledger import Ledger
from scrapy_capmonster_report.outcome import Outcome, Report
from scrapy_capmonster_report.task import Kind, Task

# -- row 14: more than the queue holds ------------------------------------------------------------


def test_a_full_queue_drops_further_reports_and_does_not_block(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 14."""
    desk = Desk(lambda task_id, earlier: HANG, concurrency=2, queue_size=10)
    desk.reject(*range(1, 101))
    assert desk.api.task_ids() == [1, 2]
    assert desk.outcomes == {task_id: [Outcome.QUEUE_FULL] for task_id in range(13, 101)}
    [warning] = lines(caplog, logging.WARNING)
    assert "(CAPMONSTER_REPORT_QUEUE_SIZE: 10)" in warning


def test_what_is_too_old_makes_room_in_a_full_queue() -> None:
    """Row 14."""
    desk = Desk(lambda task_id, earlier: HANG, concurrency=1, queue_size=3)
    desk.reject(1, 2, 3, 4, age=290.0)
    desk.pass_time(10.0)
    desk.reject(5, 6, 7, 8)
    assert desk.outcomes == {
        **{task_id: [Outcome.EXPIRED] for task_id in (2, 3, 4)},
        8: [Outcome.QUEUE_FULL],
    }


def test_what_a_handler_hands_in_while_others_are_dropped_goes_behind_what_waits() -> None:
    """The fifth strike pauses reporting for longer than 6 is good for."""
    desk = Desk(
        lambda task_id, earlier: coded("WRONG_CAPTCHA_ID") if task_id <= 5 else OK,
        concurrency=1,
        queue_size=10,
    )
    desk.reject(1, 2, 3, 4, 5)
    desk.reject(6, age=260.0)
    desk.reject(7, 8, 10, 11, 12)
    desk.listener = lambda report: desk.reject(*range(100, 120)) if report.task.id == 6 else None
    desk.pass_time(200.0)
    assert desk.api.task_ids()[5:] == [7, 8, 10, 11, 12, 100, 101, 102, 103, 104]
    assert desk.count(Outcome.QUEUE_FULL) == 15


def test_what_is_between_two_attempts_takes_a_place_in_the_queue() -> None:
    """Row 14."""
    desk = Desk(lambda task_id, earlier: LOST if task_id < 3 else HANG, concurrency=2, queue_size=3)
    desk.reject(1, 2)
    desk.pass_time(0.4)
    desk.reject(3, 4)
    assert desk.outcomes == {4: [Outcome.QUEUE_FULL]}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("concurrency", "queue_size"), [(16, 1), (5, 3), (1, 7)])
@pytest.mark.parametrize("ledger", ["", "sqlite"])
async def test_what_is_written_down_before_it_is_sent_takes_no_place_of_what_waits(
    ledger: str, concurrency: int, queue_size: int, serve: Any, misbehave: Any, tmp_path: Any
) -> None:
    """Row 14."""
    server = misbehave(says())
    server.hold()
    room = 1 + queue_size  # one goes first
    stats = await crawl(
        Refused,
        {
            "CAPMONSTER_API_URL": server.url,
            "CAPMONSTER_REPORT_CONCURRENCY": concurrency,
            "CAPMONSTER_REPORT_QUEUE_SIZE": queue_size,
            "CAPMONSTER_REPORT_LEDGER": ledger and f"sqlite:{tmp_path / 'ledger.sqlite'}",
        },
        base=serve(lambda _: WRONG).url,
        tasks=range(1, room + 5),
        at_last=lambda spider: server.release(),
    )
    assert stats["sent/accepted"] == len(server.arrivals) == room
    assert stats["dropped/queue_full"] == 4


@pytest_twisted.ensureDeferred
async def test_a_crawl_with_a_full_queue_says_so_once_and_gives_the_total(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 14."""
    server = misbehave(says())
    server.hold()
    stats = await crawl(
        Refused,
        {
            "CAPMONSTER_API_URL": server.url,
            "CAPMONSTER_REPORT_CONCURRENCY": 2,
            "CAPMONSTER_REPORT_QUEUE_SIZE": 5,
        },
        base=serve(lambda _: WRONG).url,
        tasks=range(1, 31),
        at_last=lambda spider: server.release(),
    )
    assert stats["dropped/queue_full"] == 24
    assert stats["sent/accepted"] == len(server.arrivals) == 6
    assert len(lines(caplog, logging.WARNING)) == 1
    assert "24 dropped (queue_full)" in lines(caplog, logging.INFO)[-1]


def test_a_report_that_was_sent_in_vain_goes_before_those_that_were_not_sent() -> None:
    """It is older, and where the first of all is answered, the others may be sent at once."""
    desk = Desk(concurrency=4, answered=False)
    desk.api.script = lambda task_id, _: OK if desk.api.task_ids().count(task_id) > 2 else LOST
    desk.reject(*range(1, 31))
    desk.pass_time(2.0)
    assert desk.api.task_ids()[:4] == [1, 1, 1, 2]


# -- row 16: the same task again ------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "tasks",
    [[7] * 10, ["7"] * 10, [7, "7", "07"] * 3],
    ids=["a number", "digits", "both"],
)
@pytest.mark.parametrize("held", [True, False], ids=["at once", "after success"])
async def test_the_same_task_again_is_reported_once(
    tasks: list[Any], held: bool, serve: Any, misbehave: Any
) -> None:
    """Row 16."""
    server = misbehave(says())
    if held:
        server.hold()
    stats = await crawl(
        Refused,
        {"CAPMONSTER_API_URL": server.url, "CONCURRENT_REQUESTS": 16 if held else 1},
        base=serve(lambda _: WRONG).url,
        tasks=tasks,
        at_last=lambda spider: server.release(),
    )
    assert server.task_ids() == [7]
    # Where another attempt is rejected before the first, no report is under way yet.
    withheld = stats.get("withheld/duplicate", 0) + stats.get("withheld/reused", 0)
    assert withheld == len(tasks) - 1


# -- row 17: no task ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "task_id",
    [None, True, -1, 0, 1.5, "abc", "", 10**30, [7], {"id": 7}, b"7", "7.0", "\u0667", "9" * 5000],
    ids=lambda value: repr(value)[:20],
)
async def test_what_is_no_task_is_not_reported_and_raises_nothing(
    task_id: Any, serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 17."""
    server = misbehave(says())
    stats = await crawl(
        Refused,
        {"CAPMONSTER_API_URL": server.url},
        base=serve(lambda _: WRONG).url,
        tasks=[task_id, 8],
    )
    assert server.task_ids() == [8]
    assert stats["withheld/invalid_task"] == 1
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert f"{task_id!r:.50}" in warning.getMessage()
    assert type(task_id).__name__ in warning.getMessage()


# -- row 18: a million tasks ----------------------------------------------------------------------

MIB = 1024 * 1024


def test_a_million_tasks_leave_the_memory_of_them_flat() -> None:
    """Row 18: 64 MiB in all, and no more at the end than at a third of the way."""
    clock = Clock()
    tracemalloc.start()
    try:
        ledger = Ledger(clock.seconds)
        sizes = []
        for task_id in range(1, 1_000_001):
            task = Task(task_id, Kind.TOKEN, "TurnstileTask", clock.seconds(), 300.0)
            report = Report(task, task_id, 300.0, "wrong", "shop.example")
            ledger.claim(report)
            ledger.finished(report, Outcome.ACCEPTED, None)
            if task_id % 10_000 == 0:
                clock.advance(1.0)
                sizes.append(tracemalloc.get_traced_memory()[0])
        peak = tracemalloc.get_traced_memory()[1]
        print(f"\na million tasks: {peak / MIB:.1f} MiB at most, {sizes[-1] / MIB:.1f} at the end")
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB
    assert max(sizes[34:]) <= 1.1 * max(sizes[:34])
    assert ledger.is_claimed(1_000_000)


def test_a_handler_that_hands_in_a_report_for_each_that_is_dropped() -> None:
    """It was called within its own call, a thousand times over."""
    desk = Desk(lambda task_id, earlier: HANG, concurrency=1, queue_size=1)
    desk.listener = lambda report: (
        desk.reject(report.task.id + 1) if report.task.id < 5000 else None
    )
    desk.reject(1, 2, 3)
    assert desk.count(Outcome.QUEUE_FULL) == desk.finished() == 4998


def test_a_million_reports_for_a_slow_service_take_a_bounded_queue() -> None:
    """Row 18."""
    desk = Desk(concurrency=16, queue_size=10_000)
    desk.api.delay = 2.0
    # The desk writes everything down; here it only counts.
    finished = itertools.count()
    desk.delivery._on_finish = lambda report, outcome, code: next(finished)
    alive = []
    for task_id in range(1, 1_000_001):
        task = Task(task_id, Kind.TOKEN, None, desk.clock.seconds(), None)
        desk.delivery.submit(Report(task, task_id, desk.clock.seconds() + 300.0))
        if task_id % 1000 == 0:
            desk.pass_time(0.5)
        if task_id % 200_000 == 0:
            alive.append(sum(type(thing) is Report for thing in gc.get_objects()))
    assert max(alive) <= 10_000 + 16 + 1
    assert desk.api.most_in_flight == 16
    desk.close(0.0)
    assert next(finished) == 1_000_000


@pytest_twisted.ensureDeferred
async def test_the_reactor_stays_responsive_while_thousands_are_sent(wire: Any) -> None:
    """Row 18: between two turns of the reactor there is little to be done."""
    desk = wire(says(), concurrency=16, queue_size=5000)
    sent_by_turn: list[int] = []
    turns = LoopingCall(lambda: sent_by_turn.append(len(desk.server.arrivals)))
    turns.start(0.0)
    desk.reject(*range(1, 2001))
    await until(lambda: desk.finished() == 2000)
    turns.stop()
    assert desk.count(Outcome.ACCEPTED) == 2000
    assert desk.server.most_in_flight <= 16
    between = [after - before for before, after in itertools.pairwise(sent_by_turn)]
    assert max(between) <= 2 * 16
