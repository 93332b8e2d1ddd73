"""The stand-in for the service: what it answers, what it keeps on record, how it misbehaves."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import treq
from hypothesis import given
from hypothesis import strategies as st
from support import CLIENT_KEY
from test_task import VENDORS_TYPES
from twisted.internet.defer import CancelledError
from twisted.internet.error import CannotListenError, ConnectError
from twisted.internet.task import Clock
from twisted.web.client import ResponseFailed, ResponseNeverReceived

from scrapy_capmonster_report.simulator import (
    IMAGE_REPORT,
    RECAPTCHA_REPORT,
    REPORTS,
    TOKEN_REPORT,
    Answer,
    Simulator,
)
from scrapy_capmonster_report.simulator.task import spoilt
from scrapy_capmonster_report.task import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

PICTURE = b64encode(b"not quite a picture " * 10).decode()
IMAGE = {"type": "ImageToTextTask", "body": PICTURE}
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


def error(code: str) -> dict[str, Any]:
    return {"errorId": 1, "errorCode": code}


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
    assert await call(simulator, "/getTaskResult", taskId=task_id) == {
        "errorId": 0,
        "status": "ready",
        "solution": {"text": f"text of {len(PICTURE)}"},
    }


@pytest.mark.parametrize(
    ("task_type", "member"),
    [
        ("TurnstileTask", "token"),
        ("TurnstileTaskProxyless", "token"),
        ("RecaptchaV2Task", "gRecaptchaResponse"),
        ("RecaptchaV3TaskProxyless", "gRecaptchaResponse"),
        ("NoCaptchaTaskProxyless", "gRecaptchaResponse"),
        ("GeeTestTask", "validate"),
        ("CustomTask", "token"),
        ("AmazonTask", "token"),
        ("AmazonTaskProxyless", "token"),
        ("BinanceTask", "token"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_token_stands_where_its_type_has_it(
    simulate: Callable[..., Simulator], task_type: str, member: str
) -> None:
    simulator = simulate()
    task_id = await create(simulator, {**TOKEN, "type": task_type})
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert answer["solution"] == {member: simulator.tasks[task_id].answer}
    assert answer["solution"][member].startswith("token-")


@pytest.mark.parametrize("proxyless", ["", "Proxyless"])
@pytest.mark.parametrize("task_type", [name for name in VENDORS_TYPES if "/" not in name])
@pytest_twisted.ensureDeferred
async def test_every_type_of_the_service_is_solved_and_reported(
    simulate: Callable[..., Simulator], task_type: str, proxyless: str
) -> None:
    simulator = simulate()
    task_id = await create(simulator, {**IMAGE, **TOKEN, "type": task_type + proxyless})
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert (answer["status"], len(answer["solution"])) == ("ready", 1)
    kind, _ = VENDORS_TYPES[task_type]
    fits = IMAGE_REPORT if kind is Kind.IMAGE else TOKEN_REPORT
    for path in (IMAGE_REPORT, TOKEN_REPORT):
        expected = SUCCESS if path == fits else error("WRONG_CAPTCHA_ID")
        assert await call(simulator, path, taskId=task_id) == expected


@pytest_twisted.ensureDeferred
async def test_several_pictures_in_one_task(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate(solve=lambda task: "130.9")
    task = {"type": "ComplexImageTask", "class": "recognition", "imagesBase64": [PICTURE] * 2}
    task_id = await create(simulator, task)
    answer = await call(simulator, "/getTaskResult", taskId=task_id)
    assert answer["solution"] == {"answer": ["130.9"]}


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


@given(right=st.text(), seed=st.integers(), picture=st.booleans())
def test_a_wrong_answer_is_wrong_for_a_site_that_ignores_case(
    right: str, seed: int, picture: bool
) -> None:
    assert spoilt(Random(seed), right, picture).casefold() != right.casefold()


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
    assert answer == error("ERROR_KEY_DOES_NOT_EXIST")


@pytest.mark.parametrize(
    ("task", "code"),
    [
        (None, "ERROR_NO_SUCH_METHOD"),
        ("TurnstileTask", "ERROR_NO_SUCH_METHOD"),
        ({}, "ERROR_NO_SUCH_METHOD"),
        ({"type": "NoSuchTask"}, "ERROR_NO_SUCH_METHOD"),
        ({"type": ["TurnstileTask"]}, "ERROR_NO_SUCH_METHOD"),
        ({"type": "ImageToTextTask"}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": 7}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": "é" * 200}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": b64encode(bytes(99)).decode()}, "ERROR_ZERO_CAPTCHA_FILESIZE"),
        ({**IMAGE, "body": b64encode(bytes(500_001)).decode()}, "ERROR_TOO_BIG_CAPTCHA_FILESIZE"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_task_that_it_cannot_solve(
    simulate: Callable[..., Simulator], task: object, code: str
) -> None:
    simulator = simulate()
    assert await call(simulator, "/createTask", task=task) == error(code)
    assert not simulator.tasks


@pytest_twisted.ensureDeferred
async def test_an_empty_account_buys_nothing(simulate: Callable[..., Simulator]) -> None:
    answer = await call(simulate(balance=0), "/createTask", task=TOKEN)
    assert answer == error("ERROR_ZERO_BALANCE")


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

    expected = SUCCESS if fits else error("WRONG_CAPTCHA_ID")
    assert await call(simulator, path, taskId=task_id) == expected
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
    assert await call(simulator, TOKEN_REPORT, taskId=task_id) == error("WRONG_CAPTCHA_ID")
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
    assert await call(simulator, TOKEN_REPORT, taskId=task_id) == error("WRONG_CAPTCHA_ID")
    assert await call(simulator, "/getTaskResult", taskId=task_id) == error(
        "ERROR_NO_SUCH_CAPCHA_ID"
    )
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
    assert (answer["errorId"], bool(answer["errorCode"])) == (1, True)
    assert simulator.requests == {TOKEN_REPORT: 1}
    assert not simulator.reports


@pytest.mark.parametrize(
    ("method", "path", "size", "status"),
    [
        ("GET", TOKEN_REPORT, 0, 405),
        ("HEAD", TOKEN_REPORT, 0, 405),
        ("PUT", "/createTask", 10, 405),
        ("POST", "/reportCorrect", 10, 404),
        ("POST", "/", 10, 404),
        ("POST", TOKEN_REPORT, 5_000_000, 413),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_request_that_it_turns_away(
    simulate: Callable[..., Simulator], method: str, path: str, size: int, status: int
) -> None:
    simulator = simulate()
    response = await send(simulator, path, b" " * size, method)
    await response.content()
    assert response.code == status
    assert simulator.requests == {path: 1}
    assert response.headers.getRawHeaders("Allow") == (["POST"] if status == 405 else None)


@pytest_twisted.ensureDeferred
async def test_it_misbehaves_as_often_as_it_is_told(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    task_id = await create(simulator, TOKEN)
    simulator.answer_with(Answer.error("ERROR_IP_BANNED"), times=2)
    simulator.answer_with(Answer.error("ERROR_ZERO_BALANCE"), on=[IMAGE_REPORT])
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
async def test_it_misbehaves_until_it_is_told_to_behave(
    simulate: Callable[..., Simulator],
) -> None:
    simulator = simulate()
    simulator.answer_with(Answer.error("ERROR_ZERO_BALANCE"), times=None, on=["/createTask"])
    for _ in range(3):
        assert (await call(simulator, "/createTask", task=TOKEN))["errorId"] == 1
    simulator.behave()
    await create(simulator, TOKEN)
    assert len(simulator.tasks) == 1


@pytest_twisted.ensureDeferred
async def test_answers_that_are_not_the_services(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    simulator.answer_with(Answer.http(503, retry_after="5"))
    response = await send(simulator, TOKEN_REPORT, b"{}")
    assert response.code == 503
    assert response.headers.getRawHeaders("Retry-After") == ["5"]
    await response.content()

    simulator.answer_with(Answer.raw(b'{"errorId": 0,'))
    response = await send(simulator, TOKEN_REPORT, b"{")
    assert (response.code, await response.content()) == (200, b'{"errorId": 0,')
    assert [report.answer for report in simulator.reports] == ["http 503"]


@pytest_twisted.ensureDeferred
async def test_a_reset_connection(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    simulator.answer_with(Answer.reset())
    with pytest.raises(ResponseNeverReceived):
        await send(simulator, TOKEN_REPORT, b'{"taskId": 7}')
    assert [(report.task_id, report.answer) for report in simulator.reports] == [(7, "reset")]


@pytest_twisted.ensureDeferred
async def test_a_body_that_stalls_is_cut_by_stopping(simulate: Callable[..., Simulator]) -> None:
    simulator = simulate()
    simulator.answer_with(Answer.stall())
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
    simulator.answer_with(Answer.hang())
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
        Simulator().answer_with(Answer.hang(), times=0)
