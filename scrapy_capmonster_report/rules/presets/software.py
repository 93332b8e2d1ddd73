"""Frameworks, wikis, forums and plugins that are known by their pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from . import evidence
from .marks import ANSWER, CAPTCHA_ERROR, JSON_ERROR, NAMED_ERROR, NO_LIMIT, WIDGET
from .messages import fold
from .preset import Mark, Preset, PresetRule, element, member
from .words import IN_CODES, IN_WORDS

if TYPE_CHECKING:
    from ..page import Page


def _literal(*texts: str) -> Mark:
    """The mark that an error of a page, or a member for errors in JSON, is one of *texts*."""
    wanted = [fold(text) for text in texts]

    def find(page: Page) -> str | None:
        found = [error.text for error in page.view(evidence.sight).errors]
        found += [saying.text for saying in page.view(evidence.said)]
        return next((text for text in found if fold(text).rstrip(".") in wanted), None)

    return Mark(f"the error “{texts[0]}”", find)


def _form(name: str, css: str, kind: str) -> PresetRule:
    return PresetRule((element(f"the form of {name}", css), CAPTCHA_ERROR), kind)


def _json(kind: str) -> PresetRule:
    return PresetRule((ANSWER, JSON_ERROR), kind, NO_LIMIT)


DJANGO_SIMPLE_CAPTCHA: Final = Preset(
    "django-simple-captcha",
    reports="the error of its field (“Invalid CAPTCHA”), in whatever template, or in JSON",
    languages=IN_WORDS,
    leaves_out="“This field is required.” and other fields. An expired picture (5 minutes) gets "
    "the same words as a wrong answer.",
    rests_on="its two fields `NAME_0` and `NAME_1`, and an error in their place",
    source="django-simple-captcha, captcha/fields.py and its translations",
    rules=(
        _form(
            "django-simple-captcha",
            'input[type="hidden"][name$="_0"] ~ input[name$="_1"], '
            'img.captcha ~ input[type="hidden"][name$="_0"]',
            "image",
        ),
        _json("image"),
    ),
)

DJANGO_RECAPTCHA: Final = Preset(
    "django-recaptcha",
    reports="“Error verifying reCAPTCHA, please try again.” beside the widget, above the form, or "
    "in JSON",
    languages=IN_WORDS,
    leaves_out="“This field is required.” Whatever Google objects to, and Google being out of "
    "reach, gets the same words.",
    rests_on="the widget, and an error of Django's that names the captcha",
    source="django-recaptcha, django_recaptcha/fields.py and its translations",
    rules=(
        PresetRule(
            (
                element(
                    "an error of a Django form",
                    ".errorlist, .invalid-feedback, .help-block, .alert-block",
                ),
                WIDGET,
                NAMED_ERROR,
            ),
            "token",
        ),
        _json("token"),
    ),
)

RAILS_RECAPTCHA: Final = Preset(
    "rails-recaptcha",
    reports="“reCAPTCHA verification failed, please try again.” as a flash, an error or in JSON",
    languages=IN_WORDS,
    leaves_out="“Oops, we failed to validate your reCAPTCHA response.”: Google was out of reach",
    rests_on="the widget, and an error that names the captcha",
    source="recaptcha gem, its locale files",
    rules=(PresetRule((WIDGET, NAMED_ERROR), "token"), _json("token")),
)

MEDIAWIKI: Final = Preset(
    "mediawiki",
    reports="“Incorrect or missing CAPTCHA.” in an error box, or the API's answer with "
    "`captcha-createaccount-fail`",
    languages=IN_WORDS,
    leaves_out="the captcha that is asked for before an edit, other errors in the same box, the "
    "service out of reach, the messages as data. The captcha may be of any kind: say `taskType`",
    rests_on="the captcha's field of ConfirmEdit, the error box, and its words",
    source="MediaWiki, ConfirmEdit's messages",
    rules=(
        _form(
            "MediaWiki with ConfirmEdit",
            'body.mediawiki, input[name="captchaWord"], input[name="wpCaptchaWord"]',
            "",
        ),
        PresetRule(
            (
                member(
                    "the API's message code captcha-createaccount-fail",
                    "[@, *][] | [?messagecode == 'captcha-createaccount-fail'].messagecode",
                ),
            )
        ),
    ),
)

PHPBB: Final = Preset(
    "phpbb",
    reports="“The confirmation code you entered was incorrect” above a form that asks for the code",
    languages=IN_WORDS,
    leaves_out="too many attempts (also beside the message), and other errors of the form",
    rests_on="its fields `confirm_code` and `confirm_id`, and the words of its error",
    source="phpBB, its language files",
    rules=(_form("phpBB", 'input[name="confirm_code"], input[name="confirm_id"]', "image"),),
)

MYBB: Final = Preset(
    "mybb",
    reports="“The image verification code that you entered was incorrect. …” in its list of "
    "errors, or in JSON",
    languages=IN_WORDS,
    leaves_out="other errors in the list, its red hint below the picture, reCAPTCHA's sentence for "
    "missing and rejected alike",
    rests_on="its field `imagestring` and picture, and the words of its error",
    source="MyBB, its language files",
    rules=(
        _form("MyBB", '#captcha_img, input[name="imagestring"]', "image"),
        _json("image"),
    ),
)

DOKUWIKI: Final = Preset(
    "dokuwiki",
    reports="the error of its captcha plugin (“… the CAPTCHA wasn't answered correctly.”)",
    languages=IN_WORDS,
    leaves_out="other errors of the page",
    rests_on="the plugin's element, and the words of the error",
    source="DokuWiki's captcha plugin, its language files",
    rules=(_form("DokuWiki's captcha plugin", ".plugin__captcha_wrapper", "image"),),
)

YII2: Final = Preset(
    "yii2",
    reports="“The verification code is incorrect.” in the group of the captcha's field, or in JSON",
    languages=IN_WORDS,
    leaves_out="“… cannot be blank.”, and the groups of other fields. In JSON: ",
    rests_on="the group with the captcha's picture that is marked as wrong, and its words",
    source="Yii 2, framework/messages",
    rules=(
        _form(
            "Yii 2",
            '[class*="field-"][class*="code"], [class*="field-"][class*="captcha"], '
            'img[src*="captcha"][id$="-image"]',
            "image",
        ),
        _json("image"),
    ),
)

FLASK_WTF: Final = Preset(
    "flask-wtf",
    reports="“The response parameter is invalid or malformed.” among the errors of the field",
    languages="English: it does not translate them",
    leaves_out="“The response parameter is missing.” (also for `timeout-or-duplicate`), and what "
    "is said of the secret parameter",
    rests_on="the whole sentence as an error, beside the widget",
    source="Flask-WTF, recaptcha/validators.py",
    rules=(
        PresetRule((WIDGET, _literal("The response parameter is invalid or malformed")), "token"),
    ),
)

LARAVEL: Final = Preset(
    "laravel",
    reports="the untranslated `validation.captcha` as an error of a form, or in JSON",
    languages=IN_CODES,
    leaves_out="`validation.required`. Messages that a site translated: `flash` and "
    "`json-captcha-error`. The captcha may be of any kind: say `taskType`",
    rests_on="the whole error",
    source="mews/captcha and anhskohbo/no-captcha, their issue threads",
    rules=(PresetRule((_literal("validation.captcha"),)),),
)

DRUPAL: Final = Preset(
    "drupal",
    reports="“The answer you entered for the CAPTCHA was not correct.” in a message of an error",
    languages=IN_WORDS,
    leaves_out="other messages, an unknown session of the captcha. The captcha may be of any kind: "
    "say `taskType`",
    rests_on="the element of its captcha module, and the words of the message",
    source="Drupal, captcha module",
    rules=(
        _form(
            "Drupal's captcha module",
            'input[name="captcha_sid"], input[name="captcha_response"], .captcha',
            "",
        ),
    ),
)

WORDPRESS: Final = Preset(
    "wordpress",
    reports="403 with the error code `captcha_invalid` in JSON",
    languages=IN_CODES,
    leaves_out="other codes (`captcha_required`, `rest_forbidden`) and other statuses. The captcha "
    "may be of any kind: say `taskType`",
    rests_on="status and member",
    source="documentation of captcha plugins",
    rules=(
        PresetRule(
            (
                member(
                    "the code captcha_invalid",
                    "code == 'captcha_invalid'",
                    "data[?code == 'captcha_invalid']",
                ),
            ),
            "",
            {"status": 403},
        ),
    ),
)

_HUMAN = re.compile(
    r"\b(?:human|mensch|humain|humano|umano|mens\b|człowiek|člověk|človek|människ|mennesk"
    r"|человек|людин|insan|ember\b|ihminen|άνθρωπ|manusia|con người)"
    r"|人間|人类|人類|사람|אנוש|إنسان|انسان|मनुष्य|มนุษย์"
)


def _human(page: Page) -> str | None:
    """The one sentence of the Turnstile plugin, on the page with which WordPress stops."""
    for error in page.view(evidence.sight).errors:
        if "wp-die" in (error.place.element.get("class") or "") and _HUMAN.search(
            error.text.lower()
        ):
            return error.text
    return None


WORDPRESS_PLUGINS: Final = Preset(
    "wordpress-plugins",
    reports="what captcha plugins show at log-in, registration, comments (403) and by Contact Form "
    "7: “hCaptcha error: The response parameter … is invalid or malformed.”, “Please verify that "
    "you are human.”",
    languages=IN_WORDS,
    leaves_out="wrong passwords, expired and missing answers, keys and nonces, other fields of "
    "Contact Form 7. Simple Cloudflare Turnstile has one sentence for missing, expired and "
    "rejected answers",
    rests_on="`#login_error`, the page with which WordPress stops, `invalid_fields` in JSON",
    source="hCaptcha for WordPress, Simple Cloudflare Turnstile, Contact Form 7",
    rules=(
        PresetRule(
            (element("an error of WordPress", "#login_error, .wp-die-message"), CAPTCHA_ERROR),
            "token",
        ),
        PresetRule(
            (Mark("WordPress stops and asks whether the visitor is human", _human),),
            "token",
            {"status": 403, "method": "POST"},
        ),
        PresetRule(
            (
                member(
                    "Contact Form 7 objects to the captcha's field alone",
                    "invalid_fields[?field == 'cf-turnstile'] | [0].message",
                ),
                member(
                    "another field of Contact Form 7",
                    "invalid_fields[?field != 'cf-turnstile']",
                    absent=True,
                ),
            ),
            "token",
        ),
    ),
)

PRESETS: Final = (
    DJANGO_SIMPLE_CAPTCHA,
    DJANGO_RECAPTCHA,
    RAILS_RECAPTCHA,
    FLASK_WTF,
    YII2,
    LARAVEL,
    MEDIAWIKI,
    DOKUWIKI,
    PHPBB,
    MYBB,
    DRUPAL,
    WORDPRESS,
    WORDPRESS_PLUGINS,
)
