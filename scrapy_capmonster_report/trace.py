"""The trace an answer leaves in ``request.meta``: where it has been, as far as fairness asks.

Scrapy carries ``meta`` along when it retries and redirects a request, and spiders copy it into the
next one. So the same ``taskId``, ``retry_times`` and ``redirect_urls`` come back in requests that
mean different things. The trace tells them apart: it remembers how much of that history lay behind
the answer when it was first seen, and gives every trip to the site a number.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TRACE: Final = "_capmonster_report"

_NEVER: Final = 1e12
"""Seconds since the epoch that no clock shows; what JSON makes of ``inf`` is not less."""

NO_TASK: Final = 0
"""The task of a trace that only says which history is older than any answer."""


class Trace(NamedTuple):
    """Kept in ``meta`` as a plain tuple, for a disk queue pickles it, and others write JSON.

    While a request is on its way it is kept as itself, which saves reading it; :func:`pack` makes
    it plain again before a queue sees it.

    Args:
        task: the ``taskId`` that this is the trace of, or :data:`NO_TASK`.
        solved_at: when it was solved, by :class:`~.clock.SteadyClock`.
        trip: the number of this trip to the site; 0 before the first. A redirect goes on with
            its trip, a retry and a copied ``meta`` begin another.
        retries: ``retry_times`` before the answer was first seen.
        redirects: how many ``redirect_urls`` lie behind this trip.
        tries: ``retry_times`` when this request went out.
        hops: how many ``redirect_urls`` there were when this request went out.
        sent_at: when the trip's first request went out, once a response has shown it.
        answered: whether a response to this very request has been looked at.
        cached: whether that response came from a cache.
    """

    task: int
    solved_at: float = 0.0
    trip: int = 0
    retries: int = 0
    redirects: int = 0
    tries: int = 0
    hops: int = 0
    sent_at: float | None = None
    answered: bool = False
    cached: bool = False

    @property
    def retried(self) -> bool:
        """Whether Scrapy retried the request since the answer was first seen."""
        return self.tries > self.retries

    def store(self, meta: dict[str, Any]) -> Trace:
        meta[TRACE] = tuple(self)
        return self

    def keep(self, meta: dict[str, Any]) -> Trace:
        meta[TRACE] = self
        return self


_MOMENT: Final = (float, int)
_KINDS: Final = frozenset(
    itertools.product(
        *[(int,), _MOMENT, *[(int,)] * 5, (*_MOMENT, type(None)), (bool,), (bool,)],
    )
)
"""The types that the members of a trace may have, as whole rows: to look a row up takes 1.0 µs, to
ask each member took 1.8, and it is done twice a request."""

_NO_HISTORY: Final = tuple(Trace(NO_TASK))


def stored_trace(meta: Mapping[str, Any]) -> Trace | None:
    """The trace in *meta*, if there is one and it is one."""
    value = meta.get(TRACE)
    if type(value) is Trace:
        return value
    # Whoever wrote anything but plain numbers did not mean us.
    if not isinstance(value, (tuple, list)) or tuple(map(type, value)) not in _KINDS:
        return None
    trace = Trace._make(value)
    task, solved_at, trip, retries, redirects, tries, hops, sent_at, _, _ = trace
    if (
        0 <= solved_at < _NEVER
        and (sent_at is None or 0 <= sent_at < _NEVER)
        and min(task, trip, retries, redirects, tries, hops) >= 0
    ):
        return trace
    return None


def none_is_ahead(trace: Trace, now: float) -> Trace:
    """*trace* without moments in the future: those of another machine whose clock is ahead."""
    solved_at, sent_at = min(trace.solved_at, now), trace.sent_at
    if sent_at is not None:
        sent_at = min(sent_at, now)
    return trace._replace(solved_at=solved_at, sent_at=sent_at)


def pack(meta: dict[str, Any]) -> None:
    """Make the trace in *meta* plain, whatever became of the request that it came from."""
    trace = meta.get(TRACE)
    if type(trace) is Trace:
        trace.store(meta)


def history(meta: Mapping[str, Any]) -> tuple[int, int]:
    """How often the request was retried, and redirected, by what Scrapy wrote into its *meta*."""
    retries = meta.get("retry_times")
    urls = meta.get("redirect_urls")
    return (
        retries if isinstance(retries, int) else 0,
        len(urls) if isinstance(urls, list) else 0,
    )


def leave_history_behind(meta: dict[str, Any]) -> None:
    """Note that what *meta* tells of retries and redirects is older than any answer.

    For a response without a task: its ``meta`` may be copied into the request that submits one.
    """
    if "retry_times" not in meta and "redirect_urls" not in meta:
        meta[TRACE] = _NO_HISTORY  # nearly every response of a crawl: one tuple for all
        return
    retries, hops = history(meta)
    Trace(NO_TASK, retries=retries, redirects=hops, tries=retries, hops=hops).store(meta)


def first_seen(meta: dict[str, Any], task_id: int, solved_at: float) -> Trace:
    """The trace of the answer of *task_id* when it is first seen, stored in *meta*.

    Where there is an earlier answer's trace, or that of a page without one, all history in *meta*
    is older than this answer: it has been nowhere yet. Without any trace the retries count as its
    own (a queue that dropped our key, say), because a report that is withheld does less harm than
    one that is unfair.
    """
    retries, hops = history(meta)
    if stored_trace(meta) is None:
        trace = Trace(task_id, solved_at, tries=retries)
    else:
        trace = Trace(task_id, solved_at, 0, retries, hops, tries=retries, hops=hops)
    return trace.store(meta)


def departed(meta: dict[str, Any], trace: Trace, next_trip: Callable[[], int]) -> Trace:
    """The trace when a request leaves for the site, kept in *meta*.

    Args:
        next_trip: gives the number of a trip that begins.
    """
    retries, hops = history(meta)
    if trace.trip and hops > trace.hops:  # redirected: the same trip goes on
        trip, redirects, sent_at = trace.trip, trace.redirects, trace.sent_at
    else:
        begins_anew = trace.trip and retries == trace.tries  # neither first nor a retry: a copy
        redirects = hops if begins_anew else trace.redirects
        trip, sent_at = next_trip(), None
    return Trace(
        trace.task,
        trace.solved_at,
        trip,
        trace.retries,
        redirects,
        tries=retries,
        hops=hops,
        sent_at=sent_at,
    ).keep(meta)


def arrived(meta: dict[str, Any], trace: Trace, *, sent_at: float, cached: bool) -> Trace:
    """The trace when the response to the request is looked at, stored in *meta*."""
    return Trace(
        trace.task,
        trace.solved_at,
        trace.trip,
        trace.retries,
        trace.redirects,
        trace.tries,
        trace.hops,
        trace.sent_at or sent_at,
        answered=True,
        cached=cached,
    ).store(meta)


def redirected_to(meta: Mapping[str, Any], trace: Trace, url: str) -> tuple[str, ...]:
    """The URLs that the site redirected this trip to; the last is *url*, the request's own."""
    urls = meta.get("redirect_urls")
    if not isinstance(urls, list) or len(urls) <= trace.redirects:
        return ()
    return (*urls[trace.redirects + 1 :], url)


def submitted_to(meta: Mapping[str, Any], trace: Trace, url: str) -> str:
    """The URL that got the answer first on this trip, before any redirect."""
    urls = meta.get("redirect_urls")
    if not isinstance(urls, list) or len(urls) <= trace.redirects:
        return url
    return str(urls[trace.redirects])
