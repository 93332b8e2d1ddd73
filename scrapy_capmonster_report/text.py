"""Texts for messages: foreign text shortened and made safe to print, and misspelt names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import re
    from collections.abc import Collection, Iterable


LENGTH: Final = 200
"""The most characters of a snippet."""

_CONTEXT: Final = 40
_MORE: Final = "…"


def one_line(text: str) -> str:
    """*text* on one line, without control characters that a terminal would interpret.

    Bytes of a file's name that are not text are escaped.
    """
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else " " for char in text)


def truncate(text: str, length: int = LENGTH) -> str:
    """*text*, cut to at most *length* characters."""
    return text if len(text) <= length else text[: length - 1] + _MORE


def excerpt(match: re.Match[str]) -> str:
    """What was matched, with a little of what stands before and after it."""
    start, end = max(match.start() - _CONTEXT, 0), match.end() + _CONTEXT
    before = _MORE if start > 0 else ""
    after = _MORE if end < len(match.string) else ""
    return truncate(f"{before}{match.string[start:end]}{after}")


def some_of(names: Collection[str], most: int) -> str:
    """The first *most* of *names*, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join([*names][:most]) + more


def closest_match(wrong: object, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of *names* that *wrong* was probably meant to be, or ``None``.

    Args:
        wrong: what was written; case does not matter.
        names: what is allowed.
        cutoff: how similar the two must be, from 0 to 1 (:func:`difflib.get_close_matches`).
    """
    if not isinstance(wrong, str):
        return None
    by_lower = {name.lower(): name for name in names}
    found = difflib.get_close_matches(wrong.strip().lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None
