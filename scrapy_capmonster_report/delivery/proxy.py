"""The HTTP proxy for reports, and the tunnel through it."""

# mypy: allow-untyped-calls
# (twisted.protocols.policies has no annotations)

from __future__ import annotations

import logging
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from ..settings import NO_PROXY, PROXY, is_proxy_url, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IProtocol
    from twisted.python.failure import Failure

logger = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 * 1024
"""Bytes that a proxy may send before the tunnel begins."""

DEFAULT_PORT: Final = 80


class ProxyError(Exception):
    """The proxy does not open a tunnel."""


class Proxy(NamedTuple):
    """An HTTP proxy; *authorization* is the value of the header, if it needs a password."""

    host: str
    port: int
    authorization: bytes | None


def proxy_for(url: str, setting: str) -> Proxy | None:
    """The proxy for reports to *url*; ``None`` if there is none.

    Plain http is for services on this machine only, which a proxy could not reach.

    Args:
        setting: the value of ``CAPMONSTER_REPORT_PROXY``.
    """
    service = urlsplit(url)
    if service.scheme != "https" or setting == NO_PROXY:
        return None
    if not setting:
        # no_proxy may list a host, or a host with its port, which Scrapy does not look for.
        with_port = service.netloc if service.port else f"{service.netloc}:443"
        if proxy_bypass(service.hostname or "") or proxy_bypass(with_port):
            return None
        setting = getproxies().get("https", "").strip()
        if "://" not in setting:
            setting = setting and f"http://{setting}"
        if setting and not is_proxy_url(setting):
            logger.warning(
                "The proxy in the environment (%s) is not used for reports, because it is not a "
                "URL like http://HOST:PORT (only http:// proxies are supported). Set %s to "
                "another one.",
                without_secrets(setting),
                PROXY,
            )
            return None
    return _parse(setting) if setting else None


def _parse(url: str) -> Proxy:
    parts = urlsplit(url)
    authorization = None
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(secret.encode())
    return Proxy(parts.hostname or "", parts.port or DEFAULT_PORT, authorization)


def connect_request(host: bytes, port: int, authorization: bytes | None) -> bytes:
    """What asks a proxy for a tunnel (``CONNECT``, RFC 9110, 9.3.6) to *host*."""
    where = b"%s:%d" % (b"[%s]" % host if b":" in host else host, port)
    head = [b"CONNECT %s HTTP/1.1" % where, b"Host: " + where]
    if authorization is not None:
        head.append(b"Proxy-Authorization: " + authorization)
    return b"\r\n".join([*head, b"", b""])


@implementer(IStreamClientEndpoint)
class WrappedEndpoint:
    """Connects to an *endpoint* with a wrapper around the protocol.

    Args:
        wrap: makes a factory of wrappers around the protocols of another factory. ``is_open`` of
            a wrapper is its protocol, or a Deferred of it.
    """

    def __init__(self, endpoint: Any, wrap: Callable[[Any], WrappingFactory]) -> None:
        self._endpoint = endpoint
        self._wrap = wrap

    def connect(self, protocolFactory: Any) -> Deferred[IProtocol]:
        connected: Deferred[Any] = self._endpoint.connect(self._wrap(protocolFactory))
        return connected.addCallback(lambda wrapper: wrapper.is_open)


class _Tunnel(ProtocolWrapper):
    """Asks the proxy for a tunnel, and then connects the wrapped protocol."""

    transport: Any
    factory: Any

    def __init__(self, factory: Any, wrapped: Any) -> None:
        super().__init__(factory, wrapped)
        self._head = b""
        self._is_through = False
        self.is_open: Deferred[Any] = Deferred(lambda _: self.transport.abortConnection())

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.factory.request)

    def dataReceived(self, data: bytes) -> None:
        if self._is_through:
            super().dataReceived(data)
            return
        self._head += data
        head, is_complete, rest = self._head.partition(b"\r\n\r\n")
        if not is_complete and len(head) <= MAX_HEAD_BYTES:
            return
        status = head.split(b"\r\n")[0].split(b" ")
        if not (is_complete and len(status) > 1 and status[1].startswith(b"2")):
            self._fail(status[1] if len(status) > 1 else b"")
            return
        self._is_through = True
        super().makeConnection(self.transport)
        self.is_open.callback(self.wrappedProtocol)
        if rest:
            super().dataReceived(rest)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if self._is_through:
            super().connectionLost(reason)
        elif not self.is_open.called:
            self.is_open.errback(ProxyError("the proxy closed the connection"))

    def _fail(self, status: bytes) -> None:
        is_http = status.isdigit() and len(status) == 3
        problem = f"answered HTTP {int(status)}" if is_http else "does not speak HTTP"
        self.is_open.errback(ProxyError(f"the proxy {problem}. Check {PROXY} and its password"))
        self.transport.abortConnection()


class TunnelFactory(WrappingFactory):
    """Opens a tunnel with *request* below the protocols of *factory*."""

    noisy = False
    protocol = _Tunnel

    def __init__(self, request: bytes, factory: Any) -> None:
        super().__init__(factory)
        self.request = request
