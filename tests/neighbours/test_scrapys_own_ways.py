"""What Scrapy itself offers beside a plain request: caches, pipelines, inline requests, pauses."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
import scrapy
from redis_server import start_redis
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.pipelines.files import FilesPipeline
from scrapy.utils.reactor import is_asyncio_reactor_installed
from strict_site import (
    RULES,
    TOKEN,
    WRONG,
    HoldingSite,
    StrictSite,
    Submits,
    download,
    send,
    submit,
    withheld,
)
from support import Reply
from twisted.internet.defer import Deferred
from wired import until

from scrapy_capmonster_report import accept, reject


class CachedSite(StrictSite):
    """Lets its pages be cached, and says "not modified" of them."""

    def respond(self, request: Any) -> Any:
        if request.getHeader("If-None-Match"):
            self.judge(request)
            return Reply(status=304, headers={"ETag": '"1"'})
        headers = {"Content-Type": "text/html", "ETag": '"1"', "Cache-Control": "max-age=0"}
        return Reply(super().respond(request), headers=headers)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("policy", ["DummyPolicy", "RFC2616Policy"])
async def test_a_page_from_the_cache_neither_reports_nor_uses_up(
    policy: str, serve: Any, api: Any, tmp_path: Any
) -> None:
    site, cloud = CachedSite({1}), api()
    url = serve(site.respond).url
    settings = {
        "HTTPCACHE_ENABLED": True,
        "HTTPCACHE_POLICY": f"scrapy.extensions.httpcache.{policy}",
        "HTTPCACHE_DIR": str(tmp_path / "cache"),
    }

    def requests(spider: Any) -> Any:
        yield scrapy.Request(f"{url}/?answer=1", meta={"taskId": 1})

    await send(requests, cloud, **settings)
    assert cloud.reports == [(TOKEN, 1)]
    stats = await send(requests, cloud, **settings)
    assert cloud.reports == [(TOKEN, 1)]
    assert withheld(stats) == {"cached": 1}
    assert len(site.got(1)) == (2 if policy == "RFC2616Policy" else 1)


class Downloads(FilesPipeline):
    """Fetches an item's files with the ``meta`` of its page, answer and all."""

    def get_media_requests(self, item: Any, info: Any) -> Any:
        return [scrapy.Request(url, meta=dict(item["meta"])) for url in item["file_urls"]]


class HasFiles(Submits):
    url: str

    def parse(self, response: Any) -> Any:
        files = [f"{self.url}/files/{n}" for n in range(3)]
        yield {"file_urls": files, "files": [], "meta": response.meta}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "pipeline", ["scrapy.pipelines.files.FilesPipeline", Downloads], ids=["plain", "with meta"]
)
async def test_files_of_a_page_that_an_answer_opened(
    pipeline: Any, serve: Any, api: Any, tmp_path: Any
) -> None:
    site, cloud = StrictSite({2}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/page/{n}", n) for n in (1, 2)],
        cloud,
        type("Has", (HasFiles,), {"url": url}),
        ITEM_PIPELINES={pipeline: 1},
        FILES_STORE=str(tmp_path / "files"),
    )
    assert len([path for path in site.paths if path.startswith("/files")]) >= 3
    assert cloud.reports == [(TOKEN, 2)]
    assert stats["rejected"] == 1


class Inline(Submits):
    """Posts its answer from within the callback of another page, and then once more."""

    url: str

    async def parse(self, response: Any) -> Any:
        first = await download(self.crawler, submit(f"{self.url}/first", 1))
        assert "captcha-rejected" in first.flags
        second = await download(self.crawler, submit(f"{self.url}/second", 2))
        assert "captcha-rejected" not in second.flags
        await download(self.crawler, submit(f"{self.url}/third", 2, second.meta))


@pytest_twisted.ensureDeferred
async def test_inline_requests_in_a_callback(serve: Any, api: Any) -> None:
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [scrapy.Request(f"{url}/page")],
        cloud,
        type("Inlines", (Inline,), {"url": url}),
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert withheld(stats) == {"reused": 1}


class Busy(StrictSite):
    """Takes what it gets first, and breaks off or says that it is busy; once for each path."""

    def respond(self, request: Any) -> Any:
        said = super().respond(request)
        path = self.paths[-1]
        if self.paths.count(path) > 1 or path in ("/page", "/calm"):
            return said
        if path == "/busy":
            return Reply(said, status=503)
        request.transport.abortConnection()
        return ""


class JudgesWhatItSent(Submits):
    """Judges the request that it sent inline, of which Scrapy may have sent a retry."""

    url: str

    async def parse(self, response: Any) -> Any:
        for task_id, path in enumerate(("calm", "calm", "busy", "breaks-off"), 1):
            request = submit(f"{self.url}/{path}", task_id)
            page = await download(self.crawler, request)
            judge = reject if "Wrong captcha" in page.text else accept
            judge(self.crawler, request)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("rules", [RULES, ["callbacks"]], ids=["rules", "callbacks"])
