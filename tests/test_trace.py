"""The trace of an answer in ``meta``: through retries, redirects, copies, queues and clocks."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import time
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_twisted
import scrapy
from hypothesis import given
from hypothesis import strategies as st
from scrapy import signals
from scrapy.exceptions import CloseSpider
from scrapy_capmonster_report.trace import (
    NO_TASK,
    TRACE,
    Trace,
    arrived,
    departed,
    first_seen,
    leave_history_behind,
    redirected_to,
    stored_trace,
)
from support import Reply, crawl, start_crawl

TOKEN = "/reportIncorrectTokenCaptcha"
SOLVED_AT = 1_700_000_000.0

QUEUES = {
    "memory": lambda meta: meta,
    "pickle": lambda meta: pickle.loads(pickle.dumps(meta)),
    "json": lambda meta: json.loads(json.dumps(meta)),
}


class Journey:
    """What Scrapy and a spider do to ``meta``, and beside it what the trace should make of it."""

    def __init__(self) -> None:
        self.meta: dict[str, Any] = {"taskId": 1}
        self.url = "https://a.example/0"
        self.urls = (f"https://a.example/{n}" for n in itertools.count(1))
        self.next_trip = itertools.count(1).__next__
        self.task = 1
        self.trip = 0
        self.retried = False
        self.redirects: list[str] = []

    def travel(self) -> Trace:
        """Out to the site and back; the trace must tell the story so far."""
        trace = stored_trace(self.meta)
        if trace is None or trace.task != self.task:
            trace = first_seen(self.meta, self.task, SOLVED_AT)
        trace = departed(self.meta, trace, self.next_trip)
        assert trace == stored_trace(self.meta)
        assert (trace.task, trace.solved_at) == (self.task, SOLVED_AT)
        assert trace.trip == self.trip
        assert trace.retried == self.retried
        assert redirected_to(self.meta, trace, self.url) == tuple(self.redirects)
        return trace

    def answered(self) -> None:
        arrived(self.meta, self.travel(), sent_at=SOLVED_AT + 1, cached=False)

    def begin(self) -> None:
        self.trip += 1

    def retry(self) -> None:
        """RetryMiddleware copies the request, redirected or not."""
        self.meta = {**self.meta, "retry_times": self.meta.get("retry_times", 0) + 1}
        self.retried = True
        self.trip += 1

    def redirect(self) -> None:
        """RedirectMiddleware replaces the request."""
        self.meta = {**self.meta, "redirect_urls": [*self.meta.get("redirect_urls", ()), self.url]}
        self.url = next(self.urls)
        self.redirects.append(self.url)

    def copy(self) -> None:
        """The spider's next request gets a copy of ``response.meta``, answer and all."""
        self.meta = dict(self.meta)
        self.url = next(self.urls)
        self.redirects = []
        self.trip += 1

    def new_answer(self) -> None:
        """As :meth:`copy`, with the answer of a new task."""
        self.copy()
        self.task += 1
        self.meta["taskId"] = self.task
        self.retried = False

    def retry_with_new_answer(self) -> None:
        """A spider calls ``get_retry_request()``, and has the captcha solved anew for it."""
        self.new_answer()
        self.meta["retry_times"] = self.meta.get("retry_times", 0) + 1


ANSWERED_FIRST = ("copy", "new_answer", "retry_with_new_answer")
"""A spider copies ``meta`` in a callback: then a response has come."""


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["retry", "redirect", *ANSWERED_FIRST]),
            st.booleans(),
            st.sampled_from(sorted(QUEUES)),
        ),
        max_size=12,
    )
)
def test_any_journey(steps: list[tuple[str, bool, str]]) -> None:
    journey = Journey()
    journey.begin()
    for step, response_seen, queue in steps:
        # RedirectMiddleware and a broken connection leave no response to be looked at.
        if response_seen or step in ANSWERED_FIRST:
            journey.answered()
        else:
            journey.travel()
        getattr(journey, step)()
        journey.meta = QUEUES[queue](journey.meta)
    journey.travel()


def test_a_page_without_a_task_leaves_its_history_behind() -> None:
    meta: dict[str, Any] = {"retry_times": 2, "redirect_urls": ["https://a.example/"]}
    leave_history_behind(meta)
    assert stored_trace(meta) == Trace(NO_TASK, retries=2, redirects=1, tries=2, hops=1)
    trace = departed(meta, first_seen(meta, 7, SOLVED_AT), lambda: 1)
    assert not trace.retried
    assert redirected_to(meta, trace, "https://a.example/login") == ()


def test_who_retries_a_page_without_a_task_with_an_answer_has_not_used_that_before() -> None:
    meta: dict[str, Any] = {}
    leave_history_behind(meta)
    meta = {**meta, "retry_times": 1}  # get_retry_request(response.request, ...)
    assert not first_seen(meta, 7, SOLVED_AT).retried


