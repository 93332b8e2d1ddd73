"""What all commands have in common, and the stand-in as it is started from a shell."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import treq
from support import CLIENT_KEY
from twisted.internet.threads import deferToThread
from twisted.web.client import ResponseNeverReceived
from workbench import run, run_scrapy, save

import scrapy_capmonster_report
from scrapy_capmonster_report.commands.simulate import planned
from scrapy_capmonster_report.simulator import IMAGE_REPORT, TOKEN_REPORT, SimulatedAnswer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "scrapy capmonster: the following arguments are required: <command>"),
        (["foo"], "scrapy capmonster: argument <command>: invalid choice: 'foo' (choose from "),
        (
            ["check", "a.html", "-s", "x"],
            "scrapy capmonster check: Invalid -s value, use -s NAME=",
        ),
        (
            ["check", "a.html", "--no\nsuch"],
            "scrapy capmonster check: unrecognized arguments: --no such",
        ),
        (["check", ""], "scrapy capmonster check: argument SOURCE: it is empty"),
        (["check", "x", "--rules", ""], "scrapy capmonster check: argument --rules: it is empty"),
        (["replay", ""], "scrapy capmonster replay: argument SOURCE: it is empty"),
        (["summary", ""], "scrapy capmonster summary: argument LEDGER: it is empty"),
        (["simulate", "--port", "x\n"], "scrapy capmonster simulate: argument --port: invalid int"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(argv: list[str], said: str, tmp_path: Path) -> None:
    assert run_scrapy(tmp_path, *argv).complaint.startswith(said)


def test_every_other_scrapy_command_starts_as_fast_as_without_ours() -> None:
    code = """
