"""A worker as scrapy-redis has them: it takes what to submit from a list in Redis."""

from __future__ import annotations

import json
from typing import Any

import scrapy
from scrapy_redis.spiders import RedisSpider

TO_SUBMIT = "to_submit"


class Worker(RedisSpider):
    name = "worker"
    redis_key = TO_SUBMIT
    redis_batch_size = 10
    max_idle_time = 1
    site: str
    task_ids: list[int]

    def make_request_from_data(self, data: bytes) -> Any:
        order = json.loads(data)
        return scrapy.Request(self.site + order["path"], meta={"taskId": order["taskId"]})

    def parse(self, response: Any) -> None:
        pass
