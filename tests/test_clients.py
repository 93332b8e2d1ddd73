"""The clients that people solve with, and the ids of their tasks.

What needs a client is skipped where it is not installed; tox has an environment for each.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import permutations
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
import pytest_twisted
import scrapy
from solving import LIBRARIES
from support import CLIENT_KEY, crawl, json_reply
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import Deferred

from scrapy_capmonster_report.clients import SUPPORTED, UnsupportedClientError, solve_captcha
from scrapy_capmonster_report.simulator import Answer, Simulator

if TYPE_CHECKING:
    from collections.abc import Coroutine

DOCS = (Path(__file__).parent.parent / "docs" / "clients.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
REQUIRED = os.environ.get("REQUIRE_CLIENT")


@pytest.fixture(params=[REQUIRED] if REQUIRED else LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    from twisted.internet import reactor

    name = request.param
    try:
        with warnings.catch_warnings():
            # pydantic's, about the way capmonstercloudclient 1.x uses it
            warnings.simplefilter("ignore")
            library = LIBRARIES[name](import_module(name))
    except ImportError:
        if REQUIRED:
            raise
        pytest.skip(f"{name} is not installed; tox has environments that install it")
    if not (REQUIRED or isinstance(reactor, AsyncioSelectorReactor)):
        pytest.skip(f"{name} needs asyncio")
    return library


@pytest_twisted.async_yield_fixture
async def simulator() -> Any:
    simulator = Simulator(client_key=CLIENT_KEY, wrong=0.4, seed=3)
    simulator.start()
    yield simulator
    await simulator.stop()


def on_asyncio(coroutine: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    """Run it in the reactor's event loop, as Scrapy runs callbacks."""
    return Deferred.fromFuture(asyncio.ensure_future(coroutine))


class Shopper(scrapy.Spider):
    """Fills in forms with captchas, all at once."""

    name = "shopper"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"name": "login", "text": "Wrong captcha"}]}
    shop: str
    client: Any
    captchas: list[Any]

    async def start(self) -> Any:
        for captcha in self.captchas:
            yield scrapy.Request(
                self.shop, self.solve, dont_filter=True, cb_kwargs={"captcha": captcha}
            )

    async def solve(self, response: Any, captcha: Any) -> Any:
        solution, meta = await solve_captcha(self.client, captcha)
        yield scrapy.FormRequest(self.shop, self.parse, formdata=solution, meta=meta)

    def parse(self, response: Any) -> None:
        pass


@pytest_twisted.ensureDeferred
async def test_reports_name_the_tasks_whose_answers_a_site_refused(
    library: Any, simulator: Simulator, serve: Any
) -> None:
    def shop(request: Any) -> str:
        fields = dict(parse_qsl(request.content.read().decode()))
        if not fields:
            return "<form method='post'>"
        right = {task.answer for task in simulator.tasks.values() if not task.wrong}
        return "Welcome" if right.issuperset(fields.values()) else "Wrong captcha"

    client = library.connect(simulator.url)
    stats = await crawl(
        Shopper,
        {"CAPMONSTER_API_URL": simulator.url},
        shop=serve(shop).url,
        client=client,
        captchas=[library.token(), library.picture()] * 10,
    )
    await on_asyncio(library.disconnect(client))
    reports = [(report.endpoint, report.task_id) for report in simulator.reports]
    wrong = [task for task in simulator.tasks.values() if task.wrong]
    assert sorted(reports) == sorted((task.endpoints[0], task.id) for task in wrong)
    assert len(simulator.tasks) == 20
    assert 0 < len(wrong) < 20
    assert stats["sent/accepted"] == len(wrong)
    assert stats["passed"] == 20 - len(wrong)


