"""The monitors in the documentation fail the runs that they are to fail, and no other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytest_twisted
from support import crawl
from test_summary import IMAGE, RULES, Customer, verdicts

TEXT = (Path(__file__).parent.parent / "docs" / "monitoring.md").read_text(encoding="utf-8")
MONITORS, SETTINGS, WATCHMAN = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)

# Spidermon logs by a method that newer Scrapy would rather see unused.
pytestmark = pytest.mark.filterwarnings(r"ignore:Spider\.log\(\) is deprecated")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, api: Any) -> dict[str, Any]:
    """The settings of the documentation, in a project that has its monitors."""
    for name, code in {"myproject": "", "myproject.monitors": MONITORS + WATCHMAN}.items():
        module = ModuleType(name)
        exec(code, vars(module))
        monkeypatch.setitem(sys.modules, name, module)
    settings: dict[str, Any] = {}
    exec(SETTINGS, {}, settings)
    return {"CAPMONSTER_API_URL": api().url, **settings, **RULES}


def visits(url: str, *, fine: int, wrong: int) -> list[Any]:
    urls = [url] * fine + [f"{url}/wrong"] * wrong
    return [(task, IMAGE, url, {}) for task, url in enumerate(urls, 1)]


@pytest.mark.parametrize(
    ("fine", "wrong", "complaint"),
    [
        (16, 4, None),
        (15, 5, "5 of 20 answers were rejected"),
        (1, 5, None),
        (100, 12, "Lists differ: ['127.0.0.1'] != []"),
    ],
    ids=["few", "too many", "of too few to tell", "more than it used to"],
)
@pytest_twisted.ensureDeferred
async def test_a_run_fails_if_too_much_is_rejected_or_more_than_it_used_to(
    settings: dict[str, Any],
    serve: Any,
    caplog: pytest.LogCaptureFixture,
    fine: int,
    wrong: int,
    complaint: str | None,
) -> None:
    await crawl(Customer, settings, visits=visits(serve(verdicts).url, fine=fine, wrong=wrong))
    spidermon = [r for r in caplog.records if r.getMessage().startswith("[Spidermon]")]
    errors = [r.getMessage() for r in spidermon if r.levelname == "ERROR"]
    assert spidermon
    assert len(errors) == (complaint is not None)
    assert all(complaint in error for error in errors)


@pytest_twisted.ensureDeferred
async def test_the_signal_of_an_increase_is_sent_while_the_crawl_runs(
    settings: dict[str, Any], serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings["EXTENSIONS"] = {"myproject.monitors.Watchman": 500}
    await crawl(Customer, settings, visits=visits(serve(verdicts).url, fine=100, wrong=12))
    assert "127.0.0.1 now rejects 33 %" in caplog.text
