"""When a report is withheld, and which of several reasons is given."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from scrapy_capmonster_report.fairness import withhold_reason
from scrapy_capmonster_report.outcome import Outcome, Report
from scrapy_capmonster_report.task import Kind, Task

SOLVED_AT = 1_700_000_000.0
MAX_AGE = 300.0
FAIR = {"cached": False, "claimed": False, "is_first": True, "dry_run": False}
# In the order in which they are given: the first that holds hides those after it.
REASONS: dict[str, Outcome] = {
    "cached": Outcome.CACHED,
    "claimed": Outcome.DUPLICATE,
    "reused": Outcome.REUSED,
    "stale": Outcome.STALE,
    "dry_run": Outcome.DRY_RUN,
}


def found(
    *,
    lifetime: float | None = None,
    sent_after: float = 1.0,
    seen_after: float | None = None,
    max_age: float = MAX_AGE,
    **circumstances: Any,
) -> Outcome | None:
    """The reason to withhold a rejection sent and seen so many seconds after solving."""
    report = Report(
        Task(7, Kind.TOKEN, None, SOLVED_AT, lifetime),
        attempt=1,
        expires_at=SOLVED_AT + max_age,
        sent_at=SOLVED_AT + sent_after,
    )
    now = SOLVED_AT + (sent_after if seen_after is None else seen_after)
    return withhold_reason(report, **{**FAIR, **circumstances}, now=now)


def test_a_fresh_answer_that_was_sent_once_is_reported() -> None:
    assert found() is None
    assert found(lifetime=120) is None


@pytest.mark.parametrize(
    "holding", [names for size in (1, 2, 3, 4, 5) for names in combinations(REASONS, size)]
)
def test_the_first_reason_that_holds_is_given(holding: tuple[str, ...]) -> None:
    circumstances = {
        "cached": "cached" in holding,
        "claimed": "claimed" in holding,
        "is_first": "reused" not in holding,
        "dry_run": "dry_run" in holding,
    }
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
def test_a_rejection_that_comes_when_the_service_has_forgotten_the_task_is_stale(
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
