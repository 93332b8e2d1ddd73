"""Crawl a shop that refuses some captcha answers, and see which of them are reported.

The shop and a stand-in for CapMonster Cloud run in this process, on loopback: nothing leaves the
machine, and no key is needed.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from figures import Figures, table
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scrapy import signals
from scrapy.crawler import CrawlerProcess
from scrapy.utils.conf import arglist_to_dict
from scrapy.utils.project import get_project_settings
from scrapy.utils.reactor import install_reactor
from shop import NOT_TO_BLAME, PRODUCTS, Captchas, Shop
from twisted.internet.task import LoopingCall

from scrapy_capmonster_report.insight.page import page
from scrapy_capmonster_report.ledger import read_history
from scrapy_capmonster_report.settings import LEDGER
from scrapy_capmonster_report.simulator import DEFAULT_CLIENT_KEY, Simulator

if TYPE_CHECKING:
    from scrapy.settings import Settings

SEED = 2
WRONG = 0.28
"""The share of wrong answers."""
DELAY, POLL_INTERVAL = 0.3, 0.2
"""How long solving takes, and how often the spider asks; a demo should not take long."""

PAGE = Path("captcha-answers.html")

LEAST_BOUGHT, LEAST_WRONG = 100, 20
"""What it takes for the figures to say anything."""


def main() -> int:
    args = _arguments()
    settings = _settings(args.set)
    if settings["TWISTED_REACTOR"]:  # the servers need one before Scrapy installs it
        install_reactor(settings["TWISTED_REACTOR"])
    stage = Stage()
    console = Console()
    if args.serve:
        stage.serve(console)
        return _show(stage, console)
    with TemporaryDirectory() as folder:
        if not settings[LEDGER]:  # a new one each time: the stand-in begins anew too
            settings.set(LEDGER, f"sqlite:{folder}/ledger.sqlite")
        stage.crawl(settings, console)
        code = _show(stage, console)
        _write_page(settings[LEDGER], console)
    return code


class Stage:
    """The shop and the stand-in, listening.

    The reactor must be installed before.
    """

    def __init__(self) -> None:
        captchas = Captchas(SEED)
        self.simulator = Simulator(wrong=WRONG, delay=DELAY, seed=SEED, solve=captchas.solve)
        self.simulator.start()
        self.shop = Shop(captchas)
        self.shop_url = self.shop.start()

    def figures(self) -> tuple[Figures, Figures]:
        """The figures of the pictures, and of the tokens."""
        return (
            Figures.of(self.simulator, self.shop.record, pictures=True),
            Figures.of(self.simulator, self.shop.record, pictures=False),
        )

    def crawl(self, settings: Settings, console: Console) -> None:
        """Crawl the shop, as ``scrapy crawl shop`` would, and show how far it is."""
        settings.set("CAPMONSTER_API_URL", self.simulator.url, "cmdline")
        settings.set("CAPMONSTER_CLIENT_KEY", DEFAULT_CLIENT_KEY, "cmdline")
        process = CrawlerProcess(settings)
        logging.getLogger().addHandler(_log_handler(console))
        crawler = process.create_crawler("shop")
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=18),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[answers]}"),
            TimeElapsedColumn(),
            console=console,
        )
        products = progress.add_task("Products", total=PRODUCTS, answers="")

        def show() -> None:
            pictures, tokens = self.figures()
            now = pictures + tokens
            answers = f"{now.bought} answers, {now.refused} refused, {now.reported} reported"
            progress.update(products, answers=answers)

        def item_scraped() -> None:
            progress.advance(products)

        crawler.signals.connect(item_scraped, signals.item_scraped)
        process.crawl(crawler, shop=self.shop_url, poll_interval=POLL_INTERVAL)
        LoopingCall(show).start(0.1)
        with progress:
            process.start()
            show()

    def serve(self, console: Console) -> None:
        """Wait for crawls from another terminal, until Ctrl-C."""
        from twisted.internet import reactor

        command = (
            f"cd {Path(__file__).resolve().parent}\n"
            f"CAPMONSTER_CLIENT_KEY={DEFAULT_CLIENT_KEY} {sys.executable} -m scrapy crawl shop"
            f" -a shop={self.shop_url} -s CAPMONSTER_API_URL={self.simulator.url}\n"
        )
        console.print("Open until Ctrl-C. In another terminal:\n")
        console.print(command, highlight=False, soft_wrap=True)
        reactor.run()


def _show(stage: Stage, console: Console) -> int:
    """Print the figures; the exit code is 0 if they show what they should."""
    pictures, tokens = stage.figures()
    total = pictures + tokens
    console.print(table(pictures, tokens))
    verdicts = stage.shop.record.count()
    excuses = ", ".join(f"{verdict.value} ({verdicts[verdict]})" for verdict in NOT_TO_BLAME)
    console.print(f"Answer not to blame: {excuses}.\n", highlight=False)
    if total.bought < LEAST_BOUGHT or total.wrong < LEAST_WRONG:
        console.print(
            f"Too few to tell: it takes {LEAST_BOUGHT} answers, {LEAST_WRONG} of them wrong."
        )
        return 1
    if total.false or total.missed:
        console.print("[bold red]Some reports are false, or missing.")
        return 1
    console.print("[bold green]Every answer to blame was reported, and no other.")
    return 0


def _write_page(ledger: str, console: Console) -> None:
    """Sum the crawl up in a page, as ``scrapy capmonster summary --html`` does."""
    try:
        history = read_history(ledger)
    except ValueError as error:  # a dry run keeps none
        console.print(f"No page: {error}", highlight=False, soft_wrap=True)
        return
    PAGE.write_text(page(history, now=time.time()), encoding="utf-8")
    console.print(f"The page of this crawl: {PAGE.resolve()}", highlight=False, soft_wrap=True)


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
        "--serve",
        action="store_true",
        help="only open the shop and the stand-in, for scrapy crawl in another terminal",
    )
    return parser.parse_args()


def _settings(assignments: list[str]) -> Settings:
    os.environ["SCRAPY_SETTINGS_MODULE"] = "example.settings"
    settings = get_project_settings()
    settings.set("LOG_ENABLED", False)  # to the terminal: _log_handler shows what matters
    settings.setdict(arglist_to_dict(assignments), "cmdline")
    return settings


def _log_handler(console: Console) -> logging.Handler:
    """Shows what the plugin says, and the warnings of all others, above the progress bar."""
    handler = RichHandler(logging.INFO, console, show_time=False, show_path=False)
    handler.addFilter(
        lambda record: (
            record.levelno >= logging.WARNING or record.name.startswith("scrapy_capmonster_report")
        )
    )
    return handler


if __name__ == "__main__":
    sys.exit(main())
