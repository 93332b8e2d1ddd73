"""The stand-in for the service: what it answers, what it keeps on record, how it misbehaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64encode
from contextlib import asynccontextmanager
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import treq
from hypothesis import given
from hypothesis import strategies as st
from support import CLIENT_KEY
from test_task import VENDORS_TYPES
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from scrapy_capmonster_report.simulator import (
    IMAGE_REPORT,
    TOKEN_REPORT,
    SimulatedAnswer,
    Simulator,
)
from scrapy_capmonster_report.simulator.answer import RECAPTCHA_REPORT, REPORTS
from scrapy_capmonster_report.simulator.tasks import wrong_answer
from scrapy_capmonster_report.task import Kind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

PICTURE = b64encode(b"not quite a picture " * 10).decode()
IMAGE = {"type": "ImageToTextTask", "body": PICTURE}
CLICKS = {"type": "ComplexImageTask", "class": "recaptcha", "imagesBase64": [PICTURE] * 2}
TOKEN = {"type": "TurnstileTask", "websiteURL": "http://shop.example/", "websiteKey": "0x4AAA"}
SUCCESS = {"errorId": 0, "status": "success"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_twisted.async_yield_fixture
async def simulate(clock: Clock) -> Any:
    """Start simulators by a clock that stands still; they stop with the test."""
    started = []

    def start(**settings: Any) -> Simulator:
        simulator = Simulator(client_key=CLIENT_KEY, clock=clock, **settings)
        simulator.start()
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        await simulator.stop()


async def send(simulator: Simulator, path: str, body: bytes, method: str = "POST") -> Any:
    # Connections are not kept, so that none outlives its test.
    return await treq.request(method, simulator.url + path, data=body, persistent=False)


async def call(simulator: Simulator, path: str, **members: Any) -> Any:
    body = json.dumps({"clientKey": CLIENT_KEY, **members}).encode()
    response = await send(simulator, path, body)
    assert response.code == 200
    return json.loads(await response.content())


async def create(simulator: Simulator, task: dict[str, Any]) -> int:
    answer = await call(simulator, "/createTask", task=task)
    assert answer["errorId"] == 0
    assert isinstance(answer["taskId"], int)
    return int(answer["taskId"])


def refused(answer: dict[str, Any]) -> str:
    """The code of an error, which has all that the service's errors have."""
    assert answer["errorId"] == 1
    assert answer["errorDescription"]
    assert set(answer) - {"taskId"} == {"errorId", "errorCode", "errorDescription"}
    return str(answer["errorCode"])


@pytest_twisted.ensureDeferred
async def test_an_answer_takes_its_time(simulate: Callable[..., Simulator], clock: Clock) -> None:
    simulator = simulate(delay=2.5, solve=lambda task: f"text of {len(task['body'])}")
    task_id = await create(simulator, IMAGE)

    clock.advance(2.4)
    assert await call(simulator, "/getTaskResult", taskId=task_id) == {
        "errorId": 0,
        "status": "processing",
    }
    clock.advance(0.1)
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert answer.pop("cost") > 0
    assert answer == {
        "errorId": 0,
        "status": "ready",
        "solution": {"text": f"text of {len(PICTURE)}"},
    }


