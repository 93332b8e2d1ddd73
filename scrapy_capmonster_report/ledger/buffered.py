"""The ledger that outlives the crawl: memory for the questions, a backend for the events."""

from __future__ import annotations

import logging
import math
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ..deadline import Deadline
from ..outcome import Outcome, Report
from ..task import Kind, Task
from .base import (
    Claimed,
    Finished,
    NotSent,
    Passed,
    Recovered,
    Released,
    Sent,
    Submission,
    Withheld,
    age_between,
)
from .contact import Contact
from .memory import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from twisted.internet.interfaces import IReactorTime

    from ..clock import SteadyClock
    from .base import Alert, Event, LedgerBackend, Orphans

logger = logging.getLogger(__name__)

MAX_BUFFERED: Final = 20_000
"""Events that wait for the backend at most, about 300 bytes each; the oldest are dropped first."""

MIN_BATCH: Final = 200
MAX_BATCH: Final = 2000
"""Events written at once."""

BATCH_SECONDS: Final = 0.25
"""Batches grow while they take less than this, and shrink if they take more than twice as long:
other processes wait for them."""

CLAIM_SECONDS: Final = 20
"""How long reports wait for their claims to be written; then they are sent without, rather than
too late."""

RECOVER_SECONDS: Final = 5
"""How often to look for the claims of crawls that ended."""

CLOSING_SECONDS: Final = 0.8
"""What closing may take on top of delivery's time."""

MAX_NAME_LENGTH: Final = 100
"""Characters that are kept of a name that users choose."""


class _Waiting(NamedTuple):
    """A report that waits for its claim, since the tick of that number."""

    report: Report
    answer: Deferred[Outcome | None]
    since: int


_Entry = tuple["Event", "_Waiting | None"]


