"""Gets the solution of a captcha together with its ``request.meta`` from solving clients.

.. code-block:: python

    async def parse(self, response):
        captcha = TurnstileRequest(websiteURL=response.url, websiteKey="0x4AAA")
        solution, meta = await solve_captcha(self.client, captcha)
        data = {"cf-turnstile-response": solution["token"]}
        yield FormRequest(response.url, formdata=data, meta=meta)

``capmonstercloudclient`` does not return the task's id. ``capmonster_python`` does, so
:func:`~scrapy_capmonster_report.captcha_meta` is enough there; ``docs/clients.md`` shows how, and
has recipes for other clients. Importing this module needs no client, and no client is patched.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from .task import captcha_meta, parse_task_id

#: All releases in these ranges have the names used here; tox.ini says which are tested.
RELEASES: Final = {"capmonstercloudclient": range(1, 5), "capmonster-python": range(4, 6)}
SUPPORTED: Final = " and ".join(f"{name} {x[0]}.x to {x[-1]}.x" for name, x in RELEASES.items())


class UnsupportedClientError(Exception):
    """A client, or the task it was given, does not have the expected methods or results."""


async def solve_captcha(client: Any, request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Have a captcha solved, and get the ``request.meta`` for the request that submits the answer.

    Any number of calls may run at once, also with the same client. Exceptions of the client are
    not caught.

    Args:
        client: a ``capmonstercloudclient.CapMonsterClient`` or a
            ``capmonster_python.CapmonsterClient``, or an instance of a subclass.
        request: what to solve: one of the client's own requests or tasks.

    Returns:
        The solution as the client returns it, and the ``captcha_meta`` of its task: the id, the
        type, when it was created and when it was solved.

    Raises:
        UnsupportedClientError: the client lacks a method that this function needs, or its solution
            is not the result of exactly one task of this call (but comes from a cache, for
            example). A missing method is noticed before a task is created.
        RuntimeError: asyncio is not running. Both clients need it.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            "CapMonster's clients need asyncio. Leave TWISTED_REACTOR at Scrapy's default."
        ) from None
    if not hasattr(client, "create_task_async"):
        return await _solve_and_note_id(client, request)
    # Two public calls instead of solve_async().
    _require(client, "join_task_result_async")
    task_type = _task_type(request, "to_request")
    created_at = time.time()
    task_id = await client.create_task_async(request)
    if parse_task_id(task_id) is None:
        raise _unsupported(client, "create_task_async() did not return a taskId")
    solution = await client.join_task_result_async(task_id)
    return solution, captcha_meta(task_id, task_type, created_at=created_at)


async def _solve_and_note_id(client: Any, request: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """For ``capmonstercloudclient``: note the ids of its tasks, and find the solution's."""
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

    # When the twin is deleted, the client must not close.
    methods = {"_createTask": create_task, "_getTaskResult": get_task_result}
    twin = _twin(client, {**methods, "__del__": lambda twin: None})
    solution = await twin.solve_captcha(request)
    # Compare by identity: two pictures may have equal solutions.
    ids = {task_id for task_id, result in results if result is solution}
    task_id = ids.pop() if len(ids) == 1 else None
    if task_id is None:
        raise _unsupported(client, "solve_captcha() did not return a result of _getTaskResult()")
    return solution, captcha_meta(task_id, task_type, created_at=created.get(task_id))


def _twin(client: Any, methods: dict[str, Any]) -> Any:
    """An instance of a subclass with *methods* that shares all attributes with *client*.

    Each call has a twin of its own, so calls do not mix. Attributes are shared, not copied, since
    a client may count in them.
    """
    base = type(client)
    try:
        if any(vars(each).get("__slots__") for each in base.__mro__):
            raise TypeError
        twin: Any = object.__new__(type(base.__name__, (base,), methods))
        object.__setattr__(twin, "__dict__", client.__dict__)
    except Exception:
        raise _unsupported(client, "it cannot be subclassed, or has __slots__") from None
    return twin


def _task_type(request: Any, method: str) -> str:
    _require(request, method)
    task = getattr(request, method)()
    if not isinstance(task, dict) or not isinstance(task.get("type"), str):
        raise _unsupported(request, f"{method}() did not return a dict with a type")
    name = str(task["type"])
    return f"CustomTask/{task.get('class')}" if name.startswith("CustomTask") else name


def _require(thing: object, *methods: str) -> None:
    for method in methods:
        if not hasattr(thing, method):
            raise _unsupported(thing, f"it has no {method}()")


def _unsupported(thing: object, problem: str) -> UnsupportedClientError:
    # Not its repr: that of a client may show the account key.
    name = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return UnsupportedClientError(
        f"solve_captcha() cannot use {name}: {problem}. It supports {SUPPORTED}, and their "
        "requests and tasks. With any other client, give captcha_meta() the id of the task."
    )
