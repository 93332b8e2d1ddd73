"""A mapping that keeps only recent tasks, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

CAPACITY: Final = 200_000
"""How many tasks are remembered at most. The latest half of this number always are."""

KEEP_SECONDS: Final = 3600.0
"""How long a task is remembered after it was last written, if there is room.

Far longer than the service keeps a task (five minutes): a spider may go on using an old token, and
its rejection must not look like that of a new one.
"""


class Recent(Generic[V]):
    """Remembers values of tasks or attempts in two generations, and forgets the older as a whole.

    So it needs no timestamps, and memory is bounded.

    Args:
        now: seconds, steady.
        capacity: how many values to remember at most.
        keep: for how many seconds to remember a value, if there is room.
    """

    __slots__ = ("_half", "_keep", "_now", "_older", "_turn_at", "_young")

    def __init__(
        self, now: Callable[[], float], capacity: int = CAPACITY, keep: float = KEEP_SECONDS
    ) -> None:
        self._now = now
        self._half = max(1, capacity // 2)
        self._keep = keep
        self._young: dict[int, V] = {}
        self._older: dict[int, V] = {}
        self._turn_at = now() + keep

    def get(self, key: int) -> V | None:
        """The value of *key*, ``None`` if there is none or it is forgotten."""
        value = self._young.get(key)
        return self._older.get(key) if value is None else value

    def set(self, key: int, value: V) -> None:
        """Remember *value*."""
        now = self._now()
        full = len(self._young) >= self._half and key not in self._young
        if full or now >= self._turn_at:
            self._older, self._young = self._young, {}
            self._turn_at = now + self._keep
        self._young[key] = value

    def delete(self, key: int) -> None:
        """Forget the value of *key*, if there is one."""
        self._young.pop(key, None)
        self._older.pop(key, None)
