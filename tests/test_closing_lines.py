"""What a crawl says at its end: totals, and what was probably not intended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from contexts import context
from misbehaving import hangs
from scrapy.utils.test import get_crawler
from support import crawl
from wired import WRONG, Refused

from scrapy_capmonster_report import accept, captcha_meta, reject
from scrapy_capmonster_report.insight import ClosingHints
from scrapy_capmonster_report.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and ".insight." in record.name
    ]


class Visits(scrapy.Spider):
    """Visits the pages of a site, with a task each.

    Args:
        site: the site.
        pages: the paths.
        task_key: what the tasks are called in ``meta``.
        first: the first of the tasks.
    """

    name = "visits"
    site: str
    pages: list[str]
    task_key = "taskId"
    first = 1

    async def start(self) -> Any:
        for number, page in enumerate(self.pages, self.first):
            yield scrapy.Request(f"{self.site}/{page}?{number}", meta={self.task_key: number})

    def parse(self, response: Any) -> None: ...


WRONG_RULE = {"CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong captcha"}]}


def pages(request: Any) -> str:
    return WRONG if request.path == b"/wrong" else "Welcome"


# -- the totals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "0 checked, 0 passed, 0 rejected"),
        ({"checked": 7, "passed": 7}, "7 checked, 7 passed, 0 rejected"),
        (
            {
                "checked": 120,
                "passed": 111,
                "rejected": 9,
                "withheld/dry_run": 7,
                "withheld/reused": 2,
            },
            "120 checked, 111 passed, 9 rejected: 7 not sent (dry run), 2 withheld (reused)",
        ),
        (
            {
                "checked": 20,
                "passed": 4,
                "rejected": 16,
                "sent/accepted": 5,
                "sent/refused": 3,
                "sent/refused/A": 1,
                "sent/refused/B": 2,
                "sent/retried": 9,
                "withheld/stale": 1,
                "withheld/reused": 2,
                "dropped/expired": 1,
                "kept": 4,
                "rejected/rule/login": 16,
                "resumed": 3,
                "resumed/sent/accepted": 3,
            },
            "20 checked, 4 passed, 16 rejected: 5 reported, "
            "3 refused by CapMonster Cloud (1 A, 2 B), 3 withheld (2 reused, 1 stale), "
            "1 dropped (expired), 4 kept for the next crawl; "
            "3 recovered from earlier crawls: 3 reported",
        ),
        (
            {
                "resumed": 27,
                "resumed/sent/accepted": 2,
                "resumed/sent/refused": 1,
                "resumed/dropped/expired": 19,
                "resumed/kept": 5,
            },
            "0 checked, 0 passed, 0 rejected; 27 recovered from earlier crawls: 2 reported, "
            "1 refused by CapMonster Cloud, 19 dropped (expired), 5 kept for the next crawl",
        ),
    ],
    ids=["nothing", "all passed", "a dry run", "everything", "reports of a crawl that was killed"],
)
def test_the_totals_are_one_line(counts: Mapping[str, int], line: str) -> None:
    stats = Stats(get_crawler())
    for name, count in counts.items():
        stats.count(name, count)
    assert stats.closing_line() == line


# -- what was probably not intended --------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_crawl_as_it_should_be_has_none_of_these_lines(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_RULES": [
            {"domains": "shop.example", "text": "No."},
            {"domains": "127.0.0.1", "text": "Wrong captcha"},
        ],
    }
    await crawl(Visits, settings, site=serve(pages).url, pages=["wrong", "fine", "fine"])
    assert warnings(caplog) == []


@pytest_twisted.ensureDeferred
async def test_no_request_carried_a_task(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The id is in ``meta`` under another name."""
    settings = {"CAPMONSTER_API_URL": api().url, **WRONG_RULE}
    site = serve(pages).url
    await crawl(Visits, settings, site=site, pages=["wrong"], task_key="task_id")
    assert warnings(caplog) == [
        "No request carried a taskId, so no response was checked. Give the request that submits "
        "an answer meta=captcha_meta(task_id, task_type)."
    ]
    caplog.clear()
    await crawl(Visits, settings, site=site, pages=[])
    assert warnings(caplog) == [], "nothing was crawled"


@pytest.mark.parametrize("command", ["fetch", "view", "parse"])
def test_a_look_at_a_page_needs_no_task(command: str, tmp_path: Path) -> None:
    """A spider of the project is for the page's site, or Scrapy takes one of its own."""
    page = tmp_path / "page.html"
    page.write_text("<p>Hello</p>")
    settings = {
        "CAPMONSTER_CLIENT_KEY": "0" * 32,
        "CAPMONSTER_REPORT_RULES": json.dumps(["turnstile"]),
        "DOWNLOADER_MIDDLEWARES": json.dumps(
            {"scrapy_capmonster_report.CapMonsterReportMiddleware": 585}
        ),
    }
    (tmp_path / "scrapy.cfg").write_text("[settings]\ndefault = mine\n")
    (tmp_path / "mine.py").write_text("SPIDER_MODULES = ['mine_too']\n")
    (tmp_path / "mine_too.py").write_text(
        "import scrapy\n"
        "class Mine(scrapy.Spider):\n"
        "    name = 'mine'\n"
        "    def parse(self, response): pass\n"
    )
    options = [f"--set={name}={value}" for name, value in settings.items()]
    spider = [[], ["--spider=mine"]] if command == "fetch" else [["--spider=mine"]]
    for chosen in spider:
        words = [sys.executable, "-m", "scrapy", command, *options, *chosen, page.as_uri()]
        environment = {**os.environ, "BROWSER": "true"}
        ran = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert "Captcha answers: 0 checked" in ran.stderr
        assert "No request carried" not in ran.stderr


