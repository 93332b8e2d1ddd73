"""Ledgers that go away in the middle of a crawl and come back: rows 29, 30 and 39 of the matrix."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from misbehaving import says
from redis_server import RedisServer, start_redis
from scrapy.utils.defer import maybe_deferred_to_future
from support import crawl, report_stats, start_crawl
from tcp_proxy import TcpProxy
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall, deferLater
from wired import lines, until

from scrapy_capmonster_report.ledger import read_history

if TYPE_CHECKING:
    from pathlib import Path

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "3"))
"""Longer than what is not worth a word; the figures in docs/delivery.md are from ten."""

SLOW_SECONDS = float(os.environ.get("SLOW_SECONDS", "0.5"))
"""What Redis takes in each direction; the issue asks for four."""

REJECTIONS = 200


class Steady(scrapy.Spider):
    """Submits answers one after the other, all of which are rejected, until it may end.

    Args:
        site: the URL of the site.
        task_ids: the tasks.
        may_end: the crawl does not end before.
    """

    name = "steady"
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong"}],
        "CONCURRENT_REQUESTS": 4,
    }
    site: str
    task_ids: Any
    may_end: Deferred[None]

    async def start(self) -> Any:
        from twisted.internet import reactor

        for task_id in self.task_ids:
            yield scrapy.Request(f"{self.site}/{task_id}", meta={"taskId": task_id})
            await maybe_deferred_to_future(deferLater(reactor, 0.002))
        await maybe_deferred_to_future(self.may_end)

    def parse(self, response: Any) -> None:
        pass


class Crawl:
    """A crawl that is going on."""

    def __init__(self, ledger: str, site: str, api: str, task_ids: Any, **settings: Any) -> None:
        self.may_end: Deferred[None] = Deferred()
        settings = {
            "CAPMONSTER_API_URL": api,
            "CAPMONSTER_REPORT_LEDGER": ledger,
            **settings,
        }
        crawling = start_crawl(Steady, settings, site=site, task_ids=task_ids, may_end=self.may_end)
        self._crawling = Deferred.fromCoroutine(crawling)

    async def end(self) -> dict[str, Any]:
        self.may_end.callback(None)
        return report_stats(await self._crawling)


def rejects(request: Any) -> str:
    return "<p>Wrong captcha</p>"


def ids(cloud: Any) -> list[int]:
    return sorted(task_id for _, task_id in cloud.reports)


def statuses(ledger: str) -> Counter[str]:
    found: Counter[str] = Counter()
    for count in read_history(ledger).counts:
        found[count.status] += count.tasks
    return found


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the log says of the ledger, above DEBUG."""
    found = [*lines(caplog, logging.WARNING), *lines(caplog, logging.INFO)]
    return [line for line in found if line.startswith("Ledger ")]


def assert_one_story(caplog: pytest.LogCaptureFixture) -> None:
    warning, info = said(caplog)
    assert "is unavailable (" in warning
    assert "is available again" in info


class Watch:
    """Looks for how long the reactor's longest turn is, and for locks taken in its thread."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.longest = 0.0
        self._reactor = reactor
        self._thread = threading.get_ident()
        self._beat = LoopingCall(self._look)
        self._last = reactor.seconds()

    def start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        join = threading.Thread.join

        def joined(thread: threading.Thread, timeout: float | None = None) -> None:
            is_ours = not isinstance(thread, threading.Timer)  # pytest-timeout's, if a test fails
            is_reactor = threading.get_ident() == self._thread
            assert not (is_ours and is_reactor), "a thread was joined by the reactor"
            join(thread, timeout)

        monkeypatch.setattr(threading.Thread, "join", joined)
        self._beat.start(0.01)

    def stop(self) -> None:
        self._beat.stop()

    def _look(self) -> None:
        now = self._reactor.seconds()
        self.longest = max(self.longest, now - self._last)
        self._last = now


class Lock:
    """Another program's lock on a SQLite file."""

    def __init__(self, path: Path, *, only_reading: bool = False) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("BEGIN" if only_reading else "BEGIN IMMEDIATE")
        self._database.execute("SELECT count(*) FROM task").fetchone()

    def release(self) -> None:
        self._database.close()


