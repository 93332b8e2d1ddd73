"""What is written down about tasks: plain values, times by the wall clock.

A later crawl, or another machine, reads them; so nothing here depends on a process.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSED: Final = "passed"
"""The fate of a task whose answer the site took."""

PENDING: Final = "pending"
"""The fate of a task whose answer was refused, until its report has an ``Outcome``."""

HOUR_SECONDS: Final = 3600
DAY_SECONDS: Final = 24 * HOUR_SECONDS

KEEP_TOTALS_DAYS: Final = 90
"""How long the totals of an hour, and alerts, are kept."""

LATELY_DAYS: Final = 7
"""How far back a new crawl looks to know what is usual for a site."""

AGES: Final = (0, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600)
"""Seconds between solving and use, as the history tells them apart: the lower bounds."""


class Sighting(NamedTuple):
    """An answer went to a site.

    Args:
        task_id: the ``taskId``.
        trip: the number of the trip to the site (see ``trace``).
        site: the host.
        spider: the spider's name.
        type: the ``taskType``, ``""`` where the request had none.
        age: seconds between solving and use, as one of :data:`AGES`.
        at: when the site's response was looked at.
    """

    task_id: int
    trip: int
    site: str
    spider: str
    type: str
    age: int
    at: float


class Use(NamedTuple):
    """An answer was not refused: the site took it, or nobody knows."""

    sighting: Sighting
    passed: bool


class Claim(NamedTuple):
    """An answer was refused, and this crawl wants to report it."""

    sighting: Sighting
    rule: str
    kind: str
    solved_at: float
    expires_at: float


class Refusal(NamedTuple):
    """An answer was refused, and for the reason in ``outcome`` nobody wants to report it."""

    sighting: Sighting
    rule: str
    outcome: str


class Finish(NamedTuple):
    """A claimed report has found its outcome (the value of an ``Outcome``)."""

    task_id: int
    outcome: str
    code: str
    at: float


class Release(NamedTuple):
    """A claimed report is left to whoever comes next."""

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


Entry: TypeAlias = Use | Claim | Refusal | Finish | Release | Alert


class Count(NamedTuple):
    """How many tasks had the same fate; a task counts once, under the fate it has last.

    Args:
        hour: when the hour began in which the answers were used, seconds since the epoch.
        site: the host.
        spider: the spider's name.
        type: the ``taskType``, ``""`` where the requests had none.
        age: seconds between solving and use, as one of :data:`AGES`.
        rule: the name of the rule that matched, ``""`` if none did.
        fate: :data:`PASSED`, :data:`PENDING`, or the value of an ``Outcome``.
        code: the ``errorCode`` of a report that the service refused, else ``""``.
        tasks: how many.
    """

    hour: int
    site: str
    spider: str
    type: str
    age: int
    rule: str
    fate: str
    code: str
    tasks: int


class Left(NamedTuple):
    """What ended crawls left in a home: the fresh claims, now ours, and how many were too old."""

    claims: Sequence[Claim]
    expired: int


def age_between(solved_at: float, used_at: float) -> int:
    """The one of :data:`AGES` for an answer that was used so long after it was solved."""
    return AGES[max(0, bisect_right(AGES, used_at - solved_at) - 1)]


def hour_of(at: float) -> int:
    """When the hour of *at* began."""
    return int(at // HOUR_SECONDS) * HOUR_SECONDS
