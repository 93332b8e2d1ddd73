"""``scrapy capmonster replay``: the rules against everything that was saved."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import track
from rich.table import Table
from scrapy.exceptions import UsageError

from ..text import one_line
from .cli import (
    a_path,
    add_page_arguments,
    add_rule_arguments,
    cell,
    output,
    print_line,
    rules_and_settings,
)
from .files import NotAPageError
from .pages import PageReader, Source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

    from ..rules import Rule, Rules
    from . import Command
    from .pages import SavedPage

SUMMARY = "Try the rules on a folder of saved pages, or on Scrapy's HTTP cache"

REFUSED: Final = "refused"
ACCEPTED: Final = "accepted"

_MAX_ROWS: Final = 50
"""Pages that a table names; ``--json`` names them all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="SOURCE",
        type=a_path,
        help="folder of saved pages, or HTTP cache (folder or .db file, or the value of "
        "HTTPCACHE_DIR). Pages under refused/ must match, under accepted/ must not: if one is "
        "wrong or cannot be told, the exit code is 1",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_rule_arguments(parser)
    add_page_arguments(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    rules, settings = rules_and_settings(command, args)
    source = Source(args.source, settings, PageReader(settings, args))
    replay = Replay(Expectations(source.path), rules)
    for page in read_all(source, "replay"):
        replay.add(page)
    if not replay.responses:
        raise UsageError(no_pages(source))
    if args.json:
        print(json.dumps({**replay.result(), "skipped": source.skipped}))
    else:
        replay.show(output(), source.skipped)
    return 1 if replay.wrong or replay.untold else 0


def read_all(source: Source, what: str) -> Iterator[SavedPage]:
    """The pages of *source*, with a progress bar where there is somebody to see it.

    What turns out to be no page is added to those that are skipped.
    """
    console = Console(stderr=True)
    total = sum(1 for _ in source) if console.is_terminal else None
    for name, read in track(
        source,
        what,
        total=total,
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ):
        try:
            yield read()
        except NotAPageError:  # noqa: PERF203
            source.skipped.append(name)


def no_pages(source: Source) -> str:
    """What is said of a *source* in which there is nothing to look at."""
    more = f"; skipped: {', '.join(source.skipped[:5])}" if source.skipped else ""
    return f"{source.path} has no saved pages and is not an HTTP cache{more}"


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
    matches: list[dict[str, str]] = field(default_factory=list)
    wrong: list[dict[str, str | None]] = field(default_factory=list)
    undecided: list[dict[str, Any]] = field(default_factory=list)
    untold: int = 0
    """Of the undecided, those of which something is expected."""
    _failed: set[str] = field(default_factory=set)

    def add(self, page: SavedPage) -> None:
        """Ask the rules about *page*."""
        self.responses += 1
        rule, missing = page.match(self.rules, self._rule_failed)
        expected = self.expected(page.source)
        if missing:
            self.undecided.append({"source": page.source, "missing": missing})
            self.untold += expected is not None
            return
        if rule is not None:
            self.by_rule[rule.name] += 1
            self.matches.append({"source": page.source, "rule": rule.name})
        if expected is not None and (expected == REFUSED) is not (rule is not None):
            name = rule.name if rule else None
            self.wrong.append({"source": page.source, "expected": expected, "rule": name})

    def result(self) -> dict[str, Any]:
        """What ``--json`` prints, but for what was skipped."""
        return {
            "responses": self.responses,
            "rejected": self.by_rule.total(),
            "by_rule": dict(self.by_rule),
            "matches": self.matches,
            "wrong": self.wrong,
            "undecided": self.undecided,
        }

    def show(self, console: Console, skipped: list[str]) -> None:
        """Print the result to be read."""
        table = Table("rule", "responses")
        for name in dict.fromkeys(rule.name for rule in self.rules):
            table.add_row(cell(name), str(self.by_rule[name]))
        table.add_section()
        no_rule = self.responses - self.by_rule.total() - len(self.undecided)
        table.add_row("no rule", str(no_rule))
        if self.undecided:
            table.add_row("cannot be told", str(len(self.undecided)))
        console.print(table)
        _list(console, ("matches", "rule"), self.matches)
        _list(console, ("wrong", "expected", "rule"), self.wrong)
        undecided = [{**page, "missing": ", ".join(page["missing"])} for page in self.undecided]
        _list(console, ("cannot be told", "not known"), undecided)
        _list(console, ("skipped",), [{"source": source} for source in skipped])
        rejected = self.by_rule.total()
        print_line(
            console,
            f"{self.responses} responses: {rejected} rejected, {len(self.wrong)} wrong, "
            f"{len(self.undecided)} cannot be told, {len(skipped)} files skipped",
        )

    def _rule_failed(self, rule: Rule, error: Exception) -> None:
        if rule.name not in self._failed:
            self._failed.add(rule.name)
            message = f"the callback of {rule.name!r} failed: {type(error).__name__}: {error}"
            print(one_line(message), file=sys.stderr)


def _list(console: Console, headings: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    table = Table(*headings)
    for row in rows[:_MAX_ROWS]:
        table.add_row(*(cell(value or "none") for value in row.values()))
    console.print(table)
    if len(rows) > _MAX_ROWS:
        print_line(console, f"… and {len(rows) - _MAX_ROWS} more; --json lists them all")
