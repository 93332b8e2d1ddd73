"""What the world provides otherwise: a shop with captchas, and someone who can read them."""

from __future__ import annotations

from .captchas import Captchas
from .pages import PRODUCTS
from .server import Shop
from .verdicts import NOT_TO_BLAME, Record, Verdict

__all__ = ["NOT_TO_BLAME", "PRODUCTS", "Captchas", "Record", "Shop", "Verdict"]
