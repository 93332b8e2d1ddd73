"""Snippets of a page that fit on a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re

LENGTH: Final = 200
"""The most characters of a snippet."""

_CONTEXT: Final = 40
_MORE: Final = "…"


def truncate(text: str, length: int = LENGTH) -> str:
    """*text*, or as much of its beginning as a snippet of at most *length* characters holds."""
    return text if len(text) <= length else text[: length - 1] + _MORE


def excerpt(match: re.Match[str]) -> str:
    """What was matched, with a little of what stands before and after it."""
    start, end = max(match.start() - _CONTEXT, 0), match.end() + _CONTEXT
    before = _MORE if start > 0 else ""
    after = _MORE if end < len(match.string) else ""
    return truncate(f"{before}{match.string[start:end]}{after}")
