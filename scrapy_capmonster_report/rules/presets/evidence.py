"""Evidence of a rejected captcha answer on a page, searched once for all presets."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from ..page import NOT_JSON, parse_json, view
from .answers import sayings, succeeded
from .messages import UNMISTAKABLE, About, matters, mentions, rejects
from .places import MAX_FIELDS, Sight, fields_in, is_captchas_own

if TYPE_CHECKING:
    from ..page import Page
    from .answers import Saying
    from .places import Error

MAX_SCRIPT: Final = 100_000
"""How many characters of a script are read as JSON, or searched for an ``alert()``."""

_MAX_SCRIPTS: Final = 50
_QUOTED = re.compile("“[^“”]*”")
_CODE = re.compile(r"\w+[_-][\w-]+")
_HYPHENATED = re.compile(r"(?<![a-z-])[a-z]+(?:-[a-z]+)+(?![a-z-])")


@view
def root(page: Page) -> Any:
    """The outermost element of a page, or an empty one."""
    return etree.Element("html") if page.selector is None else page.selector.root


@view
def scripts(page: Page) -> list[Any]:
    """The first scripts in a page."""
    return list(islice(root(page).iter("script"), _MAX_SCRIPTS))


@view
def sight(page: Page) -> Sight:
    """The errors and captchas that a page of HTML shows."""
    return Sight(root(page))


@view
def json_messages(page: Page) -> list[Saying]:
    """The error messages in the JSON of an answer: in its body, or in ``pre`` in a browser."""
    alone = "/html/body[not(*[position() > 1]/node())]/pre/text()"
    answer = page.json
    if answer is NOT_JSON:
        answer = parsed("".join(root(page).xpath(alone)))
    return [] if succeeded(answer) else sayings(answer)


def parsed(text: str | None) -> Any:
    """A text of a page as JSON, or :data:`NOT_JSON`."""
    if not text or len(text) > MAX_SCRIPT or text.lstrip()[:1] not in ("{", "["):
        return NOT_JSON
    return parse_json(text)


@view
def siteverify_codes(page: Page) -> frozenset[str]:
    """What may be a code of a ``siteverify`` call that the site relays, in JSON or as an error."""
    texts = [saying.text for saying in json_messages(page)]
    texts += [_QUOTED.sub("", error.text) for error in sight(page).errors]
    return frozenset(code for text in texts for code in _HYPHENATED.findall(text))


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
    causes = [(error, matters(error.text)) for error in (seen.errors if hits else ())]
    return next(
        (hit.text for hit in hits if not any(_is_the_cause(*it, hit) for it in causes)), None
    )


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
    is_near = one is two or one.getparent() is two.getparent()
    return {"late", "theirs"} <= kinds or (is_near and not kinds.isdisjoint(UNMISTAKABLE))
