"""Ctrl-C while an event loop runs: the first asks to stop, the second cuts."""

import signal
from asyncio import get_running_loop
from collections.abc import Callable, Generator
from contextlib import contextmanager

import anyio

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """
    Hears SIGINT and SIGTERM, and cancels the scopes that were handed out.

    What asks may end at the first; what sends goes on to the end of what is in flight, and is cut
    by the second, which leaves that unknown.

    Args:
        first: Called at the first signal.
    """

    def __init__(self, first: Callable[[], None] = lambda: None) -> None:
        self._first = first
        self._heard = 0
        self._scopes: list[tuple[int, anyio.CancelScope]] = []

    @property
    def asked(self) -> bool:
        """Tell whether somebody asked to stop."""
        return self._heard > 0

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the signals over while the block runs, in the event loop."""
        loop = get_running_loop()

        def hear(_number: int, _frame: object) -> None:
            loop.call_soon_threadsafe(self._hear)

        before = [(number, signal.signal(number, hear)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handler in before:
                signal.signal(number, handler)

    @contextmanager
    def stops(self) -> Generator[anyio.CancelScope]:
        """Give a scope that the first signal cancels."""
        with self._scope(1) as scope:
            yield scope

    @contextmanager
    def cuts(self) -> Generator[anyio.CancelScope]:
        """Give a scope that the second signal cancels."""
        with self._scope(2) as scope:
            yield scope

    @contextmanager
    def _scope(self, after: int) -> Generator[anyio.CancelScope]:
        with anyio.CancelScope() as scope:
            entry = after, scope
            self._scopes.append(entry)
            if self._heard >= after:
                scope.cancel()
            try:
                yield scope
            finally:
                self._scopes.remove(entry)

    def _hear(self) -> None:
        self._heard += 1
        if self._heard == 1:
            self._first()
        for after, scope in self._scopes:
            if self._heard >= after:
                scope.cancel()
