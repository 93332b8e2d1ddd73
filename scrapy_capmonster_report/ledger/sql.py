"""The tables of a SQLite ledger, and all statements on them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from ..outcome import Outcome
from .base import (
    DAY_SECONDS,
    HOUR_SECONDS,
    KEEP_PERIODS_SECONDS,
    KEEP_TOTALS_DAYS,
    PASSED,
    PENDING,
    PERIOD_SECONDS,
    RECENT_DAYS,
    Alert,
    Claimed,
    Count,
    Finished,
    NotSent,
    Passed,
    Released,
    Sent,
    Submission,
    Withheld,
    hour_of,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from .base import Event
    from .history import Query

VERSION: Final = 2
"""Of the tables; in ``PRAGMA user_version``."""

KEEP_SENT_SECONDS: Final = DAY_SECONDS
"""How long to remember an answer that was sent and never rejected."""

KEEP_REJECTED_SECONDS: Final = 30 * DAY_SECONDS
"""How long to remember what became of an answer that was rejected."""

MAX_FORGOTTEN: Final = 10_000
"""Rows let go of at once."""

# A row for each task, and the totals of what the rows say, kept up by triggers: reading them must
# not take longer the more tasks there are. A task is counted for a short period and for an hour.
# state: NULL, never claimed; 'pending', claimed by the run in owner (NULL: by none); 'finished'.
_COUNT: Final = """
    INSERT INTO total
    SELECT seconds, CAST({row}.at / seconds AS INTEGER) * seconds, {row}.site, {row}.spider,
        {row}.type, {row}.age, {row}.rule, {row}.status, {row}.code, {tasks}
    FROM width WHERE {row}.status IS NOT NULL
    ON CONFLICT DO UPDATE SET tasks = tasks + excluded.tasks
"""
_SCHEMA: Final = (
    """
    CREATE TABLE task (
        id INTEGER PRIMARY KEY, first_attempt INTEGER, keep_until REAL NOT NULL,
        attempt INTEGER, site TEXT, spider TEXT, type TEXT, age INTEGER, at REAL,
        rule TEXT, status TEXT, code TEXT,
        state TEXT, owner TEXT, kind TEXT, solved_at REAL, expires_at REAL
    )
    """,
    "CREATE INDEX task_pending ON task (owner) WHERE state = 'pending'",
    "CREATE INDEX task_keep_until ON task (keep_until)",
    """
    CREATE TABLE total (
        seconds INTEGER, start INTEGER, site TEXT, spider TEXT, type TEXT, age INTEGER, rule TEXT,
        status TEXT, code TEXT, tasks INTEGER NOT NULL,
        PRIMARY KEY (seconds, start, site, spider, type, age, rule, status, code)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE width (seconds INTEGER)",
    f"INSERT INTO width VALUES ({PERIOD_SECONDS}), ({HOUR_SECONDS})",
    f"""
    CREATE TRIGGER task_inserted AFTER INSERT ON task BEGIN
        {_COUNT.format(row="new", tasks=1)};
    END
    """,
    f"""
    CREATE TRIGGER task_updated AFTER UPDATE OF status, code ON task BEGIN
        {_COUNT.format(row="old", tasks=-1)};
        {_COUNT.format(row="new", tasks=1)};
    END
    """,
    "CREATE TABLE alert (at REAL, site TEXT, before REAL, after REAL, answers INTEGER)",
    f"PRAGMA user_version = {VERSION}",
)


def _fields(count: int) -> str:
    return ", ".join(f"json_extract(value, '$[{n}]')" for n in range(count))


