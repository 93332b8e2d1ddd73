"""Entries in Redis, for several workers on several machines. Needs the asyncio reactor."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from ..outcome import Outcome
from .entries import (
    DAY_SECONDS,
    KEEP_TOTALS_DAYS,
    LATELY_DAYS,
    PASSED,
    PENDING,
    Alert,
    Claim,
    Count,
    Finish,
    Left,
    Refusal,
    Release,
    Sighting,
    Use,
    hour_of,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence

    from redis.asyncio.client import Pipeline

    from .entries import Entry

# One hash tag: on a cluster all keys live in one slot, which the scripts need.
_PREFIX: Final = "{capmonster_report}:"
_PENDING: Final = _PREFIX + "pending"
"""Hash: taskId → the claim as JSON."""
_OWNERS: Final = _PREFIX + "owners"
"""Hash: taskId → the run that holds the claim."""
_TOTALS: Final = _PREFIX + "totals:"
"""Hash for each day: the members of a ``Count`` as JSON, but the last → how many tasks."""
ALERTS: Final = _PREFIX + "alerts"
"""List: each ``Alert`` as JSON."""

KEEP_SECONDS: Final = DAY_SECONDS
"""How long a task is remembered after it was last heard of."""

MOST_ALERTS: Final = 1000

ALIVE_SECONDS: Final = 30
"""A worker that has not said for so long that it is alive is taken for dead."""

SAY_ALIVE_EVERY: Final = 5.0

SOCKET_SECONDS: Final = 3.0
"""Less than ``journal.PATIENCE_SECONDS``, so that the log names the cause."""

# A task is a hash: used_by, state ('pending', 'finished'), status, history (its field in the totals
# of its day), totals (their key). The totals are kept up with each change.
_SEE: Final = f"""
local function see(task, totals, history, status)
    local old = redis.call('HGET', task, 'history')
    if old then redis.call('HINCRBY', redis.call('HGET', task, 'totals'), old, -1) end
    redis.call('HSET', task, 'history', history, 'totals', totals, 'status', status)
    redis.call('EXPIRE', task, {KEEP_SECONDS})
    redis.call('HINCRBY', totals, history, 1)
    redis.call('EXPIRE', totals, {KEEP_TOTALS_DAYS * DAY_SECONDS})
end
"""

# KEYS: task, totals. ARGV: trip, passed?, history.
_USE: Final = f"""{_SEE}
redis.call('HSETNX', KEYS[1], 'used_by', ARGV[1])
redis.call('EXPIRE', KEYS[1], {KEEP_SECONDS})
if ARGV[2] == '1' and redis.call('HEXISTS', KEYS[1], 'status') == 0 then
    see(KEYS[1], KEYS[2], ARGV[3], '{PASSED}')
end
"""

# KEYS: task, totals. ARGV: trip, history, outcome.
# Of several verdicts on a task the first stands, unless reject() revised that very one.
_REFUSE: Final = f"""{_SEE}
local status = redis.call('HGET', KEYS[1], 'status')
local revised = status == '{PASSED}' and redis.call('HGET', KEYS[1], 'used_by') == ARGV[1]
if not status or revised then see(KEYS[1], KEYS[2], ARGV[2], ARGV[3]) end
"""

# KEYS: task, totals, pending, owners. ARGV: taskId, trip, report reused?, history, claim, run.
_CLAIM: Final = f"""{_SEE}
local used_by = redis.call('HGET', KEYS[1], 'used_by')
if redis.call('HEXISTS', KEYS[1], 'state') == 1 then return 'duplicate' end
if used_by and used_by ~= ARGV[2] and ARGV[3] == '0' then return 'reused' end
redis.call('HSET', KEYS[1], 'state', 'pending')
redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
redis.call('HSET', KEYS[4], ARGV[1], ARGV[6])
see(KEYS[1], KEYS[2], ARGV[4], '{PENDING}')
return false
"""

# KEYS: task, pending, owners. ARGV: taskId, outcome, code.
_FINISH: Final = f"""{_SEE}
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('HSET', KEYS[1], 'state', 'finished')
redis.call('EXPIRE', KEYS[1], {KEEP_SECONDS})
local history = redis.call('HGET', KEYS[1], 'history')
if history then
    history = cjson.decode(history)
    history[7], history[8] = ARGV[2], ARGV[3]
    see(KEYS[1], redis.call('HGET', KEYS[1], 'totals'), cjson.encode(history), ARGV[2])
