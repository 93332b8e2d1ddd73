"""How long ``scrapy capmonster summary`` takes on a ledger of a million tasks.

``python benchmarks/summary.py`` writes such a ledger and times the command on it, from starting
the process to its end.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scrapy_capmonster_report.ledger import AGES, PASSED
from scrapy_capmonster_report.ledger.entries import hour_of
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
        history = "hour, site, spider, type, age, rule, fate, code"
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder, "ledger.sqlite")
        totals = write_ledger(ledger, args.tasks, time.time())
        size = ledger.stat().st_size / 1e6
        print(f"{args.tasks:,} tasks in {totals:,} totals, {size:.0f} MB")
        for options in (["--json"], [], ["--html", str(Path(folder, "page.html"))]):
            command = [*(sys.executable, "-m", "scrapy", "capmonster", "summary"), str(ledger)]
            began = time.perf_counter()
            subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL, cwd=folder)
            seconds = time.perf_counter() - began
            print(f"{' '.join(options).split('/')[0] or 'table':8} {seconds:5.2f} s")


if __name__ == "__main__":
    main()
