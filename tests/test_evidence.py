"""Pages that a crawl keeps, and what the commands make of them."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from scrapy.http import HtmlResponse
from support import CLIENT_KEY, Reply, crawl
from wired import WRONG, lines, until
from workbench import ANSWERED, HTML, RULES, Answered, rules_file, run, save

from scrapy_capmonster_report import CapMonsterReportMiddleware, evidence, signals
from scrapy_capmonster_report.evidence import (
    META_SUFFIX,
    MOST_BYTES,
    MOST_PAGE_BYTES,
    MOST_PAGES,
    MOST_PENDING,
    PAGES_OF_EACH,
    EvidenceFolder,
    folder_name,
)
from scrapy_capmonster_report.mask import Mask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WRONG_RULE = {"name": "wrong", "text": "Wrong captcha"}
FINE = "<p>Welcome</p>"


class Visits(scrapy.Spider):
    """Submits answers to any number of sites, all of which are one server on loopback.

    Args:
        site: the URL of that server, which stands as a proxy for all others.
        visits: what to request: a URL, or arguments of a request.
        verdicts: takes the name of the rule that matched, by the URL of the response.
    """

    name = "visits"
    custom_settings = {
        "CAPMONSTER_REPORT_DRY_RUN": True,
        "CAPMONSTER_API_URL": "http://127.0.0.1:1",
        "CONCURRENT_REQUESTS": 1,
        "RETRY_ENABLED": False,
    }
    site: str
    visits: Sequence[str | dict[str, Any]]
    verdicts: dict[str, str | None]

    async def start(self) -> Any:
        self.crawler.signals.connect(self.refused, signal=signals.captcha_rejected)
        for task_id, visit in enumerate(self.visits, 1):
            options = {"url": visit} if isinstance(visit, str) else visit
            meta = {"taskId": task_id, "proxy": self.site, "handle_httpstatus_all": True}
            yield scrapy.Request(**{**options, "meta": {**meta, **options.get("meta", {})}})

    def refused(self, response: Any, rule: str) -> None:
        if response is not None:
            self.verdicts[response.url] = rule

    def parse(self, response: Any) -> None:
        self.verdicts.setdefault(response.url, None)
        if b"callback" in response.body:
            reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
            reporter.reject(response.request)


async def visit(
    serve: Any,
    folder: Path | str,
    respond: Any,
    visits: Sequence[Any],
    *,
    spider: type[Visits] = Visits,
    **settings: Any,
) -> dict[str, str | None]:
    """Crawl, and return the name of the rule that matched by the URL of each response."""
    verdicts: dict[str, str | None] = {}
    await crawl(
        spider,
        {
            "CAPMONSTER_REPORT_RULES": [WRONG_RULE],
            "CAPMONSTER_REPORT_SAVE_REJECTED": str(folder),
            **settings,
        },
        site=serve(respond).url,
        visits=visits,
        verdicts=verdicts,
    )
    return verdicts


def path_of(request: Any) -> str:
    """The path that is asked for, without the site; the server is a proxy."""
    return str(request.path.decode().split("/", 3)[-1])


def wrong_or_fine(request: Any) -> Any:
    return WRONG if path_of(request).startswith("wrong") else FINE


def pages(folder: Path) -> list[Path]:
    """The pages in *folder*, in order."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if not path.name.endswith(META_SUFFIX))


def places(folder: Path) -> Counter[str]:
    """How many pages there are in each folder below *folder*."""
    return Counter(str(path.parent.relative_to(folder)) for path in pages(folder))


def known(page: Path) -> dict[str, Any]:
    """What is known of *page*."""
    meta: dict[str, Any] = json.loads(page.with_suffix(META_SUFFIX).read_text())
    return meta


# -- what is kept is judged as it was ------------------------------------------------------------

