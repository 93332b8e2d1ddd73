"""``scrapy capmonster suggest``: rules that tell rejected pages from accepted ones."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import UsageError

from ..rules import read_rules
from ..rules.presets import PRESETS
from . import cli
from .marks import STRONG, marks_of
from .pages import ACCEPTED, REFUSED, PageReader, Source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from scrapy.settings import BaseSettings

    from . import Command
    from .pages import SavedPage
    from .screen import Screen

MIN_PAGES: Final = 2
"""The pages of each kind that are needed. Among fewer, every detail is a difference."""

_COMMON: Final = frozenset({"again", "captcha", "error", "image", "json", "token"})
"""Parts of presets' names that are not the name of a product."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        type=cli.a_path,
        help="saved pages: those of rejected answers under refused/, others under accepted/",
    )
    for side in (REFUSED, ACCEPTED):
        text = f"a folder whose pages are all {side}"
        parser.add_argument(f"--{side}", metavar="FOLDER", type=cli.a_path, help=text)
    cli.add_json_argument(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    assert command.settings is not None
    sides = _read(args, command.settings)
    refused, accepted = sides[REFUSED], sides[ACCEPTED]
    suggestions: list[dict[str, Any]] = []
    if min(len(refused), len(accepted)) < MIN_PAGES:
        _say(f"Too few pages to suggest rules from: at least {MIN_PAGES} of each kind are needed.")
    else:
        suggestions, left = suggest(refused, accepted)
        if left:
            _say(f"{left} of {len(refused)} rejected pages cannot be told from the accepted ones.")
    answer = {"refused": len(refused), "accepted": len(accepted), "suggestions": suggestions}
    cli.print_result(args, answer, _show)
    return 0 if suggestions else 1


def _show(screen: Screen, answer: dict[str, Any]) -> None:
    for suggestion in answer["suggestions"]:
        screen.line(f"# {suggestion['refused']} of {answer['refused']} rejected pages")
        screen.line(json.dumps(suggestion["rule"], ensure_ascii=False) + ",", "bold")


def suggest(
    refused: list[SavedPage], accepted: list[SavedPage]
) -> tuple[list[dict[str, Any]], int]:
    """The rules, the best first. Each matches rejected pages that those before it do not match.

    Returns:
        For each the ``rule`` and how many ``refused`` and ``accepted`` pages it matches; and the
        number of rejected pages that no rule tells from the accepted ones.
    """
    # A preset knows more messages of its software than a few pages show. The first are for one
    # product, the last for any.
    ranks = {
        json.dumps(name): -place - len(PRESETS) * _mentions(name, refused)
        for place, name in enumerate(reversed([*PRESETS]), 1)
    }
    found = {mark: _matched(mark, refused) for mark in ranks}
    for page in refused:
        for mark, rank in marks_of(page).items():
            ranks[mark] = rank
            found.setdefault(mark, set()).add(page.source)
    for page in accepted:
        for mark in marks_of(page):
            found.pop(mark, None)

    def worth(mark: str) -> tuple[int, int, int, str]:
        caught = len(found[mark] & left)
        return caught * (2 if ranks[mark] <= STRONG else 1), -ranks[mark], -len(mark), mark

    left = {page.source for page in refused}
    suggestions = []
    while left and found:
        best = max(found, key=worth)
        caught = found.pop(best) & left
        if not caught:
            break
        if not _matched(best, accepted):
            count = len(_matched(best, refused))
            suggestions.append({"rule": json.loads(best), "refused": count, "accepted": 0})
            left -= caught
    return suggestions, len(left)


def _mentions(preset: str, pages: Iterable[SavedPage]) -> int:
    """How often *pages* contain the name of a *preset*: many products use the same words."""
    parts = [part.encode() for part in preset.split("-") if part not in _COMMON]
    texts = [page.response.body.lower() for page in pages]
    return sum(max((len(part) for part in parts if part in text), default=0) for text in texts)


def _matched(mark: str, pages: Iterable[SavedPage]) -> set[str]:
    """The sources of the *pages* that a rule, as JSON, matches."""
    rules = read_rules(f"[{mark}]")
    return {page.source for page in pages if rules.match_known(page, lambda rule, error: None)[0]}


def _read(args: argparse.Namespace, settings: BaseSettings) -> dict[str, list[SavedPage]]:
    """The pages of both kinds."""
    sides: dict[str, list[SavedPage]] = {REFUSED: [], ACCEPTED: []}
    folders = {None: args.folder, REFUSED: args.refused, ACCEPTED: args.accepted}
    for side, folder in folders.items():
        if folder is not None:
            source = Source(folder, settings, PageReader(settings))
            for page in cli.with_progress(source):
                if name := side or source.expectation(page.source):
                    sides[name].append(page)
    if not any(sides.values()):
        raise UsageError("there are no pages: give FOLDER, or --refused and --accepted")
    return sides


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
