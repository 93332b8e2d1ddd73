"""What each condition of a rule sees."""

from __future__ import annotations

from typing import Any

import pytest
from judging import (
    ERRORS,
    NODES,
    URL,
    CaptchaSpider,
    as_json,
    holds,
    html,
    is_forbidden,
    matched,
    no_error,
    plain,
    typed,
)
from scrapy import Request
from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse
from scrapy.selector import Selector

from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules import page as rule_page
from scrapy_capmonster_report.rules import rule as rule_rule
from scrapy_capmonster_report.rules.condition import MAX_SEARCHED
from scrapy_capmonster_report.rules.page import Page
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.rules.presets.places import sight

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\xff\xfe\x00<p class='bad'>wrong</p>"
XML = b"<?xml version='1.0'?><r><Error code='7'>bad</Error></r>"


@pytest.mark.parametrize(
    ("domains", "url", "expected"),
    [
        ("shop.example", "https://shop.example/", True),
        ("shop.example", "https://a.b.shop.example/", True),
        ("shop.example", "https://SHOP.example./", True),
        ("Shop.Example.", "https://shop.example:8443/", True),
        ("shop.example", "https://evilshop.example/", False),
        ("shop.example", "https://shop.example.evil.example/", False),
        ("shop.example", "https://example/", False),
        ("shop.example", "https://evil.example/shop.example", False),
        ("shop.example", "https://shop.example@evil.example/", False),
        ("a.shop.example", "https://shop.example/", False),
        (["other.example", "shop.example"], "https://shop.example/", True),
        (("other.example",), "https://shop.example/", False),
        ("localhost", "http://localhost:6023/", True),
        ("127.0.0.1", "http://127.0.0.1:8000/", True),
        ("127.0.0.1", "http://10.127.0.0.1/", False),  # addresses have no subdomains
        ("0.0.1", "http://127.0.0.1/", False),
        ("node1", "http://shop.node1/", True),
        ("::1", "http://[::1]:8000/", True),
        ("::1", "http://[0:0:0:0:0:0:0:1]/", True),
        ("2001:DB8::a", "http://[2001:db8:0::000A]:80/", True),
        ("::ffff:1.2.3.4", "http://[::FFFF:1.2.3.4]/", True),
        ("2001:db8::a", "http://[2001:db8::b]/", False),
        ("[::1]", "http://[::1]/", True),
        ("bücher.example", "https://xn--bcher-kva.example/", True),
        ("BÜCHER.example", "https://www.bücher.example/", True),
        ("xn--bcher-kva.example", "https://bücher.example/", True),
        ("почта.example", "https://xn--80a1acny.example/", True),
        ("shop_1.example", "https://shop_1.example/", True),
        ("shop.example", "about:blank", False),
        ("shop.example", "http://[shop.example/", False),
    ],
)
def test_domains(domains: object, url: str, expected: bool) -> None:
    assert holds({"domains": domains}, html(url=url)) is expected


@pytest.mark.parametrize(
    ("method", "expected"),
    [("POST", True), ("post", True), (["GET", "Post"], True), ("GET", False), (["PUT"], False)],
)
def test_method(method: object, expected: bool) -> None:
    assert holds({"method": method}, html(), method="POST") is expected


@pytest.mark.parametrize(
    ("wanted", "status", "expected"),
    [
        (403, 403, True),
        (403, 404, False),
        ("4xx", 400, True),
        ("4XX", 499, True),
        ("4xx", 399, False),
        ("4xx", 500, False),
        ([200, "5xx"], 503, True),
        ([200, "5xx"], 201, False),
        (999, 999, True),
        ("9xx", 999, True),
        (100, 100, True),
    ],
)
def test_status(wanted: object, status: int, expected: bool) -> None:
    assert holds({"status": wanted}, html(status=status)) is expected


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        (r"/login$", True),
        (r"/LOGIN$", False),
        (r"(?i)/LOGIN$", True),
        (["nowhere", "shop"], True),
        (["nowhere", "neither"], False),
    ],
)
def test_url(regex: object, expected: bool) -> None:
    assert holds({"url": regex}, html()) is expected


