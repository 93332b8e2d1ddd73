"""Ready rules for software that many sites run, used by name.

Only markers that speak of the answer itself: what a site says of an expired, missing or reused
answer, of a wrong key or of a blocked address is nobody's bad answer.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRESETS: Final[Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]]] = MappingProxyType(
    {
        # django-recaptcha's own message for any refusal by Google (its source). Translated sites
        # show it in their language.
        "django-recaptcha": {
            "name": "django-recaptcha",
            "text": r"Error verifying reCAPTCHA, please try again\.",
            "kind": "token",
        },
        # ConfirmEdit's messages, in English; the captcha may be of any kind.
        "mediawiki": {
            "name": "mediawiki",
            "text": r"Incorrect or missing CAPTCHA\.",
        },
    }
)
