"""What all parts of this package share in one crawl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

    from scrapy.crawler import Crawler

    from .clock import SteadyClock
    from .settings import ReportSettings
    from .stats import Stats


@dataclass(frozen=True, slots=True)
class CrawlContext:
    """One crawl: its crawler and settings, its clocks, and its source of randomness.

    Args:
        crawler: gets the signals.
        settings: those of this package.
        stats: the counters of this package.
        clock: the time by which answers age.
        reactor: runs timers, threads and connections.
        random: the source of all randomness.
    """

    crawler: Crawler
    settings: ReportSettings
    stats: Stats
    clock: SteadyClock
    reactor: Any
    random: random.Random

    @property
    def log_extra(self) -> dict[str, Any]:
        """What log records carry."""
        return {"spider": self.crawler.spider}

    def send(self, signal: object, **named: Any) -> None:
        """Send a *signal* of this package, with the spider."""
        signals = self.crawler.signals
        signals.send_catch_log(signal, **named, spider=self.crawler.spider)
