"""What the commands share: options, the project and its rules, and output."""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.exceptions import UsageError
from scrapy.utils.misc import load_object

from ..rules import RuleError, Rules, compile_rules, read_rules
from ..rules.page import MAX_BODY
from ..settings import RULES, without_secrets
from ..text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from scrapy.settings import Settings

    from . import Command
    from .pages import SavedPage
    from .screen import Screen
    from .sources import Source


# -- arguments -------------------------------------------------------------------------------------


def add_rule_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the rules."""
    add = parser.add_argument
    add("--rules", metavar="FILE.json", type=a_path, help=f"rules to use instead of {RULES}")
    text = f"preset to use instead of {RULES}; may be repeated"
    add("--preset", metavar="NAME", action="append", default=[], help=text)
    text = "use the custom_settings of this spider; callbacks may name its methods"
    add("--spider", metavar="NAME", help=text)


def add_json_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option for :func:`print_result`."""
    parser.add_argument("--json", action="store_true", help="print JSON, one object a line")


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for what saved pages do not say."""
    add = parser.add_argument_group("for saved pages without a .meta.json").add_argument
    add("--url", help="the URL of the response")
    add("--status", metavar="N", type=int, help="its status")
    add("--method", metavar="NAME", help="the request's method")
    text = "a header of the response; may be repeated"
    add("--header", metavar="NAME:VALUE", dest="headers", type=_header, action="append", help=text)


def not_empty(text: str) -> str:
    """*text*, for ``argparse``; ``""``, perhaps from an unset variable, is an error."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def a_path(text: str) -> Path:
    """The path that *text* names, for ``argparse``; ``Path("")`` would be the current folder."""
    if re.match(r"\w+://", not_empty(text)):
        shown = without_secrets(text)
        raise argparse.ArgumentTypeError(f"{shown!r} is a URL, not a file or folder")
    return Path(text)


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
        with usage_error(kinds=ValueError):
            rules = compile_rules(crawler.settings.get(RULES), spider=spider)
    advice = "give --rules FILE.json or --preset NAME."
    if not rules.judges:
        raise UsageError(f"the rule set 'callbacks' judges no page; {advice}")
    if not rules:
        raise UsageError(f"there are no rules. Set {RULES} in a project, or {advice}")
    return rules, settings


def rules_named(args: argparse.Namespace, spider: Spider | None) -> Rules | None:
    """The rules that the options name instead of the project's; ``None`` if they name none.

    Raises:
        UsageError: there is a mistake in them.
        OSError: they cannot be read.
    """
    if not (args.rules or args.preset):
        return None
    in_file = Rules()
    if args.rules:
        with usage_error(f"cannot read {args.rules}: ", UnicodeDecodeError):
            text = args.rules.read_text(encoding="utf-8-sig")  # some editors write a BOM
        with usage_error(f"{args.rules}: ", RuleError):
            in_file = read_rules(text, spider=spider)
    with usage_error("--preset: ", RuleError):
        presets = read_rules(args.preset, spider=spider)
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
    with usage_error(f"the spider {spider!r} cannot be loaded: "):  # loading imports them
        loader = load_object(settings["SPIDER_LOADER_CLASS"]).from_settings(settings.frozencopy())
        names = loader.list()
        if spider in names:
            return Crawler(loader.load(spider), settings)
    raise UsageError(f"there is no spider {spider!r} here; there is: {', '.join(names) or 'none'}")


def spider_of(crawler: Crawler) -> Spider:
    """The spider of *crawler*, for callbacks that are its methods.

    Raises:
        UsageError: it cannot be created; perhaps it needs arguments.
    """
    with usage_error(f"the spider {crawler.spidercls.name!r} cannot be created: "):
        return crawler.spidercls.from_crawler(crawler)


def load_addons(crawler: Crawler) -> None:
    """Let addons change the settings, as in a crawl.

    Raises:
        UsageError: one of them fails.
    """
    with usage_error("the addons cannot be loaded: "):
        crawler.addons.load_settings(crawler.settings)


# -- output ----------------------------------------------------------------------------------------


@contextmanager
def usage_error(
    prefix: str = "", kinds: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """Turn exceptions of these *kinds* into a ``UsageError`` that begins with *prefix*.

    By default all of them: foreign code and foreign files may raise anything.
    """
    try:
        yield
    except UsageError:
        raise
    except kinds as error:
        name = f"{type(error).__name__}: " if kinds is Exception else ""
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"{prefix}{name}{reason}") from error


def print_result(
    args: argparse.Namespace, result: Any, show: Callable[[Screen, Any], None]
) -> None:
    """Print the *result* of a command as JSON, or *show* it to people."""
    if args.json:
        print(json.dumps(result))
        return
    # Imported here because it takes as long as some hundred pages.
    from .screen import Screen

    show(Screen(), result)


def warn(text: str) -> None:
    """Print *text* on standard error, in one line."""
    print(one_line(text), file=sys.stderr)


def warn_if_too_large(page: SavedPage) -> None:
    """Say that a rule needed the body of *page*, and did not see it. A crawl logs the same."""
    if page.is_too_large:
        warn(f"{page.source}: larger than {MAX_BODY} bytes, so no rule sees the body")


def with_progress(pages: Source) -> Iterable[SavedPage]:
    """Pass on *pages*, with a progress bar if standard error is a terminal."""
    if not sys.stderr.isatty():
        return pages
    from rich.console import Console
    from rich.progress import track

    return track(pages, "pages", console=Console(stderr=True), transient=True)
