"""The clients that people solve with, and the ids of their tasks.

What needs a client is skipped where it is not installed; tox has an environment for each.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
import pytest_twisted
import scrapy
from scrapy.http import JsonRequest
from solving import LIBRARIES, Official
from support import CLIENT_KEY, crawl, start_crawl
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred
from workbench import run as command

from scrapy_capmonster_report import captcha_meta
from scrapy_capmonster_report.clients import SUPPORTED, UnsupportedClientError, solve_captcha
from scrapy_capmonster_report.simulator import SimulatedAnswer, Simulator

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

DOCS = (Path(__file__).parent.parent / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
TIMERS, BY_HAND = (
    next(each for each in EXAMPLES if word in each) for word in ("threading.Timer", "def submit")
)
CLIENTS = (
    "capmonstercloudclient",
    "capmonster_python",
    "python_anticaptcha",
    "python3_anticaptcha",
    "anticaptchaofficial",
    "capsolver",
)
#: By client: the example whose spider solves with it.
RECIPES = {
    name: next(each for each in EXAMPLES if re.search(rf"^(from|import) {name}\b", each, re.M))
    for name in CLIENTS
}
REQUIRED = os.environ.get("REQUIRE_CLIENT")


def importable(name: str) -> Any:
    """The client's package; the test is skipped without it, or without asyncio."""
    from twisted.internet import reactor

    try:
        with warnings.catch_warnings():
            # pydantic's, about the way capmonstercloudclient 1.x uses it
            warnings.simplefilter("ignore")
            module = import_module(name)
    except ImportError:
        if REQUIRED:
            raise
        pytest.skip(f"{name} is not installed; tox has environments that install it")
    if not (REQUIRED or isinstance(reactor, AsyncioSelectorReactor)):
        pytest.skip(f"{name} needs asyncio")
    return module


@pytest.fixture(params=[REQUIRED] if REQUIRED in LIBRARIES else LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    if REQUIRED and REQUIRED not in LIBRARIES:
        pytest.skip(f"solve_captcha() is not for {REQUIRED}")
    return LIBRARIES[request.param](importable(request.param))


@pytest.fixture(autouse=True)
def no_timers_left() -> Iterator[None]:
    """End the timers that 4.x leaves behind; see docs/clients.md."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()


class Answers:
    """Answers that are all different, also when they were made wrong."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, task: dict[str, Any]) -> Any:
        self.given += 1
        return [self.given, 0] if task["type"] == "ComplexImageTask" else f"answer {self.given}"


@pytest_twisted.async_yield_fixture
async def simulator() -> Any:
    simulator = Simulator(client_key=CLIENT_KEY, wrong=0.4, seed=3, solve=Answers())
    simulator.start()
    yield simulator
    await simulator.stop()


@pytest.fixture
def shop(simulator: Simulator, serve: Any) -> str:
    """A site that rejects what the stand-in made wrong."""

    def respond(request: Any) -> str:
        posted = request.content.read().decode()
        if not posted:
            return "<form method='post'>"
        wrong = [task for task in simulator.tasks.values() if task.wrong]
        if posted.startswith("{"):
            rejected = json.loads(posted) in [task.solution for task in wrong]
        else:
            rejected = {value for _, value in parse_qsl(posted)} & {task.answer for task in wrong}
        return "Wrong captcha" if rejected else "Welcome"

    return str(serve(respond).url)


RULES = [{"name": "login", "text": "Wrong captcha"}]


def assert_the_wrong_ones_were_reported(simulator: Simulator, stats: dict[str, Any]) -> None:
    wrong = [task for task in simulator.tasks.values() if task.wrong]
    reports = [(report.endpoint, report.task_id) for report in simulator.reports]
    assert sorted(reports) == sorted((task.endpoints[0], task.id) for task in wrong)
    assert 0 < len(wrong) < len(simulator.tasks)
    assert stats["sent/accepted"] == stats["rejected"] == len(wrong)
    assert stats["passed"] == len(simulator.tasks) - len(wrong)


def on_asyncio(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Run it in the reactor's event loop, as Scrapy runs callbacks."""
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))


