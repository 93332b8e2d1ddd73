"""A site, an API and a crawl, all on loopback, for the tests to tell their stories with."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from scrapy.crawler import CrawlerRunner
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Site as TwistedSite

from scrapy_capmonster_report.outcome import Outcome
from scrapy_capmonster_report.stats import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scrapy import Spider
    from scrapy.crawler import Crawler
    from twisted.internet.defer import Deferred

CLIENT_KEY = "d2f0c1a84b7e4f6f9a3e5c7b1d9e8f60"
"""An account key that no log, stat, repr, traceback or file of any test may contain."""


@dataclass
class Reply:
    """What a loopback server answers."""

    body: bytes | str = b""
    status: int = 200
    headers: Mapping[str, str | bytes] = field(
        default_factory=lambda: {"Content-Type": "text/html; charset=utf-8"}
    )
    delay: float = 0.0


class _Leaf(Resource):
    isLeaf = True

    def __init__(self, respond: Callable[[Any], Any]) -> None:
        super().__init__()
        self._respond = respond

    def render(self, request: Any) -> Any:
        reply = self._respond(request)
        if reply is NOT_DONE_YET:
            return reply
        if not isinstance(reply, Reply):
            reply = Reply(reply)
        request.setResponseCode(reply.status)
        for name, value in reply.headers.items():
            request.setHeader(name, value)
        body = reply.body.encode() if isinstance(reply.body, str) else reply.body
        if not reply.delay:
            return body
        from twisted.internet import reactor

        call = reactor.callLater(reply.delay, lambda: (request.write(body), request.finish()))
        request.notifyFinish().addErrback(lambda _: call.active() and call.cancel())
        return NOT_DONE_YET


class LoopbackServer:
    """A web server on loopback whose answers *respond* gives, request by request.

    Started by the ``serve`` fixture, which also stops it.
    """

    def __init__(self, respond: Callable[[Any], Any]) -> None:
        from twisted.internet import reactor

        self._factory = WrappingFactory(TwistedSite(_Leaf(respond)))
        self._port = reactor.listenTCP(0, self._factory, interface="127.0.0.1")
        self.port: int = self._port.getHost().port
        self.url = f"http://127.0.0.1:{self.port}"

    def open_sockets(self) -> int:
        """How many connections clients hold open."""
        return len(self._factory.protocols)

    async def stop(self) -> None:
        for connection in list(self._factory.protocols):
            connection.transport.abortConnection()
        await self._port.stopListening()


class RecordingApi:
    """What CapMonster Cloud got to see.

    Args:
        answer: gives the reply to a report, from the endpoint, the ``taskId`` and how many
            reports came before it; accepts by default.
    """

    def __init__(self, answer: Callable[[str, Any, int], Any] | None = None) -> None:
        self.reports: list[tuple[str, Any]] = []
        self.keys: list[Any] = []
        self._answer = answer

    def respond(self, request: Any) -> Any:
        body = json.loads(request.content.read())
        endpoint = request.path.decode()
        earlier = len(self.reports)
        self.reports.append((endpoint, body["taskId"]))
        self.keys.append(body["clientKey"])
        if self._answer is None:
            return accepted()
        return self._answer(endpoint, body["taskId"], earlier)


def accepted() -> Reply:
    return json_reply({"errorId": 0, "status": "success"})


def refused(code: str) -> Reply:
    return json_reply({"errorId": 1, "errorCode": code})


def json_reply(value: Any, **kwargs: Any) -> Reply:
    return Reply(json.dumps(value), headers={"Content-Type": "application/json"}, **kwargs)


async def crawl(
    spider_class: type[Spider], settings: Mapping[str, Any], **spider_args: Any
) -> dict[str, Any]:
    """Crawl in the running reactor and return the stats, with the balance checked."""
    crawler = await start_crawl(spider_class, settings, **spider_args)
    return report_stats(crawler)


async def start_crawl(
    spider_class: type[Spider], settings: Mapping[str, Any], **spider_args: Any
) -> Crawler:
    from twisted.internet import reactor

    runner = CrawlerRunner(
        {
            "ADDONS": {"scrapy_capmonster_report.Addon": 500},
            "CAPMONSTER_CLIENT_KEY": CLIENT_KEY,
            "TWISTED_REACTOR": f"{type(reactor).__module__}.{type(reactor).__qualname__}",
            "TELNETCONSOLE_ENABLED": False,
            "REMOTE_CONTROL_ENABLED": False,
            "LOGSTATS_INTERVAL": 0,
            **settings,
        }
    )
    crawler = runner.create_crawler(spider_class)
    crawling: Deferred[None] = runner.crawl(crawler, **spider_args)
    await crawling
    report_stats(crawler)  # whoever looks at them or not, they must add up
    return crawler


def report_stats(crawler: Crawler) -> dict[str, Any]:
    """The stats of this package without their prefix; the balance of the interface must hold."""
    all_stats = crawler.stats.get_stats()
    assert CLIENT_KEY not in repr(all_stats)
    ours = {
        name.removeprefix(PREFIX): value
        for name, value in all_stats.items()
        if name.startswith(PREFIX)
    }
    assert_balance(ours)
    return ours


def assert_balance(ours: Mapping[str, Any]) -> None:
    accounted = sum(ours.get(outcome.value, 0) for outcome in Outcome)
    assert ours.get("rejected", 0) == accounted, ours
    by_rule = sum(n for name, n in ours.items() if name.startswith("rejected/rule/"))
    assert ours.get("rejected", 0) == by_rule, ours
