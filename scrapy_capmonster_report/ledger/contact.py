"""Calls to a ledger's backend: timeouts, retries, and log messages about outages."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from ..deadline import with_deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime

    from ..clock import SteadyClock
    from .base import LedgerBackend

logger = logging.getLogger(__name__)

RETRY_SECONDS: Final = 0.5
MAX_RETRY_SECONDS: Final = 5.0
"""Pauses between calls while the backend is unavailable. The first retry is immediate."""

MAX_PATIENCE_SECONDS: Final = 30.0
"""After a timeout the next one is twice as long, up to this."""

QUIET_SECONDS: Final = 60.0
"""After a warning, no other is logged for so long, in case the backend comes and goes."""


class Contact:
    """Waits for calls to the backend, and pauses after a failure.

    Args:
        backend: the backend.
        clock: tells the time.
        reactor: for pauses and deadlines.
        on_unavailable: called with each warning.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        backend: LedgerBackend,
        clock: SteadyClock,
        reactor: IReactorTime,
        on_unavailable: Callable[[], None],
        log_extra: dict[str, Any],
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._reactor = reactor
        self._on_unavailable = on_unavailable
        self._log_extra = log_extra
        self._asked: Deferred[Any] | None = None
        self._pause: Deferred[None] | None = None
        self._patience = backend.patience
        self._failures = 0
        self._is_warned = False
        self._quiet_until = -math.inf
        self._last = -math.inf
        self._unsure_before = -math.inf
        self.is_available = True

    async def ask(self, work: Deferred[Any]) -> Any:
        """The result of *work*, a call to the backend; raises if it fails."""
        began = self._clock.now()
        if self._patience < math.inf:
            work = with_deadline(work, self._patience, self._reactor, self._clock.now)
        self._asked = work
        result = await work
        self._patience = max(self._backend.patience, 3 * (self._clock.now() - began))
        if began - self._last > self._backend.lease:
            self._unsure_before = began
        self._last = began
        self._failures = 0
        self._set_available()
        return result

    async def pause_after(self, failure: Exception) -> None:
        """Note that the backend failed, and wait until the next retry."""
        self._failures += 1
        if isinstance(failure, error.TimeoutError):
            self._patience = min(self._patience * 2, MAX_PATIENCE_SECONDS)
        if self._failures == 1:
            return
        self.set_unavailable(f"{type(failure).__name__}: {failure}")
        seconds = RETRY_SECONDS * 2 ** min(self._failures - 2, 10)
        self._pause = deferLater(self._reactor, min(seconds, MAX_RETRY_SECONDS))
        with suppress(CancelledError):
            await self._pause

    def is_sure_since(self, claimed_at: float) -> bool:
        """Whether a claim that was confirmed then is certainly still ours.

        If we did not call the backend for longer than its lease, others may have recovered it.
        """
        now, lease = self._clock.now(), self._backend.lease
        in_touch = claimed_at >= self._unsure_before and now - self._last < lease
        return in_touch or now - claimed_at < lease

    def retry_now(self) -> None:
        """End the pause, if there is one."""
        if self._pause is not None:
            self._pause.cancel()

    def give_up(self) -> None:
        """Cancel the current call."""
        self.retry_now()
        if self._asked is not None:
            self._asked.cancel()

    def set_unavailable(self, reason: str) -> None:
        """Note that the backend is unavailable, and log it once."""
        if not self.is_available:
            return
        self.is_available = False
        now = self._clock.now()
        if now < self._quiet_until:
            return
        self._quiet_until = now + QUIET_SECONDS
        self._is_warned = True
        logger.warning(
            "Ledger %s is unavailable (%s). Continuing in memory and retrying; reports not sent "
            "before the crawl ends are lost unless the ledger comes back.",
            self._backend.name,
            reason,
            extra=self._log_extra,
        )
        self._on_unavailable()

    def _set_available(self) -> None:
        self.is_available = True
        if self._is_warned:
            self._is_warned = False
            logger.info("Ledger %s is available again.", self._backend.name, extra=self._log_extra)
