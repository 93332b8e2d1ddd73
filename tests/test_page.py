"""The page of a ledger, opened in a real browser."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from support import crawl
from test_summary import IMAGE, RULES, TURNSTILE, Customer, summary, verdicts  # noqa: F401

from scrapy_capmonster_report.insight.page import MAX_ROWS, page
from scrapy_capmonster_report.ledger import AGES, Alert, Count, History
from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Browser

pytest_plugins = ["browser"]

PHONE, TABLET, DESKTOP = 390, 800, 1280
NOW = 1_795_500_000
HOUR = NOW // 3600 * 3600


def counts(site: str, kind: str, period: int = HOUR, **statuses: int) -> list[Count]:
    """So many tasks of each status, ``sent_accepted=3`` and the like."""
    return [
        Count(
            *(period, site, "prices", kind, 20, "" if status == "passed" else "form"),
            *(status.replace("_", "/"), "", tasks),
        )
        for status, tasks in statuses.items()
    ]


HISTORY = History(
    [
        *counts("shop.example", TURNSTILE, HOUR - 86400, passed=1900, sent_accepted=100),
        *counts("shop.example", TURNSTILE, passed=60, sent_accepted=40),
        *counts("shop.example", "", passed=10),
        *counts("tickets.example", IMAGE, passed=30, sent_accepted=60, withheld_stale=10),
        Count(HOUR, "tickets.example", "prices", IMAGE, 180, "form", "sent/refused", "ERROR_X", 20),
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
    "svg text, h1, h2, dt, dd, li, code, figcaption, p, small, strong, td, th, .name"
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


# Pairs of texts that cover one another. In the table a column stays while others move below it.
OVERLAPS = """
(() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const boxes = [];
  for (let node; (node = texts.nextNode()); ) {
    if (!node.data.trim() || node.parentElement.closest("script, .scroll")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) boxes.push([node.data.trim(), box]);
  }
  const found = [];
  boxes.forEach(([one, a], index) => {
    for (const [other, b] of boxes.slice(index + 1)) {
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (wide > 1 && high > 3) found.push([one, other]);
    }
  });
  return found;
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
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in found]


def test_the_page_shows_the_figures(opened: Any) -> None:
    browser = opened(HISTORY)

    figures = {"rate": "11 %", "tasks": "2,235", "rejected": "235", "accepted": "200"}
    for name, text in figures.items():
        assert texts(browser, f"#{name}") == [text]
    assert texts(browser, "#sites .row .name") == [
        *(f"tickets.example\n{IMAGE}", "shop.example", TURNSTILE, "unknown"),
    ]
    assert texts(browser, "#sites .figure strong") == ["76 %", "7 %", "7 %", "0 %"]
    ranges = [text.replace("\N{EN DASH}", "-") for text in texts(browser, "#sites .figure small")]
    assert ranges == [
        "68-83 % · 95 of 125",
        "6-8 % · 140 of 2,110",
        "6-8 % · 140 of 2,100",
        "0-28 % · 0 of 10",
    ]
    assert texts(browser, "#over-time figcaption") == ["shop.example", "tickets.example"]
    assert texts(browser, "#ages figcaption") == [IMAGE], "the others have one age"
    assert texts(browser, "#rules .row") == [
        "form\non tickets.example, shop.example\n235",
    ]
    labels = [text.split("\n")[0] for text in texts(browser, "#outcomes .row:not(.code) .name")]
    assert labels == [
        "Reported",
        "Report refused",
        "Withheld: stale",
        "Dropped: expired",
        "In flight",
    ]
    assert texts(browser, "#outcomes strong") == ["200", "20", "10", "3", "2"]
    assert texts(browser, "#outcomes .code") == ["ERROR_X\n20"]


