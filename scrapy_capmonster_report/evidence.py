"""Keeps some of the pages that were judged, so that a user can look at them and try rules on them.

The first pages of each rule (of those that passed: of each site) become files below the folder,
``rejected/SITE/RULE/`` and ``passed/SITE/``, that ``scrapy capmonster check`` and ``replay`` read.
The folders ``refused/`` and ``accepted/`` are left to the user: moving a page there says what is to
be expected of it.

A page stands in ``NAME.html``, ``.json`` or ``.txt`` as the rules saw it, decompressed, and what
else is known of it in ``NAME.meta.json``.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zlib import crc32

from scrapy.http import HtmlResponse, JsonResponse, Response, TextResponse, XmlResponse
from scrapy.utils.httpobj import urlparse_cached
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool

from .rules.page import Page
from .settings import SAVE_REJECTED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from scrapy import Request
    from twisted.python.failure import Failure

    from .mask import Mask

logger = logging.getLogger(__name__)

PAGES_OF_EACH: Final = 5
"""Pages kept of each rule and site, and of each site's that passed; those of earlier crawls that
are still there count."""

MOST_PAGES: Final = 1000
"""Pages that one crawl keeps."""

MOST_BYTES: Final = 100 * 1024 * 1024
"""Bytes of the pages that one crawl keeps."""

MOST_PAGE_BYTES: Final = 2 * 1024 * 1024
"""A page of more bytes is not kept: one that is cut need not be judged as the whole was."""

MOST_PENDING: Final = 100
"""Pages that wait to be written, at most; there is always another one to keep instead."""

META_SUFFIX: Final = ".meta.json"

RESPONSE_CLASSES: Final[Mapping[str, type[Response]]] = {
    kind.__name__: kind
    for kind in (Response, TextResponse, HtmlResponse, XmlResponse, JsonResponse)
}
"""What ``class`` in ``NAME.meta.json`` may be: it decides which conditions can hold."""

_SUFFIXES: Final = {HtmlResponse.__name__: ".html", JsonResponse.__name__: ".json"}
_OTHER_SUFFIX: Final = ".txt"
_PART_SUFFIX: Final = ".part"

_SECRET_HEADERS: Final = frozenset({"cookie", "set-cookie", "authorization", "proxy-authorization"})

_LONGEST_NAME: Final = 60
"""Characters of a site's or a rule's name that a folder's name has room for, whatever they are."""

_EXPECTATIONS: Final = frozenset({"refused", "accepted"})
"""Folders by which ``replay`` is told what to expect."""


class EvidenceFolder:
    """Keeps pages in the folder ``CAPMONSTER_REPORT_SAVE_REJECTED``; does nothing without one.

    The files are written in a thread, one after the other. If one cannot be written, that is
    logged once and no more are.

    Args:
        folder: where, or ``""``.
        mask: takes secrets out of what is written.
        wall: seconds since the epoch, for the names of files.
        token: tells the files of this crawl from those of others.
        log_extra: what log records carry.
    """

    def __init__(
        self,
        folder: str,
        *,
        mask: Mask,
        reactor: Any,
        wall: Callable[[], float],
        token: int,
        log_extra: dict[str, Any],
    ) -> None:
        self._on = bool(folder)
        self._folder = Path(folder).absolute()
        self._mask = mask
        self._reactor = reactor
        self._wall = wall
        self._token = token
        self._log_extra = log_extra
        self._kept: dict[tuple[str | None, str], int] = {}
        self._pages = 0
        self._bytes = 0
        self._passed: dict[int, tuple[Path, str]] = {}
        self._jobs: deque[Callable[[], int]] = deque()
        self._written = 0
        self._busy = False
        self._idle: Deferred[None] | None = None

    def judged(
        self,
        request: Request,
        response: Response,
        *,
        redirects: Sequence[str],
        trip: int | None,
        rule: str | None,
    ) -> None:
        """Keep the page, if there is room.

        Args:
            redirects: the URLs that the site redirected the request to.
            trip: the number of the trip to the site (see ``trace``), if it has one.
            rule: the name of the rule that matched; ``None`` if none did.
        """
        if not self._on:
            return
        if trip is not None:
            self._passed.pop(trip, None)  # of a page that led here
        site = urlparse_cached(request).hostname or ""
        kept, size = self._kept.get((rule, site), 0), len(response.body)
        if (
            kept >= PAGES_OF_EACH
            or size > MOST_PAGE_BYTES
            or self._pages >= MOST_PAGES
            or self._bytes + size > MOST_BYTES
            or len(self._jobs) >= MOST_PENDING
        ):
            return
        self._kept[rule, site] = kept + 1
        self._pages += 1
        self._bytes += size
        page = _Page(
            self._place(rule, site) / self._name(response),
            response.body,
            _describe(request, response, redirects),
        )
        if rule is None and trip is not None:
            self._passed[trip] = (page.path, site)
        self._do(partial(page.write, self._mask))

    def revised(self, trip: int, rule: str) -> None:
        """Hear that the answer of *trip* was refused after all, and move its page if it is kept."""
        if not self._on or trip not in self._passed:
            return
        path, site = self._passed.pop(trip)
        kept = self._kept.get((rule, site), 0)
        if kept < PAGES_OF_EACH:  # or many would be written, one after the other, to be deleted
            self._kept[rule, site] = kept + 1
            self._kept[None, site] -= 1
        self._do(partial(_move, path, self._place(rule, site)))

    def close(self, timeout: float) -> Deferred[None]:
        """Keep no more pages, and wait up to *timeout* seconds for those that are being written."""
        was_on, self._on = self._on, False
        if not was_on:
            return succeed(None)
        self._idle = Deferred()
        self._idle.addTimeout(timeout, self._reactor, onTimeoutCancel=self._out_of_time)
        self._idle.addCallback(self._log_written)
        if not self._busy:
            self._idle.callback(None)
        return self._idle

    # -- names ---------------------------------------------------------------------------------

    def _place(self, rule: str | None, site: str) -> Path:
        if rule is None:
            return self._folder / "passed" / folder_name(site)
        return self._folder / "rejected" / folder_name(site) / folder_name(rule)

    def _name(self, response: Response) -> str:
        moment = datetime.fromtimestamp(self._wall(), timezone.utc)
        suffix = _SUFFIXES.get(_class_of(response), _OTHER_SUFFIX)
        return f"{moment:%Y%m%dT%H%M%S}-{self._token:08x}-{self._pages:04}{suffix}"

    # -- one job after the other ---------------------------------------------------------------

    def _do(self, job: Callable[[], int]) -> None:
        self._jobs.append(job)
        if not self._busy:
            self._busy = True
            self._next()

    def _next(self) -> None:
        if not self._jobs:
            self._busy = False
            if self._idle is not None and not self._idle.called:
                self._idle.callback(None)
            return
        job = self._jobs.popleft()
        doing = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), job)
        doing.addCallbacks(self._done, self._failed)
        doing.addCallback(lambda _: self._next())

    def _done(self, more: int) -> None:
        self._written += more

    def _failed(self, failure: Failure) -> None:
        self._on = False
        self._jobs.clear()
        logger.warning(
            "The pages that %s asks for cannot be written; no more of them are (%s: %s)",
            SAVE_REJECTED,
            failure.type.__name__ if failure.type else "",
            failure.getErrorMessage(),
            extra=self._log_extra,
        )

    def _out_of_time(self, *_: object) -> None:
        logger.warning(
            "Closing does not wait any longer for pages that %s asks for: %d are not written",
            SAVE_REJECTED,
            len(self._jobs) + 1,
            extra=self._log_extra,
        )
        self._jobs.clear()

    def _log_written(self, _: object) -> None:
        if self._written:
            logger.info(
                "Judged pages kept in %s: %d", self._folder, self._written, extra=self._log_extra
            )


