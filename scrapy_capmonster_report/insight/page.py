"""The history of a ledger as one page that needs nothing from elsewhere. Needs ``[summary]``."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, StrictUndefined

from ..ledger import AGES, PENDING
from ..ledger.base import HOUR_SECONDS
from ..outcome import Outcome
from .charts import Share, by_age, course, top_of
from .figures import UNKNOWN_TYPE, Figures, by_site, interval, percent, worst_first

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..ledger import Alert, Count, History
    from .figures import SiteFigures

# So that the page stays small whatever the ledger holds.
MOST_SITES: Final = 12
MOST_COURSES: Final = 6
MOST_TYPES: Final = 4
MOST_CODES: Final = 10
MOST_ALERTS: Final = 50
MOST_ROWS: Final = 200

_SPANS: Final = tuple(hours * HOUR_SECONDS for hours in (1, 3, 6, 12, 24, 48, 7 * 24))
_MOST_SPANS: Final = 48


def page(history: History, *, now: float) -> str:
    """The page, as HTML text.

    Args:
        history: what to show.
        now: seconds since the epoch; times on the page are those of this machine's zone.
    """
    sites = by_site(history.counts)
    total = Figures()
    fates: Counter[str] = Counter()
    codes: Counter[str] = Counter()
    for count in history.counts:
        total.add(count.status, count.tasks)
        fates[count.status] += count.tasks
        if count.code:
            codes[count.code] += count.tasks
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "moment": _moment, "number": _number}
    template = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        now=now,
        since=min((count.period for count in history.counts), default=None),
        total=total,
        sites=sites,
        shown=dict(list(sites.items())[:MOST_SITES]),
        interval=interval,
        worst_first=worst_first,
        alerts=history.alerts[::-1][:MOST_ALERTS],
        courses=_courses(history, sites, now),
        ages=_ages(history.counts),
        outcomes=_outcomes(fates),
        codes=codes.most_common(MOST_CODES),
        rows=_rows(sites),
        most_rows=MOST_ROWS,
    )


def _courses(history: History, sites: dict[str, SiteFigures], now: float) -> list[dict[str, Any]]:
    """The charts over time, for sites with alerts first, then for those that refused most.

    None if there is no course to show.
    """
    alerts: defaultdict[str, list[Alert]] = defaultdict(list)
    for alert in history.alerts:
        alerts[alert.site].append(alert)
    names = [name for name in sites if sites[name].rejected]
    names.sort(key=lambda name: (name not in alerts, -sites[name].rejected))
    chosen = names[:MOST_COURSES]
    if not chosen:
        return []
    hours = {count.period for count in history.counts}
    if len(hours) == 1 and not alerts:
        return []  # a single point is no course
    seconds = max(hours) + HOUR_SECONDS - min(hours)
    span = next((span for span in _SPANS if seconds / span <= _MOST_SPANS), _SPANS[-1])
    shares = _over_time(history.counts, set(chosen), span, now)
    middles = [at for name in chosen for at, _ in shares[name]]
    between = min(middles) - span / 2, max(middles) + span / 2
    top = top_of(share for name in chosen for _, share in shares[name])
    return [
        {
            "site": name,
            "alerts": alerts[name],
            "svg": course(
                shares[name],
                [alert.at for alert in alerts[name]],
                between=between,
                top=top,
            ),
        }
        for name in chosen
    ]


def _over_time(
    counts: Iterable[Count], sites: set[str], span: int, now: float
) -> dict[str, list[tuple[float, Share]]]:
    """For each site what happened in each span of so many seconds, with the span's middle."""
    # Days begin at midnight where the reader is.
    offset = datetime.fromtimestamp(now).astimezone().utcoffset()
    shift = offset.total_seconds() if offset else 0.0
    sums: dict[str, defaultdict[int, Figures]] = {site: defaultdict(Figures) for site in sites}
    for count in counts:
        if count.site in sites:
            sums[count.site][int((count.period + shift) // span)].add(count.status, count.tasks)
    return {
        site: [
            ((number + 0.5) * span - shift, Share(figures.rejected, figures.tasks))
            for number, figures in sorted(spans.items())
        ]
        for site, spans in sums.items()
    }


def _ages(counts: Iterable[Count]) -> list[dict[str, Any]]:
    """The charts over the age of answers, for the types that were used most."""
    types: defaultdict[str, defaultdict[int, Figures]] = defaultdict(lambda: defaultdict(Figures))
    for count in counts:
        types[count.type or UNKNOWN_TYPE][count.age].add(count.status, count.tasks)
    tasks = {name: sum(figures.tasks for figures in ages.values()) for name, ages in types.items()}
    chosen = sorted(types, key=lambda name: (-tasks[name], name))[:MOST_TYPES]
    shares = {
        name: {age: Share(figures.rejected, figures.tasks) for age, figures in types[name].items()}
        for name in chosen
    }
    top = top_of(share for name in chosen for share in shares[name].values())
    return [
        {
            "type": name,
            "svg": by_age([(age, shares[name].get(age)) for age in AGES], top=top),
        }
        for name in chosen
    ]


def _outcomes(fates: Counter[str]) -> list[tuple[str, int]]:
    """What became of the refused answers, in the order of the enum, in words."""
    words = {
        Outcome.ACCEPTED.value: "reported, accepted",
        Outcome.REFUSED.value: "reported, turned down",
        **{
            outcome.value: f"{words}: {outcome.reason.replace('_', ' ')}"
            for outcome in Outcome
            for words in ({"withheld": "not reported", "dropped": "lost"}.get(outcome.group),)
            if words
        },
        PENDING: "waiting",
    }
    return [(text, fates[fate]) for fate, text in words.items() if fates[fate]]


def _rows(sites: dict[str, SiteFigures]) -> list[tuple[str, str, Figures]]:
    """The rows of the table: each type on each site."""
    rows = [
        (site, task_type, of_type)
        for site, figures in sites.items()
        for task_type, of_type in worst_first(figures.types)
    ]
    return rows[:MOST_ROWS]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")


def _number(value: int) -> str:
    return f"{value:,}"
