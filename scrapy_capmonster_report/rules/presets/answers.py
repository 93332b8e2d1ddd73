"""Finds error messages in a JSON answer: in its members for errors, not in its data."""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .messages import About, matters, mentions, rejects
from .places import CAPTCHA_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_DEPTH: Final = 14
"""Levels of dicts and lists."""

_MAX_MEMBERS: Final = 40
"""A dict with more members is data."""

_MAX_ITEMS: Final = 20
"""A list with more items is data."""

_MAX_SAYINGS: Final = 200

_ERROR = re.compile(
    "err|fail|invalid|violation|message|msg|detail|description|reason|alert|flash|notice|warning"
    "|feedback|validation|fields$|^code$|code$|^status|title$|^name$|^text$|^info|^data$|^result$"
    "|^response$|^content$|^html$|^body$|^note$|hint$|^captcha_?key$|^d$|^desc$|^tips?$"
)
"""Members that hold errors, in lower case."""

_SIDE = re.compile("^(?:desc|description|name|title|text|tips?|info|reason|hint)$")
_MAIN = re.compile("err|code|status|success|^ok$|message|msg|result|fail|^state$|^flag$")
"""Members that mark an error. Without one of them, :data:`_SIDE` may mean anything."""

_ERRORS = re.compile("errors?$|fields$|violations$|^messages?$|validation|^detail")
"""Members whose members are fields."""

_DATA = re.compile(
    "i18n|locale|lang|translat|string|label|schema|definition|propert|example|doc|changelog|post"
    "|comment|article|^items$|log|histor|quer|allmessage|hits|entries|thread|path|component"
    "|parameter|catalog|dictionar|template|faq|help|search|result_?s$|texts$|config|setting|news"
    "|^(?:en|de|es|fr|it|ja|ko|pl|pt|ru|tr|zh)(?:[_-]|$)"
)
"""Members that hold data about messages. Those called like a language hold translations."""

_IF_EMPTY = re.compile("required|missing|empty|blank")
_IF_WRONG = re.compile("invalid|incorrect|wrong|mismatch")

_NOT_A_FIELD = re.compile("requir|need|url|src|show|enabl|expire|miss|valid$|status|count|html")
_ERROR_OF_A_FIELD = re.compile("captcha_?error$")
_NAMES_A_FIELD: Final = ("field", "param", "property", "path", "attribute", "source", "key", "loc")

_ADDRESS = re.compile("(?:https?:|data:|/)")
_CODE = re.compile("[!-~]{1,80}")
_CODE_OF_A_CAPTCHA = re.compile("captcha|turnstile")
_CODE_WRONG = re.compile("invalid|incorrect|wrong|fail|error|mismatch|bad|reject|notvalid|notmatch")
_CODE_OF_ANOTHER_MATTER = re.compile(
    "requir|missing|need|empty|blank|expire|time|duplicate|used|already|seen|secret|sitekey|config"
    "|avail|limit|many|sms|mail|otp|phone|internal|network|server|service|score|reach|connect|load"
    "|lock|disabl|noerror|found|absent|rate|attempt|session|csrf|provider|null|none|support|unknown"
    "|generat|creat|refresh|init"
)


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
        if _CODE.fullmatch(self.text) and _CODE_OF_A_CAPTCHA.search(self.text.lower()):
            return rejects_as_code(self.text)
        return rejects(self.text, About.ITS_PLACE if self.is_placed else About.ITS_ANSWER)

    @property
    def is_another_matter(self) -> bool:
        """Whether it says that a captcha is missing or expired, or that the user is locked out."""
        kinds = matters(self.text)
        if self.is_placed or mentions(self.text, "captcha"):
            return not kinds.isdisjoint(("missing", "late", "limit")) and not self.rejects
        return "limit" in kinds


def rejects_as_code(text: str) -> bool:
    """Whether a code such as ``CAPTCHA_INVALID`` says that a captcha answer was wrong."""
    code = re.sub("[^a-z]", "", text.lower())
    return bool(
        _CODE_OF_A_CAPTCHA.search(code)
        and _CODE_WRONG.search(code)
        and not _CODE_OF_ANOTHER_MATTER.search(code)
    )


def sayings(document: Any) -> list[Saying]:
    """The error messages of *document*. A document with many of them is data."""
    found = list(islice(_walk(document, (), False, 0), _MAX_SAYINGS + 1))
    return found if len(found) <= _MAX_SAYINGS else []


def succeeded(document: Any) -> bool:
    """Whether the root of a JSON answer says that the request succeeded."""
    if not isinstance(document, dict):
        return False
    status = str(document.get("status")).lower()
    flags = [document.get(name) for name in ("success", "ok", "valid", "succeeded")]
    return any(flag is True for flag in flags) or status in ("ok", "success", "mail_sent", "sent")


def names_errors(name: str) -> bool:
    """Whether a member is called like one for errors."""
    return bool(_ERROR.search(name.lower()))


def _walk(value: Any, path: tuple[str, ...], is_placed: bool, depth: int) -> Iterator[Saying]:
    if isinstance(value, str):
        yield Saying(path, value, is_placed)
    elif depth > _MAX_DEPTH:
        return
    elif isinstance(value, list):
        if len(value) <= _MAX_ITEMS:
            for item in value:
                yield from _walk(item, path, is_placed, depth + 1)
    elif isinstance(value, dict) and len(value) <= _MAX_MEMBERS and not _is_catalogue(value):
        fields = [str(value.get(name, "")).lower() for name in _NAMES_A_FIELD]
        is_placed = is_placed or any(map(_is_field, fields))
        captioned = [key for key, item in value.items() if _is_caption(key, item)]
        for key, item in value.items():
            name = key.lower()
            if _DATA.search(name) or (len(captioned) > 1 and key in captioned):
                continue
            if _SIDE.search(name) and not any(_MAIN.search(other.lower()) for other in value):
                continue
            below_errors = bool(path) and bool(_ERRORS.search(path[-1].lower()))
            is_field = _is_field(name)
            # A member of any name may wrap the answer.
            is_wrapper = isinstance(item, dict) and len(path) < 2
            if is_wrapper or names_errors(key) or below_errors or is_field:
                yield from _walk(item, (*path, key), is_placed or is_field, depth + 1)


def _is_catalogue(members: dict[str, Any]) -> bool:
    """Whether *members* say what is shown in different cases: an answer is not empty and wrong."""
    names = " ".join(key.lower() for key, item in members.items() if isinstance(item, str))
    return bool(_IF_EMPTY.search(names) and _IF_WRONG.search(names))


def _is_caption(key: str, item: Any) -> bool:
    """Whether a member is like one of a catalogue of messages about captchas."""
    return "captcha" in key.lower() and isinstance(item, str) and not _CODE.fullmatch(item)


def _is_field(name: str) -> bool:
    """Whether a member is called like a captcha's field."""
    is_code = rejects_as_code(name) and not _ERROR_OF_A_FIELD.search(name)
    return bool(CAPTCHA_NAME.search(name)) and not (_NOT_A_FIELD.search(name) or is_code)