@pytest_twisted.ensureDeferred
async def test_the_rules_are_for_other_sites(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"shop{n}.example" for n in range(7)]
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_RULES": [{"domains": names, "text": "Wrong captcha"}],
    }
    await crawl(Visits, settings, site=serve(pages).url, pages=["wrong"])
    assert warnings(caplog) == [
        "No rule is for the sites that responded to answers. The rules are for shop0.example, "
        "shop1.example, shop2.example, shop3.example, shop4.example and 2 more; the responses "
        "came from 127.0.0.1."
    ]


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        ("shop.example", True),
        ("www.shop.example", True),
        ("shop.example.", True),
        ("user:password@SHOP.example:8080", True),
        ("münchen.example", True),
        ("myshop.example", False),
        ("example", False),
        ("[::1", True),  # not a URL: nothing is known of it
    ],
)
def test_a_domain_covers_its_subdomains(
    host: str, is_covered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hints = ClosingHints(context(), {"shop.example", "xn--mnchen-3ya.example"})
    hints.task_seen = True
    hints.checked(scrapy.http.Response(f"https://{host}/login"))
    hints.log()
    assert (warnings(caplog) == []) is is_covered


@pytest_twisted.ensureDeferred
async def test_reports_were_dropped_that_a_setting_would_have_kept(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        "CAPMONSTER_API_URL": misbehave(hangs).url,
        "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 0,
        "CAPMONSTER_REPORT_CONCURRENCY": 1,
        "CAPMONSTER_REPORT_QUEUE_SIZE": 2,
    }
    stats = await crawl(Refused, settings, base=serve(lambda _: WRONG).url, tasks=[1, 2, 3, 4, 5])
    full, shutdown = stats["dropped/queue_full"], stats["dropped/shutdown"]
    assert full + shutdown == 5
    assert warnings(caplog) == [
        f"Reports dropped (queue_full): {full}. A larger CAPMONSTER_REPORT_QUEUE_SIZE lets more "
        "of them wait.",
        f"Reports dropped (shutdown): {shutdown}. A larger CAPMONSTER_REPORT_CLOSE_TIMEOUT gives "
        "them more time; CAPMONSTER_REPORT_LEDGER keeps them.",
    ]


# -- everything was rejected ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "warned"), [(10, [1, 1, 1]), (4, [0, 0, 1])], ids=["10 of 10", "4 of 4"]
)
@pytest_twisted.ensureDeferred
async def test_a_rule_that_matches_everything_is_noticed_by_the_third_short_crawl(
    size: int,
    warned: list[int],
    serve: Any,
    api: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_LEDGER": f"sqlite:{tmp_path / 'ledger.sqlite'}",
        "CAPMONSTER_REPORT_RULES": [{"name": "any", "status": 200}],
    }
    site = serve(pages).url
    found = []
    for number in range(3):
        caplog.clear()
        await crawl(Visits, settings, site=site, pages=["fine"] * size, first=100 * number + 1)
        found.append(len(warnings(caplog)))
    assert found == warned
    assert f"127.0.0.1 rejected each of the last {3 * size} captcha answers." in caplog.text


class Callbacks(scrapy.Spider):
    """Submits each answer inside a browser, say, and sees in its callback what became of it.

    Args:
        accepts: whether it says so of answers that were accepted, too.
    """

    name = "callbacks"
    custom_settings = {"CAPMONSTER_REPORT_RULES": ["callbacks"]}
    site: str
    tasks: range
    accepts: bool

    async def start(self) -> Any:
        for task_id in self.tasks:
            yield scrapy.Request(f"{self.site}/?{task_id}", cb_kwargs={"task_id": task_id})

    def parse(self, response: Any, task_id: int) -> None:
        response.meta.update(captcha_meta(task_id, "TurnstileTask"))
        if task_id % 100 < 42:
            reject(self.crawler, response.request, reason="the browser shows the error")
        elif self.accepts:
            accept(self.crawler, response.request)


@pytest.mark.parametrize("accepts", [False, True], ids=["only reject()", "accept() as well"])
@pytest_twisted.ensureDeferred
async def test_only_a_site_of_which_both_are_counted_has_a_rate(
    accepts: bool, serve: Any, api: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Over several crawls on one ledger; rejections come first, 41 of 99."""
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_LEDGER": f"sqlite:{tmp_path / 'ledger.sqlite'}",
        "CONCURRENT_REQUESTS": 1,
    }
    site = serve(pages).url
    alerts = 0
    for number in range(3):
        tasks = range(100 * number, 100 * number + 100)
        stats = await crawl(Callbacks, settings, site=site, tasks=tasks[1:], accepts=accepts)
        assert stats["rejected"] == stats["sent/accepted"] == 41
        alerts += stats.get("alert/127.0.0.1", 0)
    assert bool(alerts) is accepts
    assert bool(warnings(caplog)) is accepts
    row = (
        "127.0.0.1       99        41   41 %" if accepts else "127.0.0.1       41        41      -"
    )
    assert row in caplog.text
