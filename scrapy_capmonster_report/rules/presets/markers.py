"""Selectors and expressions that several presets share.

A site's words count only where a site puts an error: in an element that is marked as one, or as
the value of a member near the root of a JSON answer. The same words in an article, a quotation,
a script or a header are about captchas, not about this answer.
"""

from __future__ import annotations

from typing import Final

_MARKED: Final = "error|danger|invalid|alert|warn|fail|text-red-|mw-message-box"
_NOT_MARKED: Final = "success|info"
_CLOSE: Final = 3
"""How far up from the words the marked element may be."""

_ERROR: Final = (
    f"ancestor::*[position() <= {_CLOSE}]"
    f"[re:test(concat(@class, ' ', @id, ' ', @role), '{_MARKED}', 'i')"
    f" and not(re:test(@class, '{_NOT_MARKED}', 'i'))]"
)
_QUOTED: Final = "ancestor::*[{}]".format(
    " or ".join(
        f"self::{name}"
        for name in (
            *("script", "style", "template", "noscript", "title", "textarea", "option"),
            *("blockquote", "cite", "code", "dfn", "em", "i", "kbd", "pre", "q", "samp", "a"),
        )
    )
)
_UNSEEN: Final = (
    r"ancestor::*[@hidden or re:test(@style, 'display:\s*none', 'i')"
    r" or re:test(@class, '(^|\s)(d-none|hidden|hide|ng-hide)(\s|$)')]"
)
"""Messages that a script of the page would show; the site says nothing with them."""

LABEL: Final = 24
"""The most characters that may stand beside a message, for a label such as ``Error:``."""

_SHORTEST: Final = 4
"""What is shorter is a button that closes the message, or a bullet."""

_LONGEST: Final = 200
"""What is longer is an article."""

_CODES: Final = (
    '["error-codes", error_codes, errorCodes, '
    '*."error-codes", *.error_codes, *.errorCodes, captcha_key][][]'
)
_STRINGS: Final = "[@, *, *.*, *[].message, *.*[][].message][][][][]"


def shown(message: str, *, beside: int = LABEL) -> str:
    """The XPath of *message* where a page shows it as an error.

    Args:
        message: the words, without quotation marks.
        beside: the most characters that may stand beside it.
    """
    longest = len(message) + beside
    return (
        f"//text()[contains(., '{message}')][string-length(normalize-space(.)) <= {longest}]"
        f"[{_ERROR}][not({_QUOTED})][not({_UNSEEN})]"
    )


def error_about(*topics: str, but: str | None = None) -> str:
    """The XPath of an error on a page that speaks of every one of *topics* and not of *but*.

    Args:
        topics: regexes, searched without regard to case, without ``'``.
        but: such a regex.
    """
    about = "".join(f"[re:test(., '{topic}', 'i')]" for topic in topics)
    other = "" if but is None else f"[not(re:test(., '{but}', 'i'))]"
    length = "string-length(normalize-space(.))"
    return (
        f"//text()[{length} >= {_SHORTEST} and {length} <= {_LONGEST}]{about}{other}"
        f"[{_ERROR}][not({_QUOTED})][not({_UNSEEN})]"
    )


def said(message: str) -> str:
    """The JMESPath that is true where a JSON answer says *message*.

    As a member of the answer or of what is directly in it, alone, in a list, or as the
    ``message`` of an error: ``{"errors": {"captcha": ["…"]}}``.
    """
    return f"contains({_STRINGS}, '{message}')"


def coded(code: str) -> str:
    """The JMESPath that is true where a JSON answer relays *code* of a ``siteverify`` call.

    At the root or one level below, as ``error-codes`` or in the spelling of a client library.
    """
    return f"contains({_CODES}, '{code}')"
