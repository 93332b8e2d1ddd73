"""Crawls that end early, go on later, or run side by side: nothing is lost, nothing sent twice."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from crawl_in_child import Submits
from redis_worker import TO_SUBMIT
from scrapy.utils.defer import maybe_deferred_to_future
from support import accepted, crawl, refused, report_stats, start_crawl
from twisted.internet.defer import Deferred
from twisted.web.server import NOT_DONE_YET
from wired import until

from scrapy_capmonster_report.ledger import PENDING, dry_run_ledger, read_history

if TYPE_CHECKING:
    from pathlib import Path

RULES = {"CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong"}]}


@pytest.fixture(params=["sqlite", "redis"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The value of ``CAPMONSTER_REPORT_LEDGER`` for each backend that outlives a crawl."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'ledger.sqlite'}"
    return request.getfixturevalue("redis_server").url


def refuses(request: Any) -> str:
    return "<p>Wrong captcha</p>"


def takes(request: Any) -> str:
    return "<p>Welcome</p>"


def statuses(ledger: str) -> Counter[str]:
    """What the history in *ledger* says became of the tasks."""
    found: Counter[str] = Counter()
    for count in read_history(ledger).counts:
        found[count.status] += count.tasks
    return found


def ids(reports: list[tuple[str, Any]]) -> list[int]:
    return [task_id for _, task_id in reports]


def until_silent(answers: int) -> Any:
    """A service that takes so many reports, and then takes requests and says nothing."""
    return lambda endpoint, task_id, earlier: accepted() if earlier < answers else NOT_DONE_YET


async def until_written(ledger: str, **expected: int) -> None:
    """Wait until the history in *ledger* is as expected."""

    def is_written() -> bool:
        try:
            return statuses(ledger) == expected
        except ValueError:  # there is no ledger yet
            return False

    await until(is_written)


def let_time_pass(ledger: str, request: pytest.FixtureRequest) -> None:
    """As if so much time had passed that a dead worker is known to be dead."""
    if ledger.startswith("redis:"):
        server = request.getfixturevalue("redis_server").client
        for key in server.scan_iter("*alive:*"):
            server.delete(key)


# -- row 22: a crawl that was killed ---------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_what_a_killed_crawl_had_not_sent_the_next_one_sends_once(
    ledger: str, serve: Any, api: Any, child_crawl: Any, request: pytest.FixtureRequest
) -> None:
    """The service takes ten reports and then falls silent; ``kill -9``; the next crawl."""
    site, silent, cloud = serve(refuses), api(until_silent(10)), api()
    settings = {
        **RULES,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        "CAPMONSTER_REPORT_CONCURRENCY": 4,
        "CAPMONSTER_REPORT_TIMEOUT": 60,
    }
    killed = child_crawl(site.url, range(1, 61), {**settings, "CAPMONSTER_API_URL": silent.url})
    await until_written(ledger, **{"sent/accepted": 10, PENDING: 50})
    killed.kill()
    let_time_pass(ledger, request)
    settings["CAPMONSTER_API_URL"] = cloud.url
    stats = await crawl(Submits, settings, site=site.url, task_ids=range(1, 61))
    assert sorted(ids(cloud.reports)) == sorted({*range(1, 61)} - {*ids(silent.reports)[:10]})
    assert stats["resumed"] == stats["resumed/sent/accepted"] == 50
    assert stats["rejected"] == stats["withheld/duplicate"] == 60
    assert statuses(ledger) == {"sent/accepted": 60}


@pytest_twisted.ensureDeferred
async def test_a_kill_in_the_middle_of_a_crawl_loses_no_rejection_older_than_two_seconds(
    serve: Any, api: Any, child_crawl: Any, tmp_path: Path
) -> None:
    path, silent = tmp_path / "ledger.sqlite", api(until_silent(0))
    settings = {
        **RULES,
        "CAPMONSTER_REPORT_LEDGER": f"sqlite:{path}",
        "CAPMONSTER_API_URL": silent.url,
        "DOWNLOAD_DELAY": 0.01,
        "LOG_FORMAT": "%(created)f %(message)s",
    }
    killed = child_crawl(serve(refuses).url, range(1, 10_001), settings)

    def rejected() -> dict[int, float]:
        """When the crawl found each rejection."""
        found = re.findall(r"(?m)^([\d.]+) Answer of task (\d+) rejected", killed.log)
        return {int(task_id): float(at) for at, task_id in found}

    def old() -> set[int]:
        """What was rejected two seconds before the last sign of life, or earlier."""
        found = rejected()
        return {task_id for task_id, at in found.items() if max(found.values()) - at > 2.0}

    await until(lambda: len(old()) > 50)
    killed.kill()
    with closing(sqlite3.connect(path)) as database:
        kept = {task_id for (task_id,) in database.execute("SELECT id FROM task WHERE owner <> ''")}
    assert old() <= kept


@pytest_twisted.ensureDeferred
async def test_what_a_killed_crawl_left_for_too_long_is_marked_as_expired(
    ledger: str,
    serve: Any,
    api: Any,
    child_crawl: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, silent, cloud = serve(refuses), api(until_silent(0)), api()
    settings = {**RULES, "CAPMONSTER_REPORT_LEDGER": ledger}
    killed = child_crawl(site.url, range(1, 31), {**settings, "CAPMONSTER_API_URL": silent.url})
    await until_written(ledger, **{PENDING: 30})
    killed.kill()
    let_time_pass(ledger, request)
    later = SimpleNamespace(time=lambda: time.time() + 301, monotonic=time.monotonic)
    monkeypatch.setattr("scrapy_capmonster_report.clock.time", later)
    settings["CAPMONSTER_API_URL"] = cloud.url
    stats = await crawl(Submits, settings, site=site.url, task_ids=[])
    assert cloud.reports == []
    assert stats == {"resumed": 30, "resumed/dropped/expired": 30}
    assert statuses(ledger) == {"dropped/expired": 30}


@pytest_twisted.ensureDeferred
async def test_a_second_ctrl_c_loses_nothing_that_the_ledger_holds(
    ledger: str, serve: Any, api: Any, child_crawl: Any, request: pytest.FixtureRequest
) -> None:
    site, silent, cloud = serve(refuses), api(until_silent(0)), api()
    settings = {**RULES, "CAPMONSTER_REPORT_LEDGER": ledger}
    stopped = child_crawl(site.url, range(1, 41), {**settings, "CAPMONSTER_API_URL": silent.url})
    await until_written(ledger, **{PENDING: 40})
    stopped.process.send_signal(signal.SIGINT)
    await until(lambda: "Received SIGINT, shutting down gracefully" in stopped.log)
    stopped.process.send_signal(signal.SIGINT)
    await until(lambda: stopped.process.poll() is not None)
    let_time_pass(ledger, request)
    settings["CAPMONSTER_API_URL"] = cloud.url
    stats = await crawl(Submits, settings, site=site.url, task_ids=[])
    assert sorted(ids(cloud.reports)) == [*range(1, 41)]
    assert stats == {"resumed": 40, "resumed/sent/accepted": 40}


@pytest_twisted.ensureDeferred
async def test_what_closing_had_no_time_for_is_kept_and_sent_by_the_next_crawl(
    ledger: str, serve: Any, api: Any
) -> None:
    site, silent, cloud = serve(refuses), api(until_silent(5)), api()
    settings = {
        **RULES,
        "CAPMONSTER_API_URL": silent.url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        "CAPMONSTER_REPORT_CONCURRENCY": 1,
        "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 2,
    }
    stats = await crawl(Submits, settings, site=site.url, task_ids=range(1, 21))
    assert (stats["sent/accepted"], stats["kept"]) == (5, 15)
    settings.update(CAPMONSTER_API_URL=cloud.url, CAPMONSTER_REPORT_CLOSE_TIMEOUT=30)
    stats = await crawl(Submits, settings, site=site.url, task_ids=[21])
    assert len(cloud.reports) == 16
    assert {*ids(cloud.reports)} == {*range(1, 22)} - {*ids(silent.reports)[:5]}
    assert stats["resumed/sent/accepted"] == 15
    assert (stats["rejected"], stats["sent/accepted"]) == (1, 1)


# -- the next crawl may meet what stopped the last one ---------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_ban_is_not_met_again_by_what_it_stopped(ledger: str, serve: Any, api: Any) -> None:
    """Ten minutes of silence is longer than reports live: they are kept for nobody."""
    site, banned = serve(refuses), api(lambda *_: refused("ERROR_IP_BANNED"))
    settings = {
        **RULES,
        "CAPMONSTER_API_URL": banned.url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        "CAPMONSTER_REPORT_CONCURRENCY": 2,
    }
    stats = await crawl(Submits, settings, site=site.url, task_ids=range(1, 41))
    assert 1 <= len(banned.reports) <= 2
    assert stats["sent/refused"] == len(banned.reports)
    assert stats["dropped/breaker"] == 40 - len(banned.reports)
    sent = len(banned.reports)
    assert await crawl(Submits, settings, site=site.url, task_ids=[]) == {}
    assert len(banned.reports) == sent


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("code", ["ERROR_KEY_DOES_NOT_EXIST", "ERROR_IP_BANNED"])
async def test_what_was_left_is_tried_with_one_report_before_the_others_follow(
    code: str, ledger: str, serve: Any, api: Any
) -> None:
    """Reports that outlive the ban, or for which the user may have mended the key by now."""
    site, unwilling, cloud = serve(refuses), api(lambda *_: refused(code)), api()
    settings = {
        **RULES,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        "CAPMONSTER_REPORT_MAX_AGE": 3600,
        "CAPMONSTER_API_URL": unwilling.url,
        "CAPMONSTER_REPORT_CONCURRENCY": 1,
    }
    stats = await crawl(Submits, settings, site=site.url, task_ids=range(1, 41))
    assert stats["kept"] == 39
    settings["CAPMONSTER_REPORT_CONCURRENCY"] = 16
    for left in (38, 37):
        stats = await crawl(Submits, settings, site=site.url, task_ids=[])
        assert stats["resumed/sent/refused"] == 1
        assert stats["resumed/kept"] == left
    assert len(unwilling.reports) == 3
    settings["CAPMONSTER_API_URL"] = cloud.url
    stats = await crawl(Submits, settings, site=site.url, task_ids=[])
    assert stats["resumed/sent/accepted"] == len(cloud.reports) == 37


# -- what earlier crawls know ----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_task_that_passed_in_an_earlier_crawl_is_not_reported_by_a_later_one(
    ledger: str, serve: Any, api: Any
) -> None:
    cloud = api()
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_LEDGER": ledger}
    await crawl(Submits, settings, site=serve(takes).url, task_ids=[1, 2])
    stats = await crawl(Submits, settings, site=serve(refuses).url, task_ids=[2, 3])
    assert ids(cloud.reports) == [3]
    assert stats["withheld/reused"] == 1
    assert statuses(ledger) == {"passed": 2, "sent/accepted": 1}


@pytest_twisted.ensureDeferred
async def test_a_crawl_with_a_job_dir_keeps_its_ledger_there(
    serve: Any, api: Any, tmp_path: Path
) -> None:
    site, cloud = serve(refuses), api()
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "JOBDIR": str(tmp_path / "job")}
    await crawl(Submits, settings, site=site.url, task_ids=[1])
    settings["JOBDIR"] = str(tmp_path / "job")
    stats = await crawl(Submits, settings, site=f"{site.url}/again", task_ids=[1, 2])
    assert sorted(ids(cloud.reports)) == [1, 2]
    assert stats["withheld/duplicate"] == 1
    assert statuses(str(tmp_path / "job" / "capmonster_report.sqlite")) == {"sent/accepted": 2}


@pytest_twisted.ensureDeferred
async def test_a_dry_run_leaves_nothing_that_would_keep_a_later_crawl_from_reporting(
    ledger: str, serve: Any, api: Any
) -> None:
    site, cloud = serve(refuses), api()
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_LEDGER": ledger}
    dry = {**settings, "CAPMONSTER_REPORT_DRY_RUN": True}
    stats = await crawl(Submits, dry, site=site.url, task_ids=[1])
    assert stats["withheld/dry_run"] == 1
    assert statuses(dry_run_ledger(ledger)) == {"withheld/dry_run": 1}
    await crawl(Submits, settings, site=site.url, task_ids=[1])
    assert ids(cloud.reports) == [1]
    assert statuses(ledger) == {"sent/accepted": 1}
    assert statuses(dry_run_ledger(ledger)) == {"withheld/dry_run": 1}


class Waits(Submits):
    """Goes on until it may end."""

    may_end: Deferred[None]

    async def start(self) -> Any:
        async for request in super().start():
            yield request
        await maybe_deferred_to_future(self.may_end)


# -- crawls side by side ---------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_two_crawls_on_one_ledger_report_each_task_once(
    ledger: str, serve: Any, api: Any, child_crawl: Any
) -> None:
    site, cloud = serve(refuses), api()
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_LEDGER": ledger}
    children = [child_crawl(site.url, range(1, 151), settings) for _ in range(2)]
    both = [await child.stats() for child in children]
    assert sorted(ids(cloud.reports)) == [*range(1, 151)]
    assert sum(stats.get("sent/accepted", 0) for stats in both) == 150
    # Which of the two it is depends on whether the other's claim was there yet, or only its use.
    others = ("withheld/duplicate", "withheld/reused")
    assert sum(stats.get(name, 0) for stats in both for name in others) == 150
    assert statuses(ledger) == {"sent/accepted": 150}


@pytest_twisted.ensureDeferred
async def test_crawlers_of_one_process_share_a_ledger_and_leave_each_other_what_they_keep(
    ledger: str, serve: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapy_capmonster_report.ledger.buffered.RECOVER_SECONDS", 2)
    site, silent, cloud = serve(refuses), api(until_silent(5)), api()
    settings = {**RULES, "CAPMONSTER_REPORT_LEDGER": ledger, "CAPMONSTER_API_URL": cloud.url}
    may_end: Deferred[None] = Deferred()
    goes_on = start_crawl(Waits, settings, site=site.url, task_ids=range(101, 111), may_end=may_end)
    crawling = Deferred.fromCoroutine(goes_on)
    await until(lambda: len(cloud.reports) == 10)
    settings |= {
        "CAPMONSTER_API_URL": silent.url,
        "CAPMONSTER_REPORT_CONCURRENCY": 1,
        "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 2,
    }
    stats = await crawl(Submits, settings, site=site.url, task_ids=range(1, 111))
    assert stats["withheld/duplicate"] == 10
    kept = {*range(1, 101)} - {*ids(silent.reports)[:5]}
    assert stats["kept"] == len(kept)
    await until(lambda: len(cloud.reports) == 10 + len(kept))
    may_end.callback(None)
    stats = report_stats(await crawling)
    assert sorted(ids(cloud.reports)) == sorted({*kept, *range(101, 111)})
    assert stats["resumed/sent/accepted"] == len(kept)
    assert statuses(ledger) == {"sent/accepted": 110}


@pytest_twisted.ensureDeferred
async def test_a_crawl_sends_what_another_one_left_that_died_beside_it(
    ledger: str,
    serve: Any,
    api: Any,
    child_crawl: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, silent, cloud = serve(refuses), api(until_silent(0)), api()
    settings = {**RULES, "CAPMONSTER_REPORT_LEDGER": ledger}
    dies = child_crawl(site.url, range(1, 31), {**settings, "CAPMONSTER_API_URL": silent.url})
    await until_written(ledger, **{PENDING: 30})
    # It begins beside the living one, and looks again before long.
    monkeypatch.setattr("scrapy_capmonster_report.ledger.buffered.RECOVER_SECONDS", 1)
    settings["CAPMONSTER_API_URL"] = cloud.url
    may_end: Deferred[None] = Deferred()
    outlives = start_crawl(Waits, settings, site=site.url, task_ids=[31], may_end=may_end)
    crawling = Deferred.fromCoroutine(outlives)
    await until(lambda: ids(cloud.reports) == [31])
    dies.kill()
    let_time_pass(ledger, request)
    await until(lambda: len(cloud.reports) == 31)
    may_end.callback(None)
    stats = report_stats(await crawling)
    assert sorted(ids(cloud.reports)) == [*range(1, 32)]
    assert stats["resumed/sent/accepted"] == 30


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("ledger", ["redis"], indirect=True)
async def test_two_workers_of_scrapy_redis_report_each_task_once(
    ledger: str, serve: Any, api: Any, child_crawl: Any, redis_server: Any
) -> None:
    """One queue, one dupefilter, one ledger; each answer is submitted twice."""
    held: list[Any] = []
    seen = set()

    def refuses_both(request: Any) -> Any:
        """Answers nobody before both are there, or one might be done before the other begins."""
        seen.add(request.getHeader("User-Agent"))
        held.append(request)
        while len(seen) == 2 and held:
            waiting = held.pop()
            waiting.setHeader("Content-Type", "text/html; charset=utf-8")
            waiting.write(b"<p>Wrong captcha</p>")
            waiting.finish()
        return NOT_DONE_YET

    site, cloud = serve(refuses_both), api()
    for number in range(300):
        order = {"path": f"/?{number}", "taskId": number // 2 + 1}
        redis_server.client.rpush(TO_SUBMIT, json.dumps(order))
    settings = {
        **RULES,
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        "REDIS_URL": ledger,
        "SCHEDULER": "scrapy_redis.scheduler.Scheduler",
        "DUPEFILTER_CLASS": "scrapy_redis.dupefilter.RFPDupeFilter",
        "SCHEDULER_PERSIST": True,
    }
    workers = [
        child_crawl(site.url, [], {**settings, "USER_AGENT": name}, "redis_worker.Worker")
        for name in ("one", "other")
    ]
    both = [await worker.stats() for worker in workers]
    assert sorted(ids(cloud.reports)) == [*range(1, 151)], both
    assert sum(stats.get("rejected", 0) for stats in both) == 300
    assert all(stats["rejected"] for stats in both)
