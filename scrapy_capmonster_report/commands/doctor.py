"""``scrapy capmonster doctor``: checks whether reporting will work here."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import NotConfigured, UsageError

from .. import ledger as ledgers
from ..delivery.answer import ERROR_CODES, Reaction
from ..mask import Mask
from ..rules import compile_rules
from ..settings import (
    API_URL,
    CLIENT_KEY,
    DEFAULTS,
    LEDGER,
    RULES,
    unknown_settings,
    without_secrets,
)
from . import cli
from .balance import ServiceError, ask_service
from .neighbours import Finding, check_clients, check_middlewares

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from scrapy import Spider
    from scrapy.settings import BaseSettings

    from ..rules import Rules
    from ..settings import ReportSettings
    from . import Command
    from .screen import Screen

_NO_BALANCE: Final = "neither errorCode nor balance"

_OK: Final = {True: ("ok", "green"), False: ("wrong", "bold red"), None: ("?", "yellow")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_json_argument(parser)
    text = "leave out the checks that need the service"
    parser.add_argument("--offline", action="store_true", help=text)
    cli.add_rule_arguments(parser)


def run(command: Command, args: argparse.Namespace) -> int:
    checks = _check_all(command, args)
    named = [{"name": name, **finding._asdict()} for name, finding in checks.items()]
    cli.print_result(args, {"checks": named}, _show)
    return 1 if any(finding.ok is False for finding in checks.values()) else 0


def _show(screen: Screen, result: dict[str, Any]) -> None:
    rows = [
        (check["name"], _OK[check["ok"]], f"{check['found']} {check['advice']}".strip())
        for check in result["checks"]
    ]
    screen.table(("check", "", "what was found, and what to do"), *([row] for row in rows))


def _check_all(command: Command, args: argparse.Namespace) -> dict[str, Finding]:
    crawler = cli.crawler_of(command, args.spider)
    settings, spider, mistake = crawler.settings, None, ""
    if args.spider:
        with suppress(UsageError):  # a spider that needs arguments has settings all the same
            spider = cli.spider_of(crawler)
    named = cli.rules_named(args, spider)
    not_checked = Finding(None, "Not checked: the settings are not valid.")
    key = service = ledger = middlewares = not_checked
    try:
        cli.load_addons(crawler)
        middlewares = check_middlewares(settings)
        ours = cli.report_settings(settings)
    except (UsageError, NotConfigured, ValueError) as error:
        mistake = str(error)
    else:
        key, service = _check_service(ours, offline=args.offline)
        ledger = _check_ledger(ours, settings.get("JOBDIR"))
    return {
        "settings": _check_settings(settings, mistake),
        "key": key,
        "service": service,
        "rules": _check_rules(settings, spider, named),
        "ledger": ledger,
        "middlewares": middlewares,
        "clients": check_clients(),
    }


def _check_settings(settings: BaseSettings, mistake: str) -> Finding:
    if mistake:
        return Finding(False, mistake, "Correct the settings.")
    if unknown := unknown_settings(settings):
        return Finding(False, " ".join(unknown), "Correct or remove it.")
    for name in os.environ.keys() & DEFAULTS.keys() - {CLIENT_KEY, API_URL}:
        if settings.get(name) is None:
            found = f"{name} is set in the environment, but is not read from there."
            return Finding(False, found, f"Use settings.py, or -s {name}=…")
    if not settings.getbool("TWISTED_REACTOR_ENABLED", True):
        found = "TWISTED_REACTOR_ENABLED is False, but reports are sent through Twisted."
        return Finding(False, found, "Remove this setting.")
    return Finding(True, "All names and values are valid.")


def _check_key(ours: ReportSettings) -> Finding:
    if ours.client_key:
        return Finding(None, "There is a key. It was not checked with the service.")
    if ours.dry_run:
        return Finding(
            True, "There is no key. A dry run does not need one; your solving client does."
        )
    advice = f"Set {CLIENT_KEY} in the settings or in the environment."
    return Finding(False, "There is no account key.", advice)


def _check_service(ours: ReportSettings, *, offline: bool) -> tuple[Finding, Finding]:
    """The results for the key and the service, from one request."""
    key = _check_key(ours)
    if offline:
        return key, Finding(None, f"{ours.api_url} was not checked (--offline).")
    try:
        answer = ask_service(ours)
    except ServiceError as error:
        why = Mask(ours.client_key).text(str(error))
        return key, Finding(False, f"{ours.api_url}: {why}.", error.advice)
    service = Finding(True, f"{ours.api_url} answers.")
    return _judge_key(answer, ours.client_key) if ours.client_key else key, service


def _judge_key(answer: dict[str, Any], client_key: str) -> Finding:
    """The result for the key, by the answer to ``getBalance``."""
    code, balance = str(answer.get("errorCode") or ""), answer.get("balance")
    if not code and isinstance(balance, (int, float)):
        advice = "" if balance > 0 else "Top up the account. Nothing is solved without funds."
        return Finding(True, f"The key is valid; the balance is {balance}.", advice)
    found = f"getBalance answered {Mask(client_key).text(code or _NO_BALANCE)[:100]}."
    known = ERROR_CODES.get(code)
    if known is not None and known.reaction in (Reaction.THROTTLE, Reaction.RETRY):
        return Finding(None, found, "Try again later.")
    advice = f"Check {CLIENT_KEY}." if code else f"Check {API_URL}."
    return Finding(False, found, known.advice if known is not None else advice)


def _check_rules(settings: BaseSettings, spider: Spider | None, named: Rules | None) -> Finding:
    try:
        rules = compile_rules(settings.get(RULES), spider=spider) if named is None else named
    except ValueError as error:
        if spider is None and "a spider is needed" in str(error):
            return Finding(None, str(error), "Give --spider NAME.")
        return Finding(False, str(error), "Correct the rules.")
    if not rules and rules.judges:
        advice = "Write a rule, or name a preset. scrapy capmonster suggest proposes rules."
        return Finding(False, f"{RULES} is empty.", advice)
    names = dict.fromkeys(rule.name for rule in rules)
    return Finding(True, f"{', '.join(names) or 'Only accept() and reject()'}.")


def _check_ledger(ours: ReportSettings, job_dir: str | None) -> Finding:
    name = ledgers.ledger_name(ours, job_dir)
    if not name:
        return Finding(True, "In memory: nothing is kept for later crawls.")
    shown = without_secrets(name)
    try:
        if path := ledgers.sqlite_path(name):
            _try_sqlite(path)
        elif ledgers.is_redis(name):
            _try_redis(ledgers.RedisName.parse(name).url)
        else:
            raise ValueError("it must be '' (memory), 'sqlite:PATH' or 'redis://HOST:PORT/DB'")
    except ImportError:
        advice = 'pip install "scrapy-capmonster-report[redis]"'
        return Finding(False, f"{shown} needs redis-py.", advice)
    except Exception as error:  # each backend has errors of its own
        locked = "Another process has locked it. End that process."
        advice = locked if "locked" in str(error) else f"Check it, and {LEDGER}."
        why = without_secrets(str(error)).rstrip(".")
        return Finding(False, f"{shown} cannot be used: {why}.", advice)
    return Finding(True, f"{shown} can be written.")


def _try_sqlite(path: Path) -> None:
    """Raise the error that a crawl would meet. Does not create a missing file."""
    if path.exists():
        ledgers.read_history(f"sqlite:{path}", ledgers.Query(keys=("site",)))
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        return
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"no file can be created in {place}")


def _try_redis(url: str) -> None:
    """Raise the error that a crawl would meet. Deletes the key that it writes."""
    import redis

    probe = "capmonster_report:doctor"
    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as server:
        server.set(probe, 1, px=1000)
        server.delete(probe)
