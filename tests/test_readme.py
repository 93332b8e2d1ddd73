"""What the README shows is what the package does."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from scrapy.settings import Settings
from support import CLIENT_KEY

from scrapy_capmonster_report.outcome import Outcome
from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.conditions import CONDITIONS
from scrapy_capmonster_report.settings import DEFAULTS, ReportSettings

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the tables in a section, but for their heads."""
    lines = [line for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall("`(.+?)`", cell)


def assigned(name: str) -> list[Any]:
    """The values that the README's Python assigns to *name*."""
    return [
        ast.literal_eval(statement.value)
        for block in blocks("python")
        for statement in ast.parse(block).body
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == name
    ]


def test_its_two_commands_are_one_line_each() -> None:
    run, test = blocks("sh")[:2]
    assert run.count("\n") == test.count("\n") == 1


@pytest.mark.parametrize("rules", assigned("CAPMONSTER_REPORT_RULES"))
def test_its_rules_are_rules(rules: list[dict[str, Any]]) -> None:
    settings = Settings({"CAPMONSTER_CLIENT_KEY": CLIENT_KEY, "CAPMONSTER_REPORT_RULES": rules})
    assert len(compile_rules(ReportSettings.from_settings(settings, {}).rules)) == len(rules)


def test_its_rules_show_how_and_switching_on_needs_few_lines() -> None:
    assert [len(rules) for rules in assigned("CAPMONSTER_REPORT_RULES")] == [1, 3]
    assert len(blocks("python")[0].splitlines()) <= 5


def test_it_names_every_condition() -> None:
    assert {name for row in rows("Rules") for name in names(row[0])} == {*CONDITIONS, "unless"}


def test_it_names_every_setting_with_its_default() -> None:
    found = {names(row[0])[0]: row[1].strip("`") for row in rows("Settings")}
    assert found.keys() == DEFAULTS.keys()
    assert {name: ast.literal_eval(value or "None") for name, value in found.items()} == DEFAULTS


def test_it_names_every_outcome() -> None:
    found = set()
    for stats, meaning in rows("Stats"):
        for stat in names(stats):
            found |= {stat.replace("{reason}", reason) for reason in (*names(meaning), "")}
    assert {outcome.value for outcome in Outcome} <= found
