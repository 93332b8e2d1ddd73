"""What must not grow, counted in operations and bytes: seconds depend on the machine.

That rules are not asked, and pages not parsed, more than needed is in ``test_rules.py`` too, from
nearer by.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import time
import tracemalloc
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from scrapy.http import HtmlResponse
from support import start_crawl
from twisted.internet.error import ConnectionLost
from twisted.web.server import NOT_DONE_YET

from scrapy_capmonster_report import CapMonsterReportMiddleware
from scrapy_capmonster_report.commands.pages import PageReader
from scrapy_capmonster_report.commands.sources import Source
from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.rules.presets.answers import sayings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scrapy_capmonster_report.rules import Rules

URL = "https://shop.example/login"
PAGE = b"<html><head><title>Welcome</title></head><body><p>Hello</p></body></html>"
HANDED_OVER = 31


class Inside(scrapy.Spider):
    """Asks *measure* while a crawl is on."""

    name = "inside"
    measure: Callable[[CapMonsterReportMiddleware], Any]

    async def start(self) -> Any:
        middleware = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        assert middleware is not None
        self.measured = self.measure(middleware)
        for request in ():
            yield request


async def inside(measure: Callable[[CapMonsterReportMiddleware], Any], **settings: Any) -> Any:
    """What *measure* says of the middleware of a crawl."""
    settings = {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong"}], **settings}
    settings["CAPMONSTER_REPORT_CLOSE_TIMEOUT"] = 0
    crawler = await start_crawl(Inside, settings, measure=measure)
    return crawler.spider.measured


def submitted(middleware: CapMonsterReportMiddleware, task_id: int) -> scrapy.Request:
    """A request with the answer of a task, as it is when its response comes."""
    request = scrapy.Request(URL, meta={"taskId": task_id})
    middleware._request_reached_downloader(request)
    return request


def calls(function: Callable[..., object], *args: object) -> Counter[str]:
    """Every function that is called, those in C included, and how often."""
    called: Counter[str] = Counter()

    def count(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            called[frame.f_code.co_name] += 1
        elif event == "c_call":
            called[arg.__name__] += 1

    gc.disable()  # finalizers of what other tests left would count
    sys.setprofile(count)
    try:
        function(*args)
    finally:
        sys.setprofile(None)
        gc.enable()
    return called


def peak(function: Callable[..., object], *args: object) -> int:
    """The bytes that are allocated at once, at most."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        function(*args)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def on_a_response(middleware: CapMonsterReportMiddleware) -> Counter[str]:
    """What is called for a response of a site that was seen before."""
    for task_id in (1, 2):
        response = HtmlResponse(URL, body=PAGE, encoding="utf-8")
        request = submitted(middleware, task_id)
        called = calls(middleware.process_response, request, response)
    return called


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"domains": "other.example"}, id="site"),
        pytest.param({"status": [403, "5xx"]}, id="status"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_rules_for_another_site_or_status_cost_no_operation(others: dict[str, Any]) -> None:
    mine = {"domains": "shop.example", "text": "Wrong"}
    theirs = {**others, "text": "Wrong", "css": ".wrong", "url": "wrong"}
    few = await inside(on_a_response, CAPMONSTER_REPORT_RULES=[mine, theirs])
    many = await inside(on_a_response, CAPMONSTER_REPORT_RULES=[mine, *[theirs] * 1000])
    assert many == few
    assert few["holds"] == 1


@pytest_twisted.ensureDeferred
async def test_a_page_is_decoded_and_parsed_once_however_many_rules_look_at_it() -> None:
    rules = [{"text": "Wrong"}, {"css": ".wrong"}, {"xpath": "//wrong"}, {"jmespath": "wrong"}]
    called = await inside(on_a_response, CAPMONSTER_REPORT_RULES=rules * 100)
    assert called["search"] >= 100
    assert called["_selects"] == 200
    assert called["html_to_unicode"] == 1  # w3lib's, which decodes
    assert called["create_root_node"] == 1  # parsel's, which parses
    assert called["raw_decode"] == 0


FORM = '<form method="post"><img src="/captcha.php"><input name="captcha">{}</form>'
WRONG = '<div class="error"><p>The captcha number {} is incorrect.</p></div>'
HOSTILE: dict[str, Callable[[int], str]] = {
    "errors that say it": lambda n: FORM.format("".join(WRONG.format(i) for i in range(n))),
    "errors, and forms without a picture": lambda n: (
        FORM.format("") + "".join(WRONG.format(i) + "<form><input></form>" for i in range(n))
    ),
    "texts below nested errors": lambda n: (
        '<div class="error">' * 200 + "<p>Invalid captcha</p>" * n + FORM
    ),
    "errors that say nothing of it": lambda n: '<p class="error">No such page</p>' * n + FORM,
    "elements that are no errors": lambda n: '<p class="text">Wrong captcha</p>' * n + FORM,
    "quotations": lambda n: '<div class="error">' + "<q>Wrong</q> <em>captcha</em>" * n + FORM,
    "one long error": lambda n: '<div class="error">' + "wrong captcha not correct " * n + FORM,
    "pictures and fields": lambda n: '<img src="captcha.png"><input name="captcha">' * n,
    "scripts": lambda n: "<script>alert('Wrong captcha');history.back()</script>" * n,
    "JSON": lambda n: json.dumps({"errors": [{"message": f"Wrong captcha {i}"} for i in range(n)]}),
    "nested JSON": lambda n: '{"error":' * 50 + json.dumps(["Wrong captcha"] * n) + "}" * 50,
    "a few hundred errors, and the cause of them": lambda n: FORM.format(
        "".join(WRONG.format(i) for i in range(n // 5)) + '<p class="error">It has expired</p>'
    ),
    "a long message in JSON": lambda n: json.dumps({"error": "Wrong captcha, not correct. " * n}),
    "an unfinished call": lambda n: "cb({" + '"a":1,' * n,
}
"""Pages that a site may send, for any number of what they are made of."""


def cost(rules: Rules, body: str) -> int:
    """The functions that judging a page calls."""
    response = HtmlResponse(URL, body=body.encode(), encoding="utf-8")
    request = scrapy.Request(URL, method="POST")
    return calls(lambda: rules.match(response, request, on_error=lambda *_: None)).total()


@pytest.mark.parametrize("name", PRESETS)
def test_no_preset_costs_more_than_its_share_of_a_page(name: str) -> None:
    rules = compile_rules([name])
    rules.match(HtmlResponse(URL, body=b"<p>"), scrapy.Request(URL), on_error=lambda *_: None)
    for kind, build in HOSTILE.items():
        few, many = cost(rules, build(400)), cost(rules, build(800))
        assert many <= 2.1 * few + 100, kind


@pytest.mark.parametrize(
    "body",
    [
        " " * 20_000 + "<p>Wrong captcha",
        "<p>Wrong captcha<script>" + " " * 20_000 + "Wrong captcha</script>",
        json.dumps({"error": "<a" * 100_000}),
        '<p class="error">' + f"<b>{'“' * 1000}</b>" * 120,
    ],
    ids=["white space", "white space in a script", "tags that never end", "open quotations"],
)
def test_a_page_that_is_made_to_be_slow_is_not(body: str) -> None:
    """With the regexes that first come to mind, each of these takes ten seconds and more."""
    rules = compile_rules([*PRESETS, {"jmespath": "error"}])
    response = HtmlResponse(URL, body=body.encode(), encoding="utf-8")
    began = time.process_time()
    rules.match(response, scrapy.Request(URL, method="POST"), on_error=lambda *_: None)
    assert time.process_time() - began < 2


def test_json_with_many_members_that_may_hold_errors_is_not_read_to_its_end() -> None:
    members: dict[str, Any] = {}
    for _ in range(3):
        members = {f"error{number}": members for number in range(38)}
    assert cost(compile_rules(["json-captcha-error"]), json.dumps(members)) < 500_000


def test_a_member_that_may_name_a_field_is_not_written_out_as_a_text_of_its_size() -> None:
    document: dict[str, Any] = {"path": [[0.5] * 10] * 20_000}
    for _ in range(10):
        document = {"path": document, "error": "Wrong captcha"}
    assert peak(sayings, document) < 200_000


@pytest.mark.parametrize(
    "build", ['<p class="{} error">Wrong captcha', '{{"{}error": "Wrong captcha"}}']
)
def test_only_the_beginning_of_a_name_is_looked_at(build: str) -> None:
    rules = compile_rules(["token-captcha-again", "json-captcha-error"])
    request = scrapy.Request(URL, method="POST")
    for length, expected in ((1000, True), (20_000, False)):
        response = HtmlResponse(URL, body=build.format("x" * length).encode(), encoding="utf-8")
        rule = rules.match(response, request, on_error=lambda *_: None)
        assert (rule is not None) is expected


@pytest.mark.parametrize("is_durable", [False, True], ids=["memory", "sqlite"])
@pytest_twisted.ensureDeferred
async def test_handing_over_costs_the_same_however_long_the_queue(
    is_durable: bool, api: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)  # what pytest keeps of the log does grow
    task_ids = iter(range(1, 100_000))

    def cost(middleware: CapMonsterReportMiddleware, queued: int) -> tuple[float, float]:
        """The calls of handing one over, and the bytes, when so many are queued."""
        while (task_id := next(task_ids)) <= queued:
            middleware.reject(submitted(middleware, task_id))
        requests = [submitted(middleware, next(task_ids)) for _ in range(2 * HANDED_OVER)]
        gc.collect()  # which empties Python's free lists, or they would hide what is allocated
        # Once in a while a dict grows, and that is spread over all that it then has room for.
        return (
            median(calls(middleware.reject, r).total() for r in requests[:HANDED_OVER]),
            median(peak(middleware.reject, r) for r in requests[HANDED_OVER:]),
        )

    (few_calls, few_bytes), (many_calls, many_bytes) = await inside(
        lambda middleware: [cost(middleware, queued) for queued in (1_000, 9_000)],
        CAPMONSTER_API_URL=api(lambda *_: NOT_DONE_YET).url,
        CAPMONSTER_REPORT_LEDGER=f"sqlite:{tmp_path / 'ledger'}" if is_durable else "",
    )
    assert many_calls == few_calls
    assert many_bytes <= few_bytes + 200  # a longer number here and there


@pytest_twisted.ensureDeferred
async def test_the_name_that_was_meant_by_an_unknown_task_type_is_looked_for_once() -> None:
    def cost(middleware: CapMonsterReportMiddleware) -> list[Counter[str]]:
        requests = [
            scrapy.Request(URL, meta={"taskId": task_id, "taskType": "NewTask"})
            for task_id in (1, 2)
        ]
        return [calls(middleware._request_scheduled, request) for request in requests]

    first, second = await inside(cost)
    assert first["get_close_matches"] == 1
    assert second["get_close_matches"] == 0


@pytest_twisted.ensureDeferred
async def test_an_answer_that_goes_along_with_every_request_does_not_slow_the_crawl_down() -> None:
    """Its first attempt broke off, so when that was sent will never be known."""

    def cost(middleware: CapMonsterReportMiddleware) -> list[int]:
        middleware.process_exception(submitted(middleware, 1), ConnectionLost())
        response = HtmlResponse(URL, body=PAGE, encoding="utf-8")
        for _ in range(2_000):
            middleware.process_response(submitted(middleware, 1), response)
        requests = [submitted(middleware, task_id) for task_id in (1, 2)]
        return [calls(middleware.process_response, r, response).total() for r in requests]

    shared, own = await inside(cost)
    assert shared <= own


def test_reading_a_folder_of_saved_pages_costs_in_proportion_to_their_number(
    tmp_path: Path,
) -> None:
    def read(folder: Path) -> None:
        source = Source(folder, PageReader())
        assert (len([*source]), source.skipped) == (len([*folder.iterdir()]), [])

    totals = []
    for pages in (100, 200):
        folder = tmp_path / str(pages)
        folder.mkdir()
        for number in range(pages):
            (folder / f"{number}.html").write_text("<p>Welcome</p>")
        read(folder)
        totals.append(calls(read, folder).total())
    assert totals[1] <= 2.1 * totals[0]