# Each takes all rows at once, as one JSON text: beside a busy crawl a thread has to wait for the
# interpreter after each statement.
_NOT_SENT: Final = """
    UPDATE task SET first_attempt = NULL
    WHERE id IN (SELECT json_extract(value, '$[0]') FROM json_each(:rows))
    AND first_attempt IN (SELECT json_extract(value, '$[1]') FROM json_each(:rows))
"""
_SENT: Final = f"""
    INSERT INTO task (id, first_attempt, keep_until)
    SELECT {_fields(3)} FROM json_each(:rows) WHERE true
    ON CONFLICT DO UPDATE SET first_attempt = coalesce(first_attempt, excluded.first_attempt),
        keep_until = max(keep_until, excluded.keep_until)
"""
_OBJECTIONS: Final = f"""
    SELECT CASE
        WHEN state = 'pending' AND owner = :run AND attempt = claimed THEN NULL
        WHEN state IS NOT NULL THEN '{Outcome.DUPLICATE.value}'
        WHEN first_attempt <> claimed AND NOT :report_reused THEN '{Outcome.REUSED.value}'
    END
    FROM (
        SELECT key, json_extract(value, '$[0]') AS id, json_extract(value, '$[1]') AS claimed
        FROM json_each(:rows)
    ) LEFT JOIN task USING (id) ORDER BY key
"""
_VERDICT: Final = (
    *("id", "attempt", "site", "spider", "type", "age", "at", "rule", "status", "keep_until"),
    *("state", "kind", "solved_at", "expires_at"),
)
# The first verdict on a task is final, except that reject() may overrule "passed" of the same
# attempt, and that a claim may follow on a report that was withheld.
_VERDICTS: Final = f"""
    INSERT INTO task ({", ".join(_VERDICT)}, code, owner)
    SELECT {_fields(len(_VERDICT))}, '', :run FROM json_each(:rows) WHERE true
    ON CONFLICT DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in _VERDICT[1:])},
        code = '', owner = excluded.owner
    WHERE excluded.state IS NOT NULL OR status IS NULL OR (
        status = '{PASSED}' AND excluded.status <> '{PASSED}' AND attempt = excluded.attempt
    )
"""
_FINISHED: Final = """
    INSERT INTO task (id, status, code, keep_until)
    SELECT task.id, json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]')
    FROM json_each(:rows) JOIN task ON task.id = json_extract(value, '$[0]')
    WHERE state = 'pending' AND owner = :run
    ON CONFLICT DO UPDATE SET state = 'finished', owner = NULL, status = excluded.status,
        code = excluded.code, keep_until = excluded.keep_until
"""
_RELEASED: Final = """
    UPDATE task SET owner = NULL WHERE state = 'pending' AND owner = :run
    AND id IN (SELECT json_extract(value, '$[0]') FROM json_each(:rows))
"""
_ALERTS: Final = f"INSERT INTO alert SELECT {_fields(5)} FROM json_each(:rows)"

_EXPIRED: Final = f"""
    UPDATE task SET state = 'finished', owner = NULL, status = '{Outcome.EXPIRED.value}'
    WHERE state = 'pending' AND owner IS :owner AND expires_at <= :now
"""
_LEFT: Final = """
    SELECT id, attempt, site, spider, type, age, at, rule, kind, solved_at, expires_at
    FROM task WHERE state = 'pending' AND owner IS :owner ORDER BY at
"""
_FORGET: Final = (
    "DELETE FROM task WHERE id IN (SELECT id FROM task WHERE keep_until < :now"
    f" ORDER BY keep_until LIMIT {MAX_FORGOTTEN})",
    f"DELETE FROM total WHERE seconds = {PERIOD_SECONDS}"
    f" AND start < :now - {KEEP_PERIODS_SECONDS + HOUR_SECONDS}",
    f"DELETE FROM total WHERE seconds = {HOUR_SECONDS}"
    f" AND start < :now - {KEEP_TOTALS_DAYS * DAY_SECONDS}",
    f"DELETE FROM alert WHERE at < :now - {KEEP_TOTALS_DAYS * DAY_SECONDS}",
)
_SITES: Final = f"""
    SELECT site, total(CASE status WHEN '{PASSED}' THEN tasks END),
        total(CASE status WHEN '{PASSED}' THEN 0 ELSE tasks END)
    FROM total WHERE seconds = {HOUR_SECONDS} AND start >= ? GROUP BY site
"""


def prepare(database: sqlite3.Connection) -> None:
    """Make the tables, if there are none.

    Raises:
        ValueError: there are those of another release.
    """
    if _version(database) == 0:
        for statement in _SCHEMA:
            database.execute(statement)


def sites(database: sqlite3.Connection, now: float) -> dict[str, tuple[int, int]]:
    """How many answers each site accepted and rejected lately."""
    rows = database.execute(_SITES, (now - RECENT_DAYS * DAY_SECONDS,))
    return {site: (int(passed), int(rejected)) for site, passed, rejected in rows}


