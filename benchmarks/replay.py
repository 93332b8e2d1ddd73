"""How long ``scrapy capmonster replay`` takes over an HTTP cache, and how much memory.

``python benchmarks/replay.py`` writes a cache of pages of about 30 kB, half of them compressed, and
compares three ways over it: reading and parsing with parsel alone, the same through Scrapy's own
storage, and the command. Each has a process of its own; its time is the processor's.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import subprocess
import sys
import tempfile
from hashlib import sha1
from pathlib import Path
from types import SimpleNamespace

from parsel import Selector
from scrapy import Request
from scrapy.extensions.httpcache import FilesystemCacheStorage
from scrapy.http import Response
from scrapy.settings import Settings

from scrapy_capmonster_report.commands.pages import PageReader
from scrapy_capmonster_report.commands.sources import Source

RULES = [
    {
        "name": "wrong",
        "domains": "shop.example",
        "css": ".captcha-error",
        "unless": {"text": "expired"},
    }
]
WORDS = ("kettle", "loom", "blanket", "wool", "tea", "iron", "copper", "captcha", "delivery")


def write(folder: Path, pages: int) -> None:
    """Write a cache as a crawl does; every 50th page is a rejection."""
    rng = random.Random(20260)
    storage = FilesystemCacheStorage(Settings({"HTTPCACHE_DIR": str(folder)}))
    fingerprinter = SimpleNamespace(
        fingerprint=lambda request: sha1(request.url.encode(), usedforsecurity=False).digest()
    )
    crawler = SimpleNamespace(request_fingerprinter=fingerprinter)
    spider = SimpleNamespace(name="shop", crawler=crawler)
    storage.open_spider(spider)
    for number in range(pages):
        items = "".join(
            f"<li class='item c{item % 7}'><a href='/p/{item}'>{' '.join(rng.choices(WORDS, k=5))}"
            f"</a><p class='text'>{' '.join(rng.choices(WORDS, k=20))}</p><b>£{item}</b></li>"
            for item in range(rng.randint(20, 220))
        )
        error = "" if number % 50 else "<p class='captcha-error'>Wrong captcha</p>"
        body = f"<!doctype html><html><body>{error}<ul>{items}</ul></body></html>".encode()
        headers = {"Content-Type": "text/html; charset=utf-8"}
        if number % 2:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        url = f"https://shop.example/list?page={number}"
        storage.store_response(spider, Request(url), Response(url, headers=headers, body=body))


def with_parsel(folder: Path) -> int:
    """Read and parse the files with parsel alone."""
    found = 0
    for path in folder.rglob("response_body"):
        body = path.read_bytes()
        if b"gzip" in path.with_name("response_headers").read_bytes():
            body = gzip.decompress(body)
        found += bool(Selector(body.decode(), type="html").css(".captcha-error"))
    return found


def with_scrapy(folder: Path) -> int:
    """Read the cache as the command does, and parse with parsel."""
    pages = (page.response.text for page in Source(folder, PageReader()))
    return sum(bool(Selector(page, type="html").css(".captcha-error")) for page in pages)


def with_replay(folder: Path) -> int:
    """Run the command."""
    from scrapy.cmdline import execute

    rules = folder.with_name("rules.json")
    rules.write_text(json.dumps(RULES))
    sys.stdout = open(folder.with_name("answer.json"), "w")  # noqa: SIM115
    try:
        execute(["scrapy", "capmonster", "replay", str(folder), "--rules", str(rules), "--json"])
    except SystemExit:
        sys.stdout.close()
        sys.stdout = sys.__stdout__
    answer = json.loads(folder.with_name("answer.json").read_text())
    return int(answer["rejected"])


WAYS = {way.__name__: way for way in (with_parsel, with_scrapy, with_replay)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3, help="the best of so many runs counts")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        found = WAYS[args.one[0]](Path(args.one[1]))
        used = resource.getrusage(resource.RUSAGE_SELF)
        print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss // 1024, found]))
        return
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "httpcache")
        write(cache, args.pages)
        for way in WAYS:
            command = [sys.executable, __file__, "--one", way, str(cache)]
            runs = (subprocess.check_output(command) for _ in range(args.repeat))
            seconds, megabytes, found = min(json.loads(run) for run in runs)
            print(f"{way}: {seconds:.1f} s, {megabytes} MB, {found} of {args.pages} rejected")


if __name__ == "__main__":
    main()
