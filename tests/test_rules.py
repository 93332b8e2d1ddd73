"""What a set of rules makes of the conditions in it."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import parsel.selector
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
)
from scrapy import Request
from scrapy.http import HtmlResponse, Response, TextResponse

from scrapy_capmonster_report.commands.check import explain
from scrapy_capmonster_report.rules import Rules, compile_rules
from scrapy_capmonster_report.rules.compile import CONDITIONS
from scrapy_capmonster_report.rules.page import Page
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.task import Kind


class TestRules:
    def test_the_first_that_matches_wins(self) -> None:
        rules = compile_rules(
            [
                {"name": "not this", "status": 500},
                {"name": "this", "domains": "shop.example", "text": "Wrong"},
                {"name": "too late", "status": 200},
            ]
        )
        rule = matched(rules, html())
        assert rule is list(rules)[1]
        late = matched(rules, html("<p>Welcome"))
        assert late is list(rules)[2]
        assert matched(rules, html("<p>Welcome", status=201)) is None

    def test_all_conditions_must_hold(self) -> None:
        all_of_them = {
            "domains": "shop.example",
            "method": "POST",
            "status": "2xx",
            "url": "login",
            "redirect": "start",
            "headers": {"Server": "nginx"},
            "text": "Wrong",
            "css": "p.bad",
            "xpath": "//p",
            "words": "^Wrong captcha$",
            "unless": {"text": "expired"},
            "callback": lambda response, request: True,
        }
        assert {*all_of_them, "jmespath"} == set(CONDITIONS)
        response = html(headers={"Server": "nginx"})
        case = {"method": "POST", "redirects": ["https://shop.example/start"]}
        assert holds(all_of_them, response, **case)
        fails: dict[str, Any] = {
            "domains": "other.example",
            "method": "GET",
            "status": 403,
            "url": "logout",
            "redirect": "finish",
            "headers": {"Server": "apache"},
            "text": "wrong",
            "jmespath": "@",
            "css": "p.good",
            "xpath": "//h1",
            "unless": {"text": "Wrong"},
            "callback": lambda response, request: False,
        }
        for key, value in fails.items():
            assert not holds({**all_of_them, key: value}, response, **case), key

    def test_names_kinds_and_default_names(self) -> None:
        rules = compile_rules(
            [
                {"status": 403},
                "mediawiki",
                {"status": 403, "kind": "image", "name": "login"},
                {"status": 403, "kind": Kind.RECAPTCHA},
            ]
        )
        assert [(rule.name, rule.kind) for rule in rules] == [
            ("rule 1", None),
            *[("mediawiki", None)] * len(PRESETS["mediawiki"]),
            ("login", Kind.IMAGE),
            ("rule 4", Kind.RECAPTCHA),
        ]

    @pytest.mark.parametrize("nothing", [None, "", "  \n", [], (), "[]"])
    def test_no_rules(self, nothing: object) -> None:
        rules = compile_rules(nothing)
        assert not rules
        assert len(rules) == 0
        assert matched(rules, html()) is None

    def test_json_text_and_python_come_to_the_same(self) -> None:
        written = [
            {"name": "a", "status": [403, "5xx"], "kind": "token"},
            {"unless": [{"text": "é"}], "headers": {"Server": ""}},
            "django-recaptcha",
        ]
        from_json = compile_rules(json.dumps(written))
        for same in (written, tuple(written)):
            assert [*map(repr, compile_rules(same))] == [*map(repr, from_json)]
        assert len(from_json) == 2 + len(PRESETS["django-recaptcha"])

    def test_compiling_leaves_the_setting_alone(self) -> None:
        written = [{"headers": {"A": ["b"]}, "unless": [{"status": [403]}]}]
        before = json.dumps(written)
        compile_rules(written)
        assert json.dumps(written) == before

    @pytest.mark.parametrize(
        ("callback", "shown"),
        [
            (str.startswith, "str.startswith"),  # has no module
            ("x".startswith, "str.startswith"),
            (functools.partial(is_forbidden), "functools.partial(<function is_forbidden"),
        ],
    )
    def test_any_callable_is_shown(self, callback: object, shown: str) -> None:
        (rule,) = compile_rules([{"callback": callback}])
        (told,) = explain(rule, Page(html(), Request(URL)))["conditions"]
        assert told["value"].startswith(shown)

    def test_a_rule_is_frozen_and_shows_itself(self) -> None:
        (rule,) = compile_rules([{"name": "login", "status": 403, "callback": is_forbidden}])
        assert repr(rule).startswith("<Rule 'login': status=403, callback=<function is_forbidden")
        with pytest.raises(dataclasses.FrozenInstanceError):
            rule.name = "other"  # type: ignore[misc]


class TestExplain:
    def explain(self, rule: dict[str, Any], response: Response, **kwargs: Any) -> dict[str, Any]:
        rules = compile_rules([rule], spider=CaptchaSpider())
        told = explain(*rules, Page(response, Request(URL, method="POST"), **kwargs))
        written: dict[str, Any] = json.loads(json.dumps(told))
        return written

    @pytest.mark.parametrize(
        ("condition", "expected", "found"),
        [
            ({"domains": ["shop.example"]}, True, "shop.example"),
            ({"domains": "other.example"}, False, "shop.example"),
            ({"method": "post"}, True, "POST"),
            ({"status": "4xx"}, False, "200"),
            ({"url": "log.n"}, True, "https://shop.example/login"),
            ({"url": "nowhere"}, False, None),
            ({"redirect": "start"}, True, "https://shop.example/start"),
            ({"headers": {"server": "apache"}}, False, "server: nginx"),
            ({"headers": {"X-Absent": ""}}, False, None),
            ({"text": "Wrong"}, True, "<p class='bad'>Wrong captcha</p>"),
            ({"css": ["h1", "p.bad"]}, True, '<p class="bad">Wrong captcha</p>'),
            ({"css": "h1"}, False, None),
            ({"xpath": "count(//p)"}, True, "1.0"),
            ({"jmespath": "@"}, False, None),
            ({"unless": {"text": "expired"}}, True, None),
            ({"unless": {"status": 200, "url": "login"}}, False, "200; https://shop.example/login"),
            ({"callback": "is_rejected"}, True, None),
            ({"callback": "explode"}, False, "KeyError: 'no such field'"),
            ({"unless": {"callback": "explode"}}, False, "KeyError: 'no such field'"),
        ],
    )
    def test_a_condition(self, condition: dict[str, Any], expected: bool, found: object) -> None:
        response = html(headers={"Server": "nginx"})
        told = self.explain(condition, response, followed=["https://shop.example/start"])
        ((key, value),) = condition.items()
        assert told == {
            "name": "rule 1",
            "matched": expected,
            "conditions": [{"key": key, "value": value, "holds": expected, "found": found}],
        }

    @pytest.mark.parametrize(
        ("expression", "expected", "found"),
        [
            ('"error-codes"', True, '["invalid-input-response"]'),
            ("n", False, "0"),
            ("absent", False, None),
            (["absent", "n", "{é: success}".replace("é", '"é"')], True, '{"é": false}'),
        ],
    )
    def test_jmespath(self, expression: object, expected: bool, found: object) -> None:
        (finding,) = self.explain({"jmespath": expression}, as_json(ERRORS))["conditions"]
        assert (finding["holds"], finding["found"]) == (expected, found)

    @pytest.mark.parametrize(
        "condition",
        [{"text": "x+"}, {"css": "p"}, {"xpath": "string(//p)"}, {"headers": {"Long": "x"}}],
    )
    def test_what_was_found_is_cut(self, condition: dict[str, Any]) -> None:
        response = html(f"<p>{'x' * 10_000}</p>", headers={"Long": "x" * 10_000})
        (finding,) = self.explain(condition, response)["conditions"]
        assert finding["holds"]
        assert len(finding["found"]) == 200
        assert finding["found"].endswith("…")

    def test_a_match_stands_in_its_context(self) -> None:
        (finding,) = self.explain({"text": "XYZ"}, html("a" * 100 + "XYZ" + "b" * 100))[
            "conditions"
        ]
        assert finding["found"] == "…" + "a" * 40 + "XYZ" + "b" * 40 + "…"

    def test_every_condition_of_every_rule_is_asked(self) -> None:
        rules = compile_rules(
            [
                {"name": "first", "text": "Wrong"},
                {"name": "second", "callback": is_forbidden, "status": 500, "text": "Wrong"},
                {"name": "third", "domains": "other.example", "status": 200},
            ]
        )
        told = [explain(rule, Page(html(), Request(URL))) for rule in rules]
        assert [(rule["name"], rule["matched"]) for rule in told] == [
            ("first", True),
            ("second", False),
            ("third", False),
        ]
        assert [[*item.values()][:3] for item in told[1]["conditions"]] == [
            ["status", 500, False],
            ["text", "Wrong", True],
            ["callback", "judging.is_forbidden", False],
        ]


class Counted(HtmlResponse):
    """Counts how often its body is asked for."""

    asked = 0

    @property
    def text(self) -> str:
        type(self).asked += 1
        return super().text


class TestGrowth:
    @pytest.fixture
    def counted(self) -> Counted:
        Counted.asked = 0
        return Counted(URL, body=NODES, encoding="utf-8")

    def test_rules_for_other_sites_are_not_asked(self, counted: Counted) -> None:
        asked: list[str] = []

        def note(response: Response, request: Request) -> bool:
            asked.append(response.url)
            return False

        others = [{"domains": f"site{i}.example", "callback": note} for i in range(1000)]
        here = [{"domains": "shop.example", "callback": note}, {"callback": note}]
        rules = compile_rules([*others[:500], *here, *others[500:]])
        assert matched(rules, counted) is None
        assert asked == [URL, URL]
        assert Counted.asked == 0

    def test_the_order_of_the_user_holds_across_the_index(self) -> None:
        names = ["shop.example", None, "example", "a.shop.example", None, "shop.example"]
        winners = []
        for count in range(len(names)):
            # Each time the rule that won before is gone.
            left = [
                {"name": str(i), "status": 200, **({"domains": name} if name else {})}
                for i, name in enumerate(names)
                if i >= count
            ]
            winner = matched(compile_rules(left), html(url="https://a.shop.example/"))
            assert winner is not None
            winners.append(int(winner.name))
        assert winners == [0, 1, 2, 3, 4, 5]

    def test_a_page_is_decoded_and_parsed_once(
        self, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parsed: list[object] = []
        parse = parsel.selector.create_root_node

        def create_root_node(*args: Any, **kwargs: Any) -> Any:
            parsed.append(args)
            return parse(*args, **kwargs)

        conditions = [{"text": "nope"}, {"css": "h1"}, {"xpath": "//h1"}, {"jmespath": "a"}]
        few, many = compile_rules(conditions), compile_rules(conditions * 100)
        monkeypatch.setattr(parsel.selector, "create_root_node", create_root_node)
        assert matched(few, counted.copy()) is None
        asked_by_few, Counted.asked = Counted.asked, 0
        assert matched(many, counted) is None
        assert Counted.asked == asked_by_few
        assert len(parsed) == 2  # one for each response

    @pytest.mark.parametrize("body", [ERRORS, '{"broken": '])
    def test_json_is_parsed_once(self, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
        parsed: list[object] = []
        loads = json.loads

        def count(*args: Any, **kwargs: Any) -> Any:
            parsed.append(args)
            return loads(*args, **kwargs)

        rules = compile_rules([{"jmespath": "absent"}, {"css": "h1"}, {"xpath": "//h1"}] * 100)
        monkeypatch.setattr(json, "loads", count)
        assert matched(rules, html(body)) is None
        assert len(parsed) == 1

    def test_hosts_are_remembered_within_bounds(self) -> None:
        rules = compile_rules([{"domains": "shop.example", "status": 200}])
        for i in range(3000):
            assert matched(rules, html(url=f"https://h{i}.shop.example/")) is not None
        remembered = rules._candidates.cache_info()
        assert remembered.currsize <= 1024


@pytest.mark.parametrize("value", ["callbacks", ["callbacks"], '["callbacks"]', ("callbacks",)])
def test_the_rule_set_callbacks_judges_nothing(value: object) -> None:
    rules = compile_rules(value)
    assert len(rules) == 0
    assert not rules.judges
    assert compile_rules(["phpbb"]).judges


class TestNotKnown:
    """A saved page need not say where it came from, or with which status."""

    ALL = frozenset({"url", "status", "method", "headers", "redirects"})

    @pytest.mark.parametrize(
        ("rule", "unknown", "holds", "missing"),
        [
            ({"domains": "shop.example"}, {"url"}, None, ["url"]),
            ({"url": "."}, {"url"}, None, ["url"]),
            ({"status": 200}, {"status"}, None, ["status"]),
            ({"method": "GET"}, {"method"}, None, ["method"]),
            ({"headers": {"X": ""}}, {"headers"}, None, ["headers"]),
            ({"redirect": "."}, {"redirects"}, None, ["redirects"]),
            ({"callback": lambda response, request: True}, {"url"}, None, ["url"]),
            # What is known decides.
            ({"domains": "shop.example", "text": "Nope"}, ALL, False, []),
            ({"domains": "shop.example", "text": "Wrong"}, ALL, None, ["url"]),
            ({"domains": "other.example", "status": 200}, {"status"}, False, []),
            ({"text": "Wrong", "css": "p"}, ALL, True, []),
            # An exception that does not apply whatever is unknown lets the rule match.
            ({"text": "Wrong", "unless": {"status": 200, "text": "Nope"}}, ALL, True, []),
            ({"text": "Wrong", "unless": {"status": 200, "text": "Wrong"}}, ALL, None, ["status"]),
            ({"text": "Wrong", "unless": [{"status": 500}, {"css": "p"}]}, ALL, False, []),
            ({"text": "Wrong", "unless": [{"url": "x"}, {"css": "h1"}]}, ALL, None, ["url"]),
            # Only what could change the verdict is missing.
            ({"unless": [{"status": 200, "text": "Nope"}, {"url": "x"}]}, ALL, None, ["url"]),
            ({"status": 200, "unless": {"url": "x", "text": "Nope"}}, ALL, None, ["status"]),
            ({"status": 200, "unless": [{"url": "x"}, {"text": "Wrong"}]}, ALL, False, []),
        ],
    )
    def test_a_condition_that_needs_it_cannot_be_told(
        self, rule: Any, unknown: Any, holds: bool | None, missing: list[str]
    ) -> None:
        rules = compile_rules([rule])
        page = html("<p>Wrong captcha", url="about:blank")
        request = Request(page.url)
        known = {"unknown": frozenset(unknown)}
        assert explain(*rules, Page(page, request, **known))["matched"] is holds
        found, lacking = rules.match_known(Page(page, request, **known), no_error)
        assert (found is not None, lacking) == (holds is True, missing)

    def test_what_a_preset_has_found_is_not_missing(self) -> None:
        error = "<form><img src=/captcha.png><input name=captcha></form><p class=error>Wrong code"
        page = Page(html(error), Request(URL, method="POST"), unknown=frozenset({"url", "status"}))
        rules = compile_rules(["image-captcha-again"])
        assert rules.match_known(page, no_error) == (None, ["status"])
        conditions = explain(*rules, page)["conditions"]
        found = {item["found"] for item in conditions if item["holds"] is None}
        assert found == {"not known: status"}

    def test_a_callback_in_an_exception_is_asked_once_of_a_page_that_is_known(self) -> None:
        asked: list[str] = []

        def note(response: Response, request: Request) -> bool:
            asked.append(response.url)
            return False

        rules = compile_rules([{"unless": {"callback": note}}])
        rule, _ = rules.match_known(Page(html(), Request(URL)), no_error)
        assert rule is not None
        assert asked == [URL]

    def test_a_rule_that_matches_wins_over_an_earlier_one_that_cannot_be_told(self) -> None:
        rules = compile_rules([{"status": 403}, {"name": "second", "text": "Wrong"}])
        found, missing = rules.match_known(
            Page(html("Wrong"), Request(URL), unknown=self.ALL), no_error
        )
        assert (found and found.name, missing) == ("second", [])


def ticking(written: list[dict[str, Any]], now: list[float], busy: float = 1.0) -> Rules:
    """Rules on a machine whose processor has *busy* of the time for them."""
    return Rules(
        compile_rules(written), clock=lambda: now[0], processor_clock=lambda: busy * now[0]
    )


class TestSlowRules:
    """A rule that takes long stops the whole crawl: the log names it."""

    @pytest.fixture
    def rules(self) -> tuple[Rules, list[float]]:
        """Rules whose callback takes as many seconds as the list says."""
        now, seconds = [0.0], [0.0]

        def take_time(response: Response, request: Request) -> bool:
            now[0] += seconds[0]
            return False

        written = [{"name": "fast", "text": "nope"}, {"name": "slow", "callback": take_time}]
        return ticking(written, now), seconds

    def test_it_is_named_once(
        self, rules: tuple[Rules, list[float]], caplog: pytest.LogCaptureFixture
    ) -> None:
        judging, seconds = rules
        for seconds[0] in (0.05, 0.06, 0.07, 0.08):
            assert matched(judging, html()) is None
        assert caplog.messages == [
            "The rule 'slow' took 70 ms on <200 https://shop.example/login>, and blocked the "
            'crawl for as long. See "What makes a rule slow" in the documentation of rules (logged '
            "once for each rule)"
        ]

    def test_one_that_takes_a_second_is_named_at_once(
        self, rules: tuple[Rules, list[float]], caplog: pytest.LogCaptureFixture
    ) -> None:
        judging, seconds = rules
        seconds[0] = 1.0
        assert matched(judging, html()) is None
        (message,) = caplog.messages
        assert message.startswith("The rule 'slow' took 1000 ms on ")

    def test_one_that_waits_for_a_second_is_named_too(
        self, rules: tuple[Rules, list[float]], caplog: pytest.LogCaptureFixture
    ) -> None:
        judging, seconds = rules
        judging._processor_clock = lambda: 0.0
        for seconds[0] in (0.1, 0.1, 1.5):
            assert matched(judging, html()) is None
        (message,) = caplog.messages
        assert message.startswith("The rule 'slow' took 1500 ms on ")

    def test_that_another_one_was_slow_does_not_name_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        now, seconds = [0.0], {"first": 0.1, "second": 0.0}

        def taking(name: str) -> Any:
            def take_time(response: Response, request: Request) -> bool:
                now[0] += seconds[name]
                return False

            return {"name": name, "callback": take_time}

        judging = ticking([taking("first"), taking("second")], now)
        assert matched(judging, html()) is None
        seconds.update(first=0.0, second=0.1)
        assert matched(judging, html()) is None
        assert caplog.messages == []

    def test_parsing_is_not_the_rules_fault(self, caplog: pytest.LogCaptureFixture) -> None:
        now = [0.0]

        class SlowToParse(TextResponse):
            @property
            def text(self) -> str:
                now[0] += 1
                return super().text

        written = [{"text": "nope"}, {"css": "nope"}]
        judging = ticking(written, now)
        for _ in range(2):
            assert matched(judging, SlowToParse(URL, body=b"<p>Wrong", encoding="utf-8")) is None
        assert now[0] >= 2
        assert caplog.messages == []

    def test_nor_that_the_machine_is_busy(self, caplog: pytest.LogCaptureFixture) -> None:
        now = [0.0]

        def take_time(response: Response, request: Request) -> bool:
            now[0] += 0.2
            return False

        for busy, warnings in ((0.1, 0), (0.5, 1)):
            judging = ticking([{"callback": take_time}], now, busy)
            for _ in range(3):
                assert matched(judging, html()) is None
            assert len(caplog.messages) == warnings
