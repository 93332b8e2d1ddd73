"""What the wire can do to a report. The numbers are the rows of the matrix of faults."""

from __future__ import annotations

import gzip
import json
import logging
import socket
import tracemalloc
from typing import Any

import pytest
import pytest_twisted
from misbehaving import (
    SUCCESS,
    closes_when_used_again,
    drips,
    floods,
    floods_headers,
    floods_interim_answers,
    hangs,
    in_turn,
    refuses,
    resets,
    says,
    stalls,
)
from support import CLIENT_KEY, crawl
from twisted.internet.interfaces import IHostnameResolver
from wired import WRONG, Refused, lines, until
from zope.interface import implementer

from scrapy_capmonster_report.delivery.connections import MAX_ANSWER_BYTES
from scrapy_capmonster_report.outcome import Outcome

ONE_RETRY = 1.4
"""Seconds of age: room for a second attempt after half a second, none for a third after one."""


@pytest_twisted.ensureDeferred
async def test_an_accepted_report_is_one_post(wire: Any) -> None:
    """Row 1."""
    desk = wire(says())
    desk.reject(7654321)
    await desk.settle()
    assert desk.outcomes == {7654321: [Outcome.ACCEPTED]}
    [post] = desk.server.arrivals
    assert (post.method, post.endpoint) == ("POST", "/reportIncorrectTokenCaptcha")
    assert "content-type: application/json" in post.head.lower()
    assert json.loads(post.body) == {"clientKey": CLIENT_KEY, "taskId": 7654321}


# -- row 2: an answer that is none ---------------------------------------------------------------