import sys, scrapy.commands
before = set(sys.modules)
from scrapy_capmonster_report.commands import Command
roots = {"twisted", "treq", "rich", "jmespath", "sqlite3", "filelock"}
print([name for name in set(sys.modules) - before if name.partition(".")[0] in roots])
print([name for name in sys.modules if name.startswith("scrapy_capmonster_report")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    foreign, ours = map(ast.literal_eval, done.stdout.splitlines())
    assert foreign == []
    assert {name.partition(".")[2] for name in ours} == {"", "commands", "text"}


def test_what_the_package_exports_is_there_and_nothing_else_is() -> None:
    for name in scrapy_capmonster_report.__all__:
        assert getattr(scrapy_capmonster_report, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Middleware'"):
        _ = scrapy_capmonster_report.Middleware


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "table"])
@pytest.mark.parametrize("pages", [1, 100])
def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(
    tmp_path: Path, options: list[str], pages: int
) -> None:
    page = save(tmp_path / "page.html", "<p>")
    words = [sys.executable, "-m", "scrapy", "capmonster", "check", *[page.name] * pages]
    command = subprocess.Popen(
        [*words, "--preset", "turnstile", *options],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    command.stdout.close()
    _, err = command.communicate(timeout=60)
    assert (command.returncode, err) == (141, b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is full")
@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "table"])
def test_a_full_disk_is_said_in_one_line(tmp_path: Path, options: list[str]) -> None:
    page = save(tmp_path / "page.html", "<p>")
    with open("/dev/full", "wb") as full:
        argv = ("check", page.name, "--preset", "turnstile", *options)
        ran = run_scrapy(tmp_path, *argv, stdout=full)
    assert ran.code == 2
    assert ran.err == "scrapy capmonster check: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("command", ["check", "replay", "suggest", "summary"])
def test_a_name_of_thousands_of_letters_is_said_in_one_line(command: str, tmp_path: Path) -> None:
    presets = ["--preset", "phpbb"] if command in ("check", "replay") else []
    name = "a" * 5000
    complaint = run_scrapy(tmp_path, command, name, *presets).complaint
    assert f"scrapy capmonster {command}: cannot read {name}" in complaint
    assert complaint.endswith(": File name too long")


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--answer", "hangs", "it must be an errorCode (ERROR_IP_BANNED), http-STATUS (http-503)"),
        ("--answer", "", "it must be an errorCode"),
        ("--answer", "error_ip_banned", "it must be an errorCode"),
        ("--answer", "http-99", "it must be an errorCode"),
        ("--answer", "http-600", "it must be an errorCode"),
        ("--answer", ":2", "it must be an errorCode"),
        ("--answer", "hang:", "the part after the colon must be a number, 1 or more"),
        ("--answer", "hang:0", "the part after the colon must be a number, 1 or more"),
        ("--answer", "hang:-1", "the part after the colon must be a number, 1 or more"),
        ("--answer", "hang:\u0662", "the part after the colon must be a number, 1 or more"),
        ("--answer", "hang:1:1", "the part after the colon must be a number, 1 or more"),
        ("--retention", "0", "The retention must be more than 0 seconds, not 0.0."),
        ("--retention", "long", "argument --retention: invalid float value: 'long'"),
        ("--balance", "-1", "The balance must be a number, 0 or more, not -1.0."),
        ("--balance", "nan", "The balance must be a number, 0 or more, not nan."),
        ("--wrong", "2", "The share of wrong answers must be between 0 and 1, not 2.0."),
        ("--port", "70000", "The port must be between 0 and 65535, not 70000."),
    ],
)
def test_a_stand_in_that_cannot_be(
    option: str, value: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    complaint = run(capfd, "simulate", f"{option}={value}").complaint
    assert complaint.startswith("scrapy capmonster simulate: ")
    assert said in complaint
    assert value in complaint


class StandIn:
    """``scrapy capmonster simulate`` in a process of its own.

    Args:
        folder: where it runs.
        options: what stands on the command line after ``simulate``.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        words = [sys.executable, "-m", "scrapy", "capmonster", "simulate", *options]
        self.process = subprocess.Popen(
            [*words, "--client-key", CLIENT_KEY],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def start(self) -> StandIn:
        """Wait for the line with its URL."""
        assert self.process.stdout is not None
        self.url = (await deferToThread(self.process.stdout.readline)).strip()
        return self

    def post(self, path: str, **members: Any) -> Any:
        """Fires with the response."""
        content = json.dumps({"clientKey": CLIENT_KEY, **members}).encode()
        return treq.post(self.url + path, data=content, persistent=False)

    async def call(self, path: str, **members: Any) -> Any:
        """What it answers."""
        response = await self.post(path, **members)
        assert response.code == 200
        return json.loads(await response.content())

    async def stop(self) -> str:
        """End it as Ctrl-C does; what it said after its URL."""
        self.process.terminate()
        out, _ = await deferToThread(self.process.communicate, timeout=60)
        return str(out)


@pytest.fixture
def stand_ins(tmp_path: Path) -> Iterator[Any]:
    """Make stand-ins: ``stand_in = stand_ins("--balance", "0")``; they end with the test."""
    made: list[StandIn] = []

    def make(*options: str) -> StandIn:
        made.append(StandIn(tmp_path, *options))
        return made[-1]

    yield make
    for stand_in in made:
        stand_in.process.kill()
        stand_in.process.communicate()


TOKEN = {"type": "TurnstileTask", "websiteURL": "http://shop.example/", "websiteKey": "0x4AAA"}


@pytest_twisted.ensureDeferred
async def test_a_stand_in_that_fails_as_it_was_told(stand_ins: Any) -> None:
    answers = ["ERROR_IP_BANNED:2", "http-503:1", "reset:01", "WRONG_CAPTCHA_ID"]
    stand_in = await stand_ins(*(f"--answer={answer}" for answer in answers)).start()
    task_id = (await stand_in.call("/createTask", task=TOKEN))["taskId"]

    for path in (TOKEN_REPORT, IMAGE_REPORT):
        assert (await stand_in.call(path, taskId=task_id))["errorCode"] == "ERROR_IP_BANNED"
    response = await stand_in.post(TOKEN_REPORT, taskId=task_id)
    await response.content()
    assert response.code == 503
    with pytest.raises(ResponseNeverReceived):
        await stand_in.post(TOKEN_REPORT, taskId=task_id)
    for _ in range(3):
        answer = await stand_in.call(TOKEN_REPORT, taskId=task_id)
        assert answer["errorCode"] == "WRONG_CAPTCHA_ID"
    *lines, totals = (await stand_in.stop()).splitlines()
    assert totals == "Tasks: 1, answered wrong: 0. Reports: 7, accepted: 0."
    assert [line.partition(" to /")[0] for line in lines[1:]] == [f"report on task {task_id}"] * 7
    assert lines[0].startswith(f"task {task_id} TurnstileTask: 'token-")


@pytest_twisted.ensureDeferred
async def test_a_stand_in_of_an_empty_account(stand_ins: Any) -> None:
    stand_in = await stand_ins("--balance", "0").start()
    assert await stand_in.call("/getBalance") == {"errorId": 0, "balance": 0}
    assert (await stand_in.call("/createTask", task=TOKEN))["errorCode"] == "ERROR_ZERO_BALANCE"


@pytest_twisted.ensureDeferred
async def test_a_stand_in_that_forgets_at_once(stand_ins: Any) -> None:
    stand_in = await stand_ins("--retention", "1e-9").start()
    task_id = (await stand_in.call("/createTask", task=TOKEN))["taskId"]
    answer = await stand_in.call(TOKEN_REPORT, taskId=task_id)
    assert answer["errorCode"] == "WRONG_CAPTCHA_ID"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hang", (SimulatedAnswer("hang"), None)),
        ("stall:3", (SimulatedAnswer("stall"), 3)),
        ("reset", (SimulatedAnswer("reset"), None)),
        ("http-429:10", (SimulatedAnswer.http(429), 10)),
        ("ERROR_ZERO_BALANCE", (SimulatedAnswer.error("ERROR_ZERO_BALANCE"), None)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_on_demand(text: str, expected: tuple[SimulatedAnswer, int | None]) -> None:
    assert planned(text) == expected
