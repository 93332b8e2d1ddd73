"""Report captcha answers that a site refused to CapMonster Cloud, from inside a Scrapy crawl."""

from __future__ import annotations

from . import signals
from .addon import Addon
from .middleware import CapMonsterReportMiddleware
from .outcome import Outcome
from .task import Task, captcha_meta

__all__ = [
    "Addon",
    "CapMonsterReportMiddleware",
    "Outcome",
    "Task",
    "captcha_meta",
    "signals",
]
