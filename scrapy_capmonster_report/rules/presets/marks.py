"""The marks that presets look for on a page. What a mark is in words, its docstring says."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Final

from scrapy.selector import Selector

from ..condition import Condition
from ..names import SETS, has_name, regex
from ..page import view, words_of
from ..selectors import Css, JmesPath
from .answers import MAX_SCRIPT, json_messages, parsed, rejection_in, sayings
from .messages import MAX_LENGTH, About, fold, rejects
from .places import Sight, sight

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from ..page import Page

    Find = Callable[[Page], str | None]

_MAX_SHORT_PAGE: Final = 1500
"""The most characters of a page that shows only an error."""

_MAX_SHORT_BODY: Final = 100_000
_MAX_LONE: Final = 5000
"""Bytes of a page that shows nothing but a message."""

_MAX_FRAGMENTS: Final = 5
_MAX_SCRIPTS: Final = 50

_QUOTED = re.compile("“[^“”]*”")
_HYPHENATED = re.compile(r"(?<![a-z-])[a-z]+(?:-[a-z]+)+(?![a-z-])")
_MARKUP = re.compile(r"<\w[^<>]*>")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})|\\(.)")


@dataclass(eq=False)
class Mark(Condition):
    """Something that a preset looks for on a page.

    Args:
        value: its description in words.
        find: returns what it finds on the page, or ``None``.
        instead: returns what the page has instead, or ``None``; only for explanations.
        absent: whether it must be absent.
        needs: what it needs to know besides the body.
    """

    value: str
    find: Find
    instead: Find = lambda page: None
    absent: bool = False
    needs: Collection[str] = ()
    key: ClassVar = "mark"

    def holds(self, page: Page) -> bool:
        return (self.find(page) is None) is self.absent

    def missing(self, page: Page) -> frozenset[str]:
        # A placeholder is nothing that a mark looks for, so what is found is certain.
        return super().missing(page) if self.find(page) is None else frozenset()

    def found(self, page: Page) -> str | None:
        return self.find(page) or self.instead(page)


MARKS: Final[dict[str, Mark]] = {}
"""The marks that several presets look for, by name."""


def mark(**more: Any) -> Callable[[Find], Find]:
    """Make a mark of a function that finds it. Its docstring is the mark's description."""

    def add(find: Find) -> Find:
        name, found_once = find.__name__, view(find)
        MARKS[name] = Mark(find.__doc__ or name, found_once, **more)
        return found_once

    return add


def _status(page: Page) -> str:
    return f"status {page.response.status}"


@mark(absent=True, instead=_status, needs=("status",))
def judged(page: Page) -> str | None:
    """not a missing page, a rate limit or a server error (404, 429, above 500)"""
    status = page.response.status
    return _status(page) if status in (404, 429) or status > 500 else None


@mark(needs=("method", "url"))
def submission(page: Page) -> str | None:
    """a POST, or a GET that sends the captcha's field"""
    if page.request.method not in ("GET", "HEAD"):
        return page.request.method
    query = page.response.url.partition("#")[0].partition("?")[2].lower()
    return f"?{query}" if has_name(query, "captcha.field") else None


@mark(needs=("status", "method", "url"))
def answer(page: Page) -> str | None:
    """an answer: to a POST, with an error's status, as JSONP, or with the captcha in the URL"""
    if page.is_jsonp:
        return "JSON that a script is called with"
    return _status(page) if page.response.status >= 400 else submission(page)


@mark(needs=("redirects",))
def redirect(page: Page) -> str | None:
    """a redirect that led here"""
    return page.redirects[0] if page.redirects else None


@mark()
def widget(page: Page) -> str | None:
    """the widget of a captcha service"""
    return sight(page).widget or None


@mark()
def picture(page: Page) -> str | None:
    """an image captcha (a picture or a field with such a name)"""
    return sight(page).image or None


@mark()
def short_page(page: Page) -> str | None:
    """a short page without a form"""
    seen = sight(page)
    if not seen.errors or seen.captcha or seen.fields or len(page.response.body) > _MAX_SHORT_BODY:
        return None
    return f"{len(page.words)} characters" if len(page.words) <= _MAX_SHORT_PAGE else None


def _first_error(page: Page) -> str | None:
    return next((error.text for error in sight(page).errors), None)


@mark(instead=_first_error)
def captcha_error(page: Page) -> str | None:
    """an error that says that the captcha is wrong, or says *wrong* in the captcha's own place"""
    return sight(page).rejection()


@mark(instead=_first_error)
def named_error(page: Page) -> str | None:
    """an error that names the captcha and says that it is wrong"""
    return sight(page).rejection(About.ITS_ANSWER)


@mark()
def lone_message(page: Page) -> str | None:
    """a page that shows nothing but a message that the captcha is wrong"""
    if len(page.response.body) > _MAX_LONE or sight(page).fields:
        return None
    # Markup inside an answer of XML would show words.
    words = words_of(_root_of(page.words)) if _MARKUP.search(page.words) else page.words
    return words if rejects(words, About.ITS_ANSWER) else None


