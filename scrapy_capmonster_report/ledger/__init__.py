"""The status of each task: one protocol, kept in memory, in SQLite or in Redis."""

from __future__ import annotations

from .base import AGES, PASSED, PENDING, Alert, Count, Recovered
from .choose import ledger_name, open_ledger, read_history
from .history import History, Query
from .memory import Ledger
from .names import ALLOWED, JOBDIR_FILE, RedisName, dry_run_ledger, is_redis, sqlite_path

__all__ = [
    "AGES",
    "ALLOWED",
    "JOBDIR_FILE",
    "PASSED",
    "PENDING",
    "Alert",
    "Count",
    "History",
    "Ledger",
    "Query",
    "Recovered",
    "RedisName",
    "dry_run_ledger",
    "is_redis",
    "ledger_name",
    "open_ledger",
    "read_history",
    "sqlite_path",
]
