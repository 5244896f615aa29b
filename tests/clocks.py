"""
Event loops with a time of their own, for asyncio as trio has them (`MockClock`).

`jumping`: time jumps to the next timer as soon as nothing else is to do. For tests of pure timing,
without sockets or threads: a minute's wait takes no time, and times can be compared exactly.

`skipping`: time runs as usual, and a test skips what it would only wait for. With real sockets.
"""

import asyncio
import selectors
from typing import Any

import trio.testing


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: what would have been waited is added to the clock."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        self.now += max(timeout, 0.0)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _Jumping()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now


def jumping(backend: str) -> tuple[str, dict[str, Any]]:
    """Give the backend with a clock that jumps, for an ``anyio_backend`` fixture."""
    if backend == "trio":
        return backend, {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return backend, {"loop_factory": _Loop}


class _SkippingLoop(asyncio.SelectorEventLoop):
    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


def skipping(backend: str) -> tuple[str, dict[str, Any]]:
    """Give the backend with a clock that runs as usual, and can be put ahead by `skip`."""
    if backend == "trio":
        return backend, {"clock": trio.testing.MockClock(rate=1.0)}
    return backend, {"loop_factory": _SkippingLoop}


def skip(seconds: float) -> None:
    """Put the clock ahead: timers of the meantime are due now. For use with real sockets."""
    if trio.lowlevel.in_trio_run():
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        clock.jump(seconds)
    else:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, _SkippingLoop)
        loop.skipped += seconds
