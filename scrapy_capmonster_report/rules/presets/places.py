"""Where a page speaks of a rejected answer: its errors and its captcha, found in one pass."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, NamedTuple

from ..visible import BEGIN, BLOCKS, END, visible
from .messages import MAX_LENGTH

MAX_ERRORS: Final = 200
"""Texts of errors; a page with more is a list and says nothing of an answer."""

_MAX_DISTANCE: Final = 4
"""Levels from a text up to the element that is marked as an error, or to the captcha's group."""

MAX_FIELDS: Final = 3
"""Fields in an element that is marked as an error; one with more is a form."""

_MAX_SCANNED: Final = 200
"""Elements of a group that are searched for fields."""

_MARKED = re.compile(
    r"[Ee]rror|ERROR|(?:^|[\s_-])[Ee]rr|[a-z]Err|danger|invalid|alert|warn|fail|wrong|incorrect"
    r"|reject|\bflash(?:es|-?mess\w*)?\b|text-red|notice|notif|toast|callout|wp-die|fehler|hata\b"
    r"|(?:^|[\s_-])msg|(?:form|system|status|response)[_-]?message|help-block|help-inline"
    r"|feedback|explain|helper-text|validation|(?:^|\s)messages?$"
)
_NOT_MARKED = re.compile("success")
_RED = re.compile(
    r"(?:^|[^-])color\s*:\s*(?:(?:dark)?red\b|crimson|firebrick|#[b-f]\w[0-5]\w[0-5]\w\b"
    r"|#[b-f][0-5][0-5]\b|rgb\(\s*(?:1[6-9]|2\d)\d\s*,\s*\d{1,2}\s*,\s*\d{1,2}\s*\))",
    re.IGNORECASE,
)
_QUOTES: Final = frozenset(
    ("blockquote", "button", "label", "legend", "option", "pre", "select", "textarea", "svg")
)
"""What is in them is a label, or what somebody else said."""

_OTHERS_WORDS: Final = frozenset(("blockquote", "code", "option", "pre", "q", "samp", "textarea"))
"""What is in them is quoted even if they are marked as errors."""

_EMPHASES: Final = frozenset(("em", "i"))
_INLINE_QUOTES: Final = _EMPHASES | {"a", "cite", "code", "dfn", "kbd", "q", "samp"}
"""What is in them is quoted, as by quotation marks; emphases may also hold all there is."""

CAPTCHA_NAME = re.compile(
    "captcha|capcha|turnstile|securimage|imagestring|yzm|yanzhengma|antispam|confirm_?id|v_?code"
    "|(?:verif(?:y|ication|ied)?|valid(?:ate|ation)?|check|secur(?:ity)?|sec|confirm(?:ation)?"
    "|auth|image?|img|pic(?:ture)?|rand(?:om)?|visual|number|safe|graph(?:ic)?|code)[-_]?"
    "(?:code|img|image|word|text|num|number)"
)
"""The names of a captcha's field, in lower case."""

_OTHER_CODE = re.compile("otp|sms|phone|mobile|mail|2fa|mfa|one-time|authenticator|factor")
_WIDGET = re.compile(
    "g-recaptcha|h-captcha|cf-turnstile|frc-captcha|geetest|mtcaptcha|altcha|smart-captcha"
    "|funcaptcha|recaptcha|hcaptcha|turnstile"
)
_WIDGET_OR_NAME = re.compile("captcha|turnstile|geetest")
_PICTURE = re.compile(f"{CAPTCHA_NAME.pattern}|mode=confirm|verif[yi]|regcode|seccode")
_FIELDS: Final = frozenset(("input", "select", "textarea"))
_NOT_TYPED: Final = frozenset(("hidden", "submit", "button", "image", "reset", "checkbox", "radio"))
_NOT_A_PICTURE = re.compile("[rh]e?captcha|logo|badge|icon")
_PICTURES: Final = frozenset(("img", "svg", "canvas"))


_TELLING: Final = _QUOTES | _INLINE_QUOTES | _PICTURES | {"center"}
"""Elements that say something without any attributes."""


@dataclass(eq=False)
class Place:
    """An element that is marked as an error.

    Args:
        element: the element.
        depth: how deep it is.
        fields: how many fields are in it (and, until it has ended, before it).
    """

    element: Any
    depth: int
    fields: int


