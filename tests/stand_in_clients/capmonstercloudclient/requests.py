"""The requests of the official client that the documentation uses."""

from __future__ import annotations


class TurnstileRequest:
    def __init__(self, websiteURL: str, websiteKey: str) -> None:
        self._task = {"websiteURL": websiteURL, "websiteKey": websiteKey}

    def getTaskDict(self) -> dict[str, str]:
        return {"type": "TurnstileTask", **self._task}
