"""What the package costs before the first page: every ``scrapy`` command, and the start of a crawl.

Each way is a process of its own, the ways in turn; its processor time counts.
"""

from __future__ import annotations

import resource
import subprocess
import sys

from measure import Row, best, show

ROUNDS = 10

VERSION = """
import importlib.metadata as metadata, sys
if "without" in sys.argv:
    found = metadata.entry_points
    metadata.entry_points = lambda **group: [
        point for point in found(**group) if not point.value.startswith("scrapy_capmonster_report")
    ]
from scrapy.cmdline import execute
execute(["scrapy", "version"])
"""

CRAWL = """
import sys
import scrapy
from scrapy.crawler import CrawlerProcess

class Nothing(scrapy.Spider):
    name = "nothing"

    async def start(self):
        return
        yield

settings = {"LOG_LEVEL": "INFO", "LOG_FILE": "/dev/null", "TELNETCONSOLE_ENABLED": False}
if "without" not in sys.argv:
    settings |= {
        "ADDONS": {"scrapy_capmonster_report.Addon": 500},
        "CAPMONSTER_CLIENT_KEY": "key-of-the-benchmarks",
        "CAPMONSTER_API_URL": "http://127.0.0.1:9",
        "CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong captcha"}],
    }
process = CrawlerProcess(settings)
process.crawl(Nothing)
process.start()
"""


def processor_time(program: str, *arguments: str) -> float:
    """Seconds of processor time that a Python *program* takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compared(what: str, program: str, limit: float) -> Row:
    ways = {
        "with": lambda: processor_time(program),
        "without": lambda: processor_time(program, "without"),
    }
    seconds = best(ways, ROUNDS)
    return Row(
        what,
        "without the package",
        limit,
        seconds["with"] / seconds["without"],
        note=f"{seconds['with']:.3f} s, {seconds['without']:.3f} s of processor time",
    )


async def rows() -> list[Row]:
    return [
        compared("`scrapy version`", VERSION, 1.03),
        compared("the start of a crawl, and its end", CRAWL, 1.10),
    ]


if __name__ == "__main__":
    import asyncio

    show(asyncio.run(rows()))
