"""Notices that a site refuses more answers than it used to.

The test is a likelihood-ratio test of two proportions, repeated over sliding windows: the last
12, 20, 30 … 112 answers against all earlier ones. A window speaks of a rise where the data are
``e**9`` times as likely under two rates, one before it and one in it, as under one rate. That the
usual rate is itself only an estimate is part of the test: the fewer answers it rests on, the
clearer the rise must be. A test that is repeated with each refusal finds a "rise" by chance more
often than its level says, so the threshold is chosen by simulation: ``benchmarks/alerts.py``
measures how soon a rise is noticed and how often there is none; its figures are in
``docs/insight.md``. (The test: Wilks 1938; over a window of unknown length: Siegmund and
Venkatraman 1995.)
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WINDOWS: Final = (12, 20, 30, 42, 56, 80, 112)
"""Over how many of the last answers a rise is looked for."""

THRESHOLD: Final = 9.0
"""The log-likelihood ratio that chance does not reach; chosen by ``benchmarks/alerts.py``."""

LEAST_BEFORE: Final = 30
"""Answers that must have been seen before a window; fewer say nothing of what is usual."""

MOST_BEFORE: Final = 2000
"""What is usual rests on about so many answers at most: the older ones fade, so that a rate
that drifts over weeks is followed."""

WALL: Final = 30
"""So many refusals in a row, and it is not the answers that are wrong."""

MOST_SITES: Final = 5000
"""Sites watched at once, about 500 bytes each; the one unheard of for longest is forgotten."""

_LONGEST: Final = WINDOWS[-1]
_REMEMBERED: Final = (1 << _LONGEST) - 1
_WALL_BITS: Final = (1 << WALL) - 1


class Rise(NamedTuple):
    """A site's rejection rate rose, and not by chance.

    Args:
        before: the rate it had, from 0 to 1.
        after: the rate it has.
        answers: over how many answers the new rate was seen.
    """

    before: float
    after: float
    answers: int


class Tally(NamedTuple):
    """How many answers a site took and refused in this crawl."""

    site: str
    passed: int
    rejected: int


class RejectionWatch:
    """Watches the rejection rates of sites, a verdict at a time.

    Costs a few microseconds a verdict, and the memory of :data:`MOST_SITES` sites at most.
    """

    def __init__(self) -> None:
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    def learn(self, sites: Mapping[str, tuple[int, int]]) -> None:
        """Take what earlier crawls saw as what is usual.

        Args:
            sites: how many answers each site took and refused.
        """
        for name, (passed, rejected) in sites.items():
            site = self._site(name)
            site.answers += passed + rejected
            site.refused += rejected
            site.fade()

    def passed(self, site: str) -> None:
        """An answer was taken."""
        self._site(site).passes()

    def rejected(self, site: str) -> Rise | None:
        """An answer was refused."""
        return self._site(site).rejects()

    def revised(self, site: str) -> Rise | None:
        """An answer that had passed was refused after all."""
        return self._site(site).revises()

    def refuses_all(self, site: str) -> bool:
        """Whether the last :data:`WALL` answers were all refused; says so once for a site."""
        return self._site(site).is_wall()

    def tallies(self) -> Iterator[Tally]:
        """What became of this crawl's answers, site by site."""
        for name, site in self._sites.items():
            if site.passed or site.rejected:
                yield Tally(name, site.passed, site.rejected)

    def _site(self, name: str) -> _Site:
        site = self._sites.get(name)
        if site is None:
            site = self._sites[name] = _Site()
            if len(self._sites) > MOST_SITES:
                self._sites.popitem(last=False)
        else:
            self._sites.move_to_end(name)
        return site


@dataclass(slots=True)
class _Site:
    """What is known of one site.

    Args:
        passed: answers that it took in this crawl.
        rejected: answers that it refused in this crawl.
        answers: how many answers what is usual rests on, those in the window included.
        refused: how many of them were refused.
        recent: the last answers, one bit each, the newest the lowest; 1: refused.
        remembered: how many of the bits are answers.
        was_wall: whether :meth:`is_wall` has said so.
    """

    passed: int = 0
    rejected: int = 0
    answers: float = 0.0
    refused: float = 0.0
    recent: int = 0
    remembered: int = 0
    was_wall: bool = False

    def passes(self) -> None:
        self.passed += 1
        self._answered(0)
        # That a site has come to its senses is nobody's trouble; but it is usual from now on,
        # and the next rise is one from there.
        if self._changed(_LONGEST, rose=False):
            self._begin_anew(_LONGEST)

    def rejects(self) -> Rise | None:
        self.rejected += 1
        self._answered(1)
        return self._rise()

    def revises(self) -> Rise | None:
        if self.passed:
            self.passed -= 1
        self.rejected += 1
        self.refused += 1
        # The newest answer that passed: the one that is revised is among the last.
        self.recent = (self.recent | (self.recent + 1)) & _REMEMBERED
        return self._rise()

    def is_wall(self) -> bool:
        if self.was_wall or self.recent & _WALL_BITS != _WALL_BITS:
            return False
        self.was_wall = True
        return True

    def fade(self) -> None:
        if self.answers > MOST_BEFORE:
            kept = MOST_BEFORE * 0.75 / self.answers
            self.answers *= kept
            self.refused *= kept

    def _answered(self, bit: int) -> None:
        self.answers += 1
        self.refused += bit
        self.recent = (self.recent << 1 | bit) & _REMEMBERED
        if self.remembered < _LONGEST:
            self.remembered += 1
        self.fade()

    def _rise(self) -> Rise | None:
        for window in WINDOWS:
            if self._changed(window, rose=True):
                refused = self._refused_in(window)
                before = max(0.0, self.refused - refused) / (self.answers - window)
                self._begin_anew(window)
                return Rise(before, refused / window, window)
        return None

    def _changed(self, window: int, *, rose: bool) -> bool:
        """Whether the rate in the last *window* answers is another than before, and higher."""
        before = self.answers - window
        if not self.refused or before < LEAST_BEFORE or self.remembered < window:
            return False
        refused = self._refused_in(window)
        refused_before = max(0.0, self.refused - refused)
        if (refused * before > refused_before * window) is not rose:
            return False
        ratio = (
            _log_likelihood(refused, window)
            + _log_likelihood(refused_before, before)
            - _log_likelihood(refused + refused_before, window + before)
        )
        return ratio > THRESHOLD

    def _refused_in(self, window: int) -> int:
        return (self.recent & ((1 << window) - 1)).bit_count()

    def _begin_anew(self, window: int) -> None:
        """Take the last *window* answers as what is usual from now on."""
        self.answers = window
        self.refused = self._refused_in(window)
        self.recent &= (1 << window) - 1
        self.remembered = window


def _log_likelihood(refused: float, answers: float) -> float:
    """Of *refused* out of *answers*, at the rate that makes it most likely."""
    if not 0 < refused < answers:
        return 0.0
    rate = refused / answers
    return refused * log(rate) + (answers - refused) * log(1 - rate)
