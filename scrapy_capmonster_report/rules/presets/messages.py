"""Decides whether a message says that a captcha answer was wrong, in many languages.

Such a message has, in one sentence, a word for the captcha (unless its place relates it to the
captcha) and a word for *wrong*, and no word that gives it another meaning.
"""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from ..names import read_ini

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LENGTH: Final = 300
"""The most characters of a message. A longer text is an article."""

_MIN_SHARED: Final = 5
"""Phrases of this length are not words of another language by chance."""

_ANSWER_FIRST: Final = frozenset(("zh",))
"""Languages whose common word for a code means the captcha if no other code is named."""

_VERDICTS: Final = ("wrong", "failed")
_MATTERS: Final = ("late", "limit", "other", "theirs")
_ANOTHERS: Final = ("other", "another")
UNMISTAKABLE: Final = ("late", "limit", "theirs")
"""Kinds of words that count in any language, and in any sentence of the message."""

_MAX_GAP: Final = 60
"""The most characters between the two halves of a phrase such as ``not … correctly``."""

_LETTERS: Final = str.maketrans("\u2019\u02bc`\u0131đłø", "'''idlo")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NOT = re.compile(r"n't\b")
_NAME_ENDS = re.compile(r"[\s_]+")
_SENTENCE_ENDS = re.compile(r"[.!?;\u0589\u0964]+\s+|[\u3002\uff01\uff1f\uff1b]+|\n")
_QUOTED = re.compile(r"“[^”]*”|«[^»]*»|„[^“”]*[“”]|\"[^\"]*\"")
_ENDS: Final = r".!?;\n\u3002\uff01\uff1f"
_QUESTION = re.compile(rf"(?<![^{_ENDS}])[^{_ENDS},\u3001\uff0c]*(?:\?(?!\S)|[\uff1f\u061f])")
"""A hint: *Wrong captcha? Click the picture.* With a comma it may say more than it asks."""

_A_FEW_WORDS = re.compile(r"(?:\s+\w+){1,4}")
_COMMA = re.compile("[,\u3001\u060c]")


class About(IntEnum):
    """What relates a message to a captcha."""

    ITS_WORDS = 1
    """It says *captcha*."""
    ITS_ANSWER = 2
    """It says *captcha*, or is all that a site answers and says what means one in Chinese."""
    ITS_PLACE_HAS_ONE = 3
    """It says *captcha*, or speaks of a code, characters or a picture beside one."""
    ITS_PLACE = 4
    """Its place: it is next to the captcha's field, so it needs no word for the captcha."""


class Phrase(NamedTuple):
    """Words of one kind in one language, from ``words.ini``, folded."""

    language: str
    kind: str
    text: str
    begins: bool
    """Whether no word may stand before it."""
    ends: bool
    """Whether the word must end with it."""
    rest: str
    """What must follow within :data:`_MAX_GAP` characters."""


class _Found(NamedTuple):
    start: int
    end: int
    language: str
    kind: str

    @property
    def is_long(self) -> bool:
        """Whether it is long enough to mean the same in any language."""
        return self.end - self.start >= _MIN_SHARED

    def is_part_of(self, other: _Found) -> bool:
        """Whether it is the beginning of a longer phrase for the captcha's code."""
        return other.kind == "code" and other.start == self.start and other.end > self.end


def fold(text: str) -> str:
    """*text* without case, accents and invisible characters; white space and ``_`` folded."""
    text = unicodedata.normalize("NFKD", _CAMEL.sub(" ", text)).casefold()
    text = "".join(
        letter
        for letter in text
        if not unicodedata.combining(letter) and unicodedata.category(letter) != "Cf"
    )
    return _NAME_ENDS.sub(" ", _NOT.sub(" not", text.translate(_LETTERS)))


def rejects(text: str, about: About) -> bool:
    """Whether *text* says that a captcha answer was wrong."""
    if len(text) > MAX_LENGTH:
        return False
    sentences = [(sentence, _find(sentence)) for sentence in _sentences(text)]
    everything = [item for _, found in sentences for item in found]
    return any(_rejects(sentence, found, everything, about) for sentence, found in sentences)


def matters(text: str) -> set[str]:
    """The other meanings of *text*, by unmistakable words."""
    found = (item for sentence in _sentences(text[:MAX_LENGTH]) for item in _find(sentence))
    return {item.kind for item in found if item.is_long} & {*_MATTERS, "missing"}


def mentions(text: str, kind: str) -> bool:
    """Whether *text*, up to :data:`MAX_LENGTH`, has a phrase of a *kind*: ``"captcha"`` …"""
    return any(found.kind == kind for found in _find(fold(text[:MAX_LENGTH])))


def _sentences(text: str) -> Iterator[str]:
    text = _QUESTION.sub(" ", _QUOTED.sub(_unless_it_is_a_name, text))
    yield from map(fold, _SENTENCE_ENDS.split(text))


