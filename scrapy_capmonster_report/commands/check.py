"""``scrapy capmonster check``: which rule matches a page, and why the others do not.

The page is a saved one, or fetched in a small crawl with the project's settings.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.exceptions import UsageError
from scrapy.http import Response

from ..rules.condition import all_true
from ..settings import ENABLED
from ..text import truncate
from . import cli
from .pages import PageReader, SavedPage
from .sources import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from scrapy.settings import Settings
    from twisted.python.failure import Failure

    from ..rules import Rule
    from ..rules.condition import Condition
    from ..rules.page import Page
    from . import Command
    from .screen import Cell, Screen

_OURS: Final = {
    # Leave the project's own crawls alone, and report nothing.
    ENABLED: False,
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
    """A URL that can be fetched, or the path of a page, for ``argparse``."""
    if re.match("https?://", text, re.IGNORECASE):
        return text
    path = cli.a_path(text)
    if os.path.isdir(path):
        hint = f"try: scrapy capmonster replay {path}"
        raise argparse.ArgumentTypeError(f"{path} is a folder; {hint}")
    return path


def run(command: Command, args: argparse.Namespace) -> int:
    rules, settings = cli.rules_and_settings(command, args)
    # All pages are read before anything is printed, so that an error leaves no partial output.
    read_page = PageReader(args)
    pages: dict[Any, SavedPage]
    pages = {path: read_page(path) for path in args.sources if isinstance(path, Path)}
    pages |= _fetch([url for url in args.sources if isinstance(url, str)], settings)
    for source in args.sources:
        verdict = _verdict(pages[source], [explain(rule, pages[source]) for rule in rules])
        cli.warn_if_too_large(pages[source])
        cli.print_result(args, verdict, _show)
    return 0


def explain(rule: Rule, page: Page) -> dict[str, Any]:
    """What each condition of *rule* says of *page*, also after one did not hold."""
    conditions = [_finding(condition, page) for condition in rule.conditions]
    matched = all_true(found["holds"] for found in conditions)
    return {"name": rule.name, "matched": matched, "conditions": conditions}


def _finding(condition: Condition, page: Page) -> dict[str, Any]:
    holds: bool | None = False
    try:
        holds = condition.verdict(page)
        if holds is None:
            found: str | None = f"not known: {', '.join(sorted(condition.missing(page)))}"
        else:
            found = condition.found(page)
    except Exception as error:  # as in matching: what raises does not hold
        found = f"{type(error).__name__}: {error}"
    value = json.loads(json.dumps(condition.value, default=_plain))
    return {
        "key": condition.key,
        "value": value,
        "holds": holds,
        "found": found and truncate(found),
    }


def _plain(value: object) -> object:
    """A condition's value in types that JSON has: a callable becomes its name."""
    if isinstance(value, Mapping):
        return {**value}
    name = getattr(value, "__qualname__", "")
    return ".".join(filter(None, (getattr(value, "__module__", ""), name))) if name else repr(value)


def _verdict(page: SavedPage, rules: list[dict[str, Any]]) -> dict[str, Any]:
    """The output of ``--json``."""
    rule = next((rule["name"] for rule in rules if rule["matched"]), None)
    untold = rule is None and any(rule["matched"] is None for rule in rules)
    return {
        "source": page.source,
        "rejected": None if untold else rule is not None,
        "rule": rule,
        "rules": rules,
    }


def _show(screen: Screen, verdict: dict[str, Any]) -> None:
    verdicts = {
        True: f"rejected ({verdict['rule']})",
        False: "no rule matches",
        None: "cannot be told",
    }
    screen.line(f"{verdict['source']}: {verdicts[verdict['rejected']]}", "bold")
    if verdict["rejected"] is None:
        screen.line("Add what is unknown with --url, --status, --method or --header.")
    screen.table(("rule", "condition", "value", "holds", "found"), *map(_rows, verdict["rules"]))


def _rows(rule: dict[str, Any]) -> Iterator[Sequence[Cell]]:
    name = (f"{rule['name']}: matches", "green") if rule["matched"] else rule["name"]
    for found in rule["conditions"]:
        value = truncate(json.dumps(found["value"], ensure_ascii=False))
        yield name, found["key"], value, _HOLDS[found["holds"]], _in_words(**found)
        name = ""


def _in_words(key: str, holds: bool | None, found: str | None, **_: object) -> str:
    """What a condition found. For ``unless`` in words, because its "yes" would be misread.

    For a preset's mark that is missing: what the page has instead, or that it is absent.
    """
    if key != "unless" or holds is None:
        return found or ("absent" if key == "mark" else "")
    words = "none of the exceptions applies" if holds else "an exception applies"
    return f"{words}: {found}" if found else words


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
    if not urls:
        return {}
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
    redirects = [*request.meta.get("redirect_urls", []), request.url][1:]
    return SavedPage(url, result, request, redirects)


def _why(error: Any) -> str:
    """The error in words: that of the connection if Scrapy or Twisted only wraps it."""
    cause = error.__cause__ or error
    reasons = getattr(cause, "reasons", None)
    cause = reasons[0].value if reasons else cause
    return f"{type(cause).__name__}: {cause}"
