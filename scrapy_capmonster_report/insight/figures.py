"""The counts of a ledger, summed up for each site."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..ledger import PASSED
from ..outcome import BY_CALLBACK, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from typing_extensions import Self  # typing has it since Python 3.11

    from ..ledger import Alert, Count

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
        statuses: the number of tasks by status (see ``ledger.Count``).
        rules: the number of rejected tasks by the name of the rule that matched.
        codes: the number of reports that the service refused by ``errorCode``.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, counts: Iterable[Count]) -> Self:
        figures = cls()
        for count in counts:
            figures.add(count)
        return figures

    def add(self, count: Count) -> None:
        self.statuses[count.status] += count.tasks
        if count.status != PASSED:
            self.rules[count.rule] += count.tasks
        if count.code:
            self.codes[count.code] += count.tasks

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
        return {
            status.removeprefix("withheld/"): tasks
            for status, tasks in self.statuses.items()
            if status.startswith("withheld/")
        }

    @property
    def withheld(self) -> int:
        return sum(self.withheld_reasons.values())

    @property
    def dropped(self) -> int:
        return sum(
            tasks for status, tasks in self.statuses.items() if status.startswith("dropped/")
        )

    @property
    def accepted_reports(self) -> int:
        return self.statuses[Outcome.ACCEPTED.value]

    @property
    def refused_reports(self) -> int:
        return self.statuses[Outcome.REFUSED.value]

    @property
    def waiting(self) -> int:
        """Reports that have no outcome yet: in flight, or kept for the next crawl."""
        reports = self.accepted_reports + self.refused_reports
        return self.rejected - self.withheld - self.dropped - reports

    @property
    def rejection_rate(self) -> float | None:
        """``None`` if only rejections by callbacks are known, but not which answers passed."""
        if not self.passed and self.rules.keys() <= {BY_CALLBACK}:
            return None
        return self.rejected / self.tasks

    def as_dict(self) -> dict[str, Any]:
        """The figures as ``summary --json`` prints them."""
        names = (
            *("tasks", "passed", "rejected", "withheld", "accepted_reports", "refused_reports"),
            *("dropped", "waiting", "rejection_rate", "withheld_reasons"),
        )
        return {**{name: getattr(self, name) for name in names}, "rules": dict(self.rules)}


@dataclass(slots=True)
class SiteFigures(Figures):
    """A site's figures, and those of each captcha type on it."""

    types: defaultdict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))

    def add(self, count: Count) -> None:
        Figures.add(self, count)
        self.types[count.type or UNKNOWN_TYPE].add(count)

    def as_dict(self) -> dict[str, Any]:
        types = {name: figures.as_dict() for name, figures in worst_first(self.types)}
        return {**Figures.as_dict(self), "types": types}


def by_site(counts: Iterable[Count]) -> dict[str, SiteFigures]:
    """The figures of each site, the worst first."""
    sites: defaultdict[str, SiteFigures] = defaultdict(SiteFigures)
    for count in counts:
        sites[count.site].add(count)
    return dict(worst_first(sites))


def as_json(sites: dict[str, SiteFigures], alerts: Iterable[Alert]) -> dict[str, Any]:
    """What ``summary --json`` prints."""
    return {
        "sites": [{"site": site, **figures.as_dict()} for site, figures in sites.items()],
        "alerts": [alert._asdict() for alert in alerts],
    }


_Figures = TypeVar("_Figures", bound=Figures)


def worst_first(figures: Mapping[str, _Figures]) -> list[tuple[str, _Figures]]:
    """The items of a mapping of names to figures, the highest rejection rate first, none last."""

    def key(item: tuple[str, _Figures]) -> tuple[float, int, str]:
        name, found = item
        rate = -1.0 if found.rejection_rate is None else found.rejection_rate
        return -rate, -found.rejected, name

    return sorted(figures.items(), key=key)
