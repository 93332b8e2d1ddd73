"""Evidence of a rejected captcha answer on a page, searched once for all presets."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from lxml import etree
from scrapy.selector import Selector

from ..page import NOT_JSON, parse_json, view
from ..visible import words_of
from .answers import Saying, names_errors, sayings, succeeded
from .messages import UNMISTAKABLE, About, matters, mentions, rejects
from .places import MAX_FIELDS, Error, Sight, fields_in, is_captchas_own

if TYPE_CHECKING:
    from ..page import Page

_MAX_SCRIPT: Final = 100_000
"""How many characters of a script are read as JSON, or searched for an ``alert()``."""

_MAX_SCRIPTS: Final = 50
_MAX_FRAGMENTS: Final = 5
_QUOTED = re.compile("“[^“”]*”")
_CODE = re.compile(r"\w+[_-][\w-]+")
_MARKUP = re.compile(r"<\w[^<>]*>")

_HYPHENATED = re.compile(r"(?<![a-z-])[a-z]+(?:-[a-z]+)+(?![a-z-])")

_ALERT = re.compile(
    r"\s*(?:<!--[^\n]*\n\s*)?(?:window\.|parent\.|top\.)?"
    r"(?:alert|layer\.(?:msg|alert)|toastr\.(?:error|warning)|swal|Swal\.fire)"
    r"\(\s*(?P<quote>[\"'`])(?P<text>(?:(?!(?P=quote))[^\\]|\\.){1,300})(?P=quote)"
)
_CONDITIONAL = re.compile(r"\bfunction\b|=>|\bif\s*\(|addEventListener|\bswitch\s*\(")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(.)")


@view
def _root(page: Page) -> Any:
    """The outermost element of a page, or an empty one."""
    return etree.Element("html") if page.selector is None else page.selector.root


@view
def sight(page: Page) -> Sight:
    """The errors and captchas that a page of HTML shows."""
    return Sight(_root(page))


@view
def document(page: Page) -> Any:
    """The JSON of an answer: its body, or the text of ``pre`` if a browser rendered it."""
    if page.json is not NOT_JSON:
        return page.json
    alone = "/html/body[not(*[position() > 1]/node())]/pre/text()"
    return _parsed("".join(_root(page).xpath(alone)))


@view
def json_messages(page: Page) -> list[Saying]:
    """The error messages in the JSON of an answer."""
    answer = document(page)
    return [] if answer is NOT_JSON or succeeded(answer) else sayings(answer)


@view
def _scripts(page: Page) -> list[Any]:
    """The first scripts in a page."""
    return list(islice(_root(page).iter("script"), _MAX_SCRIPTS))


@view
def messages_in_scripts(page: Page) -> list[Saying]:
    """The error messages in scripts of JSON in a page."""
    texts = [script.text for script in _scripts(page) if script.get("type") == "application/json"]
    parsed = [_parsed(text) for text in texts]
    found = [saying for value in parsed if value is not NOT_JSON for saying in sayings(value)]
    return [
        saying
        for saying in found
        if any(map(names_errors, saying.path))
        and not any(name.lower().endswith("messages") for name in saying.path)
    ]


def _parsed(text: str | None) -> Any:
    if not text or len(text) > _MAX_SCRIPT or text.lstrip()[:1] not in ("{", "["):
        return NOT_JSON
    return parse_json(text)


@view
def fragments(page: Page) -> list[Sight]:
    """The errors and captchas that markup inside a JSON answer shows."""
    markup = [saying.text for saying in json_messages(page) if _MARKUP.search(saying.text)]
    return [Sight(_root_of(text)) for text in markup[:_MAX_FRAGMENTS]]


@view
def words(page: Page) -> str:
    """The words that a page shows, or that markup inside an answer of XML would show."""
    return words_of(_root_of(page.words)) if _MARKUP.search(page.words) else page.words


def _root_of(markup: str) -> Any:
    return Selector(text=f"<body>{markup}", type="html").root


def rejection_in(messages: list[Saying]) -> str | None:
    """The one of *messages* that says that a captcha answer was wrong, and not something else."""
    if any(message.is_another_matter for message in messages):
        return None
    return next((str(message) for message in messages if message.rejects), None)


def error_on(seen: Sight, most: About = About.ITS_PLACE) -> str | None:
    """The error among those *seen* that says that a captcha answer was wrong.

    Args:
        seen: the errors and captchas that a page shows.
        most: what may relate an error to a captcha.
    """
    level = About.ITS_WORDS
    if seen.captcha and not seen.has_other_code:
        level = About.ITS_PLACE_HAS_ONE
    elif not seen.fields:
        level = About.ITS_ANSWER
    hits = [
        error
        for error in seen.errors
        if _says_it(error, seen, min(level, most), most) and fields_in(error.place) <= MAX_FIELDS
    ]
    others = [(error, matters(error.text)) for error in seen.errors] if hits else []
    causes = [(error, kinds) for error, kinds in others if not kinds.isdisjoint(UNMISTAKABLE)]
    for hit in hits:
        if not any(_is_the_cause(error, kinds, hit) for error, kinds in causes):
            return hit.text
    return None


def _says_it(error: Error, seen: Sight, level: About, most: About) -> bool:
    """Whether an error says that a captcha answer was wrong."""
    is_hint = error.place in seen.groups and mentions(error.text, "ask")
    if is_hint or _CODE.fullmatch(error.text):
        return False
    return rejects(error.text, level) or (
        most is About.ITS_PLACE
        and bool(seen.captcha)
        and error.place not in seen.groups
        and rejects(error.text, About.ITS_PLACE)
        and is_captchas_own(error.place)
    )


def _is_the_cause(error: Error, kinds: set[str], hit: Error) -> bool:
    """Whether an error about age or a limit may be the reason for the rejection *hit*."""
    one, two = error.place, hit.place
    return {"late", "theirs"} <= kinds or one is two or one.getparent() is two.getparent()


@view
def siteverify_codes(page: Page) -> frozenset[str]:
    """What may be a code of a ``siteverify`` call that the site relays, in JSON or as an error."""
    texts = [saying.text for saying in json_messages(page)]
    texts += [_QUOTED.sub("", error.text) for error in sight(page).errors]
    return frozenset(code for text in texts for code in _HYPHENATED.findall(text))


@view
def alerts(page: Page) -> list[str]:
    """The messages that scripts of a page show immediately and unconditionally."""
    codes = [script.text or "" for script in _scripts(page)]
    codes += _root(page).xpath("/html/body/@onload")
    found = [_ALERT.match(code) for code in codes if len(code) <= _MAX_SCRIPT]
    return [
        _unescaped(match["text"])
        for match in found
        if match and not _CONDITIONAL.search(match.string)
    ]


def _unescaped(text: str) -> str:
    def character(escape: re.Match[str]) -> str:
        number = escape[1] or escape[2]
        return chr(int(number, 16)) if number else {"n": "\n", "t": "\t"}.get(escape[3], escape[3])

    return _ESCAPE.sub(character, text)
