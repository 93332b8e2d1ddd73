"""Middlewares that send answers in their own way, or pass on what is no response to the request."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from players import Player, RecordingSite, again
from scrapy import signals
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import StopDownload
from scrapy.http import HtmlResponse
from scrapy.utils.defer import maybe_deferred_to_future
from strict_site import (
    FINE,
    TOKEN,
    WRONG,
    StrictSite,
    Submits,
    download,
    send,
    submit,
    withheld,
)
from support import Reply

from scrapy_capmonster_report import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from pathlib import Path

HERE = ip_address("127.0.0.1")
ORDERS = pytest.mark.parametrize("order", [540, 700], ids=["below us", "above us"])


class OwnClient(Player):
    """Gives answers to the site in its own way, as with Selenium or curl_cffi."""

    def fetch(self, request: Any) -> HtmlResponse:
        site: RecordingSite = self.crawler.spider.site
        said = site.say(site.record(request.meta["taskId"]))
        return HtmlResponse(request.url, body=said.body.encode(), request=request)


def with_site(site: StrictSite, spider_class: type[Submits] = Submits) -> type[Submits]:
    return type("WithSite", (spider_class,), {"site": site})


# -- its own client fails -------------------------------------------------------------------------


class FailsOnce(OwnClient):
    """Its client fails the first time, before or after the site gets the answer."""

    error: Exception
    is_sent: bool

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if self.acts_on(request):
            if self.is_sent:
                self.fetch(request)
            raise self.error
        return self.fetch(request)


class ClientConnectorError(OSError):
    """Like aiohttp's."""


class ClientProxyConnectionError(ClientConnectorError):
    """Like aiohttp's."""


# Like that of Requests, HTTPX and curl_cffi.
ConnectTimeout = type("ConnectTimeout", (OSError,), {})


