"""Makes rules from the setting. Everything is checked here, once, when the crawl starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from ..settings import RULES
from ..task import Kind
from ..text import closest_match, truncate
from . import callbacks, condition, selectors
from .condition import Condition, Options, all_true, mapping
from .errors import RuleError, error_context, show, unique_keys
from .rule import Rule, Rules

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from types import ModuleType

    from scrapy import Spider

    from .page import Page


class Unless(Options):
    """None of some groups of conditions holds as a whole."""

    key = "unless"
    allowed = "a dict of conditions, or a list of such dicts"

    def parse(self, value: object) -> tuple[Condition, ...]:
        known = {key: kind for key, kind in CONDITIONS.items() if kind is not Unless}
        return compile_conditions(mapping(value, self.allowed), self.spider, known, ("name",))

    def holds(self, page: Page) -> bool:
        return self._group(page) is None

    def missing(self, page: Page) -> frozenset[str]:
        verdicts = {group: all_true(item.verdict(page) for item in group) for group in self.options}
        if True in verdicts.values():
            return frozenset()
        undecided = (item for group in verdicts if verdicts[group] is None for item in group)
        return frozenset().union(*(item.missing(page) for item in undecided))

    def found(self, page: Page) -> str | None:
        there = (item.found(page) for item in self._group(page) or ())
        return "; ".join(filter(None, there)) or None

    def _group(self, page: Page) -> Sequence[Condition] | None:
        """The first group that holds as a whole."""
        holding = (group for group in self.options if all(item.holds(page) for item in group))
        return next(holding, None)


_OF_REQUEST_AND_HEAD: Final = (
    *(condition.Domains, condition.Method, condition.Status, condition.Url, condition.Redirect),
    condition.Headers,
)
_OF_BODY: Final = (
    condition.Text,
    selectors.JmesPath,
    selectors.Css,
    selectors.XPath,
    condition.Words,
)

CONDITIONS: Final[Mapping[str, type[Condition]]] = {
    kind.key: kind for kind in (*_OF_REQUEST_AND_HEAD, *_OF_BODY, Unless, callbacks.Callback)
}
"""Every condition by its key, in the order in which a rule checks them: the cheapest first."""


_MAX_SHOWN: Final = 80
_LABELS: Final = ("name", "kind")
_RULE: Final = f"a dict of {', '.join((*_LABELS, *CONDITIONS))}, or the name of a preset"
_ALLOWED: Final = "a list of rules (dicts) and names of presets, or JSON text of such a list"
_CALLBACKS: Final = "callbacks"
"""The name for no rules at all: only ``accept()`` and ``reject()`` judge answers."""


def compile_rules(value: object, *, spider: Spider | None = None) -> Rules:
    """The rules that the setting ``CAPMONSTER_REPORT_RULES`` describes.

    Args:
        value: a list of dicts and names of presets, or JSON text of such a list; ``None``, ``""``
            and ``[]`` mean no rules; ``"callbacks"`` and ``["callbacks"]`` make rules that do not
            judge responses.
        spider: the spider whose methods a ``callback`` may name.

    Raises:
        ValueError: there is a mistake. The message names the rule and the key, and says what is
            allowed, with a suggestion.
    """
    try:
        return read_rules(value, spider=spider)
    except RuleError as mistake:
        shown = truncate(show(value), _MAX_SHOWN)
        raise ValueError(
            f"The value of the {RULES} setting ({shown}) is invalid. {mistake}"
        ) from None


def read_rules(value: object, *, spider: Spider | None = None) -> Rules:
    """Like :func:`compile_rules`, for rules from elsewhere.

    Raises:
        RuleError: there is a mistake.
    """
    entries = _read(value)
    if _CALLBACKS in entries:
        if len(entries) > 1:
            raise RuleError(
                f"{show(_CALLBACKS)} stands for no rules and cannot be combined with others",
                f"{show([_CALLBACKS])} alone, or rules and presets without it",
            )
        return Rules(judges=False)
    compiled = (
        rule
        for position, entry in enumerate(entries, 1)
        for rule in _compile_entry(entry, position, spider)
    )
    return Rules(compiled, spider=spider)


def _read(value: object) -> Sequence[object]:
    if isinstance(value, str):
        text = value.strip()
        value = [text] if text == _CALLBACKS else _read_json(value) if text else None
    if value is None:
        return ()
    if isinstance(value, Mapping):
        raise RuleError("it is one rule, not a list; put it in a list: [{…}]", _ALLOWED)
    if not isinstance(value, (list, tuple)):
        name = _closest_preset(value)
        raise RuleError(f"{show(value)} is not a list", _ALLOWED, name and [name])
    return value


def _read_json(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=unique_keys)
    except json.JSONDecodeError as error:
        name = _closest_preset(text)
        problem = f"it is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        suggestion = name and json.dumps([name])
        raise RuleError(f"{problem} (char {error.pos})", _ALLOWED, suggestion) from None
    except (ValueError, RecursionError) as error:  # thousands of digits, or of brackets
        raise RuleError(f"it is JSON that cannot be read: {error}", _ALLOWED) from None


def _compile_entry(entry: object, position: int, spider: Spider | None) -> Iterator[Rule]:
    default = f"rule {position}"
    name = entry.get("name") if isinstance(entry, Mapping) else None
    with error_context(f"{default} ({show(name)})" if name else default):
        if isinstance(entry, str):
            yield from _compile_preset(entry)
        else:
            yield _compile_rule(mapping(entry, _RULE), default, spider)


def _compile_rule(written: Mapping[Any, Any], default: str, spider: Spider | None) -> Rule:
    conditions = compile_conditions(written, spider, CONDITIONS, _LABELS)
    with error_context("kind"):
        kind = _parse_kind(written["kind"]) if "kind" in written else None
    return Rule(written.get("name", default), kind, conditions)


def _compile_preset(name: str) -> Iterator[Rule]:
    presets = _presets()
    if name not in presets.PRESETS:
        raise RuleError(
            f"there is no preset {show(name)}",
            "a rule (a dict), or one of the presets " + ", ".join(presets.PRESETS),
            _closest_preset(name),
        )
    for rule in presets.PRESETS[name]:
        kind = Kind(rule["kind"]) if "kind" in rule else None
        yield Rule(name, kind, tuple(presets.conditions_of(rule)))


def _closest_preset(name: object) -> str | None:
    return closest_match(name, (*_presets().PRESETS, _CALLBACKS))


def _presets() -> ModuleType:
    # Their words in many languages are read only where a preset is asked for.
    from . import presets

    return presets


def _parse_kind(value: object) -> Kind:
    kinds = [kind.value for kind in Kind]
    if isinstance(value, str) and value in kinds:
        return Kind(value)
    raise RuleError(f"{show(value)} is not a kind", ", ".join(kinds), closest_match(value, kinds))


def compile_conditions(
    written: Mapping[Any, object],
    spider: Spider | None,
    known: Mapping[str, type[Condition]],
    labels: Collection[str],
) -> tuple[Condition, ...]:
    """The conditions in *written*, the cheapest first.

    Args:
        written: a dict of keys to values.
        spider: passed on to the conditions.
        known: the conditions that may stand in it.
        labels: the keys that may stand beside them.

    Raises:
        RuleError: a key is unknown, a value wrong, or there is no condition.
    """
    allowed = (*labels, *known)
    for key in written:
        if key not in allowed:
            with error_context(key):
                meant = closest_match(key, allowed)
                raise RuleError("there is no such key here", ", ".join(allowed), meant)
    conditions = []
    for key, kind in known.items():
        if key in written:
            with error_context(key):
                conditions.append(kind(written[key], spider))
    if not conditions:
        problem = "it has no condition and would match every page"
        raise RuleError(problem, f"at least one of {', '.join(known)}")
    name = written.get("name", "no name")
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        with error_context("name"):
            raise RuleError(f"{show(name)} is not a name", "a str of printable characters")
    return tuple(conditions)
