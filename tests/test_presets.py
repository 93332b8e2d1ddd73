"""The presets: every one gives the right verdict on pages of both sides, and keeps off the others'.

``python tests/test_presets.py`` writes the table in the documentation anew.
"""

from __future__ import annotations

import ast
import json
import re
from configparser import ConfigParser
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from scrapy import Request
from scrapy.http import HtmlResponse
from workbench import run, run_scrapy

from scrapy_capmonster_report.commands.pages import PageReader
from scrapy_capmonster_report.commands.sources import is_page
from scrapy_capmonster_report.rules import compile_rules, names, presets
from scrapy_capmonster_report.rules.presets import PRESETS
from scrapy_capmonster_report.rules.presets.messages import MAX_LENGTH, phrases
from scrapy_capmonster_report.rules.presets.places import MAX_ERRORS, MAX_MARKED
from scrapy_capmonster_report.settings import RULES
from scrapy_capmonster_report.task import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scrapy_capmonster_report.commands.pages import SavedPage
    from scrapy_capmonster_report.rules import Rules

PAGES: Final = Path(__file__).with_name("pages")
DOCS: Final = Path(__file__).parents[1] / "docs"
TABLE: Final = DOCS / "presets.md"
CATALOGUE: Final = Path(presets.__file__).with_name("catalogue.json")
WANTED: Final = {
    *("recaptcha", "recaptcha-enterprise", "turnstile", "hcaptcha", "geetest"),
    *("cloudflare-challenge", "django-simple-captcha", "django-recaptcha", "rails-recaptcha"),
    *("mediawiki", "phpbb", "laravel", "wordpress", "amazon-robot-check", "image-captcha-again"),
    *("json-captcha-error", "wordpress-plugins", "flask-wtf", "drupal", "yii2", "flash"),
    *("script-alert", "mybb", "dokuwiki", "token-captcha-again"),
}

every_preset = pytest.mark.parametrize("name", PRESETS)


def files(preset: str, verdict: str) -> list[Path]:
    """The pages of one side: ``refused`` or ``accepted``."""
    return sorted(filter(is_page, (PAGES / preset / verdict).iterdir()))


def pages(preset: str, verdict: str) -> Iterator[SavedPage]:
    return map(PageReader(), files(preset, verdict))


def matched(rules: Rules, page: SavedPage) -> str | None:
    rule = rules.match(
        page.response, page.request, redirects=page.redirects, on_error=lambda rule, error: None
    )
    return rule and rule.name


def said() -> ConfigParser:
    """What ``docs/presets.ini`` says of each preset."""
    texts = ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    texts.read(DOCS / "presets.ini", encoding="utf-8")
    return texts


KINDS: Final = {
    "services": ("Captcha services", "passes on what a captcha service answered"),
    "software": ("Software", "runs this software"),
    "sites": ("Sites", "is one of these, or redirects to the same URLs"),
    "general": ("Any site", "shows or returns an error in its own words"),
}
"""The kinds of presets in the catalogue: a heading, and what *your site* does."""


