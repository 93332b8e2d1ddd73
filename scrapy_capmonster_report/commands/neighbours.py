"""Other middlewares and clients that are installed and may interfere, for ``doctor``."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata
from typing import TYPE_CHECKING, Final, NamedTuple

from packaging.requirements import Requirement
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.utils.conf import build_component_list
from scrapy.utils.misc import load_object
from scrapy.utils.python import global_object_name

from ..clients import RELEASES
from ..middleware import CapMonsterReportMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scrapy.settings import BaseSettings

_NEEDED: Final = ("scrapy-capmonster-report", "scrapy", "twisted", "treq")
"""What has requirements of its own that installing a client may have broken."""

_HIDING: Final = ("rotating_proxies", "captcha", "solver")
"""Parts of the names of middlewares that are known to hide rejected responses."""

_RETRY: Final = 550
_HTTP_COMPRESSION: Final = 590
"""The orders of Scrapy's middlewares between which ours sees every attempt, decompressed."""


class Finding(NamedTuple):
    """The result of a check.

    Args:
        ok: whether it passed; ``None`` if that is unknown.
        found: what was found.
        advice: what to do; ``""`` for nothing.
    """

    ok: bool | None
    found: str
    advice: str = ""


def check_middlewares(settings: BaseSettings) -> Finding:
    """Whether our middleware sees each response before another one drops or retries it."""
    orders = settings.getwithbase("DOWNLOADER_MIDDLEWARES")
    try:
        build_component_list(orders)
    except ValueError as error:
        return Finding(False, f"{error}.", "Correct it in DOWNLOADER_MIDDLEWARES.")
    middlewares = {}
    for path, order in orders.items():
        with suppress(Exception):  # importing may do anything; Scrapy names these in a crawl
            if order is not None:
                middlewares[load_object(path)] = order
    own = middlewares.get(CapMonsterReportMiddleware)
    if own is None:
        return Finding(
            False,
            "Our middleware is not enabled.",
            'Set ADDONS = {"scrapy_capmonster_report.Addon": 500}. If it is set, look for ADDONS = '
            "{} further down in settings.py: Scrapy's template has one, and the last wins.",
        )
    if not _RETRY < own < _HTTP_COMPRESSION:
        advice = "Set its order to 585: above RetryMiddleware, below HttpCompressionMiddleware."
        return Finding(False, f"The order of our middleware is {own}.", advice)
    hiding, seeing = [], []
    for item, order in middlewares.items():
        name = global_object_name(item)
        if order <= own or name.startswith("scrapy."):
            continue
        if isinstance(item, type) and issubclass(item, RetryMiddleware):
            hiding.append(f"{name} at {order} retries before we see the response.")
        elif any(part in name.lower() for part in _HIDING):
            hiding.append(f"{name} at {order} may hide rejected responses from us.")
        elif hasattr(item, "process_response") or hasattr(item, "process_exception"):
            seeing.append(f"{name} at {order} sees responses before we do.")
    if not (hiding or seeing):
        return Finding(True, "No middleware of the project is above ours.")
    advice = (
        f"Give it an order below {own}. Above ours, it hides the responses it drops or retries."
    )
    return Finding(False if hiding else None, " ".join(hiding + seeing), advice)


def check_clients() -> Finding:
    """Whether the installed clients of CapMonster Cloud are supported, and all requirements met."""
    versions = {name: version for name in RELEASES if (version := _version(name))}
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    wrong = [
        f"solve_captcha() does not support this release of {name}."
        for name, version in versions.items()
        if version.partition(".")[0] not in map(str, RELEASES[name])
    ]
    for name in (*versions, *_NEEDED):
        wrong += _unmet_requirements(name)
    if wrong:
        found = " ".join([f"{listed}."] * bool(listed) + wrong)
        return Finding(False, found, "Install compatible releases.")
    if not versions:
        advice = "Another client works too: give the id of its task to captcha_meta()."
        return Finding(None, "No client of CapMonster Cloud is installed.", advice)
    return Finding(True, f"{listed}; solve_captcha() returns the ids of its tasks.")


def _unmet_requirements(name: str) -> Iterator[str]:
    """A sentence about each requirement of a distribution that is not met."""
    for requirement in map(Requirement, metadata.requires(name) or () if _version(name) else ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            version = _version(requirement.name)
            if not version or not requirement.specifier.contains(version, prereleases=True):
                needs = f"{requirement.name}{requirement.specifier}"
                yield f"{name} requires {needs}; installed: {version or 'none'}."


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
