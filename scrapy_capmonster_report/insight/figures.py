"""The counts of a ledger, summed up for each site."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..ledger import PASSED, PENDING
from ..outcome import BY_CALLBACK, Outcome
from .rates import interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..ledger import Alert, Count

K = TypeVar("K")

UNKNOWN_TYPE: Final = "unknown"
"""The captcha type of tasks that came without a ``taskType``."""

SITE_KEYS: Final = ("site", "type", "rule", "status")
"""The members of a ``Count`` that :func:`by_site` looks at."""


@dataclass(slots=True)
class Figures:
    """How many tasks ended how.

    ``tasks`` is ``passed + rejected``. ``rejected`` is ``withheld + accepted_reports +
    refused_reports + dropped + waiting``.

    Args:
        counts: what the figures are the sum of.
        statuses: the number of tasks by status (see ``ledger.Count``).
        rules: the number of rejected tasks by the name of the rule that matched.
        codes: the number of reports that the service refused by ``errorCode``.
    """

    counts: list[Count] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, counts: Iterable[Count]) -> Figures:
        figures = cls()
        for count in counts:
            figures.add(count)
        return figures

    def add(self, count: Count) -> None:
        self.counts.append(count)
        self.statuses[count.status] += count.tasks
        if count.status != PASSED:
            self.rules[count.rule] += count.tasks
        if count.code:
            self.codes[count.code] += count.tasks

    @property
    def types(self) -> dict[str, Figures]:
        """The figures of each captcha type, the worst first."""
        return worst_first(sum_by(lambda count: count.type or UNKNOWN_TYPE, self.counts))

    @property
    def tasks(self) -> int:
        return self.statuses.total()

    @property
    def passed(self) -> int:
        return self.statuses[PASSED]

    @property
    def rejected(self) -> int:
        return self.tasks - self.passed

    @property
    def withheld_reasons(self) -> dict[str, int]:
        """How many reports were withheld for each reason: ``{"stale": 3}``."""
        return self._reasons("withheld/")

    @property
    def withheld(self) -> int:
        return sum(self.withheld_reasons.values())

    @property
    def dropped(self) -> int:
        return sum(self._reasons("dropped/").values())

    @property
    def accepted_reports(self) -> int:
        return self.statuses[Outcome.ACCEPTED.value]

    @property
    def refused_reports(self) -> int:
        return self.statuses[Outcome.REFUSED.value]

    @property
    def waiting(self) -> int:
        """Reports that have no outcome yet: in flight, or kept for the next crawl."""
        return self.statuses[PENDING] + self.statuses[Outcome.KEPT.value]

    @property
    def rejection_rate(self) -> float | None:
        """``None`` if only rejections by callbacks are known, but not which answers passed."""
        if not self.passed and self.rules.keys() <= {BY_CALLBACK}:
            return None
        return self.rejected / self.tasks

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of the rate."""
        return interval(self.rejected, self.tasks)

    def as_dict(self) -> dict[str, Any]:
        """The figures as ``summary --json`` prints them."""
        names = (
            *("tasks", "passed", "rejected", "withheld", "accepted_reports", "refused_reports"),
            *("dropped", "waiting", "rejection_rate", "withheld_reasons"),
        )
        return {**{name: getattr(self, name) for name in names}, "rules": dict(self.rules)}

    def _reasons(self, group: str) -> dict[str, int]:
        return {
            status.removeprefix(group): tasks
            for status, tasks in self.statuses.items()
            if status.startswith(group)
        }


def sum_by(key: Callable[[Count], K], counts: Iterable[Count]) -> dict[K, Figures]:
    """The figures of all counts that have the same *key*."""
    figures: defaultdict[K, Figures] = defaultdict(Figures)
    for count in counts:
        figures[key(count)].add(count)
    return figures


def by_site(counts: Iterable[Count]) -> dict[str, Figures]:
    """The figures of each site, the worst first."""
    return worst_first(sum_by(lambda count: count.site, counts))


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


def worst_first(figures: dict[str, Figures]) -> dict[str, Figures]:
    """*figures*, the highest rejection rate first, none last."""

    def key(item: tuple[str, Figures]) -> tuple[float, int, str]:
        name, found = item
        rate = -1.0 if found.rejection_rate is None else found.rejection_rate
        return -rate, -found.rejected, name

    return dict(sorted(figures.items(), key=key))
