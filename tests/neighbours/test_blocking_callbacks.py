"""Row 7: callbacks that block, as those with ``requests`` or ``time.sleep`` in them do.

The reactor stands still, and on waking it runs the timers that are due before it reads a socket.
The service goes on meanwhile, in a thread. The blocks are real ones; several crawls share each.
With ``LONG_BLOCKS`` in the environment (tox sets it) there are blocks of 25 seconds too.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from redis_server import start_redis
from scrapy.utils.reactor import is_asyncio_reactor_installed
from strict_site import HoldingSite, Submits, send, submit, warnings_of
from twisted.internet.defer import Deferred, gatherResults
from wired import until

if TYPE_CHECKING:
    from collections.abc import Iterator

TASKS = 12


class Server(ThreadingHTTPServer):
    # With 5, some of many connections at once are ignored, and tried again a second later.
    request_queue_size = 100
    daemon_threads = False


class Service:
    """Takes reports in threads of its own, and answers once it may.

    In ``posts``, how often each task was reported.
    """

    def __init__(self) -> None:
        self.posts: Counter[int] = Counter()
        self.may_answer = threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # One write for each response: a second one would wait for the peer's ACK.
            wbufsize = -1
            timeout = 60.0  # of a connection that a failed test leaves open

            def do_POST(self) -> None:
                task_id = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["taskId"]
                service.posts[task_id] += 1
                service.may_answer.wait(60.0)
                body = b'{"errorId": 0, "status": "success"}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle(self) -> None:
                with suppress(OSError, ValueError):  # the client went away; what it got counts
                    super().handle()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def has_heard_of(self, crawls: int) -> bool:
        """Whether each of the crawls has reported something."""
        return len({task_id // 100 for task_id in self.posts}) == crawls

    def stop(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.stop()


@pytest_twisted.async_yield_fixture
async def redis_server(tmp_path: Any) -> Any:
    """A Redis server where that ledger works, which is with asyncio."""
    if not is_asyncio_reactor_installed():
        yield None
        return
    server = await start_redis(tmp_path)
    yield server
    server.stop()


class Blocks:
    """Blocks the reactor thread, once for each point of its plan.

    Args:
        plan: seconds for ``"start"`` (when the last of the crawls begins), ``"in flight"`` (when
            each has reports in flight, which are answered meanwhile), ``"end"`` (in the last
            callback of all).
        crawls: how many there are.
    """

    def __init__(self, plan: dict[str, float], service: Service, crawls: int) -> None:
        self.left = dict(plan)
        self._service = service
        self._crawls = crawls
        self._started = self._parsed = 0

    def started(self) -> None:
        self._started += 1
        if self._started == self._crawls:
            self._block("start")

    def parsed(self) -> None:
        self._parsed += 1
        if self._service.has_heard_of(self._crawls):
            self._service.may_answer.set()
            self._block("in flight")
        if self._parsed == self._crawls * TASKS:
            self._block("end")

    def _block(self, point: str) -> None:
        seconds = self.left.pop(point, 0)
        if seconds:
            time.sleep(seconds)


class Solves(Submits):
    """Has its captchas solved by a function that blocks."""

    site: str
    first_task: int
    first_path: str
    blocks: Blocks

    async def start(self) -> Any:
        self.blocks.started()
        for task_id in range(self.first_task, self.first_task + TASKS):
            # Half of the pages come when the others' reports are in flight.
            path = "held" if task_id % 2 else self.first_path
            yield submit(f"{self.site}/{path}", task_id)

    def parse(self, response: Any) -> None:
        self.blocks.parsed()


PLANS = [{"start": 3.0, "in flight": 3.0}, {"in flight": 6.0, "end": 3.0}]
LONG_PLANS = [
    {"in flight": 25.0, "end": 25.0},
    {"start": 25.0, "in flight": 6.0, "end": 6.0},
    {"start": 11.0, "in flight": 11.0, "end": 11.0},
]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("plan", PLANS + LONG_PLANS * ("LONG_BLOCKS" in os.environ), ids=str)
async def test_what_stands_still_for_a_while_reports_once_and_raises_no_alarm(
    plan: dict[str, float],
    service: Service,
    redis_server: Any,
    serve: Any,
    tmp_path: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledgers: list[dict[str, Any]] = [
        {"CAPMONSTER_REPORT_TIMEOUT": 2.0},  # as 10 seconds are to a block that is longer
        {},
        {"CAPMONSTER_REPORT_LEDGER": f"sqlite:{tmp_path / 'ledger.sqlite'}"},
        {"JOBDIR": str(tmp_path / "job")},
    ]
    if redis_server is not None:
        ledgers.append({"CAPMONSTER_REPORT_LEDGER": redis_server.url})
    blocks = Blocks(plan, service, crawls=len(ledgers))
    site = HoldingSite(wrong=frozenset(range(1000)))
    url = serve(site.respond).url
    crawls = [
        Deferred.fromCoroutine(
            send(
                lambda spider: [],
                service,
                type(
                    "Solving",
                    (Solves,),
                    {
                        "site": url,
                        "first_task": number * 100 or 1,
                        "first_path": "page" if number else "held/last",
                        "blocks": blocks,
                    },
                ),
                CONCURRENT_REQUESTS_PER_DOMAIN=TASKS,
                **ledger,
            )
        )
        for number, ledger in enumerate(ledgers)
    ]
    # The crawl with the short timeout reports last: its reports must not wait for others' disks.
    others = len(ledgers) - 1
    await until(lambda: service.has_heard_of(others) and site.held == TASKS + TASKS // 2 * others)
    site.let_go("/held/last")
    await until(lambda: service.has_heard_of(len(ledgers)))
    site.let_go()
    all_stats = await gatherResults(crawls)
    assert blocks.left == {}
    assert len(service.posts) == TASKS * len(ledgers)
    assert set(service.posts.values()) == {1}
    assert warnings_of(caplog) == []
    for stats in all_stats:
        assert stats == {
            "checked": TASKS,
            "rejected": TASKS,
            "rejected/rule/wrong": TASKS,
            "sent/accepted": TASKS,
        }
