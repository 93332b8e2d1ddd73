"""Charts as SVG text that takes its colours and its font from the page it stands in."""

from __future__ import annotations

import io
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .figures import interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from matplotlib.axes import Axes

# Matplotlib knows no CSS variables: these colours stand for those of the page.
_INK: Final = "#010101"
_MUTED: Final = "#020202"
_RULE: Final = "#030303"
_BAD: Final = "#040404"
_ALERT: Final = "#050505"
_VARIABLES: Final = {
    _INK: "var(--ink)",
    _MUTED: "var(--muted)",
    _RULE: "var(--rule)",
    _BAD: "var(--bad)",
    _ALERT: "var(--alert)",
}

_INCHES: Final = (5.0, 2.5)
"""360 by 180 units: at the width of a phone the text is as large as it says."""

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "grid.linewidth": 0.7,
}


class Share(NamedTuple):
    """How many of some tasks were refused."""

    rejected: int
    tasks: int

    @property
    def rate(self) -> float:
        return self.rejected / self.tasks

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.rejected, self.tasks)


def course(
    shares: Sequence[tuple[float, Share]],
    alerts: Iterable[float],
    *,
    between: tuple[float, float],
    top: float,
) -> str:
    """The rejection rate of a site over time, with its 95 % intervals.

    Args:
        shares: what happened in each span of time, with its middle (seconds since the epoch).
        alerts: when there were alerts.
        between: the first and the last moment to show.
        top: the highest rate to show.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(top, below=0.12)
        times = [date2num(datetime.fromtimestamp(at)) for at, _ in shares]
        for alert in alerts:
            axes.axvline(
                date2num(datetime.fromtimestamp(alert)),
                color=_ALERT,
                linewidth=1.5,
                linestyle=(0, (4, 2)),
            )
        _draw(axes, times, [share for _, share in shares], line=True)
        axes.set_xlim(*(date2num(datetime.fromtimestamp(at)) for at in between))
        locator = AutoDateLocator(minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(
            ConciseDateFormatter(
                locator,
                formats=["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%H:%M"],
                zero_formats=["", "%Y", "%d %b", "%d %b", "%H:%M", "%H:%M"],
                show_offset=False,
            )
        )
        return _svg(figure, "The rejection rate over time")


def by_age(ages: Sequence[tuple[int, Share | None]], *, top: float) -> str:
    """The rejection rate of answers by how old they were when they were used.

    Args:
        ages: for each age in seconds, up to the next, what happened; ``None`` for nothing.
        top: the highest rate to show.
    """
    with mpl.rc_context(_STYLE):
        figure, axes = _axes(top, below=0.21)
        places = [place for place, (_, share) in enumerate(ages) if share]
        shares = [share for _, share in ages if share]
        most = max((share.tasks for share in shares), default=1)
        heights = [share.tasks / most * top for share in shares]
        axes.bar([place + 0.5 for place in places], heights, width=0.92, color=_RULE, alpha=0.55)
        _draw(axes, [place + 0.5 for place in places], shares)
        axes.set_xticks(range(len(ages)), [str(age) for age, _ in ages])
        axes.set_xlim(0, len(ages))
        axes.set_xlabel("seconds after solving", color=_MUTED)
        return _svg(figure, "The rejection rate by the age of the answer")


def top_of(shares: Iterable[Share]) -> float:
    """The highest rate that charts of *shares* must show.

    The intervals of very few tasks may reach beyond: all others would be flat for them.
    """
    tops = [share.interval[1] if share.tasks >= 20 else share.rate for share in shares]
    return min(1.0, max([0.1, *tops]) + 0.02)


def _axes(top: float, *, below: float) -> tuple[Figure, Axes]:
    """Axes for rates, with so much room *below* (of 1)."""
    figure = Figure(figsize=_INCHES, dpi=72)
    figure.patch.set_visible(False)
    axes = figure.add_axes((0.105, below, 0.875, 0.96 - below))
    axes.patch.set_visible(False)
    axes.set_ylim(0, top * 1.02)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    axes.locator_params(axis="y", nbins=4)
    return figure, axes


def _draw(
    axes: Axes, places: Sequence[float], shares: Sequence[Share], *, line: bool = False
) -> None:
    """A dot for each rate, and a bar for what it may be: all of them one path each."""
    gap = float("nan")
    bars_x = [x for place in places for x in (place, place, gap)]
    bars_y = [y for share in shares for y in (*share.interval, gap)]
    width = 5 if len(places) < 30 else 3
    axes.plot(bars_x, bars_y, color=_BAD, alpha=0.3, linewidth=width, solid_capstyle="round")
    axes.plot(
        places,
        [share.rate for share in shares],
        color=_BAD,
        linewidth=1 if line else 0,
        marker="o",
        markersize=4 if len(places) < 30 else 2.5,
        markeredgewidth=0,
    )


def _svg(figure: Figure, label: str) -> str:
    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    head = rf'<svg \1 role="img" aria-label="{label}">'
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', head, text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    # The page's font, in the size that was asked for.
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    return re.sub(r"\s*\n\s*", "\n", text)
