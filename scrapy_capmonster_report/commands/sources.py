"""Where saved pages are: in a folder, or in Scrapy's HTTP cache.

They may be a stranger's. So only regular files are read, only up to a limit, and no code that may
be hidden in a cache is run. Scrapy's own storages unpickle. Here a filesystem entry is read from
its ``meta`` file, which has the same as text as ``pickled_meta``; an entry of a database is
unpickled to plain values only.
"""

from __future__ import annotations

import ast
import dbm
import io
import os
import pickle
import stat
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import UsageError
from scrapy.utils.gz import gunzip
from w3lib.http import headers_raw_to_dict

from ..saved_pages import META_SUFFIX
from .cli import usage_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .pages import PageReader, SavedPage

    Known = tuple[dict[str, Any], bytes]
    """What is known of a response, by the keys of ``NAME.meta.json``; and its body."""

REFUSED: Final = "refused"
ACCEPTED: Final = "accepted"

SUFFIXES: Final = (".html", ".htm", ".xhtml", ".json", ".txt")

MAX_BYTES: Final = 100 * 1024 * 1024
"""A crawl does not judge larger pages."""

_ENTRY_FILE: Final = "pickled_meta"
"""A folder with this file is an entry of the filesystem storage."""

_DATA: Final = "_data"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DBM_PARTS: Final = ("", ".db", ".dir", ".dat", ".pag", ".bak", "-wal", "-shm", "-journal")
"""What some kinds of dbm append to the name of their file."""

_PLAIN: Final = frozenset({("ipaddress", "IPv4Address"), ("ipaddress", "IPv6Address")})
"""What a response may have besides builtins: its ``ip_address``."""


class Source:
    """The pages of a folder or of an HTTP cache, sorted by name. Keeps none in memory.

    A folder is read as a cache only if it has no saved pages.

    Args:
        path: the file or the folder.
        read_page: reads a saved page.

    Attributes:
        path: the file or the folder.
        skipped: the files in the folder that are not pages, as far as it was read.

    Raises:
        UsageError: there is nothing at *path*.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, read_page: PageReader) -> None:
        self.path = path
        self.skipped: list[str] = []
        self._read_page = read_page
        self._pages: list[Path] = []
        self._entries: set[Path] = set()
        self._databases: set[Path] = set()
        root = path if path.is_dir() else path.parent
        self._above = os.path.dirname(os.path.abspath(root))
        if path.is_dir():
            self._search()
        elif database := database_of(path):
            self._databases = {database}
        elif path.exists():
            self._pages = [path]
        else:
            raise UsageError(f"there is no file or folder {str(path)!r}")

    def _search(self) -> None:
        """Find the pages in the folder; if there are none, what a cache has in it."""
        files = list(_files_in(self.path))
        self._pages = [file for file in files if is_page(file)]
        used = {*self._pages, *(page.with_suffix(META_SUFFIX) for page in self._pages)}
        if not self._pages:
            self._entries = {file.parent for file in files if file.name == _ENTRY_FILE}
            databases = {file: found for file in files if (found := database_of(file))}
            self._databases = set(databases.values())
            used = {file for file in files if file.parent in self._entries or file in databases}
        self.skipped += [str(file) for file in files if file not in used]

    def __len__(self) -> int:
        return sum(1 for _ in self._readers())

    def __iter__(self) -> Iterator[SavedPage]:
        for source, read in self._readers():
            try:
                yield read()
            except NotAPageError:  # noqa: PERF203
                self.skipped.append(source)

    def _readers(self) -> Iterator[tuple[str, Callable[[], SavedPage]]]:
        """What each page is called, and a function that reads it."""
        for path in self._pages:
            yield str(path), partial(self._read_page, path)
        for folder in sorted(self._entries):
            yield str(folder), partial(self._cached, str(folder), _read_entry, folder)
        for path in sorted(self._databases):
            with (
                usage_error(f"cannot read {path}: "),
                closing(dbm.open(str(path))) as database,
            ):
                for key in database.keys():  # noqa: SIM118 -- not each dbm can be iterated
                    name = os.fsdecode(key)
                    if name.endswith(_DATA):
                        source = f"{path}#{name.removesuffix(_DATA)}"
                        yield source, partial(self._cached, source, _read_record, database, key)

    def _cached(self, source: str, read: Callable[..., Known], *args: Any) -> SavedPage:
        with usage_error(f"{source} is not a readable entry of an HTTP cache: "):
            return self._read_page.page(source, *read(*args))

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


def is_page(path: Path) -> bool:
    """Whether *path* has the name of a saved page."""
    return path.suffix.lower() in SUFFIXES and not path.name.endswith(META_SUFFIX)


def _files_in(folder: Path) -> Iterator[Path]:
    """The files in *folder* and below, sorted; without hidden ones such as ``.gitkeep``."""
    for place, subfolders, names in os.walk(folder, onerror=_raise):
        subfolders.sort()
        yield from (Path(place, name) for name in sorted(names) if not name.startswith("."))


def _raise(error: OSError) -> None:
    raise error


class NotAPageError(UsageError):
    """A FIFO, a device, or a huge file: reading it would hang or fill the memory."""


def read_file(path: Path) -> bytes:
    """The bytes of the file *path*.

    Raises:
        NotAPageError: it is not a regular file, or too large.
        OSError: it cannot be read.
    """
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise NotAPageError(f"{path} is not a regular file")
    if info.st_size > MAX_BYTES:
        raise NotAPageError(f"{path} has more than {MAX_BYTES // 1024**2} MiB")
    with path.open("rb") as file:
        return file.read(info.st_size)  # some files under /proc have no size, and never end


def database_of(path: Path) -> Path | None:
    """The name that Scrapy gave to the database of which *path* is a file, or is the name."""
    for part in _DBM_PARTS:
        name = str(path).removesuffix(part)
        if name.endswith(".db") and name + part == str(path):
            files = [Path(name + each) for each in _DBM_PARTS]
            # whichdb opens any file, and would wait forever on a FIFO.
            are_files = all(file.is_file() for file in files if file.exists())
            if are_files and dbm.whichdb(name):
                return Path(name)
    return None


def _read_entry(folder: Path) -> Known:
    names = ("meta", "response_headers", "response_body")
    files = [read_file(folder / name) for name in names]
    if files[0].startswith(_GZIP_MAGIC):  # HTTPCACHE_GZIP
        files = [gunzip(file, max_size=MAX_BYTES) for file in files]
    meta, raw_headers, body = files
    known = ast.literal_eval(meta.decode())
    answered = {"url": known["response_url"], "status": known["status"], "method": known["method"]}
    return {**answered, "headers": headers_raw_to_dict(raw_headers) or {}}, body


def _read_record(database: Any, key: bytes | str) -> Known:
    # The storage does not keep the methods of requests.
    known = _PlainUnpickler(io.BytesIO(database[key])).load()
    return {key: known[key] for key in ("url", "status", "headers")}, known["body"]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not a plain value")
