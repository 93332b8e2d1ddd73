"""Every setting of this package: read, checked and frozen once, when the crawl starts."""

from __future__ import annotations

import logging
import math
import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import NotConfigured

from .text import closest_match

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.settings import BaseSettings

    # typing.Self requires Python 3.11
    from typing_extensions import Self

logger = logging.getLogger(__name__)

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
PROXY: Final = "CAPMONSTER_REPORT_PROXY"
SAVE_REJECTED: Final = "CAPMONSTER_REPORT_SAVE_REJECTED"

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
    PROXY: "",
    SAVE_REJECTED: "",
}

_PREFIX: Final = re.compile("CAPMONSTER_(REPORT_)?")

_BOOLS: Final = {"1": True, "true": True, "0": False, "false": False}

_NO_RULES: Final = re.compile(r"\s*(\[\s*\]|null)?\s*")

# A strict pattern instead of a URL parser: the parser that sends may see another host than the one
# that checks.
_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[(?P<ipv6>[0-9a-f]*:[0-9a-f:.]*)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?:/[a-z0-9._~/-]*)?",
    re.IGNORECASE | re.ASCII,
)
_PROXY_URL: Final = re.compile(
    r"http://(?:[^/?#@\s]*@)?"
    r"(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[(?P<ipv6>[0-9a-f]*:[0-9a-f:.]*)\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?",
    re.IGNORECASE | re.ASCII,
)

NO_PROXY: Final = "none"

_SECRETS: Final = re.compile(r"(?P<scheme>\w+://)?.+(?=@)|(?<=[?#]).+", re.DOTALL)
"""The parts of a URL that may hold a password or the account key."""


def invalid(name: str, value: object, allowed: str) -> ValueError:
    """The error for the setting *name*, with its value and what is *allowed* (a sentence)."""
    return ValueError(f"The value of the {name} setting ({value!r}) is invalid. {allowed}")


def without_secrets(url: str) -> str:
    """*url* for messages: without user, password, query and fragment."""
    return _SECRETS.sub(r"\g<scheme>…", url)


def is_proxy_url(url: str) -> bool:
    """Whether *url* is that of an HTTP proxy, with or without user and password."""
    match = _PROXY_URL.fullmatch(url)
    return match is not None and _can_be_reached(match["ipv6"], match["port"])


def unknown_settings(settings: BaseSettings) -> list[str]:
    """A sentence about each setting that begins with ``CAPMONSTER_`` but does not exist."""
    # Compared without the prefix, which would make all names similar.
    short = {_PREFIX.sub("", name): name for name in DEFAULTS}
    sentences = []
    for name in settings:
        if isinstance(name, str) and name.startswith("CAPMONSTER_") and name not in DEFAULTS:
            match = closest_match(_PREFIX.sub("", name), short, cutoff=0.55)
            question = f" Did you mean {short[match]}?" if match else ""
            sentences.append(f"The setting {name} does not exist and is ignored.{question}")
    return sentences


def warn_about_unknown_settings(settings: BaseSettings, log_extra: dict[str, Any]) -> None:
    """Log a WARNING for each of :func:`unknown_settings` when the crawl starts.

    Args:
        settings: ``crawler.settings``.
        log_extra: what log records carry.
    """
    for sentence in unknown_settings(settings):
        logger.warning(sentence, extra=log_extra)


