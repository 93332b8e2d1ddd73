"""A ledger in Redis, for workers on several machines. Needs the asyncio reactor."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import Counter
from contextlib import suppress
from functools import wraps
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import redis
from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from scrapy.utils.reactor import is_asyncio_reactor_installed
from twisted.internet.defer import CancelledError, Deferred

from ..outcome import Outcome
from ..task import Kind
from . import base
from .history import Query

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from twisted.python.failure import Failure

    from .names import RedisName

KEEP_SECONDS: Final = base.DAY_SECONDS
"""How long a task is remembered after its last event."""

MAX_ALERTS: Final = 1000

ALIVE_SECONDS: Final = 30
"""A worker that was silent for so long counts as dead."""

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take."""

READ_SECONDS: Final = 10.0
"""How long the summary waits for an answer."""

_KEEP: Final = {
    "tasks": KEEP_SECONDS,
    "periods": base.KEEP_PERIODS_SECONDS + 2 * base.DAY_SECONDS,
    "hours": base.KEEP_TOTALS_DAYS * base.DAY_SECONDS,
    "alerts": MAX_ALERTS,
    "alive": ALIVE_SECONDS,
}
_SCRIPT: Final = files(__package__).joinpath("redis.lua").read_text(encoding="utf-8")

_EVER: Final = 1e15

