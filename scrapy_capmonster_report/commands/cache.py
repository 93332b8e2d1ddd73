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

from scrapy import Request
from scrapy.exceptions import UsageError
from scrapy.http import Headers
from scrapy.responsetypes import responsetypes
from w3lib.http import headers_raw_to_dict

from .files import read_capped, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

    from scrapy.http import Response

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


def entry_of(path: Path) -> str | None:
    """The folder that is an entry of the filesystem storage, if *path* is one of its files."""
    folder = os.path.basename(os.path.dirname(os.path.abspath(path)))
    is_entry = path.name in _ENTRY_FILES and re.fullmatch("[0-9a-f]+", folder)
    return str(path.parent) if is_entry else None


def database_of(path: Path) -> Path | None:
    """The name that Scrapy gave to the database of which *path* is a file, or is the name."""
    for name in (path, path.with_suffix("")) if path.suffix in _DBM_PARTS else (path,):
        parts = [name, *(Path(f"{name}{part}") for part in _DBM_PARTS)]
        # whichdb opens any file, and would wait forever on a FIFO.
        are_files = all(part.is_file() for part in parts if part.exists())
        if name.suffix == ".db" and are_files and dbm.whichdb(str(name)):
            return name
    return None


def read_entry(folder: str) -> tuple[Request, Response]:
    """The request and the response, still compressed, of an entry of the filesystem storage.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        meta, raw_headers, body = (
            read_file(Path(folder, name)) for name in ("meta", "response_headers", "response_body")
        )
        if meta.startswith(_GZIP_MAGIC):  # HTTPCACHE_GZIP
            meta, raw_headers, body = map(_unzip, (meta, raw_headers, body))
        known = ast.literal_eval(meta.decode())
        headers = headers_raw_to_dict(raw_headers) or {}
        return _answer(known["response_url"], known["status"], headers, body, known["method"])
    except UsageError:
        raise
    except Exception as error:  # a stranger's file may have anything in it
        raise _unreadable(folder, error) from error


def read_database(path: Path, module: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """The name and, to be called while iterating, the content of each entry of a DBM storage.

    Args:
        path: the database's name as Scrapy made it: ``SPIDER.db``.
        module: the value of the setting ``HTTPCACHE_DBM_MODULE``.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with closing(import_module(module).open(str(path), "r")) as database:
            for key in database.keys():  # noqa: SIM118 -- not each dbm can be iterated
                name = key.decode("ascii", "replace")
                if name.endswith(_DATA):
                    yield f"{path}#{name.removesuffix(_DATA)}", partial(database.__getitem__, key)
    except Exception as error:  # each dbm has an error of its own
        raise UsageError(f"cannot read {path}: {error}") from error


def read_record(source: str, content: Callable[[], bytes]) -> tuple[Request, Response]:
    """The request and the response, still compressed, of an entry of :func:`read_database`.

    The storage does not keep methods, so every request becomes a GET.

    Raises:
        UsageError: it cannot be read, or has more than plain values in it.
    """
    try:
        data = _PlainUnpickler(io.BytesIO(content())).load()
        return _answer(data["url"], data["status"], data["headers"], data["body"], "GET")
    except Exception as error:  # a stranger's file may have anything in it
        raise _unreadable(source, error) from error


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it contains {module}.{name}, which is not a plain value")


def _answer(
    url: str, status: int, headers: Mapping[Any, Any], body: bytes, method: str
) -> tuple[Request, Response]:
    request, headers = Request(url, method=method), Headers(headers)
    kind = responsetypes.from_args(headers=headers, url=url, body=body)
    return request, kind(request.url, status=status, headers=headers, body=body)


def _unzip(content: bytes) -> bytes:
    return read_capped(cast("IO[bytes]", gzip.open(io.BytesIO(content))))


def _unreadable(source: str, error: Exception) -> UsageError:
    return UsageError(
        f"{source} is not a readable entry of an HTTP cache: {type(error).__name__}: {error}"
    )
