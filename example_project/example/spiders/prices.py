"""The prices of five shops, each behind a captcha of its own."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from scrapy import FormRequest, Request, Spider

from example.capmonster import Answer, CapMonster, download

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from scrapy.crawler import Crawler
    from scrapy.http import TextResponse

MAX_TRIES = 25
"""How many answers the spider buys for a product at most."""

BUY_AHEAD = 2
"""How many answers each crawl buys for the next one."""


class PricesSpider(Spider):
    """``scrapy crawl prices``.

    Args:
        ahead: answers bought ahead; this crawl uses them, and leaves new ones to the next crawl.
        poll_interval: seconds between two calls of ``getTaskResult``.
    """

    name = "prices"
    start_urls = [
        "http://bakery.example/",
        "http://books.example/",
        "http://flights.example/",
        "http://news.example/",
        "http://tickets.example/",
    ]
    handle_httpstatus_list = [403]  # how news.example asks for a captcha
    capmonster: CapMonster

    def __init__(
        self, ahead: list[Answer] | None = None, poll_interval: float = 2.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.poll_interval = float(poll_interval)
        self.ahead = [] if ahead is None else ahead
        self.from_last_crawl = self.ahead.copy()
        self.ahead.clear()
        self.to_buy_ahead = BUY_AHEAD

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **kwargs: Any) -> PricesSpider:
        spider = super().from_crawler(crawler, *args, **kwargs)
        spider.capmonster = CapMonster(crawler, spider.poll_interval)
        return spider

    def parse(self, response: TextResponse) -> Iterator[Request]:
        yield from response.follow_all(css="a.product", callback=self.parse_product)

    async def parse_product(self, response: TextResponse, tries: int = 0) -> AsyncIterator[Any]:
        task = await self.task_on(response)
        if task is None:
            product = response.css("h1::text, .price::text").getall()
            yield dict(zip(("name", "price"), product, strict=True))
        elif tries < MAX_TRIES:
            request = self.submit(response, await self.answer(task))
            again = {"callback": self.parse_product, "cb_kwargs": {"tries": tries + 1}}
            yield request.replace(dont_filter=True, **again)

    async def task_on(self, response: TextResponse) -> dict[str, Any] | None:
        """The task for the captcha on a page, as ``createTask`` expects it."""
        if picture := response.css("form.captcha img::attr(src)").get():
            image = await download(self.crawler, response.follow(picture))
            return {"type": "ImageToTextTask", "body": b64encode(image.body).decode()}
        page = {"websiteURL": response.url}
        if key := response.css(".cf-turnstile::attr(data-sitekey)").get():
            return {"type": "TurnstileTask", "websiteKey": key, **page}
        if key := response.css(".g-recaptcha::attr(data-sitekey)").get():
            return {"type": "RecaptchaV2Task", "websiteKey": key, **page}
        if url := response.css("iframe#datadome::attr(src)").get():
            challenge = {"captchaUrl": url, "datadomeCookie": "datadome=new"}
            return {"type": "CustomTask", "class": "DataDome", "metadata": challenge, **page}
        return None

    async def answer(self, task: dict[str, Any]) -> Answer:
        """An answer to *task*: an old one for some reCAPTCHAs, a mistake that must be noticed."""
        if task["type"] == "RecaptchaV2Task":
            if self.to_buy_ahead:
                self.to_buy_ahead -= 1
                self.ahead.append(await self.capmonster.solve(task))
            if self.from_last_crawl:
                return self.from_last_crawl.pop()
        return await self.capmonster.solve(task)

    def submit(self, response: TextResponse, answer: Answer) -> Request:
        """The request that sends *answer* to the shop, with its task in ``meta``."""
        match answer.solution:
            case {"text": text}:
                form = {"text": text}
            case {"gRecaptchaResponse": token}:
                form = {"g-recaptcha-response": token}
            case {"token": token}:
                form = {"cf-turnstile-response": token}
            case {"domains": {"news.example": {"cookies": {"datadome": cookie}}}}:
                headers = {"Cookie": f"datadome={cookie}"}
                return Request(response.url, headers=headers, meta=answer.meta)
        hidden = {i.attrib["name"]: i.attrib["value"] for i in response.css("[type=hidden]")}
        url = response.urljoin(response.css("form.captcha").attrib["action"])
        return FormRequest(url, formdata={**hidden, **form}, meta=answer.meta)
