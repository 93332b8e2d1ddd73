"""Rows 2 and 3: one answer under way in several requests, and responses that others drop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from scrapy import signals
from scrapy.exceptions import IgnoreRequest
from strict_site import (
    FINE,
    HoldingSite,
    StrictSite,
    Submits,
    assert_fair,
    download,
    send,
    submit,
    withheld,
)
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy.crawler import Crawler
    from typing_extensions import Self


class Impatient(Submits):
    """Calls *on_parsed* with each response."""

    on_parsed: Callable[[Any], None]

    def parse(self, response: Any) -> None:
        self.on_parsed(response)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("wrong", "reports"), [(frozenset(), 0), ({1}, 1)], ids=["right", "wrong"])
@pytest.mark.parametrize("fresh_meta", [True, False])
async def test_of_requests_that_share_an_answer_only_the_first_can_be_reported(
    wrong: set[int], reports: int, fresh_meta: bool, serve: Any, api: Any
) -> None:
    """The first is answered last: what the site says to the others comes before."""
    site, cloud = HoldingSite(wrong), api()
    url = serve(site.respond).url
    quick = 3

    def requests(spider: Impatient) -> Any:
        first = submit(f"{url}/held", 1)

        def share(path: str) -> None:
            for n in range(quick):
                meta = {} if fresh_meta else first.meta
                spider.later(submit(f"{url}/quick/{n}", 1, meta))

        def parsed(response: Any) -> None:
            if "/quick/" in response.url:
                seen.append(response.url)
                if len(seen) == quick:
                    site.let_go()

        seen: list[str] = []
        site.on_held, spider.on_parsed = share, parsed
        yield first

    stats = await send(requests, cloud, Impatient)
    assert site.submissions[0].path == "/held"
    assert len(site.submissions) == 1 + quick
    assert_fair(site, cloud)
    assert len(cloud.reports) == reports
    assert withheld(stats) == {"reused": quick}


@pytest_twisted.ensureDeferred
async def test_a_request_that_was_overtaken_on_its_way_to_the_site_is_not_the_first(
    serve: Any, api: Any
) -> None:
    """As one is that has to open a connection, where another finds one open."""
    site, cloud = StrictSite(), api()
    url = serve(site.respond).url
    accepted: Deferred[None] = Deferred()

    def slow_proxy(request: Any) -> Any:
        def pass_on(_: None) -> None:
            request.write(site.respond(request).encode())
            request.finish()

        accepted.addCallback(pass_on)
        return NOT_DONE_YET

    proxy = serve(slow_proxy).url

    def requests(spider: Impatient) -> Any:
        spider.on_parsed = lambda _: None if accepted.called else accepted.callback(None)
        yield submit(f"{url}/overtaken", 1, {"proxy": proxy})
        yield submit(f"{url}/overtakes", 1)

    stats = await send(requests, cloud, Impatient)
    assert [known.path for known in site.submissions] == ["/overtakes", "/overtaken"]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 1}


class Overtaken(Impatient):
    """Sends an answer into a slot where it has to wait, and then into another, where it has not.

    The slots are those of proxies, hosts, or sessions; the site gets the second request first.
    """

    site: HoldingSite
    url: str

    async def start(self) -> Any:
        self.crawler.signals.connect(self.reached, signals.request_reached_downloader)
        self.site.on_held = self.held
        yield scrapy.Request(f"{self.url}/held/page", meta={"download_slot": "narrow"})

    def held(self, path: str) -> None:
        if path == "/held/page":  # the only place in the slot is taken
            self.later(submit(f"{self.url}/waits", 1, {"download_slot": "narrow"}))
        else:
            self.site.let_go("/held/page")

    def reached(self, request: Any) -> None:
        if request.url.endswith("/waits"):
            self.later(submit(f"{self.url}/held/overtakes", 1, {"download_slot": "wide"}))

    def parse(self, response: Any) -> None:
        if response.url.endswith("/waits"):
            self.site.let_go("/held/overtakes")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("wrong", [frozenset(), {1}], ids=["right", "wrong"])
async def test_a_request_that_was_overtaken_in_its_slot_is_not_the_first(
    wrong: set[int], serve: Any, api: Any
) -> None:
    site, cloud = HoldingSite(wrong), api()
    url = serve(site.respond).url
    spider_class = type("Overtaken", (Overtaken,), {"site": site, "url": url})
    stats = await send(
        lambda spider: [],
        cloud,
        spider_class,
        DOWNLOAD_SLOTS={"narrow": {"concurrency": 1}},
    )
    assert [known.path for known in site.submissions] == ["/held/overtakes", "/waits"]
    assert_fair(site, cloud)
    # Which of two was first may be past telling when a wrong answer's first rejection is seen.
    assert stats["rejected"] == (2 if wrong else 1)
    assert withheld(stats).get("reused", 0) >= 1
    assert withheld(stats).get("reused", 0) + len(cloud.reports) == stats["rejected"]


# -- row 3 ----------------------------------------------------------------------------------------


class DropsAndSendsAgain:
    """Keeps the first response to each page from us, and has it fetched again later."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.dropped: set[str] = set()

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if request.url in self.dropped or "taskId" not in request.meta:
            return response
        self.dropped.add(request.url)
        again = request.copy()
        if request.url.endswith("/anew"):  # a spider's own list of jobs gives the request anew
            again = submit(request.url, request.meta["taskId"])
        elif request.url.endswith("/through-a-page"):
            again = scrapy.Request(
                request.url.replace("/through-a-page", "/page"),
                cb_kwargs={"again": again},
                callback=self.crawler.spider.parse_page,
            )
        self.crawler.engine.crawl(again)
        raise IgnoreRequest("not now")