BINARY = (
    Answered("picture", b"\x89PNG\r\n\x1a\n\0 Wrong captcha", {"Content-Type": "image/png"}, None),
    Answered("no_type", b"\0\1\2\3 Wrong captcha", {}, None),
    Answered("text", b"Wrong captcha", {}, "refusal"),
    Answered("feed.xml", b"<?xml version='1.0'?><a>Wrong captcha</a>", {}, "refusal"),
    Answered("unknown", WRONG.encode(), {"Content-Type": "text/html; charset=klingon"}, "refusal"),
)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("compression", [True, False])
async def test_pages_of_every_kind_are_judged_as_they_were(
    compression: bool, serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each page at a site of its own, so that all of them are kept."""
    answers = {page.file: page for page in (*ANSWERED, *BINARY)}

    def respond(request: Any) -> Any:
        page = answers[path_of(request)]
        request.defaultContentType = None
        return Reply(page.body, page.status, page.headers)

    verdicts = await visit(
        serve,
        tmp_path / "kept",
        respond,
        [f"http://s{n}.example/{page}" for n, page in enumerate(answers)],
        CAPMONSTER_REPORT_RULES=RULES,
        COMPRESSION_ENABLED=compression,
    )
    if compression:
        for url, rule in verdicts.items():
            assert rule == answers[url.rpartition("/")[2]].rule, url
    kept = pages(tmp_path / "kept")
    assert sorted(known(page)["url"] for page in kept) == sorted(verdicts)
    assert len(kept) >= len(answers) - 1  # one is broken, so that Scrapy cannot decompress it
    rules = rules_file(tmp_path, *RULES)
    answered = run(capfd, "check", *kept, "--rules", rules, "--json").answers
    assert {known(Path(answer["source"]))["url"]: answer["rule"] for answer in answered} == verdicts
    replayed = run(capfd, "replay", tmp_path / "kept", "--rules", rules, "--json").answer
    assert replayed["responses"] == len(verdicts)
    assert replayed["by_rule"] == Counter(filter(None, verdicts.values()))
    for page in kept:
        assert (tmp_path / "kept" / "passed" in page.parents) is (
            verdicts[known(page)["url"]] is None
        )


@pytest.mark.parametrize(
    ("meta", "said"),
    [
        ({"class": "PdfResponse"}, "'class' is 'PdfResponse': it must be one of Response, Text"),
        ({"class": 7}, "'class' is 7: it must be str"),
        ({"class": "TextResponse", "encoding": 8}, "'encoding' is 8: it must be str"),
    ],
)
def test_what_is_known_of_a_page_was_edited_badly(
    meta: dict[str, Any], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = save(tmp_path / "a.html", WRONG, **meta)
    assert said in run(capfd, "check", page, "--preset", "laravel").complaint


class Reencode:
    """As middlewares do that render pages: the header names another encoding than the body has."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        body = response.text.encode("utf-16-le")
        return HtmlResponse(response.url, headers=response.headers, body=body, encoding="utf-16-le")


@pytest_twisted.ensureDeferred
async def test_a_page_that_a_middleware_encoded_anew_keeps_its_encoding(
    serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    headers = {"Content-Type": "text/html; charset=windows-1251"}
    await visit(
        serve,
        tmp_path / "kept",
        lambda request: Reply("Неверная капча".encode("cp1251"), headers=headers),
        ["http://shop.example/"],
        CAPMONSTER_REPORT_RULES=[RULES[0] | {"status": 200}],
        DOWNLOADER_MIDDLEWARES={Reencode: 586},
    )
    (page,) = pages(tmp_path / "kept" / "rejected")
    rules = rules_file(tmp_path, RULES[0])
    assert run(capfd, "check", page, "--rules", rules, "--json").answer["rule"] == "refusal"


class AtHome(Visits):
    """Does not leave one site."""

    allowed_domains = ["a.invalid"]


@pytest_twisted.ensureDeferred
async def test_method_redirects_and_headers_are_kept(
    serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def respond(request: Any) -> Any:
        if path_of(request) == "login":
            return Reply(status=302, headers={"Location": "/form?captchaError=1"})
        if path_of(request) == "away":
            return Reply(status=307, headers={"Location": "http://b.invalid/?captchaError=1"})
        return Reply(FINE, 403, {**HTML, "X-Captcha": "späť".encode()})

    rules = [
        {"name": "redirected", "redirect": r"captchaError=1$", "method": "GET"},
        {"name": "away", "redirect": r"b\.invalid", "method": "POST"},
        {"name": "header", "headers": {"x-captcha": "^späť$"}, "method": "PUT", "status": 403},
    ]
    verdicts = await visit(
        serve,
        tmp_path / "kept",
        respond,
        [
            {"url": "http://a.invalid/login", "meta": {"handle_httpstatus_all": False}},
            {
                "url": "http://a.invalid/away",
                "method": "POST",
                "meta": {"handle_httpstatus_all": False},
            },
            {"url": "http://a.invalid/", "method": "PUT"},
        ],
        spider=AtHome,
        CAPMONSTER_REPORT_RULES=rules,
    )
    assert verdicts == {
        "http://a.invalid/form?captchaError=1": "redirected",
        "http://a.invalid/away": "away",
        "http://a.invalid/": "header",
    }
    kept = pages(tmp_path / "kept" / "rejected")
    by_rule = {page.parent.name: known(page) for page in kept}
    assert {rule: (page["method"], page["redirects"]) for rule, page in by_rule.items()} == {
        "redirected": ("GET", ["http://a.invalid/form?captchaError=1"]),
        "away": ("POST", []),  # its Location says it
        "header": ("PUT", []),
    }
    answers = run(capfd, "check", *kept, "--rules", rules_file(tmp_path, *rules), "--json").answers
    assert sorted(answer["rule"] for answer in answers) == ["away", "header", "redirected"]


class OneMore(Visits):
    """Makes its last visit when the callbacks of all others have run."""

    def parse(self, response: Any) -> Any:
        super().parse(response)
        if len(self.verdicts) == len(self.visits):
            meta = {**response.meta, "taskId": 1000}
            yield scrapy.Request("http://shop.example/fine", meta=meta)


@pytest_twisted.ensureDeferred
async def test_a_refusal_that_only_a_callback_sees_is_no_page_that_passed(
    serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visits = [f"http://shop.example/{n}" for n in range(PAGES_OF_EACH + 3)]
    folder = tmp_path / "kept"

    def respond(request: Any) -> Any:
        return FINE if path_of(request) == "fine" else "<p>only the callback sees it"

    for times in (1, 2):  # the second time there is no room for more of the refused
        caplog.clear()
        await visit(serve, folder, respond, visits, spider=OneMore)
        assert places(folder) == {
            "rejected/shop.example/reject": PAGES_OF_EACH,
            "passed/shop.example": times,
        }
        new = PAGES_OF_EACH + 1 if times == 1 else 1
        assert f"Judged pages kept in {folder}: {new}" in lines(caplog, logging.INFO)
    for page in pages(folder / "rejected"):
        assert known(page)["url"] in visits
    for page in pages(folder / "passed"):
        assert known(page)["url"] == "http://shop.example/fine"


# -- what it is for ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_user_looks_at_pages_and_says_what_they_should_be(
    serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kept"
    visits = ["http://shop.example/wrong", "http://shop.example/fine"]
    await visit(serve, folder, wrong_or_fine, visits)
    argv = ("replay", folder, "--rules", rules_file(tmp_path, WRONG_RULE), "--json")
    assert run(capfd, *argv).answer == {
        "responses": 2,
        "rejected": 1,
        "by_rule": {"wrong": 1},
        "wrong": [],
    }

    def says(page: Path, expectation: str) -> Path:
        target = folder / expectation / page.name
        target.parent.mkdir(exist_ok=True)
        page.with_suffix(META_SUFFIX).rename(target.with_suffix(META_SUFFIX))
        return page.rename(target)

    (rejected,) = pages(folder / "rejected")
    (passed,) = pages(folder / "passed")
    rejected, passed = says(rejected, "refused"), says(passed, "accepted")
    ran = run(capfd, *argv)
    assert (ran.code, ran.answer["wrong"]) == (0, [])
    passed = passed.rename(folder / "refused" / passed.name)
    ran = run(capfd, *argv)
    assert ran.code == 1
    assert ran.answer["wrong"] == [{"source": str(passed), "expected": "refused", "rule": None}]


@pytest_twisted.ensureDeferred
async def test_without_the_setting_nothing_is_kept(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verdicts = await visit(serve, "", wrong_or_fine, ["http://shop.example/wrong"])
    assert verdicts == {"http://shop.example/wrong": "wrong"}
    assert list(tmp_path.iterdir()) == []


# -- names ---------------------------------------------------------------------------------------

NAMES = [
    "wrong",
    "wrong captcha (403)",
    "../../../outside",
    "/etc/passwd",
    "..",
    ".",
    ".hidden",
    "~",
    "-rf",
    "a\\b",
    "c:\\con",
    "refused",
    "Accepted",
    "неверная капча",
    "*?<>|",
    "x" * 300,
    "😀",
    "ж" * 300,
    "𠮷" * 300,
]


@pytest_twisted.ensureDeferred
async def test_whatever_a_rule_is_called_its_pages_stay_in_the_folder_and_are_no_expectations(
    serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = [{"name": name, "url": f"/{n}$"} for n, name in enumerate(NAMES)]
    await visit(
        serve,
        tmp_path / "in" / "kept",
        wrong_or_fine,
        [f"http://shop.example/{n}" for n in range(len(NAMES))],
        CAPMONSTER_REPORT_RULES=rules,
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["kept"]
    kept = pages(tmp_path)
    assert sorted(known(page)["url"] for page in kept) == sorted(
        f"http://shop.example/{n}" for n in range(len(NAMES))
    )
    assert {page.parents[1] for page in kept} == {tmp_path / "in/kept/rejected/shop.example"}
    no_rule = rules_file(tmp_path, {"name": "none", "text": "nowhere"})
    ran = run(capfd, "replay", tmp_path / "in" / "kept", "--rules", no_rule, "--json")
    assert (ran.code, ran.answer["wrong"]) == (0, [])


@pytest.mark.parametrize(
    "name", [*NAMES, "", "::1", "xn--e1afmkfd.example", "a b\tc\nd", "\ud800"], ids="{:.20}".format
)
def test_a_folder_is_named_so_that_any_file_system_takes_it(name: str) -> None:
    found = folder_name(name)
    assert found.strip("._-") != ""
    assert "/" not in found
    assert found[0] not in ".-~"
    assert found.isprintable()
    assert len(found.encode()) <= 255
    assert found.lower() not in ("refused", "accepted")


def test_names_that_need_no_change_are_not_changed() -> None:
    for name in ("shop.example", "xn--e1afmkfd.example", "login", "неверная", "rule_1"):
        assert folder_name(name) == name


# -- secrets -------------------------------------------------------------------------------------


class Echo:
    """A page that repeats whatever secrets there are. Scrapy itself takes no such URLs."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        return HtmlResponse(
            f"https://ann:s3cret@shop.example/?key={CLIENT_KEY}",
            headers={
                "Set-Cookie": ["session=s3cret", "b=s3cret"],
                "COOKIE": "s3cret",
                "authorization": "Bearer s3cret",
                "Proxy-Authorization": "Basic s3cret",
                "Link": f"<https://a:s3cret@b.example/{CLIENT_KEY}>; rel=next",
                f"X-{CLIENT_KEY}": CLIENT_KEY.upper(),
                "X-Kept": "http://shop.example/@ann",
            },
            body=f"Wrong captcha {CLIENT_KEY}".encode(),
        )


@pytest_twisted.ensureDeferred
async def test_secrets_are_not_kept(serve: Any, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    await visit(
        serve,
        folder,
        wrong_or_fine,
        ["http://shop.example/"],
        DOWNLOADER_MIDDLEWARES={Echo: 900},
    )
    (page,) = pages(folder)
    assert known(page) == {
        "url": "https://shop.example/?key=***",
        "status": 200,
        "method": "GET",
        "redirects": [],
        "headers": {
            "Link": ["<https://b.example/***>; rel=next"],
            "X-***": ["***"],
            "X-Kept": ["http://shop.example/@ann"],
        },
        "class": "HtmlResponse",
        "encoding": "cp1252",
    }
    assert page.read_text() == "Wrong captcha ***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://ann:pw@shop.example/a@b?c@d", "http://shop.example/a@b?c@d"),
        ("http://ann@shop.example:80", "http://shop.example:80"),
        ("http://a:p@ss@[::1]/", "http://[::1]/"),
        ("//ann:pw@shop.example/", "//shop.example/"),
        ("0; url=https://ann:pw@shop.example", "0; url=https://shop.example"),
        ("http://shop.example?next=http://a:b@c", "http://shop.example?next=http://c"),
        ("http://shop.example/?k=a%2Fb%20c12345", "http://shop.example/?k=***"),
        ("http://shop.example/?k=a%2Fb+c12345", "http://shop.example/?k=***"),
        ("A/B C12345", "***"),
        ("mail ann@shop.example", "mail ann@shop.example"),
        ("http://shop.example/", "http://shop.example/"),
    ],
)
def test_what_is_masked(text: str, masked: str) -> None:
    assert Mask("a/b c12345").text(text) == masked


def test_a_word_that_stands_for_a_key_in_a_dry_run_is_not_masked() -> None:
    mask = Mask("test")
    assert mask.text("http://test.example/") == "http://test.example/"
    assert mask.body(b"a test") == b"a test"


# -- bounds --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_first_of_each_rule_and_site_are_kept_whatever_the_number_of_crawls(
    serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    many = range(PAGES_OF_EACH + 3)
    visits = [
        f"http://{site}.example/{path}{n}"
        for n in many
        for site in ("a", "b")
        for path in ("wrong", "fine", "other")
    ]
    settings = {"CAPMONSTER_REPORT_RULES": [WRONG_RULE, {"name": "other", "url": "other"}]}
    expected = {
        "rejected/a.example/wrong": PAGES_OF_EACH,
        "rejected/a.example/other": PAGES_OF_EACH,
        "rejected/b.example/wrong": PAGES_OF_EACH,
        "rejected/b.example/other": PAGES_OF_EACH,
        "passed/a.example": PAGES_OF_EACH,
        "passed/b.example": PAGES_OF_EACH,
    }
    await visit(serve, folder, wrong_or_fine, visits, **settings)
    assert places(folder) == expected
    first = pages(folder)
    assert {known(page)["url"][-1] for page in first} == set(map(str, range(PAGES_OF_EACH)))
    await visit(serve, folder, wrong_or_fine, visits, **settings)
    assert pages(folder) == first
    for page in (first[0], first[0].with_suffix(META_SUFFIX)):
        page.unlink()
    await visit(serve, folder, wrong_or_fine, visits, **settings)
    assert places(folder) == expected
    assert set(first) - set(pages(folder)) == {first[0]}


@pytest_twisted.ensureDeferred
async def test_a_page_that_is_too_big_is_left_out(serve: Any, tmp_path: Path) -> None:
    sizes = {"big": MOST_PAGE_BYTES + 1, "full": MOST_PAGE_BYTES}
    await visit(
        serve,
        tmp_path / "kept",
        lambda request: "x" * sizes[path_of(request)],
        ["http://shop.example/big", "http://shop.example/full"],
    )
    (page,) = pages(tmp_path / "kept")
    assert known(page)["url"] == "http://shop.example/full"
    assert page.stat().st_size == MOST_PAGE_BYTES


class Folder:
    """A folder that is told of verdicts directly."""

    def __init__(self, path: Path) -> None:
        from twisted.internet import reactor

        self.evidence = EvidenceFolder(
            str(path),
            mask=Mask(CLIENT_KEY),
            reactor=reactor,
            wall=lambda: 1_785_661_500.0,
            token=0x5F3A9C01,
            log_extra={},
        )
        self._verdicts = 0

    async def judge(self, number: int, body: bytes) -> None:
        """*number* pages, each of a site of its own; they come as fast as they are written."""
        for _ in range(number):
            self._verdicts += 1
            url = f"http://s{self._verdicts}.example/"
            self.evidence.judged(
                scrapy.Request(url),
                HtmlResponse(url, body=body),
                redirects=(),
                trip=self._verdicts,
                rule="wrong",
            )
            if self._verdicts % MOST_PENDING == 0:
                await until(lambda: not self.evidence._busy)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("body", "number", "most"),
    [
        (b"Wrong captcha", MOST_PAGES + 50, MOST_PAGES),
        (bytes(MOST_PAGE_BYTES), MOST_BYTES // MOST_PAGE_BYTES + 10, MOST_BYTES // MOST_PAGE_BYTES),
    ],
    ids=["pages", "bytes"],
)
async def test_one_crawl_does_not_fill_a_disk(
    body: bytes, number: int, most: int, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "kept")
    await folder.judge(number, body)
    await folder.evidence.close(30.0)
    kept = pages(tmp_path / "kept")
    assert len(kept) == most
    assert kept[0].name == "20260802T090500-5f3a9c01-0001.html"


@pytest.fixture
def busy_threads() -> Iterator[threading.Event]:
    """All threads of the reactor are busy, as with a disk that hangs, until the event is set."""
    from twisted.internet import reactor

    release = threading.Event()
    for _ in range(reactor.getThreadPool().max):
        reactor.callInThread(release.wait)
    yield release
    release.set()


class Addresses:
    """Answers at once, so that no thread is needed to look a name up."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        return HtmlResponse(request.url, body=b"Wrong captcha")


@pytest_twisted.ensureDeferred
async def test_a_disk_that_hangs_holds_up_neither_the_crawl_nor_its_end_for_long(
    serve: Any, tmp_path: Path, busy_threads: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    from twisted.internet import reactor

    began = reactor.seconds()
    urls = [f"http://s{n}.example/" for n in range(2 * MOST_PENDING)]
    verdicts = await visit(
        serve,
        tmp_path / "kept",
        wrong_or_fine,
        urls,
        CAPMONSTER_REPORT_CLOSE_TIMEOUT=0.3,
        DOWNLOADER_MIDDLEWARES={Addresses: 900},
    )
    assert reactor.seconds() - began < 10.0
    assert verdicts == dict.fromkeys(urls, "wrong")
    assert lines(caplog, logging.WARNING) == [
        "Closing does not wait any longer for pages that CAPMONSTER_REPORT_SAVE_REJECTED asks for: "
        f"{MOST_PENDING + 1} are not written"
    ]
    busy_threads.set()
    await until(lambda: pages(tmp_path))
    assert len(pages(tmp_path)) == 1  # the one that was under way


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_what_is_being_written(
    tmp_path: Path, busy_threads: threading.Event
) -> None:
    folder = Folder(tmp_path / "kept")
    await folder.judge(MOST_PENDING - 1, b"Wrong captcha")
    closed = folder.evidence.close(30.0)
    assert not closed.called
    busy_threads.set()
    await closed
    assert len(pages(tmp_path)) == MOST_PENDING - 1
    await folder.judge(1, b"Wrong captcha")
    await folder.evidence.close(30.0)
    assert len(pages(tmp_path)) == MOST_PENDING - 1


# -- a folder that is shared, or none ------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_two_crawls_in_one_folder_overwrite_nothing(
    serve: Any, child_crawl: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    site = serve(lambda request: Reply(b"Wrong " + request.uri, delay=0.02)).url
    settings = {
        "CAPMONSTER_REPORT_SAVE_REJECTED": str(folder),
        "CAPMONSTER_REPORT_DRY_RUN": True,
        "CAPMONSTER_API_URL": "http://127.0.0.1:1",
        "CONCURRENT_REQUESTS": 1,
    }
    crawls = [child_crawl(site, tasks, settings) for tasks in ([1, 2], [11, 12])]
    for crawl_ in crawls:
        assert (await crawl_.stats())["rejected"] == 2
    kept = pages(folder)
    assert sorted(page.read_text() for page in kept) == [
        "Wrong /?1",
        "Wrong /?11",
        "Wrong /?12",
        "Wrong /?2",
    ]
    for page in kept:
        assert known(page)["url"] == site + page.read_text().removeprefix("Wrong ")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("file", "NotADirectoryError"),
        ("file/kept", "NotADirectoryError"),
        ("a\0b", "ValueError"),
        ("x" * 300, "OSError"),
    ],
    ids=["a file", "below a file", "no path", "too long"],
)
async def test_a_folder_that_cannot_be_written_is_told_of_once_and_the_crawl_goes_on(
    where: str, problem: str, serve: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("not mine")
    urls = [f"http://s{n}.example/{path}" for n in range(5) for path in ("wrong", "fine")]
    verdicts = await visit(serve, tmp_path / where, wrong_or_fine, urls)
    assert sorted(verdicts) == sorted(urls)
    (line,) = lines(caplog, logging.WARNING)
    assert "CAPMONSTER_REPORT_SAVE_REJECTED" in line
    assert problem in line
    assert [path.read_text() for path in tmp_path.rglob("*")] == ["not mine"]


@pytest_twisted.ensureDeferred
async def test_a_page_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """The page's own name is taken by a folder: only what was written of it is taken back."""
    folder = Folder(tmp_path / "kept")
    taken = tmp_path / "kept/rejected/s1.example/wrong/20260802T090500-5f3a9c01-0001.html/full"
    taken.mkdir(parents=True)
    await folder.judge(1, b"Wrong captcha")
    await folder.evidence.close(30.0)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert taken.is_dir()


def test_every_constant_of_the_documentation_is_that_of_the_code() -> None:
    text = (Path(__file__).parent.parent / "docs" / "evidence.md").read_text(encoding="utf-8")
    for said in (
        f"first {PAGES_OF_EACH} refused pages",
        f"first {PAGES_OF_EACH} of each site",
        f"{MOST_PAGES} pages and {MOST_BYTES // 2**20} MiB in one crawl",
        f"more than {MOST_PAGE_BYTES // 2**20} MiB is left out",
        f"{MOST_PENDING} wait",
        *(f"`{name}`" for name in evidence.RESPONSE_CLASSES),
    ):
        assert said in text
