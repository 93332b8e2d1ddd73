"""Crawls that close, are killed, begin again and run side by side, on one durable ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clocked import Disk, clocked_ledger
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from scripted import HANG, LOST, OK, Desk, coded, throttled
from twisted.internet.task import Clock

from scrapy_capmonster_report.delivery.answer import ReportAnswer, Verdict
from scrapy_capmonster_report.ledger.buffered import CLOSING_SECONDS

if TYPE_CHECKING:
    from scrapy_capmonster_report.ledger import Recovered

ANSWERS: dict[str, ReportAnswer | None] = {
    "accepted": OK,
    "refused": ReportAnswer(Verdict.REFUSED, "ERROR_NEW"),
    "lost": LOST,
    "hang": HANG,
    "throttled": throttled("20"),
    "banned": coded("ERROR_IP_BANNED"),
    "wrong key": coded("ERROR_KEY_DOES_NOT_EXIST"),
}


class Run:
    """One crawl: a delivery, and its ledger on the disk that all runs share."""

    def __init__(self, disk: Disk, clock: Clock, behaviour: list[str]) -> None:
        self.ledger, self.backend, _ = clocked_ledger(disk, clock)
        self.desk = Desk(
            lambda task_id, earlier: ANSWERS[behaviour[earlier % len(behaviour)]],
            clock=clock,
            ledger=self.ledger,
        )
        self.resumed = 0
        self.ledger.open(self._on_recovered)

    def _on_recovered(self, recovered: Recovered) -> None:
        self.resumed += len(recovered.reports)
        self.desk.delivery.recover(recovered.reports)

    def close(self, timeout: float) -> None:
        self.desk.close(timeout)
        self.desk.pass_time(timeout + 0.001)  # the steps of a deadline add up to less exactly
        assert self.desk.closed
        self.ledger.close()
        self.desk.pass_time(CLOSING_SECONDS)

    def kill(self) -> None:
        self.backend.die()
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
        statuses = self.disk.statuses()
        assert statuses.get("sent/accepted", 0) <= len(accepted)
        assert "pending" not in statuses
        self.disk.database.close()


TestRestarts = RestartMachine.TestCase
TestRestarts.settings = settings(
    derandomize=True,
    phases=[Phase.generate],
    deadline=None,
    max_examples=100,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)
