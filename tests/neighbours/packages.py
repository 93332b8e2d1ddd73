"""The packages that people run beside ours: used where they are installed, else skipped.

``REQUIRE_NEIGHBOURS`` names those whose absence is a failure (``scrapy_poet scrapy_playwright``);
tox has environments that install them.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from typing import Any

import pytest
from twisted.internet.asyncioreactor import AsyncioSelectorReactor


def neighbour(module: str) -> Any:
    """Import *module* of a package, or skip the test."""
    package = module.partition(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they do at import is not our doing
            return import_module(module)
    except ImportError:
        if package in os.environ.get("REQUIRE_NEIGHBOURS", "").split():
            raise
        pytest.skip(f"{package} is not installed; tox has an environment that installs it")


def needs_asyncio(package: str) -> None:
    """Skip the test on another reactor."""
    from twisted.internet import reactor

    if not isinstance(reactor, AsyncioSelectorReactor):
        pytest.skip(f"{package} needs asyncio")
