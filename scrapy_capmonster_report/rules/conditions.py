"""The conditions of a rule: the table names them all."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ..text import closest_match
from .callbacks import Callback
from .condition import (
    Condition,
    Domains,
    Headers,
    Method,
    Options,
    Redirect,
    Status,
    Text,
    Url,
    Words,
    mapping,
)
from .errors import RuleError, error_context, show
from .selectors import Css, JmesPath, XPath
from .snippets import truncate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from scrapy import Spider

    from .page import Page


class Unless(Options):
    """None of some groups of conditions holds as a whole."""

    key = "unless"
    allowed = "a dict of conditions, or a list of such dicts"

    def __init__(self, value: object, spider: Spider | None = None) -> None:
        super().__init__(value, spider)
        self.needs = frozenset().union(*(item.needs for item in chain(*self.options)))

    def parse(self, value: object) -> tuple[Condition, ...]:
        known = {key: kind for key, kind in CONDITIONS.items() if kind is not Unless}
        return compile_conditions(mapping(value, self.allowed), self.spider, known, ("name",))

    def holds(self, page: Page) -> bool:
        return self._group(page) is None

    def verdict(self, page: Page) -> bool | None:
        groups = [all_true(item.verdict(page) for item in group) for group in self.options]
        return False if True in groups else None if None in groups else True

    def found(self, page: Page) -> str | None:
        there = (condition.found(page) for condition in self._group(page) or ())
        return truncate("; ".join(filter(None, there))) or None

    def _group(self, page: Page) -> Sequence[Condition] | None:
        """The first group that holds as a whole."""
        holding = (group for group in self.options if all(item.holds(page) for item in group))
        return next(holding, None)


_OF_REQUEST_AND_HEAD: Final = (Domains, Method, Status, Url, Redirect, Headers)
_OF_BODY: Final = (Text, JmesPath, Css, XPath, Words)

CONDITIONS: Final[Mapping[str, type[Condition]]] = {
    condition.key: condition for condition in (*_OF_REQUEST_AND_HEAD, *_OF_BODY, Unless, Callback)
}
"""Every condition by its key, in the order in which a rule checks them: the cheapest first."""


def all_true(verdicts: Iterable[bool | None]) -> bool | None:
    """Whether all *verdicts* are true; ``None`` if that cannot be told, as some are ``None``.

    If one is false, the result is ``False``, even if others are ``None``.
    """
    unknown = False
    for verdict in verdicts:
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
            with error_context(key):
                meant = closest_match(key, allowed)
                raise RuleError("there is no such key here", ", ".join(allowed), meant)
    conditions = []
    for key, condition in known.items():
        if key in written:
            with error_context(key):
                conditions.append(condition(written[key], spider))
    if not conditions:
        problem = "it has no condition and would match every page"
        raise RuleError(problem, f"at least one of {', '.join(known)}")
    name = written.get("name", "no name")
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        with error_context("name"):
            raise RuleError(f"{show(name)} is not a name", "a str of printable characters")
    return tuple(conditions)
