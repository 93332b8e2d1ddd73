"""What rejections say about sites and captcha types, during a crawl and afterwards."""

from __future__ import annotations

from .closing import ClosingHints
from .crawl import CrawlInsight
from .figures import (
    SITE_KEYS,
    Figures,
    SiteFigures,
    as_json,
    by_site,
    interval,
    percent,
    worst_first,
)

__all__ = [
    "SITE_KEYS",
    "ClosingHints",
    "CrawlInsight",
    "Figures",
    "SiteFigures",
    "as_json",
    "by_site",
    "interval",
    "percent",
    "worst_first",
]
