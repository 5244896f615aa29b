"""Following a batch until everybody's message has come to its end."""

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio

from every8d_async._errors import (
    GatewayUnavailable,
    GatewayUnreachable,
    RateLimited,
)
from every8d_async._models import DeliveryReport
from every8d_async._paging import Pager

_LOG = logging.getLogger("every8d_async")
_PASSING = (GatewayUnavailable, GatewayUnreachable, RateLimited)
_PATIENCE = 10  # failed readings in a row

Key = tuple[str, str, int]


class Watch(AsyncIterator[DeliveryReport]):
    """
    Gives each report when it is new or has changed, until all are final or the time is up (§4.2).

    It may be left at any time. A batch without rows has not come to its end: the gateway shows them
    late. Once a reading has succeeded, up to ten in a row may fail for want of an answer.

    Attributes:
        is_complete: Whether all reports were final when the iteration ended; False where the time
            was up first.
    """

    def __init__(
        self,
        read: Callable[[], Pager[DeliveryReport]],
        *,
        every: float,
        timeout: float,
        now: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.is_complete = False
        self._read = read
        self._every = every
        self._timeout = timeout
        self._now = now
        self._sleep = sleep
        self._end = 0.0
        self._begun = False
        self._last: dict[Key, DeliveryReport] = {}
        self._news: deque[DeliveryReport] = deque()
        self._failures = 0
        self._has_read = False

    def __aiter__(self) -> "Watch":
        return self

    async def __anext__(self) -> DeliveryReport:
        """
        Wait for the next report; it sends nothing.

        Raises:
            Every8DError: As by `Sms.watch`.
        """
        if not self._begun:
            self._begun, self._end = True, self._now() + self._timeout
            await self._look()
        while not self._news:
            left = self._end - self._now()
            if self.is_complete or left <= 0:
                raise StopAsyncIteration
            await self._sleep(min(self._every, left))
            await self._look()
        return self._news.popleft()

    async def _look(self) -> None:
        """Read the batch once, and keep what is new; a reading ends with the time at the latest."""
        try:
            with anyio.move_on_after(max(self._end - self._now(), 0.0)):
                await self._read_all()
            self._failures, self._has_read = 0, True
        except _PASSING as error:
            self._failures += 1
            if not self._has_read or self._failures > _PATIENCE:
                raise
            _LOG.warning("a batch could not be read, going on: %s", type(error).__name__)

    async def _read_all(self) -> None:
        pager = self._read()
        seen: dict[tuple[str, str], int] = {}
        final = True
        async for report in pager:
            person = report.reference, report.mobile
            seen[person] = seen.get(person, 0) + 1
            key: Key = (*person, seen[person])
            final = final and report.is_final
            if self._last.get(key) != report:
                self._last[key] = report
                self._news.append(report)
        self.is_complete = bool(seen) and final and not pager.missing
