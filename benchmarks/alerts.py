"""How soon an increase of the rejection rate is noticed, and how many false alarms there are.

``python benchmarks/alerts.py`` prints the tables that ``docs/insight.md`` cites; the same seed
gives the same figures.
"""

from __future__ import annotations

import argparse
import random
import time
from typing import TYPE_CHECKING, NamedTuple

from scrapy_capmonster_report.insight.watch import RejectionWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SITE = "site.example"
SEED = 20260
WITHIN = 60
"""Answers after the increase in which it has to be noticed."""


class Noticed(NamedTuple):
    """In how many runs an increase was noticed in time, and after how many answers (median)."""

    runs: int
    in_time: int
    median: int


def noticed(
    before: float, after: float, *, history: int, runs: int, seed: int = SEED, learned: bool = False
) -> Noticed:
    """Let the rate of a site increase after *history* answers.

    Args:
        learned: the history comes from earlier crawls, as two numbers.
    """
    delays = []
    for run in range(runs):
        source = random.Random(f"{seed}/{run}")
        watch = RejectionWatch()
        rejected = [source.random() < before for _ in range(history)]
        if learned:
            watch.load_baseline({SITE: (rejected.count(False), rejected.count(True))})
        else:
            tell(watch, rejected)
        later = (source.random() < after for _ in range(WITHIN))
        delays.append(next((n for n, alert in enumerate(alerts(watch, later), 1) if alert), None))
    in_time = sorted(delay for delay in delays if delay is not None)
    return Noticed(runs, len(in_time), in_time[len(in_time) // 2] if in_time else 0)


def false_alerts(
    rate: float, *, answers: int, crawl: int, seed: int = SEED, by_callback: bool = False
) -> int:
    """How many alerts a site gives whose rate stays the same.

    Args:
        crawl: after so many answers another crawl begins, and knows nothing.
        by_callback: each rejection first counts as passed, as where only ``reject()`` tells.
    """
    source = random.Random(f"{seed}/{rate}")
    count = 0
    for _ in range(answers // crawl):
        watch = RejectionWatch()
        rejected = (source.random() < rate for _ in range(crawl))
        count += sum(alerts(watch, rejected, by_callback=by_callback))
    return count


def tell(watch: RejectionWatch, rejected: Iterable[bool]) -> None:
    for _ in alerts(watch, rejected):
        pass


def alerts(
    watch: RejectionWatch, rejected: Iterable[bool], *, by_callback: bool = False
) -> Iterable[bool]:
    """For each answer whether it gave an alert."""
    site = watch.site(SITE)
    for is_rejected in rejected:
        if not is_rejected or by_callback:
            site.passes()
        if not is_rejected:
            yield False
        else:
            increase = site.revises() if by_callback else site.rejects()
            yield increase is not None


def microseconds(rate: float, *, answers: int = 200_000) -> float:
    """What one verdict costs."""
    source = random.Random(SEED)
    rejected = [source.random() < rate for _ in range(answers)]
    watch = RejectionWatch()
    began = time.perf_counter()
    tell(watch, rejected)
    return (time.perf_counter() - began) / answers * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--answers", type=int, default=1_000_000)
    args = parser.parse_args()

    print(f"From 5 % to 40 %, noticed within {WITHIN} answers (of {args.runs} runs)")
    print("answers before   in this crawl    in earlier crawls")
    for history in (50, 100, 200, 500, 1000):
        cells = []
        for learned in (False, True):
            found = noticed(0.05, 0.40, history=history, runs=args.runs, learned=learned)
            cells.append(f"{found.in_time / found.runs:6.1%} (median {found.median})")
        print(f"{history:14d}   {'  '.join(cells)}")

    print(f"\nSteady sites, false alerts in 10,000 answers (of {args.answers:,} answers)")
    print("  rate   one crawl   crawls of 300   by callback   µs a verdict")
    settings: tuple[Callable[[float], int], ...] = (
        lambda rate: false_alerts(rate, answers=args.answers, crawl=args.answers),
        lambda rate: false_alerts(rate, answers=args.answers, crawl=300),
        lambda rate: false_alerts(rate, answers=args.answers, crawl=args.answers, by_callback=True),
    )
    for rate in (0.05, 0.20, 0.50):
        counts = (count(rate) / args.answers * 10_000 for count in settings)
        cells = "   ".join(f"{count:11.2f}" for count in counts)
        print(f"{rate:6.0%}   {cells}   {microseconds(rate):10.1f}")


if __name__ == "__main__":
    main()
