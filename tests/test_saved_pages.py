"""Pages that a crawl keeps, and what the commands make of them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from keeping import FINE, WRONG_RULE, Visits, known, pages, path_of, places, visit, wrong_or_fine
from scrapy.http import HtmlResponse
from support import CLIENT_KEY, Reply
from wired import WRONG
from workbench import ANSWERED, HTML, RULES, Answered, rules_file, run, save

from scrapy_capmonster_report.mask import Mask
from scrapy_capmonster_report.saved_pages import (
    META_SUFFIX,
    folder_name,
)

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
        ({"class": 7}, "'class' is 7: it must be one of Response"),
        ({"class": "TextResponse", "encoding": 8}, "'encoding' is 8: it must be a str"),
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


@pytest_twisted.ensureDeferred
async def test_a_page_that_only_a_callback_rejects_is_among_those_that_passed(
    serve: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    await visit(serve, folder, lambda _: "<p>only the callback sees it", ["http://shop.example/"])
    assert places(folder) == {"passed/shop.example": 1}


@pytest_twisted.ensureDeferred
async def test_a_page_whose_meta_refresh_tells_is_no_page_that_passed(
    serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rule = {"name": "sent back", "redirect": "captchaError"}
    folder = tmp_path / "kept"
    target = "http://offsite.invalid/?captchaError=1"
    verdicts = await visit(
        serve,
        folder,
        lambda request: f'<html><meta http-equiv="refresh" content="0;url={target}"></html>',
        ["http://a.invalid/login"],
        spider=AtHome,
        CAPMONSTER_REPORT_RULES=[rule],
    )
    assert verdicts == {"http://a.invalid/login": "sent back"}
    assert places(folder) == {"rejected/a.invalid/sent_back": 1}
    rules = rules_file(tmp_path, rule)
    ran = run(capfd, "replay", folder, "--rules", rules, "--json")
    assert ran.answer["by_rule"] == {"sent back": 1}
    (page,) = pages(folder)
    ran = run(capfd, "check", page, "--rules", rules, "--json")
    assert ran.answer["rule"] == "sent back"
    (finding,) = ran.answer["rules"][0]["conditions"]
    assert finding["found"] == target


# -- what it is for ------------------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_user_looks_at_pages_and_says_what_they_should_be(
    serve: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "kept"
    visits = ["http://shop.example/wrong", "http://shop.example/fine"]
    await visit(serve, folder, wrong_or_fine, visits)
    argv = ("replay", folder, "--rules", rules_file(tmp_path, WRONG_RULE), "--json")
    answer = run(capfd, *argv).answer
    assert len(answer.pop("matches")) == 1
    assert answer == {
        "responses": 2,
        "rejected": 1,
        "by_rule": {"wrong": 1},
        "undecided": [],
        "skipped": [],
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
async def test_the_folder_may_be_in_the_users_home_as_that_of_a_ledger(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    await visit(serve, "~/kept", lambda _: FINE, ["http://shop.example/"])
    assert places(tmp_path / "kept") == {"passed/shop.example": 1}


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
    "con",  # the names of devices on Windows
    "aux.txt",
    "Lpt1",
    "неверная капча",
    "*?<>|",
    "x" * 300,
    "😀",
    "ж" * 300,
    "𠮷" * 300,
]


@pytest_twisted.ensureDeferred
async def test_with_any_name_of_a_rule_its_pages_stay_in_the_folder_and_are_not_expectations(
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
    assert found.partition(".")[0].lower() not in ("con", "aux", "lpt1")


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
        "redirects": ["https://shop.example/?key=***"],
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


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-16", "utf-16-be", "utf-32", "utf-32-be", "gb18030", "shift_jis"]
)
def test_the_key_is_masked_in_any_encoding_and_the_page_can_still_be_decoded(codec: str) -> None:
    body = f"Код: {CLIENT_KEY}, {CLIENT_KEY.upper()}.".encode(codec)
    assert Mask(CLIENT_KEY).body(body).decode(codec) == "Код: ***, ***."


def test_a_word_that_stands_for_a_key_in_a_dry_run_is_not_masked() -> None:
    mask = Mask("test")
    assert mask.text("http://test.example/") == "http://test.example/"
    assert mask.body(b"a test") == b"a test"
