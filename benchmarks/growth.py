"""How cost grows, with rules, with tasks and with concurrency: a plot each, in ``plots/``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reports
from calls import CALLS, NOWHERE, URL, response, submit
from crawls import inside, run
from lasting import bytes_a_task
from measure import MICRO, best, seconds_a_call
from servers import server

if TYPE_CHECKING:
    from collections.abc import Callable

    Lines = dict[str, dict[float, float]]
    """The lines of a plot: names, and what was measured at each size."""

PLOTS = Path(__file__).with_name("plots")
RULES = (1, 10, 100, 1000, 10_000)
TASKS = (1000, 10_000, 100_000, 1_000_000)
CONCURRENCY = (1, 4, 16, 64, 256)
NEVER = "no page says this"
ASKED = ("for this site and status: url", "for this site and status: text")
"""The rules that are asked one by one."""
REJECTED_IN = 50
"""One answer in so many is rejected: the queue grows as well."""


async def with_rules() -> Lines:
    """Microseconds a response."""
    kinds: dict[str, Callable[[int], dict[str, Any]]] = {
        "for other sites": lambda n: {"domains": f"shop{n}.example", "text": NEVER},
        "for this site, other status": lambda n: {"status": 403, "text": NEVER},
        ASKED[0]: lambda n: {"url": f"/captcha/{n}$"},
        ASKED[1]: lambda n: {"text": f"Wrong captcha {n}"},
    }
    seen = response()
    lines: Lines = {name: {} for name in kinds}
    for count in RULES:
        ways = {}
        for name, rule in kinds.items():
            settings = {**NOWHERE, "CAPMONSTER_REPORT_RULES": [rule(n) for n in range(count)]}
            middleware = await inside(settings, lambda middleware: middleware)
            calls = CALLS if name not in ASKED else max(2, CALLS // count)
            ways[name] = lambda middleware=middleware, calls=calls: seconds_a_call(
                middleware.process_response, [(submit(middleware), seen) for _ in range(calls)]
            )
        for name, seconds in best(ways, 10 if count < 1000 else 5).items():
            lines[name][count] = seconds * MICRO
    return lines


async def with_tasks() -> tuple[Lines, Lines]:
    """Microseconds a call after so many tasks, and bytes a task."""

    async def measure(middleware: Any) -> Lines:
        seen = response()
        lines: Lines = {"process_response": {}, "reject": {}}
        for _ in range(CALLS):  # from now on all senders are busy
            middleware.reject(submit(middleware))
        done = 0
        for count in TASKS:
            ways: dict[str, list[float]] = {name: [] for name in lines}
            while done < count:
                size = min(500, count - done)
                requests = [submit(middleware) for _ in range(size)]
                ways["process_response"].append(
                    seconds_a_call(middleware.process_response, [(r, seen) for r in requests])
                )
                rejected = [(request,) for request in requests[::REJECTED_IN]]
                ways["reject"].append(seconds_a_call(middleware.reject, rejected))
                done += size
            for name, seconds in ways.items():
                # Those just before this size; once in a while a dict grows, which one chunk in
                # many pays for.
                latest = sorted(seconds[-max(2, len(seconds) // 5) :])
                lines[name][count] = latest[len(latest) // 4] * MICRO
        return lines

    settings = {**NOWHERE, "CAPMONSTER_REPORT_QUEUE_SIZE": 2 * max(TASKS)}
    return await inside(settings, measure), {"memory ledger": memory()}


def memory() -> dict[float, float]:
    from scrapy_capmonster_report.ledger import Ledger
    from scrapy_capmonster_report.outcome import Report
    from scrapy_capmonster_report.task import read_task

    found: dict[float, float] = {}
    for count in TASKS:
        ledger = Ledger(time.monotonic)

        def remember(number: int, ledger: Any = ledger) -> None:
            task = read_task({}, 10**9 + number, 0.0)
            ledger.claim(Report(task, 2**59 + number, 300.0))

        found[count] = bytes_a_task(remember, count) * count / 1e6
    return found


async def with_concurrency() -> Lines:
    """Reports a second."""
    lines: Lines = {"this package": {}, "bare treq": {}}
    with server("api", delay=0.005) as api:
        for concurrency in CONCURRENCY:
            found = await reports.costs(api, concurrency, 3, reports=40 * min(concurrency, 50))
            lines["this package"][concurrency] = 1 / found["ours"][0]
            lines["bare treq"][concurrency] = 1 / found["treq"][0]
    return lines


def plot(name: str, title: str, x: str, y: str, lines: Lines) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"  # text stays text, and the file small
    mpl.rcParams["svg.hashsalt"] = name
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    for label, points in lines.items():
        axes.plot([*points], [*points.values()], marker="o", label=label)
    axes.set(title=title, xlabel=x, ylabel=y, xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    if len(lines) > 1:
        axes.legend()
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(PLOTS / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
    for label, points in lines.items():
        print(f"{title}, {label}:", *(f"{size:g}: {value:.4g}" for size, value in points.items()))


async def main() -> bool:
    rules = await with_rules()
    plot("rules", f"A response of {URL}", "rules", "µs", rules)
    calls, kept = await with_tasks()
    plot("tasks", "A call after so many tasks", "tasks", "µs", calls)
    plot("memory", "What the memory ledger keeps", "tasks", "MB", kept)
    plot(
        "concurrency", "Reports, API at 5 ms", "concurrency", "reports/s", await with_concurrency()
    )
    return True


if __name__ == "__main__":
    run(main)
