"""The durable ledger: answers from memory, and writes events to a backend."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from ..deadline import Deadline
from ..outcome import Outcome
from .base import PASSED, RECENT_SECONDS, Claimed, Finished, Judged, NotSent, Recovered, Sent
from .buffer import EventBuffer
from .contact import Contact
from .history import Query, by_site
from .memory import Ledger
from .translator import Translator, storable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..context import CrawlContext
    from ..outcome import Report
    from .base import Alert, Event, LedgerBackend

logger = logging.getLogger(__name__)

CLAIM_SECONDS: Final = 30
"""How long reports wait for their claims while the backend completes nothing."""

RECOVER_SECONDS: Final = 5
"""How often to look for the claims of crawls that ended."""

CLOSING_SECONDS: Final = 0.8
"""How long closing may take if no time is left, no report depends on it, or the backend does not
answer."""


class BufferedLedger(Ledger):
    """Buffers events, and writes them to its backend in batches, claims first.

    Events that could not be written stay in the buffer until the backend is back; meanwhile the
    ledger continues in memory. The Deferred of a claim fires when it is written, so that the report
    survives even if the process is killed.

    Args:
        backend: where the events are kept.
        context: the crawl.
    """

    def __init__(self, backend: LedgerBackend, context: CrawlContext) -> None:
        super().__init__(context.clock.now)
        self.name = backend.name
        self._backend = backend
        self._clock = context.clock
        self._reactor = context.reactor
        self._log_extra = context.log_extra
        self._translator = Translator(context)
        self._contact = Contact(backend, context)
        self._buffer = EventBuffer()
        self._lost_events = 0
        self._losses = 0
        # By task and attempt, until the claim is decided.
        self._claims: dict[tuple[int, int], tuple[Report, Deferred[Outcome | None]]] = {}
        self._held: dict[int, Report] = {}  # by task, until their outcomes are written

        self._has_baseline = self._is_closing = self._has_ended = False
        self._is_to_recover = True
        self._on_recovered: Callable[[Recovered], None] = lambda recovered: None
        self._max_silence = CLAIM_SECONDS
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = self._reactor
        self._ticks = 0
        self._hurrying: Deadline | None = None
        self._idle: Deferred[None] = succeed(None)
        self._looked: Deferred[None] = Deferred()
        self._closed: Deferred[None] = Deferred()

    @property
    def durable(self) -> bool:
        return self._contact.is_available and not self._has_ended

    # -- events ----------------------------------------------------------------------------------

    def sent(self, task_id: int, attempt: int) -> None:
        self._add(Sent(task_id, attempt, self._clock.wall()))

    def not_sent(self, task_id: int, attempt: int) -> None:
        self._add(NotSent(task_id, attempt))

    def passed(self, task_id: int, attempt: int, site: str, task_type: str, age: float) -> None:
        seen = self._translator.submission(task_id, attempt, site, task_type, age)
        self._add(Judged(seen, "", PASSED))

    def withheld(self, report: Report, outcome: Outcome) -> None:
        super().withheld(report, outcome)
        # Neither says anything new: the site was not asked, or the task is in the history already.
        if outcome not in (Outcome.CACHED, Outcome.DUPLICATE):
            self._add(Judged(*self._translator.rejected(report), outcome.value))

    def alert(self, alert: Alert) -> None:
        self._add(alert._replace(site=storable(alert.site)))

    def claim(self, report: Report) -> Deferred[Outcome | None]:
        from_memory = super().claim(report)
        if self._has_ended:
            return from_memory
        answer: Deferred[Outcome | None] = Deferred()
        self._claims[report.task.id, report.attempt] = report, answer
        self._add(self._translator.claimed(report))
        return answer

    def hurry(self, seconds: float) -> None:
        if self._hurrying is None and not self._is_closing:
            self._hurrying = Deadline(self._reactor, seconds, self._hurry, self._clock.now)

    def _hurry(self) -> None:
        self._max_silence = 1
        self._answer_from_memory()
        _fire(self._looked)

    def is_ours(self, report: Report) -> bool:
        if self._has_ended or self._contact.silent_for > self._max_silence:
            return True  # as far as memory knows
        waiting, _ = self._claims.get((report.task.id, report.attempt), (None, None))
        is_held = self._held.get(report.task.id) is report and waiting is not report
        return is_held and self._contact.is_in_touch

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        task_id = report.task.id
        if self._held.get(task_id) is report:
            self._add(Finished(task_id, outcome.value, code or "", self._clock.wall()))
        elif outcome.group != "withheld":  # it was dropped before it could be claimed
            self.withheld(report, outcome)

    # -- the buffer ------------------------------------------------------------------------------

    def _add(self, event: Event) -> None:
        if self._has_ended:
            return
        lost = self._buffer.add(event)
        if lost is not None:
            self._lose(lost)
        self._work()

    def _lose(self, event: Event) -> None:
        self._lost_events += 1
        self._settle(event, None)

    def _settle(self, event: Event, outcome: Outcome | None) -> None:
        """Let go of an *event* that is written, or never will be."""
        if isinstance(event, Finished):
            self._held.pop(event.task_id, None)
        elif isinstance(event, Claimed):
            self._decide(event.submission[:2], outcome)

    def _decide(self, key: tuple[int, int], outcome: Outcome | None) -> None:
        """Answer a claim. If it was answered from memory, *outcome* may prove that wrong."""
        task_id, attempt = key
        held = self._held.get(task_id)
        if outcome is not None and held is not None and held.attempt == attempt:
            del self._held[task_id]
        report, answer = self._claims.pop(key, (None, None))
        if report is None or answer is None:
            return
        if outcome is None and self._held.setdefault(task_id, report) is not report:
            outcome = Outcome.DUPLICATE  # an earlier crawl's report of the same attempt
        answer.callback(outcome)

    def _answer_from_memory(self) -> None:
        """Answer all claims that wait."""
        if self._claims:
            self._contact.set_unavailable("claims were not written in time")
        for key in [*self._claims]:
            self._decide(key, None)

    # -- one call at a time ----------------------------------------------------------------------

    def _work(self) -> None:
        """Put the backend to work, unless it is working."""
        if self._ticking.running and self._idle.called and self._next_step() is not None:
            self._idle = Deferred()
            Deferred.fromCoroutine(self._work_until_done())

    async def _work_until_done(self) -> None:
        while (step := self._next_step()) is not None:
            try:
                await step()
            except Exception as error:  # noqa: PERF203
                if not self._has_ended:
                    await self._contact.pause_after(error)
                if not self._contact.is_available:
                    _fire(self._looked)
        self._idle.callback(None)

    def _next_step(self) -> Callable[[], Awaitable[None]] | None:
        if self._has_ended:
            return None
        if not self._has_baseline:
            return self._load_baseline
        if self._is_to_recover:
            return self._recover
        return self._write if self._buffer else None

    async def _load_baseline(self) -> None:
        now = self._clock.wall()
        query = Query(since=now - RECENT_SECONDS, keys=("site", "status"))
        counts = await self._contact.ask(self._backend.count, query, now)
        self._has_baseline = True
        self._on_recovered(Recovered(sites=by_site(counts)))

    async def _recover(self) -> None:
        claims = await self._contact.ask(self._backend.recover, self._clock.wall())
        self._is_to_recover = False
        self._write_lost_claims_again()
        new = [claim for claim in claims if claim.submission.task_id not in self._held]
        reports = [*map(self._translator.report, new)]
        for report in reports:
            super().claim(report)
            self._held[report.task.id] = report
        if reports:
            self._on_recovered(Recovered(reports))
        _fire(self._looked)

    async def _write(self) -> None:
        began = self._clock.now()
        outcomes = await self._contact.ask(self._backend.write, self._buffer.take())
        if self._write_lost_claims_again():
            return  # and write these events again, after the claims that they may be about
        written = self._buffer.written(self._clock.now() - began)
        for event, outcome in zip(written, outcomes, strict=True):
            self._settle(event, outcome)

    def _write_lost_claims_again(self) -> bool:
        """If the backend may have lost our claims, claim all again, and return True."""
        if self._backend.losses == self._losses:
            return False
        self._losses = self._backend.losses
        for report in self._held.values():
            self._claims.setdefault((report.task.id, report.attempt), (report, Deferred()))
        self._buffer.put_first(map(self._translator.claimed, self._held.values()))
        return True

    def _tick(self) -> None:
        """Called each second, if the reactor is not blocked."""
        self._ticks += 1
        if self._ticks % RECOVER_SECONDS == 0:
            self._is_to_recover = True
            _fire(self._looked)  # however slow it is, closing must not wait for it alone
        self._contact.silent_for += 1
        if self._contact.silent_for > self._max_silence:
            self._answer_from_memory()
        self._work()

    # -- beginning and end -----------------------------------------------------------------------

    def open(self, on_recovered: Callable[[Recovered], None]) -> Deferred[None]:
        self._on_recovered = on_recovered
        self._ticking.start(1.0)
        return self._looked

    def close(self, timeout: float = 0.0) -> Deferred[None]:
        if not self._is_closing:
            self._is_closing = True
            Deferred.fromCoroutine(self._close(timeout))
        return self._closed

    async def _close(self, timeout: float) -> None:
        if self._ticking.running:
            self._ticking.stop()
        if self._hurrying is not None:
            self._hurrying.cancel()
        self._is_to_recover = False
        self._contact.retry_now()
        # If the claim of a report is written and its outcome is not, the next crawl sends it again.
        # A slow backend also writes the claims that were answered from memory meanwhile.
        is_answering = self._contact.is_in_touch and not self._contact.is_failing
        seconds = CLOSING_SECONDS + (timeout if self._held and is_answering else 0.0)
        deadline = Deadline(self._reactor, seconds, self._give_up, self._clock.now)
        await self._idle
        self._end()
        with suppress(Exception):  # nothing is left to be done about it
            await self._contact.close()
        deadline.cancel()
        _fire(self._closed)

    def _give_up(self) -> None:
        self._end()
        self._contact.give_up()
        _fire(self._closed)

    def _end(self) -> None:
        """Buffer nothing more, and answer all claims that wait."""
        if self._has_ended:
            return
        self._has_ended = True
        for event in self._buffer.clear():
            self._lose(event)
        _fire(self._looked)
        if self._lost_events and self._contact.is_available:
            logger.warning(
                "%d events could not be written to ledger %s in time and are missing from it.",
                self._lost_events,
                self.name,
                extra=self._log_extra,
            )


def _fire(waited_for: Deferred[None]) -> None:
    if not waited_for.called:
        waited_for.callback(None)