@mark(absent=True)
def no_other_error(page: Page) -> str | None:
    """no other error in the same list"""
    hit = captcha_error(page)
    listed = [error for error in sight(page).errors if error.item is not None]
    items = {error.item for error in listed if error.text == hit}
    lists = {item.getparent() for item in items}
    for error in listed:
        if error.text != hit and error.item not in items and error.item.getparent() in lists:
            return error.text
    return None


@mark(instead=lambda page: next(map(str, json_messages(page)), None))
def json_error(page: Page) -> str | None:
    """a member for errors in JSON that says that the captcha is wrong"""
    if _relayed(page, SETS["other codes"]):
        return None
    return rejection_in(json_messages(page))


@view
def _scripts(page: Page) -> list[Any]:
    """The first scripts in a page."""
    return list(islice(page.root.iter("script"), _MAX_SCRIPTS))


@mark()
def script_error(page: Page) -> str | None:
    """a script of JSON that says in a member for errors that the captcha is wrong"""
    scripts = [script for script in _scripts(page) if script.get("type") == "application/json"]
    return rejection_in(
        [
            message
            for script in scripts
            # One that is called settings, translations or the like holds data.
            if not has_name(" ".join(script.values()).lower(), "member.data")
            for message in sayings(parsed(script.text))
            if any(has_name(name.lower(), "member.error") for name in message.path)
            and not any(name.lower().endswith("messages") for name in message.path)
        ]
    )


@mark()
def fragment_error(page: Page) -> str | None:
    """markup in JSON with an error that says that the captcha is wrong"""
    texts = [message.text for message in json_messages(page)]
    fragments = list(filter(_MARKUP.search, texts))[:_MAX_FRAGMENTS]
    errors = (Sight(_root_of(markup)).rejection() for markup in fragments)
    return next(filter(None, errors), None)


@mark()
def alert(page: Page) -> str | None:
    """a script that shows at once that the captcha is wrong"""
    codes = [script.text or "" for script in _scripts(page)]
    codes += page.root.xpath("/html/body/@onload")
    shown = [regex("script.alert").match(code) for code in codes if len(code) <= MAX_SCRIPT]
    texts = [
        _ESCAPE.sub(_character, text[2])
        for match in shown
        if match and not regex("script.conditional").search(match.string, match.end())
        for text in regex("script.text").finditer(match["told"])
    ]
    return next((text for text in texts if rejects(text, About.ITS_ANSWER)), None)


def _character(escape: re.Match[str]) -> str:
    """What an escape in a script stands for."""
    if number := escape[1] or escape[2]:
        return chr(int(number, 16))
    return {"n": "\n", "t": "\t"}.get(escape[3], escape[3])


def _root_of(markup: str) -> Any:
    return Selector(text=f"<body>{markup}", type="html").root


@view
def _hyphenated(page: Page) -> frozenset[str]:
    """What may be a code of a ``siteverify`` call that the site relays, in JSON or as an error."""
    texts = [message.text for message in json_messages(page)]
    texts += [_QUOTED.sub("", error.text) for error in sight(page).errors]
    return frozenset(code for text in texts for code in _HYPHENATED.findall(text))


def _relayed(page: Page, codes: Iterable[str]) -> str | None:
    """Those of some error codes that the site relays."""
    return ", ".join(sorted(_hyphenated(page).intersection(codes))) or None


def _codes(refused: list[str]) -> Iterator[Mark]:
    """The marks that the site relays one of some codes, and none of another meaning."""
    value = f"the code {' or '.join(refused)}, in JSON or as an error"
    yield Mark(value, lambda page: _relayed(page, refused))
    value = "no code about the answer's age, its reuse, or the site's keys"
    yield Mark(value, lambda page: _relayed(page, SETS["other codes"]), absent=True)


def _error(text: str) -> Iterator[Mark]:
    """The mark that an error of a page, or a member for errors in JSON, is *text*."""
    wanted = fold(text).rstrip(".")

    def find(page: Page) -> str | None:
        found = [error.text for error in sight(page).errors]
        found += [message.text for message in json_messages(page)]
        short = (text for text in found if len(text) <= MAX_LENGTH)
        return next((text for text in short if fold(text).rstrip(".") == wanted), None)

    yield Mark(f"the error “{text}”", find)


def _selected(condition: type[Condition], named: Mapping[str, Any]) -> Iterator[Mark]:
    """The mark that a condition finds something, by its description."""
    ((value, selector),) = named.items()
    selects = condition(selector)
    yield Mark(value, lambda page: selects.found(page) if selects.holds(page) else None)


MARKS_BY_KEY: Final[Mapping[str, Callable[[Any], Iterable[Mark]]]] = {
    "marks": partial(map, MARKS.__getitem__),
    "codes": _codes,
    "error": _error,
    "element": partial(_selected, Css),
    "member": partial(_selected, JmesPath),
}
"""The marks of a preset's rule, by the keys that describe them."""
