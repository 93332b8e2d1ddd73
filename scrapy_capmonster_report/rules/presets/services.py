"""Captcha services, where a site relays what they said of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .markers import coded, error_about, shown
from .preset import Preset

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOT_THE_ANSWER: Final = (
    *("missing-input-secret", "invalid-input-secret", "missing-input-response", "bad-request"),
    *("timeout-or-duplicate", "internal-error"),
    *("expired-input-response", "already-seen-response", "sitekey-secret-mismatch"),
    *("missing-remoteip", "invalid-remoteip", "not-using-dummy-passcode"),
)
"""The codes that speak of the answer's age, of its reuse, of the site's keys or of the service.

Those of all services: JSON does not say whose codes it relays.
"""


def _siteverify(widget: str, *refused: str) -> tuple[Mapping[str, Any], ...]:
    """The rules for a service whose verdict is a list of codes.

    One of the codes that are not about the answer leaves it alone, also beside one of *refused*.

    Args:
        widget: the CSS selector of its widget on a page.
        refused: the codes that speak of the answer.
    """
    one_of_them = f"(?<![a-z-])({'|'.join(_NOT_THE_ANSWER)})(?![a-z-])"
    return (
        {
            "jmespath": [coded(code) for code in refused],
            "unless": {"jmespath": [coded(code) for code in _NOT_THE_ANSWER]},
            "kind": "token",
        },
        {
            "css": widget,
            "xpath": [shown(code) for code in refused],
            "unless": {"xpath": error_about(one_of_them)},
            "kind": "token",
        },
    )


RECAPTCHA: Final = Preset(
    "recaptcha",
    reports="`invalid-input-response` that the site relays, in JSON or as an error beside the "
    "widget",
    leaves_out="`timeout-or-duplicate`, `missing-input-…`, `invalid-input-secret`, `bad-request`, "
    "also beside the code that it reports; low scores",
    source="Google, Verifying the user's response",
    rules=_siteverify(".g-recaptcha", "invalid-input-response"),
)

_INVALID: Final = "[tokenProperties, *.tokenProperties][] | [?valid == `false`].invalidReason"

RECAPTCHA_ENTERPRISE: Final = Preset(
    "recaptcha-enterprise",
    reports="an assessment in JSON whose token is not valid because it is `MALFORMED`",
    leaves_out="`EXPIRED`, `DUPE`, `MISSING`, `SITE_MISMATCH`, `BROWSER_ERROR`, unknown reasons; "
    "low scores",
    source="Google Cloud, InvalidReason",
    rules=(
        {
            "jmespath": f"contains({_INVALID}, 'MALFORMED')",
            "kind": "token",
        },
    ),
)

TURNSTILE: Final = Preset(
    "turnstile",
    reports="`invalid-input-response` that the site relays, in JSON or as an error beside the "
    "widget",
    leaves_out="`timeout-or-duplicate`, `internal-error`, `missing-input-…`, "
    "`invalid-input-secret`, `bad-request`, also beside the code that it reports",
    source="Cloudflare, Validate the token",
    rules=_siteverify(".cf-turnstile", "invalid-input-response"),
)

HCAPTCHA: Final = Preset(
    "hcaptcha",
    reports="`invalid-or-already-seen-response` or `invalid-input-response` that the site relays, "
    "in JSON (`captcha_key` too) or as an error beside the widget",
    leaves_out="`expired-input-response`, `already-seen-response`, `sitekey-secret-mismatch` and "
    "other faults of keys and addresses. The first code also means a second use: the ledger "
    "knows of those it has seen",
    source="hCaptcha, Siteverify error codes; public issue threads (`captcha_key`)",
    rules=_siteverify(".h-captcha", "invalid-or-already-seen-response", "invalid-input-response"),
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
_WRONG_ANSWER: Final = (
    "[@, *][] | [?status == 'error' || result == 'fail'].error_code | contains(@, 'error_14')",
    "[geetest.error_code, *.geetest.error_code][] | (contains(@, `14`) || contains(@, '14'))",
)

GEETEST: Final = Preset(
    "geetest",
    reports="v4 `result: fail` with a `reason` that is GeeTest's; v3 `error_14` (wrong answer), or "
    "14 in a member `geetest`",
    leaves_out="v4 reasons that speak of an expired or reused answer, `status: error`; v3 codes 02 "
    "and 11 (duplicate); failures with reasons of another service",
    source="GeeTest, v4 Server API; v3 error codes",
    rules=(
        {
            "jmespath": _FAILED,
            "unless": {
                "jmespath": [
                    f"{_FAILED} | [?contains(@, '{word}')]"
                    for word in ("expire", "used", "repeat", "duplicate", "timeout")
                ]
            },
            "kind": "token",
        },
        {"jmespath": list(_WRONG_ANSWER), "kind": "token"},
    ),
)

CLOUDFLARE_CHALLENGE: Final = Preset(
    "cloudflare-challenge",
    reports="another challenge page after the answer: the header `cf-mitigated: challenge`",
    leaves_out="pages without the header: blocks, and pages that only load a challenge's script. "
    "A challenge because the address or the user agent changed since solving looks the same: "
    "keep both",
    source="Cloudflare, Detect a challenge page response",
    rules=({"headers": {"cf-mitigated": r"(?i)^\s*challenge\s*$"}, "kind": "token"},),
)

PRESETS: Final = (
    RECAPTCHA,
    RECAPTCHA_ENTERPRISE,
    TURNSTILE,
    HCAPTCHA,
    GEETEST,
    CLOUDFLARE_CHALLENGE,
)
