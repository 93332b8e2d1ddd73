"""Which ledger a crawl gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..settings import LEDGER, invalid, without_secrets
from .journal import JournalLedger
from .memory import MemoryLedger
from .sqlite import SQLiteHome

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..clock import SteadyClock
    from ..settings import ReportSettings
    from .base import Ledger
    from .journal import Home

JOBDIR_FILE: Final = "capmonster_report.sqlite"


def open_ledger(
    settings: ReportSettings,
    *,
    job_dir: str | None,
    spider: str,
    clock: SteadyClock,
    reactor: Any,
    on_unavailable: Callable[[], None],
    log_extra: dict[str, Any],
) -> Ledger:
    """The ledger that ``CAPMONSTER_REPORT_LEDGER`` asks for; it is yet to be opened.

    A dry run gets one in memory: it must leave nothing that would keep a later crawl from
    reporting.

    Args:
        job_dir: where Scrapy keeps the state of a crawl that may be resumed, if it does.
        spider: the spider's name.
        on_unavailable: called if the ledger's home fails, and the ledger goes on in memory.

    Raises:
        ValueError: there is no such ledger, or it cannot work here.
    """
    home = _home(settings, job_dir, reactor)
    if home is None or settings.dry_run:
        return MemoryLedger(clock.now)
    return JournalLedger(
        home,
        clock=clock,
        timer=reactor,
        max_age=settings.max_age,
        spider=spider,
        on_unavailable=on_unavailable,
        log_extra=log_extra,
    )


def _home(settings: ReportSettings, job_dir: str | None, reactor: Any) -> Home | None:
    where = settings.ledger
    scheme, _, path = where.partition(":")
    if not where and job_dir:
        scheme, path = "sqlite", str(Path(job_dir, JOBDIR_FILE))
    if not where and not job_dir:
        return None
    if scheme == "sqlite" and path not in ("", ":memory:"):
        return SQLiteHome(path, reactor=reactor, report_reused=settings.report_reused)
    if scheme in ("redis", "rediss") and path.startswith("//"):
        return _redis_home(settings, reactor)
    shown = without_secrets(where)
    raise invalid(LEDGER, shown, "It must be '' (memory), 'sqlite:PATH' or 'redis://HOST:PORT/DB'.")


def _redis_home(settings: ReportSettings, reactor: Any) -> Home:
    from scrapy.utils.reactor import is_asyncio_reactor_installed

    shown = without_secrets(settings.ledger)
    if not is_asyncio_reactor_installed():
        raise invalid(
            LEDGER,
            shown,
            "A Redis ledger needs the asyncio reactor: set TWISTED_REACTOR to "
            "'twisted.internet.asyncioreactor.AsyncioSelectorReactor' (Scrapy's default).",
        )
    try:
        from .redis import RedisHome
    except ImportError as error:
        allowed = "A Redis ledger needs redis-py: pip install scrapy-capmonster-report[redis]"
        raise invalid(LEDGER, shown, allowed) from error
    try:
        return RedisHome(settings.ledger, reactor=reactor, report_reused=settings.report_reused)
    except ValueError as error:
        raise invalid(LEDGER, shown, f"It must be a URL that redis-py reads: {error}.") from error
