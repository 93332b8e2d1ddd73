"""The forms of a value that many conditions share: any of a list, strings, regexes."""

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
"""Characters of a text in which a regex with ``*``, ``+`` or ``{n,}`` is searched.

Two of them in one regex may look at each pair of places in the text, three at each triple: of a
page of 5 MB that is minutes or years, in which the whole crawl stands still.
"""

REGEX: Final = "a Python regex as a str, or a list of them"


def options(value: object, allowed: str) -> Sequence[object]:
    """What a value stands for: itself, or any of a list.

    Raises:
        RuleError: the list is empty.
    """
    if not isinstance(value, (list, tuple)):
        return (value,)
    if not value:
        raise RuleError("the list is empty", allowed)
    return value


def mapping(value: object, allowed: str) -> Mapping[Any, object]:
    """The dict that a value must be.

    Raises:
        RuleError: it is none.
    """
    if isinstance(value, Mapping):
        return value
    raise RuleError(f"{show(value)} is no dict", allowed)


def strings(value: object, allowed: str) -> list[str]:
    """Like :func:`options`, where each must be a str that says something.

    Raises:
        RuleError: one is no str, or blank.
    """
    found = []
    for option in options(value, allowed):
        if not isinstance(option, str):
            raise RuleError(f"{show(option)} is no str", allowed)
        if not option.strip():
            raise RuleError(f"{show(option)} is empty", allowed)
        found.append(option)
    return found


def searches(value: object, *, empty: bool = False) -> tuple[Search, ...]:
    """The regexes of a value.

    Args:
        value: a regex or a list of them.
        empty: whether the regex ``""`` says something.

    Raises:
        RuleError: one is no regex, or empty where that would match every page.
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
    """The name of a rule; it becomes part of a stat's name and of lines in the log.

    Raises:
        RuleError: it is no str, blank, or has characters that cannot be printed.
    """
    if isinstance(value, str) and value.strip() and value.isprintable():
        return value
    raise RuleError(f"{show(value)} is no name", "a str of printable characters")


def _bounded(value: str, regex: re.Pattern[str]) -> Search:
    if any(repeat in value for repeat in ("*", "+", ",}")):
        return lambda text: regex.search(text, 0, MAX_SEARCHED)
    return regex.search


def _compile(value: object, empty: bool) -> Search:
    if not isinstance(value, str):
        raise RuleError(f"{show(value)} is no str", REGEX)
    if not value and not empty:
        raise RuleError("an empty regex matches every page", REGEX)
    try:
        return _bounded(value, re.compile(value))
    except (re.error, OverflowError, RecursionError) as error:
        raise RuleError(f"{show(value)} is a bad regex: {error}", REGEX) from None