class TestRedirect:
    SORRY = "https://www.google.example/sorry/index?continue=1"

    @pytest.mark.parametrize("regex", ["/sorry/", ["nowhere", "sorry"]])
    def test_any_url_that_the_site_redirected_to(self, regex: object) -> None:
        redirects = ["https://shop.example/a", self.SORRY, "https://shop.example/b"]
        assert holds({"redirect": regex}, html(), redirects=redirects)

    def test_the_urls_where_nothing_redirected_do_not_count(self) -> None:
        assert not holds({"redirect": "shop"}, html())

    @pytest.mark.parametrize(
        ("location", "regex"),
        [
            (b"/sorry/?x=1", r"^https://shop\.example/sorry/\?x=1$"),
            (b"//other.example/sorry/", r"^https://other\.example/sorry/$"),
            (b"?captchaError=1", r"^https://shop\.example/login\?captchaError=1$"),
            ("/fehler/ü".encode(), r"/fehler/%C3%BC$"),
            (b"/fehler/\xfc", r"/fehler/%FC$"),
            (b"", r"^https://shop\.example/login$"),
        ],
    )
    def test_the_location_of_a_3xx_counts(self, location: bytes, regex: str) -> None:
        response = Response(URL, status=302, headers={"Location": location})
        assert holds({"redirect": regex}, response)
        assert holds({"redirect": regex}, response, redirects=["https://shop.example/before"])
        assert holds({"redirect": "before"}, response, redirects=["https://shop.example/before"])

    @pytest.mark.parametrize(
        "response",
        [
            Response(URL, status=200, headers={"Location": "/sorry/"}),
            Response(URL, status=302),
            Response(URL, status=302, headers={"Location": "http://[sorry/"}),
        ],
    )
    def test_other_locations_do_not(self, response: Response) -> None:
        assert not holds({"redirect": "sorry"}, response)

    @pytest.mark.parametrize(
        ("refresh", "expected"),
        [
            ('<meta http-equiv="refresh" content="0; url=/sorry/">', True),
            ('<meta http-equiv="refresh" content="100; url=/sorry/">', True),
            ('<meta http-equiv="refresh" content="101; url=/sorry/">', False),
            ('<meta http-equiv="refresh" content="1800; url=/sorry/">', False),
            ('<meta http-equiv="refresh" content="0; url=javascript:sorry()">', False),
            ('<meta http-equiv="refresh" content="5">', False),
            ('<noscript><meta http-equiv="refresh" content="0; url=/sorry/"></noscript>', False),
        ],
    )
    def test_the_target_of_a_meta_refresh_counts(self, refresh: str, expected: bool) -> None:
        assert holds({"redirect": r"^https://shop\.example/sorry/$"}, html(refresh)) is expected

    def test_match_redirects_asks_only_rules_about_redirects(self) -> None:
        rules = compile_rules(
            [
                {"name": "status", "status": 302},
                {"name": "unless", "unless": {"redirect": "nowhere"}},
                {"name": "other site", "redirect": "sorry", "domains": "other.example"},
                {"name": "sorry", "redirect": "sorry"},
            ]
        )
        response = Response(URL, status=302, headers={"Location": self.SORRY})
        rule = rules.match_redirects(response, Request(URL), on_error=no_error)
        assert rule is not None
        assert rule.name == "sorry"
        elsewhere = Response(URL, status=302, headers={"Location": "/home"})
        assert rules.match_redirects(elsewhere, Request(URL), on_error=no_error) is None
        followed = rules.match_redirects(
            elsewhere, Request(URL), redirects=[self.SORRY], on_error=no_error
        )
        assert followed is rule


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"cf-mitigated": "challenge"}, True),
        ({"CF-MITIGATED": "^challenge$"}, True),
        ({"cf-mitigated": "Challenge"}, False),
        ({"cf-mitigated": ""}, True),
        ({"X-Empty": ""}, True),
        ({"X-Empty": "."}, False),
        ({"X-Absent": ""}, False),
        ({"Set-Cookie": "^b=2"}, True),  # the second value
        ({"Set-Cookie": ["nope", "^a=1"]}, True),
        ({"Set-Cookie": "a=1.*b=2"}, False),  # each value by itself
        ({"cf-mitigated": "challenge", "Set-Cookie": "a=1"}, True),
        ({"cf-mitigated": "challenge", "X-Absent": ""}, False),
        ({"X-Utf-8": "^капча$"}, True),
        ({"X-Latin-1": "^Falsch für immer$"}, True),
    ],
)
def test_headers(wanted: object, expected: bool) -> None:
    headers = {
        "CF-Mitigated": "challenge",
        "Set-Cookie": [b"a=1", b"b=2"],
        "X-Empty": b"",
        "X-Utf-8": "капча".encode(),
        "X-Latin-1": "Falsch für immer".encode("latin-1"),
    }
    assert holds({"headers": wanted}, html(headers=headers)) is expected


