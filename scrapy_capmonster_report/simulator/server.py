"""The stand-in's HTTP server."""

# mypy: allow-untyped-calls
# (twisted.web and twisted.protocols.policies have no annotations)

from __future__ import annotations

from typing import Any

from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site


class Server(WrappingFactory):
    """An HTTP server that passes every call to *respond*.

    Args:
        respond: takes the method, the path, the body, and the fields of the query or of a form;
            returns a ``SimulatedAnswer``.
        clock: an ``IReactorTime`` provider, for the timeouts of idle connections.
    """

    noisy = False

    def __init__(self, respond: Any, clock: Any) -> None:
        super().__init__(_QuietSite(_Api(respond), reactor=clock))

    def cut(self) -> None:
        """Abort all connections. They are lost in the reactor's next turn."""
        for protocol in list(self.protocols):
            protocol.transport.abortConnection()


class _QuietSite(Site):
    """Writes no access log: the log is for what is tested, and calls are recorded."""

    noisy = False

    def log(self, request: Any) -> None:
        pass


class _Api(Resource):
    isLeaf = True

    def __init__(self, respond: Any) -> None:
        super().__init__()
        self._respond = respond

    def render(self, request: Any) -> Any:
        form = {name.decode("latin-1"): values[0] for name, values in request.args.items()}
        method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
        answer = self._respond(method, path, request.content.read(), form)
        if answer.name == "reset":
            request.transport.abortConnection()
        if answer.name == "stall":
            request.write(b"{")
        if answer.name in ("reset", "hang", "stall"):
            return NOT_DONE_YET
        request.setResponseCode(answer.status)
        for name, value in answer.headers.items():
            request.setHeader(name, value)
        return answer.body