def test_the_page_says_what_it_shows(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    options = {"ledger": "sqlite:captchas.sqlite", "filters": ["--since 24h", "--site x.example"]}
    path.write_text(page(HISTORY, now=NOW, **options), encoding="utf-8")
    browser.open(path.as_uri(), width=DESKTOP)

    about = dict(text.split("\n") for text in texts(browser, "#about div"))
    now = datetime.fromtimestamp(NOW).astimezone()
    assert about["period"].endswith(f" to {now:%Y-%m-%d %H:%M}")
    assert about["time zone"] == f"{now:%Z (UTC%z)}"
    assert about["ledger"] == "sqlite:captchas.sqlite"
    assert about["spider"] == "prices"
    assert about["filters"] == "--since 24h --site x.example"


def test_the_page_says_what_to_do(opened: Any) -> None:
    advice = [text.split("\n")[0] for text in texts(opened(HISTORY), "#advice li")]
    at = datetime.fromtimestamp(HOUR + 60)
    assert advice == [
        f"shop.example has rejected more answers since {at:%Y-%m-%d %H:%M}: "
        "5 % before, 40 % of the last 20.",
        "10 answers expired before being sent to the site (tickets.example).",
        "10 answers came without a taskType.",
        "CapMonster Cloud refused 20 reports.",
        "3 reports were dropped.",
    ]
    long_ago = HISTORY._replace(alerts=[Alert(HOUR - 8 * 86400.0, "shop.example", 0.05, 0.4, 20)])
    assert texts(opened(long_ago), "#advice .alert") == []
    wall = History(counts("wall.example", IMAGE, sent_accepted=40), [])
    (advice,) = texts(opened(wall), "#advice li")
    assert advice.startswith("wall.example: nearly every answer is rejected.")
    fine = History(counts("fine.example", IMAGE, passed=40), [])
    assert texts(opened(fine), "#advice, h2")[0] == "Which sites reject answers"


def history_of(sites: int) -> History:
    """A day of so many sites, some with long names, and every outcome there is."""
    everything = []
    for number in range(sites):
        site = f"shop-{number}.example"
        if number % 5 == 1:
            site = f"a-customer-with-a-long-name-{number}.checkout.eu-central-1.{site}"
        for hour in range(24):
            rejected = (number * 7 + hour * 3) % 11
            statuses = {"passed": 40 - rejected, "sent_accepted": rejected}
            at = HOUR - hour * 3600
            everything += counts(site, (TURNSTILE, IMAGE, "")[number % 3], at, **statuses)
        for outcome in Outcome:
            everything.append(
                Count(HOUR, site, "prices", IMAGE, 120, "image form", outcome.value, "", 1)
            )
    return History(everything, [Alert(HOUR - 7200.0, "shop-0.example", 0.05, 0.4, 20)])


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, TABLET, DESKTOP])
@pytest.mark.parametrize("sites", [1, 3, 60])
def test_the_page_can_be_read_on_any_screen_by_day_and_by_night(
    opened: Any, sites: int, width: int, dark: bool
) -> None:
    browser = opened(history_of(sites), width=width, dark=dark)

    assert browser.run("document.documentElement.scrollWidth") == width, "nothing sticks out"
    assert browser.run(OVERLAPS) == []
    tops = {
        name: browser.run(f"document.querySelector('#{name}').getBoundingClientRect().top")
        for name in ("rate", "tasks", "advice", "sites")
    }
    assert tops["rate"] <= tops["tasks"] < tops["advice"] < tops["sites"]
    assert tops["rate"] < 200, "the rate is what one sees first"
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(19, 21, 24)" if dark else "rgb(251, 251, 250)")
    contrasts = browser.run(CONTRASTS)
    assert {"text", "td", "p", "small", "dd", "li"} <= contrasts.keys()
    assert min(contrasts.values()) >= 4.5, contrasts
    assert browser.run("document.documentElement.outerHTML.length") < 300_000
    long_names = [name for name in texts(browser, "#sites .name") if "a-customer" in name]
    assert len(set(long_names)) == len(long_names), "long hosts are told apart"


def test_the_table_can_be_searched_and_sorted(opened: Any) -> None:
    browser = opened(HISTORY)
    shown = "#figures tbody tr:not([hidden])"
    assert texts(browser, "#found") == ["3 of 3 rows"]

    browser.run("search.value = 'SHOP turn'; search.dispatchEvent(new Event('input'))")
    assert [row.split("\t")[:6] for row in texts(browser, shown)] == [
        ["shop.example", "7 %", TURNSTILE, "2,100", "1,960", "140"]
    ]
    assert texts(browser, "#found") == ["1 of 3 rows"]

    browser.run("search.value = ''; search.dispatchEvent(new Event('input'))")
    press_tasks = "document.querySelectorAll('#figures th button')[3].click()"
    browser.run(press_tasks)
    assert [row.split("\t")[3] for row in texts(browser, shown)] == ["2,100", "125", "10"]
    browser.run(press_tasks)
    assert [row.split("\t")[3] for row in texts(browser, shown)] == ["10", "125", "2,100"]


def test_a_site_of_which_only_rejections_are_known_has_no_rate(opened: Any) -> None:
    callbacks = Count(
        HOUR, "silent.example", "prices", IMAGE, 0, "reject()", "sent/accepted", "", 40
    )
    earlier = callbacks._replace(**{Count._fields[0]: HOUR - 7200})
    browser = opened(HISTORY._replace(counts=[*HISTORY.counts, callbacks, earlier]))
    assert texts(browser, "#rate") == ["11 %"], "the rate of the other sites"
    assert texts(browser, "#rejected") == ["315"]
    row = texts(browser, "#sites .site")[-1]
    assert row.split("\n") == [
        *("silent.example", IMAGE, "\N{EN DASH} only rejections are known: 80"),
    ]
    assert "silent.example" not in texts(browser, "#over-time figcaption")
    assert not any("silent.example" in text for text in texts(browser, "#advice li"))
    assert texts(browser, "#figures tbody tr")[-1].split("\t")[:3] == ["silent.example", "-", IMAGE]
    press_rate = "document.querySelectorAll('#figures th button')[1].click()"
    browser.run(f"{press_rate}; {press_rate}")
    rates = [row.split("\t")[1] for row in texts(browser, "#figures tbody tr")]
    assert rates == ["-", "0 %", "7 %", "76 %"]


