"""What fairness lets through and delivery sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .task import Task


@dataclass(slots=True, eq=False)
class Report:
    """One complaint about one answer.

    Args:
        task: the task whose answer was refused.
        trip: the number of the trip to the site on which it was refused (see ``trace``).
        expires_at: when the service has forgotten the task, by :class:`~.clock.SteadyClock`.
        rule: the name of the rule that matched.
        site: the host that refused it.
        sent_at: when the answer was sent to the site, by :class:`~.clock.SteadyClock`.
        resumed: taken over from an earlier crawl's ledger.
        attempts: how often it was sent.
    """

    task: Task
    trip: int
    expires_at: float
    rule: str = ""
    site: str = ""
    sent_at: float = 0.0
    resumed: bool = False
    attempts: int = 0
