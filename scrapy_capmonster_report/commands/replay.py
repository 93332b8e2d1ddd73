"""``scrapy capmonster replay``: tries the rules on many saved pages."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table
from scrapy.exceptions import UsageError

from ..text import one_line
from . import cli
from .files import NotAPageError
from .pages import REFUSED, PageReader, Source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from ..rules import Rule, Rules
    from . import Command
    from .pages import Reader, SavedPage

_MAX_ROWS: Final = 50
"""How many pages a table names. ``--json`` names them all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=cli.a_path,
        help="folder of saved pages, or HTTP cache (folder or .db file). Pages under refused/ must "
        "match, under accepted/ must not: if one is wrong or cannot be told, the exit code is 1",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    cli.add_rule_arguments(parser)
    cli.add_page_arguments(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    rules, settings = cli.rules_and_settings(command, args)
    source = Source(args.source, settings, PageReader(settings, args))
    result = replay(source, rules)
    if not result["responses"]:
        more = f"; skipped: {', '.join(source.skipped[:5])}" if source.skipped else ""
        raise UsageError(f"{source.path} has no saved pages and is not an HTTP cache{more}")
    if args.json:
        print(json.dumps(result))
    else:
        _show(cli.output(), rules, result)
    untold = any(source.expectation(page["source"]) for page in result["undecided"])
    return 1 if result["wrong"] or untold else 0


def replay(source: Source, rules: Rules) -> dict[str, Any]:
    """The results of the rules for the pages of *source*, as ``--json`` prints them."""
    responses, by_rule = 0, Counter[str]()
    matches, wrong, undecided = [], [], []
    on_error = _Complaints()
    for page in read_all(source):
        responses += 1
        rule, missing = rules.match_known(page, on_error)
        name = rule.name if rule else None
        if missing:
            undecided.append({"source": page.source, "missing": missing})
            continue
        if name is not None:
            by_rule[name] += 1
            matches.append({"source": page.source, "rule": name})
        expected = source.expectation(page.source)
        if expected and (expected == REFUSED) is not (rule is not None):
            wrong.append({"source": page.source, "expected": expected, "rule": name})
    return {
        "responses": responses,
        "rejected": len(matches),
        "by_rule": dict(by_rule),
        "matches": matches,
        "wrong": wrong,
        "undecided": undecided,
        "skipped": source.skipped,
    }


def read_all(source: Source) -> Iterator[SavedPage]:
    """The pages of *source*, with a progress bar on a terminal.

    Files that turn out not to be pages are added to the skipped ones.
    """
    console = Console(stderr=True)
    pages: Iterable[tuple[str, Reader]] = source
    if console.is_terminal:
        total = sum(1 for _ in source)
        pages = track(source, "pages", total=total, console=console, transient=True)
    for name, read in pages:
        try:
            yield read()
        except NotAPageError:  # noqa: PERF203
            source.skipped.append(name)


class _Complaints:
    """Names each rule whose callback fails, once."""

    def __init__(self) -> None:
        self._named: set[str] = set()

    def __call__(self, rule: Rule, error: Exception) -> None:
        if rule.name not in self._named:
            self._named.add(rule.name)
            message = f"the callback of {rule.name!r} failed: {type(error).__name__}: {error}"
            print(one_line(message), file=sys.stderr)


def _show(console: Console, rules: Rules, result: dict[str, Any]) -> None:
    undecided = [{**page, "missing": ", ".join(page["missing"])} for page in result["undecided"]]
    counts = {rule.name: result["by_rule"].get(rule.name, 0) for rule in rules}
    counts["(no rule)"] = result["responses"] - result["rejected"] - len(undecided)
    skipped = [{"source": source} for source in result["skipped"]]
    for headings, rows in (
        (("rule", "responses"), [{"rule": name, "n": str(n)} for name, n in counts.items()]),
        (("matches", "rule"), result["matches"]),
        (("wrong", "expected", "rule"), result["wrong"]),
        (("cannot be told", "not known"), undecided),
        (("skipped",), skipped),
    ):
        if rows:
            table = Table(*headings)
            for row in rows[:_MAX_ROWS]:
                table.add_row(*(cli.cell(value or "none") for value in row.values()))
            console.print(table)
        if len(rows) > _MAX_ROWS:
            more = len(rows) - _MAX_ROWS
            cli.print_line(console, f"… and {more} more; --json lists them all")
    cli.print_line(
        console,
        f"{result['responses']} responses: {result['rejected']} rejected, "
        f"{len(result['wrong'])} wrong, {len(undecided)} cannot be told, "
        f"{len(skipped)} files skipped",
    )
