"""The events that are not written yet: claims first, because reports wait for them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from .base import Claimed, Finished

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .base import Event

MAX_BUFFERED: Final = 20_000
"""How many events are buffered at most, about 300 bytes each. The oldest are dropped first."""

MIN_BATCH: Final = 200
MAX_BATCH: Final = 2000
"""How many events are written at once, at most."""

BATCH_SECONDS: Final = 0.25
"""Batches grow while they take less than this, and shrink if they take more than twice as long,
because other processes wait meanwhile."""


class EventBuffer:
    """Keeps events until they are written. If full, it drops the oldest that are not claims."""

    def __init__(self) -> None:
        self._claims: deque[Event] = deque()  # and what became of them
        self._others: deque[Event] = deque()
        self._batch: list[Event] = []
        self._batch_size = MIN_BATCH

    def __len__(self) -> int:
        return len(self._batch) + len(self._claims) + len(self._others)

    def add(self, event: Event) -> Event | None:
        """Add *event*, and return the one that is dropped for it, if any."""
        is_claim = isinstance(event, (Claimed, Finished))
        (self._claims if is_claim else self._others).append(event)
        if len(self._claims) + len(self._others) <= MAX_BUFFERED:
            return None
        return (self._others or self._claims).popleft()

    def put_first(self, events: Iterable[Event]) -> None:
        """Write *events* again, before all others."""
        self._batch[:0] = events

    def take(self) -> list[Event]:
        """The events to write next. They stay until :meth:`written`."""
        while len(self._batch) < self._batch_size and (queue := self._claims or self._others):
            self._batch.append(queue.popleft())
        return [*self._batch]

    def written(self, seconds: float) -> list[Event]:
        """Remove and return the events that were written. Writing them took *seconds*."""
        if seconds < BATCH_SECONDS:
            self._batch_size = min(self._batch_size * 2, MAX_BATCH)
        elif seconds > 2 * BATCH_SECONDS:
            self._batch_size = max(self._batch_size // 2, MIN_BATCH)
        written, self._batch = self._batch, []
        return written

    def clear(self) -> list[Event]:
        """Remove and return all events."""
        events = [*self._batch, *self._claims, *self._others]
        for queue in (self._batch, self._claims, self._others):
            queue.clear()
        return events
