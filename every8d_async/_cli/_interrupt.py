"""Ctrl-C while an event loop runs: the first asks to stop, the second cuts."""

import signal
from asyncio import get_running_loop
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import TracebackType

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
        self._scopes: list[Scope] = []

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

    def stop(self) -> None:
        """Ask to stop, as the first signal does."""
        if not self._heard:
            self._hear()

    def stops(self) -> "Scope":
        """Give a scope that the first signal cancels."""
        return Scope(self._scopes, 1, self._heard)

    def cuts(self) -> "Scope":
        """Give a scope that the second signal cancels."""
        return Scope(self._scopes, 2, self._heard)

    def _hear(self) -> None:
        self._heard += 1
        if self._heard == 1:
            self._first()
        for scope in self._scopes:
            scope.hear(self._heard)


class Scope:
    """A cancel scope that so many signals cancel; what follows its block then runs."""

    def __init__(self, scopes: list["Scope"], after: int, heard: int) -> None:
        self._scopes = scopes
        self._after = after
        self._scope = anyio.CancelScope()
        self.hear(heard)

    def hear(self, signals: int) -> None:
        """Cancel the block, if there were signals enough."""
        if signals >= self._after:
            self._scope.cancel()

    def __enter__(self) -> anyio.CancelScope:
        self._scopes.append(self)
        return self._scope.__enter__()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._scopes.remove(self)
        return bool(self._scope.__exit__(exc_type, exc_value, traceback))
