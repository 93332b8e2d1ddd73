"""Finds the errors and the captcha on a page, in one pass."""

from __future__ import annotations

import re
from functools import cache
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lxml import etree

from ..names import SETS, has_name, regex
from ..page import is_closed, is_unseen, view
from .messages import MAX_LENGTH, UNMISTAKABLE, About, matters, mentions, rejects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..page import Page

MAX_ERRORS: Final = 200
"""A page with more texts of errors is a list, and says nothing about an answer."""

MAX_MARKED: Final = 2000
"""Elements that are marked as errors, empty ones included; likewise."""

_MAX_DISTANCE: Final = 4
"""Levels from a text up to the element that is marked as an error, or to the captcha's group."""

_MAX_FIELDS: Final = 3
"""An element that is marked as an error is a form if it has more fields."""

_MAX_SCANNED: Final = 200
"""How many elements of a group are searched for fields."""

_MAX_TEXT: Final = 4 * MAX_LENGTH
"""How many characters of a text are read, including white space."""

_WITH_ATTRIBUTES: Final = etree.XPath("descendant-or-self::*[@* or self::center]")
_CODE = re.compile(r"\w+[_-][\w-]+")


class Error(NamedTuple):
    """A text that a page shows as an error.

    Args:
        text: the text.
        place: the nearest element around it that is marked as an error.
        item: the item of a list that contains it, if any.
    """

    text: str
    place: Any
    item: Any


class Sight:
    """The errors and captchas that a page with the outermost element *root* shows.

    Each element is looked at once, and texts are read only in those that are marked as errors.
    """

    def __init__(self, root: Any) -> None:
        self.fields = 0
        """How many fields are to be filled in."""
        self.widget = ""
        """The element of a captcha service."""
        self.input = ""
        """The field for the answer."""
        self.picture = ""
        """A picture that is called like a captcha."""
        self.has_other_code = False
        """Whether there is a field for another code: of a text message, a coupon, an invitation."""
        self.groups: list[Any] = []
        """Elements around a captcha's fields. What they say counts only if it names the captcha."""
        self._is_named = False  # something is called "captcha", not only "code"
        self._has_picture = False  # its form has one, perhaps without a telling name
        self._shown: dict[Any, bool] = {None: True}
        for element in root.iter(*SETS["fields"]):
            self._look_at_a_field(element)
        picture = next(filter(_is_picture, root.iter(*SETS["pictures"])), None)
        if picture is not None:
            self.picture = self._note(picture)
        marked = list(islice(self._marked_elements(root), MAX_MARKED + 1))
        self.errors = self._read(marked) if len(marked) <= MAX_MARKED else []

    @property
    def image(self) -> str:
        """What shows that there is an image captcha; ``""`` if nothing does."""
        if self.picture:
            return self.picture
        is_typed = self.input and not self.widget
        return self.input if is_typed and (self._has_picture or self._is_named) else ""

    @property
    def captcha(self) -> str:
        """What shows that there is a captcha; ``""`` if nothing does."""
        return self.widget or self.image

    def rejection(self, most: About = About.ITS_PLACE) -> str | None:
        """The error that says that a captcha answer was wrong.

        Args:
            most: what may relate an error to a captcha.
        """
        level = About.ITS_WORDS
        if self.captcha and not self.has_other_code:
            level = About.ITS_PLACE_HAS_ONE
        elif not self.fields:
            level = About.ITS_ANSWER
        hits = [
            error
            for error in self.errors
            if self._rejects(error, min(level, most), most)
            and sum(map(_is_typed, _within(error.place))) <= _MAX_FIELDS
        ]
        others = [(error, matters(error.text)) for error in self.errors if hits]
        causes = [(error, kinds) for error, kinds in others if not kinds.isdisjoint(UNMISTAKABLE)]
        alone = (hit for hit in hits if not any(_is_the_cause(*cause, hit) for cause in causes))
        return next((hit.text for hit in alone), None)

    def _rejects(self, error: Error, level: About, most: About) -> bool:
        """Whether an error says that a captcha answer was wrong."""
        is_beside = error.place in self.groups
        if _CODE.fullmatch(error.text) or (is_beside and mentions(error.text, "ask")):
            return False
        if (self.widget or self.input) and _is_anothers_own(error.place):
            level = most = About.ITS_WORDS
        if rejects(error.text, level):
            return True
        if most is not About.ITS_PLACE or not self.captcha or is_beside:
            return False
        return rejects(error.text, About.ITS_PLACE) and _is_captchas_own(error.place)

    def _look_at_a_field(self, element: Any) -> None:
        name = _name_of(element)
        is_captcha = has_name(name, "captcha.field")
        self._is_named |= "captcha" in name
        if not _is_typed(element):
            return
        self.fields += 1
        is_code = is_captcha or has_name(name, "captcha.code")
        asked_for = f"{name} {element.get('placeholder', '').lower()}"
        if is_code and has_name(asked_for, "captcha.other code"):
            self.has_other_code = True
        elif is_captcha and not self.input:
            self.input = self._note(element)
            form = next(element.iterancestors("form"), element.getroottree().getroot())
            looks = map(_look_of, form.iter(*SETS["pictures"]))
            self._has_picture = not all(has_name(look, "captcha.other picture") for look in looks)

    def _note(self, element: Any) -> str:
        """The outline of a captcha's field. The widest group without other fields is noted."""
        group = None
        for around in islice(element.iterancestors(), _MAX_DISTANCE):
            if around.tag in ("body", "form", "html") or not _is_captchas_group(around):
                break
            group = around
        if group is not None and group not in self.groups and self._is_shown(group):
            self.groups.append(group)
        return _outline(element)

    def _marked_elements(self, root: Any) -> Iterator[Any]:
        """The elements that are marked as errors. Those of a captcha are noted."""
        meaning_of = cache(_meaning_of)  # many elements of a page have the same attributes
        for element in _WITH_ATTRIBUTES(root):
            tag = element.tag
            is_error, captcha = meaning_of(tag, *element.items())
            if captcha and tag not in SETS["fields"] and self._is_shown(element):
                self._is_named = True
                if not self.widget and has_name(captcha, "captcha.widget"):
                    self.widget = _outline(element)
            if tag == "center" or (is_error and tag not in SETS["others words"]):
                yield element

    def _is_shown(self, element: Any) -> bool:
        """Whether an element is shown, and not in a quotation; each ancestor is asked once."""
        asked = []
        while element not in self._shown:
            asked.append(element)
            if is_unseen(element) or element.tag in SETS["others words"]:
                self._shown[element] = False
            else:
                element = element.getparent()
        answer = self._shown[element]
        self._shown.update(dict.fromkeys(asked, answer))
        return answer

    def _read(self, marked: list[Any]) -> list[Error]:
        """The errors in *marked* elements, and the texts in the captcha's groups."""
        apart = frozenset(marked)
        places = dict.fromkeys([*filter(self._is_shown, marked), *self.groups])
        texts = chain.from_iterable(_blocks(place, apart) for place in places)
        errors = list(islice(texts, MAX_ERRORS + 1))
        return errors if len(errors) <= MAX_ERRORS else []


