"""How sites name what they show. ``names.ini`` has the names, and says what they mean."""

from __future__ import annotations

import re
from configparser import ConfigParser
from functools import cache
from importlib.resources import files
from typing import Final


def read_ini(package: str, name: str) -> ConfigParser:
    """The sections of a file of ours, in which ``%`` and ``:`` mean nothing."""
    parser = ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.read_string(files(package).joinpath(name).read_text(encoding="utf-8"))
    return parser


MAX_NAME: Final = 10_000
"""The most characters of a name, or of the names of an element, that are looked at."""

_NAMES: Final = read_ini(__package__, "names.ini")

SETS: Final = {name: frozenset(text.split()) for name, text in _NAMES["sets"].items()}


@cache
def regex(kind: str) -> re.Pattern[str]:
    """The regex of a *kind* of names: ``"captcha.field"`` …"""
    section, _, name = kind.partition(".")
    return re.compile("".join(_NAMES[section][name].split()))


def has_name(text: str, kind: str) -> bool:
    """Whether *text*, up to :data:`MAX_NAME`, has a name of a *kind*."""
    return regex(kind).search(text, 0, MAX_NAME) is not None
