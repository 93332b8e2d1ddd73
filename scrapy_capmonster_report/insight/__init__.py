"""What rejections say about sites and captcha types, during a crawl and afterwards."""

from __future__ import annotations

from .crawl import ClosingHints as ClosingHints
from .crawl import CrawlInsight as CrawlInsight
