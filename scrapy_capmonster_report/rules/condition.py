"""The base class of conditions, and the conditions on everything but the body of a response.

Conditions on the body are in :mod:`.body_conditions`; :mod:`.conditions` has them all.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from ..text import closest_match
from . import hosts
from .errors import RuleError, error_context, show
from .snippets import excerpt, truncate
from .values import first_match, mapping, options, searches

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from scrapy import Spider

    from .page import Page
    from .values import Search


class Condition(ABC):
    """One condition of a rule, checked and compiled once.

    Args:
        value: what the user wrote.
        spider: the spider that runs, for conditions that name its methods.

    Raises:
        RuleError: the value is invalid.
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
        """What it found on *page*, or what the page has instead; ``None`` for nothing."""


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
                f"{show(value)} is not an HTTP method", self._ALLOWED, closest_match(value, methods)
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
        raise RuleError(f"{show(value)} is not a status", self._ALLOWED, self._suggestion(value))

    def _suggestion(self, value: object) -> int | str | None:
        text = str(value).strip().lower()
        if number := re.fullmatch(r"([1-9][0-9]{2})(\.0)?", text):
            return int(number[1])
        return f"{text[0]}xx" if re.fullmatch(r"[1-9]([x*.]{0,2}|[0-9][x*.])", text) else None

    def holds(self, page: Page) -> bool:
        return page.status in self.statuses

    def found(self, page: Page) -> str | None:
        return str(page.status)


class Regexes(Condition):
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


class Url(Regexes):
    """A regex is found in the response's URL."""

    key = "url"
    needs = frozenset({"url"})

    def _texts(self, page: Page) -> Sequence[str]:
        return (page.url,)


class Redirect(Regexes):
    """A regex is found in a URL that the site redirected the request to."""

    key = "redirect"
    needs = frozenset({"redirects"})

    def _texts(self, page: Page) -> Sequence[str]:
        return page.redirects


class Headers(Condition):
    """Each of the headers is there and has a value in which one of its regexes is found."""

    key = "headers"
    needs = frozenset({"headers"})
    _ALLOWED = (
        "a dict of header name to regex or list of them; the regex '' means that the header exists"
    )

    def __init__(self, value: object, spider: Spider | None) -> None:
        super().__init__(value, spider)
        named = mapping(value, self._ALLOWED)
        if not named:
            raise RuleError("the dict is empty", self._ALLOWED)
        self._headers: list[tuple[str, tuple[Search, ...]]] = []
        for name, regexes in named.items():
            if not isinstance(name, str) or not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
                raise RuleError(f"{show(name)} is not a header name", self._ALLOWED)
            with error_context(name):
                self._headers.append((name, searches(regexes, empty=True)))

    def holds(self, page: Page) -> bool:
        return all(first_match(regexes, page.header(name)) for name, regexes in self._headers)

    def found(self, page: Page) -> str | None:
        there = [f"{name}: {value}" for name, _ in self._headers for value in page.header(name)]
        return truncate("; ".join(there)) or None
