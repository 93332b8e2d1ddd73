"""A ledger in Redis, for workers on several machines."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from contextlib import closing, suppress
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from ..outcome import Outcome
from ..task import Kind
from . import base
from .history import EVER, History

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .history import Query
    from .names import RedisName

KEEP_SECONDS: Final = base.DAY_SECONDS
"""How long a task is remembered after its last event."""

MAX_ALERTS: Final = 1000

ALIVE_SECONDS: Final = 30
"""How long a worker may be silent before it counts as dead."""

CONNECT_SECONDS: Final = 5.0
"""How long a connection may take."""

ANSWER_SECONDS: Final = 20.0
"""How long the server may take for an answer."""

_KEEP: Final = {
    "tasks": KEEP_SECONDS,
    "periods": base.KEEP_PERIODS_SECONDS + 2 * base.DAY_SECONDS,
    "hours": base.KEEP_TOTALS_DAYS * base.DAY_SECONDS,
    "alerts": MAX_ALERTS,
    "alive": ALIVE_SECONDS,
}
_SCRIPT: Final = files(__package__).joinpath("redis.lua").read_text(encoding="utf-8")

_MOMENT: Final = (int, float)
_CLAIM_TYPES: Final[tuple[Any, ...]] = (
    *(int, int, str, str, str, int, _MOMENT),  # of the submission
    *(str, str, _MOMENT, _MOMENT),
)


class RedisBackend:
    """A ledger that workers on several machines share. The first claim of a task is final.

    Args:
        name: its name.
        report_reused: whether an answer that was used before may be claimed.

    Raises:
        ValueError: an option in the URL is wrong.
    """

    lease = ALIVE_SECONDS - 5.0

    def __init__(self, name: RedisName, *, report_reused: bool) -> None:
        self.name = name.shown
        self._report_reused = report_reused
        self._run_id = secrets.token_hex(8)
        # One hash tag: on a cluster all keys live in one slot, which the script needs.
        self._prefix = "{capmonster_report}:" + ("dry-run:" if name.is_dry_run else "")
        # A connection of protocol 3 begins with one or two exchanges more. The caller retries.
        retry = Retry(NoBackoff(), 0)  # type: ignore[no-untyped-call,unused-ignore]
        self._redis: Any = Redis.from_url(name.url, protocol=2, retry=retry)
        self._redis.connection_pool.connection_kwargs.update(  # even if the URL says otherwise
            decode_responses=False,
            socket_timeout=ANSWER_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
        )
        self._may_have_taken = False
        self._calls = 0
        self._alive_since: bytes | None = None
        self.losses = 0

    def count(self, query: Query, now: float) -> list[base.Count]:
        pipeline = self._redis.pipeline(transaction=False)  # all at once, however slow it is
        for arguments in _totals(query, now):
            pipeline.eval(*self._script("sums", **arguments))
        days = pipeline.execute(raise_on_error=False)  # else it would quote the script
        for sums in days:
            if isinstance(sums, Exception):
                raise sums
        return _counts(query, days)

    def alerts(self) -> list[base.Alert]:
        """All alerts."""
        texts = self._redis.lrange(f"{self._prefix}alerts", 0, -1)
        return [base.Alert(*json.loads(text)) for text in texts]

    def write(self, events: Sequence[base.Event]) -> list[Outcome | None]:
        replies = self._call(
            "write",
            report_reused=self._report_reused,
            events=[[type(e).__name__, json.dumps(e), *_texts(e)] for e in events],
        )
        return [Outcome(reply.decode()) if reply else None for reply in replies]

    def recover(self, now: float) -> list[base.Claimed]:
        # If the answer to an earlier call was lost, its claims are already ours.
        mine_too, self._may_have_taken = self._may_have_taken, True
        claims = self._call("recover", mine_too=mine_too)
        self._may_have_taken = False
        return _claims(claims)

    def close(self) -> None:
        with closing(self._redis):
            self._redis.eval(*self._script("end"))

    def _call(self, function: str, **arguments: Any) -> Any:
        self._calls += 1
        script = self._script(function, call=self._calls, keep=_KEEP, **arguments)
        alive_since, result = self._redis.eval(*script)
        # If it has changed, our claims may be gone, or another worker's.
        self.losses += self._alive_since not in (None, alive_since)
        self._alive_since = alive_since
        return result

    def _script(self, function: str, **arguments: Any) -> tuple[Any, ...]:
        """The arguments of ``EVAL``. Not of ``EVALSHA``: SCRIPT FLUSH would forget the script."""
        return _SCRIPT, 1, self._prefix, function, json.dumps({"run": self._run_id, **arguments})


def read(name: RedisName, query: Query, now: float) -> History:
    """What *query* asks for in the ledger *name*.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        backend = RedisBackend(name, report_reused=False)
        with closing(backend._redis):
            return History(backend.count(query, now), backend.alerts())
    except (RedisError, ValueError, TypeError) as error:  # an unknown option: TypeError
        raise ValueError(f"{name.shown} cannot be read: {error}") from error


def _totals(query: Query, now: float) -> Iterator[dict[str, Any]]:
    """The arguments of ``sums`` for each day of the totals that *query* asks for."""
    fresh = query.periods_from(now)
    kinds = {"hours": (query.first_hour, fresh), "periods": (max(fresh, query.first_hour), EVER)}
    oldest = now - base.KEEP_TOTALS_DAYS * base.DAY_SECONDS
    tomorrow = now + base.DAY_SECONDS  # the clock of another worker may be ahead
    positions = [n for n, key in enumerate(base.Count._fields, 1) if key in query.ordered_keys]
    for kind, (first, before) in kinds.items():
        days = [int(at // base.DAY_SECONDS) for at in (max(first, oldest), min(before, tomorrow))]
        for day in range(days[0], days[1] + 1):
            yield {
                "totals": f"{kind}:{day}",
                "first": first,
                "before": before,
                "site": query.site,
                "spider": query.spider,
                "positions": positions,
            }


def _counts(query: Query, days: Iterable[Sequence[Any]]) -> list[base.Count]:
    """The counts in the results of ``sums``."""
    found: Counter[bytes] = Counter()
    for sums in days:
        for values, tasks in zip(sums[::2], sums[1::2], strict=True):
            found[values] += tasks
    counts = [query.count(json.loads(values), tasks) for values, tasks in found.items()]
    return sorted(count._replace(period=int(count.period), age=int(count.age)) for count in counts)


def _texts(value: Any) -> Any:
    """*value* with its numbers as text, since Lua's are not exact enough for ids."""
    return [*map(_texts, value)] if isinstance(value, tuple) else str(value)


def _claims(texts: Iterable[bytes]) -> list[base.Claimed]:
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
