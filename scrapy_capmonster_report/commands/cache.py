"""Reads Scrapy's HTTP cache without running code that may be hidden in it.

Scrapy's own storages unpickle. Here a filesystem entry is read from its ``meta`` file, which has
the same as text as ``pickled_meta``; an entry of a database is unpickled to plain values only.
"""

from __future__ import annotations

import ast
import dbm
import io
import os
import pickle
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scrapy.utils.gz import gunzip
from w3lib.http import headers_raw_to_dict

from .cli import usage_error
from .files import MAX_BYTES, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Known = tuple[dict[str, Any], bytes]
    """What is known of a response, by the keys of ``NAME.meta.json``; and its body."""

    Entries = Iterator[tuple[str, Callable[[], Known]]]
    """The names of some entries, each with a function that reads it. That may raise anything: the
    entry may be a stranger's."""

ENTRY_FILE: Final = "pickled_meta"
"""A folder with this file is an entry of the filesystem storage."""

_DATA: Final = "_data"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DBM_PARTS: Final = (".db", ".dir", ".dat", ".pag", ".bak", "-wal", "-shm", "-journal")
"""What some kinds of dbm append to the name of their file."""

_PLAIN: Final = frozenset({("ipaddress", "IPv4Address"), ("ipaddress", "IPv6Address")})
"""What a response may have besides builtins: its ``ip_address``."""


def database_of(path: Path) -> Path | None:
    """The name that Scrapy gave to the database of which *path* is a file, or is the name."""
    for part in ("", *_DBM_PARTS):
        name = str(path).removesuffix(part)
        if f"{name}{part}" == str(path) and name.endswith(".db"):
            parts = [Path(f"{name}{each}") for each in ("", *_DBM_PARTS)]
            # whichdb opens any file, and would wait forever on a FIFO.
            are_files = all(each.is_file() for each in parts if each.exists())
            if are_files and dbm.whichdb(name):
                return Path(name)
    return None


def read_entries(folders: Iterable[str]) -> Entries:
    """The entries of a filesystem storage that these folders are."""
    for folder in folders:
        yield folder, partial(_read_entry, folder)


def _read_entry(folder: str) -> Known:
    names = ("meta", "response_headers", "response_body")
    files = [read_file(os.path.join(folder, name)) for name in names]
    if files[0].startswith(_GZIP_MAGIC):  # HTTPCACHE_GZIP
        files = [gunzip(file, max_size=MAX_BYTES) for file in files]
    meta, raw_headers, body = files
    known = ast.literal_eval(meta.decode())
    answered = {"url": known["response_url"], "status": known["status"], "method": known["method"]}
    return {**answered, "headers": headers_raw_to_dict(raw_headers) or {}}, body


def read_database(path: Path) -> Entries:
    """The entries of a DBM storage, to be read while iterating.

    Raises:
        UsageError: it cannot be read.
    """
    with usage_error(f"cannot read {path}: "), closing(dbm.open(str(path), "r")) as database:
        for key in database.keys():  # noqa: SIM118 -- not each dbm can be iterated
            name = os.fsdecode(key)
            if name.endswith(_DATA):
                yield f"{path}#{name.removesuffix(_DATA)}", partial(_read_record, database, key)


def _read_record(database: Any, key: bytes | str) -> Known:
    # The storage does not keep the methods of requests.
    known = _PlainUnpickler(io.BytesIO(database[key])).load()
    return {key: known[key] for key in ("url", "status", "headers")}, known["body"]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not a plain value")
