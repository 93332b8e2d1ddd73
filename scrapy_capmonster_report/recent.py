"""A mapping that remembers recent tasks and forgets old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

V = TypeVar("V")

CAPACITY: Final = 200_000
"""Tasks remembered at most; half of them for certain."""

KEEP_SECONDS: Final = 3600.0
"""How long a task is remembered for certain after it was last written.

Far longer than the service keeps a task (five minutes): a spider may go on using a token that it
takes for good, and its rejection must not look like that of a new one.
"""


class Recent(Generic[V]):
    """Remembers in two generations, of which the older is forgotten as a whole.

    Args:
        now: seconds, steady.
        capacity: how many tasks to remember at most.
        keep: for how many seconds to remember a task at least.
    """

    def __init__(
        self,
        now: Callable[[], float],
        capacity: int = CAPACITY,
        keep: float = KEEP_SECONDS,
    ) -> None:
        self._now = now
        self._half = max(1, capacity // 2)
        self._keep = keep
        self._recent: dict[int, V] = {}
        self._older: dict[int, V] = {}
        self._turn_at = now() + keep

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def get(self, task_id: int) -> V | None:
        value = self._recent.get(task_id)
        return self._older.get(task_id) if value is None else value

    def set(self, task_id: int, value: V) -> None:
        now = self._now()
        full = len(self._recent) >= self._half and task_id not in self._recent
        if full or now >= self._turn_at:
            self._older, self._recent = self._recent, {}
            self._turn_at = now + self._keep
        self._recent[task_id] = value

    def delete(self, task_id: int) -> None:
        self._recent.pop(task_id, None)
        self._older.pop(task_id, None)
