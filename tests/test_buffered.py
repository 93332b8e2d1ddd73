"""The buffer between a crawl and the backend of its ledger, with the time told by hand."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clocked import Disk, clocked_ledger
from scripted import HANG, OK, Desk, coded, throttled
from twisted.internet.task import Clock
from wired import lines

from scrapy_capmonster_report.ledger.buffer import BATCH_SECONDS, MAX_BATCH, MAX_BUFFERED, MIN_BATCH
from scrapy_capmonster_report.ledger.buffered import (
    CLAIM_SECONDS,
    CLOSING_SECONDS,
    RECOVER_SECONDS,
)
from scrapy_capmonster_report.ledger.contact import MAX_RETRY_SECONDS, QUIET_SECONDS
from scrapy_capmonster_report.outcome import Outcome, Report
from scrapy_capmonster_report.stats import LEDGER_FALLBACK
from scrapy_capmonster_report.task import Kind, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capmonster_report.ledger import Recovered


def on_fire() -> None:
    raise OSError("disk on fire")


def fine() -> None:
    pass


class Crawl:
    """A ledger on a disk, and what became of the claims."""

    def __init__(self, clock: Clock | None = None, disk: Disk | None = None) -> None:
        self.clock = clock or Clock()
        self.disk = disk or Disk()
        self.recovered: list[Recovered] = []
        self.claims: dict[int, list[Outcome | None]] = {}
        self.reports: dict[int, Report] = {}
        self.closed: list[float] = []
        self.ledger, self.backend, self._stats = clocked_ledger(self.disk, self.clock)

    def open(self) -> None:
        self.looked: list[None] = []
        self.ledger.open(self.recovered.append).addCallback(self.looked.append)

    def claim(self, *task_ids: int, attempt: int = 1) -> None:
        now = self.clock.seconds()
        for task_id in task_ids:
            report = Report(Task(task_id, Kind.TOKEN, None, now, None), attempt, now + 300)
            self.reports[task_id] = report
            self.claim_again(task_id)

    def claim_again(self, task_id: int) -> None:
        answers = self.claims.setdefault(task_id, [])
        self.ledger.claim(self.reports[task_id]).addCallback(answers.append)

    def finish(self, task_id: int, outcome: Outcome) -> None:
        self.ledger.finished(self.reports[task_id], outcome, None)

    def use(self, *task_ids: int) -> None:
        for task_id in task_ids:
            self.ledger.sent(task_id, 1)
            self.ledger.passed(task_id, 1, "shop.example", "", 0.0)

    def close(self) -> None:
        self.ledger.close().addCallback(lambda _: self.closed.append(self.clock.seconds()))

    def pass_time(self, seconds: float) -> None:
        """Let time pass as it does, each delayed call at its moment."""
        end = self.clock.seconds() + seconds
        while due := [call.getTime() for call in self.clock.getDelayedCalls()]:
            if min(due) > end:
                break
            self.clock.advance(max(0.0, min(due) - self.clock.seconds()))
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    @property
    def unavailable(self) -> int:
        """How often the log said that the backend is unavailable."""
        return self._stats[LEDGER_FALLBACK]


@pytest.fixture
def crawl() -> Iterator[Crawl]:
    crawl = Crawl()
    yield crawl
    crawl.disk.database.close()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The first words of what was logged, above DEBUG."""
    said = [*lines(caplog, logging.WARNING), *lines(caplog, logging.INFO)]
    return [line.split("(")[0].strip(" .") for line in said]


DOWN = "Ledger sqlite:ledger.sqlite is unavailable"
BACK = "Ledger sqlite:ledger.sqlite is available again"


# -- while all is well -----------------------------------------------------------------------------


def test_claims_are_answered_once_they_are_written(crawl: Crawl) -> None:
    crawl.claim(1)
    crawl.open()
    crawl.claim(2)
    assert crawl.claims == {1: [], 2: []}
    for _ in range(3):  # open, recover, write
        crawl.clock.advance(0.01)
    assert crawl.claims == {1: [None], 2: [None]}
    assert crawl.disk.statuses() == {"pending": 2}