class Service:
    """Takes tasks of every type, answers late ones first, and says the id in the solution."""

    def __init__(self) -> None:
        self.types: dict[int, str] = {}

    def respond(self, request: Any) -> Any:
        call = json.loads(request.content.read())
        if request.path == b"/createTask":
            task_id = 1000 + len(self.types)
            self.types[task_id] = call["task"]["type"]
            delay = max(0.6 - 0.01 * len(self.types), 0.0)
            return json_reply({"errorId": 0, "taskId": task_id}, delay=delay)
        solution = {"id": str(call["taskId"])}
        return json_reply({"errorId": 0, "status": "ready", "solution": solution})


@pytest_twisted.ensureDeferred
async def test_every_type_of_task_at_once_gets_its_own_id_and_type(
    library: Any, serve: Any
) -> None:
    captchas = library.one_of_each()
    assert len(captchas) > 12
    service = Service()
    client = library.connect(serve(service.respond).url)
    untouched = dict(vars(client))
    before = time.time()
    solved = await on_asyncio(asyncio.gather(*(solve_captcha(client, each) for each in captchas)))
    assert vars(client) == untouched
    await on_asyncio(library.disconnect(client))
    assert {meta["taskId"]: meta["taskType"] for _, meta in solved} == service.types
    assert all(solution == {"id": str(meta["taskId"])} for solution, meta in solved)
    assert all(before <= meta["taskSolvedAt"] <= time.time() for _, meta in solved)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/createTask", "/getTaskResult"])
async def test_an_error_of_the_service_comes_from_the_client_as_ever_and_harms_no_other_call(
    library: Any, simulator: Simulator, path: str
) -> None:
    simulator.answer_with(Answer.error("ERROR_CAPTCHA_UNSOLVABLE"), on=[path])
    client = library.connect(simulator.url)
    calls = [solve_captcha(client, library.picture()) for _ in range(3)]
    solved = await on_asyncio(asyncio.gather(*calls, return_exceptions=True))
    await on_asyncio(library.disconnect(client))
    [failure] = [each for each in solved if isinstance(each, BaseException)]
    assert isinstance(failure, library.refusal)
    assert "ERROR_CAPTCHA_UNSOLVABLE" in str(failure)
    for solution, meta in (each for each in solved if each is not failure):
        assert simulator.tasks[meta["taskId"]].solution == solution


@pytest_twisted.ensureDeferred
async def test_a_timeout_comes_from_the_client_as_ever_and_harms_no_other_call(
    library: Any, simulator: Simulator
) -> None:
    simulator.answer_with(Answer.hang(), on=["/createTask"])
    client = library.connect(simulator.url, timeout=0.5)
    calls = [solve_captcha(client, library.picture()) for _ in range(3)]
    solved = await on_asyncio(asyncio.gather(*calls, return_exceptions=True))
    await on_asyncio(library.disconnect(client))
    [failure] = [each for each in solved if isinstance(each, BaseException)]
    assert isinstance(failure, library.timeout)
    for solution, meta in (each for each in solved if each is not failure):
        assert simulator.tasks[meta["taskId"]].solution == solution


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in an event loop of its own, whatever the reactor is."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class Captcha:
    """A request for :class:`StandIn`: its task is created and solved when a test says so."""

    def __init__(self, number: int, task_type: str = "TurnstileTask") -> None:
        self.number = number
        self.type = task_type
        self.ready = asyncio.Event()
        self.created = asyncio.Event()
        self.solved = asyncio.Event()

    def getTaskDict(self) -> dict[str, Any]:
        return {"type": self.type}


class StandIn:
    """Built like ``capmonstercloudclient``, with the key where its ``repr`` would show it."""

    def __init__(self) -> None:
        self.options = {"api_key": CLIENT_KEY}
        self.attempts = 1

    def __repr__(self) -> str:
        return f"StandIn({self.options})"

    async def solve_captcha(self, request: Any) -> Any:
        for _ in range(self.attempts):
            answer = await self._createTask(request)
        await request.solved.wait()
        return {"token": f"of task {answer['taskId']}"}

    async def _createTask(self, request: Any) -> Any:
        await request.ready.wait()
        request.number += 1
        request.created.set()
        return {"errorId": 0, "taskId": request.number}


