"""Row 23: ledgers that are locked, read-only, corrupt, full, down or slow; the crawl goes on."""

from __future__ import annotations

import logging
import os
import re
import resource
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from crawl_in_child import Submits
from redis_server import start_redis
from support import accepted, crawl, start_crawl
from twisted.internet.defer import Deferred
from wired import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RULES = {"CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong"}]}


def refuses(request: Any) -> str:
    return "<p>Wrong captcha</p>"


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.name.startswith("scrapy_capmonster_report.ledger")
        and record.levelno >= logging.WARNING
    ]


async def crawl_with(ledger: str, serve: Any, cloud: Any, **settings: Any) -> dict[str, Any]:
    return await crawl(
        Submits,
        {
            **RULES,
            "CAPMONSTER_API_URL": cloud.url,
            "CAPMONSTER_REPORT_LEDGER": ledger,
            "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 4,
            **settings,
        },
        site=serve(refuses).url,
        task_ids=range(1, 31),
    )


def assert_went_on_in_memory(
    stats: dict[str, Any], cloud: Any, caplog: pytest.LogCaptureFixture, *said: str
) -> None:
    assert sorted(task_id for _, task_id in cloud.reports) == [*range(1, 31)]
    assert stats["sent/accepted"] == 30
    assert stats["ledger_fallback"] == 1
    (warning,) = warnings_of(caplog)
    assert "Continuing in memory and retrying" in warning
    for part in said:
        assert part in warning
    assert "is available again" not in caplog.text  # closing it proves nothing
    assert ".)" not in caplog.text


# -- SQLite ----------------------------------------------------------------------------------------


def is_a_folder(path: Path) -> str:
    path.mkdir()
    return "Is a directory"


def is_no_database(path: Path) -> str:
    path.write_bytes(b"This is a diary, and no database. " * 100)
    return "file is not a database"


def is_damaged(path: Path) -> str:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE task (id INTEGER)")
    database.close()
    content = bytearray(path.read_bytes())
    content[100:] = os.urandom(len(content) - 100)
    path.write_bytes(content)
    return "malformed"


def is_of_another_program(path: Path) -> str:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE task (name TEXT)")
    database.close()
    return "table task already exists"


def is_of_a_later_release(path: Path) -> str:
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    return "its schema has version 99, this release reads version 2"


