"""The ledger that outlives the crawl: memory for the questions, a home for the entries."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ..outcome import Outcome, Report
from ..task import Kind, Task
from .base import Recovered
from .entries import Claim, Finish, Refusal, Release, Sighting, Use, age_between
from .memory import MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.interfaces import IReactorTime
    from twisted.python.failure import Failure

    from ..clock import SteadyClock
    from .entries import Alert, Entry, Left

    _Written = tuple[Entry, Deferred[Outcome | None] | None]
    """An entry, and who waits to hear that it is written."""

logger = logging.getLogger(__name__)

MOST_AT_ONCE: Final = 500
"""Entries written in one go; the thread that writes them must not hold the interpreter long."""

PATIENCE_SECONDS: Final = 5.0
"""A home that takes longer than this for anything is given up: reports would grow old waiting."""

LOOK_EVERY_SECONDS: Final = 5.0
"""How often to look for the claims of crawls that died meanwhile."""

CLOSING_SECONDS: Final = 0.8
"""What closing may take on top of delivery's time. What is not written then is found as the
claim of a crawl that ended."""

LONGEST_NAME: Final = 100
"""Characters of a ``taskType`` or a spider's name that are kept; users may write anything."""


class Home(Protocol):
    """Where entries are kept: a file, a server. Its Deferreds may fail."""

    @property
    def name(self) -> str:
        """What the log calls it, without credentials."""

    def open(self, now: float) -> Deferred[Mapping[str, tuple[int, int]]]:
        """Get ready (*now* by the wall clock).

        Gives how many answers each site took and refused lately.
        """

    def take_over(self, now: float) -> Deferred[Left]:
        """Take over the claims that ended crawls left (*now* by the wall clock)."""

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        """Write *entries* in order, each of them atomically as seen from other processes.

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
        spider: the spider's name.
        on_unavailable: called once if the home fails.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        home: Home,
        *,
        clock: SteadyClock,
        timer: IReactorTime,
        max_age: float,
        spider: str,
        on_unavailable: Callable[[], None],
        log_extra: dict[str, Any],
    ) -> None:
        self._home = home
        self._clock = clock
        self._timer = timer
        self._max_age = max_age
        self._spider = _storable(spider)
        self._on_unavailable = on_unavailable
        self._log_extra = log_extra
        self._memory = MemoryLedger(clock.now)
        self._unwritten: list[_Written] = []
        # Once the home is lost: what it must hear all the same when it answers again, or the next
        # crawl would send those reports once more.
        self._at_home: set[int] = set()
        self._owed: list[Entry] = []
        self._being_written: list[_Written] = []
        self._is_open = False
        self._is_busy = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = timer
        self._is_to_look = False
        self._lost = False
        self._on_looked: list[Deferred[None]] = []
        self._on_written: list[Deferred[None]] = []

    @property
    def name(self) -> str:
        return self._home.name

    @property
    def durable(self) -> bool:
        return not self._lost

    # -- answered from memory ------------------------------------------------------------------

    def is_claimed(self, task_id: int) -> bool:
        return self._memory.is_claimed(task_id)

    # -- written down ---------------------------------------------------------------------------

    def sent(self, task_id: int, attempt: int) -> None:
        self._write(Use(Sighting(task_id, attempt, "", "", "", 0, self._clock.wall()), False))

    def not_sent(self, task_id: int, attempt: int) -> None:
        """Not written yet."""

    def passed(self, task: Task, attempt: int, site: str, sent_at: float) -> None:
        self._write(Use(self._sighting(task, attempt, site, sent_at), True))

    def is_ours(self, report: Report) -> bool:
        return True

    def withheld(self, report: Report, outcome: Outcome) -> None:
        # Neither says anything that the history does not know: the site was not asked, or the
        # task is in it already.
        self._memory.withheld(report, outcome)
        if outcome not in (Outcome.CACHED, Outcome.DUPLICATE):
            self._write_refusal(report, outcome)

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        self._memory.claim(report)
        if self._lost:
            return None
        answer: Deferred[Outcome | None] = Deferred()
        claim = Claim(
            self._sighting(report.task, report.attempt, report.site, report.sent_at),
            report.rule,
            report.task.kind.value,
            self._clock.to_wall(report.task.solved_at),
            self._clock.to_wall(report.expires_at),
        )
        self._write(claim, answer)
        return answer

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        task_id = report.task.id
        if outcome is Outcome.KEPT:
            self._settle(Release(task_id))
        elif not self._memory.is_claimed(task_id):
            self._write_refusal(report, outcome)  # it was dropped before it could be claimed
        elif outcome.group != "withheld":  # or somebody else has the claim
            self._settle(Finish(task_id, outcome.value, code or "", self._clock.wall()))

    def alert(self, alert: Alert) -> None:
        self._write(alert)

    def _write_refusal(self, report: Report, outcome: Outcome) -> None:
        sighting = self._sighting(report.task, report.attempt, report.site, report.sent_at)
        self._write(Refusal(sighting, report.rule, outcome.value))

    def _sighting(self, task: Task, trip: int, site: str, sent_at: float) -> Sighting:
        return Sighting(
            task.id,
            trip,
            site,
            self._spider,
            _storable(task.type or ""),
            age_between(task.solved_at, sent_at),
            self._clock.wall(),
        )

    def _settle(self, entry: Finish | Release) -> None:
        """Write what became of a claim, later if need be."""
        if self._lost and entry.task_id in self._at_home:
            self._owed.append(entry)
        self._at_home.discard(entry.task_id)
        self._write(entry)

    def _write(self, entry: Entry, answer: Deferred[Outcome | None] | None = None) -> None:
        if not self._lost:
            self._unwritten.append((entry, answer))
            self._flush()

    def _flush(self) -> None:
        """Have the home do the next thing, if it is not busy."""
        if self._is_busy or not self._is_open:
            return
        if self._lost:
            self._pay()
        elif self._is_to_look:
            self._is_to_look = False
            self._do(self._home.take_over(self._clock.wall()), self._took_over, "reading")
        elif self._unwritten:
            batch, rest = self._unwritten[:MOST_AT_ONCE], self._unwritten[MOST_AT_ONCE:]
            self._being_written, self._unwritten = batch, rest
            self._at_home.update(e.sighting.task_id for e, _ in batch if isinstance(e, Claim))
            self._do(self._home.write([entry for entry, _ in batch]), self._written, "writing to")
        else:
            _fire(self._on_written)

    def _pay(self) -> None:
        """Try to write what a lost home is owed."""
        if not self._owed:
            _fire(self._on_written)
            return
        owed, self._owed = self._owed[:MOST_AT_ONCE], self._owed[MOST_AT_ONCE:]

        def keep_owing(_: object) -> None:
            self._is_busy = False
            self._owed += owed
            _fire(self._on_written)  # closing waits no longer

        def paid(_: object) -> None:
            self._is_busy = False
            self._flush()

        self._is_busy = True
        self._limited(self._home.write(owed)).addCallbacks(paid, keep_owing)

    def _do(self, work: Deferred[Any], then: Callable[[Any], None], doing: str) -> None:
        self._is_busy = True
        self._limited(work).addCallback(self._done, then).addErrback(self._lose, doing)

    def _done(self, result: Any, then: Callable[[Any], None]) -> None:
        if not self._lost:  # else nobody waits for it any longer
            self._is_busy = False
            then(result)
            self._flush()

    def _written(self, objections: list[Outcome | None]) -> None:
        batch, self._being_written = self._being_written, []
        for (_, answer), objection in zip(batch, objections, strict=True):
            if answer is not None:
                answer.callback(objection)

    # -- beginning and end ----------------------------------------------------------------------

    def open(self, on_recovered: Callable[[Recovered], None]) -> Deferred[None]:
        looked: Deferred[None] = Deferred()
        self._inherit = on_recovered
        self._on_looked.append(looked)
        self._do(self._home.open(self._clock.wall()), self._opened, "opening")
        return looked

    def _opened(self, sites: Mapping[str, tuple[int, int]]) -> None:
        self._is_open = True
        self._inherit(Recovered(sites=sites))
        if not self._on_written:  # not yet closing
            self._looking.start(LOOK_EVERY_SECONDS)

    def _look(self) -> None:
        self._is_to_look = True
        self._flush()

    def _took_over(self, left: Left) -> None:
        reports = [self._report(claim) for claim in left.claims]
        for report in reports:
            self._memory.claim(report)
        if reports or left.expired:
            self._inherit(Recovered(reports, left.expired))
        _fire(self._on_looked)

    def _report(self, claim: Claim) -> Report:
        seen, solved_at = claim.sighting, self._clock.at(claim.solved_at)
        return Report(
            Task(seen.task_id, Kind(claim.kind), seen.type or None, solved_at, lifetime=None),
            seen.trip,
            expires_at=solved_at + self._max_age,
            rule=claim.rule,
            site=seen.site,
            recovered=True,
        )

    def close(self) -> Deferred[None]:
        self._stop_looking()
        written: Deferred[None] = Deferred()
        self._on_written.append(written)
        if self._is_open:
            self._flush()
        elif self._lost:
            _fire(self._on_written)
        closing: Deferred[Any] = written.addCallback(lambda _: self._let_go())
        closing.addTimeout(CLOSING_SECONDS, self._timer)
        return closing.addErrback(self._not_closed)

    def _stop_looking(self) -> None:
        self._is_to_look = False
        if self._looking.running:
            self._looking.stop()

    def _let_go(self) -> Deferred[None]:
        self._is_open = False
        return self._home.close()

    def _not_closed(self, failure: Failure) -> None:
        if not self._lost:  # which has been said
            logger.warning(
                "The ledger %s could not be closed in time (%s); what it misses is taken for "
                "unfinished by the next crawl",
                self._home.name,
                type(failure.value).__name__,
                extra=self._log_extra,
            )
        if self._on_written:  # it was still writing
            self._abandon()
            _fire(self._on_written)
            self._let_go().addErrback(lambda _: None)  # when it can

    # -- a home that fails ----------------------------------------------------------------------

    def _limited(self, work: Deferred[Any]) -> Deferred[Any]:
        """*work*, or a failure once the home has taken too long; the work itself goes on."""
        limited: Deferred[Any] = Deferred()

        def settle(result: Any) -> None:
            if call.active():
                call.cancel()
                limited.callback(result)  # errbacks, if it is a Failure

        call = self._timer.callLater(
            PATIENCE_SECONDS, lambda: limited.errback(error.TimeoutError())
        )
        work.addBoth(settle)
        return limited

    def _lose(self, failure: Failure, doing: str) -> None:
        if self._lost:
            return
        logger.warning(
            "%s the ledger %s failed (%s: %s). The crawl goes on with a ledger in memory: reports "
            "that are not sent when it ends are lost, and other crawls hear of its reports only "
            "if the ledger comes back",
            doing.capitalize(),
            self._home.name,
            type(failure.value).__name__,
            failure.getErrorMessage(),
            extra=self._log_extra,
        )
        self._on_unavailable()
        self._abandon()

    def _abandon(self) -> None:
        """Go on without the home; whoever waits for it need not any longer."""
        self._lost = True
        self._is_busy = False
        waiting = [*self._being_written, *self._unwritten]
        self._being_written, self._unwritten = [], []
        for entry, answer in waiting:
            if isinstance(entry, (Finish, Release)):
                self._owed.append(entry)
            elif answer is not None:
                answer.callback(None)
        _fire(self._on_looked)
        if not self._is_open:
            _fire(self._on_written)


def _fire(waiting: list[Deferred[None]]) -> None:
    while waiting:
        waiting.pop().callback(None)


def _storable(name: str) -> str:
    """*name* as every home can keep it: whole characters, not too many."""
    return name[:LONGEST_NAME].encode("utf-8", "replace").decode()
