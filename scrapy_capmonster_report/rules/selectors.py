"""CSS selectors, XPath and JMESPath expressions, checked when the crawl starts."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jmespath
from cssselect import SelectorError
from jmespath.exceptions import JMESPathError, JMESPathTypeError
from jmespath.functions import Functions
from lxml import etree
from parsel import Selector
from parsel.csstranslator import GenericTranslator, HTMLTranslator

from ..text import closest_match
from .condition import Options
from .errors import RuleError, show
from .names import SETS
from .page import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .page import Page

_TOKEN = re.compile(
    r"""'[^']*'|"[^"]*"
    | (?P<open> (?P<name> \w[\w.:-]* | ) \s* \( ) | (?P<close> \) )
    | (?P<looked_up> \$[\w.:-]+ | \w[\w.-]* : (?!:) (?: \* | \w[\w.-]* ) )""",
    re.VERBOSE,
)
"""A literal, a call or parenthesis and its end, a variable or a prefixed name."""


class _Nodes(Options):
    """One of the selectors selects a node of a page of HTML, XML or plain text."""

    @abstractmethod
    def parse(self, value: object) -> Mapping[str, str]:
        """The XPath for pages of HTML and of XML, where names are case-sensitive."""

    def _selecting(self, page: Page) -> Iterator[tuple[Selector, str]]:
        """The nodes of *page* with each XPath that selects one, or is true as an expression."""
        if (nodes := page.selector) is not None:
            xpaths = (option[nodes.type] for option in self.options)
            yield from ((nodes, xpath) for xpath in xpaths if _selects(xpath, nodes))

    def holds(self, page: Page) -> bool:
        return any(self._selecting(page))

    def found(self, page: Page) -> str | None:
        return next((nodes.xpath(xpath).get() for nodes, xpath in self._selecting(page)), None)


class Css(_Nodes):
    """A CSS selector selects a node."""

    key = "css"
    allowed = "a CSS selector, with Scrapy's ::text and ::attr(name), or a list of them"

    def parse(self, value: object) -> Mapping[str, str]:
        text = self.parse_text(value)
        try:
            xpath = HTMLTranslator().css_to_xpath(text)
            XPath(xpath)  # a prefix such as that of svg|rect is looked up only when it is reached
            return {"html": xpath, "xml": GenericTranslator().css_to_xpath(text)}
        except RuleError as mistake:
            problem: object = mistake.problem
        except (SelectorError, RecursionError) as error:
            problem = error
        except AssertionError:  # cssselect asserts that :lang() has a value
            problem = "it cannot be translated to XPath"
        raise self.mistake(text, f"is a bad CSS selector: {problem}")


class XPath(_Nodes):
    """An XPath expression selects a node or is true."""

    key = "xpath"
    allowed = "an XPath 1.0 expression, with Scrapy's has-class(), re: and set:, or a list of them"

    def parse(self, value: object) -> Mapping[str, str]:
        text = self.parse_text(value)
        part = text
        try:
            etree.XPath(text)
            # Functions and prefixes are looked up only when they are reached, and on an empty
            # page no predicate is: each is tried by itself.
            for part in _parts(text):
                _try_xpath(f"/*[boolean({part})]")
        except (ValueError, TypeError, etree.XPathSyntaxError, re.error) as error:
            reason = str(error).removeprefix("XPath error: ").partition(" in /*[boolean(")[0]
            problem = f"is a bad XPath expression: {reason} in {show(part)}"
            raise self.mistake(text, problem, _suggestion(part)) from None
        return {"html": text, "xml": text}


def _selects(xpath: str, page: Selector) -> bool:
    """Whether *xpath* selects a node of *page*, or is true if it is an expression."""
    try:
        # XPath's own boolean() stops at the first node and knows that 0, "" and NaN are false.
        return bool(page.xpath(f"boolean({xpath})")[0].root)
    except Exception:  # an extension function may raise anything, a regex in the page too
        return False


def _try_xpath(xpath: str) -> None:
    try:
        Selector("<html></html>", type="html").xpath(xpath)
    except Exception as error:
        # A function that the user registered may raise anything on a page that does not suit it.
        if isinstance(error, (ValueError, re.error)) or "positional argument" in str(error):
            raise


def _parts(xpath: str) -> Iterator[str]:
    """The calls, variables and prefixed names in a well-formed *xpath*; a call after its parts."""
    opened = []
    for token in _TOKEN.finditer(xpath):
        if token["open"]:
            is_call = token["name"] not in ("", "and", "or", "div", "mod")
            opened.append(token.start() if is_call else None)
        elif token["close"]:
            if (start := opened.pop()) is not None:
                yield xpath[start : token.end()]
        elif token["looked_up"]:
            yield token[0]
    if opened:
        raise ValueError("A parenthesis is not closed")  # libxml2 lets "count(" pass


def _suggestion(part: str) -> str | None:
    """The function that was probably meant by an unknown one."""
    called, known = part.partition("(")[0].strip(), SETS["xpath functions"]
    return None if called in known else closest_match(called, known)


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
                with suppress(JMESPathTypeError):  # the function exists, and does not take null
                    jmespath.search(f"{name}({', '.join('@' * count)})", None)
        except (JMESPathError, RecursionError) as error:
            reason = str(error).partition("\n")[0].rstrip(":")
            raise self.mistake(text, f"is a bad JMESPath expression: {reason}", meant) from None
        return expression

    def _results(self, page: Page) -> Iterable[Any]:
        if page.json is NOT_JSON:
            return ()
        return (_result(expression, page.json) for expression in self.options)

    def holds(self, page: Page) -> bool:
        return any(self._results(page))

    def found(self, page: Page) -> str | None:
        results = [result for result in self._results(page) if result is not None]
        if not results:
            return None
        result = next(filter(None, results), results[0])
        return json.dumps(result, ensure_ascii=False, default=str)


def _result(expression: Any, document: Any) -> Any:
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