class Error(NamedTuple):
    """A text that a page shows as an error.

    Args:
        text: the text.
        place: the element that is marked as an error.
        item: the item of a list that it stands in, if it does.
    """

    text: str
    place: Place
    item: Any


@dataclass
class Sight:
    """What a page shows of errors and captchas."""

    errors: list[Error] = field(default_factory=list)
    length: int = 0
    """Characters that the page shows."""
    fields: int = 0
    """Fields to be filled in."""
    widget: str = ""
    """The element of a captcha service."""
    input: str = ""
    """The field for the answer."""
    picture: str = ""
    """A picture that is called like a captcha."""
    has_pictures: bool = False
    is_named: bool = False
    """Whether something is called *captcha*, not only *code*."""
    has_other_code: bool = False
    """Whether there is a field for the code of a text message, a mail or a device."""

    @property
    def image(self) -> str:
        """What shows that there is an image captcha; ``""`` if nothing does."""
        if self.picture:
            return self.picture
        is_typed = self.input and not self.widget
        return self.input if is_typed and (self.has_pictures or self.is_named) else ""

    @property
    def captcha(self) -> str:
        """What shows that there is a captcha; ``""`` if nothing does."""
        return self.widget or self.image


class _TooManyError(Exception):
    """The page has more errors than a form has."""


class _Frame(NamedTuple):
    """What is left with an element."""

    element: Any
    is_quote: bool
    closing: str
    place: Place | None
    outer: Place | None


class Reader:
    """Reads the page below *root*, once.

    Args:
        root: the page's outermost element.
    """

    def __init__(self, root: Any) -> None:
        self.sight = Sight()
        self._meanings: dict[str, tuple[bool, bool]] = {}
        self._frames: list[_Frame] = []
        self._place: Place | None = None
        self._depth = self._quotes = self._fields = 0
        self._block: list[str] = []
        self._item: Any = None
        try:
            self._read(root)
        except _TooManyError:
            self.sight = Sight()

    def _read(self, root: Any) -> None:
        length, innermost = 0, None
        for event, element, attributes in visible(root):
            tag = element.tag
            if self._block and tag in BLOCKS:
                self._flush()
            if event is BEGIN:
                self._depth += 1
                if tag == "li":
                    self._item = element
                if (attributes or tag in _TELLING) and self._begin(element, tag, attributes):
                    innermost = element
                text = element.text
            else:
                if event is END:
                    self._depth -= 1
                    if element is self._item:
                        self._item = None
                    if element is innermost:
                        innermost = self._end()
                text = element.tail
            if text:
                length += len(text)
                if self._place is not None and not self._quotes:
                    self._block.append(text[: MAX_LENGTH * 4])
        self._flush()
        self.sight.length, self.sight.fields = length, self._fields

    def _begin(self, element: Any, tag: str, attributes: list[tuple[str, str]]) -> bool:
        """Note what an element says; whether it matters when it ends."""
        named, is_marked = "", tag == "center"
        for name, value in attributes:
            if name == "class" or name == "id" or name == "role":
                named += value + " "
            elif name == "style" or name == "color":
                is_marked |= _RED.search(f"color:{value}" if name == "color" else value) is not None
            elif name == "data-sitekey":
                named += "captcha g-recaptcha "
        is_error, is_captcha = self._meaning(named)
        is_marked = (is_marked or is_error) and tag not in _OTHERS_WORDS
        if tag in _FIELDS:
            self._look_at_a_field(dict(attributes))
        elif tag in _PICTURES:
            self._look_at_a_picture(element, attributes)
        elif is_captcha:
            self.sight.is_named = True
            if not self.sight.widget and _WIDGET.search(named):
                self.sight.widget = _shown(tag, attributes)
        if not is_marked and tag not in _QUOTES and tag not in _INLINE_QUOTES:
            return False
        self._open(element, tag, is_marked=is_marked)
        return True

    def _open(self, element: Any, tag: str, *, is_marked: bool) -> None:
        is_quote, closing, place = False, "", None
        if is_marked:
            self._flush()
            place = Place(element, self._depth, self._fields)
        elif tag in _QUOTES:
            is_quote = True
        elif self._block or tag not in _EMPHASES:
            self._block.append("“")
            closing = "”"
        self._frames.append(_Frame(element, is_quote, closing, place, self._place))
        self._quotes += is_quote
        self._place = place or self._place

    def _end(self) -> Any:
        """Leave the innermost element that matters; the one that is innermost then."""
        frame = self._frames.pop()
        self._quotes -= frame.is_quote
        self._block.append(frame.closing)
        if frame.place is not None:
            self._flush()
            frame.place.fields = self._fields - frame.place.fields
        self._place = frame.outer
        return self._frames[-1].element if self._frames else None

    def _meaning(self, named: str) -> tuple[bool, bool]:
        """Whether an element of such classes, id and role is an error, and a captcha's."""
        meaning = self._meanings.get(named)
        if meaning is None:
            is_error = bool(_MARKED.search(named)) and not _NOT_MARKED.search(named)
            meaning = self._meanings[named] = is_error, bool(_WIDGET_OR_NAME.search(named))
        return meaning

    def _flush(self) -> None:
        """A block has ended: note its text if it stands where errors do."""
        if not self._block:
            return
        text = " ".join("".join(self._block).split())
        self._block = []
        place = self._place
        if text and place is not None and self._depth - place.depth <= _MAX_DISTANCE:
            if len(self.sight.errors) == MAX_ERRORS:
                raise _TooManyError
            self.sight.errors.append(Error(text, place, self._item))

    def _look_at_a_picture(self, element: Any, attributes: list[tuple[str, str]]) -> None:
        self.sight.has_pictures = True
        if not self.sight.picture and is_picture(element):
            self.sight.picture = _shown(element.tag, attributes)

    def _look_at_a_field(self, attributes: dict[str, str]) -> None:
        sight = self.sight
        name = name_of(attributes)
        is_captcha = bool(CAPTCHA_NAME.search(name))
        sight.is_named |= "captcha" in name
        if attributes.get("type", "").lower() in _NOT_TYPED:
            return
        self._fields += 1
        if _OTHER_CODE.search(name) and ("code" in name or "otp" in name or not is_captcha):
            sight.has_other_code |= is_captcha or "code" in name or "otp" in name
        elif is_captcha and not sight.input:
            sight.input = _shown("input", list(attributes.items()))


