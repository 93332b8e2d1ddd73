"""Reads what a request carries, and warns once about each value that cannot be read."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from scrapy.utils.httpobj import urlparse_cached

from . import stats
from .rules.hosts import host_and_port
from .settings import API_URL, DEFAULTS
from .task import (
    CREATED_AT,
    SOLVED_AT,
    TASK_ID,
    TASK_TYPE,
    closest_task_type,
    parse_moment,
    parse_task_id,
    task_type,
)
from .text import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy import Request

    from .context import CrawlContext

logger = logging.getLogger(__name__)

_MAX_WARNINGS: Final = 50


class TaskReader:
    """Reads the keys of ``request.meta`` that users write, and whether a request is for a site.

    Args:
        context: the crawl.
    """

    def __init__(self, context: CrawlContext) -> None:
        self._clock = context.clock
        self._stats = context.stats
        self._log_extra = context.log_extra
        self._warned: set[str] = set()
        urls = DEFAULTS[API_URL], context.settings.api_url
        self._service = {host_and_port(*urlsplit(url)[:2]) for url in urls}

    def is_for_service(self, request: Request) -> bool:
        """Whether *request* goes to CapMonster Cloud itself, and so submits nothing to a site."""
        url = urlparse_cached(request)
        return host_and_port(url.scheme, url.netloc) in self._service

    def task_id(self, meta: Mapping[str, Any]) -> int:
        """The ``taskId``; 0 if it is unusable."""
        value = meta[TASK_ID]
        task_id = parse_task_id(value)
        if task_id is None:
            self._warn_once(
                TASK_ID,
                "The value of %s in request.meta (%s) is invalid: a rejection of its answer cannot "
                "be reported and is counted as withheld/invalid_task. It must be an int or a str "
                "of digits.",
                TASK_ID,
                _described(value),
            )
        return task_id or 0

    def moments(self, meta: Mapping[str, Any]) -> tuple[float, float | None]:
        """When a new task was solved (now, if unknown) and created; also checks its type."""
        self._check_type(meta.get(TASK_TYPE))
        solved_at = self._moment(meta, SOLVED_AT)
        return (
            self._clock.now() if solved_at is None else solved_at,
            self._moment(meta, CREATED_AT),
        )

    def _moment(self, meta: Mapping[str, Any], key: str) -> float | None:
        value = meta.get(key)
        if value is None:
            return None
        moment = parse_moment(value, self._clock.wall())
        if moment is None:
            self._warn_once(
                key,
                "The value of %s in request.meta (%s) is invalid and ignored. It must be a number "
                "of seconds since the epoch, like time.time(), and not in the future.",
                key,
                _described(value),
            )
            return None
        return self._clock.at(moment)

    def _check_type(self, name: object) -> None:
        if name is None or task_type(name) is not None:
            return
        self._stats.count(stats.UNKNOWN_TASK_TYPE)
        if self._is_new(f"{TASK_TYPE}={name!r:.100}"):
            closest = closest_task_type(name) if isinstance(name, str) else None
            logger.warning(
                "The %s in request.meta (%s) is unknown. The rule's kind decides which endpoint "
                "gets the report.%s",
                TASK_TYPE,
                _described(name),
                f" Did you mean {closest!r}?" if closest else "",
                extra=self._log_extra,
            )

    def _warn_once(self, about: str, message: str, *args: object) -> None:
        if self._is_new(about):
            logger.warning(message, *args, extra=self._log_extra)

    def _is_new(self, about: str) -> bool:
        """Whether to warn: the first time *about* this, and not too often in all."""
        if about in self._warned or len(self._warned) >= _MAX_WARNINGS:
            return False
        self._warned.add(about)
        return True


def _described(value: object) -> str:
    return f"{one_line(f'{value!r:.100}')}, of type {type(value).__name__}"