end
"""

# KEYS: pending, owners. ARGV: run, prefix of the keys that say who is alive.
_TAKE_OVER: Final = """
local taken = {}
local pending = redis.call('HGETALL', KEYS[1])
for i = 1, #pending, 2 do
    local owner = redis.call('HGET', KEYS[2], pending[i])
    local gone = not owner or redis.call('EXISTS', ARGV[2] .. owner) == 0
    if gone and owner ~= ARGV[1] then
        redis.call('HSET', KEYS[2], pending[i], ARGV[1])
        table.insert(taken, pending[i + 1])
    end
end
return taken
"""

# KEYS: alerts. ARGV: alert.
_ALERT: Final = f"""
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('LTRIM', KEYS[1], {-MOST_ALERTS}, -1)
redis.call('EXPIRE', KEYS[1], {KEEP_TOTALS_DAYS * DAY_SECONDS})
"""

# KEYS: totals. ARGV: a query as query_for() makes it. Gives histories and how many tasks each has.
# Added up where they are: a day may have very many, and a crawl would stop while it reads them.
SUMS: Final = """
local query = cjson.decode(ARGV[1])
local blanks = {}
for position, blank in pairs(query.blanks) do blanks[tonumber(position)] = blank end
local function wanted(history, position, value)
    return value == cjson.null or history[position] == value
end
local sums, samples = {}, {}
local totals = redis.call('HGETALL', KEYS[1])
for i = 1, #totals, 2 do
    local history, tasks = cjson.decode(totals[i]), tonumber(totals[i + 1])
    if tasks > 0 and tonumber(history[1]) >= query.first_hour
            and wanted(history, 2, query.site) and wanted(history, 3, query.spider) then
        for position, blank in pairs(blanks) do history[position] = blank end
        local key = table.concat(history, '\\0')
        if sums[key] then
            sums[key] = sums[key] + tasks
        else
            sums[key], samples[key] = tasks, history
        end
    end
end
local flat = {}
for key, tasks in pairs(sums) do
    table.insert(flat, cjson.encode(samples[key]))
    table.insert(flat, tasks)
end
return flat
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
        self.name = shown(url)
        self._report_reused = report_reused
        self._run = secrets.token_hex(8)
        self._redis: Redis = connect(Redis, url)
        self._scripts = {
            kind: self._redis.register_script(script)
            for kind, script in (
                (Use, _USE),
                (Refusal, _REFUSE),
                (Claim, _CLAIM),
                (Finish, _FINISH),
            )
        }
        self._sign_of_life = LoopingCall(self._say_alive)
        self._sign_of_life.clock = reactor

    def open(self, now: float) -> Deferred[Mapping[str, tuple[int, int]]]:
        return _deferred(self._open(now))

    def take_over(self, now: float) -> Deferred[Left]:
        return _deferred(self._take_over(now))

    def write(self, entries: Sequence[Entry]) -> Deferred[list[Outcome | None]]:
        return _deferred(self._write(entries))

    def close(self) -> Deferred[None]:
        if self._sign_of_life.running:
            self._sign_of_life.stop()
        return _deferred(self._close())

    async def _open(self, now: float) -> dict[str, tuple[int, int]]:
        await self._redis.set(self._alive_key, 1, ex=ALIVE_SECONDS)
        self._sign_of_life.start(SAY_ALIVE_EVERY, now=False)
        return await self._rates(now)

    async def _take_over(self, now: float) -> Left:
        taken = await self._redis.register_script(_TAKE_OVER)(
            keys=[_PENDING, _OWNERS], args=[self._run, _PREFIX + "alive:"]
        )
        claims = [_claim_from(json.loads(text)) for text in taken]
        expired = [
            Finish(claim.sighting.task_id, Outcome.EXPIRED.value, "", now)
            for claim in claims
            if claim.expires_at <= now
        ]
        if expired:
            await self._write(expired)
        fresh = [claim for claim in claims if claim.expires_at > now]
        fresh.sort(key=lambda claim: claim.sighting.at)
        return Left(fresh, len(expired))

    async def _rates(self, now: float) -> dict[str, tuple[int, int]]:
        rates: dict[str, tuple[int, int]] = {}
        sums = self._redis.register_script(SUMS)
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in totals_keys(now, LATELY_DAYS):
                await sums(keys=[key], args=[query_for(keys=("site", "status"))], client=pipe)
            for count in counts_from(await pipe.execute()):
                passed, refused = rates.get(count.site, (0, 0))
                if count.status == PASSED:
                    rates[count.site] = passed + count.tasks, refused
                else:
                    rates[count.site] = passed, refused + count.tasks
        return rates

    async def _write(self, entries: Sequence[Entry]) -> list[Outcome | None]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                await self._add(pipe, entry)  # one command each
            replies = await pipe.execute()
        return [_OBJECTIONS.get(reply) if isinstance(reply, bytes) else None for reply in replies]

    async def _add(self, pipe: Pipeline, entry: Entry) -> None:
        keys: list[str]
        args: list[Any]
        if isinstance(entry, Release):
            pipe.hdel(_OWNERS, str(entry.task_id))
            return
        if isinstance(entry, Alert):
            await self._redis.register_script(_ALERT)(
                keys=[ALERTS], args=[json.dumps(entry)], client=pipe
            )
            return
        if isinstance(entry, Finish):
            keys = [_task_key(entry.task_id), _PENDING, _OWNERS]
            args = [entry.task_id, entry.outcome, entry.code]
        else:
            seen = entry.sighting
            keys = [_task_key(seen.task_id), _totals_key(hour_of(seen.at))]
            if isinstance(entry, Use):
                args = [seen.trip, int(entry.passed), _history(seen, "", PASSED)]
            elif isinstance(entry, Refusal):
                args = [seen.trip, _history(seen, entry.rule, entry.outcome), entry.outcome]
            else:
                keys += [_PENDING, _OWNERS]
                history = _history(seen, entry.rule, PENDING)
                reused = int(self._report_reused)
                args = [seen.task_id, seen.trip, reused, history, json.dumps(entry), self._run]
        await self._scripts[type(entry)](keys=keys, args=args, client=pipe)

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
        except Exception:  # RedisError, for the most part
            # The next entry that is written meets the same trouble and says so.
            return


