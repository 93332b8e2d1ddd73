"""What became of each task: one protocol, several homes."""

from __future__ import annotations

from .base import Inheritance, Ledger
from .choose import open_ledger
from .entries import AGES, PASSED, PENDING, Alert, Count
from .history import History, Query, read_history
from .memory import MemoryLedger

__all__ = [
    "AGES",
    "PASSED",
    "PENDING",
    "Alert",
    "Count",
    "History",
    "Inheritance",
    "Ledger",
    "MemoryLedger",
    "Query",
    "open_ledger",
    "read_history",
]
