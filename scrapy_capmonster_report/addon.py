"""The addon, which switches this package on with one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .middleware import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

MIDDLEWARE_ORDER: Final = 585


class Addon:
    """``ADDONS = {"scrapy_capmonster_report.Addon": 500}`` puts the middleware in its place."""

    def update_settings(self, settings: BaseSettings) -> None:
        settings.setdefault_in_component_priority_dict(
            "DOWNLOADER_MIDDLEWARES", CapMonsterReportMiddleware, MIDDLEWARE_ORDER
        )
