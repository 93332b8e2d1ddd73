"""The ledger's protocols, and the events that it writes: plain values, wall-clock times."""

from __future__ import annotations

from bisect import bisect_right
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..outcome import Outcome, Report
    from .history import Query

PASSED: Final = "passed"
"""The status of a task whose answer the site accepted."""

PENDING: Final = "pending"
"""The status of a task whose answer was rejected, until its report has an ``Outcome``."""

PERIOD_SECONDS: Final = 300
"""The history counts tasks by the period in which their answers were sent."""

HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 24 * HOUR_SECONDS

KEEP_PERIODS_SECONDS: Final = 2 * DAY_SECONDS
"""Counts older than this are kept by the hour only."""

KEEP_TOTALS_DAYS: Final = 90
"""How long the totals of an hour, and alerts, are kept."""

RECENT_SECONDS: Final = 7 * DAY_SECONDS
"""How far back a new crawl looks for the usual rate of a site."""

AGES: Final = (0, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600)
"""The lower bounds of the ages, in seconds from solving to sending, by which the history counts."""


class Submission(NamedTuple):
    """An answer was sent to a site.

    Args:
        task_id: the ``taskId``.
        attempt: the number of the attempt (see ``attempts``).
        site: the host.
        spider: the spider's name.
        type: the ``taskType``, ``""`` if the request had none.
        age: seconds from solving to sending, as one of :data:`AGES`.
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
    """An answer was sent to the site. The first attempt that is written remains the first."""

    task_id: int
    attempt: int
    at: float


class NotSent(NamedTuple):
    """The attempt failed before anything was sent."""

    task_id: int
    attempt: int


class Judged(NamedTuple):
    """The site accepted the answer, or rejected it and no report is claimed.

    Args:
        submission: what was judged.
        rule: the name of the rule that matched, ``""`` if none did.
        status: :data:`PASSED`, or the value of the ``Outcome`` that says why.
    """

    submission: Submission
    rule: str
    status: str


class Claimed(NamedTuple):
    """The site rejected the answer, and this crawl wants to report it."""

    submission: Submission
    rule: str
    kind: str
    solved_at: float
    expires_at: float


class Finished(NamedTuple):
    """A claimed report has its outcome (the value of an ``Outcome``).

    With ``Outcome.KEPT`` it is left for a later crawl, or for another worker.
    """

    task_id: int
    outcome: str
    code: str
    at: float


class Alert(NamedTuple):
    """A site's rejection rate changed, and not by chance.

    Args:
        at: when it was noticed.
        site: the host.
        before: the earlier rate, from 0 to 1.
        after: the new rate.
        answers: over how many answers the new rate was seen.
    """

    at: float
    site: str
    before: float
    after: float
    answers: int


Event: TypeAlias = Sent | NotSent | Judged | Claimed | Finished | Alert


class Count(NamedTuple):
    """How many tasks have the same status; a task counts once, under the last one.

    Args:
        period: when the period began in which the answers were sent, seconds since the epoch.
            It has five minutes, or an hour if it is older than two days.
        site: the host.
        spider: the spider's name.
        type: the ``taskType``, ``""`` if the requests had none.
        age: seconds from solving to sending, as one of :data:`AGES`.
        rule: the name of the rule that matched, ``""`` if none did.
        status: :data:`PASSED`, :data:`PENDING`, or the value of an ``Outcome``.
        code: the ``errorCode`` of a report that the service refused, else ``""``.
        tasks: how many.
    """

    period: int = 0
    site: str = ""
    spider: str = ""
    type: str = ""
    age: int = 0
    rule: str = ""
    status: str = ""
    code: str = ""
    tasks: int = 0


class Recovered(NamedTuple):
    """What other crawls left in the ledger.

    Args:
        reports: the reports, fresh or expired.
        sites: how many answers each site accepted and rejected lately; only when the ledger opens.
    """

    reports: Sequence[Report] = ()
    sites: Mapping[str, tuple[int, int]] = MappingProxyType({})


class LedgerBackend(Protocol):
    """Keeps the events of a ledger in a file or on a server.

    A thread makes one call at a time. A call may block and raise anything. One that raised is
    repeated, even if it may have had its effect.
    """

    @property
    def name(self) -> str:
        """As ``Ledger.name``."""

    @property
    def lease(self) -> float:
        """Seconds for which our claims remain ours after the last call; ``inf`` if they do as long
        as the process lives."""

    @property
    def losses(self) -> int:
        """How often a call has found that claims, of this run or of another, may be lost."""

    def count(self, query: Query, now: float) -> list[Count]:
        """Count the tasks that *query* selects (*now* is wall-clock time)."""

    def write(self, events: Sequence[Event]) -> list[Outcome | None]:
        """Write *events*, all or none of them.

        Returns for each event the outcome that forbids it, or ``None``. A :class:`Claimed` is
        forbidden if the task is claimed by another attempt, or another attempt was sent before.
        Writing the same claim again is not forbidden.
        """

    def recover(self, now: float) -> list[Claimed]:
        """Take over the claims that ended runs left, and delete what is old."""

    def close(self) -> None:
        """Close it."""


def age_class(age: float) -> int:
    """The *age* of an answer when it was sent, as one of :data:`AGES`."""
    return AGES[max(0, bisect_right(AGES, age) - 1)]


def hour_of(at: float) -> int:
    """When the hour of *at* began."""
    return int(at // HOUR_SECONDS) * HOUR_SECONDS
