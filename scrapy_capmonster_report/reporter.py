"""From a rejection to its outcome: withhold or report it, and count; opening and closing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.defer import Deferred, succeed

from . import signals, stats
from .attempts import CACHED
from .delivery import Delivery, ReportClient
from .fairness import withhold_reason
from .insight import ClosingHints, CrawlInsight
from .ledger import open_ledger
from .mask import Mask
from .outcome import Outcome, Report
from .redirects import site_of
from .settings import CLOSE_TIMEOUT
from .task import read_task

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response

    from .attempts import Attempt
    from .clock import SteadyClock
    from .ledger import Recovered
    from .settings import ReportSettings
    from .stats import Stats
    from .task import Kind, Task

logger = logging.getLogger(__name__)

_QUIET_SECONDS: Final = 2.0
"""If closing takes longer, the log says what it waits for."""

_MAX_NAMED: Final = 20
"""How many rules the log names when the crawl begins."""


class Reporter:
    """Takes the verdict on each answer, and reports rejected ones or withholds the report.

    Only :meth:`close` waits for the network or a disk.

    Args:
        crawler: gets the signals.
        settings: those of this package.
        counters: counts the outcomes of rejections.
        hints: has the advice to log when the crawl ends.
        clock: the time by which answers age.
        random_source: for the pauses before retries.
    """

    def __init__(
        self,
        crawler: Crawler,
        settings: ReportSettings,
        counters: Stats,
        hints: ClosingHints,
        *,
        reactor: Any,
        clock: SteadyClock,
        random_source: random.Random,
    ) -> None:
        self._crawler = crawler
        self._settings = settings
        self._stats = counters
        self._hints = hints
        self._reactor = reactor
        self._clock = clock
        self._log_extra = {"spider": crawler.spider}
        self.ledger = open_ledger(
            settings,
            job_dir=crawler.settings.get("JOBDIR"),
            spider=crawler.spider.name if crawler.spider else "",
            clock=clock,
            reactor=reactor,
            on_unavailable=lambda: self._stats.count(stats.LEDGER_FALLBACK),
            log_extra=self._log_extra,
        )
        self._mask = Mask(settings.client_key)
        self._insight = CrawlInsight(crawler, self.ledger, self._stats, clock)
        self._shown: set[tuple[str, Kind]] = set()
        self._client = ReportClient(
            reactor,
            base_url=settings.api_url,
            client_key=settings.client_key,
            connections=settings.concurrency,
            timeout=settings.timeout,
            wall=clock.wall,
            proxy=settings.proxy,
        )
        self._delivery = Delivery(
            self._client,
            self.ledger,
            concurrency=settings.concurrency,
            queue_size=settings.queue_size,
            clock=reactor,
            now=clock.now,
            max_age=settings.max_age,
            random=random_source.random,
            on_finish=self._finished,
            on_retry=lambda: self._stats.count(stats.RETRIED),
            log_extra=self._log_extra,
        )
        self._ledger_opened: Deferred[None] = succeed(None)
        self._closing = False
        self._on_closed: list[Deferred[None]] = []

    def passed(self, request: Request, attempt: Attempt) -> None:
        """Note that the site accepted the answer that *request* submitted."""
        task = self._task(request, attempt)
        site = attempt.site or site_of(request, attempt.begun)
        self.ledger.passed(task, attempt.number, site, attempt.sent_at or self._clock.now())
        self._insight.passed(task.id, attempt.number, site)

    def rejected(
        self,
        request: Request,
        response: Response | None,
        attempt: Attempt | None,
        *,
        rule: str,
        kind: Kind | None,
        is_first: bool,
        reason: str = "",
    ) -> None:
        """Report that the site rejected the answer that *request* submitted, if that is fair.

        Args:
            response: ``None`` if a callback called ``reject()``.
            attempt: the attempt; ``None`` if the ``taskId`` is unusable.
            rule: the name of the rule that matched, or what stands for it.
            kind: the kind of captcha, if the rule has one.
            is_first: whether the answer had not been sent before.
        """
        self._stats.count(stats.REJECTED)
        self._stats.count(stats.REJECTED_BY_RULE.format(name=rule))
        task = self._task(request, attempt, kind) if attempt else None
        self._crawler.signals.send_catch_log(
            signals.captcha_rejected,
            request=request,
            response=response,
            task=task,
            rule=rule,
            spider=self._crawler.spider,
        )
        if attempt is None or task is None:
            self._withheld(request, Outcome.INVALID_TASK, rule, reason)
            return
        report = Report(
            task,
            attempt.number,
            expires_at=(task.created_at or task.solved_at) + self._settings.max_age,
            rule=rule,
            site=attempt.site or site_of(request, attempt.begun),
            sent_at=attempt.sent_at or self._clock.now(),
        )
        outcome = withhold_reason(
            report,
            cached=attempt.verdict == CACHED,
            claimed=self.ledger.is_claimed(task.id),
            is_first=is_first or self._settings.report_reused,
            now=self._clock.now(),
        )
        if outcome is None and self._settings.dry_run:
            outcome = Outcome.DRY_RUN
            self._show(request, report)
        self._insight.rejected(report, outcome, by_rule=response is not None)
        if outcome is not None:
            self.ledger.withheld(report, outcome)
            self._withheld(request, outcome, rule, reason)
        else:
            self._debug("Captcha answer rejected (%s), reporting: %s %s", rule, request, reason)
            self._delivery.submit(report)

    def _task(self, request: Request, attempt: Attempt, kind: Kind | None = None) -> Task:
        return read_task(
            request.meta, attempt.task_id, attempt.solved_at, attempt.created_at, fallback=kind
        )

    def _withheld(self, request: Request, outcome: Outcome, rule: str, reason: str) -> None:
        self._stats.count(outcome.value)
        self._debug(
            "Captcha answer rejected (%s), report withheld (%s): %s %s",
            rule,
            outcome.reason,
            request,
            reason,
        )

    def _show(self, request: Request, report: Report) -> None:
        """Log the first report of each rule and kind that a dry run does not send."""
        kind = report.task.kind
        if (report.rule, kind) not in self._shown:
            self._shown.add((report.rule, kind))
            logger.info(
                "Dry run: task %d would be reported as %s (rule %r): %s",
                report.task.id,
                kind.value,
                report.rule,
                self._mask.text(request.url),
                extra=self._log_extra,
            )

    def _finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        if report.recovered:
            self._stats.count(stats.RESUMED_OUTCOME.format(outcome=outcome.value))
        else:
            self._stats.count(outcome.value)
            if code is not None:
                self._stats.count_code(code)
        self._debug("Report of task %d: %s %s", report.task.id, outcome.reason, code or "")
        self._crawler.signals.send_catch_log(
            signals.report_finished,
            task=report.task,
            outcome=outcome,
            spider=self._crawler.spider,
        )

    def _debug(self, message: str, *args: object) -> None:
        if _is_heard(logging.DEBUG):  # a record costs as much as the rest of a rejection
            logger.debug(message, *args, extra=self._log_extra, stacklevel=2)

    def open(self, rules: Sequence[str]) -> None:
        """Open the ledger, recover what other crawls left, and log the names of the *rules*."""
        self._ledger_opened = self.ledger.open(self._recovered)
        more = [f"and {len(rules) - _MAX_NAMED} more"] if len(rules) > _MAX_NAMED else []
        logger.info(
            "%s CapMonster Cloud (%s); ledger: %s; rules: %s",
            "Dry run: rejected captcha answers are counted but not reported to"
            if self._settings.dry_run
            else "Rejected captcha answers are reported to",
            self._settings.api_url,
            self.ledger.name,
            ", ".join([*rules[:_MAX_NAMED], *more]) or "none (only accept() and reject())",
            extra=self._log_extra,
        )

    def _recovered(self, recovered: Recovered) -> None:
        if count := len(recovered.reports) + recovered.expired:
            self._stats.count(stats.RESUMED, count)
        if recovered.expired:
            expired = stats.RESUMED_OUTCOME.format(outcome=Outcome.EXPIRED.value)
            self._stats.count(expired, recovered.expired)
        self._insight.load_baseline(recovered.sites)
        self._delivery.recover(recovered.reports)

    async def close(self) -> None:
        """Send reports for ``CAPMONSTER_REPORT_CLOSE_TIMEOUT`` at most, and log the totals."""
        self._closing = True
        waiting = self._reactor.callLater(_QUIET_SECONDS, self._log_waiting)
        try:
            await self._close()
        finally:
            if waiting.active():
                waiting.cancel()
            self._closing = False
            while self._on_closed:
                self._on_closed.pop().callback(None)

    async def _close(self) -> None:
        closes_at = self._clock.now() + self._settings.close_timeout
        # Even a short crawl sends the reports that another one left.
        # A short crawl also sends what another one left.
        self._ledger_opened.addTimeout(
            self._settings.close_timeout, self._reactor, onTimeoutCancel=lambda *_: None
        )
        await maybe_deferred_to_future(self._ledger_opened)
        timeout = max(0.0, closes_at - self._clock.now())
        await maybe_deferred_to_future(self._delivery.close(timeout))
        await maybe_deferred_to_future(self.ledger.close())
        await maybe_deferred_to_future(self._client.close())
        logger.info("Captcha answers: %s", self._stats.closing_line(), extra=self._log_extra)
        self._insight.log_table()
        self._hints.log(self._stats, self._log_extra)

    async def wait_closed(self) -> None:
        """Wait until :meth:`close` is done, if it was called."""
        if self._closing:
            closed: Deferred[None] = Deferred()
            self._on_closed.append(closed)
            await maybe_deferred_to_future(closed)

    def _log_waiting(self) -> None:
        logger.info(
            "Sending the last %d reports to CapMonster Cloud, for %g seconds at most (%s)",
            self._delivery.unfinished,
            self._settings.close_timeout,
            CLOSE_TIMEOUT,
            extra=self._log_extra,
        )


def _is_heard(level: int) -> bool:
    """Whether a handler takes records of *level*. Scrapy sets that of its handler, not a logger's."""
    source: logging.Logger | None = logger
    while source is not None and all(handler.level > level for handler in source.handlers):
        source = source.parent
    return source is not None
