"""A site and an API in child processes, so that they do not share the interpreter with a crawl.

Run as a program it serves on loopback, prints its URL, and ends when its standard input does.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

WRONG = "Wrong captcha"
ACCEPTED = b'{"errorId":0,"status":"success"}'
ITEM = "<li class='item'><a href='/p/{0}'>Kettle {0}</a><p>{1}</p><b>{0}.00</b></li>"


def page(error: str = "") -> str:
    """A page of some 15 kB, as a shop might have."""
    items = "".join(
        ITEM.format(n, "copper and iron, made to last, delivered " * 3) for n in range(80)
    )
    return (
        f"<!doctype html><html><head><title>Shop</title></head><body>{error}<ul>{items}</ul></body>"
    )


@contextmanager
def server(kind: str, *, delay: float = 0.0) -> Iterator[str]:
    """The URL of a server that runs meanwhile.

    Args:
        kind: ``site``, which rejects requests below ``/refused``, or ``api``.
        delay: seconds before it answers.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, kind, str(delay)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def serve(kind: str, delay: float) -> None:
    from twisted.internet import protocol, reactor, stdio
    from twisted.web.http import HTTPChannel, HTTPFactory
    from twisted.web.http import Request as HTTPRequest

    taken, refused = page().encode(), page(f"<p>{WRONG}</p>").encode()

    class Answering(HTTPRequest):
        def process(self) -> None:
            if kind == "api":
                self.content.read()
                self.setHeader(b"content-type", b"application/json")
                answer = ACCEPTED
            else:
                self.setHeader(b"content-type", b"text/html; charset=utf-8")
                answer = refused if self.path.startswith(b"/refused") else taken
            self.setHeader(b"content-length", b"%d" % len(answer))
            if delay:
                reactor.callLater(delay, self._answer, answer)
            else:
                self._answer(answer)

        def _answer(self, answer: bytes) -> None:
            if not self._disconnected:
                self.write(answer)
                self.finish()

    class Channel(HTTPChannel):
        requestFactory = Answering

    class Quiet(HTTPFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            channel = Channel()
            channel.timeOut = None
            return channel

    class Parent(protocol.Protocol):
        def connectionLost(self, reason: Any = None) -> None:
            reactor.callWhenRunning(reactor.stop)

    port = reactor.listenTCP(0, Quiet(), interface="127.0.0.1", backlog=512)
    print(f"http://127.0.0.1:{port.getHost().port}", flush=True)
    stdio.StandardIO(Parent())
    reactor.run()


if __name__ == "__main__":
    serve(sys.argv[1], float(sys.argv[2]))
