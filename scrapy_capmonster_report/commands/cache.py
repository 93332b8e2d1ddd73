"""Reads Scrapy's HTTP cache without running code that may be hidden in it.

Scrapy's own storages unpickle. Here a filesystem entry is read from its ``meta`` file, which has
the same as text as ``pickled_meta``; an entry of a database is unpickled to plain values only.
"""

from __future__ import annotations

import ast
import dbm
import gzip
import io
import os
import pickle
import re
from contextlib import closing
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from w3lib.http import headers_raw_to_dict

from .cli import usage_error
from .files import read_capped, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO

_ENTRY_FILES: Final = frozenset(
    {
        *("meta", "pickled_meta", "request_headers", "request_body"),
        *("response_headers", "response_body", "response_data"),
    }
)
_DATA: Final = "_data"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_DBM_PARTS: Final = (".db", ".dir", ".dat", ".pag", ".bak")
"""The suffixes that some kinds of dbm append to the name of their file."""

_PLAIN: Final = frozenset({("ipaddress", "IPv4Address"), ("ipaddress", "IPv6Address")})
"""What a response may have besides builtins: its ``ip_address``."""


def find_cached(folders: Iterable[tuple[str, list[str]]]) -> tuple[list[str], list[Path]]:
    """The entries and databases of a cache; none if there are other files, too.

    Args:
        folders: each folder with the names of its files.

    Returns:
        The folders that are entries of the filesystem storage, and the databases.
    """
    entries = []
    databases: dict[Path, None] = {}
    for folder, names in folders:
        is_entry = re.fullmatch("[0-9a-f]+", os.path.basename(os.path.abspath(folder)))
        if names and is_entry and _ENTRY_FILES.issuperset(names):
            entries.append(folder)
            continue
        for name in names:
            database = database_of(Path(folder, name))
            if database is None:
                return [], []
            databases[database] = None
    return entries, sorted(databases)


def database_of(path: Path) -> Path | None:
    """The name that Scrapy gave to the database of which *path* is a file, or is the name."""
    for name in (path, path.with_suffix("")) if path.suffix in _DBM_PARTS else ():
        parts = [name, *(Path(f"{name}{part}") for part in _DBM_PARTS)]
        # whichdb opens any file, and would wait forever on a FIFO.
        are_files = all(part.is_file() for part in parts if part.exists())
        if name.suffix == ".db" and are_files and dbm.whichdb(str(name)):
            return name
    return None


def read_entry(folder: str) -> tuple[dict[str, Any], bytes]:
    """What an entry of the filesystem storage has: what is known of the response, and its body.

    May raise anything: it may be a stranger's.
    """
    meta, raw_headers, body = (
        read_file(os.path.join(folder, name))
        for name in ("meta", "response_headers", "response_body")
    )
    if meta.startswith(_GZIP_MAGIC):  # HTTPCACHE_GZIP
        meta, raw_headers, body = map(_unzip, (meta, raw_headers, body))
    known = ast.literal_eval(meta.decode())
    answered = {"url": known["response_url"], "status": known["status"], "method": known["method"]}
    return {**answered, "headers": headers_raw_to_dict(raw_headers) or {}}, body


def read_database(path: Path, module: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The name and, to be called while iterating, the content of each entry of a DBM storage.

    Args:
        path: the database's name as Scrapy made it: ``SPIDER.db``.
        module: the value of the setting ``HTTPCACHE_DBM_MODULE``.

    Raises:
        UsageError: it cannot be read.
    """
    with (
        usage_error(f"cannot read {path}: "),
        closing(import_module(module).open(str(path), "r")) as database,
    ):
        for key in database.keys():  # noqa: SIM118 -- not each dbm can be iterated
            name = key.decode("ascii", "replace")
            if name.endswith(_DATA):
                yield f"{path}#{name.removesuffix(_DATA)}", partial(database.__getitem__, key)


def read_record(content: Callable[[], bytes]) -> tuple[dict[str, Any], bytes]:
    """What an entry of :func:`read_database` has, as :func:`read_entry` returns it.

    The storage does not keep the methods of requests.
    """
    known = _PlainUnpickler(io.BytesIO(content())).load()
    return {key: known[key] for key in ("url", "status", "headers")}, known["body"]


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not a plain value")


def _unzip(content: bytes) -> bytes:
    return read_capped(cast("IO[bytes]", gzip.open(io.BytesIO(content))))
