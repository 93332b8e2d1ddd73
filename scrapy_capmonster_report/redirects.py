"""Where a site redirected an answer, which site that is, and redirects that are not followed.

The middleware sees the response at the end of redirects. If Scrapy drops the redirected request
(offsite, seen before, one too many), the 3xx is all that the site said about the answer. Whether
Scrapy will drop it follows from its ``RedirectMiddleware`` and ``OffsiteMiddleware``, and from the
engine's order: it sends ``request_scheduled``, asks the scheduler, sends ``request_dropped`` (read
in 2.13 and 2.19).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from scrapy import Request
from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware
from scrapy.utils.httpobj import urlparse_cached

from .recent import Recent
from .rules import hosts
from .rules.page import is_same_page, is_web, location_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.http import Response

    from .attempts import Attempt
    from .context import CrawlContext
    from .judge import Judge

_MAX_BODY: Final = 10_000
"""The part of a request's body, in bytes, that is searched for the URL of a page."""

_URL_ENDS: Final = re.compile(r"/?(?:[\s\"'&\\]|\Z)")
"""What follows a whole URL in a query, a form or JSON."""

_MAX_PENDING: Final = 2000
"""How many redirects to keep at most until it is clear whether Scrapy follows them."""

_FOLLOWED: Final = (301, 302, 303, 307, 308)
"""The statuses that RedirectMiddleware follows."""


def redirect_urls(meta: Mapping[str, Any]) -> list[str]:
    """The ``redirect_urls`` in *meta*, written by Scrapy or by a browser's download handler."""
    urls = meta.get("redirect_urls")
    return urls if isinstance(urls, list) else []


def redirected_to(request: Request, response: Response, begun: int) -> list[str]:
    """The URLs that the site redirected an attempt to, also where a browser followed them.

    The URL that the answer was sent to is not among them.

    Args:
        begun: the number of ``redirect_urls`` when the attempt began.
    """
    followed = redirect_urls(request.meta)[begun:]
    moved = not is_same_page(response.url, request.url)
    last = response.url if moved else request.url
    if followed:
        return [*followed[1:], last]
    return [last] if moved and not _asks_for(request, last) else []


def fetched_host(request: Request, response: Response, begun: int) -> str:
    """The host of a page that a service fetched (Splash, a scraping API); ``""`` without one.

    A request to such a service names the page in its URL or body, and a middleware sets the URL of
    that page on the response. A log-in may also name a page, to which a browser is then redirected.

    Args:
        begun: the number of ``redirect_urls`` when the attempt began.
    """
    if response.url == request.url or request.url in redirect_urls(request.meta)[begun:]:
        return ""
    host = hosts.host_of(response.url)
    return host if host in _pages_asked_for(request) else ""


def _asks_for(request: Request, url: str) -> bool:
    """Whether *request* asks a service to fetch the page at *url*."""
    page = unquote(url).rstrip("/")
    return page != "" and any(map(_URL_ENDS.match, _pages_asked_for(request).split(page)[1:]))


def _pages_asked_for(request: Request) -> str:
    """The parts of *request* that may name pages for a service to fetch."""
    url = urlparse_cached(request)
    return unquote(f"{url.path} {url.query} {request.body[:_MAX_BODY].decode('latin-1')}")


class UnfollowedRedirects:
    """Finds redirects of answers that Scrapy does not follow.

    Args:
        context: the crawl; its crawler has middlewares once the spider is open.
        judge: judges them.
    """

    def __init__(self, context: CrawlContext, judge: Judge) -> None:
        self._crawler = context.crawler
        self._judge = judge
        self._pending: Recent[tuple[Request, Response]] = Recent(context.clock.now, _MAX_PENDING)

    def downloaded(self, request: Request, response: Response, attempt: Attempt) -> None:
        """Keep a 3xx until it is clear whether Scrapy follows it."""
        self.followed(attempt)
        middleware = self._middleware_for(request, response)
        if middleware is not None and not _is_url(location_of(response)):
            self._judge.response(request, response)  # the middleware raises an exception
        elif middleware is not None and _is_one_too_many(request, response, middleware):
            self._judge.redirect(request, response, is_all=True)
        else:
            self._pending.set(attempt.number, (request, response))

    def scheduled(self, request: Request, attempt: Attempt) -> None:
        """Judge the redirect that led to *request*, if that leads offsite."""
        if self._pending.get(attempt.number) and self._is_offsite(request):
            self.lost(request, attempt, is_all=True)

    def followed(self, attempt: Attempt) -> None:
        """Forget the redirect that led to a response."""
        self._pending.delete(attempt.number)

    def lost(self, request: Request, attempt: Attempt, *, is_all: bool) -> None:
        """Judge the redirect that led to *request*, to which no response will come.

        Args:
            is_all: whether the site will say nothing more.
        """
        redirect = self._pending.get(attempt.number)
        if redirect is not None and _hops(request) > _hops(redirect[0]):  # no copy of that request
            self.followed(attempt)
            self._judge.redirect(*redirect, is_all=is_all)

    def _middleware_for(self, request: Request, response: Response) -> RedirectMiddleware | None:
        """The middleware that follows the redirect *response*, unless it is told to let it pass."""
        meta, spider = request.meta, self._crawler.spider
        passes = (
            response.status not in _FOLLOWED
            or "Location" not in response.headers
            or meta.get("dont_redirect")
            or meta.get("handle_httpstatus_all")
            or response.status in meta.get("handle_httpstatus_list", ())
            or response.status in getattr(spider, "handle_httpstatus_list", ())
        )
        return None if passes else self._crawler.get_downloader_middleware(RedirectMiddleware)

    def _is_offsite(self, request: Request) -> bool:
        offsite = self._crawler.get_downloader_middleware(OffsiteMiddleware)
        if offsite is None or request.dont_filter or request.meta.get("allow_offsite"):
            return False
        assert self._crawler.spider is not None
        return not offsite.should_follow(request, self._crawler.spider)


def _hops(request: Request) -> int:
    return len(redirect_urls(request.meta))


def _is_one_too_many(request: Request, response: Response, middleware: RedirectMiddleware) -> bool:
    """Whether *middleware* is about to give up."""
    most, meta = middleware.max_redirect_times, request.meta
    exhausted = not meta.get("redirect_ttl", most) or meta.get("redirect_times", 0) >= most
    return exhausted and is_web(location_of(response))


def _is_url(location: str | None) -> bool:
    """Whether Scrapy can make a request to *location*."""
    try:
        return location is not None and bool(Request(location))
    except ValueError:
        return False
