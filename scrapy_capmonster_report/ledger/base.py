"""What a ledger is asked, wherever it keeps its entries."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from ..outcome import Outcome
    from ..report import Report
    from ..task import Task
    from .entries import Alert


class Inheritance(NamedTuple):
    """What other crawls left.

    Args:
        reports: those that are still fresh.
        expired: how many others were not.
        sites: how many answers each site took and refused lately; when the home is opened.
    """

    reports: Sequence[Report] = ()
    expired: int = 0
    sites: Mapping[str, tuple[int, int]] = MappingProxyType({})


class Ledger(Protocol):
    """Knows which answers were used and which tasks were reported.

    What ``process_response`` asks is answered from memory at once; whatever waits for a disk or
    a server is a Deferred, and is asked by delivery only. No method raises, and no Deferred
    fails, because the entries' home does: a ledger that loses its home says so once and goes on
    in memory.
    """

    @property
    def durable(self) -> bool:
        """Whether a report that is not sent now can be sent by a later crawl."""

    def used_by(self, task_id: int) -> int | None:
        """The trip on which the answer was first used, as far as this process knows."""

    def is_claimed(self, task_id: int) -> bool:
        """Whether the task was reported or is being reported, as far as this process knows."""

    def used(self, task: Task, trip: int, site: str, *, sent_at: float, passed: bool) -> None:
        """Note that the answer went to *site* on *trip* and was not refused.

        Args:
            sent_at: when it was sent, by :class:`~.clock.SteadyClock`.
            passed: whether the site judged it, and so took it.
        """

    def withheld(self, report: Report, outcome: Outcome) -> None:
        """Note that an answer was refused, and that fairness objects to reporting it."""

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        """Claim the task for *report*, and keep the report until it is finished.

        Returns:
            ``None`` where nobody else could claim it; otherwise a Deferred of the outcome that
            forbids sending it (somebody else reports it, or used the answer before), or of
            ``None``. It fires before :meth:`close` is done, at the latest.
        """

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        """Note what became of *report*; with ``Outcome.KEPT`` it stays for a later crawl."""

    def alert(self, alert: Alert) -> None:
        """Note that a site's rejection rate changed."""

    def open(self, inherit: Callable[[Inheritance], None]) -> Deferred[None]:
        """Open the home, and take over what other crawls left there.

        Args:
            inherit: called with what was found when the home is open, and again whenever another
                crawl on the same home has died since.

        Returns:
            A Deferred that fires once *inherit* was told what was there.
        """

    def close(self) -> Deferred[None]:
        """Write what is not yet written and let go of the home."""
