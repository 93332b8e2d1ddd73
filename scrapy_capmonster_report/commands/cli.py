"""What the commands share: options, the project and its rules, and output."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.text import Text
from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import NotConfigured, UsageError
from scrapy.utils.misc import load_object

from ..rules import SETTING, RuleError, Rules, compile_rules, read_rules
from ..rules.snippets import truncate
from ..settings import CLIENT_KEY, RULES, ReportSettings
from ..text import one_line

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings, Settings

    from . import Command


# -- arguments -------------------------------------------------------------------------------------


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the rules."""
    parser.add_argument(
        "--rules",
        metavar="FILE.json",
        type=a_path,
        help=f"the rules in this file instead of the project's {SETTING}",
    )
    parser.add_argument(
        "--preset",
        metavar="NAME",
        action="append",
        default=[],
        help=f"this preset instead of the project's {SETTING}; may be repeated",
    )
    add_spider_argument(parser)


def add_spider_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that says whose settings to work with."""
    parser.add_argument(
        "--spider",
        metavar="NAME",
        help="with the custom_settings of this spider; callbacks may name its methods",
    )


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for what saved pages do not say."""
    group = parser.add_argument_group("for saved pages without a .meta.json")
    group.add_argument("--url", help="the URL of the response")
    group.add_argument("--status", metavar="N", type=int, help="its status")
    group.add_argument("--method", metavar="NAME", help="the request's method")
    group.add_argument(
        "--header",
        metavar="NAME:VALUE",
        dest="headers",
        type=_header,
        action="append",
        help="a header of the response; may be repeated",
    )


def not_empty(text: str) -> str:
    """*text*, for ``argparse``; ``""``, perhaps from an unset variable, is an error."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def a_path(text: str) -> Path:
    """The path that *text* names, for ``argparse``; ``Path("")`` would be the current folder."""
    return Path(not_empty(text))


def _header(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([^\s:]+):\s*(.*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME:VALUE")
    return match[1], match[2]


# -- the project -----------------------------------------------------------------------------------


def rules_and_settings(command: Command, args: argparse.Namespace) -> tuple[Rules, Settings]:
    """The rules, and the settings of the project or of the spider.

    The settings are those before addons change them, as in a crawl.

    Raises:
        UsageError: there are no rules, or the rules or settings are invalid.
    """
    crawler = crawler_of(command, args.spider)
    spider = spider_of(crawler) if args.spider else None
    settings = crawler.settings.copy()
    rules = rules_named(args, spider)
    if rules is None:
        load_addons(crawler)
        try:
            rules = compile_rules(crawler.settings.get(SETTING), spider=spider)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if not rules.judges:
        raise UsageError(
            "the rule set 'callbacks' judges no page; give --rules FILE.json or --preset NAME."
        )
    if not rules:
        raise UsageError(
            f"there are no rules. Set {SETTING} in a project, or give --rules FILE.json or "
            "--preset NAME."
        )
    return rules, settings


def rules_named(args: argparse.Namespace, spider: Spider | None) -> Rules | None:
    """The rules that the options name instead of the project's; ``None`` if they name none.

    Raises:
        UsageError: they cannot be read, or there is a mistake in them.
    """
    if not (args.rules or args.preset):
        return None
    in_file = _read(_text_of(args.rules), spider, str(args.rules)) if args.rules else Rules()
    presets = _read(args.preset, spider, "--preset")
    return Rules((*in_file, *presets), judges=in_file.judges and presets.judges)


def crawler_of(command: Command, spider: str | None) -> Crawler:
    """A crawler with the settings of the project, or of the spider with the name *spider*.

    Raises:
        UsageError: there is no such spider, or it cannot be loaded.
    """
    settings = command.settings
    assert settings is not None
    if spider is None:
        return Crawler(Spider, settings)
    try:
        loader = load_object(settings["SPIDER_LOADER_CLASS"]).from_settings(settings.frozencopy())
        names = loader.list()
        if spider in names:
            return Crawler(loader.load(spider), settings)
    except Exception as error:  # loading spiders imports them
        raise UsageError(_failed(f"the spider {spider!r} cannot be loaded", error)) from error
    raise UsageError(f"there is no spider {spider!r} here; there is: {', '.join(names) or 'none'}")


def spider_of(crawler: Crawler) -> Spider:
    """The spider of *crawler*, for callbacks that are its methods.

    Raises:
        UsageError: it cannot be created.
    """
    try:
        return crawler.spidercls.from_crawler(crawler)
    except Exception as error:  # a spider may raise anything, and may need arguments
        what = f"the spider {crawler.spidercls.name!r} cannot be created"
        raise UsageError(_failed(what, error)) from error


def load_addons(crawler: Crawler) -> None:
    """Let addons change the settings, as in a crawl.

    Raises:
        UsageError: one of them fails.
    """
    try:
        crawler.addons.load_settings(crawler.settings)
    except Exception as error:  # addons may do anything
        raise UsageError(_failed("the addons cannot be loaded", error)) from error


def report_settings(settings: BaseSettings) -> ReportSettings:
    """Our *settings*, except for the rules; the key is ``""`` if there is none.

    Raises:
        NotConfigured: switched off.
        ValueError: a value is wrong.
    """
    enough = settings.copy()
    enough.set(RULES, ["callbacks"], priority="cmdline")
    try:
        return ReportSettings.from_settings(enough)
    except NotConfigured:
        enough.set(CLIENT_KEY, "none", priority="cmdline")
        return replace(ReportSettings.from_settings(enough), client_key="")


def _read(value: object, spider: Spider | None, where: str) -> Rules:
    try:
        return read_rules(value, spider=spider)
    except RuleError as mistake:
        raise UsageError(f"{where}: {mistake}") from mistake


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from error


def _failed(what: str, error: Exception) -> str:
    return f"{what}: {type(error).__name__}: {error}"


# -- output ----------------------------------------------------------------------------------------


def output() -> Console:
    """The console on standard output. Characters that it cannot encode are escaped."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    return _Console(highlight=False)


def cell(value: str, style: str = "") -> Text:
    """*value* as plain text: without markup and control characters."""
    return Text(one_line(value), style=style, overflow="fold")


def print_line(console: Console, value: str, style: str = "") -> None:
    """Print *value*, as :func:`cell` has it, on one line of any length."""
    console.print(cell(value, style), soft_wrap=True)


def shortened(value: Any) -> str:
    """The *value* of a condition as JSON, shortened for a table."""
    return truncate(json.dumps(value, ensure_ascii=False))


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        # Rich would exit with 1, which means "no" here. The caller handles it.
        raise BrokenPipeError
