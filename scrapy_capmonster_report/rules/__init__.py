"""What a refused captcha answer looks like: rules, checked once and asked of every response."""

from __future__ import annotations

from .compile import IN_THE_SETTING, SETTING, compile_rules
from .page import meta_refresh
from .presets import PRESETS
from .rule import Explanation, Finding, Rule, Rules

__all__ = [
    "IN_THE_SETTING",
    "PRESETS",
    "SETTING",
    "Explanation",
    "Finding",
    "Rule",
    "Rules",
    "compile_rules",
    "meta_refresh",
]
