"""What became of each task: one protocol, several homes."""

from __future__ import annotations

from .base import AGES, PASSED, PENDING, Alert, Count, Ledger, Recovered
from .choose import open_ledger
from .history import History, Query, read_history
from .memory import MemoryLedger

__all__ = [
    "AGES",
    "PASSED",
    "PENDING",
    "Alert",
    "Count",
    "History",
    "Ledger",
    "MemoryLedger",
    "Query",
    "Recovered",
    "open_ledger",
    "read_history",
]
