"""Presets are rules made of marks, each with a description in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..condition import Condition
from ..snippets import truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..page import Page


class Mark(Condition):
    """Something that a preset looks for on a page.

    Args:
        value: its description.
        find: returns what it finds on the page, or ``None``.
        instead: returns what the page has instead, or ``None``; only for explanations.
        absent: whether it must be absent.
        needs: what it needs to know besides the body.
    """

    key = "mark"

    def __init__(
        self,
        value: str,
        find: Callable[[Page], str | None],
        *,
        instead: Callable[[Page], str | None] = lambda page: None,
        absent: bool = False,
        needs: Collection[str] = (),
        is_own: bool = False,
    ) -> None:
        super().__init__(f"not: {value}" if absent else value, None)
        self.needs = frozenset(needs)
        self._find = find
        self.is_own = is_own
        self._instead = instead
        self._absent = absent

    def holds(self, page: Page) -> bool:
        return (page.view(self._find) is None) is self._absent

    def found(self, page: Page) -> str | None:
        found = page.view(self._find) or self._instead(page)
        return None if found is None else truncate(found)


@dataclass(frozen=True)
class PresetRule:
    """One way in which a preset recognises a rejection.

    Args:
        marks: all must be on the page; the cheapest first.
        kind: the kind of captcha, ``""`` if it may be any.
        conditions: conditions as in users' rules, which are checked first.
    """

    marks: tuple[Mark, ...] = ()
    kind: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)
