"""The marks of a rejected page, by which it differs from others. Each is a rule that matches it.

A mark has no session id, nonce, date or user name: it is a word of an element or member about
errors or captchas, without digits, and not a value of a form.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from ..rules.page import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..rules.page import Page

    Ranked = tuple[int, dict[str, Any]]

STRONG: Final = 2
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
    for key, value in () if page.json is NOT_JSON else _members(page.json):
        regexes = []
        if isinstance(value, str):
            if _speaks(f"{key} {value}"):
                regexes = [(rank, f"(?i){phrase}") for rank, phrase in _phrases(value)]
            if re.fullmatch(_WORD, value):
                regexes.append((1 if _speaks(value) else 5, f'"{_regex(value)}"'))
        elif _speaks(key) and (not value or abs(value) < 1000):
            regexes = [(2, rf'"{_regex(key)}"\s*:\s*{json.dumps(value)}\b')]
        yield from ((rank, {"jmespath": "@", "text": regex}) for rank, regex in regexes)


def _members(document: Any) -> Iterator[tuple[str, Any]]:
    """Every value in *document* that is not a dict or a list, with its key."""
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
