"""``scrapy capmonster check``: which rule matches a page, and why the others do not."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import UsageError

from ..text import truncate
from . import cli
from .fetch import fetch
from .pages import SUFFIXES, PageReader

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from scrapy.settings import Settings

    from ..rules.rule import Explanation, Finding
    from . import Command
    from .pages import SavedPage
    from .screen import Cell, Screen

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
        pages.update(fetch(urls, settings))
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
