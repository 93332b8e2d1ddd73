"""The ledger in memory, which ends with the crawl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed

from ..outcome import Outcome
from ..recent import Recent

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..outcome import Report
    from ..task import Task
    from .base import Alert, Recovered

REMEMBERED_TASKS = 200_000
"""At most so many reported tasks are remembered, about 100 bytes each; at least half of them."""

REMEMBERED_SECONDS = 3600.0
"""How long a reported task is remembered at least.

Far longer than the service keeps a task (five minutes): a spider may go on using an answer, and it
must not be reported again.
"""


class MemoryLedger:
    """Remembers which tasks were reported.

    Args:
        now: seconds, steady.
    """

    name = "memory"
    durable = False

    def __init__(self, now: Callable[[], float]) -> None:
        self._claimed: Recent[bool] = Recent(now, REMEMBERED_TASKS, REMEMBERED_SECONDS)

    def __len__(self) -> int:
        return len(self._claimed)

    def is_claimed(self, task_id: int) -> bool:
        return self._claimed.get(task_id) is not None

    def sent(self, task_id: int, attempt: int) -> None:
        """Nothing to do: only other workers and later crawls would ask."""

    def not_sent(self, task_id: int, attempt: int) -> None:
        """Nothing to do, as in :meth:`sent`."""

    def passed(self, task: Task, attempt: int, site: str, sent_at: float) -> None:
        """Nothing to do: there is no history here."""

    def withheld(self, report: Report, outcome: Outcome) -> None:
        if outcome is Outcome.DRY_RUN:  # the next rejection is a duplicate, as in a real run
            self._claimed.set(report.task.id, True)

    def claim(self, report: Report) -> Deferred[Outcome | None] | None:
        self._claimed.set(report.task.id, True)
        return None

    def hurry(self, seconds: float) -> None:
        """Nothing to do: no claim waits."""

    def is_ours(self, report: Report) -> bool:
        return True

    def finished(self, report: Report, outcome: Outcome, code: str | None) -> None:
        """Nothing to do: the claim stands, so that the task is not reported again."""

    def alert(self, alert: Alert) -> None:
        """Nothing to do: there is no history here."""

    def open(self, on_recovered: Callable[[Recovered], None]) -> Deferred[None]:
        """Nothing to do: no other crawl left anything here."""
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)