class Shopper(scrapy.Spider):
    """Submits the solutions of captchas, all at once."""

    name = "shopper"
    custom_settings = {"CAPMONSTER_REPORT_RULES": RULES}
    shop: str
    client: Any
    captchas: list[Any]
    solved: list[tuple[Any, dict[str, Any]]]

    async def start(self) -> Any:
        for captcha in self.captchas:
            yield scrapy.Request(
                self.shop, self.solve, dont_filter=True, cb_kwargs={"captcha": captcha}
            )

    async def solve(self, response: Any, captcha: Any) -> Any:
        solution, meta = await solve_captcha(self.client, captcha)
        self.solved.append((solution, dict(meta)))
        yield JsonRequest(self.shop, self.parse, data=solution, meta=meta, dont_filter=True)

    def parse(self, response: Any) -> None:
        pass


@pytest_twisted.ensureDeferred
async def test_every_type_of_captcha_in_a_crawl_with_reports_on_the_wrong_answers(
    library: Any, simulator: Simulator, shop: str
) -> None:
    client = library.connect(simulator.url)
    captchas = library.one_of_each()
    assert len(captchas) > 12
    untouched = dict(vars(client))
    solved: list[tuple[Any, dict[str, Any]]] = []
    before = time.time()
    stats = await crawl(
        Shopper,
        {"CAPMONSTER_API_URL": simulator.url},
        shop=shop,
        client=client,
        captchas=captchas,
        solved=solved,
    )
    assert vars(client) == untouched
    await on_asyncio(library.disconnect(client))
    assert len(solved) == len(simulator.tasks) == len(captchas)
    for solution, meta in solved:
        task = simulator.tasks[meta["taskId"]]
        assert (task.solution, task.type) == (solution, meta["taskType"])
        assert before <= meta["taskCreatedAt"] <= meta["taskSolvedAt"] <= time.time()
    assert_the_wrong_ones_were_reported(simulator, stats)


@pytest_twisted.ensureDeferred
async def test_150_at_once_with_errors_timeouts_and_cancellations(
    library: Any, simulator: Simulator
) -> None:
    for path in ("/createTask", "/getTaskResult"):
        unsolvable = SimulatedAnswer.error("ERROR_CAPTCHA_UNSOLVABLE")
        simulator.answer_with(unsolvable, times=10, on=[path])
        simulator.answer_with(SimulatedAnswer("hang"), times=5, on=[path])
    client = library.connect(simulator.url, timeout=10.0)

    async def story() -> list[Any]:
        calls = [
            asyncio.ensure_future(solve_captcha(client, library.picture())) for _ in range(150)
        ]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        for call in calls[-5:]:
            call.cancel()
        return await asyncio.gather(*calls, return_exceptions=True)

    outcomes = await on_asyncio(story())
    await on_asyncio(library.disconnect(client))
    failures = [each for each in outcomes if isinstance(each, BaseException)]
    solved = [each for each in outcomes if each not in failures]
    assert len(solved) >= 150 - 35
    ids = set()
    for solution, meta in solved:
        assert simulator.tasks[meta["taskId"]].solution == solution
        ids.add(meta["taskId"])
    assert len(ids) == len(solved)
    kinds = (library.refusal, library.timeout, asyncio.CancelledError)
    assert all(isinstance(failure, kinds) for failure in failures)
    refusals = [str(each) for each in failures if "ERROR_CAPTCHA_UNSOLVABLE" in str(each)]
    assert 10 < len(refusals) <= 20


@pytest.mark.skipif(REQUIRED not in (None, Official.name), reason="a test of the other client")
@pytest_twisted.ensureDeferred
async def test_a_subclass_of_the_official_client_gets_the_id_of_the_task_it_chose(
    simulator: Simulator,
) -> None:
    library = Official(importable(Official.name))
    client = library.connect(simulator.url)

    class Hedging(type(client)):  # type: ignore[misc]
        async def solve_captcha(self, request: Any) -> Any:
            solving = [super().solve_captcha(request) for _ in range(3)]
            solutions = await asyncio.gather(*solving)
            return solutions[request.threshold % 3]

    client.__class__ = Hedging
    captchas = [library.picture() for _ in range(30)]
    for number, captcha in enumerate(captchas):
        captcha.threshold = number
    solved = await on_asyncio(asyncio.gather(*(solve_captcha(client, each) for each in captchas)))
    assert len(simulator.tasks) == 90
    assert all(simulator.tasks[meta["taskId"]].solution == solution for solution, meta in solved)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in an event loop of its own, whatever the reactor is."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class Captcha:
    """A request for :class:`StandIn`: its task is created and solved when a test says so."""

    def __init__(self, number: int, task_type: str = "TurnstileTask", **members: Any) -> None:
        self.number = number
        self.task = {"type": task_type, **members}
        self.ready = asyncio.Event()
        self.created = asyncio.Event()
        self.solved = asyncio.Event()

    def getTaskDict(self) -> dict[str, Any]:
        return self.task


