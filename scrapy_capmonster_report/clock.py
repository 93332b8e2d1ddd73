"""The time by which answers age."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SteadyClock:
    """Seconds since the epoch that run on steadily, whatever happens to the wall clock.

    The wall clock is read once, here, and from then on only to translate a moment that somebody
    else took from it (:meth:`at`). So a wall clock that is set during a crawl neither kills
    reports that are still fresh nor revives those that are not.

    Args:
        wall: seconds since the epoch, may jump.
        steady: seconds since anything, never jumps.
    """

    __slots__ = ("_offset", "_steady", "_wall")

    def __init__(
        self,
        # Looked up at each call, so that a patched ``time`` is seen here as everywhere.
        wall: Callable[[], float] = lambda: time.time(),
        steady: Callable[[], float] = lambda: time.monotonic(),
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._offset = wall() - steady()

    def now(self) -> float:
        """This moment, in steady seconds since the epoch."""
        return self._offset + self._steady()

    def wall(self) -> float:
        """This moment by the wall clock, for what other machines and later crawls read."""
        return self._wall()

    def at(self, wall_time: float) -> float:
        """The moment the wall clock showed (or another machine's, hence never in the future)."""
        return self.now() - max(0.0, self._wall() - wall_time)

    def to_wall(self, moment: float) -> float:
        """What the wall clock shows for a *moment* of this clock; the reverse of :meth:`at`."""
        return self._wall() - (self.now() - moment)
