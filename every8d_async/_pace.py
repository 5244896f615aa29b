"""When the next request may leave: the caller's own rate limit, and the gateway's word (429)."""

import math

import anyio

from every8d_async._options import RateLimit
from every8d_async._wire import HELD, SLOT, WireFailure


class Pace:
    """
    Lets requests go one after the other, first come first, no faster than allowed.

    The limit is kept as the time at which the next request would leave at an even pace (GCRA);
    only a request that really goes moves it, so a caller that gives up takes nobody's turn.
    """

    def __init__(self, limit: RateLimit | None) -> None:
        self._interval = limit.per / limit.requests if limit else 0.0
        burst = (
            max(1, math.ceil(limit.requests if limit.burst is None else limit.burst))
            if limit
            else 1
        )
        self._ahead = self._interval * (burst - 1)
        self._even = -math.inf
        self._held_until = -math.inf
        self._turn = anyio.Lock(fast_acquire=True)

    def hold(self, seconds: float) -> None:
        """Let nothing go for so long: the gateway asked for it."""
        self._held_until = max(self._held_until, anyio.current_time() + seconds)

    async def wait(self, deadline: float) -> WireFailure | None:
        """Wait for a turn; where it would come after the deadline, say so at once."""
        now = anyio.current_time()
        if not self._interval and now >= self._held_until:
            return None
        with anyio.CancelScope(deadline=deadline):
            async with self._turn:
                return await self._take_turn(deadline)
        return WireFailure(left=False, phase=SLOT, cause="deadline")

    async def _take_turn(self, deadline: float) -> WireFailure | None:
        while True:
            now = anyio.current_time()
            go = max(self._held_until, self._even - self._ahead)
            if go <= now:
                self._even = max(self._even, now) + self._interval
                return None
            if go > deadline:
                held = self._held_until > deadline
                phase, wait = (HELD, self._held_until - now) if held else (SLOT, None)
                return WireFailure(left=False, phase=phase, cause="deadline", wait=wait)
            await anyio.sleep_until(go)
