"""``scrapy capmonster doctor``: checks whether reporting will work here."""

from __future__ import annotations

import json
import os
import sqlite3
import ssl
from contextlib import closing, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import certifi
from scrapy.exceptions import UsageError

from .. import ledger as ledgers
from ..delivery.answer import ERROR_CODES
from ..delivery.proxy import proxy_for
from ..delivery.tls import has_trust_store
from ..mask import Mask
from ..rules import compile_rules
from ..settings import (
    API_URL,
    CLIENT_KEY,
    DEFAULTS,
    ENABLED,
    LEDGER,
    RULES,
    ReportSettings,
    unknown_settings,
    without_secrets,
)
from . import cli
from .neighbours import Finding, check_clients, check_middlewares

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from scrapy import Spider
    from scrapy.settings import BaseSettings

    from ..rules import Rules
    from . import Command
    from .screen import Screen

_NO_BALANCE: Final = "neither errorCode nor balance"
_CHECKS: Final = ("settings", "key", "service", "rules", "ledger", "middlewares", "clients")

_OK: Final = {True: ("ok", "green"), False: ("wrong", "bold red"), None: ("?", "yellow")}

_FAST: Final = ledgers.Query(keys=("site",))

_PROBE: Final = "{capmonster_report}:doctor"
"""Begins like the ledger's keys, because a Redis user may be limited to those."""

_MAX_BYTES: Final = 64 * 1024
"""How much of the service's answer is read."""


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
    settings, spider = crawler.settings, None
    if args.spider:
        with suppress(UsageError):  # a spider that needs arguments has settings all the same
            spider = cli.spider_of(crawler)
    named = cli.rules_named(args, spider)
    checks = dict.fromkeys(_CHECKS, Finding(None, "Not checked: the settings are not valid."))
    try:
        cli.load_addons(crawler)
        checks["middlewares"] = check_middlewares(settings)
        ours = ReportSettings.read(settings)
    except (UsageError, ValueError) as error:
        checks["settings"] = Finding(False, str(error), "Correct the settings.")
    else:
        checks["settings"] = _check_settings(ours, settings)
        checks["key"], checks["service"] = _check_service(ours, offline=args.offline)
        checks["ledger"] = _check_ledger(ours, settings.get("JOBDIR"))
    checks["rules"] = _check_rules(settings, spider, named)
    checks["clients"] = check_clients()
    return checks


def _check_settings(ours: ReportSettings, settings: BaseSettings) -> Finding:
    if not ours.enabled:
        return Finding(False, f"{ENABLED} is False", "Set it to True.")
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


def _check_service(ours: ReportSettings, *, offline: bool) -> tuple[Finding, Finding]:
    """The results for the key and the service, from one request."""
    key = _check_key(ours)
    if offline:
        return key, Finding(None, f"{ours.api_url} was not checked (--offline).")
    advice = "Check the network, the proxy and CAPMONSTER_API_URL."
    try:
        status, content = _ask_service(ours)
    except (OSError, HTTPException, UnicodeError) as error:  # the last: a host that is too long
        problem = f"it cannot be reached ({str(error) or type(error).__name__})"
        if isinstance(error, ssl.SSLCertVerificationError):
            problem = f"its certificate is not trusted ({error.verify_message})"
            advice = (
                "If a proxy decrypts TLS here, set SSL_CERT_FILE to the file of its certificate."
            )
        problem = Mask(ours.client_key).text(problem)
        return key, Finding(False, f"{ours.api_url}: {problem}.", advice)
    if status >= 500:
        found = f"{ours.api_url}: it answers HTTP {status}."
        return key, Finding(False, found, "Try again later.")
    if ours.client_key:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            problem = "the answer is not from the service: it is not a JSON object"
            return key, Finding(False, f"{ours.api_url}: {problem}.", advice)
        key = _judge_key(answer, ours.client_key)
    return key, Finding(True, f"{ours.api_url} answers.")


