"""What a crawl logs about answers: alerts while it runs; at its end a table, and hints."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .. import signals, stats
from ..ledger import Alert
from ..outcome import Outcome
from ..recent import Recent
from ..rules.hosts import host_of, parents_of
from ..settings import CLOSE_TIMEOUT, CONCURRENCY, LEDGER, QUEUE_SIZE, SAVE_REJECTED
from ..text import some_of
from .figures import interval, percent
from .watch import STREAK, STREAK_AT_CLOSE, RejectionWatch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from scrapy.http import Response

    from ..context import CrawlContext
    from ..ledger import Ledger
    from ..outcome import Report
    from ..stats import Stats
    from .watch import RateIncrease, SiteWatch

logger = logging.getLogger(__name__)

MAX_ROWS: Final = 10
"""How many sites the table at the end of a crawl shows."""

MAX_HOSTS: Final = 5
"""How many hosts or domains a line names."""

REMEDIES: Final = {
    Outcome.QUEUE_FULL: f"A larger {QUEUE_SIZE} lets more of them wait",
    Outcome.EXPIRED: f"A larger {CONCURRENCY} sends more of them at once",
    Outcome.SHUTDOWN: f"A larger {CLOSE_TIMEOUT} gives them more time; {LEDGER} keeps them",
}
"""The settings that would have avoided each kind of dropped report."""

_REJECTED: Final = 0
"""Takes the place of the attempt of a task whose verdict is final."""

_NO_VERDICT: Final = frozenset({Outcome.CACHED, Outcome.DUPLICATE})
"""Rejections that do not count for the site: it was not asked, or the task was counted before."""


class CrawlInsight:
    """Counts the verdicts on answers, and notices sites that reject more than they used to.

    A task counts once, by the same rules as in a ledger. Alerts do not change what is reported.

    Args:
        context: the crawl.
        ledger: keeps the alerts.
    """

    def __init__(self, context: CrawlContext, ledger: Ledger) -> None:
        self._context = context
        self._ledger = ledger
        self._watch = RejectionWatch()
        self._passed_on: Recent[int] = Recent(context.clock.now)  # a task counts once

    def load_baseline(self, sites: Mapping[str, tuple[int, int]]) -> None:
        """Take the numbers of answers that each site accepted and rejected in earlier crawls."""
        self._watch.load_baseline(sites)

    def passed(self, task_id: int, attempt: int, site: str) -> None:
        """Count that *site* accepted the answer on *attempt*."""
        if self._passed_on.get(task_id) is None:
            self._passed_on.set(task_id, attempt)
            self._watch.site(site).passes()

    def passed_elsewhere(self, task_id: int, attempt: int) -> bool:
        """Whether the site accepted the answer on another attempt than *attempt*."""
        return self._passed_on.get(task_id) not in (None, _REJECTED, attempt)

    def rejected(self, report: Report, outcome: Outcome | None, *, by_rule: bool) -> None:
        """Count that an answer was rejected.

        Args:
            outcome: why the report is withheld; ``None`` if it is not.
            by_rule: whether a rule found it; ``False``: ``reject()``.
        """
        task_id = report.task.id
        passed_on = self._passed_on.get(task_id)
        if outcome in _NO_VERDICT or passed_on == _REJECTED:
            return
        if passed_on not in (None, report.attempt) and outcome is not None:
            return  # it had passed, and was used again
        self._passed_on.set(task_id, _REJECTED)
        site = self._watch.site(report.site)
        increase = site.rejects(by_rule=by_rule) if passed_on is None else site.revises()
        if increase is not None:
            self._alert(report.site, increase)
        self._warn_of_streak(report.site, site.new_streak(STREAK))

    def log_table(self) -> None:
        """Log the sites that rejected answers, the worst first; nothing if there are none.

        Sorted by the lower bound of the rate's 95 % interval: a single rejection proves nothing.
        """
        sites = sorted(self._watch.rejecting_sites(), key=_rate_interval, reverse=True)
        if not sites:
            return
        width = max(len("site"), *(len(name) for name, _ in sites[:MAX_ROWS]))
        lines = [f"{'site':{width}}  answers  rejected   rate"]
        for name, site in sites[:MAX_ROWS]:
            rate = percent(site.rate)
            lines.append(f"{name:{width}}  {site.answers:7}  {site.rejected:8}  {rate:>5}")
        if (more := len(sites) - MAX_ROWS) > 0:
            lines.append(f"and {more} more")
        logger.info("Captcha answers by site:\n%s", "\n".join(lines), extra=self._context.log_extra)
        for name, site in sites:
            if not site.passed:
                self._warn_of_streak(name, site.new_streak(STREAK_AT_CLOSE))

    def _alert(self, site: str, increase: RateIncrease) -> None:
        self._context.stats.count(stats.ALERT.format(site=site))
        self._ledger.alert(Alert(self._context.clock.wall(), site, *increase))
        logger.warning(
            "%s rejects more captcha answers than it used to: %s of the last %d, %s before. "
            "Check whether the site has changed. If it accepts only some tokens, let your client "
            "create tasks with nocache, so that CapMonster Cloud does not reuse older ones.",
            site,
            percent(increase.after),
            increase.answers,
            percent(increase.before),
            extra=self._context.log_extra,
        )
        self._context.send(
            signals.rejection_rate_changed,
            site=site,
            before=increase.before,
            after=increase.after,
            answers=increase.answers,
        )

    def _warn_of_streak(self, site: str, streak: int) -> None:
        if streak:
            logger.warning(
                "%s rejected each of the last %d captcha answers. The rule may match pages that "
                "are not rejections, or the site has changed. Set %s to keep some pages, and run "
                "scrapy capmonster check on them to see which rule matches, and why.",
                site,
                streak,
                SAVE_REJECTED,
                extra=self._context.log_extra,
            )


def _rate_interval(row: tuple[str, SiteWatch]) -> tuple[float, float]:
    """The 95 % interval of a site's rate; below all others if it is not known."""
    _, site = row
    return (-1.0, -1.0) if site.rate is None else interval(site.rejected, site.answers)


