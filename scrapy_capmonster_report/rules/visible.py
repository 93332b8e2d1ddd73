"""What a page shows: its elements without those that no visitor sees, and its words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

if TYPE_CHECKING:
    from collections.abc import Iterator

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

BEGIN: Final = "begin"
END: Final = "end"
TAIL: Final = "tail"

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


def _is_unseen(attributes: list[tuple[str, str]]) -> bool:
    for name, value in attributes:
        if name == "class":
            is_suspect = "hid" in value or "none" in value or "invis" in value
            if is_suspect and _UNSEEN_CLASS.search(value) and not _SEEN_CLASS.search(value):
                return True
        elif name == "style":
            if _UNSEEN_STYLE.search(value):
                return True
        elif name == "hidden" or (
            name in _TEMPLATE and "ng-" not in dict(attributes).get("class", "")
        ):
            return True
    return False


def visible(root: Any) -> Iterator[tuple[str, Any, list[tuple[str, str]]]]:
    """The :data:`BEGIN` and :data:`END` of every element that is shown, in the order of the page.

    The text of an element comes after its beginning, its tail after its end. Of a comment and of an
    element that is not shown only the :data:`TAIL` is. One pass, however deep or long the page is.

    Yields:
        What it is, the element, and at its beginning its attributes.
    """
    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    unseen, none = None, list[tuple[str, str]]()
    for event, element in walker:
        if event == "start":
            tag, attributes = element.tag, element.items()
            is_closed = tag == "dialog" and element.get("open") is None
            if tag in _UNSEEN_TAGS or is_closed or (attributes and _is_unseen(attributes)):
                unseen = element
                walker.skip_subtree()  # the next event is its end
            else:
                yield BEGIN, element, attributes
        elif event == "end" and element is not unseen:
            yield END, element, none
        else:
            yield TAIL, element, none


def words_of(root: Any) -> str:
    """The words that a page shows, white space folded; a block ends a word, ``<b>`` does not."""
    parts: list[str] = []
    for event, element, _ in visible(root):
        if element.tag in BLOCKS:
            parts.append(" ")
        if text := element.text if event is BEGIN else element.tail:
            parts.append(text)
    return " ".join("".join(parts).split())
