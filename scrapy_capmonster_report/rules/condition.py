"""The base classes of conditions, and the conditions that need no parser of their own."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from ..text import closest_match, excerpt
from . import hosts
from .errors import RuleError, error_context, show

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from scrapy import Spider

    from .page import Page

Search: TypeAlias = Callable[[str], "re.Match[str] | None"]
"""The ``search`` method of a compiled regex."""

MAX_SEARCHED: Final = 250_000
"""How many characters of a text are searched with a regex that has ``*``, ``+`` or ``{n,}``.

A regex with two of them may try every pair of positions in the text, one with three every triple.
For a page of 5 MB that takes minutes or years, and blocks the whole crawl.
"""


class Condition(ABC):
    """One condition of a rule, checked and compiled once.

    Args:
        value: what the user wrote.
        spider: the spider that runs, for conditions that name its methods.

    Raises:
        RuleError: the value is invalid.
    """

    key: ClassVar[str]
    needs: Collection[str] = ()
    """What it needs to know of a page that may be unknown (see :class:`~.page.Page`)."""

    def __init__(self, value: object, spider: Spider | None = None) -> None:
        self.value = value
        self.spider = spider

    @abstractmethod
    def holds(self, page: Page) -> bool:
        """Whether the condition holds for *page*, of which all is known."""

    def missing(self, page: Page) -> frozenset[str]:
        """What must be known of *page* to tell whether the condition holds, and is not."""
        return page.unknown.intersection(self.needs)

    def verdict(self, page: Page) -> bool | None:
        """Whether it holds for *page*; ``None`` if that cannot be told from what is known."""
        return None if page.unknown and self.missing(page) else self.holds(page)

    @abstractmethod
    def found(self, page: Page) -> str | None:
        """What it found on *page*, or what the page has instead; ``None`` for nothing.

        Of any length.
        """


class Options(Condition):
    """A condition that holds if one of its options does: its value, or the items of a list."""

    allowed: ClassVar[str]

    def __init__(self, value: object, spider: Spider | None = None) -> None:
        super().__init__(value, spider)
        options = value if isinstance(value, (list, tuple)) else (value,)
        if not options:
            raise RuleError("the list is empty", self.allowed)
        self.options = tuple(map(self.parse, options))

    @abstractmethod
    def parse(self, value: Any) -> Any:
        """One option, ready to be used.

        Raises:
            RuleError: it is invalid.
        """

    def parse_text(self, value: object) -> str:
        """An option that must be a str with more than white space."""
        if not isinstance(value, str):
            raise self.mistake(value, "is not a str")
        if not value.strip():
            raise self.mistake(value, "is empty")
        return value

    def mistake(self, value: object, problem: str, meant: object = None) -> RuleError:
        """The error for an invalid option."""
        return RuleError(f"{show(value)} {problem}", self.allowed, meant)


class Domains(Options):
    """The response's host is one of the domains or a subdomain."""

    key = "domains"
    needs = ("url",)
    allowed = "a host name such as 'shop.example', which covers its subdomains, or a list of them"

    def parse(self, value: object) -> str:
        text = value if isinstance(value, str) else ""
        host = hosts.parse_host(text)
        if host is None:
            raise self.mistake(value, "is not a host name", hosts.host_within(text))
        return host

    def holds(self, page: Page) -> bool:
        return any(domain in self.options for domain in hosts.parents_of(page.host))

    def found(self, page: Page) -> str | None:
        return page.host or None