def is_in_a_file(path: Path) -> str:
    path.parent.rmdir()
    path.parent.write_text("a file where a folder should be")
    return ""


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "spoil",
    [
        is_a_folder,
        is_no_database,
        is_damaged,
        is_of_another_program,
        is_of_a_later_release,
        is_in_a_file,
    ],
)
async def test_a_file_that_cannot_be_a_ledger(
    spoil: Callable[[Path], str],
    serve: Any,
    api: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = tmp_path / "folder" / "ledger.sqlite"
    path.parent.mkdir()
    said = spoil(path)
    cloud = api()
    stats = await crawl_with(f"sqlite:{path}", serve, cloud)
    assert_went_on_in_memory(stats, cloud, caplog, str(path), said)


@pytest_twisted.ensureDeferred
async def test_a_file_system_that_is_read_only(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = api()
    stats = await crawl_with("sqlite:/proc/ledger.sqlite", serve, cloud)
    assert_went_on_in_memory(stats, cloud, caplog, "/proc/ledger.sqlite")


@pytest_twisted.ensureDeferred
async def test_a_file_that_another_process_has_locked(
    serve: Any,
    api: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, cloud = tmp_path / "ledger.sqlite", api()
    await crawl_with(f"sqlite:{path}", serve, api())
    # As long as it takes to see that nobody waits for it: the reports come first.
    monkeypatch.setattr("scrapy_capmonster_report.ledger.sqlite.LOCK_SECONDS", 0.1)
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    stats = await crawl_with(f"sqlite:{path}", serve, cloud)
    locker.close()
    assert_went_on_in_memory(stats, cloud, caplog, "database is locked")


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_locked_for_a_moment_is_waited_for(
    serve: Any, api: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, cloud = tmp_path / "ledger.sqlite", api()
    await crawl_with(f"sqlite:{path}", serve, api())
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    crawling = Deferred.fromCoroutine(crawl_with(f"sqlite:{path}", serve, cloud))
    await until(lambda: "Crawled (200)" in caplog.text)
    locker.close()
    stats = await crawling
    # The first crawl reported them all.
    assert stats["withheld/duplicate"] == 30
    assert warnings_of(caplog) == cloud.reports == []


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_locked_while_the_crawl_ends_is_waited_for(
    serve: Any, api: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next crawl sent every report again, though the close timeout was not over by far."""
    from twisted.internet import reactor

    path = tmp_path / "ledger.sqlite"

    def lock_for_a_while(endpoint: str, task_id: int, earlier: int) -> Any:
        if earlier == 0:
            locker = sqlite3.connect(path, isolation_level=None)
            locker.execute("BEGIN IMMEDIATE")
            reactor.callLater(1.5, locker.close)
        return accepted()

    cloud = api(lock_for_a_while)
    await crawl_with(f"sqlite:{path}", serve, cloud, CAPMONSTER_REPORT_CLOSE_TIMEOUT=9)
    assert warnings_of(caplog) == []
    await crawl_with(f"sqlite:{path}", serve, cloud)
    assert sorted(task_id for _, task_id in cloud.reports) == [*range(1, 31)]


@pytest_twisted.ensureDeferred
async def test_a_disk_that_is_full(
    serve: Any,
    api: Any,
    child_crawl: Any,
    tmp_path: Path,
) -> None:
    """No file of the process may grow beyond some size: the log of the database soon would."""
    cloud = api()
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_LEDGER": f"sqlite:{tmp_path / 'ledger.sqlite'}",
        "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 9,
        "LOG_LEVEL": "WARNING",
    }
    most = 70_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        child = child_crawl(serve(refuses).url, range(1, 301), settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    stats = await child.stats()
    assert stats["sent/accepted"] == 300
    assert sorted(task_id for _, task_id in cloud.reports) == [*range(1, 301)]
    assert stats["ledger_fallback"] == 1
    assert child.log.count("Continuing in memory and retrying") == 1


# -- Redis -----------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_redis_that_is_down(serve: Any, api: Any, caplog: pytest.LogCaptureFixture) -> None:
    cloud = api()
    stats = await crawl_with("redis://user:pass-word@127.0.0.1:9/0", serve, cloud)
    assert_went_on_in_memory(stats, cloud, caplog, "redis://127.0.0.1:9/0")
    assert "pass-word" not in caplog.text


@pytest_twisted.ensureDeferred
async def test_a_redis_that_wants_another_password(
    serve: Any, api: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await start_redis(tmp_path, "--requirepass", "right")
    cloud = api()
    stats = await crawl_with(f"redis://:pass-word@127.0.0.1:{server.port}/0", serve, cloud)
    server.stop()
    assert_went_on_in_memory(stats, cloud, caplog)
    assert "pass-word" not in caplog.text


@pytest_twisted.ensureDeferred
async def test_a_redis_that_never_answers(
    serve: Any,
    api: Any,
    misbehave: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scrapy_capmonster_report.ledger.redis.ANSWER_SECONDS", 0.1)
    silent, cloud = misbehave(deaf=True), api()
    stats = await crawl_with(f"redis://127.0.0.1:{silent.port}/0", serve, cloud)
    assert_went_on_in_memory(stats, cloud, caplog, "TimeoutError")


@pytest_twisted.ensureDeferred
async def test_a_short_crawl_whose_redis_never_answers_still_has_time_to_send(
    serve: Any, api: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It waited for the ledger to open until there was no time left to send anything."""
    silent, cloud = misbehave(deaf=True), api()
    ledger = f"redis://127.0.0.1:{silent.port}/0"
    stats = await crawl_with(ledger, serve, cloud, CAPMONSTER_REPORT_CLOSE_TIMEOUT=4)
    assert_went_on_in_memory(stats, cloud, caplog, "claims were not written in time")
    assert "Sending the last reports to CapMonster Cloud (30), for 4 seconds at most" in caplog.text


@pytest_twisted.ensureDeferred
async def test_a_process_ends_though_its_redis_still_has_not_answered(
    serve: Any, api: Any, misbehave: Any, child_crawl: Any
) -> None:
    """Row 20: the thread that waits for it does not keep the process."""
    cloud = api()
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_LEDGER": f"redis://127.0.0.1:{misbehave(deaf=True).port}/0",
        "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 6,
    }
    child = child_crawl(serve(refuses).url, range(1, 11), settings, "patient.Submits")
    stats = await child.stats()
    assert stats["sent/accepted"] == len(cloud.reports) == 10


@pytest_twisted.ensureDeferred
async def test_the_log_says_that_closing_waits_for_the_ledger(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = f"redis://127.0.0.1:{misbehave(deaf=True).port}/0"
    settings = {**RULES, "CAPMONSTER_REPORT_LEDGER": ledger, "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 4}
    await crawl(Submits, settings, site=serve(refuses).url, task_ids=[])
    assert f"Waiting for ledger {ledger}, for 4 seconds at most" in caplog.text


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("problem", ["OOM", "READONLY"])
async def test_a_redis_that_takes_no_writes_is_left_with_no_connection_open(
    problem: str, redis_server: Any, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if problem == "OOM":
        redis_server.client.config_set("maxmemory", "1")
    else:
        redis_server.client.replicaof("127.0.0.1", 9)
    cloud = api()
    stats = await crawl_with(redis_server.url, serve, cloud)
    # The connection of this test is the only one.
    await until(lambda: len(redis_server.client.client_list(_type="normal")) == 1)
    assert_went_on_in_memory(stats, cloud, caplog)


@pytest_twisted.ensureDeferred
async def test_a_redis_that_goes_away_while_crawling(
    serve: Any, api: Any, redis_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(endpoint: str, task_id: int, earlier: int) -> Any:
        if not earlier:
            redis_server.stop()
        return accepted()

    cloud = api(answer)
    stats = await crawl_with(redis_server.url, serve, cloud, CONCURRENT_REQUESTS=1)
    assert_went_on_in_memory(stats, cloud, caplog, redis_server.url.removesuffix("/0"))


@pytest_twisted.ensureDeferred
async def test_a_redis_ledger_works_on_another_reactor(
    serve: Any, api: Any, child_crawl: Any, redis_server: Any
) -> None:
    cloud = api()
    settings = {
        "CAPMONSTER_API_URL": cloud.url,
        "CAPMONSTER_REPORT_LEDGER": redis_server.url,
        "TWISTED_REACTOR": "twisted.internet.selectreactor.SelectReactor",
    }
    for accepted_reports in (30, 0):
        stats = await child_crawl(serve(refuses).url, range(1, 31), settings).stats()
        assert stats["rejected"] == 30
        assert stats.get("sent/accepted", 0) == accepted_reports
    assert sorted(task_id for _, task_id in cloud.reports) == [*range(1, 31)]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ("sqlite:", r"\('sqlite:'\) is invalid. It must be ''"),
        ("sqlite::memory:", r"\('sqlite::memory:'\) is invalid. It must be ''"),
        ("ledger.sqlite", r"\('ledger.sqlite'\) is invalid. It must be ''"),
        ("mysql://user:pass-word@db/x", r"\('mysql://…@db/x'\) is invalid. It must be ''"),
    ],
)
async def test_a_setting_that_names_no_ledger(ledger: str, said: str) -> None:
    settings = {**RULES, "CAPMONSTER_REPORT_LEDGER": ledger}
    # Scrapy 2.13 hides what stopped the crawl behind what that led to.
    with pytest.raises((ValueError, AttributeError)) as raised:
        await start_crawl(Submits, settings, site="http://127.0.0.1:9", task_ids=[])
    error = raised.value
    assert re.search(said, str(error if isinstance(error, ValueError) else error.__context__))
