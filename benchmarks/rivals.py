"""What people write today to report rejected answers: middlewares of a few lines."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import treq
from servers import WRONG

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.http import Response

CLIENT_KEY = "key-of-the-benchmarks"


class Rival:
    """Reports what one regex finds.

    Args:
        api: the URL of the service.
    """

    def __init__(self, api: str) -> None:
        self.api = api
        self.url = f"{api}/reportIncorrectTokenCaptcha"

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        return cls(crawler.settings["CAPMONSTER_API_URL"])

    def is_rejected(self, request: Request, response: Response) -> bool:
        return "taskId" in request.meta and re.search(WRONG, response.text) is not None

    def body(self, request: Request) -> dict[str, Any]:
        return {"clientKey": CLIENT_KEY, "taskId": request.meta["taskId"]}


class Blocking(Rival):
    """``requests.post()`` in ``process_response``: the whole crawl waits."""

    def __init__(self, api: str) -> None:
        import requests

        super().__init__(api)
        self.session = requests.Session()

    def process_response(self, request: Request, response: Response) -> Response:
        if self.is_rejected(request, response):
            self.session.post(self.url, json=self.body(request), timeout=10)
        return response


class Awaiting(Rival):
    """``await treq.post()`` in ``process_response``: the response waits."""

    async def process_response(self, request: Request, response: Response) -> Response:
        from scrapy.utils.defer import maybe_deferred_to_future

        if self.is_rejected(request, response):
            answer = await maybe_deferred_to_future(
                treq.post(self.url, json=self.body(request), timeout=10)
            )
            await maybe_deferred_to_future(treq.content(answer))
        return response


class Spawning(Rival):
    """A task for each report, with the asynchronous call of ``capmonster_python`` (httpx)."""

    def __init__(self, api: str) -> None:
        from capmonster_python import CapmonsterClient

        super().__init__(api)
        # It offers no way to name another address.
        CapmonsterClient._CapmonsterClient__BASE_URL = api
        self.client = CapmonsterClient(CLIENT_KEY)
        self.tasks: set[Any] = set()

    def process_response(self, request: Request, response: Response) -> Response:
        if self.is_rejected(request, response):
            report = self.client.report_incorrect_token_async(request.meta["taskId"])
            task = asyncio.ensure_future(report)
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        return response


RIVALS: dict[str, type[Rival]] = {
    "`requests.post()` in `process_response`": Blocking,
    "`await treq.post()` in `process_response`": Awaiting,
    "a task per report with `capmonster_python`": Spawning,
}


def why_not(rival: Callable[[str], Rival]) -> str:
    """Why *rival* cannot be measured here, or ``""``."""
    try:
        rival("http://127.0.0.1")
    except ImportError as error:
        return f"not installed: {error.name} (benchmarks/requirements.txt)"
    return ""
