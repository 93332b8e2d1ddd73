"""Reading a ledger from outside a crawl: what the summary is made of."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .entries import KEEP_TOTALS_DAYS, Alert, Count, hour_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_KEYS: Final = Count._fields[:-1]
_BLANK: Final[dict[str, Any]] = {"period": 0, "age": 0}
"""What stands in a ``Count`` for a key that was not asked for; else ``""``."""


class History(NamedTuple):
    """What became of all tasks that a ledger knows of, as counts; and the alerts."""

    counts: list[Count]
    alerts: list[Alert]


@dataclass(frozen=True)
class Query:
    """Which part of a history is wanted.

    Args:
        since: only what happened since then, tasks to the period; seconds since the epoch.
        site: only this site.
        spider: only the tasks of this spider, and the alerts of the sites these were for.
        keys: the members of ``Count`` by which to tell tasks apart. Fewer are read faster.
    """

    since: float | None = None
    site: str | None = None
    spider: str | None = None
    keys: Sequence[str] = _KEYS

    @property
    def first_hour(self) -> int:
        return 0 if self.since is None else hour_of(self.since)

    def history(self, counts: list[Count], alerts: Iterable[Alert]) -> History:
        """*counts*, with the *alerts* that are wanted beside them."""
        sites = {count.site for count in counts} if self.spider is not None else None
        return History(
            counts,
            [
                alert
                for alert in alerts
                if alert.at >= (self.since or 0)
                and self.site in (None, alert.site)
                and (sites is None or alert.site in sites)
            ],
        )


def read_history(
    ledger: str, query: Query | None = None, *, now: Callable[[], float] = time.time
) -> History:
    """Read the history in a ledger; blocks, so not for a crawl.

    Args:
        ledger: as ``CAPMONSTER_REPORT_LEDGER`` names it: ``sqlite:PATH``, ``redis://…``,
            ``rediss://…``; or the path of a SQLite file.
        query: which part of it; all of it by default.
        now: seconds since the epoch.

    Raises:
        ValueError: it is no ledger, or cannot be read; one line that says why.
    """
    scheme, _, path = ledger.partition(":")
    if scheme in ("redis", "rediss"):
        return _read_redis(ledger, query or Query(), now())
    return _read_sqlite(Path(path if scheme == "sqlite" else ledger).expanduser(), query or Query())


def _read_sqlite(path: Path, query: Query) -> History:
    if not path.is_file():
        raise ValueError(f"there is no ledger {path}")
    asked = {"period >= ?": query.first_hour, "site = ?": query.site, "spider = ?": query.spider}
    from .sqlite import SCHEMA_VERSION

    conditions = {sql: value for sql, value in asked.items() if value is not None}
    columns = [key if key in query.keys else repr(_BLANK.get(key, "")) for key in _KEYS]
    by_key = [key for key in _KEYS if key in query.keys]
    try:
        # Read only: a look must not make a file, nor wait for the crawl that writes it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA_VERSION):
                raise ValueError(
                    f"{path} cannot be read: its schema has version {version}, this release reads "
                    f"version {SCHEMA_VERSION}"
                )
            counts = database.execute(
                f"SELECT {', '.join(columns)}, sum(tasks) FROM total"
                f" WHERE {' AND '.join(['tasks > 0', *conditions])}"
                f" GROUP BY {', '.join(by_key)} ORDER BY {', '.join(by_key)}",
                list(conditions.values()),
            )
            alerts = database.execute(
                "SELECT at, site, before, after, answers FROM alert ORDER BY at"
            )
            return query.history([*map(Count._make, counts)], map(Alert._make, alerts))
    except sqlite3.Error as error:
        raise ValueError(f"{path} is no ledger that can be read: {error}") from error


def _read_redis(url: str, query: Query, now: float) -> History:
    try:
        import redis

        from . import redis as home
    except ImportError as error:
        raise ValueError(
            "a Redis ledger needs redis-py: pip install scrapy-capmonster-report[redis]"
        ) from error
    try:
        with home.connect(redis.Redis, url) as server:
            sums = server.register_script(home.SUMS)
            asked = home.query_for(
                keys=query.keys,
                first_hour=query.first_hour,
                site=query.site,
                spider=query.spider,
            )
            days = [
                sums(keys=[key], args=[asked]) for key in home.totals_keys(now, KEEP_TOTALS_DAYS)
            ]
            alerts = server.lrange(home.ALERTS, 0, -1)
    except (redis.RedisError, ValueError) as error:
        raise ValueError(f"{home.shown(url)} cannot be read: {error}") from error
    counts: Counter[Count] = Counter()
    for count in home.counts_from(days):
        counts[count._replace(tasks=0)] += count.tasks
    return query.history(
        [count._replace(tasks=tasks) for count, tasks in sorted(counts.items())],
        [Alert(*json.loads(alert)) for alert in alerts],
    )
