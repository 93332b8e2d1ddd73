"""The simulator's HTTP server: a port on loopback, and no socket left when it stops."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.protocols.policies have no annotations)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from .answer import Ending

if TYPE_CHECKING:
    from collections.abc import Callable

    from .answer import Answer

    _Respond = Callable[[str, str, bytes | None], Answer]

#: The largest request body that is read, in bytes: the service's limit for a picture (500,000),
#: in base64, with room for the rest of the task.
MAX_BODY: Final = 1_000_000


class Server:
    """Listens on 127.0.0.1 and hands every call to *respond*.

    Args:
        respond: takes the method, the path and the body, None if it is larger than ``MAX_BODY``.
        clock: an ``IReactorTime`` provider, for the timeouts of idle connections.
        reactor: an ``IReactorTCP`` provider.
    """

    def __init__(self, respond: _Respond, clock: Any, reactor: Any) -> None:
        site = _QuietSite(_Api(respond), requestFactory=_ModestRequest, reactor=clock)
        self._connections = _Connections(site)
        self._reactor = reactor
        self._port: Any = None

    def start(self, port: int) -> None:
        """Listen on *port*; 0 takes any free one."""
        self._port = self._reactor.listenTCP(port, self._connections, interface="127.0.0.1")

    def stop(self) -> Deferred[None]:
        """Stop listening and cut all connections; fires when no socket is left."""
        if self._port is None:
            return succeed(None)
        port, self._port = self._port, None
        closed = [maybeDeferred(port.stopListening), self._connections.cut()]
        return gatherResults(closed).addCallback(lambda _: None)

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            RuntimeError: it does not.
        """
        if self._port is None:
            raise RuntimeError("The simulator is not listening: call start() first.")
        return int(self._port.getHost().port)


class _Api(Resource):
    isLeaf = True

    def __init__(self, respond: _Respond) -> None:
        super().__init__()
        self._respond = respond

    def render(self, request: Any) -> bytes | int:
        path = request.path.decode("utf-8", "replace")
        method = request.method.decode("utf-8", "replace")
        body = request.content.read()
        return _send(self._respond(method, path, body if len(body) <= MAX_BODY else None), request)


def _send(answer: Answer, request: Any) -> bytes | int:
    if answer.ending is Ending.RESET:
        request.transport.abortConnection()
    if answer.ending in (Ending.RESET, Ending.HANG):
        return NOT_DONE_YET
    request.setResponseCode(answer.status)
    for name, value in answer.headers.items():
        request.setHeader(name, value)
    if answer.ending is Ending.STALL:
        request.write(answer.body)
        return NOT_DONE_YET
    return answer.body


class _ModestRequest(Request):
    """Keeps no more of a body than it takes to see that it is too large."""

    content: Any

    def handleContentChunk(self, data: bytes) -> None:
        room = MAX_BODY + 1 - self.content.tell()
        super().handleContentChunk(data[: max(room, 0)])


class _QuietSite(Site):
    """Logs nothing: in a test the records speak, and the log belongs to what is tested."""

    noisy = False

    def log(self, request: Any) -> None:
        pass


class _Connections(WrappingFactory):
    """Knows the open connections, to cut them."""

    noisy = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._all_lost: Deferred[None] | None = None

    def cut(self) -> Deferred[None]:
        if not self.protocols:
            return succeed(None)
        self._all_lost = Deferred()
        for protocol in list(self.protocols):
            protocol.transport.abortConnection()
        return self._all_lost

    def unregisterProtocol(self, p: Any) -> None:
        super().unregisterProtocol(p)
        if self._all_lost and not self.protocols:
            lost, self._all_lost = self._all_lost, None
            lost.callback(None)
