"""JMESPath expressions, checked when the crawl starts, functions included."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jmespath
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions

from ..text import closest_match
from .condition import Options
from .errors import RuleError, show
from .page import NOT_JSON
from .snippets import truncate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .page import Page


class JmesPath(Options):
    """An expression has a true result on a response of JSON."""

    key = "jmespath"
    allowed = "a JMESPath expression, or a list of them"

    def parse(self, value: object) -> Any:
        text, meant = self.parse_text(value), None
        try:
            expression = jmespath.compile(text)
            for name, count in _calls(expression.parsed):
                if name not in Functions.FUNCTION_TABLE:
                    meant = closest_match(name, Functions.FUNCTION_TABLE)
                # jmespath looks functions up only when it evaluates them.
                _try(f"{name}({', '.join('@' * count)})")
        except (JMESPathError, RecursionError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            problem = f"{show(text)} is a bad JMESPath expression: {reason}"
            raise RuleError(problem, self.allowed, meant) from None
        return expression

    def _results(self, page: Page) -> Iterable[Any]:
        if page.json is NOT_JSON:
            return ()
        return (_search(expression, page.json) for expression in self.options)

    def holds(self, page: Page) -> bool:
        return any(self._results(page))

    def found(self, page: Page) -> str | None:
        results = [result for result in self._results(page) if result is not None]
        if not results:
            return None
        result = next(filter(None, results), results[0])
        return truncate(json.dumps(result, ensure_ascii=False, default=str))


def _search(expression: Any, document: Any) -> Any:
    try:
        return expression.search(document)
    except Exception:  # the document is not of the types that the expression works on
        return None


def _calls(node: Any) -> Iterator[tuple[str, int]]:
    """The functions that a parsed expression calls, with the number of arguments."""
    if isinstance(node, dict):
        if node["type"] == "function_expression":
            yield node["value"], len(node["children"])
        for child in node["children"]:
            yield from _calls(child)


def _try(call: str) -> None:
    with suppress(JMESPathTypeError):  # the function exists, and does not take null
        jmespath.search(call, None)
