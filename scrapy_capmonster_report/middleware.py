"""The middleware: Scrapy's hooks, and nothing else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy import signals
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.httpobj import urlparse_cached

from . import stats
from .attempts import Attempts
from .clock import SteadyClock
from .insight import ClosingHints
from .judge import Judge
from .mask import Mask
from .redirects import UnfollowedRedirects
from .reporter import Reporter
from .rules import compile_rules
from .saved_pages import SavedPages
from .settings import ReportSettings, warn_about_unknown_settings
from .stats import Stats
from .task import DONT_REPORT, TASK_ID
from .task_reader import TaskReader

if TYPE_CHECKING:
    from urllib.parse import ParseResult, SplitResult

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from .rules import Rules

_SERVICE_HOST: Final = "api.capmonster.cloud"


class CapMonsterReportMiddleware:
    """Reports captcha answers that a site rejected to CapMonster Cloud.

    Enable it with ``ADDONS = {"scrapy_capmonster_report.Addon": 500}``, or by hand::

        DOWNLOADER_MIDDLEWARES = {"scrapy_capmonster_report.CapMonsterReportMiddleware": 585}

    At 585 it sees every attempt of a request that is retried (RetryMiddleware: 550), bodies
    already decompressed (590), and redirects where they end (600). The settings are those of
    :mod:`~scrapy_capmonster_report.settings`.
    """

    def __init__(
        self,
        crawler: Crawler,
        settings: ReportSettings,
        rules: Rules,
        *,
        reactor: Any,
        clock: SteadyClock,
        random_source: random.Random,
    ) -> None:
        self.crawler = crawler
        self.settings = settings
        self._rules = rules
        self._service = {_SERVICE_HOST, _host_and_port(urlsplit(settings.api_url))}
        log_extra = {"spider": crawler.spider}
        counters = Stats(crawler)
        domains = [rule.domains for rule in rules]
        everywhere = None in domains
        self._hints = ClosingHints(
            () if everywhere else frozenset[str]().union(*(names or () for names in domains))
        )
        self._reporter = Reporter(
            crawler,
            settings,
            counters,
            self._hints,
            reactor=reactor,
            clock=clock,
            random_source=random_source,
        )
        self._attempts = Attempts(
            clock,
            TaskReader(
                clock,
                unknown_type=lambda: counters.count(stats.UNKNOWN_TASK_TYPE),
                log_extra=log_extra,
            ),
            first_number=random_source.getrandbits(60) + 1,
            ledger=self._reporter.ledger,
        )
        self._saved_pages = SavedPages(
            settings.save_rejected,
            mask=Mask(settings.client_key),
            reactor=reactor,
            token=random_source.getrandbits(32),
            log_extra=log_extra,
        )
        self._judge = Judge(
            rules,
            self._attempts,
            self._reporter,
            self._saved_pages,
            counters,
            self._hints,
            log_extra,
        )
        self._unfollowed = UnfollowedRedirects(crawler, self._judge.redirect)

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
        from twisted.internet import reactor

        middleware = cls(
            crawler,
            settings,
            rules,
            reactor=reactor,
            clock=SteadyClock(),
            random_source=random.Random(),
        )
        for receiver, signal in (
            (middleware._spider_opened, signals.spider_opened),
            (middleware._request_scheduled, signals.request_scheduled),
            (middleware._unfollowed.dropped, signals.request_dropped),
            (middleware._request_reached_downloader, signals.request_reached_downloader),
            (middleware._headers_received, signals.headers_received),
            (middleware._response_downloaded, signals.response_downloaded),
            (middleware._spider_closed, signals.spider_closed),
            (middleware._engine_stopped, signals.engine_stopped),
        ):
            crawler.signals.connect(receiver, signal=signal)
        return middleware

    # -- a request on its way ------------------------------------------------------------------

    def _request_scheduled(self, request: Request) -> None:
        if not self._is_submission(request):
            self._attempts.without_task(request)
        elif (attempt := self._attempts.scheduled(request)) is not None:
            self._unfollowed.scheduled(request, attempt)

    def _request_reached_downloader(self, request: Request) -> None:
        if self._is_submission(request):
            self._attempts.reached_downloader(request)
        else:
            self._attempts.without_task(request)  # engine.download_async() schedules nothing

    def _headers_received(self, request: Request) -> None:
        if self._is_submission(request):
            self._attempts.headers_received(request)

    def _response_downloaded(self, request: Request, response: Response) -> None:
        if self._is_submission(request):
            attempt = self._attempts.downloaded(request)
            if attempt is not None and 300 <= response.status < 400:
                self._unfollowed.downloaded(request, response, attempt)

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Response:
        """See whether *response* rejects the answer that *request* submitted."""
        if self._is_submission(request) and not _is_dummy(response):
            attempt = self._attempts.answered(request, response)
            if attempt is not None:
                self._unfollowed.followed(attempt)
            self._judge.response(request, response, attempt)
        return response

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> None:
        """See whether anything was sent, and whether a redirect failed."""
        if self._is_submission(request):
            attempt = self._attempts.failed(request, exception)
            if attempt is not None:
                # The redirect is all that the site said, unless Scrapy retries the request.
                is_all = isinstance(exception, IgnoreRequest)
                self._unfollowed.lost(request, attempt, is_all=is_all)

    def _is_submission(self, request: Request) -> bool:
        """Whether *request* submits an answer: it has a task, and does not go to the service."""
        if TASK_ID not in request.meta:
            return False
        self._hints.task_seen = True
        return _host_and_port(urlparse_cached(request)) not in self._service

    # -- the verdict ---------------------------------------------------------------------------

    def accept(self, request: Request) -> None:
        """Say that the site accepted the answer that *request* submitted.

        Args:
            request: ``response.request``.
        """
        if self._is_submission(request) and not request.meta.get(DONT_REPORT):
            self._judge.accepted(request)

    def reject(self, request: Request, reason: str = "") -> None:
        """Say that the site rejected the answer that *request* submitted, as a matching rule does.

        It overrules the verdict that the same response passed the rules.

        Args:
            request: ``response.request``.
            reason: for the log.
        """
        if self._is_submission(request) and not request.meta.get(DONT_REPORT):
            self._judge.rejected(request, reason)

    # -- the crawl's beginning and end ---------------------------------------------------------

    def _spider_opened(self) -> None:
        self._reporter.open([*dict.fromkeys(rule.name for rule in self._rules)])

    async def _spider_closed(self) -> None:
        pages_written = self._saved_pages.close(self.settings.close_timeout)
        await self._reporter.close()
        await maybe_deferred_to_future(pages_written)

    async def _engine_stopped(self) -> None:
        # If a SIGINT comes while the spider closes, Scrapy does not wait for spider_closed.
        await self._reporter.wait_closed()


def _host_and_port(url: ParseResult | SplitResult) -> str:
    """The host and port of *url*, the same for every way of writing them."""
    default_port = ":443" if url.scheme == "https" else ":80"
    return url.netloc.rpartition("@")[2].lower().removesuffix(default_port)


def _is_dummy(response: Response) -> bool:
    """Whether *response* is a placeholder of scrapy-poet: nothing was downloaded."""
    return type(response).__name__ == "DummyResponse"
