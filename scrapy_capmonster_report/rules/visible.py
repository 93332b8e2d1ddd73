"""The visible elements and words of a page."""

from __future__ import annotations

import re
from typing import Any, Final

from lxml import etree

_UNSEEN_TAGS: Final = frozenset(
    (
        *("head", "script", "style", "template", "noscript", "noframes", "iframe", "object"),
        *("audio", "video", "canvas", "progress", "meter", "datalist"),
    )
)
"""Elements that show nothing, or show their words only in a browser that cannot show more."""

_UNSEEN_STYLE: Final = re.compile(
    r"(?<![\w-])(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)"
    r"|opacity\s*:\s*[0.]+(?![\d.])|(?:left|top|text-indent)\s*:\s*-\d{4})",
    re.IGNORECASE,
)
_UNSEEN_CLASS: Final = re.compile(
    r"(?:^|\s)(?:d-none|invisible|collapse|sr-only|screen-reader-text|modal fade|fade modal"
    r"|(?:is-|ng-|js-|u-|uk-|visually-?)?(?:hidden|hide))(?:\s|$)"
)
_SEEN_CLASS: Final = re.compile(
    r"(?::|d-\w+-)(?:block|flex|grid|inline|table|visible)"
    r"|(?:^|\s)(?:show|in|navbar-collapse)(?:\s|$)"
)
"""Classes such as ``hidden md:block`` hide an element on small screens only. A dialog of Bootstrap
is shown by ``show`` or ``in``."""

_UNSEEN_ATTRIBUTES: Final = frozenset(("hidden", "popover"))
_TEMPLATE: Final = frozenset(
    ("ng-if", "ng-show", "ng-message", "v-if", "v-show", "v-else", "x-show")
)
"""Attributes that show an element only if a script says so. Angular adds a class when it does."""

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters that only say where a line may break."""

BLOCKS: Final = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "br", "button", "center", "dd"),
        *("details", "dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer"),
        *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "input", "label"),
        *("legend", "li", "main", "menu", "nav", "ol", "option", "p", "pre", "section", "select"),
        *("summary", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "tr", "ul"),
    )
)
"""Elements that separate their words from the words around them."""


def is_unseen(element: Any) -> bool:
    """Whether *element* and its content are hidden."""
    if element.tag in _UNSEEN_TAGS:
        return True
    for name, value in element.items():
        if name == "class":
            if _UNSEEN_CLASS.search(value) and not _SEEN_CLASS.search(value):
                return True
        elif name == "style":
            if _UNSEEN_STYLE.search(value):
                return True
        elif name in _UNSEEN_ATTRIBUTES or (
            name in _TEMPLATE and "ng-" not in element.get("class", "")
        ):
            return True
    if element.tag == "dialog":
        return element.get("open") is None
    return element.tag != "summary" and is_closed(element.getparent())


def is_closed(element: Any) -> bool:
    """Whether *element* is one that shows nothing but its summary."""
    return element is not None and element.tag == "details" and element.get("open") is None


def words_of(root: Any) -> str:
    """The visible words of a page, with white space folded. A block ends a word, ``<b>`` does not.

    One pass for a page of any depth and length.
    """
    parts: list[str] = []
    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    unseen = None
    for event, element in walker:
        if event == "start" and is_unseen(element):
            unseen = element
            walker.skip_subtree()  # the next event is its end
            continue
        if element.tag in BLOCKS and element is not unseen:
            parts.append(" ")
        text = element.text if event == "start" else element.tail
        if text and not is_closed(element if event == "start" else element.getparent()):
            parts.append(text)
    return " ".join("".join(parts).translate(_INVISIBLE).split())
