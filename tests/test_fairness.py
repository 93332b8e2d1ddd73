"""When a rejection is not reported, and which of several reasons is given."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from scrapy_capmonster_report.fairness import Circumstances, objection
from scrapy_capmonster_report.outcome import Outcome
from scrapy_capmonster_report.task import Kind, Task

SOLVED_AT = 1_700_000_000.0
MAX_AGE = 300.0
INNOCENT = {"cached": False, "claimed": False, "used_before": False}
# In the order in which they are given: the first that holds hides those after it.
REASONS: dict[str, Outcome] = {
    "cached": Outcome.CACHED,
    "claimed": Outcome.DUPLICATE,
    "used_before": Outcome.REUSED,
    "stale": Outcome.STALE,
}


def found(
    *,
    lifetime: float | None = None,
    sent_after: float = 1.0,
    seen_after: float | None = None,
    max_age: float = MAX_AGE,
    report_reused: bool = False,
    **circumstances: Any,
) -> Outcome | None:
    """The objection to the refusal of an answer sent and seen so many seconds after solving."""
    evidence = Circumstances(
        Task(7, Kind.TOKEN, None, SOLVED_AT, lifetime),
        **{**INNOCENT, **circumstances},
        sent_at=SOLVED_AT + sent_after,
        now=SOLVED_AT + (sent_after if seen_after is None else seen_after),
    )
    return objection(evidence, max_age=max_age, report_reused=report_reused)


def test_a_fresh_answer_used_once_is_reported() -> None:
    assert found() is None
    assert found(lifetime=120) is None


@pytest.mark.parametrize(
    "holding", [names for size in (1, 2, 3, 4) for names in combinations(REASONS, size)]
)
def test_the_first_reason_that_holds_is_given(holding: tuple[str, ...]) -> None:
    circumstances = {name: name in holding for name in INNOCENT}
    sent_after = MAX_AGE + 1 if "stale" in holding else 1.0
    assert found(sent_after=sent_after, **circumstances) is REASONS[holding[0]]


@pytest.mark.parametrize(
    ("lifetime", "sent_after", "expected"),
    [
        (120, 0, None),
        (120, 119.999, None),
        (120, 120, None),  # good for 120 s: at the last moment it still is
        (120, 120.001, Outcome.STALE),
        (180, 180, None),
        (180, 180.001, Outcome.STALE),
        (600, 299.999, None),
        (None, 299.999, None),
        (120, -5, None),
    ],
)
def test_an_answer_that_had_expired_when_it_was_sent_is_stale(
    lifetime: float | None, sent_after: float, expected: Outcome | None
) -> None:
    assert found(lifetime=lifetime, sent_after=sent_after) is expected


@pytest.mark.parametrize(
    ("lifetime", "seen_after", "expected"),
    [
        (120, 200, None),  # the site took its time; the answer was good when it got it
        (120, 299.999, None),
        (120, 300, Outcome.STALE),
        (None, 299.999, None),
        (None, 300, Outcome.STALE),
        (600, 300, Outcome.STALE),  # good for longer than the service remembers its task
    ],
)
def test_a_refusal_that_comes_when_the_service_has_forgotten_the_task_is_stale(
    lifetime: float | None, seen_after: float, expected: Outcome | None
) -> None:
    assert found(lifetime=lifetime, seen_after=seen_after) is expected


@pytest.mark.parametrize(
    ("max_age", "seen_after", "expected"),
    [
        (0.5, 0.499, None),
        (0.5, 0.5, Outcome.STALE),
        (600, 599, None),
        (1e300, 1e9, None),
    ],
)
def test_how_long_the_service_remembers_is_the_users_choice(
    max_age: float, seen_after: float, expected: Outcome | None
) -> None:
    assert found(max_age=max_age, sent_after=0, seen_after=seen_after) is expected


@pytest.mark.parametrize(
    ("circumstances", "expected"),
    [
        ({"used_before": True}, None),
        ({"used_before": True, "claimed": True}, Outcome.DUPLICATE),
        ({"used_before": True, "cached": True}, Outcome.CACHED),
        ({"used_before": True, "sent_after": 121.0, "lifetime": 120.0}, Outcome.STALE),
    ],
)
def test_a_user_may_have_reused_answers_reported_but_nothing_else(
    circumstances: dict[str, Any], expected: Outcome | None
) -> None:
    assert found(report_reused=True, **circumstances) is expected
