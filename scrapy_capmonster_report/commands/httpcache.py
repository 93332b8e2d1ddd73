"""Scrapy's HTTP cache, read through its own storages.

The storages look entries up by a request's fingerprint. Here the entries are there and the
requests are not, so a stand-in for the fingerprinter gives each entry's own fingerprint.

Like Scrapy's, this reading unpickles: a cache from somebody else can run code.
"""

from __future__ import annotations

import dbm
import gzip
import os
import pickle
from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from scrapy import Request
from scrapy.exceptions import UsageError
from scrapy.extensions.httpcache import DbmCacheStorage, FilesystemCacheStorage
from scrapy.settings import BaseSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

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
        self._storages: dict[tuple[str, bool], _Storage] = {}

    def read(self, folder: str) -> tuple[Request, Response]:
        """The request and the response, still compressed, that *folder* keeps.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            group, fingerprint = os.path.split(os.path.abspath(folder))
            metadata, zipped = _metadata(os.path.join(folder, ENTRY_FILE))
            place = (os.path.dirname(group), zipped)
            if place not in self._storages:
                self._storages[place] = _Storage(
                    FilesystemCacheStorage, Path(place[0]), {"HTTPCACHE_GZIP": zipped}
                )
            response = self._storages[place].retrieve(fingerprint)
            return Request(response.url, method=metadata["method"]), response
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
            self._storage = _Storage(
                DbmCacheStorage, path.with_suffix(""), {"HTTPCACHE_DBM_MODULE": module}
            )
        except Exception as error:  # each dbm has an error of its own
            raise UsageError(f"cannot open {path}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        """The fingerprint of each entry; the database is closed at the end.

        Raises:
            UsageError: it cannot be read.
        """
        with closing(self._storage.database) as database:
            keys = _keys(database)
            while True:
                try:
                    key = next(keys, None)
                except Exception as error:  # each dbm has an error of its own
                    raise UsageError(f"cannot read {self._path}: {error}") from error
                if key is None:
                    return
                name = key.decode("ascii", "replace")
                if name.endswith(_DATA):
                    yield name.removesuffix(_DATA)

    def read(self, fingerprint: str) -> tuple[Request, Response]:
        """The request and the response, still compressed, of an entry.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            response = self._storage.retrieve(fingerprint)
            return Request(response.url), response
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


class _Storage:
    """One of Scrapy's storages, asked for entries by their fingerprints.

    Args:
        kind: its class.
        place: where it keeps what it has for a spider, whose name is the last part.
        settings: its own settings.
    """

    def __init__(self, kind: type[Any], place: Path, settings: Mapping[str, Any]) -> None:
        fingerprinter = SimpleNamespace(fingerprint=lambda request: request.meta[_FINGERPRINT])
        crawler = SimpleNamespace(request_fingerprinter=fingerprinter)
        self._spider = SimpleNamespace(name=place.name, crawler=crawler)
        self._lookup = Request("data:,")
        self._storage = kind(
            BaseSettings(
                {
                    "HTTPCACHE_DIR": str(place.parent.absolute()),
                    "HTTPCACHE_DBM_MODULE": "dbm",
                    "HTTPCACHE_EXPIRATION_SECS": 0,  # however old
                    **settings,
                }
            )
        )
        # Scrapy's storage would open a database for writing, and make one where there is none.
        dbm_module = import_module(settings.get("HTTPCACHE_DBM_MODULE", "dbm"))
        self._storage.dbmodule = SimpleNamespace(open=lambda path, _: dbm_module.open(path, "r"))
        self._storage.open_spider(self._spider)

    @property
    def database(self) -> Any:
        return self._storage.db

    def retrieve(self, fingerprint: str) -> Response:
        self._lookup.meta[_FINGERPRINT] = bytes.fromhex(fingerprint)
        response: Response | None = self._storage.retrieve_response(self._spider, self._lookup)
        if response is None:
            raise LookupError("it is not filed under its fingerprint")
        return response


def _metadata(path: str) -> tuple[dict[str, Any], bool]:
    """What Scrapy noted of an entry, and whether the entry is compressed."""
    with open(path, "rb") as file:
        content = file.read()
    zipped = content.startswith(_GZIP_MAGIC)
    return pickle.loads(gzip.decompress(content) if zipped else content), zipped


def _keys(database: Any) -> Iterator[bytes]:
    if not hasattr(database, "firstkey"):
        keys: Iterable[bytes] = database.keys()
        yield from keys
        return
    key = database.firstkey()  # GNU dbm: one at a time
    while key is not None:
        yield key
        key = database.nextkey(key)
