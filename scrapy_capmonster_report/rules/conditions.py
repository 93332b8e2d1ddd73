"""The conditions of a rule, one class each; the table at the end names them all.

A new condition is a class here and its place in :data:`CONDITIONS`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..text import closest_match
from . import callbacks, hosts
from .errors import RuleError, error_context, show
from .jmes import JMESPATH, parse_jmespath
from .page import NOT_JSON
from .selectors import CSS, XPATH, parse_css, parse_xpath
from .snippets import excerpt, truncate
from .values import first_match, mapping, options, parse_name, searches, strings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from scrapy import Spider

    from .page import Page
    from .selectors import Query
    from .values import Search


class Condition(ABC):
    """One condition of a rule, checked and compiled once.

    Args:
        value: what the user wrote.
        spider: the spider that runs, for conditions that name its methods.

    Raises:
        RuleError: the value cannot be meant.
    """

    key: ClassVar[str]
    needs: frozenset[str] = frozenset()
    """What it needs to know of a page that may be unknown (see :class:`~.page.Page`)."""

    def __init__(self, value: object, spider: Spider | None) -> None:
        self.value = value

    @abstractmethod
    def holds(self, page: Page) -> bool:
        """Whether the condition holds for *page*, of which all is known."""

    def verdict(self, page: Page) -> bool | None:
        """Whether it holds for *page*; ``None`` if that cannot be told from what is known."""
        return None if self.needs & page.unknown else self.holds(page)

    @abstractmethod
    def found(self, page: Page) -> str | None:
        """What it found on *page*, or what stands there instead; ``None`` for nothing."""


class Domains(Condition):
    """The response's host is one of the domains or a subdomain."""

    key = "domains"
    needs = frozenset({"url"})

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        self.domains = frozenset(map(hosts.parse_domain, options(value, hosts.ALLOWED)))

    def holds(self, page: Page) -> bool:
        return not self.domains.isdisjoint(hosts.parents_of(page.host))

    def found(self, page: Page) -> str | None:
        return truncate(page.host) or None


