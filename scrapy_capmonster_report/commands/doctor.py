"""``scrapy capmonster doctor``: will it work here?"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from scrapy.exceptions import NotConfigured, UsageError

from ..delivery.answer import ERROR_CODES
from ..ledger import Query, RedisName, is_redis, ledger_name, read_history, sqlite_path
from ..rules import compile_rules
from ..settings import (
    API_URL,
    CLIENT_KEY,
    DEFAULTS,
    DRY_RUN,
    RULES,
    unknown_settings,
    without_secrets,
)
from .balance import ServiceError, ask_service
from .cli import (
    add_spider_argument,
    cell,
    crawler_of,
    load_addons,
    output,
    report_settings,
    spider_of,
)
from .neighbours import clash_of_pins, is_supported, others_above, solving_clients, why_absent

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from scrapy import Spider
    from scrapy.settings import BaseSettings

    from ..settings import ReportSettings
    from . import Command

SUMMARY = "Say whether reporting will work here, and what to do if it will not"

_OK: Final = {True: ("ok", "green"), False: ("wrong", "bold red"), None: ("?", "yellow")}


@dataclass(frozen=True)
class Check:
    """What one check found.

    Args:
        name: of the check.
        ok: whether it is well; ``None`` if that cannot be told.
        found: what was found.
        advice: what to do about it; ``""`` for nothing.
    """

    name: str
    ok: bool | None
    found: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--offline", action="store_true", help="leave out the checks that need the service"
    )
    add_spider_argument(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    crawler = crawler_of(command, args.spider)
    spider, wrong, read = None, "", None
    with suppress(UsageError):  # a spider that wants arguments has settings all the same
        spider = spider_of(crawler) if args.spider else None
    try:
        load_addons(crawler)
        read = report_settings(crawler.settings)
    except (UsageError, NotConfigured, ValueError) as error:
        wrong = str(error)
    settings = crawler.settings
    checks = [
        _check_settings(settings, wrong),
        *_check_service(read, offline=args.offline),
        _check_rules(settings, spider),
        _check_ledger(read, settings.get("JOBDIR")),
        _check_middlewares(settings),
        _check_clients(),
    ]
    if args.json:
        print(json.dumps({"checks": [asdict(check) for check in checks]}))
    else:
        _show(checks)
    return 1 if any(check.ok is False for check in checks) else 0


def _show(checks: list[Check]) -> None:
    table = Table("check", "", "what was found, and what to do", show_lines=True)
    for check in checks:
        sentences = [check.found, check.advice] if check.advice else [check.found]
        table.add_row(check.name, cell(*_OK[check.ok]), cell(" ".join(sentences)))
    output().print(table)


def _check_settings(settings: BaseSettings, wrong: str) -> Check:
    if wrong:
        return Check("settings", False, wrong)
    if unknown := unknown_settings(settings):
        return Check("settings", False, " ".join(unknown), "Correct or remove it.")
    for name in DEFAULTS:
        if name in os.environ and name not in (CLIENT_KEY, API_URL) and settings.get(name) is None:
            found = f"{name} stands in the environment, from where it is not read."
            return Check("settings", False, found, f"Use settings.py, or -s {name}=…")
    if not settings.getbool("TWISTED_REACTOR_ENABLED", True):
        found = "TWISTED_REACTOR_ENABLED is False, but reports are sent through Twisted."
        return Check("settings", False, found, "Remove this setting.")
    return Check("settings", True, "No unknown name, no invalid value.")


def _check_service(settings: ReportSettings | None, *, offline: bool) -> tuple[Check, Check]:
    """The checks of the key and of the service; one request serves both."""
    if settings is None:
        unknown = "The settings are not valid."
        return Check("key", None, unknown), Check("service", None, unknown)
    if settings.client_key:
        key = Check("key", None, "There is a key; whether it is valid was not asked.")
    elif settings.dry_run:
        key = Check("key", True, "There is no key, and a dry run needs none.")
    else:
        advice = f"Set {CLIENT_KEY} in the settings or in the environment, or {DRY_RUN} = True."
        key = Check("key", False, "There is no account key.", advice)
    if offline:
        return key, Check("service", None, f"{settings.api_url} was not asked (--offline).")
    try:
        answer = ask_service(settings)
    except ServiceError as error:
        return key, Check("service", False, f"{settings.api_url}: {error}.", error.advice)
    if settings.client_key:
        key = _judge_key(answer, settings)
    return key, Check("service", True, f"{settings.api_url} answers.")


def _judge_key(answer: dict[str, Any], settings: ReportSettings) -> Check:
    """What the answer to ``getBalance`` says of the key."""
    code = str(answer.get("errorCode") or "")
    if not code and isinstance(answer.get("balance"), (int, float)):
        advice = (
            "" if answer["balance"] > 0 else "Top up the account: without funds nothing is solved."
        )
        return Check("key", True, f"The key is valid; the balance is {answer['balance']}.", advice)
    shown = (code or "neither errorCode nor balance").replace(settings.client_key, "***")
    known = ERROR_CODES.get(code)
    advice = f"{known.advice[0].upper()}{known.advice[1:]}." if known and known.advice else ""
    return Check("key", False, f"getBalance answered {shown[:100]}.", advice)


def _check_rules(settings: BaseSettings, spider: Spider | None) -> Check:
    try:
        rules = compile_rules(settings.get(RULES), spider=spider)
    except ValueError as error:
        needs_spider = spider is None and "a spider is needed" in str(error)
        advice = "Give --spider NAME." if needs_spider else ""
        return Check("rules", None if needs_spider else False, str(error), advice)
    if not rules and rules.judges:
        advice = "Write a rule, or name a preset; `scrapy capmonster suggest` helps."
        return Check("rules", False, f"{RULES} is empty.", advice)
    named = ", ".join(dict.fromkeys(rule.name for rule in rules)) or "only accept() and reject()"
    return Check("rules", True, f"{named}.")


def _check_ledger(settings: ReportSettings | None, job_dir: str | None) -> Check:
    if settings is None:
        return Check("ledger", None, "The settings are not valid.")
    name = ledger_name(settings, job_dir)
    if not name:
        return Check("ledger", True, "In memory: nothing is kept for later crawls.")
    path, shown = sqlite_path(name), name
    try:
        if path is not None:
            _try_sqlite(path)
        elif is_redis(name):
            shown = "redis://…"
            where = RedisName.parse(name)
            shown = where.shown
            _try_redis(where.url)
        else:
            shown = without_secrets(name)
            raise ValueError("it must be '' (memory), 'sqlite:PATH' or 'redis://HOST:PORT/DB'")
    except ImportError:
        advice = "pip install scrapy-capmonster-report[redis]"
        return Check("ledger", False, f"{shown} needs redis-py.", advice)
    except Exception as error:  # each backend has errors of its own
        advice = "Another process holds it: end that one." if "locked" in str(error) else ""
        why = without_secrets(str(error)).rstrip(".")
        return Check("ledger", False, f"{shown} cannot be used: {why}.", advice)
    return Check("ledger", True, f"{shown} can be written.")


def _try_sqlite(path: Path) -> None:
    """Raise what a crawl would run into; a file that is not there yet is not made."""
    if not path.exists():
        place = next(parent for parent in path.absolute().parents if parent.exists())
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(f"no file can be made in {place}")
        return
    read_history(f"sqlite:{path}", Query(keys=("site",)))
    uri = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("ROLLBACK")


def _try_redis(url: str) -> None:
    """Raise what a crawl would run into; the key that is written is deleted."""
    import redis

    probe = "capmonster_report:doctor"
    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as server:
        server.set(probe, 1, px=1000)
        server.delete(probe)


def _check_middlewares(settings: BaseSettings) -> Check:
    if absent := why_absent(settings):
        found, advice = absent
        return Check("middlewares", False, found, advice)
    above = others_above(settings)
    if not above:
        return Check("middlewares", True, "None of a project's own stands above ours.")
    found = "; ".join(f"{name} at {order}: {why}" for name, order, why, _ in above)
    hides = any(certain for *_, certain in above)
    advice = "Give it an order below ours (585): we do not see what it drops or retries."
    return Check("middlewares", False if hides else None, f"{found}.", advice)


def _check_clients() -> Check:
    found, wrong = [], []
    for name, version in solving_clients().items():
        found.append(f"{name} {version}")
        if not is_supported(name, version):
            wrong.append(f"solve_captcha() does not know this release of {name}.")
        wrong += clash_of_pins(name)
    if not found:
        advice = "Any way of solving will do: give the task's id to captcha_meta()."
        return Check("clients", None, "No client of CapMonster Cloud is installed.", advice)
    listed = ", ".join(found)
    if wrong:
        return Check(
            "clients", False, f"{listed}. {' '.join(wrong)}", "Install a release that fits."
        )
    return Check("clients", True, f"{listed}; solve_captcha() gives the ids of its tasks.")
