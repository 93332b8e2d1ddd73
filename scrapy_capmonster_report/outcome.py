"""What is reported, and what can become of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .task import Task


BY_CALLBACK: Final = "reject()"
"""Takes the place of the rule's name if a callback found the rejection."""


class Outcome(str, Enum):
    """What became of one rejection.

    The value is the stat's name below ``capmonster_report/``. After a crawl the counts of all
    members add up to ``rejected``, as the documentation promises.
    """

    # Withheld: the rejection is not the answer's fault, or was already reported.
    DUPLICATE = "withheld/duplicate"
    REUSED = "withheld/reused"
    STALE = "withheld/stale"
    CACHED = "withheld/cached"
    INVALID_TASK = "withheld/invalid_task"
    DRY_RUN = "withheld/dry_run"
    # Sent, and answered by the service.
    ACCEPTED = "sent/accepted"
    REFUSED = "sent/refused"
    # Could not be delivered.
    QUEUE_FULL = "dropped/queue_full"
    EXPIRED = "dropped/expired"
    BREAKER = "dropped/breaker"
    UNDELIVERED = "dropped/undelivered"
    SHUTDOWN = "dropped/shutdown"
    # Left in a durable ledger for the next crawl.
    KEPT = "kept"

    @property
    def group(self) -> str:
        """``withheld``, ``sent``, ``dropped`` or ``kept``."""
        return self.value.partition("/")[0]

    @property
    def reason(self) -> str:
        """The part after the group: ``duplicate``, ``accepted``, ``queue_full`` …"""
        return self.value.rpartition("/")[2]


@dataclass(slots=True, eq=False)
class Report:
    """What tells the service that a site rejected the answer of a task.

    Args:
        task: the task whose answer was rejected.
        attempt: the number of the attempt on which it was rejected (see ``attempts``).
        expires_at: when the service forgets the task, by :class:`~.clock.SteadyClock`.
        rule: the name of the rule that matched.
        site: the host that rejected it.
        sent_at: when the answer was sent to the site, by :class:`~.clock.SteadyClock`.
        recovered: an earlier crawl, or another worker, left it in the ledger.
        tries: how often it was sent to the service.
    """

    task: Task
    attempt: int
    expires_at: float
    rule: str = ""
    site: str = ""
    sent_at: float = 0.0
    recovered: bool = False
    tries: int = 0
