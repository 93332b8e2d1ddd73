"""What a ledger is asked, and what it writes down: plain values, times by the wall clock."""

from __future__ import annotations

from bisect import bisect_right
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from ..outcome import Outcome, Report
    from ..task import Task

PASSED: Final = "passed"
"""The status of a task whose answer the site accepted."""

PENDING: Final = "pending"
"""The status of a task whose answer was rejected, until its report has an ``Outcome``."""

PERIOD_SECONDS: Final = 300
"""The history tells tasks apart by the period in which their answers were sent."""

HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 24 * HOUR_SECONDS

KEEP_PERIODS_SECONDS: Final = 2 * DAY_SECONDS
"""What is older than this is told apart by the hour only."""

KEEP_TOTALS_DAYS: Final = 90
"""How long the totals of an hour, and alerts, are kept."""

RECENT_DAYS: Final = 7
"""How far back a new crawl looks to know what is usual for a site."""

AGES: Final = (0, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600)
"""Seconds between solving and sending, as the history tells them apart: the lower bounds."""


class Submission(NamedTuple):
    """An answer was sent to a site.

    Args:
        task_id: the ``taskId``.
        attempt: the number of the attempt (see ``attempts``).
        site: the host.
        spider: the spider's name.
        type: the ``taskType``, ``""`` where the request had none.
        age: seconds between solving and sending, as one of :data:`AGES`.
        at: when the site's verdict was seen.
    """

    task_id: int
    attempt: int
    site: str
    spider: str
    type: str
    age: int
    at: float


class Sent(NamedTuple):
    """An answer left for the site; the first attempt that is written stands."""

    task_id: int
    attempt: int
    at: float


class NotSent(NamedTuple):
    """The attempt failed before anything was sent."""

    task_id: int
    attempt: int


class Passed(NamedTuple):
    """The site accepted the answer."""

    submission: Submission


class Withheld(NamedTuple):
    """The site rejected the answer, and for the reason in ``outcome`` there is no report."""

    submission: Submission
    rule: str
    outcome: str


class Claimed(NamedTuple):
    """The site rejected the answer, and this crawl wants to report it."""

    submission: Submission
    rule: str
    kind: str
    solved_at: float
    expires_at: float


class Finished(NamedTuple):
    """A claimed report has its outcome (the value of an ``Outcome``)."""

    task_id: int
    outcome: str
    code: str
    at: float


class Released(NamedTuple):
    """A claimed report is left for a later crawl, or for another worker."""

    task_id: int


class Alert(NamedTuple):
    """A site's rejection rate changed, and not by chance.

    Args:
        at: when it was noticed.
        site: the host.
        before: the rate it had, from 0 to 1.
        after: the rate it has.
        answers: how many answers the new rate was seen over.
    """

    at: float
    site: str
    before: float
    after: float
    answers: int


Event: TypeAlias = Sent | NotSent | Passed | Withheld | Claimed | Finished | Released | Alert


class Count(NamedTuple):
    """How many tasks have the same status; a task counts once, under the last one.

    Args:
        period: when the period began in which the answers were sent, seconds since the epoch:
            five minutes; an hour where it is older than two days.
        site: the host.
        spider: the spider's name.
        type: the ``taskType``, ``""`` where the requests had none.
        age: seconds between solving and sending, as one of :data:`AGES`.
        rule: the name of the rule that matched, ``""`` if none did.
        status: :data:`PASSED`, :data:`PENDING`, or the value of an ``Outcome``.
        code: the ``errorCode`` of a report that the service refused, else ``""``.
        tasks: how many.
    """

    period: int
    site: str
    spider: str
    type: str
    age: int
    rule: str
    status: str
    code: str
    tasks: int


class Recovered(NamedTuple):
    """What other crawls left in the ledger.

    Args:
        reports: those that are still fresh.
        expired: how many others were not.
        sites: how many answers each site accepted and rejected lately; when the ledger is opened.
    """

    reports: Sequence[Report] = ()
    expired: int = 0
    sites: Mapping[str, tuple[int, int]] = MappingProxyType({})


class Orphans(NamedTuple):
    """The claims of crawls that ended: the fresh ones, now ours, and how many were too old."""

    claims: Sequence[Claimed] = ()
    expired: int = 0


