"""Pages as the rules saw them or would have seen them, read from files and from HTTP caches."""

from __future__ import annotations

import inspect
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from scrapy import Request
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import NotConfigured, UsageError
from scrapy.http import Headers, Response, TextResponse
from scrapy.responsetypes import responsetypes
from scrapy.signalmanager import SignalManager
from scrapy.utils.project import data_path

from ..saved_pages import META_SUFFIX, RESPONSE_CLASSES
from ..text import closest_match
from .cache import database_of, entry_of, read_database, read_entry, read_record
from .files import read_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

    from ..rules import Rule, Rules
    from ..rules.rule import OnError

    Reader: TypeAlias = Callable[[], "SavedPage"]
    """Reads one page; raises ``NotAPageError``, or another ``UsageError`` if it cannot."""

SUFFIXES: Final = (".html", ".htm", ".xhtml", ".json", ".txt")

_UNKNOWN_URL: Final = "about:blank"

_META_TYPES: Final[Mapping[str, type]] = {
    "url": str,
    "status": int,
    "method": str,
    "headers": dict,
    "redirects": list,
    "class": str,
    "encoding": str,
}
"""What may stand in ``NAME.meta.json``; the last two are written by a crawl that saves pages."""


@dataclass(frozen=True, slots=True)
class SavedPage:
    """A response, and what it answered.

    Args:
        source: where it comes from, to be shown.
        response: the response, its body decompressed.
        request: the request that it answers; of a saved page, what is known of it.
        redirects: the URLs that the site redirected the request to.
        unknown: what is not known (see ``rules.page.Page``).
    """

    source: str
    response: Response
    request: Request
    redirects: tuple[str, ...] = ()
    unknown: frozenset[str] = frozenset()

    def match(self, rules: Rules, on_error: OnError) -> tuple[Rule | None, list[str]]:
        """What ``Rules.match_known`` says of the page."""
        return rules.match_known(
            self.response,
            self.request,
            redirects=self.redirects,
            unknown=self.unknown,
            on_error=on_error,
        )


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
        """*response* with its body decompressed; what cannot be decompressed stays as it is."""
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
    """

    def __init__(self, settings: BaseSettings, args: argparse.Namespace | None = None) -> None:
        self.decompress = Decompressor(settings)
        self._told = {
            key: value
            for key in ("url", "status", "method")
            if (value := getattr(args, key, None)) is not None
        }
        headers: dict[str, list[str]] = {}
        for name, value in getattr(args, "headers", None) or ():
            headers.setdefault(name, []).append(value)
        if headers:
            self._told["headers"] = headers

    def __call__(self, path: Path) -> SavedPage:
        """The saved page *path*, with what ``NAME.meta.json`` beside it says.

        Raises:
            NotAPageError: one of the two is not a file, or one without end.
            UsageError: one of the two files cannot be read.
        """
        meta = _Meta(path.with_suffix(META_SUFFIX), self._told)
        body, redirects, headers = read_file(path), meta.redirects(), meta.headers()
        status = meta.status()
        try:
            request = Request(
                meta.values.get("url", _UNKNOWN_URL),
                method=meta.values.get("method", "GET"),
                meta={"redirect_urls": redirects} if redirects else None,
            )
        except ValueError as error:
            raise meta.mistake("url", str(error)) from error
        raw = Response(request.url, status=status, headers=headers, body=body)
        if kind := meta.response_class():  # a crawl saved it, as the rules saw it
            encoding = meta.values.get("encoding")
            more: Any = {"encoding": encoding} if issubclass(kind, TextResponse) else {}
            response = raw.replace(cls=kind, **more)
        else:
            response = self.decompress(request, raw)
            if response is raw:
                # A browser or a crawl that saved the body had decompressed it.
                response.headers.pop("Content-Encoding", None)
            kind = responsetypes.from_args(
                headers=response.headers, filename=path.name, body=response.body
            )
            response = response.replace(cls=kind)
        return SavedPage(str(path), response, request, tuple(redirects), meta.unknown())


class Source:
    """A saved page, a folder of them, or an HTTP cache.

    A folder is read as a cache only if there is nothing else in it.

    Args:
        path: the file or the folder; where there is none, the name of a cache as the setting
            ``HTTPCACHE_DIR`` gives it, below the project's ``.scrapy``.
        settings: those of the project, for its way with caches.
        read_page: reads a saved page.

    Attributes:
        path: where it is.
        skipped: the files in the folder that are no pages.

    Raises:
        UsageError: there is nothing at *path*, or it cannot be read.
    """

    def __init__(self, path: Path, settings: BaseSettings, read_page: PageReader) -> None:
        self._read_page = read_page
        self._dbm_module: str = settings.get("HTTPCACHE_DBM_MODULE", "dbm")
        found = next(filter(_is_there, _places(path)), None)
        if found is None:
            raise UsageError(f"there is no {path}")
        self.path = found
        self.skipped: list[str] = []
        files = list(_files(found)) if found.is_dir() else [found]
        self._entries = list(dict.fromkeys(filter(None, map(entry_of, files))))
        self._databases = sorted({database for file in files if (database := database_of(file))})
        self._pages: list[Path] = []
        if not all(entry_of(file) or database_of(file) for file in files):
            self._entries, self._databases = [], []
            self._pages = [file for file in files if is_page(file)] if found.is_dir() else files
            meta = {page.with_suffix(META_SUFFIX) for page in self._pages}
            self.skipped = [str(file) for file in files if file not in {*self._pages, *meta}]

    def __iter__(self) -> Iterator[tuple[str, Reader]]:
        """The source of each page and a reader for it, in the order of names; no page is held."""
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
    """Whether *path* is named like a saved page."""
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(META_SUFFIX)


class _Meta:
    """What ``NAME.meta.json`` says, and what the command line *told* where it says nothing."""

    def __init__(self, path: Path, told: Mapping[str, Any]) -> None:
        self._path = path
        self.values: dict[str, Any] = dict(told)
        if os.path.lexists(path):
            self._read()

    def _read(self) -> None:
        try:
            values = json.loads(read_file(self._path))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{self._path} is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise UsageError(f"{self._path} is not a JSON object")
        self.values.update(values)
        for key, value in values.items():
            if key not in _META_TYPES:
                match = closest_match(key, _META_TYPES)
                question = f" Did you mean {match!r}?" if match else ""
                allowed = ", ".join(_META_TYPES)
                raise UsageError(
                    f"{self._path}: there is no key {key!r}. Allowed: {allowed}.{question}"
                )
            if not isinstance(value, _META_TYPES[key]) or isinstance(value, bool):
                raise self.mistake(key, f"it must be {_META_TYPES[key].__name__}")

    def mistake(self, key: str, allowed: str) -> UsageError:
        return UsageError(f"{self._path}: {key!r} is {self.values.get(key)!r}: {allowed}")

    def status(self) -> int:
        status: int = self.values.get("status", 200)
        if not 100 <= status <= 999:
            raise self.mistake("status", "it must be from 100 to 999")
        return status

    def redirects(self) -> list[str]:
        urls: list[str] = self.values.get("redirects", [])
        if not all(isinstance(url, str) for url in urls):
            raise self.mistake("redirects", "it must be a list of str")
        return urls

    def headers(self) -> Headers:
        listed = {
            name: value if isinstance(value, list) else [value]
            for name, value in self.values.get("headers", {}).items()
        }
        if not all(isinstance(item, str) for values in listed.values() for item in values):
            raise self.mistake("headers", "a value must be a str or a list of them")
        return Headers(listed)

    def response_class(self) -> type[Response] | None:
        name = self.values.get("class")
        if name is not None and name not in RESPONSE_CLASSES:
            raise self.mistake("class", f"it must be one of {', '.join(RESPONSE_CLASSES)}")
        return None if name is None else RESPONSE_CLASSES[name]

    def unknown(self) -> frozenset[str]:
        # Where it is said from which URL a page is, it is from there and not from elsewhere.
        known = {*self.values, *(["redirects"] if "url" in self.values else [])}
        return frozenset({"url", "status", "method", "headers", "redirects"} - known)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below *folder*, in the order of names; but for hidden ones, as ``.gitkeep``."""
    for place, subfolders, names in os.walk(folder, onerror=_cannot_read):
        subfolders.sort()
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _places(path: Path) -> Iterator[Path]:
    yield path
    with suppress(NotConfigured):  # a project without scrapy.cfg has no folder for its data
        yield Path(data_path(str(path)))


def _is_there(path: Path) -> bool:
    return os.path.exists(path) or database_of(path) is not None


def _cannot_read(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
