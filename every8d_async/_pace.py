"""When the next request may leave: the caller's own rate limit, and the gateway's word (429)."""

import math

import anyio

from every8d_async._options import RateLimit, SharedRateLimit
from every8d_async._wire import HELD, SLOT, WireFailure


class Pace:
    """
    Lets requests go one after the other, first come first, no faster than allowed.

    The limit is kept as the time at which the next request would leave at an even pace (GCRA);
    only a request that really goes moves it, so a caller that gives up takes nobody's turn.
    """

    def __init__(self, limit: RateLimit | SharedRateLimit | None) -> None:
        local = limit if isinstance(limit, RateLimit) else None
        self._shared = None if isinstance(limit, RateLimit) else limit
        self._interval = local.interval if local else 0.0
        self._ahead = local.ahead if local else 0.0
        self._even = -math.inf
        self._held_until = -math.inf
        self._turn = anyio.Lock(fast_acquire=True)

    @property
    def is_held(self) -> bool:
        """Tell whether the gateway's word holds everything back."""
        return self._held_until > -math.inf and anyio.current_time() < self._held_until

    def hold(self, seconds: float) -> None:
        """Let nothing go for so long: the gateway asked for it."""
        self._held_until = max(self._held_until, anyio.current_time() + seconds)

    async def wait(self, deadline: float) -> WireFailure | None:
        """Wait for a turn; where it would come after the deadline, say so at once."""
        if not self._interval and self._shared is None and not self.is_held:
            return None
        with anyio.CancelScope(deadline=deadline):
            async with self._turn:
                if self._shared is None:
                    return await self._take_turn(deadline)
                return await self._take_shared_turn(self._shared, deadline)
        return WireFailure(left=False, phase=SLOT, cause="deadline")

    async def wait_out(self, deadline: float) -> WireFailure | None:
        """Wait while the gateway holds everything back, and take no turn; for logins and such."""
        while self.is_held:
            if self._held_until > deadline:
                return self._held()
            await anyio.sleep_until(self._held_until)
        return None

    def _held(self) -> WireFailure:
        wait = self._held_until - anyio.current_time()
        return WireFailure(left=False, phase=HELD, cause="deadline", wait=wait)

    async def _take_shared_turn(
        self, shared: SharedRateLimit, deadline: float
    ) -> WireFailure | None:
        while (failure := await self._take_turn(deadline)) is None:
            wait = await shared.take(deadline - anyio.current_time())
            if wait is None:
                return WireFailure(left=False, phase=SLOT, cause="deadline")
            await anyio.sleep(wait)
            # A turn that came while the gateway held us back is lost: it may be another's by now.
            if not self.is_held:
                return None
        return failure

    async def _take_turn(self, deadline: float) -> WireFailure | None:
        while True:
            now = anyio.current_time()
            go = max(self._held_until, self._even - self._ahead)
            if go <= now:
                self._even = max(self._even, now) + self._interval
                return None
            if go > deadline:
                if self._held_until > deadline:
                    return self._held()
                return WireFailure(left=False, phase=SLOT, cause="deadline")
            await anyio.sleep_until(go)


class RetryBudget:
    """
    Lets retries be a small part of all calls, so that an outage is not multiplied by them.

    Each call earns a fifth of a retry, up to fifty; a quiet session may start with those.
    """

    _MOST, _EARNED = 50.0, 0.2

    def __init__(self) -> None:
        self._left = self._MOST

    def earn(self) -> None:
        """Count a call that begins."""
        self._left = min(self._MOST, self._left + self._EARNED)

    def spend(self) -> bool:
        """Take a retry; False where none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
