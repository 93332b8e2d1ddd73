"""Crawls in this process, for what can only be measured in one."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Any

import scrapy
from scrapy.crawler import CrawlerRunner
from scrapy.utils.log import configure_logging
from scrapy.utils.reactor import install_reactor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from scrapy.crawler import Crawler

CLIENT_KEY = "key-of-the-benchmarks"
RULES = [{"name": "wrong", "text": "Wrong captcha"}]
PLUGIN = {
    "ADDONS": {"scrapy_capmonster_report.Addon": 500},
    "CAPMONSTER_CLIENT_KEY": CLIENT_KEY,
    "CAPMONSTER_REPORT_RULES": RULES,
    "CAPMONSTER_REPORT_QUEUE_SIZE": 1_000_000,
}
ASYNCIO = "twisted.internet.asyncioreactor.AsyncioSelectorReactor"


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    """Run *main* in Scrapy's default reactor, with a log as ``scrapy crawl -L INFO`` has it."""
    install_reactor(ASYNCIO)
    configure_logging({"LOG_LEVEL": "INFO", "LOG_FILE": "/dev/null"})
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    results: list[Any] = []

    async def wrapped() -> None:
        results.append(await main())

    def start() -> None:
        done = Deferred.fromCoroutine(wrapped())
        done.addErrback(lambda failure: failure.printTraceback(file=sys.stderr))
        done.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(start)
    reactor.run()
    if not results:
        raise SystemExit("the benchmark failed")
    return results[0]


async def crawl(
    spider: type[scrapy.Spider], settings: Mapping[str, Any], **arguments: Any
) -> Crawler:
    """Crawl, and give the crawler when it is done."""
    runner = CrawlerRunner(
        {
            "TELNETCONSOLE_ENABLED": False,
            "LOGSTATS_INTERVAL": 0,
            "LOG_LEVEL": "INFO",
            "LOG_FILE": "/dev/null",
            "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
            "RETRY_ENABLED": False,
            **settings,
        }
    )
    crawler = runner.create_crawler(spider)
    await runner.crawl(crawler, **arguments)
    return crawler


class Inside(scrapy.Spider):
    """Crawls nothing, and calls ``measure(middleware)`` while a crawl is on."""

    name = "inside"
    measure: Any
    failure: BaseException | None = None

    async def start(self) -> Any:
        from scrapy_capmonster_report import CapMonsterReportMiddleware

        middleware = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        try:
            answer = self.measure(middleware)
            self.measured = await answer if inspect.isawaitable(answer) else answer
        except BaseException as error:  # Scrapy would log it, and go on
            self.failure = error
        return
        yield


async def inside(settings: Mapping[str, Any], measure: Callable[[Any], Any]) -> Any:
    """What *measure* gives, called with the middleware of a crawl with *settings*."""
    crawler = await crawl(Inside, {**PLUGIN, **settings}, measure=measure)
    if crawler.spider.failure is not None:
        raise crawler.spider.failure
    return crawler.spider.measured
