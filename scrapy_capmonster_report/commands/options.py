"""Which rules a command works with: the options for it, and reading them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scrapy.crawler import Crawler
from scrapy.exceptions import UsageError
from scrapy.utils.misc import load_object

from scrapy_capmonster_report.rules import SETTING, Rules, compile_rules

if TYPE_CHECKING:
    import argparse

    from scrapy.settings import BaseSettings

    from . import Command


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which rules to work with."""
    parser.add_argument(
        "--rules",
        metavar="FILE.json",
        type=Path,
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


def read_rules(command: Command, args: argparse.Namespace) -> tuple[Rules, BaseSettings]:
    """The rules to work with, and the settings of the project or of the spider.

    Raises:
        UsageError: there are none, or something is wrong with them.
    """
    crawler = _crawler(command, args.spider) if args.spider else None
    settings = crawler.settings if crawler else command.settings
    assert settings is not None
    spider = None
    if crawler:
        try:
            spider = crawler.spidercls.from_crawler(crawler)
        except Exception as error:  # a spider may do anything, and may want arguments
            raise UsageError(
                f"the spider {args.spider!r} cannot be made: {type(error).__name__}: {error}"
            ) from error
    values: list[tuple[str, object]] = []
    if args.rules:
        values.append((f"{args.rules}: ", _read_text(args.rules)))
    if args.preset:
        values.append(("", args.preset))
    rules: list[Rules] = []
    for where, value in values or [("", settings.get(SETTING))]:
        try:
            rules.append(compile_rules(value, spider=spider))
        except ValueError as error:
            raise UsageError(one_line(f"{where}{error}")) from error
    if not any(rules):
        raise UsageError(
            f"there are no rules. Set {SETTING} in a project, or give --rules FILE.json or "
            "--preset NAME."
        )
    return Rules(rule for some in rules for rule in some), settings


def one_line(text: str) -> str:
    """*text* on one line, without characters that a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _crawler(command: Command, name: str) -> Crawler:
    assert command.settings is not None
    settings = command.settings
    loader = load_object(settings["SPIDER_LOADER_CLASS"]).from_settings(settings.frozencopy())
    try:
        return Crawler(loader.load(name), settings)
    except KeyError:
        known = ", ".join(loader.list()) or "none"
        raise UsageError(f"there is no spider {name!r} here; there is: {known}") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read {path}: {reason}") from error
