"""Whether a SQLite ledger keeps up with a crawl that uses its processor, and what a kill costs.

Not part of ``run.py``: it takes minutes. ``python ledgers.py`` prints what it found.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from crawls import PLUGIN
from scrapy.crawler import CrawlerProcess
from scrapy.utils.misc import load_object
from servers import server
from speed import Shop
from twisted.internet.task import LoopingCall

LOOK_SECONDS = 0.1


class Busy(Shop):
    """Parses what costs so many milliseconds, and watches how far its ledger is behind."""

    name = "busy"
    milliseconds: float

    async def start(self) -> Any:
        self.behind: list[tuple[int, float]] = []
        self._work = json.dumps([random.Random(7).random() for _ in range(1000)])
        began = time.perf_counter()
        json.loads(self._work)
        self._times = round(self.milliseconds / 1000 / (time.perf_counter() - began))
        self._looking = LoopingCall(self._look)
        self._looking.start(LOOK_SECONDS)
        async for request in super().start():
            yield request

    def _look(self) -> None:
        from scrapy_capmonster_report import CapMonsterReportMiddleware

        middleware = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        ledger = middleware._reporter._ledger
        buffer = ledger._buffer
        events = [*buffer._batch, *buffer._claims, *buffer._others]
        moments = [getattr(getattr(event, "submission", event), "at", None) for event in events]
        oldest = min((at for at in moments if at is not None), default=time.time())
        self.behind.append((len(events), time.time() - oldest))

    def parse(self, response: Any) -> Any:
        for _ in range(self._times):
            json.loads(self._work)
        return super().parse(response)

    def closed(self, reason: str) -> None:
        self._looking.stop()


def crawl_once(order: dict[str, Any]) -> None:
    """In a process of its own; prints what it saw."""
    settings = {**PLUGIN, **order["settings"], "LOG_LEVEL": "WARNING"}
    process = CrawlerProcess(settings)
    crawlers = []
    for arguments in order["crawls"]:
        crawler = process.create_crawler(load_object("ledgers.Busy"))
        crawler.settings.set("CAPMONSTER_REPORT_LEDGER", arguments.pop("ledger"))
        crawlers.append(crawler)
        process.crawl(crawler, **arguments)
    began = time.monotonic()
    process.start()
    took = time.monotonic() - began
    behind = [look for crawler in crawlers for look in crawler.spider.behind]
    print(
        json.dumps(
            {
                "pages": sum(crawler.spider.parsed for crawler in crawlers),
                "seconds": took,
                "events": max(events for events, _ in behind),
                "behind": max(seconds for _, seconds in behind),
                "lost": sum(
                    crawler.stats.get_value("capmonster_report/ledger_fallback", 0)
                    for crawler in crawlers
                ),
            }
        )
    )


def start(site: str, api: str, crawls: list[dict[str, Any]]) -> subprocess.Popen[str]:
    settings = {"CAPMONSTER_API_URL": api, "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 60}
    order = {"settings": settings, "crawls": [{"site": site, **each} for each in crawls]}
    return subprocess.Popen(
        [sys.executable, __file__, json.dumps(order)], stdout=subprocess.PIPE, text=True
    )


def report(name: str, site: str, api: str, crawls: list[dict[str, Any]]) -> None:
    out, _ = start(site, api, crawls).communicate()
    found = json.loads(out.splitlines()[-1])
    print(
        f"{name}: {found['pages']} pages in {found['seconds']:.0f} s, at most {found['events']} "
        f"events and {found['behind']:.2f} s behind, ledgers lost: {found['lost']}",
        flush=True,
    )


def statuses(path: Path) -> Counter[str]:
    from scrapy_capmonster_report.ledger import read_history

    found: Counter[str] = Counter()
    for count in read_history(str(path)).counts:
        found[count.status] += count.tasks
    return found


def main() -> None:
    with server("site") as site, server("api") as api, tempfile.TemporaryDirectory() as folder:
        for pages, milliseconds in ((20_000, 0), (5_000, 6)):
            ledger = Path(folder, f"{pages}.sqlite")
            crawl = {"pages": pages, "one_in": 20, "milliseconds": milliseconds}
            name = f"{pages} pages, {milliseconds} ms of json.loads in each callback"
            report(name, site, api, [{**crawl, "ledger": f"sqlite:{ledger}"}])
            print("   ", dict(statuses(ledger)))
        crawls = [
            {
                "pages": 100,
                "one_in": 5,
                "milliseconds": 0,
                "ledger": f"sqlite:{Path(folder, f'shared-{n % 20}.sqlite')}",
            }
            for n in range(50)
        ]
        report("50 crawlers in one process on 20 files", site, api, crawls)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        crawl_once(json.loads(sys.argv[1]))
    else:
        main()
