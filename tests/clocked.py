"""A durable ledger whose time is told by hand: its SQL is real, its thread and its lock are not."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from scrapy_capmonster_report.clock import SteadyClock
from scrapy_capmonster_report.ledger.journal import JournalLedger
from scrapy_capmonster_report.ledger.sqlite import SQLiteHome, _open

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.task import Clock

    from scrapy_capmonster_report.ledger.entries import Entry
    from scrapy_capmonster_report.outcome import Outcome


class Disk:
    """What outlives the runs: a database, and who is running."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        self.running: set[str] = set()

    def fates(self) -> dict[str, int]:
        return dict(
            self.database.execute(
                "SELECT status, sum(tasks) FROM total GROUP BY status HAVING sum(tasks) > 0"
            )
        )


class ClockedHome(SQLiteHome):
    """Does its work *delay* seconds after it was asked to.

    Args:
        fails: asked before each work; what it raises, the work fails with.
    """

    def __init__(self, disk: Disk, clock: Clock) -> None:
        super().__init__("ledger.sqlite", reactor=None, report_reused=False)
        self.delay = 0.01
        self.hangs = False
        self.fails: Callable[[], None] = lambda: None
        self.batches: list[int] = []
        self._disk = disk
        self._clock = clock
        self._dead = False

    def open(self, now: float) -> Any:
        self._disk.running.add(self._run)
        return self._later(_open, now)

    def take_over(self, now: float) -> Any:
        return self._later(self._take_over, now)

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        self.batches.append(len(entries))
        return self._later(self._write, entries)

    def close(self) -> Deferred[None]:
        return self._later(lambda _: self._disk.running.discard(self._run))

    def die(self) -> None:
        """``kill -9``: what is not yet written never is."""
        self._dead = True
        self._disk.running.discard(self._run)

    def _is_running(self, run: str) -> bool:
        return run in self._disk.running

    def _later(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        if not self.hangs:
            self._clock.callLater(self.delay, self._do, done, work, args)
        return done

    def _do(self, done: Deferred[Any], work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._dead:
            return
        try:
            self.fails()
            result = work(self._disk.database, *args)
            if self._disk.database.in_transaction:
                self._disk.database.commit()
        except Exception:
            done.errback()
        else:
            done.callback(result)


def clocked_ledger(
    disk: Disk, clock: Clock, on_unavailable: Callable[[], None] = lambda: None
) -> tuple[JournalLedger, ClockedHome]:
    """A run's ledger on *disk*, and its home."""
    home = ClockedHome(disk, clock)
    ledger = JournalLedger(
        home,
        clock=SteadyClock(clock.seconds, clock.seconds),
        timer=clock,
        max_age=300.0,
        spider="spider",
        on_unavailable=on_unavailable,
        log_extra={},
    )
    return ledger, home