class SplashJsonResponse(Response):
    """A page as scrapy-splash gives it: text and selectors, but no TextResponse."""

    text = NODES

    @property
    def selector(self) -> Selector:
        return Selector(text=self.text, type="html")


def test_a_response_with_a_text_that_is_no_text_response() -> None:
    response = SplashJsonResponse(URL, body=b'{"html": "..."}')
    for condition in ({"text": "Wrong"}, {"css": ".error p"}, {"xpath": "//p"}):
        assert holds(condition, response)
    assert not holds({"jmespath": "html"}, response)


META = "<meta charset='{}'><p>{}</p>"


@pytest.mark.parametrize(
    ("regex", "response", "expected"),
    [
        ("Wrong captcha", html(), True),
        ("wrong captcha", html(), False),
        ("(?i)wrong captcha", html(), True),
        (["nope", "Wrong"], html(), True),
        (["nope", "nor this"], html(), False),
        ("Wrong", plain("Wrong"), True),
        ("Wrong", as_json('{"error": "Wrong"}'), True),
        ("Неверная", typed("Неверная капча".encode("cp1251"), "text/html; charset=cp1251"), True),
        ("認証", typed("認証コード".encode("shift_jis"), "text/html; charset=shift_jis"), True),
        ("验证码", typed("验证码错误".encode("gb18030"), "text/html; charset=gb18030"), True),
        (
            "Неверная",
            typed(META.format("windows-1251", "Неверная").encode("cp1251"), "text/html"),
            True,
        ),
        ("错误", typed(META.format("gb2312", "错误").encode("gb18030"), "text/html"), True),
        ("Ошибка", typed(b"\xef\xbb\xbf" + "Ошибка".encode(), "text/html; charset=cp1251"), True),
        ("^Ошибка", typed("Ошибка".encode("utf-16"), "text/plain", TextResponse), True),
        # A charset that lies, or does not exist, spoils only what it covers.
        ("captcha", typed("Ошибка captcha".encode("cp1251"), "text/html; charset=utf-8"), True),
        ("Ошибка", typed("Ошибка captcha".encode("cp1251"), "text/html; charset=utf-8"), False),
        ("captcha", typed(b"captcha \xff\xfe\x81", "text/html; charset=klingon"), True),
        ("captcha", HtmlResponse(URL, body=b"captcha \xff", encoding="klingon"), True),
        ("captcha", HtmlResponse(URL, body=b"captcha \x81\x00\xff", encoding="utf-8"), True),
        ("Wrong.captcha", html(b"Wrong\x00captcha"), True),
        ("end$", html("x" * 5_000_000 + "end"), True),
        # No text at all.
        ("PNG", Response(URL, body=PNG), False),
        ("", Response(URL), False),
        (".", html(b""), False),
        (r"\A\Z", html(b""), True),
    ],
)
def test_text(regex: object, response: Response, expected: bool) -> None:
    rule = {"text": regex} if regex else {"text": r"\A"}
    assert holds(rule, response) is expected


