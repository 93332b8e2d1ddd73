"""Row 8: pages that another service fetches: Splash, scraping APIs, Zyte API."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import pytest_twisted
import scrapy
from packages import needs_asyncio, neighbour
from parsel import Selector
from scrapy.http import Response
from strict_site import FINE, TOKEN, WRONG, Submits, send, withheld
from support import json_reply

if TYPE_CHECKING:
    from collections.abc import Callable

SHOPS = ["http://books.example/login", "http://films.example/login"]


class Renders:
    """A service that says what pages look like, of sites that reject every answer but ``/fine``.

    Its page for ``/moved`` is one that the site redirected to.
    """

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def page(self, url: str) -> tuple[str, str]:
        self.fetched.append(url)
        path = urlsplit(url).path
        return url.replace("/moved", "/refused"), FINE if path == "/fine" else WRONG


class SplashService(Renders):
    def respond(self, request: Any) -> Any:
        url, html = self.page(json.loads(request.content.read())["url"])
        return json_reply({"url": url, "html": html, "http_status": 200})


class ScrapingApi(Renders):
    """As most have it: the page's URL in the query."""

    def respond(self, request: Any) -> Any:
        return self.page(parse_qs(urlsplit(request.uri.decode()).query)["url"][0])[1]


class LikeSplashs(Response):
    """Has a text and selectors, and yet is not a ``TextResponse``."""

    text = property(lambda self: self.body.decode())
    selector = property(lambda self: Selector(text=self.text))

    def css(self, query: str) -> Any:
        return self.selector.css(query)

    def xpath(self, query: str) -> Any:
        return self.selector.xpath(query)


class AsksAService:
    """Does what Splash's middleware does: asks the service, and gives its page the site's URL."""

    service = ""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        if "_rendered" in request.meta:
            return None
        return request.replace(
            url=f"{self.service}/execute",
            method="POST",
            body=json.dumps({"url": request.url}),
            meta={**request.meta, "_rendered": True},
        )

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        said = response.json()
        return LikeSplashs(said["url"], body=said["html"].encode(), request=request)


def ask(url: str, task_id: int) -> scrapy.Request:
    return scrapy.Request(url, meta={"taskId": task_id}, dont_filter=True)


def settings_for(package: str, service: str) -> tuple[dict[str, Any], Callable[..., Any]]:
    """The settings, and what makes a request."""
    if package == "stand-in":
        middleware = type("Asks", (AsksAService,), {"service": service})
        return {"DOWNLOADER_MIDDLEWARES": {middleware: 725}}, ask
    scrapy_splash = neighbour("scrapy_splash")
    settings = {
        "SPLASH_URL": service,
        "DOWNLOADER_MIDDLEWARES": {  # the orders of its README
            "scrapy_splash.SplashCookiesMiddleware": 723,
            "scrapy_splash.SplashMiddleware": 725,
            "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": 810,
        },
    }

    def ask_splash(url: str, task_id: int) -> scrapy.Request:
        return scrapy_splash.SplashRequest(
            url, endpoint="execute", meta={"taskId": task_id}, dont_filter=True
        )

    return settings, ask_splash


SPLASH = pytest.mark.parametrize("package", ["scrapy_splash", "stand-in"])
# It asks for `spider` as older Scrapy did.
OLD_WAYS = pytest.mark.filterwarnings("ignore::scrapy.exceptions.ScrapyDeprecationWarning")


def sites_in(log: str) -> str:
    """The table of sites at the end of a crawl."""
    return log.partition("Captcha answers by site:")[2].partition("Dumping Scrapy stats")[0]


@OLD_WAYS
@pytest_twisted.ensureDeferred
@SPLASH
@pytest.mark.parametrize(
    "condition",
    [
        {"text": "Wrong captcha"},
        {"css": "p.error"},
        {"xpath": "//p[@class='error']"},
        {"text": "Wrong", "domains": ["books.example", "films.example"]},
        {"url": "/login$"},
    ],
    ids=str,
)
async def test_rules_see_the_page_that_splash_rendered(
    condition: dict[str, Any], package: str, serve: Any, api: Any
) -> None:
    service, cloud = SplashService(), api()
    settings, make = settings_for(package, serve(service.respond).url)
    stats = await send(
        lambda spider: [
            *(make(url, n) for n, url in enumerate(SHOPS, 1)),
            make("http://books.example/fine", 3),
        ],
        cloud,
        CAPMONSTER_REPORT_RULES=[condition],
        **settings,
    )
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]
    assert stats["checked"] == 3
    assert stats["passed"] == 1


