"""What lasts: how long the reactor stalls with a full queue and a ledger on disk, and memory."""

from __future__ import annotations

import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crawls import PLUGIN, crawl, run
from measure import Row, moment, show
from scrapy.utils.defer import maybe_deferred_to_future
from servers import server
from speed import Shop
from twisted.internet.task import LoopingCall, deferLater

if TYPE_CHECKING:
    from collections.abc import Callable

QUEUED = 10_000
PAGES = 300
ROUNDS = 3
TASKS = 100_000
BEAT_SECONDS = 0.002
HANDED_OVER_AT_ONCE = 20


class Heart:
    """Beats while a crawl is on, and writes down how late each beat came."""

    def __init__(self) -> None:
        self.stalls: list[float] = []
        self._beating = LoopingCall(self._beat)

    def start(self) -> None:
        self._due = moment() + BEAT_SECONDS
        self._beating.start(BEAT_SECONDS, now=False)

    def stop(self) -> float:
        """The stall that one beat in a hundred exceeds, in milliseconds."""
        self._beating.stop()
        self.stalls.sort()
        return self.stalls[int(len(self.stalls) * 0.99)] * 1e3

    def _beat(self) -> None:
        now = moment()
        self.stalls.append(max(0.0, now - self._due))
        self._due = now + BEAT_SECONDS


class Watched(Shop):
    """Crawls when the queue is full, and listens to the reactor's heart meanwhile."""

    name = "watched"
    queued: int

    async def start(self) -> Any:
        self.heart = Heart()
        self.filling = 0.0
        if self.queued:
            self.heart.start()
            await self._fill()
            self.filling = self.heart.stop()
        self.heart = Heart()
        self.heart.start()
        async for request in super().start():
            yield request

    async def _fill(self) -> None:
        from calls import response, submit
        from twisted.internet import reactor

        from scrapy_capmonster_report import CapMonsterReportMiddleware

        middleware = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        rejected = response()
        for _ in range(0, self.queued, HANDED_OVER_AT_ONCE):
            for _ in range(HANDED_OVER_AT_ONCE):
                request = submit(middleware)
                middleware.process_response(request, rejected)
                middleware.reject(request)
            await maybe_deferred_to_future(deferLater(reactor, 0.001))

    def parse(self, response: Any) -> Any:
        if self.parsed + 1 == self.pages:
            self.stall = self.heart.stop()
        return super().parse(response)


async def stalls() -> Row:
    found: dict[str, list[float]] = {"none": [], "ours": [], "filling": []}
    with server("site") as site, server("api", delay=0.2) as api:
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                ours = {
                    **PLUGIN,
                    "CAPMONSTER_API_URL": api,
                    "CAPMONSTER_REPORT_LEDGER": f"sqlite:{Path(folder, 'ledger.sqlite')}",
                    "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 0,
                }
                arguments = {"site": site, "pages": PAGES, "one_in": 1}
                none = await crawl(Watched, {}, queued=0, **arguments)
                mine = await crawl(Watched, ours, queued=QUEUED, **arguments)
            found["none"].append(none.spider.stall)
            found["ours"].append(mine.spider.stall)
            found["filling"].append(mine.spider.filling)
    best = {name: min(values) for name, values in found.items()}
    return Row(
        "reactor stall at the 99th percentile, 10,000 reports queued, SQLite ledger, "
        "every answer rejected",
        "no plugin",
        5,
        best["ours"] - best["none"],
        "ms more",
        note=f"{best['ours']:.1f} ms, {best['none']:.1f} ms; while the queue was filled "
        f"{best['filling']:.1f} ms",
    )


def bytes_a_task(remember: Callable[[int], None], tasks: int) -> float:
    """What *remember* keeps for each of so many tasks."""
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for number in range(tasks):
        remember(number)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / tasks


def remember_in_ledger() -> Callable[[int], None]:
    from scrapy_capmonster_report.ledger import Ledger
    from scrapy_capmonster_report.outcome import Report
    from scrapy_capmonster_report.task import read_task

    ledger = Ledger(time.monotonic)

    def remember(number: int) -> None:
        task = read_task({}, 10**9 + number, 0.0)
        ledger.claim(Report(task, 2**59 + number, 300.0))

    return remember


def memory() -> Row:
    each = bytes_a_task(remember_in_ledger(), TASKS)
    return Row(
        "memory a remembered task costs",
        "-",
        200,
        each,
        "bytes",
        note=f"in the memory ledger, {TASKS:,} tasks, their ids included",
    )


async def rows() -> list[Row]:
    return [await stalls(), memory()]


if __name__ == "__main__":
    show(run(rows))
