"""
What the pure layers need of an event loop, asyncio's or trio's: who runs, and a task of one's own.

anyio offers neither: a task group would have to be entered and left in one task, and fixtures and
lifespans enter and exit a session in different ones.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Generic, TypeVar

import anyio

from every8d_async._errors import Every8DError, SessionMisuse

T = TypeVar("T")


def _running_trio() -> Any:
    """Give the trio module if trio runs this task, else None."""
    trio = sys.modules.get("trio")
    if trio is None:
        return None
    try:
        # In the tasks of an asyncio loop that has trio as its guest this fails, as it should.
        trio.lowlevel.current_task()
    except RuntimeError:
        return None
    return trio


def current_loop() -> object:
    """Give something that is the same as long as the same event loop runs."""
    if trio := _running_trio():
        return trio.lowlevel.current_trio_token()
    # Who runs in asyncio has it; who only imports us, or runs in trio, need not load it.
    import asyncio  # noqa: PLC0415

    return asyncio.get_running_loop()


class Home:
    """The process and event loop that a session lives in; the first call settles it."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop: object = None

    @property
    def is_forked(self) -> bool:
        """Tell whether this process is a fork of the one that made the session."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """
        Make sure that we are at home.

        Raises:
            SessionMisuse: Another process or another loop; nothing was sent.
        """
        # The process first: in a forked child even asking for the loop can fail.
        if self.is_forked:
            raise SessionMisuse(
                "this session was made in another process, before a fork: its connections belong "
                "to the parent. Nothing was sent; make a session in each process."
            )
        loop = current_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise SessionMisuse(
                "this session was first used in another event loop. Nothing was sent; make a "
                "session in each loop."
            )


def closed_meanwhile() -> SessionMisuse:
    """Make the error of who waits for something that the closing of the session ended."""
    return SessionMisuse("the session was closed meanwhile. Nothing was sent.")


class Job(Generic[T]):
    """
    One piece of work in a task of its own, awaited by any number of callers.

    A caller that gives up does not end it, and no caller leads it: its end comes from the work, or
    from `cancel`. It fails with the same error for everybody, each getting a copy.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._result: list[T] = []
        self._error: BaseException = closed_meanwhile()
        self._trio = _running_trio()
        if self._trio:
            self._trio.lowlevel.spawn_system_task(self._run, name="every8d_async job")
        else:
            import asyncio  # noqa: PLC0415 - as above

            # Kept, since the loop itself holds its tasks weakly.
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="every8d_async job"
            )
            # A task that is cancelled before its first step never gets to say that it is over.
            self._task.add_done_callback(lambda _: self._done.set())

    @property
    def is_over(self) -> bool:
        """Tell whether the work has ended."""
        return self._done.is_set()

    async def _run(self) -> None:
        try:
            with self._scope:
                self._result.append(await self._work())
        except anyio.get_cancelled_exc_class():
            raise  # the loop ends
        except Every8DError as error:
            self._error = copy(error)
            # Its frames lead back to it: without them it is gone at once, with all that they hold.
            error.__traceback__ = None
        except BaseException as error:
            self._error = error  # a bug: the waiters' to raise
            # To trio an exception out of a system task is a crash; to asyncio these two are a
            # wish to stop, which nobody may be waiting for here.
            if not self._trio and isinstance(error, KeyboardInterrupt | SystemExit):
                raise
        finally:
            self._done.set()

    async def wait(self) -> T:
        """Wait for the result; raise a copy of the error where there is one."""
        await self._done.wait()
        if self._result:
            return self._result[0]
        raise copy(self._error) if isinstance(self._error, Every8DError) else self._error

    async def cancel(self) -> None:
        """End the work, and wait until it has ended."""
        self._scope.cancel()
        await self._done.wait()
