"""A rate limit that is kept elsewhere: asked in turn, waited for, and never while held back."""

import math
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from every8d_async import Every8DSession, InvalidRequest
from every8d_async._pace import Pace
from every8d_async._wire import WireFailure
from tests.clocks import jumping

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return jumping(request.param)


class Elsewhere:
    """Gives turns after so many seconds each, and notes for how long callers would wait."""

    def __init__(self, *waits: float | None) -> None:
        self.waits = list(waits)
        self.patiences: list[float] = []

    async def take(self, patience: float) -> float | None:
        self.patiences.append(patience)
        await anyio.lowlevel.checkpoint()
        return self.waits.pop(0)


async def test_turns_are_waited_for_one_at_a_time() -> None:
    """The first to come is the first to ask; the next asks when the first has gone."""
    shared = Elsewhere(0, 2.0, 3.0)
    pace = Pace(shared)
    begun = anyio.current_time()
    left: list[tuple[int, float]] = []

    async def call(number: int) -> None:
        assert await pace.wait(begun + 60) is None
        left.append((number, anyio.current_time() - begun))

    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(call, number)
            await anyio.lowlevel.checkpoint()
    assert [time for _, time in left] == pytest.approx([0, 2, 5], abs=1e-3)
    assert shared.patiences == pytest.approx([60, 60, 58], abs=1e-3)


async def test_a_turn_too_late_is_told_at_once() -> None:
    """Where the turn would come after the deadline nobody waits, and nothing has left."""
    pace = Pace(Elsewhere(None))
    begun = anyio.current_time()
    assert await pace.wait(begun + 60) == WireFailure(left=False, phase="slot", cause="deadline")
    assert anyio.current_time() == pytest.approx(begun, abs=1e-3)


async def test_who_never_answers_is_waited_for_until_the_deadline() -> None:
    """The deadline holds for the question, too."""

    class Silent:
        async def take(self, patience: float) -> float | None:
            await anyio.sleep(math.inf)
            raise AssertionError

    begun = anyio.current_time()
    failure = await Pace(Silent()).wait(begun + 60)
    assert failure == WireFailure(left=False, phase="slot", cause="deadline")


async def test_while_held_back_no_turn_is_taken() -> None:
    """The gateway's word comes first: a turn is asked for once it has passed."""
    shared = Elsewhere(0)
    pace = Pace(shared)
    begun = anyio.current_time()
    pace.hold(10)
    assert await pace.wait(begun + 60) is None
    assert anyio.current_time() - begun == pytest.approx(10, abs=1e-3)
    assert shared.patiences == pytest.approx([50], abs=1e-3)
    pace.hold(60)
    failure = await pace.wait(begun + 60)
    assert failure is not None
    assert failure.phase == "held"


async def test_a_turn_that_came_while_held_back_is_lost() -> None:
    """After the gateway's word a new turn is taken: the old one may be another's by now."""
    shared = Elsewhere(5.0, 1.0)
    pace = Pace(shared)
    begun = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(pace.wait, begun + 60)
        await anyio.sleep(1)
        pace.hold(9)
    assert anyio.current_time() - begun == pytest.approx(11, abs=1e-3)


async def test_what_a_session_takes() -> None:
    """Whatever has `take` will do for ``rate_limit=``, and nothing else that is no RateLimit."""
    async with Every8DSession("uid", "password", rate_limit=Elsewhere(0)):
        pass
    bad: Any = 5
    with pytest.raises(InvalidRequest, match="rate_limit: must be a RateLimit"):
        Every8DSession("uid", "password", rate_limit=bad)
