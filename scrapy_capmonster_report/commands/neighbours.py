"""What else is installed and enabled, and gets in the way."""

from __future__ import annotations

import ast
import os
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from packaging.requirements import Requirement
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from ..addon import MIDDLEWARE_ORDER
from ..middleware import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scrapy.settings import BaseSettings

_SUPPORTED: Final = {"capmonstercloudclient": range(1, 5), "capmonster-python": range(4, 6)}
"""The clients and the major releases that ``clients.solve_captcha`` knows."""

_HIDING: Final = ("rotating_proxies", "captcha", "solver")
"""In the names of middlewares of others that keep a rejected response for themselves."""

_BETWEEN: Final = (550, 590)
"""RetryMiddleware and HttpCompressionMiddleware: ours sees every attempt, decompressed."""


class Other(NamedTuple):
    """A middleware that sees responses before ours does.

    Args:
        name: its path.
        order: where it stands.
        why: what it may do.
        certain: whether it does it; if not, it depends on its code.
    """

    name: str
    order: int
    why: str
    certain: bool


def why_absent(settings: BaseSettings) -> tuple[str, str] | None:
    """Why our middleware does not run where it belongs, and what to do; ``None`` if it does."""
    orders = [order for item, order in _middlewares(settings) if item is CapMonsterReportMiddleware]
    if not orders:
        lines = _assignments_of_addons()
        if len(lines) > 1:
            return (
                f"ADDONS is assigned {len(lines)} times in settings.py (lines "
                f"{', '.join(map(str, lines))}), and the last one wins: our addon is not enabled.",
                "Remove the others; Scrapy's template ends with ADDONS = {}.",
            )
        return (
            "Our middleware is not enabled.",
            'Set ADDONS = {"scrapy_capmonster_report.Addon": 500}; an ADDONS = {} further down in '
            "settings.py would replace it.",
        )
    if not _BETWEEN[0] < orders[0] < _BETWEEN[1]:
        return (
            f"Our middleware stands at {orders[0]}.",
            f"Give it the order {MIDDLEWARE_ORDER}: above RetryMiddleware (550), below "
            "HttpCompressionMiddleware (590).",
        )
    return None


def others_above(settings: BaseSettings) -> list[Other]:
    """The middlewares above ours, not Scrapy's, that look at responses or failures."""
    found = dict(_middlewares(settings))
    ours = found[CapMonsterReportMiddleware]
    return [
        Other(name, order, why, certain)
        for item, order in found.items()
        if order > ours and not (name := global_object_name(item)).startswith("scrapy.")
        for why, certain in _reasons(item, name)
    ]


def _reasons(item: Any, name: str) -> Iterator[tuple[str, bool]]:
    if isinstance(item, type) and issubclass(item, RetryMiddleware):
        yield "retries before we see the response", True
    elif any(part in name.lower() for part in _HIDING):
        yield "may keep rejected responses from us", True
    elif hasattr(item, "process_response") or hasattr(item, "process_exception"):
        yield "sees responses first, and may drop or retry them", False


def _middlewares(settings: BaseSettings) -> Iterator[tuple[Any, int]]:
    for path, order in settings.getwithbase("DOWNLOADER_MIDDLEWARES").items():
        if order is None:
            continue
        try:
            yield load_object(path), order
        except Exception:  # importing may do anything; Scrapy names it when the crawl starts
            continue


def _assignments_of_addons() -> list[int]:
    """The lines of the project's settings on which ``ADDONS`` is assigned."""
    spec = find_spec(name) if (name := os.environ.get("SCRAPY_SETTINGS_MODULE")) else None
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        return []
    tree = ast.parse(Path(spec.origin).read_bytes())
    return [
        node.lineno
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "ADDONS" for target in node.targets)
    ]


def solving_clients() -> Mapping[str, str]:
    """The clients of CapMonster Cloud that are installed, with their versions."""
    found = {}
    for name in _SUPPORTED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # noqa: PERF203
            continue
    return found


def is_supported(name: str, version: str) -> bool:
    """Whether ``clients.solve_captcha`` knows this release of a client."""
    major = version.partition(".")[0]
    return major.isdigit() and int(major) in _SUPPORTED[name]


def clash_of_pins(name: str) -> list[str]:
    """What a client requires and what is installed instead, a sentence each."""
    sentences = []
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            version = "none"
        if version == "none" or not requirement.specifier.contains(version, prereleases=True):
            sentences.append(
                f"{name} requires {requirement.name}{requirement.specifier}; installed: {version}."
            )
    return sentences
