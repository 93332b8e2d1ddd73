"""The visible elements and words of a page."""

from __future__ import annotations

from typing import Any, Final

from lxml import etree

from .names import SETS, is_like

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters that only say where a line may break."""


def is_unseen(element: Any) -> bool:
    """Whether *element* and its content are hidden."""
    if element.tag in SETS["unseen"]:
        return True
    for name, value in element.items():
        if name == "class":
            hides = is_like(value, "unseen.class")
            if hides and not is_like(value, "unseen.shown class"):
                return True
        elif name == "style":
            if is_like(value, "unseen.style"):
                return True
        elif name in SETS["unseen attributes"]:
            return True
        elif name in SETS["script attributes"] and "ng-" not in element.get("class", ""):
            return True  # Angular adds a class when it shows an element
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
    blocks = SETS["blocks"]
    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    unseen = None
    for event, element in walker:
        if event == "start" and is_unseen(element):
            unseen = element
            walker.skip_subtree()  # the next event is its end
            continue
        if element.tag in blocks and element is not unseen:
            parts.append(" ")
        text = element.text if event == "start" else element.tail
        if text and not is_closed(element if event == "start" else element.getparent()):
            parts.append(text)
    return " ".join("".join(parts).translate(_INVISIBLE).split())
