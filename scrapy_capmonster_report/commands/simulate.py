"""``scrapy capmonster simulate``: a local stand-in for the service."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from scrapy.exceptions import UsageError
from twisted.internet.error import CannotListenError

from scrapy_capmonster_report.simulator import DEFAULT_CLIENT_KEY, Simulator

if TYPE_CHECKING:
    import argparse

    from . import Command

SUMMARY = "Serve a local stand-in for CapMonster Cloud until Ctrl-C; the first line is its URL"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)"
    )
    parser.add_argument(
        "--client-key",
        metavar="KEY",
        default=DEFAULT_CLIENT_KEY,
        help="the only clientKey it accepts (default: %(default)s)",
    )
    parser.add_argument(
        "--wrong",
        metavar="SHARE",
        type=float,
        default=0.0,
        help="share of wrong answers, from 0 to 1 (default: %(default)s)",
    )
    parser.add_argument(
        "--delay",
        metavar="SECONDS",
        type=float,
        default=0.0,
        help="how long solving takes (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        type=int,
        default=0,
        help="the same seed makes the same answers wrong (default: %(default)s)",
    )


def run(command: Command, args: argparse.Namespace) -> int:
    from twisted.internet import reactor

    try:
        simulator = Simulator(
            port=args.port,
            client_key=args.client_key,
            wrong=args.wrong,
            delay=args.delay,
            seed=args.seed,
        )
        simulator.start()
    except ValueError as error:
        raise UsageError(str(error)) from error
    except CannotListenError as error:
        raise UsageError(f"cannot listen on port {args.port}: {error.socketError}") from error
    _serve(simulator, reactor)
    print(_totals(simulator), file=sys.stderr)
    return 0


def _serve(simulator: Simulator, reactor: Any) -> None:
    # Whoever reads the URL may send a signal at once: the handlers have to be in place by then.
    reactor.callWhenRunning(print, simulator.url, flush=True)
    reactor.addSystemEventTrigger("before", "shutdown", simulator.stop)
    reactor.run()


def _totals(simulator: Simulator) -> str:
    tasks, reports = simulator.tasks.values(), simulator.reports
    wrong = sum(task.wrong for task in tasks)
    accepted = sum(report.accepted for report in reports)
    return (
        f"Tasks: {len(tasks)}, of them answered wrong: {wrong}. "
        f"Reports: {accepted} accepted, {len(reports) - accepted} not."
    )
