"""The connections to the service: how they are opened, and closed at the end."""

# mypy: allow-untyped-calls
# (twisted.protocols.policies has no annotations)

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.abstract import isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from .proxy import TunnelFactory, WrappedEndpoint, connect_request
from .tls import tls_options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
    from twisted.web.client import URI

    from .proxy import Proxy

NEVER_SECONDS: Final = 3600.0

MAX_RECEIVED_BYTES: Final = 256 * 1024
"""Bytes that may be received for one request: far more than an answer with its headers over TLS."""


@implementer(IAgentEndpointFactory)
class Connections:
    """Opens connections, and knows which are open.

    Args:
        reactor: connects.
        proxy: the proxy that connections go through, if any.
    """

    def __init__(self, reactor: Any, proxy: Proxy | None) -> None:
        self._reactor = reactor
        self._proxy = proxy
        self._endpoints: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = {}
        self.open: set[_Watched] = set()
        self.opened = 0

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        # Cached: an Agent asks for each request, even if there is a connection, and reading the
        # trust store takes 6 ms (Twisted 25.5, 0.1 ms with 26.10).
        key = uri.scheme, uri.host, uri.port
        if key not in self._endpoints:
            self._endpoints[key] = self._endpoint(uri)
        return self._endpoints[key]

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        # Watched below TLS, because a TLS shutdown takes as long as the server likes.
        if self._proxy is None:
            endpoint = self._watched(uri.host.decode("ascii"), uri.port)
        else:
            host, port, authorization = self._proxy
            request = connect_request(uri.host, uri.port, authorization)
            endpoint = WrappedEndpoint(self._watched(host, port), partial(TunnelFactory, request))
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(tls_options(uri.host.decode("ascii")), endpoint)
        return endpoint

    def _watched(self, host: str, port: int) -> IStreamClientEndpoint:
        # No timeout here: the request has a deadline, which knows if the reactor was blocked.
        # By default, Scrapy's resolver finds IPv4 addresses only, and none for one of IPv6.
        endpoint_type = TCP6ClientEndpoint if isIPv6Address(host) else HostnameEndpoint
        endpoint = endpoint_type(self._reactor, host, port, timeout=NEVER_SECONDS)
        return WrappedEndpoint(endpoint, partial(_WatchedFactory, self))

    def abort(self) -> None:
        """Abort all connections."""
        for connection in list(self.open):
            connection.transport.abortConnection()


class _Watched(ProtocolWrapper):
    """Aborts a connection on which far more is received than an answer can have."""

    transport: Any
    _received = 0

    @property
    def is_open(self) -> IProtocol:
        protocol: IProtocol = self.wrappedProtocol
        return protocol

    def write(self, data: bytes) -> None:
        self._received = 0
        super().write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self._received = 0
        super().writeSequence(data)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_RECEIVED_BYTES:
            self.transport.abortConnection()
        else:
            super().dataReceived(data)


class _WatchedFactory(WrappingFactory):
    """Notes when a connection is made and lost."""

    noisy = False
    protocol = _Watched

    def __init__(self, connections: Connections, factory: Any) -> None:
        super().__init__(factory)
        self._connections = connections
        connections.opened += 1

    def registerProtocol(self, p: Any) -> None:
        self._connections.open.add(p)

    def unregisterProtocol(self, p: Any) -> None:
        self._connections.open.discard(p)
