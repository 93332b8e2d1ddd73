"""Redirects that tell of a rejection, and that Scrapy does not follow to their end."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import pytest_twisted
import scrapy
from scrapy.exceptions import IgnoreRequest
from support import Reply, crawl

TOKEN = "/reportIncorrectTokenCaptcha"

REFUSED_ELSEWHERE = "http://offsite.invalid/?captchaError=1"

RULES = {
    "CAPMONSTER_REPORT_RULES": [{"name": "redirect", "redirect": r"[?&]captchaError=1"}],
    "RETRY_TIMES": 1,
}


def away(location: str) -> Reply:
    return Reply(status=302, headers={"Location": location})


def wait(location: str, seconds: str = "0") -> str:
    return f'<meta http-equiv="refresh" content="{seconds}; url={location}"><p>One moment</p>'


def site(request: Any) -> Any:
    path = request.path.decode()
    if path == "/robots.txt":
        return Reply("User-agent: *\nDisallow: /private", headers={"Content-Type": "text/plain"})
    if path == "/loop":
        return away("/loop?captchaError=1")
    if path == "/login":
        return away(request.args[b"to"][0].decode())
    if path == "/wait":
        seconds, target = (request.args[name][0].decode() for name in (b"s", b"to"))
        return wait(target, seconds)
    if path in ("/wait-refused", "/wait-offsite"):
        return wait(REFUSED_ELSEWHERE if path == "/wait-offsite" else "/fine?captchaError=1")
    if path == "/wait-aside":
        return f"<aside>{wait(REFUSED_ELSEWHERE)}</aside>"
    if path == "/offsite":
        return away(REFUSED_ELSEWHERE)
    if path == "/gone":
        request.transport.abortConnection()
        return ""
    return "<p>Welcome</p>"


class Login(scrapy.Spider):
    """Submits answers and does not mind what becomes of them."""

    name = "login"
    allowed_domains = ["127.0.0.1"]
    urls: list[str]
    meta: dict[str, Any] = {}
    dont_filter = True

    async def start(self) -> Any:
        for task_id, url in enumerate(self.urls, 1):
            yield scrapy.Request(
                url,
                self.parse,
                meta={"taskId": task_id, **self.meta},
                errback=self.failed,
                dont_filter=self.dont_filter,
            )

    def parse(self, response: Any) -> None:
        pass

    def failed(self, failure: Any) -> None:
        pass


async def log_in(serve: Any, cloud: Any, *paths: str, **settings: Any) -> dict[str, Any]:
    url = serve(site).url
    return await crawl(
        Login,
        {**RULES, "CAPMONSTER_API_URL": cloud.url, **settings},
        urls=[url + path for path in paths],
    )


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("/login?to=/private?captchaError=1", {"ROBOTSTXT_OBEY": True}),
        ("/loop", {}),
        ("/loop", {"REDIRECT_MAX_TIMES": 1}),
        ("/login?to=/fine?captchaError=1", {"REDIRECT_MAX_TIMES": 0}),
        ("/login?to=/gone?captchaError=1", {}),
        ("/login?to=/gone?captchaError=1", {"RETRY_ENABLED": False}),
        ("/login?to=http://127.0.0.1:9/?captchaError=1", {}),
        ("/login?to=http://127.0.0.1:9/?captchaError=1", {"RETRY_ENABLED": False}),
    ],
    ids=[
        "disallowed by robots.txt",
        "in a loop",
        "in a loop that is left early",
        "when redirects are not to be followed at all",
        "to a page that breaks off",
        "to a page that breaks off, once",
        "to a server that is down",
        "to a server that is down, once",
    ],
)
async def test_a_redirect_is_seen_though_it_led_nowhere(
    path: str, settings: dict[str, Any], serve: Any, api: Any
) -> None:
    cloud = api()
    stats = await log_in(serve, cloud, path, **settings)
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["rejected"] == stats["sent/accepted"] == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "rule",
    [{"redirect": "captchaError=1"}, {"text": "Wrong captcha"}, {"status": 302}],
    ids=["redirect", "text", "status"],
)
@pytest.mark.parametrize(
    ("location", "is_url"),
    [
        ("mailto:post@offsite.invalid?captchaError=1", True),
        ("javascript:alert('captchaError=1')", True),
        ("myapp://back?captchaError=1", True),
        ("http://[/?captchaError=1", False),
        ("http://127.0.0.1:99999/?captchaError=1", False),
        ("//[::1/?captchaError=1", False),
    ],
)
async def test_a_redirect_to_what_is_no_page_is_all_that_the_site_says(
    location: str, is_url: bool, rule: dict[str, Any], serve: Any, api: Any
) -> None:
    cloud = api()
    headers = {"Location": location, "Content-Type": "text/html"}
    url = serve(lambda request: Reply("<p>Wrong captcha</p>", 302, headers)).url
    settings = {"CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_RULES": [rule]}
    stats = await crawl(Login, settings, urls=[url])
    is_rejected = is_url or "redirect" not in rule
    assert cloud.reports == ([(TOKEN, 1)] if is_rejected else [])
    assert stats["checked"] == stats["rejected" if is_rejected else "passed"] == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("dont_redirect", [True, False])
async def test_a_redirect_to_what_is_no_page_is_passed_where_no_rule_matches(
    dont_redirect: bool, serve: Any, api: Any
) -> None:
    url = serve(lambda request: away("http://[/")).url
    settings = {**RULES, "CAPMONSTER_API_URL": api().url}
    meta = {"dont_redirect": dont_redirect}
    stats = await crawl(Login, settings, urls=[url], meta=meta)
    assert stats == {"checked": 1, "passed": 1}


class HandlesRedirects(Login):
    handle_httpstatus_list = [302]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("query", ["", "?captchaError=1"], ids=["accepted", "rejected"])
@pytest.mark.parametrize(
    ("spider", "status", "meta"),
    [
        (Login, 302, {"dont_redirect": True}),
        (Login, 302, {"handle_httpstatus_all": True}),
        (Login, 302, {"handle_httpstatus_list": [302]}),
        (HandlesRedirects, 302, {}),
        (Login, 300, {}),
    ],
    ids=["dont_redirect", "all", "list", "spider", "300"],
)
async def test_a_redirect_that_the_spider_handles_itself_is_judged_once(
    spider: type[Login], status: int, meta: dict[str, Any], query: str, serve: Any, api: Any
) -> None:
    """Though Scrapy would not follow one more."""
    cloud = api()
    url = serve(lambda request: Reply(status=status, headers={"Location": f"/fine{query}"})).url
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "REDIRECT_MAX_TIMES": 0}
    stats = await crawl(spider, settings, urls=[url], meta=meta)
    assert cloud.reports == ([(TOKEN, 1)] if query else [])
    assert stats["checked"] == stats["rejected" if query else "passed"] == 1


@pytest_twisted.ensureDeferred
async def test_a_302_that_leads_to_nowhere_is_judged_as_a_page(serve: Any, api: Any) -> None:
    url = serve(lambda request: Reply(status=302)).url
    settings = {**RULES, "CAPMONSTER_API_URL": api().url}
    assert await crawl(Login, settings, urls=[url]) == {"checked": 1, "passed": 1}


class Solves:
    """Gives each request a task on its way out, as solving middlewares do."""

    def process_request(self, request: Any, spider: Any = None) -> None:
        request.meta.setdefault("taskId", 1)


class HasNoTasks(Login):
    """Leaves the captchas to a middleware."""

    async def start(self) -> Any:
        for url in self.urls:
            yield scrapy.Request(url, errback=self.failed)


@pytest_twisted.ensureDeferred
async def test_the_first_task_of_a_crawl_comes_from_a_middleware_and_its_redirect_leads_nowhere(
    serve: Any, api: Any
) -> None:
    cloud = api()
    stats = await crawl(
        HasNoTasks,
        {
            **RULES,
            "CAPMONSTER_API_URL": cloud.url,
            "DOWNLOADER_MIDDLEWARES": {Solves: 500},
            "RETRY_ENABLED": False,
        },
        urls=[serve(site).url + "/login?to=http://127.0.0.1:9/?captchaError=1"],
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["rejected"] == stats["sent/accepted"] == 1


@pytest_twisted.ensureDeferred
async def test_redirects_of_unusable_tasks_that_led_nowhere_are_counted_each(
    serve: Any, api: Any
) -> None:
    cloud = api()
    url = serve(site).url
    stats = await crawl(
        Login,
        {**RULES, "CAPMONSTER_API_URL": cloud.url, "RETRY_ENABLED": False},
        urls=[f"{url}/login?to=http://127.0.0.1:9/?captchaError=1&{n}" for n in range(20)],
        meta={"taskId": "abc"},
    )
    assert cloud.reports == []
    assert stats["rejected"] == stats["withheld/invalid_task"] == 20


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("path", "settings"),
    [
        ("/login?to=/private", {"ROBOTSTXT_OBEY": True}),
        ("/login?to=/gone", {}),
        ("/login?to=http://127.0.0.1:9/", {}),
        ("/login?to=/login?to=/fine", {}),
    ],
)
async def test_a_redirect_that_no_rule_matches_is_not_a_rejection(
    path: str, settings: dict[str, Any], serve: Any, api: Any
) -> None:
    cloud = api()
    stats = await log_in(serve, cloud, path, **settings)
    assert cloud.reports == []
    assert stats.get("rejected", 0) == 0
    assert stats.get("checked", 0) == stats.get("passed", 0) <= 1


@pytest_twisted.ensureDeferred
async def test_a_redirect_that_is_followed_is_judged_once(serve: Any, api: Any) -> None:
    cloud = api()
    stats = await log_in(
        serve, cloud, "/login?to=/fine?captchaError=1", "/login?to=/login?to=/fine?captchaError=1"
    )
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]
    assert stats["checked"] == stats["rejected"] == 2


class Filtered(Login):
    """Leaves it to Scrapy to drop requests that lead offsite or to a page seen before."""

    dont_filter = False


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("path", "settings", "checked"),
    [
        (f"/wait?s=0&to={REFUSED_ELSEWHERE}", {}, 1),
        (f"/wait?s=0&to={REFUSED_ELSEWHERE}", {"METAREFRESH_ENABLED": False}, 1),
        ("/wait?s=5&to=/wait-offsite", {}, 2),
        ("/login?to=/wait-offsite", {}, 1),
        ("/wait?s=0&to=/offsite", {}, 2),
        ("/wait-aside", {}, 1),
        ("/wait?s=0&to=/private?captchaError=1", {"ROBOTSTXT_OBEY": True}, 1),
        ("/wait?s=0&to=/fine?captchaError=1", {"REDIRECT_MAX_TIMES": 0}, 1),
        ("/wait?s=0&to=/wait-refused", {"REDIRECT_MAX_TIMES": 1}, 2),
        ("/wait?s=0&to=/gone?captchaError=1", {}, 1),
        ("/wait?s=0&to=/gone?captchaError=1", {"RETRY_ENABLED": False}, 1),
        ("/wait?s=0&to=http://127.0.0.1:9/?captchaError=1", {}, 1),
    ],
    ids=[
        "offsite",
        "offsite, where Scrapy follows no meta refresh",
        "offsite, from where a meta refresh led",
        "offsite, from where a redirect led",
        "offsite, by a redirect where a meta refresh led",
        "offsite, from within an aside",
        "disallowed by robots.txt",
        "when redirects are not to be followed at all",
        "when one too many",
        "to a page that breaks off",
        "to a page that breaks off, once",
        "to a server that is down",
    ],
)
async def test_a_meta_refresh_is_seen_though_it_led_nowhere(
    path: str, settings: dict[str, Any], checked: int, serve: Any, api: Any
) -> None:
    cloud = api()
    url = serve(site).url + path
    stats = await crawl(
        Filtered, {**RULES, "CAPMONSTER_API_URL": cloud.url, **settings}, urls=[url]
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["rejected"] == stats["sent/accepted"] == 1
    # Where a page leads to is no other page that the rules look at.
    assert stats["checked"] == stats.get("passed", 0) + 1 == checked


@pytest_twisted.ensureDeferred
async def test_a_meta_refresh_to_a_page_seen_before_is_seen(serve: Any, api: Any) -> None:
    cloud = api()
    url = serve(site).url
    stats = await crawl(
        Filtered,
        {**RULES, "CAPMONSTER_API_URL": cloud.url, "CONCURRENT_REQUESTS": 1},
        urls=[url + "/fine?captchaError=1", url + "/wait?s=0&to=/fine?captchaError=1"],
    )
    assert cloud.reports == [(TOKEN, 2)]
    assert stats["rejected"] == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("path", "settings", "meta"),
    [
        ("/wait?s=0&to=http://offsite.invalid/", {}, {}),
        (f"/wait?s=600&to={REFUSED_ELSEWHERE}", {}, {}),
        (f"/wait?s=0&to={REFUSED_ELSEWHERE}", {}, {"dont_report_captcha": True}),
        ("/wait?s=0&to=mailto:post@offsite.invalid?captchaError=1", {}, {}),
    ],
    ids=[
        "that tells of nothing",
        "in ten minutes",
        "of a request to be left alone",
        "to a mailbox",
    ],
)
async def test_a_meta_refresh_is_not_a_rejection(
    path: str, settings: dict[str, Any], meta: dict[str, Any], serve: Any, api: Any
) -> None:
    cloud = api()
    url = serve(site).url + path
    stats = await crawl(
        Filtered,
        {**RULES, "CAPMONSTER_API_URL": cloud.url, **settings},
        urls=[url],
        meta=meta,
    )
    assert cloud.reports == []
    assert stats.get("rejected", 0) == 0
    assert stats.get("checked", 0) == stats.get("passed", 0)


@pytest_twisted.ensureDeferred
async def test_a_meta_refresh_that_is_followed_is_reported_once(serve: Any, api: Any) -> None:
    cloud = api()
    paths = (
        "/wait?s=0&to=/fine?captchaError=1",
        "/login?to=/wait-refused",
    )
    stats = await log_in(serve, cloud, *paths)
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]
    # The page that it leads to says the same again.
    assert stats["rejected"] == stats["sent/accepted"] == stats["checked"] == 2


@pytest_twisted.ensureDeferred
async def test_a_last_redirect_to_an_app_is_judged_once(serve: Any, api: Any) -> None:
    cloud = api()
    stats = await log_in(
        serve, cloud, "/login?to=myapp://back?captchaError=1", REDIRECT_MAX_TIMES=0
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["checked"] == stats["rejected"] == 1


class GoesOnWithout(Login):
    """Copies the ``meta`` of a page, but for the task."""

    def parse(self, response: Any) -> Any:
        if "taskId" in response.meta:
            meta = {key: value for key, value in response.meta.items() if key != "taskId"}
            yield scrapy.Request(self.urls[0] + "/loop", meta=meta, errback=self.failed)


@pytest_twisted.ensureDeferred
async def test_a_redirect_without_a_task_is_ignored(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = api()
    url = serve(site).url
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "REDIRECT_MAX_TIMES": 0}
    stats = await crawl(GoesOnWithout, settings, urls=[url])
    assert stats["checked"] == stats["passed"] == 1
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


class Downloads(Login):
    """Asks the engine for the page, as inline requests do: no scheduler is in the way."""

    async def start(self) -> Any:
        for task_id, url in enumerate(self.urls, 1):
            request = scrapy.Request(url, meta={"taskId": task_id})
            engine = self.crawler.engine
            download = getattr(engine, "download_async", None) or self.download
            try:
                await download(request)
            except IgnoreRequest:
                self.ignored = True
        return
        yield

    async def download(self, request: scrapy.Request) -> Any:
        from scrapy.utils.defer import maybe_deferred_to_future

        return await maybe_deferred_to_future(self.crawler.engine.download(request))


@pytest_twisted.ensureDeferred
async def test_an_inline_request_that_leads_offsite(serve: Any, api: Any) -> None:
    cloud = api()
    url = serve(site).url + "/login?to=http://offsite.invalid/?captchaError=1"
    stats = await crawl(Downloads, {**RULES, "CAPMONSTER_API_URL": cloud.url}, urls=[url])
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["rejected"] == 1
