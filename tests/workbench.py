"""The commands as a user runs them, a project to run them in, and pages to run them on."""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import brotli
import zstandard
from scrapy.exceptions import UsageError
from scrapy.settings import Settings

from scrapy_capmonster_report.commands import Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pytest

HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The one JSON object on standard output, where there must be nothing else."""
        assert self.code in (0, 1), self.err
        return json.loads(self.out)

    @property
    def answers(self) -> list[Any]:
        """The JSON objects on standard output, one a line."""
        assert self.code in (0, 1), self.err
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def complaint(self) -> str:
        """The one line that says what was wrong, with nothing on standard output."""
        assert self.code == 2
        assert self.out == ""
        (line,) = self.err.splitlines()
        return line


def run(
    capfd: pytest.CaptureFixture[str], *argv: object, settings: Mapping[str, Any] | None = None
) -> Ran:
    """Run ``scrapy capmonster *argv`` in this process, outside any project.

    Args:
        capfd: takes what is printed.
        argv: what stands on the command line after ``scrapy capmonster``.
        settings: those of a project, if any.
    """
    command = Command()
    command.settings = Settings(dict(settings or {}))
    command.settings.setdict(command.default_settings, priority="command")
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    capfd.readouterr()
    try:
        options, rest = parser.parse_known_args([str(word) for word in argv])
        try:
            command.process_options(rest, options)
            command.run(rest, options)
        except UsageError as error:  # as Scrapy does
            parser.error(str(error))
        code = command.exitcode
    except SystemExit as end:
        code = int(end.code or 0)
    return Ran(code, *capfd.readouterr())


def run_scrapy(folder: Path, *argv: object, **options: Any) -> Ran:
    """Run ``python -m scrapy capmonster *argv`` in a process of its own, in *folder*."""
    words = [sys.executable, "-m", "scrapy", "capmonster", *map(str, argv)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, **options}
    done = subprocess.run(words, cwd=folder, check=False, text=True, **options)
    return Ran(done.returncode, done.stdout, done.stderr or "")


def rules_file(folder: Path, *rules: object) -> Path:
    """Write the rules to a file for ``--rules``."""
    path = folder / "rules.json"
    path.write_text(json.dumps(rules), encoding="utf-8")
    return path


def save(path: Path, body: str | bytes, **meta: Any) -> Path:
    """Save a page, and what is known of it where something is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    if meta:
        path.with_suffix(".meta.json").write_text(json.dumps(meta), encoding="utf-8")
    return path


def make_project(folder: Path, settings: str, spiders: str = "") -> Path:
    """A Scrapy project in *folder*, with these lines of settings and spiders.

    Args:
        folder: where; the package inside it is ``shop``.
        settings: more lines of ``settings.py``.
        spiders: the lines of ``shop/spiders.py``.
    """
    package = folder / "shop"
    package.mkdir()
    (folder / "scrapy.cfg").write_text("[settings]\ndefault = shop.settings\n")
    (package / "__init__.py").write_text("")
    (package / "settings.py").write_text(f"SPIDER_MODULES = ['shop.spiders']\n{settings}\n")
    (package / "spiders.py").write_text(f"import scrapy\n{spiders}\n")
    return folder


REFUSAL = {"name": "refusal", "text": "Неверная капча|Wrong captcha", "status": [200, 403]}
API_REFUSAL = {"name": "api", "jmespath": "errors[?code == 'captcha_invalid']"}
PICTURE = {"name": "picture", "css": "form .error", "xpath": "//form//img[@id='captcha']"}
RULES = (REFUSAL, API_REFUSAL, PICTURE)

_WRONG = "<html><body><p>Wrong captcha, try again</p></body></html>"
_RUSSIAN = "<html><body><p>Неверная капча</p></body></html>"
_API = '{"errors": [{"code": "captcha_invalid"}]}'
_FINE = "<html><body><h1>Kettles</h1></body></html>"
_FORM = "<form><p class='error'>No.</p><img id='captcha'>"


