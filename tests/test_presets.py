"""The presets: every one gives the right verdict on pages of both sides, and keeps off the others'.

``python tests/test_presets.py`` writes the table in the documentation anew.
"""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse
from scrapy.settings import Settings
from workbench import run, run_scrapy

from scrapy_capmonster_report.commands.pages import PageReader, is_page
from scrapy_capmonster_report.rules import PRESETS, SETTING, compile_rules
from scrapy_capmonster_report.rules.presets import CATALOGUE
from scrapy_capmonster_report.task import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy_capmonster_report.commands.pages import SavedPage
    from scrapy_capmonster_report.rules import Rules

PAGES: Final = Path(__file__).with_name("pages")
TABLE: Final = Path(__file__).parents[1] / "docs" / "presets.md"
WANTED: Final = {
    *("recaptcha", "recaptcha-enterprise", "turnstile", "hcaptcha", "geetest"),
    *("cloudflare-challenge", "django-simple-captcha", "django-recaptcha", "rails-recaptcha"),
    *("mediawiki", "phpbb", "laravel", "wordpress", "amazon-robot-check", "image-captcha-again"),
}

every_preset = pytest.mark.parametrize("name", PRESETS)


def files(preset: str, verdict: str) -> list[Path]:
    """The pages of one side: ``refused`` or ``accepted``."""
    return sorted(filter(is_page, (PAGES / preset / verdict).iterdir()))


def pages(preset: str, verdict: str) -> Iterator[SavedPage]:
    return map(PageReader(Settings()), files(preset, verdict))


def matched(rules: Rules, page: SavedPage) -> str | None:
    rule = rules.match(
        page.response, page.request, redirects=page.redirects, on_error=lambda rule, error: None
    )
    return rule and rule.name


def documentation() -> str:
    """What stands in ``docs/presets.md``."""
    lines = [
        "# Presets",
        "",
        "Ready rules, used by name, alone or beside your own; the first rule that matches wins:",
        "",
        "```python",
        f'{SETTING} = ["turnstile", "django-recaptcha", {{"text": "Wrong code"}}]',
        "```",
        "",
        "`scrapy capmonster check --preset NAME` tries one on a page or a URL.",
        "",
        "A preset reports what speaks of the answer itself. An expired, missing or reused answer,",
        "a wrong key, a blocked address: nobody's bad answer. Where a marker may mean either, the",
        "table says so, and a report is sent only for a fresh answer on its first use.",
        "",
        "The last two columns count the pages in `tests/pages/` that the preset is tested with:",
        "those that it must report, and look-alikes that it must not. They were written for these",
        "tests from the markers that the source documents.",
        "",
        "| preset | reports | leaves out | source | must match | must not |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            f"| `{preset.name}` | {preset.reports} | {preset.leaves_out} | {preset.source} "
            f"| {len(files(preset.name, 'refused'))} | {len(files(preset.name, 'accepted'))} |"
            for preset in CATALOGUE
        ),
    ]
    return "\n".join(lines) + "\n"


def test_those_that_were_asked_for_are_there_and_each_has_pages() -> None:
    assert set(PRESETS) >= WANTED
    assert sorted(PRESETS) == sorted(preset.name for preset in CATALOGUE)
    assert sorted(PRESETS) == sorted(folder.name for folder in PAGES.iterdir())


@every_preset
def test_each_has_pages_enough_of_both_sides(name: str) -> None:
    assert len(files(name, "refused")) >= 3
    assert len(files(name, "accepted")) >= 3


def test_there_are_pages_enough_in_all_and_no_two_are_the_same() -> None:
    paths = [
        path for name in PRESETS for side in ("refused", "accepted") for path in files(name, side)
    ]
    assert len(paths) >= 120
    contents = {(path.read_bytes(), path.with_suffix(".meta.json").read_bytes()) for path in paths}
    assert len(contents) == len(paths)


@every_preset
def test_each_is_right_about_its_own_pages(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    ran = run(capfd, "replay", PAGES / name, "--preset", name, "--json")
    refused = len(files(name, "refused"))
    answer = ran.answer
    assert len(answer.pop("matches")) == refused
    assert answer == {
        "responses": refused + len(files(name, "accepted")),
        "rejected": refused,
        "by_rule": {name: refused},
        "wrong": [],
        "undecided": [],
        "skipped": [],
    }
    assert ran.code == 0


@every_preset
def test_none_reports_what_another_leaves_out(name: str) -> None:
    rules = compile_rules([name])
    reported = {
        page.source: rule
        for other in PRESETS
        for page in pages(other, "accepted")
        if (rule := matched(rules, page))
    }
    assert reported == {}


def test_all_at_once_are_right_about_all_pages_as_a_user_runs_them(tmp_path: Path) -> None:
    presets = [word for name in PRESETS for word in ("--preset", name)]
    ran = run_scrapy(tmp_path, "replay", PAGES, *presets, "--json")
    assert ran.answer["wrong"] == []
    assert ran.code == 0
    assert ran.answer["rejected"] == sum(len(files(name, "refused")) for name in PRESETS)
    assert ran.answer["by_rule"].keys() <= set(PRESETS)


def test_all_together_leave_alone_a_page_that_only_talks_of_a_refusal() -> None:
    """In a script, in a header, in a manual: what a refusal looks like, on a page that is none."""
    rules = compile_rules(list(PRESETS))
    url = "https://shop.example/teapots"
    for name in PRESETS:
        for page in pages(name, "refused"):
            body = page.response.text
            words = re.sub(r"[^ -~]+", " ", body)
            scripted = json.dumps(body).replace("</", "<\\/")
            for look_alike in (
                f"<html><script>const seen = {scripted};</script><h1>Teapots</h1></html>",
                f"<html><h1>Errors</h1><p>You may see:<pre>{escape(body)}</pre></html>",
                f"<html><h1>Teapots</h1><!-- {body.replace('-->', '')} --></html>",
            ):
                response = HtmlResponse(
                    url,
                    body=look_alike.encode(),
                    encoding="utf-8",
                    headers={"Content-Security-Policy": f"default-src {words}"},
                )
                rule = rules.match(response, Request(url), on_error=lambda rule, error: None)
                assert rule is None, (page.source, look_alike)


def test_the_kind_of_captcha_is_known_where_the_software_has_but_one() -> None:
    kinds = {name: {rule.kind for rule in compile_rules([name])} for name in PRESETS}
    assert kinds["django-recaptcha"] == {Kind.TOKEN}
    assert kinds["mediawiki"] == {None}


@every_preset
def test_each_can_be_written_as_json(name: str) -> None:
    rules = [dict(rule) for rule in PRESETS[name]]
    assert json.loads(json.dumps(rules)) == rules
    assert len(compile_rules(json.dumps(rules))) == len(compile_rules([name])) == len(rules)


def test_the_documentation_says_what_the_code_does() -> None:
    assert TABLE.read_text(encoding="utf-8") == documentation(), "run: python tests/test_presets.py"
    for preset in CATALOGUE:
        for words in (preset.reports, preset.leaves_out, preset.source):
            assert words.strip()
            assert "|" not in words


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(documentation(), encoding="utf-8")
