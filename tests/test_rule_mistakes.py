"""A mistake in the rules is a ``ValueError`` that says where, what is allowed, what was meant."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any

import parsel.xpathfuncs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scrapy import Request, Spider
from scrapy.http import HtmlResponse

from scrapy_capmonster_report.commands.check import explain
from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.compile import CONDITIONS
from scrapy_capmonster_report.rules.page import Page
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.settings import RULES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from scrapy.http import Response

PREFIX = re.compile(
    rf"The value of the {RULES} setting \((?P<value>.*?)\) is invalid\. ", re.DOTALL
)
KEYS = "domains, method, status, url, redirect, headers, text, jmespath, css, xpath, words"
RULE_KEYS = f"name, kind, {KEYS}, unless, callback"


class CaptchaSpider(Spider):
    name = "captcha"
    threshold = 3

    def is_rejected(self, response: Response, request: Request) -> bool:
        return True

    def without_request(self, response: Response) -> bool:
        return True

    def parse_page(self, response: Response, request: Request) -> Iterator[dict[str, Any]]:
        yield {}

    async def look(self, response: Response, request: Request) -> bool:
        return True

    async def stream(self, response: Response, request: Request) -> AsyncIterator[int]:
        yield 1

    @property
    def costly(self) -> object:
        raise AssertionError("looked at for a mere suggestion")


class AsyncCallable:
    async def __call__(self, response: Response, request: Request) -> bool:
        return True


class Verdict:
    def __init__(self, response: Response, request: Request) -> None:
        pass


def mistake(value: object, spider: Spider | None = None) -> str:
    """What is said of *value*, without the beginning that is always the same."""
    with pytest.raises(ValueError, match="is invalid") as caught:
        compile_rules(value, spider=spider)
    said = str(caught.value)
    beginning = PREFIX.match(said)
    assert beginning is not None
    assert len(beginning["value"]) <= 80
    assert said.endswith((".", "?"))
    return said[beginning.end() :]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (False, "False"),
        ({"status": 403}, "{'status': 403}"),
        ("abc", "'abc'"),
        ([{"statsu": 403}], "[{'statsu': 403}]"),
        ([{"text": "x" * 1000}, 7], None),
    ],
)
def test_the_value_is_shown_as_far_as_it_fits(value: object, shown: str | None) -> None:
    with pytest.raises(ValueError, match="is invalid") as caught:
        compile_rules(value)
    beginning = PREFIX.match(str(caught.value))
    assert beginning is not None
    assert beginning["value"] == shown or (shown is None and beginning["value"].endswith("…"))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (
            [{"status": 403}, {"name": "login", "statsu": 403}],
            "rule 2 ('login'), key 'statsu': there is no such key here. "
            f"Allowed: {RULE_KEYS}. Did you mean 'status'?",
        ),
        (
            [{"Text": "x"}],
            f"rule 1, key 'Text': there is no such key here. Allowed: {RULE_KEYS}. "
            "Did you mean 'text'?",
        ),
        (
            [{"status": 403, "zzz": 1}],
            f"rule 1, key 'zzz': there is no such key here. Allowed: {RULE_KEYS}.",
        ),
        (
            [{"status": 403, 7: 1}],
            f"rule 1, key '7': there is no such key here. Allowed: {RULE_KEYS}.",
        ),
        (
            [{"name": "empty"}],
            "rule 1 ('empty'): it has no condition and would match every page. "
            f"Allowed: at least one of {KEYS}, unless, callback.",
        ),
        (
            [{"kind": "image"}],
            "rule 1: it has no condition and would match every page. "
            f"Allowed: at least one of {KEYS}, unless, callback.",
        ),
        (
            [{}],
            "rule 1: it has no condition and would match every page. "
            f"Allowed: at least one of {KEYS}, unless, callback.",
        ),
        (
            [{"status": 403, "kind": "imgae"}],
            "rule 1, key 'kind': 'imgae' is not a kind. Allowed: image, token, recaptcha. "
            "Did you mean 'image'?",
        ),
        (
            [{"status": 403, "name": 7}],
            "rule 1 (7), key 'name': 7 is not a name. Allowed: a str of printable characters.",
        ),
        (
            [{"unless": {"txet": "x"}}],
            "rule 1, key 'unless.txet': there is no such key here. "
            f"Allowed: name, {KEYS}, callback. Did you mean 'text'?",
        ),
        (
            [{"unless": [{"status": 403}, {"text": "("}]}],
            "rule 1, key 'unless.text': '(' is a bad regex: missing ), unterminated subpattern "
            "at position 0. Allowed: a Python regex as a str, or a list of them.",
        ),
        (
            [{"unless": {"headers": {"Server": "["}}}],
            "rule 1, key 'unless.headers.Server': '[' is a bad regex: unterminated character set "
            "at position 0. Allowed: a Python regex as a str, or a list of them.",
        ),
        (
            [{"status": 403}, "mediawki"],
            "rule 2: there is no preset 'mediawki'. Allowed: a rule (a dict), or one of the "
            f"presets {', '.join(PRESETS)}. Did you mean 'mediawiki'?",
        ),
        (
            [{"status": 403}, 7],
            f"rule 2: 7 is not a dict. Allowed: a dict of {RULE_KEYS}, or the name of a preset.",
        ),
    ],
)
def test_the_whole_message(rules: object, said: str) -> None:
    assert mistake(rules) == said


A_HOST = "a host name such as 'shop.example', which covers its subdomains, or a list of them"
A_METHOD = "an HTTP method such as 'POST', or a list of them"
A_STATUS = "an int from 100 to 999, a class such as '4xx', or a list of them"
A_REGEX = "a Python regex as a str, or a list of them"
A_DICT = "a dict of conditions, or a list of such dicts"
HEADERS = (
    "a dict of header name to regex or list of them; the regex '' means that the header exists"
)
CSS = "a CSS selector, with Scrapy's ::text and ::attr(name), or a list of them"
XPATH = "an XPath 1.0 expression, with Scrapy's has-class(), re: and set:, or a list of them"
JMESPATH = "a JMESPath expression, or a list of them"


@pytest.mark.parametrize(
    ("key", "value", "allowed", "meant"),
    [
        ("domains", "https://shop.example/x", A_HOST, "'shop.example'"),
        ("domains", "shop.example/x?y#z", A_HOST, "'shop.example'"),
        ("domains", "shop.example/?next=https://other.example/", A_HOST, "'shop.example'"),
        ("domains", "http:/shop.example", A_HOST, "'shop.example'"),
        ("domains", "https:shop.example", A_HOST, "'shop.example'"),
        ("domains", "ftp://shop.example", A_HOST, "'shop.example'"),
        ("domains", "localhost:8080", A_HOST, "'localhost'"),
        ("domains", "*.shop.example", A_HOST, "'shop.example'"),
        ("domains", ".shop.example", A_HOST, "'shop.example'"),
        ("domains", "shop.example:8080", A_HOST, "'shop.example'"),
        ("domains", "[::1]:8080", A_HOST, "'::1'"),
        ("domains", "user@shop.example", A_HOST, "'shop.example'"),
        ("domains", " shop.example", A_HOST, "'shop.example'"),
        ("domains", "shop.example\n", A_HOST, "'shop.example'"),
        ("domains", ["ok.example", "//shop.example"], A_HOST, "'shop.example'"),
        ("domains", "shop.*", A_HOST, None),
        ("domains", "shop example", A_HOST, None),
        ("domains", "shop..example", A_HOST, None),
        ("domains", "-shop.example", A_HOST, None),
        ("domains", "x" * 64 + ".example", A_HOST, None),
        ("domains", "a." * 5000 + "example", A_HOST, None),
        ("domains", "http://[shop", A_HOST, None),
        ("domains", "[::1", A_HOST, None),
        ("domains", "::1]", A_HOST, None),
        ("domains", ".", A_HOST, None),
        ("domains", "", A_HOST, None),
        ("domains", 127, A_HOST, None),
        ("domains", [], A_HOST, None),
        ("domains", {"shop.example"}, A_HOST, None),
        ("domains", {"shop.example": True}, A_HOST, None),
        ("method", "POST /login", A_METHOD, None),
        ("method", "post ", A_METHOD, "'POST'"),
        ("method", "", A_METHOD, None),
        ("method", None, A_METHOD, None),
        ("method", ["GET", 1], A_METHOD, None),
        ("method", [], A_METHOD, None),
        ("status", "403", A_STATUS, "403"),
        ("status", 403.0, A_STATUS, "403"),
        ("status", ["5xx", "404"], A_STATUS, "404"),
        ("status", 4, A_STATUS, "'4xx'"),
        ("status", "4*", A_STATUS, "'4xx'"),
        ("status", "40x", A_STATUS, "'4xx'"),
        ("status", "0xx", A_STATUS, None),
        ("status", "4xxx", A_STATUS, None),
        ("status", True, A_STATUS, None),
        ("status", 99, A_STATUS, None),
        ("status", 1000, A_STATUS, None),
        ("status", -403, A_STATUS, None),
        ("status", None, A_STATUS, None),
        ("status", float("nan"), A_STATUS, None),
        ("status", [], A_STATUS, None),
        ("status", [[403]], A_STATUS, None),
        ("url", "", A_REGEX, None),
        ("url", ["fine", ""], A_REGEX, None),
        ("url", "*", A_REGEX, None),
        ("url", [], A_REGEX, None),
        ("url", 7, A_REGEX, None),
        ("url", {"a": "b"}, A_REGEX, None),
        ("redirect", "", A_REGEX, None),
        ("redirect", "a{2,1}", A_REGEX, None),
        ("redirect", None, A_REGEX, None),
        ("text", "", A_REGEX, None),
        ("text", "(?P<a", A_REGEX, None),
        ("text", "a{99999999999999999999}", A_REGEX, None),
        ("text", "(" * 100_000, A_REGEX, None),
        ("text", b"bytes", A_REGEX, None),
        ("text", [["nested"]], A_REGEX, None),
        ("headers", "Server", HEADERS, None),
        ("headers", ["Server"], HEADERS, None),
        ("headers", {}, HEADERS, None),
        ("headers", {"": "x"}, HEADERS, None),
        ("headers", {"Server:": "x"}, HEADERS, None),
        ("headers", {"Sérver": "x"}, HEADERS, None),
        ("headers", {7: "x"}, HEADERS, None),
        ("jmespath", "", JMESPATH, None),
        ("jmespath", "(" * 100_000, JMESPATH, None),
        ("jmespath", "a[", JMESPATH, None),
        ("jmespath", "a b", JMESPATH, None),
        ("jmespath", "lenght(a)", JMESPATH, "'length'"),
        ("jmespath", "a[?start_with(b, 'x')].c", JMESPATH, "'starts_with'"),
        ("jmespath", "length(a, b)", JMESPATH, None),
        ("jmespath", [], JMESPATH, None),
        ("jmespath", 7, JMESPATH, None),
        ("css", "", CSS, None),
        ("css", " ", CSS, None),
        ("css", ":not(" * 100_000, CSS, None),
        ("css", "div[", CSS, None),
        ("css", "div,", CSS, None),
        ("css", "div:unknown", CSS, None),
        ("css", "div::before", CSS, None),
        ("css", "div::attr()", CSS, None),
        ("css", ["div", "p >"], CSS, None),
        ("css", "svg|rect", CSS, None),
        ("css", "use[xlink|href]", CSS, None),
        ("css", "p:lang('')", CSS, None),
        ("css", [], CSS, None),
        ("css", 7, CSS, None),
        ("xpath", "", XPATH, None),
        ("xpath", "(" * 100_000, XPATH, None),
        ("xpath", "//div[", XPATH, None),
        ("xpath", "//div) or (//p", XPATH, None),
        ("xpath", "count(", XPATH, None),
        ("xpath", "//p or coutn( ", XPATH, None),
        ("xpath", "contain(//p, 'x')", XPATH, "'contains'"),
        ("xpath", "//p[contain(., ')(')]", XPATH, "'contains'"),
        ("xpath", "//p[not(start-with(., 'x'))]", XPATH, "'starts-with'"),
        ("xpath", "//p[contains(@class)]", XPATH, None),
        ("xpath", "//p[has-class()]", XPATH, None),
        ("xpath", "//p[re:tset(., 'x')]", XPATH, "'re:test'"),
        ("xpath", "//p[re:test(., '(')]", XPATH, None),
        ("xpath", "//p[re:test('x')]", XPATH, None),
        ("xpath", "re:replace(//p, 'x', 'y')", XPATH, None),
        ("xpath", "//p[svg:g]", XPATH, None),
        ("xpath", "//svg:*", XPATH, None),
        ("xpath", "//p[. = $wrong]", XPATH, None),
        ("xpath", "//p[count('x')]", XPATH, None),
        ("xpath", "//p\x00", XPATH, None),
        ("xpath", [], XPATH, None),
        ("xpath", 7, XPATH, None),
        ("unless", "text", A_DICT, None),
        ("unless", None, A_DICT, None),
        ("unless", [], A_DICT, None),
        ("unless", ["mediawiki"], A_DICT, None),
        ("unless", {}, f"at least one of {KEYS}, callback", None),
        ("unless", {"name": "x"}, f"at least one of {KEYS}, callback", None),
        ("unless", [{"status": 403}, {}], f"at least one of {KEYS}, callback", None),
    ],
)
def test_values(key: str, value: object, allowed: str, meant: str | None) -> None:
    said = mistake([{"status": 403}, {"name": "login", key: value}])
    assert said.startswith(f"rule 2 ('login'), key '{key}': ")
    assert f" Allowed: {allowed}." in said
    assert said.endswith(f"Did you mean {meant}?" if meant else f"Allowed: {allowed}.")
    assert len(said) < 600
    # A condition says the same inside unless.
    if key != "unless":
        inside = mistake([{"unless": [{"status": 500}, {key: value}]}])
        assert inside == said.replace("rule 2 ('login')", "rule 1").replace(
            f"key '{key}'", f"key 'unless.{key}'"
        )


@pytest.mark.parametrize(
    ("rule", "path"),
    [
        ({"headers": {"Server": ["nginx", "("]}}, "headers.Server"),
        ({"headers": {"Server": []}}, "headers.Server"),
        ({"headers": {"Server": None}}, "headers.Server"),
        ({"unless": {"kind": "image", "status": 403}}, "unless.kind"),
        ({"unless": {"unless": {"status": 403}}}, "unless.unless"),
        ({"unless": {"status": 403, "name": ""}}, "unless.name"),
        ({"unless": {"css": "["}}, "unless.css"),
        ({"status": 403, "name": ""}, "name"),
        ({"status": 403, "name": " "}, "name"),
        ({"status": 403, "name": "a\nb"}, "name"),
        ({"status": 403, "name": None}, "name"),
        ({"status": 403, "kind": "Image"}, "kind"),
        ({"status": 403, "kind": None}, "kind"),
        ({"status": 403, "kind": ["image"]}, "kind"),
    ],
)
def test_the_key_is_named(rule: dict[str, Any], path: str) -> None:
    assert f", key '{path}': " in mistake([rule])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"status": 403}, "it is one rule, not a list; put it in a list: [{…}]. Allowed: a list"),
        ('{"status": 403}', "it is one rule, not a list; put it in a list: [{…}]. Allowed: a list"),
        (
            '[{"status": 403]',
            "it is not JSON: Expecting ',' delimiter at line 1 column 16 (char 15). Allowed: a li",
        ),
        ('[\n{"a": }]', "it is not JSON: Expecting value at line 2 column 7 (char 8). Allowed"),
        ("[" * 100_000, "it is JSON that cannot be read: maximum recursion depth exceeded"),
        (
            '[{"text": "a", "text": "b"}]',
            "the key 'text' is used twice in one dict. Allowed: each key once.",
        ),
        ("7", "7 is not a list. Allowed: a list of rules"),
        (7, "7 is not a list. Allowed: a list of rules"),
        (True, "True is not a list. Allowed: a list of rules"),
        ({"mediawiki"}, "{'mediawiki'} is not a list. Allowed: a list of rules"),
        (b"[]", "b'[]' is not a list. Allowed: a list of rules"),
        ([None], "rule 1: None is not a dict."),
        ([[{"status": 403}]], "rule 1: [{'status': 403}] is not a dict."),
    ],
)
def test_the_setting_itself(value: object, said: str) -> None:
    assert mistake(value).startswith(said)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("mediawiki", '["mediawiki"]'),
        ('"mediawiki"', "['mediawiki']"),
        ('"mediawki"', "['mediawiki']"),
        ('"callback"', "['callbacks']"),
    ],
)
def test_a_preset_outside_a_list(value: str, meant: str) -> None:
    assert mistake(value).rstrip("?").replace("'[", "[").replace("]'", "]").endswith(meant)


def test_a_text_that_is_like_no_preset_is_not_suggested_as_one() -> None:
    assert "Did you mean" not in mistake('"[]"')


def test_a_mistake_in_json_is_the_same_as_in_python() -> None:
    rules = [{"name": "login", "statsu": 403}]
    assert mistake(json.dumps(rules)) == mistake(rules)


A_CALLBACK = "Allowed: the name of a spider's method, a path such as 'package.module.function', "


@pytest.mark.parametrize(
    ("callback", "problem", "meant"),
    [
        ("is_rejectd", "the spider 'captcha' has no method 'is_rejectd'", "is_rejected"),
        ("nowhere", "the spider 'captcha' has no method 'nowhere'", None),
        ("", "the spider 'captcha' has no method ''", None),
        ("threshold", "'threshold' is not callable", None),
        ("costly", "'costly' raises AssertionError: looked at for a mere suggestion", None),
        ("parse_page", "'parse_page' yields, so its result is always true", None),
        ("look", "'look' is async, so its result is always true", None),
        ("stream", "'stream' is async, so its result is always true", None),
        ("without_request", "'without_request' takes (response: 'Response') -> 'bool', not", None),
        ("json.decodr", "'json.decodr' cannot be loaded: NameError: ", "json.decoder"),
        ("no.such.module", "'no.such.module' cannot be loaded: ModuleNotFoundError: ", None),
        (".is_rejected", "'.is_rejected' cannot be loaded: ValueError: ", None),
        ("math.pi", "'math.pi' is not callable", None),
        (None, "None is not callable", None),
        (7, "7 is not callable", None),
        ({"a": 1}, "{'a': 1} is not callable", None),
        ([], "the list is empty", None),
        (["is_rejected", "look"], "'look' is async", None),
    ],
)
def test_callbacks(callback: object, problem: str, meant: str | None) -> None:
    for rule, key in (
        ({"callback": callback}, "callback"),
        ({"unless": {"callback": callback}}, "unless.callback"),
    ):
        said = mistake([rule], CaptchaSpider())
        assert said.startswith(f"rule 1, key '{key}': {problem}")
        assert A_CALLBACK in said
        assert said.endswith(f"Did you mean '{meant}'?" if meant else "(response, request).")


@pytest.mark.parametrize(
    ("callback", "problem"),
    [
        (AsyncCallable(), "is async"),
        (Verdict, "is a class, so its result is always true"),
        (dict, "is a class"),
        ("test_rule_mistakes.Verdict", "is a class"),
        (functools.partial(CaptchaSpider.look, None), "is async"),
        (lambda response, request: (yield), "yields"),
        (lambda: True, "takes (), not a response and a request"),
        (functools.partial(lambda response, request, extra: True), "takes (response, request, "),
        (lambda request, response: True, "takes (request, response), the request before the resp"),
        (lambda req, res=None: True, "takes (req, res=None), the request before the response"),
    ],
)
def test_callables(callback: object, problem: str) -> None:
    assert problem in mistake([{"callback": callback}])


@pytest.mark.parametrize(
    "callback",
    [
        lambda response, request: True,
        lambda page, request: True,
        lambda *args: True,
        lambda response, request, *, request_again=None: True,
    ],
)
def test_callables_that_may_be_right(callback: Any) -> None:
    assert len(compile_rules([{"callback": callback}])) == 1


@pytest.mark.parametrize(
    "value", [["callbacks", "phpbb"], [{"status": 403}, "callbacks"], ["callbacks", "callbacks"]]
)
def test_the_rule_set_callbacks_stands_alone(value: object) -> None:
    assert mistake(value) == (
        "'callbacks' stands for no rules and cannot be combined with others. "
        "Allowed: ['callbacks'] alone, or rules and presets without it."
    )


@pytest.mark.parametrize("value", [["callback"], ["Callbacks"], "callback", '["calbacks"]'])
def test_the_rule_set_callbacks_misspelt(value: object) -> None:
    assert "Did you mean '" in mistake(value)
    assert "callbacks" in mistake(value).partition("Did you mean")[2]


def test_a_spiders_method_needs_a_spider() -> None:
    assert mistake([{"callback": "is_rejected"}]).startswith(
        "rule 1, key 'callback': 'is_rejected' names a spider's method, and a spider is needed. "
        + A_CALLBACK
    )


@pytest.mark.parametrize(
    "xpath",
    [
        "//p[has-class('a', 'b')]",
        "//p[re:test(@x, '^\\d+$')]",
        "//p[re:replace(., 'a', 'g', 'b') = 'b']",
        "set:difference(//p, //div)",
        "//p[position() = last() and not(@x)]",
        "//div[(a and (b)) or (c)]/text()",
        "//p[. = 'nope:x(' or . = \"$v\"]",
        "//comment() | //processing-instruction('x') | //self::node()",
        "//p[name(..) = 'div'][lang('en')]",
        "id('x')//following-sibling::p[contains (., 'x')]",
        "6 div (2 mod (4)) > 1",
        "//p[count(ancestor::div) * (2) > 2]",
    ],
)
def test_what_scrapy_understands_is_no_mistake(xpath: str) -> None:
    assert len(compile_rules([{"xpath": xpath}])) == 1


def test_a_function_that_the_user_registered_is_no_mistake() -> None:
    def price(context: Any, nodes: list[Any]) -> float:
        return float(nodes[0].text)  # on a page without nodes: IndexError

    parsel.xpathfuncs.set_xpathfunc("price", price)
    try:
        rules = compile_rules([{"xpath": "//p[price(.) > 3]"}, {"xpath": "price(//h1) > 3"}])
        page = HtmlResponse("https://shop.example/", body=b"<p>4</p>")
        told = [explain(rule, Page(page, Request(page.url))) for rule in rules]
        assert [rule["matched"] for rule in told] == [True, False]
    finally:
        parsel.xpathfuncs.set_xpathfunc("price", None)


@pytest.mark.parametrize("key", ["name", "kind", *CONDITIONS])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value]])
def test_a_number_too_long_to_be_written_is_named_by_its_size(key: str, wrap: Any) -> None:
    rule = {"method": "POST", key: wrap(10**5000)}
    assert "an int of 16610 bits" in mistake([rule])
    assert f"key '{key}'" in mistake([rule])


def test_a_key_that_is_a_number_too_long_to_be_written() -> None:
    assert "an int of 16610 bits" in mistake([{"status": 403, 10**5000: 1}])
    assert "an int of 16610 bits" in mistake([10**5000])
    assert "an int of 16610 bits" in mistake(10**5000)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "kind", "zzz", *CONDITIONS]), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(ANY_JSON, st.sampled_from([lambda value: value, lambda value: [value], json.dumps]))
def test_any_value_is_either_rules_or_a_mistake(value: Any, write: Any) -> None:
    page = HtmlResponse("https://shop.example/", body=b"<p>Wrong</p>", encoding="utf-8")
    try:
        rules = compile_rules(write(value))
    except ValueError as error:
        assert PREFIX.match(str(error))  # noqa: PT017
    else:
        for rule in rules:
            explain(rule, Page(page, Request(page.url)))
