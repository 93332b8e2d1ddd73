"""What the backends of a ledger make of the events that are written to them: all the same."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from filelock import FileLock

from scrapy_capmonster_report.ledger import PASSED, PENDING, Alert, Query, read_history
from scrapy_capmonster_report.ledger.base import (
    Claimed,
    Finished,
    Judged,
    NotSent,
    Sent,
    Submission,
    age_class,
    hour_of,
)
from scrapy_capmonster_report.ledger.history import by_site
from scrapy_capmonster_report.ledger.names import RedisName
from scrapy_capmonster_report.ledger.sqlite import SQLiteBackend
from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scrapy_capmonster_report.ledger.base import Event

NOW = 1_800_000_000.0
DAY = 24 * 3600.0


def sqlite_backend(path: Path, *, report_reused: bool = False) -> SQLiteBackend:
    """A run's backend in the file *path*."""
    return SQLiteBackend(path, report_reused=report_reused, log_extra={"spider": "a spider"})


class Ledgers:
    """One place, and the runs that keep their ledgers there.

    Args:
        url: the place, as ``CAPMONSTER_REPORT_LEDGER`` names it.
        make: makes a backend of it, from whether to report what was reused.
    """

    def __init__(self, url: str, make: Callable[[bool], Any], kill: Callable[[Any], Any]) -> None:
        self.url = url
        self.kill = kill
        self._make = make
        self._backends: list[Any] = []

    def run(self, *, report_reused: bool = False) -> Any:
        """The backend of a run that begins."""
        backend = self._make(report_reused)
        self._backends.append(backend)
        backend.count(Query(), NOW)
        return backend

    def close(self, backend: Any) -> None:
        self._backends.remove(backend)
        backend.close()

    def close_all(self) -> None:
        for backend in list(self._backends):
            self.close(backend)

    def counts(self) -> dict[tuple[Any, ...], int]:
        """What the history says: (site, type, age, rule, fate, code) → tasks."""
        history = read_history(self.url, now=lambda: NOW)
        return {(c.site, c.type, c.age, c.rule, c.status, c.code): c.tasks for c in history.counts}

    def statuses(self) -> dict[str, int]:
        return {key[4]: tasks for key, tasks in self.counts().items()}


