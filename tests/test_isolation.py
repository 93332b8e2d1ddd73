"""What others get wrong, and what others run beside it. The numbers are the matrix's rows."""

from __future__ import annotations

import copy
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from misbehaving import hangs, refuses, says
from scrapy.statscollectors import MemoryStatsCollector
from support import CLIENT_KEY, crawl, report_stats, start_crawl
from twisted.internet.defer import Deferred, gatherResults
from wired import WRONG, Refused, lines

from scrapy_capmonster_report import signals

# -- row 24: what raises --------------------------------------------------------------------------


class BrokenStats(MemoryStatsCollector):
    """A stats collector that fails whenever this package counts."""

    def inc_value(self, key: str, *args: Any, **kwargs: Any) -> None:
        if key.startswith("capmonster_report/"):
            raise ConnectionError("the statistics are down")
        super().inc_value(key, *args, **kwargs)


class Fragile(Refused):
    """Its callback for the first rule and its handlers of both signals raise."""

    custom_settings = {
        **Refused.custom_settings,
        "CAPMONSTER_REPORT_RULES": [
            {"name": "fragile one", "callback": "raises"},
            {"name": "wrong", "text": "Wrong captcha"},
        ],
    }

    async def start(self) -> Any:
        for signal in (signals.captcha_rejected, signals.report_finished):
            self.crawler.signals.connect(self.handle, signal=signal)
        async for request in super().start():
            yield request

    def raises(self, response: Any, request: Any) -> bool:
        raise ZeroDivisionError("the callback's own fault")

    def handle(self, **delivered: Any) -> None:
        raise RuntimeError("the handler's own fault")


