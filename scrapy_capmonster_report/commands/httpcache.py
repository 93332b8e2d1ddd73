"""Scrapy's HTTP cache, read through its own storages.

The storages look entries up by a request's fingerprint. Here the entries are there and the
requests are not, so a stand-in for the fingerprinter gives each entry's own fingerprint.

Like Scrapy's, this reading unpickles: a cache from somebody else can run code.
"""

from __future__ import annotations

import ast
import dbm
import gzip
from collections.abc import Iterable
from contextlib import closing
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from scrapy import Request
from scrapy.exceptions import UsageError
from scrapy.extensions.httpcache import DbmCacheStorage, FilesystemCacheStorage
from scrapy.settings import BaseSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from scrapy import Spider
    from scrapy.http import Response

ENTRY_FILE: Final = "pickled_meta"
"""The file that a folder has which is an entry of the filesystem storage."""

_DATA: Final = "_data"
_FINGERPRINT: Final = "fingerprint"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DBM_PARTS: Final = (".db", ".dir", ".dat", ".pag")
"""What some kinds of dbm append to the name that Scrapy gives them."""


class FilesystemEntries:
    """Reads the folders of ``FilesystemCacheStorage``."""

    def __init__(self) -> None:
        self._storages: dict[tuple[Path, str, bool], FilesystemCacheStorage] = {}

    def read(self, folder: Path) -> tuple[Request, Response]:
        """The request and the response, still compressed, that *folder* keeps.

        Raises:
            UsageError: it cannot be read.
        """
        fingerprint, cache, spider = folder.name, folder.parents[2], folder.parents[1].name
        try:
            zipped = _is_gzip(folder / ENTRY_FILE)
            key = (cache, spider, zipped)
            if key not in self._storages:
                self._storages[key] = _open(FilesystemCacheStorage, cache, spider, zipped=zipped)
            method = _method(folder / "meta", zipped)
            return _retrieve(self._storages[key], spider, fingerprint, method)
        except Exception as error:  # unpickling may raise anything
            raise UsageError(
                f"{folder} is no entry of an HTTP cache that can be read: "
                f"{type(error).__name__}: {error}"
            ) from error


class DbmEntries:
    """The entries of a ``DbmCacheStorage``; it keeps no methods, so all are taken for GETs.

    Args:
        path: the database's name as Scrapy made it: ``SPIDER.db``.
        module: the value of the setting ``HTTPCACHE_DBM_MODULE``.

    Raises:
        UsageError: it cannot be opened.
    """

    def __init__(self, path: Path, module: str) -> None:
        self._path = path
        try:
            self._storage = _open(DbmCacheStorage, path.parent, path.stem, module=module)
        except Exception as error:  # each dbm has an error of its own
            raise UsageError(f"cannot open {path}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        """The fingerprint of each entry; the database is closed at the end."""
        with closing(self._storage.db) as database:
            for key in _keys(database):
                name = key.decode("ascii", "replace")
                if name.endswith(_DATA):
                    yield name.removesuffix(_DATA)

    def read(self, fingerprint: str) -> tuple[Request, Response]:
        """The request and the response, still compressed, of an entry.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            return _retrieve(self._storage, self._path.stem, fingerprint, "GET")
        except Exception as error:  # unpickling may raise anything
            raise UsageError(
                f"{self._path}: the entry {fingerprint} cannot be read: "
                f"{type(error).__name__}: {error}"
            ) from error


def database_of(path: Path) -> Path | None:
    """The name that Scrapy gave to the database of which *path* is a file, or is the name."""
    names = [path]
    if path.suffix in _DBM_PARTS:
        names.append(path.with_suffix(""))
    for name in names:
        if name.suffix == ".db" and dbm.whichdb(str(name)):
            return name
    return None


def _open(
    kind: type[Any], cache: Path, spider: str, *, zipped: bool = False, module: str = "dbm"
) -> Any:
    storage = kind(
        BaseSettings(
            {
                "HTTPCACHE_DIR": str(cache.absolute()),
                "HTTPCACHE_EXPIRATION_SECS": 0,  # however old
                "HTTPCACHE_GZIP": zipped,
                "HTTPCACHE_DBM_MODULE": module,
            }
        )
    )
    # Scrapy's storage would open a database for writing, and make one where there is none.
    database = import_module(module)
    storage.dbmodule = SimpleNamespace(open=lambda path, flag: database.open(path, "r"))
    storage.open_spider(_spider(spider))
    return storage


def _spider(name: str) -> Spider:
    fingerprinter = SimpleNamespace(fingerprint=lambda request: request.meta[_FINGERPRINT])
    crawler = SimpleNamespace(request_fingerprinter=fingerprinter)
    return cast("Spider", SimpleNamespace(name=name, crawler=crawler))


def _retrieve(storage: Any, spider: str, fingerprint: str, method: str) -> tuple[Request, Response]:
    lookup = Request("data:,", meta={_FINGERPRINT: bytes.fromhex(fingerprint)})
    response = storage.retrieve_response(_spider(spider), lookup)
    if response is None:
        raise LookupError("it is not filed under its fingerprint")
    return Request(response.url, method=method), response


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def _method(path: Path, zipped: bool) -> str:
    content = path.read_bytes()
    text = (gzip.decompress(content) if zipped else content).decode()
    method = ast.literal_eval(text)["method"]
    if not isinstance(method, str):
        raise TypeError("the method is no str")
    return method


def _keys(database: Any) -> Iterator[bytes]:
    if not hasattr(database, "firstkey"):
        keys: Iterable[bytes] = database.keys()
        yield from keys
        return
    key = database.firstkey()  # GNU dbm: one at a time
    while key is not None:
        yield key
        key = database.nextkey(key)
