"""How long ``scrapy capmonster summary`` takes on a ledger of a million tasks.

``python benchmarks/summary.py`` writes such a ledger, to SQLite and, where there is a redis-server,
to Redis, and times the command on it, from starting the process to its end.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from scrapy_capmonster_report.ledger import AGES, PASSED
from scrapy_capmonster_report.ledger.base import hour_of
from scrapy_capmonster_report.ledger.redis import _totals_key
from scrapy_capmonster_report.ledger.sqlite import _SCHEMA
from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20260
DAYS = 30
SITES = 20
TYPES = ("TurnstileTask", "RecaptchaV2Task", "ImageToTextTask")
REFUSED_FATES = (
    (Outcome.ACCEPTED.value, "", 80),
    (Outcome.REUSED.value, "", 8),
    (Outcome.STALE.value, "", 6),
    (Outcome.REFUSED.value, "ERROR_NO_SUCH_CAPCHA_ID", 4),
    (Outcome.EXPIRED.value, "", 2),
)


def tasks(count: int, now: float) -> Iterator[tuple[Any, ...]]:
    """Tasks spread over a month, sites, types and ages as a busy crawl would leave them."""
    source = random.Random(SEED)
    fates = [(fate, code) for fate, code, _ in REFUSED_FATES]
    weights = [weight for _, _, weight in REFUSED_FATES]
    for task_id in range(1, count + 1):
        site = min(SITES - 1, int(source.expovariate(0.2)))
        at = now - source.random() * DAYS * 24 * 3600
        age = AGES[min(len(AGES) - 1, int(source.expovariate(0.7)))]
        if source.random() < 0.02 + 0.03 * site:
            fate, code = source.choices(fates, weights)[0]
            rule = f"rule {source.randrange(3) + 1}"
        else:
            fate, code, rule = PASSED, "", ""
        kind = source.choice(TYPES)
        yield (
            *(task_id, at, hour_of(at), f"site{site}.example", "spider", kind, age, rule),
            *(fate, code),
        )


def write_ledger(path: Path, count: int, now: float) -> int:
    """Write a ledger of *count* tasks; gives the number of its totals."""
    with closing(sqlite3.connect(path)) as database:
        for statement in _SCHEMA:
            database.execute(statement)
        history = "period, site, spider, type, age, rule, status, code"
        database.executemany(
            f"INSERT INTO task (id, changed_at, {history}) VALUES (?,?,?,?,?,?,?,?,?,?)",
            tasks(count, now),
        )
        database.execute(
            f"INSERT INTO total SELECT {history}, count(*) FROM task GROUP BY {history}"
        )
        database.commit()
        (totals,) = database.execute("SELECT count(*) FROM total").fetchone()
        return int(totals)


def copy_to_redis(path: Path, port: int) -> None:
    """Copy the totals to a Redis server."""
    patience = Retry(ConstantBackoff(0.05), 100)  # it has just been started
    with closing(sqlite3.connect(path)) as database, Redis(port=port, retry=patience) as server:
        server.ping()
        pipe = server.pipeline(transaction=False)
        for number, (hour, *names, tasks) in enumerate(
            database.execute(
                "SELECT period, site, spider, type, age, rule, status, code, tasks FROM total"
            )
        ):
            pipe.hset(_totals_key(hour), json.dumps([str(hour), *map(str, names)]), tasks)
            if number % 10_000 == 0:
                pipe.execute()
        pipe.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3, help="of which the fastest is shown")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.sqlite")
        totals = write_ledger(path, args.tasks, time.time())
        print(f"{args.tasks:,} tasks in {totals:,} totals, {path.stat().st_size / 1e6:.0f} MB")
        show_times(f"sqlite:{path}", folder, args.runs)
        if shutil.which("redis-server"):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
            try:
                copy_to_redis(path, port)
                show_times(f"redis://127.0.0.1:{port}/0", folder, args.runs)
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


if __name__ == "__main__":
    main()
