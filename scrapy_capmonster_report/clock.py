"""The time by which answers age."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class SteadyClock:
    """Seconds since the epoch that run steadily, even if the wall clock is set.

    The wall clock is read once, here, and later only to translate moments that others read from
    it (:meth:`at`). So setting the wall clock during a crawl neither expires fresh reports nor
    makes old ones fresh again.

    Args:
        wall: seconds since the epoch, may jump.
        steady: seconds since any moment, never jumps.
    """

    __slots__ = ("_offset", "_steady", "_wall")

    def __init__(
        self,
        # Looked up at each call, so that a patched ``time`` takes effect here too.
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
        """The moment at which a wall clock, here or elsewhere, showed this; never in the future."""
        return self.now() - max(0.0, self._wall() - wall_time)

    def to_wall(self, moment: float) -> float:
        """What the wall clock shows for a *moment* of this clock; the reverse of :meth:`at`."""
        return self._wall() - (self.now() - moment)
