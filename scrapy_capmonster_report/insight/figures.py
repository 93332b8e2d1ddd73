"""Rejection rates, and the counts of a ledger summed up for each site."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..ledger import PASSED, PENDING
from ..outcome import BY_CALLBACK, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..ledger import Alert, Count

K = TypeVar("K")

UNKNOWN_TYPE: Final = "unknown"
"""The captcha type of tasks that came without a ``taskType``."""

SITE_KEYS: Final = ("site", "type", "rule", "status")
"""The members of a ``Count`` that the figures of sites and types need."""

_IN_JSON: Final = (
    *("tasks", "passed", "rejected", "withheld", "accepted_reports", "refused_reports", "dropped"),
    *("waiting", "rejection_rate", "withheld_reasons", "rules"),
)
"""The figures that ``summary --json`` prints."""


_Z: Final = 1.96
"""Standard deviations on either side of the mean that hold 95 %."""


def interval(rejected: int, tasks: int) -> tuple[float, float]:
    """The lowest and the highest rate of a 95 % confidence interval.

    Wilson's score interval: it holds for few tasks, and for rates near 0 and 1 (Wilson 1927).
    """
    if not tasks:
        return 0.0, 1.0
    rate = rejected / tasks
    scale = 1 + _Z**2 / tasks
    middle = (rate + _Z**2 / (2 * tasks)) / scale
    half = _Z * sqrt(rate * (1 - rate) / tasks + _Z**2 / (4 * tasks**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def percent(rate: float | None) -> str:
    """*rate* as text: ``"5 %"``, with one more digit if it is small; ``"-"`` for ``None``."""
    if rate is None:
        return "-"
    return f"{rate:.1%}".replace("%", " %") if 0 < rate < 0.02 else f"{rate:.0%}".replace("%", " %")


class Figures:
    """How many tasks ended how.

    Args:
        counts: what the figures are the sum of.

    Attributes:
        statuses: the number of tasks by status (see ``ledger.Count``).
        rules: the number of rejected tasks by the name of the rule that matched.
        codes: the number of reports that the service refused by ``errorCode``.
        tasks: ``passed + rejected``.
        rejected: ``withheld + accepted_reports + refused_reports + dropped + waiting``.
        rejection_rate: ``None`` if only rejections by callbacks are known, but not which answers
            passed.
        interval: the 95 % confidence interval of the rate.
        withheld_reasons: how many reports were withheld for each reason: ``{"stale": 3}``.
        waiting: reports that have no outcome yet: in flight, or kept for the next crawl.
    """

    def __init__(self, counts: Iterable[Count]) -> None:
        self.counts = list(counts)
        self.statuses = statuses = Counter[str]()
        self.rules = Counter[str]()
        self.codes = Counter[str]()
        for count in self.counts:
            statuses[count.status] += count.tasks
            if count.status != PASSED:
                self.rules[count.rule] += count.tasks
            if count.code:
                self.codes[count.code] += count.tasks
        self.tasks = statuses.total()
        self.passed = statuses[PASSED]
        self.rejected = self.tasks - self.passed
        self.withheld_reasons = self._reasons("withheld/")
        self.withheld = sum(self.withheld_reasons.values())
        self.accepted_reports = statuses[Outcome.ACCEPTED.value]
        self.refused_reports = statuses[Outcome.REFUSED.value]
        self.dropped = sum(self._reasons("dropped/").values())
        self.waiting = statuses[PENDING] + statuses[Outcome.KEPT.value]
        is_known = self.passed or self.rules.keys() - {BY_CALLBACK}
        self.rejection_rate = self.rejected / self.tasks if is_known else None
        self.interval = interval(self.rejected, self.tasks)

    @cached_property
    def types(self) -> dict[str, Figures]:
        """The figures of each captcha type, the worst first."""
        return figures_by(lambda count: count.type or UNKNOWN_TYPE, self.counts)

    def as_dict(self) -> dict[str, Any]:
        """The figures as ``summary --json`` prints them."""
        return {name: getattr(self, name) for name in _IN_JSON}

    def _reasons(self, group: str) -> dict[str, int]:
        return {
            status.removeprefix(group): tasks
            for status, tasks in self.statuses.items()
            if status.startswith(group)
        }


def figures_by(key: Callable[[Count], K], counts: Iterable[Count]) -> dict[K, Figures]:
    """The figures of all counts that have the same *key*: the highest rate first, none last."""
    groups: defaultdict[K, list[Count]] = defaultdict(list)
    for count in counts:
        groups[key(count)].append(count)

    def badness(item: tuple[K, Figures]) -> tuple[float, int, str]:
        name, found = item
        rate = -1.0 if found.rejection_rate is None else found.rejection_rate
        return -rate, -found.rejected, str(name)

    return dict(sorted(((name, Figures(group)) for name, group in groups.items()), key=badness))


def by_site(counts: Iterable[Count]) -> dict[str, Figures]:
    """The figures of each site, the worst first."""
    return figures_by(lambda count: count.site, counts)


def as_json(sites: dict[str, Figures], alerts: Iterable[Alert]) -> dict[str, Any]:
    """What ``summary --json`` prints."""
    return {
        "sites": [
            {
                "site": site,
                **figures.as_dict(),
                "types": {name: of_type.as_dict() for name, of_type in figures.types.items()},
            }
            for site, figures in sites.items()
        ],
        "alerts": [alert._asdict() for alert in alerts],
    }
