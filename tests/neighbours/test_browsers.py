"""Row 4: a browser, or another downloader, that follows the site's redirects itself."""

from __future__ import annotations

import inspect
import os
import shutil
from typing import Any
from urllib.parse import quote, urljoin

import pytest
import pytest_twisted
import scrapy
from packages import needs_asyncio, neighbour
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.utils.defer import deferred_from_coro, maybe_deferred_to_future
from strict_site import RULES, StrictSite, Submits, send, submit, withheld

NEW_HANDLERS = inspect.iscoroutinefunction(HTTP11DownloadHandler.download_request)
"""Scrapy 2.13 has others: made from the settings too, and asked for a Deferred."""


class FollowsRedirects(HTTP11DownloadHandler):
    """Follows redirects, gives the last URL, and writes the others into ``meta``."""

    tells = True

    if NEW_HANDLERS:

        async def download_request(self, request: Any) -> Any:
            return await self._follow(request, super().download_request)

    else:

        def download_request(self, request: Any, spider: Any) -> Any:
            fetch = super().download_request

            def wait(request: Any) -> Any:
                return maybe_deferred_to_future(fetch(request, spider))

            return deferred_from_coro(self._follow(request, wait))

    async def _follow(self, request: Any, fetch: Any) -> Any:
        urls: list[str] = []
        asked = request
        while (response := await fetch(asked)).status == 302:
            urls.append(asked.url)
            url = urljoin(asked.url, response.headers["Location"].decode())
            asked = scrapy.Request(url, meta=dict(request.meta))
        request.meta["download_latency"] = asked.meta["download_latency"]
        if urls and self.tells:
            request.meta["redirect_urls"] = urls
            request.meta["redirect_times"] = len(urls)
        return response.replace(url=asked.url)


class FollowsSilently(FollowsRedirects):
    """As HTTP clients do: only the response's URL tells of it."""

    tells = False


def settings_for(package: str) -> dict[str, Any]:
    if package != "scrapy_playwright":
        return {
            "DOWNLOAD_HANDLERS": {
                "http": {"tells": FollowsRedirects}.get(package) or FollowsSilently
            }
        }
    neighbour("scrapy_playwright.handler")
    needs_asyncio(package)
    chromium = shutil.which("chromium")
    if chromium is None:
        assert package not in os.environ.get("REQUIRE_NEIGHBOURS", "").split()
        pytest.skip("chromium is not installed")
    handler = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
    return {
        "DOWNLOAD_HANDLERS": {"http": handler, "https": handler},
        "PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": chromium, "args": ["--no-sandbox"]},
    }


BROWSERS = pytest.mark.parametrize("package", ["scrapy_playwright", "tells", "silent"])
IN_BROWSER = {"playwright": True}


@pytest_twisted.ensureDeferred
@BROWSERS
async def test_a_redirect_rule_sees_where_a_browser_was_led_and_not_what_was_posted_to(
    package: str, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/hop?to=/refused", 1, IN_BROWSER)],
        cloud,
        CAPMONSTER_REPORT_RULES=[
            {"name": "posted to", "redirect": "/hop"},
            {"name": "led to", "redirect": "/refused$"},
        ],
        **settings_for(package),
    )
    assert site.paths[:2] == ["/hop", "/refused"]
    assert stats["rejected"] == stats["rejected/rule/led to"] == 1
    assert [task_id for _, task_id in cloud.reports] == [1]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("package", ["scrapy_playwright", "tells"])
async def test_a_browser_is_led_to_the_page_that_the_login_page_was_asked_for(
    package: str, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite(), api()
    url = serve(site.respond).url
    stats = await send(
        # As /login?next=https://… does.
        lambda spider: [submit(f"{url}/hop?to={url}/welcome", 1, IN_BROWSER)],
        cloud,
        CAPMONSTER_REPORT_RULES=[{"name": "back at the form", "redirect": "/hop"}],
        **settings_for(package),
    )
    assert site.paths[:2] == ["/hop", "/welcome"]
    assert cloud.reports == []
    assert stats == {"checked": 1, "passed": 1}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("package", ["scrapy_playwright", "tells"])
async def test_each_page_on_a_browsers_way_is_seen_though_meta_came_along_from_another_page(
    package: str, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({1}), api()
    url = serve(site.respond).url
    way = f"{url}/hop?to={quote('/hop?to=/refused', safe='')}"
    stats = await send(
        lambda spider: [submit(way, 1, {**IN_BROWSER, "redirect_urls": ["http://a.example/"]})],
        cloud,
        CAPMONSTER_REPORT_RULES=[{"name": "on the way", "redirect": "to=/refused$"}],
        **settings_for(package),
    )
    assert site.paths[:3] == ["/hop", "/hop", "/refused"]
    assert stats["rejected"] == stats["rejected/rule/on the way"] == 1


@pytest_twisted.ensureDeferred
@BROWSERS
async def test_a_page_that_a_browser_was_not_led_away_from_is_no_redirect(
    package: str, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite(), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/refused", 1, IN_BROWSER)],
        cloud,
        CAPMONSTER_REPORT_RULES=[{"name": "led to", "redirect": "/refused"}],
        **settings_for(package),
    )
    assert stats == {"checked": 1, "passed": 1}


class GoesOn(Submits):
    """Posts its answer once more, with the ``meta`` of the response."""

    again = 1

    def parse(self, response: Any) -> Any:
        if "/next" not in response.url:
            yield submit(
                urljoin(response.url, "/next"), self.again, {**response.meta, "taskId": self.again}
            )


@pytest_twisted.ensureDeferred
@BROWSERS
async def test_the_next_page_with_the_meta_of_a_browsers_is_another_attempt(
    package: str, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite(), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/hop?to=/welcome", 1, IN_BROWSER)],
        cloud,
        GoesOn,
        **settings_for(package),
    )
    assert site.got(1) == [True, False]
    assert cloud.reports == []
    assert withheld(stats) == {"reused": 1}


@pytest_twisted.ensureDeferred
@BROWSERS
async def test_the_next_answer_with_the_meta_of_a_browsers_was_not_led_where_that_one_was(
    package: str, serve: Any, api: Any
) -> None:
    site, cloud = StrictSite({2}), api()
    url = serve(site.respond).url
    stats = await send(
        lambda spider: [submit(f"{url}/hop?to=/refused", 1, IN_BROWSER)],
        cloud,
        type("GoesOnAnew", (GoesOn,), {"again": 2}),
        CAPMONSTER_REPORT_RULES=[{"name": "led to", "redirect": "/refused"}, *RULES],
        **settings_for(package),
    )
    assert stats["rejected/rule/led to"] == 1
    assert stats["rejected/rule/wrong"] == 1
    assert sorted(task_id for _, task_id in cloud.reports) == [1, 2]
