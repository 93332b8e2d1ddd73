"""Reads files from unknown sources: only regular files, and only up to a limit."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from scrapy.exceptions import UsageError

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES: Final = 100 * 1024 * 1024
"""A crawl does not judge larger pages."""


class NotAPageError(UsageError):
    """A FIFO, a device, or a huge file: reading it would hang or fill the memory."""


def read_file(path: Path | str) -> bytes:
    """The bytes of the file *path*.

    Raises:
        NotAPageError: it is not a regular file, or too large.
        OSError: it cannot be read.
    """
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise NotAPageError(f"{path} is not a regular file")
    if info.st_size > MAX_BYTES:
        raise NotAPageError(f"{path} has more than {MAX_BYTES // 1024**2} MiB")
    with open(path, "rb") as file:
        return file.read(info.st_size)  # some files under /proc have no size, and never end
