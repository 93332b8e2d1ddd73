"""A rule, a set of rules, and what they say of a response."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property, lru_cache, partialmethod
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Final

from .condition import Domains, Redirect, Status, all_true
from .hosts import authority_of, host_of, parents_of
from .page import MAX_BODY, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from scrapy import Request, Spider
    from scrapy.http import Response

    from ..task import Kind
    from .condition import Condition

    OnError = Callable[["Rule", Exception], None]

logger = logging.getLogger(__name__)

_SLOW: Final = 0.05
"""A rule that takes more seconds, without those for parsing, blocks the crawl for too long."""

_CERTAINLY_SLOW: Final = 1.0
"""A rule that takes more seconds is slow, even if other processes are using the processor."""


@dataclass(frozen=True, eq=False, repr=False)
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

    @cached_property
    def tests(self) -> tuple[Callable[[Page], bool], ...]:
        """The conditions but those by which :class:`Rules` looks rules up."""
        looked_up = (Domains, Status)
        return tuple(item.holds for item in self.conditions if not isinstance(item, looked_up))

    @cached_property
    def domains(self) -> frozenset[str]:
        """The domains that the rule is for; empty if it is for any."""
        found = (item.options for item in self.conditions if isinstance(item, Domains))
        return frozenset(next(found, ()))

    def may_match(self, domains: Collection[str], status: int) -> bool:
        """Whether the rule is for a host in all of *domains*, and for this *status*."""
        if self.domains and self.domains.isdisjoint(domains):
            return False
        return all(item.allows(status) for item in self.conditions if isinstance(item, Status))

    @property
    def sees_redirects(self) -> bool:
        """Whether the rule looks at where the site redirected to."""
        return any(isinstance(condition, Redirect) for condition in self.conditions)

    def __repr__(self) -> str:
        conditions = ", ".join(f"{item.key}={item.value!r}" for item in self.conditions)
        return f"<Rule {self.name!r}: {conditions}>"


class Rules:
    """Rules in the order of the user, asked until one matches.

    Which rules may match is remembered by host and status: rules for other sites, and for other
    statuses, cost nothing.

    Args:
        rules: the rules.
        judges: whether responses are judged at all; ``False`` for the rule set ``"callbacks"``.
        spider: for the log.
        clock: returns seconds.
        processor_clock: returns the processor time of this thread in seconds, which does not count
            other processes. A system call, so it is only asked after a rule has looked slow.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        judges: bool = True,
        spider: Spider | None = None,
        clock: Callable[[], float] = perf_counter,
        processor_clock: Callable[[], float] = thread_time,
    ) -> None:
        self.judges = judges
        self._log_extra = {"spider": spider}
        self._clock = clock
        self._processor_clock = processor_clock
        self._suspects: set[str] = set()
        self._logged: set[str] = set()
        self._rules = tuple(rules)
        # For so many hosts with a status, remember which rules may match.
        self._candidates = lru_cache(1024)(self._look_up)

    def __len__(self) -> int:
        return len(self._rules)

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules)

    @property
    def domains(self) -> frozenset[str]:
        """The domains that the rules are for; empty if a rule is for any."""
        domains = [rule.domains for rule in self._rules]
        return frozenset().union(*domains) if all(domains) else frozenset()

    def match(
        self,
        response: Response,
        request: Request,
        *,
        redirects: Sequence[str] = (),
        on_error: OnError,
        of_redirects: bool = False,
    ) -> Rule | None:
        """The first rule that matches, or ``None``.

        Args:
            response: the response.
            request: the request it answers.
            redirects: URLs that the site redirected this request to; where *response* itself
                leads is added.
            on_error: called with a rule and what its callback raised; that rule does not match.
            of_redirects: whether only ``redirect`` rules count.
        """
        page = Page(response, request, redirects, clock=self._clock)
        rules = self._candidates(authority_of(page.response.url), page.response.status)
        if of_redirects:
            rules = tuple(rule for rule in rules if rule.sees_redirects)
        clock = self._clock
        busy = self._processor_clock() if self._suspects else 0.0
        began = clock()
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
            began, before = clock() - page.preparing, began
            if began - before > _SLOW:
                self._suspect(rule, page, began - before, busy)
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

    match_redirects = partialmethod(match, of_redirects=True)
    """Like :meth:`match`, for a 3xx that is not followed: only ``redirect`` rules count."""

    def match_known(self, page: Page, on_error: OnError) -> tuple[Rule | None, list[str]]:
        """Like :meth:`match`, for a page of which something may be unknown.

        Returns:
            The first rule that certainly matches, or ``None``; and, without one, what must be known
            to tell whether a rule matches.
        """
        missing: set[str] = set()
        for rule in self._rules:
            try:
                verdict = all_true(item.verdict(page) for item in rule.conditions)
                if verdict is None:
                    missing.update(*(item.missing(page) for item in rule.conditions))
            except Exception as error:  # a callback may raise anything
                on_error(rule, error)
                continue
            if verdict:
                return rule, []
        return None, sorted(missing)

    def _suspect(self, rule: Rule, page: Page, seconds: float, busy: float) -> None:
        """Name *rule*, unless other processes may be the reason that it took so long.

        Args:
            busy: the processor time before the first rule, if a rule is suspected.
        """
        if seconds < _CERTAINLY_SLOW:
            if rule.name not in self._suspects:
                self._suspects.add(rule.name)
                return
            seconds = min(seconds, self._processor_clock() - page.preparing - busy)
            if seconds <= _SLOW:
                return
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
        domains = frozenset(parents_of(host_of(f"http://{authority}")))
        return tuple(rule for rule in self._rules if rule.may_match(domains, status))
