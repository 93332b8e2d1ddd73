"""Whom the account key is given to: TLS, verified. Row 9 of the matrix of faults."""

from __future__ import annotations

import datetime
import ipaddress
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from misbehaving import drips, hangs, in_turn, resets, says
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from wired import until

from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path


def certificate(host: str | ipaddress.IPv4Address, directory: Path) -> str:
    """The path of a self-signed certificate for *host*, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    alternative = x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)
    day = datetime.timedelta(days=1)
    today = datetime.datetime.now(datetime.timezone.utc)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - day)
        .not_valid_after(today + day)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = directory / "certificate.pem"
    path.write_bytes(signed.public_bytes(Encoding.PEM) + pem)
    return str(path)


LOOPBACK = ipaddress.IPv4Address("127.0.0.1")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("host", "is_trusted"), [(LOOPBACK, False), ("elsewhere.example", True)], ids=str
)
async def test_a_server_that_cannot_prove_who_it_is_does_not_get_the_key(
    host: Any,
    is_trusted: bool,
    wire: Any,
    misbehave: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 9: a failure of TLS is retried like any other."""
    proof = certificate(host, tmp_path)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", proof)
    server = misbehave(says(), tls=DefaultOpenSSLContextFactory(proof, proof))
    desk = wire(url=server.url, max_age=1.4)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    assert server.accepted == 2
    assert server.arrivals == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "first", [says(), drips, hangs, resets], ids=["accepts", "drips", "hangs", "resets"]
)
async def test_over_tls_all_is_as_without(
    first: Any, wire: Any, misbehave: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 9, the other way round; and rows 7 and 8 where a goodbye could take long."""
    proof = certificate(LOOPBACK, tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", proof)
    server = misbehave(in_turn(first, says()), tls=DefaultOpenSSLContextFactory(proof, proof))
    desk = wire(url=server.url, timeout=0.3)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.ACCEPTED]}
    await until(lambda: server.open_sockets() <= 1)
    await desk.shut()
    await until(lambda: server.open_sockets() == 0)