def ready(number: int, task_type: str = "TurnstileTask", **members: Any) -> Captcha:
    """One that is created and solved at once."""
    captcha = Captcha(number, task_type, **members)
    captcha.ready.set()
    captcha.solved.set()
    return captcha


class StandIn:
    """Built like ``capmonstercloudclient``, with the key where its ``repr`` would show it."""

    def __init__(self) -> None:
        self.options = {"api_key": CLIENT_KEY}

    def __repr__(self) -> str:
        return f"StandIn({self.options})"

    async def solve_captcha(self, request: Any) -> Any:
        return await self._result(await self._createTask(request), request)

    async def _result(self, answer: Any, request: Any) -> Any:
        await request.solved.wait()
        result = await self._getTaskResult(answer["taskId"])
        if result["errorId"]:
            raise ValueError(result["errorCode"])
        return result["solution"]

    async def _createTask(self, request: Any) -> Any:
        await request.ready.wait()
        request.number += 1
        request.created.set()
        return {"errorId": 0, "taskId": request.number}

    async def _getTaskResult(self, task_id: int) -> Any:
        await asyncio.sleep(0)
        return {"errorId": 0, "status": "ready", "solution": {"token": f"of task {task_id}"}}


@pytest.mark.parametrize("order", list(permutations([10, 20, 30])), ids=str)
def test_ids_are_not_swapped_if_tasks_are_created_in_another_order(
    order: tuple[int, ...],
) -> None:
    async def story() -> Any:
        captchas = {number: Captcha(number, f"Type{number}") for number in (10, 20, 30)}
        client = StandIn()
        solving = asyncio.gather(*(solve_captcha(client, each) for each in captchas.values()))
        for number in order:
            captchas[number].ready.set()
            await captchas[number].created.wait()
        for captcha in captchas.values():
            captcha.solved.set()
        return await solving

    assert [(solution, meta["taskId"], meta["taskType"]) for solution, meta in run(story())] == [
        ({"token": "of task 11"}, 11, "Type10"),
        ({"token": "of task 21"}, 21, "Type20"),
        ({"token": "of task 31"}, 31, "Type30"),
    ]


class Retrying(StandIn):
    """Tries again where a task fails."""

    async def solve_captcha(self, request: Any) -> Any:
        for _ in range(2):
            with suppress(ValueError):
                await super().solve_captcha(request)
        return await super().solve_captcha(request)

    async def _getTaskResult(self, task_id: int) -> Any:
        if task_id < 8:
            return {"errorId": 1, "errorCode": "ERROR_CAPTCHA_UNSOLVABLE"}
        return await super()._getTaskResult(task_id)


class Hedging(StandIn):
    """Creates two tasks, and takes the result of the one that is solved first: the second."""

    async def solve_captcha(self, request: Any) -> Any:
        tasks = [await self._createTask(request) for _ in range(2)]
        polls = [asyncio.ensure_future(self._result(task, request)) for task in tasks]
        solved, others = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        return solved.pop().result()

    async def _getTaskResult(self, task_id: int) -> Any:
        if task_id == 6:
            await asyncio.sleep(60)
        return await super()._getTaskResult(task_id)


class AskingBoth(StandIn):
    """Creates two tasks with the same answer, waits for both and takes the second."""

    async def solve_captcha(self, request: Any) -> Any:
        tasks = [await self._createTask(request) for _ in range(2)]
        return [await self._result(task, request) for task in tasks][1]

    async def _getTaskResult(self, task_id: int) -> Any:
        return {"errorId": 0, "status": "ready", "solution": {"text": "abcd"}}


