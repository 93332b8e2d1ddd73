"""The table of the benchmarks: ``python benchmarks/run.py``, a few minutes.

Each part runs in a process of its own, one after the other; ``python benchmarks/calls.py`` runs
one by itself.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import distributions
from pathlib import Path

from measure import Row, markdown

PARTS = ("startup", "calls", "speed", "reports", "lasting", "pages", "presets")
PACKAGES = ("scrapy", "twisted", "treq", "parsel", "lxml", "requests", "httpx", "capmonster_python")


def rows_of(part: str) -> list[Row]:
    """What one part measured."""
    print(f"{part} …", file=sys.stderr, flush=True)
    command = [sys.executable, str(Path(__file__).with_name(f"{part}.py")), "--json"]
    return [Row(**row) for row in json.loads(subprocess.check_output(command))]


def machine() -> str:
    """What it was measured on."""
    cores = os.cpu_count()
    return f"{_processor()}, {cores} cores, {platform.system()} {platform.release()}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def versions() -> str:
    """What it was measured with."""
    installed = {found.name.lower(): found.version for found in distributions()}
    found = [f"{package} {installed.get(package, '(none)')}" for package in PACKAGES]
    return ", ".join([f"Python {platform.python_version()}", *found])


def main() -> None:
    load = os.getloadavg()[0]
    began = time.time()
    rows = [row for part in PARTS for row in rows_of(part)]
    seconds = time.time() - began
    print(markdown(rows))
    print()
    print(f"{time.strftime('%Y-%m-%d')}, {machine()}; {versions()}. It took {seconds:.0f} seconds;")
    print(f"load average {load:.1f} before and {os.getloadavg()[0]:.1f} after.")


if __name__ == "__main__":
    main()