class ComesBack(Submits):
    """Submits an answer again from the callback of another page."""

    def parse_page(self, response: Any, again: Any) -> Any:
        yield again


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/copied", "/anew", "/through-a-page"])
@pytest.mark.parametrize("order", [590, 950])
async def test_an_answer_whose_first_response_was_dropped_above_us_is_reused(
    path: str, order: int, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({2}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/{n}{path}", n) for n in (1, 2)],
        cloud,
        ComesBack,
        DOWNLOADER_MIDDLEWARES={DropsAndSendsAgain: order},
    )
    assert site.got(1) == [True, False]
    assert site.got(2) == [False, False]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 2}


class LooksAtTheFirst:
    """Lets a second request go while it keeps the first one's response to itself for a while."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if request.url.endswith("/first"):
            second = request.replace(url=request.url.replace("/first", "/second"))
            await download(self.crawler, second)
        return response


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("wrong", "reports"), [(frozenset(), []), ({1}, [1])])
async def test_a_response_that_is_held_back_above_us_is_still_the_first(
    wrong: set[int], reports: list[int], serve: Any, api: Any
) -> None:
    site, cloud = StrictSite(wrong), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/first", 1)],
        cloud,
        DOWNLOADER_MIDDLEWARES={LooksAtTheFirst: 700},
    )
    assert [known.path for known in site.submissions] == ["/first", "/second"]
    assert_fair(site, cloud)
    assert [task_id for _, task_id in cloud.reports] == reports
    assert withheld(stats) == {"reused": 1}


class RewritesTheUrl:
    """Sends another request in the place of the spider's, as Splash does, from above or below."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if "/v2/" in request.url:
            return None
        return request.replace(url=request.url.replace("/login", "/v2/login"))


class Answers:
    """Answers some requests by itself; nothing reaches the site."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if "/by-itself" in request.url:
            return scrapy.http.HtmlResponse(request.url, body=FINE.encode(), request=request)
        return None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [100, 700])
async def test_a_request_that_was_rewritten_on_its_way_is_one_attempt(
    order: int, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/login", 1), submit(f"{url}/login", 2)],
        cloud,
        DOWNLOADER_MIDDLEWARES={RewritesTheUrl: order},
    )
    assert site.got(1) == [False]
    assert site.got(2) == [True]
    assert [task_id for _, task_id in cloud.reports] == [1]
    assert withheld(stats) == {}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [100, 700])
async def test_a_response_that_a_middleware_made_itself_is_the_attempt(
    order: int, serve: Any, api: Any
) -> None:
    """As with Selenium, where nothing reaches the downloader."""
    site, cloud = StrictSite({1, 2}), api()
    url = serve(site.respond).url

    def requests(spider: Any) -> Any:
        yield submit(f"{url}/by-itself", 1, callback=lambda response: submit(f"{url}/login", 1))
        yield submit(f"{url}/login", 2)

    stats = await send(requests, cloud, DOWNLOADER_MIDDLEWARES={Answers: order})
    assert [task_id for _, task_id in cloud.reports] == [2]
    assert withheld(stats) == {"reused": 1}


class PassesOnAnother:
    """Waits for the response to another request of the same form, and passes that on.

    Where it does so, and with which task, is in ``meta``.
    """

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    async def process_request(self, request: Any, spider: Any = None) -> Any:
        return await self.another(request, None, "request")

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return await self.another(request, response, "response")

    async def another(self, request: Any, response: Any, where: str) -> Any:
        if request.meta.get("where") != where:
            return response
        task_id = request.meta["other task"]
        again = submit(request.url, task_id, {**request.meta, "taskId": task_id, "where": ""})
        return await download(self.crawler, again)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [540, 600], ids=["below us", "above us"])
@pytest.mark.parametrize("where", ["request", "response"])
@pytest.mark.parametrize("other_task", [1, 2], ids=["the same answer", "a new answer"])
async def test_a_response_to_another_request_says_nothing_about_the_answer(
    other_task: int, where: str, order: int, serve: Any, api: Any
) -> None:
    """Like a middleware that sends the form again, or with a new answer, if it sees a captcha."""
    site, cloud = StrictSite({2}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(url, 1, {"where": where, "other task": other_task})],
        cloud,
        DOWNLOADER_MIDDLEWARES={PassesOnAnother: order},
    )
    assert site.got(1) == [True, False][: (where == "response") + (other_task == 1)]
    assert [task_id for _, task_id in cloud.reports] == [2] * (other_task == 2)
    is_reused = where == "response" and other_task == 1
    assert withheld(stats) == ({"reused": 1} if is_reused else {})
    # With an order below ours, the first response is seen as well.
    assert stats["checked"] == 1 + (where == "response" and order < 585)
