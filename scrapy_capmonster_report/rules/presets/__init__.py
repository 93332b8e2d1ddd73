"""Ready-made rules for captchas and widespread software, used by name.

A preset only looks for marks that say that the answer itself is wrong. An expired, missing or
reused answer, a wrong key or a blocked address is not the answer's fault. If a mark may mean
either, the documentation says so, and the fairness checks (``reused``, ``stale``) decide.

``catalogue.json`` has the rules of every preset, made of conditions and ``marks``: ``places`` finds
errors on a page, ``answers`` in JSON, and ``messages`` understands them by the words in many
languages of ``words.ini``.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from ..compile import CONDITIONS
from .marks import MARKS, MARKS_BY_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..condition import Condition

_CATALOGUE: Final[dict[str, dict[str, list[dict[str, Any]]]]] = json.loads(
    files(__package__).joinpath("catalogue.json").read_text(encoding="utf-8")
)

PRESETS: Final = {name: rules for kind in _CATALOGUE.values() for name, rules in kind.items()}
"""The rules of every preset by its name; the first that matches wins."""

GENERAL: Final = _CATALOGUE["general"].keys()
"""The presets that are not for one product."""


def conditions_of(rule: Mapping[str, Any]) -> Iterator[Condition]:
    """The conditions and marks of a preset's rule, as it is written: the cheapest first."""
    for key, value in rule.items():
        if key in CONDITIONS:
            yield CONDITIONS[key](value)
        elif key in MARKS_BY_KEY:
            yield from MARKS_BY_KEY[key](value)


def shows_product(conditions: tuple[Condition, ...]) -> bool:
    """Whether *conditions* are more than marks that many presets look for."""
    return not {*conditions} <= {*MARKS.values()}
