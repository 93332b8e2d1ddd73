"""How sites name what they show. ``names.ini`` has the names, and says what they mean."""

from __future__ import annotations

import re
from configparser import ConfigParser
from importlib.resources import files
from typing import Final


def read_ini(package: str, name: str) -> ConfigParser:
    """The sections of a file of ours, in which ``%`` and ``:`` mean nothing."""
    parser = ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.read_string(files(package).joinpath(name).read_text(encoding="utf-8"))
    return parser


class _Regexes(dict[str, "re.Pattern[str]"]):
    """The regexes by ``"section.name"``, each compiled when it is first used."""

    def __missing__(self, kind: str) -> re.Pattern[str]:
        section, _, name = kind.partition(".")
        self[kind] = regex = re.compile("".join(_NAMES[section][name].split()))
        return regex


_NAMES: Final = read_ini(__package__, "names.ini")

SETS: Final = {name: frozenset(text.split()) for name, text in _NAMES["sets"].items()}
REGEXES: Final = _Regexes()


def is_like(text: str, kind: str) -> bool:
    """Whether *text* has a name of a *kind*: ``"captcha.field"`` …"""
    return REGEXES[kind].search(text) is not None
