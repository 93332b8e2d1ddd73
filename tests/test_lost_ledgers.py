"""Ledgers that are removed, replaced or emptied in the middle of a crawl: what is kept is there."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import redis
from crawl_in_child import Submits
from support import accepted, crawl
from test_backends import DAY, NOW, claim, passed, sqlite_backend
from test_ledger_faults import RULES, crawl_with, refuses, warnings_of
from test_outages import Crawl, ids, rejects, statuses
from twisted.internet.defer import succeed
from twisted.web.server import NOT_DONE_YET
from wired import until

from scrapy_capmonster_report.ledger import PENDING, sql
from scrapy_capmonster_report.ledger.names import RedisName
from scrapy_capmonster_report.ledger.redis import RedisBackend
from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

REJECTIONS = 20
ANSWERED = 5


def remove(path: Path) -> None:
    path.unlink()


def remove_with_its_log(path: Path) -> None:
    for part in path.parent.glob(f"{path.name}*"):
        if not part.name.endswith(".lock"):
            part.unlink()


def remove_the_log(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink()


def remove_the_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def rename_the_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("renamed"))


def replace_by_an_empty_file(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    other.replace(path)


def replace_by_an_older_one(path: Path) -> None:
    """As a backup that is put back; other programs do not look for the log."""
    other = path.with_name("other")
    with sqlite3.connect(path) as database:
        database.execute("VACUUM INTO ?", [str(other)])
    database.close()
    database = sqlite3.connect(other)
    database.execute("DELETE FROM task")
    database.execute("DELETE FROM total")
    database.commit()
    database.close()
    other.replace(path)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written at the end is at stake, not how fast the disk is."""
    monkeypatch.setattr("scrapy_capmonster_report.ledger.buffered.CLOSING_SECONDS", 9)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The ledger's file, in a folder of its own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "ledger.sqlite"


def until_silent(endpoint: str, task_id: int, earlier: int) -> Any:
    """A service that answers a few reports, and then none."""
    return accepted() if earlier < ANSWERED else NOT_DONE_YET


