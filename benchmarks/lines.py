"""How many lines of code each part of the package has: no blank lines, comments or docstrings.

``python benchmarks/lines.py`` prints a row for each part, and the files that are too long.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "scrapy_capmonster_report"
MAX_FILE_LINES = 350

_NOT_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """The number of lines of *source* on which there is code."""
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in _NOT_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def part_of(path: Path) -> str:
    """The folder below the package, or the module itself."""
    return path.relative_to(PACKAGE).parts[0]


def main() -> None:
    parts: Counter[str] = Counter()
    too_long = []
    files = sorted(PACKAGE.rglob("*.py"))
    for path in files:
        source = path.read_text(encoding="utf-8")
        parts[part_of(path)] += code_lines(source)
        if (lines := source.count("\n")) > MAX_FILE_LINES:
            too_long.append(f"{path.relative_to(PACKAGE)}: {lines} lines")
    for part, lines in sorted(parts.items(), key=lambda row: -row[1]):
        print(f"{lines:6,}  {part}")
    print(f"{sum(parts.values()):6,}  in {len(files)} modules")
    if too_long:
        sys.exit("Longer than it may be: " + ", ".join(too_long))


if __name__ == "__main__":
    main()
