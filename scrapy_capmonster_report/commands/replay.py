"""``scrapy capmonster replay``: tries the rules on many saved pages."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import UsageError

from . import cli
from .pages import PageReader
from .sources import REFUSED, Source

if TYPE_CHECKING:
    import argparse

    from ..rules import Rule, Rules
    from . import Command
    from .screen import Screen

_MAX_ROWS: Final = 50
"""How many pages a table names. ``--json`` names them all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = (
        "folder of saved pages, or HTTP cache (folder or .db file). Pages under refused/ must "
        "match, under accepted/ must not: if one is wrong or cannot be told, the exit code is 1"
    )
    parser.add_argument("source", metavar="SOURCE", type=cli.a_path, help=text)
    cli.add_json_argument(parser)
    cli.add_rule_arguments(parser)
    cli.add_page_arguments(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    rules, _ = cli.rules_and_settings(command, args)
    source = Source(args.source, PageReader(args))
    result = replay(source, rules)
    if not result["responses"]:
        more = f"; skipped: {', '.join(source.skipped[:5])}" if source.skipped else ""
        raise UsageError(f"{source.path} has no saved pages and is not an HTTP cache{more}")
    cli.print_result(args, result, partial(_show, source, rules))
    untold = any(source.expectation(page["source"]) for page in result["undecided"])
    return 1 if result["wrong"] or untold else 0


def replay(source: Source, rules: Rules) -> dict[str, Any]:
    """The results of the rules for the pages of *source*, as ``--json`` prints them."""
    responses = 0
    matches, wrong, undecided = [], [], []
    failed: dict[str, Exception] = {}

    def on_error(rule: Rule, error: Exception) -> None:
        failed.setdefault(rule.name, error)

    for page in cli.with_progress(source):
        responses += 1
        rule, missing = rules.match_known(page, on_error)
        cli.warn_if_too_large(page)
        if missing:
            undecided.append({"source": page.source, "missing": missing})
            continue
        name = rule and rule.name
        if rule:
            matches.append({"source": page.source, "rule": name})
        expected = source.expectation(page.source)
        if expected and (expected == REFUSED) is not (rule is not None):
            wrong.append({"source": page.source, "expected": expected, "rule": name})
    for name, error in failed.items():
        cli.warn(f"the callback of {name!r} failed: {type(error).__name__}: {error}")
    return {
        "responses": responses,
        "rejected": len(matches),
        "by_rule": Counter(match["rule"] for match in matches),
        "matches": matches,
        "wrong": wrong,
        "undecided": undecided,
        "skipped": source.skipped,
    }


def _show(source: Source, rules: Rules, screen: Screen, result: dict[str, Any]) -> None:
    undecided = [(page["source"], ", ".join(page["missing"])) for page in result["undecided"]]
    counts = {rule.name: result["by_rule"][rule.name] for rule in rules}
    counts["(no rule)"] = result["responses"] - result["rejected"] - len(undecided)
    wrong = [(page["source"], page["expected"], page["rule"] or "none") for page in result["wrong"]]
    for headings, rows in (
        (("rule", "responses"), [(name, str(count)) for name, count in counts.items()]),
        (("matches", "rule"), [(page["source"], page["rule"]) for page in result["matches"]]),
        (("wrong", "expected", "rule"), wrong),
        (("cannot be told", "not known"), undecided),
        (("skipped",), [(source,) for source in result["skipped"]]),
    ):
        if rows:
            screen.table(headings, rows[:_MAX_ROWS])
        if len(rows) > _MAX_ROWS:
            screen.line(f"… and {len(rows) - _MAX_ROWS} more; --json lists them all")
    totals = [f"{result['rejected']} rejected", f"{len(undecided)} cannot be told"]
    if source.expects:
        totals.insert(1, f"{len(wrong)} wrong")
    totals.append(_counted(len(result["skipped"]), "file") + " skipped")
    screen.line(f"{_counted(result['responses'], 'response')}: {', '.join(totals)}")
    if not source.expects:
        screen.line("No page is under refused/ or accepted/, so nothing was expected of any.")


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
