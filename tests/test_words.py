"""One word for one thing, in messages, documentation, docstrings, comments and names.

A site *accepts* or *rejects* an answer. We *withhold* a report. CapMonster Cloud *accepts* or
*refuses* it. Delivery *drops* a report, or *keeps* it for the next crawl.
"""

from __future__ import annotations

import ast
import re
import tokenize
from typing import TYPE_CHECKING, Final

import pytest
from documents import DOCUMENTS, ROOT
from messages import PACKAGE, messages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORBIDDEN: Final = {
    # a site
    r"\bsites? (that |now |has |have )?(refus|turn|take)": "a site accepts or rejects an answer",
    r"\brefus(ed|es|ing) (captcha )?answer": "a site rejects an answer",
    r"\brefused by (the|a) (site|shop)": "a site rejects an answer",
    r"\brefusals?\b": "a rejection by a site; a report that CapMonster Cloud refused",
    r"\bturn(s|ed|ing)? (it |them )?down\b": "reject (a site), refuse (CapMonster Cloud)",
    # CapMonster Cloud, and us
    r"\b(CapMonster Cloud|the service) (reject|take|turn)": "CapMonster Cloud accepts or refuses",
    r"\bobject(s|ed)? to (the|a) report": "we withhold a report",
    # things of the code that have another name
    r"\b(trips?|traces?)\b": "attempt",
    r"\bsightings?\b": "submission",
    r"\bfates?\b": "status, outcome",
    r"\bjournals?\b": "buffer",
    r"\bunder way\b": "in flight",
    r"\bhopeless\b": "undeliverable",
    r"\bowed\b": "buffered",
    # the tone
    r"\b(whoever|whomever|whatever)\b": "name the one or the thing",
    r"\b(nobody|anybody|somebody)\b": "name the one, or say it without",
    r"\bfor it does\b": "because it does",
    r"(?<!there )(?<!There )\bis no (?!longer\b|more\b)": "is not a",
    r"(?<!there )(?<!There )\bare no (?!longer\b|more\b)": "are not",
    r"\bhears? (of|that|from)\b|\bheard of\b": "is told, notices, knows",
    r"\bwithout a word\b": "silently",
}
"""What must not be written, and what to write."""

NAMES: Final = re.compile(
    r"_*(trip|trace|departed|arrived|first_seen|home|journal|sighting|fate|owed|objection|said|coded"
    r"|hopeless|sleeping|circumstances|inheritance|Use|Refusal|Finish|Release|Rise|Share|Left)"
    r"|_*(MOST|LEAST|LONGEST|SHORTEST)_\w+"
)
"""Names that the code has other names for."""

IN_TEST_NAMES: Final = re.compile(
    r"(?:^|_)(refusals?|whatever|whoever|nobody|somebody|anybody|fates?|trips?|traces?|journals?"
    r"|turned_down|turns_down|heard_of|hears_of|under_way)(?:_|$)"
)


def _wrong(text: str) -> list[str]:
    found = (re.search(pattern, text, re.IGNORECASE) for pattern in FORBIDDEN)
    return [
        f"{match[0]!r}: {advice}"
        for match, advice in zip(found, FORBIDDEN.values(), strict=True)
        if match
    ]


def _modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path, ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("sentence", "is_wrong"),
    [
        ("shop.example: the site refused 3 answers", True),
        ("the site rejected 3 answers", False),
        ("CapMonster Cloud refused the report", False),
        ("CapMonster Cloud does not take reports; the service takes no key", True),
        ("7 is no list", True),
        ("there is no list, and it is no longer needed", False),
        ("the fate of each task", True),
        ("A traceback", False),
    ],
)
def test_what_is_found(sentence: str, is_wrong: bool) -> None:
    assert bool(_wrong(sentence)) is is_wrong


def test_messages() -> None:
    assert [(str(it), wrong) for it in messages() if (wrong := _wrong(it.text))] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_documentation(name: str) -> None:
    prose = re.sub(r"`[^`\n]*`", "`code`", DOCUMENTS[name].prose)
    paragraphs = (" ".join(paragraph.split()) for paragraph in prose.split("\n\n"))
    assert [(text[:80], wrong) for text in paragraphs if (wrong := _wrong(text))] == []


def test_docstrings_and_comments() -> None:
    found = []
    for path, tree in _modules():
        texts = [
            (node.lineno, node.value.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ]
        with path.open("rb") as file:
            tokens = tokenize.tokenize(file.readline)
            texts += [(it.start[0], it.string) for it in tokens if it.type == tokenize.COMMENT]
        for line, text in texts:
            if wrong := _wrong(re.sub(r"``[^`]*``", "``code``", text)):
                found.append(f"{path.relative_to(ROOT)}:{line}: {'; '.join(wrong)}")
    assert found == []


def test_names_in_the_package() -> None:
    found = set()
    for path, tree in _modules():
        for node in ast.walk(tree):
            name = getattr(node, "name", None) or getattr(node, "arg", None)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                name = node.id
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                name = node.attr
            if isinstance(name, str) and NAMES.fullmatch(name):
                found.add(f"{path.relative_to(ROOT)}: {name}")
    assert found == set()


def test_names_of_tests() -> None:
    found = [
        f"{path.name}: {name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
        if IN_TEST_NAMES.search(name)
    ]
    assert found == []