BOMB = gzip.compress(SUCCESS.encode() + b" " * 50_000_000)
NESTED_BOMB = gzip.compress(BOMB)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(says("<html>PRIVATE</html>"), id="html"),
        pytest.param(says("[]"), id="a list"),
        pytest.param(says('{"errorId": 0, "status": "succ'), id="broken json"),
        pytest.param(says('{"errorId": 0, "PRIVATE": 1}'), id="no status"),
        pytest.param(says(""), id="nothing"),
        pytest.param(says("", 204), id="204"),
        pytest.param(says(SUCCESS + " " * 10_000_000), id="10 MB"),
        pytest.param(floods, id="without end"),
        pytest.param(floods_headers, id="headers without end"),
        pytest.param(floods_interim_answers, id="interim answers without end"),
        pytest.param(says(BOMB), id="gzip bomb"),
        pytest.param(says(BOMB, Content_Encoding="gzip"), id="gzip bomb in its header too"),
        pytest.param(says(NESTED_BOMB, Content_Encoding="gzip, gzip"), id="gzip bomb in gzip"),
        pytest.param(says(gzip.compress(b"x")[:-9], Content_Encoding="gzip"), id="broken gzip"),
        pytest.param(says("PRIVATE", Content_Encoding="br"), id="broken br"),
        pytest.param(
            lambda connection, _: connection.answer(b"HTTP/1.1 PRIVATE\r\n\r\n"), id="not HTTP"
        ),
    ],
)
async def test_an_answer_that_is_none_is_a_passing_fault(
    behave: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 2. Nothing but the cap ends a long answer here: the timeout is longer than the test."""
    desk = wire(behave, timeout=100.0, max_age=ONE_RETRY)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    assert len(desk.server.arrivals) in (1, 2)  # on a busy machine the first may take too long
    assert "PRIVATE" not in caplog.text
    assert "errorId" not in caplog.text


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "behave",
    [
        floods,
        says(BOMB),
        says(BOMB, Content_Encoding="gzip"),
        says(NESTED_BOMB, Content_Encoding="gzip, gzip"),
    ],
    ids=["without end", "gzip bomb", "gzip bomb in its header too", "gzip bomb in gzip"],
)
async def test_no_answer_takes_more_memory_than_the_cap(behave: Any, wire: Any) -> None:
    """Row 2."""
    desk = wire(behave, concurrency=1, max_age=ONE_RETRY)
    tracemalloc.start()
    try:
        desk.reject(1)
        await desk.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * MAX_ANSWER_BYTES  # a hundredth of the bomb


@pytest_twisted.ensureDeferred
async def test_a_server_that_compresses_unasked_is_understood(wire: Any) -> None:
    """Row 2, the other way round."""
    desk = wire(says(gzip.compress(SUCCESS.encode()), Content_Encoding="gzip"))
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.ACCEPTED]}


# -- row 6: an unknown errorCode -------------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("code", "shown"),
    [
        ("ERROR_NEW", "ERROR_NEW"),
        ("ERROR_" + "X" * 10_000, "ERROR_" + "X" * 58),
        ("ERROR\r\nINFO: all is well\x1b[2J\x00", "ERROR__INFO__all_is_well__2J_"),
    ],
    ids=["unknown", "10 kB", "control characters"],
)
async def test_a_report_refused_with_an_unknown_code_is_shown_short_and_plain(
    code: str, shown: str, serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 6."""
    server = misbehave(refuses(code))
    stats = await crawl(
        Refused, {"CAPMONSTER_API_URL": server.url}, base=serve(lambda _: WRONG).url, tasks=[1]
    )
    assert stats["sent/refused"] == stats[f"sent/refused/{shown}"] == 1
    assert len(server.arrivals) == 1
    assert f"1 refused by CapMonster Cloud ({shown})" in lines(caplog, logging.INFO)[-1]
    ours = [text for level in (logging.DEBUG, logging.INFO) for text in lines(caplog, level)]
    assert [text for text in ours if not text.isprintable() or len(text) > 500] == []


# -- rows 7 and 8: an answer that does not come, or does not end ----------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("behave", [hangs, stalls, drips])
async def test_an_attempt_ends_at_its_timeout(
    behave: Any, wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 7 and 8: its socket is closed, its slot is free, and the report is sent again."""
    desk = wire(in_turn(behave, says()), timeout=0.2, concurrency=1)
    desk.reject(1)
    await until(lambda: desk.server.accepted == 1 and desk.server.open_sockets() == 0)
    assert "no answer within 0.2 seconds" in caplog.text
    desk.reject(2)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.ACCEPTED], 2: [Outcome.ACCEPTED]}
    assert sorted(desk.server.task_ids()) == [1, 1, 2, 2]


@pytest_twisted.ensureDeferred
async def test_a_server_that_reads_nothing_holds_up_no_attempt_beyond_its_timeout(
    wire: Any,
) -> None:
    """Row 7."""
    desk = wire(deaf=True, timeout=0.2, max_age=ONE_RETRY)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.UNDELIVERED]}
    assert desk.server.accepted == 2
    desk.server.hear_at_last()
    await until(lambda: desk.server.open_sockets() == 0)


# -- row 9: no connection ------------------------------------------------------------------------


def closed_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


async def tried_until_too_old(desk: Any, reason: str, caplog: Any) -> None:
    desk.reject(1, 2, 3)
    await desk.settle()
    assert {*map(tuple, desk.outcomes.values())} == {(Outcome.UNDELIVERED,)}
    assert desk.retried == 3
    [warning] = lines(caplog, logging.WARNING)
    assert reason in warning


@pytest_twisted.ensureDeferred
async def test_without_a_listening_service_a_report_is_retried_until_it_is_too_old(
    wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 9."""
    desk = wire(url=f"http://127.0.0.1:{closed_port()}", max_age=ONE_RETRY)
    await tried_until_too_old(desk, "ConnectionRefusedError", caplog)


@implementer(IHostnameResolver)
class NoSuchHost:
    """A resolver that knows no host, and says so at once."""

    def resolveHostName(self, receiver: Any, *args: Any, **kwargs: Any) -> Any:
        receiver.resolutionBegan(self)
        receiver.resolutionComplete()
        return self


@pytest_twisted.ensureDeferred
async def test_without_dns_it_is_tried_until_the_report_is_too_old(
    wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 9."""
    from twisted.internet import reactor

    desk = wire(url="http://nowhere.invalid", max_age=ONE_RETRY)
    resolver = reactor.installNameResolver(NoSuchHost())
    try:
        await tried_until_too_old(desk, "DNSLookupError", caplog)
    finally:
        reactor.installNameResolver(resolver)


@pytest_twisted.ensureDeferred
async def test_an_outage_is_one_warning_and_its_end_one_info(
    serve: Any, misbehave: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 9."""
    server = misbehave(in_turn(resets, resets, says()))
    stats = await crawl(
        Refused,
        {"CAPMONSTER_API_URL": server.url},
        base=serve(lambda _: WRONG).url,
        tasks=range(1, 31),
    )
    assert stats["sent/accepted"] == 30
    assert len(server.arrivals) == 90
    assert len(lines(caplog, logging.WARNING)) == 1
    recovered = "Reports are delivered to CapMonster Cloud again."
    assert lines(caplog, logging.INFO).count(recovered) == 1
    assert lines(caplog, logging.ERROR) == []


# -- row 10: a connection that breaks --------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_a_reset_after_the_request_was_written_is_retried(wire: Any) -> None:
    """Row 10."""
    desk = wire(in_turn(resets, says()))
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.ACCEPTED]}
    assert (desk.retried, desk.server.task_ids()) == (1, [1, 1])


@pytest_twisted.ensureDeferred
async def test_a_dead_connection_that_was_kept_alive_costs_no_attempt(
    wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 10."""
    desk = wire(closes_when_used_again, concurrency=3)
    for task_ids in [(1, 2, 3), (4, 5, 6)]:
        desk.reject(*task_ids)
        await desk.settle()
    assert {*map(tuple, desk.outcomes.values())} == {(Outcome.ACCEPTED,)}
    assert desk.retried == 0
    assert desk.server.accepted == 6
    assert lines(caplog, logging.WARNING) == []


@pytest_twisted.ensureDeferred
async def test_connections_are_kept_alive(wire: Any) -> None:
    desk = wire(says(), concurrency=2)
    desk.reject(*range(1, 41))
    await desk.settle()
    assert desk.server.accepted == 2


# -- rows 12 and 13: HTTP's own word --------------------------------------------------------------


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_failure_of_the_server_is_retried(status: int, wire: Any) -> None:
    """Row 12."""
    desk = wire(in_turn(says("", status), says()))
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.ACCEPTED]}
    assert desk.server.task_ids() == [1, 1]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 422, 451])
async def test_what_http_calls_our_fault_is_not_retried(status: int, wire: Any) -> None:
    """Row 12."""
    desk = wire(says("", status))
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.REFUSED]}
    assert desk.codes == ["http_4xx"]
    assert desk.server.task_ids() == [1]


def breaks_off(connection: Any, arrival: Any) -> None:
    connection.transport.write(b"HTTP/1.1 404 No\r\nContent-Length: 5000\r\n\r\n<html>")
    connection.transport.loseConnection()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("behave", [says("<p>No</p>" * 1_000_000, 404), breaks_off])
async def test_what_http_says_counts_even_if_the_page_with_it_is_not_read_to_its_end(
    behave: Any, wire: Any
) -> None:
    """Row 12: the URL may lead to a website in place of the service."""
    desk = wire(behave)
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.REFUSED]}
    assert desk.codes == ["http_4xx"]
    assert desk.server.task_ids() == [1]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
async def test_a_redirect_does_not_carry_the_key_elsewhere(
    status: int, wire: Any, misbehave: Any
) -> None:
    """Row 13."""
    elsewhere = misbehave(says())
    desk = wire(says("", status, Location=elsewhere.url + "/reportIncorrectTokenCaptcha"))
    desk.reject(1)
    await desk.settle()
    assert desk.outcomes == {1: [Outcome.REFUSED]}
    assert desk.codes == ["http_3xx"]
    assert desk.server.task_ids() == [1]
    assert elsewhere.accepted == 0
