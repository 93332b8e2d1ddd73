"""Notices that a site rejects more answers than it used to.

The test is a likelihood-ratio test of two proportions, repeated over sliding windows: the last
12, 20, 30 … 112 answers against all earlier ones. A window shows an increase if the data are
``e**9`` times as likely under two rates, one before it and one in it, as under one rate. The test
accounts for the usual rate being an estimate: the fewer answers it is based on, the clearer the
increase must be. A test that is repeated at each rejection finds more "increases" by chance than
its level says, so the threshold was chosen by simulation: ``benchmarks/alerts.py`` measures how
soon an increase is noticed and how many false alerts there are. Its figures are in
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
"""The lengths of the windows, in answers."""

THRESHOLD: Final = 9.0
"""A log-likelihood ratio that chance rarely reaches; chosen with ``benchmarks/alerts.py``."""

MIN_BEFORE: Final = 30
"""The number of answers before a window that are needed to know the usual rate."""

MAX_BEFORE: Final = 2000
"""The usual rate is based on about this many answers at most. Older ones lose weight, so that the
usual rate follows a slow drift."""

STREAK: Final = 30
"""After so many rejections in a row, the answers are probably not the reason."""

STREAK_AT_CLOSE: Final = 10
"""The same, at the end of a crawl in which the site accepted no answer."""

MAX_SITES: Final = 5000
"""How many sites are watched at once, about 500 bytes each. The least recently used is dropped."""

_MAX_WINDOW: Final = WINDOWS[-1]
_REMEMBERED: Final = (1 << _MAX_WINDOW) - 1


class RateIncrease(NamedTuple):
    """A site's rejection rate increased, and not by chance.

    Args:
        before: the earlier rate, from 0 to 1.
        after: the new rate.
        answers: over how many answers the new rate was seen.
    """

    before: float
    after: float
    answers: int


class RejectionWatch:
    """The watched sites, :data:`MAX_SITES` at most."""

    def __init__(self) -> None:
        self._sites: OrderedDict[str, SiteWatch] = OrderedDict()

    def load_baseline(self, sites: Mapping[str, tuple[int, int]]) -> None:
        """Base the usual rates on earlier crawls.

        Args:
            sites: how many answers each site accepted and rejected.
        """
        for name, (passed, rejected) in sites.items():
            self.site(name).load_baseline(passed, rejected)

    def site(self, name: str) -> SiteWatch:
        """The watch of the site *name*."""
        site = self._sites.get(name)
        if site is None:
            site = self._sites[name] = SiteWatch()
            if len(self._sites) > MAX_SITES:
                self._sites.popitem(last=False)
        else:
            self._sites.move_to_end(name)
        return site

    def rejecting_sites(self) -> Iterator[tuple[str, SiteWatch]]:
        """The sites that rejected an answer in this crawl, by their names."""
        return ((name, site) for name, site in self._sites.items() if site.rejected)


@dataclass(slots=True)
class SiteWatch:
    """Watches the rejection rate of one site. A verdict costs a few microseconds.

    Args:
        passed: answers that the site accepted in this crawl.
        rejected: answers that it rejected in this crawl.
    """

    passed: int = 0
    rejected: int = 0
    _counts_both: bool = False
    """Whether accepted answers are counted too. If not, as in a spider that only calls
    ``reject()``, there is no rate and no alert."""
    _answers: float = 0.0
    """How many answers the usual rate is based on, including those in the window."""
    _all_rejected: float = 0.0
    """How many of them were rejected."""
    _recent: int = 0
    """The last answers, one bit each, the newest in the lowest bit; 1 means rejected."""
    _remembered: int = 0
    """How many of the bits are from this crawl. Higher bits are from earlier crawls."""
    _streak_reported: bool = False

    @property
    def answers(self) -> int:
        """How many answers there were in this crawl."""
        return self.passed + self.rejected

    @property
    def rate(self) -> float | None:
        """The rejection rate in this crawl; ``None`` if it is not known."""
        return self.rejected / self.answers if self._counts_both else None

    def load_baseline(self, passed: int, rejected: int) -> None:
        """Base the usual rate on these answers of earlier crawls."""
        self._counts_both |= passed > 0
        self._answers += passed + rejected
        self._all_rejected += rejected
        if self._answers > MAX_BEFORE:
            self._fade()
        if not passed:  # a streak continues from crawl to crawl
            streak = (1 << min(rejected, _MAX_WINDOW)) - 1
            self._recent = (self._recent | streak << self._remembered) & _REMEMBERED

    def passes(self) -> None:
        """The site accepts an answer."""
        self.passed += 1
        self._counts_both = True
        self._add(0)
        # A decrease is not an alert, but the next increase starts from the lower rate.
        if self._all_rejected and self._changed(_MAX_WINDOW, increased=False):
            self._reset_baseline(_MAX_WINDOW)

    def rejects(self, *, by_rule: bool = True) -> RateIncrease | None:
        """The site rejects an answer.

        Args:
            by_rule: whether a rule found it, so that accepted answers are counted too.
        """
        self.rejected += 1
        self._counts_both |= by_rule
        self._add(1)
        return self._increase() if self._counts_both else None

    def revises(self) -> RateIncrease | None:
        """An answer that had passed is rejected after all."""
        self.passed = max(0, self.passed - 1)
        self.rejected += 1
        self._all_rejected += 1
        # Revise the newest answer that passed: the one that was meant is among the last.
        self._recent = (self._recent | (self._recent + 1)) & _REMEMBERED
        return self._increase()

    def new_streak(self, at_least: int) -> int:
        """How many answers in a row were rejected, earlier crawls included.

        0 if fewer than *at_least*, or if the streak was returned before.
        """
        streak = (~self._recent & (self._recent + 1)).bit_length() - 1  # the ones at the end
        if streak < at_least or self._streak_reported or not self._counts_both:
            return 0
        self._streak_reported = True
        return streak

    def _fade(self) -> None:
        kept = MAX_BEFORE * 0.75 / self._answers
        self._answers *= kept
        self._all_rejected *= kept

    def _add(self, bit: int) -> None:
        self._answers += 1
        self._all_rejected += bit
        self._recent = (self._recent << 1 | bit) & _REMEMBERED
        self._remembered = min(self._remembered + 1, _MAX_WINDOW)
        if self._answers > MAX_BEFORE:
            self._fade()

    def _increase(self) -> RateIncrease | None:
        for window in WINDOWS:
            if self._changed(window, increased=True):
                rejected = self._rejected_in(window)
                before = max(0.0, self._all_rejected - rejected) / (self._answers - window)
                self._reset_baseline(window)
                return RateIncrease(before, rejected / window, window)
        return None

    def _changed(self, window: int, *, increased: bool) -> bool:
        """Whether the rate in the last *window* answers differs from before, and is higher."""
        before = self._answers - window
        if before < MIN_BEFORE or self._remembered < window:
            return False
        rejected = self._rejected_in(window)
        rejected_before = max(0.0, self._all_rejected - rejected)
        if (rejected * before > rejected_before * window) is not increased:
            return False
        ratio = (
            _log_likelihood(rejected, window)
            + _log_likelihood(rejected_before, before)
            - _log_likelihood(rejected + rejected_before, window + before)
        )
        return ratio > THRESHOLD

    def _rejected_in(self, window: int) -> int:
        return (self._recent & ((1 << window) - 1)).bit_count()

    def _reset_baseline(self, window: int) -> None:
        """Base the usual rate on the last *window* answers from now on."""
        self._answers = window
        self._all_rejected = self._rejected_in(window)
        self._recent &= (1 << window) - 1
        self._remembered = window


def _log_likelihood(rejected: float, answers: float) -> float:
    """The log-likelihood of *rejected* out of *answers* at the most likely rate."""
    if not 0 < rejected < answers:
        return 0.0
    rate = rejected / answers
    return rejected * log(rate) + (answers - rejected) * log(1 - rate)
