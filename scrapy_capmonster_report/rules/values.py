"""Types of values that several conditions share: lists, strings, regexes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from .errors import RuleError, show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Search: TypeAlias = Callable[[str], "re.Match[str] | None"]
"""The ``search`` method of a compiled regex."""

MAX_SEARCHED: Final = 250_000
"""How many characters of a text are searched with a regex that has ``*``, ``+`` or ``{n,}``.

A regex with two of them may try every pair of positions in the text, one with three every triple.
For a page of 5 MB that takes minutes or years, and blocks the whole crawl.
"""

REGEX: Final = "a Python regex as a str, or a list of them"


def options(value: object, allowed: str) -> Sequence[object]:
    """The options of a value: itself, or the items of a list.

    Raises:
        RuleError: the list is empty.
    """
    if not isinstance(value, (list, tuple)):
        return (value,)
    if not value:
        raise RuleError("the list is empty", allowed)
    return value


def mapping(value: object, allowed: str) -> Mapping[Any, object]:
    """The value, which must be a dict.

    Raises:
        RuleError: it is not a dict.
    """
    if isinstance(value, Mapping):
        return value
    raise RuleError(f"{show(value)} is not a dict", allowed)


def strings(value: object, allowed: str) -> list[str]:
    """Like :func:`options`, each of which must be a non-blank str.

    Raises:
        RuleError: one is not a str, or is blank.
    """
    found = []
    for option in options(value, allowed):
        if not isinstance(option, str):
            raise RuleError(f"{show(option)} is not a str", allowed)
        if not option.strip():
            raise RuleError(f"{show(option)} is empty", allowed)
        found.append(option)
    return found


def searches(value: object, *, empty: bool = False) -> tuple[Search, ...]:
    """The regexes of a value.

    Args:
        value: a regex or a list of them.
        empty: whether the regex ``""`` is allowed.

    Raises:
        RuleError: one is not a regex, or is empty where that would match every page.
    """
    return tuple(_compile(option, empty) for option in options(value, REGEX))


def first_match(regexes: Iterable[Search], texts: Sequence[str]) -> re.Match[str] | None:
    """The first match of any regex in any text."""
    for search in regexes:
        for text in texts:
            if match := search(text):
                return match
    return None


def parse_name(value: object) -> str:
    """The name of a rule. It becomes part of a stat's name and of log messages.

    Raises:
        RuleError: it is not a str, is blank, or has unprintable characters.
    """
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise RuleError(f"{show(value)} is not a name", "a str of printable characters")


def _bounded(value: str, regex: re.Pattern[str]) -> Search:
    if any(repeat in value for repeat in ("*", "+", ",}")):
        return lambda text: regex.search(text, 0, MAX_SEARCHED)
    return regex.search


def _compile(value: object, empty: bool) -> Search:
    if not isinstance(value, str):
        raise RuleError(f"{show(value)} is not a str", REGEX)
    if not value and not empty:
        raise RuleError("an empty regex matches every page", REGEX)
    try:
        return _bounded(value, re.compile(value))
    except (re.error, OverflowError, RecursionError) as error:
        raise RuleError(f"{show(value)} is a bad regex: {error}", REGEX) from None