def test_a_body_that_cannot_be_decoded_has_no_text() -> None:
    class Broken(HtmlResponse):
        @property
        def text(self) -> str:
            raise LookupError("unknown encoding")

    rules = [{"text": r"\A"}, {"css": "*"}, {"xpath": "//*"}, {"jmespath": "@"}]
    assert matched(compile_rules(rules), Broken(URL, body=b"<p>")) is None


@pytest.mark.parametrize(
    ("condition", "response", "expected"),
    [
        ({"css": "div.error"}, html(NODES), True),
        ({"css": "div.fine"}, html(NODES), False),
        ({"css": ["div.fine", "#c > p"]}, html(NODES), True),
        ({"css": "p::text"}, html(NODES), True),
        ({"css": "p::text"}, html("<p></p>"), False),
        ({"css": "div::attr(id)"}, html(NODES), True),
        ({"css": "div::attr(title)"}, html(NODES), False),
        ({"css": "h1, div"}, html(NODES), True),
        ({"css": "DIV"}, html(NODES), True),
        ({"css": "Error"}, XmlResponse(URL, body=XML), True),
        ({"css": "error"}, XmlResponse(URL, body=XML), False),
        ({"css": "p"}, plain("<p>a page sent as text/plain</p>"), True),
        ({"css": "p"}, html("<p><b>never closed"), True),
        ({"css": "p"}, html(b"\x00<p>\x00</p>\x00"), True),
        ({"css": "p"}, html(b"\xff\x81<p>\xff</p>"), True),
        ({"css": "p"}, typed("<p>Ошибка".encode("cp1251"), "text/html; charset=utf-8"), True),
        ({"xpath": "//div[has-class('error')]"}, html(NODES), True),
        ({"xpath": "//div[has-class('err')]"}, html(NODES), False),
        ({"xpath": "//p[re:test(., '^W')]"}, html(NODES), True),
        ({"xpath": "set:distinct(//p)"}, html(NODES), True),
        ({"xpath": ["//h1", "//div/@id"]}, html(NODES), True),
        ({"xpath": "//p[position() = last()]"}, html(NODES), True),
        ({"xpath": "//p[contains(., ')') or (. = 'Wrong')]"}, html(NODES), True),
        ({"xpath": "count(//p) > 1"}, html(NODES), True),
        ({"xpath": "count(//p) > 3"}, html(NODES), False),
        ({"xpath": "count(//p)"}, html(NODES), True),
        ({"xpath": "count(//h1)"}, html(NODES), False),
        ({"xpath": "number(//p)"}, html(NODES), False),  # not a number
        ({"xpath": "string(//p)"}, html(NODES), True),
        ({"xpath": "string(//h1)"}, html(NODES), False),
        ({"xpath": "not(//h1)"}, html(NODES), True),
        ({"xpath": "//Error[@code = 7]"}, XmlResponse(URL, body=XML), True),
        ({"xpath": "//p"}, html("<div>" * 200 + "<p>"), True),
        ({"xpath": "//div"}, html("<div>" * 100_000), True),
        ({"css": "p"}, html("<i></i>" * 700_000 + "<p>"), True),
        # A regex that is bad only on this page.
        ({"xpath": "re:test('x', string(//p))"}, html("<p>(</p>"), False),
    ],
)
def test_selectors(condition: dict[str, Any], response: Response, expected: bool) -> None:
    assert holds(condition, response) is expected


