"""What messages mean, by kinds of words, in the languages that software is translated into.

``translations.json`` has short messages of several packages, from their own translations.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scrapy_capmonster_report.rules.presets.answers import rejects_as_code
from scrapy_capmonster_report.rules.presets.messages import MAX_LENGTH, About, phrases, rejects

TRANSLATIONS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("translations.json").read_text(encoding="utf-8")
)
KINDS = {
    *("captcha", "or", "code", "wrong", "failed", "missing", "late", "limit", "other", "theirs"),
    *("right", "if", "ask", "another"),
}


@pytest.mark.parametrize("software", TRANSLATIONS["rejections"])
def test_the_translations_of_software_are_understood(software: str) -> None:
    said = TRANSLATIONS["rejections"][software]
    about = About[said["about"]]
    missed = {name for name, text in said["messages"].items() if not rejects(text, about)}
    assert missed == set()
    assert len(said["messages"]) >= 0.7 * said["of"]


@pytest.mark.parametrize("software", TRANSLATIONS["other matters"])
def test_its_other_messages_are_not_taken_for_rejections(software: str) -> None:
    said = TRANSLATIONS["other matters"][software]
    assert {name for name, text in said.items() if rejects(text, About.ITS_PLACE_HAS_ONE)} == set()


@pytest.mark.parametrize(
    ("text", "about", "expected"),
    [
        ("Wrong captcha", About.ITS_WORDS, True),
        ("WRONG CAPTCHA!!!", About.ITS_WORDS, True),
        ("Wrong code", About.ITS_WORDS, False),
        ("Wrong code", About.ITS_PLACE_HAS_ONE, True),
        ("Wrong", About.ITS_PLACE_HAS_ONE, False),
        ("Wrong", About.ITS_PLACE, True),
        ("验证码错误", About.ITS_WORDS, False),
        ("验证码错误", About.ITS_ANSWER, True),
        ("Неверный код", About.ITS_ANSWER, False),
        ("The captcha is not correct", About.ITS_WORDS, True),
        ("The captcha is correct", About.ITS_WORDS, False),
        ("The captcha wasn’t answered correctly", About.ITS_WORDS, True),
        ("Captcha wrong or missing", About.ITS_WORDS, True),
        ("Captcha invalid: missing", About.ITS_WORDS, False),
        ("Captcha wrong. Your session has expired.", About.ITS_WORDS, False),
        ("Captcha shown below. Wrong password.", About.ITS_WORDS, False),
        ("You wrote “wrong captcha”.", About.ITS_WORDS, False),
        ("The “captcha” field is invalid", About.ITS_WORDS, True),
        ("If the captcha is wrong, reload.", About.ITS_WORDS, False),
        ("Too many wrong captchas", About.ITS_WORDS, False),
        ("The wrong captcha code was sent by SMS", About.ITS_WORDS, False),
        ("Wrong captcha " + "and more words " * 20, About.ITS_WORDS, False),
        ("", About.ITS_PLACE, False),
        ("captcha " * 30, About.ITS_PLACE, False),
        ("\u0131\u0307\u200b\ud83d\ude00", About.ITS_PLACE, False),
    ],
)
def test_a_message(text: str, about: About, expected: bool) -> None:
    assert rejects(text, about) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("CAPTCHA_INVALID", True),
        ("invalidCaptcha", True),
        ("captcha-incorrect", True),
        ("error.captcha.wrong", True),
        ("recaptcha_failed", True),
        ("captcha", False),
        ("CAPTCHA_REQUIRED", False),
        ("captcha_expired_error", False),
        ("captcha_valid", False),
        ("invalid_password", False),
        ("CAPTCHA_SERVICE_ERROR", False),
        ("captcha_limit_error", False),
    ],
)
def test_a_code(code: str, expected: bool) -> None:
    assert rejects_as_code(code) is expected


def test_the_words_are_well_formed() -> None:
    seen = set()
    for phrase in phrases():
        assert phrase.kind in KINDS, phrase
        assert phrase.text.strip("… .") != "", phrase
        seen.add(phrase.language)
    assert len(seen) >= 75
    assert MAX_LENGTH == 300
