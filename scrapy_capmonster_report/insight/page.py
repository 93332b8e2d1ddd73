"""The history of a ledger as one HTML page that loads nothing. Needs ``[summary]``."""

from __future__ import annotations

from itertools import pairwise
from time import localtime, strftime
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..ledger import AGES, base
from .charts import over_time
from .figures import Figures, by_site, figures_by, percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..ledger import Count, History

# These limits keep the page small for any ledger.
MAX_ROWS: Final = 200
"""How many rows the table has."""

MAX_TYPES: Final = 4
"""How many types are shown by age."""

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
    unrated = {name for name, site in sites.items() if site.rejection_rate is None}
    rated = [count for count in history.counts if count.site not in unrated]
    # The latest alert of each site. Older ones need no action.
    since = now - base.RECENT_SECONDS
    recent = {alert.site: alert for alert in history.alerts if alert.at > since}
    environment = Environment(
        loader=PackageLoader(__package__, ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "moment": _moment, "number": "{:,}".format}
    return environment.get_template("page.html").render(
        now=now,
        zone=strftime("%Z (UTC%z)", localtime(now)),
        ledger=ledger,
        filters=filters,
        counts=history.counts,
        total=Figures(history.counts),
        judged=Figures(rated),
        sites=sites,
        alerts=sorted(recent.values(), reverse=True),
        always=[
            name
            for name, site in sites.items()
            if site.rejection_rate and site.interval[0] > _ALWAYS
        ],
        sites_with=lambda name, value: [
            site for site, figures in sites.items() if value in getattr(figures, name)
        ],
        charts=over_time(rated, history.alerts, sites, now),
        ages=_by_age(rated),
        steps=dict(pairwise(AGES)),
        rows=[
            (name, task_type, figures)
            for name, site in sites.items()
            for task_type, figures in site.types.items()
        ][:MAX_ROWS],
        max_rows=MAX_ROWS,
    )


def _by_age(counts: list[Count]) -> dict[str, dict[int, Figures]]:
    """The figures of each type by how old its answers were when they were used.

    Of the most used types with answers of several ages.
    """
    types = Figures(counts).types
    ages = {name: figures_by(lambda count: count.age, types[name].counts) for name in types}
    names = sorted((name for name in types if len(ages[name]) > 1), key=lambda n: -types[n].tasks)
    return {name: dict(sorted(ages[name].items())) for name in names[:MAX_TYPES]}


def _percent(rate: float | None) -> str:
    return percent(rate).replace(" ", "\N{NO-BREAK SPACE}")


def _moment(at: float) -> str:
    return strftime("%Y-%m-%d %H:%M", localtime(at))
