"""What becomes of a refused answer: fairness, the ledger and delivery, from opening to closing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from scrapy.utils.defer import maybe_deferred_to_future
from scrapy.utils.httpobj import urlparse_cached
from twisted.internet.defer import Deferred, succeed

from . import signals, stats
from .delivery import Delivery, ReportClient
from .dry_run import DryRun
from .fairness import Circumstances, objection
from .insight import CrawlInsight
from .ledger import open_ledger
from .mask import Mask
from .outcome import Outcome, Report
from .recent import Recent
from .task import read_task
from .trace import submitted_to

if TYPE_CHECKING:
    import random

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from .clock import SteadyClock
    from .ledger import Recovered
    from .settings import ReportSettings
    from .stats import Stats
    from .task import Kind
    from .trace import Trace

logger = logging.getLogger(__name__)


class Reporter:
    """Is told by the middleware what the site said of each answer, and does what follows.

    Nothing here waits for the network or a disk but :meth:`close`.

    Args:
        crawler: gets the signals.
        settings: those of this package.
        counters: count what becomes of rejections.
        clock: the time by which answers age.
        random_source: for the pauses between attempts.
    """

    def __init__(
        self,
        crawler: Crawler,
        settings: ReportSettings,
        counters: Stats,
        *,
        reactor: Any,
        clock: SteadyClock,
        random_source: random.Random,
    ) -> None:
        self._crawler = crawler
        self._settings = settings
        self._stats = counters
        self._reactor = reactor
        self._clock = clock
        self._log_extra = {"spider": crawler.spider}
        self._ledger = open_ledger(
            settings,
            job_dir=crawler.settings.get("JOBDIR"),
            spider=crawler.spider.name if crawler.spider else "",
            clock=clock,
            reactor=reactor,
            on_unavailable=lambda: self._stats.count(stats.LEDGER_FALLBACK),
            log_extra=self._log_extra,
        )
        self._first_attempts: Recent[int] = Recent(clock.now, 200_000, 3600.0)
        self._dry_run = DryRun()
        self._mask = Mask(settings.client_key)
        self._insight = CrawlInsight(
            crawler,
            self._ledger,
            self._stats,
            wall=clock.wall,
            log_extra=self._log_extra,
        )
        self._client = ReportClient(
            reactor,
            base_url=settings.api_url,
            client_key=settings.client_key,
            connections=settings.concurrency,
            timeout=settings.timeout,
            wall=clock.wall,
            proxy=settings.proxy,
        )
        self._ledger_opened: Deferred[None] = succeed(None)
        self._delivery = Delivery(
            self._client,
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

    # -- what the site said --------------------------------------------------------------------

    def used(self, request: Request, trace: Trace, *, passed: bool) -> None:
        """Note that the answer that *request* submitted was used, and was not refused.

        Args:
            passed: whether the site judged it, and so took it.
        """
        task = read_task(request.meta, trace.task, trace.solved_at)
        sent_at = trace.sent_at or self._clock.now()
        site = _site(request, trace)
        first = self._first_attempts.get(task.id)
        self._first_attempts.set(task.id, first or trace.trip)
        self._ledger.sent(task.id, trace.trip)
        if passed:
            self._ledger.passed(task, trace.trip, site, sent_at)
            self._insight.passed(task.id, trace.trip, site)

    def rejected(
        self,
        request: Request,
        response: Response | None,
        trace: Trace | None,
        rule: str,
        kind: Kind | None,
        reason: str = "",
    ) -> None:
        """Report that the answer that *request* submitted was refused, if that is fair.

        Args:
            request: the request.
            response: what the site responded, where it is at hand.
            trace: the trace of the answer; ``None`` if its ``taskId`` is unusable.
            rule: the name of the rule that matched, or what stands for it.
            kind: what the rule says of the captcha's kind.
            reason: for the log.
        """
        self._stats.count(stats.REJECTED)
        self._stats.count(stats.REJECTED_BY_RULE.format(name=rule))
        task = trace and read_task(request.meta, trace.task, trace.solved_at, kind)
        self._crawler.signals.send_catch_log(
            signals.captcha_rejected,
            request=request,
            response=response,
            task=task,
            rule=rule,
            spider=self._crawler.spider,
        )
        if trace is None or task is None:
            self._withheld(request, Outcome.INVALID_TASK, rule, reason)
            return
        now = self._clock.now()
        report = Report(
            task,
            trace.trip,
            expires_at=task.solved_at + self._settings.max_age,
            rule=rule,
            site=_site(request, trace),
            sent_at=trace.sent_at or now,
        )
        outcome = self._objection(report, trace, now)
        if outcome is None and self._settings.dry_run:
            outcome = Outcome.DRY_RUN
            self._dry_run.add(rule, task.kind, self._mask.text(request.url))
        self._insight.rejected(report, outcome)
        if outcome is not None:
            self._ledger.withheld(report, outcome)
            self._withheld(request, outcome, rule, reason)
            return
        self._debug(
            "Captcha answer of task %d refused (%s), to be reported: %s %s",
            task.id,
            rule,
            request,
            reason,
        )
        self._delivery.submit(report)

    def _objection(self, report: Report, trace: Trace, now: float) -> Outcome | None:
        task = report.task
        used_by = self._first_attempts.get(task.id)
        circumstances = Circumstances(
            task,
            cached=trace.cached,
            claimed=self._ledger.is_claimed(task.id),
            used_before=trace.retried or used_by not in (None, trace.trip),
            sent_at=report.sent_at,
            now=now,
        )
        return objection(
            circumstances,
            max_age=self._settings.max_age,
            report_reused=self._settings.report_reused,
        )

    def _withheld(self, request: Request, outcome: Outcome, rule: str, reason: str) -> None:
        self._stats.count(outcome.value)
        self._debug(
            "Captcha answer refused (%s), not reported (%s): %s %s",
            rule,
            outcome.reason,
            request,
            reason,
        )

    def _report_finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        if report.recovered:
            self._stats.count(stats.RESUMED_OUTCOME.format(outcome=outcome.value))
        else:
            self._stats.count(outcome.value)
            if code is not None:
                self._stats.count_code(code)
        self._debug(
            "Report of task %d: %s %s",
            report.task.id,
            outcome.reason,
            code or "",
        )
        self._crawler.signals.send_catch_log(
            signals.report_finished,
            task=report.task,
            outcome=outcome,
            spider=self._crawler.spider,
        )

    def _debug(self, message: str, *args: object) -> None:
        # Scrapy has each record made and leaves it to the handlers to drop it, at 5 µs apiece.
        if _is_heard(logging.DEBUG):
            logger.debug(message, *args, extra=self._log_extra, stacklevel=2)

    # -- opening and closing -------------------------------------------------------------------

    def open(self) -> None:
        """Open the ledger, and take over what other crawls left; nothing waits for it."""
        self._ledger_opened = self._ledger.open(self._recovered)

    def _recovered(self, recovered: Recovered) -> None:
        if count := len(recovered.reports) + recovered.expired:
            self._stats.count(stats.RESUMED, count)
        if recovered.expired:
            expired = stats.RESUMED_OUTCOME.format(outcome=Outcome.EXPIRED.value)
            self._stats.count(expired, recovered.expired)
        self._insight.learn(recovered.sites)
        self._delivery.recover(recovered.reports)

    async def close(self) -> None:
        """Send what can be sent within ``CAPMONSTER_REPORT_CLOSE_TIMEOUT``, and sum up."""
        closes_at = self._clock.now() + self._settings.close_timeout
        # A short crawl, too, sends what another one left.
        self._ledger_opened.addTimeout(
            self._settings.close_timeout, self._reactor, onTimeoutCancel=lambda *_: None
        )
        await maybe_deferred_to_future(self._ledger_opened)
        timeout = max(0.0, closes_at - self._clock.now())
        await maybe_deferred_to_future(self._delivery.close(timeout))
        await maybe_deferred_to_future(self._ledger.close())
        await maybe_deferred_to_future(self._client.close())
        logger.info("Captcha answers: %s", self._stats.closing_line(), extra=self._log_extra)
        self._insight.log_table()
        if self._settings.dry_run:
            logger.info("Dry run: %s", self._dry_run.summary(), extra=self._log_extra)


def _site(request: Request, trace: Trace) -> str:
    """The host that got the answer, wherever it redirected to."""
    url = submitted_to(request.meta, trace, request.url)
    parts = urlparse_cached(request) if url == request.url else urlsplit(url)
    return parts.hostname or ""


def _is_heard(level: int) -> bool:
    """Whether any handler would take a record of *level*."""
    current: logging.Logger | None = logger
    while current is not None:
        for handler in current.handlers:
            if handler.level <= level:
                return True
        current = current.parent if current.propagate else None
    return False
