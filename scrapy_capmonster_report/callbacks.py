"""``accept()`` and ``reject()``, for callbacks that judge an answer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from .middleware import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from scrapy import Request
    from scrapy.crawler import Crawler


def accept(crawler: Crawler, request: Request) -> None:
    """Say that the site accepted the answer that *request* submitted.

    Args:
        crawler: ``self.crawler``. Does nothing where the middleware is disabled.
        request: ``response.request``.
    """
    middleware = _middleware_of(crawler)
    if middleware is not None:
        middleware.accept(request)


def reject(crawler: Crawler, request: Request, reason: str | None = "") -> None:
    """Say that the site rejected the answer that *request* submitted, as a matching rule does.

    Args:
        crawler: ``self.crawler``. Does nothing where the middleware is disabled.
        request: ``response.request``.
        reason: for the log; ``None`` for no reason.
    """
    middleware = _middleware_of(crawler)
    if middleware is not None:
        middleware.reject(request, reason)


def _middleware_of(crawler: Crawler) -> CapMonsterReportMiddleware | None:
    """The middleware of a crawl; ``None`` if it is disabled, or if no crawl is running."""
    with suppress(RuntimeError):  # as in a test of the spider
        return crawler.get_downloader_middleware(CapMonsterReportMiddleware)
    return None
