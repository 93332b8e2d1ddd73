"""Every setting of this package: read, checked and frozen once, when the crawl starts."""

from __future__ import annotations

import logging
import math
import os
import re
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import NotConfigured

from .text import closest_match

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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

_IN_ENVIRONMENT: Final = frozenset({CLIENT_KEY, API_URL})
"""The settings that may also be environment variables."""

_PREFIX: Final = re.compile("CAPMONSTER_(REPORT_)?")

_BOOLS: Final = {"1": True, "true": True, "0": False, "false": False}

_NO_RULES: Final = re.compile(r"\s*(\[\s*\]|null)?\s*")

# Strict patterns instead of a URL parser: the parser that sends may see another host than the one
# that checks.
_HOST: Final = (
    r"(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[(?P<ipv6>[0-9a-f]*:[0-9a-f:.]*)\])"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_URL: Final = re.compile(
    rf"(?P<scheme>https?)://{_HOST}(?:/[a-z0-9._~/-]*)?", re.IGNORECASE | re.ASCII
)
_PROXY_URL: Final = re.compile(rf"http://(?:[^/?#@\s]*@)?{_HOST}/?", re.IGNORECASE | re.ASCII)

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
    return _parse_url(_PROXY_URL, url) is not None


def unknown_settings(settings: BaseSettings) -> list[str]:
    """A sentence about each setting that begins with ``CAPMONSTER_`` but does not exist."""
    # Compared without the prefix, which would make all names similar.
    short = {_PREFIX.sub("", name): name for name in DEFAULTS}
    sentences = []
    for name in settings:
        if isinstance(name, str) and name.startswith("CAPMONSTER_") and name not in DEFAULTS:
            wrong = _PREFIX.sub("", name)
            match = closest_match(wrong, short, cutoff=0.55) or next(
                (right for right in short if right.endswith(f"_{wrong}")), None
            )
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


def _boolean(name: str, value: Any) -> bool:
    known = _BOOLS.get(str(value).strip().lower())
    if known is None or not isinstance(value, (bool, int, str)):
        raise invalid(name, value, "It must be True or False.")
    return known


def _number(
    kind: type[int] | type[float], allowed: str, is_right: Callable[[float], bool]
) -> Callable[[str, Any], float]:
    def parse(name: str, value: Any) -> float:
        if isinstance(value, (str, int, kind)) and not isinstance(value, bool):
            with suppress(ValueError, OverflowError):
                if is_right(number := kind(value)):
                    return number
        raise invalid(name, value, f"It must be {allowed}.")

    return parse


_count: Final = _number(int, "a whole number, 1 or more", lambda number: number >= 1)
_seconds: Final = _number(
    float, "a number of seconds, more than 0", lambda number: 0 < number < math.inf
)
_seconds_or_zero: Final = _number(
    float, "a number of seconds, 0 or more", lambda number: 0 <= number < math.inf
)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise invalid(name, value, "It must be a str.")
    return value.strip()


def _proxy(name: str, value: Any) -> str:
    url = _text(name, value)
    if url.lower() == NO_PROXY:
        return NO_PROXY
    if url and not is_proxy_url(url):
        allowed = (
            "It must be '' (use the environment), 'none', or a URL like "
            "'http://USER:PASSWORD@HOST:PORT'. Percent-encode '@', '/', '?' and '#' in a "
            "password ('@' as '%40')."
        )
        raise invalid(name, without_secrets(url), allowed)
    return url


def _client_key(name: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        # Not the value: it may be the key.
        raise ValueError(
            f"The value of the {name} setting (of type {type(value).__name__}) is invalid. It must "
            "be a str: the account key."
        )
    return (value or "").strip()


def _api_url(name: str, value: Any) -> str:
    safe_value = without_secrets(value) if isinstance(value, str) else value
    url = _parse_url(_URL, value.strip()) if isinstance(value, str) else None
    if url is None:
        allowed = f"It must be a URL like {DEFAULTS[name]!r}, without user, query or fragment."
        raise invalid(name, safe_value, allowed)
    if url["scheme"].lower() == "http" and not _is_loopback(url["ipv6"] or url["host"]):
        raise invalid(
            name,
            safe_value,
            "It must begin with https://: over plain http the account key would travel in the "
            "clear. Plain http is allowed for this machine only (localhost, 127.0.0.1, [::1]).",
        )
    return url[0].rstrip("/")


def _setting(
    name: str, default: Any, parse: Callable[[str, Any], Any], *, show: bool = True
) -> Any:
    """The field for a setting: its name, its default, and what reads it.

    A setting may be a Python value, or text from ``-s NAME=VALUE``.
    """
    return field(repr=show, metadata={"name": name, "default": default, "parse": parse})


@dataclass(frozen=True)
class ReportSettings:
    """The settings of one crawl. docs/reference.md explains each of them.

    The rules are not checked here but by ``rules.compile_rules``.
    """

    enabled: bool = _setting(ENABLED, True, _boolean)
    client_key: str = _setting(CLIENT_KEY, None, _client_key, show=False)
    rules: Any = _setting(RULES, [], lambda name, value: value)  # noqa: RUF009  (it is a field)
    api_url: str = _setting(API_URL, "https://api.capmonster.cloud", _api_url)
    dry_run: bool = _setting(DRY_RUN, False, _boolean)
    concurrency: int = _setting(CONCURRENCY, 16, _count)
    queue_size: int = _setting(QUEUE_SIZE, 10_000, _count)
    timeout: float = _setting(TIMEOUT, 10.0, _seconds)
    max_age: float = _setting(MAX_AGE, 300.0, _seconds)
    report_reused: bool = _setting(REUSED, False, _boolean)
    close_timeout: float = _setting(CLOSE_TIMEOUT, 30.0, _seconds_or_zero)
    ledger: str = _setting(LEDGER, "", _text, show=False)
    proxy: str = _setting(PROXY, "", _proxy, show=False)
    save_rejected: str = _setting(SAVE_REJECTED, "", _text)

    @classmethod
    def from_settings(cls, settings: BaseSettings, environ: Mapping[str, str] = os.environ) -> Self:
        """The settings of a crawl that is to report, from ``crawler.settings``.

        Raises:
            NotConfigured: switched off, no rules, or no key (which a dry run does not need).
            ValueError: a value is of the wrong type or out of range.
        """
        read = partial(_read, settings, environ)
        if not read(ENABLED):
            raise NotConfigured(f"{ENABLED} is False")
        if not (read(DRY_RUN) or read(CLIENT_KEY)):
            raise NotConfigured(
                f"there is no account key. Set {CLIENT_KEY} in the settings or in the environment."
            )
        rules = read(RULES)
        if rules in ([], ()) or (isinstance(rules, str) and _NO_RULES.fullmatch(rules)):
            raise NotConfigured(f"{RULES} is empty. Write a rule, or name a preset.")
        return cls.read(settings, environ)

    @classmethod
    def read(cls, settings: BaseSettings, environ: Mapping[str, str] = os.environ) -> Self:
        """The values of *settings*, whether or not a crawl with them would report.

        Raises:
            ValueError: a value is of the wrong type or out of range.
        """
        values = {item.name: _read(settings, environ, name) for name, item in _FIELDS.items()}
        return cls(**values)


_FIELDS: Final = {item.metadata["name"]: item for item in fields(ReportSettings)}

DEFAULTS: Final[Mapping[str, Any]] = {
    name: item.metadata["default"] for name, item in _FIELDS.items()
}


def _read(settings: BaseSettings, environ: Mapping[str, str], name: str) -> Any:
    value = settings.get(name)
    if name in _IN_ENVIRONMENT and (value is None or not str(value).strip()):
        value = environ.get(name, "").strip() or None
    return _FIELDS[name].metadata["parse"](name, DEFAULTS[name] if value is None else value)


def _parse_url(pattern: re.Pattern[str], url: str) -> re.Match[str] | None:
    """The match of *url*, if it also has a valid address and port, or none."""
    match = pattern.fullmatch(url)
    with suppress(ValueError):
        if match and match["ipv6"]:
            ip_address(match["ipv6"])
        return match if match and 0 < int(match["port"] or 1) < 65536 else None
    return None


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host.lower() == "localhost"
