"""``scrapy capmonster check`` inside a project, and on URLs that it fetches with its settings."""

from __future__ import annotations

import gzip
from socket import socket
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from support import Reply
from twisted.internet.threads import deferToThread
from workbench import make_project, rules_file, run, run_scrapy, save

if TYPE_CHECKING:
    from pathlib import Path

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
        save(project / "page.html", "Wrong captcha", url="https://shop.example/", status=200)
        ran = run_scrapy(project, "check", "page.html", "--json", *argv)
        if rule is None:
            assert "the spider 'wants' cannot be created: TypeError" in ran.complaint
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
            ("wants", "the spider 'wants' cannot be created: TypeError"),
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
        assert f"{url}: rejected (login)" in ran.out

    def test_it_cannot_be_reached(self, tmp_path: Path) -> None:
        save(tmp_path / "page.html", "<p class='error'>")
        with socket() as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}/"
            argv = ("check", "page.html", url, "--preset", "turnstile", "--json")
            ran = run_scrapy(tmp_path, *argv)
        assert f"cannot fetch {url}: " in ran.complaint
        assert "refused" in ran.complaint

    @pytest_twisted.ensureDeferred
    async def test_why_it_cannot_be_fetched_is_said_in_words(
        self, tmp_path: Path, misbehave: Any
    ) -> None:
        url = misbehave(lambda connection, arrival: connection.transport.loseConnection()).url
        argv = ("check", url, "--preset", "turnstile", "-s", "RETRY_ENABLED=0")
        ran = await deferToThread(run_scrapy, tmp_path, *argv)
        assert ran.complaint.endswith(f"{url}: ConnectionDone: Connection was closed cleanly.")

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://[::1", "Invalid IPv6 URL"),
            ("http://127.0.0.1:99999/", "Port out of range 0-65535"),
            ("http://127.0.0.1:x/", "Port could not be cast to integer value"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_one_that_is_none_is_named_and_spoils_no_crawl(
        self, url: str, reason: str, tmp_path: Path, serve: Any
    ) -> None:
        shop = Shop()
        argv = ("check", serve(shop.respond).url, url, "--preset", "turnstile", "--json")
        ran = await deferToThread(run_scrapy, tmp_path, *argv)
        said = f"scrapy capmonster check: cannot fetch {url}: {reason}"
        assert ran.complaint.startswith(said)
        assert shop.asked == []

    @pytest.mark.parametrize("url", ["http://", "http://exa mple/"])
    def test_it_is_none(self, url: str, tmp_path: Path) -> None:
        ran = run_scrapy(tmp_path, "check", url, "--preset", "turnstile", "--json")
        assert f"cannot fetch {url}: " in ran.complaint
