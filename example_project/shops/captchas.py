"""The captchas from both sides: issued and checked for the shops, solved for the stand-in."""

from __future__ import annotations

import time
from base64 import b64encode
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from captcha.image import ImageCaptcha

if TYPE_CHECKING:
    from collections.abc import Callable

LETTERS = "abcdefhkmnprtuvwxy34678"
"""Characters that are not easily confused."""


class Picture(NamedTuple):
    """A picture of a text that is hard to read.

    Args:
        id: its id in the shop's URLs.
        site: the shop that shows it.
        text: the text in the picture.
        png: the file.
    """

    id: str
    site: str
    text: str
    png: bytes

    @property
    def body(self) -> str:
        """The picture as ``createTask`` expects it."""
        return b64encode(self.png).decode()


class Token(NamedTuple):
    """The answer to a captcha that is not a picture.

    Args:
        issued_at: when it was issued, seconds since the epoch.
        right: whether it is right.
    """

    issued_at: float
    right: bool


class Captchas:
    """Draws pictures, issues tokens, and knows the right answers.

    Args:
        mistakes: called with a site, returns the share of wrong answers for it.
        seed: the seed of texts and tokens.
    """

    def __init__(self, mistakes: Callable[[str], float], seed: int = 0) -> None:
        self._mistakes = mistakes
        self._random = Random(seed)
        self._due: defaultdict[str, float] = defaultdict(float)
        self._artist = ImageCaptcha()
        self._pictures: dict[str, Picture] = {}
        self._tokens: dict[str, Token] = {}

    def draw(self, site: str) -> Picture:
        """A new picture."""
        text = "".join(self._random.choices(LETTERS, k=5))
        png = self._artist.generate(text).getvalue()
        picture = Picture(f"{self._random.getrandbits(64):016x}", site, text, png)
        self._pictures[picture.body] = picture
        return picture

    def solve(self, task: dict[str, Any]) -> str:
        """The answer to the *task* of a ``createTask``, sometimes a wrong one."""
        if picture := self._pictures.get(task.get("body", "")):
            return picture.text[::-1] if self._is_wrong(picture.site) else picture.text
        token = f"token-{self._random.getrandbits(128):032x}"
        site = urlsplit(task["websiteURL"]).hostname or ""
        self._tokens[token] = Token(time.time(), right=not self._is_wrong(site))
        return token

    def _is_wrong(self, site: str) -> bool:
        """Whether the next answer for *site* is wrong: wrong ones are spread evenly."""
        self._due[site] += self._mistakes(site)
        if self._due[site] < 1:
            return False
        self._due[site] -= 1
        return True

    def token(self, token: str) -> Token:
        """What the captcha's vendor knows of *token*."""
        return self._tokens[token]
