"""A Redis server of the tests' own: Debian's, on a port of loopback, without a disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import redis
from wired import until

if TYPE_CHECKING:
    from pathlib import Path

MISSING = (
    "redis-server is not installed, and the Redis ledger is tested on a real one only "
    "(Debian: apt-get install redis-server)"
)


class RedisServer:
    """Started by the ``redis_server`` fixture, which also stops it.

    Args:
        folder: where it may write.
        options: more of its command line.
    """

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        if port is None:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
        self.port: int = port
        self._command = folder, *options
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process = subprocess.Popen(
            [
                *("redis-server", "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "no", "--dir", str(folder), *options),
            ],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis(port=self.port)

    async def start_again(self) -> RedisServer:
        """Another one at the same place."""
        return await RedisServer(*self._command, port=self.port).started()

    async def started(self) -> RedisServer:
        await until(self._answers)
        return self

    def stop(self) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        assert self._process.poll() is None, "redis-server ended"
        try:
            return bool(self.client.ping())
        except redis.AuthenticationError:
            return True
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
            return False


def require_redis_server() -> None:
    if shutil.which("redis-server") is None:
        assert not os.environ.get("REQUIRE_REDIS"), MISSING
        pytest.skip(MISSING)


async def start_redis(folder: Any, *options: str) -> RedisServer:
    require_redis_server()
    return await RedisServer(folder, *options).started()


@pytest_twisted.async_yield_fixture
async def redis_server(tmp_path: Path) -> Any:
    """A Redis server; it stops with the test."""
    server = await start_redis(tmp_path)
    yield server
    server.stop()
