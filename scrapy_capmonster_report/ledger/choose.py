"""Opens the ledger of a crawl, or reads any ledger, by its name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..settings import LEDGER, invalid, without_secrets
from .buffered import BufferedLedger
from .history import History, Query
from .memory import Ledger
from .names import ALLOWED, JOBDIR_FILE, RedisName, dry_run_ledger, is_redis, sqlite_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..context import CrawlContext
    from ..settings import ReportSettings
    from .base import LedgerBackend


def ledger_name(settings: ReportSettings, job_dir: str | None) -> str:
    """The name of the ledger of a crawl with *settings*; ``""`` if it is in memory."""
    name = settings.ledger or (f"sqlite:{Path(job_dir, JOBDIR_FILE)}" if job_dir else "")
    return dry_run_ledger(name) if name and settings.dry_run else name


def open_ledger(context: CrawlContext) -> Ledger:
    """The ledger that ``CAPMONSTER_REPORT_LEDGER`` names, not yet open.

    A dry run has a ledger of its own, of the same type: otherwise later crawls would not report
    what it has claimed.

    Raises:
        ValueError: the name is invalid, or the ledger cannot work here.
    """
    name = ledger_name(context.settings, context.crawler.settings.get("JOBDIR"))
    if not name:
        return Ledger(context.clock.now)
    try:
        return BufferedLedger(_backend(name, context), context)
    except ValueError as error:
        shown = name.partition(":")[0] + "://…" if is_redis(name) else without_secrets(name)
        raise invalid(LEDGER, shown, str(error)) from None


def _backend(name: str, context: CrawlContext) -> LedgerBackend:
    report_reused = context.settings.report_reused
    if is_redis(name):
        backend: LedgerBackend = _redis().RedisBackend(
            RedisName.parse(name), report_reused=report_reused
        )
        return backend
    path = sqlite_path(name)
    if path is None:
        raise ValueError(ALLOWED)
    from .sqlite import SQLiteBackend

    return SQLiteBackend(path, report_reused=report_reused, log_extra=context.log_extra)


def read_history(
    ledger: str, query: Query | None = None, *, now: Callable[[], float] = time.time
) -> History:
    """Read the history in a ledger. Blocks, so it must not be called in a crawl.

    Args:
        ledger: as ``CAPMONSTER_REPORT_LEDGER`` names it: ``sqlite:PATH``, ``redis://…``,
            ``rediss://…``; or the path of a SQLite file.
        query: which part of it; all of it by default.
        now: seconds since the epoch.

    Raises:
        ValueError: it is not a ledger or cannot be read. The message is one line that says why.
    """
    query = query or Query()
    if is_redis(ledger):
        history = _redis().read(RedisName.parse(ledger), query, now())
    else:
        from . import sqlite

        path = sqlite_path(ledger) or Path(ledger).expanduser()
        history = sqlite.read(path, query, now())
    return History(history.counts, query.alerts_beside(history))


def _redis() -> Any:
    try:
        from . import redis
    except ImportError as error:
        advice = 'pip install "scrapy-capmonster-report[redis]"'
        raise ValueError(f"A Redis ledger needs redis-py: {advice}") from error
    return redis
