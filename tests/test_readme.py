"""The README: short, its commands one line each, its settings and figures those of the project."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from documents import ROOT, document
from scrapy.settings import Settings
from support import CLIENT_KEY

from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.settings import ReportSettings

README = document("README.md")


def assigned(name: str) -> list[Any]:
    """The values that the README's Python assigns to *name*."""
    return [
        ast.literal_eval(statement.value)
        for block in README.blocks("python")
        for statement in ast.parse(block.text).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name
    ]


def test_its_two_commands_are_one_line_each() -> None:
    run, test = README.blocks("sh")[:2]
    assert run.text.count("\n") == test.text.count("\n") == 1
    assert "example_project/run.py" in run.text
    assert test.text.endswith("/tox run -q -e py\n")


@pytest.mark.parametrize("rules", assigned("CAPMONSTER_REPORT_RULES"))
def test_its_rules_are_rules(rules: list[dict[str, Any]]) -> None:
    settings = Settings({"CAPMONSTER_CLIENT_KEY": CLIENT_KEY, "CAPMONSTER_REPORT_RULES": rules})
    assert len(compile_rules(ReportSettings.from_settings(settings, {}).rules)) == len(rules)


def test_its_rules_show_how_and_switching_on_needs_few_lines() -> None:
    assert [len(rules) for rules in assigned("CAPMONSTER_REPORT_RULES")] == [1, 3]
    assert len(README.blocks("python")[0].text.splitlines()) <= 5


def test_it_is_short_and_leads_on_to_every_page() -> None:
    assert len(README.text.splitlines()) <= 160
    targets = {link.target for link in README.links()}
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
    assert pages - targets <= {"docs/index.md", "docs/changelog.md"}


def test_its_figures_are_those_that_were_measured() -> None:
    figures = document("benchmarks/README.md").sections()["As measured"].rows()
    measured = [[what, against, figure] for what, against, _, figure, *_ in figures]
    quoted = README.sections()["Speed"].rows()
    assert len(quoted) == 3
    assert [row for row in quoted if row not in measured] == []
