"""Calls to a ledger's backend: its thread, retries, and log messages about outages."""

from __future__ import annotations

import logging
import math
import weakref
from contextlib import suppress
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from ..stats import LEDGER_FALLBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..context import CrawlContext
    from .base import LedgerBackend

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 5.0
"""Pauses between calls while the backend is unavailable. The first retry is immediate."""

EXIT_SECONDS: Final = 2.0
"""How long a process that ends waits for the current call."""

QUIET_SECONDS: Final = 60.0
"""How long no other warning is logged after one, in case the backend comes and goes."""


class Contact:
    """Calls the *backend* in a thread, and pauses after a failure."""

    def __init__(self, backend: LedgerBackend, context: CrawlContext) -> None:
        self._backend = backend
        self._context = context
        self._now = context.clock.now
        self._thread = ThreadPool(0, 1, "capmonster-ledger")
        # A process that ends waits for it, but not for long.
        self._thread.threadFactory = partial(Thread, daemon=True)  # type: ignore[assignment]
        self._thread.start()
        self._at_exit = weakref.finalize(self, _end_thread, self._thread)
        self._call: Deferred[Any] = succeed(None)
        self._pause: Deferred[None] = succeed(None)
        self._failures = 0
        self._is_warned = False
        self._quiet_until = self._last = -math.inf
        self.is_available = True
        self.silent_for = 0
        """Counted by the owner, from one success to the next."""

    @property
    def is_in_touch(self) -> bool:
        """Whether no other run can have taken our claims for those of an ended one."""
        return self._now() - self._last <= self._backend.lease

    @property
    def is_failing(self) -> bool:
        """Whether more than one call in a row has failed."""
        return self._failures > 1

    async def ask(self, work: Callable[..., Any], *args: Any) -> Any:
        """Have the thread do *work*, a method of the backend; raises what that raises."""
        began = self._now()
        self._call = self._in_thread(work, *args)
        result = await self._call
        self._last = began
        self._failures = self.silent_for = 0
        self._set_available()
        return result

    def close(self) -> Deferred[Any]:
        """Close the backend after the current call, and then end the thread."""
        closed = self._in_thread(self._backend.close)
        self._thread.adjustPoolsize(0, 0)
        return closed.addBoth(self._closed)

    def _closed(self, result: Any) -> Any:
        self._at_exit.detach()
        return result

    def _in_thread(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        return deferToThreadPool(self._context.reactor, self._thread, work, *args)

    async def pause_after(self, failure: Exception) -> None:
        """Note that the backend failed, and wait until the next retry."""
        self._failures += 1
        if not self.is_failing:
            return
        self.set_unavailable(f"{type(failure).__name__}: {failure}".rstrip("."))
        seconds = RETRY_SECONDS * 2 ** min(self._failures - 2, 10)
        self._pause = deferLater(self._context.reactor, min(seconds, MAX_RETRY_SECONDS))
        with suppress(CancelledError):
            await self._pause

    def retry_now(self) -> None:
        """End the pause, if there is one."""
        self._pause.cancel()

    def give_up(self) -> None:
        """Wait neither for the current call nor for the next retry."""
        self._pause.cancel()
        self._call.cancel()

    def set_unavailable(self, reason: str) -> None:
        """Note that the backend is unavailable, and log it once."""
        was_available, self.is_available = self.is_available, False
        if not was_available or self._now() < self._quiet_until:
            return
        self._quiet_until = self._now() + QUIET_SECONDS
        self._is_warned = True
        logger.warning(
            "Ledger %s is unavailable (%s). Continuing in memory and retrying; reports not sent "
            "before the crawl ends are lost unless the ledger comes back.",
            self._backend.name,
            reason,
            extra=self._context.log_extra,
        )
        self._context.stats.count(LEDGER_FALLBACK)

    def _set_available(self) -> None:
        self.is_available = True
        if self._is_warned:
            self._is_warned = False
            logger.info(
                "Ledger %s is available again.",
                self._backend.name,
                extra=self._context.log_extra,
            )


def _end_thread(pool: ThreadPool) -> None:
    pool.adjustPoolsize(0, 0)
    for thread in pool.threads:
        thread.join(EXIT_SECONDS)
