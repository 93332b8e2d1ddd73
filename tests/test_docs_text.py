"""The documentation's blocks run, its links lead somewhere, and it names what there is."""

from __future__ import annotations

import argparse
import ast
import json
import re
import shlex
import sys
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import MagicMock

import pytest
from documents import DOCUMENTS, ROOT, Document, document
from scrapy import Spider
from scrapy.settings import Settings
from support import CLIENT_KEY

from scrapy_capmonster_report import commands
from scrapy_capmonster_report.commands import Command
from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.settings import DEFAULTS, ReportSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from documents import Block

NOT_INSTALLED: Final = {
    *("anticaptchaofficial", "capmonster_python", "capmonstercloudclient", "capsolver"),
    *("python3_anticaptcha", "python_anticaptcha", "scrapy_playwright"),
}
"""What an environment that runs all tests need not have; a block gets a stand-in for it."""


def blocks(*languages: str) -> Any:
    found = [block for name in DOCUMENTS for block in DOCUMENTS[name].blocks(*languages)]
    return pytest.mark.parametrize("block", found, ids=[block.where for block in found])


def _imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str]]:
    """The import statements, and the modules that they name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node, node.module
        elif isinstance(node, ast.Import):
            yield node, node.names[0].name


def _is_fragment(tree: ast.Module) -> bool:
    """Whether the block is part of a function: it yields or awaits."""
    return any(
        isinstance(node, (ast.Yield, ast.Await, ast.Return))
        for statement in tree.body
        if not isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        for node in ast.walk(statement)
    )


def _read(settings: Mapping[str, Any], spider: Spider | None = None) -> None:
    ours = {name: value for name, value in settings.items() if name.startswith("CAPMONSTER_")}
    assert ours.keys() <= DEFAULTS.keys()
    if ours:
        defaults = {"CAPMONSTER_CLIENT_KEY": CLIENT_KEY, "CAPMONSTER_REPORT_RULES": ["turnstile"]}
        read = ReportSettings.from_settings(Settings({**defaults, **ours}), {})
        rules = compile_rules(read.rules, spider=spider)
        assert len(rules) > 0 or not rules.judges


@blocks("python")
def test_python_runs_and_its_settings_are_settings(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPMONSTER_CLIENT_KEY", CLIENT_KEY)
    monkeypatch.setenv("CAPMONSTER_API_URL", "http://127.0.0.1:8025")
    tree = ast.parse(block.text)
    for _, module in _imports(tree):
        if module.partition(".")[0] in NOT_INSTALLED:
            for name in accumulate(module.split("."), "{}.{}".format):
                monkeypatch.setitem(sys.modules, name, MagicMock())
    if _is_fragment(tree):
        body = "".join(f"    {line}" for line in block.text.splitlines(keepends=True))
        compile(f"async def callback(self, response):\n{body}", block.where, "exec")
        tree = ast.Module([node for node, _ in _imports(tree)], [])
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(tree, block.where, "exec"), namespace)
    _read({name: value for name, value in namespace.items() if name.isupper()})
    for value in namespace.values():
        if isinstance(value, type) and issubclass(value, Spider) and value is not Spider:
            _read(value.custom_settings or {}, value())


@blocks("json")
def test_json_is_json(block: Block) -> None:
    assert json.loads(block.text)


@blocks("sh", "console")
def test_commands_accept_the_arguments_in_the_examples(block: Block) -> None:
    command = Command()
    command.settings = Settings()
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    for line in block.text.splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[1:2] == ["capmonster"]:
            assert parser.parse_args(words[2:]).subcommand in commands.COMMANDS
        _read(
            dict(
                re.findall(r"\b(CAPMONSTER_\w+)=(.+)", word)[0]
                for word in words
                if "=" in word and re.search(r"\bCAPMONSTER_\w+=", word)
            )
        )


# -- links and names -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    broken = [link for link in DOCUMENTS[name].links() if not _resolves(name, link.target)]
    assert broken == []


def _resolves(name: str, target: str) -> bool:
    if target.startswith("https://"):
        return True
    path, _, anchor = target.partition("#")
    file = (ROOT / name).parent / path if path else ROOT / name
    return file.exists() and (not anchor or anchor in Document(file.resolve()).anchors())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_setting_it_names_is_one(name: str) -> None:
    named = set(re.findall(r"\bCAPMONSTER_[A-Z_]+\b", DOCUMENTS[name].text))
    assert named <= DEFAULTS.keys()


def test_the_first_page_leads_to_every_page() -> None:
    index = document("docs/index.md")
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    listed = {
        line.rpartition("<")[2].strip(">")
        for block in re.findall(r"```\{toctree\}\n(.*?)```", index.text, re.S)
        for line in block.splitlines()
        if line and not line.startswith(":")
    }
    assert listed == pages
