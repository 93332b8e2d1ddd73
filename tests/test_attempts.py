"""Attempts: an answer through retries, redirects, copies, queues, slots and clocks."""

from __future__ import annotations

import itertools
import json
import logging
import math
import pickle
import socket
import time
from dataclasses import asdict, astuple, replace
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
import scrapy
from contexts import context
from hypothesis import given
from hypothesis import strategies as st
from scrapy import signals
from scrapy.exceptions import CloseSpider, IgnoreRequest
from scrapy.http import Response
from support import Reply, crawl, start_crawl
from twisted.internet import error
from twisted.internet.task import Clock as FakeClock

from scrapy_capmonster_report.attempts import ATTEMPT, CACHED, Attempt, Attempts, read_attempt
from scrapy_capmonster_report.clock import SteadyClock
from scrapy_capmonster_report.ledger import Ledger
from scrapy_capmonster_report.redirects import redirected_to
from scrapy_capmonster_report.sending import SendingOrder
from scrapy_capmonster_report.task_reader import TaskReader

TOKEN = "/reportIncorrectTokenCaptcha"
SOLVED_AT = 1_700_000_000.0

CurlError = type("CurlError", (OSError,), {"code": 0})

QUEUES = {
    "memory": lambda meta: meta,
    "pickle": lambda meta: pickle.loads(pickle.dumps(meta)),
    "json": lambda meta: json.loads(json.dumps(meta)),
}


def make_attempts(first_number: int = 1) -> tuple[Attempts, FakeClock]:
    time_ = FakeClock()
    time_.advance(SOLVED_AT)
    clock = SteadyClock(time_.seconds, time_.seconds)
    here = context(clock=clock, bits=first_number - 1)
    return Attempts(here, TaskReader(here), Ledger(clock.now)), time_


class Journey:
    """What Scrapy and a spider do to ``meta``, and beside it what the attempts should be."""

    def __init__(self) -> None:
        self.attempts, _ = make_attempts()
        self.meta: dict[str, Any] = {"taskId": 1}
        self.url = "https://a.example/0"
        self.urls = (f"https://a.example/{n}" for n in itertools.count(1))
        self.task = 1
        self.number = 1
        self.first = {1: 1}
        self.redirects: list[str] = []

    def travel(self, *, answered: bool) -> None:
        """Out to the site, and back if *answered*; the story so far must be known."""
        request = scrapy.Request(self.url, meta=self.meta)
        response = Response(self.url)
        self.attempts.scheduled(request)
        self.attempts.reached_downloader(request)
        attempt = read_attempt(request.meta)
        if answered:
            self.attempts.received(request)
            attempt = self.attempts.answered(request, response).write(request.meta)
        assert attempt is not None
        assert (attempt.task_id, attempt.solved_at) == (self.task, SOLVED_AT)
        assert attempt.number == self.number
        assert self.attempts.is_first(attempt) == (self.number == self.first[self.task])
        assert redirected_to(request, response, attempt.begun) == self.redirects
        self.meta = dict(request.meta)

    def retry(self) -> None:
        """RetryMiddleware copies the request, redirected or not."""
        self.meta = {**self.meta, "retry_times": self.meta.get("retry_times", 0) + 1}
        self.redirects = []
        self.number += 1

    def redirect(self) -> None:
        """RedirectMiddleware replaces the request."""
        self.meta = {**self.meta, "redirect_urls": [*self.meta.get("redirect_urls", ()), self.url]}
        self.url = next(self.urls)
        self.redirects = [*self.redirects, self.url]

    def copy(self) -> None:
        """The spider's next request gets a copy of ``response.meta``, answer and all."""
        self.url = next(self.urls)
        self.redirects = []
        self.number += 1

    def new_answer(self) -> None:
        """As :meth:`copy`, with the answer of a new task."""
        self.copy()
        self.task += 1
        self.meta["taskId"] = self.task
        self.first[self.task] = self.number

    def retry_with_new_answer(self) -> None:
        """A spider calls ``get_retry_request()``, and has the captcha solved anew for it."""
        self.new_answer()
        self.meta["retry_times"] = self.meta.get("retry_times", 0) + 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["retry", "redirect", "copy", "new_answer", "retry_with_new_answer"]),
            st.booleans(),
            st.sampled_from(sorted(QUEUES)),
        ),
        max_size=12,
    )
)
def test_any_journey(steps: list[tuple[str, bool, str]]) -> None:
    journey = Journey()
    for step, answered, queue in steps:
        journey.travel(answered=answered)
        getattr(journey, step)()
        journey.meta = QUEUES[queue](journey.meta)
    journey.travel(answered=True)


