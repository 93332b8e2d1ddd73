"""Report captcha answers that a site rejected to CapMonster Cloud, from inside a Scrapy crawl."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import signals
    from .addon import Addon
    from .callbacks import accept, reject
    from .middleware import CapMonsterReportMiddleware
    from .outcome import Outcome
    from .task import Task, captcha_meta

__all__ = [
    "Addon",
    "CapMonsterReportMiddleware",
    "Outcome",
    "Task",
    "accept",
    "captcha_meta",
    "reject",
    "signals",
]

_MODULES = {
    "Addon": "addon",
    "CapMonsterReportMiddleware": "middleware",
    "Outcome": "outcome",
    "Task": "task",
    "accept": "callbacks",
    "captcha_meta": "task",
    "reject": "callbacks",
}


def __getattr__(name: str) -> Any:
    """Import the name when it is used.

    Every ``scrapy`` command imports this package, to find ours. Most need nothing of it.
    """
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    if name == "signals":
        return import_module(".signals", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
