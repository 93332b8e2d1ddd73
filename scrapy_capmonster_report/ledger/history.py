"""Reads a ledger from outside a crawl, for the summary."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .base import Alert, Count, hour_of
from .names import RedisName, is_redis, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_KEYS: Final = Count._fields[:-1]
_BLANK: Final[dict[str, Any]] = {"period": 0, "age": 0}
"""The values in a ``Count`` of keys that the query does not name; others are ``""``."""


class History(NamedTuple):
    """The counts of all tasks in a ledger by their status, and the alerts."""

    counts: list[Count]
    alerts: list[Alert]


@dataclass(frozen=True)
class Query:
    """Selects a part of a history.

    Args:
        since: only what happened since then, seconds since the epoch; tasks to the hour.
        site: only this site.
        spider: only the tasks of this spider, and the alerts of their sites.
        keys: the members of ``Count`` to count by. Fewer are read faster.
    """

    since: float | None = None
    site: str | None = None
    spider: str | None = None
    keys: Sequence[str] = _KEYS

    @property
    def first_hour(self) -> int:
        return 0 if self.since is None else hour_of(self.since)

    @property
    def ordered_keys(self) -> list[str]:
        """The *keys*, in the order of ``Count``."""
        return [key for key in _KEYS if key in self.keys]

    def count(self, values: Iterable[Any], tasks: int) -> Count:
        """The count of so many *tasks* with these *values* of :attr:`ordered_keys`."""
        found = dict(zip(self.ordered_keys, values, strict=True))
        return Count._make([*(found.get(key, _BLANK.get(key, "")) for key in _KEYS), tasks])

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
    """Read the history in a ledger. Blocks, so it must not be called in a crawl.

    Args:
        ledger: as ``CAPMONSTER_REPORT_LEDGER`` names it: ``sqlite:PATH``, ``redis://…``,
            ``rediss://…``; or the path of a SQLite file.
        query: which part of it; all of it by default.
        now: seconds since the epoch.

    Raises:
        ValueError: it is not a ledger or cannot be read. The message is one line that says why.
    """
    query = query or Query()
    if not is_redis(ledger):
        from . import sqlite

        path = sqlite_path(ledger) or Path(ledger).expanduser()
        return query.history(*sqlite.read(path, query, now()))
    name = RedisName.parse(ledger)
    try:
        from . import redis
    except ImportError as error:
        raise ValueError(
            'a Redis ledger needs redis-py: pip install "scrapy-capmonster-report[redis]"'
        ) from error
    return query.history(*redis.read(name, query, now()))
