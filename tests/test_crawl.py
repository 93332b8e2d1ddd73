"""A labelled crawl: every condition and every fairness case, and exactly the reports expected."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from typing import Any

import brotli
import pytest
import pytest_twisted
import scrapy
import zstandard
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.utils.test import get_crawler
from support import Reply, accepted, crawl, refused
from twisted.web.server import NOT_DONE_YET

from scrapy_capmonster_report import CapMonsterReportMiddleware, accept, captcha_meta, reject

IMAGE = "/reportIncorrectImageCaptcha"
TOKEN = "/reportIncorrectTokenCaptcha"
RECAPTCHA = "/reportIncorrectRecaptcha"

WRONG = "<html><body><p class='error'>Wrong captcha</p></body></html>"
FINE = "<html><body><p>Welcome back</p></body></html>"


def compressed(encoding: str, body: bytes) -> Reply:
    headers = {"Content-Type": "text/html; charset=utf-8", "Content-Encoding": encoding}
    return Reply(body, headers=headers)


class Shop:
    """Answers by path; ``/flaky`` breaks off once, ``/warm`` refuses from the second visit on."""

    def __init__(self) -> None:
        self.visits: dict[bytes, int] = {}

    def respond(self, request: Any) -> Any:
        path = request.path
        visits = self.visits[path] = self.visits.get(path, 0) + 1
        name = path.decode().strip("/").split("/")[0].replace("-", "_")
        return getattr(self, name)(request, visits)

    def wrong(self, request: Any, visits: int) -> Any:
        return WRONG

    def fine(self, request: Any, visits: int) -> Any:
        return FINE

    def gzip(self, request: Any, visits: int) -> Any:
        return compressed("gzip", gzip.compress(WRONG.encode()))

    def deflate(self, request: Any, visits: int) -> Any:
        return compressed("deflate", zlib.compress(WRONG.encode()))

    def br(self, request: Any, visits: int) -> Any:
        return compressed("br", brotli.compress(WRONG.encode()))

    def zstd(self, request: Any, visits: int) -> Any:
        return compressed("zstd", zstandard.compress(WRONG.encode()))

    def cyrillic(self, request: Any, visits: int) -> Any:
        body = "<p>Неверная капча</p>".encode("cp1251")
        return Reply(body, headers={"Content-Type": "text/html; charset=windows-1251"})

    def picture(self, request: Any, visits: int) -> Any:
        return Reply(b"\x89PNG\r\n\x1a\n\0\0 Wrong captcha", headers={"Content-Type": "image/png"})

    def forbidden(self, request: Any, visits: int) -> Any:
        return Reply(FINE, status=403)

    def header(self, request: Any, visits: int) -> Any:
        return Reply(FINE, headers={"Content-Type": "text/html", "CF-Mitigated": "challenge"})

    def json(self, request: Any, visits: int) -> Any:
        return Reply(
            json.dumps({"success": False, "errors": ["bad-captcha"]}),
            headers={"Content-Type": "application/json"},
        )

    def node(self, request: Any, visits: int) -> Any:
        return "<form><div class='captcha-error'>!</div></form>"

    def odd(self, request: Any, visits: int) -> Any:
        return "<p>an odd page</p>"

    def raising(self, request: Any, visits: int) -> Any:
        return "<p>this page makes the callback raise</p>"

    def expired(self, request: Any, visits: int) -> Any:
        return WRONG + "<p>Your session has expired</p>"

    def redirected(self, request: Any, visits: int) -> Any:
        return Reply(status=302, headers={"Location": "/fine?captchaError=1"})

    def refreshed(self, request: Any, visits: int) -> Any:
        return '<meta http-equiv="refresh" content="0; url=/fine/refreshed?captchaError=1">'

    def offsite(self, request: Any, visits: int) -> Any:
        return Reply(status=302, headers={"Location": "http://offsite.invalid/?captchaError=1"})

    def seen(self, request: Any, visits: int) -> Any:
        return Reply(status=302, headers={"Location": "/fine?captchaError=1"})

    def moved(self, request: Any, visits: int) -> Any:
        return Reply(status=302, headers={"Location": "/wrong/moved"})

    def onward(self, request: Any, visits: int) -> Any:
        return Reply(status=302, headers={"Location": "http://offsite.invalid/welcome"})

    def gone(self, request: Any, visits: int) -> Any:
        request.transport.abortConnection()
        return NOT_DONE_YET

    def flaky(self, request: Any, visits: int) -> Any:
        if visits == 1:
            request.transport.abortConnection()
            return NOT_DONE_YET
        return WRONG

    def busy(self, request: Any, visits: int) -> Any:
        return Reply(FINE, status=503) if visits == 1 else WRONG

    def warm(self, request: Any, visits: int) -> Any:
        return FINE if visits == 1 else WRONG


RULES: list[Any] = [
    {"name": "text", "text": ["Wrong captcha", "Неверная капча"], "unless": {"text": "expired"}},
    {"name": "status", "status": "4xx", "method": "GET", "domains": "127.0.0.1"},
    {"name": "headers", "headers": {"cf-mitigated": "challenge"}, "kind": "token"},
    {"name": "json", "jmespath": "errors[?@ == 'bad-captcha']", "kind": "recaptcha"},
    {"name": "css", "css": "div.captcha-error", "kind": "image"},
    {"name": "xpath", "xpath": "//em[.='captcha']"},
    {"name": "redirect", "redirect": r"captchaError=1"},
    {"name": "spider callback", "callback": "looks_odd"},
    {"name": "url", "url": r"/fine/by-url$"},
]


class Story(scrapy.Spider):
    """Visits every page in order, one after another, so that "before" means before."""

    name = "story"
    allowed_domains = ["127.0.0.1"]
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": RULES,
        "CONCURRENT_REQUESTS": 1,
        "RETRY_PRIORITY_ADJUST": 1000,
        "REDIRECT_PRIORITY_ADJUST": 1000,
        "AUTOTHROTTLE_ENABLED": False,
    }
    base: str
    visits: list[tuple[str, dict[str, Any]]]

    async def start(self) -> Any:
        for number, (path, options) in enumerate(self.visits):
            options = {"dont_filter": True, **options, "meta": submitted(options.get("meta", {}))}
            yield scrapy.Request(self.base + path, priority=-number, **options)

    def looks_odd(self, response: Any, request: Any) -> bool:
        if b"makes the callback raise" in response.body:
            raise RuntimeError("the callback's own fault")
        return b"odd page" in response.body

    def parse(self, response: Any) -> Any:
        self.seen.append((response.url, list(response.flags)))

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen: list[tuple[str, list[str]]] = []


def visit(path: str, **meta: Any) -> tuple[str, dict[str, Any]]:
    return path, {"meta": meta}


class Ago(float):
    """So many seconds before the request is sent, whenever that is."""


def submitted(meta: dict[str, Any]) -> dict[str, Any]:
    return {
        key: time.time() - value if isinstance(value, Ago) else value for key, value in meta.items()
    }


# label: the visits, and the reports they must lead to
CASES: dict[str, tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, int]]]] = {
    "a refused answer": ([visit("/wrong", taskId=1)], [(TOKEN, 1)]),
    "an accepted answer": ([visit("/fine", taskId=2)], []),
    "no task": ([visit("/wrong")], []),
    "an id in digits": ([visit("/wrong", taskId="3")], [(TOKEN, 3)]),
    "an image task": ([visit("/wrong", taskId=4, taskType="ImageToTextTask")], [(IMAGE, 4)]),
    "a token task": ([visit("/wrong", taskId=5, taskType="TurnstileTask")], [(TOKEN, 5)]),
    "proxyless": ([visit("/wrong", taskId=6, taskType="GeeTestTaskProxyless")], [(TOKEN, 6)]),
    "a kind as type": ([visit("/wrong", taskId=7, taskType="recaptcha")], [(RECAPTCHA, 7)]),
    "an unknown type": ([visit("/wrong", taskId=8, taskType="NewTask")], [(TOKEN, 8)]),
    "left alone": ([visit("/wrong", taskId=9, dont_report_captcha=True)], []),
    "gzip": ([visit("/gzip", taskId=10)], [(TOKEN, 10)]),
    "deflate": ([visit("/deflate", taskId=11)], [(TOKEN, 11)]),
    "br": ([visit("/br", taskId=12)], [(TOKEN, 12)]),
    "zstd": ([visit("/zstd", taskId=13)], [(TOKEN, 13)]),
    "a legacy encoding": ([visit("/cyrillic", taskId=14)], [(TOKEN, 14)]),
    "a picture": ([visit("/picture", taskId=15)], []),
    "status": ([visit("/forbidden", taskId=16)], [(TOKEN, 16)]),
    "headers": ([visit("/header", taskId=17)], [(TOKEN, 17)]),
    "jmespath, kind by rule": ([visit("/json", taskId=18)], [(RECAPTCHA, 18)]),
    "css, kind by rule": ([visit("/node", taskId=19)], [(IMAGE, 19)]),
    "type before rule's kind": (
        [visit("/node", taskId=20, taskType="TurnstileTask")],
        [(TOKEN, 20)],
    ),
    "callback": ([visit("/odd", taskId=21)], [(TOKEN, 21)]),
    "url": ([visit("/fine/by-url", taskId=22)], [(TOKEN, 22)]),
    "unless": ([visit("/expired", taskId=23)], []),
    "a redirect": ([visit("/redirected", taskId=24)], [(TOKEN, 24)]),
    "a meta refresh": ([visit("/refreshed", taskId=25)], [(TOKEN, 25)]),
    "a redirect that leads offsite": (
        [("/offsite", {"meta": {"taskId": 26}, "dont_filter": False})],
        [(TOKEN, 26)],
    ),
    "a redirect to a page seen before": (
        [
            ("/fine?captchaError=1", {"dont_filter": False}),
            ("/seen", {"meta": {"taskId": 27}, "dont_filter": False}),
        ],
        [(TOKEN, 27)],
    ),
    "a redirect nobody follows": (
        [visit("/redirected/x", taskId=28, dont_redirect=True, handle_httpstatus_list=[302])],
        [(TOKEN, 28)],
    ),
    "refused behind a redirect": ([visit("/moved", taskId=29)], [(TOKEN, 29)]),
    "duplicate": ([visit("/wrong", taskId=30), visit("/wrong", taskId="30")], [(TOKEN, 30)]),
    # POST: on a connection that it kept alive, Twisted repeats a GET without Scrapy's knowing.
    "reused: retried after a broken connection": (
        [("/flaky", {"meta": {"taskId": 31}, "method": "POST"})],
        [],
    ),
    "reused: retried after a 503": ([visit("/busy", taskId=32)], []),
    "reused: passed before": ([visit("/warm", taskId=33), visit("/warm", taskId=33)], []),
    "reused: a redirect offsite had let it pass": (
        [
            ("/onward", {"meta": {"taskId": 34}, "dont_filter": False}),
            visit("/wrong", taskId=34),
        ],
        [],
    ),
    "stale: recaptcha": (
        [visit("/wrong", **captcha_meta(35, "RecaptchaV2Task", Ago(130)))],
        [],
    ),
    "fresh: turnstile": (
        [visit("/wrong", **captcha_meta(36, "TurnstileTask", Ago(130)))],
        [(TOKEN, 36)],
    ),
    "stale: past the age limit": (
        [visit("/wrong", **captcha_meta(37, "ImageToTextTask", Ago(310)))],
        [],
    ),
    "solved in the future": (
        [visit("/wrong", **captcha_meta(38, "TurnstileTask", Ago(-3600)))],
        [(TOKEN, 38)],
    ),
    "solved at nonsense": ([visit("/wrong", taskId=39, taskSolvedAt="yesterday")], [(TOKEN, 39)]),
    **{
        f"invalid_task: {value!r:.30}": ([visit("/wrong", taskId=value)], [])
        for value in (None, True, -1, 0, 1.5, "abc", "", 10**30, [1], {"id": 1}, "٣", "9" * 5000)
    },
    "a callback that raises": ([visit("/raising", taskId=40)], []),
    "the largest id": ([visit("/wrong", taskId=2**63 - 1)], [(TOKEN, 2**63 - 1)]),
    "an id too large": ([visit("/wrong", taskId=2**63)], []),
}


@pytest_twisted.ensureDeferred
async def test_exactly_the_rejected_answers_are_reported_each_once(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop = serve(Shop().respond)
    cloud = api()
    visits = [visit for visits, _ in CASES.values() for visit in visits]
    stats = await crawl(Story, {"CAPMONSTER_API_URL": cloud.url}, base=shop.url, visits=visits)
    expected = [report for _, reports in CASES.values() for report in reports]
    assert sorted(cloud.reports) == sorted(expected)
    assert stats["sent/accepted"] == len(expected)
    assert stats["withheld/duplicate"] == 1
    assert stats["withheld/reused"] == 4
    assert stats["withheld/stale"] == 2
    assert stats["withheld/invalid_task"] == 13
    assert stats["checked"] == stats["passed"] + stats["rejected"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("label", CASES)
async def test_case(label: str, serve: Any, api: Any) -> None:
    visits, expected = CASES[label]
    shop = serve(Shop().respond)
    cloud = api()
    await crawl(Story, {"CAPMONSTER_API_URL": cloud.url}, base=shop.url, visits=visits)
    assert cloud.reports == expected


@pytest_twisted.ensureDeferred
async def test_a_rejected_response_carries_the_flag_and_goes_on_unchanged(
    serve: Any, api: Any
) -> None:
    shop = serve(Shop().respond)
    flags: dict[str, Any] = {}

    class Flags(Story):
        def parse(self, response: Any) -> Any:
            flags[response.url.removeprefix(shop.url)] = response.flags, response.text

    visits = [visit("/wrong", taskId=1), visit("/fine", taskId=2), visit("/wrong/none")]
    await crawl(Flags, {"CAPMONSTER_API_URL": api().url}, base=shop.url, visits=visits)
    assert flags == {
        "/wrong": (["captcha-rejected"], WRONG),
        "/fine": ([], FINE),
        "/wrong/none": ([], WRONG),
    }


@pytest_twisted.ensureDeferred
async def test_a_cached_rejection_is_withheld_and_does_not_use_up_the_answer(
    serve: Any, api: Any, tmp_path: Any
) -> None:
    shop = serve(Shop().respond)
    cloud = api()
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_DIR": str(tmp_path / "cache"),
    }
    await crawl(Story, settings, base=shop.url, visits=[visit("/wrong"), visit("/fine")])
    stats = await crawl(
        Story,
        settings,
        base=shop.url,
        visits=[visit("/wrong", taskId=1), visit("/fine", taskId=2), visit("/wrong/2", taskId=2)],
    )
    assert stats["withheld/cached"] == 1
    assert cloud.reports == [(TOKEN, 2)]


@pytest_twisted.ensureDeferred
async def test_dry_run_counts_what_it_would_report_and_sends_nothing(serve: Any, api: Any) -> None:
    shop = serve(Shop().respond)
    cloud = api()
    stats = await crawl(
        Story,
        {"CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_DRY_RUN": True},
        base=shop.url,
        visits=[visit("/wrong", taskId=1), visit("/wrong", taskId=1), visit("/wrong", taskId=2)],
    )
    assert cloud.reports == []
    assert stats["withheld/dry_run"] == 2
    assert stats["withheld/duplicate"] == 1


@pytest_twisted.ensureDeferred
async def test_reused_answers_are_reported_where_the_user_asks_for_it(serve: Any, api: Any) -> None:
    shop = serve(Shop().respond)
    cloud = api()
    await crawl(
        Story,
        {"CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_REUSED": True},
        base=shop.url,
        visits=[visit("/warm", taskId=1), visit("/warm", taskId=1), visit("/busy", taskId=2)],
    )
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]


class CopiesMeta(Story):
    """A spider as many are: the next request gets a copy of ``response.meta``."""

    next_meta: dict[str, Any]
    next_path = "/wrong/next"

    def parse(self, response: Any) -> Any:
        if "next" not in response.url:
            meta = {**response.meta, **self.next_meta}
            yield scrapy.Request(self.base + self.next_path, meta=meta, dont_filter=True)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("first", "next_path", "next_meta", "expected"),
    [
        # The history in the copied meta is that of the page before, not of the new answer.
        (visit("/busy"), "/wrong/next", {"taskId": 1}, [(TOKEN, 1)]),
        (visit("/flaky"), "/wrong/next", {"taskId": 1}, [(TOKEN, 1)]),
        (visit("/busy", taskId=1), "/wrong/next", {"taskId": 2}, [(TOKEN, 2)]),
        (visit("/redirected", taskId=1), "/fine/next", {"taskId": 2}, [(TOKEN, 1)]),
        (visit("/redirected"), "/fine/next", {"taskId": 2}, []),
        # The answer itself came along in the copy: it has been used.
        (visit("/fine", taskId=1), "/wrong/next", {}, []),
        (visit("/wrong", taskId=1), "/wrong/next", {}, [(TOKEN, 1)]),
        (visit("/redirected", taskId=1), "/fine/next", {}, [(TOKEN, 1)]),
    ],
)
async def test_copied_meta_neither_hides_nor_makes_a_report(
    first: Any, next_path: str, next_meta: Any, expected: Any, serve: Any, api: Any
) -> None:
    if first[0] == "/busy" and "taskId" in first[1]["meta"]:
        expected = [(TOKEN, 2)]
    shop = serve(Shop().respond)
    cloud = api()
    stats = await crawl(
        CopiesMeta,
        {
            "CAPMONSTER_API_URL": cloud.url,
            # Scrapy 2.19 warns of copied meta keys; here that is the very point.
            "META_COPY_WARN_SKIP_KEYS": ["retry_times", "redirect_urls"],
        },
        base=shop.url,
        visits=[first],
        next_path=next_path,
        next_meta=next_meta,
    )
    assert cloud.reports == expected
    assert stats.get("rejected", 0) == len(expected) + stats.get("withheld/reused", 0) + stats.get(
        "withheld/duplicate", 0
    )


class RetriesWithAnAnswer(Story):
    """Finds a captcha on a page, and asks for it once more with the answer."""

    def parse(self, response: Any) -> Any:
        if "taskId" not in response.meta:
            request = get_retry_request(response.request, spider=self, reason="captcha")
            request.meta["taskId"] = 1
            yield request


@pytest_twisted.ensureDeferred
async def test_a_page_asked_for_again_with_an_answer_was_not_asked_with_it_before(
    serve: Any, api: Any
) -> None:
    shop, cloud = serve(Shop().respond), api()
    settings = {"CAPMONSTER_API_URL": cloud.url}
    await crawl(RetriesWithAnAnswer, settings, base=shop.url, visits=[visit("/wrong")])
    assert cloud.reports == [(TOKEN, 1)]


@pytest_twisted.ensureDeferred
async def test_an_answer_that_was_used_by_an_ignored_request_has_been_used(
    serve: Any, api: Any
) -> None:
    shop, cloud = serve(Shop().respond), api()
    visits = [visit("/fine", taskId=1, dont_report_captcha=True), visit("/wrong", taskId=1)]
    stats = await crawl(Story, {"CAPMONSTER_API_URL": cloud.url}, base=shop.url, visits=visits)
    assert cloud.reports == []
    assert stats == {
        "checked": 1,
        "rejected": 1,
        "rejected/rule/text": 1,
        "withheld/reused": 1,
    }


class SolvesInErrback(Story):
    """Cannot get a page at first, and asks for it again with an answer."""

    async def start(self) -> Any:
        yield scrapy.Request(self.base + "/gone", errback=self.failed)

    def failed(self, failure: Any) -> None:
        meta = {**failure.request.meta, "taskId": 1}
        # Scrapy 2.13 drops what an errback yields.
        self.crawler.engine.crawl(scrapy.Request(self.base + "/wrong", meta=meta))


@pytest_twisted.ensureDeferred
async def test_retries_of_a_page_without_an_answer_are_not_those_of_the_answer(
    serve: Any, api: Any
) -> None:
    shop, cloud = serve(Shop().respond), api()
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "RETRY_TIMES": 1,
        "META_COPY_WARN_SKIP_KEYS": ["retry_times"],  # Scrapy 2.19
    }
    await crawl(SolvesInErrback, settings, base=shop.url, visits=[])
    assert cloud.reports == [(TOKEN, 1)]


class TriesAnotherDoor(Story):
    """The server is down, and the same answer is submitted to another one."""

    async def start(self) -> Any:
        yield scrapy.Request("http://127.0.0.1:9/", meta={"taskId": 1}, errback=self.failed)

    def failed(self, failure: Any) -> None:
        self.crawler.engine.crawl(scrapy.Request(self.base + "/wrong", meta={"taskId": 1}))


@pytest_twisted.ensureDeferred
async def test_an_answer_that_could_not_be_sent_has_not_been_used(serve: Any, api: Any) -> None:
    shop, cloud = serve(Shop().respond), api()
    settings = {"CAPMONSTER_API_URL": cloud.url, "RETRY_ENABLED": False}
    await crawl(TriesAnotherDoor, settings, base=shop.url, visits=[])
    assert cloud.reports == [(TOKEN, 1)]


@pytest_twisted.ensureDeferred
async def test_a_service_that_invents_codes_does_not_make_stats_without_end(
    serve: Any, api: Any
) -> None:
    shop = serve(Shop().respond)

    def invents(endpoint: str, task_id: int, earlier: int) -> Any:
        # Twenty refusals in a row would pause reporting.
        return accepted() if earlier % 10 == 0 else refused(f"ERROR_{task_id}")

    cloud = api(invents)
    visits = [visit("/wrong", taskId=task_id) for task_id in range(1, 71)]
    stats = await crawl(Story, {"CAPMONSTER_API_URL": cloud.url}, base=shop.url, visits=visits)
    codes = {name: n for name, n in stats.items() if name.startswith("sent/refused/")}
    assert codes.pop("sent/refused/other") == 13
    assert len(codes) == sum(codes.values()) == 50


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("code", ["ERROR_ZERO_BALANCE", "ERROR_IP_BANNED"])
async def test_what_a_pause_kept_from_being_sent_is_not_laid_to_the_crawls_end(
    code: str, serve: Any, api: Any
) -> None:
    shop, cloud = serve(Shop().respond), api(lambda *_: refused(code))
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_CONCURRENCY": 1,
        "CAPMONSTER_REPORT_MAX_AGE": 3600,
    }
    visits = [visit("/wrong", taskId=task_id) for task_id in range(1, 21)]
    stats = await crawl(Story, settings, base=shop.url, visits=visits)
    assert stats["dropped/breaker"] == 20 - len(cloud.reports)
    assert "dropped/shutdown" not in stats


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ([{"text": "a"}, {"name": "b", "text": "b"}], "rule 1, b"),
        (["recaptcha", "geetest"], "recaptcha, geetest"),
        (
            [{"text": str(number)} for number in range(1000)],
            ", ".join(f"rule {number}" for number in range(1, 21)) + " and 980 more",
        ),
    ],
)
async def test_the_log_names_the_rules_when_the_crawl_begins(
    rules: Any, named: str, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Other(Story):
        custom_settings = {"CAPMONSTER_REPORT_RULES": rules}

    await crawl(Other, {"CAPMONSTER_API_URL": api().url}, base=serve(Shop().respond).url, visits=[])
    assert f"; rules: {named}\n" in caplog.text


class Rejects(Story):
    """Sees only in the callback that the answer was refused."""

    times = 1

    def parse(self, response: Any) -> Any:
        reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        if "/fine/refused" in response.url:
            for _ in range(self.times):
                reporter.reject(response.request, reason="no items on the page")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("visits", "times", "expected", "withheld"),
    [
        ([visit("/fine/refused", taskId=1)], 1, [(TOKEN, 1)], {}),
        ([visit("/fine/refused", taskId=1)], 2, [(TOKEN, 1)], {"duplicate": 1}),
        ([visit("/fine/refused", taskId=1, taskType="image")], 1, [(IMAGE, 1)], {}),
        (
            [visit("/fine", taskId=1), visit("/fine/refused", taskId=1)],
            1,
            [],
            {"reused": 1},
        ),
        (
            [visit("/fine/refused", taskId=1), visit("/fine/refused", taskId=1)],
            1,
            [(TOKEN, 1)],
            {"duplicate": 1},
        ),
        ([visit("/fine/refused")], 1, [], {}),
        ([visit("/fine/refused", taskId="x")], 1, [], {"invalid_task": 1}),
        ([visit("/fine/refused", taskId=1, dont_report_captcha=True)], 1, [], {}),
        (
            [visit("/fine/refused", **captcha_meta(1, "RecaptchaV2Task", Ago(125)))],
            1,
            [],
            {"stale": 1},
        ),
    ],
)
async def test_reject_from_a_callback_does_what_a_rule_does(
    visits: Any, times: int, expected: Any, withheld: Any, serve: Any, api: Any
) -> None:
    shop = serve(Shop().respond)
    cloud = api()
    stats = await crawl(
        Rejects, {"CAPMONSTER_API_URL": cloud.url}, base=shop.url, visits=visits, times=times
    )
    assert cloud.reports == expected
    found = {name.removeprefix("withheld/"): n for name, n in stats.items() if "withheld/" in name}
    assert found == withheld


class RejectsWithWhatThePageSays(Story):
    """Takes the reason from the page, whatever is there."""

    custom_settings = {**(Story.custom_settings or {}), "CAPMONSTER_REPORT_RULES": "callbacks"}

    def parse(self, response: Any) -> Any:
        reject(self.crawler, response.request, response.css(self.reason).get())


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("reason", "logged"),
    [("div.reason::text", ""), ("p.error::text", " (Wrong captcha)")],
    ids=["not found", "found"],
)
async def test_the_reason_may_be_what_a_selector_found_or_did_not_find(
    reason: str, logged: str, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    shop, cloud = serve(Shop().respond), api()
    await crawl(
        RejectsWithWhatThePageSays,
        {"CAPMONSTER_API_URL": cloud.url},
        base=shop.url,
        visits=[visit("/wrong", taskId=1)],
        reason=reason,
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert f"report queued: <GET {shop.url}/wrong>{logged}\n" in caplog.text


@pytest.mark.parametrize("say", [accept, reject])
def test_a_callback_that_judges_can_be_tested_without_a_crawl(say: Any) -> None:
    """As people test their spiders: a crawler that never crawls, and a saved page."""
    request = scrapy.Request("https://shop.example/login", meta=captcha_meta(1))
    say(get_crawler(Story), request)
    assert request.meta == captcha_meta(1, solved_at=request.meta["taskSolvedAt"])


class Accepts(Story):
    """Its callback learns that the answer was accepted, also one that a browser submitted."""

    def parse(self, response: Any) -> None:
        if "/browser" in response.url:
            response.meta.update(captcha_meta(1, "TurnstileTask"))
        for _ in range(2):
            accept(self.crawler, response.request)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("answer", [visit("/fine/browser"), visit("/fine", taskId=1)])
async def test_accept_counts_an_answer_once_whether_the_rules_judged_it_or_not(
    answer: Any, serve: Any, api: Any
) -> None:
    settings = {"CAPMONSTER_API_URL": api().url}
    stats = await crawl(Accepts, settings, base=serve(Shop().respond).url, visits=[answer])
    assert stats == {"checked": 1, "passed": 1}


class AsksTheServiceAgain(Story):
    """Asks the service with the ``meta`` of the page that got the answer."""

    service: str

    def parse(self, response: Any) -> Any:
        yield scrapy.Request(f"{self.service}/getTaskResult", meta=response.meta)


@pytest_twisted.ensureDeferred
async def test_a_redirect_of_the_service_is_not_the_sites(serve: Any) -> None:
    cloud = serve(lambda _: Reply(status=302, headers={"Location": "/?captchaError=1"})).url
    settings = {
        "CAPMONSTER_API_URL": cloud,
        "CAPMONSTER_REPORT_RULES": [{"redirect": "captchaError"}],
        "REDIRECT_MAX_TIMES": 0,
    }
    spider = type("Asks", (AsksTheServiceAgain,), {"custom_settings": {}})
    base = serve(Shop().respond).url
    stats = await crawl(
        spider, settings, base=base, service=cloud, visits=[visit("/fine", taskId=1)]
    )
    assert stats == {"checked": 1, "passed": 1}
