"""Removes secrets from texts before they leave this process."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, quote_plus

MASK: Final = "***"

_USER: Final = re.compile(r"((?:^|:)//)[^/?#\s]*@")
"""User and password in a URL, anywhere in a text."""

_MIN_KEY_LENGTH: Final = 8
"""A real key has 32 characters. A dry run may have a key like "test", which is not a secret and
occurs in many pages."""


_CODECS: Final = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
"""How a page writes ASCII characters; most encodings do as UTF-8 does."""

_OPTIONS: Final = "__nocache"
"""A suffix that a ``clientKey`` may have, which is not part of the account key."""


def account_key(client_key: str) -> str:
    """The part of a ``clientKey`` that is secret."""
    return client_key.removesuffix(_OPTIONS)


class Mask:
    """Masks the account key, and removes users and passwords from URLs.

    Args:
        client_key: the account key, with ``__nocache`` or without.
    """

    __slots__ = ("_in_body", "_in_text")

    def __init__(self, client_key: str) -> None:
        key = account_key(client_key)
        # The environment may hold bytes that are not text.
        lossy = key.encode(errors="replace")
        written = {key, quote(lossy, safe=""), quote_plus(lossy)}
        keys = written if len(key) >= _MIN_KEY_LENGTH else set()
        # Not a regex: on a page of 2 MB it would block the crawl for too long.
        self._in_body = {
            form.encode(codec, "replace"): MASK.encode(codec)
            for codec in _CODECS
            for key in keys
            for form in (key, key.lower(), key.upper())
        }
        # Scrapy changes the case of hosts and header names.
        pattern = "|".join(map(re.escape, keys)) or "(?!)"  # which matches nowhere
        self._in_text = re.compile(pattern, re.IGNORECASE)

    def text(self, text: str) -> str:
        """*text* (a URL, a header's value) without key, users and passwords."""
        return _USER.sub(r"\1", self._in_text.sub(MASK, text))

    def body(self, body: bytes) -> bytes:
        """*body* without the key, in any encoding."""
        for key, mask in self._in_body.items():
            body = body.replace(key, mask)
        return body
