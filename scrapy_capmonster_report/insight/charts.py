"""Charts of rejection rates: SVG text that takes colours and font from the page around it."""

from __future__ import annotations

import io
import re
from time import localtime
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from dateutil.tz import tzlocal  # Matplotlib requires it
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..ledger import AGES, base
from .figures import Figures, figures_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from ..ledger import Alert, Count

# These limits keep the page small for any ledger.
MAX_CHARTS: Final = 6
MAX_TYPES: Final = 4

_SPANS: Final = (
    *(periods * base.PERIOD_SECONDS for periods in (1, 3, 6)),
    *(hours * base.HOUR_SECONDS for hours in (1, 3, 6, 12)),
    *(days * base.DAY_SECONDS for days in (1, 2, 7)),
)
_MAX_SPANS: Final = 48

# Matplotlib does not know CSS variables: these colours stand for those of the page.
_IN_THE_PAGE: Final = {
    f"#{number:06}": f"var(--{name})"
    for number, name in enumerate(("muted", "rule", "bad", "alert"), 1)
}
_MUTED, _RULE, _BAD, _ALERT = _IN_THE_PAGE

_INCHES: Final = (5.0, 2.5)
"""360 by 180 units, about the width of a phone, where the text has its nominal size."""

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],  # to measure text; the page uses its own font
    "font.size": 11,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": _RULE,
    "axes.labelcolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.7,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}

_MIN_TASKS: Final = 20
"""The intervals of fewer tasks may be cut off at the top, or they would flatten all others."""


def over_time(
    counts: list[Count], alerts: list[Alert], sites: dict[str, Figures], now: float
) -> dict[str, str]:
    """The rate of each site over time: those with alerts first, then those that rejected most.

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
    rates = {name: figures_by(middle, sites[name].counts) for name in names[:MAX_CHARTS]}
    middles = {at for of_site in rates.values() for at in of_site}
    if len(middles) < 2:
        return {}
    highest = _highest(rates)
    charts = {}
    for name, of_site in rates.items():
        with mpl.rc_context(_STYLE):
            figure, axes = _axes(highest, below=0.13)
            for alert in alerts:
                if alert.site == name:
                    axes.axvline(_day(alert.at), color=_ALERT, linewidth=1.5, linestyle=(0, (4, 2)))
            _draw(axes, [(_day(at), rate) for at, rate in sorted(of_site.items())], line=True)
            axes.set_xlim(_day(min(middles) - span / 2), _day(max(middles) + span / 2))
            zone = tzlocal()
            locator = AutoDateLocator(tz=zone, minticks=3, maxticks=6)
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(
                ConciseDateFormatter(
                    locator,
                    tz=zone,
                    formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M"],
                    zero_formats=["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
                    show_offset=False,
                )
            )
            charts[name] = _svg(figure)
    return charts


def _span(counts: Iterable[Count], now: float) -> int:
    """The length of a span in seconds: the ledger's own periods, if the chart has room."""
    periods = {count.period for count in counts}
    first, last = min(periods, default=0), max(periods, default=0)
    finest = base.PERIOD_SECONDS if now - first < base.KEEP_PERIODS_SECONDS else base.HOUR_SECONDS
    spans = [span for span in _SPANS if span >= finest]
    return next((span for span in spans if last - first < span * _MAX_SPANS), spans[-1])


def by_age(counts: list[Count]) -> dict[str, str]:
    """The rate of each type by how old its answers were when they were used.

    Of the most used types with answers of several ages.
    """
    types = Figures(counts).types
    ages = {name: figures_by(lambda count: count.age, types[name].counts) for name in types}
    names = sorted((name for name in types if len(ages[name]) > 1), key=lambda n: -types[n].tasks)
    rates = {name: ages[name] for name in names[:MAX_TYPES]}
    highest = _highest(rates)
    charts = {}
    for name, of_type in rates.items():
        with mpl.rc_context(_STYLE):
            figure, axes = _axes(highest, below=0.23)
            most = max(found.tasks for found in of_type.values())
            found = [(AGES.index(age) + 0.5, of_type[age]) for age in sorted(of_type)]
            for place, figures in found:
                height = figures.tasks / most * highest
                axes.bar(place, height, width=0.92, color=_RULE, alpha=0.55)
            _draw(axes, found)
            axes.set_xticks(range(len(AGES)), [*map(str, AGES)])
            axes.set_xlim(0, len(AGES))
            axes.set_xlabel("seconds after solving")
            charts[name] = _svg(figure)
    return charts


def _highest(charts: dict[str, dict[Any, Figures]]) -> float:
    """The highest rate that these charts must show."""
    highest = (
        found.interval[1] if found.tasks >= _MIN_TASKS else found.rejected / found.tasks
        for rates in charts.values()
        for found in rates.values()
    )
    return min(1.0, max([0.1, *highest]) + 0.02)


def _axes(y_max: float, *, below: float) -> tuple[Figure, Axes]:
    """Axes for rates, with so much room *below* (of 1)."""
    figure = Figure(figsize=_INCHES, dpi=72)
    axes = figure.add_axes((0.12, below, 0.86, 0.96 - below))
    axes.set_ylim(0, y_max * 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.locator_params(axis="y", nbins=4)
    return figure, axes


def _draw(axes: Axes, rates: Sequence[tuple[float, Figures]], *, line: bool = False) -> None:
    """A dot for each rate, and a bar for its interval."""
    few = len(rates) < 30
    places = [place for place, _ in rates]
    lows, highs = zip(*(found.interval for _, found in rates), strict=True)
    axes.vlines(places, lows, highs, color=_BAD, alpha=0.3, linewidth=5 if few else 3)
    axes.plot(
        places,
        [found.rejected / found.tasks for _, found in rates],
        color=_BAD,
        linewidth=1 if line else 0,
        marker="o",
        markersize=4 if few else 2.5,
        markeredgewidth=0,
    )


def _day(moment: float) -> float:
    """*moment* (seconds since the epoch) as Matplotlib counts. The axis has this machine's zone."""
    return moment / base.DAY_SECONDS


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        out, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    # Colours become those of the page; ids that each chart has go.
    pattern = rf' id="[\w.]+_\d+"|{"|".join(_IN_THE_PAGE)}'
    text = re.sub(pattern, lambda found: _IN_THE_PAGE.get(found[0], ""), out.getvalue())
    return text[text.index("<svg") :]