def _unless_it_is_a_name(quotation: re.Match[str]) -> str:
    """The quoted text if it is the name of a field, but not if it is a sentence."""
    quoted = fold(quotation[0][1:-1])
    return " " if any(found.kind in _VERDICTS for found in _find(quoted)) else quoted


def _rejects(sentence: str, found: list[_Found], everything: list[_Found], about: About) -> bool:
    verdicts = [item for item in found if item.kind in _VERDICTS]
    languages = {"en", *(item.language for item in verdicts)}
    beside = (item for item in everything if item.kind in UNMISTAKABLE)
    if any(_contradicts(item, verdicts, languages, sentence) for item in (*found, *beside)):
        return False
    if about >= About.ITS_PLACE:
        return bool(verdicts)
    pairs = [
        (verdict, item)
        for verdict in verdicts
        for item in found
        if not (verdict.end <= item.start and _COMMA.search(sentence, verdict.end, item.start))
    ]
    is_named = any(item.kind == "captcha" for _, item in pairs)
    # "Wrong code, solve the captcha", but not: "Wrong code, enter the code from the picture".
    if is_named or any((item.kind, item.language) == ("captcha", "*") for item in found):
        return is_named
    # Also in another sentence: "The code is wrong. Check your e-mail."
    others = [item for item in everything if item.kind in _ANOTHERS and item.language in languages]
    if any(not any(map(item.is_part_of, found)) for item in others):
        return False
    code_languages = {
        item.language
        for verdict, item in pairs
        if (verdict.kind, item.kind) == ("wrong", "code") and verdict.language == item.language
    }
    if about >= About.ITS_PLACE_HAS_ONE:
        return bool(code_languages)
    return about >= About.ITS_ANSWER and not code_languages.isdisjoint(_ANSWER_FIRST)


def _contradicts(item: _Found, verdicts: list[_Found], languages: set[str], sentence: str) -> bool:
    """Whether a phrase gives the *verdicts* of a sentence in *languages* another meaning."""
    is_understood = item.language in languages
    if item.kind in _MATTERS:
        return is_understood or (item.kind in UNMISTAKABLE and item.is_long)
    if item.kind in ("right", "if"):
        # "is correct" in "is not correct" is part of the phrase for "wrong".
        return is_understood and not any(it.start <= item.start < it.end for it in verdicts)
    if item.kind != "missing" or not is_understood:
        return False
    spans = (sentence[min(item.start, it.start) : max(item.end, it.end)] for it in verdicts)
    # "not entered" in "not entered correctly" is part of the phrase for "wrong".
    ends = (sentence[item.end : it.end] for it in verdicts)
    return not (
        any(mentions(span, "or") for span in spans) or any(map(_A_FEW_WORDS.fullmatch, ends))
    )


def _find(text: str) -> list[_Found]:
    """Every phrase in folded *text*."""
    lexicon, lengths = _lexicon()
    found = []
    for start, letter in enumerate(text):
        if letter not in lengths or (start and _goes_on(text[start - 1], letter)):
            continue
        for length in lengths[letter]:
            end = start + length
            if end > len(text):
                break
            for phrase in lexicon.get(text[start:end], ()):
                if phrase.ends and end < len(text) and _goes_on(text[end], text[end - 1]):
                    continue
                if phrase.begins and text[:start].rstrip()[-1:].isalpha():
                    continue
                place = text.find(phrase.rest, end, end + _MAX_GAP)
                if place >= 0:
                    stop = place + len(phrase.rest)
                    found.append(_Found(start, stop, phrase.language, phrase.kind))
    return found


def _goes_on(one: str, other: str) -> bool:
    """Whether two letters that stand side by side belong to one word."""
    return one.isalpha() and other.isalpha() and one < _SPACELESS and other < _SPACELESS


_SPACELESS: Final = "\u0590"
"""Scripts from here on write words without spaces, or attach articles and prepositions to them."""


def phrases() -> Iterator[Phrase]:
    """Every phrase of every language. The file explains the kinds."""
    words = read_ini(__package__, "words.ini")
    for language in words.sections():
        for kind, texts in words[language].items():
            for phrase in texts.replace("\n", " ").split(","):
                text, rest = (fold(part).strip() for part in f"{phrase}…".split("…")[:2])
                begins, ends = text.startswith("^"), bool(rest) or text.endswith(".")
                yield Phrase(language, kind, text.strip("^."), begins, ends, rest.rstrip("."))


@cache
def _lexicon() -> tuple[dict[str, list[Phrase]], dict[str, list[int]]]:
    """The phrases by their text, and the lengths of texts by their first letter."""
    found: dict[str, list[Phrase]] = {}
    lengths: dict[str, set[int]] = {}
    for phrase in phrases():
        found.setdefault(phrase.text, []).append(phrase)
        lengths.setdefault(phrase.text[0], set()).add(len(phrase.text))
    return found, {letter: sorted(sizes) for letter, sizes in lengths.items()}
