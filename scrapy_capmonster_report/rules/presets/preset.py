"""What a preset is: rules made of marks, each of which can be said in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..conditions import Condition
from ..jmes import parse_jmespath
from ..page import NOT_JSON
from ..selectors import parse_css
from ..snippets import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ..page import Page


class Mark(Condition):
    """Something that a preset looks for on a page, said in words.

    Args:
        value: what it is.
        find: what stands there, or ``None``.
        absent: whether it must not be there.
        needs: what it needs to know, beside the body.
    """

    key = "mark"

    def __init__(
        self,
        value: str,
        find: Callable[[Page], str | None],
        *,
        absent: bool = False,
        needs: Collection[str] = (),
    ) -> None:
        super().__init__(f"not: {value}" if absent else value, None)
        self.needs = frozenset(needs)
        self._find = find
        self._absent = absent

    def holds(self, page: Page) -> bool:
        return (page.view(self._find) is None) is self._absent

    def found(self, page: Page) -> str | None:
        found = page.view(self._find)
        return None if found is None else cut(found)


def element(value: str, css: str) -> Mark:
    """The mark that an element is on the page."""
    query = parse_css(css)

    def find(page: Page) -> str | None:
        if page.selector is None or not query.selects(page.selector):
            return None
        return (query.first(page.selector) or "").partition(">")[0] + ">"

    return Mark(value, find)


def member(value: str, *expressions: str, absent: bool = False) -> Mark:
    """The mark that one of some JMESPath expressions finds something in the JSON of an answer."""
    compiled = [parse_jmespath(expression) for expression in expressions]

    def find(page: Page) -> str | None:
        if page.json is NOT_JSON:
            return None
        for expression in compiled:
            try:
                found = expression.search(page.json)
            except Exception:  # the document is not of the types that the expression works on
                continue
            if found:
                return str(found)
        return None

    return Mark(value, find, absent=absent)


@dataclass(frozen=True)
class PresetRule:
    """One way in which a preset recognises a rejection.

    Args:
        marks: all must be there; the cheapest first.
        kind: the kind of captcha, ``""`` if it may be any.
        conditions: those of users' rules, which are asked before.
    """

    marks: tuple[Mark, ...] = ()
    kind: str = ""
    conditions: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Preset:
    """Rules with a name, and what to know before trusting them.

    Args:
        name: what stands for it in ``CAPMONSTER_REPORT_RULES``; its rules are named alike.
        reports: what it calls a rejection of the answer.
        languages: in which languages.
        leaves_out: what looks alike and is not reported, or what it cannot tell apart.
        rests_on: where it looks, and for what.
        source: who documents the marks.
        rules: the first that matches wins.
    """

    name: str
    reports: str
    languages: str
    leaves_out: str
    rests_on: str
    source: str
    rules: tuple[PresetRule, ...]
