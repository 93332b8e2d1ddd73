"""``scrapy capmonster summary``: which sites reject answers, and since when."""

from __future__ import annotations

import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from scrapy.exceptions import UsageError

from .. import ledger as ledgers
from ..insight.figures import SITE_KEYS, as_json, by_site, percent
from ..rules.hosts import parse_host
from ..settings import LEDGER, ReportSettings, without_secrets
from . import cli

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ..insight.figures import Figures
    from ..ledger import Alert
    from . import Command
    from .screen import Screen

_UNITS: Final = {"m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}

_HEADINGS: Final = ("tasks", "passed", "rejected", "rate", "95 %", "withheld", "reported")

_WHEN: Final = "a date (2026-11-24), a time (2026-11-24T18:00), or how long ago (90m, 24h, 7d, 2w)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    text = "sqlite:PATH, redis://…, a SQLite file or a JOBDIR; without it the project's"
    add("ledger", metavar="LEDGER", nargs="?", type=_ledger, help=text)
    cli.add_json_argument(parser)
    text = f"only answers used since then, to the hour: {_WHEN}"
    add("--since", metavar="WHEN", type=cli.not_empty, help=text)
    add("--site", metavar="HOST", type=cli.not_empty, help="only this site")
    text = "only this spider's answers"
    add("--spider", metavar="NAME", type=cli.not_empty, help=text)
    text = "write a page with charts; needs [summary]"
    add("--html", metavar="FILE", type=cli.a_path, help=text)


def _ledger(text: str) -> str:
    """The name of a ledger, for ``argparse``."""
    is_name = text.startswith("sqlite:") or ledgers.is_redis(text)
    return text if is_name else str(cli.a_path(text))


def run(command: Command, args: argparse.Namespace) -> int:
    now = time.time()
    page = _page() if args.html else None
    query = ledgers.Query(
        since=since_when(args.since, now) if args.since else None,
        site=args.site and (parse_host(args.site) or args.site),
        spider=args.spider,
        keys=ledgers.Count._fields if page else SITE_KEYS,
    )
    ledger = args.ledger or _ledger_of_project(command, args.spider)
    with cli.usage_error(kinds=ValueError):
        is_jobdir = Path(ledger).is_dir()
        file = str(Path(ledger, ledgers.JOBDIR_FILE)) if is_jobdir else ledger
        history = ledgers.read_history(file, query)
    sites = by_site(history.counts)
    if page:
        chosen = {"--since": args.since, "--site": args.site, "--spider": args.spider}
        filters = [f"{option} {value}" for option, value in chosen.items() if value]
        text = page(history, now=now, ledger=without_secrets(ledger), filters=filters)
        with cli.usage_error(f"cannot write {args.html}: ", OSError):
            args.html.write_text(text, encoding="utf-8")
    result = as_json(sites, history.alerts)
    cli.print_result(args, result, lambda screen, _: _show(screen, sites, history.alerts))
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
        raise UsageError(f"--since {text}: it must be {_WHEN}") from None


def _show(screen: Screen, sites: dict[str, Figures], alerts: list[Alert]) -> None:
    if not sites:
        screen.line("No tasks.")
        return
    screen.columns([("site, type", *_HEADINGS), *_rows(sites)])
    for alert in alerts:
        at = datetime.fromtimestamp(alert.at).astimezone().isoformat(" ", "minutes")
        screen.line(
            f"{at}  {alert.site}: rejections rose from {percent(alert.before)} to "
            f"{percent(alert.after)} (over {alert.answers} answers)",
            "yellow",
        )


def _rows(sites: dict[str, Figures]) -> Iterator[Sequence[str]]:
    """A row for each site, for each captcha type on it, and for what became of rejections."""
    for site, figures in sites.items():
        yield site, *_cells(figures)
        types = figures.types
        for task_type, of_type in types.items():
            # The figures of the only type are those of the site.
            yield f"  {task_type}", *(_cells(of_type) if len(types) > 1 else ())
        if figures.rejected:
            outcomes = {
                status.removeprefix("sent/").replace("/", ": "): tasks
                for status, tasks in figures.statuses.items()
                if status != ledgers.PASSED
            }
            outcomes["in flight"] = outcomes.pop(ledgers.PENDING, 0)
            yield (f"  rejected by: {_counted(figures.rules)} | reports: {_counted(outcomes)}",)


def _counted(counts: Mapping[str, int]) -> str:
    """*counts* in words, the most frequent first: ``"wrong code 12, turnstile 3"``."""
    order = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in order if count)


def _cells(figures: Figures) -> list[str]:
    low, high = figures.interval
    between = "-" if figures.rejection_rate is None else f"{low * 100:.0f}-{high * 100:.0f}"
    rate = (percent(figures.rejection_rate), between)
    reported = figures.accepted_reports + figures.refused_reports
    seen = (figures.tasks, figures.passed, figures.rejected)
    return [*map(str, (*seen, *rate, figures.withheld, reported))]


def _ledger_of_project(command: Command, spider: str | None) -> str:
    crawler = cli.crawler_of(command, spider)
    cli.load_addons(crawler)
    with cli.usage_error(kinds=ValueError):
        settings = ReportSettings.read(crawler.settings)
    name = ledgers.ledger_name(settings, crawler.settings.get("JOBDIR"))
    if not name:
        raise UsageError(f"this project has no ledger: set {LEDGER}, or name one: summary LEDGER")
    return name


def _page() -> Callable[..., str]:
    try:
        from ..insight.page import page
    except ImportError as error:
        raise UsageError(
            f'--html needs {error.name}: pip install "scrapy-capmonster-report[summary]"'
        ) from error
    return page
