"""How long ``scrapy capmonster summary`` takes on a ledger of a million tasks.

``python benchmarks/summary.py`` writes such a ledger, to SQLite and, where there is a redis-server,
to Redis, and times the command on it, from starting the process to its end.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from twisted.internet import asyncioreactor

asyncioreactor.install(asyncio.new_event_loop())
from twisted.internet import reactor  # noqa: E402
from twisted.internet.defer import Deferred  # noqa: E402

from scrapy_capmonster_report.ledger import AGES  # noqa: E402
from scrapy_capmonster_report.ledger.base import (  # noqa: E402
    Claimed,
    Finished,
    Passed,
    Submission,
    Withheld,
)
from scrapy_capmonster_report.ledger.names import RedisName  # noqa: E402
from scrapy_capmonster_report.ledger.redis import RedisBackend  # noqa: E402
from scrapy_capmonster_report.ledger.sqlite import SQLiteBackend  # noqa: E402
from scrapy_capmonster_report.outcome import Outcome  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capmonster_report.ledger.base import Event, LedgerBackend

SEED = 20260
DAYS = 30
SITES = 20
TYPES = ("TurnstileTask", "RecaptchaV2Task", "ImageToTextTask")
REJECTED = {
    Outcome.ACCEPTED: 80,
    Outcome.REUSED: 8,
    Outcome.STALE: 6,
    Outcome.REFUSED: 4,
    Outcome.EXPIRED: 2,
}
"""How many of a hundred rejected answers have which outcome."""

EVENTS_AT_ONCE = 2000


def events(tasks: int, now: float) -> Iterator[Event]:
    """Tasks spread over a month, sites, types and ages as a busy crawl would leave them."""
    source = random.Random(SEED)
    for task_id in range(1, tasks + 1):
        site = min(SITES - 1, int(source.expovariate(0.2)))
        at = now - source.random() * DAYS * 24 * 3600
        age = AGES[min(len(AGES) - 1, int(source.expovariate(0.7)))]
        kind = source.choice(TYPES)
        submission = Submission(task_id, 1, f"site{site}.example", "spider", kind, age, at)
        if source.random() >= 0.02 + 0.03 * site:
            yield Passed(submission)
            continue
        (outcome,) = source.choices(list(REJECTED), list(REJECTED.values()))
        rule = f"rule {source.randrange(3) + 1}"
        if outcome.group == "withheld":
            yield Withheld(submission, rule, outcome.value)
            continue
        yield Claimed(submission, rule, "token", at, at + 300)
        code = "ERROR_NO_SUCH_CAPCHA_ID" if outcome is Outcome.REFUSED else ""
        yield Finished(task_id, outcome.value, code, at)


async def write(backend: LedgerBackend, tasks: int) -> None:
    """Write the events of so many tasks to *backend*."""
    now = time.time()
    await backend.open(now)
    left = events(tasks, now)
    while some := list(islice(left, EVENTS_AT_ONCE)):
        await backend.write(some)
    await backend.close()


async def measure(tasks: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        await write(SQLiteBackend(path, reactor=reactor, report_reused=False), tasks)
        print(f"{tasks:,} tasks, {path.stat().st_size / 1e6:.0f} MB")
        show_times(f"sqlite:{path}", folder, runs)
        if not shutil.which("redis-server"):
            return
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
        try:
            url = f"redis://127.0.0.1:{port}/0"
            Redis(port=port, retry=Retry(ConstantBackoff(0.05), 100)).ping()  # once it listens
            await write(RedisBackend(RedisName.parse(url), report_reused=False), tasks)
            show_times(url, folder, runs)
        finally:
            server.kill()
            server.wait()


def show_times(ledger: str, folder: str, runs: int) -> None:
    for options in (["--json"], [], ["--html", str(Path(folder, "page.html"))]):
        command = [sys.executable, "-m", "scrapy", "capmonster", "summary", ledger, *options]
        seconds = min(timed(command, folder) for _ in range(runs))
        print(
            f"{ledger.partition(':')[0]:6}  {options[0] if options else 'table':6} {seconds:5.2f} s"
        )


def timed(command: list[str], folder: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="of which the fastest is shown")
    args = parser.parse_args()

    def begin() -> None:
        measuring = Deferred.fromCoroutine(measure(args.tasks, args.runs))
        measuring.addErrback(lambda failure: failure.printTraceback())
        measuring.addBoth(lambda _: reactor.stop())

    reactor.callWhenRunning(begin)
    reactor.run()


if __name__ == "__main__":
    main()