def test_retries_of_a_page_without_a_task_are_no_answers() -> None:
    attempts, _ = make_attempts()
    page = scrapy.Request("https://a.example/")
    attempts.without_task(page)
    # get_retry_request(response.request, ...) with the answer of a captcha on the page
    login = page.replace(meta={**page.meta, "retry_times": 1, "taskId": 7})
    attempts.reached_downloader(login)
    attempt = attempts.answered(login, Response(login.url)).write(login.meta)
    assert attempt is not None
    assert attempts.is_first(attempt)


def test_a_retry_whose_attempt_a_queue_lost_counts_against_the_report() -> None:
    attempts, _ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7, "retry_times": 1})
    attempts.reached_downloader(request)
    attempt = attempts.answered(request, Response(request.url)).write(request.meta)
    assert attempt is not None
    assert not attempts.is_first(attempt)


def test_a_retry_that_another_worker_takes_from_the_queue_is_not_the_first() -> None:
    one, _ = make_attempts(1)
    other, _ = make_attempts(1000)
    request = scrapy.Request("https://a.example/", meta={"taskId": 7})
    one.reached_downloader(request)
    again = request.copy()
    other.scheduled(again)
    other.reached_downloader(again)
    attempt = other.answered(again, Response(again.url)).write(again.meta)
    assert attempt is not None
    assert attempt.number == 1000
    assert not other.is_first(attempt)


@pytest.mark.parametrize(
    ("exception", "is_taken_back"),
    [
        (error.ConnectionRefusedError(), True),
        (error.DNSLookupError(), True),
        (error.NoRouteError(), True),
        (error.TCPTimedOutError(), True),
        (error.TimeoutError(), False),  # what Scrapy raises for DOWNLOAD_TIMEOUT
        (socket.gaierror(), True),
        (ConnectionRefusedError(), True),
        (type("ProxyError", (OSError,), {})(), True),
        # Like those of curl_cffi, which has one name for both.
        (type("ConnectionError", (CurlError,), {"code": 7})(), True),
        (type("ConnectionError", (CurlError,), {"code": 56})(), False),
        (IgnoreRequest(), True),
        (error.ConnectionLost(), False),
        (OSError("broken"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_attempt_on_which_nothing_was_sent_is_taken_back(
    exception: Exception, is_taken_back: bool
) -> None:
    attempts, _ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7})
    attempts.reached_downloader(request)
    attempts.failed(request, exception)
    retry = request.copy()
    attempts.reached_downloader(retry)
    attempt = attempts.answered(retry, Response(retry.url)).write(retry.meta)
    assert attempt is not None
    assert attempts.is_first(attempt) == is_taken_back


def test_a_refused_connection_behind_a_redirect_takes_nothing_back() -> None:
    attempts, _ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7})
    attempts.reached_downloader(request)
    moved = request.replace(
        url="https://b.example/", meta={**request.meta, "redirect_urls": [request.url]}
    )
    attempts.scheduled(moved)
    attempts.reached_downloader(moved)
    attempts.failed(moved, error.ConnectionRefusedError())
    attempts.reached_downloader(again := moved.copy())
    attempt = attempts.answered(again, Response(again.url)).write(again.meta)
    assert attempt is not None
    assert not attempts.is_first(attempt)


def test_when_an_answer_was_sent_is_told_by_the_first_headers() -> None:
    attempts, time_ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7, "download_latency": 99.0})
    attempts.scheduled(request)
    time_.advance(50)  # in its slot
    attempts.reached_downloader(request)
    assert "download_latency" not in request.meta
    time_.advance(10)
    request.meta["download_latency"] = 4.0
    attempts.received(request)
    time_.advance(30)  # the body
    moved = request.replace(
        url="https://a.example/2", meta={**request.meta, "redirect_urls": [request.url]}
    )
    attempts.scheduled(moved)
    attempts.reached_downloader(moved)
    attempt = attempts.answered(moved, Response(moved.url)).write(moved.meta)
    assert attempt is not None
    assert attempt.sent_at == SOLVED_AT + 56


