"""The HTTP proxy for reports."""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from ..settings import NO_PROXY, PROXY, is_proxy_url, without_secrets

logger = logging.getLogger(__name__)

DEFAULT_PORT: Final = 80


class Proxy(NamedTuple):
    """An HTTP proxy; *authorization* is the value of the header, if it needs a password."""

    host: str
    port: int
    authorization: bytes | None

    def connect_request(self, host: bytes, port: int) -> bytes:
        """What asks for a tunnel (``CONNECT``, RFC 9110, 9.3.6) to *host*."""
        where = b"%s:%d" % (b"[%s]" % host if b":" in host else host, port)
        head = [b"CONNECT %s HTTP/1.1" % where, b"Host: " + where]
        if self.authorization is not None:
            head.append(b"Proxy-Authorization: " + self.authorization)
        return b"\r\n".join([*head, b"", b""])


def proxy_for(url: str, setting: str) -> Proxy | None:
    """The proxy for reports to *url*; ``None`` if there is none.

    Plain http is for services on this machine only, which a proxy could not reach.

    Args:
        setting: the value of ``CAPMONSTER_REPORT_PROXY``.
    """
    service = urlsplit(url)
    if service.scheme != "https" or setting == NO_PROXY:
        return None
    if not setting:
        # no_proxy may list a host, or a host with its port, which Scrapy does not look for.
        with_port = service.netloc if service.port else f"{service.netloc}:443"
        if proxy_bypass(service.hostname or "") or proxy_bypass(with_port):
            return None
        setting = getproxies().get("https", "").strip()
        if "://" not in setting:
            setting = setting and f"http://{setting}"
        if setting and not is_proxy_url(setting):
            logger.warning(
                "The proxy in the environment (%s) is not used for reports, because it is not a "
                "URL like http://HOST:PORT (only http:// proxies are supported). Set %s to "
                "another one.",
                without_secrets(setting),
                PROXY,
            )
            return None
    return _parse(setting) if setting else None


def _parse(url: str) -> Proxy:
    parts = urlsplit(url)
    authorization = None
    if parts.username is not None:
        secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = b"Basic " + b64encode(secret.encode())
    return Proxy(parts.hostname or "", parts.port or DEFAULT_PORT, authorization)
