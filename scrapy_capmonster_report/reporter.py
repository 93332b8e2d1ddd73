"""From a rejection to its outcome: withhold or report it, and count; opening and closing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from twisted.internet.defer import Deferred, succeed

from . import signals, stats
from .attempts import CACHED
from .closing import close
from .delivery import Delivery, ReportClient
from .fairness import withhold_reason
from .insight import CrawlInsight
from .mask import Mask
from .outcome import BY_CALLBACK, Outcome, Report
from .task import read_task, type_name
from .text import some_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from scrapy import Request
    from scrapy.http import Response

    from .attempts import Attempt, Attempts
    from .context import CrawlContext
    from .ledger import Ledger, Recovered
    from .rules import Rule
    from .task import Kind

logger = logging.getLogger(__name__)

_MAX_NAMED: Final = 20
"""How many rules the log names when the crawl begins."""


class Reporter:
    """Takes the verdict on each answer, and reports rejected ones or withholds the report.

    Only :meth:`close` waits for the network or a disk.

    Args:
        context: the crawl.
        ledger: knows what other workers and earlier crawls reported.
        attempts: knows which attempt was the first.
    """

    def __init__(self, context: CrawlContext, ledger: Ledger, attempts: Attempts) -> None:
        self._context = context
        self._settings = context.settings
        self._stats = context.stats
        self._clock = context.clock
        self._log_extra = context.log_extra
        self._ledger = ledger
        self._attempts = attempts
        self._mask = Mask(context.settings.client_key)
        self._insight = CrawlInsight(context, ledger)
        self._shown: set[tuple[str, Kind]] = set()
        self._client = ReportClient(context.reactor, context.settings, wall=context.clock.wall)
        self._delivery = Delivery(context, self._client, ledger, on_finish=self._finished)
        self._ledger_opened: Deferred[None] = succeed(None)

    def passed(self, request: Request, attempt: Attempt) -> None:
        """Note that the site accepted the answer that *request* submitted."""
        if attempt.task_id:
            self._ledger.passed(
                attempt.task_id,
                attempt.number,
                attempt.site,
                type_name(request.meta) or "",
                (attempt.sent_at or self._clock.now()) - attempt.solved_at,
            )
            self._insight.passed(attempt.task_id, attempt.number, attempt.site)

    def rejected(
        self,
        request: Request,
        response: Response | None,
        attempt: Attempt,
        rule: Rule | None,
        reason: str,
    ) -> None:
        """Report that the site rejected the answer that *request* submitted, if that is fair.

        Args:
            response: ``None`` if a callback called ``reject()``.
            attempt: the attempt.
            rule: the rule that matched; ``None`` if a callback called ``reject()``.
            reason: for the log.
        """
        rule_name = rule.name if rule else BY_CALLBACK
        self._stats.count(stats.REJECTED)
        self._stats.count(stats.REJECTED_BY_RULE.format(name=rule_name))
        task = None
        if attempt.task_id:
            kind = rule.kind if rule else None
            task = read_task(
                request.meta, attempt.task_id, attempt.solved_at, attempt.created_at, fallback=kind
            )
        self._context.send(
            signals.captcha_rejected, request=request, response=response, task=task, rule=rule_name
        )
        outcome: Outcome | None = Outcome.INVALID_TASK
        if task is not None:
            report = Report(
                task,
                attempt.number,
                expires_at=(task.created_at or task.solved_at) + self._settings.max_age,
                rule=rule_name,
                site=attempt.site,
                sent_at=attempt.sent_at or self._clock.now(),
            )
            is_first = self._attempts.is_first(attempt, by_rule=rule is not None)
            # If copies are in flight at once, the site may accept a later one first.
            overtaken = self._insight.passed_elsewhere(attempt.task_id, attempt.number)
            outcome = withhold_reason(
                report,
                cached=attempt.verdict == CACHED,
                claimed=self._ledger.is_claimed(task.id),
                is_first=self._settings.report_reused or (is_first and not overtaken),
                dry_run=self._settings.dry_run,
                now=self._clock.now(),
            )
            self._insight.rejected(report, outcome, by_rule=rule is not None)
            if outcome is None:
                self._delivery.submit(report)
            else:
                self._ledger.withheld(report, outcome)
            if outcome is Outcome.DRY_RUN:
                self._show(request, report)
        if outcome is not None:
            self._stats.count(outcome.value)
        self._context.debug(
            logger,
            "Answer of task %s rejected (%s), report %s: %s%s",
            task.id if task else "(unusable taskId)",
            rule_name,
            f"withheld ({outcome.reason})" if outcome else "queued",
            request,
            f" ({reason})" if reason else "",
        )

    def _show(self, request: Request, report: Report) -> None:
        """Log the first report of each rule and kind that a dry run does not send."""
        kind = report.task.kind
        if (report.rule, kind) not in self._shown:
            self._shown.add((report.rule, kind))
            logger.info(
                "Dry run: task %d would be reported (%s captcha, rule %r): %s",
                report.task.id,
                kind.value,
                report.rule,
                self._mask.text(request.url),
                extra=self._log_extra,
            )

    def _finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        self._stats.count_outcome(outcome, code, recovered=report.recovered)
        stat = f"{outcome.value}/{code}" if code else outcome.value
        self._context.debug(logger, "Report of task %d: %s", report.task.id, stat)
        self._context.send(signals.report_finished, task=report.task, outcome=outcome)

    def open(self, rules: Collection[str]) -> None:
        """Open the ledger, recover what other crawls left, and log the names of the *rules*."""
        self._ledger_opened = self._ledger.open(self._recovered)
        logger.info(
            "%s CapMonster Cloud (%s); ledger: %s; rules: %s",
            "Dry run: rejected captcha answers are counted but not reported to"
            if self._settings.dry_run
            else "Rejected captcha answers are reported to",
            self._settings.api_url,
            self._ledger.name,
            some_of(rules, _MAX_NAMED) or "none (only accept() and reject())",
            extra=self._log_extra,
        )

    def _recovered(self, recovered: Recovered) -> None:
        if recovered.reports:
            self._stats.count(stats.RESUMED, len(recovered.reports))
        self._insight.load_baseline(recovered.sites)
        self._delivery.recover(recovered.reports)

    async def close(self) -> None:
        """Send reports for ``CAPMONSTER_REPORT_CLOSE_TIMEOUT`` at most, and log the totals."""
        parts = self._delivery, self._ledger, self._client
        await close(self._context, *parts, self._ledger_opened)
        logger.info("Captcha answers: %s", self._stats.closing_line(), extra=self._log_extra)
        self._insight.log_table()
