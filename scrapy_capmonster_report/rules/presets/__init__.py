"""Ready rules for captchas and software that many sites run, used by name.

Only marks that speak of the answer itself: what a site says of an expired, missing or reused
answer, of a wrong key or of a blocked address is nobody's bad answer. Where a mark may mean
either, the preset says so, and the fairness checks (``reused``, ``stale``) do the rest.

``marks`` are what presets look for, ``evidence`` how a page is asked for them: ``places`` of errors
on a page, members for errors in JSON (``answers``), and what ``messages`` mean, by ``words``.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from . import pages, services, software
from .preset import Preset, PresetRule

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CATALOGUE", "PRESETS", "Preset", "PresetRule"]

CATALOGUE: Final[tuple[Preset, ...]] = (
    *services.PRESETS,
    *software.PRESETS,
    *pages.PRESETS,
)
"""Every preset, those of a family together."""

PRESETS: Final[Mapping[str, tuple[PresetRule, ...]]] = MappingProxyType(
    {preset.name: preset.rules for preset in CATALOGUE}
)
"""The rules of every preset by its name."""
