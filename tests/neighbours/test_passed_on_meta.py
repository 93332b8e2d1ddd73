"""Rows 5 and 6: ``meta`` that came along from other requests, and requests to the service."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urljoin

import pytest
import pytest_twisted
import scrapy
from scrapy.http import TextResponse
from strict_site import (
    RULES,
    TOKEN,
    StrictSite,
    Submits,
    download,
    send,
    submit,
    warnings_of,
    withheld,
)
from support import Reply, json_reply

OURS = "_capmonster_report"
REDIRECT = {"name": "captcha error", "redirect": r"captchaError"}
ELSEWHERE = "http://elsewhere.example/login?captchaError=1"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "foreign",
    [
        {"redirect_urls": [ELSEWHERE]},
        {"redirect_urls": [ELSEWHERE, ELSEWHERE], "redirect_times": 2},
        {"redirect_urls": [ELSEWHERE, ELSEWHERE, ELSEWHERE]},
        {"download_latency": 0.1},
        {"download_latency": 900.0},
        {"download_latency": "slow"},
        {"retry_times": 0},
        {"redirect_urls": "none", "retry_times": "many", OURS: "?"},
    ],
    ids=str,
)
async def test_what_came_along_with_an_answer_changes_nothing(
    foreign: dict[str, Any], serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/captchaError", n, foreign) for n in (1, 2)],
        cloud,
        CAPMONSTER_REPORT_RULES=[REDIRECT, *RULES],
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["rejected"] == stats["rejected/rule/wrong"] == 1


@pytest_twisted.ensureDeferred
async def test_the_first_site_of_an_answer_is_not_one_that_came_along(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site = StrictSite({1})
    url = serve(site.respond).url
    meta = {"redirect_urls": ["http://elsewhere.example/"]}
    await send(lambda spider: [submit(f"{url}/", 1, meta)], api())
    assert "127.0.0.1" in caplog.text.split("Captcha answers by site:")[1]
    assert "elsewhere.example" not in caplog.text.split("Captcha answers by site:")[1]


class Collects(Submits):
    """Posts answers with a dict that it keeps, and that each response adds to."""

    url: str
    paths: list[tuple[str, int | None]]

    async def start(self) -> Any:
        self.collected: dict[str, Any] = {}
        self.left = list(self.paths)
        yield self.next_request()

    def next_request(self) -> scrapy.Request:
        path, task_id = self.left.pop(0)
        meta = {name: value for name, value in self.collected.items() if name != "taskId"}
        url = urljoin(self.url, path)
        if task_id is None:
            return scrapy.Request(url, meta=meta, errback=self.failed, dont_filter=True)
        return submit(url, task_id, meta, errback=self.failed)

    def parse(self, response: Any) -> Any:
        self.collected.update(response.meta)
        if self.left:
            self.later(self.next_request())

    def failed(self, failure: Any) -> None:
        self.collected.update(failure.request.meta)
        if self.left:
            self.later(self.next_request())


class BusySite(StrictSite):
    """``/busy`` answers 503, ``/gone`` breaks off after it has got the answer."""

    def respond(self, request: Any) -> Any:
        said = super().respond(request)
        if self.paths[-1] == "/busy":
            return Reply(said, status=503)
        if self.paths[-1] == "/gone":
            request.transport.abortConnection()
            return ""
        return said


BEFORE: dict[str, list[tuple[str, int | None]]] = {
    "a retried page": [("/busy", None)],
    "a page that broke off": [("/gone", None)],
    "a redirected page": [("/hop?to=/captchaError", None)],
    "a retried answer": [("/busy", 11)],
    "an answer that broke off": [("/gone", 11)],
    "a redirected answer": [("/hop?to=/captchaError", 11)],
    "all of them": [
        ("/hop?to=/captchaError", 11),
        ("/gone", None),
        ("/busy", 12),
        ("/hop?to=/fine", None),
    ],
}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
async def test_one_dict_for_all_requests_mixes_no_two_answers(
    before: list[tuple[str, int | None]], serve: Any, api: Any
) -> None:
    site, cloud = BusySite({2, 3}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [],
        cloud,
        type(
            "Collecting",
            (Collects,),
            {"url": url, "paths": [*before, ("/1", 1), ("/2", 2), ("/hop?to=/captchaError", 3)]},
        ),
        CAPMONSTER_REPORT_RULES=[REDIRECT, *RULES],
        RETRY_TIMES=1,
    )
    assert site.got(2) == site.got(3) == [False]
    reported = {task_id for _, task_id in cloud.reports}
    assert len(cloud.reports) == len(reported)
    assert {2, 3} <= reported <= {2, 3, 11}
    # Only what led task 11 there is a redirect of its own.
    redirected = sum(path.endswith("captchaError") and task in (3, 11) for path, task in before)
    assert stats.get("rejected/rule/captcha error", 0) == redirected + 1


class KeepsFirstMeta(Submits):
    """Posts the same answer with the ``meta`` of its first request, which is still under way."""

    url: str

    async def start(self) -> Any:
        self.first = submit(f"{self.url}/first", 1)
        yield self.first

    def parse(self, response: Any) -> Any:
        if response.url.endswith("/first"):
            yield submit(f"{self.url}/second", 1, {**self.first.meta, "redirect_urls": ["x"]})


@pytest_twisted.ensureDeferred
async def test_an_answer_with_redirects_of_the_spiders_own_is_another_attempt(
    serve: Any, api: Any
) -> None:
    site, cloud = StrictSite(), api()
    url = serve(site.respond).url
    stats = await send(lambda spider: [], cloud, type("Keeps", (KeepsFirstMeta,), {"url": url}))
    assert site.got(1) == [True, False]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 1}


# -- row 6 ----------------------------------------------------------------------------------------


class Solver(Submits):
    """Solves through Scrapy itself, with the id in ``meta``, and posts the answer."""

    service: str
    url: str
    polls = 3

    def ask(self, path: str, task_id: int | None) -> scrapy.Request:
        return scrapy.Request(
            self.service + path,
            method="POST",
            body=json.dumps({"clientKey": "…", "taskId": task_id}),
            meta={} if task_id is None else {"taskId": task_id, "taskType": "TurnstileTask"},
            dont_filter=True,
            callback=self.polled,
            errback=self.failed,
        )

    async def start(self) -> Any:
        yield self.ask("/createTask", None)

    def polled(self, response: Any) -> Any:
        if response.url.endswith("/createTask"):
            yield self.ask("/getTaskResult", response.json()["taskId"])
        elif response.json()["status"] == "processing":
            yield response.request.replace(dont_filter=True)
        else:
            yield submit(self.url, 1, response.meta, callback=self.parse)


class Service:
    """A stand-in: creates task 1, solves it at the third asking, takes reports.

    Its answers hold what the rules look for, as its error descriptions may.
    """

    def __init__(self, wrong_words: bool) -> None:
        self.reports: list[tuple[str, Any]] = []
        self.polls = 0
        self.words = "Wrong captcha" if wrong_words else ""

    def say(self, path: str, body: bytes) -> dict[str, Any]:
        if path.startswith("/report"):
            self.reports.append((path, json.loads(body)["taskId"]))
            return {"errorId": 0, "status": "success"}
        if path == "/createTask":
            return {"errorId": 0, "taskId": 1}
        self.polls += 1
        status = "ready" if self.polls == 3 else "processing"
        return {"errorId": 0, "status": status, "solution": {"token": self.words}}

    def respond(self, request: Any) -> Any:
        return json_reply(self.say(request.path.decode(), request.content.read()))


class IsTheService:
    """Answers what is sent to the service's real address."""

    service: Service

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if "capmonster.cloud" not in request.url:
            return None
        said = self.service.say(request.url.partition("cloud")[2], request.body)
        headers = {"Content-Type": "application/json"}
        return TextResponse(request.url, body=json.dumps(said).encode(), headers=headers)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("address", ["CAPMONSTER_API_URL", "https://api.capmonster.cloud"])
