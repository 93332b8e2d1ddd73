"""The durable ledger: answers from memory, and writes events to a backend."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ..deadline import Deadline
from ..outcome import Outcome
from .base import Finished, NotSent, Passed, Recovered, Released, Sent, Withheld
from .buffer import Entry, EventBuffer, Waiting
from .contact import Contact
from .memory import MemoryLedger
from .translator import Translator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from twisted.internet.interfaces import IReactorTime

    from ..clock import SteadyClock
    from ..outcome import Report
    from ..task import Task
    from .base import Alert, Event, LedgerBackend

logger = logging.getLogger(__name__)

CLAIM_SECONDS: Final = 30
"""How long reports wait for their claims to be written. Then they are sent without, before it is
too late."""

RECOVER_SECONDS: Final = 5
"""How often to look for the claims of crawls that ended."""

CLOSING_SECONDS: Final = 0.8
"""How long closing may take after delivery has closed."""


class BufferedLedger:
    """Buffers events, and writes them to its backend in batches, claims first.

    Events that could not be written stay in the buffer until the backend is back. The Deferred of a
    claim fires when it is written, so that the report survives even if the process is killed.

    Args:
        backend: where the events are kept.
        clock: tells the time.
        reactor: for pauses and deadlines.
        max_age: seconds after solving when a report expires.
        spider: the spider's name.
        on_unavailable: called with each warning that the backend is unavailable.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        backend: LedgerBackend,
        *,
        clock: SteadyClock,
        reactor: IReactorTime,
        max_age: float,
        spider: str,
        on_unavailable: Callable[[], None],
        log_extra: dict[str, Any],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._reactor = reactor
        self._translator = Translator(clock, spider, max_age)
        self._log_extra = log_extra
        self._contact = Contact(backend, clock, reactor, on_unavailable, log_extra)
        self._memory = MemoryLedger(clock.now)
        self._held: dict[int, Report] = {}  # until it is written what became of them

        self._buffer = EventBuffer()
        self._lost_events = 0

        self._is_started = self._is_open = self._is_busy = self._is_closing = False
        self._has_ended = False
        self._is_to_recover = True
        self._has_just_written = False
        self._on_recovered: Callable[[Recovered], None] = lambda recovered: None
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        self._ticks = 0
        self._outage_began = 0
        self._hurrying: Deadline | None = None
        self._on_looked: list[Deferred[None]] = []
        self._on_idle: list[Deferred[None]] = []
        self._on_closed: list[Deferred[None]] = []

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def durable(self) -> bool:
        return self._contact.is_available and not self._has_ended

    # -- events ----------------------------------------------------------------------------------

    def is_claimed(self, task_id: int) -> bool:
        return self._memory.is_claimed(task_id)

    def sent(self, task_id: int, attempt: int) -> None:
        self._add(Sent(task_id, attempt, self._clock.wall()))

    def not_sent(self, task_id: int, attempt: int) -> None:
        self._add(NotSent(task_id, attempt))

    def passed(self, task: Task, attempt: int, site: str, sent_at: float) -> None:
        self._add(Passed(self._translator.submission(task, attempt, site, sent_at)))

    def withheld(self, report: Report, outcome: Outcome) -> None:
        self._memory.withheld(report, outcome)
        # Neither says anything new: the site was not asked, or the task is in the history already.
        if outcome not in (Outcome.CACHED, Outcome.DUPLICATE):
            self._add(Withheld(*self._translator.rejected(report), outcome.value))

    def alert(self, alert: Alert) -> None:
        self._add(alert)

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        self._memory.claim(report)
        if self._has_ended:
            return None
        answer: Deferred[Outcome | None] = Deferred()
        self._add(self._translator.claimed(report), Waiting(report, answer, self._ticks))
        return answer

    def hurry(self, seconds: float) -> None:
        if self._hurrying is None and not self._is_closing:
            self._hurrying = Deadline(self._reactor, seconds, self._hurry, self._clock.now)

    def _hurry(self) -> None:
        self._outage_began = -CLAIM_SECONDS
        self._answer_from_memory(math.inf)

    def is_ours(self, report: Report) -> bool:
        return self._has_ended or self._contact.is_sure_since(report.claimed_at)

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        task_id = report.task.id
        if self._held.get(task_id) is not report:
            if outcome.group != "withheld":  # it was dropped before it could be claimed
                self.withheld(report, outcome)
        elif outcome is Outcome.KEPT:
            self._add(Released(task_id))
        else:
            at = self._clock.wall()
            self._add(Finished(task_id, outcome.value, code or "", at))

    # -- the buffer ------------------------------------------------------------------------------

    def _add(self, event: Event, waiting: Waiting | None = None) -> None:
        if self._has_ended:
            return
        lost = self._buffer.add(Entry(event, waiting))
        if lost is not None:
            self._lose(lost)
        self._work()

    def _lose(self, entry: Entry) -> None:
        self._lost_events += 1
        self._settle(entry, None, self._clock.now())

    def _settle(self, entry: Entry, outcome: Outcome | None, claimed_at: float) -> None:
        """Let go of an event that is written, or never will be."""
        if isinstance(entry.event, (Finished, Released)):
            self._held.pop(entry.event.task_id, None)
        if entry.waiting is not None:
            self._decided(entry.waiting, outcome, claimed_at)

    def _decided(self, waiting: Waiting, outcome: Outcome | None, claimed_at: float) -> None:
        report, answer, _ = waiting
        if outcome is None and self._held.setdefault(report.task.id, report) is not report:
            outcome = Outcome.DUPLICATE  # an earlier crawl's report of the same attempt
        elif outcome is not None and self._held.get(report.task.id) is report:
            del self._held[report.task.id]  # it was ours
        if not answer.called:
            report.claimed_at = claimed_at
            answer.callback(outcome)

    async def _write(self) -> None:
        self._has_just_written = True
        began = self._clock.now()
        outcomes = await self._contact.ask(self._backend.write(self._buffer.take()))
        written = self._buffer.written(self._clock.now() - began)
        for entry, outcome in zip(written, outcomes, strict=True):
            self._settle(entry, outcome, began)

    # -- one thing at a time ---------------------------------------------------------------------

    def _work(self) -> None:
        """Have the backend do what there is to be done, unless it is at it."""
        if self._is_started and not self._is_busy:
            self._is_busy = True
            Deferred.fromCoroutine(self._work_until_done())

    async def _work_until_done(self) -> None:
        while (step := self._next_step()) is not None:
            try:
                await step()
            except Exception as error:  # noqa: PERF203
                if not self._has_ended:
                    await self._contact.pause_after(error)
                if not self._contact.is_available:
                    _fire(self._on_looked)
        self._is_busy = False
        _fire(self._on_idle)

    def _next_step(self) -> Callable[[], Awaitable[None]] | None:
        if self._has_ended:
            return None
        if not self._is_open:
            return self._open
        if self._is_to_recover and (self._has_just_written or not self._buffer.has_claims):
            return self._recover
        return self._write if self._buffer else None

    async def _open(self) -> None:
        sites = await self._contact.ask(self._backend.open(self._clock.wall()))
        self._is_open = True
        self._on_recovered(Recovered(sites=sites))

    async def _recover(self) -> None:
        orphans = await self._contact.ask(self._backend.recover(self._clock.wall()))
        self._is_to_recover = self._has_just_written = False
        claims = [c for c in orphans.claims if c.submission.task_id not in self._held]
        reports = [*map(self._translator.report, claims)]
        for report in reports:
            self._memory.claim(report)
            self._held[report.task.id] = report
        if reports or orphans.expired:
            self._on_recovered(Recovered(reports, orphans.expired))
        _fire(self._on_looked)

    def _tick(self) -> None:
        """Each second in which the reactor runs."""
        self._ticks += 1
        if self._ticks % RECOVER_SECONDS == 0:
            self._is_to_recover = True
            _fire(self._on_looked)  # however slow it is, closing must not wait for it alone
        if self._contact.is_available:
            self._outage_began = self._ticks
        patient_since = self._ticks - CLAIM_SECONDS
        self._answer_from_memory(math.inf if self._outage_began < patient_since else patient_since)
        self._work()

    def _answer_from_memory(self, until: float) -> None:
        """Answer the claims that have been waiting since a tick before *until*."""
        for waiting in self._buffer.waiting():
            if waiting.since < until:
                self._contact.set_unavailable("claims were not written in time")
                self._decided(waiting, None, self._clock.now())

    # -- beginning and end -----------------------------------------------------------------------

    def open(self, on_recovered: Callable[[Recovered], None]) -> Deferred[None]:
        looked: Deferred[None] = Deferred()
        self._on_recovered = on_recovered
        self._on_looked.append(looked)
        self._is_started = True
        self._ticking.start(1.0)
        return looked

    def close(self) -> Deferred[None]:
        closed: Deferred[None] = Deferred()
        self._on_closed.append(closed)
        if not self._is_closing:
            self._is_closing = True
            Deferred.fromCoroutine(self._close())
        elif self._has_ended:
            _fire(self._on_closed)
        return closed

    async def _close(self) -> None:
        if self._ticking.running:
            self._ticking.stop()
        if self._hurrying is not None:
            self._hurrying.cancel()
        self._is_to_recover = False
        self._contact.retry_now()
        deadline = Deadline(self._reactor, CLOSING_SECONDS, self._give_up, self._clock.now)
        if self._is_busy:
            idle: Deferred[None] = Deferred()
            self._on_idle.append(idle)
            await idle
        self._end()
        with suppress(Exception):  # nothing is left to be done about it
            await self._backend.close()
        deadline.cancel()
        _fire(self._on_closed)

    def _give_up(self) -> None:
        self._end()
        self._contact.give_up()
        _fire(self._on_closed)

    def _end(self) -> None:
        """Buffer nothing more, and answer all claims that wait."""
        if self._has_ended:
            return
        self._has_ended = True
        for entry in self._buffer.clear():
            self._lose(entry)
        _fire(self._on_looked)
        if self._lost_events and self._contact.is_available:
            logger.warning(
                "%d events could not be written to ledger %s in time and are missing from it.",
                self._lost_events,
                self.name,
                extra=self._log_extra,
            )


def _fire(waiting: list[Deferred[None]]) -> None:
    while waiting:
        waiting.pop().callback(None)
