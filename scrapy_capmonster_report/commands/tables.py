"""Tables on a terminal, of values that strangers wrote."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn

from rich.console import Console
from rich.text import Text

from scrapy_capmonster_report.rules.snippets import cut

from .options import one_line

_WIDTH = 140
"""Columns, where there is no terminal to say how many it has."""


def output() -> Console:
    """The console on standard output; characters that it does not know are escaped."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    console = _Console()
    return console if console.is_terminal else _Console(width=_WIDTH)


def cell(value: str, style: str = "") -> Text:
    """*value* as it is: no markup, and nothing that a terminal would obey."""
    return Text(one_line(value), style=style, overflow="fold")


def shortened(value: Any) -> str:
    """The *value* of a condition as JSON, as much of it as a table has room for."""
    return cut(json.dumps(value, ensure_ascii=False))


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would exit with 1, which is an answer here; the command knows what to do.
        raise BrokenPipeError
