"""Pages as the rules saw them or would have seen them, read from files and from HTTP caches."""

from __future__ import annotations

import inspect
import json
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from scrapy import Request
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import NotConfigured, UsageError
from scrapy.http import Response, TextResponse
from scrapy.responsetypes import responsetypes
from scrapy.signalmanager import SignalManager

from ..rules.page import Page
from ..saved_pages import META_SUFFIX, RESPONSE_CLASSES
from ..text import closest_match
from .cache import database_of, entry_of, read_database, read_entry, read_record
from .files import read_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    Reader: TypeAlias = Callable[[], "SavedPage"]
    """Reads one page; raises ``NotAPageError``, or another ``UsageError`` if it cannot."""

SUFFIXES: Final = (".html", ".htm", ".xhtml", ".json", ".txt")

_UNKNOWN_URL: Final = "about:blank"


class SavedPage(Page):
    """A page, its body decompressed, and its ``source``: where it comes from, to be shown."""

    def __init__(self, source: str, *page: Any) -> None:
        super().__init__(*page)
        self.source = source


class Decompressor:
    """Decompresses bodies as Scrapy does in a crawl with *settings*."""

    def __init__(self, settings: BaseSettings) -> None:
        # All that the middleware asks of a crawler; it counts nothing without stats.
        crawler = SimpleNamespace(settings=settings, stats=None, signals=SignalManager())
        self._process: Any = None
        try:
            middleware = HttpCompressionMiddleware.from_crawler(cast("Crawler", crawler))
        except NotConfigured:
            return
        self._process = middleware.process_response
        parameters = inspect.signature(self._process).parameters
        # Scrapy < 2.14 requires the spider, later versions warn of it.
        required = parameters["spider"].default is inspect.Parameter.empty
        self._arguments: dict[str, None] = {"spider": None} if required else {}

    def __call__(self, request: Request, response: Response) -> Response:
        """*response* with its body decompressed, or unchanged if that fails."""
        if self._process is None or "Content-Encoding" not in response.headers:
            return response
        try:
            return cast(
                "Response", self._process(request=request, response=response, **self._arguments)
            )
        except Exception:  # each compression has exceptions of its own
            return response


class PageReader:
    """Reads saved pages.

    Args:
        settings: those of the project, for its way with compression.
        args: the options of ``cli.add_page_arguments``: what pages do not say themselves.

    Raises:
        UsageError: one of these cannot be.
    """

    def __init__(self, settings: BaseSettings, args: argparse.Namespace | None = None) -> None:
        self.decompress = Decompressor(settings)
        self._told: dict[str, Any] = {
            key: value
            for key in ("url", "status", "method")
            if (value := getattr(args, key, None)) is not None
        }
        for name, value in getattr(args, "headers", None) or ():
            self._told.setdefault("headers", {}).setdefault(name, []).append(value)
        _check_meta(self._told, "the options")

    def __call__(self, path: Path) -> SavedPage:
        """The saved page *path*, with the values of its ``NAME.meta.json``.

        Raises:
            NotAPageError: one of the two is not a regular file, or is too large.
            UsageError: one of the two files cannot be read.
        """
        known = {**self._told, **_read_meta(path.with_suffix(META_SUFFIX))}
        redirects = known.get("redirects", [])
        request = Request(
            known.get("url", _UNKNOWN_URL),
            method=known.get("method", "GET"),
            meta={"redirect_urls": redirects} if redirects else None,
        )
        response = Response(
            request.url,
            status=known.get("status", 200),
            headers=known.get("headers", {}),
            body=read_file(path),
        )
        if kind := RESPONSE_CLASSES.get(known.get("class", "")):
            # A crawl saved it, as the rules saw it.
            encoding = known.get("encoding")
            more: Any = {"encoding": encoding} if issubclass(kind, TextResponse) else {}
            response = response.replace(cls=kind, **more)
        else:
            raw, response = response, self.decompress(request, response)
            if response is raw:
                # A browser or a crawl that saved the body had decompressed it.
                response.headers.pop("Content-Encoding", None)
            response = response.replace(
                cls=responsetypes.from_args(
                    headers=response.headers, filename=path.name, body=response.body
                )
            )
        if "url" in known:
            # Where it is said from which URL a page is, it is from there and not from elsewhere.
            known["redirects"] = redirects
        unknown = frozenset({"url", "status", "method", "headers", "redirects"} - known.keys())
        return SavedPage(str(path), response, request, tuple(redirects), unknown)


