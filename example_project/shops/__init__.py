"""The outside world of the example: shops with captchas, and a solver that reads them."""

from __future__ import annotations

from .captchas import Captchas
from .pages import PRODUCTS
from .record import Record, Verdict
from .web import SHOPS, Web

__all__ = ["PRODUCTS", "SHOPS", "Captchas", "Record", "Verdict", "Web"]
