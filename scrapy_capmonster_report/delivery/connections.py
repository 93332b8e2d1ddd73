"""The connections to the service: how they are opened, and closed at the end."""

# mypy: allow-untyped-calls
# (twisted.protocols.policies has no annotations)

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.abstract import isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from ..settings import PROXY
from .tls import UnusableConnectionError, VerifiedTLS

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocol
    from twisted.python.failure import Failure

    from .proxy import Proxy

NEVER_SECONDS: Final = 3600.0

MAX_ANSWER_BYTES: Final = 64 * 1024
"""An answer has about 40 bytes, and headers. If there are more bytes, the connection is aborted."""

_STATUS: Final = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})\b")


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class Connections:
    """Opens connections to the service, and aborts those that are open at the end.

    It is the endpoint below TLS, because a TLS shutdown takes as long as the server likes.

    Args:
        reactor: connects.
        url: that of the service.
        proxy: the proxy that connections go through, if any.
    """

    def __init__(self, reactor: Any, url: str, proxy: Proxy | None) -> None:
        self._reactor = reactor
        service = URI.fromBytes(url.encode("ascii"))
        self._host, self._port = service.host.decode("ascii"), service.port
        self._connect_request = b""
        if proxy is not None:
            self._host, self._port = proxy.host, proxy.port
            self._connect_request = proxy.connect_request(service.host, service.port)
        self._endpoint: IStreamClientEndpoint | None = None
        self._open: dict[_Connection, int] = {}
        self.opened = 0

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        if uri.scheme != b"https":
            return self
        if self._endpoint is None:  # made once, because reading the trust store takes time
            self._endpoint = wrapClientTLS(VerifiedTLS(uri.host.decode("ascii")), self)
        return self._endpoint

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        self.opened += 1
        # No timeout here: the request has a deadline, which knows if the reactor was blocked.
        # By default, Scrapy's resolver finds IPv4 addresses only, and none for one of IPv6.
        endpoint_type = TCP6ClientEndpoint if isIPv6Address(self._host) else HostnameEndpoint
        endpoint = endpoint_type(self._reactor, self._host, self._port, timeout=NEVER_SECONDS)
        factory = WrappingFactory(protocolFactory)
        factory.noisy = False
        factory.protocol = partial(_Connection, self._connect_request)
        factory.protocols = self._open
        connected: Deferred[Any] = endpoint.connect(factory)
        return connected.addCallback(lambda connection: connection.ready)

    def abort(self) -> None:
        """Abort all connections."""
        for connection in list(self._open):
            connection.transport.abortConnection()


class _Connection(ProtocolWrapper):
    """A connection; if there is a *connect_request*, it first asks a proxy for a tunnel.

    It is aborted if more is received than an answer can have.
    """

    transport: Any

    def __init__(self, connect_request: bytes, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._connect_request = connect_request
        self._proxy_answer = b""
        self._received = 0
        self.ready: Deferred[Any] = Deferred(lambda _: self.transport.abortConnection())

    def makeConnection(self, transport: Any) -> None:
        if self._connect_request:
            self.transport = transport
            self.factory.registerProtocol(self)
            transport.write(self._connect_request)
        else:
            self._get_ready(transport)

    def _get_ready(self, transport: Any) -> None:
        super().makeConnection(transport)
        self.ready.callback(self.wrappedProtocol)

    def write(self, data: bytes) -> None:
        self._received = 0  # what follows is the answer to this
        super().write(data)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        is_too_long = self._received > MAX_ANSWER_BYTES
        if not self.connected:
            self._proxy_answer += data
            self._read_proxy_answer(is_too_long=is_too_long)
        elif is_too_long:
            self.transport.abortConnection()
        else:
            super().dataReceived(data)

    def _read_proxy_answer(self, *, is_too_long: bool) -> None:
        head, is_complete, rest = self._proxy_answer.partition(b"\r\n\r\n")
        status = _STATUS.match(head)
        if is_complete and status and status[1].startswith(b"2"):
            self._get_ready(self.transport)
            if rest:
                super().dataReceived(rest)
        elif is_complete or is_too_long:
            answer = f"answered HTTP {int(status[1])}" if status else "does not speak HTTP"
            self._fail(f"{answer}. Check {PROXY} and its password")

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self.connected:
            super().connectionLost(reason)
        else:
            self.factory.unregisterProtocol(self)
            self._fail("closed the connection")

    def _fail(self, problem: str) -> None:
        if not self.ready.called:
            self.ready.errback(UnusableConnectionError(f"the proxy {problem}"))
            self.transport.abortConnection()
