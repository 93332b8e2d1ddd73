"""Finds error messages in a JSON answer: in its members for errors, not in its data."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..errors import show
from ..names import MAX_NAME, SETS, has_name
from ..page import NOT_JSON, parse_json, view
from .messages import UNMISTAKABLE, About, matters, mentions, rejects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..page import Page

_MAX_DEPTH: Final = 14
"""Levels of dicts and lists."""

_MAX_MEMBERS: Final = 40
"""A dict with more members is data."""

_MAX_ITEMS: Final = 20
"""A list with more items is data."""

_MAX_SAYINGS: Final = 200
_MAX_LOOKED_AT: Final = 5000
"""A document with more members that may hold errors is data."""

MAX_SCRIPT: Final = 100_000
"""How many characters of a script are read as JSON, or searched for an ``alert()``."""

_ADDRESS = re.compile("(?:https?:|data:|/)")
_CODE = re.compile("[!-~]{1,80}")
_NO_WORDS = re.compile("[!-~]*|<img[^<>]*>")
"""A code, an address or a picture."""


class Saying(NamedTuple):
    """A text in a member for errors.

    Args:
        path: the names of the members down to it.
        text: the text.
        is_placed: whether a member on that path, or next to it, is named like a captcha's field.
    """

    path: tuple[str, ...]
    text: str
    is_placed: bool

    def __str__(self) -> str:
        return f"{'.'.join(self.path) or 'the root'}: {self.text}"

    @property
    def rejects(self) -> bool:
        """Whether it says that a captcha answer was wrong."""
        if _ADDRESS.match(self.text):
            return False
        if _CODE.fullmatch(self.text) and has_name(self.text.lower(), "code.captcha"):
            return rejects_as_code(self.text)
        return rejects(self.text, About.ITS_PLACE if self.is_placed else About.ITS_ANSWER)

    @property
    def is_another_matter(self) -> bool:
        """Whether it says that a captcha is missing, expired or failed by itself, or of a limit."""
        kinds = matters(self.text)
        if self.is_placed or mentions(self.text, "captcha"):
            return not kinds.isdisjoint(("missing", *UNMISTAKABLE)) and not self.rejects
        return "limit" in kinds


def rejects_as_code(text: str) -> bool:
    """Whether a code such as ``CAPTCHA_INVALID`` says that a captcha answer was wrong."""
    code = re.sub("[^a-z]", "", text[:MAX_NAME].lower())
    return bool(
        has_name(code, "code.captcha")
        and has_name(code, "code.wrong")
        and not has_name(code, "code.another matter")
    )


def sayings(document: Any) -> list[Saying]:
    """The error messages of *document*. A document with many of them is data."""
    seen = list(islice(_walk(document, (), False, 0), _MAX_LOOKED_AT + 1))
    found = list(filter(None, seen))
    return found if len(seen) <= _MAX_LOOKED_AT and len(found) <= _MAX_SAYINGS else []


def succeeded(document: Any) -> bool:
    """Whether the root of a JSON answer says that the request succeeded."""
    if not isinstance(document, dict):
        return False
    flags = [document.get(name) for name in ("success", "ok", "valid", "succeeded")]
    status = str(document.get("status")).lower()
    return status in ("ok", "success", "mail_sent", "sent") or any(flag is True for flag in flags)


def _walk(
    value: Any, path: tuple[str, ...], is_placed: bool, depth: int
) -> Iterator[Saying | None]:
    """The error messages in *value*, and ``None`` for each member."""
    if isinstance(value, str):
        yield Saying(path, value, is_placed)
    elif depth > _MAX_DEPTH:
        return
    elif isinstance(value, list):
        if len(value) <= _MAX_ITEMS:
            for item in value:
                yield from _walk(item, path, is_placed, depth + 1)
    elif isinstance(value, dict) and len(value) <= _MAX_MEMBERS:
        fields = (value[name] for name in SETS["names of fields"] if name in value)
        names = (field if isinstance(field, str) else show(field) for field in fields)
        is_placed = is_placed or any(_is_field(name.lower()) for name in names)
        cases = [key for key, item in value.items() if _is_case(key, item)]
        for key, item in value.items():
            yield None
            name = key.lower()
            if name == "score" and isinstance(item, float) and 0 < item <= 1:
                # A token that is wrong gets none.
                yield Saying((*path, key), f"score {item}", True)
            if has_name(name, "member.data") or (len(cases) > 1 and key in cases):
                continue
            if has_name(name, "member.side") and not any(
                has_name(other.lower(), "member.main")
                or value[other] in ("error", "danger")  # "type", "icon", "level" …
                for other in value
            ):
                continue
            below_errors = has_name("\n".join(path[-2:]).lower(), "member.of fields")
            is_field = _is_field(name)
            # A member of any name may wrap the answer.
            is_wrapper = isinstance(item, dict) and len(path) < 2
            if is_wrapper or has_name(name, "member.error") or below_errors or is_field:
                yield from _walk(item, (*path, key), is_placed or is_field, depth + 1)


def _is_case(key: str, item: Any) -> bool:
    """Whether a member is like one of a catalogue, which says what is shown in different cases.

    An answer is not empty and wrong, and has one message about the captcha.
    """
    name = key.lower()
    return isinstance(item, str) and (
        has_name(name, "member.case") or ("captcha" in name and not _NO_WORDS.fullmatch(item))
    )


def _is_field(name: str) -> bool:
    """Whether a member is called like a captcha's field."""
    is_code = rejects_as_code(name) and not has_name(name, "member.error of a field")
    return has_name(name, "captcha.field") and not (has_name(name, "member.not a field") or is_code)


@view
def json_messages(page: Page) -> list[Saying]:
    """The error messages in the JSON of an answer: in its body, or in ``pre`` in a browser."""
    alone = "/html/body[not(*[position() > 1]/node())]/pre/text()"
    answer = page.json
    if answer is NOT_JSON:
        answer = parsed("".join(page.root.xpath(alone)))
    return [] if succeeded(answer) else sayings(answer)


def parsed(text: str | None) -> Any:
    """A text of a page as JSON, or :data:`NOT_JSON`."""
    if not text or len(text) > MAX_SCRIPT or text.lstrip()[:1] not in ("{", "["):
        return NOT_JSON
    return parse_json(text)


def rejection_in(messages: list[Saying]) -> str | None:
    """The one of *messages* that says that a captcha answer was wrong, and not something else."""
    if any(message.is_another_matter for message in messages):
        return None
    return next((str(message) for message in messages if message.rejects), None)
