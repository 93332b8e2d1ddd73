"""Getting reports to CapMonster Cloud: the queue and its senders, and the one POST."""

from __future__ import annotations

from .api import ReportApi
from .delivery import Delivery

__all__ = ["Delivery", "ReportApi"]
