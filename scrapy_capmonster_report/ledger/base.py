"""What a ledger is asked, wherever it keeps its entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from ..outcome import Outcome
    from ..report import Report
    from ..task import Task


class Ledger(Protocol):
    """Knows which answers were used and which tasks were reported.

    What ``process_response`` asks is answered from memory at once; whatever waits for a disk or
    a server is a Deferred, and is asked by delivery only. No method raises or fails because the
    entries' home does: a ledger that loses its home says so and goes on in memory.
    """

    durable: bool
    """Whether a report that is not sent now can be sent by a later crawl."""

    def used_by(self, task_id: int) -> int | None:
        """The trip on which the answer was first used, as far as this process knows."""

    def is_claimed(self, task_id: int) -> bool:
        """Whether the task was reported or is being reported, as far as this process knows."""

    def used(self, task: Task, trip: int, site: str) -> None:
        """Note that the answer went to *site* on *trip* and was not refused."""

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        """Claim the task for *report*, and keep the report until it is finished.

        Returns:
            ``None`` where nobody else could claim it; otherwise the outcome that forbids sending
            it (somebody else reports it or used the answer before), or ``None``.
        """

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        """Note what became of *report*; with ``Outcome.KEPT`` it stays for a later crawl."""

    def open(self) -> Deferred[Sequence[Report]]:
        """Open the home; gives the reports that earlier crawls left and that are still fresh."""

    def close(self) -> Deferred[None]:
        """Write what is not yet written and let go of the home."""
