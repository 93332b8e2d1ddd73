"""Redirects that Scrapy does not follow: offsite, to a page it has seen already, one too many …

The middleware stands below the redirect middleware, so it sees where a redirect ends. Where Scrapy
drops the redirected request there is no such end: the 3xx is all that the site said about the
answer. It is kept here until it is clear which of the two it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.downloadermiddlewares.redirect import RedirectMiddleware

from .trace import history, stored_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from .trace import Trace

_MOST_PENDING: Final = 1000
"""Should the end of a redirect never be heard of, the oldest make room."""

_REDIRECTS: Final = (301, 302, 303, 307, 308)
"""What RedirectMiddleware follows."""


class RedirectWatch:
    """Tells of each redirect of a request with a task that Scrapy refused to follow.

    Args:
        refused: called with the request that was redirected and the 3xx response.
    """

    def __init__(self, crawler: Crawler, refused: Callable[[Request, Response], None]) -> None:
        self._crawler = crawler
        self._refused = refused
        self._pending: dict[int, tuple[Request, Response]] = {}
        self._scheduled: tuple[Request, int] | None = None

    def response_downloaded(self, response: Response, request: Request) -> None:
        """Keep a redirect that answers a request with a task."""
        if not 300 <= response.status < 400:
            return
        trace = stored_trace(request.meta)
        if trace is None or not trace.task:
            return
        if self._is_one_too_many(request, response):
            self._refused(request, response)
            return
        self._pending[trace.trip] = (request, response)
        if len(self._pending) > _MOST_PENDING:
            del self._pending[next(iter(self._pending))]

    def request_scheduled(self, request: Request) -> None:
        """See whether *request* is where a redirect leads, and whether Scrapy lets it through."""
        trace = stored_trace(request.meta)
        if trace is None or trace.trip not in self._pending or not _leads_on(request, trace):
            return
        if self._is_offsite(request):
            self._refused(*self._pending.pop(trace.trip))
        else:
            self._scheduled = (request, trace.trip)  # the duplicate filter comes next

    def request_dropped(self, request: Request) -> None:
        """The scheduler did not take *request*: the duplicate filter knew it."""
        if self._scheduled is not None and self._scheduled[0] is request:
            _, trip = self._scheduled
            self._scheduled = None
            if redirect := self._pending.pop(trip, None):
                self._refused(*redirect)

    def arrived(self, trip: int) -> None:
        """A response to the trip came through, so nothing was dropped."""
        self._pending.pop(trip, None)

    def lost(self, request: Request, trip: int) -> tuple[Request, Response] | None:
        """The redirect that led to *request*, of which no response came."""
        redirect = self._pending.get(trip)
        if redirect is None or redirect[0] is request:
            return None
        return self._pending.pop(trip)

    def _is_one_too_many(self, request: Request, response: Response) -> bool:
        """Whether RedirectMiddleware is about to give up."""
        redirects = self._crawler.get_downloader_middleware(RedirectMiddleware)
        meta = request.meta
        if (
            redirects is None
            or response.status not in _REDIRECTS
            or "Location" not in response.headers
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


def _leads_on(request: Request, trace: Trace) -> bool:
    """Whether *request* was redirected since it, or what it was made of, last went out."""
    return history(request.meta)[1] > trace.hops
