"""The words of messages about captcha answers, read from ``words.ini`` when needed."""

from __future__ import annotations

from configparser import ConfigParser
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Phrase(NamedTuple):
    """Words of one kind in one language, from ``words.ini``."""

    language: str
    kind: str
    text: str


@cache
def phrases() -> tuple[Phrase, ...]:
    """Every phrase of every language. The file explains the kinds."""
    return tuple(_read())


def _read() -> Iterator[Phrase]:
    words = ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    words.read_string(files(__package__).joinpath("words.ini").read_text(encoding="utf-8"))
    for language in words.sections():
        for kind, text in words[language].items():
            for phrase in text.replace("\n", " ").split(","):
                yield Phrase(language, kind, phrase.strip())
