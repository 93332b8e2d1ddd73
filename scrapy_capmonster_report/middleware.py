"""The middleware: sees responses, decides in memory whether an answer was refused, hands over."""

from __future__ import annotations

import itertools
import logging
import random
from typing import TYPE_CHECKING, Any, Final

from scrapy import signals as scrapy_signals
from scrapy.exceptions import IgnoreRequest, NotConfigured
from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.httpobj import urlparse_cached
from twisted.internet.defer import Deferred, succeed

from . import signals, stats
from .clock import SteadyClock
from .delivery import Delivery, ReportApi
from .fairness import Evidence, objection
from .insight import CrawlInsight
from .ledger import open_ledger
from .outcome import Outcome
from .redirects import RedirectWatch
from .report import Report
from .rules import compile_rules
from .settings import ReportSettings
from .stats import Stats
from .task import (
    DONT_REPORT,
    SOLVED_AT,
    TASK_ID,
    parse_solved_at,
    parse_task_id,
    read_task,
)
from .trace import (
    Trace,
    arrived,
    departed,
    first_seen,
    leave_history_behind,
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

    from .ledger import Inheritance
    from .rules import Rule, Rules
    from .task import Kind

logger = logging.getLogger(__name__)

REJECTED_FLAG: Final = "captcha-rejected"
BY_CALLBACK: Final = "reject()"
"""What stands for the rule's name where a callback found the refusal."""


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
        self._reactor = reactor
        self._clock = clock
        self._stats = Stats(crawler)
        self._log_extra = {"spider": crawler.spider}
        self._broken_rules: set[str] = set()
        # Trips of other processes that share a ledger have other numbers.
        self._next_trip = itertools.count(random_source.getrandbits(60) + 1).__next__
        self._redirects = RedirectWatch(crawler, self._redirect_refused)
        self._ledger = open_ledger(
            settings,
            job_dir=crawler.settings.get("JOBDIR"),
            spider=crawler.spider.name if crawler.spider else "",
            clock=clock,
            reactor=reactor,
            on_lost=lambda: self._stats.count(stats.LEDGER_FALLBACK),
            log_extra=self._log_extra,
        )
        self._insight = CrawlInsight(
            crawler,
            self._ledger,
            self._stats,
            wall=clock.wall,
            log_extra=self._log_extra,
        )
        self._api = ReportApi(
            reactor,
            base_url=settings.api_url,
            client_key=settings.client_key,
            connections=settings.concurrency,
            timeout=settings.timeout,
            wall=clock.wall,
        )
        self._ledger_opened: Deferred[None] = succeed(None)
        self._delivery = Delivery(
            self._api,
            self._ledger,
            concurrency=settings.concurrency,
            queue_size=settings.queue_size,
            clock=reactor,
            now=clock.now,
            max_age=settings.max_age,
            random=random_source.random,
            on_finish=self._report_finished,
            on_retry=lambda: self._stats.count(stats.RETRIED),
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
            (middleware._request_scheduled, scrapy_signals.request_scheduled),
            (middleware._redirects.request_dropped, scrapy_signals.request_dropped),
            (middleware._redirects.response_downloaded, scrapy_signals.response_downloaded),
        ):
            crawler.signals.connect(receiver, signal=signal)
        return middleware

    # -- the request's way out -----------------------------------------------------------------

    def _request_scheduled(self, request: Request) -> None:
        meta = request.meta
        if TASK_ID not in meta:
            return
        trace = self._trace(meta)
        if trace is not None and trace.trip and trace.sent_at is None:
            # A redirect may wait here for long; how old the answer was when the site got it is
            # known now.
            trace._replace(sent_at=self._sent_at(meta)).store(meta)
        self._redirects.request_scheduled(request)

    def process_request(self, request: Request, spider: Spider | None = None) -> None:
        """Give the trip to the site that begins here its number."""
        trace = self._trace(request.meta) if TASK_ID in request.meta else None
        if trace is not None:
            departed(request.meta, trace, self._next_trip)

    def _trace(self, meta: dict[str, Any]) -> Trace | None:
        """The trace of the answer that *meta* carries, ``None`` if its ``taskId`` is unusable."""
        task_id = parse_task_id(meta[TASK_ID])
        if task_id is None:
            return None
        trace = stored_trace(meta)
        if trace is not None and trace.task == task_id:
            return trace
        solved_at = parse_solved_at(meta.get(SOLVED_AT))
        now = self._clock.now()
        return first_seen(meta, task_id, now if solved_at is None else self._clock.at(solved_at))

    # -- the response's way in -----------------------------------------------------------------

    def process_response(
        self, request: Request, response: Response, spider: Spider | None = None
    ) -> Response:
        """See whether *response* refuses the answer that *request* submitted."""
        meta = request.meta
        if TASK_ID in meta:
            if not meta.get(DONT_REPORT):
                self._look(request, response, self._rules.match)
        else:
            leave_history_behind(meta)
        return response

    def process_exception(
        self, request: Request, exception: Exception, spider: Spider | None = None
    ) -> None:
        """Note that the site may have got the answer, though it did not respond."""
        if TASK_ID not in request.meta or isinstance(exception, IgnoreRequest):
            return
        trace = self._trace(request.meta)
        if trace is not None:
            self._note_use(request, trace, passed=False)

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
        self._rejected(request, None, trace, BY_CALLBACK, None, reason)

    def _redirect_refused(self, request: Request, response: Response) -> None:
        if not request.meta.get(DONT_REPORT):
            self._look(request, response, self._rules.match_redirects)

    def _look(
        self, request: Request, response: Response, match: Callable[..., Rule | None]
    ) -> None:
        meta = request.meta
        trace = self._trace(meta)
        redirects: tuple[str, ...] = ()
        if trace is not None:
            if trace.answered or not trace.trip:  # it did not come by process_request
                trace = departed(meta, trace, self._next_trip)
            trace = arrived(
                meta, trace, sent_at=self._sent_at(meta), cached="cached" in response.flags
            )
            self._redirects.arrived(trace.trip)
            redirects = redirected_to(meta, trace, request.url)
        self._stats.count(stats.CHECKED)
        rule = match(response, request, redirects=redirects, on_error=self._rule_failed)
        if rule is None:
            self._stats.count(stats.PASSED)
            if trace is not None and not trace.cached:
                # A server in trouble has not judged the answer.
                self._note_use(request, trace, passed=response.status < 500)
            return
        if REJECTED_FLAG not in response.flags:
            response.flags.append(REJECTED_FLAG)
        self._rejected(request, response, trace, rule.name, rule.kind)

    def _sent_at(self, meta: dict[str, Any]) -> float:
        """When the request whose response just came was sent."""
        latency = meta.get("download_latency")
        now = self._clock.now()
        return now - latency if isinstance(latency, float) and latency > 0 else now

    def _note_use(self, request: Request, trace: Trace, *, passed: bool) -> None:
        task = read_task(request.meta, trace.task, trace.solved_at)
        sent_at = trace.sent_at or self._clock.now()
        site = _site(request)
        self._ledger.used(task, trace.trip, site, sent_at=sent_at, passed=passed)
        if passed:
            self._insight.passed(task.id, trace.trip, site)

    def _rule_failed(self, rule: Rule, error: Exception) -> None:
        self._stats.count(stats.RULE_ERROR.format(name=rule.name))
        if rule.name not in self._broken_rules:
            self._broken_rules.add(rule.name)
            logger.error(
                "The callback of %r in CAPMONSTER_REPORT_RULES failed; where it does, the rule "
                "does not match (logged once, counted as %s)",
                rule.name,
                stats.PREFIX + stats.RULE_ERROR.format(name=rule.name),
                exc_info=error,
                extra=self._log_extra,
            )

    # -- a refusal -----------------------------------------------------------------------------

    def _rejected(
        self,
        request: Request,
        response: Response | None,
        trace: Trace | None,
        rule: str,
        kind: Kind | None,
        reason: str = "",
    ) -> None:
        self._stats.count(stats.REJECTED)
        self._stats.count(stats.REJECTED_BY_RULE.format(name=rule))
        task = trace and read_task(request.meta, trace.task, trace.solved_at, kind)
        self.crawler.signals.send_catch_log(
            signals.captcha_rejected,
            request=request,
            response=response,
            task=task,
            rule=rule,
            spider=self.crawler.spider,
        )
        if trace is None or task is None:
            self._withheld(request, Outcome.INVALID_TASK, rule, reason)
            return
        now = self._clock.now()
        sent_at = trace.sent_at or now
        used_by = self._ledger.used_by(task.id)
        outcome = objection(
            Evidence(
                task,
                cached=trace.cached,
                claimed=self._ledger.is_claimed(task.id),
                used_before=trace.retried or used_by not in (None, trace.trip),
                sent_at=sent_at,
                now=now,
            ),
            max_age=self.settings.max_age,
            report_reused=self.settings.report_reused,
        )
        report = Report(
            task,
            trace.trip,
            expires_at=task.solved_at + self.settings.max_age,
            rule=rule,
            site=_site(request),
            sent_at=sent_at,
        )
        if outcome is None and self.settings.dry_run:
            self._ledger.claim(report)
            outcome = Outcome.DRY_RUN
        self._insight.rejected(report, request.url, outcome)
        if outcome is not None:
            self._ledger.withheld(report, outcome)
            self._withheld(request, outcome, rule, reason)
            return
        logger.debug(
            "Captcha answer of task %d refused (%s): reporting it %s",
            task.id,
            rule,
            reason or request,
            extra=self._log_extra,
        )
        self._delivery.submit(report)

    def _withheld(self, request: Request, outcome: Outcome, rule: str, reason: str) -> None:
        self._stats.count(outcome.value)
        logger.debug(
            "Captcha answer refused (%s), not reported (%s): %s %s",
            rule,
            outcome.reason,
            request,
            reason,
            extra=self._log_extra,
        )

    def _report_finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        if report.resumed:
            self._stats.count(stats.RESUMED_OUTCOME.format(outcome=outcome.value))
        else:
            self._stats.count(outcome.value)
            if code is not None:
                self._stats.count(stats.REFUSED_WITH_CODE.format(errorCode=code))
        logger.debug(
            "Report of task %d: %s %s",
            report.task.id,
            outcome.reason,
            code or "",
            extra=self._log_extra,
        )
        self.crawler.signals.send_catch_log(
            signals.report_finished,
            task=report.task,
            outcome=outcome,
            spider=self.crawler.spider,
        )

    # -- the crawl's beginning and end ---------------------------------------------------------

    def _spider_opened(self) -> None:
        self._ledger_opened = self._ledger.open(self._inherit)
        names = ", ".join(rule.name for rule in self._rules)
        logger.info(
            "Refused captcha answers are %s CapMonster Cloud (%s); rules: %s",
            "found but, this being a dry run, not reported to"
            if self.settings.dry_run
            else "reported to",
            self.settings.api_url,
            names,
            extra=self._log_extra,
        )

    def _inherit(self, inheritance: Inheritance) -> None:
        """Take over what other crawls left; this one did not wait for it."""
        if count := len(inheritance.reports) + inheritance.expired:
            self._stats.count(stats.RESUMED, count)
        if inheritance.expired:
            expired = stats.RESUMED_OUTCOME.format(outcome=Outcome.EXPIRED.value)
            self._stats.count(expired, inheritance.expired)
        self._insight.learn(inheritance.sites)
        self._delivery.resume(inheritance.reports)

    async def _spider_closed(self) -> None:
        closes_at = self._clock.now() + self.settings.close_timeout
        # A short crawl, too, sends what another one left.
        self._ledger_opened.addTimeout(
            self.settings.close_timeout, self._reactor, onTimeoutCancel=lambda *_: None
        )
        await maybe_deferred_to_future(self._ledger_opened)
        timeout = max(0.0, closes_at - self._clock.now())
        await maybe_deferred_to_future(self._delivery.close(timeout))
        await maybe_deferred_to_future(self._ledger.close())
        await maybe_deferred_to_future(self._api.close())
        logger.info("Captcha answers: %s", self._stats.closing_line(), extra=self._log_extra)
        self._insight.log_table()


def _site(request: Request) -> str:
    return urlparse_cached(request).hostname or ""
