from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from misbehaving import MisbehavingServer, hangs
from support import CLIENT_KEY, LoopbackServer, RecordingApi
from twisted.logger import globalLogPublisher
from wired import WiredDesk, delayed_calls, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytest_plugins = ["crawl_in_child", "redis_server"]
"""Modules with fixtures of their own."""


@pytest_twisted.async_yield_fixture
async def serve() -> Any:
    """Start servers on loopback: ``server = serve(respond)``; they stop with the test."""
    servers: list[LoopbackServer] = []

    def start(respond: Callable[[Any], Any]) -> LoopbackServer:
        servers.append(LoopbackServer(respond))
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


@pytest.fixture
def api(serve: Any) -> Callable[..., RecordingApi]:
    """Start an API on loopback: ``api()`` or ``api(answer)``; its address is in ``.url``."""

    def start(answer: Any = None) -> RecordingApi:
        recording = RecordingApi(answer)
        recording.server = serve(recording.respond)
        recording.url = recording.server.url
        return recording

    return start


@pytest_twisted.async_yield_fixture
async def misbehave() -> Any:
    """Start services that misbehave: ``server = misbehave(hangs)``; they stop with the test."""
    servers: list[MisbehavingServer] = []

    def start(behave: Any = hangs, **options: Any) -> MisbehavingServer:
        servers.append(MisbehavingServer(behave, **options))
        return servers[-1]

    yield start
    for server in servers:
        await server.stop()


@pytest_twisted.async_yield_fixture
async def wire(misbehave: Any) -> Any:
    """Deliver to a service that misbehaves: ``desk = wire(hangs, timeout=0.2)``.

    It is in ``desk.server``. After the test everything is closed: each report has one outcome, and
    no socket and no delayed call is left behind.
    """
    before = delayed_calls()
    desks: list[WiredDesk] = []
    servers: list[MisbehavingServer] = []

    def start(
        behave: Any = hangs, *, deaf: bool = False, url: str | None = None, **options: Any
    ) -> WiredDesk:
        servers.append(misbehave(behave, deaf=deaf))
        desks.append(WiredDesk(url or servers[-1].url, **options))
        desks[-1].server = servers[-1]
        return desks[-1]

    yield start
    for desk in desks:
        await desk.shut()
        assert sorted(desk.outcomes) == sorted(desk.submitted)
        assert {len(outcomes) for outcomes in desk.outcomes.values()} <= {1}
    await until(lambda: not any(server.connections for server in servers))
    await until(lambda: delayed_calls() <= before)


@pytest.fixture(autouse=True)
def key_shows_nowhere(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    """Whatever a test does: the account key is in no log, traceback, output or file."""
    caplog.set_level(logging.DEBUG)
    yield
    formatter = logging.Formatter()
    for record in caplog.get_records("call"):
        text = formatter.format(record) + repr(record.__dict__)
        assert CLIENT_KEY not in text
    out, err = capfd.readouterr()
    assert CLIENT_KEY not in out + err
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert CLIENT_KEY.encode() not in path.read_bytes(), path


@pytest.fixture(autouse=True)
def every_failure_is_handled() -> Iterator[None]:
    """No Deferred was let go with a failure that nobody had looked at."""
    unhandled: list[str] = []

    def observe(event: Any) -> None:
        if event["log_namespace"] == "twisted.internet.defer" and "log_failure" in event:
            unhandled.append(event["log_failure"].getTraceback())

    globalLogPublisher.addObserver(observe)
    yield
    globalLogPublisher.removeObserver(observe)
    assert unhandled == []
