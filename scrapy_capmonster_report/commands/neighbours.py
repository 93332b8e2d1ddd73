"""Other middlewares and clients that are installed and may interfere."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import Requirement
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from ..addon import MIDDLEWARE_ORDER
from ..middleware import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scrapy.settings import BaseSettings

_SUPPORTED: Final = {"capmonstercloudclient": range(1, 5), "capmonster-python": range(4, 6)}
"""The clients and the major releases that ``clients.solve_captcha`` supports."""

_HIDING: Final = ("rotating_proxies", "captcha", "solver")
"""Parts of the names of middlewares that are known to hide rejected responses."""

_BETWEEN: Final = range(551, 590)
"""Above RetryMiddleware, to see every attempt; below HttpCompressionMiddleware."""


def order_of_ours(settings: BaseSettings) -> int | None:
    """The order of our middleware; ``None`` if it is not enabled."""
    return _middlewares(settings).get(CapMonsterReportMiddleware)


def is_good(order: int) -> bool:
    """Whether our middleware works at *order*."""
    return order in _BETWEEN


def above_ours(settings: BaseSettings) -> list[tuple[str, bool]]:
    """The middlewares above ours, except Scrapy's, that may hide responses.

    Returns:
        A sentence about each, and whether it is known to hide them; if not, it depends on its code.
    """
    found = []
    for item, order in _middlewares(settings).items():
        name = global_object_name(item)
        if order <= MIDDLEWARE_ORDER or name.startswith("scrapy."):
            continue
        if isinstance(item, type) and issubclass(item, RetryMiddleware):
            found.append((f"{name} at {order} retries before we see the response.", True))
        elif any(part in name.lower() for part in _HIDING):
            found.append((f"{name} at {order} may hide rejected responses from us.", True))
        elif hasattr(item, "process_response") or hasattr(item, "process_exception"):
            found.append((f"{name} at {order} sees responses before we do.", False))
    return found


def _middlewares(settings: BaseSettings) -> dict[Any, int]:
    """The downloader middlewares that can be loaded; Scrapy names the others in a crawl."""
    loaded = {}
    for path, order in settings.getwithbase("DOWNLOADER_MIDDLEWARES").items():
        if order is not None:
            try:
                loaded[load_object(path)] = order
            except Exception:  # importing may do anything
                continue
    return loaded


def solving_clients() -> Mapping[str, str]:
    """The clients of CapMonster Cloud that are installed, with their versions."""
    versions = {name: _version(name) for name in _SUPPORTED}
    return {name: version for name, version in versions.items() if version}


def is_supported(client: str, version: str) -> bool:
    """Whether ``clients.solve_captcha`` supports this release."""
    major = version.partition(".")[0]
    return major.isdigit() and int(major) in _SUPPORTED[client]


def clash_of_pins(client: str) -> list[str]:
    """A sentence about each requirement of a client that is not met."""
    sentences = []
    for requirement in map(Requirement, metadata.requires(client) or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            version = _version(requirement.name)
            if not version or not requirement.specifier.contains(version, prereleases=True):
                needs = f"{requirement.name}{requirement.specifier}"
                sentences.append(f"{client} requires {needs}; installed: {version or 'none'}.")
    return sentences


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
