"""A response as the conditions see it. Each view of it is made once, when it is first needed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast
from urllib.parse import urljoin, urlsplit

from lxml import etree
from parsel import Selector
from scrapy.http import HtmlResponse, JsonResponse, XmlResponse
from scrapy.utils.response import get_meta_refresh
from w3lib.url import canonicalize_url, safe_url_string

from .hosts import host_and_port, host_of
from .names import SETS, has_name, regex

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scrapy import Request
    from scrapy.http import Response

T = TypeVar("T")

NOT_JSON: Final = object()
"""The :attr:`Page.json` of a page that is not JSON (``None`` is a JSON value)."""

_MAX_REFRESH_DELAY: Final = 100
"""Seconds. Like Scrapy, ignore a later meta refresh (for example a log-out after half an hour)."""

MAX_BODY: Final = 10_000_000
"""The largest body in bytes. If it is larger, only status, URL and headers are judged."""

_MAX_NEAR: Final = 20
"""How many elements before or around a message are searched for its field and form."""

_MAX_CALL_END: Final = 20

_INVISIBLE: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u2060\ufeff"))
"""Characters that only say where a line may break."""


class view(Generic[T]):  # noqa: N801  (a decorator, as property is)
    """A view of a page: made once, when it is first needed.

    Either the property of a page, or a function of one. The seconds that it takes count for the
    page, not for the condition that needs it first.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self.name = f"{make.__module__}.{make.__name__}"
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name  # so that Python finds the result before this descriptor

    def __get__(self, page: Page, owner: type) -> T:
        before, started = page.preparing, page.clock()
        made = page.__dict__[self.name] = self._make(page)
        page.preparing = before + page.clock() - started
        return made

    def __call__(self, page: Page) -> T:
        made = page.__dict__
        return cast("T", made[self.name]) if self.name in made else self.__get__(page, Page)


@dataclass(eq=False)
class Page:
    """A response and the request it answers.

    Views do not raise: a body that cannot be decoded or parsed has no text, no nodes or no JSON.

    Args:
        response: the response.
        request: the request; ``response.request`` is not yet set in a downloader middleware.
        followed: the URLs that the site redirected this request to.
        unknown: what is not known of a saved page: ``"url"``, ``"status"``, ``"method"``,
            ``"headers"``, ``"redirects"``. Response and request then have a placeholder.
        clock: returns seconds.
    """

    response: Response
    request: Request
    followed: Sequence[str] = ()
    unknown: frozenset[str] = frozenset()
    clock: Callable[[], float] = perf_counter

    preparing = 0.0
    """Seconds that its views took to make."""

    is_too_large = False
    """Whether a condition needed its body, but the body is too large."""

    @view
    def host(self) -> str:
        """The host of the response's URL, as :func:`~.hosts.host_of` gives it."""
        return host_of(self.response.url)

    @view
    def redirects(self) -> Sequence[str]:
        """Every URL that the site redirected this request to, including that of this response."""
        target = location_of(self.response) or _refresh_of(self.response)
        return self.followed if target is None else [*self.followed, target]

    def parse(self, text: str) -> Selector:
        """Its *text*, parsed: a response's own selector is there for the spider, too."""
        if isinstance(self.response, (HtmlResponse, XmlResponse)):
            return self.response.selector
        # Scrapy < 2.18 reads other text as HTML, later ones guess: one way for all.
        return Selector(text, "html")

    def header(self, name: str) -> list[str]:
        """The values of the header *name*. Bytes that are not UTF-8 are read as Latin-1."""
        return [_decode(value) for value in self.response.headers.getlist(name)]

    @view
    def text(self) -> str | None:
        """The decoded body; ``None`` if it is not text, or larger than :data:`MAX_BODY`."""
        if len(self.response.body) > MAX_BODY:
            self.is_too_large = True
            return None
        try:
            # Responses of scrapy-splash have a text without being a TextResponse.
            text = getattr(self.response, "text", None)
        except Exception:  # a codec may raise anything
            return None
        return text if isinstance(text, str) else None

    @view
    def json(self) -> Any:
        """The body as JSON, or :data:`NOT_JSON`.

        The body decides, because many sites send JSON as ``text/html``; a bare ``7`` or ``"no"``
        counts as JSON only where the site says so. A guard such as ``)]}'`` or ``for(;;);`` before
        it, and a function that is called with it (JSONP), are left out.
        """
        text = self.text
        if text is None:
            return NOT_JSON
        inner = _unwrapped(text)
        if inner is None and isinstance(self.response, JsonResponse):
            inner = text.lstrip("\ufeff")
        return NOT_JSON if inner is None else parse_json(inner)

    @property
    def is_jsonp(self) -> bool:
        """Whether its JSON is the argument of a function call (JSONP)."""
        return self.json is not NOT_JSON and regex("json.call").match(self.text or "") is not None

    @view
    def selector(self) -> Selector | None:
        """The parsed page; ``None`` if it has no nodes: empty, binary or JSON."""
        text = self.text
        if not text or text.isspace() or self.json is not NOT_JSON:
            return None
        if isinstance(self.response, JsonResponse):
            return None
        try:
            if isinstance(self.response, XmlResponse) and regex("xml.surrogate").search(text):
                # libxml2 reads such references, and lxml cannot decode what they stand for.
                return Selector(regex("xml.surrogate").sub("\ufffd", text), "xml")
            return self.parse(text)
        except Exception:  # lxml may raise anything for a hostile page
            return None

    @view
    def root(self) -> Any:
        """The outermost element of the parsed page; an empty one if it has no nodes."""
        return etree.Element("html") if self.selector is None else self.selector.root

    @view
    def words(self) -> str:
        """The words that the page shows, or all of XML; ``""`` if it has no nodes."""
        if self.selector is not None and self.selector.type == "xml":
            return " ".join(" ".join(self.root.xpath("//text()")).split())
        return words_of(self.root)


