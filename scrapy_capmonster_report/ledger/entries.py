"""What is written down about tasks: plain values, times by the wall clock.

A later crawl, or another machine, reads them; so nothing here depends on a process.
"""

from __future__ import annotations

from typing import NamedTuple, Union


class Use(NamedTuple):
    """An answer went to a site and was not refused."""

    task_id: int
    trip: int
    type: str | None
    site: str
    at: float


class Claim(NamedTuple):
    """An answer was refused, and this crawl wants to report it."""

    task_id: int
    trip: int
    kind: str
    type: str | None
    rule: str
    site: str
    solved_at: float
    expires_at: float
    at: float


class Finish(NamedTuple):
    """A claimed report has found its outcome (the value of an ``Outcome``)."""

    task_id: int
    outcome: str
    code: str | None
    at: float


class Release(NamedTuple):
    """A claimed report is left to whoever comes next."""

    task_id: int


Entry = Union[Use, Claim, Finish, Release]


class Left(NamedTuple):
    """What earlier crawls left in a home: the fresh claims, now ours, and how many expired."""

    claims: list[Claim]
    expired: int