class Uncopyable(StandIn):
    """Holds what cannot be copied, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __copy__(self) -> Any:
        raise TypeError("cannot be copied")

    __deepcopy__ = __reduce_ex__ = __copy__  # type: ignore[assignment]


@dataclass(frozen=True)
class Frozen(StandIn):
    """Has attributes that cannot be set."""

    options: Any = None


class Final(StandIn):
    """Has a name that is mangled, a property and a static method."""

    def __init__(self) -> None:
        super().__init__()
        self.__secret = CLIENT_KEY

    @property
    def secret(self) -> str:
        return self.__secret

    async def _getTaskResult(self, task_id: int) -> Any:
        assert self.__secret == self.secret == CLIENT_KEY
        return await super()._getTaskResult(task_id)


RIGHT: dict[type, int] = {
    Retrying: 8,
    Hedging: 7,
    AskingBoth: 7,
    Uncopyable: 6,
    Frozen: 6,
    Final: 6,
}


@pytest.mark.parametrize(
    ("client", "task_id"), RIGHT.items(), ids=[client.__name__ for client in RIGHT]
)
def test_a_subclass_gets_the_id_of_the_task_whose_result_it_returns(
    client: type, task_id: int
) -> None:
    async def story() -> Any:
        return await solve_captcha(client(), ready(5))

    before = time.time()
    solution, meta = run(story())
    assert meta["taskId"] == task_id
    assert solution in ({"token": f"of task {task_id}"}, {"text": "abcd"})
    assert before <= meta["taskCreatedAt"] <= meta["taskSolvedAt"] <= time.time()


def test_a_task_that_took_a_second_attempt_is_as_old_as_the_second() -> None:
    class Slow(Retrying):
        async def _createTask(self, request: Any) -> Any:
            answer = await super()._createTask(request)
            self.moments.append(time.time())
            return answer

    client = Slow()
    client.moments = []
    _, meta = run(_solve(client))
    assert client.moments[1] <= meta["taskCreatedAt"] <= client.moments[2]


async def _solve(client: Any) -> Any:
    return await solve_captcha(client, ready(5))


def test_a_client_that_counts_counts_on() -> None:
    class Counting(StandIn):
        solved = 0

        async def solve_captcha(self, request: Any) -> Any:
            self.solved += 1
            return await super().solve_captcha(request)

    async def story() -> None:
        await asyncio.gather(*(solve_captcha(client, ready(each)) for each in (5, 15, 25)))

    client = Counting()
    run(story())
    assert client.solved == 3


def test_a_client_that_closes_itself_at_its_end_stays_open() -> None:
    class Closing(StandIn):
        closed = False

        def __del__(self) -> None:
            self.closed = True

    client = Closing()
    _, meta = run(_solve(client))
    gc.collect()
    assert (meta["taskId"], client.closed) == (6, False)


@pytest.mark.parametrize(
    ("task", "task_type"),
    [
        (("CustomTask", {"class": "DataDome"}), "CustomTask/DataDome"),
        (("CustomTaskProxyless", {"class": "DataDome"}), "CustomTask/DataDome"),
        (("ComplexImageTask", {"class": "recaptcha"}), "ComplexImageTask"),
        (("TurnstileTask", {}), "TurnstileTask"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_type_says_the_class_of_a_custom_task(
    task: tuple[str, dict[str, Any]], task_type: str
) -> None:
    async def story() -> Any:
        return await solve_captcha(StandIn(), ready(5, task[0], **task[1]))

    assert run(story())[1]["taskType"] == task_type


@pytest_twisted.ensureDeferred
async def test_the_classes_of_custom_task_are_apart_in_the_summary_and_on_its_page(
    simulator: Simulator, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = serve(lambda request: "Wrong captcha").url
    types = ["CustomTask/DataDome", "CustomTask/TenDI", "CustomTask/NewClass", "TurnstileTask"]

    class Submitting(scrapy.Spider):
        name = "submitting"

        async def start(self) -> Any:
            for task_id, task_type in enumerate(types, 7654321):
                meta = captcha_meta(task_id, task_type)
                yield scrapy.Request(page, meta=meta, dont_filter=True, method="POST")

        def parse(self, response: Any) -> None: ...

    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    settings = {"CAPMONSTER_API_URL": simulator.url, "CAPMONSTER_REPORT_RULES": RULES}
    await crawl(Submitting, {**settings, "CAPMONSTER_REPORT_LEDGER": ledger})
    html = tmp_path / "summary.html"
    [site] = command(capfd, "summary", ledger, "--json", "--html", html).answer["sites"]
    rejected = {name: figures["rejected"] for name, figures in site["types"].items()}
    assert rejected == dict.fromkeys(types, 1)
    written = html.read_text(encoding="utf-8")
    assert all(name in written for name in types)


# -- never somebody else's id ----------------------------------------------------------------------


class Caching(StandIn):
    """Returns the same solution again; the first time it is that of a task."""

    cached: Any = None

    async def solve_captcha(self, request: Any) -> Any:
        if self.cached is None:
            self.cached = await super().solve_captcha(request)
        return self.cached


class Prefetching(Caching):
    """Has the next captcha solved while it returns the solution of the one before."""

    async def solve_captcha(self, request: Any) -> Any:
        before, self.cached = self.cached, await StandIn.solve_captcha(self, request)
        return before or self.cached


class PrefetchingTheSame(Prefetching, AskingBoth):
    """Does so where all pictures have the same text."""


@pytest.mark.parametrize("kind", [Caching, Prefetching, PrefetchingTheSame])
def test_a_solution_from_a_cache_has_no_id(kind: type) -> None:
    async def story() -> Any:
        client = kind()
        first = await solve_captcha(client, ready(5))
        with pytest.raises(
            UnsupportedClientError, match="did not return a result of _getTaskResult"
        ):
            await solve_captcha(client, ready(15))
        return first

    assert run(story())[1]["taskId"] == 6


def test_a_solution_of_another_call_has_no_id() -> None:
    class Sharing(StandIn):
        """Lets calls that come while it solves wait for the same solution."""

        solving: Any = None

        async def solve_captcha(self, request: Any) -> Any:
            if self.solving is None:
                self.solving = asyncio.ensure_future(super().solve_captcha(request))
            return await self.solving

    async def story() -> Any:
        client = Sharing()
        calls = (solve_captcha(client, ready(each)) for each in (5, 15, 25))
        return await asyncio.gather(*calls, return_exceptions=True)

    (_, meta), *others = run(story())
    assert meta["taskId"] == 6
    assert [type(other) for other in others] == [UnsupportedClientError] * 2


class Slotted(StandIn):
    """Has attributes outside its dict."""

    __slots__ = ("session",)


class NoSubclasses(StandIn):
    """Does not want to be inherited from."""

    def __init_subclass__(cls) -> None:
        raise RuntimeError("final")


class Wrapping:
    """Hands everything on to another client."""

    def __init__(self) -> None:
        self.client = StandIn()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


class WrappingBlindly(StandIn):
    """Lets another client solve."""

    async def solve_captcha(self, request: Any) -> Any:
        return await StandIn().solve_captcha(request)


class Enriching(StandIn):
    """Returns more than the service did."""

    async def solve_captcha(self, request: Any) -> Any:
        return {**await super().solve_captcha(request), "by": "me"}


class Copying(StandIn):
    """Returns a copy of the solution."""

    async def solve_captcha(self, request: Any) -> Any:
        return dict(await super().solve_captcha(request))


class Patched(StandIn):
    """Has a method in its dict."""

    def __init__(self) -> None:
        super().__init__()
        self._getTaskResult = super()._getTaskResult  # type: ignore[method-assign]


class Renamed(StandIn):
    """A release in which ``_createTask`` is called something else."""

    _createTask = property()


class NeverAsked(StandIn):
    """A release that does not call ``_getTaskResult`` any more."""

    async def solve_captcha(self, request: Any) -> Any:
        return {"token": "of some task"}


class ReturnsText(StandIn):
    """A release in which the calls return something else."""

    async def solve_captcha(self, request: Any) -> Any:
        await self._createTask(request)
        return await self._getTaskResult(7)

    async def _createTask(self, request: Any) -> Any:
        return ["7"]

    async def _getTaskResult(self, task_id: int) -> Any:
        return "of some task"


class NoId(StandIn):
    """A release that asks for the result of something that is no id."""

    async def solve_captcha(self, request: Any) -> Any:
        return (await self._getTaskResult({"id": 7}))["solution"]  # type: ignore[arg-type]


class NoJoin:
    """A release of ``capmonster_python`` without the second call."""

    async def create_task_async(self, task: Any) -> int:
        raise AssertionError("a task was created and paid for")


class NoCall(NoJoin):
    """A request of the other client's given to ``capmonster_python``."""

    async def join_task_result_async(self, task_id: int) -> Any:
        raise AssertionError("never asked for")


