"""``scrapy capmonster replay``: the rules against everything that was saved."""

from __future__ import annotations

import json
import os
import pickle
import pty
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from scrapy import Request, Spider
from scrapy.settings import Settings
from support import Reply, start_crawl
from workbench import (
    ANSWERED,
    RULES,
    make_project,
    rules_file,
    run,
    run_scrapy,
    save,
    save_answered,
)

from scrapy_capmonster_report.commands.replay import Expectations, Replay
from scrapy_capmonster_report.commands.sources import Source
from scrapy_capmonster_report.rules import compile_rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

FILESYSTEM = {"HTTPCACHE_STORAGE": "scrapy.extensions.httpcache.FilesystemCacheStorage"}
DBM = {"HTTPCACHE_STORAGE": "scrapy.extensions.httpcache.DbmCacheStorage"}
STORAGES = {
    "filesystem": FILESYSTEM,
    "filesystem, compressed": {**FILESYSTEM, "HTTPCACHE_GZIP": True},
    "dbm": DBM,
    "dbm of a named module": {**DBM, "HTTPCACHE_DBM_MODULE": "dbm.dumb"},
}
REDIRECT = {"name": "redirect", "redirect": "captchaError=1"}
WRONG = {"name": "wrong", "text": "Wrong captcha"}

BY_RULE = {rule["name"]: sum(page.rule == rule["name"] for page in ANSWERED) for rule in RULES}
REJECTED = sum(BY_RULE.values())


