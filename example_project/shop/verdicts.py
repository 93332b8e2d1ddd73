"""What the shop thought of the answers it got: its own record, which the plugin never sees."""

from __future__ import annotations

from collections import Counter, defaultdict
from enum import Enum


class Verdict(Enum):
    """What became of an answer that was submitted."""

    RIGHT = "right"
    WRONG = "wrong"
    UNANSWERED = "the shop failed with a 503"
    # Refused, and the answer is not to blame.
    EXPIRED = "session expired"
    RESENT = "sent again after a 503"
    USED = "used before"


NOT_TO_BLAME = (Verdict.EXPIRED, Verdict.RESENT, Verdict.USED)


class Record:
    """The verdicts on each answer, in order.

    An answer is known by what it answers: the picture (in base64), or the token itself.
    """

    def __init__(self) -> None:
        self._verdicts: dict[str, list[Verdict]] = defaultdict(list)

    def add(self, answer: str, verdict: Verdict) -> Verdict:
        self._verdicts[answer].append(verdict)
        return verdict

    def on(self, answer: str) -> list[Verdict]:
        """The verdicts on *answer*; empty if it was never submitted."""
        return self._verdicts.get(answer, [])

    def count(self) -> Counter[Verdict]:
        """How often each verdict was given."""
        return Counter(verdict for each in self._verdicts.values() for verdict in each)