class ClosingHints:
    """Notes what the crawl sees, and logs at its end what was probably not intended.

    Args:
        context: the crawl.
        domains: those that the rules are for; empty if a rule is for any.
    """

    def __init__(self, context: CrawlContext, domains: Collection[str]) -> None:
        self.task_seen = False
        """Whether a request carried a ``taskId``; set by the middleware."""
        self._context = context
        self._domains = frozenset(domains)
        self._hosts: dict[str, None] = {}

    def checked(self, response: Response) -> None:
        """Note a response that was judged by the rules."""
        if not self._domains:
            return
        host = host_of(response.url)
        if not self._domains.isdisjoint(parents_of(host)):
            self._domains = frozenset()  # a rule is for this host, so there is nothing to log
        elif host and len(self._hosts) < MAX_HOSTS:  # a middleware may set any URL
            self._hosts[host] = None

    def log(self) -> None:
        """Log the lines that apply."""
        for line in self._lines(self._context.stats):
            logger.warning(line, extra=self._context.log_extra)

    def _lines(self, counters: Stats) -> Iterator[str]:
        # "scrapy fetch" and the like give the spider a start that only looks at a page.
        start = getattr(self._context.crawler.spider, "start", None)
        only_looks = getattr(start, "__module__", "").startswith("scrapy.commands.")
        if not (self.task_seen or only_looks) and counters.responses():
            yield (
                "No request carried a taskId, so no response was checked. Give the request that "
                "submits an answer meta=captcha_meta(task_id, task_type)."
            )
        if self._domains and self._hosts:
            domains = some_of(sorted(self._domains), MAX_HOSTS)
            hosts = some_of(self._hosts, MAX_HOSTS)
            yield (
                "No rule is for the sites that responded to answers. The rules are for "
                f"{domains}; the responses came from {hosts}."
            )
        for outcome, remedy in REMEDIES.items():
            if count := counters.tally[outcome.value]:
                yield f"Reports dropped ({outcome.reason}): {count}. {remedy}."