@dataclass(frozen=True, slots=True)
class _Page:
    """A page to be written.

    Args:
        path: its file; no other crawl has one of this name.
        body: what the rules saw.
        meta: what else is known, secrets included.
    """

    path: Path
    body: bytes
    meta: dict[str, Any]

    def write(self, mask: Mask) -> int:
        """Write it, unless its folder has enough; by how many pages there are more.

        A page that is there is there as a whole, and after what is known of it.
        """
        if not _has_room(self.path.parent):
            return 0
        meta, part = self.path.with_suffix(META_SUFFIX), self.path.with_suffix(_PART_SUFFIX)
        try:
            meta.write_text(json.dumps(_masked(self.meta, mask), indent=1), encoding="ascii")
            part.write_bytes(mask.body(self.body))
            part.replace(self.path)
        except OSError:
            for path in (part, meta):
                with suppress(OSError):
                    path.unlink()
            raise
        return 1


def _has_room(folder: Path) -> bool:
    """Whether another page belongs in *folder*, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    names = os.listdir(folder)
    return sum(name.endswith(META_SUFFIX) for name in names) < PAGES_OF_EACH


def _move(path: Path, folder: Path) -> int:
    """Move a page to *folder*, or delete it if there are enough; by how many there are more."""
    if not path.exists():  # it was not written, or the user took it
        return 0
    has_room = _has_room(folder)
    for old in (path.with_suffix(META_SUFFIX), path):
        if has_room:
            old.replace(folder / old.name)
        else:
            old.unlink()
    return 0 if has_room else -1


def _describe(request: Request, response: Response, redirects: Sequence[str]) -> dict[str, Any]:
    """What is known of a page but its body."""
    page = Page(response, request)
    names = [name.decode(errors="replace") for name in response.headers]
    known: dict[str, Any] = {
        "url": response.url,
        "status": response.status,
        "method": request.method,
        "redirects": list(redirects),
        "headers": {name: page.header(name) for name in names},
        "class": _class_of(response),
    }
    if isinstance(response, TextResponse):
        with suppress(Exception):  # a codec may raise anything
            known["encoding"] = response.encoding
    return known


def _class_of(response: Response) -> str:
    """The name of the class of Scrapy's that *response* is of."""
    return next(
        kind.__name__ for kind in type(response).__mro__ if kind in RESPONSE_CLASSES.values()
    )


def _masked(known: Mapping[str, Any], mask: Mask) -> dict[str, Any]:
    """What is known of a page, without secrets."""
    return {
        **known,
        "url": mask.text(known["url"]),
        "redirects": [mask.text(url) for url in known["redirects"]],
        "headers": {
            mask.text(name): [mask.text(value) for value in values]
            for name, values in known["headers"].items()
            if name.lower() not in _SECRET_HEADERS
        },
    }


def folder_name(name: str) -> str:
    """The name of the folder for a site or a rule, safe whatever *name* is."""
    safe = re.sub(r"[^\w.-]+", "_", name).strip("._-")
    if safe and len(safe) <= _LONGEST_NAME and safe.lower() not in _EXPECTATIONS:
        return safe
    return f"{safe[:_LONGEST_NAME]}_{crc32(name.encode(errors='replace')):08x}"
