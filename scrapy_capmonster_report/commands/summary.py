"""``scrapy capmonster summary``: which sites refuse the answers, and since when."""

from __future__ import annotations

import json
import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.table import Table
from scrapy.exceptions import UsageError

from scrapy_capmonster_report.insight import (
    SITE_KEYS,
    as_json,
    by_site,
    interval,
    percent,
    worst_first,
)
from scrapy_capmonster_report.ledger import Count, Query, read_history
from scrapy_capmonster_report.ledger.choose import JOBDIR_FILE

from .cli import a_path, cell, not_empty, output

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from rich.console import Console

    from scrapy_capmonster_report.insight import Figures, SiteFigures
    from scrapy_capmonster_report.ledger import Alert, History

    from . import Command

SUMMARY = "Say which sites refuse the answers, with which captcha type, and since when"

_UNITS: Final = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "ledger",
        metavar="LEDGER",
        type=not_empty,
        help="as CAPMONSTER_REPORT_LEDGER names it (sqlite:PATH, redis://…), a SQLite file, or a "
        "JOBDIR",
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
        "--html", metavar="FILE", type=a_path, help="write a page with charts; needs [summary]"
    )


def run(command: Command, args: argparse.Namespace) -> int:
    now = time.time()
    page = _page() if args.html else None
    query = Query(
        since=since_when(args.since, now) if args.since else None,
        site=args.site,
        spider=args.spider,
        keys=Count._fields if page else SITE_KEYS,
    )
    history = _read(args.ledger, query)
    sites = by_site(history.counts)
    if page:
        _write(args.html, page(history, now=now))
    if args.json:
        print(json.dumps(as_json(sites, history.alerts)))
    else:
        show(output(), sites, history.alerts)
    return 0


def since_when(text: str, now: float) -> float:
    """The time that ``--since`` names, in seconds since the epoch.

    Raises:
        UsageError: it names none.
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
    """Print the figures to be read."""
    if not sites:
        console.print("No tasks.")
        return
    table = Table("site", "type")
    for heading in ("tasks", "passed", "rejected", "rate", "95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("withheld", "accepted reports", "refused reports", "dropped"):
        table.add_column(heading, justify="right")
    for site, figures in sites.items():
        types = worst_first(figures.types)
        if len(types) == 1:
            table.add_row(cell(site), cell(types[0][0]), *_cells(figures))
        else:
            table.add_row(cell(site), "", *_cells(figures))
            for task_type, of_type in types:
                table.add_row("", cell(task_type), *_cells(of_type))
        table.add_section()
    console.print(table)
    for alert in alerts:
        at = datetime.fromtimestamp(alert.at).astimezone().isoformat(" ", "minutes")
        console.print(
            cell(
                f"{at}  {alert.site}: refusals rose from {percent(alert.before)} to "
                f"{percent(alert.after)} (over {alert.answers} answers)",
                "yellow",
            )
        )


def _cells(figures: Figures) -> list[str]:
    low, high = interval(figures.rejected, figures.tasks)
    return [
        str(figures.tasks),
        str(figures.passed),
        str(figures.rejected),
        percent(figures.rejection_rate),
        f"{low * 100:.0f}-{high * 100:.0f}",
        str(figures.withheld),
        str(figures.accepted_reports),
        str(figures.refused_reports),
        str(figures.dropped),
    ]


def _read(ledger: str, query: Query) -> History:
    try:
        if Path(ledger).is_dir():
            ledger = str(Path(ledger, JOBDIR_FILE))
        return read_history(ledger, query)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error


def _page() -> Callable[..., str]:
    try:
        from scrapy_capmonster_report.insight.page import page
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
