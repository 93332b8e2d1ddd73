"""The queue of reports and its senders."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from twisted.application.internet import backoffPolicy
from twisted.internet.defer import Deferred

from ..outcome import Outcome
from .answer import Verdict
from .gate import Gate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall, IReactorTime
    from twisted.python.failure import Failure

    from ..ledger import Ledger
    from ..outcome import Report
    from .answer import Answer
    from .api import ReportClient

logger = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0


class Delivery:
    """Takes reports and sees each of them to one outcome.

    A report is being claimed (in the ledger), waiting (in the queue), under way, or sleeping
    (between two attempts). It leaves through :meth:`_finish`, exactly once. Handing over never
    waits.

    Args:
        client: sends one report once.
        ledger: remembers the reports that are not finished.
        concurrency: reports under way at most.
        queue_size: reports that are not under way at most.
        clock: for the delays.
        now: steady seconds since the epoch, by which reports expire.
        max_age: seconds after which a report is pointless.
        random: uniform numbers from 0 to 1, for the jitter.
        on_finish: called with each report, its outcome and, if it was refused, the code.
        on_retry: called each time a report is sent again.
        log_extra: what log records carry (``{"spider": …}``).
    """

    def __init__(
        self,
        client: ReportClient,
        ledger: Ledger,
        *,
        concurrency: int,
        queue_size: int,
        clock: IReactorTime,
        now: Callable[[], float],
        max_age: float,
        random: Callable[[], float],
        on_finish: Callable[[Report, Outcome, str | None], None],
        on_retry: Callable[[], None],
        log_extra: dict[str, Any],
    ) -> None:
        self._api = client
        self._ledger = ledger
        self._queue_size = queue_size
        self._clock = clock
        self._now = now
        self._on_finish = on_finish
        self._on_retry = on_retry
        self._log_extra = log_extra
        self._backoff = backoffPolicy(
            BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, 2.0, jitter=lambda: random() * BACKOFF_SECONDS
        )
        self._gate = Gate(concurrency, max_age, self._backoff, log_extra)

        self._claiming: dict[Report, None] = {}
        self._waiting: deque[Report] = deque()
        self._under_way: dict[Report, Deferred[Answer]] = {}
        self._sleeping: dict[Report, IDelayedCall] = {}
        self._wake_up: IDelayedCall | None = None
        self._warned_of_full_queue = False

        self._gives_up_at: float | None = None
        self._giving_up: IDelayedCall | None = None
        self._closed = False
        self._on_drained: list[Deferred[None]] = []

    # -- taking reports ----------------------------------------------------------------------

    def submit(self, report: Report) -> None:
        """Take a *report*: it is sent, dropped or kept, and ``on_finish`` hears of it."""
        if self._closed:
            self._finish(report, Outcome.SHUTDOWN)
        elif self._is_hopeless(report):
            self._finish(report, Outcome.BREAKER)
        elif self._is_full():
            self._warn_of_full_queue()
            self._finish(report, Outcome.QUEUE_FULL)
        else:
            claim = self._ledger.claim(report)
            if claim is None:
                self._enqueue(report)
            else:
                self._claiming[report] = None
                claim.addCallback(self._claimed, report)

    def recover(self, reports: Sequence[Report]) -> None:
        """Take over *reports* that an earlier crawl left; they are claimed already.

        It may have been stopped by what stops this one too, so one of them goes first.
        """
        if reports:
            self._gate.try_one_first()
        for report in reports:
            self._enqueue(report)

    def _claimed(self, objection: Outcome | None, report: Report) -> None:
        del self._claiming[report]
        if objection is not None:
            self._finish(report, objection)
        else:
            self._enqueue(report)
        self._check_drained()

    def _enqueue(self, report: Report) -> None:
        if self._is_hopeless(report):
            self._finish(report, Outcome.BREAKER)
        elif self._closed:
            self._give_up_on(report)
        else:
            self._waiting.append(report)
            self._pump()

    def _is_full(self) -> bool:
        if self._queued() < self._queue_size:
            return False
        while self._waiting and self._is_expired(self._waiting[0]):
            self._drop_expired(self._waiting.popleft())
        return self._queued() >= self._queue_size

    def _queued(self) -> int:
        """How many reports wait, and would wait if all that are being claimed came now."""
        free = max(0, self._gate.allowed(self._now()) - len(self._under_way))
        claiming = max(0, len(self._claiming) - free)
        return claiming + len(self._waiting) + len(self._sleeping)

    def _warn_of_full_queue(self) -> None:
        if not self._warned_of_full_queue:
            self._warned_of_full_queue = True
            logger.warning(
                "%d reports to CapMonster Cloud are waiting (CAPMONSTER_REPORT_QUEUE_SIZE); "
                "refusals found while there are so many are not reported",
                self._queue_size,
                extra=self._log_extra,
            )

    @property
    def unfinished(self) -> int:
        """How many reports have no outcome yet."""
        return sum(map(len, (self._claiming, self._waiting, self._under_way, self._sleeping)))

    # -- sending -----------------------------------------------------------------------------

    def _pump(self) -> None:
        """Start as many reports as may be under way."""
        while self._waiting and len(self._under_way) < self._gate.allowed(self._now()):
            report = self._waiting.popleft()
            if self._is_expired(report):
                self._drop_expired(report)
            else:
                self._start(report)
        self._check_drained()
        self._cancel(self._wake_up)
        delay = self._gate.opens_at - self._now()
        # With nothing under way it was the gate that stopped us, even if it opens this moment.
        if self._waiting and (delay > 0 or not self._under_way) and delay < math.inf:
            self._wake_up = self._clock.callLater(max(0.0, delay), self._pump)

    def _start(self, report: Report) -> None:
        report.tries += 1
        if report.tries > 1:
            self._on_retry()
        probe = self._gate.breaker.is_open
        sending = self._under_way[report] = self._api.send(report.task)
        sending.addCallback(self._answered, report, probe)
        sending.addErrback(self._broke, report)

    def _answered(self, answer: Answer, report: Report, probe: bool) -> None:
        if self._under_way.pop(report, None) is None:
            return  # given up meanwhile
        now = self._now()
        self._gate.learn(answer, now, probe=probe)
        if answer.verdict is Verdict.ACCEPTED:
            self._finish(report, Outcome.ACCEPTED)
        elif answer.verdict is Verdict.REFUSED:
            self._finish(report, Outcome.REFUSED, answer.code)
        else:
            self._sleep(report, answer, now)
        if self._gate.breaker.is_open:
            self._drop_the_hopeless()
        self._pump()

    def _broke(self, failure: Failure, report: Report) -> None:
        """Something in here is wrong; the report is still accounted for."""
        logger.error(
            "Reporting task %d failed unexpectedly",
            report.task.id,
            exc_info=failure.value,
            extra=self._log_extra,
        )
        if self._under_way.pop(report, None) is not None:
            self._finish(report, Outcome.UNDELIVERED)
        self._pump()

    def _sleep(self, report: Report, answer: Answer, now: float) -> None:
        """Let *report* wait for its next attempt, if there can be one."""
        delay = self._backoff(report.tries - 1)
        next_attempt = max(now + delay, self._gate.opens_at)
        logger.debug(
            "Report of task %d not delivered (%s), attempt %d",
            report.task.id,
            answer.reason,
            report.tries,
            extra=self._log_extra,
        )
        if self._is_hopeless(report):
            self._finish(report, Outcome.BREAKER)
        elif next_attempt >= report.expires_at and not self._gate.breaker.is_open:
            self._finish(report, Outcome.UNDELIVERED)
        elif self._gives_up_at is not None and next_attempt >= self._gives_up_at:
            self._give_up_on(report)
        else:
            self._sleeping[report] = self._clock.callLater(delay, self._wake, report)

    def _wake(self, report: Report) -> None:
        del self._sleeping[report]
        self._waiting.appendleft(report)
        self._pump()

    # -- leaving -----------------------------------------------------------------------------

    def _finish(self, report: Report, outcome: Outcome, code: str | None = None) -> None:
        self._ledger.finished(report, outcome, code)
        self._on_finish(report, outcome, code)

    def _is_expired(self, report: Report) -> bool:
        return self._now() >= report.expires_at

    def _drop_expired(self, report: Report) -> None:
        stopped = self._gate.breaker.is_open
        self._finish(report, Outcome.BREAKER if stopped else Outcome.EXPIRED)

    def _is_hopeless(self, report: Report) -> bool:
        """Whether the breaker stays open for longer than *report* is good, here and later.

        A later crawl may have another key, but the same ban.
        """
        breaker = self._gate.breaker
        is_kept = self._ledger.durable and breaker.is_final
        return breaker.is_open and breaker.open_until >= report.expires_at and not is_kept

    def _drop_the_hopeless(self) -> None:
        hopeless = [*filter(self._is_hopeless, (*self._sleeping, *self._waiting))]
        self._waiting = deque(r for r in self._waiting if not self._is_hopeless(r))
        for report in hopeless:
            self._cancel(self._sleeping.pop(report, None))
        # Last, because whoever hears of an outcome may hand over the next report.
        for report in hopeless:
            self._finish(report, Outcome.BREAKER)

    # -- closing -----------------------------------------------------------------------------

    def close(self, timeout: float) -> Deferred[None]:
        """Send what can be sent within *timeout* seconds, and account for the rest.

        May be called again; the Deferred fires when nothing more is sent, and never fails.
        Reports that the ledger is still claiming by then get their outcome when it answers.
        """
        done: Deferred[None] = Deferred()
        self._on_drained.append(done)
        if self._gives_up_at is None:
            self._gives_up_at = self._now() + timeout
            self._gate.stop_backing_off()
            for report in list(self._sleeping):
                self._sleeping.pop(report).cancel()
                self._waiting.append(report)
            if timeout > 0:
                self._giving_up = self._clock.callLater(timeout, self._give_up)
                self._pump()
            else:
                self._give_up()
        self._check_drained()
        return done

    def _check_drained(self) -> None:
        if self._gives_up_at is None:
            return
        if self._waiting and not self._under_way and self._gate.opens_at >= self._gives_up_at:
            self._give_up()  # nothing more can be sent in time
        elif self._closed or not (
            self._claiming or self._waiting or self._under_way or self._sleeping
        ):
            self._closed = True
            self._cancel(self._giving_up)
            self._cancel(self._wake_up)
            waiters, self._on_drained = self._on_drained, []
            for waiter in waiters:
                waiter.callback(None)

    def _give_up(self) -> None:
        self._closed = True
        sleeping, self._sleeping = self._sleeping, {}
        for call in sleeping.values():
            call.cancel()
        under_way, self._under_way = self._under_way, {}
        left = [*under_way, *self._waiting, *sleeping]
        self._waiting.clear()
        for report in left:
            self._give_up_on(report)
        for sending in under_way.values():
            sending.cancel()
        self._check_drained()

    def _give_up_on(self, report: Report) -> None:
        if self._is_expired(report):
            self._drop_expired(report)
        elif self._ledger.durable:
            self._finish(report, Outcome.KEPT)
        else:
            # Not the crawl's end is to blame where nothing could have been sent before it anyway.
            breaker = self._gate.breaker
            stopped = breaker.is_open and breaker.open_until > self._now()
            self._finish(report, Outcome.BREAKER if stopped else Outcome.SHUTDOWN)

    @staticmethod
    def _cancel(call: IDelayedCall | None) -> None:
        if call is not None and call.active():
            call.cancel()
