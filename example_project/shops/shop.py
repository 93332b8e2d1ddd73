"""Shops with different captchas and different ways to reject an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

from . import pages
from .record import Entry, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .captchas import Captchas, Picture
    from .record import Record

TOKEN_SECONDS = 120.0
"""How long a reCAPTCHA token is valid, in seconds."""


class Reply(NamedTuple):
    """An HTTP response."""

    body: str | bytes
    status: int = 200
    headers: Mapping[str, str] = {}


class Shop:
    """A shop that shows a product to anyone who solves its captcha.

    Args:
        host: its host name.
        captchas: knows the right answers.
        record: gets the verdicts.
    """

    captcha: str
    """The type of its captcha."""

    field: str
    """The name of the form field or cookie with the answer."""

    def __init__(self, host: str, captchas: Captchas, record: Record) -> None:
        self.host = host
        self.captchas = captchas
        self.record = record

    def get(self, path: str, fields: Mapping[str, str]) -> Reply:
        """The reply to a request for *path* with these fields."""
        if not path:
            return Reply(pages.listing(self.host))
        if self.field not in fields:
            return self.ask(path)
        answer, verdict = self.judge(fields)
        if self.record.on(answer):
            verdict = Verdict.USED
        self.record.add(answer, Entry(self.host, verdict))
        if verdict is Verdict.RIGHT:
            return Reply(pages.product(self.host, path))
        return self.reject(path, verdict)

    def ask(self, path: str, error: str = "") -> Reply:
        """The page with the captcha."""
        raise NotImplementedError

    def judge(self, fields: Mapping[str, str]) -> tuple[str, Verdict]:
        """The answer's key in the record, and the verdict if it was not sent before."""
        token = fields[self.field]
        return token, Verdict.RIGHT if self.captchas.token(token).right else Verdict.WRONG

    def reject(self, path: str, verdict: Verdict) -> Reply:
        """The response to an answer that is not accepted."""
        raise NotImplementedError


class TurnstileShop(Shop):
    """Shows the form again, with Turnstile's error code."""

    captcha, field = "Turnstile", "cf-turnstile-response"

    def ask(self, path: str, error: str = "") -> Reply:
        return Reply(
            pages.form(path, '<div class="cf-turnstile" data-sitekey="0x4A"></div>', error)
        )

    def reject(self, path: str, verdict: Verdict) -> Reply:
        return self.ask(path, pages.TURNSTILE)


class RecaptchaShop(Shop):
    """Redirects. Also rejects answers older than two minutes, which have expired for Google."""

    captcha, field = "reCAPTCHA", "g-recaptcha-response"

    def ask(self, path: str, error: str = "") -> Reply:
        return Reply(pages.form(path, '<div class="g-recaptcha" data-sitekey="6Le"></div>', error))

    def judge(self, fields: Mapping[str, str]) -> tuple[str, Verdict]:
        token, verdict = super().judge(fields)
        late = time.time() - self.captchas.token(token).issued_at > TOKEN_SECONDS
        return token, Verdict.LATE if late else verdict

    def reject(self, path: str, verdict: Verdict) -> Reply:
        return Reply("", 303, {"Location": f"http://{self.host}/{path}?error=captcha"})


class ProtectedShop(Shop):
    """Is behind a bot protection that answers instead of it, and expects the token in a cookie."""

    captcha, field = "DataDome", "datadome"

    def ask(self, path: str, error: str = "") -> Reply:
        url = "https://geo.captcha-delivery.com/captcha/?cid=example"
        return Reply(pages.page("Blocked", f'<iframe id="datadome" src="{url}"></iframe>'), 403)

    def reject(self, path: str, verdict: Verdict) -> Reply:
        return self.ask(path)._replace(headers={"X-Blocked-By": "bot protection"})


class PictureShop(Shop):
    """Shows a picture. Now and then its session has expired, or it fails with a 503."""

    captcha, field = "image", "text"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._pictures: dict[str, Picture] = {}
        self._right = 0

    def ask(self, path: str, error: str = "") -> Reply:
        picture = self.captchas.draw(self.host)
        self._pictures[picture.id] = picture
        return Reply(pages.form(path, pages.picture(picture.id), error))

    def get(self, path: str, fields: Mapping[str, str]) -> Reply:
        if picture := self._pictures.get(path):
            return Reply(picture.png, headers={"Content-Type": "image/png"})
        return super().get(path, fields)

    def judge(self, fields: Mapping[str, str]) -> tuple[str, Verdict]:
        picture = self._pictures[fields["picture"]]
        if fields[self.field] != picture.text:
            return picture.body, Verdict.WRONG
        self._right += 1
        verdict = {6: Verdict.NO_SESSION, 9: Verdict.FAILURE}.get(self._right % 10, Verdict.RIGHT)
        return picture.body, verdict

    def reject(self, path: str, verdict: Verdict) -> Reply:
        if verdict is Verdict.FAILURE:
            return Reply("Please try again later.", 503)
        return self.ask(path, pages.EXPIRED if verdict is Verdict.NO_SESSION else pages.WRONG_TEXT)