@pytest.mark.parametrize(
    "response",
    [
        html(b""),
        html(b" \r\n\t "),
        Response(URL, body=b"<p>no type</p>"),
        Response(URL, body=PNG),
        as_json('{"html": "<p>x</p>"}'),
        as_json("<p>says it is JSON</p>"),
        html('{"html": "<p>x</p>"}'),
        plain(' ["<p>x</p>"]'),
    ],
)
@pytest.mark.parametrize("condition", [{"css": "*, ::text"}, {"xpath": "//p"}, {"xpath": "true()"}])
def test_selectors_do_not_hold_where_there_are_no_nodes(
    condition: dict[str, Any], response: Response
) -> None:
    assert not holds(condition, response)


@pytest.mark.parametrize(
    ("expression", "response", "expected"),
    [
        ("\"error-codes\"[?@ == 'invalid-input-response']", as_json(ERRORS), True),
        ("\"error-codes\"[?@ == 'timeout-or-duplicate']", as_json(ERRORS), False),
        (["absent", '"error-codes"'], as_json(ERRORS), True),
        ("success == `false`", as_json(ERRORS), True),
        ("success", as_json(ERRORS), False),
        ("n", as_json(ERRORS), False),
        ("o", as_json(ERRORS), False),
        ("absent", as_json(ERRORS), False),
        ("length(absent)", as_json(ERRORS), False),  # null has no length: it does not raise
        (["length(absent)", "length(@)"], as_json(ERRORS), True),
        # The body decides what is JSON …
        ("length(@)", html(ERRORS), True),
        ("length(@)", plain("\r\n " + ERRORS), True),
        ("length(@)", html(b"\xef\xbb\xbf" + ERRORS.encode()), True),
        ("length(@)", HtmlResponse(URL, body=b"\xef\xbb\xbf" + ERRORS.encode()), True),
        ("length(@)", html("\r\n\ufeff\ufeff" + ERRORS), True),  # as of PHP files with a BOM
        ("length(@)", html("\ufeff\xa0" + ERRORS), True),
        ("length(@)", as_json(b"\xef\xbb\xbf" + ERRORS.encode()), True),
        ("length(@)", typed(ERRORS.encode("utf-16"), "application/json", JsonResponse), True),
        (
            "e == 'Неверно'",
            typed(
                '{"e": "Неверно"}'.encode("cp1251"),
                "application/json; charset=windows-1251",
                JsonResponse,
            ),
            True,
        ),
        ("[0]", plain("[NaN]"), True),
        ("[0]", plain("[1e999]"), True),
        # … but a bare value only where the site says that it is JSON.
        ("@ == 'wrong'", as_json('"wrong"'), True),
        ("@ == 'wrong'", plain('"wrong"'), False),
        ("@ == `7`", plain("7"), False),
        ("@", as_json("null"), False),
        ("type(@)", as_json("null"), True),
        ("type(@)", as_json(""), False),
        ("type(@)", as_json("{broken"), False),
        ("type(@)", html("{{ template }}"), False),
        ("type(@)", html("[" * 100_000), False),
        ("type(@)", as_json("[" * 100_000 + "]" * 100_000), False),
        ("type(@)", plain("[" + "9" * 10_000 + "x"), False),
        ("type(@)", plain(b"{\x00}"), False),
        ("type(@)", plain(b'{"a": "\xff\x81"}'), True),
        ("type(@)", html(NODES), False),
        ("type(@)", Response(URL, body=ERRORS.encode()), False),
    ],
)
def test_jmespath(expression: object, response: Response, expected: bool) -> None:
    assert holds({"jmespath": expression}, response) is expected


class Forbidden:
    def __call__(self, response: Response, request: Request) -> bool:
        return is_forbidden(response, request)


