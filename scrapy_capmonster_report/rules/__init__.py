"""Rules say what a rejected captcha answer looks like. They are checked when a crawl starts."""

from __future__ import annotations

from .compile import compile_rules, read_rules
from .errors import RuleError
from .rule import Rule, Rules

__all__ = ["Rule", "RuleError", "Rules", "compile_rules", "read_rules"]
