"""The presets: which marks a rejection has. ``docs/presets.md`` describes each of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from .marks import (
    ALERT,
    ANSWER,
    CAPTCHA_ERROR,
    FRAGMENT_ERROR,
    HUMAN_ERROR,
    JSON_ERROR,
    JUDGED,
    LONE_MESSAGE,
    NAMED_ERROR,
    OTHER_ERROR,
    PICTURE,
    REDIRECT,
    SCRIPT_ERROR,
    SHORT_PAGE,
    SUBMISSION,
    WIDGET,
    codes,
    element,
    literal,
    member,
)
from .preset import PresetRule

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOKEN_JSON: Final = PresetRule((JUDGED, ANSWER, JSON_ERROR), "token")
_IMAGE_JSON: Final = PresetRule((JUDGED, ANSWER, JSON_ERROR), "image")

_SERVICES: Final = {
    "recaptcha": (PresetRule(codes("invalid-input-response"), "token"),),
    "recaptcha-enterprise": (
        PresetRule(
            member(
                "`tokenProperties` that are not valid and `MALFORMED`",
                "[tokenProperties, *.tokenProperties][] "
                "| [?valid == `false` && invalidReason == 'MALFORMED'].invalidReason",
            ),
            "token",
        ),
    ),
    "turnstile": (PresetRule(codes("invalid-input-response"), "token"),),
    "hcaptcha": (
        PresetRule(
            codes("invalid-or-already-seen-response", "invalid-input-response", "invalid-response"),
            "token",
        ),
        PresetRule(
            (
                SUBMISSION,
                CAPTCHA_ERROR,
                *element("the widget of hCaptcha", ".h-captcha, h-captcha"),
            ),
            "token",
        ),
    ),
    "geetest": (
        PresetRule(
            # Many APIs answer "fail" with a reason. GeeTest also sends its arguments, or names one.
            member(
                "`result: fail` with a reason of GeeTest's other than age or reuse",
                "[@, *][] | [?result == 'fail' && type(reason) == 'string' && reason && ("
                "captcha_args || contains(reason, 'pass_token') "
                "|| contains(reason, 'captcha_output') || contains(reason, 'lot_number') "
                "|| contains(reason, 'gen_time') || contains(reason, 'sign_token')) && !("
                "contains(reason, 'expire') || contains(reason, 'used') "
                "|| contains(reason, 'repeat') || contains(reason, 'duplicate') "
                "|| contains(reason, 'timeout'))].reason",
            ),
            "token",
        ),
        PresetRule(
            member(
                "GeeTest's error code 14",
                "[@, *][] | [?status == 'error' || result == 'fail'].error_code "
                "| contains(@, 'error_14')",
                "[geetest.error_code, *.geetest.error_code][] "
                "| (contains(@, `14`) || contains(@, '14'))",
            ),
            "token",
        ),
    ),
    "cloudflare-challenge": (
        PresetRule((), "token", {"headers": {"cf-mitigated": r"(?i)^\s*challenge\s*$"}}),
    ),
}


def _form(value: str, css: str, kind: str = "image") -> PresetRule:
    # Selectors last: without such an error they are not needed.
    return PresetRule((CAPTCHA_ERROR, *element(value, css)), kind)


_SOFTWARE: Final = {
    "django-simple-captcha": (
        _form(
            "the fields of django-simple-captcha, `NAME_0` and `NAME_1`",
            'input[type="hidden"][name$="_0"] ~ input[name$="_1"], '
            'img.captcha ~ input[type="hidden"][name$="_0"]',
        ),
        _IMAGE_JSON,
    ),
    "django-recaptcha": (
        PresetRule((WIDGET, CAPTCHA_ERROR), "token"),
        _TOKEN_JSON,
    ),
    "rails-recaptcha": (PresetRule((WIDGET, NAMED_ERROR), "token"), _TOKEN_JSON),
    "flask-wtf": (
        PresetRule((WIDGET, *literal("The response parameter is invalid or malformed.")), "token"),
    ),
    "yii2": (
        _form(
            "the group of Yii's captcha",
            '[class*="field-"][class*="code"], [class*="field-"][class*="captcha"], '
            'img[src*="captcha"][id$="-image"]',
        ),
        _IMAGE_JSON,
    ),
    "laravel": (PresetRule(literal("validation.captcha")),),
    "mediawiki": (
        _form(
            "a page of MediaWiki, or the field of ConfirmEdit",
            'body.mediawiki, input[name="captchaWord"], input[name="wpCaptchaWord"]',
            "",
        ),
        PresetRule(
            member(
                "the message code `captcha-createaccount-fail` of MediaWiki's API",
                "[@, *][] | [?messagecode == 'captcha-createaccount-fail'].messagecode",
            )
        ),
    ),
    "dokuwiki": (_form("DokuWiki's captcha plugin", ".plugin__captcha_wrapper"),),
    "phpbb": (
        _form(
            "the field of phpBB's captcha",
            'input[name="confirm_code"], input[name="confirm_id"], input[name="qa_answer"]',
        ),
    ),
    "mybb": (
        _form("the picture or field of MyBB", '#captcha_img, input[name="imagestring"]'),
        _IMAGE_JSON,
    ),
    "drupal": (
        _form(
            "the element of Drupal's captcha module",
            'input[name="captcha_sid"], input[name="captcha_response"], .captcha',
            "",
        ),
    ),
    "wordpress": (
        PresetRule(
            member(
                "the code `captcha_invalid`",
                "code == 'captcha_invalid'",
                "data[?code == 'captcha_invalid']",
            ),
            "",
            {"status": 403},
        ),
    ),
    "wordpress-plugins": (
        PresetRule(
            (CAPTCHA_ERROR, *element("an error of WordPress", "#login_error, .wp-die-message")),
            "token",
        ),
        PresetRule((HUMAN_ERROR,), "token", {"status": 403, "method": "POST"}),
        PresetRule(
            member(
                "Contact Form 7 rejects only the field of Turnstile",
                "length(invalid_fields[?field != 'cf-turnstile']) == `0` && "
                "invalid_fields[].message",
            ),
            "token",
        ),
    ),
}

_SITES: Final = {
    "amazon-robot-check": (
        PresetRule(
            element(
                "the form of the robot check with its picture",
                'form[action*="/errors/validateCaptcha"] img[src*="captcha"]',
            ),
            "image",
            {"url": r"/errors/validateCaptcha\?(?:.*&)?field-keywords=[^&#]"},
        ),
    ),
    "google-sorry": (
        PresetRule(
            element("the widget of the sorry page", "form .g-recaptcha"),
            "token",
            {
                "method": "POST",
                "status": 429,
                "url": r"^https?://(?:[a-z0-9-]+\.)?google\.[a-z.]+/sorry/",
            },
        ),
    ),
    "captcha-error-redirect": (
        PresetRule((), "image", {"redirect": r"[?&]captchaError=1(?:[&#]|$)"}),
    ),
}

GENERAL: Final = {
    "image-captcha-again": (
        PresetRule((JUDGED, SUBMISSION, PICTURE, CAPTCHA_ERROR, OTHER_ERROR), "image"),
    ),
    "token-captcha-again": (
        PresetRule((JUDGED, SUBMISSION, WIDGET, CAPTCHA_ERROR, OTHER_ERROR), "token"),
        PresetRule((JUDGED, SUBMISSION, SHORT_PAGE, NAMED_ERROR)),
        PresetRule((JUDGED, SUBMISSION, LONE_MESSAGE)),
    ),
    "flash": (
        PresetRule((REDIRECT, PICTURE, CAPTCHA_ERROR, OTHER_ERROR), "image"),
        PresetRule((REDIRECT, WIDGET, CAPTCHA_ERROR, OTHER_ERROR), "token"),
        PresetRule((REDIRECT, NAMED_ERROR, OTHER_ERROR)),
    ),
    "json-captcha-error": (
        PresetRule((JUDGED, ANSWER, JSON_ERROR)),
        PresetRule((JUDGED, ANSWER, FRAGMENT_ERROR)),
        PresetRule((JUDGED, SUBMISSION, SCRIPT_ERROR)),
    ),
    "script-alert": (PresetRule((JUDGED, ALERT), "image"),),
}
"""The presets that are not for one product."""

PRESETS: Final[Mapping[str, tuple[PresetRule, ...]]] = MappingProxyType(
    {**_SERVICES, **_SOFTWARE, **_SITES, **GENERAL}
)
"""The rules of every preset by its name; the first that matches wins."""
