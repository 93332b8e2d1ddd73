"""The middleware: sees responses, decides in memory whether an answer was refused, hands over."""

from __future__ import annotations

import itertools
import logging
import random
from typing import TYPE_CHECKING, Any, Final

from scrapy import exceptions
from scrapy import signals as scrapy_signals
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet import error

from . import stats
from .clock import SteadyClock
from .evidence import EvidenceFolder
from .mask import Mask
from .redirects import RedirectWatch
from .reporter import Reporter
from .rules import compile_rules
from .settings import ReportSettings
from .stats import Stats
from .task import (
    DONT_REPORT,
    SOLVED_AT,
    TASK_ID,
    parse_moment,
    parse_task_id,
)
from .trace import (
    Trace,
    arrived,
    departed,
    first_seen,
    leave_history_behind,
    none_is_ahead,
    pack,
    redirected_to,
    stored_trace,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request, Spider
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    # typing.Self requires Python 3.11
    from typing_extensions import Self

    from .redirects import Redirection
    from .rules import Rule, Rules

logger = logging.getLogger(__name__)

REJECTED_FLAG: Final = "captcha-rejected"
BY_CALLBACK: Final = "reject()"
"""What stands for the rule's name where a callback found the refusal."""

LATENCY: Final = "download_latency"
"""What Scrapy writes into ``meta``: the seconds from sending a request to the headers."""

MOST_NAMES: Final = 20
"""Rules that the log names when the crawl begins."""

NOTHING_SENT: Final = (
    error.ConnectionRefusedError,
    error.DNSLookupError,
    # newer Scrapy has its own
    *(
        getattr(exceptions, name)
        for name in ("CannotResolveHostError", "DownloadConnectionRefusedError")
        if hasattr(exceptions, name)
    ),
)
"""What a download fails with before anything was sent."""


class CapMonsterReportMiddleware:
    """Reports captcha answers that a site refused to CapMonster Cloud.

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
        self._clock = clock
        self._stats = Stats(crawler)
        self._log_extra = {"spider": crawler.spider}
        self._broken_rules: set[str] = set()
        # Trips of other processes that share a ledger have other numbers.
        self._next_trip = itertools.count(random_source.getrandbits(60) + 1).__next__
        self._redirects = RedirectWatch(
            crawler, self._redirect_refused, lambda: self._stats.count(stats.PASSED)
        )
        self._sees_redirects = any(rule.sees_redirects for rule in rules)
        self._reporter = Reporter(
            crawler,
            settings,
            self._stats,
            reactor=reactor,
            clock=clock,
            random_source=random_source,
        )
        self._evidence = EvidenceFolder(
            settings.save_rejected,
            mask=Mask(settings.client_key),
            reactor=reactor,
            wall=clock.wall,
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
            (middleware._spider_opened, scrapy_signals.spider_opened),
            (middleware._spider_closed, scrapy_signals.spider_closed),
            (middleware._redirects.spider_opened, scrapy_signals.spider_opened),
            (middleware._request_scheduled, scrapy_signals.request_scheduled),
            (middleware._headers_received, scrapy_signals.headers_received),
            (middleware._redirects.request_dropped, scrapy_signals.request_dropped),
            (middleware._redirects.response_downloaded, scrapy_signals.response_downloaded),
        ):
            crawler.signals.connect(receiver, signal=signal)
        return middleware

    # -- the request's way out -----------------------------------------------------------------

    def _request_scheduled(self, request: Request) -> None:
        meta = request.meta
        pack(meta)
        if TASK_ID not in meta:
            return
        trace = self._trace(meta)
        if trace is None:
            return
        if trace.trip and trace.sent_at is None:
            # A redirect may wait here for long; how old the answer was when the site got it is
            # known now.
            trace = trace._replace(sent_at=self._sent_at(meta)).store(meta)
        self._redirects.request_scheduled(request, trace)

    def process_request(self, request: Request, spider: Spider | None = None) -> None:
        """Give the trip to the site that begins here its number."""
        meta = request.meta
        if TASK_ID not in meta:
            return
        meta.pop(LATENCY, None)  # that of another download, copied
        trace = self._trace(meta)
        if trace is not None:
            if trace.solved_at > (now := self._clock.now()):
                trace = none_is_ahead(trace, now)
            departed(meta, trace, self._next_trip)

    def _headers_received(self, request: Request) -> None:
        """Note when the answer was sent; how long the body takes is not the answer's age."""
        meta = request.meta
        if TASK_ID not in meta or LATENCY not in meta:
            return
        trace = self._trace(meta)
        if trace is not None and trace.trip and trace.sent_at is None:
            trace._replace(sent_at=self._sent_at(meta)).keep(meta)

    def _trace(self, meta: dict[str, Any]) -> Trace | None:
        """The trace of the answer that *meta* carries, ``None`` if its ``taskId`` is unusable."""
        task_id = parse_task_id(meta[TASK_ID])
        if task_id is None:
            return None
        trace = stored_trace(meta)
        if trace is not None and trace.task == task_id:
            return trace
        solved_at = parse_moment(meta.get(SOLVED_AT), self._clock.wall())
        now = self._clock.now()
        return first_seen(meta, task_id, now if solved_at is None else self._clock.at(solved_at))

    # -- the response's way in -----------------------------------------------------------------

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Response:
        """See whether *response* refuses the answer that *request* submitted."""
        meta = request.meta
        if TASK_ID in meta:
            if meta.get(DONT_REPORT):
                self._leave_alone(request, response)
            else:
                self._look(request, response, self._rules.match)
        else:
            leave_history_behind(meta)
        return response

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> None:
        """Note that the site may have got the answer, though it did not respond."""
        if TASK_ID not in request.meta:
            leave_history_behind(request.meta)
            return
        trace = self._trace(request.meta)
        if trace is None:
            return
        pack(request.meta)
        ignored = isinstance(exception, IgnoreRequest)
        redirection = self._redirects.lost(request, trace.trip)
        if redirection is not None:
            # What led here is all that the site said, unless Scrapy tries again.
            self._redirect_refused(redirection, is_all=ignored)
        if not ignored and (redirection or not isinstance(exception, NOTHING_SENT)):
            self._reporter.used(request, trace, passed=False)

    def reject(self, request: Request, reason: str = "") -> None:
        """Say that the site refused the answer that *request* submitted.

        For a callback that only then sees it; does what a matching rule does, and revises the
        verdict of the rules on the same response.

        Args:
            request: ``response.request``.
            reason: for the log.
        """
        meta = request.meta
        if TASK_ID not in meta or meta.get(DONT_REPORT):
            return
        trace = self._trace(meta)
        if trace is not None and not trace.trip:
            trace = departed(meta, trace, self._next_trip)
            pack(meta)
        if trace is not None:
            self._evidence.revised(trace.trip, BY_CALLBACK)
        self._reporter.rejected(request, None, trace, BY_CALLBACK, None, reason)

    def _redirect_refused(self, redirection: Redirection, *, is_all: bool = True) -> None:
        request, response, looked_at = redirection
        if request.meta.get(DONT_REPORT):
            return
        if looked_at:
            self._look_again(request, response)
        else:
            self._look(request, response, self._rules.match_redirects, is_all=is_all)

    def _leave_alone(self, request: Request, response: Response) -> None:
        """Look at no response; but the answer has been used."""
        trace = self._trace(request.meta)
        if trace is not None:
            trace = self._arrived(request, response, trace)
            if not trace.cached:
                self._reporter.used(request, trace, passed=False)

    def _arrived(self, request: Request, response: Response, trace: Trace) -> Trace:
        meta = request.meta
        if trace.answered or not trace.trip:  # it did not come by process_request
            trace = departed(meta, trace, self._next_trip)
        self._redirects.arrived(trace.trip)
        return arrived(meta, trace, sent_at=self._sent_at(meta), cached="cached" in response.flags)

    def _look(
        self,
        request: Request,
        response: Response,
        match: Callable[..., Rule | None],
        *,
        is_all: bool = True,
    ) -> None:
        """Ask the rules about *response*.

        Args:
            is_all: whether nothing more will come, so that no rule means it passed.
        """
        meta = request.meta
        trace = self._trace(meta)
        redirects: tuple[str, ...] = ()
        if trace is not None:
            trace = self._arrived(request, response, trace)
            redirects = redirected_to(meta, trace, request.url)
        rule = match(response, request, redirects=redirects, on_error=self._rule_failed)
        if rule is None and not is_all:
            return
        self._stats.count(stats.CHECKED)
        self._evidence.judged(
            request,
            response,
            redirects=redirects,
            trip=trace and trace.trip,
            rule=None if rule is None else rule.name,
        )
        if rule is None:
            if trace is not None and not trace.cached:
                # A server in trouble has not judged the answer.
                self._reporter.used(request, trace, passed=response.status < 500)
            leads_on = (
                trace is not None
                and self._sees_redirects
                and self._redirects.leads_on(request, response, trace.trip)
            )
            if not leads_on:
                self._stats.count(stats.PASSED)
            return
        self._refused(request, response, trace, rule)

    def _look_again(self, request: Request, response: Response) -> None:
        """Ask the rules where *response*, in which they saw nothing, leads by its meta refresh."""
        trace = self._trace(request.meta)
        if trace is None:
            return
        redirects = redirected_to(request.meta, trace, request.url)
        rule = self._rules.match_redirects(
            response,
            request,
            redirects=redirects,
            refreshes=self._redirects.refreshes,
            on_error=self._rule_failed,
        )
        if rule is None:
            self._stats.count(stats.PASSED)
            return
        self._evidence.revised(trace.trip, rule.name)
        self._refused(request, response, trace, rule)

    def _refused(
        self, request: Request, response: Response, trace: Trace | None, rule: Rule
    ) -> None:
        if REJECTED_FLAG not in response.flags:
            response.flags.append(REJECTED_FLAG)
        self._reporter.rejected(request, response, trace, rule.name, rule.kind)

    def _sent_at(self, meta: dict[str, Any]) -> float:
        """When the request whose headers, as far as one can tell, just came was sent."""
        latency = meta.get(LATENCY)
        now = self._clock.now()
        return now - latency if isinstance(latency, float) and latency > 0 else now

    def _rule_failed(self, rule: Rule, raised: Exception) -> None:
        self._stats.count(stats.RULE_ERROR.format(name=rule.name))
        if rule.name not in self._broken_rules:
            self._broken_rules.add(rule.name)
            logger.error(
                "The callback of %r in CAPMONSTER_REPORT_RULES failed; where it does, the rule "
                "does not match (logged once, counted as %s)",
                rule.name,
                stats.PREFIX + stats.RULE_ERROR.format(name=rule.name),
                exc_info=raised,
                extra=self._log_extra,
            )

    # -- the crawl's beginning and end ---------------------------------------------------------

    def _spider_opened(self) -> None:
        self._reporter.open()
        names = [*dict.fromkeys(rule.name for rule in self._rules)]
        more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
        logger.info(
            "Refused captcha answers are %s CapMonster Cloud (%s); rules: %s",
            "found but, this being a dry run, not reported to"
            if self.settings.dry_run
            else "reported to",
            self.settings.api_url,
            ", ".join(names[:MOST_NAMES] + more),
            extra=self._log_extra,
        )

    async def _spider_closed(self) -> None:
        self._redirects.spider_closed()
        pages_written = self._evidence.close(self.settings.close_timeout)
        await self._reporter.close()
        await maybe_deferred_to_future(pages_written)
