"""What each setting may be, and what a user who got one wrong is told."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

import pytest
import pytest_twisted
import scrapy
from scrapy.exceptions import NotConfigured
from scrapy.settings import Settings
from scrapy.utils.conf import arglist_to_dict
from support import CLIENT_KEY, report_stats, start_crawl

from scrapy_capmonster_report import CapMonsterReportMiddleware
from scrapy_capmonster_report.settings import DEFAULTS, ReportSettings, unknown_settings

RULES = [{"text": "Wrong captcha"}]
NEEDED = {"CAPMONSTER_CLIENT_KEY": CLIENT_KEY, "CAPMONSTER_REPORT_RULES": RULES}
FIELDS = {
    "CAPMONSTER_API_URL": "api_url",
    "CAPMONSTER_REPORT_PROXY": "proxy",
    "CAPMONSTER_REPORT_DRY_RUN": "dry_run",
    "CAPMONSTER_REPORT_CONCURRENCY": "concurrency",
    "CAPMONSTER_REPORT_QUEUE_SIZE": "queue_size",
    "CAPMONSTER_REPORT_TIMEOUT": "timeout",
    "CAPMONSTER_REPORT_MAX_AGE": "max_age",
    "CAPMONSTER_REPORT_REUSED": "report_reused",
    "CAPMONSTER_REPORT_CLOSE_TIMEOUT": "close_timeout",
    "CAPMONSTER_REPORT_LEDGER": "ledger",
    "CAPMONSTER_REPORT_SAVE_REJECTED": "save_rejected",
}
"""The optional settings, and where ``ReportSettings`` has them."""

BOOLS = ["CAPMONSTER_REPORT_DRY_RUN", "CAPMONSTER_REPORT_REUSED"]
COUNTS = ["CAPMONSTER_REPORT_CONCURRENCY", "CAPMONSTER_REPORT_QUEUE_SIZE"]
POSITIVE = ["CAPMONSTER_REPORT_TIMEOUT", "CAPMONSTER_REPORT_MAX_AGE"]
CLOSE_TIMEOUT = "CAPMONSTER_REPORT_CLOSE_TIMEOUT"
ENABLED = "CAPMONSTER_REPORT_ENABLED"
API_URL = "CAPMONSTER_API_URL"
KEY = "CAPMONSTER_CLIENT_KEY"


def read(values: dict[str, Any], environ: dict[str, str] | None = None) -> ReportSettings:
    return ReportSettings.from_settings(Settings({**NEEDED, **values}), environ or {})


def read_text(name: str, text: str) -> ReportSettings:
    """As ``scrapy crawl -s NAME=TEXT`` has it."""
    settings = Settings(NEEDED)
    settings.setdict(arglist_to_dict([f"{name}={text}"]), priority="cmdline")
    return ReportSettings.from_settings(settings, {})


def test_the_defaults_are_those_of_the_documentation() -> None:
    found = asdict(read({}))
    assert found == {
        "enabled": True,
        "client_key": CLIENT_KEY,
        "rules": RULES,
        "api_url": "https://api.capmonster.cloud",
        "proxy": "",
        "dry_run": False,
        "concurrency": 16,
        "queue_size": 10_000,
        "timeout": 10.0,
        "max_age": 300.0,
        "report_reused": False,
        "close_timeout": 30.0,
        "ledger": "",
        "save_rejected": "",
    }
    assert all(type(found[FIELDS[name]]) is type(DEFAULTS[name]) for name in FIELDS)


@pytest.mark.parametrize("name", [*FIELDS, ENABLED])
def test_none_means_the_default(name: str) -> None:
    assert read({name: None}) == read({})


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        *((name, text, True) for name in BOOLS for text in ("1", "True", "true", " TRUE ")),
        *((name, text, False) for name in BOOLS for text in ("0", "False", "false")),
        *((name, text, int(text)) for name in COUNTS for text in ("1", " 7 ", "1000000")),
        *((name, text, float(text)) for name in POSITIVE for text in ("1", "0.5", "1e3", " 7 ")),
        (CLOSE_TIMEOUT, "0", 0.0),
        (CLOSE_TIMEOUT, "0.5", 0.5),
        ("CAPMONSTER_REPORT_LEDGER", "", ""),
        ("CAPMONSTER_REPORT_LEDGER", " sqlite:a b.db ", "sqlite:a b.db"),
        ("CAPMONSTER_REPORT_LEDGER", "redis://h/0?x=1=2", "redis://h/0?x=1=2"),
        *(
            ("CAPMONSTER_REPORT_PROXY", text, text.strip())
            for text in (
                *("", "none", "http://proxy.example", " http://proxy.example:3128/ "),
                *("http://user:p%40ss@10.0.0.1:3128", "http://user@[::1]:3128"),
            )
        ),
        ("CAPMONSTER_REPORT_PROXY", "None", "none"),
        ("CAPMONSTER_REPORT_SAVE_REJECTED", " a b/c ", "a b/c"),
    ],
)
def test_text_from_the_command_line(name: str, text: str, expected: Any) -> None:
    found = getattr(read_text(name, text), FIELDS[name])
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        *((name, value, bool(value)) for name in BOOLS for value in (True, False, 1, 0)),
        *((name, value, value) for name in COUNTS for value in (1, 2**40, 10**400)),
        *((name, value, value) for name in POSITIVE for value in (1, 1e-3, 1e300)),
        (CLOSE_TIMEOUT, 0, 0.0),
        (CLOSE_TIMEOUT, 0.0, 0.0),
    ],
)
def test_values_from_python(name: str, value: Any, expected: Any) -> None:
    assert getattr(read({name: value}), FIELDS[name]) == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://api.capmonster.cloud/", "https://api.capmonster.cloud"),
        (" https://api.capmonster.cloud ", "https://api.capmonster.cloud"),
        ("HTTPS://Example.COM:8443/", "HTTPS://Example.COM:8443"),
        ("https://gate.example/capmonster/v1//", "https://gate.example/capmonster/v1"),
        ("https://203.0.113.7", "https://203.0.113.7"),
        ("https://[2001:db8::1]:65535", "https://[2001:db8::1]:65535"),
        ("https://docker_service", "https://docker_service"),
        # The account key does not leave the machine.
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LocalHost", "http://LocalHost"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.8.9.10/base", "http://127.8.9.10/base"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://[0:0:0:0:0:0:0:1]", "http://[0:0:0:0:0:0:0:1]"),
    ],
)
def test_addresses_that_are_taken(written: str, expected: str) -> None:
    assert read({API_URL: written}).api_url == expected
    assert read_text(API_URL, written).api_url == expected


TRUE_OR_FALSE = "It must be True or False."
WHOLE = "It must be a whole number, 1 or more."
MORE_THAN_0 = "It must be a number of seconds, more than 0."
ZERO_OR_MORE = "It must be a number of seconds, 0 or more."
STR = "It must be a str."
LIKE = "It must be a URL like 'https://api.capmonster.cloud', without user, query or fragment."
NOT_PLAIN = "It must begin with https://: over plain http"

NO_BOOL = [2, -1, 1.0, 0.0, "", "yes", "no", "on", "None", "01", b"True", [], [True], {}, object]
NO_NUMBER = ["", " ", "many", "1;2", "0x10", "1 2", b"1", [], [1], {}, {1}, 1j, True, False]
NO_FINITE = [math.nan, math.inf, -math.inf, "nan", "inf", "-inf", "Infinity", "1e999"]
NO_COUNT = [*NO_NUMBER, *NO_FINITE, 0, -1, "0", "-1", 1.0, 16.5, "1.0", "1e3", "9" * 5000]
NO_SECONDS = [*NO_NUMBER, *NO_FINITE, -1, -0.001, "-1", "-1e-9", 10**400]

WRONG: list[tuple[str, list[Any], str]] = [
    *((name, NO_BOOL, TRUE_OR_FALSE) for name in (*BOOLS, ENABLED)),
    *((name, NO_COUNT, WHOLE) for name in COUNTS),
    *((name, [*NO_SECONDS, 0, 0.0, -0.0, "0"], MORE_THAN_0) for name in POSITIVE),
    (CLOSE_TIMEOUT, NO_SECONDS, ZERO_OR_MORE),
    ("CAPMONSTER_REPORT_LEDGER", [0, 1, False, True, b"", [], {}, ...], STR),
    ("CAPMONSTER_REPORT_SAVE_REJECTED", [0, True, b"pages", ["pages"], ...], STR),
    (
        "CAPMONSTER_REPORT_PROXY",
        [
            *("proxy.example:3128", "https://proxy.example", "socks5://proxy.example", "direct"),
            *("http://", "http://:3128", "http://a:b", "http://a:p/w@b", "http://a:p#w@b"),
            *("http://a/b", "http://a?b", "http://a b", "http://u:p@w@b"),
            *("http://a:0", "http://a:65536", "http://a:99999", "http://[1.2.3.4]", "http://[:::]"),
        ],
        "It must be '' (use the environment), 'none', or a URL like",
    ),
    (
        API_URL,
        [
            *("api.capmonster.cloud", "x", "//api.capmonster.cloud", "https://", "https:/a"),
            *("https:///createTask", "ftp://a", "file:///etc/passwd", "https:a", "https://:443"),
            *("https://a/?b", "https://a?b=c", "https://a/#b", "https://a#", "https://a/?"),
            *("https://a b", "https://a\\b", "https://a\tb", "https://a\nb", "https://a/b c"),
            *("https://a/\r\nX: y", "https://a..b", "https://.a", "https://a.", "https://a,b"),
            *("https://a:", "https://a:b", "https://a:0", "https://a:65536", "https://a:-1"),
            *("https://a:٣", "https://ä.example", "https://[", "https://[]", "https://[zz]"),
            *("https://[1.2.3.4]", "https://[::1", "https://::1", "https://[::1]a", "https://%61"),
            *("https://u@a", "https://u:p@a", "https://@a", "http://127.0.0.1@evil.example"),
            *("http://127.0.0.1:80@evil.example", "http://127.0.0.1\\@evil.example"),
            *("http://evil.example#@127.0.0.1", "http://evil.example?@127.0.0.1"),
            *("http://[::1]evil.example", "http://[::1].evil.example:80", "http://[::1%25lo]"),
            *("http://localhost。evil.example", "http://127.0.0.1%2eevil.example"),
            *(0, 1, True, b"https://a", ["https://a"], {}, ...),
        ],
        LIKE,
    ),
    (
        API_URL,
        [
            *("http://api.capmonster.cloud", "HTTP://api.capmonster.cloud:443/"),
            *("http://127.0.0.1.evil.example", "http://localhost.evil.example"),
            *("http://127.0.0.1-evil.example", "http://notlocalhost", "http://localhost_"),
            *("http://evil.example/127.0.0.1", "http://evil.example/localhost"),
            *("http://0.0.0.0", "http://[::]", "http://128.0.0.1", "http://10.0.0.1"),
            *("http://127.1", "http://2130706433", "http://0x7f000001", "http://[::2]"),
        ],
        NOT_PLAIN,
    ),
]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        pytest.param(name, value, allowed, id=f"{name}={value!r:.40}")
        for name, values, allowed in WRONG
        for value in values
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(allowed)) as caught:
        read({name: value})
    assert str(caught.value).startswith(f"The value of the {name} setting (")
    if not (isinstance(value, str) and re.search("[@?#]", value)):
        assert f"setting ({value!r}) is invalid. " in str(caught.value)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"https://me:{CLIENT_KEY}@a.example/b", "https://…@a.example/b"),
        (f"https://me:{CLIENT_KEY}/@a.example", "https://…@a.example"),
        (f"https://{CLIENT_KEY}@one@a.example", "https://…@a.example"),
        (f"me:{CLIENT_KEY}@a.example", "…@a.example"),
        (f"https://a.example/?clientKey={CLIENT_KEY}", "https://a.example/?…"),
        (f"https://a.example/?a=1\n&clientKey={CLIENT_KEY}", "https://a.example/?…"),
        (f"http://a.example/#{CLIENT_KEY}", "http://a.example/#…"),
    ],
)
def test_a_wrong_address_is_shown_without_its_secrets(value: str, shown: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"setting ({shown!r}) is invalid")) as caught:
        read({API_URL: value})
    assert CLIENT_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (CLIENT_KEY.encode(), "bytes"),
        ([CLIENT_KEY], "list"),
        ({"key": CLIENT_KEY}, "dict"),
        (int(CLIENT_KEY, 16), "int"),
        (True, "bool"),
        (0, "int"),
    ],
)
def test_a_key_of_the_wrong_type_is_not_shown(value: Any, type_name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"{KEY} setting \(of type {type_name}\) is invalid"
    ) as caught:
        read({KEY: value}, {KEY: CLIENT_KEY})
    assert str(caught.value).endswith("It must be a str: the account key.")
    assert repr(value) not in str(caught.value)


def test_neither_the_key_nor_a_password_is_in_the_repr_of_the_settings() -> None:
    secret = "gehe1m"
    ledger, proxy = f"redis://:{secret}@localhost", f"http://user:{secret}@localhost:3128"
    settings = read({"CAPMONSTER_REPORT_LEDGER": ledger, "CAPMONSTER_REPORT_PROXY": proxy})
    assert CLIENT_KEY not in repr(settings)
    assert secret not in repr(settings)


@pytest.mark.parametrize(
    ("setting", "environment", "expected"),
    [
        ("of-the-setting", {}, "of-the-setting"),
        (" of-the-setting\n", {}, "of-the-setting"),
        ("key__nocache", {}, "key__nocache"),
        ("of-the-setting", {KEY: "of-the-environment"}, "of-the-setting"),
        (None, {KEY: "of-the-environment"}, "of-the-environment"),
        ("", {KEY: " of-the-environment\n"}, "of-the-environment"),
        (" ", {KEY: "of-the-environment"}, "of-the-environment"),
    ],
)
def test_where_the_key_is_taken_from(
    setting: str | None, environment: dict[str, str], expected: str
) -> None:
    assert read({KEY: setting}, environment).client_key == expected


OTHER_URL = "https://other.example"


@pytest.mark.parametrize(
    ("setting", "environment", "expected"),
    [
        (None, {}, "https://api.capmonster.cloud"),
        ("", {}, "https://api.capmonster.cloud"),
        (None, {API_URL: ""}, "https://api.capmonster.cloud"),
        (None, {API_URL: f" {OTHER_URL}/\n"}, OTHER_URL),
        ("", {API_URL: OTHER_URL}, OTHER_URL),
        (" ", {API_URL: OTHER_URL}, OTHER_URL),
        ("https://set.example", {API_URL: OTHER_URL}, "https://set.example"),
        (None, {API_URL.lower(): OTHER_URL}, "https://api.capmonster.cloud"),
    ],
)
def test_where_the_address_is_taken_from(
    setting: str | None, environment: dict[str, str], expected: str
) -> None:
    assert read({API_URL: setting}, environment).api_url == expected


def test_a_wrong_address_in_the_environment_is_refused_like_one_in_the_settings() -> None:
    with pytest.raises(ValueError, match=re.escape(NOT_PLAIN)):
        read({API_URL: None}, {API_URL: "http://evil.example"})


@pytest.mark.parametrize("key", [None, "", " "])
def test_a_dry_run_needs_no_key(key: str | None) -> None:
    assert read({KEY: key, "CAPMONSTER_REPORT_DRY_RUN": True}).client_key == ""


def test_a_dry_run_keeps_the_key_it_has_out_of_its_files() -> None:
    assert read({"CAPMONSTER_REPORT_DRY_RUN": True}).client_key == CLIENT_KEY


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CAPMONSTER_REPORT_DRYRUN", "CAPMONSTER_REPORT_DRY_RUN"),
        ("CAPMONSTER_DRY_RUN", "CAPMONSTER_REPORT_DRY_RUN"),
        ("CAPMONSTER_REPORT_RULE", "CAPMONSTER_REPORT_RULES"),
        ("CAPMONSTER_RULES", "CAPMONSTER_REPORT_RULES"),
        ("CAPMONSTER_API_KEY", "CAPMONSTER_CLIENT_KEY"),
        ("CAPMONSTER_KEY", "CAPMONSTER_CLIENT_KEY"),
        ("CAPMONSTER_AGE", "CAPMONSTER_REPORT_MAX_AGE"),
        ("CAPMONSTER_REPORT_CLIENT_KEY", "CAPMONSTER_CLIENT_KEY"),
        ("CAPMONSTER_REPORT_API_URL", "CAPMONSTER_API_URL"),
        ("CAPMONSTER_REPORT_MAXAGE", "CAPMONSTER_REPORT_MAX_AGE"),
        ("CAPMONSTER_PROXY", "CAPMONSTER_REPORT_PROXY"),
        ("CAPMONSTER_TIMEOUT", "CAPMONSTER_REPORT_TIMEOUT"),
        ("CAPMONSTER_", None),
        ("CAPMONSTER_REPORT_", None),
        ("CAPMONSTER_BALANCE_LIMIT", None),
        ("CAPMONSTER_REPORT_" + "X" * 1000, None),
    ],
)
def test_a_setting_that_does_not_exist_is_named_with_the_one_that_was_meant(
    name: str, meant: str | None
) -> None:
    (sentence,) = unknown_settings(Settings({**NEEDED, name: True}))
    question = f" Did you mean {meant}?" if meant else ""
    assert sentence == f"The setting {name} does not exist and is ignored.{question}"


def test_no_setting_of_ours_and_none_of_others_is_unknown() -> None:
    others = {"MY_CAPMONSTER_KEY": 1, "capmonster_x": 1, "CAPMONSTER": 1, "DOWNLOAD_DELAY": 1, 7: 1}
    assert unknown_settings(Settings({**DEFAULTS, **others})) == []


@pytest.mark.parametrize(
    ("values", "environment", "said"),
    [
        *(
            ({KEY: key}, environment, f"Set {KEY} in the settings or in the environment")
            for key in (None, "", " \n")
            for environment in ({}, {KEY: ""}, {KEY: " "}, {KEY.lower(): "k"})
        ),
        *(
            ({"CAPMONSTER_REPORT_RULES": rules}, {}, "CAPMONSTER_REPORT_RULES is empty")
            for rules in (None, [], (), "", "  ", "[]", " [ ]\n", "null")
        ),
        *(({ENABLED: value}, {}, f"{ENABLED} is False") for value in (False, 0, "0", "False")),
        # Whoever switched it off need not have the rest in order.
        ({ENABLED: False, KEY: 1, "CAPMONSTER_REPORT_TIMEOUT": -1}, {}, f"{ENABLED} is False"),
    ],
)
def test_nothing_to_work_with_disables_it_and_says_why(
    values: dict[str, Any], environment: dict[str, str], said: str
) -> None:
    with pytest.raises(NotConfigured, match=re.escape(said)):
        read(values, environment)


@pytest.mark.parametrize("rules", [RULES, ("preset",), '["preset"]', "[[]]", "x", {}, 0, False])
def test_rules_are_left_to_those_who_read_them(rules: Any) -> None:
    assert read({"CAPMONSTER_REPORT_RULES": rules}).rules == rules


# -- in a crawl ------------------------------------------------------------------------------------


class Visitor(scrapy.Spider):
    """Visits one page that refuses an answer; remembers what the middleware was set to."""

    name = "visitor"
    url: str
    visited = False
    found: ReportSettings | None = None

    async def start(self) -> Any:
        middleware = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        self.found = middleware and middleware.settings
        yield scrapy.Request(self.url, meta={"taskId": 1})

    def parse(self, response: Any) -> None:
        self.visited = True


def refuses(request: Any) -> str:
    return "<p>Wrong captcha</p>"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"CAPMONSTER_REPORT_TIMEOUT": "nan"}, "The value of the CAPMONSTER_REPORT_TIMEOUT set"),
        ({API_URL: "http://localhost.evil.example"}, "the account key would travel in the clear"),
        ({KEY: 7}, f"The value of the {KEY} setting (of type int) is invalid"),
        ({"CAPMONSTER_REPORT_RULES": [{"txt": "Wrong"}]}, "Did you mean 'text'?"),
        ({"CAPMONSTER_REPORT_RULES": {}}, "it is one rule, not a list"),
    ],
)
async def test_a_wrong_setting_aborts_the_crawl(
    settings: dict[str, Any], said: str, serve: Any
) -> None:
    site = serve(refuses)
    with pytest.raises((ValueError, AttributeError)) as caught:
        await start_crawl(Visitor, {**NEEDED, **settings}, url=site.url)
    # Scrapy 2.13.0 trips over the engine that was not built; the traceback shows both.
    error = caught.value.__context__ if caught.errisinstance(AttributeError) else caught.value
    assert isinstance(error, ValueError)
    assert said in str(error)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({KEY: ""}, f"there is no account key. Set {KEY}"),
        ({"CAPMONSTER_REPORT_RULES": "[]"}, "CAPMONSTER_REPORT_RULES is empty"),
        ({ENABLED: "0"}, f"{ENABLED} is False"),
    ],
)
async def test_nothing_to_work_with_leaves_the_crawl_alone(
    settings: dict[str, Any],
    said: str,
    serve: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    site = serve(refuses)
    crawler = await start_crawl(Visitor, {**NEEDED, **settings}, url=site.url)
    assert crawler.spider.visited
    assert crawler.spider.found is None
    assert report_stats(crawler) == {}
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1
    assert re.match(r"Disabled .*CapMonsterReportMiddleware.*: " + re.escape(said), warnings[0])


@pytest_twisted.ensureDeferred
async def test_the_key_may_stand_in_the_environment(
    serve: Any, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, CLIENT_KEY)
    cloud = api()
    await start_crawl(Visitor, {**NEEDED, KEY: None, API_URL: cloud.url}, url=serve(refuses).url)
    assert cloud.keys == [CLIENT_KEY]


class AsAnAddon:
    """Another addon that sets ours."""

    def update_settings(self, settings: Any) -> None:
        settings.set("CAPMONSTER_REPORT_CONCURRENCY", 2, priority="addon")
        settings.set("CAPMONSTER_REPORT_QUEUE_SIZE", 2, priority="addon")
        settings.set("CAPMONSTER_REPORT_TIMEOUT", 2, priority="addon")
        settings.set("CAPMONSTER_REPORT_MAX_AGE", 2, priority="addon")


@pytest_twisted.ensureDeferred
async def test_every_place_that_scrapy_takes_settings_from(serve: Any, api: Any) -> None:
    class OfTheSpider(Visitor):
        custom_settings = {
            "CAPMONSTER_REPORT_TIMEOUT": 4.0,
            "CAPMONSTER_REPORT_RULES": [{"name": "of the spider", "text": "Wrong"}],
        }

        @classmethod
        def update_settings(cls, settings: Any) -> None:
            super().update_settings(settings)
            options = ["CAPMONSTER_REPORT_MAX_AGE=5", f"{API_URL}={cloud.url}"]
            settings.setdict(arglist_to_dict(options), priority="cmdline")

    cloud = api()
    crawler = await start_crawl(
        OfTheSpider,
        {
            **NEEDED,
            "ADDONS": {"scrapy_capmonster_report.Addon": 500, AsAnAddon: 600},
            "CAPMONSTER_REPORT_QUEUE_SIZE": 3,
            "CAPMONSTER_REPORT_TIMEOUT": 3,
            "CAPMONSTER_REPORT_MAX_AGE": 3,
        },
        url=serve(refuses).url,
    )
    found = crawler.spider.found
    assert (found.concurrency, found.queue_size, found.timeout, found.max_age) == (2, 3, 4, 5)
    assert report_stats(crawler)["rejected/rule/of the spider"] == 1
    assert len(cloud.reports) == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("more", [{}, {KEY: ""}, {"CAPMONSTER_REPORT_RULES": []}])
async def test_a_setting_that_does_not_exist_is_logged_once_also_where_nothing_else_works(
    more: dict[str, Any],
    serve: Any,
    api: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    settings = {**NEEDED, API_URL: api().url, "CAPMONSTER_REPORT_DRYRUN": "1", **more}
    crawler = await start_crawl(Visitor, settings, url=serve(refuses).url)
    (record,) = (r for r in caplog.records if "CAPMONSTER_REPORT_DRYRUN" in r.getMessage())
    assert (record.levelname, record.name) == ("WARNING", "scrapy_capmonster_report.settings")
    assert record.spider is crawler.spider


@pytest_twisted.ensureDeferred
async def test_a_dry_run_without_a_key_finds_and_counts(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY, raising=False)
    settings = {"CAPMONSTER_REPORT_RULES": RULES, "CAPMONSTER_REPORT_DRY_RUN": True}
    crawler = await start_crawl(Visitor, settings, url=serve(refuses).url)
    assert report_stats(crawler)["withheld/dry_run"] == 1
