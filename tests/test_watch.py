"""A site that rejects more answers than it used to is noticed, soon and not by chance."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import pytest

from scrapy_capmonster_report.insight.watch import (
    MAX_SITES,
    MIN_BEFORE,
    STREAK,
    STREAK_AT_CLOSE,
    RejectionWatch,
    SiteWatch,
)

BENCHMARK = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "alerts.py"))


def tell(site: SiteWatch, rate: float, answers: int, seed: int = 1) -> list[int]:
    """Let *site* reject answers at *rate*; after which of them it gave alerts."""
    source = random.Random(seed)
    alerts = []
    for number in range(1, answers + 1):
        if source.random() >= rate:
            site.passes()
        elif site.rejects() is not None:
            alerts.append(number)
    return alerts


# -- increases -----------------------------------------------------------------------------------


@pytest.mark.parametrize("learned", [False, True], ids=["in this crawl", "in earlier crawls"])
@pytest.mark.parametrize("history", [200, 1000])
def test_an_increase_from_5_to_40_percent_is_noticed_within_60_answers(
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
    site = SiteWatch()
    site.load_baseline(950, 50)
    increase = None
    while increase is None:
        increase = site.rejects()
    assert increase.before == pytest.approx(0.05)
    assert increase.after == 1.0
    assert increase.answers == 12


def test_after_an_alert_the_new_rate_is_usual() -> None:
    site = SiteWatch()
    tell(site, 0.05, 500)
    assert len(tell(site, 0.40, 2000)) == 1


def test_a_decrease_gives_no_alert_but_the_next_increase_does() -> None:
    site = SiteWatch()
    assert tell(site, 0.40, 1000) == []
    assert tell(site, 0.05, 300) == []
    assert tell(site, 0.40, 60)


def test_a_site_that_is_hardly_known_gives_no_alert() -> None:
    site = SiteWatch()
    for _ in range(MIN_BEFORE - 1):
        site.passes()
    assert [site.rejects() for _ in range(12)] == [None] * 12


def test_one_site_says_nothing_about_another() -> None:
    watch = RejectionWatch()
    watch.load_baseline({"other.example": (1000, 0)})
    assert tell(watch.site("shop.example"), 0.9, 60) == []


def test_an_answer_that_passed_and_was_rejected_after_all_counts_as_rejected() -> None:
    site = SiteWatch()
    site.load_baseline(1000, 0)
    for _ in range(11):
        site.passes()
        assert site.revises() is None
    site.passes()
    increase = site.revises()
    assert increase is not None
    assert increase.after == 1.0
    assert (site.passed, site.rejected, site.rate) == (0, 12, 1.0)


# -- streaks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_callback", [False, True], ids=["by rule", "by callback"])
def test_a_site_that_rejects_everything_is_named_once(by_callback: bool) -> None:
    site = SiteWatch()
    named = []
    for number in range(1, 3 * STREAK):
        if by_callback:
            site.passes()
            site.revises()
        else:
            site.rejects()
        if site.new_streak(STREAK):
            named.append(number)
    assert named == [STREAK]


def test_a_site_that_accepts_one_answer_does_not_reject_everything() -> None:
    site = SiteWatch()
    for number in range(2 * STREAK - 1):
        if number == STREAK - 1:
            site.passes()
        else:
            site.rejects()
        assert not site.new_streak(STREAK)


@pytest.mark.parametrize(
    ("baseline", "rejected", "streak"),
    [
        ((0, 0), STREAK - 1, 0),
        ((0, 20), STREAK - 20, STREAK),
        ((0, 5000), 1, 112),
        ((1, 20), STREAK - 1, 0),
    ],
    ids=["one crawl", "several crawls", "many crawls", "one passed before"],
)
def test_a_streak_goes_on_from_crawl_to_crawl(
    baseline: tuple[int, int], rejected: int, streak: int
) -> None:
    site = SiteWatch()
    site.load_baseline(*baseline)
    for _ in range(rejected):
        site.rejects()
    assert site.new_streak(STREAK) == streak


def test_a_baseline_that_is_loaded_late_is_taken_as_earlier() -> None:
    site = SiteWatch()
    site.rejects()
    site.load_baseline(0, STREAK_AT_CLOSE - 1)
    assert site.new_streak(STREAK_AT_CLOSE) == STREAK_AT_CLOSE
    late = SiteWatch()
    late.passes()
    late.rejects()
    late.load_baseline(0, STREAK)
    assert late.new_streak(STREAK_AT_CLOSE) == 0


# -- sites of which only rejections are heard ----------------------------------------------------


def test_a_site_of_which_only_rejections_are_known_has_no_rate_and_no_alert() -> None:
    site = SiteWatch()
    site.load_baseline(0, 500)
    assert [site.rejects(by_rule=False) for _ in range(300)] == [None] * 300
    assert site.new_streak(STREAK) == 0
    assert site.rate is None


@pytest.mark.parametrize("heard", ["accept()", "a rule", "an earlier crawl"])
def test_a_site_is_watched_once_accepted_answers_are_counted(heard: str) -> None:
    site = SiteWatch()
    if heard == "accept()":
        site.passes()
    elif heard == "a rule":
        site.rejects()
    else:
        site.load_baseline(900, 0)
    for _ in range(STREAK):
        site.rejects(by_rule=False)
    assert site.new_streak(STREAK)
    assert site.rate is not None


# -- many sites ----------------------------------------------------------------------------------


def test_earlier_crawls_do_not_count_in_this_one() -> None:
    watch = RejectionWatch()
    watch.load_baseline({"shop.example": (5, 5), "other.example": (5, 5)})
    watch.site("shop.example").passes()
    watch.site("shop.example").rejects()
    assert [(name, site.passed, site.rejected) for name, site in watch.rejecting_sites()] == [
        ("shop.example", 1, 1)
    ]


def test_of_very_many_sites_the_least_recently_used_is_forgotten() -> None:
    watch = RejectionWatch()
    for number in range(MAX_SITES):
        watch.site(f"site{number}.example").rejects()
    watch.site("site0.example")
    watch.site("one-more.example").rejects()
    sites = {name for name, _ in watch.rejecting_sites()}
    assert len(sites) == MAX_SITES
    assert "site0.example" in sites
    assert "site1.example" not in sites
