"""Getting reports to CapMonster Cloud: the queue and its workers, and the one POST."""

from __future__ import annotations

from .client import ReportClient
from .queue import Delivery

__all__ = ["Delivery", "ReportClient"]
