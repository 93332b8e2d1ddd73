"""The ledger in memory, which ends with the crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from ..outcome import Outcome
from ..recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..outcome import Report
    from .base import Alert, Recovered


class Ledger:
    """Knows which tasks were reported.

    This one forgets it when the crawl ends, and has no history. A durable one shares it with other
    workers and later crawls. Only delivery calls what returns a Deferred. No method raises, and no
    Deferred fails.

    Args:
        now: seconds, steady.
    """

    name = "memory"
    """Its name in the log: the value of ``CAPMONSTER_REPORT_LEDGER`` without secrets."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._claimed: Recent[bool] = Recent(now)

    @property
    def durable(self) -> bool:
        """Whether a later crawl can send a report that this one does not send."""
        return False

    def is_claimed(self, task_id: int) -> bool:
        """Whether the task was reported or is being reported, as far as this process knows."""
        return self._claimed.get(task_id) is not None

    def sent(self, task_id: int, attempt: int) -> None:
        """Note that the answer is sent to the site on *attempt*. The first attempt is kept."""

    def not_sent(self, task_id: int, attempt: int) -> None:
        """Take :meth:`sent` back: *attempt* failed before anything was sent."""

    def passed(self, task_id: int, attempt: int, site: str, task_type: str, age: float) -> None:
        """Note that *site* accepted the answer.

        Args:
            task_type: the ``taskType``, ``""`` if the request had none.
            age: seconds from solving to sending.
        """

    def withheld(self, report: Report, outcome: Outcome) -> None:
        """Note that an answer was rejected, and why its report is withheld.

        After ``Outcome.DRY_RUN`` the task counts as claimed.
        """
        if outcome is Outcome.DRY_RUN:  # the next rejection is a duplicate, as in a real run
            self._claimed.set(report.task.id, True)

    def claim(self, report: Report) -> Deferred[Outcome | None]:
        """Claim the task for *report*, and keep the report until it is finished.

        May be called again for the same report.

        Returns:
            A Deferred of the outcome that forbids sending it (another process reports it, or sent
            the answer before), or of ``None``. It fires before :meth:`close` is done, at the
            latest.
        """
        self._claimed.set(report.task.id, True)
        return succeed(None)

    def hurry(self, seconds: float) -> None:
        """Let neither opening nor a claim take longer than *seconds* from now: the crawl ends."""

    def is_ours(self, report: Report) -> bool:
        """Whether the claim of *report* is certainly still ours; if not, claim it again."""
        return True

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        """Note the outcome of *report*. With ``Outcome.KEPT`` it is kept for a later crawl."""

    def alert(self, alert: Alert) -> None:
        """Note that a site's rejection rate changed."""

    def open(self, on_recovered: Callable[[Recovered], None]) -> Deferred[None]:
        """Open it, and recover reports that other crawls left.

        Args:
            on_recovered: called when the ledger is open, and again whenever another crawl has left
                reports.

        Returns:
            A Deferred that fires after the first look for such reports, or when the ledger is
            known to be unavailable.
        """
        return succeed(None)

    def close(self, timeout: float = 0.0) -> Deferred[None]:
        """Write what is not yet written, and close it, within *timeout* seconds and one more.

        May be called again.
        """
        return succeed(None)
