"""What became of each task: one protocol, several homes."""

from __future__ import annotations

from .base import Inheritance, Ledger
from .choose import open_ledger
from .memory import MemoryLedger

__all__ = ["Inheritance", "Ledger", "MemoryLedger", "open_ledger"]
