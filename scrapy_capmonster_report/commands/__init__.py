"""``scrapy capmonster …``: the commands beside the crawl, one module for each."""

from __future__ import annotations

import argparse
import os
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn

from scrapy.commands import ScrapyCommand
from scrapy.exceptions import UsageError

from ..text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

_PROG = "scrapy capmonster"

COMMANDS: Final = {
    "doctor": "Check whether reporting will work here, and say what to do if not",
    "check": "Show which rule matches a page, and the result of each condition",
    "replay": "Try the rules on a folder of saved pages, or on Scrapy's HTTP cache",
    "suggest": "Suggest rules that tell pages under refused/ from pages under accepted/",
    "summary": "Show which sites reject answers, by which rules, and the outcomes of the reports",
    "simulate": "Serve a local stand-in for the service until Ctrl-C; the first line is its URL",
}
"""Every command, and what it does."""

_ENDED_BY_SIGINT = 128 + 2
_ENDED_BY_SIGPIPE = 128 + 13
"""The exit codes that a shell shows for such programs."""


def subcommand(name: str) -> Any:
    """The module of a command. Imported late, because Scrapy imports this one for any command.

    It has ``add_arguments(parser)``, and ``run(command, args)``, which returns the exit code: 0 for
    success, 1 if the result of a check is "no". On wrong usage ``run`` raises
    :exc:`scrapy.exceptions.UsageError` with one line of text, on an unreadable file the
    :exc:`OSError`; the exit code is then 2. The project's settings are in ``command.settings``.
    """
    return import_module(f".{name}", __name__)


class Command(ScrapyCommand):
    """``scrapy capmonster``, found through the ``scrapy.commands`` entry point."""

    requires_crawler_process = False  # older Scrapy ignores this
    default_settings: ClassVar[dict[str, Any]] = {"LOG_ENABLED": False}

    def syntax(self) -> str:
        return "<command> [options]"

    def short_desc(self) -> str:
        return "Try out, check and sum up the reporting of captcha answers to CapMonster Cloud"

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Give each command its own options, and Scrapy's global ones."""
        # This parser is Scrapy's, whose error message is longer than a line. Scrapy calls its
        # error() for a UsageError, too.
        self._parser = parser
        parser.prog = _PROG
        parser.error = partial(_complain, parser)  # type: ignore[method-assign]
        commands = parser.add_subparsers(
            title="Commands",
            dest="subcommand",
            metavar="<command>",
            required=True,
            prog=_PROG,
            parser_class=_Subparser,
        )
        for name, summary in COMMANDS.items():
            subparser = commands.add_parser(name, help=summary, description=summary)
            subparser.complete = partial(self._add_options_of, name)

    def _add_options_of(self, name: str, parser: argparse.ArgumentParser) -> None:
        self._parser.prog = parser.prog
        subcommand(name).add_arguments(parser)
        super().add_options(parser)

    def process_options(self, args: list[str], opts: argparse.Namespace) -> None:
        super().process_options(args, opts)
        assert self.settings is not None
        # The result goes to standard output, which a project may redirect to its log.
        self.settings.set("LOG_STDOUT", False, priority="cmdline")

    def run(self, args: list[str], opts: argparse.Namespace) -> None:
        if args:
            raise UsageError(f"unrecognized arguments: {' '.join(args)}")
        try:
            self.exitcode = subcommand(opts.subcommand).run(self, opts)
            print(end="", flush=True)  # not sys.stdout.flush(): it may be None
        except KeyboardInterrupt:
            self.exitcode = _ENDED_BY_SIGINT
        except OSError as error:
            if error.filename is not None:
                raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
            # As in `… | head -1`, or on a full disk. At exit Python flushes to standard output (1)
            # once more, and would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if not isinstance(error, BrokenPipeError):
                raise UsageError(str(error)) from error
            self.exitcode = _ENDED_BY_SIGPIPE


def _complain(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Print the error in one line, without the usage text."""
    parser.exit(2, one_line(f"{parser.prog}: {message}") + "\n")


class _Subparser(argparse.ArgumentParser):
    """The parser of one command, which gets its arguments when it is used."""

    error = _complain
    complete: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        complete, self.complete = self.complete, None
        if complete is not None:
            complete(self)
        return super().parse_known_args(*args, **kwargs)