class TestCallback:
    def rejected(self, callback: object, response: Response) -> bool:
        rules = compile_rules([{"callback": callback}], spider=CaptchaSpider())
        return matched(rules, response) is not None

    def test_spider_method(self) -> None:
        assert self.rejected("is_rejected", html())
        assert not self.rejected("is_rejected", html("<p>Welcome"))

    @pytest.mark.parametrize(
        "callback",
        [
            "judging.is_forbidden",
            is_forbidden,
            Forbidden(),
            lambda response, request: [response.status == 403] * (response.status == 403),
            [lambda response, request: None, is_forbidden],
        ],
    )
    def test_paths_and_callables(self, callback: object) -> None:
        assert self.rejected(callback, html(status=403))
        assert not self.rejected(callback, html(status=200))

    @pytest.mark.parametrize(
        "rule",
        [
            {"callback": "explode"},
            {"callback": ["explode", lambda response, request: True]},
            {"unless": {"callback": "explode"}},
            {"unless": [{"status": 500}, {"status": 200, "callback": "explode"}]},
        ],
    )
    def test_one_that_raises_does_not_match_and_is_told(self, rule: dict[str, Any]) -> None:
        rules = compile_rules([rule, {"name": "next", "status": 200}], spider=CaptchaSpider())
        errors: list[tuple[str, Exception]] = []
        winner = rules.match(
            html(), Request(URL), on_error=lambda rule, error: errors.append((rule.name, error))
        )
        assert winner is not None
        assert winner.name == "next"
        assert [(name, repr(error)) for name, error in errors] == [
            ("rule 1", "KeyError('no such field')")
        ]

    def test_one_whose_answer_has_no_truth_does_not_match(self) -> None:
        class Array:
            def __bool__(self) -> bool:
                raise ValueError("ambiguous")

        errors: list[Exception] = []
        rules = compile_rules([{"callback": lambda response, request: Array()}])
        on_error = lambda rule, error: errors.append(error)  # noqa: E731
        assert rules.match(html(), Request(URL), on_error=on_error) is None
        assert [str(error) for error in errors] == ["ambiguous"]

    def test_one_that_returns_what_must_be_awaited_is_an_error(self) -> None:
        async def look(response: Response, request: Request) -> bool:
            return False

        errors: list[Exception] = []
        rules = compile_rules([{"callback": lambda response, request: look(response, request)}])
        on_error = lambda rule, error: errors.append(error)  # noqa: E731
        assert rules.match(html(), Request(URL), on_error=on_error) is None
        assert [str(error) for error in errors] == ["it returned 'coroutine', which is always true"]

    def test_it_is_asked_last(self) -> None:
        asked: list[str] = []

        def note(response: Response, request: Request) -> bool:
            asked.append(response.url)
            return True

        rules = compile_rules(
            [
                {"callback": note, "status": 500},
                {"callback": note, "unless": {"status": 200}},
                {"callback": note, "xpath": "//h1"},
                {"callback": note, "domains": "other.example"},
            ]
        )
        assert matched(rules, html()) is None
        assert asked == []


@pytest.mark.parametrize(
    ("unless", "expected"),
    [
        ({"text": "expired"}, True),
        ({"text": "Wrong"}, False),
        ({"text": "Wrong", "status": 500}, True),  # not all of it holds
        ({"text": "Wrong", "status": 200}, False),
        ([{"text": "expired"}, {"status": 500}], True),
        ([{"text": "expired"}, {"status": 200}], False),
        ([{"name": "a label", "text": "Wrong"}], False),
        ({"domains": "shop.example"}, False),
        ({"domains": "other.example"}, True),
        ({"jmespath": "@"}, True),  # cannot apply, so it does not hold
        ({"callback": lambda response, request: True}, False),
    ],
)
def test_unless(unless: object, expected: bool) -> None:
    assert holds({"unless": unless}, html()) is expected
    assert holds({"text": "Wrong", "unless": unless}, html()) is expected
    assert not holds({"text": "nowhere", "unless": unless}, html())


