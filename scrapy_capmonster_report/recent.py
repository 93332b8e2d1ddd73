"""A mapping that keeps only recent tasks, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

CAPACITY: Final = 200_000
"""At most so many tasks are remembered, at least the latest half of them."""

KEEP_SECONDS: Final = 3600.0
"""A task is remembered at least for so long after it was last written.

Far longer than the service keeps a task (five minutes): a spider may go on using an old token, and
its rejection must not look like that of a new one.
"""


class Recent(Generic[V]):
    """Remembers values in two generations, and forgets the older generation as a whole.

    So it needs no timestamps, and memory does not grow over millions of tasks.

    Args:
        now: seconds, steady.
        capacity: how many values to remember at most, at least the latest half of them.
        keep: for how many seconds to remember a value at least, if there is room.
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

    def __len__(self) -> int:
        return len(self._young) + len(self._older)

    def get(self, task_id: int) -> V | None:
        """The value of *task_id*, ``None`` if there is none or it is forgotten."""
        value = self._young.get(task_id)
        return self._older.get(task_id) if value is None else value

    def set(self, task_id: int, value: V) -> None:
        """Remember *value*."""
        now = self._now()
        full = len(self._young) >= self._half and task_id not in self._young
        if full or now >= self._turn_at:
            self._older, self._young = self._young, {}
            self._turn_at = now + self._keep
        self._young[task_id] = value

    def delete(self, task_id: int) -> None:
        """Forget the value of *task_id*, if there is one."""
        self._young.pop(task_id, None)
        self._older.pop(task_id, None)
