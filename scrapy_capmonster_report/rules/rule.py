"""A rule, a set of rules, and what they say of a response."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from .condition import Domains, Redirect, Status
from .conditions import all_hold
from .hosts import authority_of, host_of, parents_of
from .page import MAX_BODY, Page
from .snippets import truncate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from scrapy import Request, Spider
    from scrapy.http import Response

    from ..task import Kind
    from .condition import Condition

    OnError = Callable[["Rule", Exception], None]

logger = logging.getLogger(__name__)

_LOOKED_UP: Final = (Domains, Status)
"""The conditions by which :class:`Rules` looks rules up."""

_REMEMBERED: Final = 1024
"""Hosts with a status whose rules are remembered."""

_SLOW: Final = 0.05
"""Seconds of a rule, without those of parsing, that a crawl feels: it stands still for as long.

Of the processor: on a busy machine others take time, too.
"""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rule:
    """What a rejected answer looks like on some site.

    Args:
        name: the label in logs and stats.
        kind: the kind of captcha, for tasks without a known type; ``None`` if not given.
        conditions: all must hold; the cheapest first.
    """

    name: str
    kind: Kind | None
    conditions: tuple[Condition, ...]
    tests: tuple[Callable[[Page], bool], ...] = field(init=False)
    """The conditions but those that :class:`Rules` looks up."""

    def __post_init__(self) -> None:
        tests = (item.holds for item in self.conditions if not isinstance(item, _LOOKED_UP))
        object.__setattr__(self, "tests", tuple(tests))

    @property
    def domains(self) -> frozenset[str] | None:
        """The domains that the rule is for; ``None`` if it is for any."""
        for condition in self.conditions:
            if isinstance(condition, Domains):
                return condition.domains
        return None

    def may_have(self, status: int) -> bool:
        """Whether the rule is for responses of this *status*."""
        return all(
            status in condition.statuses
            for condition in self.conditions
            if isinstance(condition, Status)
        )

    @property
    def sees_redirects(self) -> bool:
        """Whether the rule looks at where the site redirected to."""
        return any(isinstance(condition, Redirect) for condition in self.conditions)

    def __repr__(self) -> str:
        conditions = ", ".join(f"{item.key}={plain(item.value)!r}" for item in self.conditions)
        return f"<Rule {self.name!r}: {conditions}>"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one condition for a response.

    Args:
        key: the condition's key.
        value: its value as the user wrote it, made of what JSON knows.
        holds: whether it holds; ``None`` if that cannot be told from what is known.
        found: what it found, what stands there instead, or what is not known; at most 200
            characters.
    """

    key: str
    value: Any
    holds: bool | None
    found: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The result of one rule for a response; ``dataclasses.asdict`` makes JSON of it.

    ``matched`` is ``None`` if it cannot be told from what is known.
    """

    name: str
    matched: bool | None
    conditions: tuple[Finding, ...]


class Rules:
    """Rules in the order of the user, asked until one matches.

    Which rules may match is remembered by host and status: rules for other sites, and for other
    statuses, cost nothing.

    Args:
        rules: the rules.
        judges: whether responses are judged at all; ``False`` for the rule set ``"callbacks"``.
        spider: for the log.
        clock: returns seconds.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        judges: bool = True,
        spider: Spider | None = None,
        clock: Callable[[], float] = thread_time,
    ) -> None:
        self.judges = judges
        self._log_extra = {"spider": spider}
        self._clock = clock
        self._logged: set[str] = set()
        self._rules = tuple(rules)
        self._anywhere: list[int] = []
        self._by_domain: dict[str, list[int]] = {}
        for place, rule in enumerate(self._rules):
            if rule.domains is None:
                self._anywhere.append(place)
            for domain in rule.domains or ():
                self._by_domain.setdefault(domain, []).append(place)
        self._candidates = lru_cache(_REMEMBERED)(self._look_up)

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    def __repr__(self) -> str:
        return f"Rules({list(self._rules)!r})"

    @property
    def domains(self) -> frozenset[str]:
        """The domains that the rules are for; empty if a rule is for any."""
        return frozenset() if self._anywhere else frozenset(self._by_domain)

    def match(
        self,
        response: Response,
        request: Request,
        *,
        redirects: Sequence[str] = (),
        on_error: OnError,
    ) -> Rule | None:
        """The first rule that matches, or ``None``.

        Args:
            response: the response.
            request: the request it answers.
            redirects: URLs that the site redirected this request to; where *response* itself
                leads is added.
            on_error: called with a rule and what its callback raised; that rule does not match.
        """
        page = Page(response, request, redirects, clock=self._clock)
        candidates = self._candidates(authority_of(page.url), page.status)
        return self._first(candidates, page, on_error)

    def match_redirects(
        self,
        response: Response,
        request: Request,
        *,
        redirects: Sequence[str] = (),
        on_error: OnError,
    ) -> Rule | None:
        """Like :meth:`match`, for a 3xx that is not followed: only ``redirect`` rules count."""
        page = Page(response, request, redirects, clock=self._clock)
        candidates = self._candidates(authority_of(page.url), page.status)
        return self._first([rule for rule in candidates if rule.sees_redirects], page, on_error)

    def match_known(self, page: Page, on_error: OnError) -> tuple[Rule | None, list[str]]:
        """Like :meth:`match`, for a page of which something may be unknown.

        Returns:
            The first rule that certainly matches, or ``None``; and, without one, what must be known
            to tell whether a rule matches.
        """
        missing: set[str] = set()
        for rule in self._rules:
            try:
                verdict = all_hold(rule.conditions, page)
            except Exception as error:  # a callback may raise anything
                on_error(rule, error)
                continue
            if verdict:
                return rule, []
            if verdict is None:
                missing.update(*(item.needs & page.unknown for item in rule.conditions))
        return None, sorted(missing)

    def explain(self, page: Page) -> list[Explanation]:
        """What every condition of every rule says of *page*, also after one did not hold."""
        explanations = []
        for rule in self._rules:
            findings = tuple(_finding(condition, page) for condition in rule.conditions)
            held = [finding.holds for finding in findings]
            matched = False if False in held else None if None in held else True
            explanations.append(Explanation(rule.name, matched, findings))
        return explanations

    def _first(self, rules: Iterable[Rule], page: Page, on_error: OnError) -> Rule | None:
        began = self._clock()
        for rule in rules:
            matches = False
            try:
                for holds in rule.tests:
                    if not holds(page):
                        break
                else:
                    matches = True
            except Exception as error:  # a callback may raise anything
                on_error(rule, error)
            began, before = self._clock() - page.preparing, began
            if began - before > _SLOW:
                self._say_slow(rule, page, began - before)
            if matches:
                return rule
        if page.is_too_large:
            self._say_once(
                "body",
                "The body of %s has more than %d bytes. Such responses are judged by their status, "
                "URL and headers only (logged once)",
                page.response,
                MAX_BODY,
            )
        return None

    def _say_slow(self, rule: Rule, page: Page, seconds: float) -> None:
        self._say_once(
            f"rule {rule.name}",
            "The rule %r took %d ms on %s, and blocked the crawl for as long. See "
            '"What makes a rule slow" in the documentation of rules (logged once for each rule)',
            rule.name,
            round(seconds * 1000),
            page.response,
        )

    def _say_once(self, what: str, message: str, *args: object) -> None:
        if what not in self._logged:
            self._logged.add(what)
            logger.warning(message, *args, extra=self._log_extra)

    def _look_up(self, authority: str, status: int) -> tuple[Rule, ...]:
        """The rules for the host in *authority*, and *status*, in the order of the user."""
        places = set(self._anywhere)
        for domain in parents_of(host_of(f"http://{authority}")):
            places.update(self._by_domain.get(domain, ()))
        rules = (self._rules[place] for place in sorted(places))
        return tuple(rule for rule in rules if rule.may_have(status))


def plain(value: object) -> Any:
    """A condition's value in types that JSON has: a callable becomes its name."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if callable(value):
        name = getattr(value, "__qualname__", None)
        return f"{value.__module__}.{name}" if name else repr(value)
    return value


def _finding(condition: Condition, page: Page) -> Finding:
    holds: bool | None = False
    try:
        holds = condition.verdict(page)
        if holds is None:
            found: str | None = f"not known: {', '.join(sorted(condition.needs & page.unknown))}"
        else:
            found = condition.found(page)
    except Exception as error:  # as in matching: what raises does not hold
        found = truncate(f"{type(error).__name__}: {error}")
    return Finding(condition.key, plain(condition.value), holds, found)
