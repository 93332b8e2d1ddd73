"""The error for a mistake in a rule, in one form for all messages."""

from __future__ import annotations

import reprlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_LENGTH: Final = 80
_MAX_BITS: Final = 1000


class _Repr(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _MAX_LENGTH

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write an int of thousands of digits.
        bits = x.bit_length()
        return super().repr_int(x, level) if bits < _MAX_BITS else f"an int of {bits} bits"


show = _Repr().repr
"""The repr of a value of any size, shortened for a message."""


class RuleError(Exception):
    """A mistake in a rule.

    Args:
        problem: what is wrong, without a full stop.
        allowed: what is allowed, without a full stop.
        suggestion: the closest valid value, or ``None`` if there is none.
    """

    def __init__(self, problem: str, allowed: str, suggestion: object = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.allowed = allowed
        self.suggestion = suggestion
        self.place: list[str] = []
        """The rule, and the keys in it that lead to the mistake."""

    def __str__(self) -> str:
        rule, keys = self.place[:1], ".".join(self.place[1:])
        place = ", ".join([*rule, f"key {show(keys)}"] if keys else rule)
        text = f"{place}: " if place else ""
        text += f"{self.problem}. Allowed: {self.allowed}."
        return text if self.suggestion is None else f"{text} Did you mean {self.suggestion!r}?"


@contextmanager
def error_context(place: object) -> Iterator[None]:
    """Add *place*, a key or the rule around it, to the message of a mistake raised inside."""
    try:
        yield
    except RuleError as mistake:
        mistake.place.insert(0, place if isinstance(place, str) else show(place))
        raise


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object. A duplicate key is an error: the last one would silently win.

    Raises:
        RuleError: a key is there twice.
    """
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise RuleError(f"the key {show(key)} is used twice in one dict", "each key once")
        members[key] = value
    return members
