"""Callbacks: the user's own functions of a response and its request."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, Final

from scrapy.utils.misc import load_object

from ..text import closest_match
from .errors import RuleError, show

if TYPE_CHECKING:
    from scrapy import Spider

    from .page import Page

ALLOWED: Final = (
    "the name of a spider's method, a path such as 'package.module.function', or a callable; "
    "it is called as callback(response, request)"
)


def resolve(value: object, spider: Spider | None) -> Callable[..., Any]:
    """The function that a ``callback`` names.

    Args:
        value: a spider's method name, a dotted path, or a callable.
        spider: the spider whose methods may be named.

    Raises:
        RuleError: it does not exist, or its result would always be true.
    """
    if isinstance(value, str):
        function = _load(value) if "." in value else _method(value, spider)
    else:
        function = value
    if not callable(function):
        raise RuleError(f"{show(value)} is not callable", ALLOWED)
    # A callable object: look at the method of its class.
    for code in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            raise RuleError(f"{show(value)} is async, so its result is always true", ALLOWED)
        if inspect.isgeneratorfunction(code):
            raise RuleError(f"{show(value)} yields, so its result is always true", ALLOWED)
    _check_arguments(value, function)
    return function


def ask(function: Callable[..., Any], page: Page) -> bool:
    """Whether a callback returns something true for *page*.

    Raises:
        TypeError: it returned an awaitable or a generator, which is always true.
        Exception: the exception of the callback.
    """
    answer = function(page.response, page.request)
    if isinstance(answer, (Awaitable, Generator, AsyncGenerator)):
        if inspect.iscoroutine(answer):
            answer.close()  # otherwise Python warns that it was never awaited
        raise TypeError(f"it returned {type(answer).__name__!r}, which is always true")
    return bool(answer)


def _method(name: str, spider: Spider | None) -> object:
    if spider is None:
        raise RuleError(f"{show(name)} names a spider's method, and a spider is needed", ALLOWED)
    method = getattr(spider, name, None)
    if method is None:
        # From the class, because reading the spider's properties would run them.
        kind = type(spider)
        public = (known for known in dir(kind) if not known.startswith("_"))
        methods = [known for known in public if callable(getattr(kind, known, None))]
        problem = f"the spider {show(spider.name)} has no method {show(name)}"
        raise RuleError(problem, ALLOWED, closest_match(name, methods))
    return method


def _load(path: str) -> object:
    try:
        return load_object(path)
    except Exception as error:  # importing a module runs it
        module, _, name = path.rpartition(".")
        found = closest_match(name, vars(sys.modules[module])) if module in sys.modules else None
        problem = f"{show(path)} cannot be loaded: {type(error).__name__}: {error}"
        raise RuleError(problem, ALLOWED, found and f"{module}.{found}") from None


def _check_arguments(value: object, function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have no signature
        return
    try:
        signature.bind(None, None)
    except TypeError:
        problem = f"{show(value)} takes {signature}, not a response and a request"
        raise RuleError(problem, ALLOWED) from None
    if _is_swapped([*signature.parameters][:2]):
        problem = f"{show(value)} takes {signature}, the request before the response"
        raise RuleError(problem, ALLOWED)


def _is_swapped(names: Sequence[str]) -> bool:
    """Whether the parameters' names say that the request comes first, or the response second.

    Such a callback would get the wrong objects and never match.
    """
    return names[0] in ("request", "req") or names[1:] in (["response"], ["resp"], ["res"])
