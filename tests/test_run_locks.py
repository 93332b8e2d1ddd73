"""Which runs of a SQLite ledger are alive: rows 42 and 43 of the matrix of faults."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from test_backends import NOW, claim, sqlite_backend

from scrapy_capmonster_report.ledger.locks import RunLocks
from scrapy_capmonster_report.ledger.sqlite import USELESS_SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "ledger.sqlite"


def test_a_run_whose_lock_was_deleted_keeps_its_claims(path: Path) -> None:
    """Row 42: by a program that clears away what looks old."""
    first, second = sqlite_backend(path), sqlite_backend(path)
    expiring = claim(1, expires_at=NOW + 5)
    first.write([expiring])
    for lock in path.parent.glob("*.lock"):
        lock.unlink()
    second.recover(NOW)
    assert second.recover(NOW) == []
    assert first.recover(NOW) == []
    # Nobody can tell whether it is alive, but its report is too old either way.
    assert second.recover(NOW + 6) == []
    assert second.recover(NOW + 6 + USELESS_SECONDS) == [expiring]
    for each in (first, second):
        each.close()


def test_the_claims_of_an_ended_run_whose_lock_cannot_be_removed_are_taken_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, where a file that is open stays."""
    ended, next_run = sqlite_backend(path), sqlite_backend(path)
    ended.write([claim(1)])
    ended.close()

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError("the process cannot access the file")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Path, "unlink", refuse)
        assert next_run.recover(NOW) == [claim(1)]
    next_run.close()


def test_a_folder_may_be_renamed(path: Path) -> None:
    """Row 42."""
    first = sqlite_backend(path)
    first.recover(NOW)
    first.write([claim(1)])
    moved = path.parent.rename(path.parent.with_name("moved")) / path.name
    second = sqlite_backend(moved)
    second.recover(NOW)
    assert second.recover(NOW) == []
    first.write([claim(2)])
    assert first.recover(NOW) == []
    for each in (second, first):
        each.close()


def test_where_locks_have_no_effect_nothing_is_taken_over(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 42: as on some network file systems."""
    monkeypatch.setattr(
        FileLock, "_acquire", lambda self: setattr(self._context, "lock_file_fd", 0)
    )
    monkeypatch.setattr(
        FileLock, "_release", lambda self: setattr(self._context, "lock_file_fd", None)
    )
    first, second = sqlite_backend(path), sqlite_backend(path)
    first.recover(NOW)
    first.write([claim(1)])
    second.recover(NOW)
    assert second.recover(NOW) == []
    warnings = [record for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 2  # one a run
    assert "File locks have no effect" in warnings[0].getMessage()
    assert [record.__dict__.get("spider") for record in warnings] == ["a spider"] * 2
    for each in (first, second):
        with contextlib.suppress(OSError):
            each.close()


def test_a_second_crawl_in_this_process_leaves_the_first_its_locks(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a process closes a file, it loses all locks on it that it holds elsewhere, too.

    Then the next program that closes the ledger takes itself for the last, and removes its log.
    """
    first, second = sqlite_backend(path), sqlite_backend(path)
    first.recover(NOW)
    second.recover(NOW)
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT * FROM task')"
    subprocess.run([sys.executable, "-c", program, path], check=True)
    assert path.with_name("ledger.sqlite-wal").exists()
    for each in (first, second):
        each.close()


def test_a_run_may_end_while_another_one_begins(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 43: its lock goes between the look into the folder and the look at the file."""
    ending = path.parent / "ledger.sqlite.run-a.lock"
    ending.touch()
    stat = Path.stat

    def vanishes(looked_at: Path, **options: Any) -> Any:
        if looked_at == ending:
            os.unlink(ending)
        return stat(looked_at, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "stat", vanishes)
        assert not RunLocks(path, {}).find_ended([])
    assert not ending.exists()
