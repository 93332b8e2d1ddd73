"""What stands in the tables of the documentation is what stands in the code."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import pytest
from documents import ROOT, Document, codes, document
from scrapy.settings.default_settings import DOWNLOADER_MIDDLEWARES_BASE

import scrapy_capmonster_report
from scrapy_capmonster_report import attempts, commands, signals, stats, task
from scrapy_capmonster_report.addon import MIDDLEWARE_ORDER
from scrapy_capmonster_report.clients import solve_captcha
from scrapy_capmonster_report.delivery.answer import ERROR_CODES
from scrapy_capmonster_report.delivery.client import ENDPOINTS
from scrapy_capmonster_report.insight import watch
from scrapy_capmonster_report.outcome import Outcome
from scrapy_capmonster_report.rules.compile import _LABELS, CONDITIONS
from scrapy_capmonster_report.settings import DEFAULTS
from scrapy_capmonster_report.simulator import Simulator
from scrapy_capmonster_report.task import TASK_TYPES, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType


PACKAGE: Final = scrapy_capmonster_report.__name__
REFERENCE: Final = document("docs/reference.md").sections()
DELIVERY: Final = document("docs/delivery.md")

SCRAPYS_META: Final = {
    *("retry_times", "redirect_urls", "redirect_times", "redirect_ttl", "dont_redirect"),
    *(
        "download_latency",
        "proxy",
        "allow_offsite",
        "handle_httpstatus_list",
        "handle_httpstatus_all",
    ),
    "download_slot",
}

TIMES: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 24 * 3600}


SOURCES: Final = {
    path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / PACKAGE).rglob("*.py"))
}
"""Every module of the package, parsed: some need an extra to be imported."""


def nodes() -> Iterator[ast.AST]:
    """All that the package is written of."""
    return (node for tree in SOURCES.values() for node in ast.walk(tree))


def constants(module: ModuleType) -> set[str]:
    """The values of a module's public constants that are text."""
    return {
        value
        for name, value in vars(module).items()
        if name.isupper() and not name.startswith("_") and type(value) is str
    }


def first_codes(section: Document) -> list[str]:
    """What stands in the first cell of each row."""
    return [codes(row[0])[0] for row in section.rows()]


# -- the reference ---------------------------------------------------------------------------------


def test_the_reference_has_every_setting_with_its_default() -> None:
    rows = REFERENCE["Settings"].rows()
    assert {codes(name)[0]: ast.literal_eval(codes(default)[0]) for name, default, _ in rows} == (
        DEFAULTS
    )


def test_the_code_reads_no_other_setting() -> None:
    read = {
        name
        for node in nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for name in re.findall(r"\bCAPMONSTER_[A-Z_]+\b", node.value)
    }
    assert read == DEFAULTS.keys()


def test_the_reference_has_every_meta_key() -> None:
    ours = constants(task) | {attempts.ATTEMPT}
    assert sorted(first_codes(REFERENCE["Meta keys"])) == sorted(ours)


def test_the_code_uses_no_other_meta_key() -> None:
    used = {
        key.value
        for path, tree in SOURCES.items()
        if not path.endswith("commands/pages.py")  # where it is what a saved page does not say
        for node in ast.walk(tree)
        for key in _meta_keys(node)
        if isinstance(key, ast.Constant)
    }
    assert used <= SCRAPYS_META


