"""Fetches pages in a small crawl with the project's settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.exceptions import UsageError
from scrapy.http import Response

from .cli import usage_error
from .pages import SavedPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from scrapy.settings import Settings
    from twisted.python.failure import Failure

_OURS: Final = {
    # Leave the project's own crawls alone, and report nothing.
    "CAPMONSTER_REPORT_ENABLED": False,
    "FEEDS": {},
    "HTTPERROR_ALLOW_ALL": True,
    "ITEM_PIPELINES": {},
    "JOBDIR": None,
    # In a crawl the rules see a page before Scrapy follows its meta refresh.
    "METAREFRESH_ENABLED": False,
    "TELNETCONSOLE_ENABLED": False,
    "TWISTED_REACTOR_ENABLED": True,
}


class _FetchSpider(Spider):
    """Puts the response to each of its URLs, or the failure, into *results*."""

    name = "capmonster-check"
    urls: Collection[str]
    results: dict[str, Response | Failure]

    async def start(self) -> AsyncIterator[Any]:
        for url in self.urls:
            end = partial(self.results.__setitem__, url)
            yield Request(url, end, errback=end, meta={"dont_retry": True}, dont_filter=True)


def fetch(urls: Collection[str], settings: Settings) -> dict[str, SavedPage]:
    """Fetch *urls* in a crawl with *settings*. Runs the reactor, so it works once in a process.

    Raises:
        UsageError: one of them cannot be fetched.
    """
    for url in urls:
        # One that cannot be parsed would end the crawl before the other pages.
        with usage_error(f"cannot fetch {url}: ", ValueError):
            _ = urlsplit(Request(url).url).port
    settings = settings.copy()
    settings.setdict(_OURS, priority="cmdline")
    results: dict[str, Response | Failure] = {}

    def failed(failure: Failure) -> None:
        for url in urls:
            results.setdefault(url, failure)

    process = CrawlerProcess(settings)
    process.crawl(_FetchSpider, urls=urls, results=results).addErrback(failed)
    process.start()
    return {url: _page(url, results.get(url)) for url in urls}


def _page(url: str, result: Response | Failure | None) -> SavedPage:
    if not isinstance(result, Response):
        problem = "the crawl ended early" if result is None else _why(result.value)
        raise UsageError(f"cannot fetch {url}: {problem}")
    request = result.request
    assert request is not None
    redirected = request.meta.get("redirect_urls", [])
    redirects = (*redirected[1:], request.url) if redirected else ()
    return SavedPage(url, result, request, redirects)


def _why(error: Any) -> str:
    """The error in words: that of the connection if Scrapy or Twisted only wraps it."""
    cause = error.__cause__ or error
    reasons = getattr(cause, "reasons", None)
    cause = reasons[0].value if reasons else cause
    return f"{type(cause).__name__}: {cause}"
