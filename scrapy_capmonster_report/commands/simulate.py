"""``scrapy capmonster simulate``: a local stand-in for the service."""

from __future__ import annotations

import argparse
import os
import re
import sys
from contextlib import suppress
from dataclasses import fields
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

from scrapy.exceptions import UsageError
from twisted.internet.error import CannotListenError

from scrapy_capmonster_report.simulator import SimulatedAnswer, Simulator

if TYPE_CHECKING:
    from collections.abc import Callable

    from . import Command

_ANSWERS: Final[dict[str, Callable[[str], SimulatedAnswer]]] = {
    "(hang|stall|reset)": SimulatedAnswer,
    "http-([2-5][0-9]{2})": lambda status: SimulatedAnswer.http(int(status)),
    # The documented codes start with one of these.
    "((?:ERROR|WRONG)_[A-Z0-9_]+)": SimulatedAnswer.error,
}
"""The patterns of ``--answer``, and the answer that each of them makes."""


_OPTIONS: Final[tuple[tuple[str, type, str | None, str], ...]] = (
    ("port", int, None, "port on 127.0.0.1; 0: any free one"),
    ("client_key", str, "KEY", "the only clientKey it accepts"),
    ("wrong", float, "SHARE", "share of wrong answers, from 0 to 1"),
    ("delay", float, "SECONDS", "how long solving takes"),
    ("seed", int, "N", "the same seed makes the same answers wrong"),
    ("retention", float, "SECONDS", "how long a task is known after its creation"),
    ("balance", float, "N", "the balance; with 0 no task is created"),
)
"""The arguments of ``Simulator`` that are options here."""

_CLOSING_SECONDS: Final = 2.0
"""How long ending waits for a reader."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    defaults = {field.name: field.default for field in fields(Simulator)}
    for name, kind, metavar, text in _OPTIONS:
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            metavar=metavar,
            default=defaults[name],
            help=f"{text} (default: %(default)s)",
        )
    parser.add_argument(
        "--answer",
        metavar="WHAT[:N]",
        type=planned,
        action="append",
        default=[],
        help="the answer to the next N reports (without N: to all): an errorCode such as "
        "ERROR_IP_BANNED, http-503, hang, stall or reset; may be repeated, in this order",
    )


def planned(text: str) -> tuple[SimulatedAnswer, int | None]:
    """The answer that ``--answer`` names, and how many reports get it (``None``: all).

    Raises:
        argparse.ArgumentTypeError: it is invalid, or the number is less than 1.
    """
    what, colon, times = text.partition(":")
    if colon and not re.fullmatch("0*[1-9][0-9]{0,8}", times):
        raise argparse.ArgumentTypeError(
            f"{text!r}: the part after the colon must be a number, 1 or more"
        )
    for pattern, make in _ANSWERS.items():
        if match := re.fullmatch(pattern, what):
            return make(match[1]), int(times) if colon else None
    raise argparse.ArgumentTypeError(
        f"{text!r}: it must be an errorCode (ERROR_IP_BANNED), http-STATUS (http-503), hang, "
        "stall or reset, and may end in :N"
    )


def run(command: Command, args: argparse.Namespace) -> int:
    # Before the simulator, which uses the installed reactor.
    from twisted.internet import reactor

    # Printed by a thread: a test may read the URL and no more, and a full pipe must not stop this.
    lines: SimpleQueue[str | None] = SimpleQueue()
    printing = Thread(target=_print, args=(lines,), daemon=True)
    printing.start()
    try:
        options = {name: getattr(args, name) for name, *_ in _OPTIONS}
        simulator = Simulator(**options, log=lines.put)
        for answer, times in args.answer:
            simulator.answer_with(answer, times=times)
        simulator.start()
    except ValueError as error:
        raise UsageError(str(error)) from error
    except CannotListenError as error:
        raise UsageError(f"cannot listen on port {args.port}: {error.socketError}") from error
    # The handlers are installed before the URL is printed: its reader may send a signal at once.
    reactor.callWhenRunning(lines.put, simulator.url)
    reactor.addSystemEventTrigger("before", "shutdown", simulator.stop)
    reactor.run()
    lines.put(_totals(simulator))
    lines.put(None)
    printing.join(_CLOSING_SECONDS)
    return 0


def _print(lines: SimpleQueue[str | None]) -> None:
    """Print *lines* until there is ``None``, each as soon as there is room."""
    if sys.stdout is None:  # the process was started without one
        return
    # Not print(): a thread that waits in it would keep its lock when the process ends.
    encoding, out = sys.stdout.encoding, sys.stdout.fileno()
    with suppress(OSError):  # the reader has closed the pipe
        while (text := lines.get()) is not None:
            left = f"{text}\n".encode(encoding, "backslashreplace")
            while left:
                left = left[os.write(out, left) :]


def _totals(simulator: Simulator) -> str:
    tasks, reports = simulator.tasks.values(), simulator.reports
    wrong = sum(task.wrong for task in tasks)
    accepted = sum(report.accepted for report in reports)
    return (
        f"Tasks: {len(tasks)}, answered wrong: {wrong}. "
        f"Reports: {len(reports)}, accepted: {accepted}."
    )