PAGE = """<!DOCTYPE html><html><head><title>Log in</title><style>p {}</style></head><body>
<p>Wrong <b>cap</b>tcha&nbsp;&amp;\n password</p><p>again</p>
<script>hidden()</script><template><p>hidden</p></template><noscript>hidden</noscript>
<p hidden>hidden</p><p style="color: red; display : none">hidden</p><p class="a d-none">hidden</p>
<div style="visibility:hidden"><p>hidden <i>hidden</i></p></div><dialog>hidden</dialog>
<!-- hidden -->ta<!-- hidden -->il<br>end<p class="hidden md:block">wide</p>
<p class="overflow-hidden">seen</p><dialog open>open</dialog></body></html>"""


@pytest.mark.parametrize(
    ("regex", "expected"),
    [
        ("^Wrong captcha & password again tail end wide seen open$", True),
        ("hidden", False),
        ("Log in", False),
        ("wrong", False),
        ("(?i)WRONG CAPTCHA", True),
        (["nope", r"captcha\s&"], True),
    ],
)
def test_words(regex: object, expected: bool) -> None:
    assert holds({"words": regex}, html(PAGE)) is expected


@pytest.mark.parametrize(
    "shown",
    [
        "<p aria-hidden='true'>Wrong",  # hidden from screen readers only
        "<p style='-webkit-backface-visibility: hidden; fill-opacity:0; --display:none'>Wrong",
        "<p style='opacity: 0.5'>Wrong",
        "<p style='left: -1px; margin-left: -2000px'>Wrong",
        "<p class='collapse show'>Wrong",
        "<nav class='collapse navbar-collapse'>Wrong</nav>",
        "<p class='unhidden collapsed'>Wrong",
        "<details open><summary>Title</summary>Wrong</details>",
        "<details><summary><b>Wrong</b></summary>more</details>",
        "<details>more</details>Wrong",
        "<div>more<details></details>Wrong</div>",
    ],
)
def test_words_are_what_is_seen_on_the_screen(shown: str) -> None:
    assert holds({"words": "Wrong"}, html(shown))
    errors = sight(Page(html(f"<div class='error'>{shown}</div>"), Request(URL))).errors
    assert "Wrong" in "".join(error.text for error in errors)


@pytest.mark.parametrize(
    "unseen",
    [
        "<p style='opacity:0.0'>Wrong",
        "<p style='color:red;visibility:collapse'>Wrong",
        "<p style='position:absolute; left:-9999px'>Wrong",
        "<p class='fade modal'>Wrong",
        "<p class='screen-reader-text'>Wrong",
        "<p class='visuallyhidden'>Wrong",
        "<div id='faq' class='accordion-collapse collapse'>Wrong</div>",
        "<p x-show='failed'>Wrong",
        "<p popover>Wrong",
        "<datalist><option>Wrong</datalist>",
        "<canvas>Wrong</canvas>",
        "<details>Wrong</details>",
        "<details><summary>Title</summary>Wrong</details>",
        "<details><summary>Title</summary><p>Wrong</p></details>",
        "<details><summary>Title</summary><b>more</b>Wrong</details>",
    ],
)
def test_what_is_not_seen_on_the_screen_is_not_among_the_words(unseen: str) -> None:
    assert not holds({"words": "Wrong"}, html(unseen))
    errors = sight(Page(html(f"<div class='error'>{unseen}</div>"), Request(URL))).errors
    assert "Wrong" not in "".join(error.text for error in errors)


def test_words_may_break_anywhere_on_a_narrow_screen() -> None:
    page = html("<p>Sicher&shy;heits\u200bcode<wbr> fal\u2060sch")
    assert holds({"words": "^Sicherheitscode falsch$"}, page)


@pytest.mark.parametrize("half", ["&#xD83D;&#xde00;", "&#55357;", "&#x0DFFF;", "&#57343;"])
def test_halves_of_characters_in_xml(half: str) -> None:
    body = f"<a><b title='{half}'>Wrong {half} captcha &#xD7FF;&#55203;</b></a>"
    page = XmlResponse(URL, body=body.encode(), encoding="utf-8")
    for condition in (
        {"words": "Wrong \ufffd+ captcha \ud7ff\ud7a3"},
        {"xpath": "//b[contains(., 'captcha')]"},
        {"css": "b[title]"},
    ):
        assert holds(condition, page)
    assert matched(compile_rules(list(PRESETS)), page, method="POST") is not None


