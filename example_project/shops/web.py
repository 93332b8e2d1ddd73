"""The web of the example: an HTTP proxy on loopback that serves five hosts."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twisted.web.resource import Resource
from twisted.web.server import Site

from .record import Record
from .shop import PictureShop, ProtectedShop, RecaptchaShop, Reply, TurnstileShop

if TYPE_CHECKING:
    from .captchas import Captchas

SHOPS = {
    "bakery.example": TurnstileShop,
    "books.example": PictureShop,
    "flights.example": RecaptchaShop,
    "news.example": ProtectedShop,
    "tickets.example": TurnstileShop,
}


class Web(Resource):
    """Answers for all shops. Requests to a proxy carry whole URLs, so each shop can have a name.

    Args:
        captchas: those of the shops.
    """

    isLeaf = True

    def __init__(self, captchas: Captchas) -> None:
        super().__init__()
        self.record = Record()
        self._shops = {host: shop(host, captchas, self.record) for host, shop in SHOPS.items()}

    def start(self) -> str:
        """Listen on any free port of 127.0.0.1, and return the URL of the proxy."""
        from twisted.internet import reactor

        site: Any = Site(self)
        site.noisy = False
        site.log = lambda request: None
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
        return f"http://127.0.0.1:{port.getHost().port}"

    def render(self, request: Any) -> bytes:
        url = urlsplit(request.uri.decode())
        shop = self._shops.get(url.hostname or "")
        reply = shop.get(url.path.strip("/"), _fields(request)) if shop else Reply("", 502)
        request.setResponseCode(reply.status)
        for name, value in {"Content-Type": "text/html; charset=utf-8", **reply.headers}.items():
            request.setHeader(name, value)
        return reply.body.encode() if isinstance(reply.body, str) else reply.body


def _fields(request: Any) -> dict[str, str]:
    """The fields of the form that *request* submits, and its cookies."""
    cookies = SimpleCookie(request.getHeader("cookie") or "")
    return {
        **{name.decode(): values[0].decode() for name, values in request.args.items()},
        **{name: cookie.value for name, cookie in cookies.items()},
    }
