"""Responses written by hand, and what rules say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy import Request, Spider
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse

from scrapy_capmonster_report.commands.check import explain
from scrapy_capmonster_report.rules import Rule, Rules, compile_rules
from scrapy_capmonster_report.rules.page import Page

if TYPE_CHECKING:
    from collections.abc import Sequence

URL = "https://shop.example/login"
NODES = "<div id='c' class='error big'><p>Wrong</p><p></p></div>"
ERRORS = '{"success": false, "error-codes": ["invalid-input-response"], "n": 0, "o": {}}'


def html(body: str | bytes = "<p class='bad'>Wrong captcha</p>", **kwargs: Any) -> HtmlResponse:
    return HtmlResponse(kwargs.pop("url", URL), body=body, encoding="utf-8", **kwargs)


def typed(body: bytes, content_type: str, cls: type[Response] = HtmlResponse) -> Response:
    """A response that says of its charset only what its header and body say."""
    return cls(URL, body=body, headers={"Content-Type": content_type})


def plain(body: str | bytes) -> TextResponse:
    return TextResponse(URL, body=body, encoding="utf-8")


def as_json(body: str | bytes) -> JsonResponse:
    return JsonResponse(URL, body=body, encoding="utf-8")


def no_error(rule: Rule, error: Exception) -> None:
    raise AssertionError(f"{rule!r} raised {error!r}")


def matched(
    rules: Rules, response: Response, *, method: str = "GET", redirects: Sequence[str] = ()
) -> Rule | None:
    request = Request(URL, method=method)
    return rules.match(response, request, redirects=redirects, on_error=no_error)


def holds(condition: dict[str, Any], response: Response, **kwargs: Any) -> bool:
    """Whether a rule of *condition* matches; explaining it must come to the same."""
    rules = compile_rules([condition])
    answer = matched(rules, response, **kwargs) is not None
    request = Request(URL, method=kwargs.get("method", "GET"))
    page = Page(response, request, kwargs.get("redirects", ()))
    assert [explain(rule, page)["matched"] for rule in rules] == [answer]
    return answer


class CaptchaSpider(Spider):
    name = "captcha"
    looked: bool

    def is_rejected(self, response: Response, request: Request) -> object:
        return b"Wrong" in response.body and request.url == URL

    def explode(self, response: Response, request: Request) -> object:
        raise KeyError("no such field")


def is_forbidden(response: Response, request: Request) -> bool:
    return response.status == 403
