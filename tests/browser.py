"""A headless Chromium, driven over a pipe by its DevTools protocol: Debian's, nothing more."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MISSING = (
    "chromium is not installed, and the page is tested in a real browser only "
    "(Debian: apt-get install chromium)"
)
ANSWER_SECONDS = 60.0


class Browser:
    """Started by the ``browser`` fixture, which also stops it.

    Args:
        program: the path of Chromium.
        profile: a new folder for it to write to.
    """

    def __init__(self, program: str, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._messages, messages = os.pipe()
        # Chromium reads from descriptor 3 and writes to 4.
        self._process = subprocess.Popen(
            [
                *("bash", "-c", f'exec "$@" 3<&{commands} 4>&{messages}', "bash"),
                *(program, "--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}"),
                *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
                *("--disable-background-networking", "--disable-component-update"),
                *("--disable-dev-shm-usage", "--hide-scrollbars"),
            ],
            pass_fds=(commands, messages),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(messages)
        self._unread = b""
        self._last = 0
        self.events: list[dict[str, Any]] = []
        """What it said without being asked."""
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session: str | None = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self(f"{domain}.enable")

    _session = None

    def __call__(self, method: str, **params: Any) -> Any:
        """Send a command and return its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._last:
            self.events.append(answer)
        assert "result" in answer, answer
        return answer["result"]

    def open(self, url: str, *, width: int, dark: bool = False) -> None:
        """Open *url* in a window of *width* pixels, on a phone if it is that narrow."""
        self.events.clear()
        window = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
        self("Emulation.setDeviceMetricsOverride", **window)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Page.navigate", url=url)
        while not self.seen("Page.loadEventFired"):
            self.events.append(self._read())

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression on the page."""
        result = self("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def seen(self, method: str) -> list[dict[str, Any]]:
        """The events of this name since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def screenshot(self, path: Path) -> None:
        """A PNG of the whole page."""
        shot = self("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._messages)

    def _read(self) -> dict[str, Any]:
        ends = time.monotonic() + ANSWER_SECONDS
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._messages], [], [], ends - time.monotonic())
            assert ready, "Chromium does not answer"
            chunk = os.read(self._messages, 1 << 16)
            assert chunk, "Chromium ended"
            self._unread += chunk
        message, _, self._unread = self._unread.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser with a new profile; it stops with the module."""
    program = shutil.which("chromium")
    if program is None:
        assert not os.environ.get("REQUIRE_BROWSER"), MISSING
        pytest.skip(MISSING)
    browser = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.close()
