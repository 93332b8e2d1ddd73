"""Calls to a ledger's backend: timeouts, retries, and log messages about outages."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater

from ..deadline import with_deadline
from ..stats import LEDGER_FALLBACK

if TYPE_CHECKING:
    from ..context import CrawlContext
    from .base import LedgerBackend

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 5.0
"""Pauses between calls while the backend is unavailable. The first retry is immediate."""

QUIET_SECONDS: Final = 60.0
"""After a warning, no other is logged for so long, in case the backend comes and goes."""


class Contact:
    """Waits for calls to the *backend*, and pauses after a failure."""

    def __init__(self, backend: LedgerBackend, context: CrawlContext) -> None:
        self._backend = backend
        self._context = context
        self._now = context.clock.now
        self._call: Deferred[Any] = succeed(None)
        self._pause: Deferred[None] = succeed(None)
        self._failures = 0
        self._is_warned = self._is_given_up = False
        self._quiet_until = -math.inf
        self._last = -math.inf
        self._unsure_before = -math.inf
        self.is_available = True
        self.silent_for = 0
        """Counted by the owner, from one success to the next."""

    async def ask(self, call: Deferred[Any]) -> Any:
        """The result of a *call* to the backend; raises if it fails."""
        began = self._now()
        patience = self._backend.patience * (1 + self._failures)
        if patience < math.inf:
            call = with_deadline(call, patience, self._context.reactor, self._now)
        self._call = call
        if self._is_given_up:
            call.cancel()
        result = await call
        if began - self._last > self._backend.lease:
            self._unsure_before = began
        self._last = began
        self._failures = self.silent_for = 0
        self._set_available()
        return result

    async def pause_after(self, failure: Exception) -> None:
        """Note that the backend failed, and wait until the next retry."""
        self._failures += 1
        if self._failures == 1:
            return
        self.set_unavailable(f"{type(failure).__name__}: {failure}".rstrip("."))
        seconds = RETRY_SECONDS * 2 ** min(self._failures - 2, 10)
        self._pause = deferLater(self._context.reactor, min(seconds, MAX_RETRY_SECONDS))
        with suppress(CancelledError):
            await self._pause

    def is_sure_since(self, claimed_at: float) -> bool:
        """Whether a claim that was confirmed then is certainly still ours.

        If we did not call the backend for longer than its lease, others may have recovered it.
        """
        now, lease = self._now(), self._backend.lease
        in_touch = claimed_at >= self._unsure_before and now - self._last < lease
        return in_touch or now - claimed_at < lease

    def retry_now(self) -> None:
        """End the pause, if there is one."""
        self._pause.cancel()

    def give_up(self) -> None:
        """Cancel the current call, all later ones, and the pause."""
        self._is_given_up = True
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
