"""Middlewares, a site and a spider for the law: each does by a plan what other people's code does.

Each middleware acts once on each task, and leaves pages without a task alone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import scrapy
from scrapy import signals
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.exceptions import IgnoreRequest
from scrapy.http import HtmlResponse
from scrapy.utils.defer import maybe_deferred_to_future
from strict_site import FINE, WRONG, HoldingSite, Submits, download, submit
from support import Reply
from twisted.internet.task import deferLater

from scrapy_capmonster_report import accept, reject

if TYPE_CHECKING:
    from collections.abc import Callable

REFUSES_CONNECTIONS = "http://127.0.0.1:9"


@dataclass
class Send:
    """One request with an answer.

    Args:
        waits_for: ``"got"``: the site has got the answer; ``"finished"``: an earlier request with
            it has come to its end. The first of a plan waits for nothing.
        meta: ``"fresh"``, ``"copied"`` from the task's first request, or ``"collected"`` from all
            requests so far.
        slot: the download slot, by name; ``""`` for the usual one.
    """

    waits_for: str
    meta: str
    slot: str


@dataclass
class Plan:
    """What becomes of one answer.

    Args:
        wrong: whether it is.
        path: what the site does when it has got it.
        sends: the requests.
        start: ``"overtaken"``: the first request waits in its slot until the site has got another;
            ``"unsent"``: the first attempt fails before anything is sent; ``"by itself"``: a
            middleware gives the answer to the site, as with Selenium.
    """

    wrong: bool
    path: str
    sends: list[Send]
    start: str = ""


class RecordingSite(HoldingSite):
    """Numbers what it gets, and says in each response which it speaks of, and how often it did."""

    def __init__(self, wrong: set[int]) -> None:
        super().__init__(wrong)
        self.served: dict[int, int] = {}
        self.on_got: Callable[[int], None] = lambda task_id: None

    def respond(self, request: Any) -> Any:
        parts = urlsplit(request.uri.decode())
        path = parts.path.removeprefix("/v2")
        if path.startswith("/held"):
            return super().respond(request)
        if path == "/said":
            return self.say(int(parse_qs(parts.query)["of"][0]))
        self.judge(request)
        number = len(self.submissions) - 1
        self.on_got(self.submissions[number].answer)
        if path == "/gone":
            request.transport.abortConnection()
            return ""
        if path == "/hop":
            return Reply(status=302, headers={"Location": f"/said?of={number}"})
        reply = self.say(number)
        if path == "/busy":
            reply.status = 503
        if path == "/slow":
            reply.delay = 0.02
        return reply

    def say(self, number: int) -> Reply:
        self.served[number] = self.served.get(number, 0) + 1
        headers = {"Content-Type": "text/html", "X-Submission": str(number)}
        if self.served[number] == 1:
            headers["X-First"] = "yes"
        return Reply(FINE if self.submissions[number].accepted else WRONG, headers=headers)


class Player:
    """Base of the middlewares: acts once on each task."""

    def __init__(self, crawler: Any) -> None:
        self.crawler = crawler
        self.done: set[int] = set()

    @classmethod
    def from_crawler(cls, crawler: Any) -> Any:
        return cls(crawler)

    def acts_on(self, request: Any, response: Any = None) -> bool:
        task_id = request.meta.get("taskId")
        if task_id is None or task_id in self.done:
            return False
        if response is not None and "X-By-Itself" in response.headers:
            return False  # that we could not know of what we do not see
        self.done.add(task_id)
        return True


def again(request: Any) -> Any:
    copy = request.copy()
    copy.dont_filter = True
    return copy


class Retries(Player):
    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        return again(request) if self.acts_on(request, response) else response


class RetriesFailures(Player):
    def process_exception(self, request: Any, exception: Any, spider: Any = None) -> Any:
        return again(request) if self.acts_on(request) else None


class FetchesAfterFailures(Player):
    """Gives the answer to the site in its own way if a download fails."""

    def process_exception(self, request: Any, exception: Any, spider: Any = None) -> Any:
        return by_itself(self.crawler, request) if self.acts_on(request) else None


class DownloadsAgain(Player):
    """Waits for the response to a copy, and passes that on instead."""

    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if self.acts_on(request, response):
            with suppress(Exception):
                return await download(self.crawler, self.copy(request))
        return response

    def copy(self, request: Any) -> Any:
        return again(request)


class DownloadsWithoutMeta(DownloadsAgain):
    """Waits for the response to the same form, sent with nothing in ``meta``."""

    def copy(self, request: Any) -> Any:
        return scrapy.Request(
            request.url, method=request.method, body=request.body, headers=request.headers
        )


class FallsBackToABrowser(DownloadsAgain):
    """Sends the copy through a browser."""

    def copy(self, request: Any) -> Any:
        copy = again(request)
        copy.meta["browser"] = True
        return copy

    def process_request(self, request: Any, spider: Any = None) -> Any:
        return by_itself(self.crawler, request) if request.meta.pop("browser", None) else None


class DropsAndSendsAgain(Player):
    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if self.acts_on(request, response):
            self.crawler.engine.crawl(again(request))
            raise IgnoreRequest("later")
        return response


class DropsAndSendsAnew(Player):
    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if self.acts_on(request, response) and request.method == "POST":
            self.crawler.engine.crawl(submit(request.url, request.meta["taskId"]))
            raise IgnoreRequest("later")
        return response


class Drops(Player):
    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if self.acts_on(request, response):
            raise IgnoreRequest("no")
        return response


class HoldsBack(Player):
    async def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        from twisted.internet import reactor

        if self.acts_on(request, response):
            await maybe_deferred_to_future(deferLater(reactor, 0.02))
        return response


class Replaces(Player):
    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if self.acts_on(request, response):
            return HtmlResponse(request.url, body=FINE.encode(), request=request)
        return response


class Rewrites(Player):
    def process_request(self, request: Any, spider: Any = None) -> Any:
        parts = urlsplit(request.url)
        if parts.path.startswith("/v2") or not self.acts_on(request):
            return None
        return request.replace(url=parts._replace(path="/v2" + parts.path).geturl())


class GivesUpOnABrowser(Player):
    """Gives the answer to the site in its own way, does not wait for a response, and retries."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        plan = self.crawler.spider.plans.get(request.meta.get("taskId"))
        if plan is None or plan.start == "overtaken" or not self.acts_on(request):
            return None
        by_itself(self.crawler, request)
        retry = get_retry_request(request, spider=self.crawler.spider, reason="slow")
        if retry is None:
            raise OSError("slow")
        return retry


