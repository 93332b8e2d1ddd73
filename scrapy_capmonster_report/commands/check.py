"""``scrapy capmonster check``: which rule matches a page, and why the others do not."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table
from scrapy.exceptions import UsageError

from scrapy_capmonster_report.rules.presets import CATALOGUE

from .fetch import fetch
from .options import add_rule_arguments, not_empty, rules_and_settings
from .pages import Decompressor, read_page
from .tables import cell, output, shortened

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Mapping

    from rich.console import Console
    from scrapy.settings import Settings

    from scrapy_capmonster_report.rules import Explanation

    from . import Command
    from .pages import SavedPage

SUMMARY = "Say which rule matches a page, and condition by condition why or why not"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="*",
        type=not_empty,
        help="saved page (.html, .json, .txt; NAME.meta.json beside it may say more), or URL, "
        "which is fetched with the project's settings; without any, --preset NAME is described",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    parser.add_argument("--list-presets", action="store_true", help="list the presets")
    add_rule_arguments(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    if args.list_presets:
        _show_presets([preset.name for preset in CATALOGUE], as_json=args.json, rules=False)
        return 0
    if not (args.sources or args.preset):
        raise UsageError("say what to check: a saved page or a URL")
    rules, settings = rules_and_settings(command, args)
    if not args.sources:
        _show_presets(args.preset, as_json=args.json, rules=True)
        return 0
    console = output()
    for page in _read(args.sources, settings):
        explanations = rules.explain(page.response, page.request, redirects=page.redirects)
        if args.json:
            print(json.dumps(_verdict(page, explanations)))
        else:
            _show(console, page, explanations)
    return 0


def _read(sources: list[str], settings: Settings) -> list[SavedPage]:
    """All pages, before anything is printed: one that cannot be read spoils no output."""
    decompress = Decompressor(settings)
    urls = [source for source in sources if re.match("https?://", source, re.IGNORECASE)]
    pages = {}
    for source in sources:
        if source in urls:
            continue
        if os.path.isdir(source):
            raise UsageError(f"{source} is a folder; try: scrapy capmonster replay {source}")
        pages[source] = read_page(Path(source), decompress)
    if urls:
        pages.update(fetch(urls, settings))
    return [pages[source] for source in sources]


def _verdict(page: SavedPage, explanations: list[Explanation]) -> dict[str, Any]:
    rule = _first(explanations)
    return {
        "source": page.source,
        "rejected": rule is not None,
        "rule": rule,
        "rules": [asdict(explanation) for explanation in explanations],
    }


def _first(explanations: list[Explanation]) -> str | None:
    return next((rule.name for rule in explanations if rule.matched), None)


def _show(console: Console, page: SavedPage, explanations: list[Explanation]) -> None:
    rule = _first(explanations)
    verdict = "no rule matches" if rule is None else f"refused ({rule})"
    console.print(cell(f"{page.source}: {verdict}", "bold"))
    table = Table("rule", "condition", "value", "holds", "found")
    for explanation in explanations:
        name = explanation.name + (": matches" if explanation.matched else "")
        for finding in explanation.conditions:
            table.add_row(
                cell(name, "green" if explanation.matched else ""),
                cell(finding.key),
                cell(shortened(finding.value)),
                cell("yes" if finding.holds else "no", "green" if finding.holds else "red"),
                cell("" if finding.found is None else finding.found),
            )
            name = ""
        table.add_section()
    console.print(table)


def _show_presets(names: Collection[str], *, as_json: bool, rules: bool) -> None:
    chosen = [preset for preset in CATALOGUE if preset.name in names]
    if as_json:
        print(json.dumps({"presets": [asdict(preset) for preset in chosen]}))
        return
    console = output()
    columns = ("name", "reports", "leaves_out", "source")
    table = Table(*(column.replace("_", " ") for column in columns))
    for preset in chosen:
        table.add_row(*(cell(getattr(preset, column).replace("`", "")) for column in columns))
        table.add_section()
    console.print(table)
    if rules:
        console.print(_rules_table([rule for preset in chosen for rule in preset.rules]))


def _rules_table(rules: Collection[Mapping[str, Any]]) -> Table:
    table = Table("rule", "key", "value")
    for number, rule in enumerate(rules, 1):
        name = str(number)
        for key, value in rule.items():
            table.add_row(name, cell(key), cell(shortened(value)))
            name = ""
        table.add_section()
    return table