def test_claims_come_before_all_else(crawl: Crawl) -> None:
    crawl.open()
    crawl.use(*range(1, MIN_BATCH + 1))
    crawl.claim(1001, 1002)
    crawl.pass_time(0.1)
    assert crawl.backend.batches[0][:3] == ["Claimed", "Claimed", "Sent"]
    assert crawl.disk.statuses() == {"pending": 2, "passed": MIN_BATCH}


def test_batches_grow_while_they_are_quick_and_shrink_when_they_are_not(crawl: Crawl) -> None:
    crawl.open()
    crawl.use(*range(1, 5001))
    crawl.pass_time(0.2)
    sizes = [len(batch) for batch in crawl.backend.batches]
    assert sizes[:5] == [MIN_BATCH, 2 * MIN_BATCH, 4 * MIN_BATCH, 8 * MIN_BATCH, MAX_BATCH]
    crawl.backend.delay = 3 * BATCH_SECONDS
    crawl.use(*range(5001, 9001))
    crawl.pass_time(40.0)
    assert [len(batch) for batch in crawl.backend.batches][-2] == MIN_BATCH
    assert crawl.disk.statuses() == {"passed": 9000}


def test_what_became_of_a_claim_is_written_though_memory_forgot_it(crawl: Crawl) -> None:
    """Row 44."""
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    for task_id in range(2, 250_000):
        crawl.ledger._claimed.set(task_id, True)
    assert not crawl.ledger.is_claimed(1)
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.pass_time(0.1)
    assert crawl.disk.statuses() == {"sent/accepted": 1}


def test_what_was_dropped_before_its_claim_is_in_the_history_too(crawl: Crawl) -> None:
    crawl.open()
    report = Report(Task(1, Kind.TOKEN, None, 0.0, None), 1, 300.0)
    crawl.ledger.finished(report, Outcome.QUEUE_FULL, None)
    crawl.pass_time(0.1)
    assert crawl.disk.statuses() == {"dropped/queue_full": 1}


# -- a backend that is away, and comes back --------------------------------------------------------


def test_one_failure_is_nothing_to_speak_of(crawl: Crawl, caplog: Any) -> None:
    """Row 39: one reset of a connection."""
    crawl.open()
    crawl.pass_time(0.1)
    crawl.backend.fails = on_fire
    crawl.claim(1)
    crawl.clock.advance(0.01)
    crawl.backend.fails = fine
    crawl.clock.advance(0.01)
    assert crawl.claims == {1: [None]}
    assert logged(caplog) == []
    assert crawl.unavailable == 0


@pytest.mark.parametrize("when", ["opening", "recovering", "writing"])
def test_after_ten_seconds_all_is_written_with_one_warning_and_one_info(
    when: str, crawl: Crawl, caplog: Any
) -> None:
    """Row 29."""
    if when != "opening":
        crawl.open()
        crawl.clock.advance(0.01)
    if when == "writing":
        crawl.pass_time(0.1)
    crawl.backend.fails = on_fire
    if when == "opening":
        crawl.open()
    crawl.claim(*range(1, 201))
    crawl.use(*range(1001, 2001))
    crawl.pass_time(10.0)
    assert crawl.looked == [None]  # or closing would wait for it
    assert not crawl.ledger.durable
    crawl.backend.fails = fine
    assert not any(crawl.claims.values())
    crawl.pass_time(MAX_RETRY_SECONDS)
    assert crawl.ledger.durable
    assert all(answers == [None] for answers in crawl.claims.values())
    assert crawl.disk.statuses() == {"pending": 200, "passed": 1000}
    assert logged(caplog) == [DOWN, BACK]
    assert "OSError: disk on fire" in caplog.text
    assert crawl.unavailable == 1


def test_a_claim_waits_for_thirty_seconds_and_is_written_when_the_backend_is_back(
    crawl: Crawl, caplog: Any
) -> None:
    crawl.open()
    crawl.pass_time(0.5)
    crawl.backend.fails = on_fire
    crawl.claim(1)
    crawl.pass_time(CLAIM_SECONDS - 1.0)
    assert crawl.claims == {1: []}
    crawl.pass_time(3.0)
    assert crawl.claims == {1: [None]}
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.backend.fails = fine
    crawl.pass_time(MAX_RETRY_SECONDS)
    assert crawl.disk.statuses() == {"sent/accepted": 1}
    assert logged(caplog) == [DOWN, BACK]