@pytest.fixture
def ledger_file(tmp_path: Path) -> Path:
    """A ledger that is there already, or there would be nothing to lock."""
    from scrapy_capmonster_report.ledger import sql

    path = tmp_path / "ledger.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    sql.prepare(database)
    database.close()
    return path


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("when", ["at opening", "in the middle"])
async def test_a_file_that_is_locked_for_seconds(
    when: str,
    ledger_file: Path,
    serve: Any,
    api: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 29: each task once on the wire, and all of them in the file."""
    from twisted.internet import reactor

    cloud, ledger = api(), f"sqlite:{ledger_file}"
    watch = Watch()
    watch.start(monkeypatch)
    lock = Lock(ledger_file) if when == "at opening" else None
    going = Crawl(ledger, serve(rejects).url, cloud.url, range(1, REJECTIONS + 1))
    if lock is None:
        await until(lambda: len(cloud.reports) > 20)
        lock = Lock(ledger_file)
    await deferLater(reactor, OUTAGE_SECONDS)
    lock.release()
    await until(lambda: len(cloud.reports) == REJECTIONS)
    stats = await going.end()
    watch.stop()
    assert ids(cloud) == [*range(1, REJECTIONS + 1)]
    assert stats["sent/accepted"] == REJECTIONS
    assert statuses(ledger) == {"sent/accepted": REJECTIONS}
    assert_one_story(caplog)
    print(f"\nlongest turn of the reactor: {watch.longest * 1000:.0f} ms")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("only_reading", [False, True], ids=["writing", "a backup that reads"])
async def test_a_file_that_is_locked_while_the_crawl_closes(
    only_reading: bool,
    ledger_file: Path,
    serve: Any,
    api: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 30."""
    from twisted.internet import reactor

    cloud, ledger = api(), f"sqlite:{ledger_file}"
    watch = Watch()
    watch.start(monkeypatch)
    going = Crawl(
        ledger, serve(rejects).url, cloud.url, range(1, 21), CAPMONSTER_REPORT_CLOSE_TIMEOUT=1
    )
    await until(lambda: len(cloud.reports) == 20)
    lock = Lock(ledger_file, only_reading=only_reading)
    began = reactor.seconds()
    stats = await going.end()
    assert reactor.seconds() - began < 1 + 1
    lock.release()
    watch.stop()
    assert stats["sent/accepted"] == 20
    if only_reading:
        assert statuses(ledger) == {"sent/accepted": 20}
    print(f"\nlongest turn of the reactor: {watch.longest * 1000:.0f} ms")


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_stopped_for_seconds(
    tmp_path: Path, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 29 and 39: each task once on the wire, and all of them in Redis."""
    from twisted.internet import reactor

    options = ("--appendonly", "yes", "--appendfsync", "always")  # before each answer
    server = await RedisServer(tmp_path, *options).started()
    cloud = api()
    going = Crawl(server.url, serve(rejects).url, cloud.url, range(1, REJECTIONS + 1))
    await until(lambda: len(cloud.reports) > 20)
    server.stop()
    await deferLater(reactor, OUTAGE_SECONDS)
    again = await server.start_again()
    await until(lambda: len(cloud.reports) == REJECTIONS)
    stats = await going.end()
    assert ids(cloud) == [*range(1, REJECTIONS + 1)]
    assert stats["sent/accepted"] == REJECTIONS
    assert statuses(server.url) == {"sent/accepted": REJECTIONS}
    assert_one_story(caplog)
    again.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "trouble",
    ["reset", "kill", "restart", "flush", "slow", "always slow", "black hole", "foreign"],
)
async def test_two_workers_whose_redis_is_in_trouble_report_each_task_once(
    trouble: str, tmp_path: Path, serve: Any, api: Any
) -> None:
    """Row 39. "Slow" are so many seconds in each direction."""
    from twisted.internet import reactor

    cloud, site = api(), serve(rejects)
    server = await start_redis(tmp_path, "--appendonly", "yes", "--appendfsync", "always")
    if trouble == "foreign":
        # Before the task is claimed: afterwards nobody could know that it was.
        server.client.hset("{capmonster_report}:pending", "none", "of ours")
        server.client.set("{capmonster_report}:task:25", "another program's")
    proxies = [TcpProxy(server.port) for _ in range(2)]
    for proxy in proxies:
        proxy.delay = SLOW_SECONDS if trouble == "always slow" else 0.0
    tasks = [*range(1, 51)]
    workers = [
        Crawl(proxy.redis_url, site.url, cloud.url, order)
        for proxy, order in zip(proxies, (tasks, tasks[::-1]), strict=True)
    ]
    await until(lambda: len(cloud.reports) > 5)
    client = server.client
    if trouble == "reset":
        proxies[0].reset()
    elif trouble == "kill":
        client.client_kill_filter(_type="normal", skipme=True)
    elif trouble == "restart":
        server.stop()
        await deferLater(reactor, OUTAGE_SECONDS * 0.2)
        server = await server.start_again()
    elif trouble == "flush":
        client.script_flush()
    elif trouble == "slow":
        proxies[0].delay = SLOW_SECONDS
    elif trouble == "black hole":
        proxies[0].is_holding = True
        await deferLater(reactor, OUTAGE_SECONDS * 0.8)
        proxies[0].is_holding = False
        proxies[0].reset()
    await until(lambda: len(ids(cloud)) >= 50)
    stats = [await worker.end() for worker in workers]
    assert ids(cloud) == tasks
    assert sum(each.get("sent/accepted", 0) for each in stats) == 50
    assert sum(each["rejected"] for each in stats) == 100
    for proxy in proxies:
        await proxy.stop()
    server.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("step", ["while it writes", "once all is written"])
async def test_a_redis_that_falls_silent_at_the_end_leaves_no_connection_and_no_traceback(
    step: str, redis_server: Any, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cloud, proxy = api(), TcpProxy(redis_server.port)
    going = Crawl(
        proxy.redis_url,
        serve(rejects).url,
        cloud.url,
        range(1, 21),
        CAPMONSTER_REPORT_CLOSE_TIMEOUT=1,
    )
    await until(lambda: len(cloud.reports) == 20)
    if step == "once all is written":
        await until(lambda: statuses(redis_server.url) == {"sent/accepted": 20})
    proxy.is_holding = True
    stats = await going.end()
    await until(lambda: not proxy.connections)
    gc.collect()  # a failure that nobody has looked at is logged when it is let go
    assert stats["sent/accepted"] == 20
    assert lines(caplog, logging.ERROR) == []
    await proxy.stop()


# -- a crawl that stands still ---------------------------------------------------------------------


@pytest.fixture(params=["", "sqlite", "redis"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The value of ``CAPMONSTER_REPORT_LEDGER`` for each kind of ledger."""
    if request.param == "redis":
        url: str = request.getfixturevalue("redis_server").url
        return url
    return request.param and f"sqlite:{tmp_path / 'ledger.sqlite'}"


class Blocks(Steady):
    """Blocks the reactor for a while, again and again."""

    blocks_for: float

    def parse(self, response: Any) -> None:
        if int(response.url.rpartition("/")[2]) % 10 == 0:
            time.sleep(self.blocks_for)


@pytest_twisted.ensureDeferred
async def test_a_callback_that_blocks_costs_no_report_and_no_ledger(
    ledger: str,
    serve: Any,
    misbehave: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 28; the timeouts are shorter than the standstill, as with 10 and 30 seconds."""
    if ledger.startswith("redis:"):
        monkeypatch.setattr("scrapy_capmonster_report.ledger.redis.ANSWER_SECONDS", 0.3)
    cloud = misbehave(says())
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        "CAPMONSTER_REPORT_TIMEOUT": 0.3,
    }
    stats = await crawl(
        Blocks,
        settings,
        site=serve(rejects).url,
        task_ids=range(1, 41),
        may_end=succeed(None),
        blocks_for=0.8,
    )
    assert sorted(cloud.task_ids()) == [*range(1, 41)]
    assert stats["sent/accepted"] == 40
    assert lines(caplog, logging.WARNING) == []


@pytest_twisted.ensureDeferred
async def test_a_worker_that_was_stopped_asks_before_it_sends(
    redis_server: Any, serve: Any, misbehave: Any, child_crawl: Any
) -> None:
    """Row 40: another one took it for dead, and took over."""
    site, cloud = serve(rejects), misbehave(says())
    cloud.hold()
    settings = {
        "CAPMONSTER_REPORT_LEDGER": redis_server.url,
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_TIMEOUT": 60,
    }
    stopped = child_crawl(site.url, range(1, 31), settings, "impatient.Submits")
    await until(lambda: statuses(redis_server.url) == {"pending": 30} and cloud.arrivals)
    stopped.process.send_signal(signal.SIGSTOP)
    [in_flight] = cloud.task_ids()
    await until(lambda: not redis_server.client.keys("*alive:*"))
    cloud.release()
    other = await child_crawl(site.url, [], settings, "impatient.Submits").stats()
    assert other["resumed/sent/accepted"] == 30
    stopped.process.send_signal(signal.SIGCONT)
    stats = await stopped.stats()
    assert stats["withheld/duplicate"] == 29, stats
    # What was on its way when it was stopped: nobody could know that it had arrived.
    assert sorted(cloud.task_ids()) == sorted([*range(1, 31), in_flight])
    assert statuses(redis_server.url) == {"sent/accepted": 30}