def by_itself(crawler: Any, request: Any) -> HtmlResponse:
    """The response of the site to an answer that Scrapy does not send."""
    site = crawler.spider.site
    said = site.say(site.record(request.meta["taskId"]))
    headers = {**said.headers, "X-By-Itself": "yes"}
    return HtmlResponse(request.url, body=said.body.encode(), headers=headers)


PLAYERS = {
    player.__name__: player
    for player in (
        Retries,
        RetriesFailures,
        FetchesAfterFailures,
        DownloadsAgain,
        DownloadsWithoutMeta,
        FallsBackToABrowser,
        DropsAndSendsAgain,
        DropsAndSendsAnew,
        Drops,
        HoldsBack,
        Replaces,
        Rewrites,
        GivesUpOnABrowser,
    )
}


class AnswersByItself(Player):
    """Gives some answers to the site on a way of its own."""

    def process_request(self, request: Any, spider: Any = None) -> Any:
        spider = self.crawler.spider
        plan = spider.plans.get(request.meta.get("taskId"))
        if plan is None or plan.start != "by itself" or not self.acts_on(request):
            return None
        return by_itself(self.crawler, request)


class FirstProxyRefuses(Player):
    """Sends a first attempt through a proxy that is not there."""

    def process_request(self, request: Any, spider: Any = None) -> None:
        request.meta.pop("proxy", None)
        plan = self.crawler.spider.plans.get(request.meta.get("taskId"))
        if plan is not None and plan.start == "unsent" and self.acts_on(request):
            request.meta["proxy"] = REFUSES_CONNECTIONS


