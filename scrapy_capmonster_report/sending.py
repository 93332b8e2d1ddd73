"""Which attempt of a task was sent first, and which failures mean that nothing was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from .recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable

ELSEWHERE: Final = 0
"""The number of an attempt of which nothing else is known."""

_MAX_SENDINGS: Final = 200
"""If more attempts than this may have been the first, none counts as the first."""

_NOTHING_SENT: Final = {
    # Scrapy
    "CannotResolveHostError",
    "DownloadConnectionRefusedError",
    "IgnoreRequest",
    "TunnelError",
    # Twisted
    "ConnectError",
    "DNSLookupError",
    # Python
    "ConnectionRefusedError",
    "gaierror",
    # Requests, HTTPX ("ConnectError", too), curl_cffi
    "ConnectTimeout",
    "DNSError",
    "ProxyError",
    # aiohttp
    "ClientConnectorError",
}
"""Exceptions by name: not every version and installation has them."""

_CURL_COULD_NOT_CONNECT: Final = 7
"""curl's ``CURLE_COULDNT_CONNECT``. curl_cffi has the same exception for later failures."""


def nothing_was_sent(exception: BaseException) -> bool:
    """Whether a download that failed with *exception* failed before anything reached the site.

    A middleware that ignores a request does not send it either.
    """
    names = {item.__name__ for item in type(exception).__mro__}
    if "UserError" in names:
        return False  # Twisted's TimeoutError, which Scrapy also raises if a site is slow to answer
    if "CurlError" in names and getattr(exception, "code", None) == _CURL_COULD_NOT_CONNECT:
        return True
    return not _NOTHING_SENT.isdisjoint(names)


@dataclass(slots=True)
class _Sending:
    """An attempt that may have been the first.

    Args:
        number: its number.
        slot: the downloader's slot, which requests leave in order.
        reached: when it reached the downloader, the earliest moment at which it was sent.
        sent: when it was sent, once a response has shown it.
    """

    number: int
    slot: str | None
    reached: float
    sent: float | None = None

    def is_before(self, other: _Sending) -> bool:
        """Whether this one was certainly sent before *other*."""
        if self.slot is not None and self.slot == other.slot:
            return self.number < other.number  # moments are less exact than that
        if self.sent is None:
            return False
        since = other.reached if other.sent is None else other.sent
        return (self.sent, self.number) < (since, other.number)  # clocks tick coarsely

    def is_first_of(self, sendings: list[_Sending]) -> bool:
        return all(self is other or self.is_before(other) for other in sendings)


class SendingOrder:
    """Knows which attempt of each task was sent first, as far as this process can.

    A request may wait in its slot (``DOWNLOAD_DELAY``) while a later one is sent from another slot.
    So the first is certain only once it is known when it was sent. Until then this class keeps a
    list of attempts for a task, afterwards the number of the first.

    Args:
        now: steady seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._tasks: Recent[int | list[_Sending]] = Recent(now)
        self._repeated: Recent[bool] = Recent(now)

    def began(self, task_id: int, number: int, slot: str | None, now: float) -> None:
        """Note that an attempt has entered *slot*."""
        entry = self._tasks.get(task_id)
        if not isinstance(entry, int):
            sendings = [*(entry or ()), _Sending(number, slot, now)]
            entry = ELSEWHERE if len(sendings) > _MAX_SENDINGS else sendings
        self._tasks.set(task_id, entry)  # also renews a known one

    def began_elsewhere(self, task_id: int, number: int = ELSEWHERE) -> None:
        """Note an attempt of another process or an earlier crawl, unless an attempt is known."""
        if self._tasks.get(task_id) is None:
            self._tasks.set(task_id, number)

    def repeated(self, number: int) -> None:
        """Note that the request of an attempt is sent once more."""
        self._repeated.set(number, True)

    def sent(self, task_id: int, number: int, at: float) -> None:
        """Note when an attempt was sent."""
        entry = self._tasks.get(task_id)
        if isinstance(entry, list):
            for item in entry:
                if item.number == number:
                    item.sent = at
            for item in entry:
                if item.sent is not None and item.is_first_of(entry):
                    self._tasks.set(task_id, item.number)

    def taken_back(self, task_id: int, number: int) -> None:
        """Note that nothing was sent on an attempt."""
        entry = self._tasks.get(task_id)
        if isinstance(entry, list) and (rest := [i for i in entry if i.number != number]):
            self._tasks.set(task_id, rest)
        elif isinstance(entry, list) or entry == number:
            self._tasks.delete(task_id)

    def is_first(self, task_id: int, number: int, *, by_rule: bool = True) -> bool:
        """Whether the attempt was certainly the first, as it is if no other is remembered.

        Args:
            by_rule: whether a rule judged it. A callback may name a request that was sent once
                more (``response.request`` is the last one), and mean what came of that.
        """
        if not by_rule and self._repeated.get(number):
            return False
        entry = self._tasks.get(task_id)
        if isinstance(entry, list):
            return any(item.number == number and item.is_first_of(entry) for item in entry)
        return entry in (None, number)
