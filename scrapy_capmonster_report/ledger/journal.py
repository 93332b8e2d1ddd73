"""The ledger that outlives the crawl: memory for the questions, a home for the entries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError

from ..outcome import Outcome
from ..report import Report
from ..task import Kind, Task
from .base import Inheritance
from .entries import Claim, Finish, Release, Use
from .memory import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from ..clock import SteadyClock
    from .entries import Entry, Left

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 500
"""Entries written in one go; the thread that writes them must not hold the interpreter long."""

PATIENCE_SECONDS: Final = 5.0
"""A home that takes longer than this for anything is given up: reports would grow old waiting."""

CLOSING_SECONDS: Final = 0.8
"""What closing may take on top of delivery's time. What is not written then is found as the
claim of a crawl that ended."""


class Home(Protocol):
    """Where entries are kept: a file, a server. Its Deferreds may fail."""

    @property
    def name(self) -> str:
        """What the log calls it, without credentials."""

    def open(self, now: float) -> Deferred[Left]:
        """Get ready; take over the claims that ended crawls left (*now* by the wall clock)."""

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        """Write *entries* in order, and atomically as seen from other processes.

        Gives for each of them the outcome that forbids it: a :class:`Claim` of a task that is
        claimed already, or whose answer another trip used before.
        """

    def close(self) -> Deferred[None]:
        """Let go of it. Nothing is being written at that moment."""


class JournalLedger:
    """Writes entries to its home in batches, in the order they came.

    While one batch is being written the next one gathers: the slower the home, the larger the
    batches. Claims are answered when they are written, so that what was refused survives even if
    the process does not.

    Args:
        home: where the entries are kept.
        clock: tells the time.
        timer: for the home's time limit.
        max_age: seconds after solving when a report expires.
        on_lost: called once if the home fails.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: SteadyClock,
        timer: IReactorTime,
        max_age: float,
        on_lost: Callable[[], None],
        log_extra: dict[str, Any],
    ) -> None:
        self._home = home
        self._clock = clock
        self._timer = timer
        self._max_age = max_age
        self._on_lost = on_lost
        self._log_extra = log_extra
        self._memory = MemoryLedger(clock.now)
        self._unwritten: list[tuple[Entry, Deferred[Outcome | None] | None]] = []
        self._is_open = False
        self._is_writing = False
        self._lost = False
        self._on_written: Deferred[None] | None = None

    @property
    def durable(self) -> bool:
        return not self._lost

    # -- answered from memory ------------------------------------------------------------------

    def used_by(self, task_id: int) -> int | None:
        return self._memory.used_by(task_id)

    def is_claimed(self, task_id: int) -> bool:
        return self._memory.is_claimed(task_id)

    # -- written down ---------------------------------------------------------------------------

    def used(self, task: Task, trip: int, site: str) -> None:
        self._memory.used(task, trip, site)
        self._write(Use(task.id, trip, task.type, site, self._clock.wall()))

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        self._memory.claim(report)
        if self._lost:
            return None
        task = report.task
        answer: Deferred[Outcome | None] = Deferred()
        self._write(
            Claim(
                task.id,
                report.trip,
                task.kind.value,
                task.type,
                report.rule,
                report.site,
                self._clock.to_wall(task.solved_at),
                self._clock.to_wall(report.expires_at),
                self._clock.wall(),
            ),
            answer,
        )
        return answer

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        if outcome is Outcome.KEPT:
            self._write(Release(report.task.id))
        elif outcome.group != "withheld" and self._memory.is_claimed(report.task.id):
            self._write(Finish(report.task.id, outcome.value, code, self._clock.wall()))

    def _write(self, entry: Entry, answer: Deferred[Outcome | None] | None = None) -> None:
        if not self._lost:
            self._unwritten.append((entry, answer))
            self._flush()

    def _flush(self) -> None:
        if self._is_writing or not self._is_open or self._lost:
            return
        if not self._unwritten:
            self._all_is_written()
            return
        batch, self._unwritten = self._unwritten[:MOST_AT_ONCE], self._unwritten[MOST_AT_ONCE:]
        self._is_writing = True
        writing = self._limited(self._home.write([entry for entry, _ in batch]))
        writing.addCallback(self._flushed, batch)
        writing.addErrback(self._lose, "writing to", batch)

    def _flushed(
        self,
        objections: list[Outcome | None],
        batch: list[tuple[Entry, Deferred[Outcome | None] | None]],
    ) -> None:
        self._is_writing = False
        for (_, answer), objection in zip(batch, objections, strict=True):
            if answer is not None:
                answer.callback(objection)
        self._flush()

    # -- beginning and end ----------------------------------------------------------------------

    def open(self) -> Deferred[Inheritance]:
        opening = self._limited(self._home.open(self._clock.wall()))
        return opening.addCallbacks(self._opened, self._lose, errbackArgs=("opening",))

    def _opened(self, left: Left) -> Inheritance:
        self._is_open = True
        reports = [self._report(claim) for claim in left.claims]
        for report in reports:
            self._memory.claim(report)
        self._flush()
        return Inheritance(reports, left.expired)

    def _report(self, claim: Claim) -> Report:
        solved_at = self._clock.at(claim.solved_at)
        task = Task(claim.task_id, Kind(claim.kind), claim.type, solved_at, lifetime=None)
        expires_at = solved_at + self._max_age
        return Report(task, claim.trip, expires_at, claim.rule, claim.site, resumed=True)

    def close(self) -> Deferred[None]:
        written: Deferred[None] = Deferred()
        self._on_written = written
        if self._lost:
            self._all_is_written()
        else:
            self._flush()
        closing: Deferred[Any] = written.addCallback(lambda _: self._home.close())
        closing.addTimeout(CLOSING_SECONDS, self._timer)
        return closing.addErrback(self._log_unclosed)

    def _all_is_written(self) -> None:
        if self._on_written is not None:
            waiting, self._on_written = self._on_written, None
            waiting.callback(None)

    def _log_unclosed(self, failure: Failure) -> None:
        logger.warning(
            "The ledger %s could not be closed in time (%s); what it misses is taken for "
            "unfinished by the next crawl",
            self._home.name,
            type(failure.value).__name__,
            extra=self._log_extra,
        )

    # -- a home that fails ----------------------------------------------------------------------

    def _limited(self, work: Deferred[Any]) -> Deferred[Any]:
        """*work*, or a failure once the home has taken too long; the work itself goes on."""
        limited: Deferred[Any] = Deferred()

        def settle(result: Any) -> None:
            if call.active():
                call.cancel()
                limited.callback(result)  # errbacks, if it is a Failure

        call = self._timer.callLater(PATIENCE_SECONDS, lambda: limited.errback(TimeoutError()))
        work.addBoth(settle)
        return limited

    def _lose(
        self,
        failure: Failure,
        doing: str,
        batch: Sequence[tuple[Entry, Deferred[Outcome | None] | None]] = (),
    ) -> Inheritance:
        self._lost = True
        self._is_writing = False
        logger.warning(
            "%s the ledger %s failed (%s: %s). The crawl goes on with a ledger in memory: reports "
            "that are not sent when it ends are lost, and other crawls do not know of its reports",
            doing.capitalize(),
            self._home.name,
            type(failure.value).__name__,
            failure.getErrorMessage(),
            extra=self._log_extra,
        )
        self._on_lost()
        unwritten, self._unwritten = self._unwritten, []
        for _, answer in (*batch, *unwritten):
            if answer is not None:
                answer.callback(None)
        self._all_is_written()
        return Inheritance()
