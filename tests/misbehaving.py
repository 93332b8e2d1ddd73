"""An API on loopback that really misbehaves: it hangs, drips, resets, lies and floods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from collections.abc import Callable

    Behaviour = Callable[["Connection", "Arrival"], None]

SUCCESS = json.dumps({"errorId": 0, "status": "success"})


class Arrival(NamedTuple):
    """A request that was read to its end.

    Args:
        nth: how many requests came before it on the same connection.
        moment: seconds, by the reactor.
    """

    method: str
    endpoint: str
    head: str
    body: bytes
    nth: int
    moment: float

    @property
    def task_id(self) -> int:
        return json.loads(self.body)["taskId"]

    @property
    def client_key(self) -> str:
        return json.loads(self.body)["clientKey"]


# -- behaviours ------------------------------------------------------------------------------


def says(body: str | bytes = SUCCESS, status: int = 200, **headers: str) -> Behaviour:
    """Answer as a server should, whatever the answer be; ``Retry_After="5"`` adds a header."""
    content = body.encode() if isinstance(body, str) else body

    def behave(connection: Connection, arrival: Arrival) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        connection.answer("\r\n".join([*lines, "", ""]).encode("latin-1") + content)

    return behave


def refuses(code: str) -> Behaviour:
    return says(json.dumps({"errorId": 1, "errorCode": code}))


def hangs(connection: Connection, arrival: Arrival) -> None:
    """Never answer."""


def stalls(connection: Connection, arrival: Arrival) -> None:
    """Send the headers of an answer, and of its body one byte."""
    connection.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n{")


def drips(connection: Connection, arrival: Arrival) -> None:
    """Send a body that never ends, one byte at a time, so that the connection is never idle."""
    connection.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    connection.keep_writing(b" ", 0.02)


def floods(connection: Connection, arrival: Arrival) -> None:
    """Send a body that never ends, as fast as the client takes it."""
    connection.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")
    connection.keep_writing(b"FLOOD" * 4096, 0.0)


def floods_headers(connection: Connection, arrival: Arrival) -> None:
    """Send headers that never end, as fast as the client takes them."""
    connection.transport.write(b"HTTP/1.1 200 OK\r\n")
    connection.keep_writing(b"X-Flood: FLOOD\r\n" * 1024, 0.0)


def floods_interim_answers(connection: Connection, arrival: Arrival) -> None:
    """Ask for patience, for ever, as fast as the client takes it."""
    connection.keep_writing(b"HTTP/1.1 102 Processing\r\n\r\n" * 512, 0.0)


def resets(connection: Connection, arrival: Arrival) -> None:
    """Break the connection off."""
    connection.transport.abortConnection()


def closes_when_used_again(connection: Connection, arrival: Arrival) -> None:
    """Keep a connection alive, but not for the next request: it was just about to close it."""
    if arrival.nth:
        connection.transport.loseConnection()
    else:
        says()(connection, arrival)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave differently from request to request of the same task; the last goes on for ever."""
    seen: dict[int, int] = {}

    def behave(connection: Connection, arrival: Arrival) -> None:
        turn = seen.get(arrival.task_id, 0)
        seen[arrival.task_id] = turn + 1
        behaviours[min(turn, len(behaviours) - 1)](connection, arrival)

    return behave


def by_task(behaviours: dict[int, Behaviour]) -> Behaviour:
    """Behave differently from task to task."""
    return lambda connection, arrival: behaviours[arrival.task_id](connection, arrival)


# -- the server ------------------------------------------------------------------------------


class Connection(Protocol):
    """One connection: reads requests one after another, as HTTP clients send them."""

    server: MisbehavingServer

    def __init__(self) -> None:
        self._unread = b""
        self._requests = 0
        self._unanswered = 0
        self._writing: LoopingCall | None = None

    def connectionMade(self) -> None:
        self.server.connections.add(self)
        self.server.accepted += 1
        if self.server.deaf:
            self.transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        self._unread += data
        head, end_of_head, body = self._unread.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not end_of_head or len(body) < int(length or 0):
            return
        self._unread = b""
        from twisted.internet import reactor

        method, endpoint, _ = head.decode().split("\r\n")[0].split()
        arrival = Arrival(method, endpoint, head.decode(), body, self._requests, reactor.seconds())
        self._requests += 1
        self._unanswered += 1
        self.server.arrived(self, arrival)

    def answer(self, data: bytes) -> None:
        self._answered()
        self.transport.write(data)

    def keep_writing(self, data: bytes, interval: float) -> None:
        self._writing = LoopingCall(self._write_unless_full, data)
        self._writing.start(interval)

    def _write_unless_full(self, data: bytes) -> None:
        if not self.transport.dataBuffer:
            self.transport.write(data)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        if self._writing is not None and self._writing.running:
            self._writing.stop()
        self._answered()
        self.server.connections.discard(self)

    def _answered(self) -> None:
        self.server.in_flight -= self._unanswered
        self._unanswered = 0


class MisbehavingServer(Factory):
    """Behaves as it is told to, and remembers what it got to see.

    Args:
        behave: called with each request once it was read to its end.
        deaf: accept connections, but read nothing.
        tls: what to serve TLS with.
        host: the address of loopback to listen on.
    """

    noisy = False
    protocol = Connection

    def __init__(
        self,
        behave: Behaviour = hangs,
        *,
        deaf: bool = False,
        tls: Any | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        from twisted.internet import reactor

        self.behave = behave
        self.deaf = deaf
        self.arrivals: list[Arrival] = []
        self.accepted = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections: set[Connection] = set()
        self._held: list[tuple[Connection, Arrival]] | None = None
        if tls is None:
            self._port = reactor.listenTCP(0, self, interface=host)
        else:
            self._port = reactor.listenSSL(0, self, tls, interface=host)
        self.port: int = self._port.getHost().port
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'http' if tls is None else 'https'}://{shown}:{self.port}"

    def buildProtocol(self, address: Any) -> Connection:
        connection = Connection()
        connection.server = self
        return connection

    def arrived(self, connection: Connection, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self._held is None:
            self.behave(connection, arrival)
        else:
            self._held.append((connection, arrival))

    def hold(self) -> None:
        """From now on, behave only when told to :meth:`release`."""
        self._held = []

    def release(self) -> None:
        """Behave now, as to every request that was held."""
        held, self._held = self._held or [], None
        for connection, arrival in held:
            self.behave(connection, arrival)

    def hear_at_last(self) -> None:
        """Read what came while deaf, also that clients hung up."""
        for connection in self.connections:
            connection.transport.resumeProducing()

    def task_ids(self) -> list[int]:
        return [arrival.task_id for arrival in self.arrivals]

    def open_sockets(self) -> int:
        """How many connections clients hold open."""
        return len(self.connections)

    async def stop(self) -> None:
        for connection in list(self.connections):
            connection.transport.abortConnection()
        await self._port.stopListening()