def test_a_backend_that_takes_a_minute_is_waited_for_and_not_given_up(
    crawl: Crawl, caplog: Any
) -> None:
    """Row 38."""
    crawl.open()
    crawl.pass_time(0.5)
    crawl.backend.delay = 60.0
    crawl.claim(1)
    crawl.pass_time(CLAIM_SECONDS + 2.0)
    assert crawl.claims == {1: [None]}
    assert logged(caplog) == [DOWN]
    crawl.pass_time(60.0)
    assert crawl.ledger.durable
    assert crawl.disk.statuses() == {"pending": 1}
    assert logged(caplog) == [DOWN, BACK]


def test_a_callback_that_blocks_for_a_minute_costs_no_claim_its_time(
    crawl: Crawl, caplog: Any
) -> None:
    """Row 28: the timers are due all at once, before the backend could say anything."""
    crawl.open()
    crawl.pass_time(0.5)
    crawl.claim(1)
    for call in crawl.clock.getDelayedCalls():
        call.delay(0.0)
    crawl.clock.rightNow += 60.0
    crawl.clock.advance(0.0)
    crawl.pass_time(0.1)
    assert crawl.claims == {1: [None]}
    assert logged(caplog) == []


def test_a_backend_that_comes_and_goes_is_one_story(crawl: Crawl, caplog: Any) -> None:
    crawl.open()
    for _ in range(5):
        crawl.backend.fails = on_fire
        crawl.use(1)
        crawl.pass_time(3.0)
        crawl.backend.fails = fine
        crawl.pass_time(5.0)
    assert logged(caplog) == [DOWN, BACK]
    assert crawl.unavailable == 1
    crawl.pass_time(QUIET_SECONDS)
    crawl.backend.fails = on_fire
    crawl.pass_time(2 * RECOVER_SECONDS)
    assert crawl.unavailable == 2


def test_the_buffer_is_bounded_and_drops_the_oldest_uses_first(crawl: Crawl, caplog: Any) -> None:
    """Row 38."""
    crawl.open()
    crawl.pass_time(0.1)
    crawl.backend.fails = on_fire
    crawl.claim(1)
    crawl.use(*range(2, MAX_BUFFERED + 2))  # two events each
    crawl.backend.fails = fine
    crawl.pass_time(60.0)
    statuses = crawl.disk.statuses()
    assert statuses["pending"] == 1
    # The batch that failed was out of the buffer when the others came.
    assert MAX_BUFFERED // 2 <= statuses["passed"] <= MAX_BUFFERED // 2 + MIN_BATCH
    assert crawl.claims == {1: [None]}


# -- whose claim it is -----------------------------------------------------------------------------


@pytest.fixture
def leased(crawl: Crawl) -> Crawl:
    """A crawl whose claims are its own for 25 seconds since it was heard of, as in Redis."""
    crawl.backend.lease = 25.0
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(1.0)
    assert crawl.claims == {1: [None]}
    return crawl


def test_a_crawl_that_calls_its_backend_is_sure_of_its_claims(leased: Crawl) -> None:
    for _ in range(40):
        leased.pass_time(RECOVER_SECONDS)
        assert leased.ledger.is_ours(leased.reports[1])


def test_a_crawl_that_was_silent_asks_whether_its_claims_are_still_its_own(leased: Crawl) -> None:
    """Row 40."""
    leased.clock.rightNow += 40.0  # nothing ran meanwhile
    assert not leased.ledger.is_ours(leased.reports[1])
    leased.clock.advance(0.0)
    leased.pass_time(1.0)
    # It is heard of again, but what happened in between is not known.
    assert not leased.ledger.is_ours(leased.reports[1])
    other = Crawl(leased.clock, leased.disk)
    leased.disk.database.execute("UPDATE task SET owner = ?", (other.backend.run_id,))
    leased.claim_again(1)
    leased.pass_time(0.1)
    assert leased.claims == {1: [None, Outcome.DUPLICATE]}
    leased.finish(1, Outcome.DUPLICATE)
    leased.pass_time(0.1)
    assert leased.disk.statuses() == {"pending": 1}