async def stopped_crawl(ledger: str, serve: Any, api: Any, spoil: Callable[[], Any]) -> Any:
    """A crawl with reports that it cannot send; *spoil* spoils its ledger before it ends.

    Returns its stats, and the reports that the service answered.
    """
    silent = api(until_silent)
    options = {"CAPMONSTER_REPORT_CONCURRENCY": 1, "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 0.3}
    pages: list[Any] = []
    site = serve(lambda request: pages.append(request) or rejects(request))
    going = Crawl(ledger, site.url, silent.url, range(101, 101 + REJECTIONS), **options)

    # Each look into the ledger blocks the crawl.
    await until(lambda: len(pages) == REJECTIONS and len(silent.reports) > ANSWERED)
    await until(lambda: statuses(ledger)[PENDING] == REJECTIONS - ANSWERED)
    await spoil()
    answered = [task_id for _, task_id in silent.reports[:ANSWERED]]
    return await going.end(), answered


async def next_crawl(ledger: str, serve: Any, cloud: Any) -> dict[str, Any]:
    settings = {**RULES, "CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_LEDGER": ledger}
    return await crawl(Submits, settings, site=serve(refuses).url, task_ids=[])


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "spoil",
    [
        remove,
        remove_with_its_log,
        remove_the_log,
        remove_the_folder,
        rename_the_folder,
        replace_by_an_empty_file,
        replace_by_an_older_one,
    ],
)
async def test_a_file_that_is_removed_or_replaced_is_made_anew_with_all_that_is_kept(
    spoil: Callable[[Path], None],
    path: Path,
    serve: Any,
    api: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger, cloud = f"sqlite:{path}", api()
    stats, sent = await stopped_crawl(ledger, serve, api, lambda: succeed(spoil(path)))
    assert stats["kept"] == REJECTIONS - ANSWERED
    (warning,) = warnings_of(caplog)
    assert f"Ledger {ledger} was removed or replaced by another program" in warning
    [spider] = (it.__dict__.get("spider") for it in caplog.records if it.getMessage() == warning)
    assert spider.name == "steady"
    assert statuses(ledger)[PENDING] == REJECTIONS - ANSWERED
    stats = await next_crawl(ledger, serve, cloud)
    assert stats["resumed/sent/accepted"] == REJECTIONS - ANSWERED
    assert sorted([*sent, *ids(cloud)]) == [*range(101, 101 + REJECTIONS)]


@pytest_twisted.ensureDeferred
async def test_of_a_file_that_is_truncated_nothing_counts_as_kept(
    path: Path,
    serve: Any,
    api: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = f"sqlite:{path}"
    await crawl_with(ledger, serve, api())  # so that there is something in the file itself
    monkeypatch.setattr("scrapy_capmonster_report.ledger.buffered.RECOVER_SECONDS", 2)

    def truncate() -> Any:
        os.truncate(path, 0)
        return until(lambda: warnings_of(caplog))

    stats, _ = await stopped_crawl(ledger, serve, api, truncate)
    (warning,) = warnings_of(caplog)
    assert "is unavailable (DatabaseError: database disk image is malformed)" in warning
    assert stats["dropped/shutdown"] == REJECTIONS - ANSWERED
    assert "kept" not in stats


@pytest.mark.parametrize("spoil", [remove, remove_with_its_log, remove_the_log])
def test_what_is_removed_while_it_is_written_is_missed_afterwards(
    spoil: Callable[[Path], None], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sql.write

    def write(*args: Any) -> Any:
        outcomes = real(*args)
        spoil(path)
        return outcomes

    crawl = sqlite_backend(path)
    crawl.recover(NOW)
    with monkeypatch.context() as during:
        during.setattr("scrapy_capmonster_report.ledger.sqlite.sql.write", write)
        crawl.write([claim(1)])
    assert crawl.write([claim(2)]) == [None]
    assert crawl.losses == 1
    crawl.close()
    assert statuses(f"sqlite:{path}")[PENDING] >= 1


def test_a_backup_or_a_vacuum_by_another_program_is_no_loss(path: Path) -> None:
    """Both shrink parts of the ledger."""
    crawl = sqlite_backend(path)
    crawl.recover(NOW)
    crawl.write([passed(number) for number in range(1000)])
    crawl.recover(NOW + 2 * DAY)
    log = path.with_name("ledger.sqlite-wal")
    with closing(sqlite3.connect(path)) as other:
        for pragma in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
            sizes = path.stat().st_size, log.stat().st_size
            other.execute(pragma)
            crawl.write([claim(2000)])
    assert log.stat().st_size < sizes[1]
    assert crawl.losses == 0
    crawl.close()


@pytest.mark.parametrize(
    "spoil", [remove, remove_with_its_log, remove_the_folder, replace_by_an_older_one]
)
def test_two_crawls_in_one_process_find_each_other_in_the_new_file(
    spoil: Callable[[Path], None], path: Path
) -> None:
    first, second = sqlite_backend(path), sqlite_backend(path)
    for number, each in enumerate((first, second)):
        each.recover(NOW)
        each.write([claim(number)])
    spoil(path)
    assert first.write([claim(3)]) == [None]
    assert second.write([claim(3), claim(4)]) == [Outcome.DUPLICATE, None]
    assert first.write([claim(4), claim(5)]) == [Outcome.DUPLICATE, None]
    assert (first.losses, second.losses) == (1, 1)
    assert first.recover(NOW) == []
    for each in (first, second):
        each.close()
    assert statuses(f"sqlite:{path}") == {PENDING: 3}


def test_a_file_that_is_removed_while_it_is_locked_is_noticed_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scrapy_capmonster_report.ledger.sqlite.LOCK_SECONDS", 0.1)
    crawl = sqlite_backend(path)
    crawl.recover(NOW)
    crawl.write([claim(1)])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            crawl.write([claim(2)])
        path.unlink()
    crawl.write([claim(2)])
    assert crawl.losses == 1
    crawl.close()


def test_a_crawl_that_changes_its_folder_keeps_its_ledger(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    crawl = sqlite_backend(Path(path.name))
    crawl.recover(NOW)
    crawl.write([claim(1)])
    monkeypatch.chdir(path.parent.parent)
    crawl.write([claim(2)])
    assert crawl.name == "sqlite:ledger.sqlite"
    assert crawl.losses == 0
    crawl.close()
    assert statuses(f"sqlite:{path}") == {PENDING: 2}


@pytest_twisted.ensureDeferred
async def test_a_file_system_that_numbers_files_anew_is_no_loss_without_end(
    path: Path, serve: Any, api: Any, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    numbers, stat = itertools.count(), Path.stat

    def changing(path: Path, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        return os.stat_result([found.st_mode, next(numbers), *found[2:]])

    monkeypatch.setattr(Path, "stat", changing)
    ledger, cloud = f"sqlite:{path}", api()
    stats = await crawl_with(ledger, serve, cloud, CAPMONSTER_REPORT_CLOSE_TIMEOUT=9)
    assert stats["sent/accepted"] == 30
    assert statuses(ledger) == {"sent/accepted": 30}
    assert len(warnings_of(caplog)) < 30  # less than one for each report


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["restarted", "emptied"])
async def test_a_redis_that_forgets_is_told_again_all_that_is_kept(
    how: str, redis_server: Any, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a disk, or with one that it writes now and then, it forgets at each restart."""
    servers = [redis_server]

    async def forget() -> None:
        if how == "emptied":
            redis_server.client.flushall()
        else:
            redis_server.stop()
            servers.append(await redis_server.start_again())

    ledger, cloud = redis_server.url, api()
    stats, sent = await stopped_crawl(ledger, serve, api, forget)
    assert stats["kept"] == REJECTIONS - ANSWERED
    stats = await next_crawl(ledger, serve, cloud)
    servers[-1].stop()
    assert stats["resumed/sent/accepted"] == REJECTIONS - ANSWERED
    assert sorted([*sent, *ids(cloud)]) == [*range(101, 101 + REJECTIONS)]
    assert warnings_of(caplog) == []


def test_a_redis_that_forgot_is_noticed_though_its_first_answer_was_lost(
    redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That answer alone said so, and what the crawl had claimed was lost for good."""
    crawl = RedisBackend(RedisName.parse(redis_server.url), report_reused=False)
    crawl.write([claim(1)])
    redis_server.client.flushall()
    answer = redis.Connection.read_response

    def is_lost(*args: Any, **options: Any) -> Any:
        answer(*args, **options)
        raise redis.ConnectionError("reset by peer")

    with monkeypatch.context() as cut:
        cut.setattr(redis.Connection, "read_response", is_lost)
        with pytest.raises(redis.ConnectionError, match="reset by peer"):
            crawl.write([claim(2)])
    assert crawl.losses == 0
    assert crawl.write([claim(2)]) == [None]
    assert crawl.losses == 1
    crawl.close()
