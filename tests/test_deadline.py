"""Deadlines while the reactor stands still, or while the wall clock jumps: rows 28 and 45."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as TwistedTimeoutError
from twisted.internet.task import Clock

from scrapy_capmonster_report.deadline import with_deadline


class Story:
    """Some work with a deadline of ten seconds."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.steady = 0.0
        self.cancelled = 0
        self.ended: list[Any] = []
        self.work: Deferred[str] = Deferred(self._cancel)
        limited = with_deadline(self.work, 10.0, self.clock, lambda: self.steady)
        limited.addBoth(self.ended.append)

    def pass_time(self, seconds: float, steps: int = 1) -> None:
        for _ in range(steps):
            self.steady += seconds / steps
            self.clock.advance(seconds / steps)

    def _cancel(self, _: object) -> None:
        self.cancelled += 1


def test_what_is_done_in_time_is_done() -> None:
    story = Story()
    story.pass_time(9.9, 99)
    story.work.callback("done")
    assert story.ended == ["done"]
    assert story.clock.getDelayedCalls() == []


def test_what_takes_longer_is_cancelled() -> None:
    story = Story()
    story.pass_time(9.9, 99)
    assert story.ended == []
    story.pass_time(1.2, 12)
    assert story.cancelled == 1
    assert story.ended[0].check(TwistedTimeoutError)
    assert "no answer within 10 seconds" in str(story.ended[0].value)
    assert story.clock.getDelayedCalls() == []


@pytest.mark.parametrize("blocked", [3.0, 7.0, 30.0, 3600.0])
def test_a_reactor_that_stood_still_does_not_blame_the_others(blocked: float) -> None:
    """Row 28: the timers are due before anything could be read."""
    story = Story()
    story.pass_time(5.0, 5)
    story.pass_time(blocked)
    assert story.ended == []
    story.pass_time(3.0, 3)
    assert story.ended == []
    story.pass_time(1.1, 2)
    assert story.cancelled == 1


@pytest.mark.parametrize("jump", [3.0, 60.0, 86_400.0])
def test_a_wall_clock_that_jumps_forward_makes_nothing_late(jump: float) -> None:
    """Row 45: reactors tell the time by it."""
    story = Story()
    story.pass_time(5.0, 5)
    story.clock.advance(jump)
    assert story.ended == []
    story.pass_time(4.5, 9)
    assert story.ended == []
    story.pass_time(2.0, 4)
    assert story.cancelled == 1


def test_a_failure_is_passed_on() -> None:
    story = Story()
    story.work.errback(OSError("broken"))
    assert story.ended[0].check(OSError)
    assert story.clock.getDelayedCalls() == []
