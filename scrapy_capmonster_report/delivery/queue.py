"""The queue of reports, and its workers."""

from __future__ import annotations

import logging
import math
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from ..deadline import Deadline
from ..outcome import Outcome
from ..stats import RETRIED
from .answer import Verdict
from .pacing import Pacing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IDelayedCall

    from ..context import CrawlContext
    from ..ledger import Ledger
    from ..outcome import Report
    from .answer import ReportAnswer
    from .client import ReportClient

logger = logging.getLogger(__name__)

MIN_DELAY_SECONDS: Final = 0.001
"""More than the reactor's clock and the steady clock may differ by."""


class Delivery:
    """Takes reports, and brings each of them to one outcome.

    A report is being claimed (in the ledger), waiting (in the queue), in flight, or backing off
    (until it is the next to be sent again). It leaves through :meth:`_finish`, exactly once.
    Handing over never waits.

    Args:
        context: the crawl.
        client: sends one report once.
        ledger: keeps the reports that are not finished.
        on_finish: called with each report, its outcome and, if it was refused, the code.
    """

    def __init__(
        self,
        context: CrawlContext,
        client: ReportClient,
        ledger: Ledger,
        on_finish: Callable[[Report, Outcome, str | None], None],
    ) -> None:
        self._context = context
        self._settings = context.settings
        self._now = context.clock.now
        self._client = client
        self._ledger = ledger
        self._on_finish = on_finish
        self._pacing = Pacing(context)
        self._claiming = 0
        self._waiting: deque[Report] = deque()
        # A heap: until when, and a number, so that reports are not compared.
        self._backing_off: list[tuple[float, int, Report]] = []
        self._numbers = count()
        self._in_flight: dict[Report, Deferred[ReportAnswer]] = {}
        self._leaving: deque[tuple[Report, Outcome, str | None]] = deque()
        self._is_finishing = False
        self._wake_up: IDelayedCall | None = None
        self._is_full_logged = False
        self._gives_up_at = math.inf  # until it is closing; -inf when it is too late for all
        self._deadline: Deadline | None = None
        self._closed: Deferred[None] = Deferred()

    @property
    def unfinished(self) -> int:
        """How many reports have no outcome yet."""
        in_queue = len(self._waiting) + len(self._backing_off) + len(self._leaving)
        return self._claiming + in_queue + len(self._in_flight)

    # -- taking reports ----------------------------------------------------------------------

    def submit(self, report: Report) -> None:
        """Take a *report*, to be sent, dropped or kept; then ``on_finish`` is called with it."""
        if self._is_full():
            self._log_full()
            self._finish(report, Outcome.QUEUE_FULL)
        else:
            self._claim(report)

    def recover(self, reports: Sequence[Report]) -> None:
        """Take *reports* that another crawl left; they are claimed already."""
        for report in reports:
            self._enqueue(report, self._now())
        self._dispatch()

    def _claim(self, report: Report) -> None:
        self._claiming += 1
        self._ledger.claim(report).addCallback(self._claimed, report)

    def _claimed(self, forbidden: Outcome | None, report: Report) -> None:
        self._claiming -= 1
        if forbidden is not None:
            self._finish(report, forbidden)
        else:
            self._enqueue(report, self._now())
        self._dispatch()

    def _enqueue(self, report: Report, due: float) -> None:
        """Let *report* wait to be sent from *due* on, unless it is too late."""
        outcome = self._outcome_if_too_late(report)
        if outcome is not None:
            self._finish(report, outcome)
        elif due > self._now():
            heappush(self._backing_off, (due, next(self._numbers), report))
        else:
            self._waiting.append(report)

    def _is_full(self) -> bool:
        while self._queued() >= self._settings.queue_size:
            outcome = self._outcome_if_too_late(self._waiting[0]) if self._waiting else None
            if outcome is None:
                return True
            self._finish(self._waiting.popleft(), outcome)
        return False

    def _queued(self) -> int:
        """How many reports wait, or will wait once their claims are written."""
        free = max(0, self._pacing.allowed(self._now()) - len(self._in_flight))
        return len(self._waiting) + len(self._backing_off) + max(0, self._claiming - free)

    def _log_full(self) -> None:
        if not self._is_full_logged:
            self._is_full_logged = True
            logger.warning(
                "The queue of reports to CapMonster Cloud is full (CAPMONSTER_REPORT_QUEUE_SIZE: "
                "%d). Further reports are dropped while it is full.",
                self._settings.queue_size,
                extra=self._context.log_extra,
            )

    # -- sending -----------------------------------------------------------------------------

    @property
    def _next_at(self) -> float:
        """From when on the next report may be sent."""
        if self._waiting:
            return self._pacing.opens_at
        due = self._backing_off[0][0] if self._backing_off else math.inf
        return max(due, self._pacing.opens_at)

    def _dispatch(self) -> None:
        """Send as many reports as may be in flight, and come back when there may be more."""
        now = self._now()
        while self._backing_off and self._backing_off[0][0] <= now:
            self._waiting.appendleft(heappop(self._backing_off)[-1])
        while self._waiting and len(self._in_flight) < self._pacing.allowed(now):
            report = self._waiting.popleft()
            outcome = self._outcome_if_too_late(report)
            if outcome is not None:
                self._finish(report, outcome)
            elif not self._ledger.is_ours(report):
                self._claim(report)
            else:
                self._send(report)
        self._check_closed()
        if self._wake_up is not None and self._wake_up.active():
            self._wake_up.cancel()
        # If no more may be in flight, the next answer calls this again.
        next_at = self._next_at
        if now < next_at < math.inf:
            delay = max(MIN_DELAY_SECONDS, next_at - now)
            self._wake_up = self._context.reactor.callLater(delay, self._dispatch)

    def _send(self, report: Report) -> None:
        report.tries += 1
        if report.tries > 1:
            self._context.stats.count(RETRIED)
        is_probe = self._pacing.is_paused
        self._in_flight[report] = sending = self._client.send(report.task)
        sending.addCallback(self._answered, report, is_probe=is_probe)  # perhaps at once

    def _answered(self, answer: ReportAnswer, report: Report, *, is_probe: bool) -> None:
        if self._in_flight.pop(report, None) is None:  # it was given up
            return
        now = self._now()
        self._pacing.learn(answer, now, is_probe=is_probe)
        if answer.verdict is Verdict.ACCEPTED:
            self._finish(report, Outcome.ACCEPTED)
        elif answer.verdict.is_retried:
            self._try_again(report, answer, now)
        else:
            self._finish(report, Outcome.REFUSED, answer.reason)
        if self._pacing.is_paused:
            self._finish_too_late()
        self._dispatch()

    def _try_again(self, report: Report, answer: ReportAnswer, now: float) -> None:
        """Let *report* back off, if it can be tried again."""
        message = "Report of task %d not delivered (%s), try %d"
        self._context.debug(logger, message, report.task.id, answer.reason, report.tries)
        due = now + self._pacing.backoff(report.tries - 1)
        if max(due, self._pacing.opens_at) >= report.expires_at and not self._pacing.is_paused:
            self._finish(report, Outcome.UNDELIVERED)
        else:
            self._enqueue(report, due)

    # -- leaving -----------------------------------------------------------------------------

    def _finish(self, report: Report, outcome: Outcome, code: str | None = None) -> None:
        self._leaving.append((report, outcome, code))
        if self._is_finishing:
            return  # on_finish has submitted it: the loop below goes on with it
        self._is_finishing = True
        try:
            while self._leaving:
                leaving = self._leaving.popleft()
                self._ledger.finished(*leaving)
                self._on_finish(*leaving)
        finally:  # a log handler of the user's may raise
            self._is_finishing = False

    def _outcome_if_too_late(self, report: Report) -> Outcome | None:
        """The outcome of *report* if it is too late to send it; ``None`` if it is not."""
        pacing = self._pacing
        # If reporting is paused, the pause is the reason.
        if self._now() >= report.expires_at:
            return Outcome.BREAKER if pacing.is_paused else Outcome.EXPIRED
        # A later crawl would be banned too, but it may have another key.
        is_kept = pacing.is_stopped and self._ledger.durable
        if pacing.paused_until >= report.expires_at and not is_kept:
            return Outcome.BREAKER
        if self._gives_up_at > -math.inf:
            return None
        if self._ledger.durable:
            return Outcome.KEPT
        return Outcome.BREAKER if pacing.is_paused else Outcome.SHUTDOWN

    def _finish_too_late(self) -> None:
        """Finish those of the waiting reports that it is too late to send."""
        waiting = [*(report for *_, report in self._backing_off), *self._waiting]
        outcomes = {report: self._outcome_if_too_late(report) for report in waiting}
        self._waiting = deque(report for report in self._waiting if outcomes[report] is None)
        self._backing_off = sorted(entry for entry in self._backing_off if not outcomes[entry[-1]])
        # Last, because on_finish may submit the next report.
        for report, outcome in outcomes.items():
            if outcome is not None:
                self._finish(report, outcome)

    # -- closing -----------------------------------------------------------------------------

    def close(self, timeout: float) -> Deferred[None]:
        """Send what can be sent within *timeout* seconds, then drop or keep the rest.

        May be called again. The Deferred fires when nothing more is sent, and never fails. Reports
        whose claims are still being written then get their outcome afterwards.
        """
        if self._gives_up_at == math.inf:
            self._pacing.stop_backing_off()
            backing_off, self._backing_off = sorted(self._backing_off), []
            self._waiting = deque([*(report for *_, report in backing_off), *self._waiting])
            self._gives_up_at = self._now() + timeout
            if timeout > 0:
                self._deadline = Deadline(self._context.reactor, timeout, self._give_up, self._now)
                self._dispatch()
            else:
                self._give_up()
        return self._closed

    def _check_closed(self) -> None:
        """While closing, give up if nothing is left, or nothing more can be sent in time."""
        is_busy = self._claiming or self._in_flight or self._is_finishing
        if math.isfinite(self._gives_up_at) and not is_busy and self._next_at >= self._gives_up_at:
            self._give_up()

    def _give_up(self) -> None:
        """Send nothing more."""
        self._gives_up_at = -math.inf
        in_flight, self._in_flight = self._in_flight, {}
        self._waiting.extendleft(in_flight)
        self._finish_too_late()
        for sending in in_flight.values():
            sending.cancel()
        self._dispatch()
        if self._deadline is not None:
            self._deadline.cancel()
        self._closed.callback(None)