class Sees(Player):
    """Stands right before ours: what it sees, ours sees."""

    def process_response(self, request: Any, response: Any, spider: Any = None) -> Any:
        if "X-First" in response.headers:
            self.crawler.spider.seen.add(int(response.headers["X-Submission"]))
        return response


class Plays(Submits):
    """Sends what the plans say."""

    name = "plays"
    url: str
    site: RecordingSite
    plans: dict[int, Plan]
    judges: bool

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seen: set[int] = set()
        self.collected: dict[str, Any] = {}
        self.firsts: dict[int, scrapy.Request] = {}
        self.left = {task_id: list(plan.sends) for task_id, plan in self.plans.items()}

    async def start(self) -> Any:
        self.site.on_got = self.got
        self.site.on_held = self.held
        self.crawler.signals.connect(self.reached, signals.request_reached_downloader)
        for task_id, plan in self.plans.items():
            if plan.start == "overtaken":
                meta = {"download_slot": f"narrow-{task_id}"}
                yield scrapy.Request(f"{self.url}/held/{task_id}", meta=meta)
            else:
                yield self.next_request(task_id)

    def next_request(self, task_id: int, slot: str = "") -> scrapy.Request:
        send = self.left[task_id].pop(0)
        meta: dict[str, Any] = {}
        if send.meta == "copied" and task_id in self.firsts:
            meta.update(self.firsts[task_id].meta)
        elif send.meta == "collected":
            meta.update(self.collected)
        meta.pop("download_slot", None)
        if slot or send.slot:
            meta["download_slot"] = slot or send.slot
        meta["taskId"] = task_id
        step = len(self.left[task_id])
        request = submit(
            f"{self.url}{self.plans[task_id].path}?task={task_id}&step={step}",
            task_id,
            meta,
            callback=self.parse,
            errback=self.failed,
        )
        self.firsts.setdefault(task_id, request)
        return request

    def advance(self, task_id: int, event: str) -> None:
        left = self.left.get(task_id)
        if left and event in (left[0].waits_for, "finished"):
            self.later(self.next_request(task_id))

    # -- what happens -------------------------------------------------------------------------

    def held(self, path: str) -> None:
        """The only place in its slot is taken: what comes now waits."""
        task_id = int(path.rpartition("/")[2])
        self.later(self.next_request(task_id, slot=f"narrow-{task_id}"))

    def reached(self, request: Any) -> None:
        task_id = request.meta.get("taskId")
        if request.meta.get("download_slot") != f"narrow-{task_id}" or self.site.got(task_id):
            return
        if self.left[task_id]:
            self.advance(task_id, "finished")
        else:  # nothing is there to overtake it
            self.site.let_go(f"/held/{task_id}")

    def got(self, task_id: int) -> None:
        if self.plans[task_id].start == "overtaken":
            self.site.let_go(f"/held/{task_id}")
        if self.plans[task_id].start != "by itself":
            self.advance(task_id, "got")

    def parse(self, response: Any) -> None:
        if self.judges:
            judge = reject if response.text == WRONG else accept
            judge(self.crawler, response.request)
        self.finished(response.request)

    def failed(self, failure: Any) -> None:
        self.finished(failure.request)

    def finished(self, request: Any) -> None:
        task_id = request.meta.get("taskId")
        self.collected.update(request.meta)
        if task_id is not None:
            if self.plans[task_id].start == "overtaken":
                self.site.let_go(f"/held/{task_id}")
            self.advance(task_id, "finished")


@dataclass
class Scene:
    """A whole crawl: the plans, and who stands where.

    Args:
        plans: one a task.
        players: names of :data:`PLAYERS` and their orders.
        by_itself: the order of :class:`AnswersByItself`.
        retry_times: of Scrapy's own retries.
    """

    plans: list[Plan]
    players: list[tuple[str, int]] = field(default_factory=list)
    by_itself: int = 100
    retry_times: int = 1
