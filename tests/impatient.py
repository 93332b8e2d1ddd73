"""A crawl for a process of its own that takes a worker for dead after two seconds."""

from __future__ import annotations

from crawl_in_child import Submits

from scrapy_capmonster_report.ledger import redis

__all__ = ["Submits"]

redis._KEEP["alive"] = 2
redis.RedisBackend.lease = 1.0
