"""A response as the conditions see it: each view of it is made when first asked for, and once."""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from scrapy.http import HtmlResponse, JsonResponse, TextResponse, XmlResponse
from scrapy.selector import Selector
from scrapy.utils.response import get_meta_refresh
from w3lib.url import safe_url_string

from .hosts import host_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scrapy import Request
    from scrapy.http import Response

NOT_JSON: Final = object()
"""What :attr:`Page.json` is of a page that is not JSON; ``None`` is a JSON value."""

_MAX_REFRESH_DELAY: Final = 100
"""Seconds, as Scrapy has it: a later meta refresh (a log-out after half an hour) leads nowhere."""

_JSON_START = re.compile(r"[\s\ufeff]*[\[{]")


class Page:
    """A response and the request it answers.

    No view of it raises: what cannot be decoded or parsed has no text, no nodes or no JSON.

    Args:
        response: the response.
        request: the request; ``response.request`` is not yet set in a downloader middleware.
        followed: the URLs that the site redirected this request to.
    """

    def __init__(self, response: Response, request: Request, followed: Sequence[str] = ()) -> None:
        self.response = response
        self.request = request
        self.status = response.status
        self.url = response.url
        self._followed = followed

    @cached_property
    def host(self) -> str:
        """The host of the response's URL, as :func:`~.hosts.host_of` gives it."""
        return host_of(self.url)

    @cached_property
    def redirects(self) -> Sequence[str]:
        """Every URL that the site redirected this request to, also where this response leads."""
        target = location_of(self.response) or _refresh_of(self.response)
        return self._followed if target is None else [*self._followed, target]

    def header(self, name: str) -> list[str]:
        """The values of the header *name*; bytes that are no UTF-8 are read as Latin-1."""
        return [_decode(value) for value in self.response.headers.getlist(name)]

    @cached_property
    def text(self) -> str | None:
        """The decoded body; ``None`` if it is not text."""
        try:
            # Responses of scrapy-splash have a text without being a TextResponse.
            text = getattr(self.response, "text", None)
        except Exception:  # a codec may raise anything
            return None
        return text if isinstance(text, str) else None

    @cached_property
    def json(self) -> Any:
        """The body as JSON, or :data:`NOT_JSON`.

        The body decides, for many sites send JSON as ``text/html``; a bare ``7`` or ``"no"``
        counts as JSON only where the site says so.
        """
        response, text = self.response, self.text
        if text is None:
            return NOT_JSON
        if not isinstance(response, JsonResponse) and not _JSON_START.match(text):
            return NOT_JSON
        try:
            return _read_json(response, text)
        except (ValueError, RecursionError):
            return NOT_JSON

    @cached_property
    def selector(self) -> Selector | None:
        """The parsed page; ``None`` if it has no nodes: empty, binary or JSON."""
        response, text = self.response, self.text
        if not text or text.isspace():
            return None
        if isinstance(response, JsonResponse) or self.json is not NOT_JSON:
            return None
        try:
            if isinstance(response, (HtmlResponse, XmlResponse)):
                return response.selector
            # Scrapy < 2.18 reads other text as HTML, later ones guess: one way for all.
            return Selector(text=text, type="html")
        except Exception:  # lxml is fed whatever a site sends
            return None


def location_of(response: Response) -> str | None:
    """Where *response*, if it is a 3xx, says that the page is."""
    location = response.headers.get("Location")
    if location is None or not 300 <= response.status < 400:
        return None
    try:
        # Like Scrapy's RedirectMiddleware: the bytes are escaped as they are.
        return urljoin(response.url, safe_url_string(location))
    except ValueError:
        return None


def _refresh_of(response: Response) -> str | None:
    """Where the meta refresh of a page leads."""
    if not isinstance(response, HtmlResponse):
        return None
    try:
        # Scrapy remembers what it finds for its own middleware.
        seconds, url = get_meta_refresh(response, ("script", "noscript"))
    except Exception:  # the page is whatever a site sends
        return None
    leads_on = seconds is not None and seconds <= _MAX_REFRESH_DELAY and is_web(url)
    return url if leads_on else None


def is_web(url: str | None) -> bool:
    """Whether *url* is one that Scrapy would follow a redirect to."""
    try:
        return url is not None and urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _read_json(response: Response, text: str) -> Any:
    if isinstance(response, TextResponse):
        try:
            return response.json()  # Scrapy keeps it for the spider
        except UnicodeDecodeError:  # Scrapy < 2.18: JSON in a legacy encoding
            pass
    return json.loads(text)
