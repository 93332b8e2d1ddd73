"""The stand-in itself: its state, and its answer to each call."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from itertools import repeat
from random import Random
from typing import TYPE_CHECKING, Any, Final

import treq
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.task import deferLater

from .answer import REPORTS, RefusedError, SimulatedAnswer, SimulatedReport
from .legacy import PATHS, legacy_answer
from .server import Server
from .tasks import URL, SimulatedTask, check_task, right_answer, wrong_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

#: The key that the simulator accepts by default.
DEFAULT_CLIENT_KEY: Final = "simulated-client-key"

_MAX_POLLS: Final = 120

_TASKS: Final = "/simulator/tasks"
_METHODS: Final = {_TASKS: "GET, HEAD", **dict.fromkeys(PATHS, "GET, HEAD, POST")}
"""The methods that paths take; those of the JSON protocol take POST only."""


@dataclass(kw_only=True, eq=False, repr=False)
class Simulator:
    """The service, listening on 127.0.0.1 between :meth:`start` and :meth:`stop`.

    It answers while the reactor runs. The same seed and the same sequence of tasks give the same
    answers, right and wrong. Every call is kept in memory: it is made for tests, not for months.

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
        solve: called with the ``task`` object of ``createTask``, returns the right answer: a str,
            to a ``ComplexImageTask`` a list. Without it, answers are made up.
        log: called with a line for each task, report and callback.
        clock: an ``IReactorTime`` provider to tell the time by; by default the reactor.
        reactor: an ``IReactorTCP`` provider to listen with; by default the installed one.

    Raises:
        ValueError: *port*, *wrong*, *delay*, *retention* or *balance* is out of range.
        RuntimeError: no reactor is installed.
    """

    client_key: str = DEFAULT_CLIENT_KEY
    port: int = 0
    delay: float = 0.0
    wrong: float = 0.0
    retention: float = 300.0
    balance: float = 10.0
    seed: int = 0
    solve: Callable[[dict[str, Any]], Any] | None = None
    log: Callable[[str], object] = lambda line: None
    clock: Any = None
    reactor: Any = field(default_factory=lambda: _installed_reactor())
    #: Every task created, by its id.
    tasks: dict[int, SimulatedTask] = field(default_factory=dict, init=False)
    #: Every readable call of a report endpoint, accepted or not, in order.
    reports: list[SimulatedReport] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for allowed, what, value in (
            (self.port in range(65536), "port must be between 0 and 65535", self.port),
            (0 <= self.wrong <= 1, "share of wrong answers must be between 0 and 1", self.wrong),
            (self.delay >= 0, "delay must be 0 or more seconds", self.delay),
            (self.retention > 0, "retention must be more than 0 seconds", self.retention),
            (0 <= self.balance < float("inf"), "balance must be a number, 0 or more", self.balance),
        ):
            if not allowed:
                raise ValueError(f"The {what}, not {value}.")
        self.clock = self.clock or self.reactor
        self._random = Random(self.seed)
        self._planned: list[tuple[frozenset[str], Iterator[SimulatedAnswer]]] = []
        self._callbacks: list[Deferred[Any]] = []
        self._server = Server(self._respond, self.clock)
        self._listening: Any = None
        self._calls: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
            "/createTask": self._create_task,
            "/getTaskResult": self._get_task_result,
            "/getBalance": lambda path, call: {"balance": self.balance},
            **dict.fromkeys(REPORTS, self._report),
        }

    def start(self) -> None:
        """Start listening.

        Raises:
            twisted.internet.error.CannotListenError: the port is taken.
        """
        self._listening = self.reactor.listenTCP(self.port, self._server, interface="127.0.0.1")

    def stop(self) -> Deferred[None]:
        """Stop listening and cut all connections, hung ones included; the records stay.

        Returns:
            A Deferred that fires when no socket is left. In a coroutine under asyncio, await
            ``scrapy.utils.defer.maybe_deferred_to_future`` of it.
        """
        for callback in self._callbacks:
            callback.cancel()
        self._server.cut()
        port, self._listening = self._listening, None
        stopped = maybeDeferred(port.stopListening) if port else succeed(None)
        # Aborted connections are lost in the reactor's next turn, before this fires.
        return stopped.addCallback(lambda _: deferLater(self.reactor, 0))

    @property
    def url(self) -> str:
        """The URL of the simulator, for ``CAPMONSTER_API_URL``.

        Raises:
            RuntimeError: it is not listening.
        """
        if self._listening is None:
            raise RuntimeError("The simulator is not listening: call start() first.")
        return f"http://127.0.0.1:{self._listening.getHost().port}"

    def answer_with(
        self, answer: SimulatedAnswer, *, times: int | None = 1, on: Collection[str] = REPORTS
    ) -> None:
        """Give this answer to the next calls, instead of the regular one.

        Answers planned earlier are given first.

        Args:
            answer: for example ``SimulatedAnswer.error("ERROR_IP_BANNED")``.
            times: how many calls get it; ``None``: all of them.
            on: the paths that it is for; by default the three report endpoints.

        Raises:
            ValueError: *times* is less than 1.
        """
        if times is not None and times < 1:
            raise ValueError(f"An answer must be given at least once, not {times} times.")
        self._planned.append((frozenset(on), repeat(answer, *(() if times is None else (times,)))))

    def _respond(self, method: str, path: str, body: bytes, form: Any) -> SimulatedAnswer:
        allowed = {**_METHODS, **dict.fromkeys(self._calls, "POST")}.get(path)
        if allowed is None:
            return SimulatedAnswer.http(404)
        if method not in allowed.split(", "):
            return SimulatedAnswer.http(405, allow=allowed)
        if path == _TASKS:
            return SimulatedAnswer.json([task.summary for task in self.tasks.values()])
        if path in PATHS:
            return legacy_answer(path, form, self._content)
        try:
            call = json.loads(body)
        except (ValueError, RecursionError):
            call = None
        return self._answer(path, call)

    def _answer(self, path: str, call: Any) -> SimulatedAnswer:
        waiting = (next(answers, None) for paths, answers in self._planned if path in paths)
        planned = next(filter(None, waiting), None)
        answer = planned or SimulatedAnswer.json(self._content(path, call))
        if path in REPORTS and isinstance(call, dict):
            report = SimulatedReport(path, call.get("taskId"), self.clock.seconds(), answer.name)
            self.reports.append(report)
            self.log(f"report on task {report.task_id!r:.40} to {path}: {answer.name}")
        return answer

    def _content(self, path: str, call: Any) -> dict[str, Any]:
        """The members of the service's answer."""
        try:
            if not isinstance(call, dict):
                raise RefusedError("ERROR_TASK_ABSENT", "The body is not a JSON object")
            # The service allows the suffix on any key.
            if call.get("clientKey") not in (self.client_key, f"{self.client_key}__nocache"):
                raise RefusedError("ERROR_KEY_DOES_NOT_EXIST", "The key does not exist")
            return {"errorId": 0, **self._calls[path](path, call)}
        except RefusedError as refused:
            code, description = refused.args
            error = {"errorId": 1, "errorCode": code, "errorDescription": description}
            return {**error, "taskId": 0} if path == "/createTask" else error

    def _create_task(self, path: str, call: dict[str, Any]) -> dict[str, Any]:
        check_task(call.get("task"))
        if self.balance <= 0:
            raise RefusedError("ERROR_ZERO_BALANCE", "The account has no funds")
        # A random source for each task, so that no task depends on what an earlier one drew.
        random = Random(self._random.getrandbits(64))
        task, wrong = call["task"], random.random() < self.wrong
        answer = self.solve(task) if self.solve else right_answer(random.getrandbits(128), task)
        answer = wrong_answer(answer, task["type"]) if wrong else answer
        task_id = 7_654_321 + len(self.tasks)
        created = SimulatedTask(task_id, task, self.clock.seconds(), answer, wrong)
        self.tasks[task_id] = created
        self.log(f"task {task_id} {created.type}: {answer!r}{' (wrong)' if wrong else ''}")
        if URL.match(url := str(call.get("callbackUrl"))):
            posted = deferLater(self.clock, self.delay, _post, url, created.result)
            posted.addErrback(lambda _: self.log(f"task {task_id}: the callbackUrl failed"))
            self._callbacks.append(posted)
        return {"taskId": task_id}

    def _get_task_result(self, path: str, call: dict[str, Any]) -> dict[str, Any]:
        task = self._known_task(call.get("taskId"), "ERROR_NO_SUCH_CAPCHA_ID")
        task.polls += 1
        if task.polls > _MAX_POLLS:
            raise RefusedError("WRONG_CAPTCHA_ID", f"More than {_MAX_POLLS} requests for a result")
        ready = self.clock.seconds() - task.created >= self.delay
        return task.result if ready else {"status": "processing"}

    def _report(self, path: str, call: dict[str, Any]) -> dict[str, Any]:
        task = self._known_task(call.get("taskId"), "WRONG_CAPTCHA_ID")
        if path not in task.endpoints:
            raise RefusedError("WRONG_CAPTCHA_ID", "The task is of another kind")
        task.reports.append(SimulatedReport(path, task.id, self.clock.seconds(), "success"))
        return {"status": "success"}

    def _known_task(self, task_id: object, code: str) -> SimulatedTask:
        # `True` is an int in Python, and 1.0 finds 1 in a dict; the service wants an integer.
        task = self.tasks.get(task_id) if type(task_id) is int else None
        if task is None or self.clock.seconds() - task.created > self.retention:
            raise RefusedError(code, "The task is unknown or has been forgotten")
        return task


def _post(url: str, result: dict[str, Any]) -> Deferred[Any]:
    # The service waits for two seconds and does not retry.
    return treq.post(url, json=result, timeout=2, persistent=False).addCallback(treq.content)


def _installed_reactor() -> Any:
    # Importing the reactor would install one before the application can choose its own.
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None:
        raise RuntimeError(
            "The simulator needs a Twisted reactor, and none is installed. Call install_reactor() "
            "of scrapy.utils.reactor first, or run 'scrapy capmonster simulate' instead."
        )
    return reactor
