"""``scrapy capmonster summary``: which sites reject answers, and since when."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text
from scrapy.exceptions import NotConfigured, UsageError

from .. import insight
from .. import ledger as ledgers
from ..settings import LEDGER, without_secrets
from . import cli

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from rich.console import Console

    from ..insight import Figures, SiteFigures
    from ..ledger import Alert, History
    from . import Command

_UNITS: Final = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ledger",
        metavar="LEDGER",
        nargs="?",
        type=cli.not_empty,
        help="as CAPMONSTER_REPORT_LEDGER names it (sqlite:PATH, redis://…), a SQLite file, or a "
        "JOBDIR; without it the project's",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--since",
        metavar="WHEN",
        help="only answers used since then, to the hour: a date (2026-11-24), a time "
        "(2026-11-24T18:00), or how long ago (90m, 24h, 7d, 2w)",
    )
    parser.add_argument("--site", metavar="HOST", help="only this site")
    parser.add_argument("--spider", metavar="NAME", help="only this spider's answers")
    parser.add_argument(
        "--html", metavar="FILE", type=cli.a_path, help="write a page with charts; needs [summary]"
    )


def run(command: Command, args: argparse.Namespace) -> int:
    now = time.time()
    page = _page() if args.html else None
    query = ledgers.Query(
        since=since_when(args.since, now) if args.since else None,
        site=args.site,
        spider=args.spider,
        keys=ledgers.Count._fields if page else insight.SITE_KEYS,
    )
    ledger = args.ledger or _ledger_of_project(command, args.spider)
    history = _read(ledger, query)
    sites = insight.by_site(history.counts)
    if page:
        chosen = {"--since": args.since, "--site": args.site, "--spider": args.spider}
        filters = [f"{option} {value}" for option, value in chosen.items() if value]
        shown = without_secrets(ledger)
        _write(args.html, page(history, now=now, ledger=shown, filters=filters))
    if args.json:
        print(json.dumps(insight.as_json(sites, history.alerts)))
    else:
        show(cli.output(), sites, history.alerts)
    return 0


def since_when(text: str, now: float) -> float:
    """The time that ``--since`` names, in seconds since the epoch.

    Raises:
        UsageError: it is not a time.
    """
    if match := re.fullmatch(r"(\d{1,9})([mhdw])", text):
        return now - int(match[1]) * _UNITS[match[2]]
    try:
        # Python 3.10 does not know the Z.
        return datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text)).timestamp()
    except (ValueError, OverflowError, OSError):
        raise UsageError(
            f"--since {text}: it must be a date (2026-11-24), a time (2026-11-24T18:00), or how "
            "long ago (90m, 24h, 7d, 2w)"
        ) from None


def show(console: Console, sites: dict[str, SiteFigures], alerts: list[Alert]) -> None:
    """Print the figures as tables."""
    if not sites:
        console.print("No tasks.")
        return
    _print_figures(console, sites)
    _print_reports(console, sites)
    for alert in alerts:
        at = datetime.fromtimestamp(alert.at).astimezone().isoformat(" ", "minutes")
        cli.print_line(
            console,
            f"{at}  {alert.site}: rejections rose from {insight.percent(alert.before)} to "
            f"{insight.percent(alert.after)} (over {alert.answers} answers)",
            "yellow",
        )


def _print_figures(console: Console, sites: dict[str, SiteFigures]) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0))
    table.add_column("site, type", overflow="fold")
    for heading in ("tasks", "passed", "rejected", "rate", "95 %", "withheld", "reported"):
        table.add_column(heading, justify="right", no_wrap=True)
    for site, figures in sites.items():
        types = insight.worst_first(figures.types)
        if len(types) == 1:
            table.add_row(
                Text("\n  ").join([cli.cell(site), cli.cell(types[0][0])]), *_cells(figures)
            )
            continue
        table.add_row(cli.cell(site), *_cells(figures))
        for task_type, of_type in types:
            table.add_row(cli.cell(f"  {task_type}"), *_cells(of_type))
    console.print(table)


def _print_reports(console: Console, sites: dict[str, SiteFigures]) -> None:
    """Print which rules matched, and the outcomes of the reports."""
    table = Table("site", "rejected by", "reports", box=None, padding=(0, 1, 0, 0))
    for site, figures in sites.items():
        outcomes = {
            "accepted": figures.accepted_reports,
            "refused": figures.refused_reports,
            **{f"withheld: {name}": tasks for name, tasks in figures.withheld_reasons.items()},
            "dropped": figures.dropped,
            "waiting": figures.waiting,
        }
        if figures.rejected:
            table.add_row(
                cli.cell(site), cli.cell(_counted(figures.rules)), cli.cell(_counted(outcomes))
            )
    if table.row_count:
        console.print()
        console.print(table)


def _counted(counts: Mapping[str, int]) -> str:
    """*counts* in words, the most frequent first: ``"wrong code 12, turnstile 3"``."""
    order = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in order if count)


def _cells(figures: Figures) -> list[str]:
    low, high = insight.interval(figures.rejected, figures.tasks)
    between = "-" if figures.rejection_rate is None else f"{low * 100:.0f}-{high * 100:.0f}"
    rate = [insight.percent(figures.rejection_rate), between]
    reported = figures.accepted_reports + figures.refused_reports
    seen = map(str, (figures.tasks, figures.passed, figures.rejected))
    return [*seen, *rate, str(figures.withheld), str(reported)]


def _ledger_of_project(command: Command, spider: str | None) -> str:
    crawler = cli.crawler_of(command, spider)
    cli.load_addons(crawler)
    settings = crawler.settings
    try:
        name = ledgers.ledger_name(cli.report_settings(settings), settings.get("JOBDIR"))
    except (NotConfigured, ValueError) as error:
        raise UsageError(str(error)) from error
    if not name:
        raise UsageError(f"this project has no ledger: set {LEDGER}, or name one: summary LEDGER")
    return name


def _read(ledger: str, query: ledgers.Query) -> History:
    try:
        if Path(ledger).is_dir():
            ledger = str(Path(ledger, ledgers.JOBDIR_FILE))
        return ledgers.read_history(ledger, query)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def _page() -> Callable[..., str]:
    try:
        from ..insight.page import page
    except ImportError as error:
        raise UsageError(
            f"--html needs {error.name}: pip install scrapy-capmonster-report[summary]"
        ) from error
    return page


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