def _check_key(ours: ReportSettings) -> Finding:
    if ours.client_key:
        return Finding(None, "There is a key. It was not checked with the service.")
    if ours.dry_run:
        found = "There is no key. A dry run does not need one; your solving client does."
        return Finding(True, found)
    advice = f"Set {CLIENT_KEY} in the settings or in the environment."
    return Finding(False, "There is no account key.", advice)


def _ask_service(ours: ReportSettings) -> tuple[int, bytes]:
    """The status and the body of the answer to ``getBalance``; without a key, to a GET.

    Blocks, so it must not be called in a crawl. Never sends an invented key, because requests with
    a wrong key count towards a ban. Proxy and trust store are those of reports.
    """
    url, proxy = urlsplit(ours.api_url), proxy_for(ours.api_url, ours.proxy)
    connect: Any = HTTPConnection
    if url.scheme == "https":
        authorities = None if has_trust_store() else certifi.where()
        trust = ssl.create_default_context(cafile=authorities)
        connect = partial(HTTPSConnection, context=trust)
    # Without a port, http.client would take the end of an IPv6 address for one.
    port = url.port or (443 if url.scheme == "https" else 80)
    server = (proxy.host, proxy.port) if proxy else (url.hostname, port)
    with closing(connect(*server, timeout=ours.timeout)) as connection:
        if proxy:
            password = proxy.authorization
            headers = {"Proxy-Authorization": password.decode()} if password else {}
            connection.set_tunnel(url.hostname, port, headers)
        if key := ours.client_key:
            body = json.dumps({"clientKey": key}).encode()
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"{url.path}/getBalance", body, headers)
        else:
            connection.request("GET", f"{url.path}/")
        response = connection.getresponse()
        return response.status, response.read(_MAX_BYTES)


def _judge_key(answer: dict[str, Any], client_key: str) -> Finding:
    """The result for the key, by the answer to ``getBalance``."""
    code, balance = str(answer.get("errorCode") or ""), answer.get("balance")
    if not code and isinstance(balance, (int, float)):
        advice = "" if balance > 0 else "Top up the account. Nothing is solved without funds."
        return Finding(True, f"The key is valid; the balance is {balance}.", advice)
    found = f"getBalance answered {Mask(client_key).text(code or _NO_BALANCE)[:100]}."
    known = ERROR_CODES.get(code)
    if known is not None and known.verdict.is_retried:
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
            shown = ledgers.RedisName.parse(name).shown
            _try_redis(name)
        else:
            found = f"{shown} cannot be used: {ledgers.ALLOWED}"
            return Finding(False, found, f"Correct {LEDGER}.")
    except Exception as error:  # each backend has errors of its own
        advice = f"Check the file or the server, and {LEDGER}."
        if isinstance(error, ImportError):
            advice = 'pip install "scrapy-capmonster-report[redis]"'
        elif "locked" in str(error):
            advice = "Another process has locked it. End that process."
        # A ValueError is ours, and shows no password.
        why = str(error) if isinstance(error, ValueError) else without_secrets(str(error))
        found = why if shown in why else f"{shown} cannot be used: {why}"
        return Finding(False, f"{found.rstrip('.')}.", advice)
    return Finding(True, f"{shown} can be written.")


def _try_sqlite(path: Path) -> None:
    """Raise the error that a crawl would meet. Does not create a missing file."""
    if path.exists():
        ledgers.read_history(f"sqlite:{path}", _FAST)
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=1, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        return
    place = next(parent for parent in path.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise PermissionError(f"no file can be created in {place}")


def _try_redis(name: str) -> None:
    """Raise the error that a crawl would meet. Deletes the key that it writes."""
    import redis

    ledgers.read_history(name, _FAST)
    url = ledgers.RedisName.parse(name).url
    with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5) as server:
        server.set(_PROBE, 1, px=1000)
        server.delete(_PROBE)
