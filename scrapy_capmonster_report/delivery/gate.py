"""How many reports may be under way: the breaker, the pauses, and what the log says of them."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any, Final

from .answer import ERROR_CODES, Reaction, Verdict
from .breaker import Breaker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answer import Answer

logger = logging.getLogger(__name__)

QUIET_SECONDS: Final = 60.0
"""After an outage was logged, others are not for so long: an API that flaps is one story."""


class Gate:
    """Learns from each answer whether, and how many, further reports may start.

    Args:
        concurrency: reports under way at most.
        max_age: seconds after which a report is pointless, hence the longest pause.
        backoff: the seconds to wait after the n-th failure in a row, from 0.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        concurrency: int,
        max_age: float,
        backoff: Callable[[int], float],
        log_extra: dict[str, Any],
    ) -> None:
        self.breaker = Breaker()
        self._concurrency = concurrency
        self._max_age = max_age
        self._backoff = backoff
        self._log_extra = log_extra
        self._told_to_wait_until = -math.inf
        self._backing_off_until = -math.inf
        self._throttles = 0
        self._failures = 0
        self._outage_logged = False
        self._quiet_until = -math.inf
        self._answered = False
        self._one_first = False

    @property
    def opens_at(self) -> float:
        """The moment from which at least one report may be under way (``inf``: never again)."""
        until = max(self._told_to_wait_until, self._backing_off_until)
        return max(until, self.breaker.open_until) if self.breaker.is_open else until

    def allowed(self, now: float) -> int:
        """How many reports may be under way *now*."""
        if now < self.opens_at:
            return 0
        most = 1 if self._one_first else self._concurrency
        return int(min(most, self.breaker.allowed(now)))

    def try_one_first(self) -> None:
        """Let one report go first, unless the service has answered one already."""
        self._one_first = not self._answered

    def stop_backing_off(self) -> None:
        """End a pause that we chose ourselves; those that the service asked for stand."""
        self._backing_off_until = -math.inf

    def learn(self, answer: Answer, now: float, *, probe: bool) -> None:
        """Take note of an *answer*; *probe* as in :meth:`Breaker.record`."""
        if self.breaker.record(answer, now, probe=probe):
            self._log_breaker(answer, now)
        if answer.verdict is not Verdict.RETRY:
            self._answered, self._one_first = True, False
            self._recovered()
            return
        self._log_outage(answer, now)
        if answer.reaction is Reaction.THROTTLE:
            self._throttled(answer, now)
        else:
            self._failed(now)

    def _throttled(self, answer: Answer, now: float) -> None:
        if now >= self._told_to_wait_until:  # not told by the answers of one round
            self._throttles += 1
        # A service that asks for no pause at all, and yet throttles, gets the one we choose.
        wait = answer.wait or self._backoff(self._throttles - 1)
        until = now + min(wait, self._max_age)
        self._told_to_wait_until = max(self._told_to_wait_until, until)

    def _failed(self, now: float) -> None:
        # A whole round without a success: it is the service, not this report. Without a common
        # pause thousands of waiting reports would each find that out for themselves.
        self._failures += 1
        rounds, rest = divmod(self._failures, self._concurrency)
        if rest == 0:
            self._backing_off_until = now + self._backoff(rounds - 1)

    def _recovered(self) -> None:
        if self._outage_logged and not self.breaker.is_open:
            logger.info("CapMonster Cloud takes reports again", extra=self._log_extra)
        self._outage_logged = False
        self._failures = self._throttles = 0
        self._backing_off_until = -math.inf

    def _log_outage(self, answer: Answer, now: float) -> None:
        if not self._outage_logged and now >= self._quiet_until:
            self._outage_logged = True
            self._quiet_until = now + QUIET_SECONDS
            logger.warning(
                "CapMonster Cloud does not take reports (%s); they wait and are sent again",
                answer.reason,
                extra=self._log_extra,
            )

    def _log_breaker(self, answer: Answer, now: float) -> None:
        if not self.breaker.is_open:
            logger.info(
                "CapMonster Cloud answers as it should; reporting goes on", extra=self._log_extra
            )
            return
        code = answer.code or ""
        if self.breaker.is_final:
            how_long = "for the rest of this crawl"
        else:
            how_long = f"for {self.breaker.open_until - now:.0f} seconds"
        logger.log(
            logging.WARNING if answer.reaction is Reaction.STRIKE else logging.ERROR,
            "Reporting to CapMonster Cloud stops %s: it answered %s. What this means: %s",
            how_long,
            code,
            ERROR_CODES[code].advice,
            extra=self._log_extra,
        )
