"""Attempts: each sending of an answer to the site.

An answer counts as used once it was sent to the site, even if no response comes back. Scrapy, other
middlewares and spiders copy ``request.meta`` into retries, redirects and new requests, so requests
that mean different things carry the same ``taskId``. What is kept in ``meta`` tells them apart:

========================================  ==============================
a request reaches the downloader           an attempt begins
its redirect does, or a browser follows    the same attempt goes on
its retry or a copy of it does             another attempt begins
nothing was sent (connection refused)      the attempt is taken back
nothing reached the downloader             the response is the attempt
========================================  ==============================
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from .redirects import fetched_host, redirect_urls
from .rules import hosts
from .sending import SendingOrder, nothing_was_sent
from .task import TASK_ID, retries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request
    from scrapy.http import Response

    from .context import CrawlContext
    from .ledger import Ledger
    from .task_reader import TaskReader

ATTEMPT: Final = "_capmonster_report"
"""The key in ``meta`` for our own bookkeeping. Its value is plain: queues pickle it."""

NO_TASK: Final = 0
"""The value of that key in a request without a task, whose retries are not attempts.

Once the request has reached the downloader, the value is its ``id()``: if it gets a task after
that, it has not submitted the answer.
"""

LATENCY: Final = "download_latency"
"""What Scrapy writes into ``meta``: seconds from sending a request to the response's headers."""

UNJUDGED, PASSED, REJECTED, CACHED = range(4)
"""The verdict on an attempt. A response from a cache says nothing about the answer."""


@dataclass(slots=True)
class Attempt:
    """One sending of an answer. Moments are by :class:`~.clock.SteadyClock`.

    Args:
        task_id: the ``taskId``; 0 if it is unusable.
        solved_at: when the answer was solved.
        created_at: when the task was created; ``None`` if not known.
        number: 0 before the first attempt.
        begun: the number of ``redirect_urls`` when the attempt began.
        hops: their number when the request was last seen.
        url: the request's URL when it was last seen.
        in_downloader: the ``id()`` of the request while it waits for its response, else 0. Copies
            of the request have another ``id()``.
        peer: the ``id()`` of the address that its response came from. Copies of that response share
            the object, most others do not. 0 if no response was downloaded.
        sent_at: when it was sent; ``None`` if not yet known.
        verdict: one of the constants above.
        site: the host that the answer was sent to.
        unsent: of Scrapy's retries (``retry_times``), how many followed when the answer was not
            sent: nothing was, or there was no answer yet.
        method: how it was sent. Of a GET that a form led to, it is that of the form.
    """

    task_id: int
    solved_at: float
    created_at: float | None = None
    number: int = 0
    begun: int = 0
    hops: int = 0
    url: str = ""
    in_downloader: int = 0
    peer: int = 0
    sent_at: float | None = None
    verdict: int = UNJUDGED
    site: str = ""
    unsent: int = 0
    method: str = ""

    def write(self, meta: dict[str, Any]) -> Attempt:
        meta[ATTEMPT] = _values_of(self)
        return self


_values_of: Final = attrgetter(*(field.name for field in fields(Attempt)))

_MOMENT: Final = (int, float)
_OPTIONAL: Final = (*_MOMENT, type(None))
_TYPES: Final[list[Any]] = [
    *(int, _MOMENT, _OPTIONAL, int, int, int, str, int, int, _OPTIONAL, int, str, int, str)
]
"""The types that the members of an attempt may have."""

_MAX_MOMENT: Final = 1e12
"""Seconds since the epoch, later than any clock shows."""


def read_attempt(meta: Mapping[str, Any]) -> Attempt | None:
    """The attempt in *meta*. Ignores values that this module cannot have written."""
    value = meta.get(ATTEMPT)
    if not isinstance(value, (tuple, list)) or len(value) != len(_TYPES):
        return None
    if not all(map(isinstance, value, _TYPES)):
        return None
    attempt = Attempt(*value)
    numbers = attempt.number, attempt.begun, attempt.hops, attempt.verdict, attempt.unsent
    is_ours = (
        0 <= attempt.solved_at < _MAX_MOMENT
        and 0 <= (attempt.created_at or 0) < _MAX_MOMENT
        and 0 <= (attempt.sent_at or 0) < _MAX_MOMENT
        and min(numbers) >= 0
    )
    return attempt if is_ours else None


