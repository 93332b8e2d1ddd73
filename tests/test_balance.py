"""Whatever happens: every report has one outcome, and no task is accepted twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scripted import HANG, LOST, OK, Desk, coded, throttled

from scrapy_capmonster_report.delivery.answer import ReportAnswer, Verdict
from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from scrapy_capmonster_report.outcome import Report

ANSWERS: dict[str, ReportAnswer | None] = {
    "accepted": OK,
    "refused": ReportAnswer(Verdict.REFUSED, "ERROR_NEW"),
    "lost": LOST,
    "hang": HANG,
    "throttled": throttled(None),
    "throttled for long": throttled("1000"),
    "unknown task": coded("WRONG_CAPTCHA_ID"),
    "banned": coded("ERROR_IP_BANNED"),
    "wrong key": coded("ERROR_KEY_DOES_NOT_EXIST"),
}
SENT = {Outcome.ACCEPTED, Outcome.REFUSED}


# Older Hypothesis takes its time over lambdas.
def has_closed(machine: DeliveryMachine) -> bool:
    return bool(machine.desk.closed)


class DeliveryMachine(RuleBasedStateMachine):
    """A crawl rejects, an API behaves in one way or another, time passes, the crawl closes."""

    @initialize(
        concurrency=st.integers(1, 4),
        queue_size=st.sampled_from([1, 3, 50]),
        max_age=st.sampled_from([5.0, 300.0, 2000.0]),
        durable=st.booleans(),
        jitter=st.sampled_from([0.0, 0.5, 1.0]),
    )
    def open(
        self, concurrency: int, queue_size: int, max_age: float, durable: bool, jitter: float
    ) -> None:
        self.behaviour: list[str] = ["accepted"]
        self.concurrency = concurrency
        self.in_flight_when_closed: int | None = None
        self.desk = Desk(
            self._answer,
            concurrency=concurrency,
            queue_size=queue_size,
            max_age=max_age,
            durable=durable,
            random=lambda: jitter,
        )

    def _answer(self, task_id: int, earlier: int) -> ReportAnswer | None:
        return ANSWERS[self.behaviour[earlier % len(self.behaviour)]]

    @rule(behaviour=st.lists(st.sampled_from(sorted(ANSWERS)), min_size=1, max_size=3))
    def behave(self, behaviour: list[str]) -> None:
        self.behaviour = behaviour

    @rule(
        task_ids=st.lists(st.integers(1, 60), min_size=1, max_size=12),
        age=st.sampled_from([0.0, 1.0, 4.0, 299.0]),
    )
    def reject(self, task_ids: list[int], age: float) -> None:
        for task_id in task_ids:
            if not self.desk.ledger.is_claimed(task_id):  # as the middleware does
                self.desk.reject(task_id, age=age)

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.1, 1.0, 7.0, 61.0, 601.0]))
    def pass_time(self, seconds: float) -> None:
        self.desk.pass_time(seconds)

    @rule(timeout=st.sampled_from([0.0, 0.5, 30.0]))
    def close(self, timeout: float) -> None:
        self.desk.close(timeout)

    @precondition(has_closed)
    @rule()
    def nothing_is_left_behind_a_close(self) -> None:
        assert self.desk.clock.getDelayedCalls() == []
        assert self.desk.api.in_flight == 0
        assert self.desk.finished() == len(self.desk.submitted)

    @invariant()
    def no_more_under_way_than_allowed(self) -> None:
        assert self.desk.api.most_in_flight <= self.concurrency

    @invariant()
    def no_task_is_accepted_twice(self) -> None:
        assert len(set(self.desk.api.accepted)) == len(self.desk.api.accepted)

    @invariant()
    def no_report_has_two_outcomes(self) -> None:
        for task_id, outcomes in self.desk.outcomes.items():
            assert len(outcomes) <= self.desk.submitted.count(task_id)
            assert len(SENT.intersection(outcomes)) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "desk"):
            return
        self.desk.close(30.0)
        self.desk.pass_time(30.0)
        assert self.desk.closed
        self.nothing_is_left_behind_a_close()
        self.every_answer_was_counted()

    def every_answer_was_counted(self) -> None:
        kept = self.desk.count(Outcome.KEPT)
        assert not kept or self.desk.ledger.durable
        assert self.desk.count(Outcome.ACCEPTED) == len(self.desk.api.accepted)


TestBalance = DeliveryMachine.TestCase
TestBalance.settings = settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    stateful_step_count=25,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("listener_hands_over", [1, 3])
def test_on_finish_may_submit_the_next_report(listener_hands_over: int) -> None:
    """Handlers of signals may call ``reject()``: nothing may be lost or counted twice by that."""
    desk = Desk(lambda task_id, earlier: OK, concurrency=1, queue_size=3, max_age=10.0)

    def hand_over(report: Report) -> None:
        if report.task.id < 100:
            desk.reject(*(report.task.id + 100 * n for n in range(1, listener_hands_over + 1)))

    desk.listener = hand_over
    desk.reject(1, 2, age=0.0)
    desk.reject(3, 4, age=9.95)
    desk.pass_time(0.05)
    desk.reject(5, 6)
    desk.pass_time(1.0)
    desk.reject(7)
    desk.close(0.0)
    assert sorted(desk.outcomes) == sorted(desk.submitted)
    assert {len(outcomes) for outcomes in desk.outcomes.values()} == {1}
    assert len(desk.closed) == 1
