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

_WITHHELD: Final = "withheld/"
_DRY_RUN: Final = Outcome.DRY_RUN.value

_ENDS: Final = {
    Outcome.ACCEPTED.value: "reported",
    REFUSED_WITH_CODE.format(errorCode=""): "refused by CapMonster Cloud",
    _DRY_RUN: "not sent (dry run)",
    _WITHHELD: "withheld",
    "dropped/": "dropped",
    Outcome.KEPT.value: "kept for the next crawl",
}
"""The words of the closing line for the stats that begin with each prefix."""


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
        ends = []
        for prefix, words in _ENDS.items():
            counts = {
                name.removeprefix(prefix): count
                for name, count in sorted(tally.items())
                if name.startswith(prefix) and (name, prefix) != (_DRY_RUN, _WITHHELD)
            }
            if counts:
                ends.append(f"{sum(counts.values())} {words}{_in_brackets(counts)}")
        if ends:
            line += f": {', '.join(ends)}"
        if recovered := tally[RESUMED]:
            line += f"; {recovered} recovered from earlier crawls"
        return line


def _in_brackets(counts: dict[str, int]) -> str:
    """The parts of a total: `` (reused)``, or `` (2 reused, 1 stale)``."""
    if len(counts) > 1:
        return f" ({', '.join(f'{count} {reason}' for reason, count in counts.items())})"
    (reason,) = counts
    return f" ({reason})" if reason else ""
