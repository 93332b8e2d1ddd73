"""Each preset on pages of 5 MB that a site might choose, against decoding and parsing them.

The row of the table is the worst preset on the worst page, and all presets together. ``--all``
prints every pair.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

from measure import Row, best, seconds_a_call, show
from scrapy import Request
from scrapy.http import HtmlResponse

from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from scrapy_capmonster_report.rules import Rules

SIZE = 5_000_000
ERRORS = 20_000
ROUNDS = 2
URL = "https://shop.example/login"

CAPTCHA = '<form method="post"><img src="/captcha.php"><input name="captcha"></form>'
ERROR = '<div class="error"><p>The captcha number {} is incorrect.</p></div>'
QUIET = '<div class="error"><p>{}</p></div>'
TEXT = '<p class="text">Wool blankets, kettles and tea, delivered by bicycle.</p>'


def filled(parts: str, filling: str) -> bytes:
    """A page of 5 MB: a form with a captcha, *parts*, and as much of *filling* as is missing."""
    missing = SIZE - len(parts) - len(CAPTCHA)
    return (
        f"<!doctype html><html><body>{CAPTCHA}{parts}{filling * (missing // len(filling))}".encode()
    )


def pages() -> dict[str, bytes]:
    """Pages by what they are made of."""
    words = "incorrect captcha " * 9
    return {
        "20,000 errors that say it": filled(
            "".join(ERROR.format(number) for number in range(ERRORS)), TEXT
        ),
        "20,000 errors that say it, and nothing else": filled("", ERROR.format(words)),
        "20,000 errors that say nothing": filled(QUIET.format("") * ERRORS, TEXT),
        "text in 70,000 elements": filled("", TEXT),
        "elements without attributes": filled("", "<b>x</b>"),
        "one long text": filled("", "wool and tea "),
    }


def seconds(judge: Callable[[HtmlResponse], object], body: bytes) -> float:
    """Seconds of processor time that *judge* takes for a response that was not looked at before."""
    gc.collect()  # the page before: new memory costs more than used one
    response = HtmlResponse(URL, body=body, headers={"Content-Type": "text/html; charset=utf-8"})
    return seconds_a_call(judge, [(response,)])


def judging(rules: Rules) -> Callable[[HtmlResponse], object]:
    request = Request(URL, method="POST")
    return lambda response: rules.match(response, request, on_error=lambda *_: None)


def main() -> None:
    ways = {name: judging(compile_rules([name])) for name in PRESETS}
    ways["all of them"] = judging(compile_rules(list(PRESETS)))
    ways["parsing"] = lambda response: response.selector
    ratios: dict[tuple[str, str], tuple[float, float, float]] = {}
    for kind, body in pages().items():
        turns = {
            name: (lambda way=way, body=body: seconds(way, body)) for name, way in ways.items()
        }
        took = best(turns, ROUNDS)
        for name in (*PRESETS, "all of them"):
            ratio = took[name] / took["parsing"]
            ratios[name, kind] = ratio, took[name], took["parsing"]
            if "--all" in sys.argv:
                print(f"{name:24} {kind:45} {ratio:5.2f}")
    rows = []
    for what, names in (("each preset", PRESETS), ("all presets together", ["all of them"])):
        name, kind = max((key for key in ratios if key[0] in names), key=lambda key: ratios[key][0])
        ratio, ours, theirs = ratios[name, kind]
        note = f"{ours * 1000:.0f} ms, {theirs * 1000:.0f} ms; worst: {name}, {kind}"
        rows.append(
            Row(f"{what} on pages of 5 MB", "decoding and parsing them", 3, ratio, note=note)
        )
    show(rows)


if __name__ == "__main__":
    main()
