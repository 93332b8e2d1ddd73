"""``scrapy capmonster replay``: the rules against everything that was saved."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scrapy.exceptions import UsageError

from .options import a_path, add_rule_arguments, one_line, rules_and_settings
from .sources import Source
from .tables import cell, output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from scrapy_capmonster_report.rules import Rule, Rules

    from . import Command
    from .pages import SavedPage

SUMMARY = "Try the rules on a folder of saved pages, or on Scrapy's HTTP cache"

REFUSED: Final = "refused"
ACCEPTED: Final = "accepted"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=a_path,
        help="folder of saved pages, or HTTP cache (folder or .db file, or the value of "
        "HTTPCACHE_DIR). Pages under refused/ must match, under accepted/ must not: if one is "
        "wrong, the exit code is 1. A cache is unpickled, so it must be your own",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_rule_arguments(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    rules, settings = rules_and_settings(command, args)
    source = Source(args.source, settings)
    replay = Replay(Expectations(source.path), rules)
    for page in _with_progress(source):
        replay.add(page)
    if not replay.responses:
        raise UsageError(f"{source.path} has no saved pages and is no HTTP cache")
    if args.json:
        print(json.dumps(replay.result()))
    else:
        replay.show(output())
    return 1 if replay.wrong else 0


class Expectations:
    """What the nearest folder says of a page.

    Args:
        root: what is replayed; folders above it say nothing.
    """

    def __init__(self, root: Path) -> None:
        folder = root if root.is_dir() else root.parent
        self._above = len(folder.parts)
        self._outermost = folder.resolve().name

    def __call__(self, source: str) -> str | None:
        """What to expect of the page *source*, a path below the root: one of the names above."""
        inside = source.split(os.sep)[self._above : -1]
        for name in (*reversed(inside), self._outermost):
            if name in (REFUSED, ACCEPTED):
                return name
        return None


@dataclass
class Replay:
    """What the rules said of pages.

    Args:
        expected: what to expect of a page, by its source.
        rules: the rules.
    """

    expected: Expectations
    rules: Rules
    responses: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    wrong: list[dict[str, str | None]] = field(default_factory=list)
    _failed: set[str] = field(default_factory=set)

    def add(self, page: SavedPage) -> None:
        """Ask the rules about *page*."""
        self.responses += 1
        rule = self.rules.match(
            page.response, page.request, redirects=page.redirects, on_error=self._rule_failed
        )
        if rule is not None:
            self.by_rule[rule.name] += 1
        expected = self.expected(page.source)
        if expected is not None and (expected == REFUSED) is not (rule is not None):
            name = rule.name if rule else None
            self.wrong.append({"source": page.source, "expected": expected, "rule": name})

    def result(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "responses": self.responses,
            "rejected": self.by_rule.total(),
            "by_rule": dict(self.by_rule),
            "wrong": self.wrong,
        }

    def show(self, console: Console) -> None:
        """Print the result to be read."""
        table = Table("rule", "responses")
        for name in dict.fromkeys(rule.name for rule in self.rules):
            table.add_row(cell(name), str(self.by_rule[name]))
        table.add_section()
        table.add_row("no rule", str(self.responses - self.by_rule.total()))
        console.print(table)
        if self.wrong:
            table = Table("wrong", "expected", "rule")
            for wrong in self.wrong:
                table.add_row(*(cell(value or "none") for value in wrong.values()))
            console.print(table)
        console.print(
            f"{self.responses} responses, {self.by_rule.total()} rejected, {len(self.wrong)} wrong"
        )

    def _rule_failed(self, rule: Rule, error: Exception) -> None:
        if rule.name not in self._failed:
            self._failed.add(rule.name)
            message = f"the callback of {rule.name!r} failed: {type(error).__name__}: {error}"
            print(one_line(message), file=sys.stderr)


def _with_progress(source: Source) -> Iterator[SavedPage]:
    """The pages, with a progress bar where there is somebody to see it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from (read() for read in source)
        return
    columns = (TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        for read in progress.track(source, total=sum(1 for _ in source)):
            yield read()
