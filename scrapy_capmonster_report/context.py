"""What all parts of this package share in one crawl."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from .clock import SteadyClock
from .stats import Stats

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

    from .settings import ReportSettings


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
    random: Random

    @classmethod
    def of(cls, crawler: Crawler, settings: ReportSettings) -> CrawlContext:
        """The context of a crawl that begins."""
        from twisted.internet import reactor

        return cls(crawler, settings, Stats(crawler), SteadyClock(), reactor, Random())

    @property
    def log_extra(self) -> dict[str, Any]:
        """What log records carry."""
        return {"spider": self.crawler.spider}

    def debug(self, logger: logging.Logger, message: str, *args: object) -> None:
        """Log at level DEBUG, if a handler takes such records: one costs as much as a rejection.

        Scrapy sets a level for its handler only, so ``logger.isEnabledFor()`` does not tell.
        """
        source: logging.Logger | None = logger
        while source is not None and all(item.level > logging.DEBUG for item in source.handlers):
            source = source.parent
        if source is not None:
            logger.debug(message, *args, extra=self.log_extra, stacklevel=2)

    def send(self, signal: object, **named: Any) -> None:
        """Send a *signal* of this package, with the spider."""
        signals = self.crawler.signals
        signals.send_catch_log(signal, **named, spider=self.crawler.spider)
