"""Sends one report: a POST through treq with a deadline."""

# mypy: allow-untyped-calls
# (Twisted's alternative constructor has no annotations)

from __future__ import annotations

import json
import zlib
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Final

from hyperlink import EncodedURL
from OpenSSL import SSL
from treq.client import HTTPClient
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Protocol
from twisted.web.client import (
    Agent,
    HTTPConnectionPool,
    RequestTransmissionFailed,
    ResponseDone,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from ..deadline import with_deadline
from ..mask import account_key
from ..settings import API_URL
from ..task import Kind
from .answer import ReportAnswer, Verdict, read_answer
from .connections import MAX_ANSWER_BYTES, Connections
from .proxy import proxy_for
from .tls import UnusableConnectionError, tls_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.internet.interfaces import IConsumer
    from twisted.python.failure import Failure
    from twisted.web.iweb import IResponse

    from ..settings import ReportSettings
    from ..task import Task

ENDPOINTS: Final[Mapping[Kind, str]] = {
    Kind.IMAGE: "/reportIncorrectImageCaptcha",
    Kind.TOKEN: "/reportIncorrectTokenCaptcha",
    Kind.RECAPTCHA: "/reportIncorrectRecaptcha",
}
"""The three endpoints, from the service's page "How to report bad tokens"."""

_SAID_BY_TWISTED: Final = (error.ConnectError, error.DNSLookupError)
"""Failures of the connection, before an answer."""

_GZIP_MAGIC: Final = b"\x1f\x8b"


class ReportClient:
    """The report calls of CapMonster Cloud, on a treq client of its own.

    Args:
        reactor: connects and tells the time of the deadline.
        settings: those of this package. The account key goes into the request's body only.
        wall: seconds since the epoch, for dates in ``Retry-After``.
    """

    def __init__(self, reactor: Any, settings: ReportSettings, wall: Callable[[], float]) -> None:
        self._reactor = reactor
        self._client_key = settings.client_key
        self._secret = account_key(settings.client_key)
        self._timeout = settings.timeout
        self._wall = wall
        url = settings.api_url
        self._urls = {kind: _EncodedURL.from_text(url + ENDPOINTS[kind]) for kind in Kind}
        json_type = [b"application/json"]
        self._headers = Headers({b"Content-Type": json_type, b"Accept": json_type})
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.maxPersistentPerHost = settings.concurrency
        proxy = proxy_for(url, settings.proxy)
        self._through = f", through the proxy {proxy.host}:{proxy.port}" if proxy else ""
        self._connections = Connections(reactor, url, proxy)
        agent = _Agent.usingEndpointFactory(reactor, self._connections, pool=self._pool)
        # The service has no sessions. treq 26.7 annotates a cookie jar of its own, which 24.9
        # lacks, but does not need it.
        jar: Any = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = HTTPClient(agent, cookiejar=jar)

    def send(self, task: Task) -> Deferred[ReportAnswer]:
        """Report *task* once. Never fails: if sending fails, the verdict of the answer is RETRY.

        Cancelling it closes the connection.
        """
        attempt = Deferred.fromCoroutine(self._attempt(task))
        limited = with_deadline(attempt, self._timeout, self._reactor)
        return limited.addErrback(_passing_fault, self._through)

    def close(self) -> Deferred[None]:
        """Close every connection, even if the server keeps it open."""
        self._connections.abort()
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed

    async def _attempt(self, task: Task) -> ReportAnswer:
        response = await self._post(task)
        body = _Body()
        response.deliverBody(body)
        retry_after = response.headers.getRawHeaders(b"retry-after", [b""])[-1]
        return read_answer(
            response.code,
            _unzip(await body.complete),
            retry_after=retry_after.decode("latin-1"),
            wall_now=self._wall(),
            secret=self._secret,
        )

    async def _post(self, task: Task) -> IResponse:
        while True:
            opened = self._connections.opened
            answered = self._client.post(
                self._urls[task.kind],
                data=_ReportBody(self._client_key, task.id),
                headers=self._headers,
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
            kept_alive = self._connections.opened == opened
            try:
                return await answered
            except (RequestTransmissionFailed, ResponseNeverReceived) as failed:
                # The server had closed the kept-alive connection: try the next one. Twisted does
                # not retry a POST.
                is_cancelled = any(reason.check(CancelledError) for reason in failed.reasons)
                if is_cancelled or not kept_alive:
                    raise


def _passing_fault(failure: Failure, through: str) -> ReportAnswer:
    """The answer for a report that met no answer.

    Args:
        through: the proxy, in words for the log; ``""`` without one.
    """
    reasons = getattr(failure.value, "reasons", None)
    cause = reasons[0].value if reasons else failure.value
    if isinstance(cause, UnusableConnectionError):
        reason = str(cause)
    elif isinstance(cause, SSL.Error):
        reason = f"TLS error: {tls_problem(cause)}{through}. Check {API_URL}"
    elif isinstance(cause, error.TimeoutError) and cause.args:
        reason = f"{cause.args[0]}{through}"  # str() would begin with "User timeout"
    elif isinstance(cause, _SAID_BY_TWISTED):
        reason = f"{type(cause).__name__}: {cause}".rstrip(".") + through
    else:  # not its message, which may quote the answer
        reason = type(cause).__name__ + through
    return ReportAnswer(Verdict.RETRY, reason)


class _Agent(Agent):
    """Hides that a body is compressed from treq, which would decompress a gzip bomb."""

    def request(self, *args: Any, **kwargs: Any) -> Deferred[IResponse]:
        return super().request(*args, **kwargs).addCallback(_without_encoding)


def _without_encoding(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"content-encoding")
    return response


def _unzip(body: bytes) -> bytes:
    """*body*, decompressed if it is gzip; nothing if it is then too long, or broken."""
    if not body.startswith(_GZIP_MAGIC):
        return body
    try:
        text = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(body, MAX_ANSWER_BYTES + 1)
    except zlib.error:
        return b""
    return text if len(text) <= MAX_ANSWER_BYTES else b""


@implementer(IBodyProducer)
class _ReportBody:
    """The request's body. An object instead of bytes, so that no traceback shows the key."""

    def __init__(self, client_key: str, task_id: int) -> None:
        self._body = json.dumps({"clientKey": client_key, "taskId": task_id}).encode()
        self.length = len(self._body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Nothing to do: the body is written at once."""

    resumeProducing = stopProducing = pauseProducing


class _EncodedURL(EncodedURL):
    """A URL of ASCII characters; the settings allow no others.

    treq would encode it for each request, which fails with an IPv6 address.
    """

    __slots__ = ()

    def to_uri(self) -> _EncodedURL:
        return self


class _Body(Protocol):
    """Collects the body of an answer. One that breaks off counts as empty."""

    transport: Any  # a push producer, unlike other protocols'

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        # Not loseConnection(): over TLS it waits for the server, perhaps forever.
        self.complete: Deferred[bytes] = Deferred(lambda _: self.transport.stopProducing())

    def dataReceived(self, data: bytes) -> None:
        self._parts.append(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        if not self.complete.called:  # or it was cancelled
            is_complete = reason.check(ResponseDone, PotentialDataLoss)
            self.complete.callback(b"".join(self._parts) if is_complete else b"")
