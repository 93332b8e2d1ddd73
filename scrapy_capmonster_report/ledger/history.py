"""What a ledger knows of all crawls, and how to ask for a part of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .base import KEEP_PERIODS_SECONDS, PASSED, Alert, Count, hour_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EVER: Final = 10.0**15
"""Later than any moment."""

_KEYS: Final = Count._fields[:-1]


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

    def periods_from(self, now: float) -> float:
        """From when on tasks are counted by periods of five minutes, and not by the hour."""
        return hour_of(now - KEEP_PERIODS_SECONDS) if "period" in self.keys else EVER

    @property
    def ordered_keys(self) -> list[str]:
        """The *keys*, in the order of ``Count``."""
        return [key for key in _KEYS if key in self.keys]

    def count(self, values: Iterable[Any], tasks: int) -> Count:
        """The count of *tasks* with these *values* of :attr:`ordered_keys`."""
        return Count(**dict(zip(self.ordered_keys, values, strict=True)), tasks=tasks)

    def alerts_beside(self, history: History) -> list[Alert]:
        """Those alerts of *history* that are wanted beside its counts."""
        sites = {count.site for count in history.counts}
        return [
            alert
            for alert in history.alerts
            if alert.at >= (self.since or 0)
            and self.site in (None, alert.site)
            and (self.spider is None or alert.site in sites)
        ]


def by_site(counts: Iterable[Count]) -> dict[str, tuple[int, int]]:
    """How many answers each site accepted and rejected."""
    passed: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for count in counts:
        (passed if count.status == PASSED else others)[count.site] += count.tasks
    return {site: (passed[site], others[site]) for site in passed | others}
