"""``scrapy capmonster replay``: the rules against everything that was saved."""

from __future__ import annotations

import gc
import json
import os
import pty
import subprocess
import sys
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import pytest
from workbench import (
    ANSWERED,
    BY_RULE,
    RULES,
    make_project,
    rules_file,
    run,
    run_scrapy,
    save,
    save_answered,
)

from scrapy_capmonster_report.commands.pages import PageReader
from scrapy_capmonster_report.commands.replay import replay
from scrapy_capmonster_report.commands.sources import Source
from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.page import MAX_BODY

URL = "https://shop.example/"
WRONG = {"name": "wrong", "text": "Wrong captcha"}

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
            "matches": [
                {"source": str(tmp_path / "pages" / "refused" / page.file), "rule": page.rule}
                for page in sorted(ANSWERED, key=lambda page: page.file)
                if page.rule is not None
            ],
            "wrong": [],
            "undecided": [],
            "skipped": [],
        }
        assert (ran.code, ran.err) == (0, "")

    def test_a_wrong_page_fails_the_build(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        missed = save(tmp_path / "pages" / "refused" / "a.html", "Falsches Captcha")
        found = save(tmp_path / "pages" / "refused" / "b.html", "Wrong captcha")
        hit = save(tmp_path / "pages" / "accepted" / "c.html", "How to avoid “Wrong captcha”")
        other = save(tmp_path / "pages" / "d.html", "Wrong captcha")
        argv = ("replay", tmp_path / "pages", "--rules", rules_file(tmp_path, WRONG))
        ran = run(capfd, *argv, "--json")
        assert ran.code == 1
        assert ran.answer == {
            "responses": 4,
            "rejected": 3,
            "by_rule": {"wrong": 3},
            "matches": [{"source": str(path), "rule": "wrong"} for path in (other, hit, found)],
            "undecided": [],
            "skipped": [],
            "wrong": [
                {"source": str(hit), "expected": "accepted", "rule": "wrong"},
                {"source": str(missed), "expected": "refused", "rule": None},
            ],
        }
        table = run(capfd, *argv)
        assert (table.code, table.err) == (1, "")
        assert "4 responses: 3 rejected, 2 wrong, 0 cannot be told, 0 files skipped\n" in table.out
        rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table.out.splitlines()]
        assert ["wrong", "3"] in rows
        assert ["(no rule)", "1"] in rows

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
        for folder in (Path(root), tmp_path / root):
            source = Source(folder, PageReader())
            assert source.expectation(str(folder / page)) == expected

    def test_the_folder_itself_says_what_to_expect(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        page = save(tmp_path / "refused" / "a.html", "Falsches Captcha")
        rules = rules_file(tmp_path, WRONG)
        monkeypatch.chdir(page.parent)
        for source in (page.parent, page, ".", "a.html"):
            assert run(capfd, "replay", source, "--rules", rules).code == 1

    def test_a_page_of_which_too_little_is_known_fails_the_build_and_says_what_is_missing(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        pages = tmp_path / "pages"
        refused = save(pages / "refused" / "a.html", "Wrong captcha")
        save(pages / "refused" / "b.html", "Wrong", url="https://shop.example/", status=403)
        other = save(pages / "c.html", "Wrong captcha")
        save(pages / "accepted" / "d.html", "Welcome")
        rule = {"name": "wrong", "domains": "shop.example", "status": 403, "text": "Wrong"}
        argv = ("replay", pages, "--rules", rules_file(tmp_path, rule))
        ran = run(capfd, *argv, "--json")
        assert (ran.code, ran.answer["rejected"], ran.answer["wrong"]) == (1, 1, [])
        assert ran.answer["undecided"] == [
            {"source": str(other), "missing": ["status", "url"]},
            {"source": str(refused), "missing": ["status", "url"]},
        ]
        table = run(capfd, *argv).out
        assert "2 cannot be told" in table
        told = run(capfd, *argv, "--json", "--url", "https://shop.example/", "--status", "403")
        assert (told.code, told.answer["rejected"], told.answer["undecided"]) == (0, 3, [])

    def test_nothing_is_wrong_where_nothing_is_expected_of_a_page_that_cannot_be_told(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        save(tmp_path / "pages" / "a.html", "Wrong captcha")
        rules = rules_file(tmp_path, {"status": 403})
        ran = run(capfd, "replay", tmp_path / "pages", "--rules", rules, "--json")
        assert (ran.code, len(ran.answer["undecided"])) == (0, 1)

    def test_where_nothing_is_expected_nothing_is_said_to_be_right_or_wrong(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        save(tmp_path / "pages" / "a.html", "Wrong captcha")
        save(tmp_path / "pages" / "notes.md", "")
        ran = run(capfd, "replay", tmp_path / "pages", "--rules", rules_file(tmp_path, WRONG))
        assert ran.code == 0
        assert ran.out.endswith(
            "1 response: 1 rejected, 0 cannot be told, 1 file skipped\n"
            "No page is under refused/ or accepted/, so nothing was expected of any.\n"
        )

    def test_other_files_are_no_pages(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        save(tmp_path / "pages" / "a.html", "Wrong captcha", status=200)
        others = ("a.png", "alone.meta.json", "b.html.gz", "notes.md", "shop.db")
        for name in (*others, ".gitignore"):
            save(tmp_path / "pages" / name, "Wrong captcha")
        rules = rules_file(tmp_path, WRONG)
        answer = run(capfd, "replay", tmp_path / "pages", "--rules", rules, "--json").answer
        assert answer["responses"] == 1
        assert answer["skipped"] == [str(tmp_path / "pages" / name) for name in others]

    def test_a_callback_that_fails_is_named_once_and_counts_as_no_match(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def is_rejected(response: Any, request: Any) -> bool:
            raise LookupError("no\nprice")

        for name in ("a", "b"):
            save(tmp_path / "pages" / f"{name}.html", "Wrong captcha", url=URL, status=200)
        settings = {"CAPMONSTER_REPORT_RULES": [{"name": "price", "callback": is_rejected}, WRONG]}
        ran = run(capfd, "replay", tmp_path / "pages", "--json", settings=settings)
        assert ran.answer["by_rule"] == {"wrong": 2}
        assert ran.err == "the callback of 'price' failed: LookupError: no price\n"

    def test_it_is_ended_by_ctrl_c_without_a_word(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def is_rejected(response: Any, request: Any) -> bool:
            raise KeyboardInterrupt

        page = save(tmp_path / "a.html", "Wrong captcha", url=URL, status=200)
        settings = {"CAPMONSTER_REPORT_RULES": [{"callback": is_rejected}]}
        ran = run(capfd, "replay", page, settings=settings)
        assert (ran.code, ran.out, ran.err) == (130, "", "")

    @pytest.mark.parametrize("command", ["check", "replay"])
    def test_a_page_whose_body_no_rule_sees_is_named(
        self, command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        page = save(tmp_path / "a.html", "Wrong captcha".ljust(MAX_BODY + 1))
        argv = (command, page, "--json", "--rules")
        ran = run(capfd, *argv, rules_file(tmp_path, WRONG))
        assert not ran.answer["rejected"]
        assert ran.err == f"{page}: larger than 10000000 bytes, so no rule sees the body\n"
        ran = run(capfd, *argv, rules_file(tmp_path, {"headers": {"X-Captcha": ""}}))
        assert ran.err == "", "no rule needs it"

    def test_memory_stays_flat(self, tmp_path: Path) -> None:
        pages, size = 100, 200_000
        for number in range(pages):
            save(tmp_path / f"{number}.txt", bytes([65 + number % 26]) * size)
        source = Source(tmp_path, PageReader())
        rules = compile_rules([WRONG])
        tracemalloc.start()
        try:
            result = replay(source, rules)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert result["responses"] == pages
        assert peak < pages * size / 2  # all of it, were the pages kept

    def test_a_judged_page_leaves_the_memory_at_once(self, tmp_path: Path) -> None:
        page = PageReader()(save(tmp_path / "a.html", "<p>Wrong captcha"))
        compile_rules([{"css": "p"}]).match_known(page, lambda rule, error: None)
        response = weakref.ref(page.response)
        gc.disable()
        try:
            del page
            assert response() is None
        finally:
            gc.enable()


MISTAKES: dict[str, tuple[list[str], str]] = {
    "no source": ([], "the following arguments are required: SOURCE"),
    "two sources": (["a", "b"], "unrecognized arguments: b"),
    "nothing there": (["none"], "there is no file or folder 'none'"),
    "pages at a URL": (["https://shop.example/"], "is a URL, not a file or folder"),
    "no pages": (["empty"], "empty has no saved pages and is not an HTTP cache"),
    "no page": (
        ["folder"],
        "folder has no saved pages and is not an HTTP cache; skipped: folder/no",
    ),
    "a page that is unreadable": (["pages"], "bad.meta.json is not JSON"),
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
    save(tmp_path / "folder" / "notes.md", "Wrong captcha")
    save(tmp_path / "pages" / "bad.html", "Wrong captcha")
    save(tmp_path / "pages" / "bad.meta.json", "{'url': 7}")
    save(tmp_path / "mistake.json", '[{"css": "p["}]')
    ran = run(capfd, "replay", *argv, "--preset", "laravel", "--json")
    assert said in ran.complaint
    assert ran.complaint.startswith("scrapy capmonster replay: ")


class TestFilesOfStrangers:
    """What somebody put into a folder of pages, or where an entry of a cache was."""

    def test_what_would_hang_or_never_end_is_skipped_and_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("scrapy_capmonster_report.commands.sources.MAX_BYTES", 1000)
        pages = tmp_path / "pages"
        save(pages / "a.html", "Wrong captcha")
        save(pages / "huge.html", "Wrong captcha" * 100)
        save(pages / "meta.html", "Wrong captcha")
        os.mkfifo(pages / "meta.meta.json")
        os.mkfifo(pages / "fifo.html")
        os.mkfifo(pages / "fifo.db")
        os.mkfifo(pages / "other.db.dat")
        (pages / "other.db.dir").write_bytes(b"")
        (pages / "zero.json").symlink_to("/dev/zero")
        (pages / "folder.html").mkdir()
        rules = rules_file(tmp_path, WRONG)
        ran = run(capfd, "replay", pages, "--rules", rules, "--json")
        assert (ran.code, ran.answer["responses"]) == (0, 1)
        names = {Path(source).name for source in ran.answer["skipped"]}
        others = {"fifo.db", "other.db.dat", "other.db.dir"}
        assert names == {"huge.html", "meta.html", "fifo.html", "zero.json", *others}
        assert "skipped" in run(capfd, "replay", pages, "--rules", rules).out

    @pytest.mark.parametrize("name", ["fifo.html", "zero.html"])
    def test_asked_for_by_name_it_is_an_error(
        self, name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        os.mkfifo(tmp_path / "fifo.html")
        (tmp_path / "zero.html").symlink_to("/dev/zero")
        argv = ("check", tmp_path / name, "--rules", rules_file(tmp_path, WRONG))
        assert f"{name} is not a regular file" in run(capfd, *argv).complaint


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
    def test_a_projects_own_cache(self, tmp_path: Path) -> None:
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
            for source in (".scrapy/httpcache", ".scrapy"):
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
        assert "pages" in shown
        assert "100%" in shown

    def test_what_is_not_shown_needs_no_rich(self, tmp_path: Path) -> None:
        save(tmp_path / "a.html", "Wrong captcha")
        words = ["scrapy", "capmonster", "replay", "a.html", "--preset", "turnstile", "--json"]
        code = (
            "import sys, scrapy.cmdline\n"
            f"try: scrapy.cmdline.execute({words})\n"
            "finally: print([name for name in sys.modules if name.startswith('rich')])"
        )
        argv = [sys.executable, "-c", code]
        done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]")

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
        assert "1 response: 1 rejected, 1 wrong" in ran.out


def test_the_answer_is_one_line_of_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "a.html", "Wrong captcha")
    rules = rules_file(tmp_path, {"name": "é", "text": "captcha"})
    ran = run(capfd, "replay", tmp_path / "a.html", "--rules", rules, "--json")
    (line,) = ran.out.splitlines()
    assert json.loads(line)["by_rule"] == {"é": 1}