@OLD_WAYS
@pytest_twisted.ensureDeferred
@SPLASH
async def test_the_sites_behind_splash_are_told_apart(
    package: str, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service = SplashService()
    settings, make = settings_for(package, serve(service.respond).url)
    await send(lambda spider: [make(url, n) for n, url in enumerate(SHOPS, 1)], api(), **settings)
    table = sites_in(caplog.text)
    assert "books.example" in table
    assert "films.example" in table
    assert "127.0.0.1" not in table


@OLD_WAYS
@pytest_twisted.ensureDeferred
@SPLASH
async def test_a_redirect_rule_sees_where_splash_was_led_and_not_what_it_was_asked_for(
    package: str, serve: Any, api: Any
) -> None:
    service, cloud = SplashService(), api()
    settings, make = settings_for(package, serve(service.respond).url)
    stats = await send(
        lambda spider: [
            make("http://books.example/moved", 1),
            make("http://books.example/fine", 2),
        ],
        cloud,
        CAPMONSTER_REPORT_RULES=[
            {"name": "asked for", "redirect": r"/moved|/fine"},
            {"name": "led to", "redirect": "/refused$"},
        ],
        **settings,
    )
    assert stats["rejected"] == stats["rejected/rule/led to"] == 1
    assert cloud.reports == [(TOKEN, 1)]


@OLD_WAYS
@pytest_twisted.ensureDeferred
@SPLASH
async def test_an_answer_that_splash_submits_twice_is_reused(
    package: str, serve: Any, api: Any
) -> None:
    service, cloud = SplashService(), api()
    settings, make = settings_for(package, serve(service.respond).url)

    def requests(spider: Any) -> Any:
        first = make("http://books.example/fine", 1)
        yield first.replace(callback=lambda response: make(SHOPS[0], 1))

    stats = await send(requests, cloud, **settings)
    assert service.fetched == ["http://books.example/fine", SHOPS[0]]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 1}


class GivesTheRealUrl:
    """Gives the page of a scraping API the URL that it was asked for."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return response.replace(url=parse_qs(urlsplit(request.url).query)["url"][0])


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [590, 900])
async def test_the_sites_behind_a_scraping_api_are_told_apart(
    order: int, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service, cloud = ScrapingApi(), api()
    url = serve(service.respond).url
    stats = await send(
        lambda spider: [
            ask(f"{url}/?api_key=k&url={quote(shop, safe='')}", n)
            for n, shop in enumerate([*SHOPS, "http://books.example/fine"], 1)
        ],
        cloud,
        DOWNLOADER_MIDDLEWARES={GivesTheRealUrl: order},
    )
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]
    assert stats["passed"] == 1
    table = sites_in(caplog.text)
    assert "books.example" in table
    assert "films.example" in table


# -- Zyte API -------------------------------------------------------------------------------------


class ZyteApi(Renders):
    def respond(self, request: Any) -> Any:
        asked = json.loads(request.content.read())
        url, html = self.page(asked["url"])
        said: dict[str, Any] = {"url": url, "statusCode": 200}
        if asked.get("browserHtml"):
            said["browserHtml"] = html
        else:
            said["httpResponseBody"] = base64.b64encode(html.encode()).decode()
            said["httpResponseHeaders"] = [{"name": "content-type", "value": "text/html"}]
        return json_reply(said)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("zyte_api", [True, {"browserHtml": True}], ids=str)
async def test_pages_that_zyte_api_fetched_are_judged(
    zyte_api: Any, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    neighbour("scrapy_zyte_api")
    needs_asyncio("scrapy_zyte_api")
    service, cloud = ZyteApi(), api()

    def requests(spider: Any) -> Any:
        meta = {"zyte_api_automap" if zyte_api is True else "zyte_api": zyte_api}
        for n, url in enumerate([*SHOPS, "http://books.example/fine"], 1):
            request = ask(url, n)
            yield request.replace(meta={**request.meta, **meta}, callback=spider.again)

    class Again(Submits):
        """Submits an accepted answer once more, with the ``meta`` of the response."""

        def again(self, response: Any) -> Any:
            if response.url.endswith("/fine"):
                yield scrapy.Request(SHOPS[0], meta=response.meta, dont_filter=True)

    stats = await send(
        requests,
        cloud,
        Again,
        ADDONS={"scrapy_zyte_api.Addon": 400, "scrapy_capmonster_report.Addon": 500},
        ZYTE_API_KEY="a-key",
        ZYTE_API_URL=serve(service.respond).url + "/",
        ZYTE_API_TRANSPARENT_MODE=False,
    )
    assert sorted(cloud.reports) == [(TOKEN, 1), (TOKEN, 2)]
    assert len(service.fetched) == 4
    assert withheld(stats) == {"reused": 1}
    table = sites_in(caplog.text)
    assert "books.example" in table
    assert "films.example" in table
