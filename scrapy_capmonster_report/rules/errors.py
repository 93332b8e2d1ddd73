"""What is wrong with a rule, said once and in one form."""

from __future__ import annotations

import reprlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
show = _repr.repr
"""The repr of a value of any size, cut to what fits in a message."""

_LONGEST_VALUE: Final = 80


def brief(value: object) -> str:
    """The beginning of the repr of a value of any size."""
    shown = show(value)
    return shown if len(shown) <= _LONGEST_VALUE else shown[: _LONGEST_VALUE - 1] + "…"


class RuleError(Exception):
    """Something in a rule that cannot be meant.

    Args:
        problem: what is wrong, without a full stop.
        allowed: what would be right, without a full stop.
        meant: the right value that is nearest to the wrong one, or ``None`` if there is none.
    """

    def __init__(self, problem: str, allowed: str | None = None, meant: object = None) -> None:
        super().__init__(problem)
        self._problem = problem
        self._allowed = allowed
        self._meant = meant
        self._rule = ""
        self._keys: list[str] = []

    def in_rule(self, rule: str) -> RuleError:
        """Say in which rule it is."""
        self._rule = rule
        return self

    def under(self, key: object) -> RuleError:
        """Say under which key it is; the innermost key is said first."""
        self._keys.insert(0, str(key))
        return self

    def __str__(self) -> str:
        place = [self._rule] if self._rule else []
        if self._keys:
            place.append(f"key {show('.'.join(self._keys))}")
        parts = [": ".join(filter(None, [", ".join(place), self._problem]))]
        if self._allowed is not None:
            parts.append(f"Allowed: {self._allowed}")
        said = ". ".join(parts) + "."
        return said if self._meant is None else f"{said} Did you mean {self._meant!r}?"


@contextmanager
def error_context(key: object) -> Iterator[None]:
    """Mistakes raised inside are those of the value of *key*."""
    try:
        yield
    except RuleError as mistake:
        raise mistake.under(key) from None