def test_when_an_answer_was_sent_is_told_by_the_response_where_no_headers_are_seen() -> None:
    """As with HTTP/2, where Scrapy knows the latency only afterwards."""
    attempts, time_ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7})
    attempts.reached_downloader(request)
    time_.advance(60)
    request.meta["download_latency"] = 50.0
    attempt = attempts.answered(request, Response(request.url)).write(request.meta)
    assert attempt.sent_at == SOLVED_AT + 10


def test_a_response_from_a_cache_is_no_attempt() -> None:
    attempts, _ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7})
    attempts.scheduled(request)
    attempt = attempts.answered(request, Response(request.url, flags=["cached"])).write(
        request.meta
    )
    assert attempt is not None
    assert (attempt.number, attempt.verdict) == (0, CACHED)
    assert attempts.of(request) == attempt
    attempts.reached_downloader(copy := request.copy())
    attempt = attempts.answered(copy, Response(copy.url)).write(copy.meta)
    assert attempt is not None
    assert attempts.is_first(attempt)


# -- who was first ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "first"),
    [
        # attempts in the order in which they reach the downloader: (slot, reached, sent)
        ([("a", 0, 1)], {1}),
        ([("a", 0, None)], {1}),
        ([("a", 0, 1), ("a", 0, 2)], {1}),
        ([("a", 0, None), ("a", 0, 2)], {1}),  # a slot is left in order
        ([("a", 0, 1), ("b", 2, 3)], {1}),
        ([("a", 0, 5), ("b", 1, 2)], {2}),  # overtaken: it waited in its slot
        ([("a", 0, 2), ("b", 1, 3)], {1}),
        ([("a", 0, None), ("b", 1, 2)], set()),  # cannot be told
        ([("a", 0, 5), ("b", 1, None)], set()),
        ([(None, 0, None), (None, 1, None)], set()),
        ([("a", 0, 5), ("b", 1, 2), ("c", 1, 1)], {3}),
        ([("a", 0, 1), ("b", 0.5, None), ("c", 3, 4)], set()),
    ],
)
@pytest.mark.parametrize("told_in_order", [True, False])
def test_the_first_is_the_one_that_was_surely_sent_first(
    story: list[tuple[str | None, float, float | None]], first: set[int], told_in_order: bool
) -> None:
    order = SendingOrder(lambda: 0.0)
    for number, (slot, reached, _) in enumerate(story, 1):
        order.began(7, number, slot, reached)
    sent = [(number, at) for number, (_, _, at) in enumerate(story, 1) if at is not None]
    for number, at in sent if told_in_order else reversed(sent):
        order.sent(7, number, at)
    assert {n for n in range(1, len(story) + 1) if order.is_first(7, n)} == first
    order.began(7, 99, "z", 1000.0)
    assert not order.is_first(7, 99)


def test_an_attempt_that_is_taken_back_leaves_the_others_as_they_are() -> None:
    order = SendingOrder(lambda: 0.0)
    order.began(7, 1, "a", 0.0)
    order.began(7, 2, "b", 1.0)
    order.taken_back(7, 1)
    assert order.is_first(7, 2)
    order.taken_back(7, 2)
    order.began(7, 3, "a", 2.0)
    order.sent(7, 3, 2.5)
    order.taken_back(7, 4)
    assert order.is_first(7, 3)


# -- what others wrote under our key ---------------------------------------------------------------

GOOD = Attempt(
    task_id=7,
    solved_at=SOLVED_AT,
    created_at=SOLVED_AT - 9,
    site="a.example",
    number=1,
    url="https://a.example/",
    in_downloader=True,
    sent_at=SOLVED_AT + 1,
)
NAMES = tuple(asdict(GOOD))


def with_(**values: Any) -> tuple[Any, ...]:
    return astuple(replace(GOOD, **values))


