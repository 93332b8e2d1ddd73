"""``scrapy capmonster check``: which rule matches a page, and why the others do not."""

from __future__ import annotations

import gzip
from socket import socket
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from support import Reply
from twisted.internet.threads import deferToThread
from workbench import (
    ANSWERED,
    HTML,
    RULES,
    Answered,
    make_project,
    rules_file,
    run,
    run_scrapy,
    save,
)

from scrapy_capmonster_report.rules import PRESETS
from scrapy_capmonster_report.rules.presets import CATALOGUE

if TYPE_CHECKING:
    from pathlib import Path

LOGIN = {
    "name": "login",
    "domains": "shop.example",
    "method": "POST",
    "status": [200, "4xx"],
    "url": "/login",
    "redirect": "/start",
    "headers": {"X-Captcha": "^wrong$"},
    "text": "Wrong (captcha|code)",
    "css": ".error",
    "xpath": "//input[@name='captcha']",
    "unless": {"text": "session has expired"},
}
PAGE = (
    "<html><body><div class='error'>Wrong captcha</div>"
    "<form><input name='captcha'></form></body></html>"
)
META = {
    "url": "https://www.shop.example/login",
    "status": 403,
    "headers": {**HTML, "X-Captcha": ["right", "wrong"]},
    "method": "POST",
    "redirects": ["https://www.shop.example/start"],
}


@pytest.fixture
def login(tmp_path: Path) -> Path:
    return save(tmp_path / "login.html", PAGE, **META)


def test_every_condition_with_what_it_found(
    login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run(capfd, "check", login, "--rules", rules_file(tmp_path, LOGIN), "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.answer == {
        "source": str(login),
        "rejected": True,
        "rule": "login",
        "rules": [
            {
                "name": "login",
                "matched": True,
                "conditions": [
                    {"key": key, "value": LOGIN[key], "holds": True, "found": found}
                    for key, found in {
                        "domains": "www.shop.example",
                        "method": "POST",
                        "status": "403",
                        "url": "https://www.shop.example/login",
                        "redirect": "https://www.shop.example/start",
                        "headers": "X-Captcha: right; X-Captcha: wrong",
                        "text": "<html><body><div class='error'>Wrong captcha</div><form><input "
                        "name='captcha'></form…",
                        "css": '<div class="error">Wrong captcha</div>',
                        "xpath": '<input name="captcha">',
                        "unless": None,
                    }.items()
                ],
            }
        ],
    }


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("domains", "other.example", "www.shop.example"),
        ("method", "GET", "POST"),
        ("status", 200, "403"),
        ("url", "/register", None),
        ("redirect", "captchaError", None),
        ("headers", {"X-Captcha": "expired"}, "X-Captcha: right; X-Captcha: wrong"),
        ("headers", {"X-Other": ""}, None),
        ("text", "wrong captcha", None),
        ("css", ".warning", None),
        ("xpath", "//h1", None),
        ("jmespath", "errors", None),
        ("unless", {"text": "captcha"}, "Wrong captcha"),
    ],
)
def test_the_one_condition_that_did_not_hold(
    login: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    key: str,
    value: Any,
    found: str | None,
) -> None:
    rules = rules_file(tmp_path, {**LOGIN, key: value})
    answer = run(capfd, "check", login, "--rules", rules, "--json").answer
    assert (answer["rejected"], answer["rule"]) == (False, None)
    (rule,) = answer["rules"]
    assert rule["matched"] is False
    (failed,) = (condition for condition in rule["conditions"] if not condition["holds"])
    assert (failed["key"], failed["value"]) == (key, value)
    if found is None:
        assert failed["found"] is None
    else:
        assert found in failed["found"]


def test_the_first_rule_that_matches_wins_and_the_others_are_explained_too(
    login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = [{"status": 200}, {"name": "second", "status": 403}, {"name": "third", "status": "4xx"}]
    answer = run(capfd, "check", login, "--rules", rules_file(tmp_path, *rules), "--json").answer
    assert answer["rule"] == "second"
    assert [(rule["name"], rule["matched"]) for rule in answer["rules"]] == [
        ("rule 1", False),
        ("second", True),
        ("third", True),
    ]


@pytest.mark.parametrize("page", ANSWERED, ids=lambda page: page.file)
def test_a_page_of_any_kind(
    page: Answered, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = "https://shop.example/"
    path = save(
        tmp_path / page.file, page.body, url=url, status=page.status, headers=dict(page.headers)
    )
    ran = run(capfd, "check", path, "--rules", rules_file(tmp_path, *RULES), "--json")
    assert (ran.answer["rule"], ran.answer["rejected"]) == (page.rule, page.rule is not None)
    assert ran.err == ""


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("page.html", "<p class='wrong'>"),
        ("page.HTML", b"<meta charset=windows-1251><p class='wrong'>\xcd\xe5\xe2\xe5\xf0\xed\xee"),
        ("page.txt", "<p class='wrong'>"),
        ("page", "<!doctype html><p class='wrong'>"),
    ],
)
def test_a_page_of_which_nothing_else_is_known(
    name: str, body: str | bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / name, body)
    rule = {"css": ".wrong", "status": 200, "method": "GET", "url": f"^file:///.*/{name}$"}
    answer = run(capfd, "check", path, "--rules", rules_file(tmp_path, rule), "--json").answer
    assert answer["rejected"] is True, answer


