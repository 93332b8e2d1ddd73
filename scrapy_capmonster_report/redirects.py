"""Redirects that Scrapy does not follow: offsite, to a page it has seen already, one too many …

What Scrapy is about to do is foretold by what its ``RedirectMiddleware``, ``MetaRefreshMiddleware``
and ``OffsiteMiddleware`` do in their ``process_response`` and ``process_request``, and by the order
in which the engine sends ``request_scheduled``, asks the scheduler, and sends ``request_dropped``
(read in 2.13 and 2.19). Middlewares of a project's own that do otherwise are not foretold.

The middleware sees where a redirect ends. Where Scrapy drops the redirected request there is no
such end: the 3xx, or the page with the meta refresh, is all that the site said about the answer. It
is kept here until it is clear which of the two it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from scrapy.downloadermiddlewares.offsite import OffsiteMiddleware
from scrapy.downloadermiddlewares.redirect import MetaRefreshMiddleware, RedirectMiddleware
from scrapy.http import HtmlResponse
from scrapy.utils.response import get_meta_refresh

from .rules import is_web, location_of
from .task import TASK_ID
from .trace import history, stored_trace

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response
    from scrapy.settings import BaseSettings

    from .trace import Trace

_MOST_PENDING: Final = 1000
"""Should the end of a redirect never be heard of, the oldest make room."""

_MOST_PAGES: Final = 100
"""Of these so many pages with a meta refresh, which are larger than a 3xx."""

_REDIRECTS: Final = (301, 302, 303, 307, 308)
"""What RedirectMiddleware follows."""


class Redirection(NamedTuple):
    """A response that leads on.

    Args:
        request: the request that was redirected.
        response: a 3xx, or a page with a meta refresh that Scrapy follows.
        looked_at: whether the rules have looked at it, and none matched; they do not see a 3xx.
    """

    request: Request
    response: Response
    looked_at: bool


class Refreshes(NamedTuple):
    """Which meta refreshes Scrapy follows.

    Args:
        within: those within less than so many seconds; 0: none.
        ignore_tags: not those inside of these elements.
    """

    within: float
    ignore_tags: tuple[str, ...]

    def target(self, response: Response) -> str | None:
        """Where *response* leads by one of them."""
        if not self.within or not isinstance(response, HtmlResponse):
            return None
        try:
            seconds, url = get_meta_refresh(response, self.ignore_tags)
        except Exception:  # the page is whatever a site sends
            return None
        is_followed = seconds is not None and seconds < self.within and is_web(url)
        return url if is_followed else None


class RedirectWatch:
    """Tells of each redirect of a request with a task that Scrapy refused to follow.

    Args:
        crawler: knows its middlewares, once the spider has opened.
        refused: called with the redirect.
        passed: called when one that the rules have looked at leads to something else to look at.
    """

    def __init__(
        self,
        crawler: Crawler,
        refused: Callable[[Redirection], None],
        passed: Callable[[], None],
    ) -> None:
        self._crawler = crawler
        self._refused = refused
        self._passed = passed
        self._pending: dict[int, Redirection] = {}
        self._scheduled: tuple[Request, int] | None = None
        self.refreshes = refreshes_followed(crawler.settings)
        self._refreshing: MetaRefreshMiddleware | None = None
        self._closed = False

    def spider_opened(self) -> None:
        """See whether Scrapy follows meta refreshes; before, the crawl has no middlewares."""
        self._refreshing = self._crawler.get_downloader_middleware(MetaRefreshMiddleware)

    def spider_closed(self) -> None:
        """Let go of those whose end is not heard of in this crawl."""
        self._closed = True
        for trip in list(self._pending):
            self.arrived(trip)

    def response_downloaded(self, response: Response, request: Request) -> None:
        """Keep a redirect that answers a request with a task."""
        if not 300 <= response.status < 400 or TASK_ID not in request.meta:
            return
        trace = stored_trace(request.meta)
        if trace is not None and trace.task:
            is_last = self._is_one_too_many(request, response)
            self._keep(Redirection(request, response, False), trace.trip, is_last=is_last)

    def leads_on(self, request: Request, response: Response, trip: int) -> bool:
        """Whether a page that no rule matched leads on by a meta refresh; then it is kept."""
        if (
            self._closed
            or self._refreshing is None
            or request.method == "HEAD"
            or request.meta.get("dont_redirect")
            or self.refreshes.target(response) is None
        ):
            return False
        is_last = _gives_up(self._refreshing, request)
        self._keep(Redirection(request, response, True), trip, is_last=is_last)
        return True

    def _keep(self, redirection: Redirection, trip: int, *, is_last: bool) -> None:
        if is_last:
            self._refused(redirection)
            return
        self.arrived(trip)
        self._pending[trip] = redirection
        if len(self._pending) > _MOST_PENDING:
            self.arrived(next(iter(self._pending)))
        if redirection.looked_at:
            pages = [other for other, kept in self._pending.items() if kept.looked_at]
            if len(pages) > _MOST_PAGES:
                self.arrived(pages[0])

    def request_scheduled(self, request: Request, trace: Trace) -> None:
        """See whether *request* is where a redirect leads, and whether Scrapy lets it through."""
        if trace.trip not in self._pending or not _leads_on(request, trace):
            return
        if self._is_offsite(request):
            self._refused(self._pending.pop(trace.trip))
        else:
            self._scheduled = (request, trace.trip)  # the duplicate filter comes next

    def request_dropped(self, request: Request) -> None:
        """The scheduler did not take *request*: the duplicate filter knew it."""
        if self._scheduled is not None and self._scheduled[0] is request:
            _, trip = self._scheduled
            self._scheduled = None
            if redirection := self._pending.pop(trip, None):
                self._refused(redirection)

    def arrived(self, trip: int) -> None:
        """A response to the trip came through, so nothing was dropped."""
        redirection = self._pending.pop(trip, None)
        if redirection is not None and redirection.looked_at:
            self._passed()

    def lost(self, request: Request, trip: int) -> Redirection | None:
        """The redirect that led to *request*, of which no response came."""
        redirection = self._pending.get(trip)
        if redirection is None or redirection.request is request:
            return None
        return self._pending.pop(trip)

    def _is_one_too_many(self, request: Request, response: Response) -> bool:
        """Whether RedirectMiddleware is about to give up."""
        redirects = self._crawler.get_downloader_middleware(RedirectMiddleware)
        meta = request.meta
        if (
            redirects is None
            or response.status not in _REDIRECTS
            or not is_web(location_of(response))
            or meta.get("dont_redirect")
            or meta.get("handle_httpstatus_all")
            or response.status in meta.get("handle_httpstatus_list", ())
            or response.status in getattr(self._crawler.spider, "handle_httpstatus_list", ())
        ):
            return False
        return _gives_up(redirects, request)

    def _is_offsite(self, request: Request) -> bool:
        offsite = self._crawler.get_downloader_middleware(OffsiteMiddleware)
        if offsite is None or request.dont_filter or request.meta.get("allow_offsite"):
            return False
        assert self._crawler.spider is not None
        return not offsite.should_follow(request, self._crawler.spider)


def refreshes_followed(settings: BaseSettings) -> Refreshes:
    """The meta refreshes that Scrapy follows.

    Raises:
        ValueError: one of its settings is no number.
    """
    follows = settings.getbool("METAREFRESH_ENABLED")
    return Refreshes(
        settings.getint("METAREFRESH_MAXDELAY") if follows else 0,
        tuple(settings.getlist("METAREFRESH_IGNORE_TAGS")),
    )


def _gives_up(middleware: RedirectMiddleware | MetaRefreshMiddleware, request: Request) -> bool:
    """Whether *middleware* finds that *request* was redirected often enough."""
    most, meta = middleware.max_redirect_times, request.meta
    return not meta.get("redirect_ttl", most) or meta.get("redirect_times", 0) >= most


def _leads_on(request: Request, trace: Trace) -> bool:
    """Whether *request* was redirected since it, or what it was made of, last went out."""
    return history(request.meta)[1] > trace.hops
