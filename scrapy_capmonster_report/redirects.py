"""Redirects that Scrapy does not follow: offsite, or to a page it has seen already.

The middleware stands below the redirect middleware, so it sees where a redirect ends. Where Scrapy
drops the redirected request there is no such end: the 3xx is all that the site said about the
answer. It is kept here until it is clear which of the two it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware

from .trace import history, stored_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

_MOST_PENDING: Final = 1000
"""Redirects that lead nowhere (REDIRECT_MAX_TIMES) are never taken out; the oldest make room."""


class RedirectWatch:
    """Tells of each redirect of a request with a task that Scrapy refused to follow.

    Args:
        refused: called with the request that was redirected and the 3xx response.
    """

    def __init__(self, crawler: Crawler, refused: Callable[[Request, Response], None]) -> None:
        self._crawler = crawler
        self._refused = refused
        self._pending: dict[int, tuple[Request, Response]] = {}
        self._scheduled: tuple[Request, tuple[Request, Response]] | None = None

    def response_downloaded(self, response: Response, request: Request) -> None:
        """Keep a redirect that answers a request with a task."""
        if not 300 <= response.status < 400:
            return
        trace = stored_trace(request.meta)
        if trace is None or not trace.task:
            return
        self._pending[trace.trip] = (request, response)
        if len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]

    def request_scheduled(self, request: Request) -> None:
        """See whether *request* is where a redirect leads, and whether Scrapy lets it through."""
        trace = stored_trace(request.meta)
        if trace is None or not self._pending or history(request.meta)[1] <= trace.hops:
            return
        redirect = self._pending.pop(trace.trip, None)
        if redirect is None:
            return
        if self._is_offsite(request):
            self._refused(*redirect)
        else:
            self._scheduled = (request, redirect)  # the duplicate filter comes next

    def request_dropped(self, request: Request) -> None:
        """The scheduler did not take *request*: the duplicate filter knew it."""
        if self._scheduled is not None and self._scheduled[0] is request:
            _, redirect = self._scheduled
            self._scheduled = None
            self._refused(*redirect)

    def arrived(self, trip: int) -> None:
        """A response to the trip came through, so nothing was dropped."""
        self._pending.pop(trip, None)

    def _is_offsite(self, request: Request) -> bool:
        offsite = self._crawler.get_downloader_middleware(OffsiteMiddleware)
        if offsite is None or request.dont_filter or request.meta.get("allow_offsite"):
            return False
        assert self._crawler.spider is not None
        return not offsite.should_follow(request, self._crawler.spider)
