"""The names of ledgers, and what no message may show of them: row 36 of the matrix."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from contexts import context

from scrapy_capmonster_report.ledger import dry_run_ledger, open_ledger, read_history
from scrapy_capmonster_report.ledger.names import RedisName

if TYPE_CHECKING:
    from pathlib import Path


def opened(ledger: str, job_dir: str | None = None, **settings: Any) -> Any:
    from twisted.internet import reactor

    return open_ledger(context(reactor=reactor, job_dir=job_dir, ledger=ledger, **settings))


@pytest.mark.parametrize(
    ("ledger", "job_dir", "dry_run", "name"),
    [
        ("", None, False, "memory"),
        ("", None, True, "memory"),
        ("sqlite:/x/a.sqlite", None, False, "sqlite:/x/a.sqlite"),
        ("sqlite:/x/a.sqlite", "/job", False, "sqlite:/x/a.sqlite"),
        ("sqlite:/x/a.sqlite", None, True, "sqlite:/x/a.dry-run.sqlite"),
        ("sqlite:/x/a", None, True, "sqlite:/x/a.dry-run"),
        ("", "/job", False, "sqlite:/job/capmonster_report.sqlite"),
        ("", "/job", True, "sqlite:/job/capmonster_report.dry-run.sqlite"),
    ],
)
def test_the_name_of_a_ledger(ledger: str, job_dir: str | None, dry_run: bool, name: str) -> None:
    assert opened(ledger, job_dir, dry_run=dry_run).name == name


@pytest.mark.parametrize(
    ("ledger", "name"),
    [
        ("redis://host", "redis://host:6379"),
        ("rediss://user:secret@host:7/3", "rediss://host:7/3"),
        ("redis://:sec%2Fret@[::1]:7/3?ssl_cert_reqs=none", "redis://[::1]:7/3"),
        ("redis://:s@cret@host/0", "redis://host:6379/0"),
    ],
)
def test_the_name_of_a_redis_ledger_has_no_password(ledger: str, name: str) -> None:
    assert opened(ledger).name == name
    assert opened(ledger, dry_run=True).name == f"{name}#dry-run"
    assert RedisName.parse(dry_run_ledger(ledger)).is_dry_run


@pytest.mark.parametrize("ledger", ["memory", "redis", "sqlite:", "SQLITE:x.db"])
def test_a_name_that_is_none_is_shown_as_it_was_written(ledger: str) -> None:
    with pytest.raises(
        ValueError, match=re.escape(f"setting ({ledger!r}) is invalid. It must be '' (")
    ):
        opened(ledger)


@pytest.mark.parametrize(
    "ledger",
    [
        "redis://:sec/ret@host:6379/0",
        "redis://:12/ret@host:6379/0",
        "redis://:sec#ret@host:6379/0",
        "redis://:sec?ret@host:6379/0",
        "redis://:12?ret@host/0",
        "redis://:sec ret@host/0",
        "redis://:secret",
        "redis:secret@host",
        "redis://:secret@host:port/0",
        "redis://:secret@host/zero",
        "redis://:secret@/0",
    ],
)
def test_a_mistake_in_a_url_does_not_show_the_password(ledger: str) -> None:
    """Row 36."""
    for read in (opened, read_history):
        with pytest.raises(ValueError, match="percent-encoded") as error:
            read(ledger)
        for part in ("sec", "ret", "12"):
            assert part not in str(error.value).replace("characters", "")


@pytest_twisted.ensureDeferred
async def test_a_password_shows_nowhere_while_a_ledger_is_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 36."""
    ledger = opened("redis://user:pass-word@127.0.0.1:9/0?client_name=other-secret")
    await ledger.open(lambda recovered: None)
    await ledger.close()
    assert "redis://127.0.0.1:9/0 is unavailable" in caplog.text
    assert ".)." not in caplog.text, "redis-py ends its message with a full stop"
    for record in caplog.records:
        assert "pass-word" not in logging.Formatter().format(record) + repr(record.__dict__)
        assert "other-secret" not in logging.Formatter().format(record)


@pytest_twisted.ensureDeferred
async def test_what_holds_ids_is_for_its_owner_only(tmp_path: Path) -> None:
    ledger = opened(f"sqlite:{tmp_path / 'folder' / 'ledger.sqlite'}")
    await ledger.open(lambda recovered: None)
    modes = {
        path.name.partition("sqlite")[2]: path.stat().st_mode & 0o777
        for path in (tmp_path / "folder").iterdir()
        if "lock" not in path.name
    }
    assert modes == {"": 0o600, "-wal": 0o600, "-shm": 0o600}
    await ledger.close()
