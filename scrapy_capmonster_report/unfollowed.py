"""Redirects that Scrapy does not follow: offsite, to a page that it has seen, one too many.

The middleware sees where a redirect ends. Where Scrapy drops the redirected request, the 3xx is all
that the site said about the answer, so it is kept here until it is clear what becomes of it.

What Scrapy is about to do is told from what its ``RedirectMiddleware`` and ``OffsiteMiddleware`` do,
and from the order in which the engine sends ``request_scheduled``, asks the scheduler, and sends
``request_dropped`` (read in 2.13 and 2.19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware

from .redirects import redirect_urls
from .rules import is_web, location_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from .attempts import Attempt

_MAX_PENDING: Final = 1000
"""If the end of a redirect is never heard of, the oldest makes room."""

_FOLLOWED: Final = (301, 302, 303, 307, 308)
"""The statuses that RedirectMiddleware follows."""


class UnfollowedRedirects:
    """Finds the redirects of requests with a task that Scrapy refused to follow.

    Args:
        crawler: knows its middlewares once the spider is open.
        judge: called with the request and the 3xx that was not followed.
    """

    def __init__(self, crawler: Crawler, judge: Callable[[Request, Response], None]) -> None:
        self._crawler = crawler
        self._judge = judge
        self._pending: dict[int, tuple[Request, Response]] = {}
        self._scheduled: tuple[Request, int] | None = None

    def downloaded(self, request: Request, response: Response, attempt: Attempt) -> None:
        """Keep a 3xx."""
        if self._is_one_too_many(request, response):
            self._judge(request, response)
            return
        self._pending.pop(attempt.number, None)
        self._pending[attempt.number] = request, response
        if len(self._pending) > _MAX_PENDING:
            del self._pending[next(iter(self._pending))]

    def scheduled(self, request: Request, attempt: Attempt) -> None:
        """See whether *request* is where a kept redirect leads, and whether it will be sent."""
        if (
            attempt.number not in self._pending
            or len(redirect_urls(request.meta)) <= attempt.hops
        ):
            return
        if self._is_offsite(request):
            self._judge(*self._pending.pop(attempt.number))
        else:
            self._scheduled = request, attempt.number  # the duplicate filter comes next

    def dropped(self, request: Request) -> None:
        """The duplicate filter did not let *request* through."""
        if self._scheduled is not None and self._scheduled[0] is request:
            redirect = self._pending.pop(self._scheduled[1], None)
            self._scheduled = None
            if redirect is not None:
                self._judge(*redirect)

    def followed(self, attempt: Attempt) -> None:
        """The attempt has a response, so its redirect was followed."""
        self._pending.pop(attempt.number, None)

    def lost(self, request: Request, attempt: Attempt) -> tuple[Request, Response] | None:
        """The redirect that led to *request*, which has no response."""
        redirect = self._pending.get(attempt.number)
        if redirect is None or redirect[0] is request:
            return None
        return self._pending.pop(attempt.number)

    def _is_one_too_many(self, request: Request, response: Response) -> bool:
        """Whether RedirectMiddleware is about to give up."""
        redirects = self._crawler.get_downloader_middleware(RedirectMiddleware)
        meta = request.meta
        if (
            redirects is None
            or response.status not in _FOLLOWED
            or not is_web(location_of(response))
            or meta.get("dont_redirect")
            or meta.get("handle_httpstatus_all")
            or response.status in meta.get("handle_httpstatus_list", ())
            or response.status in getattr(self._crawler.spider, "handle_httpstatus_list", ())
        ):
            return False
        most = redirects.max_redirect_times
        return not meta.get("redirect_ttl", most) or meta.get("redirect_times", 0) >= most

    def _is_offsite(self, request: Request) -> bool:
        offsite = self._crawler.get_downloader_middleware(OffsiteMiddleware)
        if offsite is None or request.dont_filter or request.meta.get("allow_offsite"):
            return False
        assert self._crawler.spider is not None
        return not offsite.should_follow(request, self._crawler.spider)
