"""Rows 1 and 9: a request that other code sends again, through another proxy."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from packages import neighbour
from players import RecordingSite
from scrapy import signals
from scrapy.exceptions import StopDownload
from scrapy.http import HtmlResponse
from strict_site import RULES, TOKEN, StrictSite, Submits, send, submit, withheld
from support import Reply
from workbench import run

REFUSES_CONNECTIONS = "http://127.0.0.1:9"


class RetriesElsewhere:
    """What a rotating proxy does: sends a copy through the next proxy, above us."""

    def process_request(self, request: Any, spider: Any = None) -> None:
        request.meta["proxy"] = request.meta["proxies"][request.meta.get("proxy_retry_times", 0)]

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return response if response.status == 200 else self._again(request)

    def process_exception(self, request: Any, exception: Any, spider: Any = None) -> Any:
        return self._again(request)

    def _again(self, request: Any) -> Any:
        again = request.copy()
        again.meta["proxy_retry_times"] = request.meta.get("proxy_retry_times", 0) + 1
        again.dont_filter = True
        return again


class Proxies:
    """The proxies before a site; the first that is asked for a page spoils the response.

    Args:
        fault: ``"lost"``: the site gets the answer, and the connection breaks off.
            ``"forbidden"``: a firewall says 403 instead of what the site said.
    """

    def __init__(self, site: StrictSite, fault: str) -> None:
        self.site = site
        self.fault = fault
        self.asked: Counter[str] = Counter()

    def respond(self, request: Any) -> Any:
        url = request.uri.decode()
        self.asked[url] += 1
        said = self.site.respond(request)
        if self.asked[url] > 1:
            return said
        if self.fault == "lost":
            request.transport.abortConnection()
            return ""
        return Reply("<h1>Forbidden</h1>", status=403)


def settings_for(package: str, proxies: list[str]) -> dict[str, Any]:
    if package == "stand-in":
        return {"DOWNLOADER_MIDDLEWARES": {RetriesElsewhere: 610}}
    neighbour("rotating_proxies.middlewares")
    return {
        "ROTATING_PROXY_LIST": proxies,
        "DOWNLOADER_MIDDLEWARES": {  # the orders of its README
            "rotating_proxies.middlewares.RotatingProxyMiddleware": 610,
            "rotating_proxies.middlewares.BanDetectionMiddleware": 620,
        },
    }


# It asks for `spider` and for pydispatcher's old ways; Scrapy and Python warn of it.
ROTATING = pytest.mark.filterwarnings(
    "ignore::scrapy.exceptions.ScrapyDeprecationWarning",
    "ignore::DeprecationWarning:rotating_proxies",
)


@ROTATING
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fault", ["lost", "forbidden"])
@pytest.mark.parametrize("package", ["rotating_proxies", "stand-in"])
async def test_an_answer_that_another_proxy_carries_again_is_reused(
    package: str, fault: str, serve: Any, api: Any
) -> None:
    site = StrictSite(wrong={3, 4})
    proxies = Proxies(site, fault)
    addresses = [serve(proxies.respond).url, serve(proxies.respond).url]
    cloud = api()
    stats = await send(
        lambda spider: [
            submit(f"http://shop.example/{n}", n, {"proxies": addresses}) for n in (1, 2, 3, 4)
        ],
        cloud,
        **settings_for(package, addresses),
    )
    assert site.got(1) == site.got(2) == [True, False]
    assert site.got(3) == site.got(4) == [False, False]
    # Nobody saw what the site first said of the wrong ones either.
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 4}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [570, 610])
async def test_a_proxy_that_asks_for_a_password_has_passed_nothing_on(
    order: int, serve: Any, api: Any
) -> None:
    """Where it tunnels, Scrapy raises an exception. Where it does not, this is a response."""
    site, cloud = StrictSite(wrong={2}), api()
    refuses = serve(lambda request: Reply("Password?", status=407)).url
    works = serve(site.respond).url
    stats = await send(
        lambda spider: [
            submit(f"http://shop.example/{n}", n, {"proxies": [refuses, works]}) for n in (1, 2)
        ],
        cloud,
        CAPMONSTER_REPORT_RULES=[*RULES, {"status": "4xx"}],
        DOWNLOADER_MIDDLEWARES={RetriesElsewhere: order},
    )
    assert site.got(1) == [True]
    assert site.got(2) == [False]
    assert cloud.reports == [(TOKEN, 2)]
    assert stats["checked"] == 2


@pytest_twisted.ensureDeferred
async def test_a_407_without_a_proxy_is_what_the_site_says(serve: Any, api: Any) -> None:
    cloud, url = api(), serve(lambda request: Reply("Who are you?", status=407)).url
    rules = [{"status": "4xx"}]
    await send(lambda spider: [submit(url, 1)], cloud, CAPMONSTER_REPORT_RULES=rules)
    assert cloud.reports == [(TOKEN, 1)]


@pytest_twisted.ensureDeferred
async def test_what_a_firewall_says_to_the_first_proxy_is_judged_where_we_see_it(
    serve: Any, api: Any
) -> None:
    """Below us the retry does not hide the first response: its rejection is fair game."""
    site = StrictSite(wrong={1})
    proxies = Proxies(site, "forbidden")
    cloud = api()
    addresses = [serve(proxies.respond).url] * 2
    await send(
        lambda spider: [submit("http://shop.example/", 1, {"proxies": addresses})],
        cloud,
        DOWNLOADER_MIDDLEWARES={RetriesElsewhere: 540},
        CAPMONSTER_REPORT_RULES=[*RULES, {"name": "firewall", "status": 403}],
    )
    assert site.got(1) == [False, False]
    assert len(cloud.reports) == 1


# -- row 9: nothing was sent ----------------------------------------------------------------------


class NextProxy:
    """Takes the next proxy for each try of Scrapy's."""

    def process_request(self, request: Any, spider: Any = None) -> None:
        proxies = request.meta["proxies"]
        proxy = proxies[min(request.meta.get("retry_times", 0), len(proxies) - 1)]
        if proxy:
            request.meta["proxy"] = proxy
        else:
            request.meta.pop("proxy", None)


