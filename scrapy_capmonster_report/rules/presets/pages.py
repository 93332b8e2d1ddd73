"""Pages and answers that reject, whatever software wrote them."""

from __future__ import annotations

from typing import Final

from .marks import (
    ALERT,
    ANSWER,
    CAPTCHA_ERROR,
    FRAGMENT_ERROR,
    JSON_ERROR,
    NAMED_ERROR,
    NO_LIMIT,
    OTHER_ERROR,
    PICTURE,
    REDIRECT,
    SCRIPT_ERROR,
    SHORT_PAGE,
    SUBMISSION,
    WIDGET,
)
from .preset import Preset, PresetRule, element
from .words import IN_CODES, IN_WORDS

_OTHER_MATTERS: Final = (
    "expired, missing and repeated answers, locks and too many attempts, codes of text messages "
    "and mails, other fields, the form's own token, hidden errors, hints"
)

AMAZON_ROBOT_CHECK: Final = Preset(
    "amazon-robot-check",
    reports="the picture shown again in answer to `/errors/validateCaptcha` with the characters",
    languages=IN_CODES,
    leaves_out="the first showing, a robot check on any other page, the button without a picture",
    rests_on="the URL and the form",
    source="public scrapers",
    rules=(
        PresetRule(
            (
                element(
                    "the form of the robot check with its picture",
                    'form[action*="/errors/validateCaptcha"] img[src*="captcha"]',
                ),
            ),
            "image",
            {"url": r"/errors/validateCaptcha\?(?:.*&)?field-keywords=[^&#]"},
        ),
    ),
)

GOOGLE_SORRY: Final = Preset(
    "google-sorry",
    reports="the “unusual traffic” page that asks again (429) in answer to the POST of a token",
    languages=IN_CODES,
    leaves_out="every other showing of it, and the page without a captcha: the address is blocked",
    rests_on="method, status, URL and widget",
    source="Google, Unusual traffic from your computer network",
    rules=(
        PresetRule(
            (element("the widget of the sorry page", "form .g-recaptcha"),),
            "token",
            {
                "method": "POST",
                "status": 429,
                "url": r"^https?://(?:[a-z0-9-]+\.)?google\.[a-z.]+/sorry/",
            },
        ),
    ),
)

CAPTCHA_ERROR_REDIRECT: Final = Preset(
    "captcha-error-redirect",
    reports="a redirect to a URL with `captchaError=1`: the characters were wrong",
    languages=IN_CODES,
    leaves_out="the other values: no account, no key, no cookie, no field",
    rests_on="the redirect",
    source="CaptchaPro, Error codes",
    rules=(PresetRule(kind="image", conditions={"redirect": r"[?&]captchaError=1(?:[&#]|$)"}),),
)

IMAGE_CAPTCHA_AGAIN: Final = Preset(
    "image-captcha-again",
    reports="a page with an image captcha, in answer to a submission, whose error says that the "
    "captcha is wrong",
    languages=IN_WORDS,
    leaves_out=f"{_OTHER_MATTERS}; pages without an error",
    rests_on="an element marked as an error (class, id, role, red), with words for *captcha* or "
    "*code* and for *wrong*, or with the latter alone in the captcha's own place",
    source="public form code",
    rules=(PresetRule((SUBMISSION, PICTURE, CAPTCHA_ERROR, OTHER_ERROR), "image", NO_LIMIT),),
)

TOKEN_CAPTCHA_AGAIN: Final = Preset(
    "token-captcha-again",
    reports="the same with the widget of a captcha service, or a short page with nothing but the "
    "error",
    languages=IN_WORDS,
    leaves_out=_OTHER_MATTERS,
    rests_on="as `image-captcha-again`; without a captcha on the page the error must name it",
    source="public form code",
    rules=(
        PresetRule((SUBMISSION, WIDGET, CAPTCHA_ERROR, OTHER_ERROR), "token", NO_LIMIT),
        PresetRule((SUBMISSION, SHORT_PAGE, NAMED_ERROR), "", NO_LIMIT),
    ),
)

FLASH: Final = Preset(
    "flash",
    reports="a redirect back to a page that shows an error about the captcha",
    languages=IN_WORDS,
    leaves_out=f"{_OTHER_MATTERS}; successes in the same list",
    rests_on="the redirect, and the error as for `image-captcha-again`",
    source="documentation of Flask and Laravel",
    rules=(
        PresetRule((REDIRECT, PICTURE, CAPTCHA_ERROR, OTHER_ERROR), "image"),
        PresetRule((REDIRECT, WIDGET, CAPTCHA_ERROR, OTHER_ERROR), "token"),
        PresetRule((REDIRECT, NAMED_ERROR, OTHER_ERROR)),
    ),
)

JSON_CAPTCHA_ERROR: Final = Preset(
    "json-captcha-error",
    reports="JSON that says, as a code or in words, that the captcha is wrong; also as JSONP, "
    "behind a guard, in `pre`, in a script of JSON, and as markup inside JSON. The captcha may be "
    "of any kind: say `taskType`",
    languages=f"{IN_CODES}, {IN_WORDS}",
    leaves_out=f"{_OTHER_MATTERS}; members that hold data (translations, logs, posts, schemas), "
    "answers that say that they succeeded",
    rests_on="members for errors (`error`, `message`, `msg`, `detail`, `code`, `errors.FIELD` …), "
    "the words of the value, or a captcha's field as the name of the member",
    source="public issue threads, RuoYi, Auth0, Yii 2, REST framework, Laravel",
    rules=(
        PresetRule((ANSWER, JSON_ERROR), "", NO_LIMIT),
        PresetRule((ANSWER, FRAGMENT_ERROR), "", NO_LIMIT),
        PresetRule((SUBMISSION, SCRIPT_ERROR), "", NO_LIMIT),
    ),
)

SCRIPT_ALERT: Final = Preset(
    "script-alert",
    reports="a script that shows at once, by `alert()` or the like, that the captcha is wrong",
    languages=IN_WORDS,
    leaves_out=f"{_OTHER_MATTERS}; scripts that ask something before they show it",
    rests_on="a script that begins with the call and has no function and no `if`",
    source="public form code",
    rules=(PresetRule((ALERT,), "image", NO_LIMIT),),
)

PRESETS: Final = (
    AMAZON_ROBOT_CHECK,
    GOOGLE_SORRY,
    CAPTCHA_ERROR_REDIRECT,
    IMAGE_CAPTCHA_AGAIN,
    TOKEN_CAPTCHA_AGAIN,
    FLASH,
    JSON_CAPTCHA_ERROR,
    SCRIPT_ALERT,
)
