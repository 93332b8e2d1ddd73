"""The law of fairness, whoever stands above and below: played at random, judged by the site.

No report on an answer that the site had got before; none missed where its first rejection reached
us. ``LAW_EXAMPLES`` in the environment asks for more than a few.
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import pytest_twisted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from players import (
    PLAYERS,
    AnswersByItself,
    FirstProxyRefuses,
    Plan,
    Plays,
    RecordingSite,
    Scene,
    Sees,
    Send,
)
from strict_site import RULES, assert_fair, send
from support import LoopbackServer, RecordingApi
from twisted.internet.defer import Deferred

OURS = 585

sends = st.builds(
    Send,
    waits_for=st.sampled_from(["got", "finished"]),
    meta=st.sampled_from(["fresh", "copied", "collected"]),
    slot=st.sampled_from(["", "delayed", "another"]),
)
plans = st.builds(
    Plan,
    wrong=st.booleans(),
    path=st.sampled_from(["/page", "/busy", "/gone", "/hop", "/slow"]),
    sends=st.lists(sends, min_size=1, max_size=4),
    start=st.sampled_from(["", "", "overtaken", "unsent", "by itself"]),
)
orders = st.one_of(st.integers(590, 960), st.integers(50, 580))
scenes = st.builds(
    Scene,
    plans=st.lists(plans, min_size=1, max_size=5),
    players=st.lists(
        st.tuples(st.sampled_from(sorted(PLAYERS)), orders),
        max_size=3,
        unique_by=lambda player: player[0],
    ),
    by_itself=st.sampled_from([100, 570, 600, 900]),
    retry_times=st.integers(0, 2),
)


@pytest.mark.timeout(600)  # where it fails, Hypothesis takes its time to find the shortest scene
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("judge", ["a rule", "a callback"])
async def test_the_first_rejection_is_reported_and_no_other(judge: str) -> None:
    from twisted.internet import reactor, threads

    @given(scenes)
    @settings(
        derandomize=True,
        deadline=None,
        max_examples=int(os.environ.get("LAW_EXAMPLES", "25")),
        suppress_health_check=[HealthCheck.too_slow],
    )
    def law(scene: Scene) -> None:
        threads.blockingCallFromThread(reactor, lambda: Deferred.fromCoroutine(play(scene, judge)))

    await threads.deferToThread(law)  # Hypothesis waits for each example


async def play(scene: Scene, judge: str) -> None:
    from twisted.internet import reactor

    plans = dict(enumerate(scene.plans, 1))
    site = RecordingSite({task_id for task_id, plan in plans.items() if plan.wrong})
    cloud = RecordingApi()
    servers = [LoopbackServer(site.respond), LoopbackServer(cloud.respond)]
    cloud.url = servers[1].url
    spiders: list[Plays] = []

    class Remembered(Plays):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            spiders.append(self)

    narrow = {f"narrow-{task_id}": {"concurrency": 1} for task_id in plans}
    # A scene that hangs is to be told, not waited for.
    watchdog = reactor.callLater(
        30, lambda: spiders[0].crawler.engine.close_spider(spiders[0], "hung")
    )
    players = {type(name, (PLAYERS[name],), {}): order for name, order in scene.players}
    try:
        stats = await send(
            lambda spider: [],
            cloud,
            type(
                "Playing",
                (Remembered,),
                {"url": servers[0].url, "site": site, "plans": plans, "judges": judge != "a rule"},
            ),
            DOWNLOADER_MIDDLEWARES={
                **players,
                Sees: OURS + 1,
                AnswersByItself: scene.by_itself,
                FirstProxyRefuses: 740,
            },
            DOWNLOAD_SLOTS={**narrow, "delayed": {"concurrency": 1, "delay": 0.02}},
            RETRY_TIMES=scene.retry_times,
            CAPMONSTER_REPORT_RULES=RULES if judge == "a rule" else ["callbacks"],
        )
    finally:
        hung = not watchdog.active()
        if not hung:
            watchdog.cancel()
        for server in servers:
            await server.stop()
    story = f"{stats}\n{site.submissions}\nseen: {spiders[0].seen}"
    assert not hung, story
    assert_fair(site, cloud)
    if judge != "a rule":
        return  # a callback does not get every response that ours sees
    reported = {task_id for _, task_id in cloud.reports}
    for task_id, plan in plans.items():
        if plan.start != "overtaken" and first_rejection_was_seen(task_id, site, spiders[0].seen):
            assert task_id in reported, f"missed: {task_id}\n{story}"


def first_rejection_was_seen(task_id: int, site: RecordingSite, seen: set[int]) -> bool:
    for number, submission in enumerate(site.submissions):
        if submission.answer == task_id:
            return not submission.accepted and number in seen
    return False