def test_a_crawl_that_was_silent_and_not_robbed_goes_on(leased: Crawl) -> None:
    """Row 40."""
    leased.clock.rightNow += 40.0
    leased.pass_time(1.0)
    leased.claim_again(1)
    leased.pass_time(0.1)
    assert leased.claims == {1: [None, None]}
    assert leased.ledger.is_ours(leased.reports[1])
    leased.finish(1, Outcome.ACCEPTED)
    leased.pass_time(0.1)
    assert leased.disk.statuses() == {"sent/accepted": 1}


def test_a_crawl_does_not_recover_its_own_claims(crawl: Crawl) -> None:
    """Row 42: the claim of this crawl was taken for a dead one's, and that of the taker too."""
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    crawl.disk.database.execute("UPDATE task SET owner = 'dead'")
    crawl.pass_time(2 * RECOVER_SECONDS)
    assert [recovered.reports for recovered in crawl.recovered] == [()]


def test_what_another_crawl_claimed_and_left_is_taken_over(crawl: Crawl) -> None:
    """Though this crawl wanted to report it, too, and was told that it is a duplicate."""
    other = Crawl(crawl.clock, crawl.disk)
    other.open()
    other.claim(1)
    other.pass_time(0.1)
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    assert crawl.claims == {1: [Outcome.DUPLICATE]}
    other.backend.die()
    crawl.pass_time(RECOVER_SECONDS + 0.1)
    [report] = crawl.recovered[-1].reports
    assert report.task.id == 1
    assert report.recovered
    assert report.expires_at == pytest.approx(300.0)


def test_what_is_taken_over_while_this_crawl_wants_to_claim_it_is_sent_once(crawl: Crawl) -> None:
    """The claim is too late, and must not make the ledger forget whose the report is."""
    other = Crawl(crawl.clock, crawl.disk)
    other.open()
    other.claim(1)
    other.pass_time(0.1)
    other.backend.die()
    crawl.open()
    crawl.claim(1, attempt=2)
    crawl.pass_time(0.1)
    assert crawl.claims == {1: [Outcome.DUPLICATE]}
    crawl.finish(1, Outcome.DUPLICATE)
    [report] = crawl.recovered[-1].reports
    crawl.ledger.finished(report, Outcome.ACCEPTED, None)
    crawl.pass_time(0.1)
    assert crawl.disk.statuses() == {"sent/accepted": 1}


def test_a_claim_that_another_crawl_got_when_the_ledger_was_lost_is_not_sent_by_both(
    crawl: Crawl,
) -> None:
    """It was claimed again in the new ledger, and sent though the new ledger forbade it."""
    crawl.open()
    crawl.claim(1, 2)
    crawl.pass_time(0.1)
    other = Crawl(crawl.clock, crawl.disk)
    other.open()
    other.pass_time(0.1)
    crawl.disk.database.execute("DELETE FROM task")
    other.claim(1, attempt=2)
    other.pass_time(0.1)
    crawl.backend.losses += 1
    crawl.use(3)
    assert crawl.ledger.is_ours(crawl.reports[1])  # as far as it can know
    crawl.pass_time(0.1)
    assert crawl.ledger.is_ours(crawl.reports[2])
    assert not crawl.ledger.is_ours(crawl.reports[1])
    crawl.claim_again(1)  # as delivery does then
    crawl.pass_time(0.1)
    assert crawl.claims == {1: [None, Outcome.DUPLICATE], 2: [None]}
    assert other.claims == {1: [None]}


def test_while_lost_claims_are_written_again_reports_wait_for_it(crawl: Crawl) -> None:
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    crawl.backend.losses += 1
    crawl.use(2)
    crawl.clock.advance(0.01)
    assert not crawl.ledger.is_ours(crawl.reports[1])
    crawl.clock.advance(0.01)
    assert crawl.ledger.is_ours(crawl.reports[1])


def test_what_another_crawl_left_for_too_long_is_expired(crawl: Crawl) -> None:
    other = Crawl(crawl.clock, crawl.disk)
    other.open()
    other.claim(1)
    other.pass_time(200.0)
    other.claim(2)
    other.pass_time(0.1)
    other.backend.die()
    crawl.clock.advance(150.0)
    crawl.open()
    crawl.pass_time(0.1)
    [recovered] = [each for each in crawl.recovered if each.reports]
    for report in recovered.reports:
        if report.expires_at < crawl.clock.seconds():
            crawl.ledger.finished(report, Outcome.EXPIRED, None)  # as delivery does
    crawl.pass_time(0.1)
    assert [report.task.id for report in recovered.reports] == [1, 2]
    assert crawl.disk.statuses() == {"pending": 1, "dropped/expired": 1}


