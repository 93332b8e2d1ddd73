"""Pages a second: what a crawl loses by reporting, and what people lose who write it by hand."""

from __future__ import annotations

import gc
import resource
from typing import Any

import scrapy
from crawls import PLUGIN, crawl, run
from measure import Row, moment, show
from rivals import RIVALS, why_not
from servers import server

PAGES = 1000
"""Of a crawl of 200, opening connections to the API, which is done once, is a good part."""
ROUNDS = 6
"""One crawl differs from the next by more than what is looked for."""
RIVAL_ROUNDS = 2
LONG, LONG_ROUNDS = 5000, 4
NONE, OURS = "no plugin", "ours"
SLOW = 3
"""Who takes so many times as long as we do runs once: more of it would take minutes."""


class Shop(scrapy.Spider):
    """Submits an answer with each request and reads the page that comes.

    Args:
        site: its URL.
        pages: how many.
        one_in: one answer in so many is rejected; 0: no request submits an answer.
    """

    name = "shop"
    site: str
    pages: int
    one_in: int

    async def start(self) -> Any:
        self.parsed = 0
        self.began = moment()
        for number in range(self.pages):
            is_refused = self.one_in and number % self.one_in == 0
            path = "refused" if is_refused else "taken"
            meta = {"taskId": 10**9 + number} if self.one_in else {}
            yield scrapy.Request(f"{self.site}/{path}/{number}", meta=meta)

    def parse(self, response: Any) -> Any:
        self.parsed += 1
        self.ended = moment()
        return {"title": response.css("title::text").get(), "items": len(response.css("li.item"))}


Speed = tuple[float, float]
"""Seconds from the first request to the last page; seconds of processor time of the whole crawl."""


async def once(settings: dict[str, Any], **arguments: Any) -> Speed:
    gc.collect()  # what the crawl before left
    before = _processor_time()
    crawler = await crawl(Shop, settings, **arguments)
    spider = crawler.spider
    assert spider.parsed == arguments["pages"]
    return spider.ended - spider.began, _processor_time() - before


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def compared(ways: dict[str, dict[str, Any]], **arguments: Any) -> dict[str, list[Speed]]:
    """The crawls of each way, run in turn."""
    found: dict[str, list[Speed]] = {name: [] for name in ways}
    for round_ in range(ROUNDS):
        for name, settings in ways.items():
            crawls = found[name]
            if name in RIVALS and (
                round_ >= RIVAL_ROUNDS or (crawls and crawls[0][0] > SLOW * found[OURS][0][0])
            ):
                continue
            crawls.append(await once(settings, **arguments))
    return found


def _best(crawls: list[Speed], rounds: int) -> Speed:
    seconds, processor_time = zip(*crawls[:rounds], strict=True)
    return min(seconds), min(processor_time)


async def scene(title: str, one_in: int, delay: float, limit: float) -> list[Row]:
    missing = {name: why_not(rival) for name, rival in RIVALS.items()}
    with server("site") as site, server("api", delay=delay) as api:
        ways = {NONE: {}, OURS: {**PLUGIN, "CAPMONSTER_API_URL": api}}
        for name, rival in RIVALS.items():
            if not missing[name]:
                ways[name] = {"CAPMONSTER_API_URL": api, "DOWNLOADER_MIDDLEWARES": {rival: 585}}
        arguments = {"site": site, "one_in": one_in}
        await once(ways[OURS], pages=100, **arguments)  # imports, and connections to the site
        found = await compared(ways, pages=PAGES, **arguments)
    rows = []
    for name in (NONE, *RIVALS):
        value, note = None, missing.get(name, "")
        if name in found:
            # Both over the same rounds: the best of many is better than the best of few.
            rounds = len(found[name])
            ours, other = (_best(found[way], rounds) for way in (OURS, name))
            value = other[0] / ours[0]
            note = (
                f"{PAGES / ours[0]:.0f}, {PAGES / other[0]:.0f} pages/s, best of {rounds}; "
                f"processor time of the whole crawl {ours[1] / other[1]:.2f} x"
            )
        what, least = ("pages/s", limit) if name == NONE else ("the same crawl", 1)
        rows.append(Row(f"{what}, {title}", name, least, value, at_least=True, note=note))
    return rows


async def without_tasks() -> Row:
    with server("site") as site:
        ways = {NONE: {}, OURS: {**PLUGIN, "CAPMONSTER_API_URL": "http://127.0.0.1:9"}}
        found: dict[str, list[Speed]] = {name: [] for name in ways}
        for _ in range(LONG_ROUNDS):
            for name, settings in ways.items():
                found[name].append(await once(settings, site=site, one_in=0, pages=LONG))
    ours, other = (_best(found[name], LONG_ROUNDS) for name in (OURS, NONE))
    return Row(
        f"pages/s, no request with a task, {LONG:,} pages",
        NONE,
        0.995,
        other[0] / ours[0],
        at_least=True,
        note=(
            f"{LONG / ours[0]:.0f}, {LONG / other[0]:.0f} pages/s, best of {LONG_ROUNDS}; "
            f"processor time of the whole crawl {ours[1] / other[1]:.3f} x"
        ),
    )


async def rows() -> list[Row]:
    return [
        await without_tasks(),
        *await scene("one answer in ten rejected, API at 200 ms", 10, 0.2, 0.97),
        *await scene("every answer rejected, API at once", 1, 0.0, 0.85),
    ]


if __name__ == "__main__":
    show(run(rows))
