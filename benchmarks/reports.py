"""Reports a second and what one costs, against treq and the Agent below it."""

from __future__ import annotations

import itertools
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import treq
from calls import response, submit
from crawls import CLIENT_KEY, inside, run
from measure import MICRO, Row, moment, show
from servers import server
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

REPORTS = 2000
CONCURRENCY = 32
ROUNDS = 8
TASKS = itertools.count(1)

Cost = tuple[float, float]
"""Seconds, and seconds of processor time, for one report."""


async def timed(send_all: Callable[[], Awaitable[None]], reports: int) -> Cost:
    cpu, began = time.process_time(), moment()
    await send_all()
    return (moment() - began) / reports, (time.process_time() - cpu) / reports


class Bare:
    """Reports by hand, so many at once.

    Args:
        api: the URL of the service.
    """

    def __init__(self, api: str) -> None:
        from twisted.internet import reactor

        self.url = f"{api}/reportIncorrectTokenCaptcha"
        self.pool = HTTPConnectionPool(reactor)
        self.agent = Agent(reactor, pool=self.pool)
        self.client = HTTPClient(self.agent)

    async def with_treq(self, task_id: int) -> None:
        answer = await self.client.post(
            self.url, json={"clientKey": CLIENT_KEY, "taskId": task_id}, allow_redirects=False
        )
        assert (await treq.json_content(answer))["errorId"] == 0

    async def with_agent(self, task_id: int) -> None:
        import io

        body = json.dumps({"clientKey": CLIENT_KEY, "taskId": task_id}).encode()
        headers = Headers({"Content-Type": ["application/json"]})
        producer = FileBodyProducer(io.BytesIO(body))
        answer = await self.agent.request(b"POST", self.url.encode(), headers, producer)
        assert json.loads(await readBody(answer))["errorId"] == 0

    async def all(
        self, report: Callable[[int], Awaitable[None]], reports: int, concurrency: int
    ) -> None:
        tasks = itertools.islice(TASKS, reports)

        async def worker() -> None:
            for task_id in tasks:
                await report(task_id)

        workers = [Deferred.fromCoroutine(worker()) for _ in range(concurrency)]
        for done in workers:
            await done


async def ours(middleware: Any, reports: int) -> Cost:
    """Hand over all at once, and wait for the last outcome."""
    from scrapy_capmonster_report.signals import report_finished

    rejected = response()
    requests = [submit(middleware) for _ in range(reports)]
    for request in requests:
        middleware.process_response(request, rejected)
    left, all_done = reports, Deferred()

    def finished(outcome: Any) -> None:
        nonlocal left
        assert outcome.name == "ACCEPTED", outcome
        left -= 1
        if not left:
            all_done.callback(None)

    async def send_all() -> None:
        for request in requests:
            middleware.reject(request)
        await all_done

    signals = middleware.crawler.signals
    signals.connect(finished, report_finished)
    try:
        return await timed(send_all, reports)
    finally:
        signals.disconnect(finished, report_finished)


async def costs(api: str, concurrency: int, rounds: int, reports: int = REPORTS) -> dict[str, Cost]:
    """The best of each way, in turn."""

    async def measure(middleware: Any) -> dict[str, Cost]:
        bare = Bare(api)
        bare.pool.maxPersistentPerHost = concurrency
        ways = {"treq": bare.with_treq, "agent": bare.with_agent}
        found: dict[str, Cost] = {}
        for _ in range(rounds):
            costs = {"ours": await ours(middleware, reports)}
            for name, way in ways.items():
                costs[name] = await timed(partial(bare.all, way, reports, concurrency), reports)
            for name, cost in costs.items():
                found[name] = tuple(map(min, cost, found.get(name, cost)))
        await bare.pool.closeCachedConnections()
        return found

    settings = {"CAPMONSTER_API_URL": api, "CAPMONSTER_REPORT_CONCURRENCY": concurrency}
    # A coroutine that awaits Deferreds, inside one that asyncio runs.
    from scrapy.utils.defer import maybe_deferred_to_future

    return await inside(
        settings, lambda mw: maybe_deferred_to_future(Deferred.fromCoroutine(measure(mw)))
    )


async def rows() -> list[Row]:
    with server("api") as api:
        found = await costs(api, CONCURRENCY, ROUNDS)
    rate = {name: 1 / seconds for name, (seconds, _) in found.items()}
    cpu = {name: seconds * MICRO for name, (_, seconds) in found.items()}
    return [
        Row(
            "reports/s, handed over all at once, concurrency 32",
            "bare treq in the same process",
            0.95,
            rate["ours"] / rate["treq"],
            at_least=True,
            note=f"{rate['ours']:.0f}, {rate['treq']:.0f} reports/s; "
            f"bare `Agent` {rate['agent']:.0f}",
        ),
        Row(
            "processor time a report, handing over included",
            "bare treq",
            1.05,
            cpu["ours"] / cpu["treq"],
            note=f"{cpu['ours']:.0f} µs, {cpu['treq']:.0f} µs; bare `Agent` {cpu['agent']:.0f} µs",
        ),
    ]


if __name__ == "__main__":
    show(run(rows))
