"""When requests may leave: first come first, no faster than allowed, not while held back."""

import asyncio
import math
from typing import Any

import anyio
import pytest

from every8d_async._options import RateLimit
from every8d_async._pace import Pace
from every8d_async._wire import WireFailure
from tests.clocks import jumping

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return jumping(request.param)


class Line:
    """Callers at a pace: who left when, in seconds since the line was made."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.begun = anyio.current_time()
        self.left: list[tuple[int, float]] = []
        self.failed: list[tuple[int, float, WireFailure]] = []

    @property
    def now(self) -> float:
        return round(anyio.current_time() - self.begun, 6)

    async def call(self, number: int, patience: float = math.inf) -> None:
        failure = await self.pace.wait(anyio.current_time() + patience)
        if failure is None:
            self.left.append((number, self.now))
        else:
            self.failed.append((number, self.now, failure))

    async def calls(self, numbers: range) -> None:
        async with anyio.create_task_group() as group:
            for number in numbers:
                group.start_soon(self.call, number)
                await anyio.wait_all_tasks_blocked()

    @property
    def times(self) -> list[Any]:
        return [time for _, time in self.left]


def steps(count: int, step: float, first: float = 0.0) -> list[Any]:
    return [pytest.approx(first + step * number, abs=1e-3) for number in range(count)]


async def test_without_a_limit_nobody_waits() -> None:
    """No rate limit and no 429: each goes at once, without so much as giving way."""
    pace = Pace(None)
    coroutine = pace.wait(math.inf)
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value is None


@pytest.mark.parametrize(
    ("limit", "times"),
    [
        (RateLimit(5), [*steps(5, 0.0), *steps(5, 0.2, 0.2)]),
        (RateLimit(5, burst=1), steps(10, 0.2)),
        (RateLimit(10, per=60.0, burst=3), [*steps(3, 0.0), *steps(7, 6.0, 6.0)]),
        (RateLimit(0.5), steps(10, 2.0)),
        (RateLimit(2.5), [*steps(3, 0.0), *steps(7, 0.4, 0.4)]),
    ],
    ids=["burst by default", "even", "per minute", "less than one a second", "not whole"],
)
async def test_the_pace(limit: RateLimit, times: list[float]) -> None:
    """After a quiet time a burst goes at once; then they go at an even pace, in order."""
    line = Line(Pace(limit))
    await line.calls(range(10))
    assert [number for number, _ in line.left] == list(range(10))
    assert line.times == times


async def test_a_quiet_time_gives_back_a_burst_and_no_more() -> None:
    """However long nobody called, no more than the burst goes at once."""
    line = Line(Pace(RateLimit(10, burst=3)))
    await line.calls(range(3))
    await anyio.sleep(1000)
    begun = line.now
    await line.calls(range(3, 8))
    assert line.times[3:] == [*steps(3, 0.0, begun), *steps(2, 0.1, begun + 0.1)]


async def test_first_come_first() -> None:
    """50 callers that wait leave in the order in which they came."""
    line = Line(Pace(RateLimit(100, burst=1)))
    await line.calls(range(50))
    assert [number for number, _ in line.left] == list(range(50))


@pytest.mark.parametrize("gone", [{1}, {3}, {5}, {1, 2, 3}, {1, 5}])
async def test_who_gives_up_takes_nobodys_turn(gone: set[int]) -> None:
    """A waiter that is cancelled, the first, the last or one between, leaves no gap."""
    line = Line(Pace(RateLimit(1, burst=1)))
    scopes: dict[int, anyio.CancelScope] = {}

    async def call(number: int) -> None:
        with anyio.CancelScope() as scopes[number]:
            await line.call(number)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(call, number)
            await anyio.wait_all_tasks_blocked()
        await anyio.sleep(0.5)
        for number in gone:
            scopes[number].cancel()
    assert [number for number, _ in line.left] == [n for n in range(6) if n not in gone]
    assert line.times == steps(6 - len(gone), 1.0)


@pytest.mark.parametrize("anyio_backend", [jumping("asyncio")], ids=["asyncio"])
async def test_a_native_cancel_takes_nobodys_turn(anyio_backend: object) -> None:
    """`task.cancel()`, also twice, leaves no gap either."""
    line = Line(Pace(RateLimit(1, burst=1)))
    tasks: list[asyncio.Task[None]] = []
    for number in range(6):
        tasks.append(asyncio.create_task(line.call(number)))
        await asyncio.sleep(0)
    await asyncio.sleep(0.5)
    for number in (1, 3):
        tasks[number].cancel()
        tasks[number].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert line.left == list(zip([0, 2, 4, 5], steps(4, 1.0), strict=True))


async def test_a_turn_after_the_deadline_is_told_at_once() -> None:
    """Who stands first and could go only too late need not wait for that; nobody loses a turn."""
    line = Line(Pace(RateLimit(1, burst=1)))
    await line.call(0)
    await line.call(1, patience=0.9)
    late = WireFailure(left=False, phase="slot", cause="deadline")
    assert line.failed == [(1, 0.0, late)]
    await line.call(2, patience=1.1)
    assert line.left == [(0, 0.0), (2, pytest.approx(1.0, abs=1e-3))]


async def test_who_stands_behind_leaves_at_his_deadline() -> None:
    """Behind others the wait ends with the deadline, and the others keep their turns."""
    line = Line(Pace(RateLimit(1, burst=1)))
    async with anyio.create_task_group() as group:
        for number, patience in enumerate([9.0, 9.0, 1.5, 9.0]):
            group.start_soon(line.call, number, patience)
            await anyio.wait_all_tasks_blocked()
    assert [(number, failure.phase) for number, _, failure in line.failed] == [(2, "slot")]
    assert line.left == list(zip([0, 1, 3], steps(3, 1.0), strict=True))


@pytest.mark.parametrize("limit", [None, RateLimit(1000)])
async def test_all_wait_while_held(limit: RateLimit | None) -> None:
    """After a 429 nobody leaves before its time is over; then all do, in order."""
    line = Line(Pace(limit))
    line.pace.hold(30)
    assert line.pace.is_held
    await line.calls(range(20))
    assert [number for number, _ in line.left] == list(range(20))
    assert min(line.times) == pytest.approx(30, abs=1e-3)
    assert max(line.times) == pytest.approx(30, abs=0.1)
    assert not line.pace.is_held


async def test_a_shorter_hold_does_not_end_a_longer_one() -> None:
    """Of two words of the gateway the later time stands."""
    line = Line(Pace(None))
    line.pace.hold(30)
    line.pace.hold(5)
    await line.call(0)
    assert line.times == steps(1, 0.0, 30.0)


@pytest.mark.parametrize("limit", [None, RateLimit(1, burst=1)])
async def test_a_hold_reaches_who_waits_already(limit: RateLimit | None) -> None:
    """A 429 that comes while somebody waits for his turn holds him, too."""
    line = Line(Pace(limit))
    await line.call(0)
    line.pace.hold(0.5)
    async with anyio.create_task_group() as group:
        group.start_soon(line.call, 1)
        await anyio.wait_all_tasks_blocked()
        line.pace.hold(10)
    assert line.left == [(0, 0.0), (1, pytest.approx(10.0, abs=1e-3))]


async def test_a_hold_beyond_the_deadline_is_told_at_once() -> None:
    """Who can't wait so long hears it now, and for how long the gateway asked."""
    line = Line(Pace(RateLimit(1)))
    line.pace.hold(60)
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(line.call, number, 10.0)
    assert {(number, time) for number, time, _ in line.failed} == {(0, 0.0), (1, 0.0), (2, 0.0)}
    for _, _, failure in line.failed:
        assert (failure.left, failure.phase, failure.cause) == (False, "held", "deadline")
        assert failure.wait == pytest.approx(60.0, abs=1e-3)


