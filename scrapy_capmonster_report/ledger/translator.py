"""Converts reports into the events of a ledger, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..outcome import Report
from ..task import Kind, Task
from .base import Claimed, Submission, age_class

if TYPE_CHECKING:
    from ..context import CrawlContext

MAX_NAME_LENGTH: Final = 253
"""The most characters of a name that are kept. A host has no more."""


class Translator:
    """Converts between reports, in :class:`~.clock.SteadyClock` time, and events, in wall time.

    Args:
        context: the crawl, whose clock knows both times.
    """

    def __init__(self, context: CrawlContext) -> None:
        spider = context.crawler.spider
        self._clock = context.clock
        self._spider = storable(spider.name if spider else "")
        self._max_age = context.settings.max_age

    def submission(
        self, task_id: int, attempt: int, site: str, task_type: str, age: float
    ) -> Submission:
        return Submission(
            task_id,
            attempt,
            storable(site),
            self._spider,
            storable(task_type),
            age_class(age),
            self._clock.wall(),
        )

    def rejected(self, report: Report) -> tuple[Submission, str]:
        """The submission that *report* is about, and the name of the rule."""
        task = report.task
        age = report.sent_at - task.solved_at
        seen = self.submission(task.id, report.attempt, report.site, task.type or "", age)
        return seen, storable(report.rule)

    def claimed(self, report: Report) -> Claimed:
        task = report.task
        solved_at, expires_at = map(self._clock.to_wall, (task.solved_at, report.expires_at))
        return Claimed(*self.rejected(report), task.kind.value, solved_at, expires_at)

    def report(self, claim: Claimed) -> Report:
        """The report that another crawl left as *claim*."""
        seen, solved_at = claim.submission, self._clock.at(claim.solved_at)
        return Report(
            Task(seen.task_id, Kind(claim.kind), seen.type or None, solved_at, None),
            seen.attempt,
            expires_at=solved_at + min(claim.expires_at - claim.solved_at, self._max_age),
            rule=claim.rule,
            site=seen.site,
            recovered=True,
        )


def storable(name: str) -> str:
    """*name* as every backend can keep it: valid Unicode of limited length."""
    return name[:MAX_NAME_LENGTH].encode("utf-8", "replace").decode()
