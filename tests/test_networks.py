"""Services that only IPv6 reaches, names that nothing resolves, and TLS that is never finished."""

from __future__ import annotations

import ipaddress
import logging
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from misbehaving import says
from test_proxy import proxy  # noqa: F401
from test_tls import LOOPBACK, certificate
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from wired import WRONG, lines, until

from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOPBACK_6 = ipaddress.IPv6Address("::1")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["http", "https", "proxy"])
async def test_a_service_or_proxy_on_ipv6_is_reached_in_spite_of_scrapys_resolver(
    way: str,
    serve: Any,
    misbehave: Any,
    proxy: Any,  # noqa: F811
    child_crawl: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By default, Scrapy resolves names to IPv4 only; an address needs no resolver."""
    options: dict[str, Any] = {"host": "::1"}
    settings = {}
    if way != "http":
        host = LOOPBACK if way == "proxy" else LOOPBACK_6
        proof = certificate(host, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", proof)
        options = {"host": str(host), "tls": DefaultOpenSSLContextFactory(proof, proof)}
    if way == "proxy":
        settings["CAPMONSTER_REPORT_PROXY"] = proxy(host="::1").url
    service = misbehave(says(), **options)
    settings["CAPMONSTER_API_URL"] = service.url
    child = child_crawl(serve(lambda _: WRONG).url, range(1, 6), settings)
    stats = await child.stats()
    assert stats["sent/accepted"] == 5
    assert sorted(service.task_ids()) == [1, 2, 3, 4, 5]


def says_hello(data: bytes) -> Callable[[Any, bytes], None]:
    """Answer the first message of a TLS handshake with *data*."""
    return lambda transport, hello: transport.write(data)


class _NoTls(Protocol):
    transport: Any

    def connectionMade(self) -> None:
        self.factory.connections.add(self)

    def dataReceived(self, data: bytes) -> None:
        self.factory.behave(self.transport, data)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self.factory.connections.discard(self)


class NoTls(Factory):
    """Accepts connections and does not finish a TLS handshake."""

    noisy = False
    protocol = _NoTls

    def __init__(self, behave: Callable[[Any, bytes], None]) -> None:
        from twisted.internet import reactor

        self.behave = behave
        self.connections: set[Any] = set()
        self.listening = reactor.listenTCP(0, self, interface="127.0.0.1")
        self.url = f"https://127.0.0.1:{self.listening.getHost().port}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("close_timeout", [0, 0.3])
@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (says_hello(b""), "no answer within 0.2 seconds)"),
        (says_hello(b"\x16\x03\x03\x01\x00\x02"), "no answer within 0.2 seconds)"),
        (says_hello(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "TLS error: "),
        (says_hello(b"\x15\x03\x03\x00\x02\x02\x28"), "TLS error: "),
        (lambda transport, _: transport.loseConnection(), "ConnectionLost"),
        (lambda transport, _: transport.abortConnection(), "ConnectionLost"),
    ],
    ids=["silent", "half a record", "speaks plain HTTP", "refuses", "closes", "resets"],
)
async def test_a_service_that_does_not_finish_the_tls_handshake(
    behave: Any, reason: str, close_timeout: float, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    service = NoTls(behave)
    desk = wire(url=service.url, timeout=0.2)
    desk.reject(1, 2, 3)
    await until(lambda: lines(caplog, logging.WARNING))
    await desk.shut(close_timeout)
    assert desk.count(Outcome.SHUTDOWN) == 3
    [warning] = lines(caplog, logging.WARNING)
    assert f"CapMonster Cloud ({reason}" in warning
    assert ("Check CAPMONSTER_API_URL)." in warning) == reason.startswith("TLS")
    assert "SSL routines" not in warning
    await until(lambda: not service.connections)
    await service.listening.stopListening()
