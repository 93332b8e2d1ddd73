"""When the next report may be sent, and log messages about pauses and outages."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Final

from .answer import Verdict

if TYPE_CHECKING:
    from ..context import CrawlContext
    from .answer import ReportAnswer

logger = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 30.0

BAN_SECONDS: Final = 600.0
"""The service's documentation: a ban lasts ten minutes if the client sends nothing."""

MAX_STRIKES: Final = 5
"""After so many answers in a row that may lead to a ban, reporting pauses (our choice)."""

MAX_REFUSALS: Final = 20
"""After so many refused reports in a row, with any code, reporting pauses too (our choice)."""

PAUSE_SECONDS: Final = 60.0
"""The first such pause. It doubles each time the probe fails, up to a ban's length."""

QUIET_SECONDS: Final = 60.0
"""After an outage was logged, no other is for so long, in case the service flaps."""


class Pacing:
    """Decides by the answers so far how many reports may be in flight.

    Until the service has answered a report, only one is sent: a wrong key or a ban should be met
    once. After a pause, one report is sent first again, the probe. This class only counts answers
    and is given the time, so it waits for nothing.

    Args:
        context: the crawl.
    """

    def __init__(self, context: CrawlContext) -> None:
        self._random = context.random.random
        self._settings = context.settings
        self._log_extra = context.log_extra
        self.paused_until = -math.inf
        self._pause = PAUSE_SECONDS
        self._strikes = self._refusals = 0
        self._told_to_wait_until = self._backing_off_until = -math.inf
        self._throttles = self._failures = 0
        self._is_answered = False
        self._is_outage_logged = False
        self._quiet_until = -math.inf

    def backoff(self, failures: int) -> float:
        """Seconds to wait after so many earlier failures.

        As Twisted's ``backoffPolicy``, whose import costs a crawl 3 % of its start.
        """
        doubled = BACKOFF_SECONDS * 2.0 ** min(failures, 30)
        return min(doubled, MAX_BACKOFF_SECONDS) + self._random() * BACKOFF_SECONDS

    @property
    def is_paused(self) -> bool:
        """Whether reporting is paused until the probe is answered, or stopped."""
        return self.paused_until > -math.inf

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is sent in this crawl."""
        return self.paused_until == math.inf

    @property
    def opens_at(self) -> float:
        """The moment from which at least one report may be in flight (``inf``: never again)."""
        return max(self.paused_until, self._told_to_wait_until, self._backing_off_until)

    @property
    def _at_once(self) -> int:
        return self._settings.concurrency if self._is_answered and not self.is_paused else 1

    def allowed(self, now: float) -> int:
        """How many reports may be in flight *now*."""
        return self._at_once if now >= self.opens_at else 0

    def stop_backing_off(self) -> None:
        """End a pause of our own choice. Those that the service asked for continue."""
        self._backing_off_until = -math.inf

    def learn(self, answer: ReportAnswer, now: float, *, is_probe: bool) -> None:
        """Note an *answer*.

        Args:
            is_probe: whether it answers the probe. Answers to reports that were in flight when
                reporting was paused may extend the pause, but do not end it.
        """
        if answer.verdict is Verdict.STOP:
            self._pause_until(math.inf, answer, now)
        elif answer.verdict is Verdict.BAN:
            self._pause_until(now + BAN_SECONDS, answer, now)
        elif answer.verdict.is_retried:
            if is_probe:  # it is still unknown whether the service accepts reports
                self._pause_until(now + self._pause, answer, now)
            self._failed(answer, now)
        elif is_probe or not self.is_paused:
            self._strikes = self._strikes + 1 if answer.verdict is Verdict.STRIKE else 0
            self._refusals = self._refusals + 1 if answer.verdict is not Verdict.ACCEPTED else 0
            if self._strikes >= MAX_STRIKES or self._refusals >= MAX_REFUSALS:
                self._pause_until(now + self._pause, answer, now)
                self._pause = min(self._pause * 2, BAN_SECONDS)
            else:
                self._resume()
        if not answer.verdict.is_retried:
            self._answered()

    def _pause_until(self, moment: float, answer: ReportAnswer, now: float) -> None:
        before = self.is_paused, self.is_stopped
        self.paused_until = max(self.paused_until, moment)
        if before != (self.is_paused, self.is_stopped):
            stopped = "stopped for the rest of this crawl"
            logger.log(
                logging.ERROR if answer.verdict in (Verdict.STOP, Verdict.BAN) else logging.WARNING,
                "Reporting %s: CapMonster Cloud returned %s. %s",
                stopped if self.is_stopped else f"paused for {moment - now:.0f} seconds",
                answer.reason,
                answer.advice,
                extra=self._log_extra,
            )

    def _resume(self) -> None:
        if self.is_paused:
            self.paused_until = -math.inf
            self._pause = PAUSE_SECONDS
            logger.info("Reporting to CapMonster Cloud resumed.", extra=self._log_extra)

    def _failed(self, answer: ReportAnswer, now: float) -> None:
        if not self._is_outage_logged and now >= self._quiet_until:
            self._is_outage_logged = True
            self._quiet_until = now + QUIET_SECONDS
            logger.warning(
                "Cannot deliver reports to CapMonster Cloud (%s). They are queued and will be "
                "retried.",
                answer.reason,
                extra=self._log_extra,
            )
        if answer.verdict is Verdict.THROTTLE:
            if now >= self._told_to_wait_until:  # count answers of one round only once
                self._throttles += 1
            # Without a Retry-After, choose a pause.
            wait = min(answer.wait or self.backoff(self._throttles - 1), self._settings.max_age)
            self._told_to_wait_until = max(self._told_to_wait_until, now + wait)
            return
        # After a whole round without a success, the service is down. Pause all reports together:
        # otherwise each of thousands would be tried in vain.
        self._failures += 1
        rounds, rest = divmod(self._failures, self._at_once)
        if rest == 0:
            self._backing_off_until = now + self.backoff(rounds - 1)

    def _answered(self) -> None:
        if self._is_outage_logged and not self.is_paused:
            logger.info("Reports are delivered to CapMonster Cloud again.", extra=self._log_extra)
        self._is_answered = True
        self._is_outage_logged = False
        self._failures = self._throttles = 0
        self._backing_off_until = -math.inf
