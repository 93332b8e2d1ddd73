"""What a page shows: its elements without those that no visitor sees, and its words."""

from __future__ import annotations

import re
from typing import Any, Final

from lxml import etree

_UNSEEN_TAGS: Final = frozenset(
    ("head", "script", "style", "template", "noscript", "iframe", "object", "audio", "video")
)
_UNSEEN_STYLE: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?![.\d])", re.IGNORECASE
)
_UNSEEN_CLASS: Final = re.compile(
    r"(?:^|\s)(?:d-none|invisible|(?:is-|ng-|js-|u-|uk-|visually-)?(?:hidden|hide))(?:\s|$)"
)
_SEEN_CLASS: Final = re.compile(r"(?::|d-\w+-)(?:block|flex|grid|inline|table|visible)")
"""Classes that hide something on small screens show it on others: ``hidden md:block``."""

_TEMPLATE: Final = frozenset(("ng-if", "ng-show", "ng-message", "v-if", "v-show", "v-else"))
"""What shows an element only if a script says so; where one has, Angular has left a class."""

BLOCKS: Final = frozenset(
    (
        *("address", "article", "aside", "blockquote", "body", "br", "button", "center", "dd"),
        *("details", "dialog", "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer"),
        *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "input", "label"),
        *("legend", "li", "main", "menu", "nav", "ol", "option", "p", "pre", "section", "select"),
        *("summary", "table", "tbody", "td", "textarea", "tfoot", "th", "thead", "tr", "ul"),
    )
)
"""Elements that stand on lines of their own, or apart: their words are not those beside them."""


def is_unseen(element: Any) -> bool:
    """Whether *element* is not shown, with all that is in it."""
    if element.tag in _UNSEEN_TAGS:
        return True
    for name, value in element.items():
        if name == "class":
            is_suspect = "hid" in value or "none" in value or "invis" in value
            if is_suspect and _UNSEEN_CLASS.search(value) and not _SEEN_CLASS.search(value):
                return True
        elif name == "style":
            if _UNSEEN_STYLE.search(value):
                return True
        elif name == "hidden" or (name in _TEMPLATE and "ng-" not in element.get("class", "")):
            return True
    return element.tag == "dialog" and element.get("open") is None


def words_of(root: Any) -> str:
    """The words that a page shows, white space folded; a block ends a word, ``<b>`` does not.

    One pass, however deep or long the page is.
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
        if text := element.text if event == "start" else element.tail:
            parts.append(text)
    return " ".join("".join(parts).split())
