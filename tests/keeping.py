"""A crawl of many sites that keeps pages, and what lies in the folder afterwards."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import scrapy
from support import crawl
from wired import WRONG

from scrapy_capmonster_report import CapMonsterReportMiddleware, signals
from scrapy_capmonster_report.saved_pages import META_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WRONG_RULE = {"name": "wrong", "text": "Wrong captcha"}
FINE = "<p>Welcome</p>"


class Visits(scrapy.Spider):
    """Submits answers to any number of sites, all of which are one server on loopback.

    Args:
        site: the URL of that server, which stands as a proxy for all others.
        visits: what to request: a URL, or arguments of a request.
        verdicts: takes the name of the rule that matched, by the URL of the response.
    """

    name = "visits"
    custom_settings = {
        "CAPMONSTER_REPORT_DRY_RUN": True,
        "CAPMONSTER_API_URL": "http://127.0.0.1:1",
        "CONCURRENT_REQUESTS": 1,
        "RETRY_ENABLED": False,
    }
    site: str
    visits: Sequence[str | dict[str, Any]]
    verdicts: dict[str, str | None]

    async def start(self) -> Any:
        self.crawler.signals.connect(self.refused, signal=signals.captcha_rejected)
        for task_id, visit in enumerate(self.visits, 1):
            options = {"url": visit} if isinstance(visit, str) else visit
            meta = {"taskId": task_id, "proxy": self.site, "handle_httpstatus_all": True}
            yield scrapy.Request(**{**options, "meta": {**meta, **options.get("meta", {})}})

    def refused(self, response: Any, rule: str) -> None:
        if response is not None:
            self.verdicts[response.url] = rule

    def parse(self, response: Any) -> None:
        self.verdicts.setdefault(response.url, None)
        if b"callback" in response.body:
            reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
            reporter.reject(response.request)


async def visit(
    serve: Any,
    folder: Path | str,
    respond: Any,
    visits: Sequence[Any],
    *,
    spider: type[Visits] = Visits,
    **settings: Any,
) -> dict[str, str | None]:
    """Crawl, and return the name of the rule that matched by the URL of each response."""
    verdicts: dict[str, str | None] = {}
    await crawl(
        spider,
        {
            "CAPMONSTER_REPORT_RULES": [WRONG_RULE],
            "CAPMONSTER_REPORT_SAVE_REJECTED": str(folder),
            **settings,
        },
        site=serve(respond).url,
        visits=visits,
        verdicts=verdicts,
    )
    return verdicts


def path_of(request: Any) -> str:
    """The path that is asked for, without the site; the server is a proxy."""
    return str(request.path.decode().split("/", 3)[-1])


def wrong_or_fine(request: Any) -> Any:
    return WRONG if path_of(request).startswith("wrong") else FINE


def pages(folder: Path) -> list[Path]:
    """The pages in *folder*, in order."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.name.endswith(META_SUFFIX))


def places(folder: Path) -> Counter[str]:
    """How many pages there are in each folder below *folder*."""
    return Counter(str(path.parent.relative_to(folder)) for path in pages(folder))


def known(page: Path) -> dict[str, Any]:
    """What is known of *page*."""
    meta: dict[str, Any] = json.loads(page.with_suffix(META_SUFFIX).read_text())
    return meta