class Attempts:
    """Follows every answer on its way to the site and back.

    Args:
        context: the crawl.
        tasks: reads what requests carry.
        ledger: tells other workers and later crawls which attempts began.
    """

    def __init__(self, context: CrawlContext, tasks: TaskReader, ledger: Ledger) -> None:
        self._clock = context.clock
        self._tasks = tasks
        # Workers that share a ledger must not give the same numbers.
        self._next_number = itertools.count(context.random.getrandbits(60) + 1).__next__
        self._ledger = ledger
        self._has_cache = context.crawler.settings.getbool("HTTPCACHE_ENABLED")
        self._order = SendingOrder(context.clock.now)

    # -- on the way out ------------------------------------------------------------------------

    def without_task(self, request: Request, mark: int = NO_TASK) -> None:
        """Note that the retries of *request* so far are not attempts of an answer."""
        if isinstance(request.meta.get(ATTEMPT, NO_TASK), int):
            request.meta[ATTEMPT] = mark

    def scheduled(self, request: Request) -> Attempt:
        """The last attempt of a request before it is sent."""
        # A retry_times that is there already is a spider's own: it counts tries with other answers.
        request.meta.setdefault(ATTEMPT, NO_TASK)
        attempt = self._read(request)
        attempt.in_downloader = 0
        return attempt.write(request.meta)

    def reached_downloader(self, request: Request) -> None:
        """Begin an attempt, or continue the one that was redirected."""
        request.meta.pop(LATENCY, None)  # of an earlier download
        attempt = self._leave(request, self._read(request))
        attempt.in_downloader = id(request)
        attempt.write(request.meta)

    def received(self, request: Request, response: Response | None = None) -> Attempt:
        """The attempt whose headers or whole response have come.

        The headers show when the request left its slot, the whole response which redirects a
        browser followed.
        """
        attempt = self._read(request)
        if attempt.sent_at is None and LATENCY in request.meta:
            self._note_sent(attempt, request.meta[LATENCY])
        urls = redirect_urls(request.meta)
        added = urls[attempt.hops : attempt.hops + 1]
        if len(urls) < attempt.hops or added not in ([], [attempt.url]):
            attempt.begun = 0  # the list was replaced
        attempt.hops = len(urls)
        if response is not None:
            attempt.peer = id(response.ip_address)
        return attempt.write(request.meta)

    # -- on the way back -----------------------------------------------------------------------

    def answered(self, request: Request, response: Response) -> Attempt:
        """The attempt that *response* answers. The judge writes it, with the verdict."""
        attempt, meta, address = self._read(request), request.meta, response.ip_address
        if "cached" in response.flags:
            attempt.verdict, attempt.hops = CACHED, len(redirect_urls(meta))
        else:
            # Another request brought the response if that has another address, or no task of ours.
            asked = response.request or request
            other = address is not None and attempt.peer not in (0, id(address))
            other = other or (asked is not request and asked.meta.get(ATTEMPT) == id(asked))
            if other or attempt.in_downloader != id(request):
                # Written for a rule's callback that calls reject().
                attempt = self._leave(request, attempt).write(meta)
            if attempt.sent_at is None:  # no headers were seen: then, or now, at the latest
                self._note_sent(attempt, meta.get(LATENCY) if attempt.in_downloader else None)
        attempt.in_downloader = 0
        fetched = fetched_host(request, response, attempt.begun)
        attempt.site = fetched or attempt.site or hosts.host_of(request.url)
        return attempt

    def failed(self, request: Request, exception: BaseException) -> Attempt:
        """The attempt of a failed request.

        It is taken back if nothing was sent. It begins if a middleware failed that may have sent
        the request in its own way.
        """
        attempt = self._read(request)
        nothing_sent = nothing_was_sent(exception)
        if attempt.in_downloader != id(request):
            if not nothing_sent:
                attempt = self._leave(request, attempt)
        elif nothing_sent and attempt.hops == attempt.begun:  # not behind a redirect
            self._order.taken_back(attempt.task_id, attempt.number)
            self._ledger.not_sent(attempt.task_id, attempt.number)
            attempt.number = 0
        attempt.unsent += nothing_sent
        attempt.in_downloader = 0
        return attempt.write(request.meta)

    def of(self, request: Request) -> Attempt:
        """The attempt of a request that a callback judges: ``response.request``.

        The judge writes it, with the verdict.
        """
        attempt = self._read(request)
        if not attempt.number and attempt.verdict != CACHED:
            attempt = self._leave(request, attempt)
        return attempt

    def is_first(self, attempt: Attempt, *, by_rule: bool = True) -> bool:
        """Whether the answer was not sent before *attempt*; ``False`` if that is unknown.

        Args:
            by_rule: whether a rule judged it; ``False``: a callback.
        """
        return self._order.is_first(attempt.task_id, attempt.number, by_rule=by_rule)

    # -- inside --------------------------------------------------------------------------------

    def _read(self, request: Request) -> Attempt:
        """The attempt of the task in ``meta``: number 0 if the task is new there."""
        meta = request.meta
        attempt, read_id = read_attempt(meta), self._tasks.task_id
        if attempt and (attempt.task_id == meta[TASK_ID] or attempt.task_id == read_id(meta)):
            return attempt
        task_id, moments = read_id(meta), self._tasks.moments(meta)
        hops = len(redirect_urls(meta))
        # If our key is missing, a queue has lost it: then each retry may have sent the answer.
        unsent = retries(meta) if ATTEMPT in meta else 0
        attempt = Attempt(task_id, *moments, begun=hops, hops=hops, unsent=unsent)
        return attempt.write(meta)

    def _leave(self, request: Request, attempt: Attempt) -> Attempt:
        """The attempt of *request* as it is sent to the site: the same one if it was redirected."""
        urls = redirect_urls(request.meta)
        if attempt.number and urls[attempt.hops : attempt.hops + 1] == [attempt.url]:
            attempt.hops, attempt.url = len(urls), request.url
            attempt.verdict = UNJUDGED if attempt.verdict == PASSED else attempt.verdict
            return attempt
        if attempt.number or retries(request.meta) > attempt.unsent:
            # It was sent before, maybe by another worker, or by a middleware in its own way. An
            # unfair report does more harm than a withheld one.
            self._order.began_elsewhere(attempt.task_id, attempt.number)
            if (attempt.method, attempt.url) == (request.method, request.url):
                self._order.repeated(attempt.number)
        # Redirects before it come from a cache, or from a middleware that sends in its own way.
        begun = len(urls) if attempt.number else attempt.hops
        number, now = self._next_number(), self._clock.now()
        if attempt.task_id:
            self._order.began(attempt.task_id, number, request.meta.get("download_slot"), now)
            self._ledger.sent(attempt.task_id, number)
        return Attempt(
            attempt.task_id,
            min(attempt.solved_at, now),  # another worker's clock may be ahead
            attempt.created_at,
            number,
            begun,
            hops=len(urls),
            url=request.url,
            verdict=CACHED if self._has_cache and begun < len(urls) else UNJUDGED,
            site=hosts.host_of(request.url),
            unsent=attempt.unsent,
            method=request.method,
        )

    def _note_sent(self, attempt: Attempt, latency: object) -> None:
        ago = latency if isinstance(latency, float) and latency > 0 else 0.0
        attempt.sent_at = self._clock.now() - ago
        self._order.sent(attempt.task_id, attempt.number, attempt.sent_at)
