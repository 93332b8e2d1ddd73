"""The stats of this package, all under one prefix."""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .outcome import Outcome

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

logger = logging.getLogger(__name__)

PREFIX: Final = "capmonster_report/"

CHECKED: Final = "checked"
PASSED: Final = "passed"
REJECTED: Final = "rejected"
REJECTED_BY_RULE: Final = "rejected/rule/{name}"
RULE_ERROR: Final = "rule_error/{name}"
UNKNOWN_TASK_TYPE: Final = "unknown_task_type"
RETRIED: Final = "sent/retried"
REFUSED_WITH_CODE: Final = "sent/refused/{errorCode}"
RESUMED: Final = "resumed"
RESUMED_OUTCOME: Final = "resumed/{outcome}"
LEDGER_FALLBACK: Final = "ledger_fallback"
ALERT: Final = "alert/{site}"

_MAX_CODES: Final = 50
"""How many different error codes get a stat. The service documents fewer."""

_OTHER_CODES: Final = "other"

_ENDS: Final = {
    Outcome.ACCEPTED.value: "reported",
    Outcome.REFUSED.value: "refused by CapMonster Cloud",
    Outcome.DRY_RUN.value: "not sent (dry run)",
    "withheld": "withheld",
    "dropped": "dropped",
    Outcome.KEPT.value: "kept for the next crawl",
}
"""The words of the closing line for the stats that begin with each name."""


class Stats:
    """Counts into ``crawler.stats``, and survives a stats collector that raises.

    Also keeps a tally of its own for the closing line, since a stats collector of the user's choice
    may not remember anything.
    """

    def __init__(self, crawler: Crawler) -> None:
        assert crawler.stats is not None
        self._crawler = crawler
        self._inc_value = crawler.stats.inc_value  # Scrapy 2.19 takes 0.5 µs to look it up
        self._broken = False
        self._codes = 0
        self.tally: Counter[str] = Counter()

    def count(self, name: str, count: int = 1) -> None:
        """Add *count* to the stat *name* (without the prefix)."""
        self.tally[name] += count
        try:
            self._inc_value(PREFIX + name, count)
        except Exception:
            if not self._broken:
                self._broken = True
                logger.exception(
                    "The stats collector failed, so the %s stats are incomplete. Crawling and "
                    "reporting continue.",
                    PREFIX,
                    extra={"spider": self._crawler.spider},
                )

    def count_outcome(self, outcome: Outcome, code: str | None, *, recovered: bool) -> None:
        """Count what became of a rejection, or of a report that another crawl left.

        Args:
            code: the ``errorCode`` with which the service refused the report, documented or not.
        """
        if recovered:
            self.count(RESUMED_OUTCOME.format(outcome=outcome.value))
            return
        self.count(outcome.value)
        if code is not None:
            name = REFUSED_WITH_CODE.format(errorCode=code)
            if name not in self.tally:
                self._codes += 1
                if self._codes > _MAX_CODES:
                    name = REFUSED_WITH_CODE.format(errorCode=_OTHER_CODES)
            self.count(name)

    def responses(self) -> int:
        """How many responses the crawl received, if the stats collector knows."""
        assert self._crawler.stats is not None
        with suppress(Exception):
            return int(self._crawler.stats.get_value("response_received_count", 0))
        return 0

    def closing_line(self) -> str:
        """The totals, in one line."""
        tally = self.tally
        line = f"{tally[CHECKED]} checked, {tally[PASSED]} passed, {tally[REJECTED]} rejected"
        line += self._ends("")
        if recovered := tally[RESUMED]:
            line += f"; {recovered} recovered from earlier crawls{self._ends(f'{RESUMED}/')}"
        return line

    def _ends(self, prefix: str) -> str:
        """What became of the rejections whose stats begin with *prefix*."""
        names = sorted(self.tally)
        ends = []
        for end, words in _ENDS.items():
            counts = {}
            for name in [name for name in names if name.startswith(prefix + end)]:
                names.remove(name)
                counts[name[len(prefix + end) + 1 :]] = self.tally[name]
            if len(counts) > 1:
                counts.pop("", None)  # the sum of the others
            if counts:
                ends.append(f"{sum(counts.values())} {words}{_in_brackets(counts)}")
        return f": {', '.join(ends)}" if ends else ""


def _in_brackets(counts: dict[str, int]) -> str:
    """The parts of a total: `` (reused)``, or `` (2 reused, 1 stale)``."""
    if len(counts) > 1:
        return f" ({', '.join(f'{count} {reason}' for reason, count in counts.items())})"
    (reason,) = counts
    return f" ({reason})" if reason else ""