OTHER_RESULT = "solve_captcha() did not return a result of _getTaskResult()"
NO_SUBCLASS = "it cannot be subclassed, or has __slots__"
MISSING: dict[type, str] = {
    SimpleNamespace: "solve_captcha() cannot use types.SimpleNamespace: it has no solve_captcha()",
    Slotted: f"solve_captcha() cannot use test_clients.Slotted: {NO_SUBCLASS}",
    NoSubclasses: f"solve_captcha() cannot use test_clients.NoSubclasses: {NO_SUBCLASS}",
    Wrapping: f"solve_captcha() cannot use test_clients.Wrapping: {OTHER_RESULT}",
    WrappingBlindly: f"solve_captcha() cannot use test_clients.WrappingBlindly: {OTHER_RESULT}",
    Enriching: f"solve_captcha() cannot use test_clients.Enriching: {OTHER_RESULT}",
    Copying: f"solve_captcha() cannot use test_clients.Copying: {OTHER_RESULT}",
    Patched: f"solve_captcha() cannot use test_clients.Patched: {OTHER_RESULT}",
    Renamed: "solve_captcha() cannot use test_clients.Renamed: it has no _createTask()",
    NeverAsked: f"solve_captcha() cannot use test_clients.NeverAsked: {OTHER_RESULT}",
    ReturnsText: f"solve_captcha() cannot use test_clients.ReturnsText: {OTHER_RESULT}",
    NoId: f"solve_captcha() cannot use test_clients.NoId: {OTHER_RESULT}",
    NoJoin: "solve_captcha() cannot use test_clients.NoJoin: it has no join_task_result_async()",
    NoCall: "solve_captcha() cannot use test_clients.Captcha: it has no to_request()",
}


