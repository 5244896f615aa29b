"""The home of a session, and work in a task of its own, on asyncio and on trio."""

import asyncio
import gc
import os
import subprocess
import sys
import traceback
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio

from every8d_async._errors import GatewayUnreachable, SessionMisuse
from every8d_async._loop import Home, Job, current_loop


class OddError(BaseException):
    """What is no `Exception`, and no wish to stop either."""


def as_guest_of_asyncio(check: Callable[[], Awaitable[Any]]) -> Any:
    """Run a check in an asyncio task while trio runs as asyncio's guest."""

    async def host() -> Any:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()
        leave = trio.Event()
        trio.lowlevel.start_guest_run(
            leave.wait,
            run_sync_soon_threadsafe=loop.call_soon_threadsafe,
            done_callback=ended.set_result,
        )
        try:
            return await check()
        finally:
            leave.set()
            await ended

    return asyncio.run(host())


# --- Home ---


def test_the_first_call_settles_the_loop(anyio_backend: str) -> None:
    """A session belongs to the loop of its first call, not to one that ran when it was made."""
    home = Home()

    async def twice() -> None:
        home.check()
        await anyio.lowlevel.checkpoint()
        home.check()

    anyio.run(twice, backend=anyio_backend)


@pytest.mark.parametrize("second", ["asyncio", "trio"])
def test_another_loop_is_refused(anyio_backend: str, second: str) -> None:
    """Another loop, of the same kind or of the other, is told so; its own goes on."""
    home = Home()

    async def check() -> None:
        home.check()

    anyio.run(check, backend=anyio_backend)
    with pytest.raises(SessionMisuse, match="another event loop") as caught:
        anyio.run(check, backend=second)
    assert caught.value.sent is False
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_host_of_trio_is_asyncio() -> None:
    """In an asyncio task whose loop has trio as its guest, asyncio runs, and work starts there."""

    async def check() -> tuple[object, str]:
        async def work() -> str:
            await asyncio.sleep(0)
            return "done"

        return current_loop(), await Job(work).wait()

    loop, result = as_guest_of_asyncio(check)
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert result == "done"


def test_another_process_is_refused_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is compared before the loop: in a forked child asking for the loop can fail."""
    home = Home()
    before = home.is_forked
    elsewhere = os.getpid() + 1
    monkeypatch.setattr(os, "getpid", lambda: elsewhere)
    assert (before, home.is_forked) == (False, True)
    with pytest.raises(SessionMisuse, match="another process"):
        home.check()  # no loop runs here


FORK = """
import os, sys, anyio
from every8d_async._errors import SessionMisuse
from every8d_async._loop import Home

home = Home()

async def main():
    home.check()
    pid = os.fork()
    if not pid:
        try:
            home.check()
        except SessionMisuse as error:
            os._exit(7 if "another process" in str(error) else 8)
        os._exit(9)
    home.check()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

