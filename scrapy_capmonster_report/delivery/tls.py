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
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from zope.interface import implementer

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


class CertificateError(Exception):
    """The certificate of the service is not trusted. The message says why, and what to do."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the service's certificate is not trusted: {problem}")


def tls_problem(error: SSL.Error) -> str:
    """What OpenSSL says of a connection that failed, like "wrong version number"."""
    reasons = error.args[0] if error.args and isinstance(error.args[0], list) else []
    return ", ".join(reason for *_, reason in reasons) or "the connection was closed"


def tls_options(host: str) -> IOpenSSLClientConnectionCreator:
    """The options of TLS connections to *host*."""
    trust = platformTrust() if has_trust_store() else _certifi_trust()
    return _Verified(host, optionsForClientTLS(host, trustRoot=trust))


def has_trust_store() -> bool:
    """Whether OpenSSL finds certificates on this machine (``SSL_CERT_FILE``, ``SSL_CERT_DIR``)."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile and os.path.getsize(paths.cafile):
        return True
    return bool(paths.capath and os.listdir(paths.capath))


def _certifi_trust() -> Any:
    authorities = ssl.create_default_context(cafile=certifi.where()).get_ca_certs(binary_form=True)
    return trustRootFromCertificates([Certificate.load(one) for one in authorities])


@implementer(IOpenSSLClientConnectionCreator)
class _Verified:
    """Verifies that the certificate is for *host*, with an error that explains the problem.

    Twisted 26.10 verifies the host too, but accepts a certificate without any ``subjectAltName``,
    and its only error for one that is not trusted is "certificate verify failed".
    """

    def __init__(self, host: str, options: Any) -> None:
        is_ip = isIPAddress(host) or isIPv6Address(host)
        self._service = IPAddress_ID(host) if is_ip else DNS_ID(host)
        self._options = options

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)

        def verify(_: object, certificate: Any, problem: int, depth: int, is_trusted: int) -> bool:
            # An exception raised here would be lost, and the certificate accepted.
            try:
                if not is_trusted:
                    raise CertificateError(_PROBLEMS.get(problem, f"OpenSSL error {problem}"))
                if depth == 0:
                    _verify_host(certificate, self._service)
            except Exception:
                tlsProtocol.failVerification(Failure())
                return False
            return True

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection


def _verify_host(certificate: Any, service: Any) -> None:
    try:
        verify_service_identity(extract_patterns(certificate), [service], [])
    except VerificationError:
        raise CertificateError("it is for another host. Check CAPMONSTER_API_URL") from None
    except Exception as error:  # it has no subjectAltName
        raise CertificateError(f"it names no host ({error})") from None
