"""Crawls that close, are killed, begin again and run side by side, on one durable ledger."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from clocked import Disk, clocked_ledger
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scripted import HANG, LOST, OK, Desk, coded, throttled
from twisted.internet.task import Clock

from scrapy_capmonster_report.delivery.answer import Answer, Verdict
from scrapy_capmonster_report.ledger.journal import (
    CLOSING_SECONDS,
    LOOK_EVERY_SECONDS,
    MOST_AT_ONCE,
    PATIENCE_SECONDS,
)
from scrapy_capmonster_report.outcome import Outcome, Report
from scrapy_capmonster_report.task import Kind, Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capmonster_report.ledger import Recovered
    from scrapy_capmonster_report.ledger.journal import JournalLedger

ANSWERS: dict[str, Answer | None] = {
    "accepted": OK,
    "refused": Answer(Verdict.REFUSED, "ERROR_NEW"),
    "lost": LOST,
    "hang": HANG,
    "throttled": throttled("20"),
    "banned": coded("ERROR_IP_BANNED"),
    "wrong key": coded("ERROR_KEY_DOES_NOT_EXIST"),
}


class Run:
    """One crawl: a delivery, and its ledger on the disk that all runs share."""

    def __init__(self, disk: Disk, clock: Clock, behaviour: list[str]) -> None:
        self.ledger, self.home = clocked_ledger(disk, clock)
        self.desk = Desk(
            lambda task_id, earlier: ANSWERS[behaviour[earlier % len(behaviour)]],
            clock=clock,
            ledger=self.ledger,
        )
        self.resumed = 0
        self.ledger.open(self._inherit)

    def _inherit(self, inheritance: Recovered) -> None:
        self.resumed += len(inheritance.reports)
        self.desk.delivery.recover(inheritance.reports)

    def close(self, timeout: float) -> None:
        self.desk.close(timeout)
        self.desk.pass_time(timeout)
        assert self.desk.closed
        self.ledger.close()
        self.desk.pass_time(CLOSING_SECONDS)

    def kill(self) -> None:
        self.home.die()
        for call in list(self.desk.clock.getDelayedCalls()):
            call.cancel()


# Older Hypothesis takes its time over lambdas.
def goes_on(machine: RestartMachine) -> bool:
    return not machine.ended


def has_ended(machine: RestartMachine) -> bool:
    return machine.ended


class RestartMachine(RuleBasedStateMachine):
    """One crawl after the other; what one leaves, the next takes over."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.clock = Clock()
        self.clock.advance(1_000_000.0)
        self.behaviour = ["accepted"]
        self.runs = [Run(self.disk, self.clock, self.behaviour)]
        self.ended = False

    @property
    def run(self) -> Run:
        return self.runs[-1]

    @rule(behaviour=st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=3))
    def behave(self, behaviour: list[str]) -> None:
        self.behaviour[:] = behaviour

    @precondition(goes_on)
    @rule(
        task_ids=st.lists(st.integers(1, 40), min_size=1, max_size=8),
        age=st.sampled_from([0.0, 299.0]),
    )
    def reject(self, task_ids: list[int], age: float) -> None:
        for task_id in task_ids:
            if not self.run.ledger.is_claimed(task_id):  # as the middleware does
                self.run.desk.reject(task_id, age=age)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.02, 0.1, 1.0, 7.0, 61.0, 301.0]))
    def pass_time(self, seconds: float) -> None:
        self.run.desk.pass_time(seconds)

    @precondition(goes_on)
    @rule(timeout=st.sampled_from([0.0, 0.5, 30.0]))
    def close(self, timeout: float) -> None:
        self.run.close(timeout)
        assert self.clock.getDelayedCalls() == []
        self.every_report_has_its_outcome()
        self.ended = True

    @precondition(goes_on)
    @rule()
    def kill(self) -> None:
        self.run.kill()
        self.ended = True

    @precondition(has_ended)
    @rule()
    def begin_again(self) -> None:
        self.runs.append(Run(self.disk, self.clock, self.behaviour))
        self.ended = False

    def every_report_has_its_outcome(self) -> None:
        desk = self.run.desk
        assert desk.finished() == len(desk.submitted) + self.run.resumed

    @invariant()
    def no_task_is_accepted_twice(self) -> None:
        accepted = [task_id for run in self.runs for task_id in run.desk.api.accepted]
        assert len(set(accepted)) == len(accepted)

    @invariant()
    def no_report_has_two_outcomes(self) -> None:
        for run in self.runs:
            for task_id, outcomes in run.desk.outcomes.items():
                assert len(outcomes) <= run.desk.submitted.count(task_id) + run.resumed

    def teardown(self) -> None:
        if not self.ended:
            self.close(30.0)
        # Nothing is lost: what the service never got is pending, or has an outcome that says so.
        self.behaviour[:] = ["accepted"]
        self.begin_again()
        self.run.desk.pass_time(30.0)
        self.close(30.0)
        self.no_task_is_accepted_twice()
        accepted = {task_id for run in self.runs for task_id in run.desk.api.accepted}
        fates = self.disk.fates()
        assert fates.get("sent/accepted", 0) <= len(accepted)
        assert "pending" not in fates
        self.disk.database.close()


