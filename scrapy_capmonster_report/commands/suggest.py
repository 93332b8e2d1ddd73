"""``scrapy capmonster suggest``: rules that tell rejected pages from accepted ones."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import UsageError

from ..rules import PRESETS, read_rules
from ..text import one_line
from .cli import a_path, output, print_line
from .marks import STRONG, marks_of
from .pages import PageReader, Source
from .replay import ACCEPTED, REFUSED, Expectations, no_pages, read_all

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from scrapy.settings import BaseSettings

    from . import Command
    from .pages import SavedPage

SUMMARY = "Suggest rules that tell pages under refused/ from pages under accepted/"

MIN_PAGES = 2
"""Of each side: on fewer, everything looks like a difference."""

_MAX_TRIED = 400
"""Rules that are tried on all pages for one suggestion, the most promising first."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=a_path,
        help="saved pages, those of rejected answers under refused/, others under accepted/",
    )
    parser.add_argument(
        "--refused", metavar="FOLDER", type=a_path, help="a folder of the first kind alone"
    )
    parser.add_argument(
        "--accepted", metavar="FOLDER", type=a_path, help="a folder of the second kind alone"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(command: Command, args: argparse.Namespace) -> int:
    assert command.settings is not None
    refused, accepted = _read(args, command.settings)
    suggestions = suggest(refused, accepted)
    caught = sum(suggestion["new"] for suggestion in suggestions)
    for suggestion in suggestions:
        del suggestion["new"]
    few = min(len(refused), len(accepted)) < MIN_PAGES
    if few:
        _say(f"Too few pages to suggest rules from: at least {MIN_PAGES} of each kind are needed.")
    elif caught < len(refused):
        _say(
            f"{len(refused) - caught} of {len(refused)} rejected pages cannot be told from the "
            "accepted ones."
        )
    if args.json:
        answer = {"refused": len(refused), "accepted": len(accepted), "suggestions": suggestions}
        print(json.dumps(answer))
    elif suggestions:
        console = output()
        for suggestion in suggestions:
            print_line(console, f"# {suggestion['refused']} of {len(refused)} rejected pages")
            print_line(console, f"{json.dumps(suggestion['rule'], ensure_ascii=False)},", "bold")
    return 0 if suggestions else 1


def suggest(
    refused: list[SavedPage], accepted: list[SavedPage], presets: Iterable[str] = PRESETS
) -> list[dict[str, Any]]:
    """The rules, the best first: each catches rejected pages that those before it do not.

    Args:
        presets: names to be preferred to rules that catch no more: a preset knows more of what its
            software says than some pages can show.

    Returns:
        For each the ``rule``; how many ``refused`` and ``accepted`` pages it matches; and how many
        ``new`` ones.
    """
    if min(len(refused), len(accepted)) < MIN_PAGES:
        return []
    common = {mark for page in accepted for mark in marks_of(page)}
    marks = {page.source: marks_of(page) for page in refused}
    left = {page.source for page in refused}
    known = {
        name: caught
        for name in sorted(presets, key=lambda name: -_mentions(name, refused))
        if (caught := _matched(name, refused)) and not _matched(name, accepted)
    }
    suggestions = []
    while left:
        candidates: list[tuple[Any, set[str]]] = [*known.items()]
        if mark := _best_mark(marks, left, common, refused, accepted):
            candidates.append(mark)
        rule, caught = max(candidates, key=lambda item: len(item[1] & left), default=("", set()))
        if not caught & left:
            break
        suggestions.append(
            {"rule": rule, "refused": len(caught), "accepted": 0, "new": len(caught & left)}
        )
        left -= caught
    return suggestions


def _best_mark(
    marks: Mapping[str, Mapping[str, int]],
    left: set[str],
    common: set[str],
    refused: list[SavedPage],
    accepted: list[SavedPage],
) -> tuple[dict[str, Any], set[str]] | None:
    """The rule that catches most of what is *left*, and all that it catches."""
    seen: dict[str, int] = {}
    ranks: dict[str, int] = {}
    for source in left:
        for mark, rank in marks[source].items():
            if mark not in common:
                seen[mark] = seen.get(mark, 0) + 1
                ranks[mark] = rank
    weight = {mark: seen[mark] * (2 if ranks[mark] <= STRONG else 1) for mark in seen}
    order = sorted(seen, key=lambda mark: (-weight[mark], ranks[mark], len(mark), mark))
    for mark in order[:_MAX_TRIED]:
        rule: dict[str, Any] = json.loads(mark)
        if not _matched(rule, accepted):
            return rule, _matched(rule, refused)
    return None


def _mentions(preset: str, pages: Iterable[SavedPage]) -> int:
    """How much of the name of a *preset* stands on *pages*: many products use the same words."""
    parts = [part.encode() for part in preset.split("-")]
    return sum(
        max(len(part) if part in page.response.body.lower() else 0 for part in parts)
        for page in pages
    )


def _matched(rule: Mapping[str, Any] | str, pages: Iterable[SavedPage]) -> set[str]:
    rules = read_rules([rule])
    return {
        page.source
        for page in pages
        if rules.match_known(
            page.response,
            page.request,
            redirects=page.redirects,
            unknown=page.unknown,
            on_error=lambda rule, error: None,
        )[0]
    }


def _read(
    args: argparse.Namespace, settings: BaseSettings
) -> tuple[list[SavedPage], list[SavedPage]]:
    if args.folder and (args.refused or args.accepted):
        raise UsageError("give FOLDER, or --refused and --accepted, not both")
    read_page = PageReader(settings)
    if args.folder:
        source = Source(args.folder, settings, read_page)
        expected = Expectations(source.path)
        pages = [(expected(page.source), page) for page in read_all(source, "reading")]
        sides = tuple(
            [page for side, page in pages if side == name] for name in (REFUSED, ACCEPTED)
        )
        if not any(sides):
            raise UsageError(f"{no_pages(source)} under refused/ or accepted/")
        return sides[0], sides[1]
    if not (args.refused and args.accepted):
        raise UsageError("say where the pages are: FOLDER, or --refused and --accepted")

    def all_of(folder: Path) -> list[SavedPage]:
        return list(read_all(Source(folder, settings, read_page), "reading"))

    return all_of(args.refused), all_of(args.accepted)


def _say(sentence: str) -> None:
    print(one_line(sentence), file=sys.stderr)
