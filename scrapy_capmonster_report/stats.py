"""The stats this package keeps, under one prefix."""

from __future__ import annotations

import logging
from collections import Counter
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

_MOST_CODES: Final = 50
"""Different error codes that get a stat; the vendor documents fewer."""

_OTHER_CODES: Final = "other"

_GROUP_WORDS: Final = {"withheld": "withheld", "dropped": "not delivered"}


class Stats:
    """Counts into ``crawler.stats``, and survives a stats collector that raises.

    Keeps its own tally as well, for the line at close: the collector is the user's choice and
    need not remember anything.
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
                    "The stats collector failed; the crawl and the reports go on, "
                    "the %s stats are incomplete",
                    PREFIX,
                    extra={"spider": self._crawler.spider},
                )

    def count_code(self, code: str) -> None:
        """Count a report that the service refused with *code*, which may be anything."""
        name = REFUSED_WITH_CODE.format(errorCode=code)
        if name not in self.tally:
            self._codes += 1
            if self._codes > _MOST_CODES:
                name = REFUSED_WITH_CODE.format(errorCode=_OTHER_CODES)
        self.count(name)

    def total(self, group: str) -> int:
        """How many rejections ended in an outcome of *group* (``withheld``, ``dropped`` …)."""
        return sum(self.tally[outcome.value] for outcome in Outcome if outcome.group == group)

    def closing_line(self) -> str:
        """The totals, in one line."""
        tally = self.tally
        parts = [f"{tally[CHECKED]} checked, {tally[REJECTED]} refused by the site"]
        if tally[Outcome.ACCEPTED.value]:
            parts.append(f"{tally[Outcome.ACCEPTED.value]} reported")
        for group, words in _GROUP_WORDS.items():
            if count := self.total(group):
                reasons = ", ".join(
                    f"{tally[outcome.value]} {outcome.reason}"
                    for outcome in Outcome
                    if outcome.group == group and tally[outcome.value]
                )
                parts.append(f"{count} {words} ({reasons})")
        if count := tally[Outcome.REFUSED.value]:
            prefix = REFUSED_WITH_CODE.format(errorCode="")
            codes = ", ".join(
                f"{n} {name.removeprefix(prefix)}"
                for name, n in sorted(tally.items())
                if name.startswith(prefix)
            )
            parts.append(f"{count} reports turned down by the service ({codes})")
        if count := tally[Outcome.KEPT.value]:
            parts.append(f"{count} kept for the next crawl")
        if count := tally[RESUMED]:
            parts.append(f"{count} taken over from an earlier crawl")
        return "; ".join(parts)