@view
def sight(page: Page) -> Sight:
    """The errors and captchas that a page of HTML shows."""
    return Sight(page.root)


def _is_the_cause(error: Error, kinds: set[str], hit: Error) -> bool:
    """Whether an error about age or a limit may be the reason for the rejection *hit*."""
    one, two = error.place, hit.place
    return {"late", "theirs"} <= kinds or one is two or one.getparent() is two.getparent()


def _blocks(place: Any, marked: frozenset[Any]) -> Iterator[Error]:
    """The texts in *place*, block by block, without those in *marked* places of their own."""
    block: list[str] = []
    item = next((e for e in (place, *islice(place.iterancestors(), 2)) if e.tag == "li"), None)
    for text, ends_block, inside in chain(_texts(place, item, marked, 0), [("", True, None)]):
        if ends_block:
            if told := " ".join("".join(block).split()):
                yield Error(told, place, item)
            block = []
        item = inside
        block.append(text)


def _texts(
    element: Any, item: Any, marked: frozenset[Any], depth: int
) -> Iterator[tuple[str, bool, Any]]:
    """The texts in *element*, whether each begins a block, and the item that it stands in."""
    most = 0 if is_closed(element) else _MAX_TEXT
    yield (element.text or "")[:most], element.tag in SETS["blocks"], item
    for child in element:
        tag = child.tag
        # Emphasis, or a link to the captcha's field, may be all that an error says.
        may_be_all = tag in SETS["emphases"] or has_name(child.get("href") or "", "captcha.link")
        is_all = may_be_all and not (element.text or "").strip()
        if not isinstance(tag, str) or is_unseen(child):
            pass
        elif child in marked or tag in SETS["quotes"] or depth == _MAX_DISTANCE:
            yield "", True, item
        elif tag in SETS["inline quotes"] and not is_all:
            yield f"“{''.join(islice(child.itertext(), _MAX_SCANNED))[:_MAX_TEXT]}”", False, item
        else:
            yield from _texts(child, child if tag == "li" else item, marked, depth + 1)
            if tag in SETS["blocks"]:
                yield "", True, item
        yield (child.tail or "")[:most], False, item