@pytest_twisted.ensureDeferred
async def test_a_callback_and_handlers_that_raise_break_neither_crawl_nor_reports(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 24."""
    server = misbehave(says())
    crawler = await start_crawl(
        Fragile,
        {"CAPMONSTER_API_URL": server.url},
        base=serve(lambda _: WRONG).url,
        tasks=[*"1234"],
    )
    stats = report_stats(crawler)
    assert crawler.spider.parsed == 4
    assert sorted(server.task_ids()) == [1, 2, 3, 4]
    assert stats["sent/accepted"] == stats["rule_error/fragile one"] == 4
    [error] = lines(caplog, logging.ERROR)
    assert "'fragile one'" in error
    assert caplog.text.count("ZeroDivisionError: the callback's own fault") == 1
    assert caplog.text.count("RuntimeError: the handler's own fault") == 8


@pytest_twisted.ensureDeferred
async def test_a_stats_collector_that_raises_breaks_neither_crawl_nor_reports(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 24: the totals are in the log all the same."""
    server = misbehave(says())
    crawler = await start_crawl(
        Refused,
        # One by one: if the second "1" were answered first, it would be withheld as "reused".
        {
            "CAPMONSTER_API_URL": server.url,
            "STATS_CLASS": BrokenStats,
            "CONCURRENT_REQUESTS": 1,
        },
        base=serve(lambda _: WRONG).url,
        tasks=[*"1234", "1"],
    )
    assert crawler.spider.parsed == 5
    assert sorted(server.task_ids()) == [1, 2, 3, 4]
    [error] = lines(caplog, logging.ERROR)
    assert "stats collector failed" in error
    assert lines(caplog, logging.INFO)[-1] == (
        "Captcha answers: 5 checked, 0 passed, 5 rejected: 4 reported, 1 withheld (duplicate)"
    )


# -- row 26: several crawlers in one process ------------------------------------------------------


def module_state() -> dict[tuple[str, str], Any]:
    """Everything that can change in the modules of this package."""
    return {
        (name, attribute): copy.copy(value)
        for name, module in sys.modules.items()
        if name.startswith("scrapy_capmonster_report")
        for attribute, value in vars(module).items()
        if isinstance(value, (list, dict, set)) and not attribute.startswith("__")
    }


@pytest_twisted.ensureDeferred
async def test_two_crawlers_at_once_share_nothing(serve: Any, misbehave: Any) -> None:
    """Row 26: not the key, the tasks, the breaker, the queue, nor the stats."""
    site = serve(lambda _: WRONG)
    banned, fine = misbehave(refuses("ERROR_KEY_DOES_NOT_EXIST")), misbehave(says())
    crawls = [
        Deferred.fromCoroutine(
            crawl(
                Refused,
                {"CAPMONSTER_API_URL": server.url, "CAPMONSTER_CLIENT_KEY": key},
                base=site.url,
                tasks=range(1, 41),
            )
        )
        for server, key in [(banned, "another-key"), (fine, CLIENT_KEY)]
    ]
    stopped, went_on = await gatherResults(crawls)
    assert {arrival.client_key for arrival in banned.arrivals} == {"another-key"}
    assert {arrival.client_key for arrival in fine.arrivals} == {CLIENT_KEY}
    assert sorted(fine.task_ids()) == [*range(1, 41)]
    assert went_on["sent/accepted"] == 40
    assert stopped["sent/refused"] + stopped.get("dropped/breaker", 0) == 40


@pytest_twisted.ensureDeferred
async def test_one_crawler_after_the_other_begins_anew(serve: Any, misbehave: Any) -> None:
    """Row 26: of a wrong key, a full queue and the tasks of one crawl the next knows nothing."""
    site = serve(lambda _: WRONG)
    await crawl(Refused, {"CAPMONSTER_API_URL": misbehave().url}, base=site.url, tasks=[])
    before = module_state()
    for behave in (refuses("ERROR_KEY_DOES_NOT_EXIST"), hangs, says()):
        server = misbehave(behave)
        stats = await crawl(
            Refused,
            {
                "CAPMONSTER_API_URL": server.url,
                "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 1,
                "CAPMONSTER_REPORT_CONCURRENCY": 2,
            },
            base=site.url,
            tasks=[1, 2],
        )
        assert server.task_ids(), "the crawl before kept this one from sending"
    assert stats["sent/accepted"] == 2
    assert module_state() == before


# -- row 27: without a reactor --------------------------------------------------------------------

WITHOUT_A_REACTOR = """
import scrapy

try:
    from scrapy.crawler import AsyncCrawlerProcess as Process
except ImportError:  # Scrapy 2.13
    from scrapy.crawler import CrawlerProcess as Process

class Refused(scrapy.Spider):
    name = "refused"

    async def start(self):
        yield scrapy.Request("data:,Wrong captcha", meta={"taskId": 1})

    def parse(self, response):
        print("parsed:", response.text)

process = Process({
    "ADDONS": {"scrapy_capmonster_report.Addon": 500},
    "CAPMONSTER_CLIENT_KEY": "a key",
    "CAPMONSTER_REPORT_RULES": [{"text": "Wrong captcha"}],
    "TWISTED_REACTOR_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
})
process.crawl(Refused)
process.start()
"""


def test_without_a_reactor_it_says_why_it_is_off_and_the_crawl_runs() -> None:
    """Row 27. A Scrapy that does not know the setting has a reactor; the answer is the same."""
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_A_REACTOR],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.stdout == "parsed: Wrong captcha\n"
    assert "reports are sent through Twisted, and TWISTED_REACTOR_ENABLED is False" in child.stderr
    assert "Traceback" not in child.stderr
    assert child.returncode == 0


# -- a script that fails before the reactor runs --------------------------------------------------

FAILS_EARLY = """
import sys

from scrapy.crawler import CrawlerProcess
from wired import Refused

reactor, ledger = sys.argv[1:]
process = CrawlerProcess({
    "ADDONS": {"scrapy_capmonster_report.Addon": 500},
    "CAPMONSTER_CLIENT_KEY": "a key",
    "CAPMONSTER_REPORT_LEDGER": ledger,
    "TELNETCONSOLE_ENABLED": False,
    "TWISTED_REACTOR": reactor,
})
process.crawl(Refused, base="http://127.0.0.1:9", tasks=[])
raise KeyboardInterrupt
"""


