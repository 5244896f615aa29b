"""
Redis: one login and one rate for many processes (extra ``redis``, asyncio only).

::

    redis = Redis(host="127.0.0.1")                         # redis.asyncio
    session = Every8DSession.from_env(
        token_store=RedisTokenStore(redis),
        rate_limit=RedisRateLimit(redis, RateLimit(50)),
    )

While Redis is away nothing is lost and nothing waits for it: each process goes on with a login and
a rate limit of its own, and shares again once Redis is back. The client stays yours to close.
"""

import asyncio
import json
import logging
import math
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from every8d_async._options import RateLimit
from every8d_async._stores import Kept, StoredToken, plain_of, value_of

__all__ = ["RedisRateLimit", "RedisTokenStore"]

_LOG = logging.getLogger("every8d_async")

_POLL = 0.05  # seconds between two tries for the lock
_DAY = 86_400.0
_PAUSE = 5.0  # seconds in which Redis is not asked again after it failed
_FOREVER = 10**12  # microseconds

# KEYS: value, lock. ARGV: the value, its milliseconds or 0, the lock's secret or nothing.
_SAVE = """
local owner = redis.call('GET', KEYS[2])
if ARGV[3] ~= '' and owner ~= ARGV[3] and (owner or redis.call('EXISTS', KEYS[1]) == 1) then
  return 0
end
if ARGV[2] == '0' then redis.call('SET', KEYS[1], ARGV[1])
else redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
"""
# KEYS: value. ARGV: the dead token.
_DISCARD = """
local kept = redis.call('GET', KEYS[1])
if kept and cjson.decode(kept)['token'] == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
"""
# KEYS: lock. ARGV: its secret, and milliseconds.
_EXTEND = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
# KEYS: lock. ARGV: its secret.
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"
# GCRA: the key holds when the next request would leave at an even pace. KEYS: that. ARGV, all in
# microseconds: the interval, how far a burst may run ahead, how long the caller would wait.
_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local even = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local wait = math.max(even - tonumber(ARGV[2]) - now, 0)
if wait > tonumber(ARGV[3]) then return -1 end
even = even + tonumber(ARGV[1])
local keep = math.ceil((even - now) / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.0f', even), 'PX', string.format('%.0f', keep))
return wait
"""


class RedisTokenStore:
    """
    Keeps tokens and refused logins in Redis, for sessions of any number of processes and machines.

    They make one login together. Tokens are secrets: whoever may read this Redis may send. A token
    goes with its end; a refusal a day after it stopped standing, so that the next one counts on.

    The lock expires soon after its holder has died, so that nobody waits for a process that was
    killed in its login. Who has lost it all the same saves nothing, since another one is ahead. The
    store never talks to the gateway.

    Args:
        redis: A client of ``redis.asyncio``, in the session's event loop.
        prefix: What keys begin with.
        lock_seconds: Seconds after which a dead process's lock expires; a living one extends it.
        patience: Seconds that Redis may take to answer.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        prefix: str = "every8d:",
        lock_seconds: float = 10.0,
        patience: float = 2.0,
    ) -> None:
        self._redis = redis
        self._prefix = prefix
        self._lock_ms = math.ceil(lock_seconds * 1000)
        self._patience = patience
        # By task: after Redis has forgotten a lock, two of them may hold it here.
        self._held: dict[tuple[asyncio.Task[Any] | None, str], str] = {}
        self._save, self._discard = redis.register_script(_SAVE), redis.register_script(_DISCARD)
        self._push_on, self._release = (
            redis.register_script(_EXTEND),
            redis.register_script(_RELEASE),
        )

    async def load(self, key: str) -> Kept | None:
        """Give what was saved last, or None."""
        kept = await self._ask(self._redis.get(self._name(key)))
        try:
            return value_of(json.loads(kept or "null"))
        except ValueError:
            _LOG.warning("a token in Redis can't be read; it will be written anew")
            return None

    async def save(self, key: str, token: Kept) -> None:
        """Keep a token or a refusal in place of what was there."""
        end = token.expires_at if isinstance(token, StoredToken) else token.until + _DAY
        left = 0 if math.isinf(end) else max(1, math.ceil((end - time.time()) * 1000))
        names = [self._name(key), self._lock_name(key)]
        value = json.dumps(plain_of(token))
        held = self._held.get((asyncio.current_task(), key), "")
        if not await self._ask(self._save(keys=names, args=[value, left, held])):
            _LOG.warning("the login took longer than its lock: its token is not shared")

    async def discard(self, key: str, token: str) -> None:
        """Forget a token that is dead; a newer one stays."""
        await self._ask(self._discard(keys=[self._name(key)], args=[token]))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        """Hold off every other login for this key, in any process; save in the same task."""
        name, secret = self._lock_name(key), secrets.token_hex(16)
        while not await self._ask(self._redis.set(name, secret, nx=True, px=self._lock_ms)):  # noqa: ASYNC110 - nobody tells when it is free
            await asyncio.sleep(_POLL)
        holder = asyncio.current_task(), key
        self._held[holder] = secret
        extending = asyncio.create_task(self._extend(name, secret))
        try:
            yield
        finally:
            extending.cancel()
            del self._held[holder]
            await self._ask(self._release(keys=[name], args=[secret]))

    async def _extend(self, name: str, secret: str) -> None:
        """Keep a lock while its holder lives."""
        while True:
            await asyncio.sleep(self._lock_ms / 3000)
            with suppress(RedisError, OSError):
                await self._ask(self._push_on(keys=[name], args=[secret, self._lock_ms]))

    def _name(self, key: str) -> str:
        return f"{self._prefix}token:{key}"

    def _lock_name(self, key: str) -> str:
        return f"{self._prefix}lock:{key}"

    async def _ask(self, answer: object) -> Any:
        return await _within(self._patience, answer)