@dataclass(frozen=True)
class ReportSettings:
    """The settings of one crawl. docs/reference.md explains each of them.

    The rules are not checked here but by ``rules.compile_rules``.
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
    proxy: str
    save_rejected: str

    @classmethod
    def from_settings(cls, settings: BaseSettings, environ: Mapping[str, str] = os.environ) -> Self:
        """Read ``crawler.settings``.

        Raises:
            NotConfigured: switched off, no rules, or no key (which a dry run does not need).
            ValueError: a value is of the wrong type or out of range.
        """
        read = _Reader(settings)
        if not read.boolean(ENABLED):
            raise NotConfigured(f"{ENABLED} is False")
        dry_run = read.boolean(DRY_RUN)
        client_key = read.client_key(environ, needed=not dry_run)
        rules = read.rules()
        return cls(
            client_key=client_key,
            rules=rules,
            api_url=read.api_url(environ),
            dry_run=dry_run,
            concurrency=read.count(CONCURRENCY),
            queue_size=read.count(QUEUE_SIZE),
            timeout=read.seconds(TIMEOUT),
            max_age=read.seconds(MAX_AGE),
            report_reused=read.boolean(REUSED),
            close_timeout=read.seconds(CLOSE_TIMEOUT, zero=True),
            ledger=read.text(LEDGER),
            proxy=read.proxy(),
            save_rejected=read.text(SAVE_REJECTED),
        )


class _Reader:
    """Reads single settings, whether they are Python values or text from ``-s NAME=VALUE``."""

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
        if not isinstance(value, str):
            raise invalid(name, value, "It must be a str.")
        return value.strip()

    def proxy(self) -> str:
        value = self.text(PROXY)
        if value and value.lower() != NO_PROXY and not is_proxy_url(value):
            allowed = (
                "It must be '' (use the environment), 'none', or a URL like "
                "'http://USER:PASSWORD@HOST:PORT'. Percent-encode '@', '/', '?' and '#' in a "
                "password ('@' as '%40')."
            )
            raise invalid(PROXY, without_secrets(value), allowed)
        return NO_PROXY if value.lower() == NO_PROXY else value

    def client_key(self, environ: Mapping[str, str], *, needed: bool = True) -> str:
        """The account key; ``""`` if there is none and it is not *needed*."""
        value = self.value(CLIENT_KEY)
        if value is not None and not isinstance(value, str):
            # Not the value: it may be the key.
            raise ValueError(
                f"The value of the {CLIENT_KEY} setting (of type {type(value).__name__}) is "
                "invalid. It must be a str: the account key."
            )
        key = (value or "").strip() or environ.get(CLIENT_KEY, "").strip()
        if not key and needed:
            raise NotConfigured(
                f"there is no account key. Set {CLIENT_KEY} in the settings or in the environment."
            )
        return key

    def rules(self) -> Any:
        value = self.value(RULES)
        if value in ([], ()) or (isinstance(value, str) and _NO_RULES.fullmatch(value)):
            raise NotConfigured(f"{RULES} is empty. Write a rule, or name a preset.")
        return value

    def api_url(self, environ: Mapping[str, str]) -> str:
        value = self._settings.get(API_URL)
        if value is None or (isinstance(value, str) and not value.strip()):
            value = environ.get(API_URL, "").strip() or DEFAULTS[API_URL]
        safe_value = without_secrets(value) if isinstance(value, str) else value
        url = _URL.fullmatch(value.strip()) if isinstance(value, str) else None
        if url is None or not _can_be_reached(url["ipv6"], url["port"]):
            allowed = (
                f"It must be a URL like {DEFAULTS[API_URL]!r}, without user, query or fragment."
            )
            raise invalid(API_URL, safe_value, allowed)
        if url["scheme"].lower() == "http" and not _is_loopback(url["ipv6"] or url["host"]):
            raise invalid(
                API_URL,
                safe_value,
                "It must begin with https://: over plain http the account key would travel in the "
                "clear. Plain http is allowed for this machine only (localhost, 127.0.0.1, [::1]).",
            )
        return url[0].rstrip("/")


def _number(value: object, number_type: type[int] | type[float]) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, number_type)):
        return None
    try:
        number = number_type(value)
    except (ValueError, OverflowError):
        return None
    return None if isinstance(number, float) and not math.isfinite(number) else number


def _can_be_reached(ipv6: str | None, port: str | None) -> bool:
    """Whether these parts of a URL are valid; ``None`` for a part that it does not have."""
    return (ipv6 is None or _is_ip(ipv6)) and (port is None or 0 < int(port) < 65536)


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
