"""The shop, on loopback."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from twisted.web.http import FORBIDDEN, NOT_FOUND, SEE_OTHER, SERVICE_UNAVAILABLE
from twisted.web.resource import Resource
from twisted.web.server import Site

from . import pages
from .verdicts import Record, Verdict

if TYPE_CHECKING:
    from .captchas import Captchas, Picture


@dataclass
class Visitor:
    """A session.

    Its number is in the forms and addresses, not in a cookie: on the first cookie, Scrapy fetches
    the list of public suffixes, and this example stays on the machine.

    Args:
        session: its number.
        asked: the picture to be read, by product.
        passed: the products that are open.
        had_trouble: the products where the shop had its moment of weakness.
    """

    session: str
    asked: dict[int, Picture] = field(default_factory=dict)
    passed: set[int] = field(default_factory=set)
    had_trouble: set[int] = field(default_factory=set)


class Shop(Resource):
    """Shows a picture before its products, and a widget before their reviews.

    It also is a shop like any other: sessions expire, and now and then it fails. Only visitors
    whose answer was right meet this trouble, so each report about it would be a false one.

    Args:
        captchas: draws the pictures, and confirms the widget's tokens.
    """

    isLeaf = True

    def __init__(self, captchas: Captchas) -> None:
        super().__init__()
        self.record = Record()
        self._captchas = captchas
        self._visitors: dict[str, Visitor] = {}
        self._pictures: dict[str, Picture] = {}
        self._port: Any = None

    def start(self) -> str:
        """Listen on any free port of 127.0.0.1, and return the address."""
        from twisted.internet import reactor

        site: Any = Site(self)
        site.noisy = False
        site.log = lambda request: None
        self._port = reactor.listenTCP(0, site, interface="127.0.0.1")
        return f"http://127.0.0.1:{self._port.getHost().port}/"

    def render(self, request: Any) -> bytes:
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        match request.path.decode("ascii", "replace").strip("/").split("/"):
            case [""]:
                number = request.args.get(b"page", [b"1"])[0]
                return pages.listing(int(number)).encode()
            case ["captcha", name] if name.removesuffix(".png") in self._pictures:
                request.setHeader("Content-Type", "image/png")
                return self._pictures[name.removesuffix(".png")].png
            case ["product", number] if _is_product(number):
                return self._product(request, int(number)).encode()
            case ["api", "reviews", number] if _is_product(number):
                return self._reviews(request, int(number))
        return _status(request, NOT_FOUND, "There is no such page.").encode()

    # -- behind the picture --------------------------------------------------------------------

    def _product(self, request: Any, product: int) -> str:
        visitor = self._visitor(request)
        if product in visitor.passed:
            return pages.product_page(product)
        if request.method != b"POST":
            return self._ask(visitor, product)
        verdict = self._judge(request, visitor, product)
        if verdict is Verdict.RIGHT:
            visitor.passed.add(product)
            request.setHeader("Location", f"{request.path.decode()}?session={visitor.session}")
            return _status(request, SEE_OTHER, "Welcome.")
        if verdict is Verdict.UNANSWERED:
            return _status(request, SERVICE_UNAVAILABLE, "Please try again later.")
        error = pages.EXPIRED if verdict is Verdict.EXPIRED else pages.WRONG_TEXT
        return self._ask(visitor, product, error)

    def _judge(self, request: Any, visitor: Visitor, product: int) -> Verdict:
        picture = self._pictures[request.args[b"picture"][0].decode()]
        text = request.args[b"text"][0].decode()
        # A picture counts once: sent again, even the right text is none.
        if visitor.asked.pop(product, None) != picture:
            verdict = Verdict.RESENT
        elif text.casefold() != picture.text:
            verdict = Verdict.WRONG
        elif product in visitor.had_trouble:
            verdict = Verdict.RIGHT
        else:
            visitor.had_trouble.add(product)
            verdict = {3: Verdict.EXPIRED, 6: Verdict.UNANSWERED}.get(product % 10, Verdict.RIGHT)
        return self.record.add(picture.body, verdict)

    def _ask(self, visitor: Visitor, product: int, error: str = "") -> str:
        picture = self._captchas.draw()
        self._pictures[picture.id] = visitor.asked[product] = picture
        return pages.captcha_form(visitor.session, picture.id, error)

    def _visitor(self, request: Any) -> Visitor:
        session = request.args.get(b"session", [b""])[0].decode()
        if session not in self._visitors:
            session = str(len(self._visitors) + 1)
            self._visitors[session] = Visitor(session)
        return self._visitors[session]

    # -- behind the widget ---------------------------------------------------------------------

    def _reviews(self, request: Any, product: int) -> bytes:
        request.setHeader("Content-Type", "application/json")
        token = json.loads(request.content.read())["token"]
        if self.record.on(token):
            verdict = Verdict.USED
        else:
            genuine = self._captchas.is_genuine(token)
            verdict = Verdict.RIGHT if genuine else Verdict.WRONG
        self.record.add(token, verdict)
        if verdict is not Verdict.RIGHT:
            request.setResponseCode(FORBIDDEN)
            return json.dumps(pages.widget_refusal()).encode()
        number = int(request.args.get(b"page", [b"1"])[0])
        return json.dumps(pages.reviews(product, number)).encode()


def _is_product(number: str) -> bool:
    return number.isdigit() and int(number) < pages.PRODUCTS


def _status(request: Any, code: int, message: str) -> str:
    request.setResponseCode(code)
    return pages.page(message, f"<p>{message}</p>")
