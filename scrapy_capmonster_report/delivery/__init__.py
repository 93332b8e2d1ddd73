"""Delivers reports to CapMonster Cloud: the queue and its workers, and the POST of a report."""

from __future__ import annotations

from .client import ReportClient
from .queue import Delivery

__all__ = ["Delivery", "ReportClient"]
