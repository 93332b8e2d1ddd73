"""Services that only IPv6 reaches, names that nothing resolves, and TLS that is never finished."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from misbehaving import says
from test_proxy import proxy  # noqa: F401
from test_tls import LOOPBACK, certificate
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from wired import WRONG

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK_6 = ipaddress.IPv6Address("::1")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("way", ["http", "https", "proxy"])
async def test_a_service_or_proxy_on_ipv6_is_reached_in_spite_of_scrapys_resolver(
    way: str,
    serve: Any,
    misbehave: Any,
    proxy: Any,  # noqa: F811
    child_crawl: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By default, Scrapy resolves names to IPv4 only; an address needs no resolver."""
    options: dict[str, Any] = {"host": "::1"}
    settings = {}
    if way != "http":
        host = LOOPBACK if way == "proxy" else LOOPBACK_6
        proof = certificate(host, tmp_path)
        monkeypatch.setenv("SSL_CERT_FILE", proof)
        options = {"host": str(host), "tls": DefaultOpenSSLContextFactory(proof, proof)}
    if way == "proxy":
        settings["CAPMONSTER_REPORT_PROXY"] = proxy(host="::1").url
    service = misbehave(says(), **options)
    settings["CAPMONSTER_API_URL"] = service.url
    child = child_crawl(serve(lambda _: WRONG).url, range(1, 6), settings)
    stats = await child.stats()
    assert stats["sent/accepted"] == 5
    assert sorted(service.task_ids()) == [1, 2, 3, 4, 5]