def _meaning_of(tag: str, *attributes: tuple[str, str]) -> tuple[bool, str]:
    """Whether attributes mark an element as an error, and the names that say it is a captcha."""
    # Elements that a site defines are called like what they are: <altcha-widget>.
    names, is_red = f"{tag} " if has_name(tag, "captcha.element") else "", False
    for name, value in attributes:
        if name in ("class", "id", "role"):
            names += value + " "
        elif name in ("style", "color"):
            is_red |= has_name(f"{name}:{value}", "error.style")
        elif name == "data-sitekey":
            names += "captcha g-recaptcha "
    is_error = has_name(names, "error.element") and not has_name(names, "error.other element")
    return is_error or is_red, names if has_name(names, "captcha.element") else ""


def _name_of(element: Any) -> str:
    """What a field is called, in lower case."""
    return " ".join(element.get(key, "") for key in ("name", "id", "autocomplete")).lower()


def _is_typed(element: Any) -> bool:
    """Whether an element is a field that the visitor fills in."""
    kind = element.get("type", "").lower()
    return element.tag in SETS["fields"] and kind not in SETS["not typed"]


def _look_of(picture: Any) -> str:
    """What the attributes of a picture say, in lower case."""
    return " ".join([value[:200] for value in picture.values()]).lower()


def _is_picture(element: Any) -> bool:
    """Whether an element is the picture of an image captcha."""
    rest = regex("captcha.other picture").sub("", _look_of(element))
    return has_name(rest, "captcha.field") or has_name(rest, "captcha.picture")


def _outline(element: Any) -> str:
    """The beginning of an element, for people to read."""
    told = [(name, element.get(name)) for name in ("class", "id", "name", "src")]
    attributes = "".join(f' {name}="{value[:60]}"' for name, value in told if value)
    return f"<{element.tag}{attributes}>"


def _within(place: Any) -> Iterable[Any]:
    """The first elements in an element, itself included."""
    return islice(place.iter("*"), _MAX_SCANNED)


def _is_captchas_own(element: Any) -> bool:
    """Whether an error belongs to the captcha by its place, so that it need not name the captcha.

    Its element is named like the captcha's field, or is a list right before or after that field, or
    the nearest group around it has no other fields than the captcha's.
    """
    names = (element.get(name, "") for name in ("id", "class", "for", "data-valmsg-for"))
    if has_name(" ".join(names).lower(), "captcha.field"):
        return True
    beside = (element.getprevious(), element.getnext()) if element.tag == "ul" else ()
    if any(_is_captchas_group(other) for other in beside if other is not None):
        return True
    around = islice(element.iterancestors(), _MAX_DISTANCE)
    groups = takewhile(lambda group: group.tag not in ("body", "html"), around)
    answers = map(_is_captchas_group, groups)
    return next((answer for answer in answers if answer is not None), False)


def _is_anothers_own(place: Any) -> bool:
    """Whether an error is in a group with one field, which is not the captcha's."""
    for group in (place, *islice(place.iterancestors(), 1)):
        if group.tag in ("form", "body", "html"):
            return False
        if fields := sum(map(_is_typed, _within(group))):
            return fields == 1 and not _is_captchas_group(group)
    return False


def _is_captchas_group(group: Any) -> bool | None:
    """Whether all fields in *group* belong to a captcha; ``None`` if it has no fields.

    Also ``None`` if it is the part of a form that has the button: it may be for all of the form.
    """
    is_captcha, is_named, has_button, others = False, False, False, 0
    for element in _within(group):
        is_hidden = element.tag in SETS["fields"] and element.get("type", "").lower() == "hidden"
        if is_hidden or _is_typed(element):
            name = _name_of(element)
            if has_name(name, "captcha.field") and not has_name(name, "captcha.other code"):
                is_captcha, is_named = True, is_named or not is_hidden
            elif not is_hidden and not is_unseen(element):  # a trap for robots is
                others += 1
        elif element.tag in ("button", "input"):
            submits = element.get("type", "submit") == "submit"
            has_button |= submits and not has_name(_look_of(element), "captcha.again")
        elif has_name(element.get("class", ""), "captcha.widget"):
            is_captcha = is_named = True
        elif element.tag == "img" and _is_picture(element):
            is_captcha = True
    # The one field beside a picture may be called anything.
    if others > (is_captcha and not is_named):
        return False
    return True if is_captcha and (group.tag == "form" or not has_button) else None
