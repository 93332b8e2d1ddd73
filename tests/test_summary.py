"""What the summary says is what happened: on which site, with which captcha type, since when."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
import scrapy
from support import Reply, accepted, crawl, refused
from test_growth import calls
from workbench import run as run_command

from scrapy_capmonster_report.commands.summary import since_when
from scrapy_capmonster_report.insight.figures import Figures, interval, percent
from scrapy_capmonster_report.ledger import PASSED, Count, read_history, sql
from scrapy_capmonster_report.ledger.base import Judged, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


RULES = {"CAPMONSTER_REPORT_RULES": [{"name": "wrong", "text": "Wrong"}]}
TURNSTILE, IMAGE = "TurnstileTask", "ImageToTextTask"
NOT_KNOWN = 999
"""A task that the service says it does not know."""


@pytest.fixture(params=["sqlite", "redis"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'ledger.sqlite'}"
    return request.getfixturevalue("redis_server").url


@pytest.fixture
def summary(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``scrapy capmonster summary`` with the arguments; gives exit code, output, errors."""

    def run(*args: str) -> tuple[int, str, str]:
        ran = run_command(capfd, "summary", *args)
        return ran.code, ran.out, ran.err

    return run


@pytest.fixture
def sites(summary: Any) -> Callable[..., dict[str, Any]]:
    """The figures that ``summary --json`` gives, by site, in its order."""

    def read(*args: str) -> dict[str, Any]:
        code, out, err = summary("--json", *args)
        assert (code, err) == (0, "")
        return {figures.pop("site"): figures for figures in json.loads(out)["sites"]}

    return read


def verdicts(request: Any) -> str:
    return "<p>Wrong captcha</p>" if b"wrong" in request.path else "<p>Welcome</p>"


def service(endpoint: str, task_id: int, earlier: int) -> Any:
    return refused("ERROR_NO_SUCH_CAPCHA_ID") if task_id == NOT_KNOWN else accepted()


class Customer(scrapy.Spider):
    """Submits answers: ``(task, type, URL, more meta)``, one after another."""

    name = "customer"
    visits: list[tuple[int, str | None, str, Mapping[str, Any]]]
    custom_settings = {"CONCURRENT_REQUESTS": 1}

    async def start(self) -> Any:
        for task_id, kind, url, meta in self.visits:
            meta = {"taskId": task_id, **({"taskType": kind} if kind else {}), **meta}
            yield scrapy.Request(url, meta=meta, dont_filter=True)

    def parse(self, response: Any) -> None:
        pass


def figures(passed: int = 0, *, rule: str = "wrong", **rejected: int) -> dict[str, Any]:
    """What is to be expected; by hand and not by the code that is tested."""
    total = sum(rejected.values())
    parts = ("withheld", "accepted_reports", "refused_reports", "dropped", "waiting")
    return {
        "tasks": passed + total,
        "passed": passed,
        "rejected": total,
        **dict.fromkeys(parts, 0),
        **rejected,
        "rejection_rate": total / (passed + total),
        "rules": {rule: total} if total else {},
        "withheld_reasons": {"stale": rejected["withheld"]} if "withheld" in rejected else {},
    }


