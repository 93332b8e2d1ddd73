"""A ledger in a SQLite file, written by a thread of its own."""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import sql
from .base import HOUR_SECONDS
from .history import History
from .locks import RunLocks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..outcome import Outcome
    from .base import Claimed, Count, Event
    from .history import Query

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

LOCK_SECONDS: Final = 1.0
"""How long to wait for another process that writes, before that counts as a failure."""

USELESS_SECONDS: Final = HOUR_SECONDS
"""A claim that expired so long ago is of no use to its run, even if that should be alive."""

MAX_LOSSES: Final = 10
"""How many losses are noticed at most: not every file system has stable inode numbers."""


class SQLiteBackend:
    """A ledger file that several processes on one machine may share.

    Args:
        path: the file. It is created if it does not exist, with its folders.
        report_reused: whether an answer that was used before may be claimed.
        log_extra: what log records carry.
    """

    lease = math.inf

    def __init__(self, path: Path, *, report_reused: bool, log_extra: dict[str, Any]) -> None:
        self.name = f"sqlite:{path}"
        self._path = path.absolute()  # a spider may change the current folder
        self._report_reused = report_reused
        self._log_extra = log_extra
        self._locks = RunLocks(self._path, log_extra)
        # The write-ahead log and its index are parts of the ledger.
        self._parts = [self._path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]
        self._seen: list[tuple[int, int] | None] = []  # when we connected
        self._is_lost = False
        self.losses = 0
        self._database: sqlite3.Connection | None = None

    def count(self, query: Query, now: float) -> list[Count]:
        return self._transaction(sql.count, query, now)

    def write(self, events: Sequence[Event]) -> list[Outcome | None]:
        return self._transaction(sql.write, events, self._locks.run_id, self._report_reused)

    def recover(self, now: float) -> list[Claimed]:
        claims = self._transaction(self._take_over, now)
        self._locks.forget_ended()
        return claims

    def close(self) -> None:
        has_left_nothing = False
        try:
            if self._database is not None:
                has_left_nothing = self._locks.run_id not in sql.owners(self._database)
        finally:
            self._disconnect()
            self._locks.release(remove=has_left_nothing)

    def _take_over(self, database: sqlite3.Connection, now: float) -> list[Claimed]:
        claims: list[Claimed] = []
        own, owners = self._locks.run_id, sql.owners(database)
        ended = self._locks.find_ended(owners)
        for owner in owners:
            if owner is None or owner in ended:
                claims += sql.take_over(database, owner, own)
            elif owner != own:
                claims += sql.take_over(database, owner, own, expired_at=now - USELESS_SECONDS)
        sql.forget(database, now)
        return claims

    def _transaction(self, work: Callable[..., _T], *args: Any) -> _T:
        self._notice_loss()
        try:
            if self._database is None:
                self._database = self._connect()
            self._database.execute("BEGIN IMMEDIATE")  # it is ours alone to write
            result = work(self._database, *args)
            self._database.execute("COMMIT")
        except BaseException:
            self._disconnect()  # which also rolls back
            raise
        if self._is_lost:
            self._is_lost = False
            self.losses += 1
            logger.warning(
                "Ledger %s was removed or replaced by another program. Reports that are not sent "
                "yet are written to the file that is there now.",
                self.name,
                extra=self._log_extra,
            )
        return result

    def _notice_loss(self) -> None:
        """Disconnect if another program has removed or replaced a part, or emptied the file.

        SQLite itself does not notice: it would go on writing to files that are not there any more.
        """
        now = self._identify_parts()
        if now[: len(self._seen)] == self._seen or self.losses >= MAX_LOSSES:
            return
        before, self._seen = self._seen, []
        self._disconnect()
        self._is_lost = True
        if now[0] != before[0]:
            # SQLite would use the log of the old file for the new one.
            for part, was, is_now in zip(self._parts[1:], before[1:], now[1:], strict=False):
                if was == is_now:
                    part.unlink(missing_ok=True)

    def _identify_parts(self) -> list[tuple[int, int] | None]:
        """Device and inode of each part. Sizes are ignored: other programs may shrink a file."""
        file, *others = map(_stat, self._parts)
        parts = [file if file and file.st_size else None, *others]
        return [part and (part.st_dev, part.st_ino) for part in parts]

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._locks.hold()
        try:
            # Only its owner may read the file. One that exists is not opened here: closing it would
            # release the locks that SQLite holds on it for other crawls in this process.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if self._path.is_dir():
                raise IsADirectoryError(f"Is a directory: {self._path}") from None
        database = sqlite3.connect(
            self._path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            # Readers and the writer do not wait for each other, and a commit waits for no disk:
            # what a killed process has committed is safe, a power failure could take it back.
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("BEGIN IMMEDIATE")
            sql.prepare(database)
            database.execute("COMMIT")
        except BaseException:
            database.close()
            raise
        # Not after later transactions: the loss of a part during one would never be noticed.
        self._seen = self._identify_parts()
        return database

    def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            del self._seen[1:]  # which SQLite may remove now
            database.close()


def _stat(path: Path) -> os.stat_result | None:
    with suppress(OSError):
        return path.stat()
    return None


def read(path: Path, query: Query, now: float) -> History:
    """What *query* asks for in the file *path*.

    Raises:
        ValueError: it cannot be read.
    """
    if not path.is_file():
        raise ValueError(f"there is no ledger {path}")
    path = path.resolve()
    uri = f"{path.as_uri()}?mode=ro"
    if not os.access(path.parent, os.W_OK) and not path.with_name(f"{path.name}-wal").exists():
        uri += "&immutable=1"  # else SQLite would need a file beside it
    try:
        # Read only: must not create a file, nor wait for a crawl that writes it.
        with closing(sqlite3.connect(uri, uri=True)) as database:
            return History(sql.count(database, query, now), sql.alerts(database))
    except (sqlite3.Error, ValueError) as error:
        raise ValueError(f"{path} is not a readable ledger: {error}") from error
