"""Solution and ``request.meta`` together, from the clients that people solve captchas with.

.. code-block:: python

    async def parse(self, response):
        captcha = TurnstileRequest(websiteURL=response.url, websiteKey="0x4AAA")
        solution, meta = await solve_captcha(self.client, captcha)
        data = {"cf-turnstile-response": solution["token"]}
        yield FormRequest(response.url, formdata=data, meta=meta)

That is all for ``capmonstercloudclient``, whose own ``solve_captcha()`` keeps the task's id to
itself, and for ``capmonster_python``, which gives it away, so that there it saves three lines:

.. code-block:: python

    task_id = await client.create_task_async(task)
    solution = await client.join_task_result_async(task_id)
    meta = captcha_meta(task_id, task.type)

Neither client is needed to import this module, and neither is changed by it.
"""

from __future__ import annotations

import asyncio
import copy
from typing import Any, Final

from .task import captcha_meta

#: All releases in these ranges have the names used here; tox.ini says which are tested.
SUPPORTED: Final = "capmonstercloudclient 1.x to 4.x and capmonster_python 4 and 5"


class UnsupportedClientError(Exception):
    """A client, or what it was asked to solve, is not built as expected."""


async def solve_captcha(client: Any, request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Have a captcha solved, and get the ``request.meta`` for the request that submits the answer.

    Any number of calls may run at once, also with the same client. What the client raises passes
    through.

    Args:
        client: a ``capmonstercloudclient.CapMonsterClient`` or a
            ``capmonster_python.CapmonsterClient``.
        request: what to solve: one of the client's own requests or tasks.

    Returns:
        The solution as the client returns it, and what ``captcha_meta`` makes of the task's id,
        its type and the moment it was solved.

    Raises:
        UnsupportedClientError: the client lacks what this function builds on. Where that can be
            told beforehand, no task was created.
        RuntimeError: asyncio does not run, which both clients need.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "The clients of CapMonster need asyncio: leave Scrapy's setting TWISTED_REACTOR at its "
            "default, 'twisted.internet.asyncioreactor.AsyncioSelectorReactor'."
        ) from None
    if hasattr(client, "create_task_async"):
        return await _solve_by_id(client, request)
    return await _solve_and_note_id(client, request)


async def _solve_by_id(client: Any, task: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """``capmonster_python``: two public calls instead of its ``solve_async()``."""
    _require(client, "join_task_result_async")
    _require(task, "to_request")
    task_type = task.to_request()["type"]
    task_id = await client.create_task_async(task)
    solution = await client.join_task_result_async(task_id)
    return solution, captcha_meta(task_id, task_type)


async def _solve_and_note_id(client: Any, request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """``capmonstercloudclient``: its ``_createTask()`` returns what ``createTask`` answered.

    A copy of the client, for this one call, notes that down: calls that run at once cannot mix up
    their ids, and the client itself stays as it is.
    """
    _require(client, "solve_captcha", "_createTask")
    _require(request, "getTaskDict")
    task_type = request.getTaskDict()["type"]
    created: list[Any] = []

    async def create_task(*args: Any, **kwargs: Any) -> Any:
        created.append(await client._createTask(*args, **kwargs))
        return created[-1]

    noting = copy.copy(client)
    noting._createTask = create_task
    solution = await noting.solve_captcha(request)
    try:
        task_id = created[-1]["taskId"]
    except (LookupError, TypeError):
        raise _unsupported(
            client, "whose solve_captcha() gets a taskId from _createTask()"
        ) from None
    return solution, captcha_meta(task_id, task_type)


def _require(thing: object, *methods: str) -> None:
    for method in methods:
        if not hasattr(thing, method):
            raise _unsupported(thing, f"with {method}()")


def _unsupported(thing: object, expected: str) -> UnsupportedClientError:
    # Never its repr: a client's may show the account key.
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return UnsupportedClientError(
        f"{name} is none {expected}: solve_captcha() supports {SUPPORTED}, and what they solve. "
        "With any other client, give captcha_meta() the id of the task."
    )
