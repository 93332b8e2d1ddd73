"""The example, as the README runs it: whole crawls in child processes."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from scrapy_capmonster_report.simulator import DEFAULT_CLIENT_KEY

PROJECT = Path(__file__).parent.parent / "example_project"
ON = "Refused captcha answers are reported to CapMonster Cloud"
TOTALS = "Captcha answers: "
DEADLINE = 100
"""Seconds; less than pytest's own timeout, so that what the child printed is seen."""


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "run.py"), *arguments]


def this_reactor() -> str:
    from twisted.internet import reactor

    return f"TWISTED_REACTOR={type(reactor).__module__}.{type(reactor).__qualname__}"


def run(cwd: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    arguments = [part for setting in (this_reactor(), *settings) for part in ("-s", setting)]
    return subprocess.run(
        command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=DEADLINE
    )


def figures(output: str) -> dict[str, int]:
    """The rows of the table, with what stands in the column "all"."""
    rows = re.findall(r"^ *(\w[\w ]+?)(?: +\d+){2} +(\d+) *$", output, re.MULTILINE)
    return {label: int(number) for label, number in rows}


def test_reports_each_answer_to_blame_and_no_other(tmp_path: Path) -> None:
    done = run(tmp_path, "LOG_FILE=crawl.log", "LOG_LEVEL=DEBUG")
    found = figures(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "50/50" in done.stdout, done.stdout + (tmp_path / "crawl.log").read_text()[-20_000:]
    assert found["answers bought"] >= 100
    assert found["wrong by construction"] >= 20
    assert found["answer not to blame"] >= 10
    assert found["refused by the site"] == found["reported"] + found["answer not to blame"]
    assert (found["false reports"], found["missed reports"]) == (0, 0)

    # Calm: what is on, the totals, and the totals by site; the terminal has no more lines.
    log = (tmp_path / "crawl.log").read_text(encoding="utf-8")
    assert done.stderr == ""
    assert re.findall(r"^[A-Z]+ +(?=\w)", done.stdout, re.MULTILINE) == ["INFO     "] * 3
    assert re.findall(rf"\[scrapy_capmonster_report\S* INFO: ({ON}|{TOTALS})", log) == [ON, TOTALS]
    assert re.findall(r"^.* (?:WARNING|ERROR|CRITICAL): .*", log, re.MULTILINE) == []

    assert DEFAULT_CLIENT_KEY not in done.stdout + log
    assert set(re.findall(r"<\w+ https?://([^:/]+)", log)) == {"127.0.0.1"}
    assert "publicsuffix" not in log, "Something asks beyond this machine."

    # It ends by saying where the page is.
    page = tmp_path / "captcha-answers.html"
    assert done.stdout.rstrip().endswith(f"The page of this crawl: {page.resolve()}")
    text = page.read_text(encoding="utf-8")
    assert f'id="tasks">{found["answers bought"]}<' in text
    assert f'id="accepted">{found["reported"]}<' in text


def test_sees_reports_that_are_false_or_missing(tmp_path: Path) -> None:
    # Reads words only: finds them on pages that refuse nothing, and the widget's refusals never.
    done = run(tmp_path, 'CAPMONSTER_REPORT_RULES=[{"text": "do not match the picture"}]')
    found = figures(done.stdout)
    assert done.returncode == 1
    assert found["false reports"] >= 50
    assert found["missed reports"] >= 1
    assert "Some reports are false, or missing." in done.stdout


def test_sees_reports_on_answers_that_had_been_used(tmp_path: Path) -> None:
    done = run(tmp_path, "CAPMONSTER_REPORT_REUSED=True")
    found = figures(done.stdout)
    assert done.returncode == 1
    assert (found["false reports"], found["missed reports"]) == (15, 0)


def test_works_with_scrapy_crawl_in_another_terminal(tmp_path: Path) -> None:
    serving = subprocess.Popen(
        command("--serve"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert serving.stdout is not None
    try:
        cd = next(line for line in serving.stdout if line.startswith("cd "))
        key, *crawl = shlex.split(next(serving.stdout))
        crawl += ["-s", this_reactor(), "-a", "poll_interval=0.2", "-o", f"{tmp_path}/items.jsonl"]
        subprocess.run(
            crawl,
            cwd=cd.strip().removeprefix("cd "),
            env=dict(os.environ, **dict([key.split("=", 1)])),
            check=True,
            timeout=DEADLINE,
        )
        # As Ctrl-C does; but that is ignored by whatever a script has started in the background.
        serving.send_signal(signal.SIGTERM)
        output, _ = serving.communicate(timeout=DEADLINE)
    finally:
        serving.kill()
        serving.wait()
    found = figures(output)
    assert serving.returncode == 0, output
    assert (found["false reports"], found["missed reports"]) == (0, 0)
    assert len((tmp_path / "items.jsonl").read_text(encoding="utf-8").splitlines()) == 50
