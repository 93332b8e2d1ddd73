"""Frameworks, forums, wikis and plugins: their own words for a captcha that was not passed.

In English, as they ship; a translated site says the same in its language.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .markers import said, shown
from .preset import Preset

if TYPE_CHECKING:
    from collections.abc import Mapping

_DJANGO_RECAPTCHA: Final = "Error verifying reCAPTCHA, please try again."
_RAILS: Final = "reCAPTCHA verification failed, please try again."
_RAILS_UNREACHABLE: Final = "Oops, we failed to validate your reCAPTCHA response. Please try again."
_MEDIAWIKI: Final = "Incorrect or missing CAPTCHA."


def _message(message: str, **also: Any) -> tuple[Mapping[str, Any], ...]:
    """The rules for software that shows *message* on its pages and says it in its JSON."""
    return ({"xpath": shown(message), **also}, {"jmespath": said(message), **also})


DJANGO_SIMPLE_CAPTCHA: Final = Preset(
    "django-simple-captcha",
    reports="“Invalid CAPTCHA” as an error of the form that has the picture's fields, or in JSON",
    leaves_out="“This field is required.” An expired picture (5 minutes) gets the same words as a "
    "wrong answer",
    source="django-simple-captcha, captcha/fields.py",
    rules=(
        {
            "css": 'input[type="hidden"][name$="_0"]',
            "xpath": shown("Invalid CAPTCHA"),
            "kind": "image",
        },
        {"jmespath": said("Invalid CAPTCHA"), "kind": "image"},
    ),
)

DJANGO_RECAPTCHA: Final = Preset(
    "django-recaptcha",
    reports="“Error verifying reCAPTCHA, please try again.” as an error of a form, or in JSON",
    leaves_out="“This field is required.” Whatever Google objects to, and Google being out of "
    "reach, gets the same words",
    source="django-recaptcha, django_recaptcha/fields.py",
    rules=_message(_DJANGO_RECAPTCHA, kind="token"),
)

RAILS_RECAPTCHA: Final = Preset(
    "rails-recaptcha",
    reports="“reCAPTCHA verification failed, please try again.” as a flash or an error, or in JSON",
    leaves_out="“Oops, we failed to validate your reCAPTCHA response.”: Google was out of reach",
    source="recaptcha gem, its locale file",
    rules=(
        {
            "xpath": shown(_RAILS),
            "unless": {"xpath": shown(_RAILS_UNREACHABLE)},
            "kind": "token",
        },
        {
            "jmespath": said(_RAILS),
            "unless": {"jmespath": said(_RAILS_UNREACHABLE)},
            "kind": "token",
        },
    ),
)

MEDIAWIKI: Final = Preset(
    "mediawiki",
    reports="“Incorrect or missing CAPTCHA.” in an error box, or in the API's answer",
    leaves_out="the captcha that is asked for before an edit. The captcha may be of any kind: "
    "say `taskType`",
    source="MediaWiki, ConfirmEdit's messages",
    rules=(
        {"xpath": shown(_MEDIAWIKI)},
        {
            "jmespath": [
                said(_MEDIAWIKI),
                "contains(*.messagecode, 'captcha-createaccount-fail')",
            ]
        },
    ),
)

PHPBB: Final = Preset(
    "phpbb",
    reports="“The confirmation code you entered was incorrect” above a form that asks for the code",
    leaves_out="too many attempts, and other errors of the form alone",
    source="phpBB, its language files",
    rules=(
        {
            "css": 'input[name="confirm_code"], input[name="confirm_id"]',
            "xpath": shown("The confirmation code you entered was incorrect"),
            "kind": "image",
        },
    ),
)

LARAVEL: Final = Preset(
    "laravel",
    reports="the untranslated `validation.captcha` as an error of a form, or in JSON",
    leaves_out="`validation.required`, and messages that a site translated. The captcha may be of "
    "any kind: say `taskType`",
    source="mews/captcha and anhskohbo/no-captcha, their issue threads",
    rules=(
        {"xpath": shown("validation.captcha", beside=0)},
        {"jmespath": said("validation.captcha")},
    ),
)

WORDPRESS: Final = Preset(
    "wordpress",
    reports="403 with the error code `captcha_invalid` in JSON",
    leaves_out="other codes (`captcha_required`, `rest_forbidden`) and other statuses. The captcha "
    "may be of any kind: say `taskType`",
    source="documentation of captcha plugins",
    rules=(
        {
            "status": 403,
            "jmespath": ["code == 'captcha_invalid'", "data[?code == 'captcha_invalid']"],
        },
    ),
)

PRESETS: Final = (
    DJANGO_SIMPLE_CAPTCHA,
    DJANGO_RECAPTCHA,
    RAILS_RECAPTCHA,
    MEDIAWIKI,
    PHPBB,
    LARAVEL,
    WORDPRESS,
)
