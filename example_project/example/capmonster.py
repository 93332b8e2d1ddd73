"""Buying answers from CapMonster Cloud, with Scrapy's own requests."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from scrapy.http import JsonRequest
from scrapy.utils.defer import maybe_deferred_to_future
from twisted.internet.task import deferLater

from scrapy_capmonster_report import captcha_meta

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response


class CapMonsterError(Exception):
    """The service returned this ``errorCode``."""


class Answer(NamedTuple):
    """A bought answer.

    Args:
        solution: the service's ``solution``, for example ``{"text": "kx7mp"}``.
        meta: for the request that submits it.
    """

    solution: dict[str, Any]
    meta: dict[str, Any]


class CapMonster:
    """The service, as far as a spider needs it: ``answer = await capmonster.solve(task)``.

    Args:
        crawler: its settings have the URL of the service and the account key.
        poll_interval: seconds between two calls of ``getTaskResult``.
    """

    def __init__(self, crawler: Crawler, poll_interval: float) -> None:
        settings = crawler.settings
        self._crawler = crawler
        self._poll_interval = poll_interval
        self._url = settings.get("CAPMONSTER_API_URL", "https://api.capmonster.cloud")
        self._key = settings.get("CAPMONSTER_CLIENT_KEY") or os.environ["CAPMONSTER_CLIENT_KEY"]

    async def solve(self, task: dict[str, Any]) -> Answer:
        """Buy the answer to *task*, the ``task`` object of ``createTask``.

        Raises:
            CapMonsterError: the service returned an error.
        """
        created = await self._call("createTask", task=task)
        while True:
            await sleep(self._poll_interval)
            result = await self._call("getTaskResult", taskId=created["taskId"])
            if result["status"] == "ready":
                task_type = "/".join(task[key] for key in ("type", "class") if key in task)
                meta = captcha_meta(created["taskId"], task_type, solved_at=time.time())
                return Answer(result["solution"], meta)

    async def _call(self, method: str, **arguments: Any) -> dict[str, Any]:
        request = JsonRequest(
            f"{self._url}/{method}",
            data={"clientKey": self._key, **arguments},
            meta={"download_slot": "capmonster", "dont_cache": True},  # not a page of the site
        )
        response: Any = await download(self._crawler, request)
        answer: dict[str, Any] = response.json()
        if answer["errorId"]:
            raise CapMonsterError(answer["errorCode"])
        return answer


async def download(crawler: Crawler, request: Request) -> Response:
    """The response to *request*, which passes the downloader middlewares, but not the spider's."""
    engine = crawler.engine
    assert engine is not None
    if hasattr(engine, "download_async"):  # since Scrapy 2.14
        return await engine.download_async(request)
    return await maybe_deferred_to_future(engine.download(request))


async def sleep(seconds: float) -> None:
    """Wait without blocking the crawl, on any of Twisted's reactors."""
    from twisted.internet import reactor

    await maybe_deferred_to_future(deferLater(reactor, seconds))
