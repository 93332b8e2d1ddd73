"""The end of a crawl: what it waits for, and for how long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from scrapy.utils.defer import maybe_deferred_to_future

from .deadline import Deadline
from .settings import CLOSE_TIMEOUT

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from .context import CrawlContext
    from .delivery import Delivery, ReportClient
    from .ledger import Ledger

logger = logging.getLogger(__name__)

QUIET_SECONDS: Final = 2.0
"""If closing takes longer, the log says what it waits for."""


async def close(
    context: CrawlContext,
    delivery: Delivery,
    ledger: Ledger,
    client: ReportClient,
    opened: Deferred[None],
) -> None:
    """Send the last reports, for ``CAPMONSTER_REPORT_CLOSE_TIMEOUT`` at most, and close all.

    Args:
        opened: fires when the *ledger* is open.
    """
    most, now = context.settings.close_timeout, context.clock.now
    closes_at = now() + most

    def log_reason() -> None:
        what = f"Waiting for ledger {ledger.name}"
        if delivery.unfinished:
            what = f"Sending the last reports to CapMonster Cloud ({delivery.unfinished})"
        message = "%s, for %g seconds at most (%s)"
        logger.info(message, what, most, CLOSE_TIMEOUT, extra=context.log_extra)

    quiet = Deadline(context.reactor, QUIET_SECONDS, log_reason, now)
    if most > 0:
        # The last third is for sending, even if the ledger is silent.
        ledger.hurry(most * 2 / 3)
        # A short crawl also sends what another one left.
        await maybe_deferred_to_future(opened)
    for part in (delivery, ledger):
        await maybe_deferred_to_future(part.close(max(0.0, closes_at - now())))
    await maybe_deferred_to_future(client.close())
    quiet.cancel()