@pytest.mark.parametrize(
    "reactor",
    [
        "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
        "twisted.internet.selectreactor.SelectReactor",
    ],
    ids=["asyncio", "select"],
)
def test_a_script_that_fails_before_the_reactor_runs_ends(reactor: str, tmp_path: Path) -> None:
    """Without asyncio a crawl begins at once, and the thread of its ledger waited for ever."""
    child = subprocess.run(
        [sys.executable, "-c", FAILS_EARLY, reactor, f"sqlite:{tmp_path / 'ledger.sqlite'}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parent,
    )
    assert child.stderr.endswith("KeyboardInterrupt\n")


# -- what the user gets wrong ---------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"txt": "x"}, ["'txt'", "'text'"]),
        ({"text": "("}, ["'text'", "'('"]),
        ({"url": ["fine", "["]}, ["'url'", "'['"]),
        ({"headers": {"x": "("}}, ["'headers.x'", "'('"]),
        ({"css": "p["}, ["'css'", "'p['"]),
        ({"xpath": "//p["}, ["'xpath'", "'//p['"]),
        ({"jmespath": "a["}, ["'jmespath'", "'a['"]),
        ({"status": 99}, ["'status'", "99"]),
        ({"status": "4x"}, ["'status'", "'4x'"]),
        ({"text": "x", "kind": "tokn"}, ["'kind'", "'tokn'", "'token'"]),
        ({"callback": "is_refusd"}, ["'callback'", "'is_refusd'"]),
        ({"name": "empty"}, ["'empty'", "condition"]),
        ({"text": "x", "unless": {"txt": "y"}}, ["'unless.txt'", "'text'"]),
        ("captcha-error-redirct", ["captcha-error-redirct"]),
    ],
)
async def test_a_mistake_in_a_rule_stops_the_crawl_before_it_starts(
    rule: Any, words: list[str], serve: Any, misbehave: Any
) -> None:
    visited: list[Any] = []
    site = serve(lambda request: visited.append(request) or WRONG)
    settings = {
        "CAPMONSTER_API_URL": misbehave().url,
        "CAPMONSTER_REPORT_RULES": [{"name": "fine", "text": "x"}, rule],
    }

    class Mistaken(Refused):
        custom_settings = None

    with pytest.raises((ValueError, AttributeError)) as raised:
        await start_crawl(Mistaken, settings, base=site.url, tasks=[1])
    # Scrapy 2.13 stumbles over its half-made engine, but shows why that is only half made.
    error = raised.value if isinstance(raised.value, ValueError) else raised.value.__context__
    assert isinstance(error, ValueError)
    text = str(error)
    assert "CAPMONSTER_REPORT_RULES" in text
    assert [word for word in words if word not in text] == [], text
    assert visited == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CAPMONSTER_CLIENT_KEY": None}, "Set CAPMONSTER_CLIENT_KEY"),
        ({"CAPMONSTER_CLIENT_KEY": " "}, "Set CAPMONSTER_CLIENT_KEY"),
        ({"CAPMONSTER_REPORT_RULES": []}, "CAPMONSTER_REPORT_RULES is empty"),
        ({"CAPMONSTER_REPORT_RULES": "[]"}, "CAPMONSTER_REPORT_RULES is empty"),
        ({"CAPMONSTER_REPORT_ENABLED": False}, "CAPMONSTER_REPORT_ENABLED is False"),
    ],
)
async def test_with_nothing_to_work_with_it_says_so_and_the_crawl_runs(
    settings: dict[str, Any],
    words: str,
    serve: Any,
    misbehave: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("CAPMONSTER_CLIENT_KEY", raising=False)
    server = misbehave(says())

    class Unequipped(Refused):
        custom_settings: Any = {**Refused.custom_settings, **settings}

    crawler = await start_crawl(
        Unequipped,
        {"CAPMONSTER_API_URL": server.url},
        base=serve(lambda _: WRONG).url,
        tasks=[1, 2, 3],
    )
    assert crawler.spider.parsed == 3
    assert server.accepted == 0
    [disabled] = [record for record in caplog.records if words in record.getMessage()]
    assert disabled.levelno == logging.WARNING
    assert report_stats(crawler) == {}