@pytest_twisted.async_yield_fixture(params=["sqlite", "redis"])
async def ledgers(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    def stop() -> None:
        """Stop the server, where there is one."""

    if request.param == "sqlite":
        path = tmp_path / "ledger.sqlite"

        def release_lock(backend: Any) -> None:
            backend._locks.release(remove=False)

        made = Ledgers(
            f"sqlite:{path}",
            lambda reused: sqlite_backend(path, report_reused=reused),
            release_lock,
        )
    else:
        from redis_server import start_redis

        from scrapy_capmonster_report.ledger.redis import RedisBackend

        server = await start_redis(tmp_path)
        stop = server.stop

        def expire(backend: Any) -> None:
            server.client.delete(f"{backend._prefix}alive:{backend._run_id}")

        made = Ledgers(
            server.url,
            lambda reused: RedisBackend(RedisName.parse(server.url), report_reused=reused),
            expire,
        )
    yield made
    made.close_all()
    stop()


def seen(task_id: int = 7, attempt: int = 1, at: float = NOW, **fields: Any) -> Submission:
    defaults = {"site": "shop.example", "spider": "shop", "type": "TurnstileTask", "age": 10}
    return Submission(task_id, attempt, at=at, **{**defaults, **fields})


def passed(*args: Any, **fields: Any) -> Judged:
    return Judged(seen(*args, **fields), "", PASSED)


def sent(task_id: int = 7, attempt: int = 1, at: float = NOW) -> Sent:
    return Sent(task_id, attempt, at)


def claim(*args: Any, expires_at: float = NOW + 300, **fields: Any) -> Claimed:
    return Claimed(seen(*args, **fields), "wrong", "token", NOW - 10, expires_at)


def withheld(outcome: Outcome, *args: Any, **fields: Any) -> Judged:
    return Judged(seen(*args, **fields), "wrong", outcome.value)


def finish(outcome: Outcome, task_id: int = 7, code: str = "") -> Finished:
    return Finished(task_id, outcome.value, code, NOW + 1)


DUPLICATE, REUSED = Outcome.DUPLICATE, Outcome.REUSED

# The events of one crawl; the outcomes that forbid them; the history afterwards.
STORIES: dict[str, tuple[list[Event], list[Outcome | None], dict[str, int]]] = {
    "nothing": ([], [], {}),
    "passed": ([passed()], [None], {PASSED: 1}),
    "passed twice": ([passed(), passed(attempt=2)], [None] * 2, {PASSED: 1}),
    "sent, and no response": ([sent()], [None], {}),
    "sent in vain, then passed": ([sent(), passed(attempt=2)], [None] * 2, {PASSED: 1}),
    "not sent after all, then refused": (
        [sent(), NotSent(7, 1), sent(attempt=2), claim(attempt=2)],
        [None] * 4,
        {PENDING: 1},
    ),
    "another attempt was not sent": (
        [sent(), sent(attempt=2), NotSent(7, 2), claim(attempt=3)],
        [None, None, None, REUSED],
        {},
    ),
    "claimed again by the same run, whose answer was lost": (
        [claim(), claim()],
        [None] * 2,
        {PENDING: 1},
    ),
    "refused": ([claim()], [None], {PENDING: 1}),
    "accepted": ([claim(), finish(Outcome.ACCEPTED)], [None] * 2, {"sent/accepted": 1}),
    "refused by the service": (
        [claim(), finish(Outcome.REFUSED, code="WRONG_CAPTCHA_ID")],
        [None] * 2,
        {"sent/refused": 1},
    ),
    "refused again": ([claim(), claim(attempt=2)], [None, DUPLICATE], {PENDING: 1}),
    "refused again when all was done": (
        [claim(), finish(Outcome.ACCEPTED), claim(attempt=2)],
        [None, None, DUPLICATE],
        {"sent/accepted": 1},
    ),
    "passed, then refused": ([passed(), claim(attempt=2)], [None, REUSED], {PASSED: 1}),
    "sent in vain, then refused": ([sent(), claim(attempt=2)], [None, REUSED], {}),
    "passed, and revised by reject()": ([passed(), claim()], [None] * 2, {PENDING: 1}),
    "too old": ([withheld(Outcome.STALE)], [None], {"withheld/stale": 1}),
    "passed, and revised though too old": (
        [passed(), withheld(Outcome.STALE)],
        [None] * 2,
        {"withheld/stale": 1},
    ),
    "passed, then spent": ([passed(), withheld(REUSED, attempt=2)], [None] * 2, {PASSED: 1}),
    "retried, then refused": (
        [sent(), withheld(REUSED, attempt=2)],
        [None] * 2,
        {"withheld/reused": 1},
    ),
    "no room, then room": (
        [withheld(Outcome.QUEUE_FULL), claim(attempt=2)],
        [None] * 2,
        {PENDING: 1},
    ),
    "given up after it was claimed": (
        [claim(), finish(Outcome.UNDELIVERED), claim(attempt=2)],
        [None, None, DUPLICATE],
        {"dropped/undelivered": 1},
    ),
    "left to the next crawl": ([claim(), finish(Outcome.KEPT)], [None] * 2, {PENDING: 1}),
    "several": (
        [claim(1), claim(2), passed(3), finish(Outcome.ACCEPTED, 1)],
        [None] * 4,
        {PASSED: 1, PENDING: 1, "sent/accepted": 1},
    ),
}


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "one by one"])
@pytest.mark.parametrize("story", STORIES)
async def test_each_task_has_one_status(story: str, together: bool, ledgers: Ledgers) -> None:
    entries, outcomes, statuses = STORIES[story]
    backend = ledgers.run()
    if together:
        assert backend.write(entries) == outcomes
    else:
        assert [(backend.write([entry]))[0] for entry in entries] == outcomes
    assert ledgers.statuses() == statuses


