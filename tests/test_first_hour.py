"""The steps of the README and of Getting started, to the letter, in a new Scrapy project.

Only what a test cannot have differs: the site is plain HTTP behind a proxy, so that
``shop.example`` can be this machine, and the simulator's port is a free one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.request import ProxyHandler, build_opener

import pytest
import pytest_twisted
from documents import document
from support import Reply
from twisted.internet.threads import deferToThread
from workbench import Ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from documents import Block

README: Final = document("README.md").sections()["First steps"]
GETTING_STARTED: Final = document("docs/getting-started.md").sections()
RECIPES: Final = document("docs/recipes-running.md").sections()
STAND_IN: Final = Path(__file__).parent / "stand_in_clients"
"""A package ``capmonstercloudclient``, for where the real one is not installed."""

DEADLINE: Final = 100
DIRECT: Final = build_opener(ProxyHandler({}))


class Project:
    """A new project, and the shell of its user.

    Args:
        folder: where to make it.
        site: the URL of the site, which stands as a proxy for ``shop.example``.
        simulator: where the simulator is to listen.
    """

    def __init__(self, folder: Path, site: str, simulator: str) -> None:
        self.simulator = simulator
        self._cwd = folder
        self._env = {
            **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
            "http_proxy": site,
            "no_proxy": "127.0.0.1",
            "PYTHONPATH": "" if find_spec("capmonstercloudclient") else str(STAND_IN),
        }
        assert self._run("scrapy startproject myproject").code == 0
        self._cwd = folder / "myproject"
        self.settings = self._cwd / "myproject" / "settings.py"

    def type(self, block: Block) -> None:
        """Put a Python block where its first line says, in place of what it replaces."""
        code = block.text.replace("https://shop.example", "http://shop.example")
        place = code.partition("\n")[0].removeprefix("# ")
        if place == "settings.py":
            template = self.settings.read_text()
            assert template.count("\nADDONS = {}\n") == 1, "as the documentation says"
            self.settings.write_text(template.replace("ADDONS = {}", code))
        else:
            (self.settings.parent / place).write_text(code)

    async def enter(self, block: Block) -> Ran:
        """Enter the lines of a console block, and see the last one succeed."""
        for line in block.text.splitlines():
            command = line.removeprefix("$ ").replace("http://127.0.0.1:8025", self.simulator)
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                self._env[name] = value
            else:
                ran = await deferToThread(self._run, command)
                assert ran.code == 0, command + ran.out + ran.err
        return ran if not command.startswith("export ") else Ran(0, "", "")

    def _run(self, command: str) -> Ran:
        words = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(
            words, cwd=self._cwd, env=self._env, capture_output=True, text=True, timeout=DEADLINE
        )
        return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[str]:
    """The command of "Trying it without a key", in another terminal."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start, _ = GETTING_STARTED["Trying it without a key"].blocks("console")
    command = start.text.removeprefix("$ ").replace("8025", str(port))
    process = subprocess.Popen(
        [sys.executable, "-m", *shlex.split(command)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == f"http://127.0.0.1:{port}"
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.communicate(timeout=DEADLINE)


@pytest.fixture
def project(serve: Any, simulator: str, tmp_path: Path) -> Project:
    def respond(request: Any) -> Any:
        if request.path.endswith(b"/robots.txt"):
            return Reply("", status=404)
        token = request.args.get(b"cf-turnstile-response", [b""])[0].decode()
        if not token:
            return "<title>Log in</title><form method='post'>"
        wrong = {task["answer"] for task in tasks(simulator) if task["wrong"]}
        return f"<p>{'Wrong captcha' if token in wrong else 'Welcome'}</p>"

    return Project(tmp_path, serve(respond).url, simulator)


def tasks(simulator: str) -> list[dict[str, Any]]:
    """What the simulator tells a test site."""
    with DIRECT.open(f"{simulator}/simulator/tasks", timeout=DEADLINE) as answer:
        told = json.load(answer)
    return told["tasks"] if isinstance(told, dict) else told


def totals(ran: Ran) -> str:
    (line,) = re.findall(r"Captcha answers: (\d.+)", ran.err)
    return line


@pytest_twisted.ensureDeferred
async def test_getting_started_ends_with_a_report(project: Project) -> None:
    switch_on, submit, check, try_it, go = (
        GETTING_STARTED[f"{number}. {title}"]
        for number, title in [
            (2, "Switch it on"),
            (3, "Say which request submits which answer"),
            (4, "Check"),
            (5, "Try it"),
            (6, "Go"),
        ]
    )
    _, without_a_key = GETTING_STARTED["Trying it without a key"].blocks("console")
    await project.enter(without_a_key)
    project.type(switch_on.blocks("python")[0])
    project.type(submit.blocks("python")[0])
    await project.enter(check.blocks("console")[0])

    crawl_dry, replay = try_it.blocks("console")
    dry = await project.enter(crawl_dry)
    assert totals(dry) == "1 checked, 0 passed, 1 rejected: 1 not sent (dry run)"
    shown = re.search(r"Dry run: task .+", dry.err)
    assert shown
    said = try_it.blocks("text")[0].text.splitlines()[0].replace("https://", "http://")
    assert re.sub(r"\d+", "N", shown[0]) == re.sub(r"\d+", "N", said)
    assert "1" in (await project.enter(replay)).out
    assert [task["reported"] for task in tasks(project.simulator)] == [False]

    lines = project.settings.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("CAPMONSTER_REPORT_DRY_RUN")]
    assert len(kept) == len(lines) - 1
    project.settings.write_text("".join(kept))
    done = await project.enter(go.blocks("console")[0])
    assert totals(done) == "1 checked, 0 passed, 1 rejected: 1 reported"
    assert [task["reported"] for task in tasks(project.simulator)] == [False, True]


SPIDER = """
import os
from capmonstercloudclient import CapMonsterClient, ClientOptions
from capmonstercloudclient.requests import TurnstileRequest
from scrapy import FormRequest, Request, Spider
from scrapy_capmonster_report.clients import solve_captcha
{imports}

class LoginSpider(Spider):
    name = "login"

    async def start(self):
        yield Request("http://shop.example/login", self.log_in)

    async def log_in(self, response):
        url = response.url
        client = CapMonsterClient(ClientOptions(
            api_key=os.environ["CAPMONSTER_CLIENT_KEY"],
            service_url=os.environ["CAPMONSTER_API_URL"],
        ))
        captcha = TurnstileRequest(websiteURL=url, websiteKey="0x4AAA")
        solution, meta = await solve_captcha(client, captcha)
        task_id, token = meta["taskId"], solution["token"]
        {submit}

    def parse(self, response):
        pass
"""
"""A spider as its user has it, around what the README adds."""


@pytest_twisted.ensureDeferred
async def test_the_first_steps_of_the_readme_end_with_a_report(project: Project) -> None:
    switch_on, submit = README.blocks("python")
    _, export, doctor, dry_run = README.blocks("console")
    _, without_a_key = GETTING_STARTED["Trying it without a key"].blocks("console")
    assert export.text.startswith("$ export CAPMONSTER_CLIENT_KEY=")
    await project.enter(without_a_key)
    project.type(switch_on)
    imports, _, code = submit.text.partition("\n\n")
    spider = project.settings.parent / "spiders" / "login.py"
    spider.write_text(
        SPIDER.format(imports=imports, submit=code.rstrip().replace("\n", "\n        "))
    )
    await project.enter(doctor)
    replayed = await project.enter(dry_run)
    assert "1" in replayed.out
    assert [task["reported"] for task in tasks(project.simulator)] == [False]

    go = re.search(r"\*\*Go:\*\* `(.+?)`", README.text)
    assert go
    done = await project.enter(dry_run._replace(text=f"$ {go[1]}\n"))
    assert totals(done) == "1 checked, 0 passed, 1 rejected: 1 reported"
    assert [task["reported"] for task in tasks(project.simulator)] == [False, True]


@pytest_twisted.ensureDeferred
async def test_the_recipe_for_ci_buys_from_the_stand_in_and_not_from_the_service(
    project: Project,
) -> None:
    project.type(GETTING_STARTED["2. Switch it on"].blocks("python")[0])
    project.type(GETTING_STARTED["3. Say which request submits which answer"].blocks("python")[0])
    recipe = RECIPES["Testing your rules in CI"].blocks("python")[0]
    end_to_end = recipe.text.replace("wrong=0.3", "wrong=1.0")
    script = project.settings.parents[1] / "end_to_end.py"
    script.write_text(f"{end_to_end}\nprint(*map(len, reported_and_wrong('login')))\n")
    ran = await project.enter(recipe._replace(text="$ end_to_end"))
    assert totals(ran) == "1 checked, 1 passed, 0 rejected"  # by a site of another simulator
    assert ran.out.split() == ["0", "1"]
