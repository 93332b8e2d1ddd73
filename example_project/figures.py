"""The figures of the crawls, by what the shops and the stand-in saw, not by the middleware."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from shops import SHOPS, Verdict

if TYPE_CHECKING:
    from shops import Record

    from scrapy_capmonster_report.simulator import Simulator


@dataclass
class Figures:
    """How many of each.

    Args:
        answers: answers that were sent to a shop.
        passed: of those, the ones that the shop did not reject.
        rejected: the others.
        reported: rejected answers that were reported to the stand-in.
        withheld: rejected answers that are not to blame, and were not reported.
        false: reports on answers that are not to blame, or had been reported before.
        missed: answers that are to blame but were not reported.
    """

    answers: int = 0
    passed: int = 0
    rejected: int = 0
    reported: int = 0
    withheld: int = 0
    false: int = 0
    missed: int = 0

    def __add__(self, other: Figures) -> Figures:
        names = [field.name for field in fields(self)]
        return Figures(*(getattr(self, name) + getattr(other, name) for name in names))


def figures(simulator: Simulator, record: Record) -> dict[str, Figures]:
    """The figures of each shop, by its host."""
    reports = Counter(report.task_id for report in simulator.reports)
    found: dict[str, Figures] = {}
    for task in simulator.tasks.values():
        entry = record.on(str(task.task.get("body", task.answer)))
        if entry is None:
            continue  # bought ahead, but never sent
        calls = reports[task.id]
        wrong = entry.verdict is Verdict.WRONG
        not_to_blame = entry.verdict in (Verdict.LATE, Verdict.USED)
        found[entry.site] = found.get(entry.site, Figures()) + Figures(
            answers=1,
            passed=not (wrong or not_to_blame),
            rejected=wrong or not_to_blame,
            reported=bool(calls),
            withheld=not_to_blame and not calls,
            false=calls - bool(calls and wrong),
            missed=wrong and not calls,
        )
    return dict(sorted(found.items()))


def table(found: dict[str, Figures]) -> Table:
    """The figures as a table to print."""
    columns = ("answers", "passed", "rejected", "reported", "withheld")
    total = sum(found.values(), Figures())
    result = Table(box=box.SIMPLE_HEAD, show_footer=True, padding=(0, 1, 0, 0))
    result.add_column("shop", "all")
    result.add_column("captcha")
    for name in columns:
        result.add_column(name, str(getattr(total, name)), justify="right")
    for site, of_site in found.items():
        cells = (str(getattr(of_site, name)) for name in columns)
        result.add_row(site, SHOPS[site].captcha, *cells)
    return result
