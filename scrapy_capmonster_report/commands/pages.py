"""Pages as the rules saw them or would have seen them, read from files and from HTTP caches."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

from parsel import Selector
from scrapy import Request, version_info
from scrapy.downloadermiddlewares.httpcompression import HttpCompressionMiddleware
from scrapy.exceptions import NotConfigured, UsageError
from scrapy.http import Headers, Response, TextResponse, XmlResponse
from scrapy.responsetypes import responsetypes
from scrapy.signalmanager import SignalManager

from ..rules.errors import RuleError, unique_keys
from ..rules.page import Page
from ..saved_pages import META_SUFFIX, RESPONSE_CLASSES
from ..settings import SAVE_REJECTED
from ..text import closest_match
from .cache import database_of, find_cached, read_database, read_entry, read_record
from .cli import usage_error
from .files import NotAPageError, read_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from scrapy.crawler import Crawler
    from scrapy.settings import BaseSettings

REFUSED: Final = "refused"
ACCEPTED: Final = "accepted"

SUFFIXES: Final = (".html", ".htm", ".xhtml", ".json", ".txt")

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
        settings: those of the project, for its way with compression.
        args: the options of ``cli.add_page_arguments``: what pages do not say themselves.

    Raises:
        UsageError: one of these cannot be.
    """

    def __init__(self, settings: BaseSettings, args: argparse.Namespace | None = None) -> None:
        self._decompress = _decompressor(settings)
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
        known = _read_meta(path.with_suffix(META_SUFFIX))
        return self.page(str(path), known, read_file(path), path)

    def page(
        self, source: str, known: dict[str, Any], body: bytes, file: Path | None = None
    ) -> SavedPage:
        """A page with what is *known* of it, by the keys of ``NAME.meta.json``."""
        known = {**self._told, **known}
        redirects = known.get("redirects", [])
        request = Request(
            known.get("url", _UNKNOWN_URL),
            method=known.get("method", "GET"),
            meta={"redirect_urls": redirects} if redirects else None,
        )
        headers = Headers(known.get("headers", {}))
        # A crawl that saves pages writes the class. It saw the body decompressed.
        kind = RESPONSE_CLASSES.get(known.get("class", ""))
        if kind is None:
            if "Content-Encoding" in headers:
                packed = Response(request.url, headers=headers, body=body)
                unpacked = self._decompress(request, packed)
                headers, body = unpacked.headers, unpacked.body
                if file and unpacked is packed:
                    # A browser or a crawl that saved the body had decompressed it.
                    del headers["Content-Encoding"]
            kind = responsetypes.from_args(headers, file.name if file else request.url, body=body)
        more = {"encoding": known.get("encoding")} if issubclass(kind, TextResponse) else {}
        status = known.get("status", 200)
        response = kind(request.url, status=status, headers=headers, body=body, **more)
        unknown = {"url", "status", "method", "headers", "redirects"} - known.keys()
        if "url" in known:
            # Where it is said from which URL a page is, it is from there and not from elsewhere.
            unknown.discard("redirects")
        return SavedPage(source, response, request, tuple(redirects), frozenset(unknown))


def _decompressor(settings: BaseSettings) -> Callable[[Request, Response], Response]:
    """Decompresses bodies as Scrapy does in a crawl with *settings*.

    Returns the response itself if that fails.
    """
    # All that the middleware asks of a crawler; it counts nothing without stats.
    crawler = SimpleNamespace(settings=settings, stats=None, signals=SignalManager())
    try:
        middleware = HttpCompressionMiddleware.from_crawler(cast("Crawler", crawler))
    except NotConfigured:
        return lambda request, response: response
    process: Any = middleware.process_response
    if version_info < (2, 14):
        process = partial(process, spider=None)

    def decompress(request: Request, response: Response) -> Response:
        try:
            return cast("Response", process(request=request, response=response))
        except Exception:  # each compression has exceptions of its own
            return response

    return decompress


def _read_meta(path: Path) -> dict[str, Any]:
    """The values in ``NAME.meta.json``; empty if there is none.

    Raises:
        UsageError: it cannot be read, or is invalid.
    """
    if not os.path.lexists(path):
        return {}
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
            question = f" Did you mean {match!r}?" if match else ""
            allowed = ", ".join(_META)
            raise UsageError(f"{where}: there is no key {key!r}. Allowed: {allowed}.{question}")
        is_right, allowed = _META[key]
        if not is_right(value):
            raise UsageError(f"{where}: {key!r} is {value!r}: it must be {allowed}")


def _is_str(value: object) -> TypeGuard[str]:
    """Whether *value* is text. Bytes on the command line that are none become surrogates."""
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _is_url(value: object) -> bool:
    with suppress(TypeError, ValueError):
        Request(cast("str", value))
        return True
    return False


