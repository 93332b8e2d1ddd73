"""A site that refuses more answers than it used to is noticed, soon and not by chance."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest

from scrapy_capmonster_report.insight.watch import LEAST_BEFORE, MOST_SITES, WALL, RejectionWatch

BENCHMARK = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "alerts.py"))
SITE = "shop.example"


def tell(watch: RejectionWatch, rate: float, answers: int, seed: int = 1) -> list[int]:
    """Let *watch* hear of answers refused at *rate*; gives after which of them it gave alerts."""
    source = random.Random(seed)
    alerts = []
    for number in range(1, answers + 1):
        if source.random() >= rate:
            watch.passed(SITE)
        elif watch.rejected(SITE) is not None:
            alerts.append(number)
    return alerts


@pytest.mark.parametrize("learned", [False, True], ids=["in this crawl", "in earlier crawls"])
@pytest.mark.parametrize("history", [200, 1000])
def test_a_rise_from_5_to_40_percent_is_noticed_within_60_answers(
    history: int, learned: bool
) -> None:
    noticed = BENCHMARK["noticed"](0.05, 0.40, history=history, runs=100, learned=learned)
    assert noticed.in_time >= 95


@pytest.mark.parametrize("crawl", [300, 50_000])
@pytest.mark.parametrize("by_callback", [False, True], ids=["by rule", "by callback"])
def test_steady_sites_give_hardly_an_alert(crawl: int, by_callback: bool) -> None:
    answers = 50_000
    alerts = sum(
        BENCHMARK["false_alerts"](rate, answers=answers, crawl=crawl, by_callback=by_callback)
        for rate in (0.05, 0.20, 0.50)
    )
    assert alerts <= 3 * answers / 10_000


def test_an_alert_says_from_what_to_what() -> None:
    watch = RejectionWatch()
    watch.learn({SITE: (950, 50)})
    rise = None
    while rise is None:
        rise = watch.rejected(SITE)
    assert rise.before == pytest.approx(0.05)
    assert rise.after == 1.0
    assert rise.answers == 12


def test_after_an_alert_the_new_rate_is_what_is_usual() -> None:
    watch = RejectionWatch()
    tell(watch, 0.05, 500)
    assert len(tell(watch, 0.40, 2000)) == 1


def test_a_fall_is_no_alert_but_the_next_rise_is() -> None:
    watch = RejectionWatch()
    assert tell(watch, 0.40, 1000) == []
    assert tell(watch, 0.05, 300) == []
    assert tell(watch, 0.40, 60)


def test_a_site_that_is_hardly_known_gives_no_alert() -> None:
    watch = RejectionWatch()
    for _ in range(LEAST_BEFORE - 1):
        watch.passed(SITE)
    assert [watch.rejected(SITE) for _ in range(12)] == [None] * 12


def test_one_site_says_nothing_of_another() -> None:
    watch = RejectionWatch()
    watch.learn({"other.example": (1000, 0)})
    assert tell(watch, 0.9, 60) == []


def test_an_answer_that_passed_and_was_refused_after_all_counts_as_refused() -> None:
    watch = RejectionWatch()
    watch.learn({SITE: (1000, 0)})
    for _ in range(11):
        watch.passed(SITE)
        assert watch.revised(SITE) is None
    watch.passed(SITE)
    rise = watch.revised(SITE)
    assert rise is not None
    assert rise.after == 1.0
    assert list(watch.tallies()) == [(SITE, 0, 12)]


@pytest.mark.parametrize("by_callback", [False, True], ids=["by rule", "by callback"])
def test_a_site_that_refuses_everything_is_named_once(by_callback: bool) -> None:
    watch = RejectionWatch()
    named = []
    for number in range(1, 3 * WALL):
        if by_callback:
            watch.passed(SITE)
            watch.revised(SITE)
        else:
            watch.rejected(SITE)
        if watch.refuses_all(SITE):
            named.append(number)
    assert named == [WALL]


def test_a_site_that_takes_one_answer_does_not_refuse_everything() -> None:
    watch = RejectionWatch()
    for number in range(2 * WALL - 1):
        if number == WALL - 1:
            watch.passed(SITE)
        else:
            watch.rejected(SITE)
        assert not watch.refuses_all(SITE)


def test_what_earlier_crawls_saw_is_not_in_this_ones_tallies() -> None:
    watch = RejectionWatch()
    watch.learn({SITE: (5, 5), "other.example": (5, 5)})
    watch.passed(SITE)
    assert list(watch.tallies()) == [(SITE, 1, 0)]


def test_of_very_many_sites_the_one_unheard_of_for_longest_is_forgotten() -> None:
    watch = RejectionWatch()
    for number in range(MOST_SITES):
        watch.passed(f"site{number}.example")
    watch.passed("site0.example")
    watch.passed("one-more.example")
    sites = {tally.site for tally in watch.tallies()}
    assert len(sites) == MOST_SITES
    assert "site0.example" in sites
    assert "site1.example" not in sites
