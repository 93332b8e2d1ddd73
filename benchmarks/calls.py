"""What the calls cost that Scrapy makes for each response, and ``reject()``."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any

from crawls import inside, run
from measure import MICRO, Row, best, seconds_a_call, show
from scrapy import Request
from scrapy.http import HtmlResponse
from scrapy.utils.httpobj import urlparse_cached
from servers import WRONG, page

from scrapy_capmonster_report import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scrapy.http import Response

URL = "https://shop.example/login"
CALLS = 400
ROUNDS = 40
TASKS = itertools.count(10**9)
NOWHERE = {"CAPMONSTER_API_URL": "http://127.0.0.1:9", "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 0}


class Empty:
    """A middleware that does nothing."""

    def process_response(self, request: Request, response: Response) -> Response:
        return response


class ByHand:
    """What one would write for one rule, or for many on responses of one status."""

    def __init__(self, patterns: Iterable[str], status: int | None = None) -> None:
        self.patterns = [*patterns]
        self.status = status

    def process_response(self, request: Request, response: Response) -> Response:
        if "taskId" in request.meta and self.status in (None, response.status):
            text = response.text
            for pattern in self.patterns:
                if re.search(pattern, text):
                    response.flags.append("captcha-rejected")
        return response


def response(status: int = 200) -> Response:
    return HtmlResponse(URL, status=status, body=page().encode(), encoding="utf-8")


def submit(middleware: Any) -> Request:
    """A request with a task of its own, as it is when its response comes."""
    request = Request(URL, meta={"taskId": next(TASKS), "download_slot": "shop.example"})
    urlparse_cached(request)  # as Scrapy's downloader does, to find the slot
    if isinstance(middleware, CapMonsterReportMiddleware):
        middleware._request_reached_downloader(request)
        request.meta["download_latency"] = 0.1
        middleware._headers_received(request)
    return request


async def without_a_task() -> Row:
    def measure(middleware: Any) -> Any:
        calls = [(Request(URL, meta={"depth": 1}), response())] * CALLS
        ways = {"ours": middleware.process_response, "empty": Empty().process_response}
        return best(_each(ways, lambda _: calls), ROUNDS)

    seconds = await inside(NOWHERE, measure)
    more = (seconds["ours"] - seconds["empty"]) * MICRO
    return Row(
        "`process_response` of a response without a task",
        "an empty method",
        0.5,
        more,
        "µs more",
        note=f"{seconds['ours'] * MICRO:.2f} µs, {seconds['empty'] * MICRO:.2f} µs",
    )


async def one_rule() -> Row:
    def measure(middleware: Any) -> Any:
        seen = response()
        hand = ByHand([WRONG])
        owners = {"ours": middleware, "hand": hand}
        ways = {name: owner.process_response for name, owner in owners.items()}
        return best(
            _each(ways, lambda name: [(submit(owners[name]), seen) for _ in range(CALLS)]), ROUNDS
        )

    seconds = await inside(NOWHERE, measure)
    return Row(
        "with a task and one `text` rule that does not match",
        "the same `re.search` by hand",
        8,
        (seconds["ours"] - seconds["hand"]) * MICRO,
        "µs more",
        note=f"{seconds['ours'] * MICRO:.2f} µs, {seconds['hand'] * MICRO:.2f} µs",
    )


async def _one_response(rules: list[dict[str, Any]], seen: Response, calls: int) -> Any:
    def measure(middleware: Any) -> Any:
        return lambda: seconds_a_call(
            middleware.process_response, [(submit(middleware), seen) for _ in range(calls)]
        )

    return await inside({**NOWHERE, "CAPMONSTER_REPORT_RULES": rules}, measure)


async def other_sites() -> Row:
    mine = {"domains": "shop.example", "text": WRONG}
    others = [{"domains": f"shop{n}.example", "text": WRONG} for n in range(1000)]
    seen = response()
    ways = {
        "one": await _one_response([mine], seen, CALLS),
        "many": await _one_response([mine, *others], seen, CALLS),
    }
    seconds = best(ways, ROUNDS)
    return Row(
        "with 1,000 rules for other sites",
        "with one rule",
        1.2,
        seconds["many"] / seconds["one"],
        note=f"{seconds['many'] * MICRO:.2f} µs, {seconds['one'] * MICRO:.2f} µs",
    )


async def this_site() -> Row:
    patterns = [f"Wrong captcha {n}" for n in range(100)]
    rules = [{"status": 403, "text": pattern} for pattern in patterns]
    seen = response(403)
    hand = ByHand(patterns, 403)
    ways = {
        "ours": await _one_response(rules, seen, 10),
        "hand": lambda: seconds_a_call(
            hand.process_response, [(submit(hand), seen) for _ in range(10)]
        ),
    }
    seconds = best(ways, ROUNDS)
    return Row(
        "with 100 rules for this site, each `status` and `text`",
        "100 `re.search` by hand on responses with that status",
        1.1,
        seconds["ours"] / seconds["hand"],
        note=f"{seconds['ours'] * MICRO:.0f} µs, {seconds['hand'] * MICRO:.0f} µs",
    )


async def rejecting() -> Row:
    def measure(middleware: Any) -> float:
        seen = response()
        once = []
        for _ in range(ROUNDS // 2):
            requests = [submit(middleware) for _ in range(CALLS)]
            for request in requests:
                middleware.process_response(request, seen)
            once.append(seconds_a_call(middleware.reject, [(request,) for request in requests]))
        return min(once) * MICRO

    value = await inside(NOWHERE, measure)
    return Row("handing a rejection over (`reject()`)", "-", 15, value, "µs")


def _each(ways: Any, calls: Any) -> Any:
    return {
        name: lambda name=name, way=way: seconds_a_call(way, calls(name))
        for name, way in ways.items()
    }


async def rows() -> list[Row]:
    return [
        await measure() for measure in (without_a_task, one_rule, other_sites, this_site, rejecting)
    ]


if __name__ == "__main__":
    show(run(rows))
