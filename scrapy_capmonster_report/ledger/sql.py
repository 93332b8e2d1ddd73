"""Reads and writes the tables of a SQLite ledger. The statements are in ``sqlite.sql``."""

from __future__ import annotations

import json
import math
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from ..outcome import Outcome
from . import base

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from .history import Query

VERSION: Final = 2
"""The version of the tables, in ``PRAGMA user_version``."""

KEEP_SENT_SECONDS: Final = base.DAY_SECONDS
"""How long to remember an answer that was sent but not rejected."""

KEEP_REJECTED_SECONDS: Final = 30 * base.DAY_SECONDS
"""How long to remember an answer that was rejected."""

_SECTION: Final = re.compile(
    r"^-- name: (\w+)\n(.*?)\n*(?=^-- name: |\Z)", re.DOTALL | re.MULTILINE
)
_SQL: Final[Mapping[str, str]] = dict(
    _SECTION.findall(files(__package__).joinpath("sqlite.sql").read_text(encoding="utf-8"))
)


def prepare(database: sqlite3.Connection) -> None:
    """Create the tables if there are none.

    Raises:
        ValueError: the tables are those of another release.
    """
    if _version(database) == 0:
        for statement in (*_SQL["schema"].split("\n\n"), f"PRAGMA user_version = {VERSION}"):
            database.execute(statement)


def write(
    database: sqlite3.Connection, events: Sequence[base.Event], run_id: str, report_reused: bool
) -> list[Outcome | None]:
    """Write *events*, and return the outcome that forbids each of them."""
    rows = [_row(event) for event in events]
    names = {row[0] for row in rows}
    arguments = {
        "events": json.dumps(rows),
        "run": run_id,
        "report_reused": report_reused,
        "keep_sent": KEEP_SENT_SECONDS,
        "keep_rejected": KEEP_REJECTED_SECONDS,
    }

    def execute(*statements: str) -> None:
        for statement in statements:
            # Beside a busy crawl even one that finds nothing takes 10 ms.
            if any(f"'{name}'" in _SQL[statement] for name in names):
                found.extend(database.execute(_SQL[statement], arguments))

    found: list[tuple[int, str]] = []
    execute("not_sent", "sent", "forbidden")
    outcomes: list[Outcome | None] = [None] * len(rows)
    for n, outcome in found:
        outcomes[n] = Outcome(outcome)
    if found:
        allowed = [row for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
        arguments["events"] = json.dumps(allowed)
    execute("verdicts", "finished", "alerts")
    return outcomes


def _row(event: base.Event) -> list[Any]:
    """The name of an *event* and its members, those of a submission among them."""
    first, *others = event
    return [type(event).__name__, *(first if isinstance(first, tuple) else (first,)), *others]


def owners(database: sqlite3.Connection) -> list[str | None]:
    """The runs that have claims; ``None`` stands for claims that were released."""
    return [owner for (owner,) in database.execute(_SQL["owners"])]


def take_over(
    database: sqlite3.Connection, owner: str | None, run_id: str, expired_at: float = math.inf
) -> list[base.Claimed]:
    """Give the claims of *owner*, or those that have *expired*, to the run *run_id*."""
    arguments = {"owner": owner, "run": run_id, "expired_at": expired_at}
    rows = database.execute(_SQL["left"], arguments).fetchall()
    database.execute(_SQL["take_over"], arguments)
    return [base.Claimed(base.Submission._make(row[:7]), *row[7:]) for row in rows]


def forget(database: sqlite3.Connection, now: float) -> None:
    """Delete what is old."""
    arguments = {
        "now": now,
        "oldest_period": now - base.KEEP_PERIODS_SECONDS - base.HOUR_SECONDS,
        "oldest": now - base.KEEP_TOTALS_DAYS * base.DAY_SECONDS,
    }
    for statement in ("forget_tasks", "forget_totals", "forget_alerts"):
        database.execute(_SQL[statement], arguments)


def count(database: sqlite3.Connection, query: Query, now: float) -> list[base.Count]:
    """Count the tasks that *query* selects.

    Raises:
        ValueError: the tables are those of another release.
    """
    _version(database)
    keys = ", ".join("start" if key == "period" else key for key in query.ordered_keys)
    arguments = {
        "first": query.first_hour,
        "periods_from": query.periods_from(now),
        "site": query.site,
        "spider": query.spider,
    }
    rows = database.execute(_SQL["count"].format(keys=keys), arguments)
    return [query.count(values, tasks) for *values, tasks in rows]


def alerts(database: sqlite3.Connection) -> list[base.Alert]:
    """All alerts."""
    return [*map(base.Alert._make, database.execute(_SQL["all_alerts"]))]


def _version(database: sqlite3.Connection) -> int:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        raise ValueError(f"its schema has version {version}, this release reads version {VERSION}")
    return version
