"""Row 13: scrapy-poet, which may spare a request its download."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from packages import neighbour
from strict_site import StrictSite, Submits, send, submit, withheld


def spider_with_pages(site_url: str) -> type[Submits]:
    """A spider whose first callback needs no response, and the second a page object."""
    scrapy_poet = neighbour("scrapy_poet")
    web_poet = neighbour("web_poet")

    class Welcome(web_poet.WebPage):
        @property
        def greeting(self) -> str:
            return self.css("p::text").get()

    class Reads(Submits):
        name = "reads"
        greetings: list[str] = []

        async def start(self) -> Any:
            yield submit(f"{site_url}/spared", 1, callback=self.spared)
            yield submit(f"{site_url}/read", 2, callback=self.read)

        def spared(self, response: scrapy_poet.DummyResponse) -> Any:
            yield submit(f"{site_url}/login", 1, callback=self.read)

        def read(self, response: Any, page: Welcome) -> None:
            self.greetings.append(page.greeting)

    # The annotations are text here, and names of this function.
    Reads.spared.__annotations__["response"] = scrapy_poet.DummyResponse
    Reads.read.__annotations__["page"] = Welcome
    return Reads


@pytest.mark.filterwarnings("ignore:.*andi:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_a_response_that_was_never_fetched_is_not_looked_at(serve: Any, api: Any) -> None:
    site, cloud = StrictSite({1}), api()
    spider_class = spider_with_pages(serve(site.respond).url)
    stats = await send(
        lambda spider: [],
        cloud,
        spider_class,
        ADDONS={"scrapy_poet.Addon": 300, "scrapy_capmonster_report.Addon": 500},
    )
    assert sorted(site.paths) == ["/login", "/read"]
    assert sorted(spider_class.greetings) == ["Welcome", "Wrong captcha"]
    assert [task_id for _, task_id in cloud.reports] == [1]
    assert stats["checked"] == 2
    assert withheld(stats) == {}
