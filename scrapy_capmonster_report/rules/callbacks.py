"""Callbacks: the user's own functions of a response and its request."""

from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any

from scrapy.utils.misc import load_object

from ..text import closest_match
from .condition import Options
from .errors import RuleError, show

if TYPE_CHECKING:
    from .page import Page


class Callback(Options):
    """A function of the user returns something true. Its exceptions are passed on."""

    key = "callback"
    needs = ("url", "status")  # what most functions look at, beside the body
    allowed = (
        "the name of a spider's method, a path such as 'package.module.function', or a callable; "
        "it is called as callback(response, request)"
    )

    def parse(self, value: object) -> Callable[..., Any]:
        function = value
        if isinstance(value, str):
            function = self._load(value) if "." in value else self._method(value)
        if not callable(function):
            raise self.mistake(value, "is not callable")
        if problem := _problem_of(function):
            raise self.mistake(value, problem)
        return function

    def holds(self, page: Page) -> bool:
        return any(_ask(function, page) for function in self.options)

    def found(self, page: Page) -> str | None:
        return None  # asking again what it saw might have effects

    def _method(self, name: str) -> object:
        if self.spider is None:
            raise self.mistake(name, "names a spider's method, and a spider is needed")
        try:
            method = getattr(self.spider, name, None)
        except Exception as error:  # a property may raise anything
            raise self.mistake(name, f"raises {type(error).__name__}: {error}") from None
        if method is None:
            # From the class, because reading the spider's properties would run them.
            kind = type(self.spider)
            public = (known for known in dir(kind) if not known.startswith("_"))
            methods = [known for known in public if callable(getattr(kind, known, None))]
            problem = f"the spider {show(self.spider.name)} has no method {show(name)}"
            raise RuleError(problem, self.allowed, closest_match(name, methods))
        return method

    def _load(self, path: str) -> object:
        try:
            return load_object(path)
        except Exception as error:  # importing a module runs it
            module, _, name = path.rpartition(".")
            names = vars(sys.modules[module]) if module in sys.modules else ()
            found = closest_match(name, names)
            problem = f"cannot be loaded: {type(error).__name__}: {error}"
            raise self.mistake(path, problem, found and f"{module}.{found}") from None


def _ask(function: Callable[..., Any], page: Page) -> bool:
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


def _problem_of(function: Callable[..., Any]) -> str | None:
    """Why a function cannot be a callback, or ``None`` if it can."""
    if inspect.isclass(function):
        return "is a class, so its result is always true"
    # A callable object: look at the method of its class.
    for code in (function, getattr(function, "__call__", None)):  # noqa: B004
        if inspect.iscoroutinefunction(code) or inspect.isasyncgenfunction(code):
            return "is async, so its result is always true"
        if inspect.isgeneratorfunction(code):
            return "yields, so its result is always true"
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C have no signature
        return None
    try:
        signature.bind(None, None)
    except TypeError:
        return f"takes {signature}, not a response and a request"
    # By their names, such a callback would get the wrong objects and never match.
    first, second = [*signature.parameters, ""][:2]
    if first in ("request", "req") or second in ("response", "resp", "res"):
        return f"takes {signature}, the request before the response"
    return None
