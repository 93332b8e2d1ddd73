"""The shops' own record of their verdicts on answers. The crawls do not see it."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """The verdict of a shop on an answer."""

    RIGHT = "accepted"
    NO_SESSION = "not looked at, the session had expired"
    FAILURE = "not looked at, the shop failed with a 503"
    WRONG = "rejected, it is wrong"
    LATE = "rejected, it is older than two minutes"
    USED = "rejected, it had been sent before"


class Entry(NamedTuple):
    """The record of an answer that was sent to a shop.

    Args:
        site: the shop.
        verdict: its verdict.
    """

    site: str
    verdict: Verdict


class Record:
    """The first verdict on each answer, not counting times when the shop did not look at it.

    An answer is identified by its token, or by the picture (in base64) that it is for.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, answer: str, entry: Entry) -> None:
        known = self.on(answer)
        if known is None or known.verdict is Verdict.FAILURE:
            self._entries[answer] = entry

    def on(self, answer: str) -> Entry | None:
        """The verdict on *answer*; ``None`` if it was not sent."""
        return self._entries.get(answer)
