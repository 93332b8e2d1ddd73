"""What can become of a rejection, each outcome under the stat that counts it."""

from __future__ import annotations

from enum import Enum


class Outcome(str, Enum):
    """The fate of one rejection.

    The value is the stat's name below ``capmonster_report/``. After a crawl the counts of all
    members add up to ``rejected``: that is the balance the interface promises.
    """

    # Not reported, because the refusal is not the answer's fault or was reported already.
    DUPLICATE = "withheld/duplicate"
    REUSED = "withheld/reused"
    STALE = "withheld/stale"
    CACHED = "withheld/cached"
    INVALID_TASK = "withheld/invalid_task"
    DRY_RUN = "withheld/dry_run"
    # Reported, and answered.
    ACCEPTED = "sent/accepted"
    REFUSED = "sent/refused"
    # Meant to be reported, and lost.
    QUEUE_FULL = "dropped/queue_full"
    EXPIRED = "dropped/expired"
    BREAKER = "dropped/breaker"
    UNDELIVERED = "dropped/undelivered"
    SHUTDOWN = "dropped/shutdown"
    # Meant to be reported, and left in a durable ledger for the next crawl.
    KEPT = "kept"

    @property
    def group(self) -> str:
        """``withheld``, ``sent``, ``dropped`` or ``kept``."""
        return self.value.partition("/")[0]

    @property
    def reason(self) -> str:
        """The part after the group: ``duplicate``, ``accepted``, ``queue_full`` …"""
        return self.value.rpartition("/")[2]