@pytest_twisted.ensureDeferred
@ORDERS
@pytest.mark.parametrize("wrong", [frozenset(), {1}], ids=["right", "wrong"])
@pytest.mark.parametrize(
    ("error", "is_sent"),
    [
        (OSError("timed out"), True),
        (ConnectTimeout(), False),
        (ClientProxyConnectionError(), False),
        (ConnectionRefusedError(), False),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_answer_is_used_if_a_middleware_fails_that_may_have_sent_it(
    error: Exception, is_sent: bool, wrong: set[int], order: int, serve: Any, api: Any
) -> None:
    """Scrapy retries the request: each of these exceptions is an OSError."""
    site, cloud = RecordingSite({*wrong}), api()
    stats = await send(
        lambda spider: [submit("http://shop.example/", 1)],
        cloud,
        with_site(site),
        DOWNLOADER_MIDDLEWARES={
            type("Fails", (FailsOnce,), {"error": error, "is_sent": is_sent}): order
        },
    )
    assert len(site.submissions) == 1 + is_sent
    assert cloud.reports == ([(TOKEN, 1)] if wrong and not is_sent else [])
    assert withheld(stats) == ({"reused": 1} if is_sent else {})


class RetriesItsOwn(OwnClient):
    """Gives up waiting for a browser, or takes its page for a ban; then asks for a retry."""

    gives_up: bool

    def process_request(self, request: Any, spider: Any = None) -> Any:
        page = self.fetch(request)
        return self.retry(request) or page if self.gives_up else page

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return response if self.gives_up else self.retry(request) or response

    def retry(self, request: Any) -> Any:
        return get_retry_request(
            request, spider=self.crawler.spider, reason="slow", max_retry_times=1
        )


@pytest_twisted.ensureDeferred
@ORDERS
@pytest.mark.parametrize("gives_up", [True, False], ids=["gave up", "took it for a ban"])
async def test_an_answer_that_a_middleware_sent_and_retries_in_its_own_way_is_used(
    gives_up: bool, order: int, serve: Any, api: Any
) -> None:
    """As packages for browsers and curl do. Above us, nothing is seen of the first attempt."""
    site, cloud = RecordingSite(set()), api()
    stats = await send(
        lambda spider: [submit("http://shop.example/", 1)],
        cloud,
        with_site(site),
        DOWNLOADER_MIDDLEWARES={type("Retries", (RetriesItsOwn,), {"gives_up": gives_up}): order},
    )
    assert site.got(1) == [True, False]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 1}


class LeavesRedirectsToScrapy(OwnClient):
    """Gives Scrapy each response as it comes, also redirects."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if "captchaError" in request.url:
            return HtmlResponse(request.url, body=b"<p>Sorry</p>")
        self.fetch(request)
        headers = {"Location": "/login?captchaError=1"}
        return HtmlResponse(request.url, status=302, headers=headers)


@pytest_twisted.ensureDeferred
@ORDERS
async def test_a_redirect_rule_sees_the_redirects_of_a_middlewares_own_client(
    order: int, serve: Any, api: Any
) -> None:
    site, cloud = RecordingSite({1}), api()
    stats = await send(
        lambda spider: [submit("http://shop.example/", 1)],
        cloud,
        with_site(site),
        DOWNLOADER_MIDDLEWARES={LeavesRedirectsToScrapy: order},
        CAPMONSTER_REPORT_RULES=[{"redirect": "captchaError"}],
    )
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["rejected"] == 1


# -- another response is passed on ----------------------------------------------------------------


class FallsBackToABrowser(OwnClient):
    """Asks for the page once more, this time through a browser, and waits for it."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        return self.fetch(request) if request.meta.get("browser") else None

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if not self.acts_on(request):
            return response
        copy = again(request)
        copy.meta["browser"] = True
        return await download(self.crawler, copy)


class FetchesACopy(Player):
    """Waits for the downloader, not for the engine."""

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if not self.acts_on(request):
            return response
        engine = self.crawler.engine
        spider_if_old = () if hasattr(engine, "download_async") else (spider,)
        fetched = engine.downloader.fetch(again(request), *spider_if_old)
        return await maybe_deferred_to_future(fetched)


class PassesOnAsItsOwn(Player):
    """Waits for the response to a copy, and says that it is the one to the request."""

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if not self.acts_on(request):
            return response
        other = await download(self.crawler, again(request))
        return other.replace(request=request)


class FetchesWithoutMeta(Player):
    """Waits for the response to the same form, sent with nothing in ``meta``."""

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return await download(self.crawler, bare(request)) if self.acts_on(request) else response


class FetchesWithoutMetaFirst(Player):
    """Sends the form in its own way from the beginning."""

    async def process_request(self, request: Any, spider: Any = None) -> Any:
        return await download(self.crawler, bare(request)) if self.acts_on(request) else None


def bare(request: Any) -> scrapy.Request:
    return scrapy.Request(
        request.url, method=request.method, body=request.body, headers=request.headers
    )


@pytest_twisted.ensureDeferred
@ORDERS
@pytest.mark.parametrize(
    ("player", "when_it_comes", "when_passed_on"),
    [
        (FallsBackToABrowser, 1, 0),  # ``response.request`` says that it was judged
        (FetchesACopy, 1, 1),
        (PassesOnAsItsOwn, 1, 1),
        (FetchesWithoutMeta, 0, 1),  # it comes without a task
    ],
)
async def test_what_a_middleware_passes_on_is_not_the_response_to_the_first_attempt(
    player: type[Player],
    when_it_comes: int,
    when_passed_on: int,
    order: int,
    serve: Any,
    api: Any,
) -> None:
    """How often it is judged: when it comes, and again when it is passed on from above ours."""
    site, cloud = RecordingSite(set()), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(url, 1)],
        cloud,
        with_site(site),
        DOWNLOADER_MIDDLEWARES={player: order},
    )
    assert site.got(1) == [True, False]
    assert cloud.reports == []
    seen = when_it_comes + (when_passed_on if order > 585 else 0)
    assert withheld(stats) == ({"reused": seen} if seen else {})
    assert stats["checked"] == (order < 585) + seen