class Method(Condition):
    """The request's method."""

    key = "method"
    needs = frozenset({"method"})
    _ALLOWED = "an HTTP method such as 'POST', or a list of them"

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        self._methods = frozenset(map(self._parse, options(value, self._ALLOWED)))

    def _parse(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch("[A-Za-z]+", value):
            methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
            raise RuleError(
                f"{show(value)} is no HTTP method", self._ALLOWED, closest_match(value, methods)
            )
        return value.upper()

    def holds(self, page: Page) -> bool:
        return page.request.method in self._methods

    def found(self, page: Page) -> str | None:
        return page.request.method


class Status(Condition):
    """The response's status."""

    key = "status"
    needs = frozenset({"status"})
    _ALLOWED = "an int from 100 to 999, a class such as '4xx', or a list of them"

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        parsed = map(self._parse, options(value, self._ALLOWED))
        self.statuses = frozenset(chain.from_iterable(parsed))

    def _parse(self, value: object) -> Iterable[int]:
        # LinkedIn answers 999: no upper class is left out.
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 999:
            return (value,)
        if isinstance(value, str) and re.fullmatch("[1-9]xx", value.lower()):
            first = int(value[0]) * 100
            return range(first, first + 100)
        raise RuleError(f"{show(value)} is no status", self._ALLOWED, self._meant(value))

    def _meant(self, value: object) -> int | str | None:
        text = str(value).strip().lower()
        if number := re.fullmatch(r"([1-9][0-9]{2})(\.0)?", text):
            return int(number[1])
        return f"{text[0]}xx" if re.fullmatch(r"[1-9]([x*.]{0,2}|[0-9][x*.])", text) else None

    def holds(self, page: Page) -> bool:
        return page.status in self.statuses

    def found(self, page: Page) -> str | None:
        return str(page.status)


class _Regexes(Condition):
    """One of the regexes is found in one of some texts."""

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        self._searches = searches(value)

    @abstractmethod
    def _texts(self, page: Page) -> Sequence[str]:
        """The texts to search."""

    def holds(self, page: Page) -> bool:
        return first_match(self._searches, self._texts(page)) is not None

    def found(self, page: Page) -> str | None:
        match = first_match(self._searches, self._texts(page))
        return match and excerpt(match)


class Url(_Regexes):
    """A regex is found in the response's URL."""

    key = "url"
    needs = frozenset({"url"})

    def _texts(self, page: Page) -> Sequence[str]:
        return (page.url,)


class Redirect(_Regexes):
    """A regex is found in a URL that the site redirected the request to."""

    key = "redirect"
    needs = frozenset({"redirects"})

    def _texts(self, page: Page) -> Sequence[str]:
        return page.redirects


class Headers(Condition):
    """Each of the headers is there and has a value in which one of its regexes is found."""

    key = "headers"
    needs = frozenset({"headers"})
    _ALLOWED = "a dict of header name to regex or list of them; the regex '' means: is there"

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        named = mapping(value, self._ALLOWED)
        if not named:
            raise RuleError("the dict is empty", self._ALLOWED)
        self._headers: list[tuple[str, tuple[Search, ...]]] = []
        for name, regexes in named.items():
            if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise RuleError(f"{show(name)} is no header name", self._ALLOWED)
            with error_context(name):
                self._headers.append((name, searches(regexes, empty=True)))

    def holds(self, page: Page) -> bool:
        return all(first_match(regexes, page.header(name)) for name, regexes in self._headers)

    def found(self, page: Page) -> str | None:
        there = [f"{name}: {value}" for name, _ in self._headers for value in page.header(name)]
        return truncate("; ".join(there)) or None


class Text(_Regexes):
    """A regex is found in the decoded body of a text response."""

    key = "text"

    def _texts(self, page: Page) -> Sequence[str]:
        return () if page.text is None else (page.text,)


class Words(_Regexes):
    """A regex is found in the words that a page shows."""

    key = "words"

    def _texts(self, page: Page) -> Sequence[str]:
        return (page.words,)


class JmesPath(Condition):
    """An expression has a true result on a response of JSON."""

    key = "jmespath"

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        self._expressions = [parse_jmespath(option) for option in strings(value, JMESPATH)]

    def _results(self, page: Page) -> Iterable[Any]:
        if page.json is NOT_JSON:
            return ()
        return (self._search(expression, page.json) for expression in self._expressions)

    def _search(self, expression: Any, document: Any) -> Any:
        try:
            return expression.search(document)
        except Exception:  # the document is not of the types that the expression works on
            return None

    def holds(self, page: Page) -> bool:
        return any(self._results(page))

    def found(self, page: Page) -> str | None:
        results = [result for result in self._results(page) if result is not None]
        if not results:
            return None
        return truncate(
            json.dumps(next(filter(None, results), results[0]), ensure_ascii=False, default=str)
        )


class _Nodes(Condition):
    """One of the selectors selects a node of a page of HTML, XML or plain text."""

    _ALLOWED: ClassVar[str]

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        self._queries = [self._parse(option) for option in strings(value, self._ALLOWED)]

    @staticmethod
    @abstractmethod
    def _parse(value: str) -> Query:
        """The query of one selector."""

    def holds(self, page: Page) -> bool:
        selector = page.selector
        return selector is not None and any(query.selects(selector) for query in self._queries)

    def found(self, page: Page) -> str | None:
        selector = page.selector
        if selector is None:
            return None
        nodes = (query.first(selector) for query in self._queries if query.selects(selector))
        node = next(nodes, None)
        return None if node is None else truncate(node)


class Css(_Nodes):
    """A CSS selector selects a node."""

    key = "css"
    _ALLOWED = CSS
    _parse = staticmethod(parse_css)


class XPath(_Nodes):
    """An XPath expression selects a node or is true."""

    key = "xpath"
    _ALLOWED = XPATH
    _parse = staticmethod(parse_xpath)


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
    """A function of the user's says so; what it raises is passed on."""

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
"""Every condition by its key, in the order in which a rule asks them: the cheapest first."""


def all_hold(conditions: Iterable[Condition], page: Page) -> bool | None:
    """Whether all *conditions* hold; ``None`` if that cannot be told from what is known.

    One that does not hold decides, whatever the others need to know.
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
    """The conditions that *written* asks for, the cheapest first.

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
            raise mistake.under(key)
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