def test_an_answer_that_passed_may_be_claimed_where_the_user_asks_for_it(
    ledgers: Ledgers,
) -> None:
    backend = ledgers.run(report_reused=True)
    assert backend.write([passed(), claim(attempt=2), claim(attempt=3)]) == [
        None,
        None,
        DUPLICATE,
    ]
    assert ledgers.statuses() == {PENDING: 1}


def test_one_of_two_runs_gets_the_claim(ledgers: Ledgers) -> None:
    first, second = ledgers.run(), ledgers.run()
    assert first.write([claim(1), passed(2)]) == [None, None]
    assert second.write([claim(1, attempt=9), claim(2, attempt=9)]) == [DUPLICATE, REUSED]


def test_what_a_living_run_has_claimed_is_its_own(ledgers: Ledgers) -> None:
    first, second = ledgers.run(), ledgers.run()
    first.write([claim()])
    for backend in (second, first):
        assert backend.recover(NOW) == []
        assert backend.recover(NOW + 400) == []  # it may just be waiting for its answer


def test_what_a_dead_run_has_claimed_is_taken_over_once(ledgers: Ledgers) -> None:
    first, second, third = [ledgers.run() for _ in range(3)]
    claims = [claim(n, at=NOW + n, type="ünïcode", site="") for n in range(1, 4)]
    first.write([*claims, claim(4), finish(Outcome.ACCEPTED, 4)])
    ledgers.kill(first)
    assert second.recover(NOW) == claims
    assert second.recover(NOW) == third.recover(NOW) == []
    ledgers.kill(second)
    assert third.recover(NOW) == claims


def test_what_a_run_leaves_is_taken_over_at_once(ledgers: Ledgers) -> None:
    first, second = ledgers.run(), ledgers.run()
    first.write([claim(1), claim(2), finish(Outcome.KEPT, 2), finish(Outcome.KEPT, 99)])
    assert second.recover(NOW) == [claim(2)]
    ledgers.close(first)
    assert second.recover(NOW) == [claim(1)]


def test_the_history_tells_sites_types_ages_and_codes_apart(ledgers: Ledgers) -> None:
    backend = ledgers.run()
    backend.write(
        [
            passed(1),
            passed(2, site="other.example"),
            passed(3, type=""),
            passed(4, age=300),
            claim(5),
            claim(6),
            finish(Outcome.REFUSED, 6, code='ERROR_"ODD"/é'),
            withheld(Outcome.STALE, 8, site="ünïcode.example", type="a\\b'\"/"),
        ]
    )
    turnstile = ("shop.example", "TurnstileTask")
    assert ledgers.counts() == {
        (*turnstile, 10, "", PASSED, ""): 1,
        ("other.example", "TurnstileTask", 10, "", PASSED, ""): 1,
        ("shop.example", "", 10, "", PASSED, ""): 1,
        (*turnstile, 300, "", PASSED, ""): 1,
        (*turnstile, 10, "wrong", PENDING, ""): 1,
        (*turnstile, 10, "wrong", "sent/refused", 'ERROR_"ODD"/é'): 1,
        ("ünïcode.example", "a\\b'\"/", 10, "wrong", "withheld/stale", ""): 1,
    }


def test_a_new_run_knows_the_usual_rate_of_a_site(ledgers: Ledgers) -> None:
    backend = ledgers.run()
    backend.write(
        [
            *(passed(n) for n in range(1, 8)),
            *(claim(n) for n in range(8, 11)),
            withheld(Outcome.STALE, 11),
            passed(12, site="other.example"),
            passed(13, site="old.example", at=NOW - 8 * DAY),
        ]
    )
    recent = Query(since=NOW - 7 * DAY, keys=("site", "status"))
    usual = by_site(ledgers.run().count(recent, NOW))
    assert usual == {"shop.example": (7, 4), "other.example": (1, 0)}


