"""A site that keeps its own record of the answers it gets, and what asks it: for the neighbours."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import scrapy
from scrapy.utils.defer import maybe_deferred_to_future
from support import Reply, crawl
from twisted.web.server import NOT_DONE_YET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pytest
    from scrapy.crawler import Crawler

TOKEN = "/reportIncorrectTokenCaptcha"
WRONG = "<html><body><p class='error'>Wrong captcha</p></body></html>"
FINE = "<html><body><p>Welcome</p></body></html>"
RULES = [{"name": "wrong", "text": "Wrong captcha"}]


class Submission(NamedTuple):
    """One answer, as the site got it."""

    answer: int
    path: str
    accepted: bool


class StrictSite:
    """Accepts each right answer once; a second time, and a wrong one, it rejects.

    The answer of task 7 is ``7``, in the query or in the form. ``/hop?to=PATH`` redirects, after
    judging the answer where there is one.

    Args:
        wrong: the tasks with a wrong answer.
    """

    def __init__(self, wrong: frozenset[int] | set[int] = frozenset()) -> None:
        self.wrong = wrong
        self.submissions: list[Submission] = []
        self.paths: list[str] = []

    def respond(self, request: Any) -> Any:
        # A proxy is asked for the whole URL.
        path = urlsplit(request.uri.decode()).path
        self.paths.append(path)
        said = self.judge(request)
        if path == "/hop":
            target = parse_qs(urlsplit(request.uri.decode()).query)["to"][0]
            return Reply(said, status=302, headers={"Location": target})
        return said

    def judge(self, request: Any) -> str:
        """Record the answer that *request* carries, and say what the site thinks of it."""
        form = request.content.read().decode() or urlsplit(request.uri.decode()).query
        fields = parse_qs(form)
        if "answer" not in fields:
            return FINE
        number = self.record(int(fields["answer"][0]), urlsplit(request.uri.decode()).path)
        return FINE if self.submissions[number].accepted else WRONG

    def record(self, answer: int, path: str = "") -> int:
        """The number of the submission."""
        accepted = answer not in self.wrong and not self.accepted(answer)
        self.submissions.append(Submission(answer, path, accepted))
        return len(self.submissions) - 1

    def accepted(self, answer: int) -> bool:
        return any(known.answer == answer and known.accepted for known in self.submissions)

    def got(self, answer: int) -> list[bool]:
        """Whether it accepted the answer, each time it got it."""
        return [known.accepted for known in self.submissions if known.answer == answer]


class HoldingSite(StrictSite):
    """Holds what it says to requests for ``/held`` until it is told to let go."""

    def __init__(self, wrong: set[int] | frozenset[int] = frozenset()) -> None:
        super().__init__(wrong)
        self._held: list[tuple[Any, str]] = []
        self.on_held: Callable[[str], None] = lambda path: None

    def respond(self, request: Any) -> Any:
        said = super().respond(request)
        path = self.paths[-1]
        if not path.startswith("/held"):
            return said
        self._held.append((request, said))
        self.on_held(path)
        return NOT_DONE_YET

    @property
    def held(self) -> int:
        """How many requests wait for their response."""
        return len(self._held)

    def let_go(self, path: str = "/held") -> None:
        held, self._held = self._held, []
        for request, said in held:
            if request.path.decode() != path:
                self._held.append((request, said))
                continue
            request.setHeader("Content-Type", "text/html")
            request.write(said.encode())
            request.finish()


def submit(
    url: str, task_id: int, meta: Mapping[str, Any] | None = None, **options: Any
) -> scrapy.Request:
    """A form with the answer of a task, posted to *url*; *meta* adds to its ``taskId``."""
    return scrapy.Request(
        url,
        method="POST",
        body=f"answer={task_id}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        meta={"taskId": task_id, **(meta or {})},
        dont_filter=True,
        **options,
    )


class Submits(scrapy.Spider):
    """Sends the requests that *requests* gives, and minds no failure."""

    name = "submits"
    requests: Callable[[Submits], Any]

    async def start(self) -> Any:
        for request in self.requests(self):
            yield request if request.errback else request.replace(errback=self.failed)

    def parse(self, response: Any) -> None:
        pass

    def failed(self, failure: Any) -> None:
        pass

    def later(self, request: scrapy.Request) -> None:
        """Send *request* from where a spider cannot yield it."""
        self.crawler.engine.crawl(request)


async def send(
    requests: Callable[[Submits], Any],
    cloud: Any,
    spider_class: type[Submits] = Submits,
    **settings: Any,
) -> dict[str, Any]:
    """Crawl with *requests* and give the stats of this package.

    Args:
        requests: gives the first requests of the spider it is called with.
        cloud: where reports go.
        settings: over those that any of these crawls has.
    """
    settings = {"CAPMONSTER_API_URL": cloud.url, "CAPMONSTER_REPORT_RULES": RULES, **settings}
    return await crawl(spider_class, settings, requests=requests)


async def download(crawler: Crawler, request: scrapy.Request) -> Any:
    """The response to an inline request."""
    engine: Any = crawler.engine
    if hasattr(engine, "download_async"):
        return await engine.download_async(request)
    return await maybe_deferred_to_future(engine.download(request))  # Scrapy 2.13


def assert_fair(site: StrictSite, cloud: Any) -> None:
    """Each report is the only one of its task, whose answer the site rejected the first time."""
    reported = Counter(task_id for _, task_id in cloud.reports)
    assert set(reported.values()) <= {1}, reported
    for task_id in reported:
        assert site.got(task_id)[:1] == [False], (task_id, site.submissions)


def withheld(stats: Mapping[str, Any]) -> dict[str, Any]:
    """The reasons and how often."""
    return {
        name.removeprefix("withheld/"): n
        for name, n in stats.items()
        if name.startswith("withheld/")
    }


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What this package warned of, or worse, but for what it says about sites."""
    return [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.WARNING
        and record.name.startswith("scrapy_capmonster_report")
        and ".insight" not in record.name
    ]
