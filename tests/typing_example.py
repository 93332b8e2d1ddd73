"""A user's typed code: mypy checks it with ``--strict`` (``tox -e types``); nothing runs it.

It uses all that the package offers, each as the documentation says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scrapy import FormRequest, Spider

from scrapy_capmonster_report import (
    Addon,
    CapMonsterReportMiddleware,
    Outcome,
    Task,
    captcha_meta,
    signals,
)
from scrapy_capmonster_report.clients import UnsupportedClientError, solve_captcha
from scrapy_capmonster_report.simulator import DEFAULT_CLIENT_KEY, Simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from scrapy import Request
    from scrapy.crawler import Crawler
    from scrapy.http import Response, TextResponse

    # typing.Self requires Python 3.11
    from typing_extensions import Self


class LoginSpider(Spider):
    """Logs in with an answer."""

    name = "login"
    client: object
    custom_settings = {
        "ADDONS": {Addon: 500},
        "CAPMONSTER_REPORT_RULES": [{"name": "login", "callback": "is_refused"}],
    }

    def is_refused(self, response: Response, request: Request) -> bool:
        return request.method == "POST" and response.status == 403

    async def parse(self, response: Response, **kwargs: Any) -> AsyncIterator[Request]:
        try:
            solution, meta = await solve_captcha(self.client, {"type": "TurnstileTask"})
        except UnsupportedClientError:
            return
        token: str = solution["token"]
        meta = {**meta, **captcha_meta(7654321, task_type="TurnstileTask", solved_at=1.0)}
        yield FormRequest(response.url, self.logged_in, formdata={"token": token}, meta=meta)

    def logged_in(self, response: TextResponse) -> None:
        reporter = self.crawler.get_downloader_middleware(CapMonsterReportMiddleware)
        if reporter is not None and response.request is not None:
            reporter.reject(response.request, reason="no account on the page")


class Losses:
    """Counts the reports that were lost."""

    def __init__(self) -> None:
        self.by_reason: dict[str, int] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        losses = cls()
        crawler.signals.connect(losses.rejected, signal=signals.captcha_rejected)
        crawler.signals.connect(losses.finished, signal=signals.report_finished)
        crawler.signals.connect(losses.rose, signal=signals.rejection_rate_changed)
        return losses

    def rejected(self, request: Request, task: Task | None, rule: str) -> None:
        lifetime: float | None = None if task is None else task.lifetime
        print(request.url, rule, lifetime)

    def finished(self, task: Task, outcome: Outcome) -> None:
        if outcome.group == "dropped":
            self.by_reason[outcome.reason] = self.by_reason.get(outcome.reason, 0) + task.id

    def rose(self, site: str, before: float, after: float, answers: int) -> None:
        print(f"{site}: {before:.0%} to {after:.0%} of {answers}")


async def wrong_answers() -> set[int]:
    """The tasks that a stand-in for the service answered wrong."""
    simulator = Simulator(client_key=DEFAULT_CLIENT_KEY, wrong=0.3, seed=1)
    simulator.start()
    await simulator.stop()
    return {task.id for task in simulator.tasks.values() if task.wrong}
