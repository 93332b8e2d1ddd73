"""A crawl for a process of its own that waits ten minutes for an answer of Redis."""

from __future__ import annotations

from crawl_in_child import Submits

from scrapy_capmonster_report.ledger import redis

__all__ = ["Submits"]

redis.ANSWER_SECONDS = 600.0  # type: ignore[misc]
