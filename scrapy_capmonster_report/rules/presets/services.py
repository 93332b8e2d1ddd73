"""Captcha services, where a site relays what they said of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .markers import coded, error_about, shown
from .preset import Preset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_OUT_OF_THE_CLIENTS_HANDS: Final = (
    *("missing-input-secret", "invalid-input-secret", "missing-input-response", "bad-request"),
    "timeout-or-duplicate",
)


def _siteverify(
    widget: str, refused: Sequence[str], nobodys: Sequence[str]
) -> tuple[Mapping[str, Any], ...]:
    """The rules for a service whose verdict is a list of codes.

    Args:
        widget: the CSS selector of its widget on a page.
        refused: the codes that speak of the answer.
        nobodys: the codes that speak of its age, of its reuse or of the site's keys; one of them
            beside a code of *refused* leaves the answer alone.
    """
    one_of_them = f"(?<![a-z-])({'|'.join(nobodys)})(?![a-z-])"
    return (
        {
            "jmespath": [coded(code) for code in refused],
            "unless": {"jmespath": [coded(code) for code in nobodys]},
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
    rules=_siteverify(".g-recaptcha", ["invalid-input-response"], _OUT_OF_THE_CLIENTS_HANDS),
)

_INVALID: Final = "[tokenProperties, *.tokenProperties][][?valid == `false`].invalidReason"

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
    rules=_siteverify(
        ".cf-turnstile",
        ["invalid-input-response"],
        (*_OUT_OF_THE_CLIENTS_HANDS, "internal-error"),
    ),
)

HCAPTCHA: Final = Preset(
    "hcaptcha",
    reports="`invalid-or-already-seen-response` or `invalid-input-response` that the site relays, "
    "in JSON (`captcha_key` too) or as an error beside the widget",
    leaves_out="`expired-input-response`, `already-seen-response`, `sitekey-secret-mismatch` and "
    "other faults of keys and addresses. The first code also means a second use: the ledger "
    "knows of those it has seen",
    source="hCaptcha, Siteverify error codes; public issue threads (`captcha_key`)",
    rules=_siteverify(
        ".h-captcha",
        ["invalid-or-already-seen-response", "invalid-input-response"],
        (
            *_OUT_OF_THE_CLIENTS_HANDS,
            *("expired-input-response", "already-seen-response", "sitekey-secret-mismatch"),
            *("missing-remoteip", "invalid-remoteip", "not-using-dummy-passcode"),
        ),
    ),
)

_FAILED: Final = "[@, *][][?result == 'fail' && type(reason) == 'string' && reason].reason"
_ERROR_CODES: Final = "[@, *][][?status == 'error' || result == 'fail'].error_code"

GEETEST: Final = Preset(
    "geetest",
    reports="v4 `result: fail` with a `reason`; v3 error code 14 (wrong answer)",
    leaves_out="v4 reasons that speak of an expired or reused answer, `status: error`; v3 codes 02 "
    "and 11 (duplicate)",
    source="GeeTest, v4 Server API; v3 error codes",
    rules=(
        {
            "jmespath": _FAILED,
            "unless": {
                "jmespath": [
                    f"{_FAILED}[?contains(@, '{word}')]"
                    for word in ("expire", "used", "repeat", "duplicate", "timeout")
                ]
            },
            "kind": "token",
        },
        {
            "jmespath": [
                f"contains({_ERROR_CODES}, {code})" for code in ("'14'", "'error_14'", "`14`")
            ],
            "kind": "token",
        },
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
