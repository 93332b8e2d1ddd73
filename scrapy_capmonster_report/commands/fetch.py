"""Fetches pages in a small crawl with the project's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy import Request, Spider
from scrapy.crawler import CrawlerProcess
from scrapy.exceptions import UsageError

from .cli import usage_error
from .pages import SavedPage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from scrapy.http import Response
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
    name = "capmonster-check"

    def __init__(self, urls: Iterable[str], pages: dict[str, SavedPage | str]) -> None:
        super().__init__()
        self.urls = urls
        self.pages = pages

    async def start(self) -> AsyncIterator[Any]:
        for url in self.urls:
            yield Request(
                url,
                self.fetched,
                errback=self.failed,
                cb_kwargs={"source": url},
                meta={"dont_retry": True},
                dont_filter=True,
            )

    def fetched(self, response: Response, source: str) -> None:
        request = response.request
        assert request is not None
        redirected = request.meta.get("redirect_urls", [])
        redirects = (*redirected[1:], request.url) if redirected else ()
        self.pages[source] = SavedPage(source, response, request, redirects)

    def failed(self, failure: Failure) -> None:
        source = failure.request.cb_kwargs["source"]  # type: ignore[attr-defined]
        self.pages[source] = _why(failure.value)


def _why(error: Any) -> str:
    """The error in words: that of the connection if Scrapy or Twisted only wraps it."""
    cause = error.__cause__ or error
    reasons = getattr(cause, "reasons", None)
    cause = reasons[0].value if reasons else cause
    return f"{type(cause).__name__}: {cause}"


def fetch(urls: Iterable[str], settings: Settings) -> dict[str, SavedPage]:
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
    pages: dict[str, SavedPage | str] = {}
    process = CrawlerProcess(settings)
    failures: list[Failure] = []
    process.crawl(_FetchSpider, urls=urls, pages=pages).addErrback(failures.append)
    process.start()
    problem = failures[0].getErrorMessage() if failures else "the crawl ended early"
    fetched = {}
    for url in urls:
        page = pages.get(url, problem)
        if isinstance(page, str):
            raise UsageError(f"cannot fetch {url}: {page}")
        fetched[url] = page
    return fetched