class NamesNoAddress(Player):
    """Gives responses without an address, as handlers for browsers and curl do."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return response.replace(ip_address=None)


@pytest_twisted.ensureDeferred
@ORDERS
async def test_the_same_form_sent_again_where_responses_have_no_address(
    order: int, serve: Any, api: Any
) -> None:
    site, cloud = RecordingSite(set()), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(url, 1)],
        cloud,
        with_site(site),
        DOWNLOADER_MIDDLEWARES={FetchesWithoutMeta: order, NamesNoAddress: 990},
    )
    assert site.got(1) == [True, False]
    assert cloud.reports == []
    assert withheld(stats) == ({"reused": 1} if order > 585 else {})


@pytest_twisted.ensureDeferred
@ORDERS
async def test_the_response_to_the_same_form_without_a_task_is_that_to_the_answer(
    order: int, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(url, 1), submit(url, 2)],
        cloud,
        DOWNLOADER_MIDDLEWARES={FetchesWithoutMetaFirst: order},
    )
    assert site.got(1) == [False]
    assert cloud.reports == [(TOKEN, 1)]
    assert stats["checked"] == 2


# -- the task comes late --------------------------------------------------------------------------


class SolvesWhatItSees(Player):
    """Has the captcha of a page solved, and leaves it to the spider to submit the answer."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        request.meta.setdefault("taskId", 1)
        return response


class SubmitsWhatItIsGiven(Submits):
    def parse(self, response: Any) -> Any:
        if response.request.method == "GET":
            yield submit(response.url, response.meta["taskId"], response.meta)


@pytest_twisted.ensureDeferred
@ORDERS
@pytest.mark.parametrize("wrong", [frozenset(), {1}], ids=["right", "wrong"])
async def test_a_page_that_was_there_before_the_task_says_nothing_about_its_answer(
    wrong: set[int], order: int, serve: Any, api: Any
) -> None:
    """The rule sees the form again where the answer was rejected. The first page has it, too."""
    site, cloud = StrictSite(wrong), api()

    def respond(request: Any) -> str:
        said = site.respond(request)
        return said if request.method == b"POST" and not wrong else f"<form>{said}</form>"

    url = serve(respond).url
    stats = await send(
        lambda spider: [scrapy.Request(url)],
        cloud,
        SubmitsWhatItIsGiven,
        DOWNLOADER_MIDDLEWARES={SolvesWhatItSees: order},
        CAPMONSTER_REPORT_RULES=[{"css": "form"}],
    )
    assert site.got(1) == [not wrong]
    assert cloud.reports == ([(TOKEN, 1)] if wrong else [])
    assert stats["checked"] == 1


