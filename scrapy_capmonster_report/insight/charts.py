"""Charts as SVG text that takes its colours and its font from the page around it."""

from __future__ import annotations

import io
import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

import matplotlib as mpl
from dateutil.tz import tzlocal  # Matplotlib requires it
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

    from .figures import Figures

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


def rate_over_time(
    rates: Sequence[tuple[float, Figures]],
    alerts: Iterable[float],
    *,
    between: tuple[float, float],
    y_max: float,
) -> str:
    """The rejection rate of a site over time, with its 95 % intervals.

    Args:
        rates: the figures of each span of time, with its middle (seconds since the epoch).
        alerts: when there were alerts.
        between: the first and the last moment to show.
        y_max: the highest rate to show.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(y_max, below=0.13)
        for alert in alerts:
            axes.axvline(_day(alert), color=_ALERT, linewidth=1.5, linestyle=(0, (4, 2)))
        _draw(axes, [(_day(middle), rate) for middle, rate in rates], line=True)
        axes.set_xlim(*map(_day, between))
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
        return _svg(figure)


def rate_by_age(ages: Sequence[tuple[int, Figures | None]], *, y_max: float) -> str:
    """The rejection rate of answers by how old they were when they were used.

    Args:
        ages: the figures of each age (seconds) up to the next; ``None`` if there are no answers.
        y_max: the highest rate to show.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(y_max, below=0.23)
        rates = [(place + 0.5, found) for place, (_, found) in enumerate(ages) if found]
        most = max(found.tasks for _, found in rates)
        for place, found in rates:
            axes.bar(place, found.tasks / most * y_max, width=0.92, color=_RULE, alpha=0.55)
        _draw(axes, rates)
        axes.set_xticks(range(len(ages)), [str(age) for age, _ in ages])
        axes.set_xlim(0, len(ages))
        axes.set_xlabel("seconds after solving")
        return _svg(figure)


def y_max(rates: Iterable[Figures]) -> float:
    """The highest rate that charts of *rates* must show."""
    highest = (
        found.interval[1] if found.tasks >= _MIN_TASKS else found.rejected / found.tasks
        for found in rates
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
    return float(date2num(datetime.fromtimestamp(moment, timezone.utc)))


def _svg(figure: Figure) -> str:
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        out, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
    )
    # Colours become those of the page; ids that each chart has go.
    pattern = rf' id="[\w.]+_\d+"|{"|".join(_IN_THE_PAGE)}'
    text = re.sub(pattern, lambda found: _IN_THE_PAGE.get(found[0], ""), out.getvalue())
    return text[text.index("<svg") :]
