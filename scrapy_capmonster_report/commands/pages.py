"""Pages as the rules saw them or would have seen them, with what is known of each."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from parsel import Selector
from scrapy import Request, version_info
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import UsageError
from scrapy.http import Headers, Response, TextResponse, XmlResponse
from scrapy.responsetypes import responsetypes
from scrapy.settings import Settings
from scrapy.signalmanager import SignalManager

from ..rules.errors import RuleError, unique_keys
from ..rules.page import Page
from ..saved_pages import META_SUFFIX, RESPONSE_CLASSES
from ..text import closest_match
from .cli import usage_error
from .sources import MAX_BYTES, read_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping
    from pathlib import Path

_UNKNOWN_URL: Final = "about:blank"


class SavedPage(Page):
    """A page, its body decompressed, and its ``source``: where it comes from, to be shown."""

    def __init__(self, source: str, *page: Any) -> None:
        super().__init__(*page)
        self.source = source

    def parse(self, text: str) -> Selector:
        # No spider parses the page again. The response's own selector would cost more, and keep
        # the page in memory until the garbage collector runs: they refer to each other.
        return Selector(text, "xml" if isinstance(self.response, XmlResponse) else "html")


class PageReader:
    """Makes pages of saved pages and of what an HTTP cache has.

    Args:
        args: the options of ``cli.add_page_arguments``: what pages do not say themselves.

    Raises:
        UsageError: one of these cannot be.
    """

    def __init__(self, args: argparse.Namespace | None = None) -> None:
        self._decompress = _decompressor()
        told = {key: getattr(args, key, None) for key in ("url", "status", "method")}
        self._told: dict[str, Any] = {key: told[key] for key in told if told[key] is not None}
        for name, value in getattr(args, "headers", None) or ():
            self._told.setdefault("headers", {}).setdefault(name, []).append(value)
        _check_meta(self._told, "the options")

    def __call__(self, path: Path) -> SavedPage:
        """The saved page *path*, with the values of its ``NAME.meta.json``.

        Raises:
            NotAPageError: one of the two is not a regular file, or is too large.
            OSError: one of the two cannot be read.
            UsageError: the values are invalid.
        """
        meta = path.with_suffix(META_SUFFIX)
        known = _read_meta(meta) if os.path.lexists(meta) else {}
        return self.page(str(path), known, read_file(path), path.name)

    def page(
        self, source: str, known: dict[str, Any], body: bytes, name: str | None = None
    ) -> SavedPage:
        """A page with what is *known* of it, by the keys of ``NAME.meta.json``.

        Args:
            name: that of its file, which may tell what it is; without one its URL does.
        """
        known = {**self._told, **known}
        redirects = known.get("redirects", [])
        request = Request(
            known.get("url", _UNKNOWN_URL),
            method=known.get("method", "GET"),
            meta={"redirect_urls": redirects} if redirects else None,
        )
        values = known.get("headers", {})
        headers = Headers({name: values[name] for name in values if values[name] != []})
        # A crawl that saves pages writes the class. It saw the body decompressed.
        kind = RESPONSE_CLASSES.get(known.get("class", ""))
        if kind is None:
            if "Content-Encoding" in headers:
                packed = Response(request.url, headers=headers, body=body)
                try:
                    unpacked = self._decompress(request, packed)
                    headers, body = unpacked.headers, unpacked.body
                except Exception:  # each compression has exceptions of its own
                    # A browser or a crawl that saved the body had decompressed it.
                    del headers["Content-Encoding"]
            kind = responsetypes.from_args(headers, name or request.url, body=body)
        more = {"encoding": known.get("encoding")} if issubclass(kind, TextResponse) else {}
        status = known.get("status", 200)
        response = kind(request.url, status=status, headers=headers, body=body, **more)
        unknown = {"url", "status", "method", "headers", "redirects"} - known.keys()
        if "url" in known:
            # Where it is said from which URL a page is, it is from there and not from elsewhere.
            unknown.discard("redirects")
        return SavedPage(source, response, request, tuple(redirects), frozenset(unknown))


def _decompressor() -> Callable[[Request, Response], Response]:
    """Decompresses bodies as Scrapy does in a crawl."""
    limits = Settings({"DOWNLOAD_MAXSIZE": MAX_BYTES, "DOWNLOAD_WARNSIZE": 0})
    # All that the middleware asks of a crawler; it counts nothing without stats.
    crawler: Any = SimpleNamespace(settings=limits, stats=None, signals=SignalManager())
    process: Any = HttpCompressionMiddleware(crawler=crawler).process_response
    return partial(process, spider=None) if version_info < (2, 14) else process


def _read_meta(path: Path) -> dict[str, Any]:
    with (
        usage_error(f"{path} is not JSON: ", (ValueError, RecursionError)),
        usage_error(f"{path}: ", RuleError),
    ):
        known = json.loads(read_file(path), object_pairs_hook=unique_keys)
    if not isinstance(known, dict):
        raise UsageError(f"{path} is not a JSON object")
    _check_meta(known, str(path))
    return known


def _check_meta(known: Mapping[str, Any], where: str) -> None:
    for key, value in known.items():
        if key not in _META:
            match = closest_match(key, _META)
            mistake = RuleError(f"there is no key {key!r}", ", ".join(_META), match)
            raise UsageError(f"{where}: {mistake}")
        is_right, allowed = _META[key]
        with suppress(TypeError, ValueError):
            if is_right(value):
                continue
        raise UsageError(f"{where}: {key!r} is {value!r}: it must be {allowed}")


def _is_str(value: object) -> bool:
    """Whether *value* is text. Bytes on the command line that are none become surrogates."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _are_strs(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_str, value))


def _are_headers(value: object) -> bool:
    items = (*value, *value.values()) if isinstance(value, dict) else (None,)
    return all(_is_str(item) or _are_strs(item) for item in items)


_META: Final[Mapping[str, tuple[Callable[[Any], object], str]]] = {
    "url": (Request, "a URL"),
    "status": (range(100, 1000).__contains__, "an int from 100 to 999"),
    "method": (re.compile(r"[!-~]+").fullmatch, "an HTTP method such as POST"),
    "headers": (_are_headers, "a dict of str to str or lists of them"),
    "redirects": (_are_strs, "a list of str"),
    "class": (RESPONSE_CLASSES.__contains__, f"one of {', '.join(RESPONSE_CLASSES)}"),
    "encoding": (_is_str, "a str"),
}
"""The keys of ``NAME.meta.json``. A crawl that saves pages writes the last two."""
