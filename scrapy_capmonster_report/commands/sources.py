"""Everything that a file or a folder has to show: saved pages and HTTP caches, one at a time."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from scrapy.exceptions import NotConfigured, UsageError
from scrapy.utils.project import data_path

from .httpcache import ENTRY_FILE, DbmEntries, FilesystemEntries, database_of
from .pages import Decompressor, SavedPage, is_page, read_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from scrapy import Request
    from scrapy.http import Response
    from scrapy.settings import BaseSettings

    Reader: TypeAlias = Callable[[], SavedPage]
    """Reads one page; raises ``UsageError`` if it cannot."""


class Source:
    """A saved page, a folder of them, or an HTTP cache.

    Args:
        path: the file or the folder; where there is none, the name of a cache as the setting
            ``HTTPCACHE_DIR`` gives it, below the project's ``.scrapy``.
        settings: those of the project, for its way with compression and with caches.

    Attributes:
        path: where it is.

    Raises:
        UsageError: there is nothing at *path*.
    """

    def __init__(self, path: Path, settings: BaseSettings) -> None:
        self._decompress = Decompressor(settings)
        self._dbm_module: str = settings.get("HTTPCACHE_DBM_MODULE", "dbm")
        self._filesystem = FilesystemEntries()
        found = next(filter(_is_there, _places(path)), None)
        if found is None:
            raise UsageError(f"there is no {path}")
        self.path = found

    def __iter__(self) -> Iterator[Reader]:
        """A reader for each page, in the order of names; no page is held."""
        if not self.path.is_dir():
            yield from self._in_files([self.path])
            return
        for folder, subfolders, names in os.walk(self.path, onerror=_unreadable):
            subfolders.sort()
            if ENTRY_FILE in names:
                yield partial(self._read_entry, folder)
            else:
                yield from self._in_files([Path(folder, name) for name in sorted(names)])

    def _in_files(self, paths: list[Path]) -> Iterator[Reader]:
        databases = set()
        for path in paths:
            if is_page(path):
                yield partial(read_page, path, self._decompress)
            elif database := database_of(path):
                databases.add(database)  # some have several files
        for database in sorted(databases):
            entries = DbmEntries(database, self._dbm_module)
            for fingerprint in entries:
                yield partial(self._read_record, database, entries, fingerprint)

    def _read_entry(self, folder: str) -> SavedPage:
        return self._page(folder, *self._filesystem.read(folder))

    def _read_record(self, database: Path, entries: DbmEntries, fingerprint: str) -> SavedPage:
        return self._page(f"{database}#{fingerprint}", *entries.read(fingerprint))

    def _page(self, source: str, request: Request, response: Response) -> SavedPage:
        return SavedPage(source, self._decompress(request, response), request)


def _places(path: Path) -> Iterator[Path]:
    yield path
    with suppress(NotConfigured):  # a project without scrapy.cfg has no folder for its data
        yield Path(data_path(str(path)))


def _is_there(path: Path) -> bool:
    return os.path.exists(path) or database_of(path) is not None


def _unreadable(error: OSError) -> None:
    raise UsageError(f"cannot read {error.filename}: {error.strerror}") from error
