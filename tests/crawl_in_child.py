"""Crawls in processes of their own, to be killed or to run side by side.

Run as a program, it crawls as its only argument says (JSON) and prints the stats (JSON).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import pytest
import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy.utils.misc import load_object
from support import CLIENT_KEY, report_stats
from wired import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path


class ChildCrawl:
    """A crawl in a child process.

    Args:
        folder: where it writes its log and its output.
        site: the URL of the site.
        task_ids: the tasks whose answers are submitted, one request each.
        settings: of the crawl, JSON-able.
        spider: the path of a spider class that takes *site* and *task_ids*.
    """

    def __init__(
        self,
        folder: Path,
        site: str,
        task_ids: Iterable[int],
        settings: Mapping[str, Any],
        spider: str = "crawl_in_child.Submits",
    ) -> None:
        order = {
            "site": site,
            "task_ids": [*task_ids],
            "settings": {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong"}], **settings},
            "spider": spider,
        }
        self._out, self._err = folder / "out", folder / "err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, __file__, json.dumps(order)],
                stdout=out,
                stderr=err,
                env={**os.environ, "CAPMONSTER_CLIENT_KEY": CLIENT_KEY},
            )

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._err.read_text()

    def kill(self) -> None:
        """``kill -9``."""
        self.process.kill()
        self.process.wait()

    async def stats(self) -> dict[str, Any]:
        """The stats of this package, when the crawl has ended by itself."""
        await until(lambda: self.process.poll() is not None, seconds=100)
        assert self.process.returncode == 0, self.log
        assert "Unhandled error in Deferred" not in self.log
        stats: dict[str, Any] = json.loads(self._out.read_text())
        return stats


@pytest.fixture
def child_crawl(tmp_path: Path) -> Iterator[Callable[..., ChildCrawl]]:
    """Start crawls in child processes, as ``child_crawl(site, task_ids, settings)``."""
    children: list[ChildCrawl] = []

    def start(*args: Any) -> ChildCrawl:
        folder = tmp_path / f"child-{len(children)}"
        folder.mkdir()
        children.append(ChildCrawl(folder, *args))
        return children[-1]

    yield start
    for child in children:
        child.kill()


class Submits(scrapy.Spider):
    """Submits the answers of some tasks, one a request."""

    name = "submits"
    site: str
    task_ids: list[int]

    async def start(self) -> Any:
        for task_id in self.task_ids:
            yield scrapy.Request(f"{self.site}/?{task_id}", meta={"taskId": task_id})

    def parse(self, response: Any) -> None:
        pass


def main(order: dict[str, Any]) -> None:
    settings = {
        "ADDONS": {"scrapy_capmonster_report.Addon": 500},
        "TELNETCONSOLE_ENABLED": False,
        **order.pop("settings"),
    }
    process = CrawlerProcess(settings)
    crawler = process.create_crawler(load_object(order.pop("spider")))
    crawling = process.crawl(crawler, **order)
    # A crawl that does not begin says why, and leaves no failure that nobody has looked at.
    crawling.addErrback(lambda failure: traceback.print_exception(failure.value))
    process.start()
    print(json.dumps(report_stats(crawler)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
