"""Reads files from unknown sources: only regular files, and only up to a limit."""

from __future__ import annotations

import os
import stat
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from scrapy.exceptions import UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

MAX_BYTES: Final = 100 * 1024 * 1024
"""A crawl does not judge larger pages; and some files under ``/proc`` never end."""

_CHUNK: Final = 64 * 1024


class NotAPageError(UsageError):
    """A FIFO, a device, or an endless file: reading it would hang or fill the memory."""


def read_file(path: Path | str) -> bytes:
    """The bytes of the file *path*.

    Raises:
        NotAPageError: it is not a regular file, or too large.
        UsageError: it cannot be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise NotAPageError(f"{path} is not a regular file")
        with open(path, "rb", buffering=0) as file:
            content = read_capped(file)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise NotAPageError(f"{path} has more than {MAX_BYTES // 1024**2} MiB")
    return content


def read_capped(file: IO[bytes] | Any) -> bytes:
    """The rest of *file*, or a little more than :data:`MAX_BYTES` of it."""
    chunks = iter(partial(file.read, _CHUNK), b"")
    return b"".join(islice(chunks, MAX_BYTES // _CHUNK + 1))