@pytest.mark.parametrize("wrong_words", [False, True])
async def test_asking_the_service_for_an_answer_submits_none(
    address: str, wrong_words: bool, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    site, service = StrictSite({1}), Service(wrong_words)
    url = serve(site.respond).url
    cloud_url = serve(service.respond).url
    middleware = type("IsTheService", (IsTheService,), {"service": service})
    stats = await send(
        lambda spider: [],
        type("Cloud", (), {"url": cloud_url}),
        type(
            "Solves",
            (Solver,),
            {"service": cloud_url if address.startswith("CAP") else address, "url": url},
        ),
        DOWNLOADER_MIDDLEWARES={middleware: 800},
    )
    assert service.polls == 3
    assert site.got(1) == [False]
    assert service.reports == [(TOKEN, 1)]
    assert stats["checked"] == stats["rejected"] == stats["sent/accepted"] == 1
    assert warnings_of(caplog) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("setting", "polled"),
    [
        ("http://LOCALHOST:{}", "http://localhost:{}"),
        ("http://localhost:{}/", "HTTP://LocalHost:{}"),
    ],
)
async def test_the_service_is_known_by_any_spelling_of_its_address(
    setting: str, polled: str, serve: Any
) -> None:
    site, service = StrictSite({1}), Service(wrong_words=False)
    port = serve(service.respond).port
    solver = {"service": polled.format(port), "url": serve(site.respond).url}
    stats = await send(
        lambda spider: [],
        type("Cloud", (), {"url": setting.format(port)}),
        type("Solves", (Solver,), solver),
    )
    assert service.reports == [(TOKEN, 1)]
    assert stats["checked"] == 1


class LoadsTheFormInline(Submits):
    """Loads the form in a callback, and passes the form's ``meta`` on to the answer."""

    url: str

    async def start(self) -> Any:
        yield scrapy.Request(f"{self.url}/")

    async def parse(self, response: Any) -> Any:
        form = await download(self.crawler, scrapy.Request(f"{self.url}/form"))
        assert form.meta["retry_times"] == 1
        yield submit(self.url, 1, form.meta, callback=self.done)

    def done(self, response: Any) -> None:
        pass


@pytest_twisted.ensureDeferred
async def test_the_retry_of_a_form_that_was_loaded_inline_is_not_that_of_the_answer(
    serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1}), api()
    in_trouble = iter([True])

    def respond(request: Any) -> Any:
        if request.path == b"/form" and next(in_trouble, False):
            return Reply(status=503)
        return site.respond(request)

    spider = type("Loads", (LoadsTheFormInline,), {"url": serve(respond).url})
    await send(lambda spider: [], cloud, spider)
    assert cloud.reports == [(TOKEN, 1)]


class CountsItsTries(Submits):
    """Has the captcha solved anew as long as it is refused, and counts its tries as Scrapy does."""

    url: str

    def parse(self, response: Any) -> Any:
        task_id, tries = response.meta["taskId"], response.meta.get("retry_times", 0)
        if "Wrong captcha" in response.text and tries < 2:
            yield submit(self.url, task_id + 1, {"retry_times": tries + 1})


@pytest_twisted.ensureDeferred
async def test_tries_that_a_spider_counts_itself_are_those_of_other_answers(
    serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1, 2, 3}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(url, 1)], cloud, type("Counts", (CountsItsTries,), {"url": url})
    )
    assert cloud.reports == [(TOKEN, 1), (TOKEN, 2), (TOKEN, 3)]
    assert withheld(stats) == {}
