"""The middleware: Scrapy's hooks, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scrapy import signals
from scrapy.exceptions import IgnoreRequest, NotConfigured, StopDownload
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred

from .attempts import Attempts
from .context import CrawlContext
from .insight import ClosingHints
from .judge import Judge, is_from_proxy
from .ledger import open_ledger
from .redirects import UnfollowedRedirects
from .reporter import Reporter
from .rules import compile_rules
from .saved_pages import SavedPages
from .settings import ReportSettings, warn_about_unknown_settings
from .task import DONT_REPORT, TASK_ID
from .task_reader import TaskReader

if TYPE_CHECKING:
    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from .rules import Rules


class CapMonsterReportMiddleware:
    """Reports captcha answers that a site rejected to CapMonster Cloud.

    Enable it with ``ADDONS = {"scrapy_capmonster_report.Addon": 500}``, or by hand::

        DOWNLOADER_MIDDLEWARES = {"scrapy_capmonster_report.CapMonsterReportMiddleware": 585}

    At 585 it sees every attempt of a request that is retried (RetryMiddleware: 550), bodies
    already decompressed (590), and redirects where they end (600). The settings are those of
    :mod:`~scrapy_capmonster_report.settings`.
    """

    def __init__(self, context: CrawlContext, rules: Rules) -> None:
        self.crawler = context.crawler
        self.settings = context.settings
        self._rules = rules
        self._tasks = TaskReader(context)
        self._hints = ClosingHints(context, rules.domains)
        ledger = open_ledger(context)
        self._attempts = Attempts(context, self._tasks, ledger)
        self._reporter = Reporter(context, ledger, self._attempts)
        self._saved_pages = SavedPages(context)
        self._judge = Judge(
            context, rules, self._attempts, self._reporter, self._saved_pages, self._hints
        )
        self._unfollowed = UnfollowedRedirects(context, self._judge)
        self._closed: Deferred[None] | None = None

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build it for *crawler*.

        Raises:
            NotConfigured: switched off, or unable to work: no key, no rules, no reactor.
            ValueError: a setting or a rule is wrong.
        """
        if not crawler.settings.getbool("TWISTED_REACTOR_ENABLED", True):
            raise NotConfigured(
                "reports are sent through Twisted, and TWISTED_REACTOR_ENABLED is False"
            )
        warn_about_unknown_settings(crawler.settings, {"spider": crawler.spider})
        settings = ReportSettings.from_settings(crawler.settings)
        rules = compile_rules(settings.rules, spider=crawler.spider)
        middleware = cls(CrawlContext.of(crawler, settings), rules)
        connect = crawler.signals.connect
        connect(middleware._spider_opened, signals.spider_opened)
        connect(middleware._request_scheduled, signals.request_scheduled)
        connect(middleware._request_reached_downloader, signals.request_reached_downloader)
        connect(middleware._spider_closed, signals.spider_closed)
        connect(middleware._engine_stopped, signals.engine_stopped)
        return middleware

    # -- a request on its way ------------------------------------------------------------------

    def _request_scheduled(self, request: Request) -> None:
        if self._is_submission(request):
            self._unfollowed.scheduled(request, self._attempts.scheduled(request))
        else:
            self._attempts.without_task(request)

    def _request_reached_downloader(self, request: Request) -> None:
        if self._is_submission(request):
            self._attempts.reached_downloader(request)
        else:
            self._attempts.without_task(request, id(request))

    def _request_dropped(self, request: Request) -> None:
        if self._is_submission(request):
            self._unfollowed.lost(request, self._attempts.scheduled(request), is_all=True)

    def _headers_received(self, request: Request) -> None:
        if self._is_submission(request):
            self._attempts.received(request)

    def _response_downloaded(self, request: Request, response: Response) -> None:
        if self._is_submission(request):
            attempt = self._attempts.received(request, response)
            if is_from_proxy(request, response):
                # Where it tunnels, Scrapy raises an exception.
                self.process_exception(request, ConnectionRefusedError())
            elif 300 <= response.status < 400:
                self._unfollowed.downloaded(request, response, attempt)

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Response:
        """See whether *response* rejects the answer that *request* submitted."""
        if self._is_submission(request) and self._judge.concerns(request, response):
            self._unfollowed.followed(self._judge.response(request, response))
        return response

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> None:
        """See whether anything was sent, and whether a redirect failed."""
        if isinstance(exception, StopDownload) and self._is_submission(request):
            self._judge.stopped(request, exception)
        elif self._is_submission(request):
            attempt = self._attempts.failed(request, exception)
            # The redirect is all that the site said, unless Scrapy retries the request.
            self._unfollowed.lost(request, attempt, is_all=isinstance(exception, IgnoreRequest))

    def _is_submission(self, request: Request) -> bool:
        """Whether *request* submits an answer: it has a task, and does not go to the service."""
        if TASK_ID not in request.meta:
            return False
        if not self._hints.task_seen:
            self._hints.task_seen = True
            # These signals cost each page, but matter only for answers.
            connect = self.crawler.signals.connect
            connect(self._request_dropped, signals.request_dropped)
            connect(self._headers_received, signals.headers_received)
            connect(self._response_downloaded, signals.response_downloaded)
        return not self._tasks.is_for_service(request)

    # -- the verdict ---------------------------------------------------------------------------

    def accept(self, request: Request) -> None:
        """Say that the site accepted the answer that *request* submitted.

        Args:
            request: ``response.request``.
        """
        if self._is_submission(request) and not request.meta.get(DONT_REPORT):
            self._judge.accepted(request)

    def reject(self, request: Request, reason: str | None = "") -> None:
        """Say that the site rejected the answer that *request* submitted, as a matching rule does.

        It overrules the verdict that the same response passed the rules.

        Args:
            request: ``response.request``.
            reason: for the log; ``None`` for no reason.
        """
        if self._is_submission(request) and not request.meta.get(DONT_REPORT):
            self._judge.rejected(request, reason)

    # -- the crawl's beginning and end ---------------------------------------------------------

    def _spider_opened(self) -> None:
        self._reporter.open(dict.fromkeys(rule.name for rule in self._rules))
        # See failures first: a middleware with a higher order may retry a request that was not
        # sent, or fetch the page in its own way.
        if self.crawler.engine is not None:  # as in tests of other packages
            methods = self.crawler.engine.downloader.middleware.methods["process_exception"]
            methods.remove(self.process_exception)
            methods.appendleft(self.process_exception)

    async def _spider_closed(self) -> None:
        self._closed = Deferred()
        pages_written = self._saved_pages.close()
        try:
            await self._reporter.close()
            await maybe_deferred_to_future(pages_written)
            self._hints.log()
        finally:
            self._closed.callback(None)

    async def _engine_stopped(self) -> None:
        # If a SIGINT comes while the spider closes, Scrapy does not wait for spider_closed.
        if self._closed is not None:
            await maybe_deferred_to_future(self._closed)
