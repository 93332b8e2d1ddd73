"""Reasons why a crawl found or reported less than its user may expect, one line each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from ..outcome import Outcome
from ..rules.hosts import host_of, parents_of
from ..settings import CLOSE_TIMEOUT, CONCURRENCY, LEDGER, QUEUE_SIZE
from ..text import some_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from scrapy.http import Response

    from ..context import CrawlContext
    from ..stats import Stats

logger = logging.getLogger(__name__)

MAX_HOSTS: Final = 5
"""How many hosts or domains a line names."""

REMEDIES: Final = {
    Outcome.QUEUE_FULL: f"A larger {QUEUE_SIZE} lets more of them wait",
    Outcome.EXPIRED: f"A larger {CONCURRENCY} sends more of them at once",
    Outcome.SHUTDOWN: f"A larger {CLOSE_TIMEOUT} gives them more time; {LEDGER} keeps them",
}
"""The settings that would have avoided each kind of dropped report."""


class ClosingHints:
    """Notes what the crawl sees, and logs at its end what was probably not intended.

    Args:
        context: the crawl.
        domains: those that the rules are for; empty if a rule is for any.
    """

    def __init__(self, context: CrawlContext, domains: Collection[str]) -> None:
        self.task_seen = False
        """Whether a request carried a ``taskId``; set by the middleware."""
        self._context = context
        self._domains = frozenset(domains)
        self._hosts: dict[str, None] = {}

    def checked(self, response: Response) -> None:
        """Note a response that was judged by the rules."""
        if not self._domains:
            return
        host = host_of(response.url)
        if not self._domains.isdisjoint(parents_of(host)):
            self._domains = frozenset()  # a rule is for this host, so there is nothing to log
        elif host and len(self._hosts) < MAX_HOSTS:  # a middleware may set any URL
            self._hosts[host] = None

    def log(self) -> None:
        """Log the lines that apply."""
        for line in self._lines(self._context.stats):
            logger.warning(line, extra=self._context.log_extra)

    def _lines(self, counters: Stats) -> Iterator[str]:
        if not self.task_seen and counters.responses():
            yield (
                "No request carried a taskId, so no response was checked. Give the request that "
                "submits an answer meta=captcha_meta(task_id, task_type)."
            )
        if self._domains and self._hosts:
            domains = some_of(sorted(self._domains), MAX_HOSTS)
            hosts = some_of(self._hosts, MAX_HOSTS)
            yield (
                "No rule is for the sites that responded to answers. The rules are for "
                f"{domains}; the responses came from {hosts}."
            )
        for outcome, remedy in REMEDIES.items():
            if count := counters.tally[outcome.value]:
                yield f"Reports dropped ({outcome.reason}): {count}. {remedy}."
