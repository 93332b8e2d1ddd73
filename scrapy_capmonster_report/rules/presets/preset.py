"""What a preset is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Preset:
    """Rules with a name, and what to know before trusting them.

    Args:
        name: what stands for it in ``CAPMONSTER_REPORT_RULES``; its rules are named alike.
        reports: what it calls a refusal of the answer.
        leaves_out: what looks alike and is not reported, or what it cannot tell apart.
        source: who documents the markers.
        rules: in the format of the setting; the first that matches wins.
    """

    name: str
    reports: str
    leaves_out: str
    source: str
    rules: tuple[Mapping[str, Any], ...]
