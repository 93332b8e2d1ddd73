"""Reading a ledger from outside a crawl: what the summary is made of."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .entries import Alert, Count

if TYPE_CHECKING:
    from collections.abc import Callable


class History(NamedTuple):
    """What became of all tasks that a ledger knows of, as counts; and the alerts."""

    counts: list[Count]
    alerts: list[Alert]


def read_history(ledger: str, *, now: Callable[[], float] = time.time) -> History:
    """Read the history in a ledger; blocks, so not for a crawl.

    Args:
        ledger: as ``CAPMONSTER_REPORT_LEDGER`` names it: ``sqlite:PATH``, ``redis://…``,
            ``rediss://…``; or the path of a SQLite file.
        now: seconds since the epoch.

    Raises:
        ValueError: it is no ledger, or cannot be read; one line that says why.
    """
    scheme, _, path = ledger.partition(":")
    if scheme in ("redis", "rediss"):
        return _read_redis(ledger, now())
    return _read_sqlite(Path(path if scheme == "sqlite" else ledger))


def _read_sqlite(path: Path) -> History:
    if not path.is_file():
        raise ValueError(f"there is no ledger {path}")
    try:
        # Read only: a look must not make a file, nor wait for the crawl that writes it.
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            counts = database.execute(
                "SELECT hour, site, spider, type, age, rule, fate, code, tasks FROM total"
                " WHERE tasks > 0 ORDER BY hour"
            )
            alerts = database.execute(
                "SELECT at, site, before, after, answers FROM alert ORDER BY at"
            )
            return History([*map(Count._make, counts)], [*map(Alert._make, alerts)])
    except sqlite3.Error as error:
        raise ValueError(f"{path} is no ledger that can be read: {error}") from error


def _read_redis(url: str, now: float) -> History:
    try:
        import redis

        from .redis import ALERTS, KEEP_DAYS, SOCKET_SECONDS, counts_from, shown, totals_keys
    except ImportError as error:
        raise ValueError(
            "a Redis ledger needs redis-py: pip install scrapy-capmonster-report[redis]"
        ) from error
    try:
        with redis.Redis.from_url(
            url, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        ) as server:
            totals = [server.hgetall(key) for key in totals_keys(now, KEEP_DAYS)]
            alerts = server.lrange(ALERTS, 0, -1)
    except (redis.RedisError, ValueError) as error:
        raise ValueError(f"{shown(url)} cannot be read: {error}") from error
    return History([*counts_from(totals)], [Alert(*json.loads(alert)) for alert in alerts])