@pytest.mark.parametrize(
    ("client", "missing"), MISSING.items(), ids=[client.__name__ for client in MISSING]
)
def test_an_unsupported_client_raises_an_error_that_names_the_supported_releases(
    client: type, missing: str
) -> None:
    with pytest.raises(UnsupportedClientError) as raised:
        run(_solve(client()))
    assert str(raised.value).startswith(missing)
    assert SUPPORTED in str(raised.value)
    assert CLIENT_KEY not in str(raised.value)


@pytest.mark.parametrize("task_id", [0, None, True, "", "x", [7], {}])
def test_a_task_without_an_id_raises_an_error(task_id: object) -> None:
    class NoTask(NoCall):
        async def create_task_async(self, task: Any) -> Any:
            return task_id

    async def story() -> None:
        await solve_captcha(NoTask(), SimpleNamespace(to_request=lambda: {"type": "TurnstileTask"}))

    with pytest.raises(UnsupportedClientError, match="create_task_async"):
        run(story())


@pytest.mark.parametrize(
    "request_",
    [
        SimpleNamespace(type="TurnstileTask"),
        *(SimpleNamespace(getTaskDict=lambda task=task: task) for task in ({}, None, {"type": 7})),
    ],
    ids=["no getTaskDict", "no type", "no dict", "no text"],
)
def test_an_unsupported_request_raises_an_error_that_names_the_method(request_: Any) -> None:
    async def story() -> None:
        await solve_captcha(StandIn(), request_)

    with pytest.raises(UnsupportedClientError, match=r"SimpleNamespace: .*getTaskDict"):
        run(story())


def test_without_asyncio_the_setting_is_named() -> None:
    solving = solve_captcha(StandIn(), ready(7))
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="TWISTED_REACTOR"):
        pool.submit(solving.send, None).result()


# -- docs/clients.md -------------------------------------------------------------------------------


def test_the_docs_name_the_supported_releases() -> None:
    assert SUPPORTED in " ".join(DOCS.replace("`", "").split())