TestRestarts = RestartMachine.TestCase
TestRestarts.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=100,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)


# -- the journal -----------------------------------------------------------------------------------


class Journal:
    """A ledger on a disk of its own, and what became of the claims."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.disk = Disk()
        self.lost = 0
        self.inherited: list[Recovered] = []
        self.claims: dict[int, list[Outcome | None]] = {}
        self.ledger, self.home = clocked_ledger(self.disk, self.clock, self._on_unavailable)

    def open(self) -> JournalLedger:
        self.ledger.open(self.inherited.append)
        return self.ledger

    def claim(self, task_id: int) -> None:
        now = self.clock.seconds()
        report = Report(Task(task_id, Kind.TOKEN, None, now, None), 1, now + 300)
        answers = self.claims.setdefault(task_id, [])
        claim = self.ledger.claim(report)
        if claim is None:
            answers.append(None)
        else:
            claim.addCallback(answers.append)

    def finish(self, task_id: int, outcome: Outcome) -> None:
        report = Report(Task(task_id, Kind.TOKEN, None, 0.0, None), 1, 300.0)
        self.ledger.finished(report, outcome, None)

    def _on_unavailable(self) -> None:
        self.lost += 1


@pytest.fixture
def journal() -> Iterator[Journal]:
    journal = Journal()
    yield journal
    journal.disk.database.close()


def test_claims_are_answered_once_they_are_written(journal: Journal) -> None:
    journal.claim(1)
    journal.open()
    journal.claim(2)
    assert journal.claims == {1: [], 2: []}
    for _ in range(3):  # open, look, write
        journal.clock.advance(0.01)
    assert journal.claims == {1: [None], 2: [None]}
    assert journal.disk.fates() == {"pending": 2}


def test_the_slower_the_home_the_larger_the_batches(journal: Journal) -> None:
    journal.open()
    journal.clock.pump([0.01, 0.01])
    journal.home.delay = 1.0
    for task_id in range(1, 2 * MOST_AT_ONCE):
        journal.claim(task_id)
    journal.clock.pump([1.0, 1.0, 1.0])
    assert journal.home.batches == [1, MOST_AT_ONCE, MOST_AT_ONCE - 2]
    assert len(journal.claims) == sum(journal.home.batches)


@pytest.mark.parametrize("when", ["opening", "looking", "writing"])
@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_home_that_is_lost_leaves_nobody_waiting(
    how: str, when: str, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise OSError("disk on fire")

    def break_now() -> None:
        journal.home.hangs = how == "hangs"
        journal.home.fails = fail if how == "fails" else journal.home.fails

    if when == "opening":
        break_now()
    journal.open()
    if when == "looking":
        break_now()
    journal.clock.pump([0.01] * 4)
    break_now()
    journal.claim(1)
    journal.clock.pump([0.01] * 4)
    journal.clock.advance(PATIENCE_SECONDS)
    assert journal.claims == {1: [None]}
    assert journal.lost == 1
    assert not journal.ledger.durable
    journal.claim(2)
    assert journal.claims[2] == [None]
    assert journal.ledger.is_claimed(2)
    (warning,) = (r for r in caplog.records if r.levelno >= logging.WARNING)
    assert "sqlite:ledger.sqlite" in warning.getMessage()


def test_a_home_that_stumbles_still_hears_what_was_sent_meanwhile(journal: Journal) -> None:
    """Or the next crawl would send it once more."""

    def fail() -> None:
        raise OSError("disk on fire")

    journal.open()
    for task_id in range(1, 5):
        journal.claim(task_id)
    journal.clock.pump([0.01] * 4)
    assert journal.disk.fates() == {"pending": 4}
    journal.home.fails = fail
    journal.finish(1, Outcome.ACCEPTED)  # is not written any more
    journal.clock.pump([0.01] * 4)
    assert journal.lost == 1
    journal.finish(2, Outcome.REFUSED)  # nor is this, and nobody tries at once
    journal.clock.advance(LOOK_EVERY_SECONDS)
    journal.clock.pump([0.01] * 2)
    assert journal.disk.fates() == {"pending": 4}
    journal.home.fails = lambda: None
    journal.clock.advance(LOOK_EVERY_SECONDS)
    journal.clock.pump([0.01] * 2)
    assert journal.disk.fates() == {"pending": 2, "sent/accepted": 1, "sent/refused": 1}
    journal.finish(3, Outcome.ACCEPTED)
    closed: list[None] = []
    journal.ledger.close().addCallback(closed.append)
    journal.clock.pump([0.01] * 4)
    assert closed == [None]
    assert journal.disk.fates() == {"pending": 1, "sent/accepted": 2, "sent/refused": 1}
    assert journal.clock.getDelayedCalls() == []
    assert not journal.disk.running


@pytest.mark.parametrize("how", ["fails", "hangs"])
def test_a_home_that_does_not_come_back_does_not_hold_up_closing(
    how: str, journal: Journal
) -> None:
    def fail() -> None:
        raise OSError("disk on fire")

    journal.open()
    journal.claim(1)
    journal.clock.pump([0.01] * 4)
    journal.home.hangs = how == "hangs"
    journal.home.fails = fail
    journal.finish(1, Outcome.ACCEPTED)
    journal.clock.advance(PATIENCE_SECONDS)
    assert journal.lost == 1
    closed: list[None] = []
    journal.ledger.close().addCallback(closed.append)
    journal.clock.pump([0.01, 0.01, CLOSING_SECONDS])
    assert closed == [None]
    journal.clock.advance(PATIENCE_SECONDS)
    assert journal.clock.getDelayedCalls() == []


def test_a_home_that_hangs_while_closing_does_not_hold_it_up(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.open()
    journal.clock.pump([0.01] * 3)
    journal.home.hangs = True
    journal.claim(1)
    closed: list[None] = []
    journal.ledger.close().addCallback(closed.append)
    journal.clock.advance(CLOSING_SECONDS)
    assert closed == [None]
    assert journal.claims == {1: [None]}
    assert not journal.ledger.durable  # so that nobody says the report is kept
    assert "could not be closed in time" in caplog.text
    journal.clock.advance(PATIENCE_SECONDS)
    assert journal.clock.getDelayedCalls() == []
    assert caplog.text.count("sqlite:ledger.sqlite") == 1


def test_closing_writes_what_is_not_yet_written(journal: Journal) -> None:
    journal.open()
    for task_id in range(1, 4):
        journal.claim(task_id)
    closed: list[None] = []
    journal.ledger.close().addCallback(closed.append)
    journal.clock.pump([0.01] * 5)
    assert closed == [None]
    assert journal.disk.fates() == {"pending": 3}
    assert journal.clock.getDelayedCalls() == []