class SolvesInABrowser(OwnClient):
    """Solves the captcha of a page in a browser, and passes on what that gets to see."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        request.meta["taskId"] = 1
        return self.fetch(request)


@pytest_twisted.ensureDeferred
async def test_a_page_that_a_browser_gets_for_the_answer_is_judged(serve: Any, api: Any) -> None:
    site, cloud = RecordingSite({1}), api()
    url = serve(lambda request: FINE).url
    await send(
        lambda spider: [scrapy.Request(url)],
        cloud,
        with_site(site),
        DOWNLOADER_MIDDLEWARES={SolvesInABrowser: 700},
    )
    assert cloud.reports == [(TOKEN, 1)]


# -- the download is stopped ----------------------------------------------------------------------


class HasSeenEnough:
    """Stops downloads at the headers, or at the first bytes of the body."""

    signal: object

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        stops = cls()
        crawler.signals.connect(stops.stop, cls.signal)
        return stops

    def stop(self) -> None:
        raise StopDownload(fail=True)


class GoesOnWithIt(HasSeenEnough):
    def process_exception(self, request: Any, exception: Any, spider: Any = None) -> Any:
        return exception.response


@pytest_twisted.ensureDeferred
@ORDERS
@pytest.mark.parametrize("stops", [HasSeenEnough, GoesOnWithIt])
@pytest.mark.parametrize("signal", ["headers_received", "bytes_received"])
@pytest.mark.parametrize("status", [200, 403])
async def test_a_download_that_was_stopped_is_judged_by_what_came(
    status: int, signal: str, stops: Any, order: int, serve: Any, api: Any
) -> None:
    cloud, url = api(), serve(lambda request: Reply(FINE, status=status)).url
    middleware = type("Stops", (stops,), {"signal": getattr(signals, signal)})
    stats = await send(
        lambda spider: [submit(url, 1)],
        cloud,
        DOWNLOADER_MIDDLEWARES={middleware: order},
        CAPMONSTER_REPORT_RULES=[{"status": 403}],
    )
    is_rejected = status == 403
    assert cloud.reports == [(TOKEN, 1)] * is_rejected
    assert stats.get("rejected", 0) == is_rejected
    # Of a response that only an errback gets, nothing more is known.
    assert stats.get("checked", 0) == (is_rejected or stops is GoesOnWithIt)


# -- the cache answers ---------------------------------------------------------------------------


class ChallengingSite(StrictSite):
    """Redirects to a challenge if the answer, which comes in a header, is wrong."""

    def respond(self, request: Any) -> Any:
        self.paths.append(request.path.decode())
        if self.paths[-1] == "/challenge":
            return Reply(WRONG, status=403)
        accepted = self.submissions[self.record(int(request.getHeader("X-Answer")))].accepted
        return FINE if accepted else Reply(status=302, headers={"Location": "/challenge"})


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("rule", [{"status": 403}, {"redirect": "/challenge"}], ids=str)
async def test_a_redirect_from_the_cache_says_nothing_about_an_answer(
    rule: dict[str, Any], serve: Any, api: Any, tmp_path: Path
) -> None:
    site, cloud = ChallengingSite({1}), api()
    url = serve(site.respond).url

    async def ask(task_id: int) -> dict[str, Any]:
        headers, meta = {"X-Answer": str(task_id)}, {"taskId": task_id}
        return await send(
            lambda spider: [scrapy.Request(url, headers=headers, meta=meta)],
            cloud,
            CAPMONSTER_REPORT_RULES=[rule],
            HTTPCACHE_ENABLED=True,
            HTTPCACHE_IGNORE_HTTP_CODES=[403],
            HTTPCACHE_DIR=str(tmp_path / "cache"),
        )

    await ask(1)
    stats = await ask(2)
    assert site.paths == ["/", "/challenge", "/challenge"]
    assert cloud.reports == [(TOKEN, 1)]
    assert withheld(stats) == {"cached": 1}


# -- without a crawl ------------------------------------------------------------------------------


class CallsItself(Submits):
    """Calls ``process_response`` as tests of single middlewares do: no signal is sent before."""

    async def start(self) -> Any:
        process = self.crawler.get_downloader_middleware(
            CapMonsterReportMiddleware
        ).process_response
        response = HtmlResponse("http://shop.example/", body=WRONG.encode(), ip_address=HERE)
        for task_id in (1, 2):
            request = submit(response.url, task_id)
            process(request, response)
            process(request.copy(), response)
        process(submit(response.url, 3).copy(), response.replace(flags=[]))
        for request in ():
            yield request


@pytest_twisted.ensureDeferred
async def test_where_nothing_else_is_seen_each_response_is_an_attempt(api: Any) -> None:
    """One response for all requests is judged for each."""
    cloud = api()
    stats = await send(lambda spider: [], cloud, CallsItself)
    assert cloud.reports == [(TOKEN, 1), (TOKEN, 2), (TOKEN, 3)]
    assert stats["checked"] == stats["rejected"] == 5
    assert withheld(stats) == {"duplicate": 2}
