"""A token store that fails must stop no send: go on with the process's own token."""

import logging
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from every8d_async._codecs import is_token
from every8d_async._stores import StoredRefusal, StoredToken, TokenStore

T = TypeVar("T")

_LOG = logging.getLogger("every8d_async")
_PAUSE = 5.0  # seconds in which a store that failed is not asked again


class LenientStore:
    """
    Takes a failing store for an empty one, with a warning each time.

    A session then logs in for itself, as if nothing were shared, and shares again from its next
    login on once the store is back. Bounding how long a store may take is the store's own duty; one
    that failed is left alone for a while, so that a login waits for it once and not at each step.
    """

    def __init__(self, store: TokenStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._away_until = -math.inf

    async def load(self, key: str) -> StoredToken | StoredRefusal | None:
        """Give what was saved last, or None."""
        kept = await self._unless_away("load", lambda: self._store.load(key))
        if kept is None or is_sound(kept):
            return kept
        _LOG.warning("the token store gave something that is no token; it is passed over")
        return None

    async def save(self, key: str, token: StoredToken | StoredRefusal) -> None:
        """Keep a token or a refusal in place of what was there."""
        await self._unless_away("save", lambda: self._store.save(key, token))

    async def discard(self, key: str, token: str) -> None:
        """Forget a token that is dead; a newer one stays."""
        await self._unless_away("discard", lambda: self._store.discard(key, token))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold off every other login for this key, as far as the store can."""

        async def take() -> Callable[[], Awaitable[object]]:
            lock = self._store.lock(key)
            await lock.__aenter__()
            return lambda: lock.__aexit__(None, None, None)

        release = await self._unless_away("lock", take)
        try:
            yield
        finally:
            if release is not None:
                await self._tried("release", release)

    async def _unless_away(self, what: str, call: Callable[[], Awaitable[T]]) -> T | None:
        return None if self._clock() < self._away_until else await self._tried(what, call)

    async def _tried(self, what: str, call: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await call()
        except Exception as error:  # noqa: BLE001 - whatever a store raises, sends go on
            self._away_until = self._clock() + _PAUSE
            # Its class alone: a message may hold an address with a password.
            _LOG.warning("the token store failed to %s: %s", what, type(error).__name__)
            return None


def is_sound(kept: object) -> bool:
    """Tell whether a store's answer is what was saved: it may have been spoilt, or be another's."""
    match kept:
        case StoredToken(value=str(value), issued_at=issued_at, expires_at=expires_at):
            times: tuple[object, ...] = (issued_at, expires_at)
            return is_token(value) and all(isinstance(time, int | float) for time in times)
        case StoredRefusal(code=int(), message=str(), at=at, until=until, streak=int()):
            return all(isinstance(time, int | float) for time in (at, until))
        case _:
            return False