def _meta_keys(node: ast.AST) -> list[ast.expr]:
    """The keys with which *node* asks something called ``meta``."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("meta"):
        return [node.slice]
    if isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith("meta"):
        return [node.left]
    if isinstance(node, ast.Call) and re.search(r"meta\.\w+$", ast.unparse(node.func)):
        return node.args[:1]
    return []


def test_the_reference_has_every_rule_key() -> None:
    assert first_codes(REFERENCE["Rule keys"]) != []
    assert sorted(first_codes(REFERENCE["Rule keys"])) == sorted([*_LABELS, *CONDITIONS])


def test_the_reference_has_every_stat() -> None:
    counted = constants(stats) - {stats.PREFIX} | {outcome.value for outcome in Outcome}
    assert sorted(first_codes(REFERENCE["Stats"])) == sorted(counted)


def test_nothing_is_counted_but_what_has_a_name_there() -> None:
    literal = [
        f"{path}:{node.lineno}"
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("count", "inc_value", "set_value", "max_value")
        and "stats" in ast.unparse(node.func.value).lower()
        and isinstance(node.args[0], (ast.Constant, ast.JoinedStr))
    ]
    assert literal == []


def test_the_reference_has_every_signal_with_its_arguments() -> None:
    sent: dict[str, list[str]] = {}
    for node in nodes():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self._context.send":
            name = ast.unparse(node.args[0]).removeprefix("signals.")
            sent[name] = [*(str(keyword.arg) for keyword in node.keywords), "spider"]
    assert sent.keys() == {name for name, value in vars(signals).items() if type(value) is object}
    rows = REFERENCE["Signals"].rows()
    assert {codes(name)[0]: codes(arguments) for name, arguments, _ in rows} == sent


COMMANDS: Final = {
    title: part
    for title, part in document("docs/reference.md").sections(3).items()
    if any("`--" in row[0] for row in part.rows())
}


def test_the_reference_has_every_command() -> None:
    assert sorted(COMMANDS) == sorted(commands.COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_has_every_argument_of_a_command(name: str) -> None:
    parser = argparse.ArgumentParser(add_help=False)
    commands.subcommand(name).add_arguments(parser)
    taken = {
        (action.option_strings or [str(action.metavar)])[0]: action.default
        for action in parser._actions
    }
    written = {
        codes(argument)[0].split()[0]: ast.literal_eval((codes(default) or ["None"])[0])
        for argument, default, _ in COMMANDS[name].rows()
    }
    assert written == taken


# -- other tables ----------------------------------------------------------------------------------


def test_every_outcome_is_explained() -> None:
    reasons = [o.reason for o in Outcome if o.group == "withheld"]
    assert sorted(reasons) == sorted(
        title for title in document("docs/fairness.md").sections() if title.islower()
    )
    failures = {
        code for row in DELIVERY.sections()["What each failure does"].rows() for code in row
    }
    ends = {code for cell in failures for code in codes(cell)}
    assert {o.value for o in Outcome if o.group != "withheld"} <= ends


def test_every_error_code_has_its_row() -> None:
    rows = DELIVERY.sections(3)["Error codes"].rows()
    listed = [codes(code)[0] for code, _ in rows if codes(code) and code != "any other"]
    assert sorted(listed) == sorted(ERROR_CODES)


def test_rows_of_error_codes_that_ask_for_the_same_say_the_same() -> None:
    rows = DELIVERY.sections(3)["Error codes"].rows()
    said = {(ERROR_CODES[codes(code)[0]].verdict, what) for code, what in rows if codes(code)}
    assert len(said) == len({verdict for verdict, _ in said}) == len({what for _, what in said})


def test_every_kind_has_its_endpoint() -> None:
    rows = DELIVERY.sections()["How a report is sent"].rows()
    assert {codes(kind)[0]: codes(endpoint)[0] for kind, endpoint, _ in rows} == {
        kind.value: endpoint for kind, endpoint in ENDPOINTS.items()
    }


def test_every_known_lifetime_has_its_row() -> None:
    rows = [row for row in document("docs/fairness.md").sections()["stale"].rows() if len(row) == 2]
    written = {
        name.lower(): float(time.split()[0]) for names, time in rows for name in codes(names)
    }
    known = {name.lower(): kind.lifetime for name, kind in TASK_TYPES.items() if kind.lifetime}
    assert written == known


def test_the_places_to_change_are_where_contributing_says() -> None:
    for _, change, _ in document("CONTRIBUTING.md").sections()["Where to add what"].rows():
        named = codes(change)
        paths = [
            next(path for path in (ROOT / PACKAGE / it, ROOT / it) if path.exists())
            for it in named
            if re.search(r"[/.]", it)
        ]
        text = "".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())
        assert [it for it in named if not re.search(r"[/.]", it) and it not in text] == []


def test_the_modules_use_each_other_as_it_is_drawn() -> None:
    values, others = [], {}
    for row in document("docs/internals.md").sections()["The modules"].rows():
        if len(row) == 2:
            values += codes(row[0])
        else:
            others[codes(row[0])[0]] = set(codes(row[2]))
    uses: dict[str, set[str]] = {}
    for path, tree in SOURCES.items():
        inside = path.removesuffix(".py").split("/")
        if len(inside) > 2 or inside[1] != "__init__":
            uses.setdefault(inside[1], set()).update(_used(tree, inside[:-1]))
    assert uses.keys() == {*values, *others}
    assert {name: uses[name] - {name, *values} for name in others} == others
    assert set().union(*(uses[name] for name in values)) <= set(values)


def _used(tree: ast.Module, package: list[str]) -> Iterator[str]:
    """The modules at the top of ours of which a module in *package* imports something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            path = [*above, *(node.module or "").split(".")]
            if path[0] == PACKAGE:
                inside = [name for name in path[1:] if name]
                yield from inside[:1] or [alias.name for alias in node.names]