def name_of(attributes: Any) -> str:
    """What a field is called, in lower case."""
    return f"{attributes.get('name', '')} {attributes.get('id', '')}".lower()


def _shown(tag: str, items: list[tuple[str, str]]) -> str:
    """The beginning of an element, to be read by people."""
    told = ("class", "id", "name", "src")
    attributes = "".join(f' {name}="{value[:60]}"' for name, value in items if name in told)
    return f"<{tag}{attributes}>"


def is_captchas_own(place: Place) -> bool:
    """Whether an error stands in the captcha's own place, so that it need not name it.

    The element of the error is called like the captcha's field, or the nearest group around it has
    the captcha's fields only, or the list of errors stands before the captcha's field or after it.
    """
    element = place.element
    attributes = " ".join(
        element.get(name, "") for name in ("id", "class", "for", "data-valmsg-for")
    )
    if CAPTCHA_NAME.search(attributes.lower()):
        return True
    for beside in (element.getprevious(), element.getnext()):
        if beside is not None and _fields_in(beside) is True:
            return True
    group = element
    for _ in range(_MAX_DISTANCE):
        group = group.getparent()
        if group is None or group.tag in ("body", "html"):
            return False
        belongs = _fields_in(group)
        if belongs is not None:
            return belongs
    return False


def _fields_in(group: Any) -> bool | None:
    """Whether the fields in *group* are a captcha's, all of them; ``None`` if it has none."""
    is_captcha, others = False, 0
    for element in islice(group.iter("*"), _MAX_SCANNED):
        tag, kind = element.tag, element.get("type", "").lower()
        if tag in _FIELDS and (kind not in _NOT_TYPED or kind == "hidden"):
            name = name_of(element.attrib)
            if CAPTCHA_NAME.search(name) and not _OTHER_CODE.search(name):
                is_captcha = True
            elif kind != "hidden":
                others += 1
        elif _WIDGET.search(element.get("class", "")) or (tag == "img" and is_picture(element)):
            is_captcha = True
            others -= tag == "img"  # its field may be called anything
    if others > 0:
        return False
    return True if is_captcha else None


def is_picture(element: Any) -> bool:
    """Whether an element is the picture of an image captcha."""
    named = " ".join([value[:200] for value in element.values()]).lower()
    return _PICTURE.search(_NOT_A_PICTURE.sub("", named)) is not None
