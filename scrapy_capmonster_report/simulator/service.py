"""The service itself: what it keeps in mind, and how it answers each call."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from .answer import Answer
from .server import Server
from .task import (
    REPORTS,
    Report,
    SimulatedTask,
    has_body,
    is_picture,
    is_supported,
    made_up,
    spoilt,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from twisted.internet.defer import Deferred

#: The key the simulator accepts when it is not told another.
DEFAULT_CLIENT_KEY: Final = "simulated-client-key"

_PICTURE_BYTES: Final = range(100, 500_001)
_FIRST_TASK_ID: Final = 7_654_321


class Simulator:
    """The service, listening on 127.0.0.1 between :meth:`start` and :meth:`stop`.

    The same seed and the same sequence of tasks give the same answers, and the same ones of them
    wrong. Everything asked of it is kept in memory: it is meant for tests, not for months.

    Args:
        client_key: the only ``clientKey`` it knows.
        port: the port to listen on; 0 takes any free one.
        delay: how long solving takes, in seconds.
        wrong: the share of wrong answers, between 0 and 1. A wrong text differs from the right
            one in one character, and in more than its case; a wrong token starts with ``wrong-``.
        retention: how long a task is known after its creation, in seconds; the service keeps
            tasks for "usually 5 minutes".
        balance: what ``getBalance`` says; at 0, ``createTask`` says ``ERROR_ZERO_BALANCE``.
        seed: seed of everything random.
        solve: called with the ``task`` object of ``createTask``, returns the right answer.
            Without it, answers are made up.
        clock: an ``IReactorTime`` provider to tell the time by; by default the reactor.
        reactor: an ``IReactorTCP`` provider to listen with; by default the installed one.

    Raises:
        ValueError: *port*, *wrong*, *delay*, *retention* or *balance* is out of range.
    """

    def __init__(
        self,
        *,
        client_key: str = DEFAULT_CLIENT_KEY,
        port: int = 0,
        delay: float = 0.0,
        wrong: float = 0.0,
        retention: float = 300.0,
        balance: float = 10.0,
        seed: int = 0,
        solve: Callable[[dict[str, Any]], str] | None = None,
        clock: Any = None,
        reactor: Any = None,
    ) -> None:
        if port not in range(65536):
            raise ValueError(f"The port must be between 0 and 65535, not {port}.")
        if not 0 <= wrong <= 1:
            raise ValueError(f"The share of wrong answers must be between 0 and 1, not {wrong}.")
        if not delay >= 0:
            raise ValueError(f"The delay must be 0 or more seconds, not {delay}.")
        if not retention > 0:
            raise ValueError(f"The retention must be more than 0 seconds, not {retention}.")
        if not 0 <= balance < math.inf:
            raise ValueError(f"The balance must be a number, 0 or more, not {balance}.")
        #: Every task created, by its id.
        self.tasks: dict[int, SimulatedTask] = {}
        #: Every readable call of a report endpoint, accepted or not, in order.
        self.reports: list[Report] = []
        #: The number of requests by path, those that were turned away included.
        self.requests: Counter[str] = Counter()
        self.balance = balance
        self._client_key = client_key
        self._delay = delay
        self._wrong = wrong
        self._retention = retention
        self._random = Random(seed)
        self._solve = solve
        self._planned: list[_Plan] = []
        self._calls: dict[str, Callable[[str, dict[str, Any]], dict[str, object]]] = {
            "/createTask": self._create_task,
            "/getTaskResult": self._get_task_result,
            "/getBalance": self._get_balance,
            **dict.fromkeys(REPORTS, self._report),
        }
        reactor = reactor or _installed_reactor()
        self._clock = clock or reactor
        self._wanted_port = port
        self._server = Server(self._respond, self._clock, reactor)

    def start(self) -> None:
        """Start listening.

        Raises:
            twisted.internet.error.CannotListenError: the port is taken.
        """
        self._server.start(self._wanted_port)

    def stop(self) -> Deferred[None]:
        """Stop listening and cut all connections, hung ones included; the records stay.

        Returns:
            A Deferred that fires when no socket is left. A coroutine that asyncio runs awaits it
            through ``scrapy.utils.defer.maybe_deferred_to_future``.
        """
        return self._server.stop()

    @property
    def url(self) -> str:
        """Where it listens, for ``CAPMONSTER_API_URL``.

        Raises:
            RuntimeError: it does not.
        """
        return f"http://127.0.0.1:{self._server.port}"

    def answer_with(
        self, answer: Answer, *, times: int | None = 1, on: Collection[str] = REPORTS
    ) -> None:
        """Give this answer to the next calls, instead of the one they deserve.

        Answers planned earlier are given first.

        Args:
            answer: for example ``Answer.error("ERROR_IP_BANNED")`` or ``Answer.hang()``.
            times: to how many calls; None: to all of them, until :meth:`behave`.
            on: the paths it is for; by default the three report endpoints.

        Raises:
            ValueError: *times* is less than 1.
        """
        if times is not None and times < 1:
            raise ValueError(f"An answer must be given at least once, not {times} times.")
        self._planned.append(_Plan(answer, frozenset(on), times))

    def behave(self) -> None:
        """Forget what :meth:`answer_with` planned."""
        self._planned.clear()

    def _respond(self, method: str, path: str, body: bytes | None) -> Answer:
        self.requests[path] += 1
        if path not in self._calls:
            return Answer.http(404)
        if method != "POST":
            return Answer.http(405, allow="POST")
        if body is None:
            return Answer.http(413)
        planned = self._next_planned(path)
        call = _parse(body)
        if call is None:
            # The service documents no code for a body it cannot read.
            return planned or Answer.error("ERROR_INVALID_REQUEST")
        answer = planned or self._deserved(path, call)
        if path in REPORTS:
            self._record(Report(path, call.get("taskId"), self._clock.seconds(), answer.name))
        return answer

    def _next_planned(self, path: str) -> Answer | None:
        plan = next((plan for plan in self._planned if path in plan.on), None)
        if plan is None:
            return None
        if plan.left is not None:
            plan.left -= 1
            if not plan.left:
                self._planned.remove(plan)
        return plan.answer

    def _deserved(self, path: str, call: dict[str, Any]) -> Answer:
        try:
            self._check_key(call.get("clientKey"))
            return Answer.json({"errorId": 0, **self._calls[path](path, call)})
        except _RefusedError as refused:
            return Answer.error(refused.code)

    def _check_key(self, key: object) -> None:
        # The service allows the suffix on any key.
        if key not in (self._client_key, f"{self._client_key}__nocache"):
            raise _RefusedError("ERROR_KEY_DOES_NOT_EXIST")

    def _record(self, report: Report) -> None:
        self.reports.append(report)
        if report.accepted and (task := self._known(report.task_id)):
            task.reports.append(report)

    def _known(self, task_id: object) -> SimulatedTask | None:
        # `True` is an int in Python, and 1.0 finds 1 in a dict; the service wants an integer.
        task = self.tasks.get(task_id) if type(task_id) is int else None
        if task is None or self._clock.seconds() - task.created > self._retention:
            return None
        return task

    def _create_task(self, path: str, call: dict[str, Any]) -> dict[str, object]:
        task = call.get("task")
        if not isinstance(task, dict) or not is_supported(task.get("type")):
            raise _RefusedError("ERROR_NO_SUCH_METHOD")
        if has_body(task["type"]):
            _check_picture(task.get("body"))
        if self.balance <= 0:
            raise _RefusedError("ERROR_ZERO_BALANCE")
        created = self._new_task(task)
        self.tasks[created.id] = created
        return {"taskId": created.id}

    def _new_task(self, task: dict[str, Any]) -> SimulatedTask:
        # A random source for each task: what one task draws cannot change the next one's fate.
        random = Random(self._random.getrandbits(64))
        wrong = random.random() < self._wrong
        picture = is_picture(task["type"])
        right = self._solve(task) if self._solve else made_up(random, picture)
        answer = spoilt(random, right, picture) if wrong else right
        task_id = _FIRST_TASK_ID + len(self.tasks)
        return SimulatedTask(task_id, task, self._clock.seconds(), answer, wrong)

    def _get_task_result(self, path: str, call: dict[str, Any]) -> dict[str, object]:
        task = self._known(call.get("taskId"))
        if task is None:
            raise _RefusedError("ERROR_NO_SUCH_CAPCHA_ID")
        if self._clock.seconds() - task.created < self._delay:
            return {"status": "processing"}
        return {"status": "ready", "solution": task.solution}

    def _get_balance(self, path: str, call: dict[str, Any]) -> dict[str, object]:
        return {"balance": self.balance}

    def _report(self, path: str, call: dict[str, Any]) -> dict[str, object]:
        task = self._known(call.get("taskId"))
        if task is None or path not in task.endpoints:
            raise _RefusedError("WRONG_CAPTCHA_ID")
        return {"status": "success"}


class _RefusedError(Exception):
    """The service says no, with this ``errorCode``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class _Plan:
    answer: Answer
    on: frozenset[str]
    left: int | None


def _parse(body: bytes) -> dict[str, Any] | None:
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return call if isinstance(call, dict) else None


def _check_picture(body: object) -> None:
    try:
        size = len(b64decode(body)) if isinstance(body, str) else 0
    except ValueError:
        size = 0
    if size < _PICTURE_BYTES.start:
        raise _RefusedError("ERROR_ZERO_CAPTCHA_FILESIZE")
    if size not in _PICTURE_BYTES:
        raise _RefusedError("ERROR_TOO_BIG_CAPTCHA_FILESIZE")


def _installed_reactor() -> Any:
    # Importing it at the top would install one before the application has chosen.
    from twisted.internet import reactor

    return reactor
