"""What a crawl sees of its sites while it runs: alerts, hints and the table at its end."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

from .. import signals, stats
from ..ledger import Alert
from ..outcome import Outcome
from ..settings import SAVE_REJECTED
from .figures import interval, percent
from .watch import WALL, RejectionWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy.crawler import Crawler

    from ..ledger import Ledger
    from ..outcome import Report
    from ..stats import Stats
    from .watch import Rise, Tally

logger = logging.getLogger(__name__)

MOST_ROWS: Final = 10
"""Sites in the table at the end of a crawl."""

REMEMBERED_VERDICTS: Final = 50_000
"""Tasks whose verdict is remembered, about 150 bytes each: a task counts once."""

_REJECTED: Final = 0
"""Stands for the trip of a task whose verdict is final."""

_NO_VERDICT: Final = frozenset({Outcome.CACHED, Outcome.DUPLICATE})
"""Refusals that say nothing new of the site: it was not asked, or has been heard already."""


class CrawlInsight:
    """Hears the verdict on each answer, and says which sites refuse more than they used to.

    A task counts once, by the same rules as in a ledger. Alerts change nothing in what is
    reported.

    Args:
        crawler: gets the signals.
        ledger: keeps the alerts.
        counters: count them.
        wall: seconds since the epoch.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        crawler: Crawler,
        ledger: Ledger,
        counters: Stats,
        *,
        wall: Callable[[], float],
        log_extra: dict[str, Any],
    ) -> None:
        self._crawler = crawler
        self._ledger = ledger
        self._stats = counters
        self._wall = wall
        self._log_extra = log_extra
        self._watch = RejectionWatch()
        self._passed_on: OrderedDict[int, int] = OrderedDict()

    def learn(self, sites: Mapping[str, tuple[int, int]]) -> None:
        """Hear how many answers each site took and refused in earlier crawls."""
        self._watch.learn(sites)

    def passed(self, task_id: int, trip: int, site: str) -> None:
        """Hear that *site* took the answer on *trip*."""
        if task_id not in self._passed_on:
            self._remember(task_id, trip)
            self._watch.passed(site)

    def rejected(self, report: Report, outcome: Outcome | None) -> None:
        """Hear that an answer was refused.

        Args:
            outcome: why that is not reported, ``None`` if it is.
        """
        task_id, site = report.task.id, report.site
        passed_on = self._passed_on.get(task_id)
        if outcome in _NO_VERDICT or passed_on == _REJECTED:
            return
        if passed_on not in (None, report.attempt) and outcome is not None:
            return  # it had passed, and was spent
        self._remember(task_id, _REJECTED)
        heard = self._watch.rejected if passed_on is None else self._watch.revised
        rise = heard(site)
        if rise is not None:
            self._alert(site, rise)
        if self._watch.refuses_all(site):
            self._hint(site)

    def log_table(self) -> None:
        """Log the sites that refused answers, the worst first; nothing if there is none.

        The worst is the one whose rate is surely high: a single answer is no proof.
        """
        tallies = [tally for tally in self._watch.tallies() if tally.rejected]
        tallies.sort(key=lambda tally: interval(tally.rejected, _answers(tally)), reverse=True)
        if not tallies:
            return
        width = max(len("site"), *(len(tally.site) for tally in tallies[:MOST_ROWS]))
        lines = [f"{'site':{width}}  answers  refused   rate"]
        for tally in tallies[:MOST_ROWS]:
            answers = _answers(tally)
            rate = percent(tally.rejected / answers)
            lines.append(f"{tally.site:{width}}  {answers:7}  {tally.rejected:7}  {rate:>5}")
        if (more := len(tallies) - MOST_ROWS) > 0:
            lines.append(f"and {more} more")
        logger.info("Captcha answers by site:\n%s", "\n".join(lines), extra=self._log_extra)

    def _remember(self, task_id: int, trip: int) -> None:
        self._passed_on[task_id] = trip
        if len(self._passed_on) > REMEMBERED_VERDICTS:
            self._passed_on.popitem(last=False)

    def _alert(self, site: str, rise: Rise) -> None:
        self._stats.count(stats.ALERT.format(site=site))
        self._ledger.alert(Alert(self._wall(), site, *rise))
        logger.warning(
            "%s refuses more captcha answers than it used to: %s of the last %d, %s before. Has "
            "the site changed, or how the answers are used?",
            site,
            percent(rise.after),
            rise.answers,
            percent(rise.before),
            extra=self._log_extra,
        )
        self._crawler.signals.send_catch_log(
            signals.rejection_rate_changed,
            site=site,
            before=rise.before,
            after=rise.after,
            answers=rise.answers,
            spider=self._crawler.spider,
        )

    def _hint(self, site: str) -> None:
        logger.warning(
            "%s refused each of the last %d captcha answers. Perhaps the rule matches pages that "
            "are no refusal, or the site has changed; to see which rule matches, and why: "
            "scrapy capmonster check PAGE, with a page that %s keeps",
            site,
            WALL,
            SAVE_REJECTED,
            extra=self._log_extra,
        )


def _answers(tally: Tally) -> int:
    return tally.passed + tally.rejected
