"""Every setting of this package: read, checked and frozen once, when the crawl starts."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy.exceptions import NotConfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

    # typing.Self requires Python 3.11
    from scrapy.settings import BaseSettings
    from typing_extensions import Self

CLIENT_KEY: Final = "CAPMONSTER_CLIENT_KEY"
ENABLED: Final = "CAPMONSTER_REPORT_ENABLED"
RULES: Final = "CAPMONSTER_REPORT_RULES"
API_URL: Final = "CAPMONSTER_API_URL"
DRY_RUN: Final = "CAPMONSTER_REPORT_DRY_RUN"
CONCURRENCY: Final = "CAPMONSTER_REPORT_CONCURRENCY"
QUEUE_SIZE: Final = "CAPMONSTER_REPORT_QUEUE_SIZE"
TIMEOUT: Final = "CAPMONSTER_REPORT_TIMEOUT"
MAX_AGE: Final = "CAPMONSTER_REPORT_MAX_AGE"
REUSED: Final = "CAPMONSTER_REPORT_REUSED"
CLOSE_TIMEOUT: Final = "CAPMONSTER_REPORT_CLOSE_TIMEOUT"
LEDGER: Final = "CAPMONSTER_REPORT_LEDGER"

DEFAULTS: Final[Mapping[str, Any]] = {
    CLIENT_KEY: None,
    ENABLED: True,
    RULES: [],
    API_URL: "https://api.capmonster.cloud",
    DRY_RUN: False,
    CONCURRENCY: 16,
    QUEUE_SIZE: 10_000,
    TIMEOUT: 10.0,
    MAX_AGE: 300.0,
    REUSED: False,
    CLOSE_TIMEOUT: 30.0,
    LEDGER: "",
}

_BOOLS: Final = {"1": True, "true": True, "0": False, "false": False}


def invalid(name: str, value: object, allowed: str) -> ValueError:
    """The error for the setting *name*: what it is, and what is *allowed* (a sentence)."""
    return ValueError(f"The value of the {name} setting ({value!r}) is invalid. {allowed}")


@dataclass(frozen=True)
class ReportSettings:
    """The settings of one crawl; the README says what each of them means.

    The rules stay as they were written: ``rules.compile_rules`` reads them.
    """

    client_key: str = field(repr=False)
    rules: Any
    api_url: str
    dry_run: bool
    concurrency: int
    queue_size: int
    timeout: float
    max_age: float
    report_reused: bool
    close_timeout: float
    ledger: str

    @classmethod
    def from_settings(cls, settings: BaseSettings, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``crawler.settings``.

        Raises:
            NotConfigured: switched off, or nothing to work with: no key, no rules.
            ValueError: a value is of the wrong type or out of range.
        """
        read = _Reader(settings)
        if not read.boolean(ENABLED):
            raise NotConfigured(f"{ENABLED} is False")
        client_key = read.client_key(environ)
        rules = read.value(RULES)
        if not rules or (isinstance(rules, str) and rules.strip() in ("", "[]")):
            raise NotConfigured(
                f"{RULES} is empty, so no response could be found to be a refusal. "
                "Write a rule, or name a preset."
            )
        return cls(
            client_key=client_key,
            rules=rules,
            api_url=read.api_url(),
            dry_run=read.boolean(DRY_RUN),
            concurrency=read.count(CONCURRENCY),
            queue_size=read.count(QUEUE_SIZE),
            timeout=read.seconds(TIMEOUT),
            max_age=read.seconds(MAX_AGE),
            report_reused=read.boolean(REUSED),
            close_timeout=read.seconds(CLOSE_TIMEOUT, zero=True),
            ledger=read.text(LEDGER),
        )


class _Reader:
    """Reads one setting at a time, as Python or as the text that ``-s NAME=VALUE`` gives."""

    def __init__(self, settings: BaseSettings) -> None:
        self._settings = settings

    def value(self, name: str) -> Any:
        return self._settings.get(name, DEFAULTS[name])

    def boolean(self, name: str) -> bool:
        value = self.value(name)
        known = _BOOLS.get(str(value).strip().lower())
        if known is None or not isinstance(value, (bool, int, str)):
            raise invalid(name, value, "It must be True or False.")
        return known

    def count(self, name: str) -> int:
        value = self.value(name)
        number = _number(value, int)
        if number is None or number < 1:
            raise invalid(name, value, "It must be a whole number, 1 or more.")
        return int(number)

    def seconds(self, name: str, zero: bool = False) -> float:
        value = self.value(name)
        number = _number(value, float)
        if number is None or number < 0 or (number == 0 and not zero):
            allowed = "0 or more" if zero else "more than 0"
            raise invalid(name, value, f"It must be a number of seconds, {allowed}.")
        return number

    def text(self, name: str) -> str:
        value = self.value(name)
        if value is None:
            return str(DEFAULTS[name])
        if not isinstance(value, str):
            raise invalid(name, value, "It must be a str.")
        return value.strip()

    def client_key(self, environ: Mapping[str, str]) -> str:
        value = self.value(CLIENT_KEY)
        if value is not None and not isinstance(value, str):
            # Not the value: whatever it is, it may be the key.
            raise ValueError(
                f"The value of the {CLIENT_KEY} setting (a {type(value).__name__}) is invalid. "
                "It must be a str: the account key."
            )
        key = (value or "").strip() or environ.get(CLIENT_KEY, "").strip()
        if not key:
            raise NotConfigured(
                f"there is no account key. Set {CLIENT_KEY} in the settings or in the environment."
            )
        return key

    def api_url(self) -> str:
        value = self.value(API_URL)
        allowed = f"It must be a URL like {DEFAULTS[API_URL]!r}, without user, query or fragment"
        try:
            url = urlsplit(value.strip())
            plain = url.scheme in ("http", "https") and bool(url.hostname)
            url.port  # noqa: B018 - raises where it is no port
        except (AttributeError, TypeError, ValueError):
            raise invalid(API_URL, value, f"{allowed}.") from None
        if not plain or url.query or url.fragment or "@" in url.netloc:
            raise invalid(API_URL, value, f"{allowed}.")
        if url.scheme == "http" and not _is_loopback(url.hostname or ""):
            raise invalid(
                API_URL,
                value,
                "It must begin with https:// unless its host is this machine (localhost, "
                "127.0.0.1, [::1]): over plain http the account key would travel in the clear.",
            )
        return str(url.geturl()).rstrip("/")


def _number(value: object, number_type: type[int] | type[float]) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, number_type)):
        return None
    try:
        number = number_type(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
