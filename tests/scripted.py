"""A delivery whose network is a script and whose time is told by hand."""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from contexts import context
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from scrapy_capmonster_report.delivery import Delivery
from scrapy_capmonster_report.delivery.answer import ReportAnswer, Verdict, read_answer
from scrapy_capmonster_report.ledger import Ledger
from scrapy_capmonster_report.outcome import Report
from scrapy_capmonster_report.stats import RETRIED
from scrapy_capmonster_report.task import Kind, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capmonster_report.outcome import Outcome

OK = ReportAnswer(Verdict.ACCEPTED)
LOST = ReportAnswer(Verdict.RETRY, "connection lost")
HANG = None
"""In a script: no answer, ever."""


def coded(code: str) -> ReportAnswer:
    """The answer that carries an ``errorCode``."""
    body = f'{{"errorId": 1, "errorCode": "{code}"}}'.encode()
    return read_answer(200, body, retry_after=None, wall_now=0.0, secret="secret")


def throttled(retry_after: str | None, wall_now: float = 0.0) -> ReportAnswer:
    return read_answer(429, b"", retry_after=retry_after, wall_now=wall_now, secret="secret")


class ScriptedApi:
    """Stands for the network: answers a report after *delay* seconds, as the script says.

    Args:
        script: the answer to a task, from its id and how many requests came before.
    """

    def __init__(self, clock: Clock, script: Callable[[int, int], ReportAnswer | None]) -> None:
        self.script = script
        self.delay = 0.1
        self.sent: list[tuple[float, int]] = []
        self.accepted: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._clock = clock

    def send(self, task: Task) -> Deferred[ReportAnswer]:
        earlier = len(self.sent)
        self.sent.append((self._clock.seconds(), task.id))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        answered: Deferred[ReportAnswer] = Deferred(lambda _: self._answer(answered, task, LOST))
        answer = self.script(task.id, earlier)
        if answer is not HANG:
            call = self._clock.callLater(self.delay, self._answer, answered, task, answer)
            answered.addBoth(lambda result: (call.active() and call.cancel(), result)[1])
        return answered

    def _answer(self, answered: Deferred[ReportAnswer], task: Task, answer: ReportAnswer) -> None:
        self.in_flight -= 1
        if answer.verdict is Verdict.ACCEPTED:
            self.accepted.append(task.id)
        answered.callback(answer)

    def task_ids(self) -> list[int]:
        return [task_id for _, task_id in self.sent]

    def moments(self) -> list[float]:
        return [moment for moment, _ in self.sent]


class DurableLedger(Ledger):
    """As if it outlived the process."""

    durable = True


class Desk:
    """Where refusals are handed in and their outcomes are written down.

    Args:
        script: as for :class:`ScriptedApi`.
        now: what ages reports, if not the clock itself.
        random: the jitter, from 0 to 1.
        clock: a reactor, where time is not told by hand.
        api: sends for real, where the network is not a script.
        ledger: one that other desks share.
        answered: whether the service has answered a report before.
    """

    def __init__(
        self,
        script: Callable[[int, int], ReportAnswer | None] = lambda task_id, earlier: OK,
        *,
        concurrency: int = 4,
        queue_size: int = 1000,
        max_age: float = 300.0,
        durable: bool = False,
        now: Callable[[], float] | None = None,
        random: Callable[[], float] = lambda: 0.0,
        clock: Any = None,
        api: Any = None,
        ledger: Any = None,
        answered: bool = True,
    ) -> None:
        self.clock = clock or Clock()
        self.now = now or self.clock.seconds
        self.max_age = max_age
        self.api = api or ScriptedApi(self.clock, script)
        self.ledger = ledger or (DurableLedger if durable else Ledger)(self.now)
        self.submitted: list[int] = []
        self.outcomes: dict[int, list[Outcome]] = defaultdict(list)
        self.codes: list[str | None] = []
        self.listener: Callable[[Report], None] = lambda report: None
        self.closed: list[float] = []
        self.context = context(
            reactor=self.clock,
            clock=SimpleNamespace(now=self.now),
            random=random,
            concurrency=concurrency,
            queue_size=queue_size,
            max_age=max_age,
        )
        self.delivery = Delivery(self.context, self.api, self.ledger, self._finished)
        if answered:
            self.delivery._pacing.learn(OK, self.now(), is_probe=False)

    def reject(self, *task_ids: int, age: float = 0.0) -> None:
        """The answers of these tasks, solved *age* seconds ago, were refused."""
        for task_id in task_ids:
            solved_at = self.now() - age
            task = Task(task_id, Kind.TOKEN, None, solved_at, None)
            self.submitted.append(task_id)
            self.delivery.submit(Report(task, 1, solved_at + self.max_age))

    @property
    def retried(self) -> int:
        """How often a report was sent again."""
        return self.context.stats[RETRIED]

    def close(self, timeout: float) -> None:
        self.delivery.close(timeout).addCallback(lambda _: self.closed.append(self.clock.seconds()))

    def pass_time(self, seconds: float) -> None:
        """Let time pass as it does, each delayed call at its moment."""
        end = self.clock.seconds() + seconds
        while due := [call.getTime() for call in self.clock.getDelayedCalls()]:
            if min(due) > end:
                break
            self.clock.advance(max(0.0, min(due) - self.clock.seconds()))
        self.clock.advance(max(0.0, end - self.clock.seconds()))

    def count(self, outcome: Outcome) -> int:
        return sum(outcomes.count(outcome) for outcomes in self.outcomes.values())

    def finished(self) -> int:
        return sum(map(len, self.outcomes.values()))

    def _finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        self.outcomes[report.task.id].append(outcome)
        self.codes.append(code)
        self.listener(report)
