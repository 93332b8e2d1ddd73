"""The captchas, on both sides: drawn and issued for the shop, and solved for the stand-in."""

from __future__ import annotations

from base64 import b64encode
from random import Random
from typing import Any, NamedTuple

from captcha.image import ImageCaptcha

LETTERS = "abcdefhkmnprtuvwxy34678"
"""None that is easily taken for another."""

LENGTH = 5


class Picture(NamedTuple):
    """A picture of a text that is hard to read.

    Args:
        id: in the shop's address of it.
        text: what it shows.
        png: the picture.
    """

    id: str
    text: str
    png: bytes

    @property
    def body(self) -> str:
        """The picture as ``createTask`` takes it."""
        return b64encode(self.png).decode()


class Captchas:
    """Draws pictures, issues tokens, and remembers the right answers.

    Args:
        seed: of the texts and tokens; the distortion of the pictures is another each time.
    """

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._artist = ImageCaptcha()
        self._texts: dict[str, str] = {}
        self._tokens: set[str] = set()

    def draw(self) -> Picture:
        """A new picture."""
        text = "".join(self._random.choices(LETTERS, k=LENGTH))
        png = self._artist.generate(text).getvalue()
        picture = Picture(f"{self._random.getrandbits(64):016x}", text, png)
        self._texts[picture.body] = text
        return picture

    def solve(self, task: dict[str, Any]) -> str:
        """The right answer to the *task* of a ``createTask``: the ``Simulator`` calls this."""
        if task["type"] == "ImageToTextTask":
            return self._texts[task["body"]]
        token = f"token-{self._random.getrandbits(128):032x}"
        self._tokens.add(token)
        return token

    def is_genuine(self, token: str) -> bool:
        """Whether the widget's maker would confirm *token* to the shop."""
        return token in self._tokens
