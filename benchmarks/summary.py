"""How long ``scrapy capmonster summary`` takes on a ledger of a million tasks.

``python benchmarks/summary.py`` writes such a ledger, to SQLite and, where there is a redis-server,
to Redis, and times the command on it, from starting the process to its end.
"""

from __future__ import annotations

import argparse
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

from scrapy_capmonster_report.ledger import AGES
from scrapy_capmonster_report.ledger.base import (
    PASSED,
    Claimed,
    Finished,
    Judged,
    Submission,
)
from scrapy_capmonster_report.ledger.names import RedisName
from scrapy_capmonster_report.ledger.redis import RedisBackend
from scrapy_capmonster_report.ledger.sqlite import SQLiteBackend
from scrapy_capmonster_report.outcome import Outcome

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
            yield Judged(submission, "", PASSED)
            continue
        (outcome,) = source.choices(list(REJECTED), list(REJECTED.values()))
        rule = f"rule {source.randrange(3) + 1}"
        if outcome.group == "withheld":
            yield Judged(submission, rule, outcome.value)
            continue
        yield Claimed(submission, rule, "token", at, at + 300)
        code = "ERROR_NO_SUCH_CAPCHA_ID" if outcome is Outcome.REFUSED else ""
        yield Finished(task_id, outcome.value, code, at)


def write(backend: LedgerBackend, tasks: int) -> None:
    """Write the events of so many tasks to *backend*."""
    now = time.time()
    left = events(tasks, now)
    while some := list(islice(left, EVENTS_AT_ONCE)):
        backend.write(some)
    backend.close()


def measure(tasks: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        write(SQLiteBackend(path, report_reused=False, log_extra={}), tasks)
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
            write(RedisBackend(RedisName.parse(url), report_reused=False), tasks)
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
    measure(args.tasks, args.runs)


if __name__ == "__main__":
    main()
