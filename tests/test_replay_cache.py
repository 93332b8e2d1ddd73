"""``scrapy capmonster replay`` of the HTTP caches that a real crawl writes."""

from __future__ import annotations

import dbm.dumb
import pickle
import re
import shutil
import sys
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from scrapy import Request, Spider
from support import Reply, start_crawl
from workbench import ANSWERED, BY_RULE, RULES, rules_file, run, save

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FILESYSTEM = {"HTTPCACHE_STORAGE": "scrapy.extensions.httpcache.FilesystemCacheStorage"}
DBM = {"HTTPCACHE_STORAGE": "scrapy.extensions.httpcache.DbmCacheStorage"}
STORAGES = {
    "filesystem": FILESYSTEM,
    "filesystem, compressed": {**FILESYSTEM, "HTTPCACHE_GZIP": True},
    "dbm": DBM,
    "dbm of a named module": {**DBM, "HTTPCACHE_DBM_MODULE": "dbm.dumb"},
}
REDIRECT = {"name": "redirect", "redirect": "captchaError=1"}
URL = "http://shop.example/"
WRONG = {"name": "wrong", "text": "Wrong captcha"}
REJECTED = sum(BY_RULE.values())


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
        answer = ran.answer
        assert len(answer.pop("matches")) == REJECTED + 2
        assert answer == {
            "responses": len(ANSWERED) + 2,
            "rejected": REJECTED + 2,
            "by_rule": {**BY_RULE, "refusal": BY_RULE["refusal"] + 1, "redirect": 1},
            "wrong": [],
            "undecided": [],
            "skipped": [],
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
            answer = run(capfd, *argv).answer
            assert answer["rejected"] == rejected
            missing = [page["missing"] for page in answer["undecided"]]
            assert missing == ([] if rejected else [["method"]] * (len(ANSWERED) + 2))
        told = run(capfd, *argv, "--method", "POST").answer
        assert (told["rejected"], told["undecided"]) == (len(ANSWERED) + 2, [])

    @pytest_twisted.ensureDeferred
    async def test_caches_with_expectations(
        self, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        root = tmp_path / "all"
        await fill(root / "refused" / "filesystem", serve, FILESYSTEM)
        await fill(root / "accepted" / "dbm", serve, DBM)
        rules = rules_file(tmp_path, {"name": "wrong", "text": "Wrong captcha", "status": 403})
        ran = run(capfd, "replay", root, "--rules", rules, "--json")
        assert ran.code == 1
        assert ran.answer["responses"] == 2 * (len(ANSWERED) + 2)
        hits = [wrong for wrong in ran.answer["wrong"] if wrong["expected"] == "accepted"]
        assert [hit["rule"] for hit in hits] == ["wrong"]
        assert "shop.db#" in hits[0]["source"]
        assert len(ran.answer["wrong"]) == len(ANSWERED) + 2

    @pytest_twisted.ensureDeferred
    async def test_beside_pages_it_is_no_cache_and_its_files_are_skipped(
        self, serve: Any, tmp_path: Path, storage: dict[str, Any], capfd: pytest.CaptureFixture[str]
    ) -> None:
        root = tmp_path / "all"
        await fill(root / "cache", serve, storage)
        files = {str(path) for path in root.rglob("*") if path.is_file()}
        page = save(root / "a.html", "Wrong captcha")
        ran = run(capfd, "replay", root, "--rules", rules_file(tmp_path, WRONG), "--json")
        assert [match["source"] for match in ran.answer["matches"]] == [str(page)]
        assert ran.answer["responses"] == 1
        assert set(ran.answer["skipped"]) == files

    @pytest_twisted.ensureDeferred
    async def test_what_a_killed_crawl_left_of_sqlite(
        self, cache: Path, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        module = pytest.importorskip("dbm.sqlite3", reason="Python has it since 3.13")
        await fill(cache, serve, {**DBM, "HTTPCACHE_DBM_MODULE": "dbm.sqlite3"})
        left = tmp_path / "left"
        with closing(module.open(str(cache / "shop.db"), "w")) as database:
            database[b"00_data"] = pickle.dumps(
                {"url": URL, "status": 200, "headers": {}, "body": b"Wrong captcha"}
            )
            shutil.copytree(cache, left)
        assert (left / "shop.db-wal").stat().st_size > 0
        argv = ("--rules", rules_file(tmp_path, WRONG), "--json")
        for source in (left, left, left / "shop.db-wal"):
            answer = run(capfd, "replay", source, *argv).answer
            assert (answer["responses"], answer["skipped"]) == (len(ANSWERED) + 3, [])

    @pytest_twisted.ensureDeferred
    async def test_other_files_beside_it_are_skipped_and_named(
        self, cache: Path, serve: Any, tmp_path: Path, storage: dict[str, Any], capfd: Any
    ) -> None:
        await fill(cache, serve, storage)
        others = [save(cache / "shop" / "notes.md", ""), save(cache / "notes.md", "")]
        answer = run(
            capfd, "replay", cache, "--rules", rules_file(tmp_path, WRONG), "--json"
        ).answer
        assert answer["responses"] == len(ANSWERED) + 2
        assert answer["skipped"] == sorted(map(str, others))

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
            # Python 3.13's dbm is SQLite, which keeps its log and an index of it beside the file.
            beside = ("-wal", "-shm")
            files = (path for path in tmp_path.rglob("*") if path.is_file())
            paths = [path for path in files if not path.name.endswith(beside)]
            return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}

        await fill(cache, serve, storage)
        rules = rules_file(tmp_path, *RULES)
        before = state()
        assert run(capfd, "replay", cache, "--rules", rules, settings=storage).code == 0
        assert state() == before

    @pytest.mark.parametrize(
        ("damage", "said"),
        [
            (lambda entry: (entry / "meta").write_bytes(b"no literal"), "SyntaxError"),
            (lambda entry: (entry / "meta").write_bytes(b"exit(7)"), "ValueError"),
            (lambda entry: (entry / "meta").write_bytes(b"[7]"), "TypeError"),
            (lambda entry: (entry / "meta").write_bytes(b"{'response_url': 'x'}"), "KeyError"),
            (lambda entry: (entry / "response_body").unlink(), "No such file or directory"),
        ],
        ids=["no literal", "code", "no dict", "no status", "no body"],
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
        assert said in ran.complaint

    @pytest_twisted.ensureDeferred
    async def test_a_database_that_is_broken(
        self, cache: Path, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        await fill(cache, serve, {**DBM, "HTTPCACHE_DBM_MODULE": "dbm.dumb"})
        data = cache / "shop.db.dat"
        data.write_bytes(b"\0" * data.stat().st_size)
        ran = run(capfd, "replay", cache, "--rules", rules_file(tmp_path, WRONG), "--json")
        assert "shop.db#" in ran.complaint
        assert "is not a readable entry of an HTTP cache: " in ran.complaint


class RunsCode:
    """Pickled, it leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


class TestPlanted:
    """A stranger's cache, or a folder of pages with something in it that is unpickled no more."""

    @pytest.fixture
    def ran_code(self, tmp_path: Path) -> Path:
        return tmp_path / "ran_code"

    @pytest.mark.parametrize("beside_pages", [False, True])
    @pytest_twisted.ensureDeferred
    async def test_pickled_meta_and_response_data_are_never_unpickled(
        self,
        beside_pages: bool,
        cache: Path,
        serve: Any,
        ran_code: Path,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        await fill(cache, serve, FILESYSTEM)
        for entry in [path.parent for path in cache.rglob("pickled_meta")]:
            for name in ("pickled_meta", "response_data"):
                (entry / name).write_bytes(pickle.dumps(RunsCode(ran_code)))
        if beside_pages:
            save(cache / "a.html", "Wrong captcha")
        argv = ("replay", cache, "--rules", rules_file(tmp_path, WRONG), "--json")
        responses = 1 if beside_pages else len(ANSWERED) + 2
        assert run(capfd, *argv).answer["responses"] == responses
        assert not ran_code.exists()

    @pytest.mark.parametrize("pages", [[], ["a.html"]])
    def test_a_record_of_a_database_may_have_plain_values_only(
        self, pages: list[str], ran_code: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "pages"
        folder.mkdir()
        with dbm.dumb.open(str(folder / "shop.db"), "c") as database:
            database["00_data"] = pickle.dumps({"url": "http://x", "status": RunsCode(ran_code)})
        for name in pages:
            save(folder / name, "Wrong captcha")
        argv = ("replay", folder, "--rules", rules_file(tmp_path, WRONG), "--json")
        ran = run(capfd, *argv)
        assert not ran_code.exists()
        if pages:
            assert ran.answer["responses"] == 1
        else:
            assert re.search("it contains _?io.open, which is not a plain value", ran.complaint)
        ran = run(capfd, "replay", folder / "shop.db", *argv[2:])
        assert re.search("it contains _?io.open, which is not a plain value", ran.complaint)
        assert not ran_code.exists()

    def test_the_class_that_an_entry_names_is_not_imported(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "cache"
        folder.mkdir()
        record = {
            "url": "http://shop.example/",
            "status": 200,
            "headers": {b"Content-Type": [b"text/html"]},
            "body": b"Wrong captcha",
            "_class": "antigravity.Response",
            "ip_address": ip_address("203.0.113.7"),
            "flags": ["cached"],
        }
        with dbm.dumb.open(str(folder / "shop.db"), "c") as database:
            database["00_data"] = pickle.dumps(record)
        argv = ("replay", folder, "--rules", rules_file(tmp_path, WRONG), "--json")
        assert run(capfd, *argv).answer["by_rule"] == {"wrong": 1}
        assert "antigravity" not in sys.modules
