"""The examples of the documentation, tried: pages for the rules, stories for the fairness."""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import pytest
import pytest_twisted
from documents import document
from scrapy import Request, Spider
from scrapy.http import Headers
from scrapy.responsetypes import responsetypes
from support import Reply, crawl
from twisted.web.server import NOT_DONE_YET

from scrapy_capmonster_report.outcome import Outcome
from scrapy_capmonster_report.rules import compile_rules
from scrapy_capmonster_report.rules.compile import CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from documents import Document
    from scrapy.http import Response

    from scrapy_capmonster_report.rules import Rules

CONDITION_PAGES: Final = {
    title: part
    for title, part in document("docs/rules.md").sections().items()
    if part.blocks("text")
}


# -- docs/rules.md ---------------------------------------------------------------------------------


def rules_of(section: Document) -> Rules:
    """The rule that a section shows, alone or in a spider."""
    block = section.blocks("python")[0]
    statement = ast.parse(block.text).body[0]
    if isinstance(statement, ast.Expr):
        return compile_rules([ast.literal_eval(statement.value)])
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(block.text, namespace)
    (spider,) = (
        value()
        for value in namespace.values()
        if isinstance(value, type) and issubclass(value, Spider) and value is not Spider
    )
    return compile_rules(spider.custom_settings["CAPMONSTER_REPORT_RULES"], spider=spider)


def exchange(text: str) -> tuple[Request, Response, list[str]]:
    """The request, the response and the redirects between them that a block shows."""
    head, _, body = text.partition("\n\n")
    first, *lines = head.splitlines()
    method, url = first.split()
    redirects = []
    while lines[0].startswith("30"):
        redirects.append(lines.pop(0).split()[1])
        method = "GET"
    status, content_type = lines[0].split()
    headers = Headers(dict(line.split(": ") for line in lines[1:]))
    headers["Content-Type"] = content_type
    url = redirects[-1] if redirects else url
    response_class = responsetypes.from_args(headers=headers, url=url, body=body.encode())
    response = response_class(url, status=int(status), headers=headers, body=body.encode())
    return Request(url, method=method), response, redirects


def verdict(rules: Rules, text: str) -> bool:
    request, response, redirects = exchange(text)
    errors: list[Exception] = []
    rule = rules.match(
        response, request, redirects=redirects, on_error=lambda _, error: errors.append(error)
    )
    assert errors == []
    return rule is not None


def test_every_condition_has_its_section() -> None:
    assert sorted(CONDITION_PAGES) == sorted(CONDITIONS)


@pytest.mark.parametrize("key", CONDITION_PAGES)
def test_a_condition_holds_for_the_page_that_is_said_to_and_not_for_the_other(key: str) -> None:
    section = CONDITION_PAGES[key]
    rules = rules_of(section)
    assert key in {item.key for rule in rules for item in rule.conditions}
    said = {"Holds": True, "Does not hold": False}
    claims = []
    for page in section.blocks("text"):
        words = re.match("|".join(said), page.before)
        assert words, page.where
        assert verdict(rules, page.text) is said[words[0]], page.where
        claims.append(words[0])
    assert sorted(claims) == sorted(said)


# -- docs/fairness.md ------------------------------------------------------------------------------

STORIES: Final = {
    title: rows
    for title, part in document("docs/fairness.md").sections().items()
    if (rows := [row for row in part.rows() if len(row) == 5])
}

SETTINGS: Final = {
    "cached": {"HTTPCACHE_ENABLED": True},
    "dry_run": {"CAPMONSTER_REPORT_DRY_RUN": True},
}

BECOMES: Final = {"reported": Outcome.ACCEPTED.value, "passes": "passed"}