class RefusesTunnels:
    """A proxy that will not connect to the site."""

    def __init__(self) -> None:
        self.methods: list[bytes] = []

    def respond(self, request: Any) -> Any:
        self.methods.append(request.method)
        return Reply("no", status=403)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "first", [REFUSES_CONNECTIONS, "http://no-such-proxy.invalid:8080"], ids=["refused", "no DNS"]
)
async def test_a_proxy_that_is_not_there_has_carried_no_answer(
    first: str, serve: Any, api: Any
) -> None:
    site = StrictSite(wrong={1})
    proxy = serve(site.respond).url
    cloud = api()
    stats = await send(
        lambda spider: [
            submit(f"http://shop.example/{n}", n, {"proxies": [first, first, proxy]})
            for n in (1, 2)
        ],
        cloud,
        DOWNLOADER_MIDDLEWARES={NextProxy: 740},
    )
    assert site.got(1) == [False]
    assert site.got(2) == [True]
    assert [task_id for _, task_id in cloud.reports] == [1]
    assert withheld(stats) == {}


class TriesWithoutProxy(Submits):
    """Posts to a plain address where the proxies fail."""

    plain: str

    def failed(self, failure: Any) -> None:
        self.later(submit(self.plain, failure.request.meta["taskId"], {"proxies": [""]}))


@pytest_twisted.ensureDeferred
async def test_a_proxy_that_opens_no_tunnel_has_carried_no_answer(serve: Any, api: Any) -> None:
    site, proxy, cloud = StrictSite(wrong={1}), RefusesTunnels(), api()
    proxies = {"proxies": [serve(proxy.respond).url]}
    stats = await send(
        lambda spider: [submit("https://shop.example/", n, proxies) for n in (1, 2)],
        cloud,
        type("Tries", (TriesWithoutProxy,), {"plain": serve(site.respond).url}),
        DOWNLOADER_MIDDLEWARES={NextProxy: 740},
        RETRY_TIMES=1,
    )
    assert proxy.methods == [b"CONNECT"] * 4
    assert site.got(1) == [False]
    assert site.got(2) == [True]
    assert [task_id for _, task_id in cloud.reports] == [1]
    assert withheld(stats) == {}


