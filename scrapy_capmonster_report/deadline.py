"""A deadline that does not count the time in which our own reactor was blocked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import error

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

STEPS: Final = 10
"""The number of timers that a deadline consists of."""


class Deadline:
    """Calls *on_reached* after *seconds* in which the reactor was running.

    A reactor that was blocked by a callback runs overdue timers before it reads the sockets. So a
    timer that fires late does not mean that the other side was slow. Also, reactors use the wall
    clock, which may jump. So the deadline is split into steps measured by a steady clock, and no
    step counts for more than its planned length.

    Args:
        reactor: runs the timers.
        seconds: how long, from now on.
        on_reached: called at the deadline.
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
        if self._left > self._step / 100:  # less is a rounding error
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
    """*work*, cancelled and failed with ``TimeoutError`` if it takes longer."""
    is_late = False

    def too_late() -> None:
        nonlocal is_late
        is_late = True
        work.cancel()

    deadline = Deadline(reactor, seconds, too_late, steady)

    def done(result: Any) -> Any:
        deadline.cancel()
        if is_late:
            raise error.TimeoutError(string=f"no answer within {seconds:g} seconds")
        return result

    return work.addBoth(done)