async def test_a_hold_in_time_and_a_turn_too_late_is_the_limits_fault() -> None:
    """Where the hold would end in time and the pace not, it is the pace that is told."""
    line = Line(Pace(RateLimit(1, per=100.0, burst=1)))
    await line.call(0)
    line.pace.hold(5)
    await line.call(1, patience=10.0)
    ((_, _, failure),) = line.failed
    assert (failure.phase, failure.wait) == ("slot", None)


async def test_what_is_outside_the_pace_waits_while_held() -> None:
    """A login stands in nobody's line and takes nobody's turn, but heeds the gateway's word."""
    pace = Pace(RateLimit(1, per=100.0, burst=1))
    line = Line(pace)
    await line.call(0)
    assert await pace.wait_out(math.inf) is None
    assert line.now == 0.0
    pace.hold(5)
    async with anyio.create_task_group() as group:
        group.start_soon(pace.wait_out, math.inf)
        await anyio.wait_all_tasks_blocked()
        pace.hold(10)
    assert line.now == pytest.approx(10.0, abs=1e-3)
    pace.hold(60)
    failure = await pace.wait_out(anyio.current_time() + 59.0)
    assert isinstance(failure, WireFailure)
    assert (failure.left, failure.phase, failure.cause) == (False, "held", "deadline")
    assert failure.wait == pytest.approx(60.0, abs=1e-3)


async def test_a_past_deadline_sends_nothing() -> None:
    """Who comes too late leaves with a failure, and takes no turn."""
    line = Line(Pace(RateLimit(1, burst=1)))
    await line.call(0, patience=-1.0)
    assert [failure.cause for _, _, failure in line.failed] == ["deadline"]
    await line.call(1)
    assert line.left == [(1, 0.0)]
