"""Which rules a command works with: the options for it, and reading them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import UsageError
from scrapy.utils.misc import load_object

from scrapy_capmonster_report.rules import SETTING, RuleError, Rules, compile_rules, read_rules

if TYPE_CHECKING:
    from scrapy.settings import Settings

    from . import Command


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which rules to work with."""
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
    parser.add_argument(
        "--spider",
        metavar="NAME",
        help="with the custom_settings of this spider; callbacks may name its methods",
    )


def rules_and_settings(command: Command, args: argparse.Namespace) -> tuple[Rules, Settings]:
    """The rules to work with, and the settings of the project or of the spider.

    The settings are those before addons change them, as a crawl takes them.

    Raises:
        UsageError: there are none, or something is wrong with them.
    """
    crawler = _crawler(command, args.spider)
    spider = _spider(crawler, args.spider) if args.spider else None
    settings = crawler.settings.copy()
    if args.rules or args.preset:
        in_file = _read(_text_of(args.rules), spider, str(args.rules)) if args.rules else ()
        rules = Rules((*in_file, *_read(args.preset, spider, "--preset")))
    else:
        _load_addons(crawler)
        try:
            rules = compile_rules(crawler.settings.get(SETTING), spider=spider)
        except ValueError as error:
            raise UsageError(str(error)) from error
    if not rules:
        raise UsageError(
            f"there are no rules. Set {SETTING} in a project, or give --rules FILE.json or "
            "--preset NAME."
        )
    return rules, settings


def not_empty(text: str) -> str:
    """*text*, for ``argparse``; ``""``, of a variable that is not set, names nothing."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def a_path(text: str) -> Path:
    """The path that *text* names, for ``argparse``; ``Path("")`` would be the current folder."""
    return Path(not_empty(text))


def one_line(text: str) -> str:
    """*text* on one line, without characters that a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _read(value: object, spider: Spider | None, where: str) -> Rules:
    try:
        return read_rules(value, spider=spider)
    except RuleError as mistake:
        raise UsageError(f"{where}: {mistake}") from mistake


def _crawler(command: Command, name: str | None) -> Crawler:
    settings = command.settings
    assert settings is not None
    if name is None:
        return Crawler(Spider, settings)
    try:
        loader = load_object(settings["SPIDER_LOADER_CLASS"]).from_settings(settings.frozencopy())
        names = loader.list()
        if name in names:
            return Crawler(loader.load(name), settings)
    except Exception as error:  # loading spiders imports them
        raise UsageError(_failed(f"the spider {name!r} cannot be loaded", error)) from error
    raise UsageError(f"there is no spider {name!r} here; there is: {', '.join(names) or 'none'}")


def _spider(crawler: Crawler, name: str) -> Spider:
    try:
        return crawler.spidercls.from_crawler(crawler)
    except Exception as error:  # a spider may do anything, and may want arguments
        raise UsageError(_failed(f"the spider {name!r} cannot be made", error)) from error


def _load_addons(crawler: Crawler) -> None:
    """Let addons set the rules, as they may in a crawl."""
    try:
        crawler.addons.load_settings(crawler.settings)
    except Exception as error:  # addons may do anything
        raise UsageError(_failed("the addons cannot be loaded", error)) from error


def _failed(what: str, error: Exception) -> str:
    return f"{what}: {type(error).__name__}: {error}"


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # some editors put a mark at the beginning
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from error
