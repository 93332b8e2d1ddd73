"""What a dry run would have reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .rules.snippets import cut

if TYPE_CHECKING:
    from .task import Kind

_HEAD = ("rule", "kind", "reports", "example")


class DryRun:
    """Counts the reports that were not sent, by rule and kind of captcha, with an example each."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, Kind], int] = {}
        self._examples: dict[tuple[str, Kind], str] = {}

    def add(self, rule: str, kind: Kind, url: str) -> None:
        """Count a report.

        Args:
            rule: the name of the rule that matched.
            kind: what chooses the endpoint.
            url: of the request that submitted the answer.
        """
        self._counts[rule, kind] = self._counts.get((rule, kind), 0) + 1
        self._examples.setdefault((rule, kind), url)

    def summary(self) -> str:
        """What would have been reported, the most frequent first, to be read in a log."""
        total = sum(self._counts.values())
        if not total:
            return "nothing would have been reported"
        by_count = sorted(self._counts, key=self._counts.__getitem__, reverse=True)
        rows = [
            (rule, kind.value, str(self._counts[rule, kind]), cut(self._examples[rule, kind]))
            for rule, kind in by_count
        ]
        rule_width, kind_width, *_ = (
            max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)
        )
        lines = (
            f"{rule:{rule_width}}  {kind:{kind_width}}  {count:>7}  {example}"
            for rule, kind, count, example in (_HEAD, *rows)
        )
        return "\n".join((f"{total} would have been reported", *lines))
