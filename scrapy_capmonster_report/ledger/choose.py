"""Chooses the ledger of a crawl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..settings import LEDGER, invalid, without_secrets
from .buffered import BufferedLedger
from .memory import Ledger
from .names import JOBDIR_FILE, RedisName, dry_run_ledger, is_redis, sqlite_path

if TYPE_CHECKING:
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
    return BufferedLedger(_backend(name, context), context)


def _backend(name: str, context: CrawlContext) -> LedgerBackend:
    report_reused = context.settings.report_reused
    path = sqlite_path(name)
    if path is not None:
        from .sqlite import SQLiteBackend

        return SQLiteBackend(path, reactor=context.reactor, report_reused=report_reused)
    if not is_redis(name):
        allowed = "It must be '' (memory), 'sqlite:PATH' or 'redis://HOST:PORT/DB'."
        raise invalid(LEDGER, without_secrets(name), allowed)
    shown = name.partition(":")[0] + "://…"
    try:
        from .redis import RedisBackend

        return RedisBackend(RedisName.parse(name), report_reused=report_reused)
    except ImportError as error:
        allowed = 'A Redis ledger needs redis-py: pip install "scrapy-capmonster-report[redis]"'
        raise invalid(LEDGER, shown, allowed) from error
    except ValueError as error:
        raise invalid(LEDGER, shown, str(error)) from None
