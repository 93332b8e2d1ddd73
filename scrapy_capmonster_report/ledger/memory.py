"""The ledger that lasts as long as the crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..outcome import Outcome
    from ..report import Report
    from ..task import Task
    from .base import Inheritance
    from .entries import Alert

REMEMBERED_TASKS = 200_000
"""Tasks remembered at most; 100,000 of them for certain (about 150 bytes each)."""

REMEMBERED_SECONDS = 3600.0
"""How long a task is remembered for certain after it was last heard of.

Far longer than the service keeps a task (five minutes): a spider may go on using a token that it
took for good, and its refusal then must not look like that of a new one.
"""


class MemoryLedger:
    """Remembers recent tasks in two generations, of which the older is forgotten as a whole.

    An entry is one int, ``trip << 1 | claimed`` (trip 0: not used): a million tasks may pass
    through without the memory growing.

    Args:
        now: seconds, steady.
        capacity: how many tasks to remember at most.
        keep: for how many seconds to remember a task at least.
    """

    durable = False

    def __init__(
        self,
        now: Callable[[], float],
        capacity: int = REMEMBERED_TASKS,
        keep: float = REMEMBERED_SECONDS,
    ) -> None:
        self._now = now
        self._half = max(1, capacity // 2)
        self._keep = keep
        self._recent: dict[int, int] = {}
        self._older: dict[int, int] = {}
        self._turn_at = now() + keep

    def __len__(self) -> int:
        return len(self._recent) + len(self._older)

    def used_by(self, task_id: int) -> int | None:
        return (self._entry(task_id) >> 1) or None

    def is_claimed(self, task_id: int) -> bool:
        return bool(self._entry(task_id) & 1)

    def used(self, task: Task, trip: int, site: str, *, sent_at: float, passed: bool) -> None:
        """Note the first use of an answer, or renew the memory of it."""
        entry = self._entry(task.id)
        self._write(task.id, entry if entry >> 1 else entry | trip << 1)

    def withheld(self, report: Report, outcome: Outcome) -> None:
        """Nothing to do: the next refusal of the same answer is judged by itself."""

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        self._write(report.task.id, self._entry(report.task.id) | 1)
        return None

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        """Nothing to do: the claim stands, so that the task is not reported again."""

    def alert(self, alert: Alert) -> None:
        """Nothing to do: who comes later finds no history here."""

    def open(self, inherit: Callable[[Inheritance], None]) -> Deferred[None]:
        """Nothing to do: nobody left anything here."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)

    def _entry(self, task_id: int) -> int:
        entry = self._recent.get(task_id)
        return self._older.get(task_id, 0) if entry is None else entry

    def _write(self, task_id: int, entry: int) -> None:
        now = self._now()
        full = len(self._recent) >= self._half and task_id not in self._recent
        if full or now >= self._turn_at:
            self._older, self._recent = self._recent, {}
            self._turn_at = now + self._keep
        self._recent[task_id] = entry
