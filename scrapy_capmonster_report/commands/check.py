"""``scrapy capmonster check``: which rule matches a page, and why the others do not.

The page is a saved one, or fetched in a small crawl with the project's settings.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.exceptions import UsageError
from scrapy.http import Response

from ..text import truncate
from . import cli
from .pages import PageReader, SavedPage
from .sources import SUFFIXES

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from scrapy.settings import Settings
    from twisted.python.failure import Failure

    from ..rules import Explanation, Finding
    from . import Command
    from .screen import Cell, Screen

_OURS: Final = {
    # Leave the project's own crawls alone, and report nothing.
    "CAPMONSTER_REPORT_ENABLED": False,
    "FEEDS": {},
    "HTTPERROR_ALLOW_ALL": True,
    "ITEM_PIPELINES": {},
    "JOBDIR": None,
    # In a crawl the rules see a page before Scrapy follows its meta refresh.
    "METAREFRESH_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
    "TWISTED_REACTOR_ENABLED": True,
}

_HOLDS: Final = {True: ("yes", "green"), False: ("no", "red"), None: ("cannot be told", "yellow")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = (
        f"saved page ({', '.join(SUFFIXES)}; NAME.meta.json beside it may say more), or URL, which "
        "is fetched with the project's settings"
    )
    parser.add_argument("sources", metavar="SOURCE", nargs="+", type=_source, help=text)
    cli.add_json_argument(parser)
    cli.add_rule_arguments(parser)
    cli.add_page_arguments(parser)


def _source(text: str) -> str | Path:
    """A URL that can be fetched, or a path, for ``argparse``."""
    return text if re.match("https?://", text, re.IGNORECASE) else cli.a_path(text)


def run(command: Command, args: argparse.Namespace) -> int:
    rules, settings = cli.rules_and_settings(command, args)
    for page in _read(args, settings):
        explanations = rules.explain(page)
        cli.warn_if_too_large(page)
        cli.print_result(args, _verdict(page, explanations), partial(_show, explanations))
    return 0


def _read(args: argparse.Namespace, settings: Settings) -> list[SavedPage]:
    """All pages, read before anything is printed, so that an error leaves no partial output."""
    read_page = PageReader(args)
    pages: dict[str | Path, SavedPage] = {}
    urls = [source for source in args.sources if isinstance(source, str)]
    for path in (source for source in args.sources if isinstance(source, Path)):
        if path.is_dir():
            raise UsageError(f"{path} is a folder; try: scrapy capmonster replay {path}")
        pages[path] = read_page(path)
    if urls:
        pages.update(_fetch(urls, settings))
    return [pages[source] for source in args.sources]


def _verdict(page: SavedPage, explanations: list[Explanation]) -> dict[str, Any]:
    """The output of ``--json``."""
    rule = next((rule.name for rule in explanations if rule.matched), None)
    untold = rule is None and any(rule.matched is None for rule in explanations)
    return {
        "source": page.source,
        "rejected": None if untold else rule is not None,
        "rule": rule,
        "rules": [asdict(explanation) for explanation in explanations],
    }


def _show(explanations: list[Explanation], screen: Screen, verdict: dict[str, Any]) -> None:
    verdicts = {
        True: f"rejected ({verdict['rule']})",
        False: "no rule matches",
        None: "cannot be told",
    }
    screen.line(f"{verdict['source']}: {verdicts[verdict['rejected']]}", "bold")
    if verdict["rejected"] is None:
        screen.line("Add what is unknown with --url, --status, --method or --header.")
    groups = map(_rows, explanations)
    screen.table(("rule", "condition", "value", "holds", "found"), *groups)


def _rows(explanation: Explanation) -> Iterator[Sequence[Cell]]:
    name = (f"{explanation.name}: matches", "green") if explanation.matched else explanation.name
    for finding in explanation.conditions:
        value = truncate(json.dumps(finding.value, ensure_ascii=False))
        yield name, finding.key, value, _HOLDS[finding.holds], _in_words(finding)
        name = ""


def _in_words(finding: Finding) -> str:
    """What a condition found. For ``unless`` in words, because its "yes" would be misread.

    For a preset's mark that is missing: what the page has instead, or that it is absent.
    """
    if finding.key == "mark" and finding.found is None:
        return "absent"
    if finding.key != "unless" or finding.holds is None:
        return finding.found or ""
    if finding.holds:
        return "none of the exceptions applies"
    return f"an exception applies: {finding.found}" if finding.found else "an exception applies"


class _FetchSpider(Spider):
    """Puts the response to each of its URLs, or the failure, into *results*."""

    name = "capmonster-check"
    urls: Collection[str]
    results: dict[str, Response | Failure]

    async def start(self) -> AsyncIterator[Any]:
        for url in self.urls:
            end = partial(self.results.__setitem__, url)
            yield Request(url, end, errback=end, meta={"dont_retry": True}, dont_filter=True)


def _fetch(urls: Collection[str], settings: Settings) -> dict[str, SavedPage]:
    """Fetch *urls* in a crawl with *settings*. Runs the reactor, so it works once in a process.

    Raises:
        UsageError: one of them cannot be fetched.
    """
    for url in urls:
        # One that cannot be parsed would end the crawl before the other pages.
        with cli.usage_error(f"cannot fetch {url}: ", ValueError):
            _ = urlsplit(Request(url).url).port
    settings = settings.copy()
    settings.setdict(_OURS, priority="cmdline")
    results: dict[str, Response | Failure] = {}

    def failed(failure: Failure) -> None:
        for url in urls:
            results.setdefault(url, failure)

    process = CrawlerProcess(settings)
    process.crawl(_FetchSpider, urls=urls, results=results).addErrback(failed)
    process.start()
    return {url: _fetched(url, results.get(url)) for url in urls}


def _fetched(url: str, result: Response | Failure | None) -> SavedPage:
    if not isinstance(result, Response):
        problem = "the crawl ended early" if result is None else _why(result.value)
        raise UsageError(f"cannot fetch {url}: {problem}")
    request = result.request
    assert request is not None
    redirected = request.meta.get("redirect_urls", [])
    redirects = (*redirected[1:], request.url) if redirected else ()
    return SavedPage(url, result, request, redirects)


def _why(error: Any) -> str:
    """The error in words: that of the connection if Scrapy or Twisted only wraps it."""
    cause = error.__cause__ or error
    reasons = getattr(cause, "reasons", None)
    cause = reasons[0].value if reasons else cause
    return f"{type(cause).__name__}: {cause}"
