"""Crawl five shops that reject some captcha answers, and see which answers are reported.

The shops and a stand-in for CapMonster Cloud run in this process, on loopback: nothing leaves the
machine, and no key is needed. Twelve crawls run one after the other. The clock is set so that they
seem to begin every five minutes, and the page at the end shows an hour.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from figures import Figures, figures, table
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from scrapy import signals
from scrapy.crawler import CrawlerProcess
from scrapy.utils.conf import arglist_to_dict
from scrapy.utils.project import get_project_settings
from scrapy.utils.reactor import install_reactor
from shops import PRODUCTS, SHOPS, Captchas, Web
from twisted.internet.defer import Deferred

from scrapy_capmonster_report.insight.page import page
from scrapy_capmonster_report.ledger import read_history
from scrapy_capmonster_report.settings import LEDGER
from scrapy_capmonster_report.simulator import DEFAULT_CLIENT_KEY, Simulator

if TYPE_CHECKING:
    from scrapy.settings import Settings

PAGE = Path("captcha-answers.html")

CRAWLS, MINUTES_APART = 12, 5

MISTAKES = {"books.example": 0.15, "flights.example": 0.08, "news.example": 0.22}
"""The share of wrong answers; bakery.example gets none."""

TICKETS_BEFORE, TICKETS_AFTER = 0.04, 0.55
"""The same for tickets.example, which changes its captcha after half of the crawls."""

SOLVING, POLL_INTERVAL = 0.1, 0.1
"""How many seconds solving takes, and how many the spider waits between two polls."""


def main() -> int:
    args = _arguments()
    os.environ["SCRAPY_SETTINGS_MODULE"] = "example.settings"
    settings = get_project_settings()
    settings.setdict(arglist_to_dict(args.set), "cmdline")
    if settings["TWISTED_REACTOR"]:  # the servers need one before Scrapy installs it
        install_reactor(settings["TWISTED_REACTOR"])
    console = Console(highlight=False)
    stage = Stage()
    with TemporaryDirectory() as folder:
        if args.serve:
            stage.serve(console)
        else:
            # A new ledger for each run, since the stand-in starts from scratch too.
            settings.set(LEDGER, f"sqlite:{folder}/ledger.sqlite", "project")
            stage.crawl(settings, args.crawls, console)
        code = _show(figures(stage.simulator, stage.web.record), console)
        if not args.serve:
            _write_page(settings[LEDGER], console)
    return code


class Stage:
    """Start the shops and the stand-in. The reactor must be installed before."""

    def __init__(self) -> None:
        self.share_of_crawls = 0.0
        captchas = Captchas(self.mistakes)
        self.simulator = Simulator(delay=SOLVING, solve=captchas.solve)
        self.simulator.start()
        self.web = Web(captchas)
        # As for any crawl behind a proxy; the stand-in is asked directly.
        os.environ |= {"http_proxy": self.web.start(), "no_proxy": "127.0.0.1"}

    def mistakes(self, site: str) -> float:
        """The current share of wrong answers for *site*."""
        if site == "tickets.example":
            return TICKETS_BEFORE if self.share_of_crawls < 0.5 else TICKETS_AFTER
        return MISTAKES.get(site, 0.0)

    def crawl(self, settings: Settings, crawls: int, console: Console) -> None:
        """Run ``scrapy crawl prices`` so many times, with a progress bar."""
        settings.set("LOG_ENABLED", bool(settings["LOG_FILE"]), "cmdline")  # the rest: _log_handler
        settings.set("CAPMONSTER_API_URL", self.simulator.url, "cmdline")
        settings.set("CAPMONSTER_CLIENT_KEY", DEFAULT_CLIENT_KEY, "cmdline")
        process = CrawlerProcess(settings)
        logging.getLogger().addHandler(_log_handler(console))
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console) as progress:
            products = progress.add_task("Crawling", total=crawls * len(SHOPS) * PRODUCTS)

            def advance() -> None:
                progress.advance(products)

            async def crawl_all() -> None:
                ahead: list[Any] = []
                now = time.time
                for number in range(crawls):
                    self.share_of_crawls = number / crawls
                    early = (crawls - 1 - number) * MINUTES_APART * 60
                    crawler = process.create_crawler("prices")
                    crawler.signals.connect(advance, signals.item_scraped)
                    # The middleware, the spider and the shops read the time here.
                    with patch("time.time", lambda early=early: now() - early):
                        await process.crawl(crawler, ahead=ahead, poll_interval=POLL_INTERVAL)

            crawling = Deferred.fromCoroutine(crawl_all())
            crawling.addErrback(lambda failure: failure.printTraceback())
            process.start()

    def serve(self, console: Console) -> None:
        """Wait for crawls from another terminal, until Ctrl-C."""
        from twisted.internet import reactor

        environment = (
            f"http_proxy={os.environ['http_proxy']} no_proxy=127.0.0.1 "
            f"CAPMONSTER_CLIENT_KEY={DEFAULT_CLIENT_KEY}"
        )
        console.print("Running until Ctrl-C. In another terminal:\n")
        console.print(
            f"cd {Path(__file__).resolve().parent}\n{environment} {sys.executable} -m scrapy crawl "
            f"prices -s CAPMONSTER_API_URL={self.simulator.url}\n",
            soft_wrap=True,
        )
        reactor.run()


def _show(found: dict[str, Figures], console: Console) -> int:
    """Print the figures, and return the exit code: 0 if they are as expected."""
    total = sum(found.values(), Figures())
    console.print(table(found))
    console.print(
        "answers = passed + rejected; rejected = reported + withheld\n"
        "withheld: sent too late or sent before, so the answer is not to blame\n"
    )
    style = "bold red" if total.false or total.missed else "bold green"
    console.print(f"False reports: {total.false}. Missed reports: {total.missed}.", style=style)
    return 1 if total.false or total.missed or not total.reported else 0


def _write_page(ledger: str, console: Console) -> None:
    """Write the page that ``scrapy capmonster summary --html`` writes."""
    try:
        history = read_history(ledger)
    except ValueError as error:  # a dry run has another ledger
        console.print(f"No page: {error}", soft_wrap=True)
        return
    PAGE.write_text(
        page(history, now=time.time(), ledger="in a temporary folder"), encoding="utf-8"
    )
    console.print(f"The page of these crawls: {PAGE.resolve()}", soft_wrap=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "-s",
        dest="set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a setting, as for scrapy; -s LOG_FILE=crawl.log writes Scrapy's own log",
    )
    parser.add_argument(
        "--crawls",
        type=int,
        default=CRAWLS,
        metavar="N",
        help=f"how many crawls (default: {CRAWLS})",
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="only start the shops and the stand-in, for scrapy crawl in another terminal",
    )
    return parser.parse_args()


def _log_handler(console: Console) -> logging.Handler:
    """Prints warnings above the progress bar."""
    return RichHandler(logging.WARNING, console, show_time=False, show_path=False)


if __name__ == "__main__":
    sys.exit(main())