SITE = {"websiteURL": "https://www.shop.example:8080/login?a=b", "websiteKey": "0x4AAA"}
AGENT = {"userAgent": "Mozilla/5.0 (simulated)"}
HEADERS = {"headers": {"User-Agent": "Mozilla/5.0 (simulated)"}}
# By type and what else the task says: the solution that the service documents, X for the answer.
SOLUTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "RecaptchaV2Task"}, {"gRecaptchaResponse": "X"}),
    ({"type": "RecaptchaV2EnterpriseTask"}, {"gRecaptchaResponse": "X"}),
    ({"type": "RecaptchaV3TaskProxyless"}, {"gRecaptchaResponse": "X"}),
    ({"type": "RecaptchaV3EnterpriseTask"}, {"gRecaptchaResponse": "X"}),
    ({"type": "NoCaptchaTaskProxyless"}, {"gRecaptchaResponse": "X"}),
    ({"type": "HCaptchaTask"}, {"gRecaptchaResponse": "X", "respKey": "E0_simulated", **AGENT}),
    ({"type": "TurnstileTask"}, {"token": "X", **AGENT}),
    ({"type": "TurnstileTask", "cloudflareTaskType": "token"}, {"token": "X", **AGENT}),
    ({"type": "TurnstileTask", "cloudflareTaskType": "cf_clearance"}, {"cf_clearance": "X"}),
    ({"type": "TurnstileTask", "cloudflareTaskType": "wait_room"}, {"cf_clearance": "X"}),
    (
        {"type": "GeeTestTask", "version": 3},
        {"challenge": "0f759dd1ea6c4wc76cedc2991039ca4f23", "validate": "X", "seccode": "X|jordan"},
    ),
    (
        {"type": "GeeTestTaskProxyless", "version": 4},
        {
            "captcha_id": "f5c2ad5a8a3cf37192d8b9c039950f79",
            "lot_number": "bcb2c6ce2f8e4e9da74f2c1fa63bd713",
            "pass_token": "X",
            "gen_time": "1683794919",
            "captcha_output": "XwmTZEJCJEnRIJBlvtEAZ662T",
        },
    ),
    ({"type": "AmazonTask"}, {"captcha_voucher": "X", "existing_token": "X", **AGENT}),
    (
        {"type": "AmazonTask", "cookieSolution": False},
        {"captcha_voucher": "X", "existing_token": "X", **AGENT},
    ),
    (
        {"type": "AmazonTaskProxyless", "cookieSolution": True},
        {"cookies": {"aws-waf-token": "X"}, **AGENT},
    ),
    ({"type": "BinanceTask"}, {"token": "X", **AGENT}),
    ({"type": "FunCaptchaTask"}, {"token": "X", **AGENT}),
    ({"type": "MTCaptchaTask"}, {"token": "X"}),
    ({"type": "ProsopoTask"}, {"token": "X"}),
    ({"type": "YidunTask"}, {"token": "X"}),
    ({"type": "CustomTask", "class": "alibaba"}, {"data": {"tokens": "X"}}),
    ({"type": "CustomTask", "class": "altcha"}, {"data": {"token": "X", "number": 44619}}),
    ({"type": "CustomTask", "class": "Basilisk"}, {"data": {"captcha_response": "X"}, **HEADERS}),
    (
        {"type": "CustomTask", "class": "Castle"},
        {"data": {"tokens": ["X"]}, "domains": {"HOST": {"cookies": {"__cuid": "X"}}}},
    ),
    (
        {"type": "CustomTask", "class": "DataDome"},
        {
            "domains": {"HOST": {"cookies": {"datadome": "X"}, "localStorage": None}},
            **dict.fromkeys(["url", "fingerprint", "headers", "data"]),
        },
    ),
    ({"type": "CustomTask", "class": "friendly"}, {"data": {"token": "X"}}),
    ({"type": "CustomTask", "class": "HUNT"}, {"data": {"token": "X"}}),
    (
        {"type": "CustomTask", "class": "Imperva"},
        {"domains": {"HOST": {"cookies": {"___utmvc": "X"}}}},
    ),
    (
        {"type": "CustomTask", "class": "Temu"},
        {"domains": {"HOST": {"cookies": {"verifyAuthToken": "X"}}}},
    ),
    (
        {"type": "CustomTask", "class": "TenDI"},
        {"data": {"randstr": "@EcL", "ticket": "X"}, **HEADERS},
    ),
    (
        {"type": "CustomTask", "class": "tspd"},
        {"domains": {"HOST": {"cookies": {"TSPD_101_DID": "X"}}}},
    ),
]


@pytest.mark.parametrize(
    ("task", "solution"),
    SOLUTIONS,
    ids=["-".join(map(str, task.values())) for task, _ in SOLUTIONS],
)
@pytest.mark.parametrize("right", ["token-5", 'a "quoted" \\ tök{n\n'])
@pytest_twisted.ensureDeferred
async def test_a_solution_has_the_shape_that_the_service_documents(
    simulate: Callable[..., Simulator],
    task: dict[str, Any],
    solution: dict[str, Any],
    right: str,
) -> None:
    simulator = simulate(solve=lambda task: right)
    task_id = await create(simulator, {**SITE, **task})
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert simulator.tasks[task_id].answer == right
    assert answer["solution"] == fill(solution, {"X": right, "HOST": "www.shop.example"})


def fill(shape: Any, values: dict[str, str]) -> Any:
    """*shape* with *values* in the places that are named like them."""
    if isinstance(shape, dict):
        return {values.get(name, name): fill(each, values) for name, each in shape.items()}
    if isinstance(shape, list):
        return [fill(each, values) for each in shape]
    if isinstance(shape, str) and shape.endswith("|jordan"):
        return f"{values['X']}|jordan"
    return values.get(shape, shape) if isinstance(shape, str) else shape


@pytest.mark.parametrize("proxyless", ["", "Proxyless"])
@pytest.mark.parametrize("name", [*VENDORS_TYPES])
@pytest_twisted.ensureDeferred
async def test_every_type_of_the_service_is_solved_and_reported(
    simulate: Callable[..., Simulator], name: str, proxyless: str
) -> None:
    if name == "CustomTask":
        return  # only with a class
    base, _, custom_class = name.partition("/")
    simulator = simulate()
    task = {**IMAGE, **SITE, "type": base + proxyless, "class": custom_class}
    task_id = await create(simulator, task)
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert answer["status"] == "ready"
    assert json.dumps(simulator.tasks[task_id].answer) in json.dumps(answer["solution"])
    kind, _ = VENDORS_TYPES[name]
    fits = IMAGE_REPORT if kind is Kind.IMAGE else TOKEN_REPORT
    assert simulator.tasks[task_id].type in (base + proxyless, name)
    assert ("/" in name) == ("/" in simulator.tasks[task_id].type)
    for path in (IMAGE_REPORT, TOKEN_REPORT):
        said = await call(simulator, path, taskId=task_id)
        assert said == SUCCESS if path == fits else refused(said) == "WRONG_CAPTCHA_ID"


