"""The figures of a crawl, from what the shop and the stand-in saw; the plugin is not asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from shop import NOT_TO_BLAME, Verdict

from scrapy_capmonster_report.simulator import IMAGE_REPORT

if TYPE_CHECKING:
    from shop import Record

    from scrapy_capmonster_report.simulator import SimulatedTask, Simulator


@dataclass(frozen=True)
class Figures:
    """How many of each.

    Args:
        bought: answers that the stand-in was asked for.
        wrong: of those, wrong by construction.
        refused: refusals by the shop.
        not_to_blame: of those, refusals that were not the answer's fault.
        reported: reports that the stand-in accepted.
        false: calls to report an answer that was not to blame, or was reported before.
        missed: answers to blame (wrong, and refused for it when new) without a report.
    """

    bought: int
    wrong: int
    refused: int
    not_to_blame: int
    reported: int
    false: int
    missed: int

    @classmethod
    def of(cls, simulator: Simulator, record: Record, *, pictures: bool) -> Figures:
        """What the stand-in and the shop's record say, of pictures or else of tokens."""
        tasks = [t for t in simulator.tasks.values() if (IMAGE_REPORT in t.endpoints) == pictures]
        reports = [r for r in simulator.reports if (r.endpoint == IMAGE_REPORT) == pictures]
        verdicts = {task.id: record.on(_submitted(task)) for task in tasks}
        wrong = {task.id for task in tasks if task.wrong}
        to_blame = {task for task in wrong if verdicts[task][:1] == [Verdict.WRONG]}
        found = Counter(verdict for each in verdicts.values() for verdict in each)
        not_to_blame = sum(found[verdict] for verdict in NOT_TO_BLAME)
        accepted = {report.task_id for report in reports if report.accepted}
        return cls(
            bought=len(tasks),
            wrong=len(wrong),
            refused=found[Verdict.WRONG] + not_to_blame,
            not_to_blame=not_to_blame,
            reported=sum(report.accepted for report in reports),
            false=len(reports) - len(accepted & to_blame),
            missed=len(to_blame - accepted),
        )

    def __add__(self, other: Figures) -> Figures:
        return Figures(*map(sum, zip(astuple(self), astuple(other), strict=True)))


def table(pictures: Figures, tokens: Figures) -> Table:
    """The figures, to be printed."""
    total = pictures + tokens
    result = Table(box=box.SIMPLE_HEAD)
    result.add_column()
    for heading in ("pictures", "tokens", "all"):
        result.add_column(heading, justify="right")
    verdict = "bold red" if total.false or total.missed else "bold green"
    for label, field, style in (
        ("answers bought", "bought", None),
        ("  wrong by construction", "wrong", None),
        ("refused by the site", "refused", None),
        ("  answer not to blame", "not_to_blame", None),
        ("reported", "reported", "bold"),
        ("false reports", "false", verdict),
        ("missed reports", "missed", verdict),
    ):
        cells = (str(getattr(figures, field)) for figures in (pictures, tokens, total))
        result.add_row(label, *cells, style=style)
    return result


def _submitted(task: SimulatedTask) -> str:
    """What the shop knows an answer by: the picture, or the token itself."""
    return str(task.task.get("body", task.answer))
