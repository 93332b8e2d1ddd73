"""``scrapy capmonster check``: which rule matches a page, and why the others do not."""

from __future__ import annotations

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
    "a status that is none": (
        ["status.html", "--preset", "phpbb"],
        "status.meta.json: 'status' is 99999: it must be from 100 to 999",
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
    save(tmp_path / "status.html", "<p>", status=99999)
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


def test_rules_from_an_editor_that_marks_its_files_can_be_read(
    login: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rules = save(tmp_path / "marked.json", b'\xef\xbb\xbf[{"text": "."}]')
    assert run(capfd, "check", login, "--rules", rules, "--json").answer["rejected"] is True


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
