"""A dry run shows what it would report, and sends nothing."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest_twisted
import scrapy
from scrapy.http import HtmlResponse
from support import Reply, crawl
from wired import WRONG, Refused, lines

from scrapy_capmonster_report import CapMonsterReportMiddleware

if TYPE_CHECKING:
    import pytest

DRY = {"CAPMONSTER_REPORT_DRY_RUN": True, "CAPMONSTER_API_URL": "http://127.0.0.1:1"}


def shown(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in lines(caplog, logging.INFO) if line.startswith("Dry run: task")]


class Offline:
    """Answers requests to ``shop.example``: Scrapy itself takes no URL with a password."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        return HtmlResponse(request.url, body=b"Wrong captcha") if "shop." in request.url else None


class Visits(scrapy.Spider):
    """Submits answers; where the page says so, its callback finds the rejection."""

    name = "visits"
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [
            {"name": "wrong", "text": "Wrong captcha"},
            {"name": "picture", "status": 403, "kind": "image"},
        ],
        "CONCURRENT_REQUESTS": 1,
        "DOWNLOADER_MIDDLEWARES": {Offline: 900},
    }
    visits: list[tuple[str, dict[str, Any]]]

    async def start(self) -> Any:
        for url, meta in self.visits:
            yield scrapy.Request(url, meta={"handle_httpstatus_all": True, **meta})

    def parse(self, response: Any) -> None:
        if b"callback" in response.body:
            reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
            reporter.reject(response.request)


@pytest_twisted.ensureDeferred
async def test_it_shows_the_first_report_of_each_rule_and_kind(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def respond(request: Any) -> Any:
        return {
            b"/wrong": WRONG,
            b"/picture": Reply("No.", status=403),
            b"/late": "only the callback sees it",
        }.get(request.path, "Welcome")

    base = serve(respond).url
    stats = await crawl(
        Visits,
        DRY,
        visits=[
            (f"{base}/wrong", {}),
            ("https://ann:secret@shop.example/login", {"taskId": 1}),
            (f"{base}/wrong?2", {"taskId": 2}),
            (f"{base}/wrong?3", {"taskId": 3, "taskType": "image"}),
            (f"{base}/wrong?again", {"taskId": 3}),
            (f"{base}/fine", {"taskId": 4}),
            (f"{base}/picture", {"taskId": 5}),
            (f"{base}/late", {"taskId": 6}),
        ],
    )
    assert stats["withheld/dry_run"] == 5
    assert shown(caplog) == [
        "Dry run: task 1 would be reported (token captcha, rule 'wrong'): https://shop.example/login",
        f"Dry run: task 3 would be reported (image captcha, rule 'wrong'): {base}/wrong?3",
        f"Dry run: task 5 would be reported (image captcha, rule 'picture'): {base}/picture",
        f"Dry run: task 6 would be reported (token captcha, rule 'reject()'): {base}/late",
    ]


@pytest_twisted.ensureDeferred
async def test_a_crawl_that_reports_says_nothing_of_it(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"CAPMONSTER_API_URL": api().url}
    stats = await crawl(Refused, settings, base=serve(lambda _: WRONG).url, tasks=[1])
    assert stats["sent/accepted"] == 1
    assert shown(caplog) == []
