"""The error for a mistake in a rule, in one form for all messages."""

from __future__ import annotations

import reprlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 80
show = _repr.repr
"""The repr of a value of any size, shortened for a message."""

_MAX_VALUE: Final = 80


def brief(value: object) -> str:
    """The beginning of the repr of a value of any size."""
    text = show(value)
    return text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"


class RuleError(Exception):
    """A mistake in a rule.

    Args:
        problem: what is wrong, without a full stop.
        allowed: what is allowed, without a full stop.
        suggestion: the closest valid value, or ``None`` if there is none.
    """

    def __init__(self, problem: str, allowed: str | None = None, suggestion: object = None) -> None:
        super().__init__(problem)
        self._problem = problem
        self._allowed = allowed
        self._suggestion = suggestion
        self._rule = ""
        self._keys: list[str] = []

    def in_rule(self, rule: str) -> RuleError:
        """Add the rule to the message."""
        self._rule = rule
        return self

    def in_key(self, key: object) -> RuleError:
        """Add a key to the message. Call it for the innermost key first."""
        self._keys.insert(0, str(key))
        return self

    def __str__(self) -> str:
        place = [self._rule] if self._rule else []
        if self._keys:
            place.append(f"key {show('.'.join(self._keys))}")
        parts = [": ".join(filter(None, [", ".join(place), self._problem]))]
        if self._allowed is not None:
            parts.append(f"Allowed: {self._allowed}")
        text = ". ".join(parts) + "."
        return text if self._suggestion is None else f"{text} Did you mean {self._suggestion!r}?"


@contextmanager
def error_context(key: object) -> Iterator[None]:
    """Add *key* to the message of a mistake that is raised inside."""
    try:
        yield
    except RuleError as mistake:
        raise mistake.in_key(key) from None
