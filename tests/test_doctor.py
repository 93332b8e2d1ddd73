"""``scrapy capmonster doctor``: what may keep it from working, found before the first crawl."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import pytest_twisted
import redis
from misbehaving import says
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from support import CLIENT_KEY, crawl, json_reply, refused
from test_proxy import AUTHORIZATION, cloud, proxy  # noqa: F401  (fixtures)
from test_settings import Visitor, refuses
from test_tls import LOOPBACK, certificate, remove_trust_store
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from twisted.internet.threads import deferToThread
from workbench import Ran, make_project, run, run_scrapy

from scrapy_capmonster_report.commands import neighbours
from scrapy_capmonster_report.simulator import Simulator

NAMES = ["settings", "key", "service", "rules", "ledger", "middlewares", "clients"]
ADDONS = {"scrapy_capmonster_report.Addon": 500}
KEY = "CAPMONSTER_CLIENT_KEY"
URL = "CAPMONSTER_API_URL"
LEDGER = "CAPMONSTER_REPORT_LEDGER"
PROXY = "CAPMONSTER_REPORT_PROXY"
RULES = "CAPMONSTER_REPORT_RULES"
SETTINGS = {"ADDONS": ADDONS, KEY: CLIENT_KEY, RULES: ["turnstile"]}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own."""
    for name in (KEY, URL, "CAPMONSTER_REPORT_DRY_RUN", "SCRAPY_SETTINGS_MODULE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def checks(ran: Ran) -> dict[str, dict[str, Any]]:
    """What was found, by the check's name."""
    assert [check["name"] for check in ran.answer["checks"]] == NAMES
    for check in ran.answer["checks"]:
        assert check.keys() == {"name", "ok", "found", "advice"}
        assert check["found"]
        if check["ok"] is False:
            assert check["advice"]
            assert ".." not in check["advice"]
    found = {check["name"]: check for check in ran.answer["checks"]}
    assert ran.code == any(check["ok"] is False for check in found.values())
    return found


def offline(
    capfd: pytest.CaptureFixture[str], settings: dict[str, Any], *argv: str
) -> dict[str, dict[str, Any]]:
    settings = {**SETTINGS, **settings}
    return checks(run(capfd, "doctor", "--offline", "--json", *argv, settings=settings))


async def online(
    capfd: pytest.CaptureFixture[str], settings: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    settings = {**SETTINGS, **settings}
    return checks(await deferToThread(run, capfd, "doctor", "--json", settings=settings))


class TestSettings:
    def test_all_is_well(self, capfd: pytest.CaptureFixture[str]) -> None:
        found = offline(capfd, {})
        assert {name: check["ok"] for name, check in found.items()} == {
            **dict.fromkeys(NAMES, True),
            "key": None,
            "service": None,
            "clients": found["clients"]["ok"],
        }

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"CAPMONSTER_REPORT_DRYRUN": 1}, "Did you mean CAPMONSTER_REPORT_DRY_RUN?"),
            ({"CAPMONSTER_REPORT_TIMEOUT": "soon"}, "CAPMONSTER_REPORT_TIMEOUT setting ('soon')"),
            ({"CAPMONSTER_REPORT_ENABLED": False}, "CAPMONSTER_REPORT_ENABLED is False"),
            ({URL: "http://service.example"}, "the account key would travel in the clear"),
            ({KEY: 7}, "It must be a str: the account key."),
            ({"ADDONS": {"no.such.Addon": 1}}, "the addons cannot be loaded"),
            ({"TWISTED_REACTOR_ENABLED": False}, "TWISTED_REACTOR_ENABLED is False"),
        ],
    )
    def test_what_is_wrong(
        self, settings: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        check = offline(capfd, settings)["settings"]
        assert check["ok"] is False
        assert said in f"{check['found']} {check['advice']}"

    def test_addons_that_fail_do_not_mean_that_ours_is_missing(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        check = offline(capfd, {"ADDONS": {**ADDONS, "no.such.Addon": 1}})["middlewares"]
        assert (check["ok"], check["found"]) == (None, "Not checked: the settings are not valid.")

    def test_a_setting_in_the_environment_that_is_not_read_from_there(
        self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CAPMONSTER_REPORT_DRY_RUN", "1")
        check = offline(capfd, {})["settings"]
        assert check["ok"] is False
        assert "CAPMONSTER_REPORT_DRY_RUN is set in the environment" in check["found"]
        assert offline(capfd, {"CAPMONSTER_REPORT_DRY_RUN": False})["settings"]["ok"] is True


class TestKeyAndService:
    @pytest_twisted.ensureDeferred
    async def test_a_service_with_an_ipv6_address_needs_no_port(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """http.client would take its last digit for one."""
        service = (await online(capfd, {URL: "http://[::1]"}))["service"]
        assert (service["ok"], "Name or service" in service["found"]) == (False, False)

    def test_no_key(self, capfd: pytest.CaptureFixture[str]) -> None:
        check = offline(capfd, {KEY: None})["key"]
        assert (check["ok"], check["found"]) == (False, "There is no account key.")
        assert KEY in check["advice"]

    def test_a_dry_run_needs_none(self, capfd: pytest.CaptureFixture[str]) -> None:
        found = offline(capfd, {KEY: None, "CAPMONSTER_REPORT_DRY_RUN": True})
        assert (found["settings"]["ok"], found["key"]["ok"]) == (True, True)
        assert found["key"]["found"].endswith("does not need one; your solving client does.")

    @pytest_twisted.ensureDeferred
    async def test_a_valid_key_with_its_balance(self, capfd: pytest.CaptureFixture[str]) -> None:
        simulator = Simulator(client_key=CLIENT_KEY, balance=12.5)
        simulator.start()
        try:
            found = await online(capfd, {URL: simulator.url})
        finally:
            await simulator.stop()
        assert (found["key"]["ok"], found["service"]["ok"]) == (True, True)
        assert "the balance is 12.5" in found["key"]["found"]

    @pytest_twisted.ensureDeferred
    async def test_a_wrong_key(self, capfd: pytest.CaptureFixture[str]) -> None:
        simulator = Simulator(client_key="another-key")
        simulator.start()
        try:
            found = await online(capfd, {URL: simulator.url})
        finally:
            await simulator.stop()
        assert (found["key"]["ok"], found["service"]["ok"]) == (False, True)
        assert "ERROR_KEY_DOES_NOT_EXIST" in found["key"]["found"]
        assert KEY in found["key"]["advice"]

    @pytest_twisted.ensureDeferred
    async def test_a_key_of_bytes_that_are_not_text_is_a_wrong_key(
        self, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        site = serve(lambda request: refused("ERROR_KEY_DOES_NOT_EXIST"))
        found = await online(capfd, {KEY: os.fsdecode(b"\xff" * 8), URL: site.url})
        assert "ERROR_KEY_DOES_NOT_EXIST" in found["key"]["found"]

    @pytest_twisted.ensureDeferred
    async def test_a_banned_address_is_explained(
        self, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        site = serve(lambda request: refused("ERROR_IP_BANNED"))
        found = await online(capfd, {URL: site.url})
        assert found["key"]["ok"] is False
        assert "banned" in found["key"]["advice"]

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize(
        ("answer", "advice"),
        [
            (refused("ERROR_NEW"), "Check CAPMONSTER_CLIENT_KEY."),
            (json_reply({}), "Check CAPMONSTER_API_URL."),
        ],
    )
    async def test_an_answer_that_does_not_explain_itself_is_explained(
        self, answer: Any, advice: str, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        site = serve(lambda request: answer)
        check = (await online(capfd, {URL: site.url}))["key"]
        assert (check["ok"], check["advice"]) == (False, advice)

    @pytest_twisted.ensureDeferred
    async def test_a_busy_service_does_not_make_the_key_a_wrong_one(
        self, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        site = serve(lambda request: refused("ERROR_TOO_MUCH_REQUESTS"))
        check = (await online(capfd, {URL: site.url}))["key"]
        assert (check["ok"], check["advice"]) == (None, "Try again later.")

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("suffix", ["", "__nocache"])
    @pytest.mark.parametrize("code", [f"NO_{CLIENT_KEY}", CLIENT_KEY.upper()])
    async def test_a_service_that_echoes_the_key_does_not_make_us_show_it(
        self, code: str, suffix: str, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        site = serve(lambda request: json_reply({"errorId": 1, "errorCode": code}))
        key = (await online(capfd, {KEY: CLIENT_KEY + suffix, URL: site.url}))["key"]
        assert key["ok"] is False
        assert CLIENT_KEY.lower() not in repr(key).lower()

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_http_and_echoes_the_key(
        self, capfd: pytest.CaptureFixture[str], misbehave: Any
    ) -> None:
        server = misbehave(lambda connection, arrival: connection.answer(CLIENT_KEY.encode()))
        found = await online(capfd, {URL: server.url, "CAPMONSTER_REPORT_TIMEOUT": 0.5})
        assert found["service"]["ok"] is False
        assert CLIENT_KEY not in repr(found)

    @pytest_twisted.ensureDeferred
    async def test_without_a_key_none_is_made_up(
        self, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        asked = []

        def answer(request: Any) -> Any:
            asked.append((request.method, request.path, request.content.read()))
            return json_reply({})

        found = await online(capfd, {KEY: None, URL: serve(answer).url})
        assert (found["key"]["ok"], found["service"]["ok"]) == (False, True)
        assert asked == [(b"GET", b"/", b"")]

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            ("<h1>It works!</h1>", "it is not a JSON object"),
            (json_reply([1]), "it is not a JSON object"),
            (json_reply({}, status=503), "it answers HTTP 503"),
        ],
    )
    async def test_something_else_answers(
        self, reply: Any, said: str, capfd: pytest.CaptureFixture[str], serve: Any
    ) -> None:
        found = await online(capfd, {URL: serve(lambda request: reply).url})
        assert (found["key"]["ok"], found["service"]["ok"]) == (None, False)
        assert said in found["service"]["found"]

    def test_an_unreachable_service(self, capfd: pytest.CaptureFixture[str]) -> None:
        with closing(socket()) as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
            found = checks(run(capfd, "doctor", "--json", settings={**SETTINGS, URL: url}))
        assert (found["key"]["ok"], found["service"]["ok"]) == (None, False)
        assert "it cannot be reached" in found["service"]["found"]

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("trusted", [False, True])
    async def test_a_certificate(
        self,
        trusted: bool,
        capfd: pytest.CaptureFixture[str],
        misbehave: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        proof = certificate(LOOPBACK, tmp_path)
        if trusted:
            monkeypatch.setenv("SSL_CERT_FILE", proof)
        server = misbehave(says(), tls=DefaultOpenSSLContextFactory(proof, proof))
        found = await online(capfd, {URL: server.url})
        assert found["service"]["ok"] is trusted
        if not trusted:
            assert "its certificate is not trusted" in found["service"]["found"]
            assert server.arrivals == []

    @pytest_twisted.ensureDeferred
    async def test_a_machine_without_a_trust_store_has_that_of_certifi_as_in_a_crawl(
        self,
        capfd: pytest.CaptureFixture[str],
        misbehave: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        remove_trust_store(monkeypatch, tmp_path)
        proof = certificate(LOOPBACK, tmp_path)
        monkeypatch.setattr("certifi.where", lambda: proof)
        server = misbehave(says(), tls=DefaultOpenSSLContextFactory(proof, proof))
        assert (await online(capfd, {URL: server.url}))["service"]["ok"] is True

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("by", ["setting", "environment"])
    async def test_a_stand_in_on_this_machine_is_asked_without_the_proxy_as_in_a_crawl(
        self,
        by: str,
        proxy: Any,  # noqa: F811
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        gate = proxy(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        if by == "environment":
            monkeypatch.setenv("http_proxy", gate.url)
        simulator = Simulator(client_key=CLIENT_KEY)
        simulator.start()
        try:
            settings = {URL: simulator.url, PROXY: gate.url if by == "setting" else ""}
            found = await online(capfd, settings)
        finally:
            await simulator.stop()
        assert gate.seen == b"", "the key would travel in the clear"
        assert (found["key"]["ok"], found["service"]["ok"]) == (True, True)

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("by", ["setting", "environment"])
    async def test_a_service_behind_a_proxy_with_a_password_is_asked_through_a_tunnel(
        self,
        by: str,
        proxy: Any,  # noqa: F811
        cloud: Any,  # noqa: F811
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        gate, service = proxy(authorization=AUTHORIZATION), cloud()
        if by == "environment":
            monkeypatch.setenv("https_proxy", gate.url)
        settings = {URL: service.url, PROXY: gate.url if by == "setting" else ""}
        found = await online(capfd, settings)
        assert found["service"]["ok"] is True
        assert b"CONNECT" in gate.seen
        assert CLIENT_KEY.encode() not in gate.seen

    @pytest_twisted.ensureDeferred
    async def test_a_proxy_that_opens_no_tunnel(
        self,
        proxy: Any,  # noqa: F811
        cloud: Any,  # noqa: F811
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        gate = proxy(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        found = (await online(capfd, {URL: cloud().url, PROXY: gate.url}))["service"]
        assert found["ok"] is False
        assert "407 Proxy Authentication Required" in found["found"]
        assert "p@ss" not in repr(found)

    def test_a_host_that_no_name_system_has(self, capfd: pytest.CaptureFixture[str]) -> None:
        settings = {**SETTINGS, URL: f"https://{'a' * 64}.example"}
        found = checks(run(capfd, "doctor", "--json", settings=settings))["service"]
        assert (found["ok"], "it cannot be reached" in found["found"]) == (False, True)


class TestRules:
    @pytest.mark.parametrize(
        ("rules", "ok", "said"),
        [
            (["turnstile", {"name": "mine", "css": ".x"}], True, "turnstile, mine"),
            (["callbacks"], True, "accept() and reject()"),
            ([], False, f"{RULES} is empty"),
            ([{"txt": "Wrong"}], False, "Did you mean 'text'?"),
            ([{"callback": "is_rejected"}], None, "a spider is needed"),
        ],
    )
    def test_what_they_are(
        self, rules: Any, ok: bool | None, said: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        check = offline(capfd, {RULES: rules})["rules"]
        assert check["ok"] is ok
        assert said in check["found"]


class TestLedger:
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> Path:
        return tmp_path / "ledger.sqlite"

    def check(self, capfd: pytest.CaptureFixture[str], where: object) -> dict[str, Any]:
        return offline(capfd, {LEDGER: f"sqlite:{where}"})["ledger"]

    def test_one_that_is_not_there_yet_is_not_made(
        self, ledger: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for path in (ledger, tmp_path / "a" / "b" / "ledger.sqlite"):
            assert self.check(capfd, path)["ok"] is True
        assert list(tmp_path.iterdir()) == []

    async def written(self, ledger: Path, serve: Any, api: Any) -> None:
        """Let a crawl write it."""
        settings = {**SETTINGS, URL: api().url, LEDGER: f"sqlite:{ledger}"}
        rules = {RULES: [{"text": "Wrong captcha"}]}
        await crawl(Visitor, {**settings, **rules}, url=serve(refuses).url)

    @pytest_twisted.ensureDeferred
    async def test_one_that_a_crawl_has_written_is_left_as_it_is(
        self,
        ledger: Path,
        tmp_path: Path,
        serve: Any,
        api: Any,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        await self.written(ledger, serve, api)
        before = ledger.read_bytes()
        assert self.check(capfd, ledger)["ok"] is True
        assert ledger.read_bytes() == before
        assert not (tmp_path / "ledger.sqlite-wal").exists()

    @pytest_twisted.ensureDeferred
    async def test_one_that_another_process_has_locked(
        self, ledger: Path, serve: Any, api: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        await self.written(ledger, serve, api)
        with closing(sqlite3.connect(ledger, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            check = self.check(capfd, ledger)
        assert check["ok"] is False
        assert "locked" in check["found"]

    def test_one_that_is_none(self, ledger: Path, capfd: pytest.CaptureFixture[str]) -> None:
        ledger.write_text("not a database, but long enough to be looked at" * 100)
        assert self.check(capfd, ledger)["ok"] is False

    def test_one_below_a_file(self, ledger: Path, capfd: pytest.CaptureFixture[str]) -> None:
        ledger.write_text("")
        check = self.check(capfd, ledger / "ledger.sqlite")
        assert (check["ok"], "cannot be used" in check["found"]) == (False, True)

    @pytest.mark.parametrize("where", ["mysql://host/db", "sqlite:", "sqlite::memory:"])
    def test_a_kind_that_is_none(self, where: str, capfd: pytest.CaptureFixture[str]) -> None:
        check = offline(capfd, {LEDGER: where})["ledger"]
        assert (check["ok"], "redis://" in check["found"]) == (False, True)

    def test_redis_that_does_not_listen_shows_no_password(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with closing(socket()) as nobody_listens:
            nobody_listens.bind(("127.0.0.1", 0))
            port = nobody_listens.getsockname()[1]
            where = f"redis://me:hush@127.0.0.1:{port}/0"
            check = offline(capfd, {LEDGER: where})["ledger"]
        assert check["ok"] is False
        assert "hush" not in json.dumps(check)
        assert check["found"].count("redis://") == 1

    def test_what_is_wrong_with_the_url_is_said_whole(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        check = offline(capfd, {LEDGER: "redis://h/x"})["ledger"]
        assert check["found"].startswith(
            "redis://h/x cannot be used: It must be a URL like 'redis:"
        )

    def test_redis_is_written_and_left_as_it_was(
        self, redis_server: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        check = offline(capfd, {LEDGER: redis_server.url})["ledger"]
        assert check["ok"] is True
        with redis.Redis.from_url(redis_server.url) as server:
            assert server.keys() == []

    def test_a_user_of_redis_who_may_use_our_keys_and_no_others(
        self, redis_server: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with redis.Redis.from_url(redis_server.url) as server:
            keys = ["{capmonster_report}:*"]
            server.acl_setuser(
                "crawl", enabled=True, passwords=["+hush"], keys=keys, categories=["+@all"]
            )
        where = redis_server.url.replace("redis://", "redis://crawl:hush@")
        assert offline(capfd, {LEDGER: where})["ledger"]["ok"] is True

    def test_a_user_of_redis_who_may_run_no_script(
        self, redis_server: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        with redis.Redis.from_url(redis_server.url) as server:
            server.acl_setuser(
                "crawl",
                enabled=True,
                passwords=["+hush"],
                keys=["*"],
                categories=["+@all"],
                commands=["-eval"],
            )
        where = redis_server.url.replace("redis://", "redis://crawl:hush@")
        check = offline(capfd, {LEDGER: where})["ledger"]
        assert (check["ok"], "eval" in check["found"]) == (False, True)
        assert "hush" not in json.dumps(check)

    def test_the_one_in_the_jobdir(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        check = offline(capfd, {"JOBDIR": str(tmp_path / "job")})["ledger"]
        assert (check["ok"], "capmonster_report.sqlite" in check["found"]) == (True, True)
        assert list(tmp_path.iterdir()) == []


class Header:
    """Changes requests only."""

    def process_request(self, request: Any) -> None: ...


class Banned:
    """Looks at responses."""

    def process_response(self, request: Any, response: Any) -> Any:
        return response


class Again(RetryMiddleware):
    """Retries."""


class RotatingProxies:
    """Named as the real one is."""

    __module__ = "rotating_proxies.middlewares"

    def process_exception(self, request: Any, exception: Any) -> None: ...


class TestMiddlewares:
    def check(self, capfd: pytest.CaptureFixture[str], orders: dict[Any, Any]) -> dict[str, Any]:
        return offline(capfd, {"DOWNLOADER_MIDDLEWARES": orders})["middlewares"]

    @pytest.mark.parametrize(
        ("orders", "ok", "said"),
        [
            ({Header: 900, Banned: 580}, True, "No middleware of the project"),
            ({Banned: 620}, None, "Banned at 620 sees responses before we do"),
            ({Again: 700}, False, "Again at 700 retries before we see the response"),
            ({RotatingProxies: 610}, False, "RotatingProxies at 610 may hide rejected responses"),
            ({RotatingProxies: 560}, True, "No middleware of the project"),
            ({RotatingProxies: None}, True, "No middleware of the project"),
        ],
    )
    def test_what_stands_above_ours(
        self, orders: Any, ok: bool | None, said: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        check = self.check(capfd, orders)
        assert check["ok"] is ok
        assert said in check["found"]

    def test_ours_stands_where_it_sees_too_much(self, capfd: pytest.CaptureFixture[str]) -> None:
        ours = "scrapy_capmonster_report.CapMonsterReportMiddleware"
        assert self.check(capfd, {ours: 900})["ok"] is False
        assert offline(capfd, {"ADDONS": {}, "DOWNLOADER_MIDDLEWARES": {ours: 585}})["middlewares"][
            "ok"
        ]

    def test_an_order_may_be_any_number_but_nothing_else(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        ours = "scrapy_capmonster_report.CapMonsterReportMiddleware"
        assert self.check(capfd, {ours: 585.5, Banned: 585})["ok"] is True
        assert self.check(capfd, {ours: 588, Banned: 587})["ok"] is True
        assert self.check(capfd, {ours: 570, Banned: 580})["ok"] is None
        for order in ("585", "above"):
            check = self.check(capfd, {ours: 585, Banned: order})
            assert check["ok"] is False
            assert f"Invalid value {order} for component" in check["found"]

    def test_nothing_enables_it(self, capfd: pytest.CaptureFixture[str]) -> None:
        check = offline(capfd, {"ADDONS": {}})["middlewares"]
        assert check["ok"] is False
        assert "scrapy_capmonster_report.Addon" in check["advice"]

    def test_scrapys_template_overwrites_addons(self, tmp_path: Path) -> None:
        project = make_project(tmp_path, f"ADDONS = {ADDONS}\nBOT_NAME = 'x'\nADDONS = {{}}")
        check = checks(run_scrapy(project, "doctor", "--json", "--offline"))["middlewares"]
        assert check["ok"] is False
        assert "look for ADDONS = {} further down in settings.py" in check["advice"]


class TestClients:
    @pytest.fixture
    def installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        """Pretend that a client is installed: ``installed(name, version, requirements)``."""

        def install(name: str, version: str, *requires: str) -> None:
            folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
            folder.mkdir()
            lines = [f"Requires-Dist: {requirement}" for requirement in requires]
            text = "\n".join([f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *lines])
            (folder / "METADATA").write_text(text + "\n")

        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        return install

    @pytest.mark.parametrize(
        ("name", "version", "requires", "ok", "said"),
        [
            ("capmonstercloudclient", "4.3.1", [], True, "solve_captcha() returns the ids"),
            ("capmonster-python", "5.0.0", ["scrapy>=2"], True, "capmonster-python 5.0.0"),
            ("capmonster-python", "3.0", [], False, "does not support this release"),
            ("capmonstercloudclient", "9.0", [], False, "does not support this release"),
            (
                "capmonstercloudclient",
                "4.3.1",
                ["typing-extensions==4.1.2", "nothing-of-this-name; extra == 'x'"],
                False,
                "requires typing-extensions==4.1.2; installed: ",
            ),
            ("capmonster-python", "5.0", ["no-such-package-here>1"], False, "installed: none"),
        ],
    )
    def test_what_is_installed(
        self,
        name: str,
        version: str,
        requires: list[str],
        ok: bool,
        said: str,
        installed: Any,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        installed(name, version, *requires)
        check = offline(capfd, {})["clients"]
        assert check["ok"] is ok
        assert said in check["found"]

    @pytest.mark.parametrize("name", ["Scrapy", "Twisted", "treq", "scrapy-capmonster-report"])
    def test_a_requirement_that_installing_a_client_has_broken(
        self, name: str, installed: Any, capfd: pytest.CaptureFixture[str]
    ) -> None:
        installed(name, "99.0", "typing-extensions==4.1.2")
        check = offline(capfd, {})["clients"]
        assert check["ok"] is False
        requires = f"{name.lower()} requires typing-extensions==4.1.2; installed: "
        assert requires in check["found"]

    def test_none(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(neighbours, "RELEASES", {"no-client-of-this-name": range(1)})
        assert offline(capfd, {})["clients"]["ok"] is None


class TestAsAUserRunsIt:
    def test_a_table_at_80_columns(self, tmp_path: Path) -> None:
        ran = run_scrapy(tmp_path, "doctor", "--offline", env={**os.environ, "COLUMNS": "80"})
        assert (ran.code, ran.err) == (1, "")
        assert max(map(len, ran.out.splitlines())) <= 80
        for words in (*NAMES, "There is no account key."):
            assert words in ran.out

    def test_a_spider_with_its_own_rules(self, tmp_path: Path) -> None:
        spider = """
class ShopSpider(scrapy.Spider):
    name = "shop"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"name": "own", "callback": "is_rejected"}]}

    def is_rejected(self, response, request):
        return False
"""
        project = make_project(tmp_path, f"ADDONS = {ADDONS}", spider)
        argv = ("doctor", "--offline", "--json")
        assert checks(run_scrapy(project, *argv))["rules"]["ok"] is False
        assert checks(run_scrapy(project, *argv, "--spider", "shop"))["rules"]["ok"] is True

    def test_rules_in_a_file(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        rules = tmp_path / "rules.json"
        rules.write_text('[{"name": "in a file", "status": 403}]')
        found = offline(capfd, {RULES: []}, "--rules", str(rules))["rules"]
        assert (found["ok"], found["found"]) == (True, "in a file.")
        rules.write_text('["callbacks"]')
        found = offline(capfd, {RULES: []}, "--rules", str(rules))["rules"]
        assert (found["ok"], found["found"]) == (True, "Only accept() and reject().")
        ran = run(capfd, "doctor", "--offline", "--rules", f"{rules}.none", settings=SETTINGS)
        assert "cannot read" in ran.complaint

    def test_a_spider_that_is_not_there(self, capfd: pytest.CaptureFixture[str]) -> None:
        ran = run(capfd, "doctor", "--offline", "--spider", "shop", settings=SETTINGS)
        assert "there is no spider 'shop' here" in ran.complaint

    def test_the_example_is_healthy(self) -> None:
        example = Path(__file__).parents[1] / "example_project"
        argv = ("doctor", "--offline", "--json", "--spider", "prices")
        env = {**os.environ, KEY: CLIENT_KEY}
        found = checks(run_scrapy(example, *argv, env=env))
        assert all(check["ok"] is not False for check in found.values())
