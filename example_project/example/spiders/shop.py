"""A shop that asks visitors to read a picture, and keeps its reviews behind a widget."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from scrapy import FormRequest, Request, Spider
from scrapy.http import JsonRequest

from example.capmonster import Answer, CapMonster, download

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from scrapy.crawler import Crawler
    from scrapy.http import TextResponse

SITEKEY = "0x4AAAAAAAexample"
"""The widget's; it stands in the pages of the shop."""

MOST_TRIES = 25
"""How many answers a page is worth; the one that is left over last may have no luck for long."""


class ShopSpider(Spider):
    """``scrapy crawl shop -a shop=URL``: every product of the shop, with its reviews."""

    name = "shop"
    capmonster: CapMonster
    handle_httpstatus_list = [403]  # how the reviews say that they did not like the token
    custom_settings = {
        "CAPMONSTER_REPORT_RULES": [
            # The form again, with an error. That the session is over is not the answer's fault.
            {
                "name": "picture",
                "css": "form.captcha .error",
                "unless": {"text": "session has expired"},
            },
            # An API that says so.
            {
                "name": "widget",
                "status": 403,
                "jmespath": "errors[?code == 'captcha_invalid']",
            },
        ],
    }

    def __init__(self, shop: str, poll_interval: str | float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_urls = [shop]
        self.poll_interval = float(poll_interval)

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> ShopSpider:
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.capmonster = CapMonster(crawler, spider.poll_interval)
        return spider

    def parse(self, response: TextResponse) -> Iterator[Request]:
        yield from response.follow_all(css="a.product", callback=self.parse_product)
        yield from response.follow_all(css="a.next")

    async def parse_product(self, response: TextResponse, tries: int = 0) -> AsyncIterator[Any]:
        form = response.css("form.captcha")
        if not form:
            item: dict[str, Any] = {
                "name": response.css("h1::text").get(),
                "price": response.css(".price::text").get(),
                "reviews": [],
            }
            reviews = response.urljoin(response.css(".widget").attrib["data-action"])
            yield self.with_token(reviews, await self.buy_token(response.url), item)
        elif tries < MOST_TRIES:
            picture = await download(self.crawler, response.follow(form.css("img").attrib["src"]))
            answer = await self.capmonster.solve(
                {"type": "ImageToTextTask", "body": b64encode(picture.body).decode()}
            )
            hidden = {i.attrib["name"]: i.attrib["value"] for i in form.css("[type=hidden]")}
            yield FormRequest(
                response.url,
                self.parse_product,
                formdata={**hidden, "text": answer.solution["text"]},
                meta=answer.meta,
                cb_kwargs={"tries": tries + 1},
                dont_filter=True,
            )

    async def parse_reviews(
        self, response: TextResponse, token: Answer, item: dict[str, Any], tries: int
    ) -> AsyncIterator[Any]:
        if response.status == 403:
            if tries < MOST_TRIES:
                token = await self.buy_token(response.url)
                yield self.with_token(response.url, token, item, tries + 1)
            return
        page = response.json()
        item["reviews"] += page["reviews"]
        if page["next"]:
            # With the token that is at hand, and so with its taskId. Should the shop refuse it
            # now, the answer is not to blame: it has been used.
            yield self.with_token(response.urljoin(page["next"]), token, item)
        else:
            yield item

    async def buy_token(self, url: str) -> Answer:
        """The token that the widget would have put into the page."""
        return await self.capmonster.solve(
            {"type": "TurnstileTask", "websiteURL": url, "websiteKey": SITEKEY}
        )

    def with_token(self, url: str, token: Answer, item: dict[str, Any], tries: int = 0) -> Request:
        """The request for a page of reviews that submits *token*."""
        return JsonRequest(
            url,
            self.parse_reviews,
            data={"token": token.solution["token"]},
            meta=token.meta,
            cb_kwargs={"token": token, "item": item, "tries": tries},
            dont_filter=True,
        )
