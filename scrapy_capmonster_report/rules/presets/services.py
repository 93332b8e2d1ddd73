"""Captcha services, where a site relays what they said of the answer."""

from __future__ import annotations

from typing import Final

from .marks import CAPTCHA_ERROR, SUBMISSION, codes
from .preset import Preset, PresetRule, element, member
from .words import IN_CODES, IN_WORDS

_OTHER_CODES: Final = (
    "`timeout-or-duplicate`, `missing-input-…`, `invalid-input-secret`, `bad-request`, "
    "`internal-error`, also beside the code that it reports"
)
_RESTS_ON: Final = "the code, in a member for errors or in an error of a page"

RECAPTCHA: Final = Preset(
    "recaptcha",
    reports="`invalid-input-response` that the site relays, in JSON or as an error of a page",
    languages=IN_CODES,
    leaves_out=f"{_OTHER_CODES}; low scores",
    rests_on=_RESTS_ON,
    source="Google, Verifying the user's response",
    rules=(PresetRule(codes("invalid-input-response"), "token"),),
)

RECAPTCHA_ENTERPRISE: Final = Preset(
    "recaptcha-enterprise",
    reports="an assessment in JSON whose token is not valid because it is `MALFORMED`",
    languages=IN_CODES,
    leaves_out="`EXPIRED`, `DUPE`, `MISSING`, `SITE_MISMATCH`, `BROWSER_ERROR`, unknown reasons; "
    "low scores",
    rests_on="`tokenProperties.invalidReason` beside `valid: false`",
    source="Google Cloud, InvalidReason",
    rules=(
        PresetRule(
            (
                member(
                    "`tokenProperties` that are not valid and `MALFORMED`",
                    "[tokenProperties, *.tokenProperties][] | [?valid == `false` && "
                    "invalidReason == 'MALFORMED'].invalidReason",
                ),
            ),
            "token",
        ),
    ),
)

TURNSTILE: Final = Preset(
    "turnstile",
    reports="`invalid-input-response` that the site relays, in JSON or as an error of a page",
    languages=IN_CODES,
    leaves_out=_OTHER_CODES,
    rests_on=_RESTS_ON,
    source="Cloudflare, Validate the token",
    rules=(PresetRule(codes("invalid-input-response"), "token"),),
)

HCAPTCHA: Final = Preset(
    "hcaptcha",
    reports="`invalid-or-already-seen-response`, `invalid-input-response` or `invalid-response` "
    "that the site relays, in JSON (`captcha_key` too) or as an error of a page; what its "
    "libraries show beside the widget: “hCaptcha could not be verified.”",
    languages=f"{IN_CODES}, {IN_WORDS}",
    leaves_out="`expired-input-response`, `already-seen-response`, `sitekey-secret-mismatch`, "
    "`rqkey-mismatch` and other faults of keys and addresses. The first code also means a second "
    "use: the ledger knows of those it has seen",
    rests_on=f"{_RESTS_ON}; the widget and an error that speaks of the captcha",
    source="hCaptcha, Siteverify error codes; django-hCaptcha; public issue threads",
    rules=(
        PresetRule(
            codes("invalid-or-already-seen-response", "invalid-input-response", "invalid-response"),
            "token",
        ),
        PresetRule(
            (
                SUBMISSION,
                element("the widget of hCaptcha", ".h-captcha, h-captcha"),
                CAPTCHA_ERROR,
            ),
            "token",
        ),
    ),
)

_ITS_PARAMETERS: Final = ("pass_token", "captcha_output", "lot_number", "gen_time", "sign_token")
_FROM_GEETEST: Final = " || ".join(
    ("captcha_args", *(f"contains(reason, '{name}')" for name in _ITS_PARAMETERS))
)
"""Many an API says ``fail`` and why; GeeTest sends its arguments along, or names a parameter."""

_FAILED: Final = (
    "[@, *][] | [?result == 'fail' && type(reason) == 'string' && reason && "
    f"({_FROM_GEETEST})].reason"
)

GEETEST: Final = Preset(
    "geetest",
    reports="v4 `result: fail` with a `reason` that is GeeTest's; v3 `error_14` (wrong answer), or "
    "14 in a member `geetest`",
    languages=IN_CODES,
    leaves_out="v4 reasons that speak of an expired or reused answer, `status: error`; v3 codes 02 "
    "and 11 (duplicate); failures with reasons of another service",
    rests_on="the members `result` and `reason`, or `error_code`, at the root or one level below",
    source="GeeTest, v4 Server API; v3 error codes",
    rules=(
        PresetRule(
            (
                member("`result: fail` with a reason of GeeTest's", _FAILED),
                member(
                    "a reason that speaks of an expired or used answer",
                    *(
                        f"{_FAILED} | [?contains(@, '{word}')]"
                        for word in ("expire", "used", "repeat", "duplicate", "timeout")
                    ),
                    absent=True,
                ),
            ),
            "token",
        ),
        PresetRule(
            (
                member(
                    "GeeTest's error code 14",
                    "[@, *][] | [?status == 'error' || result == 'fail'].error_code "
                    "| contains(@, 'error_14')",
                    "[geetest.error_code, *.geetest.error_code][] "
                    "| (contains(@, `14`) || contains(@, '14'))",
                ),
            ),
            "token",
        ),
    ),
)

CLOUDFLARE_CHALLENGE: Final = Preset(
    "cloudflare-challenge",
    reports="another challenge page after the answer: the header `cf-mitigated: challenge`",
    languages=IN_CODES,
    leaves_out="pages without the header: blocks, and pages that only load a challenge's script. "
    "A challenge because the address or the user agent changed since solving looks the same: "
    "keep both",
    rests_on="the header",
    source="Cloudflare, Detect a challenge page response",
    rules=(
        PresetRule(
            kind="token", conditions={"headers": {"cf-mitigated": r"(?i)^\s*challenge\s*$"}}
        ),
    ),
)

PRESETS: Final = (
    RECAPTCHA,
    RECAPTCHA_ENTERPRISE,
    TURNSTILE,
    HCAPTCHA,
    GEETEST,
    CLOUDFLARE_CHALLENGE,
)
