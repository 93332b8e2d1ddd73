"""Asks the service for the balance, for ``doctor``."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPException
from typing import TYPE_CHECKING, Any, Final
from urllib.error import URLError
from urllib.request import HTTPErrorProcessor, ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    from ..settings import ReportSettings

_MAX_BYTES: Final = 64 * 1024


class ServiceError(Exception):
    """The service cannot be reached, or its answer is not as documented.

    Args:
        problem: what is wrong.
        advice: what to do.
    """

    def __init__(
        self, problem: str, advice: str = "Check the network, the proxy and CAPMONSTER_API_URL."
    ) -> None:
        super().__init__(problem)
        self.advice = advice


class _AsAnswered(HTTPErrorProcessor):
    """Follows no redirects: the key must not be sent elsewhere. Raises nothing for a status."""

    def http_response(self, request: Request, response: Any) -> Any:
        return response

    https_response = http_response


def ask_service(settings: ReportSettings) -> dict[str, Any]:
    """The answer to ``getBalance``. Without a key, only whether the service answers.

    Blocks, so it must not be called in a crawl. Never sends an invented key, because requests with
    a wrong key count towards a ban.

    Raises:
        ServiceError: the service did not answer as documented.
    """
    key = settings.client_key
    body = json.dumps({"clientKey": key}).encode() if key else None
    url = settings.api_url + ("/getBalance" if key else "/")
    proxy = settings.proxy
    proxies = {"": None, "none": {}}.get(proxy, {"http": proxy, "https": proxy})
    opener = build_opener(_AsAnswered, ProxyHandler(proxies))  # None: as the environment says
    request = Request(url, body, {"Content-Type": "application/json"})
    try:
        with opener.open(request, timeout=settings.timeout) as response:
            status, content = response.status, response.read(_MAX_BYTES)
    except (OSError, HTTPException) as error:
        raise _explained(error) from error
    if status >= 500:
        raise ServiceError(f"it answers HTTP {status}", "Try again later.")
    try:
        answer = json.loads(content) if key else {}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise ServiceError("the answer is not from the service: it is not a JSON object")
    return answer


def _explained(error: Exception) -> ServiceError:
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        return ServiceError(
            f"its certificate is not trusted ({reason.verify_message})",
            "If a proxy decrypts TLS here, set SSL_CERT_FILE to the file of its certificate.",
        )
    return ServiceError(f"it cannot be reached ({reason or type(reason).__name__})")
