"""Which pages a crawl keeps and how many, and that no disk and no other crawl gets in the way."""

from __future__ import annotations

import logging
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from contexts import context
from keeping import WRONG_RULE, known, pages, path_of, places, visit, wrong_or_fine
from scrapy.http import HtmlResponse
from support import Reply
from wired import lines, until

from scrapy_capmonster_report import saved_pages
from scrapy_capmonster_report.saved_pages import (
    MAX_BYTES,
    MAX_PAGE_BYTES,
    MAX_PAGES,
    META_SUFFIX,
    PAGES_PER_LEVEL,
    SavedPages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


# -- bounds --------------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_pages_that_are_alike_are_kept_five_times_however_often_one_crawls(
    serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    visits = [
        f"http://{site}.example/{path}?{n}"
        for n in range(PAGES_PER_LEVEL + 3)
        for site in ("a", "b")
        for path in ("wrong", "fine", "other")
    ]
    settings = {"CAPMONSTER_REPORT_RULES": [WRONG_RULE, {"name": "other", "url": "other"}]}
    expected = {
        "rejected/a.example/wrong": PAGES_PER_LEVEL,
        "rejected/a.example/other": PAGES_PER_LEVEL,
        "rejected/b.example/wrong": PAGES_PER_LEVEL,
        "rejected/b.example/other": PAGES_PER_LEVEL,
        "passed/a.example": PAGES_PER_LEVEL,
        "passed/b.example": PAGES_PER_LEVEL,
    }
    await visit(serve, folder, wrong_or_fine, visits, **settings)
    assert places(folder) == expected
    first = pages(folder)
    assert {known(page)["url"][-1] for page in first} == set(map(str, range(PAGES_PER_LEVEL)))
    await visit(serve, folder, wrong_or_fine, visits, **settings)
    assert pages(folder) == first
    for page in (first[0], first[0].with_suffix(META_SUFFIX)):
        page.unlink()
    await visit(serve, folder, wrong_or_fine, visits, **settings)
    assert places(folder) == expected
    assert set(first) - set(pages(folder)) == {first[0]}


def product(n: int, filler: int = 40_000) -> str:
    return f"<title>Kettle no. {n}, made of {'steel' * n}</title>" + "k" * (filler + 37 * n)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("usual", "unknown"),
    [
        (lambda n: (f"products/{n}", product(n)), ("products/7", "<title>Are you human?</title>")),
        (lambda n: (f"kettle-{'x' * n}", product(n)), ("kettle-x", "<title>Robot?</title>")),
        (lambda n: ("account", "<title>Me</title>"), ("login", "<title>Log in</title>")),
        (lambda n: ("login", f"<title>Welcome</title>{n}"), ("login", "<title>Log in</title>")),
        (lambda n: ("api", '{"ok": true, "session": "5f3a9c01"}'), ("api", '{"ok": false}')),
        (lambda n: ("api", '{"ok": true}'), ("api", Reply('{"ok": 1234}', status=403))),
        (lambda n: (f"{n}", "x" * n**3), ("7", Reply("x" * 50, status=429))),
    ],
    ids=["products", "slugs", "path", "title", "length", "status", "every length"],
)
async def test_a_rejection_that_no_rule_knows_is_among_the_pages_that_passed(
    usual: Any, unknown: tuple[str, Any], serve: Any, tmp_path: Path
) -> None:
    """A site accepts sixty answers, then rejects one with a page that no rule matches."""
    folder = tmp_path / "kept"
    bodies = [*map(usual, range(60)), unknown]

    def respond(request: Any) -> Any:
        return bodies[int(request.uri.rpartition(b"?")[2])][1]

    urls = [f"http://shop.example/{path}?{n}" for n, (path, _) in enumerate(bodies)]
    await visit(serve, folder, respond, urls)
    kept = {known(page)["url"] for page in pages(folder / "passed")}
    assert urls[-1] in kept
    assert len(kept) <= 5 * PAGES_PER_LEVEL


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest_twisted.ensureDeferred
async def test_only_their_owner_can_read_the_pages(serve: Any, tmp_path: Path) -> None:
    await visit(serve, tmp_path / "kept", wrong_or_fine, ["http://shop.example/wrong"])
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("http://shop.example/" + "x" * 1_000_000, b""),
        ("http://shop.example/" + "x1" * 500_000, b""),
        ("http://shop.example/", b"<title" * 300_000),
        ("http://shop.example/", b"<title>" + b"1" * MAX_PAGE_BYTES),
        ("http://shop.example/\x01é", b"<title>\xff\0</title>"),
        ("http://[::1/login", b"<title>Log in</title>"),
    ],
    ids=[
        *("long path", "long path of ids", "titles without end", "long title"),
        *("odd characters", "not a URL"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_page_that_is_made_to_be_slow_is_not(url: str, body: bytes, tmp_path: Path) -> None:
    """With the patterns that first come to mind, each of these takes minutes."""
    folder = Folder(tmp_path / "kept")
    for _ in range(PAGES_PER_LEVEL):
        folder.saved.judged(
            scrapy.Request("http://shop.example/"),
            HtmlResponse(url, body=body),
            site="shop.example",
            redirects=(),
            rule=None,
        )
    await folder.saved.close()
    assert len(pages(tmp_path)) == (PAGES_PER_LEVEL if len(body) <= MAX_PAGE_BYTES else 0)


@pytest_twisted.ensureDeferred
async def test_a_page_that_is_too_big_is_left_out(serve: Any, tmp_path: Path) -> None:
    sizes = {"big": MAX_PAGE_BYTES + 1, "full": MAX_PAGE_BYTES}
    await visit(
        serve,
        tmp_path / "kept",
        lambda request: "x" * sizes[path_of(request)],
        ["http://shop.example/big", "http://shop.example/full"],
    )
    (page,) = pages(tmp_path / "kept")
    assert known(page)["url"] == "http://shop.example/full"
    assert page.stat().st_size == MAX_PAGE_BYTES


class Folder:
    """A folder that is told of verdicts directly."""

    def __init__(self, path: Path) -> None:
        from twisted.internet import reactor

        self.saved = SavedPages(context(reactor=reactor, bits=0x5F3A9C01, save_rejected=str(path)))
        self._verdicts = 0

    def judge(self, number: int, body: bytes) -> None:
        """*number* pages, each of a site of its own."""
        for _ in range(number):
            self._verdicts += 1
            url = f"http://s{self._verdicts}.example/"
            self.saved.judged(
                scrapy.Request(url),
                HtmlResponse(url, body=body),
                site=f"s{self._verdicts}.example",
                redirects=(),
                rule="wrong",
            )


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("body", "number", "most"),
    [
        (b"Wrong captcha", MAX_PAGES + 50, MAX_PAGES),
        (bytes(MAX_PAGE_BYTES), MAX_BYTES // MAX_PAGE_BYTES + 10, MAX_BYTES // MAX_PAGE_BYTES),
    ],
    ids=["pages", "bytes"],
)
async def test_one_crawl_does_not_fill_a_disk(
    body: bytes, number: int, most: int, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "kept")
    folder.judge(number, body)
    await folder.saved.close()
    kept = pages(tmp_path / "kept")
    assert len(kept) == most
    assert kept[0].name.endswith("-5f3a9c010000.html")


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
    urls = [f"http://s{n}.example/" for n in range(200)]
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
        "200 pages (CAPMONSTER_REPORT_SAVE_REJECTED) could not be written before the crawl ended."
    ]
    busy_threads.set()
    await until(lambda: pages(tmp_path))
    assert len(pages(tmp_path)) == 1  # the one that was under way


@pytest_twisted.ensureDeferred
async def test_a_folder_that_cannot_be_written_holds_nothing_up_however_many_pages_wait(
    tmp_path: Path, busy_threads: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    """Each page that is given up must not cost a frame of the stack."""
    (tmp_path / "kept").write_text("a file")
    folder = Folder(tmp_path / "kept")
    folder.judge(MAX_PAGES, b"Wrong captcha")
    busy_threads.set()
    closed = folder.saved.close()
    await until(lambda: closed.called, seconds=5.0)
    assert len(lines(caplog, logging.WARNING)) == 1


@pytest_twisted.ensureDeferred
async def test_closing_waits_for_what_is_being_written(
    tmp_path: Path, busy_threads: threading.Event
) -> None:
    folder = Folder(tmp_path / "kept")
    folder.judge(99, b"Wrong captcha")
    closed = folder.saved.close()
    assert not closed.called
    busy_threads.set()
    await closed
    assert len(pages(tmp_path)) == 99
    folder.judge(1, b"Wrong captcha")
    await folder.saved.close()
    assert len(pages(tmp_path)) == 99


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
    elsewhere = Folder(tmp_path / "elsewhere")
    elsewhere.judge(1, b"Wrong captcha")
    await elsewhere.saved.close()
    (page,) = pages(tmp_path / "elsewhere")
    folder = Folder(tmp_path / "kept")
    taken = tmp_path / "kept" / page.relative_to(tmp_path / "elsewhere") / "full"
    taken.mkdir(parents=True)
    folder.judge(1, b"Wrong captcha")
    await folder.saved.close()
    assert [path for path in (tmp_path / "kept").rglob("*") if path.is_file()] == []
    assert taken.is_dir()


def test_every_constant_of_the_documentation_is_that_of_the_code() -> None:
    text = (Path(__file__).parent.parent / "docs" / "saved-pages.md").read_text(encoding="utf-8")
    for said in (
        f"about {5 * PAGES_PER_LEVEL} in each folder: the first {PAGES_PER_LEVEL}",
        f"{MAX_PAGES} pages and {MAX_BYTES // 2**20} MiB in one crawl",
        f"no page of more than {MAX_PAGE_BYTES // 2**20} MiB",
        *(f"`{name}`" for name in saved_pages.RESPONSE_CLASSES),
    ):
        assert said in text
