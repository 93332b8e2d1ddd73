"""The history of a ledger as one page that needs nothing from elsewhere. Needs ``[summary]``."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, StrictUndefined

from ..ledger import AGES, PASSED
from ..ledger.entries import DAY_SECONDS, HOUR_SECONDS
from .charts import rate_by_age, rate_over_time, y_max
from .figures import UNKNOWN_TYPE, Figures, Proportion, by_site, interval, percent, worst_first

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..ledger import Alert, Count, History
    from .figures import SiteFigures

# So that the page stays small whatever the ledger holds.
MAX_SITES: Final = 12
MAX_CHARTS: Final = 6
MAX_TYPES: Final = 4
MAX_RULES: Final = 10
MAX_CODES: Final = 10
MAX_ALERTS: Final = 5
MAX_ROWS: Final = 200

_MINUTE: Final = 60
_SPANS: Final = (
    *(minutes * _MINUTE for minutes in (5, 15, 30)),
    *(hours * HOUR_SECONDS for hours in (1, 3, 6, 12)),
    *(days * DAY_SECONDS for days in (1, 2, 7)),
)
_MAX_SPANS: Final = 48

_ALWAYS: Final = 0.85
"""A site that surely rejects more than this share of the answers rejects them all."""


def page(history: History, *, now: float, ledger: str = "", filters: Iterable[str] = ()) -> str:
    """The page, as HTML text.

    Args:
        history: what to show.
        now: seconds since the epoch; times on the page are those of this machine's zone.
        ledger: the name of the ledger, as it may be shown.
        filters: the options that chose this part of it, for example ``"--since 24h"``.
    """
    sites = by_site(history.counts)
    total = Figures()
    codes: Counter[str] = Counter()
    for count in history.counts:
        total.add(count)
        if count.code:
            codes[count.code] += count.tasks
    # Without the sites of which only rejections are known.
    rated = [count for count in history.counts if sites[count.site].rejection_rate is not None]
    judged = Figures()
    for count in rated:
        judged.add(count)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": _percent, "moment": _moment, "number": "{:,}".format}
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        now=now,
        zone=datetime.fromtimestamp(now).astimezone().strftime("%Z (UTC%z)"),
        ledger=ledger,
        filters=list(filters),
        spiders=sorted({count.spider for count in history.counts}),
        periods=sorted({count.hour for count in history.counts}),
        total=total,
        judged=judged,
        sites=sites,
        shown=dict(list(sites.items())[:MAX_SITES]),
        interval=interval,
        worst_first=worst_first,
        # The last of each site, the newest first.
        alerts=sorted({alert.site: alert for alert in history.alerts}.values(), reverse=True),
        max_alerts=MAX_ALERTS,
        always=[
            name
            for name, site in sites.items()
            if site.rejection_rate and interval(site.rejected, site.tasks)[0] > _ALWAYS
        ],
        unknown=sum(count.tasks for count in history.counts if not count.type),
        charts=_over_time(rated, history.alerts, sites, now),
        ages=_by_age(rated),
        outcomes=[
            (status, tasks) for status, tasks in total.statuses.most_common() if status != PASSED
        ],
        rules=[
            (rule, tasks, [name for name, site in sites.items() if rule in site.rules])
            for rule, tasks in total.rules.most_common(MAX_RULES)
        ],
        codes=codes.most_common(MAX_CODES),
        rows=_rows(sites),
        max_rows=MAX_ROWS,
    )


def _over_time(
    counts: list[Count], noticed: list[Alert], sites: dict[str, SiteFigures], now: float
) -> list[dict[str, Any]]:
    """The charts over time, for sites with alerts first, then for those that rejected most.

    None if all of it happened in one span of time.
    """
    alerts: defaultdict[str, list[float]] = defaultdict(list)
    for alert in noticed:
        alerts[alert.site].append(alert.at)
    names = [name for name in sites if sites[name].rejection_rate]
    names.sort(key=lambda name: (name not in alerts, -sites[name].rejected))
    span = _span(counts, now)
    rates = _rates(counts, names[:MAX_CHARTS], span, now)
    middles = {middle for of_site in rates.values() for middle in of_site}
    if len(middles) < 2:
        return []
    between = min(middles) - span / 2, max(middles) + span / 2
    highest = y_max(rate for of_site in rates.values() for rate in of_site.values())
    return [
        {
            "site": name,
            "svg": rate_over_time(
                sorted(of_site.items()), alerts[name], between=between, y_max=highest
            ),
        }
        for name, of_site in rates.items()
    ]


def _span(counts: Iterable[Count], now: float) -> int:
    """How many seconds to show as one: as few as the ledger tells apart, if there is room."""
    periods = {count.hour for count in counts}
    if not periods:
        return HOUR_SECONDS
    finest = HOUR_SECONDS
    seconds = max(periods) - min(periods) + finest
    spans = [span for span in _SPANS if span >= finest]
    return next((span for span in spans if seconds / span <= _MAX_SPANS), spans[-1])


def _rates(
    counts: Iterable[Count], sites: Iterable[str], span: int, now: float
) -> dict[str, dict[float, Proportion]]:
    """For each site the rate in each span of so many seconds, by the middle of the span."""
    # Days begin at midnight where the reader is.
    offset = datetime.fromtimestamp(now).astimezone().utcoffset()
    shift = offset.total_seconds() if offset else 0.0
    sums: dict[str, defaultdict[float, Figures]] = {site: defaultdict(Figures) for site in sites}
    for count in counts:
        if count.site in sums:
            middle = ((count.hour + shift) // span + 0.5) * span - shift
            sums[count.site][middle].add(count)
    return {site: _proportions(of_site) for site, of_site in sums.items()}


def _by_age(counts: Iterable[Count]) -> list[dict[str, Any]]:
    """The charts over the age of answers, for the most used of the types of several ages."""
    types: defaultdict[str, defaultdict[float, Figures]] = defaultdict(lambda: defaultdict(Figures))
    for count in counts:
        types[count.type or UNKNOWN_TYPE][count.age].add(count)
    rates = {name: _proportions(ages) for name, ages in types.items()}
    tasks = {name: sum(rate.tasks for rate in ages.values()) for name, ages in rates.items()}
    several = [name for name in rates if len(rates[name]) > 1]
    chosen = sorted(several, key=lambda name: (-tasks[name], name))[:MAX_TYPES]
    highest = y_max(rate for name in chosen for rate in rates[name].values())
    return [
        {
            "type": name,
            "svg": rate_by_age([(age, rates[name].get(age)) for age in AGES], y_max=highest),
        }
        for name in chosen
    ]


def _proportions(figures: dict[float, Figures]) -> dict[float, Proportion]:
    return {key: Proportion(found.rejected, found.tasks) for key, found in figures.items()}


def _rows(sites: dict[str, SiteFigures]) -> list[tuple[str, str, Figures]]:
    """The rows of the table: each type on each site."""
    rows = [
        (site, task_type, of_type)
        for site, figures in sites.items()
        for task_type, of_type in worst_first(figures.types)
    ]
    return rows[:MAX_ROWS]


def _percent(rate: float | None) -> str:
    return percent(rate).replace(" ", "\N{NO-BREAK SPACE}")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M")