@pytest.mark.parametrize("order", list(permutations([10, 20, 30])), ids=str)
def test_ids_are_not_swapped_in_whatever_order_the_tasks_are_created(
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


def test_a_client_that_tries_again_by_itself_gets_the_id_of_the_last_task() -> None:
    async def story() -> Any:
        client, captcha = StandIn(), Captcha(5)
        client.attempts = 3
        captcha.ready.set()
        captcha.solved.set()
        return await solve_captcha(client, captcha)

    solution, meta = run(story())
    assert (solution, meta["taskId"]) == ({"token": "of task 8"}, 8)


class Renamed(StandIn):
    """A release in which ``_createTask`` is called something else."""

    _createTask = property()


class NeverAsked(StandIn):
    """A release that does not call ``_createTask`` any more."""

    async def solve_captcha(self, request: Any) -> Any:
        return {"token": "of some task"}


class ReturnsId(StandIn):
    """A release whose ``_createTask`` returns the id alone."""

    async def solve_captcha(self, request: Any) -> Any:
        return {"token": f"of task {await self._createTask(request)}"}

    async def _createTask(self, request: Any) -> Any:
        return 7


class ReturnsOther(ReturnsId):
    """A release whose ``_createTask`` returns the id under another name."""

    async def _createTask(self, request: Any) -> Any:
        return {"task_id": 7}


class NoJoin:
    """A release of ``capmonster_python`` without the second call."""

    async def create_task_async(self, task: Any) -> int:
        raise AssertionError("a task was created and paid for")


class NoCall(NoJoin):
    """A request of the other client's given to ``capmonster_python``."""

    async def join_task_result_async(self, task_id: int) -> Any:
        raise AssertionError("never asked for")


MISSING: dict[type, str] = {
    SimpleNamespace: "types.SimpleNamespace is none with solve_captcha()",
    Renamed: "test_clients.Renamed is none with _createTask()",
    NeverAsked: "test_clients.NeverAsked is none whose solve_captcha() gets a taskId",
    ReturnsId: "test_clients.ReturnsId is none whose solve_captcha() gets a taskId",
    ReturnsOther: "test_clients.ReturnsOther is none whose solve_captcha() gets a taskId",
    NoJoin: "test_clients.NoJoin is none with join_task_result_async()",
    NoCall: "test_clients.Captcha is none with to_request()",
}


@pytest.mark.parametrize(
    ("client", "missing"), MISSING.items(), ids=[client.__name__ for client in MISSING]
)
def test_a_client_with_other_inner_names_is_told_which_releases_are_supported(
    client: type, missing: str
) -> None:
    async def story() -> None:
        await solve_captcha(client(), Captcha(7))

    with pytest.raises(UnsupportedClientError) as raised:
        run(story())
    assert str(raised.value).startswith(missing)
    assert SUPPORTED in str(raised.value)
    assert CLIENT_KEY not in str(raised.value)


def test_a_request_of_another_client_is_told_too() -> None:
    async def story() -> None:
        await solve_captcha(StandIn(), SimpleNamespace(type="TurnstileTask"))

    with pytest.raises(UnsupportedClientError, match=r"SimpleNamespace is none with getTaskDict"):
        run(story())


def test_without_asyncio_the_setting_is_named() -> None:
    solving = solve_captcha(StandIn(), Captcha(7))
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="TWISTED_REACTOR"):
        pool.submit(solving.send, None).result()


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_the_docs_are_python(number: int) -> None:
    assert ast.parse(EXAMPLES[number]).body


def test_the_docs_name_the_supported_releases() -> None:
    assert SUPPORTED in " ".join(DOCS.replace("`", "").split())


def test_the_docs_have_an_example_for_each_client_that_defines_a_spider(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAPMONSTER_CLIENT_KEY", CLIENT_KEY)
    [example] = [each for each in EXAMPLES if f"from {library.name} import" in each]
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["LoginSpider"].client
