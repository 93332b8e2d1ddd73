"""The time by which answers age, and what a wall clock that jumps does to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scrapy_capmonster_report.clock import SteadyClock

START = 1_700_000_000.0


class Times:
    """A wall clock and a steady clock that a test sets by hand."""

    def __init__(self) -> None:
        self.wall = START
        self.steady = 50.0
        self.clock = SteadyClock(wall=lambda: self.wall, steady=lambda: self.steady)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def test_it_begins_with_the_wall_clock_and_runs_on_with_the_steady_one() -> None:
    times = Times()
    assert times.clock.now() == START
    times.pass_by(7.5)
    assert times.clock.now() == times.clock.wall() == START + 7.5


@pytest.mark.parametrize("jump", [-1e9, -3600, -0.001, 0, 0.001, 3600, 1e9])
def test_a_jump_of_the_wall_clock_makes_nothing_older_or_younger(jump: float) -> None:
    times = Times()
    solved_at = times.clock.at(START - 20)
    times.pass_by(100)
    times.wall += jump
    assert times.clock.now() - solved_at == 120
    assert times.clock.wall() == START + 100 + jump


@pytest.mark.parametrize("jump", [-3600, 0, 3600])
def test_a_moment_is_translated_by_the_wall_clock_that_took_it(jump: float) -> None:
    times = Times()
    times.wall += jump
    # The user reads the same clock after the jump: solved 20 s ago by it, it is 20 s old.
    assert times.clock.at(times.wall - 20) == START - 20
    assert times.clock.to_wall(START - 20) == times.wall - 20


@pytest.mark.parametrize("ahead", [0, 0.001, 3600, 1e12])
def test_a_moment_of_another_machine_is_never_in_the_future(ahead: float) -> None:
    times = Times()
    assert times.clock.at(START + ahead) == START


@given(
    age=st.floats(min_value=0, max_value=1e6),
    jump=st.floats(min_value=-1e6, max_value=1e6),
    later=st.floats(min_value=0, max_value=1e6),
)
def test_a_moment_goes_to_the_wall_clock_and_back(age: float, jump: float, later: float) -> None:
    times = Times()
    moment = times.clock.now() - age
    times.wall += jump
    times.pass_by(later)
    assert times.clock.at(times.clock.to_wall(moment)) == pytest.approx(moment, abs=1e-3)


def test_by_itself_it_looks_the_time_up_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    times = Times()
    monkeypatch.setattr("time.time", lambda: times.wall)
    monkeypatch.setattr("time.monotonic", lambda: times.steady)
    clock = SteadyClock()
    times.pass_by(3)
    times.wall += 60
    assert clock.now() == START + 3
    assert clock.wall() == START + 63