_MOMENT: Final = (int, float)
_CLAIM_TYPES: Final[tuple[Any, ...]] = (
    *(int, int, str, str, str, int, _MOMENT),  # of the submission
    *(str, str, _MOMENT, _MOMENT),
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def _in_asyncio(work: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Deferred[_T]]:
    """A method that runs the coroutine *work* as a task, for redis-py, and returns a Deferred."""

    @wraps(work)
    def start(*args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        call = Deferred.fromFuture(asyncio.ensure_future(work(*args, **kwargs)))
        return call.addErrback(_cancelled)

    return start


def _cancelled(failure: Failure) -> Failure:
    """*failure*, or Twisted's ``CancelledError`` for asyncio's, which is not an ``Exception``."""
    if failure.check(asyncio.CancelledError):
        raise CancelledError
    return failure


class _Connection(Connection):
    """One that connects again if it is lost just before a command.

    Otherwise redis-py writes to it, and before Python 3.13.6 that leaves the file descriptor in the
    event loop. A connection of the crawl that gets the same number then fails (cpython#136234).
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._writer is not None and self._writer.is_closing():
            await self.disconnect(nowait=True)
        await super().send_packed_command(command, check_health)


class RedisBackend:
    """A ledger that workers on several machines share. The first claim of a task is final.

    Args:
        name: its name.
        report_reused: whether an answer that was used before may be claimed.

    Raises:
        ValueError: another reactor is installed.
    """

    patience = 20.0
    lease = ALIVE_SECONDS - 5.0

    def __init__(self, name: RedisName, *, report_reused: bool) -> None:
        if not is_asyncio_reactor_installed():
            raise ValueError(
                "A Redis ledger needs the asyncio reactor: set TWISTED_REACTOR to "
                "'twisted.internet.asyncioreactor.AsyncioSelectorReactor' (Scrapy's default)."
            )
        self.name = name.shown
        self._report_reused = report_reused
        self._run_id = secrets.token_hex(8)
        self._prefix = _prefix(name)
        # The caller retries, and has a deadline that knows if the reactor was blocked.
        options = {"retry": Retry(NoBackoff(), 0), "connection_class": _Connection}  # type: ignore[no-untyped-call,unused-ignore]
        self._redis: Any = _connect(Redis, name, None, **options)
        self._may_have_taken = False
        self._has_written = False
        self.losses = 0

    def _notice_loss(self, was_alive: int) -> None:
        """Count a loss if our sign of life is gone: our claims may be gone, or another worker's."""
        self.losses += self._has_written and not was_alive
        self._has_written = True

    async def _call(self, function: str, **arguments: Any) -> Any:
        return await self._redis.eval(
            *_script(self._prefix, function, run=self._run_id, keep=_KEEP, **arguments)
        )

    @_in_asyncio
    async def open(self, now: float) -> Mapping[str, tuple[int, int]]:
        passed: Counter[str] = Counter()
        others: Counter[str] = Counter()
        query = Query(keys=("site", "status"))
        pipeline = self._redis.pipeline(transaction=False)  # all at once, however slow it is
        for day in _days(now, base.RECENT_DAYS):
            pipeline.eval(*_script(self._prefix, "sums", **_asked(query, f"hours:{day}")))
        for sums in await pipeline.execute():
            for count in _counts(query, sums):
                (passed if count.status == base.PASSED else others)[count.site] += count.tasks
        return {site: (passed[site], others[site]) for site in passed | others}

    @_in_asyncio
    async def write(self, events: Sequence[base.Event]) -> list[Outcome | None]:
        was_alive, replies = await self._call(
            "write",
            report_reused=self._report_reused,
            events=[[type(e).__name__, json.dumps(e), *_texts(e)] for e in events],
        )
        self._notice_loss(was_alive)
        return [Outcome(reply.decode()) if reply else None for reply in replies]

    @_in_asyncio
    async def recover(self, now: float) -> base.Orphans:
        # If the answer to an earlier call was lost, its claims are already ours.
        mine_too, self._may_have_taken = self._may_have_taken, True
        was_alive, expired, taken = await self._call("recover", now=now, mine_too=mine_too)
        self._may_have_taken = False
        self._notice_loss(was_alive)
        return base.Orphans(_claims(taken), expired)

    def close(self) -> Deferred[None]:
        # Disconnects even if it is cancelled at once, or fails.
        return self._end().addBoth(lambda result: self._disconnect().addCallback(lambda _: result))

    @_in_asyncio
    async def _end(self) -> None:
        await self._call("end")

    @_in_asyncio
    async def _disconnect(self) -> None:
        await self._redis.aclose()


def read(name: RedisName, query: Query, now: float) -> tuple[list[base.Count], list[base.Alert]]:
    """The counts and alerts in the ledger *name* that *query* asks for.

    Raises:
        ValueError: it cannot be read.
    """
    hours, periods = {"before": _EVER}, {}
    if "period" in query.keys:
        fresh = base.hour_of(now - base.KEEP_PERIODS_SECONDS)
        hours, periods = {"before": fresh}, {"first": max(fresh, query.first_hour)}
    asked = [_asked(query, f"hours:{day}", **hours) for day in _days(now, base.KEEP_TOTALS_DAYS)]
    if periods:
        days = _days(now, base.KEEP_PERIODS_SECONDS // base.DAY_SECONDS + 1)
        asked += [_asked(query, f"periods:{day}", **periods) for day in days]
    counts: Counter[base.Count] = Counter()
    prefix = _prefix(name)
    try:
        with _connect(redis.Redis, name, READ_SECONDS) as server:
            for arguments in asked:
                sums = server.eval(*_script(prefix, "sums", **arguments))
                for count in _counts(query, sums):
                    counts[count._replace(tasks=0)] += count.tasks
            alerts = [
                base.Alert(*json.loads(text)) for text in server.lrange(f"{prefix}alerts", 0, -1)
            ]
    except (redis.RedisError, ValueError, TypeError) as error:  # an unknown option: TypeError
        raise ValueError(f"{name.shown} cannot be read: {error}") from error
    return [count._replace(tasks=tasks) for count, tasks in sorted(counts.items())], alerts


def _connect(client: Any, name: RedisName, timeout: float | None, **options: Any) -> Any:
    """A client of redis-py's class *client*, without options in the URL that would break it."""
    # A connection of protocol 3 begins with one or two exchanges more.
    connected = client.from_url(name.url, protocol=2, **options)
    connected.connection_pool.connection_kwargs.update(
        decode_responses=False, socket_timeout=timeout, socket_connect_timeout=CONNECT_SECONDS
    )
    return connected


def _script(prefix: str, function: str, **arguments: Any) -> tuple[Any, ...]:
    """The arguments of ``EVAL``. Not of ``EVALSHA``: SCRIPT FLUSH would forget the script."""
    return _SCRIPT, 1, prefix, function, json.dumps(arguments)


def _prefix(name: RedisName) -> str:
    # One hash tag: on a cluster all keys live in one slot, which the script needs.
    return "{capmonster_report}:" + ("dry-run:" if name.is_dry_run else "")


def _days(now: float, days: int) -> list[int]:
    """The numbers of the last *days* days, the oldest first, and of the next one.

    The clock of another worker may be ahead.
    """
    today = int(now // base.DAY_SECONDS)
    return [*range(today - days + 1, today + 2)]


def _asked(query: Query, totals: str, **bounds: Any) -> dict[str, Any]:
    """The arguments of ``sums``: the tasks in these *totals* that *query* asks for."""
    positions = [n for n, key in enumerate(base.Count._fields, 1) if key in query.ordered_keys]
    return {
        "totals": totals,
        "first": query.first_hour,
        "before": _EVER,
        "site": query.site,
        "spider": query.spider,
        "positions": positions,
        **bounds,
    }


def _counts(query: Query, sums: Sequence[Any]) -> list[base.Count]:
    """The counts in the result of ``sums``."""
    counts = [
        query.count(json.loads(values), tasks)
        for values, tasks in zip(sums[::2], sums[1::2], strict=True)
    ]
    return [count._replace(period=int(count.period), age=int(count.age)) for count in counts]


def _texts(value: Any) -> Any:
    """*value* with its numbers as text, since Lua's are not exact enough for ids."""
    return [*map(_texts, value)] if isinstance(value, tuple) else str(value)


def _claims(texts: Sequence[bytes]) -> list[base.Claimed]:
    """The claims in *texts*, but not what another program, or another release, has written."""
    claims = []
    for text in texts:
        with suppress(TypeError, ValueError):
            submission, *others = json.loads(text)
            claim = base.Claimed(base.Submission(*submission), *others)
            Kind(claim.kind)
            values = (*claim.submission, *claim[1:])
            if all(isinstance(*pair) for pair in zip(values, _CLAIM_TYPES, strict=True)):
                claims.append(claim)
    return sorted(claims, key=lambda claim: claim.submission.at)
