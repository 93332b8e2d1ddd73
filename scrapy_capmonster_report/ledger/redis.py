"""Entries in Redis, for several workers on several machines. Needs the asyncio reactor."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.exceptions import RedisError
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ..outcome import Outcome
from .entries import Claim, Finish, Left, Use

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from redis.asyncio.client import Pipeline

    from .entries import Entry

# One hash tag: on a cluster all keys live in one slot, which the scripts need.
_PREFIX: Final = "{capmonster_report}:"
_PENDING: Final = _PREFIX + "pending"
"""Hash: taskId → the claim as JSON."""
_OWNERS: Final = _PREFIX + "owners"
"""Hash: taskId → the run that holds the claim."""

KEEP_SECONDS: Final = 24 * 3600
"""How long a task is remembered after it was last heard of."""

ALIVE_SECONDS: Final = 10
"""A worker that has not said for so long that it is alive is taken for dead."""

SAY_ALIVE_EVERY: Final = 3.0

SOCKET_SECONDS: Final = 3.0
"""Less than ``journal.PATIENCE_SECONDS``, so that the log names the cause."""

# KEYS: task, pending, owners. ARGV: taskId, trip, report reused?, claim, run, seconds to keep.
_CLAIM: Final = """
local used_by = redis.call('HGET', KEYS[1], 'used_by')
if redis.call('HEXISTS', KEYS[1], 'state') == 1 then return 'duplicate' end
if used_by and used_by ~= ARGV[2] and ARGV[3] == '0' then return 'reused' end
redis.call('HSET', KEYS[1], 'state', 'pending')
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[4])
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
return false
"""

# KEYS: pending, owners. ARGV: run, prefix of the keys that say who is alive.
_TAKE_OVER: Final = """
local taken = {}
local pending = redis.call('HGETALL', KEYS[1])
for i = 1, #pending, 2 do
    local owner = redis.call('HGET', KEYS[2], pending[i])
    if not owner or redis.call('EXISTS', ARGV[2] .. owner) == 0 then
        redis.call('HSET', KEYS[2], pending[i], ARGV[1])
        table.insert(taken, pending[i + 1])
    end
end
return taken
"""

_OBJECTIONS: Final = {b"duplicate": Outcome.DUPLICATE, b"reused": Outcome.REUSED}


class RedisHome:
    """A ledger that workers on several machines share: one claim a task, whoever asks first.

    Args:
        url: ``redis://`` or ``rediss://``, as redis-py reads it.
        reactor: for the sign of life.
        report_reused: whether an answer that was used before may be claimed.
    """

    def __init__(self, url: str, *, reactor: Any, report_reused: bool) -> None:
        parts = urlsplit(url)
        self.name = f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}{parts.path}"
        self._report_reused = report_reused
        self._run = secrets.token_hex(8)
        self._redis: Redis = Redis.from_url(
            url, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
        )
        self._claim = self._redis.register_script(_CLAIM)
        self._sign_of_life = LoopingCall(self._say_alive)
        self._sign_of_life.clock = reactor

    def open(self, now: float) -> Deferred[Left]:
        return _deferred(self._open(now))

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        return _deferred(self._write(entries))

    def close(self) -> Deferred[None]:
        if self._sign_of_life.running:
            self._sign_of_life.stop()
        return _deferred(self._close())

    async def _open(self, now: float) -> Left:
        await self._redis.set(self._alive_key, 1, ex=ALIVE_SECONDS)
        self._sign_of_life.start(SAY_ALIVE_EVERY, now=False)
        taken = await self._redis.register_script(_TAKE_OVER)(
            keys=[_PENDING, _OWNERS], args=[self._run, _PREFIX + "alive:"]
        )
        claims = [Claim(**json.loads(text)) for text in taken]
        expired = [
            Finish(claim.task_id, Outcome.EXPIRED.value, None, now)
            for claim in claims
            if claim.expires_at <= now
        ]
        if expired:
            await self._write(expired)
        fresh = [claim for claim in claims if claim.expires_at > now]
        return Left(sorted(fresh, key=lambda claim: claim.at), len(expired))

    async def _write(self, entries: Sequence[Entry]) -> list[Outcome | None]:
        results: list[Outcome | None] = []
        async with self._redis.pipeline(transaction=False) as pipe:
            # How many replies each entry has; an objection is in the first of them.
            replies = [await self._add(pipe, entry) for entry in entries]
            answers = iter(await pipe.execute())
        for count in replies:
            first, *_ = (next(answers) for _ in range(count))
            results.append(_OBJECTIONS.get(first) if isinstance(first, bytes) else None)
        return results

    async def _add(self, pipe: Pipeline, entry: Entry) -> int:
        """Add the commands that write *entry*; returns how many they are."""
        key = f"{_PREFIX}task:{entry.task_id}"
        if isinstance(entry, Claim):
            await self._claim(
                keys=[key, _PENDING, _OWNERS],
                args=[
                    entry.task_id,
                    entry.trip,
                    int(self._report_reused),
                    json.dumps(entry._asdict()),
                    self._run,
                    KEEP_SECONDS,
                ],
                client=pipe,
            )
            return 1
        if isinstance(entry, Use):
            pipe.hsetnx(key, "used_by", entry.trip).expire(key, KEEP_SECONDS)
            return 2
        if isinstance(entry, Finish):
            pipe.hset(key, mapping={"state": entry.outcome, "code": entry.code or ""})
            pipe.expire(key, KEEP_SECONDS)
            pipe.hdel(_PENDING, entry.task_id).hdel(_OWNERS, entry.task_id)
            return 4
        pipe.hdel(_OWNERS, entry.task_id)
        return 1

    async def _close(self) -> None:
        try:
            await self._redis.delete(self._alive_key)
        finally:
            await self._redis.aclose()

    @property
    def _alive_key(self) -> str:
        return f"{_PREFIX}alive:{self._run}"

    def _say_alive(self) -> Deferred[None]:
        return _deferred(self._renew())

    async def _renew(self) -> None:
        try:
            await self._redis.set(self._alive_key, 1, ex=ALIVE_SECONDS)
        except RedisError:
            # The next entry that is written meets the same trouble and says so.
            return


def _deferred(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromFuture(asyncio.ensure_future(work))