anyio.run(main, backend=sys.argv[1])
"""


def test_a_forked_child_is_refused(anyio_backend: str) -> None:
    """In a child forked while the loop runs, the session says so; the parent goes on."""
    child = subprocess.run([sys.executable, "-c", FORK, anyio_backend], check=False, timeout=60)
    assert child.returncode == 7


# --- Job ---


@pytest.mark.anyio
async def test_work_is_done_once_for_everybody() -> None:
    """However many wait, the work runs once, and all get its result, late comers too."""
    runs: list[int] = []
    go = anyio.Event()
    results: list[str] = []

    async def work() -> str:
        runs.append(1)
        await go.wait()
        return "done"

    job = Job(work)

    async def wait() -> None:
        results.append(await job.wait())

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert not job.is_over
        go.set()
    assert job.is_over
    assert await job.wait() == "done"
    assert runs == [1]
    assert results == ["done"] * 10


@pytest.mark.anyio
async def test_a_failure_is_shared_by_copies() -> None:
    """Everybody gets an error of his own, which leads nowhere: no cause, no context, no frames."""
    made = GatewayUnreachable("connect", "ConnectError", attempts=3, operation="login")

    async def fail() -> None:
        raise KeyError("inner")

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        try:
            await fail()
        except KeyError:
            raise made from ValueError("cause")

    job = Job(work)
    caught: list[GatewayUnreachable] = []
    for _ in range(3):
        with pytest.raises(GatewayUnreachable) as info:
            await job.wait()
        caught.append(info.value)
    assert len({id(error) for error in [made, *caught]}) == 4
    for error in caught:
        assert made.args == error.args
        assert (error.phase, error.attempts, error.operation) == ("connect", 3, "login")
        assert error.__cause__ is error.__context__ is None
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        assert "work" not in names


@pytest.mark.anyio
async def test_a_failure_leaves_nothing_to_the_collector() -> None:
    """A failed job and its error are gone once nobody holds them: no cycle leads back."""

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise GatewayUnreachable("connect", "ConnectError")

    gc.collect()
    gc.disable()
    try:
        job = Job(work)
        held: list[weakref.ref[object]] = [weakref.ref(job)]
        try:
            await job.wait()
        except GatewayUnreachable as error:
            held.append(weakref.ref(error))
        del job
        await anyio.wait_all_tasks_blocked()
        assert [ref() for ref in held] == [None, None]
    finally:
        gc.enable()


@pytest.mark.anyio
async def test_who_gives_up_does_not_end_the_work() -> None:
    """A waiter with a short deadline leaves alone; the others get what they waited for."""
    go = anyio.Event()

    async def work() -> str:
        await go.wait()
        return "done"

    job = Job(work)
    with anyio.move_on_after(0) as scope:
        await job.wait()
    assert scope.cancelled_caught
    go.set()
    assert await job.wait() == "done"


@pytest.mark.asyncio
async def test_a_native_cancel_ends_a_waiter_alone() -> None:
    """`task.cancel()` of a waiter, and of him who began it all, leaves the work running."""
    go = asyncio.Event()
    jobs: list[Job[str]] = []

    async def work() -> str:
        await go.wait()
        return "done"

    async def begin() -> str:
        jobs.append(Job(work))
        return await jobs[0].wait()

    task = asyncio.create_task(begin())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    assert await jobs[0].wait() == "done"


@pytest.mark.anyio
async def test_work_is_in_nobodys_scope() -> None:
    """Work goes on when the scope in which it was begun is cancelled."""
    go = anyio.Event()
    jobs: list[Job[str]] = []

    async def work() -> str:
        await go.wait()
        return "done"

    with anyio.CancelScope() as scope:
        jobs.append(Job(work))
        await anyio.wait_all_tasks_blocked()
        scope.cancel()
        await anyio.lowlevel.checkpoint()
    go.set()
    assert await jobs[0].wait() == "done"


@pytest.mark.anyio
@pytest.mark.parametrize("started", [False, True])
async def test_cancelled_work_ends_before_cancel_returns(*, started: bool) -> None:
    """Who cancels sees the end of it; who waits is told that nothing was sent."""
    ends: list[str] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("ended")

    job = Job(work)
    if started:
        await anyio.wait_all_tasks_blocked()
    await job.cancel()
    assert ends == ["ended"]
    assert job.is_over
    with pytest.raises(SessionMisuse, match="closed meanwhile"):
        await job.wait()
    await job.cancel()


@pytest.mark.anyio
async def test_cancelling_finished_work_keeps_its_result() -> None:
    """What is done stays done."""

    async def work() -> str:
        return "done"

    job = Job(work)
    await job.wait()
    await job.cancel()
    assert await job.wait() == "done"


@pytest.mark.anyio
@pytest.mark.parametrize("bug", [ValueError("a bug"), OddError("odder")], ids=["bug", "odd"])
async def test_a_bug_is_the_waiters_to_raise(bug: BaseException) -> None:
    """What is not ours comes to the waiters as it is, and crashes neither asyncio nor trio."""

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        raise bug

    job = Job(work)
    for _ in range(2):
        with pytest.raises(type(bug)) as caught:
            await job.wait()
        assert bug is caught.value


def test_a_wish_to_stop_crashes_no_trio_run() -> None:
    """On trio, where leaving a system task with an exception is a crash, a waiter raises it."""

    async def work() -> None:
        raise SystemExit(3)

    async def main() -> None:
        await Job(work).wait()

    with pytest.raises(SystemExit):
        trio.run(main)


@pytest.mark.parametrize("stop", [SystemExit, KeyboardInterrupt])
def test_a_wish_to_stop_ends_asyncio(stop: type[BaseException]) -> None:
    """On asyncio it ends the loop, as out of any other task, though nobody waits for the job."""
    jobs: list[Job[None]] = []

    async def work() -> None:
        raise stop

    async def main() -> None:
        jobs.append(Job(work))
        await asyncio.sleep(60)

    with pytest.raises(stop):
        asyncio.run(main())
    with pytest.raises(stop):
        jobs[0]._task.result()


def test_work_ends_with_its_loop(anyio_backend: str) -> None:
    """A loop that ends takes the work with it: no crash, and nothing is left waiting."""
    ends: list[str] = []
    jobs: list[Job[None]] = []

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ends.append("ended")

    async def main() -> None:
        jobs.append(Job(work))
        await anyio.wait_all_tasks_blocked()

    anyio.run(main, backend=anyio_backend)
    assert ends == ["ended"]
    assert jobs[0].is_over
