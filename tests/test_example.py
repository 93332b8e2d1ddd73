"""The example, as the README runs it: whole crawls in child processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from scrapy_capmonster_report.simulator import DEFAULT_CLIENT_KEY

PROJECT = Path(__file__).parent.parent / "example_project"
SHOPS = ("bakery", "books", "flights", "news", "tickets")
COLUMNS = ("answers", "passed", "rejected", "reported", "withheld")
DEADLINE = 100
"""Seconds; less than pytest's own timeout, so that what the child printed is seen."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "run.py"), *arguments]


def this_reactor() -> str:
    from twisted.internet import reactor

    return f"TWISTED_REACTOR={type(reactor).__module__}.{type(reactor).__qualname__}"


def run(cwd: Path, *settings: str, crawls: int) -> subprocess.CompletedProcess[str]:
    arguments = [part for setting in (this_reactor(), *settings) for part in ("-s", setting)]
    return subprocess.run(
        command("--crawls", str(crawls), *arguments),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )


def figures(output: str) -> dict[str, dict[str, int]]:
    """The rows of the table, by the first word; "bakery" for bakery.example."""
    rows = re.findall(r"^ *(\w+)(?:\.example +\w+)?((?: +\d+){5}) *$", output, re.MULTILINE)
    return {
        name: dict(zip(COLUMNS, map(int, numbers.split()), strict=True)) for name, numbers in rows
    }


def false_and_missed(output: str) -> tuple[int, int]:
    found = re.search(r"False reports: (\d+)\. Missed reports: (\d+)\.", output)
    assert found, output
    return int(found[1]), int(found[2])


def test_the_example_reports_each_answer_to_blame_and_no_other(tmp_path: Path) -> None:
    done = run(tmp_path, "LOG_FILE=crawl.log", "LOG_LEVEL=DEBUG", crawls=12)
    log = (tmp_path / "crawl.log").read_text(encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr + log[-20_000:]
    assert done.stderr == ""
    found = figures(done.stdout)
    assert found.keys() == {*SHOPS, "all"}
    assert false_and_missed(done.stdout) == (0, 0)

    # The numbers hang together as the line below the table says.
    for row in found.values():
        assert row["answers"] == row["passed"] + row["rejected"]
        assert row["rejected"] == row["reported"] + row["withheld"]
    for column in COLUMNS:
        assert found["all"][column] == sum(found[shop][column] for shop in SHOPS)
    assert found["bakery"]["rejected"] == 0, "a shop that accepts all answers"
    assert found["books"]["withheld"] >= 10, "sent once more after a failure of the shop"
    assert found["flights"]["withheld"] >= 20, "too old"
    assert found["news"]["rejected"] == found["news"]["reported"] >= 20
    assert found["tickets"]["reported"] >= 60, "a shop that begins to reject answers"

    # One alert, and no other warning.
    (alert,) = re.findall(r"^WARNING +(.*\n.*)", done.stdout, re.MULTILINE)
    assert alert.startswith("tickets.example ")
    warnings = re.findall(r"^.* (?:WARNING|ERROR|CRITICAL): (.*)", log, re.MULTILINE)
    assert [line.split()[0] for line in warnings] == ["tickets.example"]

    assert DEFAULT_CLIENT_KEY not in done.stdout + log
    hosts = set(re.findall(r"<\w+ https?://([^:/]+)", log))
    assert hosts == {"127.0.0.1", *(f"{shop}.example" for shop in SHOPS)}
    assert "publicsuffix" not in log, "Something asks beyond this machine."

    # The page shows the same numbers.
    page = tmp_path / "captcha-answers.html"
    assert done.stdout.rstrip().endswith(f"The page of these crawls: {page.resolve()}")
    text = page.read_text(encoding="utf-8")
    for name, column in (("tasks", "answers"), ("rejected", "rejected"), ("accepted", "reported")):
        assert f'id="{name}">{found["all"][column]}<' in text


def test_sees_reports_that_are_false_or_missing(tmp_path: Path) -> None:
    # Looks at words only, which are on every page of the one shop; and not at the others.
    rule = {"domains": "books.example", "text": "do not match the picture"}
    rules = f"CAPMONSTER_REPORT_RULES={json.dumps([rule])}"
    done = run(tmp_path, rules, crawls=2)
    assert done.returncode == 1
    false, missed = false_and_missed(done.stdout)
    assert false >= 20
    assert missed >= 1


def test_sees_reports_on_answers_that_had_been_used(tmp_path: Path) -> None:
    done = run(tmp_path, "CAPMONSTER_REPORT_REUSED=True", crawls=3)
    assert done.returncode == 1
    false, missed = false_and_missed(done.stdout)
    assert false >= 3
    assert missed == 0


def test_works_with_scrapy_crawl_in_another_terminal(tmp_path: Path) -> None:
    serving = subprocess.Popen(
        command("--serve"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert serving.stdout is not None
    try:
        cd = next(line for line in serving.stdout if line.startswith("cd "))
        words = shlex.split(next(serving.stdout))
        environment = [word for word in words[:4] if "=" in word]
        crawl = [*words[len(environment) :], "-s", this_reactor(), "-a", "poll_interval=0.1"]
        subprocess.run(
            [*crawl, "-o", f"{tmp_path}/items.jsonl"],
            cwd=cd.strip().removeprefix("cd "),
            env=dict(os.environ, **dict(word.split("=", 1) for word in environment)),
            check=True,
            timeout=DEADLINE,
        )
        # As Ctrl-C does; but that is ignored by whatever a script has started in the background.
        serving.send_signal(signal.SIGTERM)
        output, _ = serving.communicate(timeout=DEADLINE)
    finally:
        serving.kill()
        serving.wait()
    assert serving.returncode == 0, output
    assert false_and_missed(output) == (0, 0)
    assert len((tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines()) == 50
