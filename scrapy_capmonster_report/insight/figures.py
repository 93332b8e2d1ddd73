"""What the counts of a ledger add up to, site by site."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ..ledger import PASSED
from ..outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..ledger import Alert, Count

UNKNOWN_TYPE: Final = "unknown"
"""The captcha type of tasks that came without a ``taskType``."""

SITE_KEYS: Final = ("site", "type", "status")
"""The members of a ``Count`` that :func:`by_site` looks at."""

_Z: Final = 1.96
"""Standard deviations on either side that make 95 %."""


@dataclass(slots=True)
class Figures:
    """How many tasks had which fate.

    ``tasks`` is ``passed + rejected``. ``rejected`` is the sum of the others, and of the reports
    that have no outcome yet.
    """

    tasks: int = 0
    passed: int = 0
    rejected: int = 0
    withheld: int = 0
    accepted_reports: int = 0
    refused_reports: int = 0
    dropped: int = 0

    @property
    def rejection_rate(self) -> float:
        return self.rejected / self.tasks if self.tasks else 0.0

    @property
    def pending(self) -> int:
        """Reports that have no outcome yet: kept for the next crawl, or under way."""
        return (
            self.rejected
            - self.withheld
            - self.accepted_reports
            - self.refused_reports
            - self.dropped
        )

    def add(self, fate: str, tasks: int) -> None:
        """Count *tasks* of this *fate* (see ``ledger.Count``)."""
        self.tasks += tasks
        if fate == PASSED:
            self.passed += tasks
            return
        self.rejected += tasks
        if fate == Outcome.ACCEPTED.value:
            self.accepted_reports += tasks
        elif fate == Outcome.REFUSED.value:
            self.refused_reports += tasks
        elif fate.startswith("withheld/"):
            self.withheld += tasks
        elif fate.startswith("dropped/"):
            self.dropped += tasks

    def as_dict(self) -> dict[str, Any]:
        return {
            "tasks": self.tasks,
            "passed": self.passed,
            "rejected": self.rejected,
            "withheld": self.withheld,
            "accepted_reports": self.accepted_reports,
            "refused_reports": self.refused_reports,
            "dropped": self.dropped,
            "rejection_rate": self.rejection_rate,
        }


@dataclass(slots=True)
class SiteFigures(Figures):
    """A site's figures, and those of each captcha type on it."""

    types: defaultdict[str, Figures] = field(default_factory=lambda: defaultdict(Figures))

    def as_dict(self) -> dict[str, Any]:
        types = {name: figures.as_dict() for name, figures in worst_first(self.types)}
        return {**Figures.as_dict(self), "types": types}


def by_site(counts: Iterable[Count]) -> dict[str, SiteFigures]:
    """The figures of each site, the worst first."""
    sites: defaultdict[str, SiteFigures] = defaultdict(SiteFigures)
    for count in counts:
        site = sites[count.site]
        site.add(count.status, count.tasks)
        site.types[count.type or UNKNOWN_TYPE].add(count.status, count.tasks)
    return dict(worst_first(sites))


def as_json(sites: dict[str, SiteFigures], alerts: Iterable[Alert]) -> dict[str, Any]:
    """What ``summary --json`` prints."""
    return {
        "sites": [{"site": site, **figures.as_dict()} for site, figures in sites.items()],
        "alerts": [alert._asdict() for alert in alerts],
    }


_Figures = TypeVar("_Figures", bound=Figures)


def worst_first(figures: Mapping[str, _Figures]) -> list[tuple[str, _Figures]]:
    """The items of a mapping of names to figures, the highest rejection rate first."""
    return sorted(
        figures.items(),
        key=lambda item: (-item[1].rejection_rate, -item[1].rejected, item[0]),
    )


def interval(rejected: int, tasks: int) -> tuple[float, float]:
    """Between which rates the true one is, with 95 % confidence.

    Wilson's score interval: it holds for few tasks, and for rates near 0 and 1 (Wilson 1927).
    """
    if not tasks:
        return 0.0, 1.0
    rate = rejected / tasks
    scale = 1 + _Z**2 / tasks
    middle = (rate + _Z**2 / (2 * tasks)) / scale
    half = _Z * sqrt(rate * (1 - rate) / tasks + _Z**2 / (4 * tasks**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def percent(rate: float) -> str:
    """*rate* to be read: ``"5 %"``; with a digit more where it is small."""
    return f"{rate:.1%}".replace("%", " %") if 0 < rate < 0.02 else f"{rate:.0%}".replace("%", " %")
