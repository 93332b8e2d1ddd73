"""Charts of rejection rates over time: SVG text that takes colours and font from the page."""

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

from ..ledger import base
from .figures import figures_by

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..ledger import Alert, Count
    from .figures import Figures

MAX_CHARTS: Final = 6
"""Keeps the page small for any ledger."""

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

    marks: dict[str, list[float]] = {}
    for alert in alerts:
        marks.setdefault(alert.site, []).append(alert.at)
    names = [name for name in sites if sites[name].rejection_rate]
    names.sort(key=lambda name: (name not in marks, -sites[name].rejected))
    rates = {name: figures_by(middle, sites[name].counts) for name in names[:MAX_CHARTS]}
    middles = {at for of_site in rates.values() for at in of_site}
    if len(middles) < 2:
        return {}
    times = (min(middles) - span / 2, max(middles) + span / 2)
    y_max = _y_max(rates.values())
    return {
        name: _chart(of_site, marks.get(name, ()), times, y_max) for name, of_site in rates.items()
    }


def _span(counts: Iterable[Count], now: float) -> int:
    """The length of a span in seconds: the ledger's own periods, if the chart has room."""
    periods = {count.period for count in counts}
    first, last = min(periods, default=0), max(periods, default=0)
    finest = base.PERIOD_SECONDS if now - first < base.KEEP_PERIODS_SECONDS else base.HOUR_SECONDS
    spans = [span for span in _SPANS if span >= finest]
    return next((span for span in spans if last - first < span * _MAX_SPANS), spans[-1])


def _y_max(charts: Iterable[dict[float, Figures]]) -> float:
    """The highest rate that these charts must show."""
    highest = (
        found.interval[1] if found.tasks >= _MIN_TASKS else found.rejected / found.tasks
        for rates in charts
        for found in rates.values()
    )
    return min(1.0, max([0.1, *highest]) + 0.02)


@mpl.rc_context(_STYLE)
def _chart(
    rates: dict[float, Figures], marks: Iterable[float], times: tuple[float, float], y_max: float
) -> str:
    """A dot for each rate, a bar for its interval, and a dashed line at each of the *marks*.

    Args:
        rates: by when their answers were used, as all moments in seconds since the epoch.
        marks: moments.
        times: the first and the last moment of the axis.
        y_max: the highest rate that it shows.
    """
    figure = Figure(figsize=_INCHES, dpi=72)
    axes = figure.add_axes((0.12, 0.13, 0.86, 0.83))
    for at in marks:
        axes.axvline(_day(at), color=_ALERT, linewidth=1.5, linestyle=(0, (4, 2)))
    few = len(rates) < 30
    found = sorted(rates.items())
    places = [_day(at) for at, _ in found]
    lows, highs = zip(*(figures.interval for _, figures in found), strict=True)
    axes.vlines(places, lows, highs, color=_BAD, alpha=0.3, linewidth=5 if few else 3)
    axes.plot(
        places,
        [figures.rejected / figures.tasks for _, figures in found],
        color=_BAD,
        linewidth=1,
        marker="o",
        markersize=4 if few else 2.5,
        markeredgewidth=0,
    )
    axes.set_xlim(*map(_day, times))
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
    axes.set_ylim(0, y_max * 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.locator_params(axis="y", nbins=4)
    return _svg(figure)


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
