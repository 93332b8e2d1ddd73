"""A deadline that gives the other side its time, whatever our own reactor is doing meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import error

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

STEPS: Final = 10
"""A deadline is reached in so many steps, and a step counts for what it was meant to take."""


class Deadline:
    """Calls *on_reached* after *seconds* in which the reactor was running.

    A reactor that stood still (a callback that blocks) runs the timers that are due before it reads
    the sockets, so a timer that fires late says that *we* were late; and reactors tell the time by
    the wall clock, which may jump. So the time is taken in steps by a steady clock, and a step
    counts for no more than it was meant to take.

    Args:
        reactor: runs the timers.
        seconds: how long, once :meth:`start` was called.
        on_reached: called when the time is over.
        steady: seconds, never jumps.
    """

    __slots__ = ("_call", "_left", "_on_reached", "_reactor", "_since", "_steady", "_step")

    def __init__(
        self,
        reactor: IReactorTime,
        seconds: float,
        on_reached: Callable[[], None],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reactor = reactor
        self._left = seconds
        self._step = seconds / STEPS
        self._on_reached = on_reached
        self._steady = steady
        self._since = steady()
        self._call: IDelayedCall | None = reactor.callLater(self._step, self._passed)

    def cancel(self) -> None:
        """Never call *on_reached*."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _passed(self) -> None:
        now = self._steady()
        self._left -= min(now - self._since, self._step)
        self._since = now
        if self._left > self._step / 100:  # what adding up floats leaves over is nothing
            self._call = self._reactor.callLater(min(self._left, self._step), self._passed)
        else:
            self._call = None
            self._on_reached()


def with_deadline(
    work: Deferred[Any],
    seconds: float,
    reactor: IReactorTime,
    steady: Callable[[], float] = time.monotonic,
) -> Deferred[Any]:
    """*work*, which is cancelled and fails with ``TimeoutError`` if it takes longer."""
    is_late = False

    def too_late() -> None:
        nonlocal is_late
        is_late = True
        work.cancel()

    deadline = Deadline(reactor, seconds, too_late, steady)

    def done(result: Any) -> Any:
        deadline.cancel()
        if is_late:
            raise error.TimeoutError(f"no answer within {seconds:g} seconds")
        return result

    return work.addBoth(done)
