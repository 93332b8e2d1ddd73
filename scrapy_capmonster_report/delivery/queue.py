"""The queue of reports, and its workers."""

from __future__ import annotations

import logging
import math
from bisect import insort
from collections import deque
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred

from ..deadline import Deadline
from ..outcome import Outcome
from ..settings import CLOSE_TIMEOUT
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

QUIET_SECONDS: Final = 2.0
"""If closing takes longer, the log says what it waits for."""

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
        self._client = client
        self._ledger = ledger
        self._queue_size = context.settings.queue_size
        self._reactor = context.reactor
        self._now = context.clock.now
        self._on_finish = on_finish
        self._stats = context.stats
        self._log_extra = context.log_extra
        self._pacing = Pacing(context)
        self._claiming = 0
        self._waiting: deque[Report] = deque()
        self._in_flight: dict[Report, Deferred[ReportAnswer]] = {}
        self._backing_off: list[tuple[float, Report]] = []  # until when, the next one first
        self._wake_up: IDelayedCall | None = None
        self._is_full_logged = False
        self._gives_up_at: float | None = None
        self._close_timeout = context.settings.close_timeout
        self._waiting_is_long: Deadline | None = None
        self._giving_up: Deadline | None = None
        self._is_closed = False
        self._closed: Deferred[None] = Deferred()

    @property
    def unfinished(self) -> int:
        """How many reports have no outcome yet."""
        in_queue = len(self._waiting) + len(self._backing_off)
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
            self._enqueue(report)

    def _claim(self, report: Report) -> None:
        self._claiming += 1
        self._ledger.claim(report).addCallback(self._claimed, report)

    def _claimed(self, forbidden: Outcome | None, report: Report) -> None:
        self._claiming -= 1
        if forbidden is not None:
            self._finish(report, forbidden)
        else:
            self._enqueue(report)
        self._check_closed()

    def _enqueue(self, report: Report) -> None:
        if self._is_undeliverable(report):
            self._finish(report, Outcome.BREAKER)
        elif self._is_closed:
            self._give_up_on(report)
        else:
            self._waiting.append(report)
            self._dispatch()

    def _is_full(self) -> bool:
        if self._queued() < self._queue_size:
            return False
        while self._waiting and self._is_expired(self._waiting[0]):
            self._drop_expired(self._waiting.popleft())
        return self._queued() >= self._queue_size

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
                self._queue_size,
                extra=self._log_extra,
            )

    # -- sending -----------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Send as many reports as may be in flight."""
        now = self._now()
        while self._backing_off and self._backing_off[0][0] <= now:
            self._waiting.appendleft(self._backing_off.pop(0)[1])
        while self._waiting and len(self._in_flight) < self._pacing.allowed(now):
            report = self._waiting.popleft()
            if self._is_expired(report):
                self._drop_expired(report)
            elif not self._ledger.is_ours(report):
                self._claim(report)
            else:
                self._send(report)
        self._check_closed()
        if self._wake_up is not None and self._wake_up.active():
            self._wake_up.cancel()
        # If no more may be in flight, the next answer calls this again.
        wake_up_at = self._backing_off[0][0] if self._backing_off else math.inf
        if self._waiting and self._pacing.opens_at > now:
            wake_up_at = self._pacing.opens_at
        if wake_up_at < math.inf:
            delay = max(MIN_DELAY_SECONDS, wake_up_at - now)
            self._wake_up = self._reactor.callLater(delay, self._dispatch)

    def _send(self, report: Report) -> None:
        report.tries += 1
        if report.tries > 1:
            self._stats.count(RETRIED)
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
        elif answer.verdict is Verdict.REFUSED:
            self._finish(report, Outcome.REFUSED, answer.code)
        else:
            self._try_again(report, answer, now)
        if self._pacing.is_paused:
            self._drop_undeliverable()
        self._dispatch()

    def _try_again(self, report: Report, answer: ReportAnswer, now: float) -> None:
        """Let *report* back off, if it can be tried again."""
        logger.debug(
            "Report of task %d not delivered (%s), try %d",
            report.task.id,
            answer.reason,
            report.tries,
            extra=self._log_extra,
        )
        due = now + self._pacing.backoff(report.tries - 1)
        next_try = max(due, self._pacing.opens_at)
        if next_try >= report.expires_at and not self._pacing.is_paused:
            self._finish(report, Outcome.UNDELIVERED)
        elif self._gives_up_at is not None and next_try >= self._gives_up_at:
            self._give_up_on(report)
        else:
            insort(self._backing_off, (due, report), key=lambda entry: entry[0])

    # -- leaving -----------------------------------------------------------------------------

    def _finish(self, report: Report, outcome: Outcome, code: str | None = None) -> None:
        self._ledger.finished(report, outcome, code)
        self._on_finish(report, outcome, code)

    def _is_expired(self, report: Report) -> bool:
        return self._now() >= report.expires_at

    def _drop_expired(self, report: Report) -> None:
        paused = self._pacing.is_paused
        self._finish(report, Outcome.BREAKER if paused else Outcome.EXPIRED)

    def _is_undeliverable(self, report: Report) -> bool:
        """Whether reporting is paused until *report* expires, in a later crawl too.

        A later crawl may have another key, but it would be banned as well.
        """
        pacing = self._pacing
        is_kept = self._ledger.durable and pacing.is_stopped
        return pacing.is_paused and pacing.paused_until >= report.expires_at and not is_kept

    def _drop_undeliverable(self) -> None:
        self._stop_backing_off()
        dropped = [*filter(self._is_undeliverable, self._waiting)]
        if dropped:
            self._waiting = deque(r for r in self._waiting if not self._is_undeliverable(r))
        # Last, because on_finish may submit the next report.
        for report in dropped:
            self._finish(report, Outcome.BREAKER)

    def _stop_backing_off(self) -> None:
        self._waiting.extend(report for _, report in self._backing_off)
        self._backing_off.clear()

    # -- closing -----------------------------------------------------------------------------

    def expect_close(self) -> None:
        """Log what the crawl waits for, if it is not closed soon."""
        self._waiting_is_long = Deadline(
            self._reactor, QUIET_SECONDS, self._log_unfinished, self._now
        )

    def close(self, timeout: float) -> Deferred[None]:
        """Send what can be sent within *timeout* seconds, then drop or keep the rest.

        May be called again. The Deferred fires when nothing more is sent, and never fails. Reports
        whose claims are still being written then get their outcome afterwards.
        """
        if self._gives_up_at is None:
            self._gives_up_at = self._now() + timeout
            self._pacing.stop_backing_off()
            self._stop_backing_off()
            if timeout > 0:
                self._giving_up = Deadline(self._reactor, timeout, self._give_up, self._now)
                self._dispatch()
            else:
                self._give_up()
        self._check_closed()
        return self._closed

    def _log_unfinished(self) -> None:
        doing = f"Sending the last {self.unfinished} reports to CapMonster Cloud"
        if not self.unfinished:
            doing = f"Looking for reports of earlier crawls in ledger {self._ledger.name}"
        logger.info(
            "%s, for %g seconds at most (%s)",
            doing,
            self._close_timeout,
            CLOSE_TIMEOUT,
            extra=self._log_extra,
        )

    def _check_closed(self) -> None:
        if self._gives_up_at is None:
            return
        if self._waiting and not self._in_flight and self._pacing.opens_at >= self._gives_up_at:
            self._give_up()  # nothing more can be sent in time
        elif self._is_closed or not self.unfinished:
            self._is_closed = True
            for deadline in (self._waiting_is_long, self._giving_up):
                if deadline is not None:
                    deadline.cancel()
            if self._wake_up is not None and self._wake_up.active():
                self._wake_up.cancel()
            if not self._closed.called:
                self._closed.callback(None)

    def _give_up(self) -> None:
        self._is_closed = True
        in_flight, self._in_flight = self._in_flight, {}
        self._stop_backing_off()
        waiting, self._waiting = self._waiting, deque()
        for report in (*in_flight, *waiting):
            self._give_up_on(report)
        for sending in in_flight.values():
            sending.cancel()
        self._check_closed()

    def _give_up_on(self, report: Report) -> None:
        if self._is_undeliverable(report):
            self._finish(report, Outcome.BREAKER)
        elif self._is_expired(report):
            self._drop_expired(report)
        elif self._ledger.durable:
            self._finish(report, Outcome.KEPT)
        else:
            # If reporting was paused, the pause is the reason, not the end of the crawl.
            self._finish(report, Outcome.BREAKER if self._pacing.is_paused else Outcome.SHUTDOWN)