class RedisRateLimit:
    """
    A rate limit that all processes with the same `name` keep together, for ``rate_limit=``.

    Each process's own callers go first come first; between processes Redis's clock decides. A turn
    that was taken is not given back, so the rate is never exceeded, but for the time that Redis is
    away: then each process keeps `alone` for itself. It never talks to the gateway.

    Args:
        redis: A client of ``redis.asyncio``, in the session's event loop.
        limit: For all processes together.
        name: What is limited, such as the account.
        alone: For each process while Redis is away; the same as `limit` if None.
        prefix: What keys begin with.
        patience: Seconds that Redis may take to answer.
    """

    def __init__(
        self,
        redis: Redis,
        limit: RateLimit,
        *,
        name: str = "default",
        alone: RateLimit | None = None,
        prefix: str = "every8d:",
        patience: float = 1.0,
    ) -> None:
        self._take = redis.register_script(_TAKE)
        self._key = f"{prefix}rate:{name}"
        self._interval, self._ahead = limit.interval, limit.ahead
        self._alone = alone or limit
        self._patience = patience
        self._even = -math.inf
        self._away_until = -math.inf

    async def take(self, patience: float) -> float | None:
        """
        Take a turn; give the seconds until it comes, or None if that is too long to wait.

        Args:
            patience: Seconds that the caller would wait for it.
        """
        if time.monotonic() >= self._away_until:
            try:
                return await self._take_together(patience)
            except (RedisError, OSError) as error:
                self._away_until = time.monotonic() + _PAUSE
                _LOG.warning("Redis is away (%s): each process for itself", type(error).__name__)
        return self._take_alone(patience)

    async def _take_together(self, patience: float) -> float | None:
        numbers = (self._interval, self._ahead, patience)
        micros = [round(min(seconds * 1e6, _FOREVER)) for seconds in numbers]
        answer = self._take(keys=[self._key], args=micros)
        wait: int = await _within(self._patience, answer)
        return None if wait < 0 else wait / 1e6

    def _take_alone(self, patience: float) -> float | None:
        now = time.monotonic()
        even = max(self._even, now)
        wait = max(even - self._alone.ahead - now, 0.0)
        if wait > patience:
            return None
        self._even = even + self._alone.interval
        return wait


async def _within(seconds: float, answer: object) -> Any:
    """Wait for Redis, but not longer than agreed."""
    # Redis's client types its commands for its synchronous twin as well.
    async with asyncio.timeout(seconds):
        return await cast("Awaitable[Any]", answer)
