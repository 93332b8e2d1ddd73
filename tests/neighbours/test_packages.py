"""Packages that work beside ours, in small crawls: scrapy-impersonate, scrapy-redis."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import pytest_twisted
from packages import needs_asyncio, neighbour
from strict_site import TOKEN, StrictSite, Submits, send, submit, withheld
from support import Reply


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("follows", [False, True], ids=["Scrapy follows", "curl follows"])
async def test_scrapy_impersonate(follows: bool, serve: Any, api: Any) -> None:
    neighbour("scrapy_impersonate")
    needs_asyncio("scrapy_impersonate")
    site, cloud = StrictSite({1, 2}), api()
    url = serve(site.respond).url
    meta = {"impersonate": "chrome", "impersonate_args": {"allow_redirects": follows}}

    class Again(Submits):
        """Submits an accepted answer once more."""

        def parse(self, response: Any) -> Any:
            if response.url.endswith("/fine"):
                yield submit(f"{url}/again", 3, response.meta)

    handler = "scrapy_impersonate.ImpersonateDownloadHandler"
    stats = await send(
        lambda spider: [
            submit(f"{url}/login", 1, meta),
            submit(f"{url}/hop?to=/refused", 2, meta),
            submit(f"{url}/hop?to=/fine", 3, meta),
        ],
        cloud,
        Again,
        DOWNLOAD_HANDLERS={"http": handler, "https": handler},
        CAPMONSTER_REPORT_RULES=[{"text": "Wrong"}, {"redirect": "/refused$"}],
    )
    assert site.got(3) == [True, False]
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]
    assert withheld(stats) == {"reused": 1}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "http://proxy.invalid"])
async def test_a_proxy_that_curl_does_not_reach_has_carried_no_answer(
    proxy: str, serve: Any, api: Any
) -> None:
    neighbour("scrapy_impersonate")
    needs_asyncio("scrapy_impersonate")
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    handler = "scrapy_impersonate.ImpersonateDownloadHandler"

    class NextProxy:
        """Sends a retry without a proxy."""

        def process_request(self, request: Any, spider: Any = None) -> None:
            if request.meta.get("retry_times"):
                request.meta.pop("proxy", None)

    await send(
        lambda spider: [submit(url, 1, {"impersonate": "chrome", "proxy": proxy})],
        cloud,
        DOWNLOAD_HANDLERS={"http": handler, "https": handler},
        DOWNLOADER_MIDDLEWARES={NextProxy: 740},
    )
    assert site.got(1) == [False]
    assert cloud.reports == [(TOKEN, 1)]


class ServesTwice(StrictSite):
    """Is busy when an answer comes the first time, after it has judged it."""

    def respond(self, request: Any) -> Any:
        said = super().respond(request)
        last = self.submissions[-1]
        return Reply(said, status=503 if len(self.got(last.answer)) == 1 else 200)


# It reads the start URLs in ways that newer Scrapy has replaced.
@pytest.mark.filterwarnings("ignore::scrapy.exceptions.ScrapyDeprecationWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:scrapy_redis")
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("queue", ["PriorityQueue", "FifoQueue", "LifoQueue"])
async def test_scrapy_redis(
    queue: str,
    serve: Any,
    api: Any,
    redis_server: Any,
) -> None:
    """Start data as JSON with everything in it as text, and requests that wait in Redis."""
    spiders = neighbour("scrapy_redis.spiders")
    site, cloud = ServesTwice({1, 2, 3}), api()
    url = serve(site.respond).url
    now = time.time()

    class FromRedis(spiders.RedisMixin, Submits):
        name = "from_redis"
        redis_key = "start"
        max_idle_time = 1

        @classmethod
        def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> Any:
            spider = super().from_crawler(crawler, *args, **kwargs)
            spider.setup_redis(crawler)
            return spider

        async def start(self) -> Any:
            for request in self.next_requests():
                yield request.replace(errback=self.failed)

    client = redis_server.client
    metas = [
        {"taskId": "1", "taskSolvedAt": str(now - 5), "taskType": "RecaptchaV2Task"},
        {"taskId": 2, "taskSolvedAt": int(now - 150) * 1000, "taskType": "RecaptchaV2Task"},
        {"taskId": 3, "taskType": "TurnstileTask"},
        {"taskId": 4},
    ]
    for meta in metas:
        start = {"url": f"{url}/?answer={meta['taskId']}", "meta": meta}
        client.rpush("start", json.dumps(start))
    stats = await send(
        lambda spider: [],
        cloud,
        FromRedis,
        SCHEDULER="scrapy_redis.scheduler.Scheduler",
        SCHEDULER_QUEUE_CLASS=f"scrapy_redis.queue.{queue}",
        DUPEFILTER_CLASS="scrapy_redis.dupefilter.RFPDupeFilter",
        REDIS_URL=redis_server.url,
    )
    assert all(len(site.got(task_id)) == 2 for task_id in (1, 2, 3, 4))
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 3)]
    assert withheld(stats) == {"duplicate": 2, "stale": 1, "reused": 2}
