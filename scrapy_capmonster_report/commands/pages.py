"""Pages as the rules saw them or would have seen them, read from files and from HTTP caches."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast

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
from ..settings import SAVE_REJECTED
from ..text import closest_match
from .cache import ENTRY_FILE, database_of, read_database, read_entries
from .cli import usage_error
from .files import MAX_BYTES, NotAPageError, read_file

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping

    from scrapy.settings import BaseSettings

    from .cache import Known

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
        args: the options of ``cli.add_page_arguments``: what pages do not say themselves.

    Raises:
        UsageError: one of these cannot be.
    """

    def __init__(self, args: argparse.Namespace | None = None) -> None:
        self._decompress = _decompressor()
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
            OSError: one of the two cannot be read.
            UsageError: the values are invalid.
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
            kind = responsetypes.from_args(headers, file.name if file else request.url, body=body)
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
            mistake = RuleError(f"there is no key {key!r}", ", ".join(_META), match)
            raise UsageError(f"{where}: {mistake}")
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
        settings: those of the project.
        read_page: reads a saved page.

    Attributes:
        path: the file or the folder.
        skipped: the files in the folder that are not pages, as far as it was read.

    Raises:
        UsageError: there is nothing at *path*.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, settings: BaseSettings, read_page: PageReader) -> None:
        self.path = path
        self.skipped: list[str] = []
        self._read_page = read_page
        self._pages: list[Path] = []
        self._entries: set[str] = set()
        self._databases: set[Path] = set()
        root = path if path.is_dir() else path.parent
        self._above = os.path.dirname(os.path.abspath(root))
        if path.is_dir():
            self._search(list(_folders(path)))
        elif database := database_of(path):
            self._databases = {database}
        elif path.exists():
            self._pages = [path]
        else:
            is_ours = path.absolute() == Path(settings.get(SAVE_REJECTED) or "").absolute()
            hint = "; a crawl makes it when it saves a page" if is_ours else ""
            raise UsageError(f"there is no file or folder {str(path)!r}{hint}")

    def _search(self, folders: list[tuple[str, list[str]]]) -> None:
        """Find pages in these folders with the names of their files; if there are none, a cache."""
        files = {Path(folder, name): folder for folder, names in folders for name in names}
        self._pages = [file for file in files if is_page(file)]
        read = {*self._pages, *(page.with_suffix(META_SUFFIX) for page in self._pages)}
        if not self._pages:
            self._entries = {folder for folder, names in folders if ENTRY_FILE in names}
            databases = {file: database_of(file) for file in files}
            self._databases = set(filter(None, databases.values()))
            read = {file for file in files if files[file] in self._entries or databases[file]}
        self.skipped += [str(file) for file in files if file not in read]

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
        databases = map(read_database, sorted(self._databases))
        for source, read in chain(read_entries(sorted(self._entries)), *databases):
            yield source, partial(self._cached, source, read)

    @property
    def expects(self) -> bool:
        """Whether something is expected of any page."""
        return any(self.expectation(source) for source, _ in self._readers())

    def expectation(self, source: str) -> str | None:
        """What the nearest folder of a page says of it: ``"refused"``, ``"accepted"`` or nothing.

        The folder itself counts, those above it do not.
        """
        *inside, _ = os.path.relpath(source, self._above).split(os.sep)
        nearest_first = (name for name in reversed(inside) if name in (REFUSED, ACCEPTED))
        return next(nearest_first, None)

    def _cached(self, source: str, read: Callable[[], Known]) -> SavedPage:
        with usage_error(f"{source} is not a readable entry of an HTTP cache: "):
            return self._read_page.page(source, *read())


def is_page(path: Path) -> bool:
    """Whether *path* has the name of a saved page."""
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(META_SUFFIX)


def _folders(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Each folder with the names of its files, sorted; without hidden ones such as ``.gitkeep``."""
    for place, subfolders, names in os.walk(folder, onerror=_raise):
        subfolders.sort()
        yield str(Path(place)), sorted(name for name in names if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error
