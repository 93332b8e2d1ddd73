"""The account key is in the body of a request and nowhere else. Row 25 of the matrix of faults."""

from __future__ import annotations

import gc
import json
from typing import TYPE_CHECKING, Any

import pytest
import pytest_twisted
from misbehaving import hangs, resets, says
from support import CLIENT_KEY, report_stats, start_crawl
from twisted.internet import defer
from twisted.python.log import PythonLoggingObserver
from wired import WRONG, Refused

from scrapy_capmonster_report import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def all_is_told() -> Iterator[None]:
    """Everything is logged, Twisted's own log too, and Deferreds remember where they were."""
    observer = PythonLoggingObserver()
    observer.start()
    debugging = defer.getDebugging()
    defer.setDebugging(True)
    yield
    defer.setDebugging(debugging)
    observer.stop()


def raw(answer: str) -> Any:
    return lambda connection, arrival: connection.answer(answer.encode())


KEY = CLIENT_KEY
ERROR = {"errorId": 1, "errorCode": f"ERROR_NO_ACCOUNT_{KEY}", "errorDescription": KEY}

ECHOES = {
    "a body": says(KEY),
    "an error code": says(json.dumps(ERROR)),
    "an error code in bits": says(json.dumps({**ERROR, "errorCode": f"a\n{KEY}\r{KEY}" * 50})),
    "an error code that is a list": says(json.dumps({**ERROR, "errorCode": [KEY]})),
    "an error id": says(json.dumps({"errorId": KEY, "status": KEY})),
    "json that breaks off": says(f'{{"{KEY}": "{KEY}'),
    "too long a body": says(KEY * 100_000),
    "a header": says("", X_Key=KEY, Retry_After=KEY),
    "a redirect": says("", 307, Location=f"http://{KEY}.invalid/?clientKey={KEY}"),
    "the name of a header": raw(f"HTTP/1.1 200 OK\r\n{KEY}: 1\r\n\r\n"),
    "no header": raw(f"HTTP/1.1 200 OK\r\n{KEY}\r\nContent-Length: 0\r\n\r\n"),
    "the status line": raw(f"HTTP/1.1 200 {KEY}\r\nContent-Length: 0\r\n\r\n"),
    "the status": raw(f"HTTP/1.1 {KEY}\r\n\r\n"),
    "the protocol": raw(f"{KEY}\r\n\r\n"),
    "a length": raw(f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n"),
    "an encoding": says("", Content_Encoding=KEY),
    "a chunk": raw(f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{KEY}\r\n"),
    "nothing, with a reset": resets,
    "nothing, for ever": hangs,
}


@pytest_twisted.ensureDeferred
@pytest.mark.usefixtures("all_is_told")
@pytest.mark.parametrize("suffix", ["", "__nocache"])
@pytest.mark.parametrize("where", ECHOES)
async def test_a_service_that_echoes_the_key_does_not_make_it_public(
    where: str, suffix: str, serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The fixture ``key_shows_nowhere`` looks at logs, tracebacks and output after each test."""
    server = misbehave(ECHOES[where])
    crawler = await start_crawl(
        Refused,
        {
            "CAPMONSTER_CLIENT_KEY": KEY + suffix,
            "CAPMONSTER_API_URL": server.url,
            "CAPMONSTER_REPORT_TIMEOUT": 0.2,
            "CAPMONSTER_REPORT_CLOSE_TIMEOUT": 0.3,
        },
        base=serve(lambda _: WRONG).url,
        tasks=[1, 2],
    )
    stats = report_stats(crawler)
    assert stats["rejected"] == 2
    assert {arrival.client_key for arrival in server.arrivals} == {KEY + suffix}
    gc.collect()  # a Deferred whose failure nobody handled tells its story when it goes
    assert {"twisted", "scrapy_capmonster_report.reporter"} <= {
        record.name for record in caplog.records
    }
    reporter = crawler.get_downloader_middleware(CapMonsterReportMiddleware)
    for thing in (reporter, *vars(reporter).values()):
        assert KEY not in f"{thing!r} {thing!s}"
