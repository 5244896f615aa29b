"""Where tokens and refused logins are kept: in memory, or in a file for a machine's processes."""

import json
import logging
import math
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import Any, Protocol, cast

import anyio
import anyio.to_thread
from attrs import field, frozen

from every8d_async._loop import current_loop

if sys.platform == "win32":  # pragma: no cover - the other branch is covered where it runs
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


_LOG = logging.getLogger("every8d_async")

_OWNER_ONLY = 0o600
_POLL = 0.05  # seconds between two tries for the lock
_PATIENCE = 30.0  # seconds for the lock: a login takes less, but who holds it may have been stopped


@frozen
class StoredToken:
    """
    A token as a store keeps it.

    Attributes:
        value: The token itself; a secret.
        issued_at: When it was issued, in seconds since 1970.
        expires_at: When it ends, in seconds since 1970.
    """

    value: str = field(repr=False)
    issued_at: float
    expires_at: float


@frozen
class StoredRefusal:
    """
    A refused login as a store keeps it, so that a restarted process does not repeat it at once.

    Attributes:
        code: The gateway's code.
        message: The gateway's words.
        at: When it was refused, in seconds since 1970.
        until: How long it is believed, in seconds since 1970; infinite for a locked account.
        streak: Refusals in a row.
    """

    code: int
    message: str
    at: float
    until: float
    streak: int


class TokenStore(Protocol):
    """
    Where tokens and refused logins are kept, so that workers can share one login.

    `key` names site and account. A store never talks to the gateway. One that raises stops no call:
    the session warns, and goes on with a login of its own.
    """

    async def load(self, key: str) -> StoredToken | StoredRefusal | None:
        """Give what was saved last, or None."""
        ...

    async def save(self, key: str, token: StoredToken | StoredRefusal) -> None:
        """Keep a token or a refusal in place of what was there."""
        ...

    async def discard(self, key: str, token: str) -> None:
        """Forget a token that is dead; a newer one stays."""
        ...

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """Hold off every other login for this key."""
        ...


class MemoryTokenStore:
    """
    The default store: this process's memory. Sessions that are given the same one share it.

    It never talks to the gateway.
    """

    def __init__(self) -> None:
        self._kept: dict[str, StoredToken | StoredRefusal] = {}
        self._locks: dict[str, tuple[object, anyio.Lock]] = {}

    async def load(self, key: str) -> StoredToken | StoredRefusal | None:
        """Give what was saved last, or None."""
        return self._kept.get(key)

    async def save(self, key: str, token: StoredToken | StoredRefusal) -> None:
        """Keep a token or a refusal in place of what was there."""
        self._kept[key] = token

    async def discard(self, key: str, token: str) -> None:
        """Forget a token that is dead; a newer one stays."""
        kept = self._kept.get(key)
        if isinstance(kept, StoredToken) and kept.value == token:
            del self._kept[key]

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold off every other login for this key in the same event loop."""
        loop = current_loop()
        home, lock = self._locks.get(key, (None, None))
        if lock is None or home is not loop:
            # A lock can't cross loops, and a store may outlive one.
            lock = anyio.Lock()
            self._locks[key] = loop, lock
        async with lock:
            yield


Kept = StoredToken | StoredRefusal


class FileTokenStore:
    """
    Keeps tokens and refused logins in a file that only its owner can read (mode 0600).

    Sessions of any number of processes may share it: they make one login together, and a process
    that restarts neither logs in anew nor repeats a login that was just refused. A lock beside the
    file (its name with ``.lock``) keeps logins apart; it ends with its process, and nobody waits
    longer than 30 seconds for it. What is in the file but can't be read is passed over with a
    warning, since a send should not wait for it. The store never talks to the gateway.

    Args:
        path: The file; it is made when it is needed, its folder is not.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock_path = self._path.with_name(self._path.name + ".lock")

    async def load(self, key: str) -> Kept | None:
        """Give what was saved last, or None."""
        return await anyio.to_thread.run_sync(lambda: value_of(self._read().get(key)))

    async def save(self, key: str, token: Kept) -> None:
        """Keep a token or a refusal in place of what was there."""
        await anyio.to_thread.run_sync(lambda: self._write(self._read() | {key: plain_of(token)}))

    async def discard(self, key: str, token: str) -> None:
        """Forget a token that is dead; a newer one stays."""

        def discard() -> None:
            kept = self._read()
            value = value_of(kept.get(key))
            if isinstance(value, StoredToken) and value.value == token:
                del kept[key]
                self._write(kept)

        async with self.lock(key):
            await anyio.to_thread.run_sync(discard)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:  # noqa: ARG002 - one lock for all keys
        """
        Hold off every other login on this file, in any process.

        Raises:
            TimeoutError: Another process has held it for 30 seconds; the session then goes on with
                a login of its own.
        """
        descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, _OWNER_ONLY)
        try:
            # Tried again and again rather than waited for in a thread: that could not be cancelled.
            with anyio.fail_after(_PATIENCE):
                while not _locked(descriptor):  # noqa: ASYNC110 - nobody tells of a file lock
                    await anyio.sleep(_POLL)
            yield
        finally:
            # Closing alone lets go only of what no child process has inherited.
            with suppress(OSError):
                _unlock(descriptor)
            os.close(descriptor)

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError:
            kept = None
        if isinstance(kept, dict):
            return cast("dict[str, Any]", kept)
        _LOG.warning("the token file %s can't be read; it will be written anew", self._path.name)
        return {}

    def _write(self, kept: dict[str, Any]) -> None:
        descriptor, fresh = mkstemp(dir=self._path.parent, prefix=self._path.name)  # mode 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(kept, file)
            Path(fresh).replace(self._path)  # whole or not at all: readers hold no lock
        except BaseException:
            Path(fresh).unlink(missing_ok=True)
            raise


def _locked(descriptor: int) -> bool:
    try:
        _try_lock(descriptor)
    except OSError:
        return False
    return True


def plain_of(token: Kept) -> dict[str, Any]:
    """Give a token or a refusal as JSON can hold it."""
    if isinstance(token, StoredToken):
        return {
            "token": token.value,
            "issued_at": token.issued_at,
            "expires_at": token.expires_at,
        }
    # JSON knows no infinity: a refusal that stands for ever has no end.
    return {
        "code": token.code,
        "message": token.message,
        "at": token.at,
        "until": None if math.isinf(token.until) else token.until,
        "streak": token.streak,
    }


def value_of(plain: Any) -> Kept | None:
    """Read back what `plain_of` gave; None for anything else."""
    try:
        match plain:
            case {"token": str(value), "issued_at": issued_at, "expires_at": expires_at}:
                return StoredToken(value, float(issued_at), float(expires_at))
            case {"code": code, "message": str(message), "at": at, "until": until, "streak": n}:
                end = math.inf if until is None else float(until)
                return StoredRefusal(int(code), message, float(at), end, int(n))
            case _:
                return None
    except (TypeError, ValueError):
        return None