def _read_meta(path: Path) -> dict[str, Any]:
    """The values in ``NAME.meta.json``; empty if there is none.

    Raises:
        UsageError: it cannot be read, or is invalid.
    """
    if not os.path.lexists(path):
        return {}
    try:
        known = json.loads(read_file(path))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    if not isinstance(known, dict):
        raise UsageError(f"{path} is not a JSON object")
    _check_meta(known, str(path))
    return known


def _check_meta(known: Mapping[str, Any], where: str) -> None:
    for key, value in known.items():
        if key not in _META:
            match = closest_match(key, _META)
            question = f" Did you mean {match!r}?" if match else ""
            allowed = ", ".join(_META)
            raise UsageError(f"{where}: there is no key {key!r}. Allowed: {allowed}.{question}")
        is_right, allowed = _META[key]
        if not is_right(value):
            raise UsageError(f"{where}: {key!r} is {value!r}: it must be {allowed}")


def _is_url(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(Request(value))
    except ValueError:
        return False


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _are_strs(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_str, value))


_META: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "url": (_is_url, "a URL"),
    "status": (lambda value: type(value) is int and 100 <= value <= 999, "an int from 100 to 999"),
    "method": (_is_str, "a str"),
    "headers": (
        lambda value: (
            isinstance(value, dict)
            and all(_is_str(item) or _are_strs(item) for item in value.values())
        ),
        "a dict of str to str or lists of them",
    ),
    "redirects": (_are_strs, "a list of str"),
    "class": ([*RESPONSE_CLASSES].__contains__, f"one of {', '.join(RESPONSE_CLASSES)}"),
    "encoding": (_is_str, "a str"),
}
"""The keys of ``NAME.meta.json``. A crawl that saves pages writes the last two."""


class Source:
    """A saved page, a folder of them, or an HTTP cache.

    A folder is read as a cache only if it has no saved pages.

    Args:
        path: the file or the folder.
        settings: those of the project, for its way with caches.
        read_page: reads a saved page.

    Attributes:
        path: the file or the folder.
        skipped: the files in the folder that are not pages.

    Raises:
        UsageError: there is nothing at *path*, or it cannot be read.
    """

    def __init__(self, path: Path, settings: BaseSettings, read_page: PageReader) -> None:
        self._read_page = read_page
        self._dbm_module: str = settings.get("HTTPCACHE_DBM_MODULE", "dbm")
        if not path.exists() and database_of(path) is None:
            raise UsageError(f"there is no {path}")
        self.path = path
        self.skipped: list[str] = []
        files = list(_files(path)) if path.is_dir() else [path]
        self._entries = list(dict.fromkeys(filter(None, map(entry_of, files))))
        self._databases = sorted({database for file in files if (database := database_of(file))})
        self._pages: list[Path] = []
        if not all(entry_of(file) or database_of(file) for file in files):
            self._entries, self._databases = [], []
            self._pages = [file for file in files if is_page(file)] if path.is_dir() else files
            known = {*self._pages, *(page.with_suffix(META_SUFFIX) for page in self._pages)}
            self.skipped = [str(file) for file in files if file not in known]

    def __iter__(self) -> Iterator[tuple[str, Reader]]:
        """The source of each page and a reader for it, sorted by name. Keeps no page in memory."""
        for path in self._pages:
            yield str(path), partial(self._read_page, path)
        for folder in self._entries:
            yield folder, partial(self._cached, folder, partial(read_entry, folder))
        for database in self._databases:
            for source, content in read_database(database, self._dbm_module):
                yield source, partial(self._cached, source, partial(read_record, source, content))

    def _cached(self, source: str, read: Callable[[], tuple[Request, Response]]) -> SavedPage:
        request, response = read()
        return SavedPage(source, self._read_page.decompress(request, response), request)


def is_page(path: Path) -> bool:
    """Whether *path* has the name of a saved page."""
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(META_SUFFIX)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below *folder*, sorted by name, except hidden ones such as ``.gitkeep``."""
    for place, subfolders, names in os.walk(folder, onerror=_cannot_read):
        subfolders.sort()
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _cannot_read(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
