"""JMESPath expressions, checked when the crawl starts, functions included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import jmespath
from jmespath.exceptions import ArityError, JMESPathError, UnknownFunctionError
from jmespath.functions import Functions

from ..text import closest_match
from .errors import RuleError, show

if TYPE_CHECKING:
    from collections.abc import Iterator

JMESPATH: Final = "a JMESPath expression, or a list of them"


def parse_jmespath(value: str) -> Any:
    """The compiled expression, whose ``search`` takes a document.

    Raises:
        RuleError: it is not JMESPath, or calls a function that is unknown or takes other arguments.
    """
    try:
        expression = jmespath.compile(value)
    except (JMESPathError, RecursionError) as error:
        raise _bad(value, error) from None
    for name, count in _calls(expression.parsed):
        _check_call(value, name, count)
    return expression


def _calls(node: Any) -> Iterator[tuple[str, int]]:
    """The functions that a parsed expression calls, with the number of arguments."""
    if isinstance(node, dict):
        if node["type"] == "function_expression":
            yield node["value"], len(node["children"])
        for child in node["children"]:
            yield from _calls(child)


def _check_call(value: str, name: str, count: int) -> None:
    # jmespath looks functions up only when it evaluates them.
    call = f"{name}({', '.join('@' * count)})"
    try:
        jmespath.search(call, None)
    except UnknownFunctionError as error:
        raise _bad(value, error, closest_match(name, Functions.FUNCTION_TABLE)) from None
    except ArityError as error:
        raise _bad(value, error) from None
    except JMESPathError:
        return  # the wrong type (null), but the function exists


def _bad(value: str, error: Exception, suggestion: str | None = None) -> RuleError:
    reason = str(error).partition("\n")[0].rstrip(":")
    return RuleError(f"{show(value)} is a bad JMESPath expression: {reason}", JMESPATH, suggestion)