async def test_a_callback_that_judges_the_request_of_before_a_retry(
    rules: Any, serve: Any, api: Any
) -> None:
    site, cloud = Busy({1}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [scrapy.Request(f"{url}/page")],
        cloud,
        type("Judges", (JudgesWhatItSent,), {"url": url}),
        CAPMONSTER_REPORT_RULES=rules,
    )
    assert [site.got(task_id) for task_id in (2, 3, 4)] == [[True], [True, False], [True, False]]
    assert cloud.reports == [(TOKEN, 1)]
    assert withheld(stats)["reused"] == (4 if rules == RULES else 2)


class LooksOnceMore(Submits):
    """Visits the page of a rejection once more, to be sure, and then judges the answer."""

    async def parse(self, response: Any) -> Any:
        again = scrapy.Request(response.url, meta=response.meta, dont_filter=True)
        page = await download(self.crawler, again)
        if "Wrong captcha" in page.text:
            reject(self.crawler, response.request)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/login", "/hop?to=/login"])
async def test_a_callback_that_looks_once_more_at_the_page_that_a_form_led_to(
    path: str, serve: Any, api: Any
) -> None:
    """That does not send the answer once more."""
    site, cloud = StrictSite({1}), api()

    def respond(request: Any) -> Any:
        said = site.respond(request)
        return said if site.paths[-1] == "/hop" else WRONG

    url = serve(respond).url
    await send(
        lambda spider: [submit(url + path, 1)],
        cloud,
        LooksOnceMore,
        CAPMONSTER_REPORT_RULES=["callbacks"],
    )
    assert site.got(1) == [False]
    assert cloud.reports == [(TOKEN, 1)]


class RetriesItself(Submits):
    """Asks for a page again that came out wrong, with the same answer or with a new one."""

    new_answer: int

    def parse(self, response: Any) -> Any:
        request = get_retry_request(
            response.request, spider=self, reason="wrong", max_retry_times=1
        )
        if request is not None:
            request = request.replace(body=f"answer={self.new_answer}")
            request.meta["taskId"] = self.new_answer
            yield request


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("new_answer", "reports", "reasons"),
    [(1, [], {"reused": 1}), (2, [(TOKEN, 2)], {})],
    ids=["the same answer", "a new answer"],
)
async def test_a_page_that_a_spider_retries_itself(
    new_answer: int, reports: Any, reasons: Any, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({2}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/", 1)],
        cloud,
        type("Retries", (RetriesItself,), {"new_answer": new_answer}),
    )
    assert len(site.submissions) == 2
    assert cloud.reports == reports
    assert withheld(stats) == reasons


# -- other crawls, other workers ------------------------------------------------------------------


class BreaksOffOnce(StrictSite):
    """Gets the first answer, and breaks off."""

    def respond(self, request: Any) -> Any:
        said = super().respond(request)
        if len(self.submissions) == 1:
            request.transport.abortConnection()
        return said


# Scrapy 2.13.0 forgets to close the files of a disk queue that has run empty.
@pytest.mark.filterwarnings("ignore:unclosed file .*requests.queue:ResourceWarning")
@pytest_twisted.ensureDeferred
async def test_an_answer_that_an_earlier_crawl_sent_is_reused_though_no_response_came(
    serve: Any, api: Any, tmp_path: Any
) -> None:
    site, cloud = BreaksOffOnce(), api()
    url = serve(site.respond).url
    settings = {"JOBDIR": str(tmp_path / "job"), "RETRY_ENABLED": False}
    await send(lambda spider: [submit(f"{url}/", 1)], cloud, **settings)
    stats = await send(lambda spider: [submit(f"{url}/", 1)], cloud, **settings)
    assert site.got(1) == [True, False]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 1}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("wrong", [frozenset(), {1}], ids=["right", "wrong"])
@pytest.mark.parametrize("ledger", ["sqlite", "redis"])
async def test_an_answer_that_another_worker_has_in_flight_is_reused(
    ledger: str, wrong: Any, serve: Any, api: Any, tmp_path: Any
) -> None:
    """Two crawls share a ledger; the first one's response comes after the second's rejection."""
    if ledger == "redis" and not is_asyncio_reactor_installed():
        pytest.skip("a Redis ledger needs asyncio")
    redis_server = await start_redis(tmp_path) if ledger == "redis" else None
    shared = redis_server.url if redis_server else f"sqlite:{tmp_path / 'ledger'}"
    site, cloud = HoldingSite({2, *wrong}), api()
    url = serve(site.respond).url
    settings = {"CAPMONSTER_REPORT_LEDGER": shared}
    first = Deferred.fromCoroutine(
        send(lambda spider: [submit(f"{url}/held", 1), submit(f"{url}/", 2)], cloud, **settings)
    )
    # When a later report is sent, the ledger knows of the earlier attempt.
    await until(lambda: site.held and cloud.reports)
    second = await send(lambda spider: [submit(f"{url}/second", 1)], cloud, **settings)
    site.let_go()
    await first
    if redis_server is not None:
        redis_server.stop()
    assert site.got(1) == [not wrong, False]
    assert withheld(second) == {"reused": 1}
    assert [task_id for _, task_id in cloud.reports] == [2, *wrong]
