"""The conditions on the body of a response: its text, words, nodes and JSON."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from .condition import Condition, Regexes
from .jmes import JMESPATH, parse_jmespath
from .page import NOT_JSON
from .selectors import CSS, XPATH, parse_css, parse_xpath
from .snippets import truncate
from .values import strings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scrapy import Spider

    from .page import Page
    from .selectors import Query


class Text(Regexes):
    """A regex is found in the decoded body of a text response."""

    key = "text"

    def _texts(self, page: Page) -> Sequence[str]:
        text = page.text
        return () if text is None else (text,)


class Words(Regexes):
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
