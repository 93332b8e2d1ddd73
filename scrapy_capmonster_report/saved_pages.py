"""Saves some of the judged pages, so that a user can look at them and try rules on them.

Pages become files in ``rejected/SITE/RULE/`` and ``passed/SITE/`` below the folder, where
``scrapy capmonster check`` and ``replay`` read them. The folders ``refused/`` and ``accepted/``
belong to the user: moving a page there tells ``replay`` what to expect.

``NAME.html``, ``.json`` or ``.txt`` holds the body as the rules saw it, decompressed.
``NAME.meta.json`` holds everything else. The more pages a folder has, the more a new page must
differ from them (see :func:`_is_wanted`). So a rejection that no rule matches is probably among the
pages that passed.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections import defaultdict, deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from .mask import Mask
from .rules.page import Page
from .settings import SAVE_REJECTED

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from scrapy import Request

    from .context import CrawlContext

logger = logging.getLogger(__name__)

PAGES_PER_LEVEL: Final = 5
"""How many pages a folder gets before a new one must differ more (see :func:`_is_wanted`)."""

MAX_PAGES: Final = 1000
"""The most pages that one crawl saves."""

MAX_BYTES: Final = 100 * 1024 * 1024
"""The most bytes of pages that one crawl saves, and so of those that wait to be written."""

MAX_PAGE_BYTES: Final = 2 * 1024 * 1024
"""A larger page is not saved: the rules might judge a truncated one differently."""

META_SUFFIX: Final = ".meta.json"

_CLASSES: Final = (Response, TextResponse, HtmlResponse, XmlResponse, JsonResponse)
RESPONSE_CLASSES: Final = {kind.__name__: kind for kind in _CLASSES}
"""The values of ``class`` in ``NAME.meta.json``, which decides which conditions can hold."""

_SUFFIXES: Final = {HtmlResponse.__name__: ".html", JsonResponse.__name__: ".json"}

_SECRET_HEADERS: Final = frozenset({"cookie", "set-cookie", "authorization", "proxy-authorization"})

_MAX_NAME: Final = 60
"""The most characters of a site's or a rule's name in the name of its folder."""

_RESERVED: Final = re.compile(
    r"(?:refused|accepted|con|prn|aux|nul|com\d|lpt\d)(?:\.|\Z)", re.IGNORECASE
)
"""Names of folders with a meaning for ``replay``, and of devices on Windows, with any suffix."""

_TITLE: Final = re.compile(rb"<title[^>]{0,100}>([^<]{0,200})", re.IGNORECASE)
_TITLE_WITHIN: Final = 10_000
"""How many bytes of a page are searched for its title."""


class SavedPages:
    """Saves pages in the folder ``CAPMONSTER_REPORT_SAVE_REJECTED``; does nothing without one.

    Files are written in a thread, one after the other. If one cannot be written, that is logged
    once and no more pages are kept.

    Args:
        context: the crawl.
    """

    def __init__(self, context: CrawlContext) -> None:
        self._context = context
        folder = context.settings.save_rejected
        self._on = bool(folder)
        self._folder = Path(folder).expanduser().absolute()
        self._mask = Mask(context.settings.client_key)
        self._token = context.random.getrandbits(32)  # tells its files from those of other crawls
        self._names: defaultdict[Path, set[str]] = defaultdict(set)
        self._pages = 0
        self._bytes = 0
        self._written = 0
        self._waiting: deque[tuple[Path, bytes, bytes]] = deque()
        self._writing: Deferred[None] | None = None

    def judged(
        self,
        request: Request,
        response: Response,
        *,
        site: str,
        redirects: Sequence[str],
        rule: str | None,
    ) -> None:
        """Save the page if it differs enough from those in its folder, and there is room.

        Args:
            site: the host that the answer was sent to.
            redirects: the URLs that the site redirected the request to.
            rule: the name of the rule that matched; ``None`` if none did.
        """
        if not self._on:
            return
        size = len(response.body)
        if size > MAX_PAGE_BYTES or self._pages >= MAX_PAGES or self._bytes + size > MAX_BYTES:
            return
        folder = self._folder / "passed" / folder_name(site)
        if rule is not None:
            folder = self._folder / "rejected" / folder_name(site) / folder_name(rule)
        name = f"{_kind_of(response)}-{self._token:08x}{self._pages:04}"
        if not _is_wanted(name, names := self._names[folder]):
            return
        names.add(name)
        self._pages += 1
        self._bytes += size
        known = _describe(Page(response, request), redirects, self._mask)
        path = folder / (name + _SUFFIXES.get(known["class"], ".txt"))
        meta = json.dumps(known, indent=1).encode("ascii")
        self._waiting.append((path, self._mask.body(response.body), meta))
        if self._writing is None:
            self._writing = Deferred.fromCoroutine(self._write_waiting())

    def close(self) -> Deferred[None]:
        """Save no more pages, and wait for those that are being written, for a limited time."""
        self._on = False
        timeout, reactor = self._context.settings.close_timeout, self._context.reactor
        all_written: Deferred[None] = self._writing or succeed(None)
        all_written.addTimeout(timeout, reactor, onTimeoutCancel=lambda *_: None)
        return all_written.addCallback(self._log_written)

    async def _write_waiting(self) -> None:
        reactor = self._context.reactor
        try:
            while self._waiting:
                path, *contents = self._waiting[0]
                names = await deferToThreadPool(
                    reactor, reactor.getThreadPool(), _write, path, *contents
                )
                self._waiting.popleft()
                self._written += path.stem in names
                self._names[path.parent] |= names
        except CancelledError:
            return  # the crawl ends
        except Exception as error:
            self._on = False
            self._waiting.clear()
            problem = "No more pages are saved, because one cannot be written (%s). Check %s."
            why, extra = f"{type(error).__name__}: {error}", self._context.log_extra
            logger.warning(problem, why, SAVE_REJECTED, extra=extra)
        self._writing = None

    def _log_written(self, _: None) -> None:
        extra = self._context.log_extra
        if left := len(self._waiting):
            problem = "%d pages (%s) could not be written before the crawl ended."
            logger.warning(problem, left, SAVE_REJECTED, extra=extra)
        if self._written:
            logger.info("Pages saved in %s: %d", self._folder, self._written, extra=extra)


def _write(path: Path, body: bytes, meta: bytes) -> set[str]:
    """Write a page if it is wanted in its folder, and return the names of the pages there.

    Its ``.meta.json`` is written first, and the page appears as a whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files = os.listdir(path.parent)
    names = {file.removesuffix(META_SUFFIX) for file in files if file.endswith(META_SUFFIX)}
    if not _is_wanted(path.stem, names):
        return names
    meta_path, part = path.with_suffix(META_SUFFIX), path.with_suffix(".part")
    try:
        _write_private(meta_path, meta)
        _write_private(part, body)
        part.replace(path)
    except OSError:
        for file in (part, meta_path):
            with suppress(OSError):
                file.unlink()
        raise
    return names | {path.stem}


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read (on Windows: all who can read the folder)."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def _kind_of(response: Response) -> str:
    """What tells pages apart, the coarsest first: status, size, path and title, length."""
    title = _TITLE.search(response.body, 0, _TITLE_WITHIN)
    words = re.split(rb"[\s/]+", response.url.partition("?")[0].encode(errors="replace"))
    words += title[1].split() if title else ()
    # A part with a digit is probably a number, an id or a date.
    look = crc32(b" ".join(word for word in words if not re.search(rb"\d", word)))
    length = len(response.body)
    return f"{response.status}-{length.bit_length()}-{look:08x}-{length}"


