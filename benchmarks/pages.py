"""``replay`` against reading and parsing the same pages with parsel alone.

Over pages of about 30 kB, saved and in an HTTP cache, as ``replay.py`` makes them. Each run has a
process of its own; its time is the processor's.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import replay
from measure import Row, best, show
from parsel import Selector

from scrapy_capmonster_report.commands.pages import PageReader
from scrapy_capmonster_report.commands.sources import Source

PAGES = 10_000
CACHED = 2_000
ROUNDS = 2


def save(cache: Path, folder: Path, pages: int) -> None:
    """Save the pages of a cache, each as often as it takes to have so many."""
    folder.mkdir()
    texts = [page.response.text for page in Source(cache, PageReader())]
    for number in range(pages):
        (folder / f"{number}.html").write_text(texts[number % len(texts)])
        meta = {"url": f"https://shop.example/list?page={number}", "status": 200}
        (folder / f"{number}.meta.json").write_text(json.dumps(meta))


def with_parsel(folder: Path) -> int:
    """Read and parse the saved pages with parsel alone."""
    pages = (path.read_text() for path in folder.glob("*.html"))
    return sum(bool(Selector(page, type="html").css(".captcha-error")) for page in pages)


def _seconds(program: str, way: str, folder: Path) -> float:
    command = [sys.executable, program, "--one", way, str(folder)]
    return float(json.loads(subprocess.check_output(command))[0])


def _row(what: str, program: str, folder: Path, pages: int) -> Row:
    ways = {"parsel": (program, "with_parsel"), "ours": (replay.__file__, "with_replay")}
    seconds = best(
        {name: lambda way=way: _seconds(*way, folder) for name, way in ways.items()}, ROUNDS
    )
    return Row(
        what,
        "reading and parsing them with parsel alone",
        0.8,
        seconds["parsel"] / seconds["ours"],
        at_least=True,
        note="{:.0f}, {:.0f} pages per second of processor time".format(
            *(pages / seconds[name] for name in ("ours", "parsel"))
        ),
    )


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        saved, cache = Path(folder, "saved"), Path(folder, "httpcache")
        replay.write(cache, CACHED)
        save(cache, saved, PAGES)
        return [
            _row(f"`replay` of {PAGES:,} saved pages", __file__, saved, PAGES),
            _row(
                f"`replay` of {CACHED:,} pages in Scrapy's HTTP cache",
                replay.__file__,
                cache,
                CACHED,
            ),
        ]


if __name__ == "__main__":
    if "--one" in sys.argv:
        found = with_parsel(Path(sys.argv[-1]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps([used.ru_utime + used.ru_stime, 0, found]))
    else:
        show(rows())