def write(
    database: sqlite3.Connection, events: Sequence[Event], *, run_id: str, report_reused: bool
) -> list[Outcome | None]:
    """Write *events*; gives the outcome that forbids each of them."""

    def execute(statement: str, rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
        if not rows:
            return ()
        arguments = {"rows": json.dumps(rows), "run": run_id, "report_reused": report_reused}
        return database.execute(statement, arguments).fetchall()

    first, not_sent = _attempts(events)
    execute(_NOT_SENT, not_sent)
    execute(_SENT, first)
    claims = [(n, event) for n, event in enumerate(events) if isinstance(event, Claimed)]
    objections = execute(_OBJECTIONS, [claim.submission[:2] for _, claim in claims])
    outcomes: list[Outcome | None] = [None] * len(events)
    granted: dict[int, int] = {}
    for (n, claim), (objection,) in zip(claims, objections, strict=True):
        task_id, attempt, *_ = claim.submission
        if granted.get(task_id, attempt) != attempt:
            outcomes[n] = Outcome.DUPLICATE
        elif objection is not None:
            outcomes[n] = Outcome(objection)
        else:
            granted[task_id] = attempt
    allowed = [event for event, outcome in zip(events, outcomes, strict=True) if outcome is None]
    execute(_VERDICTS, [*_verdicts(allowed)])
    finished = [event for event in events if isinstance(event, Finished)]
    execute(_FINISHED, [(*event[:3], event.at + KEEP_REJECTED_SECONDS) for event in finished])
    execute(_RELEASED, [event for event in events if isinstance(event, Released)])
    execute(_ALERTS, [event for event in events if isinstance(event, Alert)])
    return outcomes


def _attempts(events: Sequence[Event]) -> tuple[list[tuple[int, int, float]], list[NotSent]]:
    """The first attempt of each task, and the attempts that were none after all."""
    first: dict[int, tuple[int, int, float]] = {}
    not_sent: list[NotSent] = []
    for event in events:
        if isinstance(event, NotSent):
            if event.task_id in first and first[event.task_id][1] == event.attempt:
                del first[event.task_id]
            else:
                not_sent.append(event)
        elif isinstance(event, (Sent, Passed, Claimed)):
            at = event if isinstance(event, Sent) else event.submission
            row = at.task_id, at.attempt, at.at + KEEP_SENT_SECONDS
            first.setdefault(at.task_id, row)
    return [*first.values()], not_sent


def _verdicts(events: Sequence[Event]) -> Iterator[tuple[Any, ...]]:
    """The rows of ``_VERDICTS``."""
    for event in events:
        if isinstance(event, Passed):
            seen = event.submission
            yield *seen, "", PASSED, seen.at + KEEP_SENT_SECONDS, None, None, None, None
        elif isinstance(event, Withheld):
            seen, keep_until = event.submission, event.submission.at + KEEP_REJECTED_SECONDS
            yield *seen, event.rule, event.outcome, keep_until, None, None, None, None
        elif isinstance(event, Claimed):
            seen, keep_until = event.submission, event.submission.at + KEEP_REJECTED_SECONDS
            yield *seen, event.rule, PENDING, keep_until, PENDING, *event[2:]


def owners(database: sqlite3.Connection) -> list[str | None]:
    """The runs that have claims; ``None``: some were released."""
    rows = database.execute("SELECT DISTINCT owner FROM task WHERE state = 'pending'")
    return [owner for (owner,) in rows]


def expire(database: sqlite3.Connection, owner: str | None, now: float) -> int:
    """Finish the claims of *owner* that are too old, and tell how many those are."""
    return database.execute(_EXPIRED, {"owner": owner, "now": now}).rowcount


def take_over(database: sqlite3.Connection, owner: str | None, run_id: str) -> list[Claimed]:
    """Make the claims of *owner* those of the run *run_id*."""
    rows = database.execute(_LEFT, {"owner": owner}).fetchall()
    database.execute(
        "UPDATE task SET owner = ? WHERE state = 'pending' AND owner IS ?", (run_id, owner)
    )
    return [Claimed(Submission._make(row[:7]), *row[7:]) for row in rows]


def forget(database: sqlite3.Connection, now: float) -> None:
    """Let go of what is old."""
    for statement in _FORGET:
        database.execute(statement, {"now": now})


def read(database: sqlite3.Connection, query: Query, now: float) -> tuple[list[Count], list[Alert]]:
    """The counts and alerts that *query* asks for.

    Raises:
        ValueError: the tables are those of another release.
    """
    _version(database)
    conditions = {
        "tasks > ?": 0,
        "start >= ?": query.first_hour,
        "site = ?": query.site,
        "spider = ?": query.spider,
    }
    if "period" in query.keys:
        fresh = hour_of(now - KEEP_PERIODS_SECONDS)
        conditions[f"(seconds = {PERIOD_SECONDS}) = (start >= ?)"] = fresh
    else:
        conditions["seconds = ?"] = HOUR_SECONDS
    conditions = {sql: value for sql, value in conditions.items() if value is not None}
    keys = ", ".join("start" if key == "period" else key for key in query.ordered_keys)
    rows = database.execute(
        f"SELECT {keys}, sum(tasks) FROM total WHERE {' AND '.join(conditions)}"
        f" GROUP BY {keys} ORDER BY {keys}",
        [*conditions.values()],
    )
    counts = [query.count(values, tasks) for *values, tasks in rows]
    alerts = database.execute("SELECT at, site, before, after, answers FROM alert ORDER BY at")
    return counts, [*map(Alert._make, alerts)]


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise ValueError(f"its schema has version {version}, this release reads version {VERSION}")
    return version
