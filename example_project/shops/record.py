"""What the shops thought of the answers they got: their own record, which no crawl sees."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Verdict(Enum):
    """What a shop says to an answer."""

    RIGHT = "accepted"
    NO_SESSION = "not looked at, the session had expired"
    FAILURE = "not looked at, the shop failed with a 503"
    WRONG = "rejected, it is wrong"
    LATE = "rejected, it is older than two minutes"
    USED = "rejected, it had been sent before"


class Entry(NamedTuple):
    """What became of an answer that was sent to a shop.

    Args:
        site: the shop.
        verdict: what it said to the answer.
    """

    site: str
    verdict: Verdict


class Record:
    """The verdict on each answer: the first, unless the shop had not looked at it then.

    An answer is known by what was bought: the token itself, or the picture it is for (in base64).
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, answer: str, entry: Entry) -> None:
        known = self.on(answer)
        if known is None or known.verdict is Verdict.FAILURE:
            self._entries[answer] = entry

    def on(self, answer: str) -> Entry | None:
        """The verdict on *answer*; ``None`` if it was never sent."""
        return self._entries.get(answer)
