"""Reports behind a proxy: row 35 of the matrix of faults."""

from __future__ import annotations

import logging
import re
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from misbehaving import MisbehavingServer, hangs, says
from support import CLIENT_KEY, crawl
from test_tls import LOOPBACK, certificate
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.logger import globalLogPublisher
from wired import WRONG, Refused, lines, until

from scrapy_capmonster_report.delivery.proxy import Proxy, proxy_for
from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SERVICE = "https://api.capmonster.cloud"

AUTHORIZATION = b"Basic " + b64encode(b"user:p@ss")


class ConnectProxy(Factory):
    """A proxy on loopback that opens tunnels, and remembers every byte that it saw.

    Args:
        refusal: what it says in place of opening one.
        authorization: what it wants to hear.
        host: the address of loopback to listen on.
    """

    noisy = False

    def __init__(
        self,
        refusal: bytes | None = None,
        authorization: bytes | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        from twisted.internet import reactor

        self.refusal = refusal
        self.authorization = authorization
        self.seen = b""
        self.connections: set[_Connection] = set()
        self._port = reactor.listenTCP(0, self, interface=host)
        self.port = self._port.getHost().port
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://user:p%40ss@{shown}:{self.port}"

    def buildProtocol(self, address: Any) -> _Connection:
        return _Connection(self)

    async def stop(self) -> None:
        for connection in list(self.connections):
            connection.transport.abortConnection()
        await self._port.stopListening()


class _Connection(Protocol):
    transport: Any

    def __init__(self, proxy: ConnectProxy) -> None:
        self._proxy = proxy
        self._head = b""
        self._far_end: Any = None

    def connectionMade(self) -> None:
        self._proxy.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        self._proxy.seen += data
        if self._far_end is not None:
            self._far_end.transport.write(data)
            return
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        proxy = self._proxy
        match = re.match(rb"CONNECT (?:127\.0\.0\.1|\[::1\]):(\d+) HTTP/1\.[01]\r\n", self._head)
        assert match is not None, self._head
        wanted = proxy.authorization
        if wanted and b"\r\nProxy-Authorization: " + wanted + b"\r\n" not in self._head:
            self.transport.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif proxy.refusal is not None:
            self.transport.write(proxy.refusal)
        else:
            from twisted.internet import reactor

            factory = Factory.forProtocol(lambda: _FarEnd(self))
            factory.noisy = False
            factory.clientConnectionFailed = lambda *_: self.transport.abortConnection()
            factory.clientConnectionLost = lambda *_: None
            factory.startedConnecting = lambda *_: None
            reactor.connectTCP("127.0.0.1", int(match[1]), factory)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._proxy.connections.discard(self)
        if self._far_end is not None:
            self._far_end.transport.loseConnection()


class _FarEnd(Protocol):
    def __init__(self, near: _Connection) -> None:
        self._near = near

    def connectionMade(self) -> None:
        self._near._far_end = self
        self._near.transport.write(b"HTTP/1.1 200 Connection established\r\nVia: tests\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self._near._proxy.seen += data
        self._near.transport.write(data)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._near.transport.loseConnection()


@pytest_twisted.async_yield_fixture
async def proxy() -> Any:
    """Start proxies: ``proxy()``, ``proxy(refusal)``; they stop with the test."""
    proxies: list[ConnectProxy] = []

    def start(*args: Any, **options: Any) -> ConnectProxy:
        proxies.append(ConnectProxy(*args, **options))
        return proxies[-1]

    yield start
    for each in proxies:
        await each.stop()


@pytest.fixture
def cloud(
    misbehave: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], MisbehavingServer]:
    """Start a service over TLS that this machine trusts."""

    def start() -> MisbehavingServer:
        proof = certificate(LOOPBACK, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", proof)
        server: MisbehavingServer = misbehave(
            says(), tls=DefaultOpenSSLContextFactory(proof, proof)
        )
        return server

    return start


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("by", ["setting", "environment"])
async def test_a_crawl_behind_a_proxy_with_a_password_delivers_and_the_proxy_sees_no_key(
    by: str, proxy: Any, cloud: Any, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, service = proxy(authorization=AUTHORIZATION), cloud()
    settings = {"CAPMONSTER_API_URL": service.url}
    if by == "setting":
        settings["CAPMONSTER_REPORT_PROXY"] = gate.url
    else:
        monkeypatch.setenv("https_proxy", gate.url)
        monkeypatch.delenv("no_proxy", raising=False)
    stats = await crawl(Refused, settings, base=serve(lambda _: WRONG).url, tasks=range(1, 31))
    assert stats["sent/accepted"] == 30
    assert sorted(service.task_ids()) == [*range(1, 31)]
    assert b"CONNECT" in gate.seen
    assert CLIENT_KEY.encode() not in gate.seen
    await until(lambda: not service.connections and not gate.connections)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\n<html>", "answered HTTP 403"),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered HTTP 407"),
        (b"HTTP/1.1 407 No\r\n\r\n" + b"<p>Denied</p>" * 300, "answered HTTP 407"),
        (b"HTTP/1.1 " + b"4" * 5000 + b" No\r\n\r\n", "does not speak HTTP"),
        (b"<html>" * 20_000, "does not speak HTTP"),
        (b"", "no answer within 0.2 seconds"),
        (b"HTTP/1.1\r\n\r\n", "does not speak HTTP"),
    ],
    ids=[
        *("refuses", "wants a password", "wants one with a page", "counts too far"),
        *("is none", "hangs", "stammers"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_an_outage_that_says_why(
    refusal: bytes, reason: str, proxy: Any, cloud: Any, wire: Any, caplog: Any
) -> None:
    gate, service = proxy(refusal), cloud()
    desk = wire(url=service.url, proxy=gate.url, timeout=0.2, max_age=1.0)
    logged: list[Any] = []
    globalLogPublisher.addObserver(logged.append)
    desk.reject(1)
    await desk.settle()
    globalLogPublisher.removeObserver(logged.append)
    assert [event for event in logged if "log_failure" in event] == []
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    assert service.accepted == 0
    [warning] = lines(caplog, logging.WARNING)
    assert reason in warning
    assert "p%40ss" not in caplog.text
    assert "p@ss" not in caplog.text
    await until(lambda: not gate.connections)


@pytest_twisted.ensureDeferred
async def test_a_service_that_hangs_behind_a_proxy_leaves_no_connection(
    proxy: Any, cloud: Any, wire: Any
) -> None:
    gate, service = proxy(), cloud()
    service.behave = hangs
    desk = wire(url=service.url, proxy=gate.url, timeout=0.3, max_age=1.2)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    await desk.shut()
    await until(lambda: not gate.connections and not service.connections)


@pytest.mark.parametrize(
    ("url", "setting", "environment", "expected"),
    [
        (SERVICE, "", {}, None),
        (SERVICE, "http://proxy.example:3128", {}, Proxy("proxy.example", 3128, None)),
        (SERVICE, "http://proxy.example", {}, Proxy("proxy.example", 80, None)),
        (
            SERVICE,
            "http://user:p%40ss@[::1]:3128/",
            {"https_proxy": "http://other.example"},
            Proxy("::1", 3128, AUTHORIZATION),
        ),
        (SERVICE, "", {"https_proxy": "proxy.example:3128"}, Proxy("proxy.example", 3128, None)),
        (SERVICE, "", {"HTTPS_PROXY": "http://p.example:1"}, Proxy("p.example", 1, None)),
        (SERVICE, "", {"http_proxy": "http://proxy.example:3128"}, None),
        (SERVICE, "none", {"https_proxy": "http://proxy.example:3128"}, None),
        (SERVICE, "", {"https_proxy": "http://p.example:1", "no_proxy": ".capmonster.cloud"}, None),
        *(
            (
                url,
                "",
                {"https_proxy": "http://p.example:1", "no_proxy": f"x.org, {entry}"},
                None,
            )
            for url, entry in [
                (SERVICE, "api.capmonster.cloud:443"),
                ("https://api.example:8443", "api.example:8443"),
                ("https://[::1]:8443", "::1"),
                ("https://[::1]:8443", "[::1]"),
                ("https://[::1]:8443", "[::1]:8443"),
            ]
        ),
        (
            "https://api.example:8443",
            "",
            {"https_proxy": "http://p.example:1", "no_proxy": "api.example:443"},
            Proxy("p.example", 1, None),
        ),
        (SERVICE, "", {"https_proxy": " http://p.example:1\n"}, Proxy("p.example", 1, None)),
        (SERVICE, "", {"https_proxy": "socks5://user:secret@proxy.example:1080"}, None),
        (SERVICE, "", {"https_proxy": "http://user:secret@proxy.example:99999"}, None),
        (SERVICE, "", {"https_proxy": "http://user:secret@[1.2.3.4]:80"}, None),
        (SERVICE, "", {"https_proxy": "secret@[:::]:80"}, None),
        # On this machine, where no proxy would find it.
        ("http://127.0.0.1:8080", "http://proxy.example:3128", {}, None),
    ],
)
def test_which_proxy_reports_go_through(
    url: str,
    setting: str,
    environment: dict[str, str],
    expected: Proxy | None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert proxy_for(url, setting) == expected
    assert ("only http:// proxies are supported" in caplog.text) == ("secret" in str(environment))
    assert "secret" not in caplog.text
