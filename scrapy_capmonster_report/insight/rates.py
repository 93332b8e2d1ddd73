"""Rejection rates: how sure they are, and how they are written."""

from __future__ import annotations

from math import sqrt
from typing import Final

_Z: Final = 1.96
"""Standard deviations on either side of the mean that hold 95 %."""


def interval(rejected: int, tasks: int) -> tuple[float, float]:
    """The lowest and the highest rate of a 95 % confidence interval.

    Wilson's score interval: it holds for few tasks, and for rates near 0 and 1 (Wilson 1927).
    """
    if not tasks:
        return 0.0, 1.0
    rate = rejected / tasks
    scale = 1 + _Z**2 / tasks
    middle = (rate + _Z**2 / (2 * tasks)) / scale
    half = _Z * sqrt(rate * (1 - rate) / tasks + _Z**2 / (4 * tasks**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def percent(rate: float | None) -> str:
    """*rate* as text: ``"5 %"``, with one more digit if it is small; ``"-"`` for ``None``."""
    if rate is None:
        return "-"
    return f"{rate:.1%}".replace("%", " %") if 0 < rate < 0.02 else f"{rate:.0%}".replace("%", " %")
