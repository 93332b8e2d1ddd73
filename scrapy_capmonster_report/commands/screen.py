"""What people read: lines and tables, on a terminal or in a pipe."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Cell = str | tuple[str, str]
    """A text, or a text and its style."""


_MIN_NAME_WIDTH = 20
"""How wide the column of names is at least, if there are names so long."""


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

    def columns(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows of a name and numbers, and between them rows of a text alone.

        Nothing is cut or wrapped, so that all numbers can be read, and lines be searched. A name
        that leaves the numbers no room is on a line of its own.
        """
        # Not a table of Rich: that takes ten seconds for 5,000 sites.
        columns = zip(*(row for row in rows if len(row) > 1), strict=True)
        longest, *widths = (max(map(cell_len, column)) for column in columns)
        left = self._console.width - sum(widths) - len(widths)
        room = max(_MIN_NAME_WIDTH, min(longest, left))
        for name, *numbers in rows:
            text = one_line(name)
            if numbers and cell_len(text) > room:
                print(text)
                text = ""
            cells = (f" {cell:>{width}}" for cell, width in zip(numbers, widths, strict=False))
            print((text + " " * (room - cell_len(text)) + "".join(cells)).rstrip())


def _plain(cell: Cell) -> Text:
    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(one_line(text), style=style, overflow="fold")


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would exit with 1, which means "no" here. The caller handles it.
        raise BrokenPipeError
