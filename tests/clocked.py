"""A durable ledger whose time is told by hand: its SQL is real, its thread and its lock are not."""

from __future__ import annotations

import sqlite3
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contexts import context
from twisted.internet.defer import Deferred

from scrapy_capmonster_report.clock import SteadyClock
from scrapy_capmonster_report.ledger import sql
from scrapy_capmonster_report.ledger.buffered import BufferedLedger
from scrapy_capmonster_report.ledger.sqlite import SQLiteBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.task import Clock


class Disk:
    """What outlives the runs: a database, and who is running."""

    def __init__(self) -> None:
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        # Since 3.13, Python warns of one that is not closed.
        weakref.finalize(self, self.database.close)
        sql.prepare(self.database)
        self.running: set[str] = set()

    def statuses(self) -> dict[str, int]:
        """How many tasks have each status; the same by the hour and by the period."""
        by_period, by_hour = (
            dict(
                self.database.execute(
                    "SELECT status, sum(tasks) FROM total WHERE seconds = ? GROUP BY status"
                    " HAVING sum(tasks) > 0",
                    (seconds,),
                )
            )
            for seconds in (300, 3600)
        )
        assert by_period == by_hour
        return by_hour


class ClockedBackend(SQLiteBackend):
    """Does its work *delay* seconds after it was asked to.

    ``fails`` is called before each work; what it raises, the work fails with.
    """

    def __init__(self, disk: Disk, clock: Clock) -> None:
        super().__init__(Path("ledger.sqlite"), report_reused=False, log_extra={})
        self.delay = 0.01
        self.hangs = False
        self.fails: Callable[[], None] = lambda: None
        self.batches: list[list[str]] = []
        self._disk = disk
        self._clock = clock
        self._dead = False
        self._locks = self

    # what it asks of its locks
    run_id = property(lambda self: str(id(self)))

    def hold(self) -> None:
        self._disk.running.add(self.run_id)

    def find_ended(self, pending: Any) -> Any:
        return {*pending} - self._disk.running

    def forget_ended(self) -> None:
        pass

    def release(self, *, remove: bool) -> None:
        self._disk.running.discard(self.run_id)

    def _connect(self) -> sqlite3.Connection:
        self.hold()
        return self._disk.database

    def _disconnect(self) -> None:
        if self._disk.database.in_transaction:
            self._disk.database.rollback()

    def write(self, events: Any) -> Any:
        self.batches.append([type(event).__name__ for event in events])
        return super().write(events)

    def die(self) -> None:
        """``kill -9``: what is not yet written never is."""
        self._dead = True
        self._disk.running.discard(self.run_id)

    def in_thread(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """Stands for the thread."""
        done: Deferred[Any] = Deferred()
        if not self.hangs:
            self._clock.callLater(self.delay, self._do, done, work, args)
        return done

    def _do(self, done: Deferred[Any], work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._dead:
            return
        try:
            self.fails()
            result = work(*args)
        except Exception:
            done.errback()
        else:
            done.callback(result)


def clocked_ledger(disk: Disk, clock: Clock) -> tuple[BufferedLedger, ClockedBackend, Any]:
    """A run's ledger on *disk*, its backend, and its stats."""
    backend = ClockedBackend(disk, clock)
    crawl = context(reactor=clock, clock=SteadyClock(clock.seconds, clock.seconds))
    ledger = BufferedLedger(backend, crawl)
    ledger._contact._in_thread = backend.in_thread  # type: ignore[method-assign]
    return ledger, backend, crawl.stats
