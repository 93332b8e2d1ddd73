"""TLS, verified with the trust store of the platform, or with certifi's."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any, Final

import certifi
from OpenSSL import SSL
from service_identity import VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from zope.interface import implementer

from ..settings import API_URL

if TYPE_CHECKING:
    from collections.abc import Mapping

_TRUST_STORE: Final = (
    "its issuer is unknown. If this machine has no trust store, install ca-certificates; if a "
    "proxy or a private authority signs the certificates, name its file in SSL_CERT_FILE"
)
# OpenSSL's error numbers (x509_vfy.h).
_PROBLEMS: Final[Mapping[int, str]] = {
    9: "it is not valid yet. Check the clock of this machine",
    10: "it has expired. Check the clock of this machine",
    18: f"it is self-signed, so {_TRUST_STORE}",
    19: f"it ends in a self-signed one, so {_TRUST_STORE}",
    20: _TRUST_STORE,
    21: _TRUST_STORE,
}


class UnusableConnectionError(Exception):
    """A connection to the service that cannot be used, or no longer; the message says why."""


def tls_problem(error: SSL.Error) -> str:
    """What OpenSSL says of a connection that failed, like "wrong version number"."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reason for *_, reason in reasons) or "the connection was closed"


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedTLS:
    """TLS to *host*, whose certificate is verified, with an error that explains the problem.

    With Twisted's ``optionsForClientTLS`` (26.10) the only error is "certificate verify failed",
    and a certificate without any ``subjectAltName`` is accepted.
    """

    def __init__(self, host: str) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        if has_trust_store():
            self._context.set_default_verify_paths()
        else:
            self._context.load_verify_locations(certifi.where())
        self._host = host
        self._is_ip = isIPAddress(host) or isIPv6Address(host)

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if not self._is_ip:
            connection.set_tlsext_host_name(self._host.encode("ascii"))

        def verify(_: object, certificate: Any, error: int, depth: int, is_trusted: int) -> bool:
            problem = "" if is_trusted else _PROBLEMS.get(error, f"OpenSSL error {error}")
            if is_trusted and depth == 0:
                problem = self._host_problem(certificate)
            if problem:
                problem = f"the service's certificate is not trusted: {problem}"
                tlsProtocol.failVerification(Failure(UnusableConnectionError(problem)))
            return not problem

        connection.set_verify(SSL.VERIFY_PEER, verify)
        return connection

    def _host_problem(self, certificate: Any) -> str:
        service = IPAddress_ID(self._host) if self._is_ip else DNS_ID(self._host)
        try:
            verify_service_identity(extract_patterns(certificate), [service], [])
        except VerificationError:
            return f"it is for another host. Check {API_URL}"
        except Exception as error:  # it has no subjectAltName
            return f"it names no host ({error})"
        return ""


def has_trust_store() -> bool:
    """Whether OpenSSL finds certificates on this machine (``SSL_CERT_FILE``, ``SSL_CERT_DIR``)."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile and os.path.getsize(paths.cafile):
        return True
    return bool(paths.capath and os.listdir(paths.capath))
