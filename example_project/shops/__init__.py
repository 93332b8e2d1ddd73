"""What the world provides otherwise: shops with captchas, and someone who can read them."""

from __future__ import annotations

from .captchas import Captchas
from .pages import PRODUCTS
from .record import Record, Verdict
from .web import SHOPS, Web

__all__ = ["PRODUCTS", "SHOPS", "Captchas", "Record", "Verdict", "Web"]
