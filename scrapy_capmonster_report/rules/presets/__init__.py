"""Ready rules for captchas and software that many sites run, used by name.

Only markers that speak of the answer itself: what a site says of an expired, missing or reused
answer, of a wrong key or of a blocked address is nobody's bad answer. Where a marker may mean
either, the preset says so, and the fairness checks (``reused``, ``stale``) do the rest.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from . import frameworks, pages, services
from .preset import Preset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["CATALOGUE", "PRESETS", "Preset"]

CATALOGUE: Final[tuple[Preset, ...]] = (
    *services.PRESETS,
    *frameworks.PRESETS,
    *pages.PRESETS,
)
"""Every preset, those of a family together."""

PRESETS: Final[Mapping[str, Sequence[Mapping[str, Any]]]] = MappingProxyType(
    {preset.name: preset.rules for preset in CATALOGUE}
)
"""The rules of every preset by its name."""
