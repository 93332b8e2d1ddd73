"""Hosts, written as Scrapy writes them in its URLs."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from w3lib.url import safe_url_string

if TYPE_CHECKING:
    from collections.abc import Iterator

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_MAX_LENGTH: Final = 253


def host_of(url: str) -> str:
    """The host of *url*: lower case, in IDNA, without a trailing dot; ``""`` if it has none."""
    try:
        host = urlsplit(url).hostname or ""
        if not host.isascii():
            # Not for URLs of Scrapy's own requests, which are normalised already.
            host = urlsplit(safe_url_string(url)).hostname or ""
    except ValueError:
        return ""
    return host.rstrip(".")


def authority_of(url: str) -> str:
    """The authority of *url*: its host as written, with a port; ``""`` if it has none.

    Faster than :func:`host_of`. Equal authorities have equal hosts.
    """
    parts = url.split("/", 3)
    return parts[2] if len(parts) > 2 and not parts[1] else ""


def host_and_port(scheme: str, netloc: str) -> str:
    """The host and port of a URL, the same for every way of writing them."""
    default_port = ":443" if scheme == "https" else ":80"
    return netloc.rpartition("@")[2].lower().removesuffix(default_port)


def parents_of(host: str) -> Iterator[str]:
    """*host* and every domain that it is a subdomain of, the nearest first."""
    yield host
    if host.rpartition(".")[2].isdigit():  # an IP address has no top-level domain
        return
    while (dot := host.find(".")) >= 0:
        host = host[dot + 1 :]
        yield host


def parse_host(value: str) -> str | None:
    """The host that *value* is, in the form of :func:`host_of`; ``None`` if it is none."""
    try:
        return str(ipaddress.ip_address(value.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    if re.search(r"[\s/\\:@*?#%]", value) or len(value) > _MAX_LENGTH:
        return None
    host = host_of(f"http://{value}/")
    return host if len(host) <= _MAX_LENGTH and _HOST.fullmatch(host) else None


def host_within(value: str) -> str | None:
    """The host in a URL, a host with a port, a ``*.`` pattern or a cookie's domain."""
    url = value.strip()
    try:
        host = urlsplit(url if "//" in url else f"//{url}").hostname or ""
    except ValueError:
        return None
    host = host.lstrip("*.")
    return host if parse_host(host) else None