def documentation() -> str:
    """What stands in ``docs/presets.md``."""
    texts = said()
    catalogue = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    table = "\n".join(
        f"| {what} | {', '.join(f'[`{name}`](#{name})' for name in catalogue[kind])} |"
        for kind, (_, what) in KINDS.items()
    )
    sections = "\n".join(
        f"## {title}\n\n" + "\n".join(_of_one(name, texts[name]) for name in catalogue[kind])
        for kind, (title, _) in KINDS.items()
    )
    return f"""# Presets

Ready rules for widespread captchas and software. Use them by name, alone or beside your own; the
first rule that matches wins:

```python
{RULES} = ["turnstile", "django-recaptcha", {{"text": "Wrong code"}}]
```

| your site | presets |
| --- | --- |
{table}

`scrapy capmonster check PAGE --preset NAME` tries one on a saved page or a URL, and shows what it
looked for and what it found. `scrapy capmonster suggest` names those that fit your saved pages.

A preset only matches errors about the answer itself. An expired, missing or reused answer, a wrong
key or a blocked address is not the answer's fault. If a message may mean either, its preset says so
below, and [fairness](fairness.md) decides: only a fresh answer on its first use is reported.

## What counts as an error

Most presets know errors by their place and their words, in {len(languages())}
[languages](#languages):

- *On a page*, an error is a visible text in an element that is marked as one (by class, id or role,
  or in red), of at most {MAX_LENGTH} characters. Quotations, labels and scripts do not count.
  A page with more than {MAX_ERRORS} errors, or {MAX_MARKED:,} elements marked as errors, says
  nothing about an answer.
- *In JSON*, an error is the value of a member for errors (`error`, `message`, `msg`, `detail`,
  `code`, `errors.FIELD`, `errors[].message` …), not of one for data.
- It is *about the captcha* if it says so; if it says *code*, *picture* or the like next to a
  captcha; or by its place: the element or the member is named like the captcha's field, or is in a
  group with no other field and without the form's button.
- It *rejects the answer* if it says that the answer was wrong or that the verification failed, and
  nothing else: not that the answer is missing, expired or used before, that there were too many
  attempts, that another field or another code is wrong, or that the site itself failed.

{sections}
## Languages

The words are in `rules/presets/words.ini`. English counts everywhere; the others are
{", ".join(code for code in languages() if code != "en")}.
"""


def _of_one(name: str, texts: Mapping[str, str]) -> str:
    lines = [
        f"- {label}: {' '.join(texts[key].split()).removesuffix('.')}."
        for key, label in (
            ("matches", "Matches"),
            ("leaves_out", "Leaves out"),
            ("source", "Source"),
        )
        if key in texts
    ]
    counts = f"{len(files(name, 'refused'))} must match, {len(files(name, 'accepted'))} must not"
    return "\n".join((f"### {name}\n", *lines)) + f" Tested with pages: {counts}.\n"


def languages() -> list[str]:
    """The languages whose words are known, but the one that stands for all."""
    return sorted({phrase.language for phrase in phrases()} - {"*"})


def test_those_that_were_asked_for_are_there_and_each_has_pages() -> None:
    assert set(PRESETS) >= WANTED
    assert sorted(PRESETS) == sorted(said().sections())
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


def test_check_says_in_words_what_a_preset_looked_for(capfd: pytest.CaptureFixture[str]) -> None:
    page = PAGES / "django-simple-captcha" / "accepted" / "empty.html"
    ran = run(capfd, "check", page, "--preset", "django-simple-captcha", "--json")
    conditions = [item for rule in ran.answer["rules"] for item in rule["conditions"]]
    assert {item["key"] for item in conditions} == {"mark"}
    form = next(item for item in conditions if "NAME_0" in item["value"])
    assert form["holds"]
    assert form["found"].startswith("<input")
    error = next(item for item in conditions if item["value"].startswith("an error that says"))
    assert not error["holds"]
    assert error["found"] == "This field is required."


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


def test_no_preset_matches_a_page_that_only_talks_about_a_rejection() -> None:
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


def test_the_names_that_rules_know_are_those_that_they_look_for() -> None:
    looked_for = set()
    for module in Path(names.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            asked: ast.expr | None = None
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("has_name", "regex"):
                asked = node.args[-1]
            elif isinstance(node, ast.Subscript) and ast.unparse(node.value) == "SETS":
                asked = node.slice
            if isinstance(asked, ast.Constant):
                looked_for.add(str(asked.value))
    ini = names.read_ini("scrapy_capmonster_report.rules", "names.ini")
    known = {f"{section}.{name}" for section in ini.sections() for name in ini[section]}
    assert looked_for == {name.removeprefix("sets.") for name in known}


def test_the_documentation_says_what_the_code_does() -> None:
    assert TABLE.read_text(encoding="utf-8") == documentation(), "run: python tests/test_presets.py"
    for name, texts in said().items():
        assert name == "DEFAULT" or texts.keys() | {"leaves_out"} == {
            *("matches", "leaves_out", "source")
        }


if __name__ == "__main__":
    TABLE.write_text(documentation(), encoding="utf-8")