def test_alerts_are_kept(ledgers: Ledgers) -> None:
    backend = ledgers.run()
    alerts = [Alert(NOW, "shop.example", 0.05, 0.4, 30), Alert(NOW + 1, "é", 0.0, 1.0, 12)]
    assert backend.write(alerts) == [None, None]
    assert read_history(ledgers.url, now=lambda: NOW).alerts == alerts


def test_an_answer_counts_though_the_clock_of_its_worker_is_ahead(ledgers: Ledgers) -> None:
    backend = ledgers.run()
    midnight = (NOW // DAY + 1) * DAY
    backend.write([passed(1, at=midnight + 60)])
    history = read_history(ledgers.url, now=lambda: midnight - 60)
    assert [count.tasks for count in history.counts] == [1]


def test_the_locks_of_processes_that_died_are_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    old, new, held = (tmp_path / f"ledger.sqlite.run-{name}.lock" for name in ("a", "b", "c"))
    for lock in (old, new):
        lock.touch()
    os.utime(old, (0, 0))
    with FileLock(held):
        os.utime(held, (0, 0))
        backend = sqlite_backend(path)
        backend.recover(NOW)
        backend.close()
        assert sorted(tmp_path.glob("*.lock")) == [new, held]


@pytest_twisted.ensureDeferred
async def test_no_option_of_a_redis_url_switches_the_claims_off(tmp_path: Path) -> None:
    from redis_server import start_redis

    from scrapy_capmonster_report.ledger.redis import RedisBackend

    server = await start_redis(tmp_path)
    url = f"{server.url}?decode_responses=true&socket_timeout=100"
    first, second = (RedisBackend(RedisName.parse(url), report_reused=False) for _ in range(2))
    for backend in (first, second):
        assert backend.recover(NOW) == []
    assert first.write([claim(1)]) == [None]
    assert second.write([claim(1, attempt=9)]) == [DUPLICATE]
    assert [count.status for count in read_history(url, now=lambda: NOW).counts] == [PENDING]
    for backend in (first, second):
        backend.close()
    server.stop()


def test_claims_that_another_program_or_release_wrote_to_redis_are_left_alone(
    redis_server: Any,
) -> None:
    """They kept the claims of all others from being recovered, some without a word."""
    from scrapy_capmonster_report.ledger.redis import RedisBackend

    own = claim(100)
    strange = [
        *("no JSON", 5, "text", None, {}, [], [1, 2], [*own, "one more"], own[1:]),
        own._replace(expires_at="soon"),
        own._replace(expires_at=None),
        own._replace(kind="video"),
        own._replace(kind=["token"]),
        own._replace(rule=None),
        own._replace(submission=5),
        own._replace(submission=own.submission[1:]),
        own._replace(submission=own.submission._replace(task_id="100")),
        own._replace(submission=own.submission._replace(at="then")),
        own._replace(submission=own.submission._replace(site=None)),
    ]
    texts = {number: json.dumps(value) for number, value in enumerate(strange)}
    texts |= {0: "no JSON", 100: json.dumps(own)}
    redis_server.client.hset("{capmonster_report}:pending", mapping=texts)
    redis_server.client.rpush("{capmonster_report}:alerts", "no JSON")
    backend = RedisBackend(RedisName.parse(redis_server.url), report_reused=False)
    assert backend.count(Query(), NOW) == []
    assert backend.recover(NOW) == [own]
    assert redis_server.client.hlen("{capmonster_report}:pending") == len(texts)
    backend.close()


def test_rows_that_are_old_are_forgotten_and_their_totals_stay(tmp_path: Path) -> None:
    """SQLite; Redis lets its keys expire by itself."""
    path = tmp_path / "ledger.sqlite"

    def run(now: float, *entries: Event) -> list[Outcome | None]:
        backend = sqlite_backend(path)
        backend.recover(now)
        outcomes = backend.write(entries)
        backend.close()
        return outcomes

    run(NOW, passed(1), claim(2), finish(Outcome.ACCEPTED, 2), passed(3, at=NOW + 3600))
    later = NOW + DAY + 10
    assert run(later, claim(1, attempt=9), claim(2, attempt=9), claim(3, attempt=9)) == [
        None,  # forgotten that it passed
        DUPLICATE,
        REUSED,
    ]
    statuses = {count.status: count.tasks for count in read_history(str(path)).counts}
    assert statuses == {PASSED: 1, "sent/accepted": 1, PENDING: 1}
    run(NOW + 100 * DAY)
    assert read_history(str(path)).counts == []


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        ("sqlite:{folder}/none.sqlite", "there is no ledger"),
        ("{folder}/none.sqlite", "there is no ledger"),
        ("{folder}", "there is no ledger"),
        ("{folder}/diary.txt", "is not a readable ledger: file is not a database"),
        ("redis://:pass-word@127.0.0.1:9/0", "redis://127.0.0.1:9/0 cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(ledger: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("no database " * 100)
    with pytest.raises(ValueError, match=said) as error:
        read_history(ledger.format(folder=tmp_path))
    assert "\n" not in str(error.value)
    assert "pass-word" not in str(error.value)
    assert not (tmp_path / "none.sqlite").exists()


@pytest.mark.parametrize(
    ("seconds", "age"),
    [(-5.0, 0), (0.0, 0), (9.99, 0), (10.0, 10), (119.9, 90), (120.0, 120), (1e9, 600)],
)
def test_ages_are_told_apart_by_their_lower_bound(seconds: float, age: int) -> None:
    assert age_class(seconds) == age


def test_hours_begin_at_the_hour() -> None:
    assert hour_of(NOW + 0.5) == NOW
    assert hour_of(NOW + 3600) == NOW + 3600
    assert hour_of(NOW - 0.5) == NOW - 3600


def test_rows_are_let_go_while_the_crawl_runs(tmp_path: Path) -> None:
    """Row 31; and periods older than two days are told apart by the hour only."""
    path = tmp_path / "ledger.sqlite"
    backend = sqlite_backend(path)
    backend.recover(NOW)
    for hours in range(0, 24 * 7, 6):
        at = NOW + hours * 3600
        backend.write([sent(2 * hours + 1, at=at), passed(2 * hours + 2, at=at)])
        backend.recover(at)
    with closing(sqlite3.connect(path)) as database:
        [(rows,)] = database.execute("SELECT count(*) FROM task")
        [(periods,)] = database.execute("SELECT count(*) FROM total WHERE seconds = 300")
    backend.close()
    assert rows <= 2 * 5
    assert periods <= 9
    counts = read_history(str(path), now=lambda: NOW + 7 * DAY).counts
    assert sum(count.tasks for count in counts) == 28


def test_fresh_tasks_are_told_apart_by_five_minutes_and_old_ones_by_the_hour(
    ledgers: Ledgers,
) -> None:
    backend = ledgers.run()
    moments = [NOW - 4 * DAY + 100, NOW - 4 * DAY + 1000, NOW - 100, NOW - 1000]
    backend.write([passed(n, at=at) for n, at in enumerate(moments, 1)])
    history = read_history(ledgers.url, now=lambda: NOW)
    found = {count.period: count.tasks for count in history.counts}
    assert found == {
        hour_of(NOW - 4 * DAY): 2,
        NOW - 300: 1,
        NOW - 1200: 1,
    }


def test_writing_outcomes_does_not_take_longer_the_more_reports_wait(tmp_path: Path) -> None:
    def steps(waiting: int) -> int:
        """SQLite's steps, in hundreds, for as many outcomes each time."""
        crawl = sqlite_backend(tmp_path / f"{waiting}.sqlite")
        crawl.write([claim(number) for number in range(1, waiting + 1)])
        counted = 0

        def count() -> int:
            nonlocal counted
            counted += 1
            return 0

        assert crawl._database is not None
        crawl._database.set_progress_handler(count, 100)
        crawl.write([Finished(number, Outcome.KEPT.value, "", NOW) for number in range(1, 101)])
        crawl.close()
        return counted

    assert steps(5000) < 2 * steps(500)
