"""Lists every message that the package can print: ``python tests/messages.py [FOLDER OR FILE…]``.

A message is a string that is not a docstring and reads as text (two words at least), or one that
is handed to the log, an exception, ``print`` or argparse. Values show as ``{}``.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "scrapy_capmonster_report"

_LOG: Final = {"debug", "info", "warning", "error", "critical", "exception", "log"}
_PRINTED: Final = {"print", "write", "add_column", "add_row", "add_argument", "add_parser"}
_TWO_WORDS: Final = re.compile(r"[a-z{][\w'`(){}-]*[,:;.]? [\w({'`]", re.IGNORECASE)
_IS_CODE: Final = re.compile(
    r"//|\[@|::|\\[sbwd]|\(\?|^\s*(?:SELECT|INSERT|DELETE|PRAGMA|[.#]\w)|=\$"
)


class Message(NamedTuple):
    """A message, and who says it: ``raise ValueError``, ``logger.info``, or ``text``."""

    path: Path
    line: int
    by: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: [{self.by}] {self.text}"


def messages(paths: Iterable[Path] = (PACKAGE,)) -> list[Message]:
    """Every message of the files in *paths*."""
    files = (file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    return [message for file in sorted(files) for message in _in_file(file)]


def _in_file(path: Path) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {(line, text): by for line, by, text in _walk(tree, "text")}
    for (line, text), by in sorted(found.items()):
        yield Message(path, line, by, text)


def _walk(node: ast.AST, by: str) -> Iterator[tuple[int, str, str]]:
    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
        by = f"raise {ast.unparse(node.exc.func)}"
    elif isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        if (last in _LOG and "logger" in name) or last in _PRINTED or last.endswith("Error"):
            by = name
    text = _text(node)
    if text is not None:
        if _TWO_WORDS.search(text) and not _IS_CODE.search(text):
            yield node.lineno, by, " ".join(text.split())  # type: ignore[attr-defined]
        if isinstance(node, ast.Constant):
            return
    for child in ast.iter_child_nodes(node):
        is_docstring = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
        if not is_docstring and not (isinstance(node, ast.JoinedStr) and _text(child) is not None):
            yield from _walk(child, by)


def _text(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
        )
    return None


if __name__ == "__main__":
    found = messages([Path(name).resolve() for name in sys.argv[1:]] or [PACKAGE])
    print(*found, sep="\n")
    print(f"{len(found)} messages", file=sys.stderr)
