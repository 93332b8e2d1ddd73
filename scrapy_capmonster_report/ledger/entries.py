"""What is written down about tasks: plain values, times by the wall clock.

A later crawl, or another machine, reads them; so nothing here depends on a process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from .base import (
    AGES as AGES,
)
from .base import (
    DAY_SECONDS as DAY_SECONDS,
)
from .base import (
    HOUR_SECONDS as HOUR_SECONDS,
)
from .base import (
    KEEP_TOTALS_DAYS as KEEP_TOTALS_DAYS,
)
from .base import (
    PASSED as PASSED,
)
from .base import (
    PENDING as PENDING,
)
from .base import (
    Alert as Alert,
)
from .base import (
    Count as Count,
)
from .base import (
    age_between as age_between,
)
from .base import (
    hour_of as hour_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LATELY_DAYS: Final = 7
"""How far back a new crawl looks to know what is usual for a site."""


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


Entry: TypeAlias = Use | Claim | Refusal | Finish | Release | Alert


class Left(NamedTuple):
    """What ended crawls left in a home: the fresh claims, now ours, and how many were too old."""

    claims: Sequence[Claim]
    expired: int