@pytest_twisted.ensureDeferred
async def test_pictures_to_click_on(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    task_id = await create(simulator, CLICKS)
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    clicks = answer["solution"]["answer"]
    assert answer["solution"]["metadata"] == {"AnswerType": "Grid"}
    assert (len(clicks), {type(click) for click in clicks}) == (9, {bool})
    assert simulator.tasks[task_id].answer == clicks


@pytest.mark.parametrize("right", [[True] * 9, [{"X": 68.99, "Y": 201.9}], [130.9], [4, 4, 3]])
@pytest_twisted.ensureDeferred
async def test_the_answer_to_several_pictures_is_a_list(
    simulate: Callable[..., Simulator], right: list[Any]
) -> None:
    simulator = simulate(solve=lambda task: right)
    task_id = await create(simulator, {**CLICKS, "class": "recognition"})
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert answer["solution"]["answer"] == right
    assert answer["solution"]["metadata"] == {"AnswerType": "Coordinate"}


@pytest_twisted.ensureDeferred
async def test_a_known_share_of_the_answers_is_wrong(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate(wrong=0.3, seed=7, solve=lambda task: "Right5")
    for _ in range(100):
        await create(simulator, IMAGE)
        await create(simulator, TOKEN)
    tasks = simulator.tasks.values()
    assert 40 <= sum(task.wrong for task in tasks) <= 80
    for task in tasks:
        if not task.wrong:
            assert task.answer == "Right5"
        elif task.type == "TurnstileTask":
            assert task.answer.startswith("wrong-")
        else:
            changed = [a != b for a, b in zip(task.answer.lower(), "right5", strict=True)]
            assert sum(changed) == 1


@pytest_twisted.ensureDeferred
async def test_a_seed_decides_which_answers_are_wrong(simulate: Callable[..., Simulator]) -> None:
    def short(task: dict[str, Any]) -> str:
        return "a"

    fates = []
    for seed, solve in ((1, None), (1, short), (2, None)):
        simulator = simulate(wrong=0.5, seed=seed, solve=solve)
        for _ in range(40):
            await create(simulator, IMAGE)
        fates.append([task.wrong for task in simulator.tasks.values()])
    assert fates[0] == fates[1]
    assert fates[0] != fates[2]


@given(
    st.text()
    | st.lists(st.booleans() | st.floats(0, 360), min_size=1)
    | st.lists(st.fixed_dictionaries({"X": st.integers(), "Y": st.integers()}), min_size=1),
    st.sampled_from(["ImageToTextTask", "ComplexImageTask", "TurnstileTask"]),
)
def test_a_wrong_answer_is_wrong_for_a_site_that_ignores_case(right: Any, task_type: str) -> None:
    wrong = wrong_answer(right, task_type)
    assert type(wrong) is type(right)
    assert wrong != right
    if isinstance(right, str):
        assert wrong.casefold() != right.casefold()


@pytest.mark.parametrize("suffix", ["", "__nocache"])
@pytest_twisted.ensureDeferred
async def test_the_balance(simulate: Callable[..., Simulator], suffix: str) -> None:
    simulator = simulate(balance=1.25)
    answer = await call(simulator, "/getBalance", clientKey=CLIENT_KEY + suffix)
    assert answer == {"errorId": 0, "balance": 1.25}


@pytest.mark.parametrize("path", ["/createTask", "/getTaskResult", "/getBalance", *REPORTS])
@pytest.mark.parametrize("key", ["another", "", None, 7, ["a list"], {"a": "dict"}])
@pytest_twisted.ensureDeferred
async def test_a_key_that_it_does_not_know(
    simulate: Callable[..., Simulator], path: str, key: object
) -> None:
    answer = await call(simulate(), path, clientKey=key, taskId=1, task=TOKEN)
    assert refused(answer) == "ERROR_KEY_DOES_NOT_EXIST"


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (None, "ERROR_TASK_ABSENT"),
        ("TurnstileTask", "ERROR_TASK_ABSENT"),
        ({}, "ERROR_NO_SUCH_METHOD"),
        ({"type": "NoSuchTask"}, "ERROR_NO_SUCH_METHOD"),
        ({"type": ["TurnstileTask"]}, "ERROR_NO_SUCH_METHOD"),
        ({"type": "ImageToTextTask"}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": 7}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": b64encode(bytes(99)).decode()}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": b64encode(bytes(51_201)).decode()}, "ERROR_TOO_BIG_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": b64encode(bytes(5_000_000)).decode()}, "ERROR_TOO_BIG_CAPTCHA_FILESIZE"),
        ({**CLICKS, "imagesBase64": None}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**CLICKS, "imagesBase64": "eA=="}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**CLICKS, "imagesBase64": 7}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**CLICKS, "imagesBase64": []}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**CLICKS, "imagesBase64": [PICTURE, None]}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        (
            {**CLICKS, "imagesBase64": [PICTURE, b64encode(bytes(51_201)).decode()]},
            "ERROR_TOO_BIG_CAPTCHA_FILESIZE",
        ),
        ({**TOKEN, "websiteURL": None}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "websiteURL": 7}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "websiteURL": "shop.example"}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "websiteURL": "http://"}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "websiteURL": "http:///x"}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "type": "CustomTask"}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "type": "CustomTask", "class": "NoSuchClass"}, "ERROR_INVALID_TASK"),
        ({**TOKEN, "type": "CustomTask", "class": ["DataDome"]}, "ERROR_INVALID_TASK"),
        ({"type": "CustomTask", "class": "DataDome"}, "ERROR_INVALID_TASK"),
        # As `captcha_meta` takes it; the service wants the class in a member of its own.
        ({**TOKEN, "type": "CustomTask/DataDome"}, "ERROR_NO_SUCH_METHOD"),
        ({**TOKEN, "type": "CustomTask/class=DataDome"}, "ERROR_NO_SUCH_METHOD"),
        ({**CLICKS, "type": "ComplexImageTask/class=recognition"}, "ERROR_NO_SUCH_METHOD"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_task_that_it_cannot_solve(
    simulate: Callable[..., Simulator], task: object, code: str
) -> None:
    simulator = simulate()
    answer = await call(simulator, "/createTask", task=task)
    assert (refused(answer), answer["taskId"]) == (code, 0)
    assert not simulator.tasks


@pytest.mark.parametrize(
    "task",
    [
        {**IMAGE, "body": b64encode(bytes(100)).decode()},
        {**IMAGE, "body": b64encode(bytes(51_200)).decode()},
        {**CLICKS, "imagesBase64": [b64encode(bytes(51_200)).decode()] * 9},
        {"type": "ComplexImageTask", "class": "hcaptcha", "imageUrls": ["http://shop.example/1"]},
        {**TOKEN, "websiteURL": "https://[::1]:8080/login#x"},
    ],
    ids=range(5),
)
@pytest_twisted.ensureDeferred
async def test_a_task_that_is_just_good_enough(
    simulate: Callable[..., Simulator], task: dict[str, Any]
) -> None:
    assert await create(simulate(), task)


@pytest_twisted.ensureDeferred
async def test_the_host_of_a_site_may_have_any_character(
    simulate: Callable[..., Simulator],
) -> None:
    simulator = simulate()
    task = {"type": "CustomTask", "class": "DataDome", "websiteURL": 'http://a"b\\c/'}
    answer = await call(simulator, "/getTaskResult", taskId=await create(simulator, task))
    assert list(answer["solution"]["domains"]) == ['a"b\\c']


@pytest_twisted.ensureDeferred
async def test_an_empty_account_buys_nothing(simulate: Callable[..., Simulator]) -> None:
    answer = await call(simulate(balance=0), "/createTask", task=TOKEN)
    assert (refused(answer), answer["taskId"]) == ("ERROR_ZERO_BALANCE", 0)


@pytest.mark.parametrize("task", [IMAGE, TOKEN], ids=["image", "token"])
@pytest.mark.parametrize("path", REPORTS)
@pytest_twisted.ensureDeferred
async def test_a_report_must_go_where_its_kind_belongs(
    simulate: Callable[..., Simulator], clock: Clock, task: dict[str, Any], path: str
) -> None:
    simulator = simulate()
    task_id = await create(simulator, task)
    clock.advance(5)
    fits = (path == IMAGE_REPORT) == (task is IMAGE)

    answer = await call(simulator, path, taskId=task_id)
    assert answer == SUCCESS if fits else refused(answer) == "WRONG_CAPTCHA_ID"
    (report,) = simulator.reports
    assert (report.endpoint, report.task_id, report.at) == (path, task_id, 5)
    assert report.accepted is fits
    assert simulator.tasks[task_id].reports == ([report] if fits else [])


@pytest.mark.parametrize("task_id", [1, -1, 0, 7654321.0, "7654321", True, None, [7654321], {}])
@pytest_twisted.ensureDeferred
async def test_a_report_on_a_task_that_it_does_not_know(
    simulate: Callable[..., Simulator], task_id: object
) -> None:
    simulator = simulate()
    assert await create(simulator, TOKEN) == 7654321
    answer = await call(simulator, TOKEN_REPORT, taskId=task_id)
    assert refused(answer) == "WRONG_CAPTCHA_ID"
    assert [report.task_id for report in simulator.reports] == [task_id]


@pytest_twisted.ensureDeferred
async def test_a_task_is_forgotten_after_a_while(
    simulate: Callable[..., Simulator], clock: Clock
) -> None:
    simulator = simulate(retention=60)
    task_id = await create(simulator, TOKEN)
    clock.advance(60)
    assert await call(simulator, TOKEN_REPORT, taskId=task_id) == SUCCESS
    clock.advance(0.5)
    answer = await call(simulator, TOKEN_REPORT, taskId=task_id)
    assert refused(answer) == "WRONG_CAPTCHA_ID"
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert refused(answer) == "ERROR_NO_SUCH_CAPCHA_ID"
    assert [report.answer for report in simulator.reports] == ["success", "WRONG_CAPTCHA_ID"]


@pytest_twisted.ensureDeferred
async def test_a_second_report_is_accepted_and_shows(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    task_id = await create(simulator, TOKEN)
    for path in (TOKEN_REPORT, RECAPTCHA_REPORT):
        assert await call(simulator, path, taskId=task_id) == SUCCESS
    assert [report.endpoint for report in simulator.tasks[task_id].reports] == [
        TOKEN_REPORT,
        RECAPTCHA_REPORT,
    ]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'{"clientKey"}']
)
@pytest_twisted.ensureDeferred
async def test_a_body_that_it_cannot_read(simulate: Callable[..., Simulator], body: bytes) -> None:
    simulator = simulate()
    response = await send(simulator, TOKEN_REPORT, body)
    assert response.code == 200
    answer = json.loads(await response.content())
    assert refused(answer) == "ERROR_TASK_ABSENT"
    assert not simulator.reports


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [
        ("GET", TOKEN_REPORT, 0, 405),
        ("HEAD", TOKEN_REPORT, 0, 405),
        ("PUT", "/createTask", 10, 405),
        ("POST", "/reportCorrect", 10, 404),
        ("POST", "/", 10, 404),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_request_that_it_refuses(
    simulate: Callable[..., Simulator], method: str, path: str, size: int, status: int
) -> None:
    simulator = simulate()
    response = await send(simulator, path, b" " * size, method)
    await response.content()
    assert response.code == status
    assert not simulator.reports
    assert response.headers.getRawHeaders("Allow") == (["POST"] if status == 405 else None)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/simulator/tasks", ["GET", "HEAD"]),
        ("/in.php", ["GET", "HEAD", "POST"]),
        ("/res.php", ["GET", "HEAD", "POST"]),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_method_that_a_path_does_not_have(
    simulate: Callable[..., Simulator], method: str, path: str, allowed: list[str]
) -> None:
    response = await send(simulate(), path, b"", method)
    await response.content()
    assert response.code == (200 if method in allowed else 405)
    listed = [", ".join(allowed)] if method not in allowed else None
    assert response.headers.getRawHeaders("Allow") == listed


@pytest_twisted.ensureDeferred
async def test_a_result_may_be_asked_for_a_hundred_and_twenty_times(
    simulate: Callable[..., Simulator],
) -> None:
    simulator = simulate(delay=60)
    task_id = await create(simulator, TOKEN)
    for _ in range(120):
        assert (await call(simulator, "/getTaskResult", taskId=task_id))["status"] == "processing"
    for _ in range(2):
        answer = await call(simulator, "/getTaskResult", taskId=task_id)
        assert refused(answer) == "WRONG_CAPTCHA_ID"
        assert "120" in answer["errorDescription"]
    assert await call(simulator, TOKEN_REPORT, taskId=task_id) == SUCCESS


@pytest_twisted.ensureDeferred
async def test_the_result_is_posted_to_the_callback_url(
    simulate: Callable[..., Simulator], clock: Clock, serve: Any
) -> None:
    posted: Deferred[Any] = Deferred()

    def callback(request: Any) -> str:
        assert request.method == b"POST"
        posted.callback(json.loads(request.content.read()))
        return "thank you"

    simulator = simulate(delay=5)
    created = await call(simulator, "/createTask", task=TOKEN, callbackUrl=serve(callback).url)
    clock.advance(4.9)
    assert (await call(simulator, "/getTaskResult", taskId=created["taskId"])).get("cost") is None
    assert not posted.called
    clock.advance(0.1)
    assert await posted == await call(simulator, "/getTaskResult", taskId=created["taskId"])


@pytest_twisted.ensureDeferred
async def test_a_callback_url_that_does_not_answer_is_logged(
    simulate: Callable[..., Simulator], clock: Clock
) -> None:
    said: list[str] = []
    failed: Deferred[None] = Deferred()

    def log(line: str) -> None:
        said.append(line)
        if "callbackUrl" in line:
            failed.callback(None)

    nowhere = simulate()
    simulator = simulate(log=log)
    url = nowhere.url
    await nowhere.stop()
    task_id = (await call(simulator, "/createTask", task=TOKEN, callbackUrl=url))["taskId"]
    clock.advance(0)
    await failed
    assert said[1:] == [f"task {task_id}: the callbackUrl failed"]


@pytest.mark.parametrize("url", [None, 7, "", "localhost:80", ["http://127.0.0.1/"]])
@pytest_twisted.ensureDeferred
async def test_what_is_no_callback_url_is_not_called(
    simulate: Callable[..., Simulator], clock: Clock, url: object
) -> None:
    said: list[str] = []
    simulator = simulate(log=said.append)
    assert (await call(simulator, "/createTask", task=TOKEN, callbackUrl=url))["errorId"] == 0
    clock.advance(5)
    assert len(said) == 1


@pytest_twisted.ensureDeferred
async def test_stopping_forgets_callbacks(simulate: Callable[..., Simulator], clock: Clock) -> None:
    simulator = simulate(delay=60)
    before = len(clock.getDelayedCalls())
    url = "http://127.0.0.1:9/"
    await call(simulator, "/createTask", task=TOKEN, callbackUrl=url)
    await simulator.stop()
    assert len(clock.getDelayedCalls()) <= before


@pytest_twisted.ensureDeferred
async def test_a_test_site_in_any_language_can_ask_which_answers_are_right(
    simulate: Callable[..., Simulator],
) -> None:
    simulator = simulate(wrong=0.5, seed=3)
    custom = {**TOKEN, "type": "CustomTask", "class": "DataDome"}
    ids = [await create(simulator, task) for task in (TOKEN, IMAGE, custom, CLICKS)]
    await call(simulator, TOKEN_REPORT, taskId=ids[0])
    response = await treq.get(simulator.url + "/simulator/tasks", persistent=False)
    listed = await response.json()
    assert [each["taskId"] for each in listed] == ids
    assert [each["reported"] for each in listed] == [True, False, False, False]
    assert [each["type"] for each in listed] == [
        "TurnstileTask",
        "ImageToTextTask",
        "CustomTask/DataDome",
        "ComplexImageTask",
    ]
    for each in listed:
        task = simulator.tasks[each["taskId"]]
        assert (each["answer"], each["wrong"]) == (task.answer, task.wrong)


@pytest_twisted.ensureDeferred
async def test_each_task_and_report_is_a_line_of_the_log(
    simulate: Callable[..., Simulator],
) -> None:
    said: list[str] = []
    simulator = simulate(log=said.append, solve=lambda task: "a\nb", wrong=1)
    task_id = await create(simulator, TOKEN)
    await call(simulator, TOKEN_REPORT, taskId=task_id)
    await call(simulator, IMAGE_REPORT, taskId="a\nb" * 1000)
    assert said[:2] == [
        f"task {task_id} TurnstileTask: 'wrong-a\\nb' (wrong)",
        f"report on task {task_id} to {TOKEN_REPORT}: success",
    ]
    assert said[2].startswith("report on task 'a\\nba\\nb")
    assert said[2].endswith(f" to {IMAGE_REPORT}: WRONG_CAPTCHA_ID")
    assert len(said[2]) < 150
    assert "\n" not in "".join(said)
    assert CLIENT_KEY not in "".join(said)


# -- in.php and res.php ----------------------------------------------------------------------------


async def legacy(simulator: Simulator, path: str, **fields: Any) -> str:
    url = simulator.url + path
    response = await treq.get(url, params={"key": CLIENT_KEY, **fields}, persistent=False)
    return str(await response.text())


LEGACY: list[tuple[dict[str, str], str]] = [
    ({"method": "userrecaptcha", "googlekey": "6L", "pageurl": SITE["websiteURL"]}, "token-"),
    ({"method": "turnstile", "sitekey": "0x4", "pageurl": SITE["websiteURL"]}, "token-"),
    ({"method": "base64", "body": PICTURE}, ""),
]


@pytest.mark.parametrize(("fields", "start"), LEGACY, ids=[str(f["method"]) for f, _ in LEGACY])
@pytest_twisted.ensureDeferred
async def test_a_client_of_the_older_protocol_solves(
    simulate: Callable[..., Simulator], clock: Clock, fields: dict[str, str], start: str
) -> None:
    simulator = simulate(delay=5)
    assert await legacy(simulator, "/in.php", **fields) == "OK|7654321"
    get = {"action": "get", "id": "7654321"}
    assert await legacy(simulator, "/res.php", **get) == "CAPCHA_NOT_READY"
    as_json = json.loads(await legacy(simulator, "/res.php", json="1", **get))
    assert as_json == {"status": 0, "request": "CAPCHA_NOT_READY"}
    clock.advance(5)
    answer = simulator.tasks[7654321].answer
    assert answer.startswith(start)
    assert await legacy(simulator, "/res.php", **get) == f"OK|{answer}"
    as_json = json.loads(await legacy(simulator, "/res.php", json="1", **get))
    assert as_json == {"status": 1, "request": answer}
    assert json.loads(await legacy(simulator, "/in.php", json="1", **fields)) == {
        "status": 1,
        "request": "7654322",
    }


@pytest_twisted.ensureDeferred
async def test_a_client_of_the_older_protocol_sends_a_file(
    simulate: Callable[..., Simulator],
) -> None:
    simulator = simulate(solve=lambda task: str(task["body"] == b64encode(bytes(300)).decode()))
    response = await treq.post(
        simulator.url + "/in.php",
        data={"key": CLIENT_KEY, "method": "post"},
        files={"file": ("captcha.png", BytesIO(bytes(300)))},
        persistent=False,
    )
    assert await response.text() == "OK|7654321"
    assert simulator.tasks[7654321].answer == "True"


@pytest.mark.parametrize(
    ("path", "fields", "code"),
    [
        ("/in.php", {"key": "another", "method": "base64"}, "ERROR_KEY_DOES_NOT_EXIST"),
        ("/in.php", {"method": "base64"}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ("/in.php", {}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ("/in.php", {"method": "turnstile"}, "ERROR_INVALID_TASK"),
        ("/in.php", {"method": "no such"}, "ERROR_NO_SUCH_METHOD"),
        ("/res.php", {"action": "get", "key": "another"}, "ERROR_KEY_DOES_NOT_EXIST"),
        ("/res.php", {"action": "get"}, "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/res.php", {"action": "get", "id": "x"}, "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/res.php", {"action": "get", "id": "9" * 5000}, "ERROR_NO_SUCH_CAPCHA_ID"),
        ("/res.php", {"action": "get", "id": "²"}, "ERROR_NO_SUCH_CAPCHA_ID"),
        (
            "/res.php",
            {"action": "reportbad", "id": "7654321"},
            "ERROR_NO_SUCH_METHOD: CapMonster Cloud has no action 'reportbad'",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_the_older_protocol_refuses(
    simulate: Callable[..., Simulator], path: str, fields: dict[str, str], code: str
) -> None:
    simulator = simulate()
    assert await legacy(simulator, path, **fields) == code
    answer = json.loads(await legacy(simulator, path, json="1", **fields))
    assert answer == {"status": 0, "request": code}
    assert not simulator.reports


# -- misbehaviour ----------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_it_misbehaves_as_often_as_it_is_told(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    task_id = await create(simulator, TOKEN)
    simulator.answer_with(SimulatedAnswer.error("ERROR_IP_BANNED"), times=2)
    simulator.answer_with(SimulatedAnswer.error("ERROR_ZERO_BALANCE"), on=[IMAGE_REPORT])
    paths = [IMAGE_REPORT, "/getBalance", TOKEN_REPORT, TOKEN_REPORT, IMAGE_REPORT]
    for path in paths:
        await call(simulator, path, taskId=task_id)
    assert [report.answer for report in simulator.reports] == [
        "ERROR_IP_BANNED",
        "ERROR_IP_BANNED",
        "success",
        "ERROR_ZERO_BALANCE",
    ]
    assert len(simulator.tasks[task_id].reports) == 1


@pytest_twisted.ensureDeferred
async def test_answers_that_are_not_the_services(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    simulator.answer_with(SimulatedAnswer.http(503, retry_after="5"))
    response = await send(simulator, TOKEN_REPORT, b"{}")
    assert response.code == 503
    assert response.headers.getRawHeaders("Retry-After") == ["5"]
    await response.content()

    simulator.answer_with(SimulatedAnswer("raw", body=b'{"errorId": 0,'))
    response = await send(simulator, TOKEN_REPORT, b"{")
    assert (response.code, await response.content()) == (200, b'{"errorId": 0,')
    assert [report.answer for report in simulator.reports] == ["http 503"]


@pytest_twisted.ensureDeferred
async def test_a_reset_connection(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    simulator.answer_with(SimulatedAnswer("reset"))
    with pytest.raises(ResponseNeverReceived):
        await send(simulator, TOKEN_REPORT, b'{"taskId": 7}')
    assert [(report.task_id, report.answer) for report in simulator.reports] == [(7, "reset")]


@pytest_twisted.ensureDeferred
async def test_a_body_that_stalls_is_cut_by_stopping(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    simulator.answer_with(SimulatedAnswer("stall"))
    response = await send(simulator, TOKEN_REPORT, b"{}")
    body = response.content()
    await simulator.stop()
    with pytest.raises(ResponseFailed):
        await body


@pytest_twisted.ensureDeferred
async def test_a_call_that_hangs_leaves_nothing_behind(simulate: Callable[..., Simulator]) -> None:
    from twisted.internet import reactor

    before = set(reactor.getDelayedCalls())
    simulator = simulate()
    simulator.answer_with(SimulatedAnswer("hang"))
    hung = treq.post(simulator.url + TOKEN_REPORT, data=b"{}", persistent=False)
    answers: list[Any] = []
    hung.addCallback(answers.append)
    while not simulator.reports:
        await create(simulator, TOKEN)

    await simulator.stop()
    with pytest.raises((ResponseNeverReceived, CancelledError)):
        await hung
    assert answers == []
    assert set(reactor.getDelayedCalls()) <= before


@pytest_twisted.ensureDeferred
async def test_it_can_be_stopped_twice_and_started_again(
    simulate: Callable[..., Simulator],
) -> None:
    simulator = simulate()
    await create(simulator, TOKEN)
    await simulator.stop()
    await simulator.stop()
    with pytest.raises(RuntimeError, match="not listening"):
        _ = simulator.url
    simulator.start()
    await create(simulator, TOKEN)
    first, second = pairwise([*simulator.tasks, 0])
    assert first[0] + 1 == second[0]


# Twisted 25.5 leaves the socket that it could not bind to the garbage collector.
@pytest.mark.filterwarnings("ignore:(?s).*unclosed <socket:pytest.PytestUnraisableExceptionWarning")
@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken(simulate: Callable[..., Simulator]) -> None:
    taken = int(simulate().url.rpartition(":")[2])
    with pytest.raises(CannotListenError):
        simulate(port=taken)


@pytest.mark.skipif(sys.platform != "linux", reason="only there is all of 127/8 loopback")
@pytest_twisted.ensureDeferred
async def test_it_listens_on_one_address_only(simulate: Callable[..., Simulator]) -> None:
    url = simulate().url
    assert url.startswith("http://127.0.0.1:")
    with pytest.raises(ConnectError):
        await treq.get(url.replace("127.0.0.1", "127.0.0.2"), persistent=False)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"wrong": 1.1}, "share of wrong answers"),
        ({"wrong": float("nan")}, "share of wrong answers"),
        ({"delay": -1}, "delay"),
        ({"retention": 0}, "retention"),
        ({"balance": -0.5}, "balance"),
        ({"balance": float("nan")}, "balance"),
        ({"balance": float("inf")}, "balance"),
        ({"port": 65536}, "port"),
    ],
)
def test_a_setting_that_makes_no_sense(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Simulator(**setting)


def test_an_answer_for_no_call_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="at least once"):
        Simulator().answer_with(SimulatedAnswer("hang"), times=0)


def test_without_a_reactor_it_says_what_to_do() -> None:
    code = (
        "import sys; from scrapy_capmonster_report.simulator import Simulator\n"
        "try: Simulator()\n"
        "except RuntimeError as error: print(error)\n"
        "print('twisted.internet.reactor' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, installed = ran.stdout.splitlines()
    assert "install_reactor()" in said
    assert "scrapy capmonster simulate" in said
    assert installed == "False"


@asynccontextmanager
async def command(
    cwd: Path, **environment: str
) -> AsyncIterator[tuple[subprocess.Popen[str], str]]:
    """``scrapy capmonster simulate`` in a process of its own, and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scrapy", "capmonster", "simulate", "--client-key", CLIENT_KEY],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        pipesize=4096,  # so that it is soon full
    )
    with process:
        assert process.stdout is not None
        try:
            yield process, (await deferToThread(process.stdout.readline)).strip()
        finally:
            process.kill()


async def post(url: str, **members: Any) -> Any:
    body = json.dumps({"clientKey": CLIENT_KEY, **members}).encode()
    response = await treq.post(url, data=body, persistent=False, timeout=20)
    return await response.json()


@pytest_twisted.ensureDeferred
async def test_a_reader_that_goes_away_after_the_url_does_not_end_it(tmp_path: Path) -> None:
    async with command(tmp_path) as (process, url):
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        for _ in range(3):
            assert (await post(f"{url}/createTask", task=TOKEN))["errorId"] == 0
        process.terminate()
        _, errors = await deferToThread(process.communicate)
    assert errors == ""
    assert process.returncode == 0


@pytest_twisted.ensureDeferred
async def test_a_test_that_reads_only_the_url_is_answered_and_may_read_the_lines_later(
    tmp_path: Path,
) -> None:
    async with command(tmp_path) as (process, url):
        for _ in range(200):
            assert (await post(f"{url}/createTask", task=TOKEN))["errorId"] == 0
        process.terminate()
        lines, errors = await deferToThread(process.communicate)
    assert errors == ""
    assert len(lines.splitlines()) == 200 + 1
    assert lines.endswith("Tasks: 200, answered wrong: 0. Reports: 0, accepted: 0.\n")


@pytest_twisted.ensureDeferred
async def test_a_report_is_answered_on_a_terminal_that_cannot_show_its_task(tmp_path: Path) -> None:
    async with command(tmp_path, PYTHONIOENCODING="ascii") as (process, url):
        answer = await post(f"{url}{TOKEN_REPORT}", taskId="ж")
        assert answer["errorCode"] == "WRONG_CAPTCHA_ID"
        process.terminate()
        lines, _ = await deferToThread(process.communicate)
    assert r"report on task '\u0436' to" in lines
