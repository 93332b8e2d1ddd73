"""Entries in a SQLite file, written by a thread of its own."""

from __future__ import annotations

import glob
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from ..outcome import Outcome
from .entries import (
    DAY_SECONDS,
    KEEP_TOTALS_DAYS,
    LATELY_DAYS,
    PASSED,
    PENDING,
    Claim,
    Finish,
    Left,
    Refusal,
    Release,
    Sighting,
    Use,
    hour_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from twisted.enterprise.adbapi import Transaction

    from .entries import Entry

SCHEMA_VERSION: Final = 1

LOCK_SECONDS: Final = 4.0
"""How long to wait for another process that is writing; less than ``journal.PATIENCE_SECONDS``."""

LOCK_IS_HELD_AFTER_SECONDS: Final = 60.0

KEEP_USED_SECONDS: Final = DAY_SECONDS
"""How long to remember an answer that was used and never refused."""

KEEP_REFUSED_SECONDS: Final = 30 * DAY_SECONDS
"""How long to remember what became of an answer that was refused."""

# A row for each task, and the totals of what the rows say (``entries.Count``), kept up with each
# change: reading them must not take longer the more tasks there are.
# state: NULL, never claimed; 'pending', claimed by the run in owner (NULL: by none); 'finished'.
_SCHEMA: Final = (
    """
    CREATE TABLE task (
        id INTEGER PRIMARY KEY,
        used_by INTEGER,
        state TEXT,
        owner TEXT,
        trip INTEGER,
        kind TEXT,
        solved_at REAL,
        expires_at REAL,
        changed_at REAL NOT NULL,
        period INTEGER,
        site TEXT,
        spider TEXT,
        type TEXT,
        age INTEGER,
        rule TEXT,
        status TEXT,
        code TEXT
    )
    """,
    "CREATE INDEX task_pending ON task (owner) WHERE state = 'pending'",
    "CREATE INDEX task_changed ON task (changed_at)",
    """
    CREATE TABLE total (
        period INTEGER, site TEXT, spider TEXT, type TEXT, age INTEGER, rule TEXT, status TEXT,
        code TEXT, tasks INTEGER NOT NULL,
        PRIMARY KEY (period, site, spider, type, age, rule, status, code)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE alert (at REAL, site TEXT, before REAL, after REAL, answers INTEGER)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)

_HISTORY: Final = "period, site, spider, type, age, rule, status, code"
_COUNT: Final = (
    f"INSERT INTO total ({_HISTORY}, tasks) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    f" ON CONFLICT ({_HISTORY}) DO UPDATE SET tasks = tasks + excluded.tasks"
)


class SQLiteHome:
    """A ledger file that several processes on one machine may share.

    Args:
        path: the file; made, with its folders, where there is none.
        reactor: runs the thread.
        report_reused: whether an answer that was used before may be claimed.
    """

    def __init__(self, path: str, *, reactor: Any, report_reused: bool) -> None:
        self._path = Path(path).expanduser()
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

    def open(self, now: float) -> Deferred[Mapping[str, tuple[int, int]]]:
        made = deferToThreadPool(
            self._reactor, self._reactor.getThreadPool(), self._make_folder_and_lock
        )
        return self._done_before_closing(made.addCallback(self._connect, now))

    def take_over(self, now: float) -> Deferred[Left]:
        assert self._pool is not None
        return self._done_before_closing(self._pool.runInteraction(self._take_over, now))

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        assert self._pool is not None
        return self._done_before_closing(self._pool.runInteraction(self._write, entries))

    def close(self) -> Deferred[None]:
        # Closing the pool joins its thread, so not while that is waiting for a lock.
        return self._work.addCallback(self._checkpoint).addBoth(self._let_go)

    def _done_before_closing(self, work: Deferred[Any]) -> Deferred[Any]:
        done: Deferred[None] = Deferred()
        self._work = done

        def pass_on(result: Any) -> Any:
            done.callback(None)
            return result

        return work.addBoth(pass_on)

    def _connect(self, _: None, now: float) -> Deferred[Mapping[str, tuple[int, int]]]:
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
        sites: Deferred[Mapping[str, tuple[int, int]]] = self._pool.runInteraction(_open, now)
        return sites

    def _checkpoint(self, _: None) -> Deferred[None] | None:
        """Empty the write-ahead log in the thread, or closing would do it in the reactor's."""
        if self._pool is None:
            return None
        emptied: Deferred[None] = self._pool.runWithConnection(_checkpoint)
        return emptied

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
        self._alive.acquire(blocking=False)  # nobody else has this one
        for lock in self._path.parent.glob(f"{glob.escape(self._path.name)}.run-*.lock"):
            # Whose process has died. One that was just made may not be held yet.
            if time.time() - lock.stat().st_mtime > LOCK_IS_HELD_AFTER_SECONDS:
                self._is_running(lock.name.rpartition(".run-")[2].removesuffix(".lock"))

    def _remove_lock(self, lock: FileLock) -> None:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)

    def _is_running(self, run: str) -> bool:
        """Whether the process of *run* lives; if not, its lock is removed."""
        lock = self._lock_of(run)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        self._remove_lock(lock)
        return False

    def _take_over(self, txn: Transaction, now: float) -> Left:
        _begin(txn)
        owners = txn.execute("SELECT DISTINCT owner FROM task WHERE state = 'pending'").fetchall()
        claims: list[Claim] = []
        expired = 0
        for (owner,) in owners:
            if owner is not None and (owner == self._run or self._is_running(owner)):
                continue
            rows = txn.execute(
                "SELECT id, trip, site, spider, type, age, changed_at, rule, kind, solved_at,"
                " expires_at FROM task WHERE state = 'pending' AND owner IS ? ORDER BY changed_at",
                (owner,),
            ).fetchall()
            for row in rows:
                claim = Claim(Sighting._make(row[:7]), *row[7:])
                if claim.expires_at > now:
                    claims.append(claim)
                else:
                    expired += 1
                    _finish(txn, Finish(claim.sighting.task_id, Outcome.EXPIRED.value, "", now))
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
            _use(txn, entry)
        elif isinstance(entry, Refusal):
            _refuse(txn, entry)
        elif isinstance(entry, Finish):
            _finish(txn, entry)
        elif isinstance(entry, Release):
            txn.execute("UPDATE task SET owner = NULL WHERE id = ? AND state = 'pending'", entry)
        else:
            txn.execute("INSERT INTO alert VALUES (?, ?, ?, ?, ?)", entry)
        return None

    def _claim(self, txn: Transaction, claim: Claim) -> Outcome | None:
        seen = claim.sighting
        used_by, state = _row(txn, "used_by, state", seen.task_id) or (None, None)
        if state is not None:
            return Outcome.DUPLICATE
        if used_by not in (None, seen.trip) and not self._report_reused:
            return Outcome.REUSED
        _see(txn, seen, claim.rule, PENDING)
        txn.execute(
            "UPDATE task SET state = 'pending', owner = ?, trip = ?, kind = ?, solved_at = ?,"
            " expires_at = ? WHERE id = ?",
            (self._run, seen.trip, claim.kind, claim.solved_at, claim.expires_at, seen.task_id),
        )
        return None


def _open(txn: Transaction, now: float) -> dict[str, tuple[int, int]]:
    _begin(txn)
    _make_schema(txn)
    _forget(txn, now)
    return _rates(txn, now - LATELY_DAYS * DAY_SECONDS)


def _use(txn: Transaction, use: Use) -> None:
    seen = use.sighting
    txn.execute(
        "INSERT INTO task (id, used_by, changed_at) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
        " SET used_by = coalesce(used_by, excluded.used_by), changed_at = excluded.changed_at",
        (seen.task_id, seen.trip, seen.at),
    )
    if use.passed and _row(txn, "status", seen.task_id) == (None,):
        _see(txn, seen, "", PASSED)


def _refuse(txn: Transaction, refusal: Refusal) -> None:
    seen = refusal.sighting
    used_by, status = _row(txn, "used_by, status", seen.task_id) or (None, None)
    # Of several verdicts on a task the first stands, unless reject() revised that very one.
    if status is None or (status == PASSED and used_by == seen.trip):
        _see(txn, seen, refusal.rule, refusal.outcome)


def _see(txn: Transaction, seen: Sighting, rule: str, status: str) -> None:
    """Make *status* the task's, in its row and in the totals."""
    _uncount(txn, seen.task_id)
    history = (hour_of(seen.at), seen.site, seen.spider, seen.type, seen.age, rule, status, "")
    txn.execute(
        f"INSERT INTO task (id, changed_at, {_HISTORY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET changed_at = excluded.changed_at,"
        " period = excluded.period, site = excluded.site, spider = excluded.spider,"
        " type = excluded.type, age = excluded.age, rule = excluded.rule,"
        " status = excluded.status, code = excluded.code",
        (seen.task_id, seen.at, *history),
    )
    txn.execute(_COUNT, (*history, 1))


def _finish(txn: Transaction, finish: Finish) -> None:
    history = _uncount(txn, finish.task_id)
    txn.execute(
        "UPDATE task SET state = 'finished', owner = NULL, status = ?, code = ?, changed_at = ?"
        " WHERE id = ?",
        (finish.outcome, finish.code, finish.at, finish.task_id),
    )
    if history is not None:
        txn.execute(_COUNT, (*history[:6], finish.outcome, finish.code, 1))


def _uncount(txn: Transaction, task_id: int) -> tuple[Any, ...] | None:
    """Take the task out of the totals; gives its history, ``None`` if it has none."""
    history = _row(txn, _HISTORY, task_id)
    if history is None or history[0] is None:
        return None
    txn.execute(_COUNT, (*history, -1))
    return history


def _row(txn: Transaction, columns: str, task_id: int) -> tuple[Any, ...] | None:
    row: tuple[Any, ...] | None = txn.execute(
        f"SELECT {columns} FROM task WHERE id = ?", (task_id,)
    ).fetchone()
    return row


def _rates(txn: Transaction, since: float) -> dict[str, tuple[int, int]]:
    rows = txn.execute(
        "SELECT site, sum(CASE status WHEN ? THEN tasks ELSE 0 END),"
        " sum(CASE status WHEN ? THEN 0 ELSE tasks END) FROM total WHERE period >= ? GROUP BY site",
        (PASSED, PASSED, since),
    )
    return {site: (passed, refused) for site, passed, refused in rows.fetchall()}


def _forget(txn: Transaction, now: float) -> None:
    """Let go of what is old, but for the totals of it."""
    txn.execute(
        "DELETE FROM task WHERE state IS NOT 'pending' AND changed_at < ?"
        " AND (coalesce(status, ?) = ? OR changed_at < ?)",
        (now - KEEP_USED_SECONDS, PASSED, PASSED, now - KEEP_REFUSED_SECONDS),
    )
    oldest = now - KEEP_TOTALS_DAYS * DAY_SECONDS
    txn.execute("DELETE FROM total WHERE period < ? OR tasks = 0", (oldest,))
    txn.execute("DELETE FROM alert WHERE at < ?", (oldest,))


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
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
    except Exception:
        connection.close()  # the pool has yet to hear of it
        raise


def _checkpoint(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