class StorySpider(Spider):
    """Sends the answers of a story, one after the other."""

    name = "story"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong captcha"}]}

    def __init__(self, url: str, story: list[list[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = list(enumerate(story))
        self.url = url

    async def start(self) -> Any:
        yield self.next_request()

    def next_request(self) -> Request:
        number, (task_id, task_type, solved, site, _) = self.steps.pop(0)
        page = number - 1 if "cache" in site else number
        ago = re.fullmatch(r"(\d+) s ago|just now", solved)
        assert ago
        meta = {"taskId": task_id, "taskSolvedAt": time.time() - int(ago[1] or 0)}
        if task_type:
            meta["taskType"] = task_type
        url = f"{self.url}/{page}"
        return Request(url, self.parse, method="POST", meta=meta, dont_filter=True)

    def parse(self, response: Response, **kwargs: Any) -> Iterator[Request]:
        if self.steps:
            yield self.next_request()


class StorySite:
    """Does what the story says of it, page by page."""

    def __init__(self, story: list[list[str]]) -> None:
        self._acts = [row[3].split(", then ") for row in story]

    def respond(self, request: Any) -> Any:
        act = self._acts[int(request.path.decode().split("/")[1])].pop(0)
        if act == "redirects":
            return Reply(status=302, headers={"Location": request.path + b"/next"})
        if act == "closes the connection":
            request.transport.abortConnection()
            return NOT_DONE_YET
        return {
            "accepts it": Reply("Welcome"),
            "rejects it": Reply("Wrong captcha"),
            "answers 503": Reply("Too busy", status=503),
        }[act]


def test_every_reason_has_its_story() -> None:
    reasons = {outcome.reason for outcome in Outcome if outcome.group == "withheld"}
    assert reasons == STORIES.keys() - {"What is reported"}


@pytest.mark.parametrize("title", STORIES)
@pytest_twisted.ensureDeferred
async def test_a_story_ends_as_it_is_told(title: str, serve: Any, api: Any, tmp_path: Path) -> None:
    story = STORIES[title]
    expected: Counter[str] = Counter()
    for row in story:
        for end in row[4].split(", "):
            expected[BECOMES.get(end) or f"withheld/{end.strip('`')}"] += 1

    settings = {
        "CAPMONSTER_API_URL": api().url,
        "HTTPCACHE_DIR": str(tmp_path),
        **SETTINGS.get(title, {}),
    }
    url = serve(StorySite(story).respond).url
    stats = await crawl(StorySpider, settings, url=url, story=story)

    ends = {"passed", *(outcome.value for outcome in Outcome)}
    assert {name: count for name, count in stats.items() if name in ends} == expected


# -- docs/recipes-spiders.md -----------------------------------------------------------------------


@pytest_twisted.ensureDeferred
async def test_the_login_recipe_tries_again_with_a_new_answer(serve: Any, api: Any) -> None:
    page = document("docs/recipes-spiders.md").sections()["FormRequest login"]
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(page.blocks("python")[0].text.replace("shop.example", "127.0.0.1"), namespace)
    form = '<form method="post">{}<input type="hidden" name="session" value="7"></form>'
    error = '<p class="captcha-error">Wrong captcha</p>'

    def respond(request: Any) -> str:
        token = request.args.get(b"g-recaptcha-response", [b""])[0]
        assert not token or request.args[b"session"] == [b"7"]
        return {b"": form.format(""), b"good": '<p class="account">me</p>'}.get(
            token, form.format(error)
        )

    class Login(namespace["LoginSpider"]):  # type: ignore[misc]
        start_urls = [serve(respond).url + "/login"]
        answers = [(1, "bad"), (2, "good")]

        async def solve(self, response: Response, task_type: str) -> tuple[int, str]:
            return self.answers.pop(0)

    reports = api()
    stats = await crawl(Login, {"CAPMONSTER_API_URL": reports.url})

    assert stats["rejected/rule/login"] == stats["passed"] == 1
    assert reports.reports == [("/reportIncorrectTokenCaptcha", 1)]


# -- docs/where-it-stands.md ----------------------------------------------------------------------


class BanDetectionMiddleware:
    """Takes a 403 for a ban, as the default policy of scrapy-rotating-proxies does."""

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Any:
        request.meta["_ban"] = response.status != 200
        return response


class RotatingProxyMiddleware:
    """Sends a request that was banned again, five times at most."""

    def process_response(self, request: Request, response: Response, spider: Any = None) -> Any:
        if not request.meta["_ban"] or request.meta.get("proxy_retry_times", 0) == 5:
            return response
        again = request.copy()
        again.meta["proxy_retry_times"] = request.meta.get("proxy_retry_times", 0) + 1
        again.dont_filter = True
        return again


class OneAnswer(Spider):
    name = "one_answer"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong captcha"}]}
    url: str

    async def start(self) -> Any:
        yield Request(self.url, method="POST", meta={"taskId": 1})


@pytest.mark.parametrize(("orders", "reports"), [("those of its README", 0), ("ours", 1)])
@pytest_twisted.ensureDeferred
async def test_the_orders_for_rotating_proxies_show_the_rejection(
    orders: str, reports: int, serve: Any, api: Any
) -> None:
    section = document("docs/where-it-stands.md").sections()["scrapy-rotating-proxies"]
    settings: dict[str, Any] = {}
    exec(section.blocks("python")[0].text, {}, settings)
    numbers = {path.rpartition(".")[2]: n for path, n in settings["DOWNLOADER_MIDDLEWARES"].items()}
    if orders != "ours":
        written = map(int, re.findall(r"\b6\d0\b", section.text))
        numbers = dict(zip(numbers, written, strict=True))
    middlewares = {globals()[name]: number for name, number in numbers.items()}
    cloud = api()
    url = serve(lambda _: Reply("Wrong captcha", status=403)).url
    await crawl(
        OneAnswer,
        {"CAPMONSTER_API_URL": cloud.url, "DOWNLOADER_MIDDLEWARES": middlewares},
        url=url,
    )
    assert len(cloud.reports) == reports


class AsksForCaptchas(Spider):
    """Knows nothing of captchas: each page has a callback of its own."""

    name = "asks_for_captchas"
    custom_settings = {"CAPMONSTER_REPORT_RULES": [{"text": "Wrong captcha"}]}
    url: str
    offers: list[tuple[str, str]]

    async def start(self) -> Any:
        yield Request(self.url, self.parse_offers, cb_kwargs={"word": "tea"})

    def parse_offers(self, response: Any, word: str) -> None:
        self.offers.append((word, response.text))


@pytest_twisted.ensureDeferred
async def test_the_middleware_that_solves_captchas_gives_the_page_to_the_spider(
    serve: Any, api: Any
) -> None:
    section = document("docs/where-it-stands.md").sections()["Middlewares that solve captchas"]
    names: dict[str, Any] = {}
    exec(section.blocks("python")[0].text, names)
    task_ids = iter((1, 2))

    async def solve(client: str, captcha: str) -> Any:
        task_id = next(task_ids)
        return {"token": f"{client} {captcha} {task_id}"}, {"taskId": task_id}

    names["solve_captcha"] = solve
    example = names["CaptchaMiddleware"]
    solver = type("Solver", (example,), {"client": "mine", "captcha_of": lambda *_: "turnstile"})

    def respond(request: Any) -> str:
        token = parse_qs(request.content.read().decode()).get("cf-turnstile-response", [""])[0]
        if token == "mine turnstile 2":
            return "Offers"
        return "<p>Wrong captcha</p><div class='cf-turnstile'></div>"

    offers: list[tuple[str, str]] = []
    cloud = api()
    await crawl(
        AsksForCaptchas,
        {"CAPMONSTER_API_URL": cloud.url, "DOWNLOADER_MIDDLEWARES": {solver: 560}},
        url=serve(respond).url,
        offers=offers,
    )
    assert offers == [("tea", "Offers")]
    assert cloud.reports == [("/reportIncorrectTokenCaptcha", 1)]
