"""Switching it on, and the signals by which others follow what it does."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import pytest_twisted
import scrapy
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.downloadermiddlewares.redirect import MetaRefreshMiddleware
from scrapy.settings import Settings
from support import refused, report_stats, start_crawl

import scrapy_capmonster_report
from scrapy_capmonster_report import (
    Addon,
    CapMonsterReportMiddleware,
    Outcome,
    Task,
    captcha_meta,
    signals,
)
from scrapy_capmonster_report.task import Kind

PATH = "scrapy_capmonster_report.CapMonsterReportMiddleware"
FULL_PATH = "scrapy_capmonster_report.middleware.CapMonsterReportMiddleware"


class Login(scrapy.Spider):
    """Submits answers one after another; some pages refuse them, some leave it to the callback."""

    name = "login"
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong captcha"}],
        "CONCURRENT_REQUESTS": 1,
    }
    url: str
    metas: list[dict[str, Any]]
    path = "/wrong"
    observer: Any = None

    async def start(self) -> Any:
        if self.observer is not None:
            self.observer.follow(self.crawler)
        for number, meta in enumerate(self.metas):
            url = f"{self.url}{self.path}?{number}"
            yield scrapy.Request(url, meta=meta, priority=-number)

    def parse(self, response: Any) -> None:
        if "/unsure" in response.url:
            reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
            reporter.reject(response.request, reason="nothing on the page")


def respond(request: Any) -> str:
    return "<p>Wrong captcha</p>" if request.path == b"/wrong" else "<p></p>"


# -- switching it on -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("users", "expected"),
    [
        ({}, {CapMonsterReportMiddleware: 585}),
        ({PATH: 700}, {PATH: 700}),
        ({FULL_PATH: 700}, {FULL_PATH: 700}),
        ({CapMonsterReportMiddleware: 700}, {CapMonsterReportMiddleware: 700}),
        ({PATH: None}, {PATH: None}),
        ({CapMonsterReportMiddleware: None}, {CapMonsterReportMiddleware: None}),
    ],
)
def test_the_addon_sets_an_order_only_where_the_user_has_none(users: Any, expected: Any) -> None:
    settings = Settings({"DOWNLOADER_MIDDLEWARES": {HttpCompressionMiddleware: 1, **users}})
    Addon().update_settings(settings)
    assert dict(settings["DOWNLOADER_MIDDLEWARES"]) == {HttpCompressionMiddleware: 1, **expected}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "switch",
    [
        {"ADDONS": {"scrapy_capmonster_report.Addon": 500}},
        {"ADDONS": {Addon: 500}},
        {"ADDONS": {}, "DOWNLOADER_MIDDLEWARES": {PATH: 585}},
        {"ADDONS": {}, "DOWNLOADER_MIDDLEWARES": {CapMonsterReportMiddleware: 585}},
        {"DOWNLOADER_MIDDLEWARES": {PATH: 585}},
    ],
)
async def test_each_way_to_switch_it_on(switch: dict[str, Any], serve: Any, api: Any) -> None:
    cloud = api()
    settings = {"CAPMONSTER_API_URL": cloud.url, **switch}
    crawler = await start_crawl(Login, settings, url=serve(respond).url, metas=[{"taskId": 1}])
    assert len(cloud.reports) == 1
    assert report_stats(crawler)["sent/accepted"] == 1
    # In Scrapy's order: redirects are followed and bodies decompressed when it sees a response,
    # and it sees each of them.
    types = [type(middleware) for middleware in crawler.engine.downloader.middleware.middlewares]
    place = types.index(CapMonsterReportMiddleware)
    assert types[place - 1 : place + 2] == [
        MetaRefreshMiddleware,
        CapMonsterReportMiddleware,
        HttpCompressionMiddleware,
    ]


@pytest_twisted.ensureDeferred
async def test_a_user_who_says_none_does_not_get_it(serve: Any, api: Any) -> None:
    cloud = api()
    settings = {"CAPMONSTER_API_URL": cloud.url, "DOWNLOADER_MIDDLEWARES": {PATH: None}}
    crawler = await start_crawl(Login, settings, url=serve(respond).url, metas=[{"taskId": 1}])
    assert cloud.reports == []
    assert report_stats(crawler) == {}


def test_importing_it_installs_no_reactor() -> None:
    program = """
