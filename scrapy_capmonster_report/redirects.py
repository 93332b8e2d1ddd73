"""Where the site redirected an answer, and which site that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from scrapy.utils.httpobj import urlparse_cached
from w3lib.url import canonicalize_url

from .rules.hosts import host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.http import Response

_MAX_BODY: Final = 10_000
"""Bytes of a request's body in which to look for the page that it asks a service for."""


def redirect_urls(meta: Mapping[str, Any]) -> list[str]:
    """The URLs that were redirected, as Scrapy or a browser's handler wrote them into *meta*."""
    urls = meta.get("redirect_urls")
    return urls if isinstance(urls, list) else []


def redirected_to(request: Request, response: Response, begun: int) -> list[str]:
    """The URLs that the site redirected an attempt to, also where a browser followed them.

    The URL that the answer was sent to is none of them.

    Args:
        request: the request.
        response: its response.
        begun: how many ``redirect_urls`` lay behind when the attempt began.
    """
    followed = redirect_urls(request.meta)[begun:]
    url = request.url
    if response.url != url and not _is_same_page(response.url, url):
        asked_for = _page_asked_for(request)
        if response.url not in asked_for:
            return [*followed[1:], response.url]
    return [*followed[1:], url] if followed else []


def site_of(request: Request, response: Response, begun: int) -> str:
    """The host that an answer was sent to, also through a service that fetches pages for others.

    Such a service (Splash, a scraping API) is told in its URL or body which page to fetch, and a
    middleware gives the response the URL of that page.
    """
    if response.url != request.url:
        host = host_of(response.url)
        if host and host != urlparse_cached(request).hostname and host in _page_asked_for(request):
            return host
    followed = redirect_urls(request.meta)[begun:]
    return host_of(followed[0]) if followed else urlparse_cached(request).hostname or ""


def _page_asked_for(request: Request) -> str:
    """The texts in which a request may name another page: those that its URL and body hold."""
    parts = urlparse_cached(request)
    body = request.body[:_MAX_BODY].decode("latin-1")
    return f"{unquote(parts.path)} {unquote(parts.query)} {unquote(body)}"


def _is_same_page(url: str, other: str) -> bool:
    """Whether two URLs differ only in how they are written (``http://a.example``, with ``/``)."""
    try:
        return bool(canonicalize_url(url) == canonicalize_url(other))
    except ValueError:
        return False
