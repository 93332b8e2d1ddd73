"""``scrapy capmonster check``: which rule matches a page, and why the others do not."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from workbench import (
    ANSWERED,
    HTML,
    RULES,
    Answered,
    rules_file,
    run,
    save,
)

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
        ("page.htm", "<p class='wrong'>"),
        ("page.xhtml", "<html xmlns='http://www.w3.org/1999/xhtml'><p class='wrong'/></html>"),
        ("page.HTML", b"<meta charset=windows-1251><p class='wrong'>\xcd\xe5\xe2\xe5\xf0\xed\xee"),
        ("page.txt", "<p class='wrong'>"),
        ("page", "<!doctype html><p class='wrong'>"),
    ],
)
@pytest.mark.parametrize(
    ("more", "rejected"),
    [
        ({}, True),
        ({"domains": "shop.example"}, None),
        ({"url": "^file:"}, None),
        ({"url": "^about:"}, None),
        ({"status": 200}, None),
        ({"method": "GET"}, None),
        ({"headers": {"Server": ""}}, None),
        ({"redirect": "."}, None),
        ({"status": 200, "text": "banned"}, False),
    ],
)
def test_a_page_of_which_nothing_else_is_known(
    name: str,
    body: str | bytes,
    more: dict[str, Any],
    rejected: bool | None,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = save(tmp_path / name, body)
    rules = rules_file(tmp_path, {"css": ".wrong", **more})
    ran = run(capfd, "check", path, "--rules", rules, "--json")
    assert (ran.code, ran.answer["rejected"]) == (0, rejected)
    told = run(capfd, "check", path, "--rules", rules)
    said = {True: "rejected (rule 1)", False: "no rule matches", None: "cannot be told"}[rejected]
    assert told.out.splitlines()[0] == f"{path}: {said}"
    assert ("Add what is unknown with --url" in told.out) is (rejected is None)


TOLD = {
    "--url": "https://shop.example/login",
    "--status": "403",
    "--method": "POST",
    "--header": "X-Captcha: wrong",
}


@pytest.mark.parametrize(
    ("key", "value", "option", "missing"),
    [
        ("domains", "shop.example", "--url", "url"),
        ("url", "/login$", "--url", "url"),
        ("status", "4xx", "--status", "status"),
        ("method", "POST", "--method", "method"),
        ("headers", {"X-Captcha": "^wrong$"}, "--header", "headers"),
        ("unless", {"status": 200}, "--status", "status"),
        ("unless", [{"text": "banned"}, {"url": "logout"}], "--url", "url"),
    ],
)
def test_an_option_says_what_the_page_does_not(
    key: str,
    value: Any,
    option: str,
    missing: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = save(tmp_path / "page.html", PAGE)
    argv = ("check", path, "--rules", rules_file(tmp_path, {key: value, "css": ".error"}), "--json")
    condition = next(
        condition
        for condition in run(capfd, *argv).answer["rules"][0]["conditions"]
        if condition["key"] == key
    )
    assert (condition["holds"], condition["found"]) == (None, f"not known: {missing}")
    assert run(capfd, *argv, option, TOLD[option]).answer["rejected"] is True
    others = [word for name in TOLD if name != option for word in (name, TOLD[name])]
    assert run(capfd, *argv, *others).answer["rejected"] is None


def test_what_stands_beside_a_page_counts_more_than_an_option(
    login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = rules_file(tmp_path, LOGIN)
    options = ("--url", "https://other.example/", "--status", "500", "--method", "PUT")
    answer = run(capfd, "check", login, "--rules", rules, "--json", *options).answer
    assert answer["rejected"] is True


def test_a_page_from_a_known_url_was_not_redirected_unless_it_is_said(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "page.html", "<p>", url="https://shop.example/")
    rules = rules_file(tmp_path, {"redirect": "captchaError"})
    assert run(capfd, "check", path, "--rules", rules, "--json").answer["rejected"] is False


@pytest.mark.parametrize(
    ("options", "rejected"),
    [
        ([], None),
        (["--status", "200"], None),
        (["--status", "200", "--method", "GET"], None),
        (["--status", "200", "--method", "GET", "--url", "http://shop.example/"], False),
        (["--status", "200", "--url", "http://shop.example/"], None),
        (["--status", "200", "--url", "http://shop.example/?captcha=x"], True),
        (["--status", "200", "--method", "POST"], True),
        (["--status", "422"], True),
        (["--status", "429"], False),
        (["--method", "POST"], None),
    ],
)
def test_a_preset_does_not_guess_how_a_page_was_asked_for(
    options: list[str], rejected: bool | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = save(tmp_path / "page.json", '{"error": "Invalid captcha"}')
    argv = ("check", page, "--preset", "json-captcha-error", *options, "--json")
    assert run(capfd, *argv).answer["rejected"] is rejected


@pytest.mark.parametrize(
    ("text", "said"),
    [("expired", "none of the exceptions applies"), ("captcha", "an exception applies:")],
)
def test_unless_is_told_in_words(
    login: Path, tmp_path: Path, text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = rules_file(tmp_path, {"css": ".error", "unless": {"text": text}})
    table = run(capfd, "check", login, "--rules", rules).out
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.splitlines()]
    assert said in " ".join(row[4] for row in rows if len(row) == 5)


def test_a_header_without_values_is_not_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "page.html", "<p>", headers={"Content-Type": [], "X-Captcha": []})
    rules = rules_file(tmp_path, {"css": "p", "unless": {"headers": {"X-Captcha": ""}}})
    assert run(capfd, "check", path, "--rules", rules, "--json").answer["rejected"] is True


def test_a_browser_saved_the_page_decompressed_but_noted_the_header(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    headers = {**HTML, "Content-Encoding": "gzip"}
    path = save(tmp_path / "page.html", "<p>Wrong captcha</p>", headers=headers)
    rules = rules_file(tmp_path, {"text": "Wrong captcha", "css": "p"})
    assert run(capfd, "check", path, "--rules", rules, "--json").answer["rejected"] is True


def test_a_table_to_read(login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rules = rules_file(tmp_path, LOGIN, {"name": "banned", "text": "[red]ban[/red]"})
    ran = run(capfd, "check", login, "--rules", rules)
    assert (ran.code, ran.err) == (0, "")
    assert f"{login}: rejected (login)" in ran.out.replace("\n", "")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in ran.out.splitlines()]
    assert max(map(len, ran.out.splitlines()[1:])) <= 80
    assert ["login: matches", "domains", '"shop.example"', "yes", "www.shop.example"] in rows
    assert ["banned", "text", '"[red]ban[/red]"', "no", ""] in rows


def test_what_a_site_wrote_cannot_command_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "page.html", "<p class='x'>\x1b[2J\x1b]0;owned\x07 [bold]é\u202e</p>")
    ran = run(capfd, "check", path, "--rules", rules_file(tmp_path, {"css": ".x"}))
    assert ran.code == 0
    assert "[bold]é" in ran.out
    assert not {"\x1b", "\x07", "\u202e"} & set(ran.out)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there")
def test_a_name_that_is_not_text_is_escaped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / os.fsdecode(b"caf\xe9.html"), "<p>")
    ran = run(capfd, "check", path, "--preset", "phpbb")
    assert r"caf\udce9.html: no rule matches" in ran.out
    ran = run(capfd, "check", path.with_suffix(".none"), "--preset", "phpbb")
    assert r"caf\udce9.none: No such file" in ran.complaint


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
    "nothing to check": ([], "the following arguments are required: SOURCE"),
    "no rules": (["page.html"], "there are no rules. Set CAPMONSTER_REPORT_RULES in a project"),
    "no such page": (["none.html", "--preset", "mediawiki"], "cannot read none.html: No such file"),
    "a folder": ([".", "--preset", "mediawiki"], "try: scrapy capmonster replay ."),
    "no such rules": (["page.html", "--rules", "none.json"], "cannot read none.json: No such file"),
    "rules that are no text": (["page.html", "--rules", "latin1.json"], "cannot read latin1.json"),
    "rules that are no JSON": (["page.html", "--rules", "page.html"], "page.html: it is not JSON"),
    "a mistake in a rule": (
        ["page.html", "--rules", "mistake.json"],
        "mistake.json: rule 1 ('a'), key 'statsu': there is no such key here",
    ),
    "the rule set callbacks": (
        ["page.html", "-s", "CAPMONSTER_REPORT_RULES=callbacks"],
        "the rule set 'callbacks' judges no page; give --rules FILE.json or --preset NAME.",
    ),
    "the rule set callbacks as a preset": (
        ["page.html", "--preset", "callbacks"],
        "the rule set 'callbacks' judges no page",
    ),
    "a preset that is none": (
        ["page.html", "--preset", "mediawki"],
        "--preset: rule 1: there is no preset 'mediawki'",
    ),
    "no such spider": (
        ["page.html", "--spider", "shop"],
        "there is no spider 'shop' here; there is: none",
    ),
    "meta that is not JSON": (["bad.html", "--preset", "mediawiki"], "bad.meta.json is not JSON"),
    "meta that is no object": (["list.html", "--preset", "phpbb"], "list.meta.json is not a JSON"),
    "meta of a wrong type": (
        ["wrong.html", "--preset", "phpbb"],
        "wrong.meta.json: 'status' is '200': it must be an int",
    ),
    "a status that is none": (
        ["status.html", "--preset", "phpbb"],
        "status.meta.json: 'status' is 99999: it must be an int from 100 to 999",
    ),
    "a URL that is none": (["nourl.html", "--preset", "phpbb"], "nourl.meta.json: 'url' is 'shop'"),
    "headers that are none": (
        ["headers.html", "--preset", "phpbb"],
        "headers.meta.json: 'headers'",
    ),
    "a key that is none": (
        ["key.html", "--preset", "phpbb"],
        "key.meta.json: there is no key 'satus'. Allowed: url, status, method, headers, redirects,",
    ),
    "a key that was meant": (["key.html", "--preset", "phpbb"], "Did you mean 'status'?"),
    "a URL on the command line": (
        ["page.html", "--url", "shop", "--preset", "phpbb"],
        "the options: 'url' is 'shop': it must",
    ),
    "a status on the command line": (
        ["page.html", "--status", "4xx"],
        "argument --status: invalid int value: '4xx'",
    ),
    "a header on the command line": (
        ["page.html", "--header", "Server"],
        "--header: 'Server' is not of the form NAME:VALUE",
    ),
    "a URL that is not of the web": (
        ["ftp://shop.example/page.html", "--preset", "phpbb"],
        "argument SOURCE: 'ftp://shop.example/page.html' is a URL, not a file or folder",
    ),
    "rules at a URL": (
        ["page.html", "--rules", "https://shop.example/rules.json"],
        "argument --rules: 'https://shop.example/rules.json' is a URL, not a file or folder",
    ),
    "a method that is none": (
        ["page.html", "--method", "", "--preset", "phpbb"],
        "the options: 'method' is '': it must be an HTTP method such as POST",
    ),
    "two words for a method": (
        ["page.html", "--method", "POST /login", "--preset", "phpbb"],
        "'method' is 'POST /login': it must be an HTTP method such as POST",
    ),
    "a header that is no text": (
        ["page.html", "--header", "Server: \udcff", "--preset", "phpbb"],
        "the options: 'headers' is",
    ),
    "a key twice": (
        ["twice.html", "--preset", "phpbb"],
        "twice.meta.json: the key 'status' is used twice in one dict. Allowed: each key once.",
    ),
    "a header twice": (
        ["header.html", "--preset", "phpbb"],
        "header.meta.json: the key 'Link' is used twice in one dict. Allowed: each key once.",
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
    save(tmp_path / "status.html", "<p>", status=99999)
    save(tmp_path / "key.html", "<p>", satus=200)
    save(tmp_path / "nourl.html", "<p>", url="shop")
    save(tmp_path / "headers.html", "<p>", headers={"Server": 7})
    save(tmp_path / "twice.html", "<p>")
    save(tmp_path / "twice.meta.json", '{"status": 200, "url": "http://x/", "status": 403}')
    save(tmp_path / "header.html", "<p>")
    save(tmp_path / "header.meta.json", '{"headers": {"Link": "a", "Link": "b"}}')
    ran = run(capfd, "check", *argv, "--json")
    assert said in ran.complaint
    assert ran.complaint.startswith("scrapy capmonster check: ")


def test_one_page_that_cannot_be_read_spoils_no_output(
    login: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran = run(capfd, "check", login, login.with_name("none.html"), "--preset", "phpbb", "--json")
    assert "none.html" in ran.complaint


def test_rules_from_an_editor_that_marks_its_files_can_be_read(
    login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = save(tmp_path / "marked.json", b'\xef\xbb\xbf[{"text": "."}]')
    assert run(capfd, "check", login, "--rules", rules, "--json").answer["rejected"] is True