def parse_json(text: str) -> Any:
    """*text* as JSON, or :data:`NOT_JSON`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON


def _unwrapped(text: str) -> str | None:
    """What may be JSON in *text*, behind a guard or in a call; ``None`` if there is nothing."""
    if before := regex("json.before").match(text):
        return text[before.end() :]
    call = regex("json.call").match(text)
    end = regex("json.call end").search(text, max(len(text) - _MAX_CALL_END, 0)) if call else None
    return text[call.end() : end.start()] if call and end else None


def location_of(response: Response) -> str | None:
    """The URL that *response* redirects to, if it is a 3xx."""
    location = response.headers.get("Location")
    if location is None or not 300 <= response.status < 400:
        return None
    try:
        # Like Scrapy's RedirectMiddleware, escape the bytes as they are.
        return urljoin(response.url, safe_url_string(location))
    except ValueError:
        return None


def _refresh_of(response: Response) -> str | None:
    """The URL that the meta refresh of a page leads to."""
    if not isinstance(response, HtmlResponse) or len(response.body) > MAX_BODY:
        return None
    try:
        # Scrapy remembers what it finds for its own middleware.
        seconds, url = get_meta_refresh(response, ("script", "noscript"))
    except Exception:  # the page may be hostile
        return None
    leads_on = seconds is not None and seconds <= _MAX_REFRESH_DELAY and is_web(url)
    return url if leads_on else None


def is_web(url: str | None) -> bool:
    """Whether *url* is one that Scrapy would follow a redirect to."""
    try:
        return url is not None and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def is_same_page(url: str, other: str) -> bool:
    """Whether two URLs are equivalent (``http://a.example`` and ``http://a.example:80/``)."""
    return url == other or _canonical(url) == _canonical(other)


def _canonical(url: str) -> str:
    """One form for all URLs of a page: browsers leave out users and default ports."""
    try:
        parts = urlsplit(canonicalize_url(url))
    except ValueError:
        return url
    return parts._replace(netloc=host_and_port(parts.scheme, parts.netloc)).geturl()


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def is_unseen(element: Any) -> bool:
    """Whether *element* and its content are hidden."""
    if element.tag in SETS["unseen"]:
        return True
    for name, value in element.items():
        if name == "class":
            if has_name(value, "unseen.class") and not _is_opened(element):
                return True
            if "invalid-feedback" in value and _waits_for_its_field(element):
                return True
        elif name == "style":
            if has_name(value, "unseen.style"):
                return True
        elif name in SETS["unseen attributes"]:
            return True
        elif name in SETS["script attributes"] and "ng-" not in element.get("class", ""):
            return True  # Angular adds a class when it shows an element
    if element.tag == "dialog":
        return element.get("open") is None
    return element.tag != "summary" and is_closed(element.getparent())


def _is_opened(element: Any) -> bool:
    """Whether an element that a class hides is shown by another one, or in another way."""
    names = f"{element.get('class')} {element.get('style', '')}"
    return "open" in element.attrib or has_name(names, "unseen.shown")


def _waits_for_its_field(feedback: Any) -> bool:
    """Whether a script of Bootstrap shows a message for a field, and the field is not wrong yet."""
    before = islice(feedback.itersiblings(preceding=True), _MAX_NEAR)
    names = " ".join(element.get("class") or "" for element in (feedback, *before))
    if not has_name(names, "unseen.field") or has_name(names, "unseen.feedback shown"):
        return False
    around = islice(feedback.iterancestors(), _MAX_NEAR)
    return "style" not in feedback.attrib and any("novalidate" in form.attrib for form in around)


def is_closed(element: Any) -> bool:
    """Whether *element* is one that shows nothing but its summary."""
    return element is not None and element.tag == "details" and element.get("open") is None


def words_of(root: Any) -> str:
    """The visible words of a page, with white space folded. A block ends a word, ``<b>`` does not.

    One pass for a page of any depth and length.
    """
    parts: list[str] = []
    blocks = SETS["blocks"]
    walker = etree.iterwalk(root, events=("start", "end", "comment", "pi"))
    unseen = None
    for event, element in walker:
        if event == "start" and is_unseen(element):
            unseen = element
            walker.skip_subtree()  # the next event is its end
            continue
        if element.tag in blocks and element is not unseen:
            parts.append(" ")
        text = element.text if event == "start" else element.tail
        if text and not is_closed(element if event == "start" else element.getparent()):
            parts.append(text)
    return " ".join("".join(parts).translate(_INVISIBLE).split())
