"""Names of ledgers: in ``CAPMONSTER_REPORT_LEDGER``, on the command line, in the log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

ALLOWED: Final = "It must be '' (memory), 'sqlite:PATH' or 'redis://HOST:PORT/DB'."
"""The types of ledger, for messages about a name that has none of them."""

JOBDIR_FILE: Final = "capmonster_report.sqlite"
"""The default ledger in a ``JOBDIR``."""

_DRY_RUN: Final = "dry-run"

_REDIS_URL: Final = re.compile(
    r"(?P<scheme>rediss?)://(?:[^/?#\s]*@)?"
    r"(?P<host>[^\s:/?#@\[\]]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
    rf"(?P<database>/[0-9]{{0,5}})?(?:\?[^#@\s]*)?(?P<dry_run>\#{_DRY_RUN})?",
    re.IGNORECASE | re.ASCII,
)


class RedisName(NamedTuple):
    """A Redis ledger.

    Args:
        url: as redis-py reads it.
        is_dry_run: whether it is that of dry runs.
        shown: as the log may show it.
    """

    url: str
    is_dry_run: bool
    shown: str

    @classmethod
    def parse(cls, name: str) -> RedisName:
        """Parse a ledger's *name*.

        Raises:
            ValueError: it is not a URL. The message does not show it, because it may be a password.
        """
        url = _REDIS_URL.fullmatch(name)
        if url is None:
            raise ValueError(
                "It must be a URL like 'redis://USER:PASSWORD@HOST:PORT/DB'. Characters like "
                "'/', '?', '#' and spaces in a password must be percent-encoded ('/': '%2F')."
            )
        shown = f"{url['scheme']}://{url['host']}:{url['port'] or 6379}{url['database'] or ''}"
        dry_run = url["dry_run"] or ""
        return cls(name.removesuffix(dry_run), bool(dry_run), shown + dry_run)


def sqlite_path(name: str) -> Path | None:
    """The file of a SQLite ledger's *name* (``sqlite:PATH``), ``None`` if it is another one."""
    scheme, _, path = name.partition(":")
    return Path(path).expanduser() if scheme == "sqlite" and path not in ("", ":memory:") else None


def is_redis(name: str) -> bool:
    """Whether *name* is that of a Redis ledger, right or wrong."""
    return name.lower().startswith(("redis:", "rediss:"))


def dry_run_ledger(name: str) -> str:
    """The name of the ledger that a dry run uses instead of the ledger *name*.

    ``summary`` reads it like any other. It does not stop later crawls from reporting.
    """
    path = sqlite_path(name)
    if path is not None:
        return f"sqlite:{path.with_name(f'{path.stem}.{_DRY_RUN}{path.suffix}')}"
    return f"{name}#{_DRY_RUN}" if is_redis(name) else name
