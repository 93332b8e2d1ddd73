"""What the parts of a crawl share, where there is no crawl."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from scrapy.settings import BaseSettings
from support import CLIENT_KEY

from scrapy_capmonster_report.clock import SteadyClock
from scrapy_capmonster_report.settings import ReportSettings


class CountingStats(Counter[str]):
    """Stands for ``Stats``."""

    def count(self, name: str, count: int = 1) -> None:
        self[name] += count

    @property
    def tally(self) -> Counter[str]:
        return self


def settings(**values: Any) -> ReportSettings:
    """The settings of this package, *values* without the prefix ``CAPMONSTER_REPORT_``."""
    named = {f"CAPMONSTER_REPORT_{name.upper()}": value for name, value in values.items()}
    needed = {"CAPMONSTER_CLIENT_KEY": CLIENT_KEY, "CAPMONSTER_REPORT_RULES": ["laravel"]}
    return ReportSettings.from_settings(BaseSettings({**needed, **named}))


def context(
    *,
    reactor: Any = None,
    clock: Any = None,
    random: Any = lambda: 0.0,
    bits: int = 0,
    job_dir: str | None = None,
    **values: Any,
) -> Any:
    """Stands for a ``CrawlContext``; no jitter.

    Args:
        bits: what ``getrandbits()`` gives.
        values: settings, without the prefix.
    """
    spider = SimpleNamespace(name="spider")
    return SimpleNamespace(
        crawler=SimpleNamespace(spider=spider, settings=BaseSettings({"JOBDIR": job_dir})),
        settings=settings(**values),
        stats=CountingStats(),
        clock=clock or SteadyClock(),
        reactor=reactor,
        random=SimpleNamespace(random=random, getrandbits=lambda _: bits),
        log_extra={},
        debug=lambda logger, message, *args: logger.debug(message, *args),
    )
