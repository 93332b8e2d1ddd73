"""Texts for messages: foreign text made safe to print, and suggestions for misspelt names."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def one_line(text: str) -> str:
    """*text* on one line, without control characters that a terminal would interpret."""
    return "".join(char if char.isprintable() else " " for char in text)


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