@dataclass(frozen=True)
class Answered:
    """What a site answered, and the rule of ``RULES`` that matches it."""

    file: str
    body: bytes
    headers: Mapping[str, str]
    rule: str | None
    status: int = 200


def _html(charset: str) -> Mapping[str, str]:
    return {"Content-Type": f"text/html; charset={charset}"}


def _packed(coding: str, compress: Callable[[bytes], bytes]) -> Iterator[Answered]:
    """Pages as a site sends them that compresses what it sends."""
    for name, text, headers, rule in (
        ("wrong.html", _WRONG, HTML, "refusal"),
        ("fine.html", _FINE, HTML, None),
        ("api.json", _API, JSON, "api"),
    ):
        headers = {**headers, "Content-Encoding": coding}
        yield Answered(f"{coding}_{name}", compress(text.encode()), headers, rule)


ANSWERED = (
    Answered("wrong.html", _WRONG.encode(), HTML, "refusal"),
    Answered("fine.html", _FINE.encode(), HTML, None),
    Answered("forbidden.html", _WRONG.encode(), HTML, "refusal", 403),
    Answered("gone.html", _WRONG.encode(), HTML, None, 410),
    Answered("api.json", _API.encode(), JSON, "api"),
    Answered("api_fine.json", b'{"errors": [{"code": "sold_out"}]}', JSON, None),
    Answered("no_list.json", b'{"errors": {"code": "captcha_invalid"}}', JSON, None),
    Answered("plain.txt", b"Wrong captcha", {"Content-Type": "text/plain"}, "refusal"),
    *_packed("gzip", gzip.compress),
    *_packed("deflate", zlib.compress),
    *_packed("br", brotli.compress),
    *_packed("zstd", zstandard.ZstdCompressor().compress),
    # The encoding stands in the header, in the page, nowhere; or the bytes are none of it.
    Answered("koi8.html", _RUSSIAN.encode("koi8-r"), _html("koi8-r"), "refusal"),
    Answered(
        "cp1251.html",
        b'<meta charset="windows-1251">' + _RUSSIAN.encode("cp1251"),
        {"Content-Type": "text/html"},
        "refusal",
    ),
    Answered(
        "cp1251_gzip.html",
        gzip.compress(_RUSSIAN.encode("cp1251")),
        {**_html("windows-1251"), "Content-Encoding": "gzip"},
        "refusal",
    ),
    Answered(
        "bom.html", b"\xef\xbb\xbf" + _RUSSIAN.encode(), {"Content-Type": "text/html"}, "refusal"
    ),
    Answered("no_utf8.html", b"\xe9\xfc Wrong captcha \xe9", HTML, "refusal"),
    # Scrapy does not know this encoding, and looks at the body.
    Answered("coded.html", _WRONG.encode(), {**HTML, "Content-Encoding": "utf-8"}, "refusal"),
    # Broken.
    Answered("unclosed.html", f"<html><div><ul><li>{_FORM}".encode(), HTML, "picture"),
    Answered("nul.html", b"\0\0<p>\0Wrong captcha", HTML, "refusal"),
    Answered("empty.html", b"", HTML, None),
    Answered("cut.json", b'{"errors": [{"code": "captcha_inv', JSON, None),
    Answered("deep.json", b"[" * 100_000, JSON, None),
    Answered("png.html", b"\x89PNG\r\n\x1a\n" + bytes(256), {"Content-Type": "image/png"}, None),
    Answered("no_gzip.html", b"\x1f\x8b\x08\0 none", {**HTML, "Content-Encoding": "gzip"}, None),
)
"""Pages of every kind, by names that differ."""


BY_RULE = {rule["name"]: sum(page.rule == rule["name"] for page in ANSWERED) for rule in RULES}
"""How many of them each rule matches."""


def save_answered(folder: Path) -> None:
    """Save ``ANSWERED`` as pages, sorted by what is expected of them."""
    for page in ANSWERED:
        place = folder / ("accepted" if page.rule is None else "refused")
        url = f"https://shop.example/{page.file}"
        save(place / page.file, page.body, url=url, status=page.status, headers=dict(page.headers))
