"""
Who has a journal open, and who is gone: each owner holds a lock that the system ends with it.

A lock needs no clock: an owner that is stopped, swapped out or slow is not gone, and one that was
killed is, at once. The lock is on a file of the owner's own beside the journal, since a lock shared
with others would say nothing about one of them.
"""

import os
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from every8d_async._stores import _locked as locked

_OWNER_ONLY = 0o600


class Owner:
    """One opening of a journal."""

    def __init__(self, journal: Path) -> None:
        self.name = token_hex(8)
        self._journal = journal
        self._descriptor: int | None = None

    def begin(self) -> None:
        """Take the lock, before anything is written in this name; clear away what the gone left."""
        beginning = _lock_of(self._journal, "").name
        for litter in self._journal.parent.iterdir():
            if litter.name.startswith(beginning):
                self.is_gone(litter.name.removeprefix(beginning))
        path = _lock_of(self._journal, self.name)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
        locked(self._descriptor)  # nobody else knows the name yet

    def end(self) -> None:
        """Let go of the lock, and remove it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
            _lock_of(self._journal, self.name).unlink(missing_ok=True)

    def is_gone(self, name: str) -> bool:
        """
        Tell whether another owner's process, or its opening, has ended.

        A lock that is not there any more (removed by hand, or the journal was moved) is taken as
        gone too: what a live owner had claimed is then lost to it, and it sends nothing.
        """
        path = _lock_of(self._journal, name)
        try:
            descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return True
        try:
            if not locked(descriptor):
                return False
        finally:
            os.close(descriptor)
        with suppress(OSError):  # litter at worst
            path.unlink(missing_ok=True)
        return True


def _lock_of(journal: Path, name: str) -> Path:
    return journal.with_name(f"{journal.name}-owner-{name}")