class LedgerBackend(Protocol):
    """Where a ledger keeps its events: a file, a server. Its Deferreds may fail.

    It is asked for one thing at a time, and again for the same thing if that failed, whether or
    not it was done.
    """

    @property
    def name(self) -> str:
        """As ``Ledger.name``."""

    @property
    def patience(self) -> float:
        """Seconds after which it is no longer waited for; what it is asked for can be cancelled
        then. ``inf``: it cannot."""

    @property
    def lease(self) -> float:
        """Seconds for which our claims are ours, since the last time that it was asked for
        something. ``inf``: as long as the process lives."""

    def open(self, now: float) -> Deferred[Mapping[str, tuple[int, int]]]:
        """Get ready (*now* by the wall clock).

        Gives how many answers each site accepted and rejected lately.
        """

    def write(self, events: Sequence[Event]) -> Deferred[list[Outcome | None]]:
        """Write *events*, all or none of them.

        Gives for each of them the outcome that forbids it: a :class:`Claimed` task that is claimed
        already, or whose answer another attempt had used before. A claim that is there already and
        is this very one is not forbidden.
        """

    def recover(self, now: float) -> Deferred[Orphans]:
        """Take over the claims that ended crawls left, and let go of what is old."""

    def close(self) -> Deferred[None]:
        """Let go of it. If something is still being done, once that is done."""


class Ledger(Protocol):
    """Knows which tasks were reported, and shares it with other workers and later crawls.

    What ``process_response`` asks is answered from memory at once; what waits for a disk or a
    server is a Deferred, and only delivery asks for it. No method raises and no Deferred fails
    because the backend does: a ledger whose backend is unavailable says so once, goes on in
    memory, and catches up when the backend is back.
    """

    @property
    def name(self) -> str:
        """What the log calls it, as ``CAPMONSTER_REPORT_LEDGER`` would name it, without secrets."""

    @property
    def durable(self) -> bool:
        """Whether a report that is not sent now can be sent by a later crawl."""

    def is_claimed(self, task_id: int) -> bool:
        """Whether the task was reported or is being reported, as far as this process knows."""

    def sent(self, task_id: int, attempt: int) -> None:
        """Note that the answer leaves for the site on *attempt*; the first one stands."""

    def not_sent(self, task_id: int, attempt: int) -> None:
        """Take :meth:`sent` back: *attempt* failed before anything was sent."""

    def passed(self, task: Task, attempt: int, site: str, sent_at: float) -> None:
        """Note that *site* accepted the answer.

        Args:
            sent_at: when it was sent, by :class:`~.clock.SteadyClock`.
        """

    def withheld(self, report: Report, outcome: Outcome) -> None:
        """Note that an answer was rejected, and why it is not reported.

        After ``Outcome.DRY_RUN`` the task counts as claimed.
        """

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        """Claim the task for *report*, and keep the report until it is finished.

        May be asked again for the same report.

        Returns:
            ``None`` where no other process could claim it; otherwise a Deferred of the outcome
            that forbids sending it (another process reports it, or used the answer before), or of
            ``None``. It fires before :meth:`close` is done, at the latest.
        """

    def hurry(self, seconds: float) -> None:
        """Keep no claim waiting for longer than *seconds* from now: the crawl ends."""

    def is_ours(self, report: Report) -> bool:
        """Whether the claim of *report* is certainly still ours; if not, claim it again."""

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        """Note what became of *report*; with ``Outcome.KEPT`` it stays for a later crawl."""

    def alert(self, alert: Alert) -> None:
        """Note that a site's rejection rate changed."""

    def open(self, on_recovered: Callable[[Recovered], None]) -> Deferred[None]:
        """Open it, and take over what other crawls left.

        Args:
            on_recovered: called when the backend is open, and again whenever there is something
                that another crawl left.

        Returns:
            A Deferred that fires once *on_recovered* was told what was there, or the backend is
            known to be unavailable.
        """

    def close(self) -> Deferred[None]:
        """Write what is not yet written and let go of the backend; soon, whatever it does.

        May be called again.
        """


def age_between(solved_at: float, sent_at: float) -> int:
    """The one of :data:`AGES` for an answer that was sent so long after it was solved."""
    return AGES[max(0, bisect_right(AGES, sent_at - solved_at) - 1)]


def period_of(at: float) -> int:
    """When the period of *at* began."""
    return int(at // PERIOD_SECONDS) * PERIOD_SECONDS


def hour_of(at: float) -> int:
    """When the hour of *at* began."""
    return int(at // HOUR_SECONDS) * HOUR_SECONDS
