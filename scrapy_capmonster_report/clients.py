"""Solution and ``request.meta`` together, from the clients that people solve captchas with.

.. code-block:: python

    async def parse(self, response):
        captcha = TurnstileRequest(websiteURL=response.url, websiteKey="0x4AAA")
        solution, meta = await solve_captcha(self.client, captcha)
        data = {"cf-turnstile-response": solution["token"]}
        yield FormRequest(response.url, formdata=data, meta=meta)

``capmonstercloudclient`` keeps the task's id to itself. ``capmonster_python`` returns it, so that
:func:`~scrapy_capmonster_report.captcha_meta` is enough there; ``docs/clients.md`` shows it, and
has recipes for other clients. No client is needed to import this module, and none is changed.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from .task import captcha_meta, parse_task_id

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
            ``capmonster_python.CapmonsterClient``, or an instance of a subclass.
        request: what to solve: one of the client's own requests or tasks.

    Returns:
        The solution as the client returns it, and what ``captcha_meta`` makes of its task: the
        id, the type, when it was created and when it was solved.

    Raises:
        UnsupportedClientError: the client lacks what this function builds on, or returns what is
            not the result of one task that it created in this call (from a cache, say). Where
            that can be told beforehand, no task was created.
        RuntimeError: asyncio does not run, which both clients need.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "CapMonster's clients need asyncio: leave TWISTED_REACTOR at Scrapy's default."
        ) from None
    if not hasattr(client, "create_task_async"):
        return await _solve_and_note_id(client, request)
    # Two public calls instead of solve_async().
    _require(client, "join_task_result_async")
    task_type = _task_type(request, "to_request")
    created_at = time.time()
    task_id = await client.create_task_async(request)
    if parse_task_id(task_id) is None:
        raise _unsupported(client, "whose create_task_async() returns a taskId")
    solution = await client.join_task_result_async(task_id)
    return solution, captcha_meta(task_id, task_type, created_at=created_at)


async def _solve_and_note_id(client: Any, request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """``capmonstercloudclient``: the task whose result is the solution that it returns."""
    _require(client, "solve_captcha", "_createTask", "_getTaskResult")
    task_type = _task_type(request, "getTaskDict")
    created: dict[int | None, float] = {}
    results: list[tuple[int | None, object]] = []
    base = type(client)

    async def create_task(self: Any, *args: Any, **kwargs: Any) -> Any:
        created_at = time.time()
        answer = await base._createTask(self, *args, **kwargs)
        task_id = answer.get("taskId") if isinstance(answer, dict) else None
        created[parse_task_id(task_id)] = created_at
        return answer

    async def get_task_result(self: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        answer = await base._getTaskResult(self, task_id, *args, **kwargs)
        if isinstance(answer, dict) and answer.get("status") == "ready":
            results.append((parse_task_id(task_id), answer.get("solution")))
        return answer

    # The twin's end is not the client's.
    methods = {"_createTask": create_task, "_getTaskResult": get_task_result}
    twin = _twin(client, {**methods, "__del__": lambda twin: None})
    solution = await twin.solve_captcha(request)
    # Two pictures may have equal solutions: only the very object says which task it is of.
    ids = {task_id for task_id, result in results if result is solution}
    task_id = ids.pop() if len(ids) == 1 else None
    if task_id is None:
        raise _unsupported(client, "whose solve_captcha() returns the result of _getTaskResult()")
    return solution, captcha_meta(task_id, task_type, created_at=created.get(task_id))


def _twin(client: Any, methods: dict[str, Any]) -> Any:
    """An instance of a subclass with *methods* that shares all attributes with *client*.

    A twin for each call keeps the calls apart, and no copy leaves a client that counts as it was.
    """
    base = type(client)
    try:
        if any(vars(each).get("__slots__") for each in base.__mro__):
            raise TypeError
        twin: Any = object.__new__(type(base.__name__, (base,), methods))
        object.__setattr__(twin, "__dict__", client.__dict__)
    except Exception:
        raise _unsupported(client, "that can be subclassed and has no __slots__") from None
    return twin


def _task_type(request: Any, method: str) -> str:
    _require(request, method)
    task = getattr(request, method)()
    if not isinstance(task, dict) or not isinstance(task.get("type"), str):
        raise _unsupported(request, f"whose {method}() has a type")
    name = str(task["type"])
    return f"CustomTask/{task.get('class')}" if name.startswith("CustomTask") else name


def _require(thing: object, *methods: str) -> None:
    for method in methods:
        if not hasattr(thing, method):
            raise _unsupported(thing, f"with {method}()")


def _unsupported(thing: object, expected: str) -> UnsupportedClientError:
    # Never its repr: a client's may show the account key.
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return UnsupportedClientError(
        f"{name} is not one {expected}: solve_captcha() supports {SUPPORTED}, and what they "
        "solve. With any other client, give captcha_meta() the id of the task."
    )