def test_the_docs_name_the_tested_releases() -> None:
    tox = Path(__file__).parent.parent.joinpath("tox.ini").read_text(encoding="utf-8")
    for client in RECIPES:
        name = client.replace("_", "[-_]")
        releases = re.findall(rf"^    [a-z0-9-]+: {name}(?:\[\w+\])?==([0-9.]+)", tox, re.MULTILINE)
        assert releases
        rows = re.findall(rf"^\| \[{name}\]\(.*", DOCS, re.MULTILINE)
        assert all(any(release in row for row in rows) for release in releases)


def test_every_example_of_the_docs_is_run() -> None:
    assert len(EXAMPLES) == len(RECIPES) + 2
    assert set(EXAMPLES) == {*RECIPES.values(), TIMERS, BY_HAND}


@pytest.fixture(params=[REQUIRED] if REQUIRED else RECIPES)
def recipe(request: pytest.FixtureRequest) -> str:
    """The example for a client, where it is installed."""
    importable(request.param)
    return RECIPES[request.param]


@pytest_twisted.async_yield_fixture
async def spider(recipe: str, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The spider of the example, pointed at the stand-in as the page says."""
    monkeypatch.setenv("CAPMONSTER_CLIENT_KEY", CLIENT_KEY)
    monkeypatch.setenv("CAPMONSTER_API_URL", simulator.url)
    names: dict[str, Any] = {"__name__": "example"}
    exec(recipe, names)
    spider = names["LoginSpider"]
    yield spider
    for name, library in LIBRARIES.items():
        if RECIPES[name] == recipe:
            await on_asyncio(library(import_module(name)).disconnect(spider.client))


@pytest_twisted.ensureDeferred
async def test_the_spider_of_each_example_reports_the_wrong_answers(
    spider: Any, simulator: Simulator, shop: str
) -> None:
    settings = {
        "CAPMONSTER_API_URL": simulator.url,
        "CAPMONSTER_REPORT_RULES": RULES,
        "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",
    }
    stats = await crawl(spider, settings, start_urls=[f"{shop}?{each}" for each in range(8)])
    assert len(simulator.tasks) == 8
    assert_the_wrong_ones_were_reported(simulator, stats)


#: What the error is called that the spider of an example ends in, where the service refuses.
ERRORS = {
    "capmonstercloudclient": {"GetTaskError"},
    "capmonster_python": {"CapmonsterException", "CapmonsterAPIException"},  # in 4, in 5
    "python_anticaptcha": {"AnticaptchaException"},
    "python3_anticaptcha": {"RuntimeError"},
    "anticaptchaofficial": {"RuntimeError"},
    "capsolver": {"UnknownError"},
}


@pytest_twisted.ensureDeferred
async def test_the_error_of_each_client_says_why_the_service_refuses(
    recipe: str, spider: Any, simulator: Simulator, shop: str, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.balance = 0
    settings = {"CAPMONSTER_API_URL": simulator.url, "CAPMONSTER_REPORT_RULES": RULES}
    crawler = await start_crawl(spider, settings, start_urls=[shop])
    [client] = [name for name, example in RECIPES.items() if example == recipe]
    raised = {name.rpartition("spider_exceptions/")[2] for name in crawler.stats.get_stats()}
    assert len(raised & ERRORS[client]) == 1
    assert "ERROR_ZERO_BALANCE" in caplog.text or "no funds" in caplog.text
    assert not simulator.tasks


def test_the_timers_that_4_x_leaves_behind_are_stopped() -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(TIMERS, names)
    timer = threading.Timer(600, lambda: None)
    timer.start()
    names["PromptSpider"]().closed("finished")
    timer.join(10)
    assert not timer.is_alive()


def test_the_request_of_any_other_client_carries_the_task() -> None:
    names: dict[str, Any] = {}
    exec(BY_HAND, names)
    request = names["submit"]("http://shop.example/login", "a token", 7654321, 1_700_000_000.0)
    assert request.body == b"cf-turnstile-response=a+token"
    assert time.time() - request.meta.pop("taskSolvedAt") < 60
    assert request.meta == {
        "taskId": 7654321,
        "taskType": "TurnstileTask",
        "taskCreatedAt": 1_700_000_000.0,
    }
