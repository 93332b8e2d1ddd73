"""Tells which runs of a ledger file are alive: each locks a file while its process lives."""

from __future__ import annotations

import glob
import logging
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Collection

logger = logging.getLogger(__name__)

IS_HELD_AFTER_SECONDS: Final = 60.0
"""A younger file may belong to a run that has not locked it yet."""


class RunLocks:
    """The lock of this run and those of ended runs. Every method may wait for a disk.

    Args:
        ledger: the ledger file; the lock files lie beside it.
        log_extra: what log records carry.
    """

    def __init__(self, ledger: Path, log_extra: dict[str, Any]) -> None:
        self.run_id = secrets.token_hex(8)
        self._ledger = ledger
        self._log_extra = log_extra
        self._own: list[FileLock] = []
        self._ended: dict[str, FileLock] = {}
        self._have_effect = True

    def hold(self) -> None:
        """Show that this run is alive, and check that other runs can see it.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self._have_effect or (self._own and Path(self._own[-1].lock_file).exists()):
            return
        # An earlier one is still held: it may have been moved, together with the ledger.
        lock = self._lock_of(self.run_id)
        try:
            lock.acquire(blocking=False)
            self._own.append(lock)
            self._lock_of(self.run_id).acquire(blocking=False)
        except Timeout:
            return
        except NotImplementedError:
            pass
        self._have_effect = False
        logger.warning(
            "File locks have no effect in %s. Reports that a killed crawl leaves there are not "
            "sent by the next one. Keep the ledger on a local disk.",
            self._ledger.parent,
            extra=self._log_extra,
        )

    def find_ended(self, pending: Collection[str | None]) -> Collection[str]:
        """The runs that have ended, as far as their files show it.

        We hold their locks until :meth:`forget_ended`, so only one run recovers what they left.

        Args:
            pending: the runs that have left something, or are alive.
        """
        if not self._have_effect:
            return ()
        for path in self._ledger.parent.glob(f"{glob.escape(self._ledger.name)}.run-*.lock"):
            run_id = path.name.rpartition(".run-")[2].removesuffix(".lock")
            with suppress(OSError):  # its run is alive, or has just ended
                is_old = time.time() - path.stat().st_mtime > IS_HELD_AFTER_SECONDS
                if run_id not in self._ended and (is_old or run_id in pending):
                    lock = self._lock_of(run_id)
                    lock.acquire(blocking=False)
                    self._ended[run_id] = lock
        return self._ended.keys()

    def forget_ended(self) -> None:
        """Remove the locks of ended runs: what they left is recovered."""
        while self._ended:
            _let_go(self._ended.popitem()[1], remove=True)

    def release(self, *, remove: bool) -> None:
        """End this run, and *remove* its lock if it has left nothing."""
        for lock in self._own:
            _let_go(lock, remove=remove)
        for lock in self._ended.values():
            _let_go(lock, remove=False)

    def _lock_of(self, run_id: str) -> FileLock:
        return FileLock(f"{self._ledger}.run-{run_id}.lock", thread_local=False)


def _let_go(lock: FileLock, *, remove: bool) -> None:
    if remove:  # while we hold it, so that it is not another run's
        with suppress(OSError):  # Windows does not remove an open file
            Path(lock.lock_file).unlink()
    lock.release()
