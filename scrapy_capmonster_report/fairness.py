"""Why a rejection is not reported: the refusal is not the answer's fault, or is known already."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .outcome import Outcome

if TYPE_CHECKING:
    from .task import Task


class Circumstances(NamedTuple):
    """What is known about the use of an answer that the site refused.

    Args:
        task: the task of the answer.
        cached: the refusal came from a cache, not from the site.
        claimed: the task was reported already, or is being reported.
        used_before: the answer had been sent to the site before.
        sent_at: when the answer was sent to the site this time.
        now: this moment; both by :class:`~.clock.SteadyClock`.
    """

    task: Task
    cached: bool
    claimed: bool
    used_before: bool
    sent_at: float
    now: float


def objection(
    circumstances: Circumstances, *, max_age: float, report_reused: bool
) -> Outcome | None:
    """The first reason not to report, or ``None`` if the report is fair.

    Args:
        max_age: seconds after solving when the service has forgotten a task.
        report_reused: whether to report answers that had been used before all the same.
    """
    task = circumstances.task
    if circumstances.cached:
        return Outcome.CACHED
    if circumstances.claimed:
        return Outcome.DUPLICATE
    if circumstances.used_before and not report_reused:
        return Outcome.REUSED
    expired_on_the_way = (
        task.lifetime is not None and circumstances.sent_at - task.solved_at > task.lifetime
    )
    if expired_on_the_way or circumstances.now - task.solved_at >= max_age:
        return Outcome.STALE
    return None