def test_a_browser_saved_the_page_decompressed_but_noted_the_header(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    headers = {**HTML, "Content-Encoding": "gzip"}
    path = save(tmp_path / "page.html", "<p>Wrong captcha</p>", headers=headers)
    rules = rules_file(tmp_path, {"text": "Wrong captcha", "css": "p"})
    assert run(capfd, "check", path, "--rules", rules, "--json").answer["rejected"] is True


def test_a_table_to_read(login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rules = rules_file(tmp_path, LOGIN, {"name": "banned", "text": "[red]banned[/red]"})
    ran = run(capfd, "check", login, "--rules", rules)
    assert (ran.code, ran.err) == (0, "")
    assert f"{login}: refused (login)" in ran.out.replace("\n", "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ran.out.splitlines()]
    assert ["login: matches", "domains", '"shop.example"', "yes", "www.shop.example"] in rows
    assert ["banned", "text", '"[red]banned[/red]"', "no", ""] in rows


def test_what_a_site_wrote_cannot_command_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "page.html", "<p class='x'>\x1b[2J\x1b]0;owned\x07 [bold]é\u202e</p>")
    ran = run(capfd, "check", path, "--rules", rules_file(tmp_path, {"css": ".x"}))
    assert ran.code == 0
    assert "[bold]é" in ran.out
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.out)


def test_several_pages_one_object_a_line_in_the_order_asked(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pages = [save(tmp_path / f"{name}.html", name) for name in ("bad", "good", "worse")]
    rules = rules_file(tmp_path, {"text": "bad|worse"})
    ran = run(capfd, "check", *pages, pages[0], "--rules", rules, "--json")
    assert [(answer["source"], answer["rejected"]) for answer in ran.answers] == [
        (str(pages[0]), True),
        (str(pages[1]), False),
        (str(pages[2]), True),
        (str(pages[0]), True),
    ]


def test_a_callback_that_fails_is_shown_with_its_error(
    login: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def is_rejected(response: Any, request: Any) -> bool:
        raise LookupError("no price on this page")

    settings = {"CAPMONSTER_REPORT_RULES": [{"callback": is_rejected}]}
    answer = run(capfd, "check", login, "--json", settings=settings).answer
    (condition,) = answer["rules"][0]["conditions"]
    assert condition["value"].endswith("is_rejected")
    assert (condition["holds"], condition["found"]) == (False, "LookupError: no price on this page")


MISTAKES: dict[str, tuple[list[str], str]] = {
    "nothing to check": ([], "say what to check: a saved page or a URL"),
    "no rules": (["page.html"], "there are no rules. Set CAPMONSTER_REPORT_RULES in a project"),
    "no such page": (["none.html", "--preset", "mediawiki"], "cannot read none.html: No such file"),
    "a folder": ([".", "--preset", "mediawiki"], "try: scrapy capmonster replay ."),
    "no such rules": (["page.html", "--rules", "none.json"], "cannot read none.json: No such file"),
    "rules that are no text": (["page.html", "--rules", "latin1.json"], "cannot read latin1.json"),
    "rules that are no JSON": (["page.html", "--rules", "page.html"], "page.html: it is no JSON"),
    "a mistake in a rule": (
        ["page.html", "--rules", "mistake.json"],
        "mistake.json: rule 1 ('a'), key 'statsu': there is no such key here",
    ),
    "a preset that is none": (
        ["page.html", "--preset", "mediawki"],
        "--preset: rule 1: there is no preset 'mediawki'",
    ),
    "a preset to describe that is none": (["--preset", "mediawki"], "Did you mean 'mediawiki'?"),
    "no such spider": (
        ["page.html", "--spider", "shop"],
        "there is no spider 'shop' here; there is: none",
    ),
    "meta that is no JSON": (["bad.html", "--preset", "mediawiki"], "bad.meta.json is no JSON"),
    "meta that is no object": (["list.html", "--preset", "phpbb"], "list.meta.json is no JSON obj"),
    "meta of a wrong type": (
        ["wrong.html", "--preset", "phpbb"],
        "wrong.meta.json: 'status' is '200': it must be int",
    ),
    "a URL that is none": (["nourl.html", "--preset", "phpbb"], "nourl.meta.json: 'url' is 'shop'"),
    "headers that are none": (
        ["headers.html", "--preset", "phpbb"],
        "headers.meta.json: 'headers'",
    ),
    "an option that is none": (["page.html", "--verbos"], "unrecognized arguments: --verbos"),
    "an option without its value": (["page.html", "--rules"], "--rules: expected one argument"),
}


@pytest.mark.parametrize(("argv", "said"), MISTAKES.values(), ids=MISTAKES)
def test_what_is_wrong_is_said_in_one_line(
    argv: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "page.html", "<p>")
    save(tmp_path / "latin1.json", b'[{"text": "\xe9"}]')
    save(tmp_path / "mistake.json", '[{"name": "a", "statsu": 403}]')
    save(tmp_path / "bad.html", "<p>")
    save(tmp_path / "bad.meta.json", "{")
    save(tmp_path / "list.html", "<p>")
    save(tmp_path / "list.meta.json", "[]")
    save(tmp_path / "wrong.html", "<p>", status="200")
    save(tmp_path / "nourl.html", "<p>", url="shop")
    save(tmp_path / "headers.html", "<p>", headers={"Server": 7})
    ran = run(capfd, "check", *argv, "--json")
    assert said in ran.complaint
    assert ran.complaint.startswith("scrapy capmonster check: ")


def test_one_page_that_cannot_be_read_spoils_no_output(
    login: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run(capfd, "check", login, login.with_name("none.html"), "--preset", "phpbb", "--json")
    assert "none.html" in ran.complaint


class TestPresets:
    def test_one_is_described(self, capfd: pytest.CaptureFixture[str]) -> None:
        ran = run(capfd, "check", "--preset", "turnstile")
        assert (ran.code, ran.err) == (0, "")
        for words in ("turnstile", "reports", "leaves out", "Cloudflare", "jmespath", ".cf-turn"):
            assert words in ran.out
        assert "hcaptcha" not in ran.out

    def test_several_are_described_for_a_program(self, capfd: pytest.CaptureFixture[str]) -> None:
        ran = run(capfd, "check", "--preset", "phpbb", "--preset", "laravel", "--json")
        assert [preset["name"] for preset in ran.answer["presets"]] == ["phpbb", "laravel"]
        phpbb, _ = ran.answer["presets"]
        assert phpbb.keys() == {"name", "reports", "leaves_out", "source", "rules"}
        assert phpbb["rules"] == [dict(rule) for rule in PRESETS["phpbb"]]

    def test_all_are_listed(self, capfd: pytest.CaptureFixture[str]) -> None:
        listed = run(capfd, "check", "--list-presets", "--json").answer["presets"]
        assert [preset["name"] for preset in listed] == [preset.name for preset in CATALOGUE]
        table = run(capfd, "check", "--list-presets").out
        assert all(preset.name in table for preset in CATALOGUE)


PROJECT_RULES = """
ADDONS = {"scrapy_capmonster_report.Addon": 500}
CAPMONSTER_REPORT_RULES = [{"name": "project", "text": "Wrong captcha"}]
USER_AGENT = "from the project"
ITEM_PIPELINES = {"shop.no_such_pipeline": 1}
FEEDS = {"items.json": {"format": "json"}}
LOG_STDOUT = True
"""
SPIDERS = """
class ShopSpider(scrapy.Spider):
    name = "shop"
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [{"name": "spider's", "callback": "is_rejected"}],
        "USER_AGENT": "from the spider",
    }

    def is_rejected(self, response, request):
        return b"captcha" in response.body


class WantsArguments(scrapy.Spider):
    name = "wants"

    def __init__(self, city):
        self.city = city


class RulesAddon:
    def update_settings(self, settings):
        rules = [{"name": "addon's", "text": "captcha"}]
        settings.set("CAPMONSTER_REPORT_RULES", rules, priority="addon")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path, PROJECT_RULES, SPIDERS)


class TestInAProject:
    @pytest.mark.parametrize(
        ("argv", "rule"),
        [
            ([], "project"),
            (["--spider", "shop"], "spider's"),
            (["--rules", "rules.json"], "rule 1"),
            (["-s", 'CAPMONSTER_REPORT_RULES=[{"name": "option", "status": 200}]'], "option"),
            (["-s", 'ADDONS={"shop.spiders.RulesAddon": 1}', "--spider", "wants"], None),
        ],
    )
    def test_whose_rules(self, project: Path, argv: list[str], rule: str | None) -> None:
        rules_file(project, {"text": "Wrong"})
        save(project / "page.html", "Wrong captcha")
        ran = run_scrapy(project, "check", "page.html", "--json", *argv)
        if rule is None:
            assert "the spider 'wants' cannot be made: TypeError" in ran.complaint
        else:
            assert ran.answer["rule"] == rule

    def test_rules_that_an_addon_sets(self, tmp_path: Path) -> None:
        project = make_project(tmp_path, "ADDONS = {'shop.spiders.RulesAddon': 1}", SPIDERS)
        save(project / "page.html", "Wrong captcha")
        assert run_scrapy(project, "check", "page.html", "--json").answer["rule"] == "addon's"

    @pytest.mark.parametrize(
        ("spider", "said"),
        [
            ("shp", "there is no spider 'shp' here; there is: shop, wants"),
            ("wants", "the spider 'wants' cannot be made: TypeError"),
        ],
    )
    def test_a_spider_that_does_not_serve(self, project: Path, spider: str, said: str) -> None:
        save(project / "page.html", "Wrong captcha")
        assert said in run_scrapy(project, "check", "page.html", "--spider", spider).complaint

    def test_a_module_of_spiders_that_cannot_be_imported(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        page = save(tmp_path / "page.html", "Wrong captcha")
        settings = {"SPIDER_MODULES": ["no_such_module"]}
        ran = run(capfd, "check", page, "--spider", "shop", settings=settings)
        assert "the spider 'shop' cannot be loaded: ModuleNotFoundError" in ran.complaint


class Shop:
    """A site that refuses, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def respond(self, request: Any) -> Reply:
        path = request.path.decode()
        self.asked.append((path, request.getHeader("User-Agent")))
        if path == "/old":
            return Reply(status=302, headers={"Location": "/login?captchaError=1"})
        if path == "/refresh":
            page = "<meta http-equiv='refresh' content='0; url=/login'>Wrong captcha"
            return Reply(page)
        body = gzip.compress(b"<p class='error'>Wrong captcha")
        return Reply(body, 403, {"Content-Type": "text/html", "Content-Encoding": "gzip"})


class TestUrl:
    @pytest_twisted.ensureDeferred
    async def test_it_is_fetched_with_the_projects_settings(
        self, project: Path, serve: Any
    ) -> None:
        shop = Shop()
        url = serve(shop.respond).url + "/login"
        ran = await deferToThread(run_scrapy, project, "check", url, "--json")
        assert (ran.answer["source"], ran.answer["rule"]) == (url, "project")
        assert ("/login", "from the project") in shop.asked
        assert not (project / "items.json").exists()

    @pytest_twisted.ensureDeferred
    async def test_it_is_fetched_with_a_spiders_settings(self, project: Path, serve: Any) -> None:
        shop = Shop()
        url = serve(shop.respond).url + "/login"
        ran = await deferToThread(run_scrapy, project, "check", url, "--spider", "shop", "--json")
        assert ran.answer["rule"] == "spider's"
        assert ("/login", "from the spider") in shop.asked

    @pytest_twisted.ensureDeferred
    async def test_urls_and_pages_mixed_outside_a_project(self, tmp_path: Path, serve: Any) -> None:
        save(tmp_path / "page.html", "<p class='error'>")
        url = serve(Shop().respond).url
        rules = rules_file(
            tmp_path,
            {"name": "redirect", "redirect": r"/login\?captchaError=1$", "url": "/login"},
            {"name": "css", "css": ".error"},
            {"name": "text", "text": "Wrong captcha", "status": 200},
        )
        sources = [f"{url}/old", "page.html", f"{url}/refresh", f"{url}/login", f"{url}/old"]
        argv = ("check", *sources, "--rules", rules, "--json")
        ran = await deferToThread(run_scrapy, tmp_path, *argv)
        assert [(answer["source"], answer["rule"]) for answer in ran.answers] == [
            (sources[0], "redirect"),
            (sources[1], "css"),
            (sources[2], "text"),
            (sources[3], "css"),
            (sources[4], "redirect"),
        ]

    @pytest_twisted.ensureDeferred
    async def test_a_table_for_a_url(self, tmp_path: Path, serve: Any) -> None:
        url = serve(Shop().respond).url + "/login"
        rules = rules_file(tmp_path, {"name": "login", "css": ".error", "status": 403})
        ran = await deferToThread(run_scrapy, tmp_path, "check", url, "--rules", rules)
        assert (ran.code, ran.err) == (0, "")
        assert f"{url}: refused (login)" in ran.out

    def test_it_cannot_be_reached(self, tmp_path: Path) -> None:
        save(tmp_path / "page.html", "<p class='error'>")
        with socket() as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/"
            argv = ("check", "page.html", url, "--preset", "turnstile", "--json")
            ran = run_scrapy(tmp_path, *argv)
        assert f"cannot fetch {url}: " in ran.complaint
        assert "refused" in ran.complaint

    @pytest.mark.parametrize("url", ["http://", "http://[::1", "http://exa mple/"])
    def test_it_is_none(self, url: str, tmp_path: Path) -> None:
        ran = run_scrapy(tmp_path, "check", url, "--preset", "turnstile", "--json")
        assert f"cannot fetch {url}: " in ran.complaint
