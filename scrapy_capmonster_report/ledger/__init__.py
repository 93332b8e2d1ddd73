"""What became of each task: one protocol, several homes."""

from __future__ import annotations

from .base import Ledger
from .memory import MemoryLedger

__all__ = ["Ledger", "MemoryLedger"]