class Method(Options):
    """The request's method."""

    key = "method"
    needs = ("method",)
    allowed = "an HTTP method such as 'POST', or a list of them"

    def parse(self, value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch("[A-Za-z]+", value):
            methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
            raise self.mistake(value, "is not an HTTP method", closest_match(value, methods))
        return value.upper()

    def holds(self, page: Page) -> bool:
        return page.request.method in self.options

    def found(self, page: Page) -> str | None:
        return page.request.method


class Status(Options):
    """The response's status."""

    key = "status"
    needs = ("status",)
    allowed = "an int from 100 to 999, a class such as '4xx', or a list of them"

    def parse(self, value: object) -> Sequence[int]:
        # LinkedIn answers 999: no upper class is left out.
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 999:
            return (value,)
        if isinstance(value, str) and re.fullmatch("[1-9]xx", value.lower()):
            first = int(value[0]) * 100
            return range(first, first + 100)
        text = (value if isinstance(value, str) else show(value)).strip().lower()
        meant: object = None
        if number := re.fullmatch(r"([1-9][0-9]{2})(\.0)?", text):
            meant = int(number[1])
        elif re.fullmatch(r"[1-9]([x*.]{0,2}|[0-9][x*.])", text):
            meant = f"{text[0]}xx"
        raise self.mistake(value, "is not a status", meant)

    def allows(self, status: int) -> bool:
        """Whether it holds for a response of this *status*."""
        return any(status in statuses for statuses in self.options)

    def holds(self, page: Page) -> bool:
        return self.allows(page.response.status)

    def found(self, page: Page) -> str | None:
        return str(page.response.status)


class _Regexes(Options):
    """One of the regexes is found in one of some texts."""

    allowed = "a Python regex as a str, or a list of them"
    options: tuple[Search, ...]
    may_be_empty: ClassVar[bool] = False

    def parse(self, value: object) -> Search:
        if value == "" and not self.may_be_empty:
            raise RuleError("an empty regex matches every page", self.allowed)
        if not isinstance(value, str):
            raise self.mistake(value, "is not a str")
        try:
            regex = re.compile(value)
        except (re.error, OverflowError) as error:
            raise self.mistake(value, f"is a bad regex: {error}") from None
        except RecursionError:
            raise self.mistake(value, "is a bad regex: it is nested too deeply") from None
        if any(repeat in value for repeat in ("*", "+", ",}")):
            return lambda text: regex.search(text, 0, MAX_SEARCHED)
        return regex.search

    @abstractmethod
    def _texts(self, page: Page) -> Sequence[str]:
        """The texts to search."""

    def _search(self, page: Page) -> re.Match[str] | None:
        texts = self._texts(page)
        for search in self.options:
            for text in texts:
                if match := search(text):
                    return match
        return None

    def holds(self, page: Page) -> bool:
        return self._search(page) is not None

    def found(self, page: Page) -> str | None:
        match = self._search(page)
        return match and excerpt(match)


class Url(_Regexes):
    """A regex is found in the response's URL."""

    key = "url"
    needs = ("url",)

    def _texts(self, page: Page) -> Sequence[str]:
        return (page.response.url,)


class Redirect(_Regexes):
    """A regex is found in a URL that the site redirected the request to."""

    key = "redirect"
    needs = ("redirects",)

    def _texts(self, page: Page) -> Sequence[str]:
        return page.redirects


class Text(_Regexes):
    """A regex is found in the decoded body of a text response."""

    key = "text"

    def _texts(self, page: Page) -> Sequence[str]:
        text = page.text
        return () if text is None else (text,)


class Words(_Regexes):
    """A regex is found in the words that a page shows."""

    key = "words"

    def _texts(self, page: Page) -> Sequence[str]:
        return (page.words,)


class _Header(_Regexes):
    """A header is there and has a value in which a regex is found; the regex ``""`` always is."""

    key = "headers"
    may_be_empty = True

    def __init__(self, name: str, value: object) -> None:
        super().__init__(value)
        self.name = name

    def _texts(self, page: Page) -> Sequence[str]:
        return page.header(self.name)


class Headers(Condition):
    """Each of the headers is there and has a value in which one of its regexes is found."""

    key = "headers"
    needs = ("headers",)
    allowed = (
        "a dict of header name to regex or list of them; the regex '' means that the header exists"
    )

    def __init__(self, value: object, spider: Spider | None = None) -> None:
        super().__init__(value, spider)
        named = mapping(value, self.allowed)
        if not named:
            raise RuleError("the dict is empty", self.allowed)
        self._headers = []
        for name, regexes in named.items():
            if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise RuleError(f"{show(name)} is not a header name", self.allowed)
            with error_context(name):
                self._headers.append(_Header(name, regexes))

    def holds(self, page: Page) -> bool:
        return all(header.holds(page) for header in self._headers)

    def found(self, page: Page) -> str | None:
        names = [header.name for header in self._headers]
        there = [f"{name}: {value}" for name in names for value in page.header(name)]
        return "; ".join(there) or None


def mapping(value: object, allowed: str) -> Mapping[Any, object]:
    """The value, which must be a dict.

    Raises:
        RuleError: it is not a dict.
    """
    if isinstance(value, Mapping):
        return value
    raise RuleError(f"{show(value)} is not a dict", allowed)


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