import importlib, pkgutil, sys
import scrapy_capmonster_report as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(module.name)
sys.exit("twisted.internet.reactor" in sys.modules)
"""
    child = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (child.returncode, child.stdout, child.stderr) == (0, "", "")


@pytest.mark.parametrize("name", scrapy_capmonster_report.__all__)
def test_what_the_package_names_is_there(name: str) -> None:
    assert getattr(scrapy_capmonster_report, name) is not None


# -- the signals -----------------------------------------------------------------------------------


class Observer:
    """Someone else's extension: writes down what the signals deliver."""

    def __init__(self) -> None:
        self.rejected: list[dict[str, Any]] = []
        self.finished: list[dict[str, Any]] = []

    def follow(self, crawler: Any) -> None:
        crawler.signals.connect(self.captcha_rejected, signal=signals.captcha_rejected)
        crawler.signals.connect(self.report_finished, signal=signals.report_finished)

    def captcha_rejected(
        self, request: Any, response: Any, task: Any, rule: Any, spider: Any
    ) -> None:
        self.rejected.append(
            {"request": request, "response": response, "task": task, "rule": rule, "spider": spider}
        )

    def report_finished(self, task: Any, outcome: Any, spider: Any) -> None:
        self.finished.append({"task": task, "outcome": outcome, "spider": spider})


async def observed(
    serve: Any, cloud: Any, metas: list[dict[str, Any]], **spider_args: Any
) -> tuple[Observer, Any, dict[str, Any]]:
    observer = Observer()
    crawler = await start_crawl(
        Login,
        {"CAPMONSTER_API_URL": cloud.url},
        url=serve(respond).url,
        metas=metas,
        observer=observer,
        **spider_args,
    )
    for delivered in (*observer.rejected, *observer.finished):
        assert delivered.pop("spider") is crawler.spider
    return observer, crawler, report_stats(crawler)


@pytest_twisted.ensureDeferred
async def test_a_rejection_that_a_rule_found_and_its_report(serve: Any, api: Any) -> None:
    observer, *_ = await observed(serve, api(), [captcha_meta("07", "ImageToTextTask")])
    (rejected,) = observer.rejected
    task = rejected["task"]
    assert isinstance(task, Task)
    assert (task.id, task.kind, task.type) == (7, Kind.IMAGE, "ImageToTextTask")
    assert rejected["rule"] == "wrong"
    assert rejected["request"].meta["taskId"] == "07"
    assert rejected["response"].text == "<p>Wrong captcha</p>"
    assert rejected["response"].flags == ["captcha-rejected"]
    assert observer.finished == [{"task": task, "outcome": Outcome.ACCEPTED}]


@pytest_twisted.ensureDeferred
async def test_a_rejection_that_a_callback_found_and_its_report(serve: Any, api: Any) -> None:
    observer, *_ = await observed(serve, api(), [{"taskId": 7}], path="/unsure")
    (rejected,) = observer.rejected
    assert rejected["response"] is None
    assert rejected["rule"] == "reject()"
    assert rejected["request"].url.endswith("/unsure?0")
    assert observer.finished == [{"task": rejected["task"], "outcome": Outcome.ACCEPTED}]


@pytest_twisted.ensureDeferred
async def test_a_rejection_without_a_usable_task(serve: Any, api: Any) -> None:
    observer, *_ = await observed(serve, api(), [{"taskId": "seven"}, {}])
    (rejected,) = observer.rejected
    assert rejected["task"] is None
    assert rejected["request"].meta["taskId"] == "seven"
    assert observer.finished == []


@pytest_twisted.ensureDeferred
async def test_a_rejection_whose_report_is_withheld_sends_the_signal_too(
    serve: Any, api: Any
) -> None:
    observer, _, stats = await observed(serve, api(), [{"taskId": 7}, {"taskId": 7}])
    assert stats["withheld/duplicate"] == 1
    assert [rejected["task"].id for rejected in observer.rejected] == [7, 7]
    assert [finished["outcome"] for finished in observer.finished] == [Outcome.ACCEPTED]


@pytest_twisted.ensureDeferred
async def test_a_report_that_the_service_refused(serve: Any, api: Any) -> None:
    cloud = api(lambda endpoint, task_id, earlier: refused("WRONG_CAPTCHA_ID"))
    observer, *_ = await observed(serve, cloud, [{"taskId": 7}])
    (finished,) = observer.finished
    assert finished == {"task": observer.rejected[0]["task"], "outcome": Outcome.REFUSED}


@pytest_twisted.ensureDeferred
async def test_an_observer_that_raises_stops_neither_the_crawl_nor_the_reports(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Raises(Observer):
        def captcha_rejected(self, **delivered: Any) -> None:
            raise RuntimeError("the observer's own fault")

        report_finished = captcha_rejected

    cloud = api()
    crawler = await start_crawl(
        Login,
        {"CAPMONSTER_API_URL": cloud.url},
        url=serve(respond).url,
        metas=[{"taskId": 1}, {"taskId": 2}],
        observer=Raises(),
    )
    assert sorted(task_id for _, task_id in cloud.reports) == [1, 2]
    assert report_stats(crawler)["sent/accepted"] == 2
    assert caplog.text.count("the observer's own fault") >= 4
