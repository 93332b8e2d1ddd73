"""Django, REST framework and Flask with their captcha packages, run for real, reject answers.

No network: what their services would say is stubbed with the documented codes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from judging import no_error
from scrapy import Request
from scrapy.http.headers import Headers
from scrapy.responsetypes import responsetypes

from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.http import Response

try:
    import django_apps
    from captcha.models import CaptchaStore
    from django.db import connections
    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.test import Client
except ImportError as missing:
    if os.environ.get("REQUIRE_DJANGO"):
        raise
    pytest.skip(f"{missing}: install the extra 'test'", allow_module_level=True)

PAGES = [(kind, rendering) for kind in django_apps.FORMS for rendering in django_apps.RENDERINGS]
LANGUAGES = django_apps.LANGUAGES
ALL = compile_rules(list(PRESETS))
RIGHT = {"name": "Ann", "email": "ann@site.example"}
TOKEN = {"g-recaptcha-response": "token", "h-captcha-response": "token", "recaptcha": "token"}
OWN = {"simple": "django-simple-captcha", "recaptcha": "django-recaptcha", "hcaptcha": "hcaptcha"}

every_language = pytest.mark.parametrize("language", LANGUAGES)


@pytest.fixture
def verify(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Say what the services answer."""

    def answers(*codes: str) -> None:
        stub = django_apps.siteverify(*codes)
        for module in ("django_recaptcha", "drf_recaptcha"):
            monkeypatch.setattr(f"{module}.client.recaptcha_request", stub)
        monkeypatch.setattr("hcaptcha.fields.build_opener", lambda *_: django_apps.Opener(stub))
        monkeypatch.setattr("flask_wtf.recaptcha.validators.http.urlopen", stub)

    answers("invalid-input-response")
    return answers


def to_scrapy(status: int, headers: Any, body: bytes) -> Response:
    fields = Headers(dict(headers.items()))
    cls = responsetypes.from_args(headers=fields)
    return cls("https://site.example/sign-up", status=status, headers=fields, body=body)


def ask(path: str, data: dict[str, Any] | None, language: str = "en") -> Response:
    """What the Django site answers; a GET without *data*."""
    client = Client(headers={"accept-language": language})
    with closing_connection():
        answer = client.get(path) if data is None else client.post(path, data)
    return to_scrapy(answer.status_code, answer.headers, answer.content)


def rule_of(response: Response, presets: list[str] | None = None, method: str = "POST") -> Any:
    rules = ALL if presets is None else compile_rules(presets)
    return rules.match(response, Request(response.url, method=method), on_error=no_error)


@contextmanager
def closing_connection() -> Iterator[None]:
    """Close the connection of this context. Python 3.13 warns of one that is left open."""
    try:
        yield
    finally:  # the database's own method leaves one in memory open
        BaseDatabaseWrapper.close(connections["default"])


def simple_captcha() -> tuple[str, str]:
    """The key of a captcha, and its right answer."""
    with closing_connection():
        key = CaptchaStore.generate_key()
        return key, CaptchaStore.objects.get(hashkey=key).response


def simple_answer(text: str) -> dict[str, str]:
    key, _ = simple_captcha()
    return {"captcha_0": key, "captcha_1": text}


def right(kind: str) -> dict[str, str]:
    if kind != "simple":
        return TOKEN
    key, text = simple_captcha()
    return {"captcha_0": key, "captcha_1": text}


def wrong(kind: str) -> dict[str, str]:
    return simple_answer("wrong") if kind == "simple" else TOKEN


@every_language
def test_a_rejected_form_is_recognised_however_it_is_rendered(language: str, verify: Any) -> None:
    for kind, rendering in PAGES:
        page = ask(f"/form/{kind}/{rendering}/", {**RIGHT, **wrong(kind)}, language)
        rule = rule_of(page)
        assert rule is not None, page.text
        assert rule.kind.value == ("image" if kind == "simple" else "token")
        # A template without any of Django's classes is one of token-captcha-again.
        if (kind, rendering) != ("recaptcha", "red"):
            assert rule_of(page, [OWN[kind]]) is not None, (kind, page.text)


@every_language
def test_errors_as_json_are_recognised(language: str, verify: Any) -> None:
    for kind in django_apps.FORMS:
        for rendering in ("plain", "data"):
            answer = ask(f"/json/{kind}/{rendering}/", {**RIGHT, **wrong(kind)}, language)
            assert rule_of(answer) is not None, answer.text


def test_rest_framework_is_recognised(verify: Any) -> None:
    key, _ = simple_captcha()
    for path, data in (
        ("/rest/simple/", {"captcha_code": "wrong", "captcha_hashkey": key}),
        ("/rest/recaptcha/", {"name": "Ann", **TOKEN}),
    ):
        answer = ask(path, data)
        assert answer.status == 400
        assert rule_of(answer) is not None, answer.text


def test_flask_is_recognised(verify: Any) -> None:
    client = django_apps.flask_app().test_client()
    answer = client.post("/", data={**RIGHT, **TOKEN})
    page = to_scrapy(answer.status_code, answer.headers, answer.data)
    assert "invalid or malformed" in page.text
    assert rule_of(page, ["flask-wtf"]) is not None
    assert rule_of(page) is not None


@every_language
def test_what_is_no_rejection_is_not_reported(language: str, verify: Any) -> None:
    for kind, rendering in PAGES:
        path = f"/form/{kind}/{rendering}/"
        shown_first = ask(path, None, language)
        assert rule_of(shown_first, method="GET") is None
        assert rule_of(shown_first, method="POST") is None
        verify("invalid-input-response")
        missing = ask(path, dict(RIGHT), language)
        assert rule_of(missing) is None, missing.text
        verify()
        other_field = ask(path, {"name": "Ann", "email": "no mail", **right(kind)}, language)
        assert "no mail" in other_field.text
        assert rule_of(other_field) is None, other_field.text
        passed = ask(path, {**RIGHT, **right(kind)}, language)
        assert "Thank you" in passed.text
        assert rule_of(passed) is None


@every_language
def test_what_is_no_rejection_in_json_is_not_reported(language: str, verify: Any) -> None:
    verify()
    for kind in ("simple", "recaptcha", "hcaptcha"):
        for rendering in ("plain", "data"):
            path = f"/json/{kind}/{rendering}/"
            missing = ask(path, dict(RIGHT), language)
            assert rule_of(missing) is None, missing.text
            other = ask(path, {"name": "", "email": "no", **TOKEN}, language)
            assert rule_of(other) is None, other.text


@pytest.mark.parametrize(
    ("code", "data"),
    [
        ("missing-input-response", {**RIGHT, **TOKEN}),
        ("invalid-input-secret", {**RIGHT, **TOKEN}),
        ("timeout-or-duplicate", {**RIGHT, **TOKEN}),
        ("invalid-input-response", dict(RIGHT)),
        ("", {"name": "Ann", "email": "no mail", **TOKEN}),
    ],
)
def test_flask_says_something_else(code: str, data: dict[str, str], verify: Any) -> None:
    verify(*filter(None, [code]))
    client = django_apps.flask_app().test_client()
    answer = client.post("/", data=data)
    page = to_scrapy(answer.status_code, answer.headers, answer.data)
    assert rule_of(page) is None, page.text
