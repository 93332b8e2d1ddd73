"""``scrapy capmonster suggest``: rules from pages that a user has sorted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from workbench import run, run_scrapy, save

from scrapy_capmonster_report.commands.pages import PageReader
from scrapy_capmonster_report.commands.sources import is_page
from scrapy_capmonster_report.commands.suggest import MIN_PAGES, suggest
from scrapy_capmonster_report.rules import read_rules
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.settings import SAVE_REJECTED

if TYPE_CHECKING:
    from scrapy_capmonster_report.commands.pages import SavedPage

PAGES: Final = Path(__file__).with_name("pages")

HOME = "<h1>Kettles</h1><p>Hello {name}, your last order: 2026-11-2{number}</p>"
FORM = "<form><input name='user' value='{name}'><img src='/captcha?sid={number}af93b'></form>"


def saved(folder: Path, **pages: Any) -> Path:
    """Save pages by the folder that they belong in: bodies, or bodies with what is known."""
    for side, bodies in pages.items():
        for number, page in enumerate(bodies):
            body, meta = page if isinstance(page, tuple) else (page, {})
            suffix = "json" if body.startswith("{") else "html"
            save(folder / side / f"{number}.{suffix}", body, **meta)
    return folder


def rejected_by(rules: list[Any], page: SavedPage) -> bool:
    rule, _ = read_rules(rules).match_known(page, lambda rule, error: None)
    return rule is not None


class TestHalves:
    """Rules from one half of the pages that presets are tested with are right about the other."""

    def side(self, preset: str, verdict: str) -> list[SavedPage]:
        files = sorted(filter(is_page, (PAGES / preset / verdict).iterdir()))
        return list(map(PageReader(), files))

    @pytest.mark.parametrize("half", [0, 1])
    @pytest.mark.parametrize("preset", sorted(path.name for path in PAGES.iterdir()))
    def test_nine_of_ten_pages_of_the_other_half(self, preset: str, half: int) -> None:
        refused, accepted = self.side(preset, "refused"), self.side(preset, "accepted")
        if len(refused[half::2]) < MIN_PAGES:
            assert len(refused) == 3
            return
        found, _ = suggest(refused[half::2], accepted[half::2])
        rules = [suggestion["rule"] for suggestion in found]
        others = [(page, True) for page in refused[1 - half :: 2]]
        others += [(page, False) for page in accepted[1 - half :: 2]]
        right = [rejected_by(rules, page) is expected for page, expected in others]
        assert not any(rejected_by(rules, page) for page, expected in others if not expected)
        assert sum(right) >= 0.9 * len(right), rules


class TestExample:
    """Rules from the pages that the example's crawl has saved."""

    def test_rules_from_half_of_them_are_right_about_the_others(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        example = tmp_path / "example_project"
        shutil.copytree(PAGES.parents[1] / "example_project", example)
        kept = tmp_path / "kept"
        subprocess.run(
            [sys.executable, "run.py", "--crawls", "1", "-s", f"{SAVE_REJECTED}={kept}"],
            cwd=example,
            check=True,
            capture_output=True,
            timeout=110,
        )
        halves = (tmp_path / "one", tmp_path / "other")
        for side, verdict in (("rejected", "refused"), ("passed", "accepted")):
            for folder in sorted({path.parent for path in (kept / side).rglob("*.html")}):
                for number, page in enumerate(sorted(folder.glob("*.html"))):
                    place = halves[number % 2] / verdict
                    place.mkdir(parents=True, exist_ok=True)
                    for path in (page, page.with_suffix(".meta.json")):
                        shutil.copy(path, place)
        found = run(capfd, "suggest", halves[0], "--json").answer
        assert 0 < len(found["suggestions"]) <= found["refused"]
        rules = tmp_path / "rules.json"
        rules.write_text(json.dumps([suggestion["rule"] for suggestion in found["suggestions"]]))
        answer = run(capfd, "replay", halves[1], "--rules", rules, "--json").answer
        assert len(answer["wrong"]) <= 0.1 * answer["responses"]
        assert not any(wrong["expected"] == "accepted" for wrong in answer["wrong"])


WRONG = "<p class='error'>{name}, that captcha was wrong.</p>" + FORM


class TestOwnRules:
    """What it finds where no preset knows the site."""

    @pytest.mark.parametrize(
        ("refused", "accepted", "other"),
        [
            pytest.param(
                ["<div class='msg-error'>Kaptcha stimmt nicht, falsche Kaptcha-Zahl</div>"] * 2,
                ["<h1>Willkommen</h1>"] * 2,
                "<div class='msg-error'>Kaptcha stimmt nicht, falsche Kaptcha-Zahl</div><p>2",
                id="a class",
            ),
            pytest.param(
                [('{"ok": false, "why": "gate_closed"}', {})] * 2,
                [('{"ok": true, "why": "open"}', {})] * 2,
                '{"why": "gate_closed", "ok": false, "more": 1}',
                id="a JSON member",
            ),
            pytest.param(
                [('{"code": 4017, "msg": "try once more"}', {})] * 2,
                [('{"code": 4011, "msg": "no such user"}', {})] * 2,
                '{"msg": "once more", "code": 4017}',
                id="a number of an error",
            ),
            pytest.param(
                [("<p>", {"status": 403}), ("<h1>No", {"status": 403})],
                [("<p>", {"status": 200}), ("<h1>No", {"status": 200})],
                ("<h2>", {"status": 403}),
                id="a status",
            ),
            pytest.param(
                [("<p>", {"url": "http://x/", "redirects": ["http://x/?captcha_bad=1&sid=3f"]})]
                * 2,
                [("<p>", {"url": "http://x/", "redirects": ["http://x/?sid=9a"]})] * 2,
                ("<p>", {"url": "http://x/", "redirects": ["http://x/a?captcha_bad=2"]}),
                id="a redirect",
            ),
            pytest.param(
                ["<form id='gate'><img id='captcha_image'></form>"] * 2,
                ["<form id='gate'></form>"] * 2,
                "<div><img id='captcha_image'>",
                id="an element",
            ),
        ],
    )
    def test_one_rule_that_another_page_is_caught_by(
        self,
        refused: Any,
        accepted: Any,
        other: Any,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        folder = saved(tmp_path / "pages", refused=refused, accepted=accepted)
        ran = run(capfd, "suggest", folder, "--json")
        (suggestion,) = ran.answer["suggestions"]
        assert (ran.code, ran.err) == (0, "")
        assert (suggestion["refused"], suggestion["accepted"]) == (2, 0)
        saved(tmp_path / "more", refused=[other])
        rules = tmp_path / "rules.json"
        rules.write_text(json.dumps([suggestion["rule"]]))
        again = run(capfd, "replay", tmp_path / "more", "--rules", rules, "--json")
        assert (again.code, again.answer["rejected"]) == (0, 1)

    def test_general_before_exact_and_few(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        refused = [
            f"<div class='captcha-error'>Code {number} was wrong, {number} tries left</div>"
            for number in range(3, 9)
        ]
        folder = saved(tmp_path, refused=refused, accepted=["<p class='error'>Sold out"] * 3)
        (suggestion,) = run(capfd, "suggest", folder, "--json").answer["suggestions"]
        assert suggestion["rule"] == {"css": ".captcha-error"}
        assert suggestion["refused"] == 6

    def test_never_a_nonce_a_date_or_a_users_name(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        told = {"name": "Boromir", "number": 7}
        refused = [
            WRONG.format(**told) + "<meta name='csrf' content='c0ffee42'><p id='n-c0ffee42'>",
            '{"error": "captcha_wrong", "user": "Boromir", "id": "c0ffee42", "at": 1764151}',
        ]
        accepted = [HOME.format(name="Frodo", number=3), "<p class='error'>Sold out</p>"]
        folder = saved(tmp_path, refused=refused * 2, accepted=accepted)
        answer = run(capfd, "suggest", folder, "--json").answer
        assert sum(found["refused"] for found in answer["suggestions"]) == 4
        for secret in ("boromir", "c0ffee", "1764151", "2026", "af93b"):
            assert secret not in json.dumps(answer["suggestions"]).lower()

    def test_json_as_php_writes_it(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        """It escapes letters that are not ASCII, so a regex does not find them in the body."""
        refused = json.dumps({"error": "Попробуйте ещё раз ввести символы"})
        folder = saved(tmp_path, refused=[refused] * 2, accepted=['{"error": "Sold out"}'] * 2)
        ran = run(capfd, "suggest", folder, "--json")
        assert (ran.code, ran.answer["suggestions"]) == (1, [])

    def test_nothing_else_than_a_nonce_tells_them_apart(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        page = "<p class='error' id='x{0}'>Ticket {0}</p><input name='csrf' value='{0}'>"
        folder = saved(
            tmp_path,
            refused=[page.format("c0ffee42")] * 3,
            accepted=[page.format("badcafe1")] * 3,
        )
        ran = run(capfd, "suggest", folder, "--json")
        assert (ran.code, ran.err.strip()) == (
            1,
            "3 of 3 rejected pages cannot be told from the accepted ones.",
        )
        assert json.loads(ran.out) == {"refused": 3, "accepted": 3, "suggestions": []}

    def test_pages_that_no_program_likes(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        no_url = ("<p>", {"url": "http://x/", "redirects": ["http://["]})
        odd = [
            no_url,
            "",
            "\0",
            "<p class='error \" x'>\"",
            "[" * 900 + "]" * 900,
            '{"a": NaN}',
            "{}",
            "7",
        ]
        wrong = "<p class=\"captcha-error\">“No”; 'no' \\ (no) [no]</p>"
        folder = saved(tmp_path, refused=[*odd, wrong, wrong], accepted=odd)
        (found,) = run(capfd, "suggest", folder, "--json").answer["suggestions"]
        assert (found["rule"], found["refused"]) == ({"css": ".captcha-error"}, 2)


class TestAsAUserRunsIt:
    def test_rules_to_paste(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        refused = ["<p class='captcha-error'>Nope</p>"] * 2
        folder = saved(tmp_path, refused=refused, accepted=["<p>Fine</p>"] * 2)
        ran = run(capfd, "suggest", folder)
        assert (ran.code, ran.out) == (
            0,
            '# 2 of 2 rejected pages\n{"css": ".captcha-error"},\n',
        )

    def test_a_preset_is_preferred(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        assert "turnstile" in PRESETS
        refused = [
            '{"success": false, "error-codes": ["invalid-input-response"], "by": "turnstile"}'
        ]
        folder = saved(tmp_path, refused=refused * 2, accepted=['{"success": true}'] * 2)
        (suggestion,) = run(capfd, "suggest", folder, "--json").answer["suggestions"]
        assert suggestion["rule"] == "turnstile"

    @pytest.mark.parametrize(
        ("body", "preset"),
        [
            ('{"code": "captcha_invalid", "message": "Captcha"}', "wordpress"),
            ('{"code": "invalid_captcha", "message": "Captcha"}', "json-captcha-error"),
            ("<p class='error'>Wrong captcha<div class='g-recaptcha'>", "django-recaptcha"),
            ("<p class='error'>Wrong captcha<div class='mtcaptcha'>", "token-captcha-again"),
        ],
    )
    def test_the_preset_of_a_product_only_if_the_pages_show_it(
        self, body: str, preset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        said = {"url": "http://site.example/form", "status": 403, "method": "POST"}
        said |= {"headers": {"Content-Type": "text/html"}}
        folder = saved(tmp_path, refused=[(body, said)] * 2, accepted=[("<p>Fine", said)] * 2)
        (suggestion,) = run(capfd, "suggest", folder, "--json").answer["suggestions"]
        assert suggestion["rule"] == preset

    @pytest.mark.parametrize(("refused", "accepted"), [(1, 3), (3, 1), (0, 2), (2, 0)])
    def test_too_few_pages(
        self, refused: int, accepted: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        sides = {"refused": ["<p class='captcha-error'>"] * refused, "accepted": ["<p>"] * accepted}
        ran = run(capfd, "suggest", saved(tmp_path, **sides), "--json")
        assert ran.code == 1
        counts = f"{refused} refused, {accepted} accepted"
        assert ran.err.startswith(f"Too few pages to suggest rules from: {counts}. At least 2")
        assert json.loads(ran.out)["suggestions"] == []

    def test_a_page_that_is_given_in_two_ways_counts_once(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        refused = ["<p class='captcha-error'>Nope</p>"] * 2
        folder = saved(tmp_path / "pages", refused=refused, accepted=["<p>Fine</p>"] * 3)
        (tmp_path / "also").symlink_to(folder / "accepted")
        monkeypatch.chdir(tmp_path)
        twice = ("--refused", folder / "refused", "--accepted", "also")
        answer = run(capfd, "suggest", "pages", *twice, "--json").answer
        assert (answer["refused"], answer["accepted"]) == (2, 3)
        (suggestion,) = answer["suggestions"]
        assert suggestion["refused"] == 2

    def test_two_folders(self, tmp_path: Path) -> None:
        saved(tmp_path, bad=["<p class='captcha-error'>No</p>"] * 2, good=["<p>Fine</p>"] * 2)
        ran = run_scrapy(tmp_path, "suggest", "--refused", "bad", "--accepted", "good", "--json")
        assert ran.answer["suggestions"][0]["rule"] == {"css": ".captcha-error"}

    @pytest.mark.parametrize(
        ("argv", "said"),
        [
            ([], "there are no pages under refused/ or accepted/"),
            (["."], "sort those of FOLDER into them, or give --refused and --accepted"),
            (["--refused", "a"], "there is no file or folder 'a'"),
            (["none"], "there is no file or folder 'none'"),
        ],
    )
    def test_what_is_wrong_is_said_in_one_line(
        self,
        argv: list[str],
        said: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert said in run(capfd, "suggest", *argv).complaint