@pytest.mark.parametrize(
    ("figure", "constant"),
    [row[1:] for row in DELIVERY.sections()["How long, how much"].rows()],
)
def test_figures_are_those_of_the_code(figure: str, constant: str) -> None:
    module, _, name = codes(constant)[0].rpartition(".")
    value = getattr(import_module(f"{PACKAGE}.{module}"), name)
    number, unit = re.fullmatch(r"([\d,.]+) (\w+?)s?", figure).groups()  # type: ignore[union-attr]
    counted_in = 24 * 3600 if name.endswith("_DAYS") else 1
    assert float(number.replace(",", "")) * TIMES.get(unit, 1) == value * counted_in


def _texts() -> dict[str, str]:
    """The package's constants that are text, by their names."""
    assigned = [node for node in nodes() if isinstance(node, (ast.Assign, ast.AnnAssign))]
    return {
        ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target): (
            node.value.value
        )
        for node in assigned
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if ast.unparse(node).partition("=")[0].partition(":")[0].strip().isupper()
    }


def _said(node: ast.AST, texts: Mapping[str, str]) -> str:
    """The text in *node*, with … for what is known only when it is said."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[-+\d.]*[a-z]", "…", node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part, texts) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return texts.get(ast.unparse(node.value), "…")
    return ""


def test_the_messages_under_troubleshooting_are_those_of_the_code() -> None:
    rows = document("docs/troubleshooting.md").rows()
    symptoms = [code for row in rows for code in codes(row[0]) if code.count(" ") > 2]
    texts = _texts()
    said = {_said(node, texts) for node in nodes()}
    assert symptoms
    assert [text for text in symptoms if not any(text in message for message in said)] == []


# -- the Python API --------------------------------------------------------------------------------

API: Final = document("docs/api.md").sections()


@pytest.mark.parametrize(
    ("title", "function"),
    [
        ("captcha_meta", scrapy_capmonster_report.captcha_meta),
        ("reject, accept", scrapy_capmonster_report.reject),
        ("solve_captcha", solve_captcha),
        ("Task", Task),
        ("Simulator", Simulator),
    ],
)
def test_the_api_has_every_argument(title: str, function: Callable[..., Any]) -> None:
    arguments = inspect.signature(function).parameters
    rows = API[title].rows()
    written = first_codes(API[title])
    assert set(written) <= arguments.keys()
    assert arguments.keys() - set(written) <= {"log", "clock", "reactor"}, "those are for tests"
    for row in rows:
        if row[1].startswith("`") and title == "Simulator":
            default = arguments[codes(row[0])[0]].default
            assert ast.literal_eval(codes(row[1])[0]) == default


def test_the_api_has_every_outcome() -> None:
    written = {codes(member)[0]: codes(value)[0] for member, value in API["Outcome"].rows()}
    assert written == {outcome.name: outcome.value for outcome in Outcome}


def test_the_api_has_everything_that_the_package_exports() -> None:
    titles = {name for title in API for name in title.split(", ")}
    elsewhere = {"Addon", "CapMonsterReportMiddleware", "signals"}
    assert set(scrapy_capmonster_report.__all__) - elsewhere <= titles


# -- where the middleware stands -------------------------------------------------------------------


def test_scrapys_middlewares_stand_where_it_is_said() -> None:
    orders = {path.rpartition(".")[2]: n for path, n in DOWNLOADER_MIDDLEWARES_BASE.items()}
    orders["CapMonsterReportMiddleware"] = MIDDLEWARE_ORDER
    rows = document("docs/where-it-stands.md").rows()
    written = [int(order.strip("*")) for order, *_ in rows]
    assert written == sorted(written, reverse=True)
    assert written == [orders[codes(name)[0]] for _, name, _ in rows]


# -- insight ---------------------------------------------------------------------------------------


def test_the_limits_of_alerts_are_those_of_the_code() -> None:
    text = " ".join(document("docs/insight.md").text.split())
    for said in (
        f"rejects {watch.STREAK} answers in a row",
        f"from {watch.STREAK_AT_CLOSE} in a row",
        f"no alert before {watch.MIN_BEFORE + watch.WINDOWS[0]} answers",
        f"({watch.MIN_BEFORE} to know the usual rate, {watch.WINDOWS[0]} to see a change)",
        f"{', '.join(map(str, watch.WINDOWS[:-1]))} and {watch.WINDOWS[-1]} answers",
    ):
        assert said in text
