"""The page of a ledger, opened in a real browser."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from support import crawl
from test_summary import IMAGE, RULES, TURNSTILE, Customer, summary, verdicts  # noqa: F401

from scrapy_capmonster_report.insight.page import MOST_ROWS, page
from scrapy_capmonster_report.ledger import AGES, Alert, Count, History

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Browser

pytest_plugins = ["browser"]

PHONE, DESKTOP = 390, 1280
NOW = 1_795_500_000
HOUR = NOW // 3600 * 3600


def counts(site: str, kind: str, hour: int = HOUR, **fates: int) -> list[Count]:
    """So many tasks of each fate, ``sent_accepted=3`` and the like."""
    return [
        Count(hour, site, "spider", kind, 20, "", fate.replace("_", "/"), "", tasks)
        for fate, tasks in fates.items()
    ]


HISTORY = History(
    [
        *counts("shop.example", TURNSTILE, HOUR - 86400, passed=1900, sent_accepted=100),
        *counts("shop.example", TURNSTILE, passed=60, sent_accepted=40),
        *counts("shop.example", "", passed=10),
        *counts("tickets.example", IMAGE, passed=30, sent_accepted=60, withheld_stale=10),
        Count(HOUR, "tickets.example", "spider", IMAGE, 180, "", "sent/refused", "ERROR_X", 20),
        *counts("tickets.example", IMAGE, dropped_expired=3, pending=2),
    ],
    [Alert(HOUR + 60.0, "shop.example", 0.05, 0.4, 20)],
)

CONTRASTS = """
(() => {
  const parts = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = parts(color).slice(0, 3).map(part => {
      part /= 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      const alpha = parts(color)[3];
      if (alpha === undefined || alpha === 1) return color;
    }
  };
  const worst = {};
  for (const element of document.querySelectorAll(
    "svg text, h1, h2, h3, p, small, strong, td, th, .name"
  )) {
    const style = getComputedStyle(element);
    const color = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(color), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    worst[element.localName] = Math.min(worst[element.localName] ?? 99, ratio);
  }
  return worst;
})()
"""


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Any:
    """Open the page of a history; gives the browser."""

    def open_page(history: History, *, width: int = DESKTOP, dark: bool = False) -> Browser:
        path = tmp_path / "page.html"
        path.write_text(page(history, now=NOW), encoding="utf-8")
        browser.open(path.as_uri(), width=width, dark=dark)
        asked_for = [event["request"]["url"] for event in browser.seen("Network.requestWillBeSent")]
        assert asked_for == [path.as_uri()], "nothing but the page itself"
        assert browser.seen("Log.entryAdded") == browser.seen("Runtime.exceptionThrown") == []
        return browser

    return open_page


def texts(browser: Browser, selector: str) -> list[str]:
    script = f"[...document.querySelectorAll({json.dumps(selector)})].map(e => e.innerText.trim())"
    found: list[str] = browser.run(script)
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_the_page_shows_the_figures_on_a_phone_and_on_a_desk_by_day_and_by_night(
    opened: Any, width: int, dark: bool
) -> None:
    browser = opened(HISTORY, width=width, dark=dark)

    figures = {"tasks": "2,235", "rejected": "235", "rate": "11 %", "accepted": "200"}
    for name, text in {**figures, "alerts": "1"}.items():
        assert texts(browser, f"#{name}") == [text]
    assert texts(browser, "#sites .row .name") == [
        *("tickets.example", IMAGE, "shop.example", TURNSTILE, "unknown"),
    ]
    assert texts(browser, "#sites .figure strong") == ["76 %", "76 %", "7 %", "7 %", "0 %"]
    ranges = [text.replace("\N{EN DASH}", "-") for text in texts(browser, "#sites .figure small")]
    assert ranges == [
        "68-83 % · 95 of 125",
        "68-83 % · 95 of 125",
        "6-8 % · 140 of 2,110",
        "6-8 % · 140 of 2,100",
        "0-28 % · 0 of 10",
    ]
    assert texts(browser, "#courses h3") == ["shop.example", "tickets.example"]
    (alert,) = texts(browser, "#courses .alert")
    assert alert.endswith("from 5 % to 40 %")
    assert texts(browser, "#ages h3") == [TURNSTILE, IMAGE, "unknown"]
    assert texts(browser, "#outcomes .name") == [
        *("reported, accepted", "reported, turned down"),
        *("not reported: stale", "lost: expired", "waiting"),
    ]
    assert texts(browser, "#outcomes strong") == ["200", "20", "10", "3", "2"]
    assert texts(browser, "#codes .row") == ["ERROR_X\n20"]

    assert browser.run("document.documentElement.scrollWidth") == width, "nothing sticks out"
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(19, 21, 24)" if dark else "rgb(251, 251, 250)")
    contrasts = browser.run(CONTRASTS)
    assert {"text", "td", "p", "small"} <= contrasts.keys()
    assert min(contrasts.values()) >= 4.5, contrasts


def test_the_table_can_be_searched_and_sorted(opened: Any) -> None:
    browser = opened(HISTORY)
    shown = "#figures tbody tr:not([hidden])"
    assert texts(browser, "#found") == ["3 of 3 rows"]

    browser.run("search.value = 'SHOP turn'; search.dispatchEvent(new Event('input'))")
    assert [row.split("\t")[:5] for row in texts(browser, shown)] == [
        ["shop.example", TURNSTILE, "2,100", "1,960", "140"]
    ]
    assert texts(browser, "#found") == ["1 of 3 rows"]

    browser.run("search.value = ''; search.dispatchEvent(new Event('input'))")
    press_tasks = "document.querySelectorAll('#figures th button')[2].click()"
    browser.run(press_tasks)
    assert [row.split("\t")[2] for row in texts(browser, shown)] == ["2,100", "125", "10"]
    browser.run(press_tasks)
    assert [row.split("\t")[2] for row in texts(browser, shown)] == ["10", "125", "2,100"]


def test_what_happened_within_an_hour_has_no_course(opened: Any) -> None:
    browser = opened(History(counts("shop.example", TURNSTILE, passed=9, sent_accepted=1), []))
    assert browser.run("document.body.innerText.includes('All of it was within an hour.')")
    assert texts(browser, "#courses h3") == []
    browser = opened(History(counts("shop.example", TURNSTILE, passed=9), []))
    assert browser.run("document.body.innerText.includes('Nothing was refused.')")


def test_an_alert_is_marked_in_the_course_of_its_site(opened: Any) -> None:
    marks = (
        "[...document.querySelectorAll('#courses .card')].map(c => c.innerHTML.includes('--alert'))"
    )
    assert opened(HISTORY).run(marks) == [True, False]
    assert opened(HISTORY._replace(alerts=[])).run(marks) == [False, False]


def test_names_that_strangers_chose_are_text_and_nothing_else(opened: Any) -> None:
    name = "<img src='http://evil.invalid/x.png' onerror='document.title=1'>$\\alpha_$ 验证码"
    fate = {"sent_accepted": 5}
    history = History(
        [
            *counts(name, name, HOUR - 7200, passed=5, **fate),
            Count(HOUR, name, name, name, 0, name, "sent/refused", name, 5),
        ],
        [Alert(float(HOUR), name, 0.1, 0.9, 20)],
    )
    browser = opened(history)
    assert browser.run("document.querySelectorAll('img, script').length") == 1, "our own script"
    assert browser.run("document.title") == "Captcha answers"
    assert texts(browser, "#sites .row .name") == [name, name]
    assert texts(browser, "#codes .name") == [name]


def test_a_ledger_without_tasks_gives_a_page_that_says_so(opened: Any) -> None:
    browser = opened(History([], []))
    assert "No tasks." in browser.run("document.body.innerText")


def test_the_page_of_a_large_ledger_is_small() -> None:
    everything = [
        Count(
            HOUR - day * 86400, f"site{site}.example", "", f"Type{kind}Task", age, "", fate, "", 7
        )
        for day in range(90)
        for site in range(50)
        for kind, age in enumerate(AGES)
        for fate in ("passed", "sent/accepted")
    ]
    alerts = [
        Alert(float(HOUR - n * 3600), f"site{n % 9}.example", 0.1, 0.9, 20) for n in range(500)
    ]
    text = page(History(everything, alerts), now=NOW)
    assert len(text.encode()) < 300_000
    assert f"The first {MOST_ROWS} rows" in text


@pytest_twisted.ensureDeferred
async def test_the_page_of_a_crawl_opens_and_shows_both_sites(
    summary: Any,  # noqa: F811
    serve: Any,
    api: Any,
    browser: Browser,
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    port = serve(verdicts).port
    one, two = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    await crawl(
        Customer,
        {"CAPMONSTER_API_URL": api().url, "CAPMONSTER_REPORT_LEDGER": f"sqlite:{ledger}", **RULES},
        visits=[
            (1, TURNSTILE, f"{one}/wrong", {}),
            (2, TURNSTILE, one, {}),
            (3, IMAGE, f"{two}/wrong", {}),
        ],
    )
    path = tmp_path / "page.html"
    assert summary(str(ledger), "--html", str(path))[0] == 0
    browser.open(path.as_uri(), width=PHONE)
    assert len(browser.seen("Network.requestWillBeSent")) == 1
    assert texts(browser, "#sites .site > .row:first-child .name") == ["localhost", "127.0.0.1"]
    assert path.stat().st_size < 300_000

    code, out, err = summary(str(ledger), "--html", str(tmp_path))
    assert (code, out) == (2, "")
    assert err == f"scrapy capmonster summary: cannot write {tmp_path}: Is a directory\n"


@pytest.mark.parametrize("module", ["jinja2", "matplotlib"])
def test_a_page_without_the_extra_is_a_mistake_that_names_it(
    module: str,
    summary: Any,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("page", "charts"):
        monkeypatch.delitem(sys.modules, f"scrapy_capmonster_report.insight.{name}")
    monkeypatch.setitem(sys.modules, module, None)
    code, out, err = summary("ledger.sqlite", "--html", str(tmp_path / "page.html"))
    assert (code, out) == (2, "")
    assert err == (
        f"scrapy capmonster summary: --html needs {module}: "
        "pip install scrapy-capmonster-report[summary]\n"
    )
