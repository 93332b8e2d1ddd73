"""``scrapy capmonster suggest``: rules that tell rejected pages from accepted ones."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import UsageError

from ..rules import read_rules
from ..rules.presets import GENERAL, PRESETS, shows_product
from . import cli
from .marks import STRONG, marks_of
from .pages import PageReader
from .sources import ACCEPTED, REFUSED, Source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from scrapy.settings import BaseSettings

    from ..rules import Rule
    from . import Command
    from .pages import SavedPage
    from .screen import Screen

MIN_PAGES: Final = 2
"""The pages of each kind that are needed. Among fewer, every detail is a difference."""


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
        cli.warn(
            f"Too few pages to suggest rules from: at least {MIN_PAGES} of each kind are needed."
        )
    else:
        suggestions, left = suggest(refused, accepted)
        if left:
            cli.warn(
                f"{left} of {len(refused)} rejected pages cannot be told from the accepted ones."
            )
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
    matches = {name: _matches(name, refused) for name in PRESETS}
    presets = sorted(PRESETS, key=lambda name: _fitness(name, matches[name]), reverse=True)
    # A preset knows more messages of its software than a few pages show.
    ranks = {json.dumps(name): place - len(presets) for place, name in enumerate(presets)}
    found = {json.dumps(name): {page.source for page, _ in matches[name]} for name in presets}
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
        rule = json.loads(best)
        if not _matches(rule, accepted):
            count = len(_matches(rule, refused))
            suggestions.append({"rule": rule, "refused": count, "accepted": 0})
            left -= caught
    return suggestions, len(left)


def _matches(rule: object, pages: Iterable[SavedPage]) -> list[tuple[SavedPage, Rule]]:
    """The *pages* that a rule or the name of a preset matches, each with the rule that did."""
    rules = read_rules([rule])
    judged = ((page, rules.match_known(page, _ignore)[0]) for page in pages)
    return [(page, match) for page, match in judged if match is not None]


def _ignore(rule: Rule, error: Exception) -> None:
    """Do nothing: only callbacks fail, and no suggestion has one."""


def _fitness(preset: str, matches: Iterable[tuple[SavedPage, Rule]]) -> tuple[int, bool]:
    """How well a *preset* fits pages that many match: many products reject with the same words.

    The best is that of a product which every page shows, by a mark of its own or by its name; the
    next best a preset that is for no product.
    """
    common = {part for name in GENERAL for part in name.split("-")}
    names = [part.encode() for part in preset.split("-") if part not in common]
    signs = [
        shows_product(rule.conditions) + any(name in page.response.body.lower() for name in names)
        for page, rule in matches
    ]
    return sum(signs) if all(signs) else 0, preset in GENERAL


def _read(args: argparse.Namespace, settings: BaseSettings) -> dict[str, list[SavedPage]]:
    """The pages of both kinds, each file once."""
    sides: dict[str, dict[str, SavedPage]] = {REFUSED: {}, ACCEPTED: {}}
    folders = {None: args.folder, REFUSED: args.refused, ACCEPTED: args.accepted}
    for side, folder in folders.items():
        if folder is not None:
            source = Source(folder, settings, PageReader())
            for page in cli.with_progress(source):
                if name := side or source.expectation(page.source):
                    sides[name].setdefault(os.path.realpath(page.source), page)
    if not any(sides.values()):
        raise UsageError("there are no pages: give FOLDER, or --refused and --accepted")
    return {name: [*pages.values()] for name, pages in sides.items()}