def _is_wanted(name: str, names: Collection[str]) -> bool:
    """Whether the page *name* differs enough from the pages *names* in its folder.

    The first :data:`PAGES_PER_LEVEL` are always wanted. Then as many that differ in anything that
    :func:`_kind_of` names, then as many that differ even without the exact length, then without
    path and title, then without size.
    """
    parts = name.split("-")
    compared = max(0, len(parts) - len(names) // PAGES_PER_LEVEL)
    return all(other.split("-")[:compared] != parts[:compared] for other in names)


def _describe(page: Page, redirects: Sequence[str], mask: Mask) -> dict[str, Any]:
    """What is known of a page besides its body, without secrets."""
    response = page.response
    names = (name.decode(errors="replace") for name in response.headers)
    shown = (name for name in names if name.lower() not in _SECRET_HEADERS)
    classes = (kind.__name__ for kind in type(response).__mro__)
    known: dict[str, Any] = {
        "url": mask.text(response.url),
        "status": response.status,
        "method": page.request.method,
        "redirects": [*map(mask.text, redirects)],
        "headers": {mask.text(name): [*map(mask.text, page.header(name))] for name in shown},
        "class": next(name for name in classes if name in RESPONSE_CLASSES),
    }
    if isinstance(response, TextResponse):
        with suppress(Exception):  # a codec may raise anything
            known["encoding"] = response.encoding
    return known


def folder_name(name: str) -> str:
    """The name of the folder for a site or a rule, safe for any file system."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._-")
    if safe and len(safe) <= _MAX_NAME and not _RESERVED.match(safe):
        return safe
    stem = safe[:_MAX_NAME].replace(".", "_")
    return f"{stem}_{crc32(name.encode(errors='replace')):08x}"