OPTIONAL = ("created_at", "sent_at")
TEXTS = ("url", "site", "method")
COUNTS = ("number", "begun", "hops", "verdict", "unsent")
HOSTILE: list[Any] = [
    *(None, 0, 7, 1.5, True, "", "_capmonster_report", b"1234567890", ..., Attempt),
    *([], (), {}, set(), [7], (7,), with_()[:-1], (*with_(), 0), [GOOD], asdict(GOOD)),
    *("1234567890123", dict.fromkeys(range(14)), range(14), [[]] * 14, ["7"] * 14, [None] * 14),
    *(with_(**{name: None}) for name in NAMES if name not in OPTIONAL),
    *(with_(**{name: "1"}) for name in NAMES if name not in TEXTS),
    *(with_(**{name: 1}) for name in TEXTS),
    *(with_(**{name: math.nan}) for name in NAMES),
    *(with_(**{name: math.inf}) for name in NAMES),
    *(with_(**{name: -1}) for name in (*COUNTS, "solved_at", *OPTIONAL)),
    *(with_(**{name: 1.5}) for name in (*COUNTS, "task_id")),
    *(with_(**{name: 10**400}) for name in ("solved_at", *OPTIONAL)),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value!r:.90}")
def test_what_this_package_cannot_have_written_is_ignored(value: Any) -> None:
    assert read_attempt({ATTEMPT: value}) is None


@pytest.mark.parametrize("value", [with_(), list(with_()), with_(sent_at=None, created_at=None)])
def test_what_this_package_wrote_is_read(value: Any) -> None:
    assert read_attempt({ATTEMPT: value}) == Attempt(*value)


@pytest.mark.parametrize("queue", QUEUES)
def test_an_attempt_survives_a_queue(queue: str) -> None:
    meta: dict[str, Any] = {"taskId": 2**63 - 1}
    attempt = replace(GOOD, task_id=2**63 - 1, number=2**60, sent_at=SOLVED_AT + 1 / 3)
    attempt.write(meta)
    assert read_attempt(QUEUES[queue](meta)) == attempt
    assert type(meta[ATTEMPT]) is tuple  # what unpickles it need not know this package


@pytest.mark.parametrize(
    "meta",
    [
        {"retry_times": "2", "redirect_urls": "https://a.example/"},
        {"retry_times": None, "redirect_urls": None},
        {"retry_times": 1.5, "redirect_urls": {"https://a.example/": 1}},
    ],
)
def test_a_history_that_scrapy_did_not_write_is_none(meta: dict[str, Any]) -> None:
    attempts, _ = make_attempts()
    request = scrapy.Request("https://a.example/", meta={"taskId": 7, **meta})
    attempts.reached_downloader(request)
    response = Response(request.url)
    attempt = attempts.answered(request, response).write(request.meta)
    assert attempt is not None
    assert attempts.is_first(attempt)
    assert redirected_to(request, response, attempt.begun) == []


SERVICE = "http://service.example/render"


@pytest.mark.parametrize(
    ("asked", "body", "got", "is_redirect"),
    [
        ("https://a.example:443/login", "", "https://a.example/login", False),
        ("http://user:password@a.example/login", "", "http://a.example/login", False),
        (SERVICE, '{"url": "http://a.example"}', "http://a.example/", False),
        (SERVICE, '{"url": "http://a.example/login"}', "http://a.example/", True),
        (SERVICE, '{"url": "http://a.example/login?step=2"}', "http://a.example/login", True),
        (SERVICE, '{"url": "http://a.example/a%20b"}', "http://a.example/a%20b", False),
        (SERVICE + "?url=http%3A%2F%2Fa.example%2Fx&js=1", "", "http://a.example/x", False),
        (SERVICE + "?url=http%3A%2F%2Fa.example%2Fx&js=1", "", "http://a.example/", True),
    ],
)
def test_only_a_page_that_was_not_asked_for_is_one_that_the_site_redirected_to(
    asked: str, body: str, got: str, is_redirect: bool
) -> None:
    request = scrapy.Request(asked, body=body)
    assert redirected_to(request, Response(got), 0) == ([got] if is_redirect else [])


