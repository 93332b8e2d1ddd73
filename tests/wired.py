"""A delivery that really sends, and a crawl of which every answer is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import scrapy
from contexts import settings
from scripted import Desk
from twisted.internet.task import deferLater

from scrapy_capmonster_report.clock import SteadyClock
from scrapy_capmonster_report.delivery import ReportClient

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    import pytest


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    """Let the reactor turn until *condition* holds."""
    from twisted.internet import reactor

    deadline = reactor.seconds() + seconds
    while not condition():
        assert reactor.seconds() < deadline, "it never came to be"
        await deferLater(reactor, 0.002)


def delayed_calls() -> set[Any]:
    """What the reactor is still to do."""
    from twisted.internet import reactor

    return set(reactor.getDelayedCalls())


class WiredDesk(Desk):
    """Hands reports in at a delivery that has the reactor's time and real sockets.

    Args:
        url: where the service is.
        timeout: seconds for one attempt.
        proxy: the value of ``CAPMONSTER_REPORT_PROXY``.
        options: as for :class:`~scripted.Desk`.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 20.0,
        concurrency: int = 4,
        proxy: str = "none",
        **options: Any,
    ) -> None:
        from twisted.internet import reactor

        clock = SteadyClock()
        read = settings(concurrency=concurrency, timeout=timeout, proxy=proxy)
        # The settings would not allow plain http to other hosts.
        api = ReportClient(reactor, replace(read, api_url=url), clock.wall)
        super().__init__(clock=reactor, now=clock.now, api=api, concurrency=concurrency, **options)

    async def settle(self) -> None:
        """Wait until each report that was handed in has its outcome."""
        await until(lambda: self.finished() == len(self.submitted))

    async def shut(self, timeout: float = 0.0) -> None:
        """Close, as at the end of a crawl."""
        await self.delivery.close(timeout)
        await self.api.close()


WRONG = "<p>Wrong captcha</p>"


class Refused(scrapy.Spider):
    """Submits answers, all of which the site refuses.

    Args:
        base: the site.
        tasks: the ``taskId`` of each request.
        at_last: called with the spider once every page has been parsed.
        at_close: called with the spider when the crawl closes.
    """

    name = "refused"
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong captcha"}],
        "CONCURRENT_REQUESTS_PER_DOMAIN": 16,
    }
    base: str
    tasks: Any
    at_last: Callable[[Refused], Any] = staticmethod(lambda spider: None)
    at_close: Callable[[Refused], Any] = staticmethod(lambda spider: None)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parsed = 0

    async def start(self) -> Any:
        for number, task_id in enumerate(self.tasks):
            yield scrapy.Request(f"{self.base}/{number}", meta={"taskId": task_id})

    def parse(self, response: Any) -> None:
        self.parsed += 1
        if self.parsed == len(self.tasks):
            self.at_last(self)

    def closed(self, reason: str) -> None:
        self.at_close(self)


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What this package logged at *level*, but for what it says about sites."""
    records: list[logging.LogRecord] = caplog.get_records("call")
    return [
        record.getMessage()
        for record in records
        if record.levelno == level
        and record.name.startswith("scrapy_capmonster_report")
        and ".insight." not in record.name
    ]
