"""When to stop sending, so that the account is not banned because of us."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from .answer import Reaction, Verdict

if TYPE_CHECKING:
    from .answer import Answer

BAN_SECONDS: Final = 600.0
"""The vendor: a ban lasts ten minutes, if the client stays quiet."""

STRIKES: Final = 5
"""So many answers in a row of the kind that ends in a ban open the breaker (judgement)."""

PAUSE_SECONDS: Final = 60.0
"""The pause after that many strikes; it doubles each time the probe fails, up to a ban's length."""


class Breaker:
    """Closed, reports go out; open, none does; half-open, exactly one does: the probe.

    It counts nothing but answers and is told the time with each, so it waits for nothing.
    """

    def __init__(self) -> None:
        self.open_until = -math.inf
        self._pause = PAUSE_SECONDS
        self._strikes = 0
        self._open = False

    @property
    def is_open(self) -> bool:
        """Whether it has opened and no probe has succeeded since."""
        return self._open

    @property
    def is_final(self) -> bool:
        """Whether it will not close again in this crawl."""
        return self._open and math.isinf(self.open_until)

    def allowed(self, now: float) -> float:
        """How many reports may be under way *now*."""
        if not self._open:
            return math.inf
        return 1 if now >= self.open_until else 0

    def record(self, answer: Answer, now: float, *, probe: bool) -> bool:
        """Take note of an *answer*; returns whether this opened it, for good or not, or closed it.

        Args:
            probe: the answer is that to a report sent while half-open. Others that were under
                way when the breaker opened can open it for longer, but do not close it.
        """
        was_open, was_final = self._open, self.is_final
        if answer.reaction is Reaction.STOP:
            self._open_until(math.inf)
        elif answer.reaction is Reaction.BAN:
            self._open_until(now + BAN_SECONDS)
        elif answer.reaction is Reaction.STRIKE:
            self._strikes += 1
            if probe or (not was_open and self._strikes >= STRIKES):
                self._open_until(now + self._pause)
                self._pause = min(self._pause * 2, BAN_SECONDS)
        elif answer.verdict is Verdict.RETRY:
            if probe:  # nothing was learnt: wait as long again
                self._open_until(now + self._pause)
        elif probe or not was_open:
            self._open = False
            self._strikes = 0
            self._pause = PAUSE_SECONDS
        return (was_open, was_final) != (self._open, self.is_final)

    def _open_until(self, moment: float) -> None:
        self._open = True
        self._strikes = 0
        self.open_until = max(self.open_until, moment)