@pytest.mark.parametrize(
    "body",
    [
        "<answer><head><code>400</code><title>Wrong captcha</title></head></answer>",
        "<object><video hidden='hidden'>400</video><!-- no -->Wrong&#32;<b>captcha</b></object>",
        "<style class='hidden'><![CDATA[400]]><p>Wrong\n captcha</p></style>",
    ],
)
def test_names_in_xml_do_not_mean_what_they_mean_in_html(body: str) -> None:
    page = XmlResponse(URL, body=body.encode(), encoding="utf-8")
    assert holds({"words": "^400 Wrong captcha$"}, page)
    assert matched(compile_rules(["token-captcha-again"]), page, method="POST") is not None


def test_words_of_what_has_none() -> None:
    for response in (as_json('{"a": "Wrong"}'), Response(URL, body=PNG), html(" ")):
        assert not holds({"words": "Wrong"}, response)
    assert holds({"words": "^Wrong captcha$"}, plain("Wrong   captcha"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (')]}\',\n{"error": 7}', True),
        (')]}\'\n{"error": 7}', True),
        ('for(;;);{"error": 7}', True),
        ('for (;;);{"error": 7}', True),
        ('while(1);{"error": 7}', True),
        ('cb({"error": 7});', True),
        ('cb({"error": 7})', True),
        ('/**/ jQuery.cb_1 ({"error": 7}) ;\n', True),
        ("/**/ typeof cb === 'function' && cb({\"error\": 7});", True),
        ('window["cb"]({"error": 7});', True),
        ('cb({"error": 7}, 8);', False),
        ('cb({"error": 7}', False),
        ('if (x) { cb({"error": 7}); }', False),
        (')]}\'{"error": 7} and more', False),
        ("cb('error')", False),
    ],
)
def test_jmespath_sees_json_behind_a_guard_and_jsonp(body: str, expected: bool) -> None:
    for response in (plain(body), html(body)):
        assert holds({"jmespath": "error == `7`"}, response) is expected


class TestBounds:
    """What is searched of a page that is large."""

    def test_a_regex_with_repeats_is_searched_in_the_beginning_of_a_text(self) -> None:
        before, after = "x" * (MAX_SEARCHED - 7), "x" * MAX_SEARCHED
        for regex in ("Wrong +captcha", "Wron(g|k)*", "W.{1,}g", r"Wrong\s"):
            is_bounded = any(repeat in regex for repeat in ("*", "+", ",}"))
            assert holds({"text": regex}, plain(f"{before}Wrong c{after}")) is ("cap" not in regex)
            assert holds({"text": regex}, plain(f"{after}Wrong captcha")) is not is_bounded

    def test_of_a_body_above_the_limit_only_what_is_around_it_is_judged(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        for module in (rule_page, rule_rule):
            monkeypatch.setattr(module, "MAX_BODY", 1000)
        large = html("<p class='bad'>Wrong captcha</p>".ljust(1001), headers={"A": "b"})
        rules = compile_rules(
            [
                {"text": "Wrong"},
                {"css": "p"},
                {"words": "Wrong"},
                {"xpath": "//p"},
                {"jmespath": "@"},
            ]
        )
        for _ in range(2):
            assert matched(rules, large) is None
        assert caplog.messages == [
            "The body of <200 https://shop.example/login> has more than 1000 bytes. Such responses "
            "are judged by their status, URL and headers only (logged once)"
        ]
        for condition in ({"status": 200}, {"url": "login"}, {"headers": {"a": "b"}}):
            assert holds(condition, large)
        assert holds({"text": "Wrong"}, html("Wrong".ljust(1000)))