class BufferedLedger:
    """Buffers events, and writes them to its backend in batches: claims first, they are waited for.

    What could not be written stays in the buffer until the backend is back. A claim is answered
    when it is written, so that the report survives even if the process does not.

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
        self._max_age = max_age
        self._spider = _storable(spider)
        self._log_extra = log_extra
        self._contact = Contact(backend, clock, reactor, on_unavailable, log_extra)
        self._memory = MemoryLedger(clock.now)
        self._held: dict[int, Report] = {}  # until it is written what became of them

        self._claims: deque[_Entry] = deque()  # and what became of them
        self._others: deque[_Entry] = deque()
        self._batch: list[_Entry] = []
        self._batch_size = MIN_BATCH
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
        self._add(self._others, Sent(task_id, attempt, self._clock.wall()))

    def not_sent(self, task_id: int, attempt: int) -> None:
        self._add(self._others, NotSent(task_id, attempt))

    def passed(self, task: Task, attempt: int, site: str, sent_at: float) -> None:
        self._add(self._others, Passed(self._submission(task, attempt, site, sent_at)))

    def withheld(self, report: Report, outcome: Outcome) -> None:
        self._memory.withheld(report, outcome)
        # Neither says anything new: the site was not asked, or the task is in the history already.
        if outcome not in (Outcome.CACHED, Outcome.DUPLICATE):
            submission = self._submission_of(report)
            self._add(self._others, Withheld(submission, _storable(report.rule), outcome.value))

    def alert(self, alert: Alert) -> None:
        self._add(self._others, alert)

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        self._memory.claim(report)
        if self._has_ended:
            return None
        event = Claimed(
            self._submission_of(report),
            _storable(report.rule),
            report.task.kind.value,
            self._clock.to_wall(report.task.solved_at),
            self._clock.to_wall(report.expires_at),
        )
        answer: Deferred[Outcome | None] = Deferred()
        self._add(self._claims, event, _Waiting(report, answer, self._ticks))
        return answer

    def hurry(self, seconds: float) -> None:
        if self._hurrying is None and not self._is_closing:
            self._hurrying = Deadline(self._reactor, seconds, self._hurry, self._clock.now)

    def _hurry(self) -> None:
        self._outage_began = -CLAIM_SECONDS
        self._answer_from_memory(math.inf)

    def is_ours(self, report: Report) -> bool:
        return self._contact.is_sure_since(report.claimed_at)

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        task_id = report.task.id
        if task_id not in self._held:
            if outcome.group != "withheld":  # it was dropped before it could be claimed
                self.withheld(report, outcome)
        elif outcome is Outcome.KEPT:
            self._add(self._claims, Released(task_id))
        else:
            at = self._clock.wall()
            self._add(self._claims, Finished(task_id, outcome.value, code or "", at))

    def _submission_of(self, report: Report) -> Submission:
        return self._submission(report.task, report.attempt, report.site, report.sent_at)

    def _submission(self, task: Task, attempt: int, site: str, sent_at: float) -> Submission:
        return Submission(
            task.id,
            attempt,
            _storable(site),
            self._spider,
            _storable(task.type or ""),
            age_between(task.solved_at, sent_at),
            self._clock.wall(),
        )

    # -- the buffer ------------------------------------------------------------------------------

    def _add(self, queue: deque[_Entry], event: Event, waiting: _Waiting | None = None) -> None:
        if self._has_ended:
            return
        queue.append((event, waiting))
        if len(self._claims) + len(self._others) > MAX_BUFFERED:
            self._lose((self._others or self._claims).popleft())
        self._work()

    def _lose(self, entry: _Entry) -> None:
        self._lost_events += 1
        event, waiting = entry
        self._decided(waiting, None)
        if isinstance(event, (Finished, Released)):
            self._held.pop(event.task_id, None)

    def _decided(self, waiting: _Waiting | None, outcome: Outcome | None) -> None:
        if waiting is None:
            return
        report, answer, _ = waiting
        if outcome is None and self._held.setdefault(report.task.id, report) is not report:
            outcome = Outcome.DUPLICATE  # an earlier crawl's report of the same attempt
        elif outcome is not None and self._held.get(report.task.id) is report:
            del self._held[report.task.id]  # it was ours
        if not answer.called:
            report.claimed_at = self._clock.now()
            answer.callback(outcome)

    def _take_batch(self) -> list[Event]:
        while len(self._batch) < self._batch_size and (queue := self._claims or self._others):
            self._batch.append(queue.popleft())
        return [event for event, _ in self._batch]

    async def _write(self) -> None:
        self._has_just_written = True
        began = self._clock.now()
        outcomes = await self._contact.ask(self._backend.write(self._take_batch()))
        took = self._clock.now() - began
        if took < BATCH_SECONDS:
            self._batch_size = min(self._batch_size * 2, MAX_BATCH)
        elif took > 2 * BATCH_SECONDS:
            self._batch_size = max(self._batch_size // 2, MIN_BATCH)
        batch, self._batch = self._batch, []
        for (event, waiting), outcome in zip(batch, outcomes, strict=True):
            if isinstance(event, (Finished, Released)):
                self._held.pop(event.task_id, None)
            self._decided(waiting, outcome)

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
        if self._is_to_recover and (self._has_just_written or not self._claims):
            return self._recover
        return self._write if self._batch or self._claims or self._others else None

    async def _open(self) -> None:
        sites = await self._contact.ask(self._backend.open(self._clock.wall()))
        self._is_open = True
        self._on_recovered(Recovered(sites=sites))

    async def _recover(self) -> None:
        orphans = await self._contact.ask(self._backend.recover(self._clock.wall()))
        self._is_to_recover = self._has_just_written = False
        reports = [*self._reports(orphans)]
        if reports or orphans.expired:
            self._on_recovered(Recovered(reports, orphans.expired))
        _fire(self._on_looked)

    def _reports(self, orphans: Orphans) -> Iterable[Report]:
        for claim in orphans.claims:
            seen, solved_at = claim.submission, self._clock.at(claim.solved_at)
            if seen.task_id in self._held:
                continue
            task = Task(seen.task_id, Kind(claim.kind), seen.type or None, solved_at, None)
            report = Report(
                task,
                seen.attempt,
                expires_at=solved_at + min(claim.expires_at - claim.solved_at, self._max_age),
                rule=claim.rule,
                site=seen.site,
                recovered=True,
                claimed_at=self._clock.now(),
            )
            self._memory.claim(report)
            self._held[seen.task_id] = report
            yield report

    def _tick(self) -> None:
        """Each second in which the reactor runs."""
        self._ticks += 1
        if self._ticks % RECOVER_SECONDS == 0:
            self._is_to_recover = True
        if self._contact.is_available:
            self._outage_began = self._ticks
        patient_since = self._ticks - CLAIM_SECONDS
        self._answer_from_memory(math.inf if self._outage_began < patient_since else patient_since)
        self._work()

    def _answer_from_memory(self, until: float) -> None:
        """Answer the claims that have been waiting since a tick before *until*."""
        entries = [*self._batch, *self._claims]  # an answer may lead to another event
        for _, waiting in entries:
            if waiting and not waiting.answer.called and waiting.since < until:
                self._contact.set_unavailable("claims were not written in time")
                self._decided(waiting, None)

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
        """Buffer nothing more, and keep nobody waiting."""
        if self._has_ended:
            return
        self._has_ended = True
        unwritten = [*self._batch, *self._claims, *self._others]
        for entry in unwritten:
            self._lose(entry)
        _fire(self._on_looked)
        if unwritten and self._contact.is_available:
            logger.warning(
                "Ledger %s did not take the last %d events in time; they are missing from it.",
                self.name,
                len(unwritten),
                extra=self._log_extra,
            )


def _fire(waiting: list[Deferred[None]]) -> None:
    while waiting:
        waiting.pop().callback(None)


def _storable(name: str) -> str:
    """*name* as every backend can keep it: whole characters, not too many."""
    return name[:MAX_NAME_LENGTH].encode("utf-8", "replace").decode()