def _are_strs(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_str, value))


_META: Final[Mapping[str, tuple[Callable[[object], bool], str]]] = {
    "url": (_is_url, "a URL"),
    "status": (lambda value: type(value) is int and 100 <= value <= 999, "an int from 100 to 999"),
    "method": (
        lambda value: _is_str(value) and re.fullmatch(r"[!-~]+", value) is not None,
        "an HTTP method such as POST",
    ),
    "headers": (
        lambda value: (
            isinstance(value, dict)
            and all(_is_str(item) or _are_strs(item) for item in (*value, *value.values()))
        ),
        "a dict of str to str or lists of them",
    ),
    "redirects": (_are_strs, "a list of str"),
    "class": ([*RESPONSE_CLASSES].__contains__, f"one of {', '.join(RESPONSE_CLASSES)}"),
    "encoding": (_is_str, "a str"),
}
"""The keys of ``NAME.meta.json``. A crawl that saves pages writes the last two."""


class Source:
    """The pages of a folder or of an HTTP cache, sorted by name. Keeps none in memory.

    A folder is read as a cache only if it has no saved pages.

    Args:
        path: the file or the folder.
        settings: those of the project, for its way with caches.
        read_page: reads a saved page.

    Attributes:
        path: the file or the folder.
        skipped: the files in the folder that are not pages, as far as it was read.

    Raises:
        UsageError: there is nothing at *path*, or it cannot be read.
    """

    def __init__(self, path: Path, settings: BaseSettings, read_page: PageReader) -> None:
        self.path = path
        self.skipped: list[str] = []
        self._read_page = read_page
        self._dbm_module: str = settings.get("HTTPCACHE_DBM_MODULE", "dbm")
        self._pages: list[Path] = []
        if not path.exists() and database_of(path) is None:
            is_ours = path.absolute() == Path(settings.get(SAVE_REJECTED) or "").absolute()
            hint = "; a crawl makes it when it saves a page" if is_ours else ""
            raise UsageError(f"there is no file or folder {str(path)!r}{hint}")
        root = path if path.is_dir() else path.parent
        self._parts_of_root = len(root.parts)
        self._name_of_root = os.path.basename(os.path.abspath(root))
        folders = list(_folders(path)) if root == path else [(str(root), [path.name])]
        self._entries, self._databases = find_cached(folders)
        if self._entries or self._databases:
            return
        for folder, names in folders:
            files = [Path(folder, name) for name in names]
            pages = {file: None for file in files if is_page(file) or file == path}
            metas = {page.stem + META_SUFFIX for page in pages}
            self._pages += pages
            others = (file for file in files if file not in pages and file.name not in metas)
            self.skipped += map(str, others)

    def __len__(self) -> int:
        return sum(1 for _ in self._readers())

    def __iter__(self) -> Iterator[SavedPage]:
        for source, read in self._readers():
            try:
                yield read()
            except NotAPageError:  # noqa: PERF203
                self.skipped.append(source)

    def _readers(self) -> Iterator[tuple[str, Callable[[], SavedPage]]]:
        for path in self._pages:
            yield str(path), partial(self._read_page, path)
        for folder in self._entries:
            yield folder, partial(self._cached, folder, partial(read_entry, folder))
        for database in self._databases:
            for source, content in read_database(database, self._dbm_module):
                yield source, partial(self._cached, source, partial(read_record, content))

    @property
    def expects(self) -> bool:
        """Whether something is expected of any page."""
        return any(self.expectation(source) for source, _ in self._readers())

    def expectation(self, source: str) -> str | None:
        """What the nearest folder of a page says of it: ``"refused"``, ``"accepted"`` or nothing.

        The folder itself counts, those above it do not.
        """
        inside = source.split(os.sep)[self._parts_of_root : -1]
        nearest_first = (*reversed(inside), self._name_of_root)
        return next((name for name in nearest_first if name in (REFUSED, ACCEPTED)), None)

    def _cached(self, source: str, read: Callable[[], tuple[dict[str, Any], bytes]]) -> SavedPage:
        with usage_error(f"{source} is not a readable entry of an HTTP cache: "):
            return self._read_page.page(source, *read())


def is_page(path: Path) -> bool:
    """Whether *path* has the name of a saved page."""
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(META_SUFFIX)


def _folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its files, sorted; without hidden ones such as ``.gitkeep``."""
    for place, subfolders, names in os.walk(folder, onerror=_cannot_read):
        subfolders.sort()
        yield str(Path(place)), sorted(name for name in names if not name.startswith("."))


def _cannot_read(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