@ROTATING
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("first", [REFUSES_CONNECTIONS, "http://no-such-proxy.invalid:8080"])
@pytest.mark.parametrize("package", ["rotating_proxies", "stand-in"])
async def test_a_proxy_that_is_not_there_is_replaced_above_us_and_the_next_carries_the_answer(
    package: str, first: str, serve: Any, api: Any
) -> None:
    """The middleware that replaces it hides the failure from those with a lower order."""
    site, cloud, numbers = StrictSite(wrong={1, 2, 3}), api(), range(1, 7)
    proxies = [first, serve(site.respond).url]
    stats = await send(
        lambda spider: [
            submit(f"http://shop.example/{n}", n, {"proxies": proxies}) for n in numbers
        ],
        cloud,
        **settings_for(package, proxies),
    )
    assert [site.got(n) for n in numbers] == [[False]] * 3 + [[True]] * 3
    assert sorted(task_id for _, task_id in cloud.reports) == [1, 2, 3]
    assert withheld(stats) == {}


class FetchesItself:
    """Gets the page in its own way if the download fails."""

    def process_exception(self, request: Any, exception: Any, spider: Any = None) -> Any:
        site, task_id = request.meta["site"], request.meta["taskId"]
        return HtmlResponse(request.url, body=site.say(site.record(task_id)).body.encode())


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [540, 610], ids=["below us", "above us"])
@pytest.mark.parametrize("is_sent", [True, False], ids=["the site got it", "nothing was sent"])
async def test_a_page_that_a_middleware_fetches_after_a_failure_is_another_attempt(
    is_sent: bool, order: int, serve: Any, api: Any
) -> None:
    site, cloud = RecordingSite({1}), api()
    url = serve(site.respond).url + "/gone" if is_sent else REFUSES_CONNECTIONS
    stats = await send(
        lambda spider: [submit(url, 1, {"site": site})],
        cloud,
        DOWNLOADER_MIDDLEWARES={FetchesItself: order},
        RETRY_ENABLED=False,
    )
    assert len(site.submissions) == 1 + is_sent
    assert len(cloud.reports) == (0 if is_sent else 1)
    assert withheld(stats) == ({"reused": 1} if is_sent else {})


class HasSeenEnough:
    """Stops downloads at the headers, and goes on with what has come by then."""

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        stops = cls()
        crawler.signals.connect(stops.stop, signals.headers_received)
        return stops

    def stop(self) -> None:
        raise StopDownload

    def process_exception(self, request: Any, exception: Any, spider: Any = None) -> Any:
        return exception.response


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("order", [540, 610], ids=["below us", "above us"])
async def test_a_download_that_was_stopped_was_answered(order: int, serve: Any, api: Any) -> None:
    cloud, url = api(), serve(lambda request: Reply("Wrong captcha", status=403)).url
    stats = await send(
        lambda spider: [submit(url, 1)],
        cloud,
        DOWNLOADER_MIDDLEWARES={HasSeenEnough: order},
        CAPMONSTER_REPORT_RULES=[{"status": 403}],
    )
    assert [task_id for _, task_id in cloud.reports] == [1]
    assert withheld(stats) == {}


def test_the_doctor_says_that_it_stands_above_ours(capfd: pytest.CaptureFixture[str]) -> None:
    neighbour("rotating_proxies.middlewares")
    settings = {
        "ADDONS": {"scrapy_capmonster_report.Addon": 500},
        "DOWNLOADER_MIDDLEWARES": {
            "rotating_proxies.middlewares.RotatingProxyMiddleware": 610,
            "rotating_proxies.middlewares.BanDetectionMiddleware": 620,
        },
    }
    ran = run(capfd, "doctor", "--offline", "--json", settings=settings)
    (check,) = (check for check in ran.answer["checks"] if check["name"] == "middlewares")
    assert (ran.code, check["ok"]) == (1, False)
    for order in ("610", "620"):
        assert order in check["found"]