def test_the_site_is_where_the_answer_was_posted_though_a_browser_was_led_to_another() -> None:
    attempts, _ = make_attempts()
    url = "https://accounts.example/login?next=https://shop.example/"
    request = scrapy.Request(url, meta={"taskId": 7})
    attempts.reached_downloader(request)
    request.meta["redirect_urls"] = [url]  # as scrapy-playwright does
    attempts.received(request)
    response = Response("https://shop.example/")
    attempt = attempts.answered(request, response).write(request.meta)
    assert attempt.site == "accounts.example"
    assert redirected_to(request, response, attempt.begun) == [response.url]


# -- what users wrote ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"taskId": 1.5}, "taskId in request.meta (1.5, of type float) is invalid"),
        ({"taskId": " x\n"}, "taskId in request.meta (' x\\n', of type str) is invalid"),
        (
            {"taskId": 1, "taskSolvedAt": "soon"},
            "taskSolvedAt in request.meta ('soon', of type str)",
        ),
        ({"taskId": 1, "taskCreatedAt": 9e11}, "taskCreatedAt in request.meta (900000000000.0,"),
        ({"taskId": 1, "taskType": "TurnstyleTask"}, "Did you mean 'TurnstileTask'?"),
        ({"taskId": 1, "taskType": ["image"]}, "(['image'], of type list) is unknown"),
    ],
)
def test_what_cannot_be_read_is_said_once(
    meta: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    attempts, _ = make_attempts()
    for _ in range(3):
        attempts.reached_downloader(scrapy.Request("https://a.example/", meta=meta))
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert said in warning.getMessage()


# -- in a crawl ------------------------------------------------------------------------------------


def refuses(request: Any) -> Any:
    if request.path == b"/moved":
        return Reply(status=302, headers={"Location": "/login"})
    return "<p>Wrong captcha</p>"


class Clock:
    """Set forward by hand: for the package only, so that the reactor keeps its own time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        clocks = SimpleNamespace(
            time=lambda: time.time() + self.ahead, monotonic=lambda: time.monotonic() + self.ahead
        )
        monkeypatch.setattr("scrapy_capmonster_report.clock.time", clocks)


class Login(scrapy.Spider):
    name = "login"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong captcha"}]}
    url: str
    metas: list[dict[str, Any]]

    async def start(self) -> Any:
        for number, meta in enumerate(self.metas):
            yield scrapy.Request(f"{self.url}/login?{number}", meta=meta)


@pytest_twisted.ensureDeferred
async def test_hostile_content_neither_breaks_nor_changes_a_crawl(serve: Any, api: Any) -> None:
    cloud = api()
    metas = [{"taskId": 7, ATTEMPT: value} for value in HOSTILE]
    for number, meta in enumerate(metas, 1000):
        meta["taskId"] = number
        if isinstance(meta[ATTEMPT], tuple) and meta[ATTEMPT][:1] == (7,):
            meta[ATTEMPT] = (number, *meta[ATTEMPT][1:])
    stats = await crawl(
        Login, {"CAPMONSTER_API_URL": cloud.url}, url=serve(refuses).url, metas=metas
    )
    assert sorted(cloud.reports) == [(TOKEN, meta["taskId"]) for meta in metas]
    assert stats["sent/accepted"] == len(HOSTILE)


class PausedBeforeLogin(scrapy.Spider):
    """Its first crawl is paused while the request with the answer waits; a second one resumes."""

    name = "paused"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong captcha"}]}
    url: str
    meta: dict[str, Any]

    async def start(self) -> Any:
        yield scrapy.Request(f"{self.url}/")

    def parse(self, response: Any) -> Any:
        if "taskId" not in response.meta:
            self.crawler.engine.pause()  # the request waits in the queue, and is not taken out
            yield scrapy.Request(f"{self.url}/login", meta=self.meta)
            raise CloseSpider("paused")


# Scrapy 2.13.0 forgets to close the files of a disk queue that has run empty.
@pytest.mark.filterwarnings("ignore:unclosed file .*requests.queue:ResourceWarning")
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("meta", "waits", "expected"),
    [
        ({"taskType": "RecaptchaV2Task"}, 110, "sent/accepted"),
        ({"taskType": "RecaptchaV2Task"}, 121, "withheld/stale"),
        ({"taskType": "TurnstileTask"}, 290, "sent/accepted"),
        ({"taskType": "ImageToTextTask"}, 290, "sent/accepted"),
        ({"taskType": "ImageToTextTask"}, 301, "withheld/stale"),
        ({"taskType": "RecaptchaV2Task", "taskSolvedAt": -60}, 55, "sent/accepted"),
        ({"taskType": "RecaptchaV2Task", "taskSolvedAt": -60}, 65, "withheld/stale"),
    ],
)
async def test_an_answer_ages_in_the_disk_queue_of_a_paused_crawl(
    meta: dict[str, Any],
    waits: float,
    expected: str,
    serve: Any,
    api: Any,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    cloud = api()
    url = serve(refuses).url
    settings = {"CAPMONSTER_API_URL": cloud.url, "JOBDIR": str(tmp_path / "job")}
    meta = {"taskId": 7, **meta}
    if "taskSolvedAt" in meta:
        meta["taskSolvedAt"] += time.time()
    assert await crawl(PausedBeforeLogin, settings, url=url, meta=meta) == {}
    clock.ahead = waits
    stats = await crawl(PausedBeforeLogin, settings, url=url, meta=meta)
    assert stats["rejected"] == stats[expected] == 1
    assert len(cloud.reports) == (expected == "sent/accepted")


class ComesAgain(Login):
    """Goes on with the ``meta`` of each response: its retry, its redirect, a copy."""

    async def start(self) -> Any:
        yield scrapy.Request(f"{self.url}/moved", meta=self.metas[0])

    def parse(self, response: Any) -> Any:
        if "copied" not in response.url:
            yield scrapy.Request(f"{self.url}/copied", meta=response.meta)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("queue", ["MarshalFifoDiskQueue", "PickleFifoDiskQueue"])
async def test_a_disk_queue_takes_a_request_in_any_state(
    queue: str, serve: Any, api: Any, tmp_path: Any
) -> None:
    seen: list[str] = []

    def site(request: Any) -> Any:
        path = request.path.decode()
        seen.append(path)
        if path == "/moved":
            return Reply(status=302, headers={"Location": "/busy"})
        return Reply("busy", status=503 if seen.count(path) < 2 else 200)

    crawler = await start_crawl(
        ComesAgain,
        {
            "CAPMONSTER_API_URL": api().url,
            "JOBDIR": str(tmp_path / "job"),
            "SCHEDULER_DISK_QUEUE": f"scrapy.squeues.{queue}",
            "SCHEDULER_START_DISK_QUEUE": f"scrapy.squeues.{queue}",
        },
        url=serve(site).url,
        metas=[{"taskId": 7}],
    )
    assert seen == ["/moved", "/busy", "/busy", "/copied", "/copied"]
    stats = crawler.stats.get_stats()
    assert stats["scheduler/enqueued/disk"] == stats["scheduler/enqueued"] == 5


class TakesAnotherAnswer(Login):
    """Asks for a page in the errback of another, with its ``meta`` but for the answer."""

    async def start(self) -> Any:
        yield scrapy.Request(f"{self.url}/gone", meta=self.metas[0], errback=self.failed)

    def parse(self, response: Any) -> None:
        pass

    def failed(self, failure: Any) -> None:
        meta = {key: value for key, value in failure.request.meta.items() if key != "taskId"}
        # Scrapy 2.13 drops what an errback yields.
        self.crawler.engine.crawl(scrapy.Request(f"{self.url}/login", meta=meta))


class Fails:
    """Lets no response of the first request through."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if request.url.endswith("/gone"):
            raise OSError("broken")
        return response


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("order", "breaks_off"), [(580, True), (900, False), (500, False)])
async def test_a_disk_queue_takes_what_is_made_of_a_request_that_failed(
    order: int, breaks_off: bool, serve: Any, api: Any, tmp_path: Any
) -> None:
    def site(request: Any) -> Any:
        if breaks_off and request.path == b"/gone":
            request.transport.abortConnection()
        return "<p>Welcome</p>"

    queue = "scrapy.squeues.MarshalFifoDiskQueue"
    crawler = await start_crawl(
        TakesAnotherAnswer,
        {
            "CAPMONSTER_API_URL": api().url,
            "DOWNLOADER_MIDDLEWARES": {Fails: order},
            "JOBDIR": str(tmp_path / "job"),
            "RETRY_ENABLED": False,
            "SCHEDULER_DISK_QUEUE": queue,
            "SCHEDULER_START_DISK_QUEUE": queue,
        },
        url=serve(site).url,
        metas=[{"taskId": 7}],
    )
    stats = crawler.stats.get_stats()
    assert stats["scheduler/enqueued/disk"] == stats["scheduler/enqueued"] == 2


