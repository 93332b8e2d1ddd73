"""``scrapy capmonster suggest``: rules that tell rejected pages from accepted ones.

A rule is a preset, or a mark that only rejected pages have. A mark has no session id, nonce, date
or user name: it is a word of an element or member about errors or captchas, without digits, and not
a value of a form.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from scrapy.exceptions import UsageError

from ..rules import read_rules
from ..rules.presets import GENERAL, PRESETS, shows_product
from . import cli
from .pages import PageReader
from .sources import ACCEPTED, REFUSED, Source

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection, Iterable, Iterator

    from ..rules import Rule
    from ..rules.page import Page
    from . import Command
    from .pages import SavedPage
    from .screen import Screen

    Ranked = tuple[int, dict[str, Any]]

MIN_PAGES: Final = 2
"""The pages of each kind that are needed. Among fewer, every detail is a difference."""

_STRONG: Final = 2
"""Marks up to this rank say that an answer is wrong. The others may only accompany it."""

_ERROR: Final = r"error|invalid|alert|danger|warn|fail|feedback|flash|\bred\b"
"""Parts of the classes, ids and roles of elements that show an error."""

_CAPTCHA: Final = "captcha|challenge|robot|human|verif|code|characters|token|security"
_WRONG: Final = "wrong|incorrect|invalid|mismatch|not match|not valid|denied|success|" + _ERROR
_WORD: Final = r"[^\W\d_]+(?:['_.-][^\W\d_]+)*"
_MAX_WORDS: Final = 6
_MAX_MESSAGE: Final = 300
_MAX_ELEMENTS: Final = 200

_ERROR_ELEMENT: Final = f'//*[re:test(concat(@class, " ", @id, " ", @role), "{_ERROR}", "i")]'


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
    sides = _read(args)
    refused, accepted = sides[REFUSED], sides[ACCEPTED]
    suggestions: list[dict[str, Any]] = []
    if min(len(refused), len(accepted)) < MIN_PAGES:
        cli.warn(
            f"Too few pages to suggest rules from: {len(refused)} refused, "
            f"{len(accepted)} accepted. At least {MIN_PAGES} of each kind are needed."
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
        return caught * (2 if ranks[mark] <= _STRONG else 1), -ranks[mark], -len(mark), mark

    left = {page.source for page in refused}
    suggestions = []
    while left and found:
        best = max(found, key=worth)
        if not found.pop(best) & left:
            break
        rule = json.loads(best)
        # In JSON, escapes may keep a regex from finding what the document says.
        caught = {page.source for page, _ in _matches(rule, refused)}
        if caught & left and not _matches(rule, accepted):
            suggestions.append({"rule": rule, "refused": len(caught), "accepted": 0})
            left -= caught
    return suggestions, len(left)


def _matches(rule: object, pages: Iterable[SavedPage]) -> list[tuple[SavedPage, Rule]]:
    """The *pages* that a rule or the name of a preset matches, each with the rule that did."""
    rules = read_rules([rule])
    # Only callbacks fail, and no suggestion has one.
    judged = ((page, rules.match_known(page, lambda *_: None)[0]) for page in pages)
    return [(page, match) for page, match in judged if match is not None]


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


def _read(args: argparse.Namespace) -> dict[str, list[SavedPage]]:
    """The pages of both kinds, each file once."""
    sides: dict[str, dict[str, SavedPage]] = {REFUSED: {}, ACCEPTED: {}}
    folders = {None: args.folder, REFUSED: args.refused, ACCEPTED: args.accepted}
    for side, folder in folders.items():
        if folder is not None:
            source = Source(folder, PageReader())
            for page in cli.with_progress(source):
                if name := side or source.expectation(page.source):
                    sides[name].setdefault(os.path.realpath(page.source), page)
    if not any(sides.values()):
        raise UsageError(
            "there are no pages under refused/ or accepted/: sort those of FOLDER into them, or "
            "give --refused and --accepted"
        )
    return {name: [*pages.values()] for name, pages in sides.items()}


def marks_of(page: Page) -> dict[str, int]:
    """The marks of a page as JSON, each with its rank; a lower rank is more significant."""
    ranked = [*_of_answer(page), *_of_json(page), *_of_elements(page)]
    return {json.dumps(rule): rank for rank, rule in sorted(ranked, key=lambda item: -item[0])}


def _of_answer(page: Page) -> Iterator[Ranked]:
    if "status" not in page.unknown:
        yield 3, {"status": page.response.status}
        if page.response.status >= 400:
            yield 4, {"status": f"{page.response.status // 100}xx"}
    for url in page.redirects:
        for name, _ in parse_qsl(url.partition("?")[2], keep_blank_values=True):
            if re.fullmatch(_WORD, name):
                yield (1 if _speaks(name) else 5), {"redirect": f"[?&]{_regex(name)}="}


def _of_json(page: Page) -> Iterator[Ranked]:
    for key, value in _members(page.json):
        regexes = []
        if isinstance(value, str):
            if _speaks(f"{key} {value}"):
                regexes = [(rank, f"(?i){phrase}") for rank, phrase in _phrases(value)]
            if re.fullmatch(_WORD, value):
                regexes.append((1 if _speaks(value) else 5, f'"{_regex(value)}"'))
        elif _speaks(key) and (not value or abs(value) < 100_000):
            regexes = [(2, rf'"{_regex(key)}"\s*:\s*{json.dumps(value)}\b')]
        yield from ((rank, {"jmespath": "@", "text": regex}) for rank, regex in regexes)


def _members(document: Any) -> Iterator[tuple[str, Any]]:
    """Every value in *document* that is not a dict or a list, with its key.

    If a page is not JSON, that is one value without a key.
    """
    left = [("", document)]
    while left:
        key, value = left.pop()
        if isinstance(value, dict):
            left += value.items()
        elif isinstance(value, list):
            left += ((key, item) for item in value)
        else:
            yield key, value


def _of_elements(page: Page) -> Iterator[Ranked]:
    if page.selector is None:
        return
    filled_in = page.selector.xpath("//input/@value | //textarea/text()").getall()
    own = set(re.findall(_WORD, " ".join(filled_in).lower()))
    for element in page.selector.xpath(_ERROR_ELEMENT)[:_MAX_ELEMENTS]:
        message = element.xpath("normalize-space()").get("")
        for name in element.attrib.get("class", "").split() if message else ():
            if re.fullmatch(_WORD, name) and re.search(_ERROR, name, re.I):
                yield (1 if re.search(_CAPTCHA, name, re.I) else 4), {"css": f".{name}"}
        for rank, phrase in _phrases(message, own):
            yield rank, {"xpath": f'{_ERROR_ELEMENT}[re:test(normalize-space(), "{phrase}", "i")]'}
    for name in page.selector.xpath("//@id | //@name").getall():
        if re.fullmatch(_WORD, name) and re.search(_CAPTCHA, name, re.I):
            yield 5, {"xpath": f'//*[@id="{name}" or @name="{name}"]'}


def _phrases(message: str, own: Collection[str] = ()) -> Iterator[tuple[int, str]]:
    """Parts of a *message* as regexes, none with a word of a user's *own*."""
    if len(message) > _MAX_MESSAGE:  # an article, not a message
        return
    words = [word.strip('.,:;!?()[]"“”„»«') for word in message.lower().split()]
    usable = [re.fullmatch(_WORD, word) is not None and word not in own for word in words]
    for count in range(1, _MAX_WORDS + 1):
        for start in range(len(words) - count + 1):
            part = words[start : start + count]
            phrase = " ".join(part)
            if not all(usable[start : start + count]):
                continue
            of_captcha = re.search(_CAPTCHA, phrase)
            if of_captcha and (re.search(_WRONG, phrase) or re.search("[._-]", phrase)):
                rank = 0 if count > 1 else 1
            elif count > 1 and (count > 3 or _speaks(phrase)):
                rank = 5
            else:
                continue
            yield rank, r"\W+".join(map(_regex, part))


def _speaks(text: str) -> bool:
    """Whether *text* is about a captcha or about something wrong."""
    return re.search(f"{_CAPTCHA}|{_WRONG}|result|status", text, re.IGNORECASE) is not None


def _regex(word: str) -> str:
    return word.replace(".", r"\.")