@pytest.mark.parametrize(
    ("ago", "step", "periods", "points"),
    [
        pytest.param(0, 300, 12, 12, id="an hour, by five minutes"),
        pytest.param(0, 3600, 40, 40, id="forty hours, by the hour"),
        pytest.param(0, 300, 12 * 24, 49, id="a day, by half an hour"),
        pytest.param(30 * 86400, 3600, 3, 3, id="three hours of a month ago, by the hour"),
        pytest.param(0, 86400, 90, 45, id="three months, by two days"),
    ],
)
def test_rates_over_time_are_as_fine_as_there_is_room_for(
    ago: int, step: int, periods: int, points: int, opened: Any
) -> None:
    first = HOUR - ago - step * (periods - 1)
    everything = [
        count
        for number in range(periods)
        for count in counts("shop.example", TURNSTILE, first + number * step, sent_accepted=9)
        + counts("shop.example", TURNSTILE, first + number * step, passed=50)
    ]
    dots = "document.querySelectorAll('#over-time svg use[style*=\"--bad\"]').length"
    assert opened(History(everything, [])).run(dots) == points


def test_a_single_moment_has_no_chart_over_time(opened: Any) -> None:
    browser = opened(History(counts("shop.example", TURNSTILE, passed=9, sent_accepted=1), []))
    assert len(texts(browser, "#no-charts")) == 1
    assert texts(browser, "#over-time") == []
    browser = opened(History(counts("shop.example", TURNSTILE, passed=9), []))
    assert texts(browser, "#no-charts, #over-time, #rules, #outcomes") == []


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be changed")
def test_the_hour_that_comes_twice_in_autumn_is_drawn_twice(
    monkeypatch: pytest.MonkeyPatch, opened: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        midnight = datetime(2026, 10, 25).timestamp()
        everything = [
            count
            for hours in range(6)
            for count in counts(
                "shop.example", TURNSTILE, int(midnight) + 3600 * hours, passed=9, pending=1
            )
        ]
        browser = opened(History(everything, []))
    time.tzset()
    dots = "[...document.querySelectorAll('#over-time svg use[style*=\"--bad\"]')]"
    places = browser.run(f"{dots}.map(dot => Number(dot.getAttribute('x')))")
    steps = [round(after - before, 1) for before, after in pairwise(places)]
    assert len(steps) == 5
    assert steps == [pytest.approx(steps[0], abs=0.2)] * 5
    labels = "[...document.querySelectorAll('#over-time svg text')].map(text => text.textContent)"
    assert browser.run(labels)[:6] == ["25 Oct", "01:00", "02:00", "03:00", "04:00", "05:00"]


def test_an_alert_is_marked_in_the_chart_of_its_site(opened: Any) -> None:
    marks = (
        "[...document.querySelectorAll('#over-time .card')]"
        ".map(c => c.innerHTML.includes('--alert'))"
    )
    assert opened(HISTORY).run(marks) == [True, False]
    assert opened(HISTORY._replace(alerts=[])).run(marks) == [False, False]


def test_names_that_strangers_chose_are_text_and_nothing_else(opened: Any) -> None:
    name = "<img src='http://evil.invalid/x.png' onerror='document.title=1'>$\\alpha_$ 验证码"
    history = History(
        [
            *counts(name, name, HOUR - 7200, passed=5, sent_accepted=5),
            Count(HOUR, name, name, name, 0, name, "sent/refused", name, 5),
        ],
        [Alert(float(HOUR), name, 0.1, 0.9, 20)],
    )
    browser = opened(history)
    assert browser.run("document.querySelectorAll('img, script').length") == 1, "our own script"
    assert browser.run("document.title") == "Captcha answers"
    assert texts(browser, "#sites .row .name") == [f"{name}\n{name}"]
    assert texts(browser, "#outcomes .code .name") == [name]


def test_a_ledger_without_tasks_gives_a_page_that_says_so(opened: Any) -> None:
    browser = opened(History([], []))
    assert "No tasks." in browser.run("document.body.innerText")


def test_the_page_of_a_large_ledger_is_small() -> None:
    everything = [
        Count(
            HOUR - day * 86400, f"site{site}.example", "", f"Type{kind}Task", age, "", status, "", 7
        )
        for day in range(90)
        for site in range(50)
        for kind, age in enumerate(AGES)
        for status in ("passed", "sent/accepted")
    ]
    alerts = [
        Alert(float(HOUR - n * 3600), f"site{n % 9}.example", 0.1, 0.9, 20) for n in range(500)
    ]
    text = page(History(everything, alerts), now=NOW)
    assert len(text.encode()) < 300_000
    assert f"the first {MAX_ROWS} rows" in text


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
    assert texts(browser, "#sites .name") == [f"localhost\n{IMAGE}", f"127.0.0.1\n{TURNSTILE}"]
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
        'pip install "scrapy-capmonster-report[summary]"\n'
    )
