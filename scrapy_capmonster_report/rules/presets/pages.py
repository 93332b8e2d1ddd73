"""Pages that ask again, whoever wrote them."""

from __future__ import annotations

from typing import Final

from .markers import error_about
from .preset import Preset

AMAZON_ROBOT_CHECK: Final = Preset(
    "amazon-robot-check",
    reports="the picture shown again in answer to `/errors/validateCaptcha` with the characters",
    leaves_out="the first showing, a robot check on any other page, the button without a picture",
    source="public scrapers",
    rules=(
        {
            "url": r"/errors/validateCaptcha\?(?:.*&)?field-keywords=[^&#]",
            "css": 'form[action*="/errors/validateCaptcha"] img[src*="captcha"]',
            "kind": "image",
        },
    ),
)

GOOGLE_SORRY: Final = Preset(
    "google-sorry",
    reports="the “unusual traffic” page that asks again (429) in answer to the POST of a token",
    leaves_out="every other showing of it, and the page without a captcha: the address is blocked",
    source="Google, Unusual traffic from your computer network",
    rules=(
        {
            "method": "POST",
            "status": 429,
            "url": r"^https?://(?:[a-z0-9-]+\.)?google\.[a-z.]+/sorry/",
            "css": "form .g-recaptcha",
            "kind": "token",
        },
    ),
)

CAPTCHA_ERROR_REDIRECT: Final = Preset(
    "captcha-error-redirect",
    reports="a redirect to a URL with `captchaError=1`: the characters were wrong",
    leaves_out="the other values: no account, no key, no cookie, no field",
    source="CaptchaPro, Error codes",
    rules=({"redirect": r"[?&]captchaError=1(?:[&#]|$)", "kind": "image"},),
)

_PICTURE: Final = (
    "//form[.//input[not(@type) or @type='text']]//img"
    "[re:test(concat(@src, ' ', @id, ' ', @class), "
    "'captcha|securimage|sec(urity)?_?code|verif(y|ication)_?(code|image)|vcode', 'i')]"
    "[not(re:test(@src, 'recaptcha|hcaptcha', 'i'))]"
)
_CAPTCHA: Final = (
    "captcha|капч|(security|verification|confirmation|validation|image|visual) ?(code|word|text)"
    "|(code|characters|letters|text|words?) ([a-z]+ )?(in|from|on) the (image|picture)"
)
_WRONG: Final = (
    "incorrect|invalid|wrong|not correct|mismatch|(not|n.t) match|not valid|failed|falsch"
    "|ungültig|inválid|errón|erroné|errat|невер|неправильн|błędn|nieprawid|onjuist"
)
_NOT_THE_ANSWER: Final = (
    "expired|timed? ?out|too (old|late|many)|already|required|missing|empty|blank|session|cookie"
    "|abgelaufen|expirad|expiré|scadut|истек|истёк|wygas|verlopen"
)
_INTRODUCTION: Final = (
    r"^\s*(error|oops|sorry|warning|attention)s?\W*$|try again"
    "|(following|below|errors?) (error|problem|prohibited|occurred|found|was|were)"
    "|please (correct|fix|check)|[0-9]+ errors?"
)

IMAGE_CAPTCHA_AGAIN: Final = Preset(
    "image-captcha-again",
    reports="a POST that is answered, where it was sent, by a form with an image captcha whose "
    "error says that the captcha is wrong",
    leaves_out="pages with an error of another field too, expired and missing answers, pages "
    "without an error, redirects",
    source="public form code",
    rules=(
        {
            "method": "POST",
            "status": [200, 400, 403, 422],
            "xpath": f"{error_about(_CAPTCHA, _WRONG, but=_NOT_THE_ANSWER)}[{_PICTURE}]",
            "unless": {
                "xpath": [
                    error_about(_NOT_THE_ANSWER),
                    error_about(but=f"{_CAPTCHA}|{_INTRODUCTION}"),
                ]
            },
            "kind": "image",
        },
    ),
)

PRESETS: Final = (
    AMAZON_ROBOT_CHECK,
    GOOGLE_SORRY,
    CAPTCHA_ERROR_REDIRECT,
    IMAGE_CAPTCHA_AGAIN,
)
