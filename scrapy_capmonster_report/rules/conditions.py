"""The conditions of a rule: the table at the end names them all.

A new condition is a class in :mod:`.condition` or :mod:`.body_conditions`, and its place in
:data:`CONDITIONS`.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ..text import closest_match
from . import callbacks
from .body_conditions import Css, JmesPath, Text, Words, XPath
from .condition import Condition, Domains, Headers, Method, Redirect, Status, Url
from .errors import RuleError, error_context
from .snippets import truncate
from .values import mapping, options, parse_name

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from scrapy import Spider

    from .page import Page


class Unless(Condition):
    """None of some groups of conditions holds as a whole."""

    key = "unless"
    _ALLOWED = "a dict of conditions, or a list of such dicts"

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        known = {key: kind for key, kind in CONDITIONS.items() if kind is not Unless}
        self._groups = [
            compile_conditions(mapping(group, self._ALLOWED), spider, known, ("name",))
            for group in options(value, self._ALLOWED)
        ]
        self.needs = frozenset().union(*(item.needs for item in chain(*self._groups)))

    def holds(self, page: Page) -> bool:
        return self._group(page) is None

    def verdict(self, page: Page) -> bool | None:
        groups = [all_hold(group, page) for group in self._groups]
        return False if True in groups else None if None in groups else True

    def found(self, page: Page) -> str | None:
        there = (condition.found(page) for condition in self._group(page) or ())
        return truncate("; ".join(filter(None, there))) or None

    def _group(self, page: Page) -> Sequence[Condition] | None:
        """The first group that holds as a whole."""
        for group in self._groups:
            if all(condition.holds(page) for condition in group):
                return group
        return None


class Callback(Condition):
    """A function of the user returns something true. Its exceptions are passed on."""

    key = "callback"
    needs = frozenset({"url", "status"})  # what most functions look at, beside the body

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        named = options(value, callbacks.ALLOWED)
        self._functions = [callbacks.resolve(option, spider) for option in named]

    def holds(self, page: Page) -> bool:
        return any(callbacks.ask(function, page) for function in self._functions)

    def found(self, page: Page) -> str | None:
        return None  # asking again what it saw might have effects


CONDITIONS: Final[Mapping[str, type[Condition]]] = {
    condition.key: condition
    for condition in (
        Domains,
        Method,
        Status,
        Url,
        Redirect,
        Headers,
        Text,
        JmesPath,
        Css,
        XPath,
        Words,
        Unless,
        Callback,
    )
}
"""Every condition by its key, in the order in which a rule checks them: the cheapest first."""


def all_hold(conditions: Iterable[Condition], page: Page) -> bool | None:
    """Whether all *conditions* hold; ``None`` if that cannot be told from what is known.

    If one does not hold, the result is ``False``, even if others need to know more.
    """
    unknown = False
    for condition in conditions:
        verdict = condition.verdict(page)
        if verdict is False:
            return False
        unknown |= verdict is None
    return None if unknown else True


def compile_conditions(
    written: Mapping[Any, object],
    spider: Spider | None,
    known: Mapping[str, type[Condition]],
    labels: Collection[str],
) -> tuple[Condition, ...]:
    """The conditions in *written*, the cheapest first.

    Args:
        written: a dict of keys to values.
        spider: passed on to the conditions.
        known: the conditions that may stand in it.
        labels: the keys that may stand beside them.

    Raises:
        RuleError: a key is unknown, a value wrong, or there is no condition.
    """
    allowed = (*labels, *known)
    for key in written:
        if key not in allowed:
            mistake = RuleError(
                "there is no such key here", ", ".join(allowed), closest_match(key, allowed)
            )
            raise mistake.in_key(key)
    conditions = []
    for key, condition in known.items():
        if key in written:
            with error_context(key):
                conditions.append(condition(written[key], spider))
    if not conditions:
        problem = "it has no condition and would match every page"
        raise RuleError(problem, f"at least one of {', '.join(known)}")
    with error_context("name"):
        parse_name(written.get("name", "no name"))
    return tuple(conditions)
