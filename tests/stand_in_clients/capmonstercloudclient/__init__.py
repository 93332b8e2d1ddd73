"""As much of the official client as a spider and ``solve_captcha`` use, with its names."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.request import Request, urlopen


class ClientOptions:
    def __init__(self, api_key: str, service_url: str, client_timeout: float = 20.0) -> None:
        self.api_key = api_key
        self.service_url = service_url


class CapMonsterClient:
    def __init__(self, options: ClientOptions) -> None:
        self._options = options

    async def solve_captcha(self, request: Any) -> Any:
        created = await self._createTask(request)
        while True:
            result = await self._getTaskResult(created["taskId"])
            if result["status"] == "ready":
                return result["solution"]
            await asyncio.sleep(0.1)

    async def _createTask(self, request: Any) -> Any:
        return await self._call("createTask", task=request.getTaskDict())

    async def _getTaskResult(self, task_id: int) -> Any:
        return await self._call("getTaskResult", taskId=task_id)

    async def _call(self, method: str, **arguments: Any) -> Any:
        body = json.dumps({"clientKey": self._options.api_key, **arguments}).encode()
        headers = {"Content-Type": "application/json"}
        request = Request(f"{self._options.service_url}/{method}", body, headers)
        with await asyncio.to_thread(urlopen, request) as answer:
            return json.load(answer)
