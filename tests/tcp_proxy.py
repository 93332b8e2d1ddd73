"""A TCP proxy on loopback that delays, holds back and breaks off what goes through it."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory
from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer


class _Client(ProxyClient):
    def dataReceived(self, data: bytes) -> None:
        self.peer.pass_on(self.peer.transport, data)


class _ClientFactory(ProxyClientFactory):
    protocol = _Client
    noisy = False


class _Server(ProxyServer):
    clientProtocolFactory = _ClientFactory
    factory: Any

    def connectionMade(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        self.factory.connections.add(self)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self.pass_on(self.peer.transport, data)

    def pass_on(self, transport: Any, data: bytes) -> None:
        proxy = self.factory.proxy
        if proxy.is_holding:
            return
        if proxy.delay:
            self.reactor.callLater(proxy.delay, transport.write, data)
        else:
            transport.write(data)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self.factory.connections.discard(self)
        super().connectionLost(reason)


class TcpProxy:
    """Forwards connections to a *port* of loopback.

    ``delay``: seconds that data takes in each direction. ``is_holding``: it is a black hole.
    """

    def __init__(self, port: int) -> None:
        from twisted.internet import reactor

        self.delay = 0.0
        self.is_holding = False
        self._factory: Any = ProxyFactory("127.0.0.1", port)
        self._factory.protocol = _Server
        self._factory.noisy = False
        self._factory.proxy = self
        self._factory.connections = set()
        assert isinstance(self._factory, Factory)
        self._port = reactor.listenTCP(0, self._factory, interface="127.0.0.1")
        self.port: int = self._port.getHost().port
        self.redis_url = f"redis://127.0.0.1:{self.port}/0"

    @property
    def connections(self) -> set[Any]:
        """Those that are open."""
        found: set[Any] = self._factory.connections
        return found

    def reset(self) -> None:
        """Break off every connection."""
        for connection in list(self.connections):
            connection.transport.abortConnection()

    async def stop(self) -> None:
        self.reset()
        await self._port.stopListening()