@pytest_twisted.ensureDeferred
async def test_two_sites_two_types_and_known_rejections(
    ledger: str, sites: Any, serve: Any, api: Any
) -> None:
    settings = {
        "CAPMONSTER_API_URL": api(service).url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        **RULES,
    }
    port = serve(verdicts).port
    one, two = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    long_ago = {"taskSolvedAt": time.time() - 1000}

    await crawl(
        Customer,
        settings,
        visits=[
            (1, TURNSTILE, f"{one}/fine", {}),
            (2, TURNSTILE, f"{one}/wrong", {}),
            (2, TURNSTILE, f"{one}/wrong", {}),  # a duplicate: the task counts once
            (1, TURNSTILE, f"{one}/wrong", {}),  # used before: it had passed
            (3, TURNSTILE, f"{one}/wrong", long_ago),
            (4, IMAGE, f"{one}/fine", {}),
            (4, IMAGE, f"{one}/fine", {}),
            (NOT_KNOWN, IMAGE, f"{one}/wrong", {}),
            (5, None, f"{one}/fine", {}),
            (6, TURNSTILE, f"{two}/wrong", {}),
            (7, TURNSTILE, f"{two}/wrong", {}),
            (8, IMAGE, f"{two}/fine", {}),
        ],
    )
    first = {
        "localhost": {
            **figures(passed=1, accepted_reports=2),
            "types": {
                TURNSTILE: figures(accepted_reports=2),
                IMAGE: figures(passed=1),
            },
        },
        "127.0.0.1": {
            **figures(passed=3, withheld=1, accepted_reports=1, refused_reports=1),
            "types": {
                TURNSTILE: figures(passed=1, withheld=1, accepted_reports=1),
                IMAGE: figures(passed=1, refused_reports=1),
                "unknown": figures(passed=1),
            },
        },
    }
    found = sites(ledger)
    assert found == first
    assert list(found) == list(first), "the worst first"

    await crawl(
        Customer,
        settings,
        visits=[
            (2, TURNSTILE, f"{one}/wrong", {}),  # reported by the first crawl
            (1, TURNSTILE, f"{one}/wrong", {}),  # it had passed in the first crawl
            (9, IMAGE, f"{two}/wrong", {}),
            (10, IMAGE, f"{two}/fine", {}),
        ],
    )
    second = {
        **first,
        "localhost": {
            **figures(passed=2, accepted_reports=3),
            "types": {
                TURNSTILE: figures(accepted_reports=2),
                IMAGE: figures(passed=2, accepted_reports=1),
            },
        },
    }
    assert sites(ledger) == second
    assert sites(ledger, "--site", "localhost") == {"localhost": second["localhost"]}
    assert sites(ledger, "--spider", "customer", "--since", "1h") == second
    assert sites(ledger, "--spider", "somebody") == {}


@pytest_twisted.ensureDeferred
async def test_reports_that_wait_for_the_next_crawl_are_rejections_too(
    ledger: str, sites: Any, serve: Any, api: Any
) -> None:
    settings = {
        "CAPMONSTER_API_URL": api(lambda *_: refused("ERROR_KEY_DOES_NOT_EXIST")).url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        **RULES,
    }
    visits = [(task, IMAGE, f"{serve(verdicts).url}/wrong", {}) for task in range(1, 4)]
    stats = await crawl(Customer, settings, visits=visits)
    found = sites(ledger)["127.0.0.1"]
    assert found["rejected"] == found["tasks"] == 3
    assert found["refused_reports"] == stats.get("sent/refused", 0)
    reported = sum(n for stat, n in stats.items() if stat.startswith("dropped/"))
    assert found["dropped"] == reported
    assert found["withheld"] == found["accepted_reports"] == 0


@pytest_twisted.ensureDeferred
async def test_a_jobdir_is_a_ledger(sites: Any, serve: Any, api: Any, tmp_path: Path) -> None:
    await crawl(
        Customer,
        {"CAPMONSTER_API_URL": api().url, "JOBDIR": str(tmp_path / "job"), **RULES},
        visits=[(1, IMAGE, f"{serve(verdicts).url}/wrong", {})],
    )
    assert sites(str(tmp_path / "job"))["127.0.0.1"]["accepted_reports"] == 1
    assert sites(str(tmp_path / "job" / "capmonster_report.sqlite"))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("dry_run", [False, True])
