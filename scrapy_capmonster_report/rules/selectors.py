"""CSS and XPath selectors, checked when the crawl starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cssselect import SelectorError
from parsel import Selector
from parsel.csstranslator import GenericTranslator, HTMLTranslator

from ..text import closest_match
from .errors import RuleError, show

if TYPE_CHECKING:
    from collections.abc import Iterator

CSS: Final = "a CSS selector, with Scrapy's ::text and ::attr(name), or a list of them"
XPATH: Final = "an XPath 1.0 expression, with Scrapy's has-class(), re: and set:, or a list of them"

# The functions of XPath 1.0, and those of parsel.
_FUNCTIONS: Final = (
    *("boolean", "ceiling", "comment", "concat", "contains", "count", "false", "floor", "id"),
    *("lang", "last", "local-name", "name", "namespace-uri", "node", "normalize-space", "not"),
    *("number", "position", "processing-instruction", "round", "starts-with", "string"),
    *("string-length", "substring", "substring-after", "substring-before", "sum", "text"),
    *("translate", "true", "has-class", "re:match", "re:replace", "re:test", "set:difference"),
    *("set:distinct", "set:has-same-node", "set:intersection", "set:leading", "set:trailing"),
)
_LITERAL = re.compile(r"'[^']*'|\"[^\"]*\"")
# A variable, a prefixed name, or the name of a function with its opening parenthesis.
_NAME = re.compile(r"\$?\w[\w.-]*(?P<prefixed>:(?!:)(?:\*|\w[\w.-]*))?(?P<call>\s*\()?")
_OPERATORS: Final = frozenset(("and", "or", "div", "mod"))


class Query:
    """A checked selector.

    Args:
        html: the XPath for pages of HTML.
        xml: the XPath for pages of XML, if it differs: names are case-sensitive there.
    """

    def __init__(self, html: str, xml: str | None = None) -> None:
        self._xpath = {"html": html, "xml": html if xml is None else xml}
        # XPath's own boolean() stops at the first node and knows that 0, "" and NaN are false.
        self._any = {kind: f"boolean({xpath})" for kind, xpath in self._xpath.items()}

    def selects(self, page: Selector) -> bool:
        """Whether it selects a node of *page*, or is true if it is an expression."""
        try:
            return bool(page.xpath(self._any[page.type])[0].root)
        except Exception:  # an extension function may raise anything, a regex in the page too
            return False

    def first(self, page: Selector) -> str | None:
        """The first node of *page* that it selects, as HTML, or the value of an expression."""
        return page.xpath(self._xpath[page.type]).get()


def parse_css(value: str) -> Query:
    """The query for a CSS selector, Scrapy's ``::text`` and ``::attr()`` included.

    Raises:
        RuleError: it is not a CSS selector, or uses something that Scrapy does not support.
    """
    try:
        return Query(HTMLTranslator().css_to_xpath(value), GenericTranslator().css_to_xpath(value))
    except (SelectorError, RecursionError) as error:
        raise RuleError(f"{show(value)} is a bad CSS selector: {error}", CSS) from None


def parse_xpath(value: str) -> Query:
    """The query for an XPath expression, Scrapy's functions and namespaces included.

    Raises:
        RuleError: it is not XPath, or uses an unknown function, variable or prefix.
    """
    page = Selector("<html></html>", type="html")
    _try(page, value, value, value)
    # Functions and prefixes are looked up only when they are reached, and on this page no
    # predicate is: each is tried by itself.
    for part in _parts(value):
        _try(page, f"/*[boolean({part})]", part, value)
    return Query(value)


def _try(page: Selector, query: str, part: str, whole: str) -> None:
    """Ask *query*, which is there for a *part* of the expression that the user wrote."""
    try:
        page.xpath(query)
    except (ValueError, re.error) as error:
        reason = str(error).removeprefix("XPath error: ").removesuffix(f" in {query}")
        problem = f"{show(whole)} is a bad XPath expression: {reason} in {show(part)}"
        raise RuleError(problem, XPATH, _suggestion(part)) from None
    except Exception:  # a function that the user registered, and that this page does not suit
        return


def _parts(xpath: str) -> Iterator[str]:
    """The calls, variables and prefixed names in a well-formed *xpath*."""
    masked = _LITERAL.sub(lambda literal: " " * len(literal[0]), xpath)
    for name in _NAME.finditer(masked):
        if name["call"]:
            if name[0][:-1].strip() not in _OPERATORS:
                yield xpath[name.start() : _closing(masked, name.end())]
        elif name["prefixed"] or name[0].startswith("$"):
            yield name[0]


def _suggestion(xpath: str) -> str | None:
    """The function with the closest name to the first unknown one in *xpath*."""
    for name in _NAME.finditer(_LITERAL.sub("", xpath)):
        called = name[0][:-1].strip()
        if name["call"] and called not in _OPERATORS and called not in _FUNCTIONS:
            return closest_match(called, _FUNCTIONS)
    return None


def _closing(masked: str, start: int) -> int:
    """The position after the parenthesis that was opened before *start*."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(masked[start], 0)
        start += 1
    return start
