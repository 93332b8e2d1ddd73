"""The project's Markdown: its blocks, tables, headings and links, to be compared."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent


class Block(NamedTuple):
    """A fenced block.

    Args:
        where: file and line, to be shown.
        language: what stands behind the fence.
        before: the line of text above it.
        text: what is in it.
    """

    where: str
    language: str
    before: str
    text: str


class Link(NamedTuple):
    """A link or a picture."""

    where: str
    target: str


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text with blanks for its blocks: everything else keeps its place."""
        return re.sub(
            r"^( *)```.*?^\1```", lambda m: re.sub(".", " ", m[0]), self.text, flags=re.M | re.S
        )

    def blocks(self, *languages: str) -> list[Block]:
        found = []
        for match in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```", self.text, re.M | re.S):
            indent, language, text = match.groups()
            if language in languages:
                above = self.text[: match.start()]
                where = f"{self.name}:{above.count(chr(10)) + 1}"
                before = above.strip().rpartition("\n")[2]
                plain = re.sub(f"^{indent}", "", text, flags=re.M)
                found.append(Block(where, language, before, plain))
        return found

    def sections(self, level: int = 2) -> dict[str, Document]:
        """The parts under headings of *level*, by their titles."""
        headings = re.finditer(rf"^(#{{1,{level}}}) (.+)\n", self.prose, re.M)
        marks = [(match[1], match[2], match.start(), match.end()) for match in headings]
        ends = [start for *_, start, _ in marks[1:]] + [len(self.text)]
        return {
            title: _Part(self.path, self.text[begin:end])
            for (mark, title, _, begin), end in zip(marks, ends, strict=True)
            if len(mark) == level
        }

    def rows(self) -> list[list[str]]:
        """The cells of the rows of all tables, but for their heads."""
        lines = self.prose.splitlines()
        rules = [
            number for number, line in enumerate(lines) if re.fullmatch(r" *\|[ :|-]+\|", line)
        ]
        rows = []
        for rule in rules:
            for line in lines[rule + 1 :]:
                if not line.lstrip().startswith("|"):
                    break
                rows.append([cell.strip() for cell in line.strip().strip("|").split(" |")])
        return rows

    def links(self) -> list[Link]:
        prose = re.sub(r"`[^`]*`", lambda match: " " * len(match[0]), self.prose)
        return [
            Link(f"{self.name}:{prose[: match.start()].count(chr(10)) + 1}", match[1])
            for match in re.finditer(r"\]\(([^)\s]+)\)", prose)
        ]

    def anchors(self) -> set[str]:
        """What a link to a heading may end in, as repositories and MyST make it."""
        titles = re.findall(r"^#+ (.+)$", self.prose, re.M)
        return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@dataclass(frozen=True)
class _Part(Document):
    """A part of a file, its lines counted from where it begins."""

    content: str = ""

    @property
    def text(self) -> str:  # type: ignore[override]
        return self.content


def codes(cell: str) -> list[str]:
    """What stands between backticks in *cell*."""
    return re.findall(r"`([^`]+)`", cell)


def document(name: str) -> Document:
    """The file *name*, a path from the root of the repository."""
    return Document(ROOT / name)


def _documents() -> dict[str, Document]:
    folders = (ROOT, ROOT / "docs", ROOT / "example_project", ROOT / "benchmarks")
    paths = sorted(path for folder in folders for path in folder.glob("*.md"))
    return {document.name: document for document in map(Document, paths)}


DOCUMENTS: Final = _documents()
"""Every file by its name."""
