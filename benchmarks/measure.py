"""What the benchmarks have in common: rows of the table, and measuring in turn.

Noise only ever adds, so the best of several runs counts; and what is compared runs in turn, so that
a busy minute falls on both.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MICRO = 1e6


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Args:
        what: what was measured.
        against: the yardstick.
        limit: the least or the most it may be.
        value: what it is; ``None`` if it could not be measured, and *note* says why.
        unit: of both.
        at_least: whether *limit* is the least, not the most.
        note: the figures behind it.
    """

    what: str
    against: str
    limit: float
    value: float | None
    unit: str = "x"
    at_least: bool = False
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def cells(self) -> tuple[str, ...]:
        """What stands in the table."""
        sign = "≥" if self.at_least else "≤"
        measured = "-" if self.value is None else f"{_number(self.value)} {self.unit}"
        met = {True: "met", False: "**missed**", None: "not measured"}[self.is_met]
        return (
            self.what,
            self.against,
            f"{sign} {_number(self.limit)} {self.unit}",
            measured,
            met,
            self.note,
        )


def best(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The least that each of *ways* says in *rounds* rounds, run in turn."""
    found: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name] = min(found.get(name, float("inf")), way())
    return found


def seconds_a_call(function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> float:
    """Seconds of processor time for one call of *function*, over all of *arguments*."""
    calls = list(arguments)
    gc.disable()
    try:
        began = time.thread_time()
        for args in calls:
            function(*args)
        return (time.thread_time() - began) / len(calls)
    finally:
        gc.enable()


def moment() -> float:
    """Seconds that pass, but for those in which this thread waited for a processor.

    On a machine that is busy with other things, that waiting is most of the noise. Linux counts it
    (``man 5 proc``, ``schedstat``); elsewhere it is left in.
    """
    try:
        waited = int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        waited = 0.0
    return time.perf_counter() - waited


def show(rows: Iterable[Row]) -> None:
    """Print *rows* for :func:`run.py <run.main>` to read, or for people."""
    if "--json" in sys.argv:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print(markdown(rows))


def markdown(rows: Iterable[Row]) -> str:
    """The table."""
    lines = [
        "| what | against | at least / at most | measured | | figures |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