# -- closing ---------------------------------------------------------------------------------------


def test_closing_writes_what_is_not_yet_written(crawl: Crawl) -> None:
    crawl.open()
    crawl.claim(1, 2, 3)
    crawl.close()
    crawl.pass_time(0.1)
    assert len(crawl.closed) == 1
    assert crawl.disk.statuses() == {"pending": 3}
    assert crawl.clock.getDelayedCalls() == []
    assert not crawl.disk.running


def test_closing_twice_is_closing_once(crawl: Crawl) -> None:
    crawl.open()
    crawl.claim(1)
    crawl.close()
    crawl.close()
    crawl.pass_time(0.1)
    crawl.close()
    assert len(crawl.closed) == 3
    assert crawl.clock.getDelayedCalls() == []


def test_a_ledger_that_was_never_opened_can_be_closed(crawl: Crawl) -> None:
    crawl.claim(1)
    crawl.close()
    crawl.pass_time(0.1)
    assert len(crawl.closed) == 1
    assert crawl.claims == {1: [None]}


@pytest.mark.parametrize("how", ["fails", "hangs"])
@pytest.mark.parametrize("since", [0.0, 20.0])
def test_a_backend_that_does_not_come_back_does_not_hold_up_closing(
    how: str, since: float, crawl: Crawl, caplog: Any
) -> None:
    """Row 30."""
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    crawl.backend.hangs = how == "hangs"
    crawl.backend.fails = on_fire
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.claim(2)
    crawl.pass_time(since)
    began = crawl.clock.seconds()
    crawl.close()
    crawl.pass_time(CLOSING_SECONDS)
    assert len(crawl.closed) == 1
    assert crawl.closed[0] <= began + CLOSING_SECONDS
    assert crawl.claims == {1: [None], 2: [None]}
    assert not crawl.ledger.durable
    assert len(logged(caplog)) == 1
    crawl.pass_time(0.1)
    assert crawl.clock.getDelayedCalls() == []


def test_a_slow_backend_is_waited_for_as_long_as_reports_depend_on_it(crawl: Crawl) -> None:
    """The next crawl would send them again."""
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    crawl.backend.delay = 3.0
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.ledger.close(timeout=10.0)
    crawl.pass_time(10.0)
    assert crawl.disk.statuses() == {"sent/accepted": 1}


def test_a_slow_backend_is_waited_for_though_its_claims_were_not_waited_for(crawl: Crawl) -> None:
    """They land later, and the next crawl would send again what was sent meanwhile."""
    crawl.open()
    crawl.pass_time(0.1)
    crawl.backend.delay = 4.0
    crawl.claim(1)
    crawl.ledger.hurry(2.0)
    crawl.pass_time(2.5)
    assert crawl.claims == {1: [None]}
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.ledger.close(timeout=7.0)
    crawl.pass_time(7.0)
    assert crawl.disk.statuses() == {"sent/accepted": 1}


def test_a_slow_backend_is_not_waited_for_if_no_report_depends_on_it(crawl: Crawl) -> None:
    crawl.open()
    crawl.pass_time(0.1)
    crawl.backend.delay = 3.0
    crawl.use(1)
    crawl.ledger.close(timeout=10.0)
    crawl.close()
    crawl.pass_time(2.0)
    assert crawl.closed == [pytest.approx(0.1 + CLOSING_SECONDS)]


def test_a_backend_that_never_answered_is_not_waited_for(crawl: Crawl) -> None:
    """None of our claims is in it, so no crawl sends those reports again."""
    crawl.backend.hangs = True
    crawl.backend.lease = 25.0  # as in Redis
    crawl.open()
    crawl.claim(1)
    crawl.ledger.hurry(2.0)
    crawl.pass_time(2.0)
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.ledger.close(timeout=10.0)
    crawl.close()
    crawl.pass_time(10.0)
    assert crawl.closed == [pytest.approx(2.0 + CLOSING_SECONDS)]


