"""The middleware: Scrapy's hooks. It decides in memory whether an answer was rejected."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy import signals
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.httpobj import urlparse_cached

from . import stats
from .attempts import CACHED, PASSED, REJECTED, UNJUDGED, Attempts
from .clock import SteadyClock
from .insight import ClosingHints
from .mask import Mask
from .redirects import UnfollowedRedirects, redirected_to
from .reporter import Reporter
from .rules import compile_rules
from .saved_pages import SavedPages
from .settings import ReportSettings, warn_about_unknown_settings
from .stats import Stats
from .task import DONT_REPORT, TASK_ID
from .task_reader import TaskReader
from .text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from .attempts import Attempt
    from .rules import Rule, Rules
    from .task import Kind

logger = logging.getLogger(__name__)

REJECTED_FLAG: Final = "captcha-rejected"
BY_CALLBACK: Final = "reject()"
"""Stands for the rule's name where a callback found the rejection."""

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
        self._stats = Stats(crawler)
        self._log_extra = {"spider": crawler.spider}
        self._broken_rules: set[str] = set()
        self._service = urlsplit(settings.api_url).netloc
        domains = [rule.domains for rule in rules]
        everywhere = None in domains
        self._hints = ClosingHints(
            () if everywhere else frozenset[str]().union(*(names or () for names in domains))
        )
        self._reporter = Reporter(
            crawler,
            settings,
            self._stats,
            self._hints,
            reactor=reactor,
            clock=clock,
            random_source=random_source,
        )
        self._attempts = Attempts(
            clock,
            TaskReader(
                clock,
                unknown_type=lambda: self._stats.count(stats.UNKNOWN_TASK_TYPE),
                log_extra=self._log_extra,
            ),
            first_number=random_source.getrandbits(60) + 1,
            ledger=self._reporter.ledger,
        )
        self._unfollowed = UnfollowedRedirects(crawler, self._judge_redirect)
        self._saved_pages = SavedPages(
            settings.save_rejected,
            mask=Mask(settings.client_key),
            reactor=reactor,
            token=random_source.getrandbits(32),
            log_extra=self._log_extra,
        )

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Build it for *crawler*.

        Raises:
            NotConfigured: switched off, or it cannot work: no key, no rules, no reactor.
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

    def _headers_received(self, request: Request) -> None:
        if TASK_ID in request.meta:
            self._attempts.headers_received(request)

    def _response_downloaded(self, request: Request, response: Response) -> None:
        if TASK_ID in request.meta:
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
            # A rejecting page with a meta refresh leads to one that says the same again.
            if attempt is None or attempt.verdict != REJECTED:
                self._judge(request, response, attempt, self._rules.match)
        return response

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> None:
        """See whether anything was sent, and where a redirect led nowhere."""
        if self._is_submission(request):
            attempt = self._attempts.failed(request, exception)
            if attempt is not None:
                # The redirect is all that the site said, unless Scrapy tries again.
                is_all = isinstance(exception, IgnoreRequest)
                self._unfollowed.lost(request, attempt, is_all=is_all)

    def _is_submission(self, request: Request) -> bool:
        """Whether *request* submits an answer: it has a task, and does not ask the service."""
        if TASK_ID not in request.meta:
            return False
        self._hints.task_seen = True
        url = urlparse_cached(request)
        return url.netloc != self._service and url.hostname != _SERVICE_HOST

    # -- the verdict ---------------------------------------------------------------------------

    def accept(self, request: Request) -> None:
        """Say that the site accepted the answer that *request* submitted.

        Args:
            request: ``response.request``.
        """
        if self._is_submission(request) and not request.meta.get(DONT_REPORT):
            attempt = self._attempts.of(request)
            if attempt is not None and attempt.verdict == UNJUDGED:
                self._stats.count(stats.CHECKED)
                self._pass(request, attempt)

    def reject(self, request: Request, reason: str = "") -> None:
        """Say that the site rejected the answer that *request* submitted, as a matching rule does.

        It overrules that the same response passed the rules.

        Args:
            request: ``response.request``.
            reason: for the log.
        """
        if self._is_submission(request) and not request.meta.get(DONT_REPORT):
            attempt = self._attempts.of(request)
            self._reject(request, None, attempt, BY_CALLBACK, None, one_line(reason))

    def _judge_redirect(self, request: Request, response: Response, is_all: bool) -> None:
        """Judge a 3xx that Scrapy does not follow."""
        attempt = self._attempts.answered(request, response)
        self._judge(request, response, attempt, self._rules.match_redirects, is_all=is_all)

    def _judge(
        self,
        request: Request,
        response: Response,
        attempt: Attempt | None,
        match: Callable[..., Rule | None],
        *,
        is_all: bool = True,
    ) -> None:
        """Ask the rules about *response*.

        Args:
            is_all: whether nothing more will come, so that the answer passed if no rule matches.
        """
        if request.meta.get(DONT_REPORT) or not self._rules.judges:
            return
        redirects = redirected_to(request, response, attempt.begun) if attempt else []
        rule = match(response, request, redirects=redirects, on_error=self._rule_failed)
        if rule is None and not is_all:
            return
        self._stats.count(stats.CHECKED)
        self._hints.checked(response)
        self._saved_pages.judged(
            request,
            response,
            site=attempt.site if attempt else "",
            redirects=redirects,
            rule=None if rule is None else rule.name,
        )
        if rule is None:
            # A server in trouble has not judged the answer.
            self._pass(request, attempt, accepted=response.status < 500)
            return
        if REJECTED_FLAG not in response.flags:
            response.flags.append(REJECTED_FLAG)
        self._reject(request, response, attempt, rule.name, rule.kind)

    def _pass(self, request: Request, attempt: Attempt | None, *, accepted: bool = True) -> None:
        self._stats.count(stats.PASSED)
        if attempt is not None and attempt.verdict != CACHED:
            attempt._replace(verdict=PASSED).write(request.meta)
            if accepted:
                self._reporter.passed(request, attempt)

    def _reject(
        self,
        request: Request,
        response: Response | None,
        attempt: Attempt | None,
        rule: str,
        kind: Kind | None,
        reason: str = "",
    ) -> None:
        if attempt is not None and attempt.verdict != CACHED:
            attempt._replace(verdict=REJECTED).write(request.meta)
        is_first = attempt is not None and self._attempts.is_first(attempt)
        self._reporter.rejected(
            request, response, attempt, rule=rule, kind=kind, is_first=is_first, reason=reason
        )

    def _rule_failed(self, rule: Rule, raised: Exception) -> None:
        stat = stats.RULE_ERROR.format(name=rule.name)
        self._stats.count(stat)
        if rule.name not in self._broken_rules:
            self._broken_rules.add(rule.name)
            logger.error(
                "The callback of rule %r in CAPMONSTER_REPORT_RULES raised an exception, so the "
                "rule did not match. (logged once, counted as %s)",
                rule.name,
                stats.PREFIX + stat,
                exc_info=raised,
                extra=self._log_extra,
            )

    # -- the crawl's beginning and end ---------------------------------------------------------

    def _spider_opened(self) -> None:
        self._reporter.open([*dict.fromkeys(rule.name for rule in self._rules)])

    async def _spider_closed(self) -> None:
        pages_written = self._saved_pages.close(self.settings.close_timeout)
        await self._reporter.close()
        await maybe_deferred_to_future(pages_written)

    async def _engine_stopped(self) -> None:
        # Scrapy does not wait for spider_closed if a signal comes while it closes the spider.
        await self._reporter.wait_closed()


def _is_dummy(response: Response) -> bool:
    """Whether *response* is scrapy-poet's, for which nothing was downloaded."""
    return any(base.__name__ == "DummyResponse" for base in type(response).__mro__)