class TakesItsTime(Login):
    """Much time goes by between the headers of a page and the rest of it."""

    clock: Clock
    seconds = 60

    async def start(self) -> Any:
        self.crawler.signals.connect(self.goes_on, signals.bytes_received)
        yield scrapy.Request(f"{self.url}/login", meta=self.metas[0])

    def goes_on(self) -> None:
        self.clock.ahead += self.seconds


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("age", "expected"), [(110, "sent/accepted"), (121, "withheld/stale"), (290, "withheld/stale")]
)
async def test_how_long_a_page_takes_to_come_does_not_make_the_answer_older(
    age: float, expected: str, serve: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = api()
    meta = {"taskId": 7, "taskType": "RecaptchaV2Task", "taskSolvedAt": time.time() - age}
    stats = await crawl(
        TakesItsTime,
        {"CAPMONSTER_API_URL": cloud.url},
        url=serve(refuses).url,
        metas=[meta],
        clock=Clock(monkeypatch),
    )
    assert stats["rejected"] == stats[expected] == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("seconds", "expected"), [(290, "sent/accepted"), (301, "withheld/stale")])
async def test_an_answer_of_a_worker_whose_clock_is_ahead_ages_from_now(
    seconds: int, expected: str, serve: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another worker put into a shared queue, by its clock."""
    attempt = Attempt(7, time.time() + 600)
    stats = await crawl(
        TakesItsTime,
        {"CAPMONSTER_API_URL": api().url},
        url=serve(refuses).url,
        metas=[{"taskId": 7, ATTEMPT: astuple(attempt)}],
        clock=Clock(monkeypatch),
        seconds=seconds,
    )
    assert stats["rejected"] == stats[expected] == 1


class AnswersItself:
    """Lets no request out, and so leaves in ``meta`` what an earlier download wrote there."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        return scrapy.http.HtmlResponse(request.url, body=b"Wrong captcha")


@pytest_twisted.ensureDeferred
async def test_the_latency_of_another_download_does_not_make_an_answer_younger(
    serve: Any, api: Any
) -> None:
    cloud = api()
    meta = {
        "taskId": 7,
        "taskType": "RecaptchaV2Task",
        "taskSolvedAt": time.time() - 121,
        "download_latency": 30.0,
    }
    stats = await crawl(
        Login,
        {"CAPMONSTER_API_URL": cloud.url, "DOWNLOADER_MIDDLEWARES": {AnswersItself: 900}},
        url=serve(refuses).url,
        metas=[meta],
    )
    assert stats["rejected"] == stats["withheld/stale"] == 1


class WaitsBehindARedirect(Login):
    """Between the redirect and the page it leads to, much time goes by."""

    clock: Clock

    async def start(self) -> Any:
        self.crawler.signals.connect(self.leaves, signals.request_reached_downloader)
        yield scrapy.Request(f"{self.url}/moved", meta=self.metas[0])

    def leaves(self, request: Any) -> None:
        self.clock.ahead += 0 if request.url.endswith("/moved") else 200


@pytest_twisted.ensureDeferred
async def test_an_answer_is_as_old_as_it_was_when_the_site_first_got_it(
    serve: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = api()
    stats = await crawl(
        WaitsBehindARedirect,
        {"CAPMONSTER_API_URL": cloud.url},
        url=serve(refuses).url,
        metas=[{"taskId": 7, "taskType": "RecaptchaV2Task"}],
        clock=Clock(monkeypatch),
    )
    assert stats["sent/accepted"] == 1
    assert cloud.reports == [(TOKEN, 7)]