def connect(client: Any, url: str) -> Any:
    """A client of redis-py's class *client* for *url*."""
    connected = client.from_url(url)
    # The options of a URL are stronger than arguments, and replies must be the bytes they are.
    connected.connection_pool.connection_kwargs.update(
        decode_responses=False,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
    )
    return connected


def shown(url: str) -> str:
    """*url* without its credentials."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"


def totals_keys(now: float, days: int) -> list[str]:
    """The keys of the totals of the last *days* days, the oldest first."""
    return [_totals_key(now - day * DAY_SECONDS) for day in reversed(range(days))]


def query_for(
    *,
    keys: Sequence[str],
    first_hour: int = 0,
    site: str | None = None,
    spider: str | None = None,
) -> str:
    """What :data:`SUMS` shall add up: the tasks since *first_hour*, told apart by *keys*."""
    blanks = {
        position: "0" if key in ("period", "age") else ""
        for position, key in enumerate(Count._fields[:-1], 1)
        if key not in keys
    }
    query = {"first_hour": first_hour, "site": site, "spider": spider, "blanks": blanks}
    return json.dumps(query)


def counts_from(days: Iterable[Sequence[Any]]) -> Iterator[Count]:
    """The counts in what :data:`SUMS` gives for each day."""
    for day in days:
        for history, tasks in zip(day[::2], day[1::2], strict=True):
            period, site, spider, task_type, age, rule, status, code = json.loads(history)
            yield Count(int(period), site, spider, task_type, int(age), rule, status, code, tasks)


def _history(seen: Sighting, rule: str, status: str) -> str:
    # Strings all: the script takes them apart and Lua's numbers would not come back the same.
    period, age = str(hour_of(seen.at)), str(seen.age)
    return json.dumps([period, seen.site, seen.spider, seen.type, age, rule, status, ""])


def _claim_from(fields: list[Any]) -> Claim:
    sighting, *others = fields
    return Claim(Sighting._make(sighting), *others)


def _task_key(task_id: int) -> str:
    return f"{_PREFIX}task:{task_id}"


def _totals_key(at: float) -> str:
    return f"{_TOTALS}{int(at // DAY_SECONDS)}"


def _deferred(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return Deferred.fromFuture(asyncio.ensure_future(work))
