"""What real software answered when it rejected a captcha answer, and what only looks like it.

Rebuilt small from facts; ``test_django.py`` lets real software reject.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from judging import as_json, html, no_error
from look_alikes import LOOK_ALIKES
from refusals import REFUSED
from scrapy import Request
from scrapy.http import HtmlResponse

from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.page import Page
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.rules.presets.places import sight

if TYPE_CHECKING:
    from refusals import Case

ALL = compile_rules(list(PRESETS))


def rule_of(case: Case) -> str | None:
    """The preset that reports what a site sent, of all presets together."""
    rule = ALL.match(case.response, case.request, redirects=case.redirects, on_error=no_error)
    return rule and rule.name


def rows(cases: tuple[Case, ...]) -> dict[str, list[Case]]:
    """The cases by the number that their name begins with."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(re.match(r"[\d-]+", case.name)[0], []).append(case)  # type: ignore[index]
    return found


@pytest.mark.parametrize(("row", "cases"), rows(REFUSED).items())
def test_every_rejection_is_recognised(row: str, cases: list[Case]) -> None:
    missed = [(case.name, case.language) for case in cases if rule_of(case) is None]
    assert missed == []


@pytest.mark.parametrize(("kind", "cases"), rows(LOOK_ALIKES).items())
def test_no_look_alike_is_reported(kind: str, cases: list[Case]) -> None:
    reported = [(case.name, rule) for case in cases if (rule := rule_of(case))]
    assert reported == []


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_by_itself_reports_a_look_alike(name: str) -> None:
    rules = compile_rules([name])
    for case in LOOK_ALIKES:
        match = rules.match(
            case.response, case.request, redirects=case.redirects, on_error=no_error
        )
        assert match is None, case.name


def test_there_are_cases_enough() -> None:
    languages = Counter(case.language for case in REFUSED)
    assert len(languages) >= 20
    assert len(REFUSED) >= 380
    assert len(LOOK_ALIKES) >= 1300


@pytest.mark.parametrize(
    ("preset", "rows_of_it"),
    [
        ("mediawiki", "1 2 3"),
        ("phpbb", "5 6 7"),
        ("mybb", "9 10 11"),
        ("dokuwiki", "12"),
        ("django-simple-captcha", "13-16 17 18"),
        ("django-recaptcha", "19 20 21"),
        ("rails-recaptcha", "22 23 24 25"),
        ("yii2", "26 27"),
        ("flask-wtf", "28"),
        ("hcaptcha", "30 40-41"),
        ("laravel", "31"),
        ("flash", "32 33"),
        ("wordpress-plugins", "34 35 37 38"),
        ("wordpress", "39"),
        ("json-captcha-error", "17 18 21 25 27 29 36 42 43 44 45 47 48"),
        ("geetest", "49 50"),
        ("recaptcha", "46"),
        ("script-alert", "56"),
        ("image-captcha-again", "57 58 59"),
    ],
)
def test_the_preset_of_a_software_recognises_it_alone(preset: str, rows_of_it: str) -> None:
    rules, cases = compile_rules([preset]), rows(REFUSED)
    for row in rows_of_it.split():
        for case in cases[row]:
            rule = rules.match(
                case.response, case.request, redirects=case.redirects, on_error=no_error
            )
            assert rule is not None, (case.name, case.language)


def test_what_stands_beside_a_captcha_is_read_in_the_same_order_each_time() -> None:
    body = (
        '<form><p>Picture: <img src="/captcha.php"> one</p>'
        '<p>Code: <input name="captcha"> two</p><input name="user"></form>'
    )
    for _ in range(20):  # as objects have other addresses each time
        page = Page(html(body), Request("https://site.example/"))
        texts = [error.text for error in sight(page).errors]
        assert texts == ["Code:", "two", "Picture: one"]


@pytest.mark.parametrize("name", PRESETS)
def test_a_url_that_cannot_be_parsed_stops_no_preset(name: str) -> None:
    """A middleware may set any."""
    page = html(url="http://[shop.example/?captcha=1")
    compile_rules([name]).match(page, Request("https://site.example/"), on_error=no_error)


def test_json_that_is_nested_as_deep_as_can_be_parsed_is_judged() -> None:
    """Deeper, it cannot be parsed, and then is not JSON."""
    for depth in (10, *range(500, 1100, 10)):
        body = '{"error": ' + "[" * depth + '"Wrong captcha"' + "]" * depth + "}"
        request = Request("https://site.example/", method="POST")
        rule = ALL.match(as_json(body), request, on_error=no_error)
        assert (rule is not None) is (depth == 10)


def test_a_script_that_asks_something_far_below_its_alert_is_left_alone() -> None:
    request = Request("https://site.example/", method="POST")
    for more, expected in (("", "script-alert"), ("if (sure) go()", None)):
        body = f"<script>alert('Wrong captcha');{' ' * 50_000}{more}</script>"
        rule = ALL.match(html(body), request, on_error=no_error)
        assert (rule and rule.name) == expected


def test_a_page_with_hundreds_of_errors_is_a_list_and_no_form() -> None:
    form = '<form><img src="/captcha.php"><input name="captcha"></form>'
    error = '<div class="error"><p>The captcha {} is incorrect.</p></div>'
    request = Request("https://site.example/", method="POST")
    for number, expected in ((1, True), (150, True), (300, False)):
        body = form + "".join(error.format(i) for i in range(number))
        response = HtmlResponse(request.url, body=body.encode())
        rule = ALL.match(response, request, on_error=no_error)
        assert (rule is not None) is expected
