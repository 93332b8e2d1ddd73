"""Getting reports to CapMonster Cloud: the queue and its senders, and the one POST."""

from __future__ import annotations

from .api import ReportClient
from .delivery import Delivery

__all__ = ["Delivery", "ReportClient"]