def test_a_backend_that_is_back_in_time_is_told_all_when_closing(crawl: Crawl) -> None:
    crawl.open()
    crawl.claim(1)
    crawl.pass_time(0.1)
    crawl.backend.fails = on_fire
    crawl.finish(1, Outcome.ACCEPTED)
    crawl.pass_time(3.0)
    crawl.backend.fails = fine
    crawl.close()
    crawl.pass_time(0.1)
    assert len(crawl.closed) == 1
    assert crawl.disk.statuses() == {"sent/accepted": 1}


def test_a_ledger_of_a_crawl_that_could_not_start_is_not_kept() -> None:
    """Something else stopped the crawl, so nothing closes it. The process may run for weeks."""
    _, backend, _ = clocked_ledger(Disk(), Clock())
    backend = weakref.ref(backend)
    gc.collect()
    assert backend() is None


def test_a_rejection_found_after_closing_waits_for_nothing(crawl: Crawl) -> None:
    crawl.open()
    crawl.close()
    crawl.pass_time(0.1)
    crawl.claim(1)
    crawl.use(2)
    assert crawl.claims == {1: [None]}
    assert crawl.clock.getDelayedCalls() == []


# -- beside delivery -------------------------------------------------------------------------------


def test_what_the_end_of_the_crawl_keeps_is_kept_once(crawl: Crawl) -> None:
    """A wrong key stops reporting while another report is in flight: the rest waits for the end."""
    script = {2: coded("ERROR_KEY_DOES_NOT_EXIST"), 3: HANG}
    desk = Desk(
        lambda task_id, earlier: script.get(task_id, OK),
        concurrency=2,
        clock=crawl.clock,
        ledger=crawl.ledger,
    )
    crawl.ledger.open(crawl.recovered.append)
    crawl.pass_time(1.0)
    desk.reject(1, 2, 3, *range(10, 20))
    desk.close(30.0)
    crawl.pass_time(31.0)
    assert {n: desk.outcomes[n] for n in range(10, 20)} == {
        n: [Outcome.KEPT] for n in range(10, 20)
    }
    assert [recovered.reports for recovered in crawl.recovered] == [()]


def test_a_worker_that_was_stopped_sends_nothing_that_another_one_has_taken_over() -> None:
    """Row 40: not even if it cannot reach its ledger when it goes on."""
    stopped = Crawl()
    stopped.backend.lease = 25.0
    waits = Desk(
        lambda task_id, earlier: OK if earlier else throttled("60"),
        concurrency=2,
        clock=stopped.clock,
        ledger=stopped.ledger,
    )
    stopped.open()
    stopped.pass_time(1.0)
    waits.reject(*range(1, 11))
    stopped.pass_time(1.0)

    stopped.disk.running.discard(stopped.backend.run_id)
    other = Crawl(disk=stopped.disk)
    other.clock.rightNow = stopped.clock.seconds() + 31.0
    sends = Desk(concurrency=2, clock=other.clock, ledger=other.ledger)
    other.ledger.open(lambda recovered: sends.delivery.recover(recovered.reports))
    other.pass_time(5.0)

    stopped.backend.fails = on_fire
    stopped.clock.rightNow += 45.0
    stopped.clock.callLater(20.0, lambda: setattr(stopped.backend, "fails", fine))
    for _ in range(900):
        stopped.clock.advance(0.1)
    assert sorted([*waits.api.accepted, *sends.api.accepted]) == [*range(1, 11)]
    stopped.disk.database.close()


def test_a_process_that_ends_lets_the_ledger_finish_its_last_write() -> None:
    """Row 30: another process holds the file's lock while the crawl closes, and a moment longer."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDS_WHILE_IT_WRITES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ends\n"
    out, _ = process.communicate(b"go on\n")
    assert (out, process.returncode) == (b"['go on']\n", 0)


ENDS_WHILE_IT_WRITES = """
import atexit, sys
from contexts import context
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from scrapy_capmonster_report.ledger.contact import Contact

written = []
atexit.register(print, written)  # after what is registered later
contact = Contact(None, context(reactor=reactor))
write = contact.ask(lambda: written.append(sys.stdin.readline().strip()))
reactor.callWhenRunning(lambda: Deferred.fromCoroutine(write))
reactor.callLater(0, reactor.stop)
reactor.run()
print("ends", flush=True)
"""
