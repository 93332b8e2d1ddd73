"""The verdict on an answer: by the rules, or by a callback."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from . import stats
from .attempts import ATTEMPT, CACHED, PASSED, REJECTED, UNJUDGED, read_attempt
from .redirects import redirected_to
from .task import DONT_REPORT
from .text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy import Request
    from scrapy.exceptions import StopDownload
    from scrapy.http import Response

    from .attempts import Attempt, Attempts
    from .context import CrawlContext
    from .insight import ClosingHints
    from .reporter import Reporter
    from .rules import Rule, Rules
    from .saved_pages import SavedPages

logger = logging.getLogger(__name__)

REJECTED_FLAG: Final = "captcha-rejected"

_PROXY_REFUSED: Final = 407

_MAX_REASON: Final = 200
"""The most characters of a callback's reason that the log shows."""


def is_from_proxy(request: Request, response: Response) -> bool:
    """Whether a proxy refused *request*, and the site did not get it."""
    return response.status == _PROXY_REFUSED and bool(request.meta.get("proxy"))


class Judge:
    """Decides whether an answer was rejected, and tells the reporter. Waits for nothing.

    Args:
        context: the crawl.
        rules: the rules.
        attempts: knows the attempt of a request that a callback judges.
        reporter: is told the verdict.
        saved_pages: keeps some of the judged pages.
        hints: is told which hosts were seen.
    """

    def __init__(
        self,
        context: CrawlContext,
        rules: Rules,
        attempts: Attempts,
        reporter: Reporter,
        saved_pages: SavedPages,
        hints: ClosingHints,
    ) -> None:
        self._rules = rules
        self._attempts = attempts
        self._reporter = reporter
        self._saved_pages = saved_pages
        self._stats = context.stats
        self._hints = hints
        self._log_extra = context.log_extra
        self._broken_rules: set[str] = set()

    def concerns(self, request: Request, response: Response) -> bool:
        """Whether *response* says anything about the answer that *request* submitted.

        A placeholder of scrapy-poet does not, because nothing was downloaded. Nor does a page that
        was downloaded before the request got its task. Nor does the response to another request
        that a middleware waited for (``engine.download_async()``) and passes on instead: it was
        judged when it came. Nor does a proxy that has not passed the request on.
        """
        if type(response).__name__ == "DummyResponse" or is_from_proxy(request, response):
            return False
        if request.meta.get(ATTEMPT) == id(request):
            return response.protocol is None  # a middleware fetched it in its own way
        if response.request is None or response.request is request:
            return True
        own, other = read_attempt(request.meta), read_attempt(response.request.meta)
        return other is None or other.number in (0, own.number if own else 0)

    def response(self, request: Request, response: Response) -> Attempt:
        """Judge *response*, unless a rejection on the same attempt led to it by a meta refresh."""
        attempt = self._attempts.answered(request, response)
        if attempt.verdict != REJECTED:
            self._judge(request, response, attempt, self._rules.match)
        return attempt.write(request.meta)

    def stopped(self, request: Request, exception: StopDownload) -> None:
        """Judge the part of a response at which a signal's handler stopped the download.

        A middleware may go on with it, and it is judged again unless its attempt was rejected.
        """
        response = getattr(exception, "response", None)  # a middleware that raises it sets none
        if response is not None:
            attempt = self._attempts.of(request)
            self._judge(request, response, attempt, self._rules.match, is_all=False)
            attempt.write(request.meta)

    def redirect(self, request: Request, response: Response, *, is_all: bool) -> None:
        """Judge a 3xx that Scrapy does not follow.

        Args:
            is_all: whether the site will say nothing more, so that the answer passed if no rule
                matches.
        """
        attempt = self._attempts.answered(request, response)
        self._judge(request, response, attempt, self._rules.match_redirects, is_all=is_all)
        attempt.write(request.meta)

    def accepted(self, request: Request) -> None:
        """Note that a callback says that the site accepted the answer."""
        attempt = self._attempts.of(request)
        if attempt.verdict == UNJUDGED:
            self._stats.count(stats.CHECKED)
            self._pass(request, attempt)
        attempt.write(request.meta)

    def rejected(self, request: Request, reason: str | None) -> None:
        """Note that a callback says that the site rejected the answer."""
        attempt = self._attempts.of(request)
        if attempt.verdict == UNJUDGED:
            self._stats.count(stats.CHECKED)
        self._reject(request, None, attempt, reason=one_line(str(reason or "")[:_MAX_REASON]))

    def _judge(
        self,
        request: Request,
        response: Response,
        attempt: Attempt,
        match: Callable[..., Rule | None],
        *,
        is_all: bool = True,
    ) -> None:
        if request.meta.get(DONT_REPORT) or not self._rules.judges:
            return
        redirects = redirected_to(request, response, attempt.begun)
        rule = match(response, request, redirects=redirects, on_error=self._rule_failed)
        if rule is None and not is_all:
            return
        self._stats.count(stats.CHECKED)
        self._hints.checked(response)
        self._saved_pages.judged(
            request,
            response,
            site=attempt.site,
            redirects=redirects,
            rule=None if rule is None else rule.name,
        )
        if rule is None:
            # After a server error it is unknown whether the answer was accepted.
            self._pass(request, attempt, accepted=response.status < 500)
            return
        if REJECTED_FLAG not in response.flags:
            response.flags.append(REJECTED_FLAG)
        self._reject(request, response, attempt, rule)

    def _pass(self, request: Request, attempt: Attempt, *, accepted: bool = True) -> None:
        self._stats.count(stats.PASSED)
        if attempt.verdict != CACHED:
            attempt.verdict = PASSED
            if accepted:
                self._reporter.passed(request, attempt)

    def _reject(
        self,
        request: Request,
        response: Response | None,
        attempt: Attempt,
        rule: Rule | None = None,
        reason: str = "",
    ) -> None:
        if attempt.verdict != CACHED:
            attempt.verdict = REJECTED
        attempt.write(request.meta)  # before a signal's handler sees it
        self._reporter.rejected(request, response, attempt, rule, reason)

    def _rule_failed(self, rule: Rule, raised: Exception) -> None:
        stat = stats.RULE_ERROR.format(name=rule.name)
        self._stats.count(stat)
        if rule.name not in self._broken_rules:
            self._broken_rules.add(rule.name)
            logger.error(
                "The callback of rule %r in CAPMONSTER_REPORT_RULES raised an exception, so the "
                "rule did not match. (Logged once, counted as %s.)",
                rule.name,
                stats.PREFIX + stat,
                exc_info=raised,
                extra=self._log_extra,
            )