class TestFolder:
    def test_pages_of_every_kind(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        save_answered(tmp_path / "pages")
        rules = rules_file(tmp_path, *RULES)
        ran = run(capfd, "replay", tmp_path / "pages", "--rules", rules, "--json")
        assert ran.answer == {
            "responses": len(ANSWERED),
            "rejected": REJECTED,
            "by_rule": BY_RULE,
            "wrong": [],
        }
        assert (ran.code, ran.err) == (0, "")

    def test_a_wrong_page_fails_the_build(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        missed = save(tmp_path / "pages" / "refused" / "a.html", "Falsches Captcha")
        save(tmp_path / "pages" / "refused" / "b.html", "Wrong captcha")
        hit = save(tmp_path / "pages" / "accepted" / "c.html", "How to avoid “Wrong captcha”")
        save(tmp_path / "pages" / "d.html", "Wrong captcha")
        argv = ("replay", tmp_path / "pages", "--rules", rules_file(tmp_path, WRONG))
        ran = run(capfd, *argv, "--json")
        assert ran.code == 1
        assert ran.answer == {
            "responses": 4,
            "rejected": 3,
            "by_rule": {"wrong": 3},
            "wrong": [
                {"source": str(hit), "expected": "accepted", "rule": "wrong"},
                {"source": str(missed), "expected": "refused", "rule": None},
            ],
        }
        table = run(capfd, *argv)
        assert (table.code, table.err) == (1, "")
        assert "4 responses, 3 rejected, 2 wrong" in table.out
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.out.splitlines()]
        assert ["wrong", "3"] in rows
        assert ["no rule", "1"] in rows

    def test_the_first_rule_that_matches_is_counted(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("a", "b", "c"):
            save(tmp_path / "pages" / f"{name}.html", f"<p class={name}>", status=200)
        rules = rules_file(tmp_path, {"name": "a", "css": ".a"}, {"status": 200}, {"css": "p"})
        answer = run(capfd, "replay", tmp_path / "pages", "--rules", rules, "--json").answer
        assert answer["by_rule"] == {"a": 1, "rule 2": 2}

    @pytest.mark.parametrize(
        ("page", "expected"),
        [
            ("a.html", None),
            ("refused/a.html", "refused"),
            ("accepted/a.html", "accepted"),
            ("login/refused/2026/a.html", "refused"),
            ("refused/seen/accepted/a.html", "accepted"),
            ("not-refused/a.html", None),
            ("refused.html", None),
        ],
    )
    @pytest.mark.parametrize("root", ["pages", "refused/pages", "."])
    def test_the_nearest_folder_says_what_to_expect(
        self,
        root: str,
        page: str,
        expected: str | None,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.chdir(tmp_path)
        save(tmp_path / root / page, "<p>")
        assert Expectations(Path(root))(str(Path(root, page))) == expected
        absolute = tmp_path / root
        assert Expectations(absolute)(str(absolute / page)) == expected

    def test_the_folder_itself_says_what_to_expect(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        page = save(tmp_path / "refused" / "a.html", "Falsches Captcha")
        rules = rules_file(tmp_path, WRONG)
        monkeypatch.chdir(page.parent)
        for source in (page.parent, page, ".", "a.html"):
            assert run(capfd, "replay", source, "--rules", rules).code == 1

    def test_other_files_are_no_pages(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        save(tmp_path / "pages" / "a.html", "Wrong captcha", status=200)
        for name in ("notes.md", "a.png", "shop.db", "b.html.gz", ".gitignore"):
            save(tmp_path / "pages" / name, "Wrong captcha")
        rules = rules_file(tmp_path, WRONG)
        answer = run(capfd, "replay", tmp_path / "pages", "--rules", rules, "--json").answer
        assert answer["responses"] == 1

    def test_a_callback_that_fails_is_named_once_and_counts_as_no_match(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def is_rejected(response: Any, request: Any) -> bool:
            raise LookupError("no\nprice")

        for name in ("a", "b"):
            save(tmp_path / "pages" / f"{name}.html", "Wrong captcha")
        settings = {"CAPMONSTER_REPORT_RULES": [{"name": "price", "callback": is_rejected}, WRONG]}
        ran = run(capfd, "replay", tmp_path / "pages", "--json", settings=settings)
        assert ran.answer["by_rule"] == {"wrong": 2}
        assert ran.err == "the callback of 'price' failed: LookupError: no price\n"

    def test_memory_stays_flat(self, tmp_path: Path) -> None:
        pages, size = 100, 200_000
        for number in range(pages):
            save(tmp_path / f"{number}.txt", bytes([65 + number % 26]) * size)
        source = Source(tmp_path, Settings())
        replay = Replay(Expectations(tmp_path), compile_rules([WRONG]))
        tracemalloc.start()
        try:
            for read in source:
                replay.add(read())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert replay.responses == pages
        assert peak < 10 * size


class CachedSpider(Spider):
    """Visits every page that the site has."""

    name = "shop"
    custom_settings = {"HTTPERROR_ALLOW_ALL": True, "RETRY_ENABLED": False}

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    async def start(self) -> AsyncIterator[Any]:
        for page in ANSWERED:
            yield Request(f"{self.url}/{page.file}", errback=self.failed)
        yield Request(f"{self.url}/login", method="POST")

    def parse(self, response: Any) -> None:
        """Only the cache is of interest."""

    def failed(self, failure: Any) -> None:
        """Scrapy has no use for a body that cannot be decompressed."""


def respond(request: Any) -> Reply:
    path = request.path.decode().lstrip("/")
    if path == "login":
        return Reply(status=302, headers={"Location": "/wrong.html?captchaError=1"})
    page = next(page for page in ANSWERED if page.file == path)
    return Reply(page.body, page.status, page.headers)


@pytest.fixture(params=STORAGES.values(), ids=STORAGES)
def storage(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.param


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "httpcache"


async def fill(cache: Path, serve: Any, storage: dict[str, Any]) -> None:
    """Let a crawl write its cache."""
    settings = {"HTTPCACHE_ENABLED": True, "HTTPCACHE_DIR": str(cache), **storage}
    url = serve(respond).url
    await start_crawl(CachedSpider, {**settings, "CAPMONSTER_REPORT_ENABLED": False}, url=url)


class TestHttpCache:
    @pytest_twisted.ensureDeferred
    async def test_everything_that_a_crawl_kept(
        self,
        cache: Path,
        serve: Any,
        storage: dict[str, Any],
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        await fill(cache, serve, storage)
        rules = rules_file(tmp_path, REDIRECT, *RULES)
        ran = run(capfd, "replay", cache, "--rules", rules, "--json", settings=storage)
        # The login was answered by a redirect, and that by a page that is there already.
        assert ran.answer == {
            "responses": len(ANSWERED) + 2,
            "rejected": REJECTED + 2,
            "by_rule": {**BY_RULE, "refusal": BY_RULE["refusal"] + 1, "redirect": 1},
            "wrong": [],
        }
        assert (ran.code, ran.err) == (0, "")

    @pytest_twisted.ensureDeferred
    async def test_a_part_of_it(
        self, cache: Path, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        await fill(cache, serve, FILESYSTEM)
        rules = rules_file(tmp_path, *RULES)
        entries = [path.parent for path in cache.rglob("pickled_meta")]
        assert len(entries) == len(ANSWERED) + 2
        for source, responses in ((cache / "shop", len(entries)), (entries[0], 1)):
            answer = run(capfd, "replay", source, "--rules", rules, "--json").answer
            assert answer["responses"] == responses

    @pytest_twisted.ensureDeferred
    async def test_a_folder_of_it_by_a_relative_path(
        self,
        cache: Path,
        serve: Any,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        await fill(cache, serve, FILESYSTEM)
        rules = rules_file(tmp_path, *RULES)
        entry = next(cache.rglob("pickled_meta")).parent
        for folder in (cache, entry):
            monkeypatch.chdir(folder)
            assert run(capfd, "replay", ".", "--rules", rules, "--json").code == 0

    @pytest_twisted.ensureDeferred
    async def test_a_database_by_the_name_that_scrapy_gave_it_or_by_its_files(
        self, cache: Path, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        await fill(cache, serve, DBM)
        rules = rules_file(tmp_path, *RULES)
        files = [path for path in cache.iterdir() if path.suffix != ".bak"]
        for path in (cache / "shop.db", *files):
            answer = run(capfd, "replay", path, "--rules", rules, "--json").answer
            assert answer["responses"] == len(ANSWERED) + 2

    @pytest_twisted.ensureDeferred
    async def test_the_method_of_a_request_is_known_to_the_filesystem_only(
        self, cache: Path, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        rules = rules_file(tmp_path, {"method": "POST"})
        for storage, rejected in ((FILESYSTEM, 1), (DBM, 0)):
            await fill(cache / str(rejected), serve, storage)
            argv = ("replay", cache / str(rejected), "--rules", rules, "--json")
            assert run(capfd, *argv).answer["rejected"] == rejected

    @pytest_twisted.ensureDeferred
    async def test_pages_and_caches_beside_each_other_with_expectations(
        self, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        root = tmp_path / "all"
        save(root / "refused" / "a.html", "Wrong captcha")
        await fill(root / "accepted" / "filesystem", serve, FILESYSTEM)
        await fill(root / "accepted" / "dbm", serve, DBM)
        rules = rules_file(tmp_path, {"name": "wrong", "text": "Wrong captcha", "status": 403})
        ran = run(capfd, "replay", root, "--rules", rules, "--json")
        assert ran.code == 1
        missed, *hits = sorted(
            ran.answer["wrong"], key=lambda wrong: wrong["expected"] == "accepted"
        )
        assert missed == {
            "source": str(root / "refused/a.html"),
            "expected": "refused",
            "rule": None,
        }
        assert [(hit["expected"], hit["rule"]) for hit in hits] == [("accepted", "wrong")] * 2
        assert any("shop.db#" in hit["source"] for hit in hits)
        assert ran.answer["responses"] == 2 * (len(ANSWERED) + 2) + 1

    @pytest_twisted.ensureDeferred
    async def test_it_is_left_as_it_was(
        self,
        cache: Path,
        serve: Any,
        storage: dict[str, Any],
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def state() -> dict[Path, tuple[int, bytes]]:
            paths = [path for path in tmp_path.rglob("*") if path.is_file()]
            return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

        await fill(cache, serve, storage)
        rules = rules_file(tmp_path, *RULES)
        before = state()
        assert run(capfd, "replay", cache, "--rules", rules, settings=storage).code == 0
        assert state() == before

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda entry: (entry / "pickled_meta").write_bytes(b"no pickle"), "UnpicklingError"),
            (lambda entry: (entry / "pickled_meta").write_bytes(pickle.dumps([7])), "TypeError"),
            (lambda entry: (entry / "response_body").unlink(), "FileNotFoundError"),
            (lambda entry: entry.rename(entry.with_name("zz")), "ValueError"),
            (lambda entry: entry.rename(entry.with_name("00")), "LookupError"),
        ],
        ids=["no pickle", "no dict", "no body", "no fingerprint", "another fingerprint"],
    )
    @pytest_twisted.ensureDeferred
    async def test_an_entry_that_is_broken(
        self,
        damage: Any,
        said: str,
        cache: Path,
        serve: Any,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        await fill(cache, serve, FILESYSTEM)
        damage(next(cache.rglob("pickled_meta")).parent)
        ran = run(capfd, "replay", cache, "--rules", rules_file(tmp_path, WRONG), "--json")
        assert "is no entry of an HTTP cache that can be read: " + said in ran.complaint

    @pytest_twisted.ensureDeferred
    async def test_a_database_that_is_broken(
        self, cache: Path, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        await fill(cache, serve, {**DBM, "HTTPCACHE_DBM_MODULE": "dbm.dumb"})
        data = cache / "shop.db.dat"
        data.write_bytes(b"\0" * data.stat().st_size)
        ran = run(capfd, "replay", cache, "--rules", rules_file(tmp_path, WRONG), "--json")
        assert "shop.db: the entry" in ran.complaint
        assert "cannot be read: " in ran.complaint


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no source": ([], "the following arguments are required: SOURCE"),
    "two sources": (["a", "b"], "unrecognized arguments: b"),
    "nothing there": (["none"], "there is no none"),
    "no pages": (["empty"], "empty has no saved pages and is no HTTP cache"),
    "no page": (["notes.md"], "notes.md has no saved pages and is no HTTP cache"),
    "a page that is unreadable": (["pages"], "bad.meta.json is no JSON"),
    "a mistake in a rule": (
        ["pages", "--rules", "mistake.json"],
        "mistake.json: rule 1, key 'css'",
    ),
    "a preset that is none": (["pages", "--preset", "phbb"], "Did you mean 'phpbb'?"),
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
    (tmp_path / "empty").mkdir()
    save(tmp_path / "notes.md", "Wrong captcha")
    save(tmp_path / "pages" / "bad.html", "Wrong captcha")
    save(tmp_path / "pages" / "bad.meta.json", "{'url': 7}")
    save(tmp_path / "mistake.json", '[{"css": "p["}]')
    ran = run(capfd, "replay", *argv, "--preset", "laravel", "--json")
    assert said in ran.complaint
    assert ran.complaint.startswith("scrapy capmonster replay: ")


def test_there_are_no_rules(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.html", "Wrong captcha")
    assert "there are no rules" in run(capfd, "replay", tmp_path).complaint


SPIDER = """
class ShopSpider(scrapy.Spider):
    name = "shop"
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [{"name": "spider's", "callback": "is_rejected"}],
        "COMPRESSION_ENABLED": False,
    }

    async def start(self):
        yield scrapy.Request("data:text/html,Wrong captcha", self.parse)

    def parse(self, response):
        pass

    def is_rejected(self, response, request):
        return b"captcha" in response.body
"""


class TestAsAUserRunsIt:
    def test_a_projects_own_cache_by_the_name_in_its_settings(self, tmp_path: Path) -> None:
        project = make_project(
            tmp_path,
            "HTTPCACHE_ENABLED = True\n"
            "HTTPCACHE_IGNORE_SCHEMES = ['file']\n"
            f"CAPMONSTER_REPORT_RULES = {[WRONG]!r}",
            SPIDER,
        )
        crawl = [sys.executable, "-m", "scrapy", "crawl", "shop"]
        subprocess.run(crawl, cwd=project, check=True, capture_output=True, timeout=60)
        assert (project / ".scrapy" / "httpcache" / "shop").is_dir()
        for argv, rule in (([], "wrong"), (["--spider", "shop"], "spider's")):
            for source in ("httpcache", ".scrapy/httpcache", ".scrapy"):
                ran = run_scrapy(project, "replay", source, "--json", *argv)
                assert ran.answer["by_rule"] == {rule: 1}
                assert (ran.code, ran.err) == (0, "")

    def test_progress_is_shown_to_who_watches_and_the_answer_is_not_disturbed(
        self, tmp_path: Path
    ) -> None:
        for number in range(3):
            save(tmp_path / "pages" / f"{number}.html", "Wrong captcha")
        ours, theirs = pty.openpty()
        try:
            rules = rules_file(tmp_path, WRONG)
            argv = ("replay", "pages", "--rules", rules, "--json")
            ran = run_scrapy(tmp_path, *argv, stderr=theirs)
            shown = os.read(ours, 100_000).decode()
        finally:
            os.close(ours)
            os.close(theirs)
        assert ran.answer["responses"] == 3
        assert "replay" in shown
        assert "3/3" in shown

    @pytest.mark.parametrize(("folder", "code"), [("refused", 0), ("accepted", 1), ("none", 2)])
    def test_exit_codes(self, folder: str, code: int, tmp_path: Path) -> None:
        for name in ("refused", "accepted"):
            save(tmp_path / name / "a.html", "Wrong captcha")
        ran = run_scrapy(tmp_path, "replay", folder, "--rules", rules_file(tmp_path, WRONG))
        assert ran.code == code
        assert bool(ran.out) == (code != 2)
        assert len(ran.err.splitlines()) == (code == 2)

    def test_a_table_is_written_in_any_encoding(self, tmp_path: Path) -> None:
        save(tmp_path / "pages" / "accepted" / "ä.html", "Wrong captcha")
        rules = rules_file(tmp_path, {"name": "неверно", "text": "captcha"})
        ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
        ran = run_scrapy(tmp_path, "replay", "pages", "--rules", rules, env=ascii_only)
        assert ran.code == 1
        assert "1 responses, 1 rejected, 1 wrong" in ran.out


def test_the_answer_is_one_line_of_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.html", "Wrong captcha")
    rules = rules_file(tmp_path, {"name": "é", "text": "captcha"})
    ran = run(capfd, "replay", tmp_path / "a.html", "--rules", rules, "--json")
    (line,) = ran.out.splitlines()
    assert json.loads(line)["by_rule"] == {"é": 1}