def test_a_retry_that_no_trace_vouches_for_counts_against_the_report() -> None:
    meta: dict[str, Any] = {"retry_times": 1}  # as from a queue that dropped our key
    assert first_seen(meta, 7, SOLVED_AT).retried


def test_what_a_response_shows_is_kept() -> None:
    meta: dict[str, Any] = {}
    trace = departed(meta, first_seen(meta, 7, SOLVED_AT), lambda: 5)
    assert (trace.sent_at, trace.answered, trace.cached) == (None, False, False)
    trace = arrived(meta, trace, sent_at=SOLVED_AT + 3, cached=True)
    assert (trace.sent_at, trace.answered, trace.cached) == (SOLVED_AT + 3, True, True)
    # The first request of a trip is the one that brought the answer to the site.
    assert arrived(meta, trace, sent_at=SOLVED_AT + 9, cached=False).sent_at == SOLVED_AT + 3


@pytest.mark.parametrize("queue", QUEUES)
def test_the_trace_survives_a_queue(queue: str) -> None:
    meta: dict[str, Any] = {"taskId": 2**63 - 1}
    trace = departed(meta, first_seen(meta, 2**63 - 1, SOLVED_AT + 0.1), lambda: 2**60)
    assert stored_trace(QUEUES[queue](meta)) == trace
    trace = arrived(meta, trace, sent_at=SOLVED_AT + 1 / 3, cached=True)
    assert stored_trace(QUEUES[queue](meta)) == trace
    assert type(meta[TRACE]) is tuple  # what unpickles it need not know this package


# -- what others wrote under our key ---------------------------------------------------------------

GOOD = Trace(7, SOLVED_AT, 1, 0, 0, 0, 0, SOLVED_AT + 1, answered=True, cached=False)


def with_(**fields: Any) -> tuple[Any, ...]:
    return tuple(GOOD._replace(**fields))


HOSTILE: list[Any] = [
    *(None, 0, 7, 1.5, True, "", "_capmonster_report", b"1234567890", ..., Trace),
    *([], (), {}, set(), [7], (7,), tuple(GOOD)[:-1], (*GOOD, 0), [GOOD], GOOD._asdict()),
    *("1234567890", dict.fromkeys(range(10)), range(10), [[]] * 10, ["7"] * 10, [None] * 10),
    *(with_(**{name: None}) for name in Trace._fields if name != "sent_at"),
    *(with_(**{name: "1"}) for name in Trace._fields),
    *(with_(**{name: math.nan}) for name in Trace._fields),
    *(with_(**{name: math.inf}) for name in Trace._fields),
    *(with_(**{name: -1}) for name in ("task", "trip", "retries", "redirects", "tries", "hops")),
    *(with_(**{name: 1.5}) for name in ("task", "trip", "retries", "redirects", "tries", "hops")),
    *(with_(**{name: 10**400}) for name in ("solved_at", "sent_at")),
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: f"{value!r:.90}")
def test_what_is_no_trace_is_ignored(value: Any) -> None:
    assert stored_trace({TRACE: value}) is None


@pytest.mark.parametrize("value", [tuple(GOOD), list(GOOD), with_(sent_at=None)])
def test_what_is_a_trace_is_taken(value: Any) -> None:
    assert stored_trace({TRACE: value}) == Trace._make(value)


@pytest.mark.parametrize(
    "meta",
    [
        {"retry_times": "2", "redirect_urls": "https://a.example/"},
        {"retry_times": None, "redirect_urls": None},
        {"retry_times": 1.5, "redirect_urls": {"https://a.example/": 1}},
    ],
)
def test_a_history_that_scrapy_did_not_write_is_none(meta: dict[str, Any]) -> None:
    trace = departed(meta, first_seen(meta, 7, SOLVED_AT), lambda: 1)
    assert not trace.retried
    assert redirected_to(meta, trace, "https://a.example/") == ()


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
    metas = [{"taskId": 7, TRACE: value} for value in HOSTILE]
    for number, meta in enumerate(metas, 1000):
        meta["taskId"] = number
        if isinstance(meta[TRACE], tuple) and meta[TRACE][:1] == (7,):
            meta[TRACE] = (number, *meta[TRACE][1:])
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
async def test_a_disk_queue_takes_whatever_becomes_of_a_request(
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
    trace = Trace(7, time.time() + 600)
    stats = await crawl(
        TakesItsTime,
        {"CAPMONSTER_API_URL": api().url},
        url=serve(refuses).url,
        metas=[{"taskId": 7, TRACE: tuple(trace)}],
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
