"""Rules say what a rejected captcha answer looks like. They are checked when a crawl starts."""

from __future__ import annotations

from .compile import SETTING, compile_rules, read_rules
from .errors import RuleError
from .page import is_same_page, is_web, location_of
from .rule import Explanation, Finding, Rule, Rules

__all__ = [
    "SETTING",
    "Explanation",
    "Finding",
    "Rule",
    "RuleError",
    "Rules",
    "compile_rules",
    "is_same_page",
    "is_web",
    "location_of",
    "read_rules",
]
