"""Whom the account key is given to: TLS, verified. Rows 9, 34 and 46 of the matrix of faults."""

from __future__ import annotations

import datetime
import ipaddress
import logging
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from misbehaving import drips, hangs, in_turn, resets, says
from twisted.internet.ssl import DefaultOpenSSLContextFactory
from wired import lines, until

from scrapy_capmonster_report.outcome import Outcome

if TYPE_CHECKING:
    from pathlib import Path


LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
DAY = datetime.timedelta(days=1)


def remove_trust_store(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """As in a slim container: OpenSSL finds no certificates."""
    empty = folder / "empty"
    empty.mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", str(empty / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(empty))


def certificate(
    host: str | ipaddress.IPv4Address | None, directory: Path, age: datetime.timedelta = DAY
) -> str:
    """The path of a self-signed certificate, with its key.

    Args:
        host: whom it is for; ``None``: it has no ``subjectAltName``.
        age: it was made so long ago, and is good for two days.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    made = datetime.datetime.now(datetime.timezone.utc) - age
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(made)
        .not_valid_after(made + 2 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if host is not None:
        alternative = x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)
        names = x509.SubjectAlternativeName([alternative])
        builder = builder.add_extension(names, critical=False)
    signed = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = directory / "certificate.pem"
    path.write_bytes(signed.public_bytes(Encoding.PEM) + pem)
    return str(path)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("host", "age", "is_trusted", "reason"),
    [
        (LOOPBACK, DAY, False, "it is self-signed, so its issuer is unknown"),
        (LOOPBACK, 3 * DAY, True, "it has expired. Check the clock"),
        (LOOPBACK, -DAY, True, "it is not valid yet. Check the clock"),
        ("elsewhere.example", DAY, True, "it is for another host. Check CAPMONSTER_API_URL"),
        (None, DAY, True, "it names no host"),
    ],
    ids=["self-signed", "expired", "of tomorrow", "for another host", "for no host"],
)
async def test_a_server_that_cannot_prove_who_it_is_does_not_get_the_key(
    host: Any,
    age: datetime.timedelta,
    is_trusted: bool,
    reason: str,
    wire: Any,
    misbehave: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Rows 9, 34 and 46: a failure of TLS is retried like any other, and says why."""
    proof = certificate(host, tmp_path, age)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", proof)
    server = misbehave(says(), tls=DefaultOpenSSLContextFactory(proof, proof))
    desk = wire(url=server.url, max_age=1.4)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    assert server.accepted == 2
    assert server.arrivals == []
    [warning] = lines(caplog, logging.WARNING)
    assert reason in warning


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("knows", [True, False], ids=["it knows", "it does not know"])
async def test_a_machine_without_a_trust_store_has_that_of_certifi(
    knows: bool,
    wire: Any,
    misbehave: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Row 34: a slim container, Windows, macOS."""
    remove_trust_store(monkeypatch, tmp_path)
    proof = certificate(LOOPBACK, tmp_path)
    if knows:
        monkeypatch.setattr("certifi.where", lambda: proof)
    server = misbehave(says(), tls=DefaultOpenSSLContextFactory(proof, proof))
    desk = wire(url=server.url, max_age=0.4)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.ACCEPTED if knows else Outcome.UNDELIVERED]}
    assert len(server.arrivals) == knows
    assert knows or "install ca-certificates" in caplog.text


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
