"""Pages a second: what a crawl loses by reporting, and what people lose who write it by hand."""

from __future__ import annotations

import resource
from typing import Any

import scrapy
from crawls import PLUGIN, crawl, run
from measure import Row, moment, show
from rivals import RIVALS, why_not
from servers import server

PAGES = 250
ROUNDS = 12
FEWER_PAGES = 120
"""For the rivals in a slow crawl: they would take minutes."""


class Shop(scrapy.Spider):
    """Submits an answer with each request and reads the page that comes.

    Args:
        site: its URL.
        pages: how many.
        one_in: one answer in so many is refused.
    """

    name = "shop"
    site: str
    pages: int
    one_in: int

    async def start(self) -> Any:
        self.parsed = 0
        self.began = moment()
        for number in range(self.pages):
            path = "refused" if number % self.one_in == 0 else "taken"
            yield scrapy.Request(f"{self.site}/{path}/{number}", meta={"taskId": 10**9 + number})

    def parse(self, response: Any) -> Any:
        self.parsed += 1
        self.ended = moment()
        return {"title": response.css("title::text").get(), "items": len(response.css("li.item"))}


Speed = tuple[float, float]
"""Seconds from the first request to the last page; seconds of processor time of the whole crawl."""


async def once(settings: dict[str, Any], **arguments: Any) -> Speed:
    before = _processor_time()
    crawler = await crawl(Shop, settings, **arguments)
    spider = crawler.spider
    assert spider.parsed == arguments["pages"]
    return spider.ended - spider.began, _processor_time() - before


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def compared(
    ways: dict[str, dict[str, Any]], rounds: int, **arguments: Any
) -> dict[str, Speed]:
    """The best of some crawls of each way, run in turn."""
    found: dict[str, Speed] = {}
    for _ in range(rounds):
        for name, settings in ways.items():
            speed = await once(settings, **arguments)
            found[name] = tuple(map(min, speed, found.get(name, speed)))
    return found


def _rival(rival: type, api: str) -> dict[str, Any]:
    return {"CAPMONSTER_API_URL": api, "DOWNLOADER_MIDDLEWARES": {rival: 585}}


async def scene(title: str, one_in: int, delay: float, limit: float, rival_pages: int) -> list[Row]:
    with server("site") as site, server("api", delay=delay) as api:
        arguments = {"site": site, "one_in": one_in}
        ours = {**PLUGIN, "CAPMONSTER_API_URL": api}
        await once(ours, pages=100, **arguments)  # imports, and connections to the site
        speeds = await compared({"none": {}, "ours": ours}, ROUNDS, pages=PAGES, **arguments)
        none, mine = speeds["none"], speeds["ours"]
        rows = [
            Row(
                f"pages/s, {title}",
                "no plugin",
                limit,
                none[0] / mine[0],
                at_least=True,
                note=f"{PAGES / mine[0]:.0f}, {PAGES / none[0]:.0f} pages/s; "
                f"processor time to the end {mine[1] / none[1]:.2f} x",
            )
        ]
        missing = {name: why_not(rival) for name, rival in RIVALS.items()}
        ways = {name: _rival(rival, api) for name, rival in RIVALS.items() if not missing[name]}
        speeds = await compared({"ours": ours, **ways}, 3, pages=rival_pages, **arguments)
        for name in RIVALS:
            value = note = None
            if name in speeds:
                value = speeds[name][0] / speeds["ours"][0]
                rates = (rival_pages / speeds[way][0] for way in ("ours", name))
                note = "{:.0f}, {:.0f} pages/s; processor time {:.2f} x".format(
                    *rates, speeds["ours"][1] / speeds[name][1]
                )
            rows.append(
                Row(
                    f"the same crawl, {title}",
                    name,
                    1,
                    value,
                    at_least=True,
                    note=note or missing[name],
                )
            )
        return rows


async def rows() -> list[Row]:
    return [
        *await scene("one response in ten refused, API at 200 ms", 10, 0.2, 0.97, FEWER_PAGES),
        *await scene("every response refused, API at once", 1, 0.0, 0.80, PAGES),
    ]


if __name__ == "__main__":
    show(run(rows))