async def test_without_a_name_the_projects_ledger_is_read(
    dry_run: bool,
    serve: Any,
    api: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CAPMONSTER_CLIENT_KEY", raising=False)
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_LEDGER": f"sqlite:{tmp_path / 'ledger.sqlite'}",
        "CAPMONSTER_REPORT_DRY_RUN": dry_run,
        **RULES,
    }
    visits = [(task, IMAGE, f"{serve(verdicts).url}/wrong", {}) for task in (1, 2)]
    await crawl(Customer, settings, visits=visits)
    argv = ("summary", "--json")
    later = {**settings, "CAPMONSTER_REPORT_ENABLED": False}
    (site,) = run_command(capfd, *argv, settings=later).answer["sites"]
    assert site["withheld_reasons"] == ({"dry_run": 2} if dry_run else {})
    job = {**settings, "CAPMONSTER_REPORT_LEDGER": "", "JOBDIR": str(tmp_path / "job")}
    await crawl(Customer, job, visits=visits)
    (site,) = run_command(capfd, *argv, settings=job).answer["sites"]
    assert site["tasks"] == 2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "this project has no ledger: set CAPMONSTER_REPORT_LEDGER, or name one"),
        ({"CAPMONSTER_REPORT_LEDGER": 7}, "CAPMONSTER_REPORT_LEDGER setting (7) is invalid"),
        ({"ADDONS": {"no.such.Addon": 1}}, "the addons cannot be loaded"),
    ],
)
def test_a_project_without_a_ledger(
    settings: dict[str, Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said in run_command(capfd, "summary", settings=settings).complaint


@pytest_twisted.ensureDeferred
async def test_a_table_at_80_columns_with_rules_and_reasons(
    summary: Any, serve: Any, api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ledger = f"sqlite:{tmp_path / 'ledger.sqlite'}"
    settings = {
        "CAPMONSTER_API_URL": api(service).url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        **RULES,
    }
    url = serve(verdicts).url
    stale = {"taskSolvedAt": time.time() - 1000}
    visits = [
        (1, TURNSTILE, f"{url}/wrong", {}),
        (2, TURNSTILE, f"{url}/wrong", stale),
        (3, "CustomTask/DataDome", f"{url}/fine", {}),
        (NOT_KNOWN, IMAGE, f"{url}/wrong", {}),
    ]
    await crawl(Customer, settings, visits=visits)
    _, out, _ = summary(ledger)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert max(map(len, out.splitlines())) <= 80
    assert "127.0.0.1 4 1 3 75 % 30-95 1 2" in lines
    assert "TurnstileTask 2 0 2 100 % 34-100 1 1" in lines
    assert "CustomTask/DataDome 1 1 0 0 % 0-79 0 0" in lines
    assert any("wrong 3 " in line for line in lines)
    for outcome in ("accepted 1", "refused 1", "withheld: stale 1"):
        assert outcome in " ".join(lines)


@pytest.fixture
def filled(tmp_path: Path) -> Callable[..., Path]:
    """Make a SQLite ledger in which each *site* accepted and rejected many answers."""

    def fill(*sites: str, folder: Path = tmp_path) -> Path:
        path = folder / "ledger.sqlite"
        events: list[Any] = []
        for n, site in enumerate(sites):
            seen = Submission(n, 1, site, "customer", TURNSTILE, 0, time.time())
            events += [
                *(
                    Judged(seen._replace(task_id=n * 10_000 + k), "", PASSED)
                    for k in range(1, 4001)
                ),
                *(
                    Judged(seen._replace(task_id=n * 10_000 + k), "wrong", "withheld/stale")
                    for k in range(4001, 5235)
                ),
            ]
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = WAL")
            sql.prepare(database)
            database.execute("BEGIN")
            sql.write(database, events, "run", False)
            database.execute("COMMIT")
        return path

    return fill


@pytest.mark.parametrize("columns", [10, 40, 60, 80, 200])
def test_no_number_is_cut_on_a_terminal_of_any_width(
    columns: int, filled: Any, summary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, _ = summary(str(filled("shop.example")))
    assert out.splitlines()[1].split() == [
        *("shop.example", "5234", "4000", "1234", "24", "%", "22-25", "1234", "0")
    ]


def test_a_host_that_leaves_no_room_for_the_numbers_is_on_a_line_of_its_own(
    filled: Any, summary: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    hosts = ["a-customer-of-a-long-name.checkout.eu-central-1.shop.example", "shop.example"]
    _, out, _ = summary(str(filled(*hosts)))
    numbers = "  5234   4000     1234 24 % 22-25     1234        0"
    indented = [" " * 29, "shop.example".ljust(29)]
    assert out.splitlines()[1:] == [
        *(hosts[0], indented[0] + numbers, f"  {TURNSTILE}"),
        "  rejected by: wrong 1234 | reports: withheld: stale 1234",
        *(indented[1] + numbers, f"  {TURNSTILE}"),
        "  rejected by: wrong 1234 | reports: withheld: stale 1234",
    ]


def test_the_line_below_a_site_says_what_became_of_each_report(
    summary: Any, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    seen = Submission(0, 1, "shop.example", "customer", IMAGE, 0, time.time())
    outcomes = ["withheld/stale", "withheld/reused", "withheld/stale", "dropped/expired", "kept"]
    outcomes.append("pending")  # claimed by a crawl that is running, or was killed
    events = [
        Judged(seen._replace(task_id=n), "login", outcome) for n, outcome in enumerate(outcomes, 1)
    ]
    with closing(sqlite3.connect(ledger, isolation_level=None)) as database:
        sql.prepare(database)
        sql.write(database, events, "run", False)
    _, out, _ = summary(str(ledger))
    assert out.splitlines()[-1] == (
        "  rejected by: login 6 | reports: "
        "withheld: stale 2, dropped: expired 1, kept 1, withheld: reused 1, in flight 1"
    )


def test_the_table_of_many_sites_takes_little_longer_than_reading_the_ledger(
    summary: Any, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    seen = Submission(0, 1, "", "customer", TURNSTILE, 0, time.time())
    tasks = [seen._replace(task_id=n, site=f"shop-{n % 200}.example") for n in range(1, 401)]
    tasks += [task._replace(task_id=task.task_id + 400, type=IMAGE) for task in tasks]
    events = [Judged(task, "wrong", "withheld/stale") for task in tasks]
    with closing(sqlite3.connect(ledger, isolation_level=None)) as database:
        sql.prepare(database)
        sql.write(database, events, "run", False)

    summary(str(ledger))  # imports what it needs
    table, as_json = (calls(summary, str(ledger), *options) for options in ((), ("--json",)))
    assert table.total() < 5 * as_json.total()


def test_a_site_is_found_however_its_host_is_written(filled: Any, sites: Any) -> None:
    ledger = str(filled("shop.example", "xn--mnchen-3ya.example", "2001:db8::1", ""))
    for written, site in {
        "SHOP.example": "shop.example",
        "shop.example.": "shop.example",
        "münchen.example": "xn--mnchen-3ya.example",
        "[2001:DB8::1]": "2001:db8::1",
    }.items():
        assert list(sites(ledger, "--site", written)) == [site]
    assert sites(ledger, "--site", "other.example") == {}


@pytest.mark.parametrize("option", ["--since", "--site", "--spider", "--html"])
def test_an_option_from_an_unset_variable_is_a_mistake(option: str, summary: Any) -> None:
    code, out, err = summary("ledger.sqlite", option, "")
    assert (code, out) == (2, "")
    assert err == f"scrapy capmonster summary: argument {option}: it is empty\n"


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder that other users can reach, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_a_ledger_on_a_disk_that_cannot_be_written_is_read(
    filled: Any, disk: Path, tmp_path: Path
) -> None:
    folder = disk / "mounted"
    folder.mkdir()
    ledger = filled("shop.example", folder=folder)
    link = disk / "link.sqlite"
    link.symlink_to(ledger)
    is_root = hasattr(os, "setresuid") and os.geteuid() == 0
    if is_root:  # who may write anywhere
        # Loads the modules, which only root may be able to read.
        read_history(shutil.copy(ledger, str(tmp_path / "another.sqlite")))
        os.setresuid(65534, 65534, 0)
    else:
        folder.chmod(0o555)
    try:
        tasks = [sum(c.tasks for c in read_history(str(p)).counts) for p in (ledger, link)]
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        folder.chmod(0o755)
    assert tasks == [5234, 5234]
    assert sorted(path.name for path in folder.iterdir()) == ["ledger.sqlite"]


@pytest_twisted.ensureDeferred
async def test_two_very_long_hosts_are_two_sites_with_their_alerts(
    ledger: str, summary: Any, serve: Any, api: Any
) -> None:
    meta = {"proxy": serve(verdicts).url}
    hosts = ["a." * 100 + end for end in ("one.example", "two.example")]
    visits = [(n, IMAGE, f"http://{hosts[0]}/fine", meta) for n in range(1, 61)]
    visits += [(n, IMAGE, f"http://{hosts[0]}/wrong", meta) for n in range(61, 75)]
    visits += [(n, IMAGE, f"http://{hosts[1]}/fine", meta) for n in range(75, 77)]
    settings = {"CAPMONSTER_API_URL": api().url, "CAPMONSTER_REPORT_LEDGER": ledger, **RULES}
    await crawl(Customer, settings, visits=visits)
    answer = json.loads(summary("--json", "--spider", "customer", ledger)[1])
    assert {site["site"]: site["tasks"] for site in answer["sites"]} == {hosts[0]: 74, hosts[1]: 2}
    assert {alert["site"] for alert in answer["alerts"]} == {hosts[0]}


@pytest_twisted.ensureDeferred
async def test_an_increase_is_in_the_log_the_stats_a_signal_and_the_summary(
    ledger: str, summary: Any, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        **RULES,
    }
    url = serve(verdicts).url
    fine = [(task, IMAGE, url, {}) for task in range(1, 101)]
    wrong = [(task, IMAGE, f"{url}/wrong?{task}", {}) for task in range(101, 141)]
    stats = await crawl(Hears, settings, visits=fine + wrong)

    assert Hears.heard == [{"site": "127.0.0.1", "before": 0.0, "after": 1 / 3, "answers": 12}]
    assert stats["alert/127.0.0.1"] == 1
    assert stats["sent/accepted"] == 40, "an alert withholds nothing"
    assert warnings(caplog) == [
        "127.0.0.1 rejects more captcha answers than it used to: 33 % of the last 12, 0 % "
        "before. Check whether the site has changed. If it accepts only some tokens, let your "
        "client create tasks with nocache, so that CapMonster Cloud does not reuse older ones.",
        "127.0.0.1 rejected each of the last 30 captcha answers. The rule may match pages that "
        "are not rejections, or the site has changed. Set CAPMONSTER_REPORT_SAVE_REJECTED to keep "
        "some pages, and run scrapy capmonster check on them to see which rule matches, and why.",
    ]
    _, out, _ = summary(ledger, "--json")
    (alert,) = json.loads(out)["alerts"]
    assert time.time() - 60 < alert.pop("at") < time.time()
    assert alert == Hears.heard[0]
    _, out, _ = summary(ledger)
    assert "127.0.0.1: rejections rose from 0 % to 33 % (over 12 answers)" in out
    for elsewhere in (["--site", "other.example"], ["--spider", "nobody"]):
        _, out, _ = summary(ledger, "--json", *elsewhere)
        assert json.loads(out) == {"sites": [], "alerts": []}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if ".insight." in record.name]
    return [record.getMessage() for record in records if record.levelname == "WARNING"]


@pytest_twisted.ensureDeferred
async def test_what_is_usual_for_a_site_is_known_from_earlier_crawls(
    ledger: str, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {
        "CAPMONSTER_API_URL": api().url,
        "CAPMONSTER_REPORT_LEDGER": ledger,
        **RULES,
    }
    # The crawl does not wait for the ledger, so that the site must give it some time.
    url = serve(lambda request: Reply(verdicts(request), delay=0.02)).url
    await crawl(Customer, settings, visits=[(task, IMAGE, url, {}) for task in range(1, 61)])
    assert warnings(caplog) == []
    wrong = [(task, IMAGE, f"{url}/wrong", {}) for task in range(101, 129)]
    await crawl(Customer, settings, visits=wrong)
    increase, streak = warnings(caplog)
    assert "rejects more captcha answers than it used to" in increase
    assert "rejected each of the last 28" in streak


class Hears(Customer):
    """Hears of alerts."""

    name = "hears"

    @classmethod
    def from_crawler(cls, crawler: Any, *args: Any, **kwargs: Any) -> Any:
        from scrapy_capmonster_report.signals import rejection_rate_changed

        spider = super().from_crawler(crawler, *args, **kwargs)
        cls.heard: list[dict[str, Any]] = []
        crawler.signals.connect(spider.hear, signal=rejection_rate_changed)
        return spider

    def hear(self, spider: Any, **change: Any) -> None:
        assert spider is self
        change.pop("signal"), change.pop("sender")
        self.heard.append(change)


@pytest_twisted.ensureDeferred
async def test_a_crawl_ends_with_a_table_of_the_sites_that_rejected(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    port = serve(verdicts).port
    settings = {"CAPMONSTER_API_URL": api().url, **RULES}
    one, two = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
    fine = [(task, IMAGE, one, {}) for task in range(1, 6)]
    await crawl(Customer, settings, visits=fine)
    assert "by site" not in caplog.text

    wrong = [(task, IMAGE, f"{two}/wrong", {}) for task in range(10, 14)]
    again = [(10, IMAGE, f"{two}/wrong", {}), (1, IMAGE, f"{one}/wrong", {})]
    mixed = [(20, IMAGE, two, {}), (30, IMAGE, f"{one}/wrong", {})]
    await crawl(Customer, settings, visits=[*fine, *wrong, *again, *mixed])
    table = next(r.getMessage() for r in caplog.records if "by site" in r.getMessage())
    assert table.splitlines() == [
        "Captcha answers by site:",
        "site       answers  rejected   rate",
        "localhost        5         4   80 %",
        "127.0.0.1        6         1   17 %",
    ]


@pytest_twisted.ensureDeferred
async def test_the_table_at_the_end_has_ten_rows(
    serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    port = serve(verdicts).port
    hosts = [f"127.0.0.{number}" for number in range(1, 13)]
    server = f"http://127.0.0.1:{port}"
    await crawl(
        Customer,
        # All hosts are the one server: its proxy.
        {"CAPMONSTER_API_URL": api().url, **RULES},
        visits=[
            (number, IMAGE, f"http://{host}/wrong", {"proxy": server})
            for number, host in enumerate(hosts, 1)
        ],
    )
    table = next(r.getMessage() for r in caplog.records if "by site" in r.getMessage())
    assert len(table.splitlines()) == 2 + 10 + 1
    assert table.endswith("\nand 2 more")


class Changes(Customer):
    """Sees only in the callback that an answer was refused."""

    name = "changes"

    def parse(self, response: Any) -> None:
        from scrapy_capmonster_report import CapMonsterReportMiddleware

        if "empty" in response.url:
            reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
            reporter.reject(response.request, reason="no items")


@pytest_twisted.ensureDeferred
async def test_a_verdict_revised_by_a_callback_counts_once(
    ledger: str, sites: Any, serve: Any, api: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = serve(verdicts).url
    await crawl(
        Changes,
        {"CAPMONSTER_API_URL": api().url, "CAPMONSTER_REPORT_LEDGER": ledger, **RULES},
        visits=[(1, IMAGE, f"{url}/empty", {}), (2, IMAGE, url, {}), (3, IMAGE, url, {})],
    )
    assert sites(ledger)["127.0.0.1"] == {
        **figures(passed=2, accepted_reports=1, rule="reject()"),
        "types": {IMAGE: figures(passed=2, accepted_reports=1, rule="reject()")},
    }
    table = next(r.getMessage() for r in caplog.records if "by site" in r.getMessage())
    assert table.splitlines()[2] == "127.0.0.1        3         1   33 %"


def test_what_cannot_be_read_is_said_in_one_line(
    summary: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no ledger\n" * 100)
    empty = tmp_path / "empty.sqlite"
    empty.touch()
    later = tmp_path / "later.sqlite"
    with closing(sqlite3.connect(later)) as database:
        database.execute("PRAGMA user_version = 99")
    missing = tmp_path / "missing.sqlite"
    for ledger, reason in {
        str(missing): f"there is no ledger {missing}",
        f"sqlite:{missing}": f"there is no ledger {missing}",
        str(tmp_path): f"there is no ledger {tmp_path / 'capmonster_report.sqlite'}",
        str(text): f"{text} is not a readable ledger: file is not a database",
        str(later): f"{later} is not a readable ledger: its schema has version 99",
        str(empty): f"{empty} is not a readable ledger: no such table: total",
        "redis://127.0.0.1:1/0": "redis://127.0.0.1:1/0 cannot be read: ",
        "redis://user:secret@127.0.0.1:1/0": "redis://127.0.0.1:1/0 cannot be read: ",
        "redis://127.0.0.1:1/0?colour=red": "redis://127.0.0.1:1/0 cannot be read: ",
        "redis://:1/0": "It must be a URL like 'redis://USER:PASSWORD@HOST:PORT/DB'.",
    }.items():
        code, out, err = summary(ledger)
        assert (code, out) == (2, "")
        assert err.startswith(f"scrapy capmonster summary: {reason}")
        assert err.count("\n") == 1
        assert "secret" not in err
    assert not missing.exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["mysql://user:secret@db/x"], "argument LEDGER: 'mysql://…@db/x' is a URL, not a file"),
        ([""], "argument LEDGER: it is empty"),
        (["--since", ""], "argument --since: it is empty"),
        (["--site", ""], "argument --site: it is empty"),
        (["--html", "https://shop.example/"], "argument --html: 'https://shop.example/' is a URL"),
    ],
)
def test_an_argument_that_names_nothing_to_read(
    argv: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    complaint = run_command(capfd, "summary", *argv).complaint
    assert complaint.startswith(f"scrapy capmonster summary: {said}")


@pytest_twisted.ensureDeferred
async def test_looking_at_a_ledger_does_not_change_it(
    summary: Any, serve: Any, api: Any, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.sqlite"
    await crawl(
        Customer,
        {"CAPMONSTER_API_URL": api().url, "CAPMONSTER_REPORT_LEDGER": f"sqlite:{ledger}", **RULES},
        visits=[(1, IMAGE, f"{serve(verdicts).url}/wrong", {})],
    )
    before = ledger.read_bytes()
    # As a crawl does that is writing at this moment.
    with closing(sqlite3.connect(ledger, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        assert summary(str(ledger))[0] == 0
    assert ledger.read_bytes() == before


NOW = datetime(2026, 11, 24, 12).timestamp()


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("90m", NOW - 90 * 60),
        ("24h", NOW - 24 * 3600),
        ("7d", NOW - 7 * 24 * 3600),
        ("2w", NOW - 14 * 24 * 3600),
        ("2026-11-23", datetime(2026, 11, 23).timestamp()),
        ("2026-11-23T18:30", datetime(2026, 11, 23, 18, 30).timestamp()),
        ("2026-11-23T18:30:00+00:00", 1795458600),
        ("2026-11-23T18:30:00Z", 1795458600),
    ],
)
def test_since_is_a_date_a_time_or_how_long_ago(text: str, when: float) -> None:
    assert since_when(text, NOW) == when


@pytest.mark.parametrize(
    "text", ["yesterday", "5", "h", "-1h", "2026-13-01", "1h30m", "9999-12-32"]
)
def test_any_other_since_is_a_mistake(text: str, summary: Any) -> None:
    code, out, err = summary("ledger.sqlite", f"--since={text}")
    assert (code, out) == (2, "")
    assert err.startswith(f"scrapy capmonster summary: --since {text}: it must be a date")


def test_the_parts_of_what_was_rejected_add_up() -> None:
    fates = ("passed", "pending", "kept", "withheld/stale", "sent/accepted", "sent/refused")
    found = Figures(
        Count(
            0, "shop.example", "spider", IMAGE, 0, "" if fate == "passed" else "wrong", fate, "", 2
        )
        for fate in (*fates, "dropped/breaker")
    )
    assert found.as_dict() == figures(
        passed=2, withheld=2, accepted_reports=2, refused_reports=2, dropped=2, waiting=4
    )


@pytest.mark.parametrize(
    ("rejected", "tasks", "low", "high"),
    [(0, 0, 0, 1), (0, 10, 0, 0.278), (10, 10, 0.722, 1), (5, 10, 0.237, 0.763), (1, 1, 0.207, 1)],
)
def test_the_fewer_tasks_the_less_a_rate_says(
    rejected: int, tasks: int, low: float, high: float
) -> None:
    assert interval(rejected, tasks) == pytest.approx((low, high), abs=0.001)


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0 %"), (0.004, "0.4 %"), (0.05, "5 %"), (0.996, "100 %"), (1, "100 %")]
)
def test_rates_are_to_be_read(rate: float, text: str) -> None:
    assert percent(rate) == text
