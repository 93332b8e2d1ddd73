"""Entries in a SQLite file, written by a thread of its own."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from ..outcome import Outcome
from .entries import Claim, Finish, Left, Use

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from twisted.enterprise.adbapi import Transaction

    from .entries import Entry

SCHEMA_VERSION: Final = 1

LOCK_SECONDS: Final = 4.0
"""How long to wait for another process that is writing; less than ``journal.PATIENCE_SECONDS``."""

KEEP_USED_SECONDS: Final = 24 * 3600.0
"""How long to remember an answer that was used and never refused."""

KEEP_REPORTED_SECONDS: Final = 30 * 24 * 3600.0
"""How long to remember what became of a report."""

# state: NULL, used only; 'pending', claimed by the crawl in owner (NULL: by none); else an outcome.
_SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS task (
        id INTEGER PRIMARY KEY,
        used_by INTEGER,
        state TEXT,
        owner TEXT,
        code TEXT,
        trip INTEGER,
        kind TEXT,
        type TEXT,
        rule TEXT,
        site TEXT,
        solved_at REAL,
        expires_at REAL,
        changed_at REAL NOT NULL
    )
    """,
    "CREATE INDEX IF NOT EXISTS task_pending ON task (owner) WHERE state = 'pending'",
    "CREATE INDEX IF NOT EXISTS task_changed ON task (changed_at)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class SQLiteHome:
    """A ledger file that several processes on one machine may share.

    Args:
        path: the file; made, with its folders, where there is none.
        reactor: runs the thread.
        report_reused: whether an answer that was used before may be claimed.
    """

    def __init__(self, path: str, *, reactor: Any, report_reused: bool) -> None:
        self._path = Path(path)
        self._reactor = reactor
        self._report_reused = report_reused
        self._run = secrets.token_hex(8)
        # Held as long as the process lives, by whatever means it ends.
        self._alive = self._lock_of(self._run)
        self._pool: ConnectionPool | None = None
        self._work: Deferred[Any] = succeed(None)

    @property
    def name(self) -> str:
        return f"sqlite:{self._path}"

    def open(self, now: float) -> Deferred[Left]:
        made = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._make_folder_and_lock
        )
        return self._done_before_closing(made.addCallback(self._connect, now))

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        assert self._pool is not None
        return self._done_before_closing(self._pool.runInteraction(self._write, entries))

    def close(self) -> Deferred[None]:
        # Closing the pool joins its thread, so not while that is waiting for a lock.
        return self._work.addCallback(self._checkpoint).addBoth(self._let_go)

    def _done_before_closing(self, work: Deferred[Any]) -> Deferred[Any]:
        self._work = done = Deferred()

        def pass_on(result: Any) -> Any:
            done.callback(None)
            return result

        return work.addBoth(pass_on)

    def _connect(self, _: None, now: float) -> Deferred[Left]:
        self._pool = ConnectionPool(
            "sqlite3",
            str(self._path),
            timeout=LOCK_SECONDS,
            isolation_level=None,  # transactions begin where we say so
            check_same_thread=False,  # the pool closes its connections from the reactor's thread
            cp_min=1,
            cp_max=1,
            cp_noisy=False,
            cp_reactor=self._reactor,
            cp_openfun=_use_wal,
        )
        return self._pool.runInteraction(self._take_over, now)

    def _checkpoint(self, _: None) -> Deferred[None] | None:
        """Empty the write-ahead log in the thread, or closing would do it in the reactor's."""
        if self._pool is None:
            return None
        return self._pool.runWithConnection(_checkpoint)

    def _let_go(self, _: object) -> Deferred[None]:
        if self._pool is not None:
            self._pool.close()
        return deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._remove_lock, self._alive
        )

    # -- in a thread --------------------------------------------------------------------------

    def _lock_of(self, run: str) -> FileLock:
        return FileLock(f"{self._path}.run-{run}.lock", thread_local=False)

    def _make_folder_and_lock(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._alive.acquire()

    def _remove_lock(self, lock: FileLock) -> None:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)

    def _is_running(self, run: str) -> bool:
        lock = self._lock_of(run)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        self._remove_lock(lock)
        return False

    def _take_over(self, txn: Transaction, now: float) -> Left:
        _begin(txn)
        _make_schema(txn)
        txn.execute(
            "DELETE FROM task WHERE changed_at < ? AND (state IS NULL OR changed_at < ?)"
            " AND state IS NOT 'pending'",
            (now - KEEP_USED_SECONDS, now - KEEP_REPORTED_SECONDS),
        )
        owners = txn.execute("SELECT DISTINCT owner FROM task WHERE state = 'pending'").fetchall()
        claims: list[Claim] = []
        expired = 0
        for (owner,) in owners:
            if owner is not None and self._is_running(owner):
                continue
            txn.execute(
                "UPDATE task SET state = ?, owner = NULL, changed_at = ?"
                " WHERE state = 'pending' AND owner IS ? AND expires_at <= ?",
                (Outcome.EXPIRED.value, now, owner, now),
            )
            expired += txn.rowcount
            rows = txn.execute(
                "SELECT id, trip, kind, type, rule, site, solved_at, expires_at, changed_at"
                " FROM task WHERE state = 'pending' AND owner IS ? ORDER BY changed_at",
                (owner,),
            )
            claims += map(Claim._make, rows.fetchall())
            txn.execute(
                "UPDATE task SET owner = ? WHERE state = 'pending' AND owner IS ?",
                (self._run, owner),
            )
        return Left(claims, expired)

    def _write(self, txn: Transaction, entries: Sequence[Entry]) -> list[Outcome | None]:
        _begin(txn)
        return [self._write_one(txn, entry) for entry in entries]

    def _write_one(self, txn: Transaction, entry: Entry) -> Outcome | None:
        if isinstance(entry, Claim):
            return self._claim(txn, entry)
        if isinstance(entry, Use):
            txn.execute(
                "INSERT INTO task (id, used_by, type, site, changed_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET used_by = coalesce(used_by, excluded.used_by),"
                " changed_at = excluded.changed_at",
                entry,
            )
        elif isinstance(entry, Finish):
            txn.execute(
                "UPDATE task SET state = ?, code = ?, owner = NULL, changed_at = ? WHERE id = ?",
                (entry.outcome, entry.code, entry.at, entry.task_id),
            )
        else:
            txn.execute("UPDATE task SET owner = NULL WHERE id = ? AND state = 'pending'", entry)
        return None

    def _claim(self, txn: Transaction, claim: Claim) -> Outcome | None:
        row = txn.execute(
            "SELECT used_by, state FROM task WHERE id = ?", (claim.task_id,)
        ).fetchone()
        used_by, state = row or (None, None)
        if state is not None:
            return Outcome.DUPLICATE
        if used_by not in (None, claim.trip) and not self._report_reused:
            return Outcome.REUSED
        txn.execute(
            "INSERT OR REPLACE INTO task (id, trip, kind, type, rule, site, solved_at, expires_at,"
            " changed_at, used_by, state, owner) VALUES (?,?,?,?,?,?,?,?,?,?,'pending',?)",
            (*claim, used_by, self._run),
        )
        return None


def _begin(txn: Transaction) -> None:
    # At once for writing: a transaction that only later wants to write can be refused then.
    txn.execute("BEGIN IMMEDIATE")


def _make_schema(txn: Transaction) -> None:
    version = txn.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise RuntimeError(
            f"its schema has version {version}, this release reads version {SCHEMA_VERSION}"
        )
    if version == 0:
        for statement in _SCHEMA:
            txn.execute(statement)


def _use_wal(connection: sqlite3.Connection) -> None:
    """Readers and the writer do not wait for each other, and a commit waits for no disk.

    What a killed process has committed is safe all the same; only a power failure could take
    the last commits back.
    """
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
