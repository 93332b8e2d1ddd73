"""The history of a ledger as one HTML page that loads nothing. Needs ``[summary]``."""

from __future__ import annotations

from importlib.resources import files
from time import localtime, strftime
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, StrictUndefined

from ..ledger import AGES, PASSED, base
from .charts import rate_by_age, rate_over_time, y_max
from .figures import Figures, by_site, sum_by
from .rates import percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..ledger import Alert, Count, History

# These limits keep the page small for any ledger.
MAX_SITES: Final = 12
MAX_CHARTS: Final = 6
MAX_TYPES: Final = 4
MAX_REASONS: Final = 10
MAX_ALERTS: Final = 5
MAX_ROWS: Final = 200

_SPANS: Final = (
    *(periods * base.PERIOD_SECONDS for periods in (1, 3, 6)),
    *(hours * base.HOUR_SECONDS for hours in (1, 3, 6, 12)),
    *(days * base.DAY_SECONDS for days in (1, 2, 7)),
)
_MAX_SPANS: Final = 48

_ALWAYS: Final = 0.85
"""A site whose rate is above this, with 95 % confidence, seems to reject every answer."""


def page(history: History, *, now: float, ledger: str = "", filters: Iterable[str] = ()) -> str:
    """The page, as HTML text.

    Args:
        history: what to show.
        now: seconds since the epoch; times on the page are those of this machine's zone.
        ledger: the name of the ledger, without secrets.
        filters: the options that chose this part of it, for example ``"--since 24h"``.
    """
    sites = by_site(history.counts)
    total = Figures.of(history.counts)
    unrated = {name for name, site in sites.items() if site.rejection_rate is None}
    rated = [count for count in history.counts if count.site not in unrated]
    # The latest alert of each site. Older ones need no action.
    since = now - base.RECENT_SECONDS
    recent = {alert.site: alert for alert in history.alerts if alert.at > since}
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "moment": _moment, "number": "{:,}".format}
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        now=now,
        zone=strftime("%Z (UTC%z)", localtime(now)),
        ledger=ledger,
        filters=list(filters),
        spiders=sorted({count.spider for count in history.counts}),
        periods=sorted({count.period for count in history.counts}),
        total=total,
        judged=Figures.of(rated),
        sites=sites,
        shown=dict(list(sites.items())[:MAX_SITES]),
        withheld_on=lambda reason: [
            name for name, site in sites.items() if reason in site.withheld_reasons
        ],
        alerts=sorted(recent.values(), reverse=True),
        max_alerts=MAX_ALERTS,
        always=[
            name
            for name, site in sites.items()
            if site.rejection_rate and site.interval[0] > _ALWAYS
        ],
        unknown=sum(count.tasks for count in history.counts if not count.type),
        charts=_over_time(rated, history.alerts, sites, now),
        ages=_by_age(rated),
        outcomes=[
            (status, tasks) for status, tasks in total.statuses.most_common() if status != PASSED
        ],
        rules=[
            (rule, tasks, [name for name, site in sites.items() if rule in site.rules])
            for rule, tasks in total.rules.most_common(MAX_REASONS)
        ],
        codes=total.codes.most_common(MAX_REASONS),
        rows=[
            (name, task_type, figures)
            for name, site in sites.items()
            for task_type, figures in site.types.items()
        ][:MAX_ROWS],
        max_rows=MAX_ROWS,
    )


def _over_time(
    counts: list[Count], alerts: list[Alert], sites: dict[str, Figures], now: float
) -> dict[str, str]:
    """The charts over time, for sites with alerts first, then for those that rejected most.

    Empty if all answers were used in one span of time.
    """
    span = _span(counts, now)
    # Days begin at midnight of the reader's time zone.
    shift = localtime(now).tm_gmtoff

    def middle(count: Count) -> float:
        return ((count.period + shift) // span + 0.5) * span - shift

    alerted = {alert.site for alert in alerts}
    names = [name for name in sites if sites[name].rejection_rate]
    names.sort(key=lambda name: (name not in alerted, -sites[name].rejected))
    rates = {name: sum_by(middle, sites[name].counts) for name in names[:MAX_CHARTS]}
    middles = {at for of_site in rates.values() for at in of_site}
    if len(middles) < 2:
        return {}
    between = min(middles) - span / 2, max(middles) + span / 2
    highest = y_max(rate for of_site in rates.values() for rate in of_site.values())
    return {
        name: rate_over_time(
            sorted(of_site.items()),
            [alert.at for alert in alerts if alert.site == name],
            between=between,
            y_max=highest,
        )
        for name, of_site in rates.items()
    }


def _span(counts: Iterable[Count], now: float) -> int:
    """The length of a span in seconds: the ledger's own periods, if the chart has room."""
    periods = {count.period for count in counts}
    first, last = min(periods, default=0), max(periods, default=0)
    finest = base.PERIOD_SECONDS if now - first < base.KEEP_PERIODS_SECONDS else base.HOUR_SECONDS
    spans = [span for span in _SPANS if span >= finest]
    return next((span for span in spans if last - first < span * _MAX_SPANS), spans[-1])


def _by_age(counts: list[Count]) -> dict[str, str]:
    """The charts over the age of answers, for the most used types with answers of several ages."""
    types = Figures.of(counts).types
    ages = {name: sum_by(lambda count: count.age, types[name].counts) for name in types}
    names = sorted((name for name in types if len(ages[name]) > 1), key=lambda n: -types[n].tasks)
    rates = {name: ages[name] for name in names[:MAX_TYPES]}
    highest = y_max(rate for of_type in rates.values() for rate in of_type.values())
    return {
        name: rate_by_age([(age, of_type.get(age)) for age in AGES], y_max=highest)
        for name, of_type in rates.items()
    }


def _percent(rate: float | None) -> str:
    return percent(rate).replace(" ", "\N{NO-BREAK SPACE}")


def _moment(at: float) -> str:
    return strftime("%Y-%m-%d %H:%M", localtime(at))
