"""Why a report is withheld: mostly because the rejection is not the fault of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .outcome import Outcome

if TYPE_CHECKING:
    from .outcome import Report


def withhold_reason(
    report: Report, *, cached: bool, claimed: bool, is_first: bool, dry_run: bool, now: float
) -> Outcome | None:
    """The first reason to withhold *report*, or ``None`` if it is fair.

    Args:
        report: the report; its moments are by :class:`~.clock.SteadyClock`.
        cached: whether the rejection came from a cache, not from the site.
        claimed: whether the task was reported already, or is being reported.
        is_first: whether the answer was rejected on its first attempt, or the user wants to report
            rejections of later attempts too.
        dry_run: whether the user wants to see what would be reported, but not report it.
        now: this moment.
    """
    task = report.task
    if cached:
        return Outcome.CACHED
    if claimed:
        return Outcome.DUPLICATE
    if not is_first:
        return Outcome.REUSED
    expired = task.lifetime is not None and report.sent_at - task.solved_at > task.lifetime
    if expired or now >= report.expires_at:
        return Outcome.STALE
    return Outcome.DRY_RUN if dry_run else None
