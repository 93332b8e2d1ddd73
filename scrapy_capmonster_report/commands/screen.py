"""What people read: lines and tables, on a terminal or in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn, TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from ..text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Cell = str | tuple[str, str]
    """A text, or a text and its style."""


_T = TypeVar("_T")

_MIN_WIDTH = 72
"""Columns of numbers are printed this wide at least."""


class Screen:
    """Standard output. Texts have no markup; control characters in them are left out.

    Characters that it cannot encode are escaped.
    """

    def __init__(self) -> None:
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="backslashreplace")
        self._console = _Console(highlight=False)

    def line(self, text: str, style: str = "") -> None:
        """Print *text* on one line of any length."""
        self._console.print(_plain((text, style)), soft_wrap=True)

    def table(self, headings: Sequence[str], *groups: Iterable[Sequence[Cell]]) -> None:
        """Print the rows of some groups, with a line between the groups."""
        table = Table(*headings)
        for rows in groups:
            for row in rows:
                table.add_row(*map(_plain, row))
            table.add_section()
        self._console.print(table)

    def columns(
        self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False
    ) -> None:
        """Print rows without lines between them. All but the first column may be *numbers*.

        Numbers are never cut: on a narrow terminal, their lines are longer than it is wide.
        """
        is_narrow = numbers and self._console.width < _MIN_WIDTH
        width = _MIN_WIDTH if is_narrow else None
        table = Table(headings[0], box=None, padding=(0, 1, 0, 0), width=width)
        for heading in headings[1:]:
            table.add_column(heading, justify="right" if numbers else "left", no_wrap=numbers)
        for row in rows:
            table.add_row(*map(_plain, row))
        self._console.print(table, crop=False)


def progress(pages: Iterable[_T]) -> Iterable[_T]:
    """Pass on *pages*, with a progress bar on standard error."""
    return track(pages, "pages", console=Console(stderr=True), transient=True)


def _plain(cell: Cell) -> Text:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(one_line(text), style=style, overflow="fold")


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would exit with 1, which means "no" here. The caller handles it.
        raise BrokenPipeError
