"""Two sessions of one account, on a gateway where each login ends the older token."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from every8d_async import Every8DSession, FileTokenStore, MemoryTokenStore
from every8d_async._pool import in_memory
from every8d_async._stores import TokenStore
from every8d_async._wire import Verdict
from every8d_async.simulator import Account, Simulator

from .clocks import jumping
from .test_tokens import World

pytestmark = pytest.mark.anyio

ROUNDS = 10

virtual = pytest.mark.parametrize(
    "anyio_backend", [jumping("asyncio"), jumping("trio")], ids=["asyncio", "trio"]
)


@pytest.fixture
def simulator() -> Simulator:
    account = Account(uid="shop", password="hunter2")
    return Simulator(accounts=[account], one_token_per_account=True)


def in_mind(simulator: Simulator) -> Every8DSession:
    transport = in_memory(simulator)
    return Every8DSession("shop", "hunter2", site="http://localhost", transport=transport)


async def take_turns(simulator: Simulator, one: Every8DSession, other: Every8DSession) -> None:
    """Send in turn, and check that each message was sent once."""
    async with one, other:
        for turn in range(ROUNDS):
            await one.sms.send(f"one {turn}", to="0900000001")
            await other.sms.send(f"other {turn}", to="0900000001")
    texts = [f"{name} {turn}" for turn in range(ROUNDS) for name in ("one", "other")]
    assert [message.text for message in simulator.sent] == texts


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@virtual
async def test_each_ends_the_others_token(
    anyio_backend: object, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are served, each message is sent once, and each is told of the cure once."""
    await take_turns(simulator, in_mind(simulator), in_mind(simulator))
    assert simulator.logins == 2 * ROUNDS
    told = warnings(caplog)
    assert len(told) == 2
    assert all("token_store=FileTokenStore(path)" in line for line in told)


@virtual
async def test_both_send_at_once(anyio_backend: object, simulator: Simulator) -> None:
    """
    The pause before a new login lets the other session work in peace: all are served, once.

    What a refusal under a second token means is found out as well: nothing is in doubt.
    """
    served: list[str] = []

    async def send(session: Every8DSession, text: str) -> None:
        for part in range(5):
            await session.sms.send(f"{text} {part}", to="0900000001")
            served.append(f"{text} {part}")
            await anyio.sleep(0.3)

    async with (
        in_mind(simulator) as one,
        in_mind(simulator) as other,
        anyio.create_task_group() as group,
    ):
        for number in range(20):
            group.start_soon(send, one, f"one {number}")
            group.start_soon(send, other, f"other {number}")
    assert len(served) == len(set(served)) == 200
    assert sorted(message.text for message in simulator.sent) == sorted(served)
    assert simulator.logins > 2


async def test_a_token_that_dies_once_is_no_reason_to_warn(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that dies once, as when the gateway starts anew, is replaced without a word."""
    with simulator.serve() as site:
        async with Every8DSession("shop", "hunter2", site=site) as session:
            await session.sms.send("before", to="0900000001")
            simulator.expire_tokens()
            await session.sms.send("after", to="0900000001")
    assert [message.text for message in simulator.sent] == ["before", "after"]
    assert simulator.logins == 2
    assert warnings(caplog) == []


def in_a_process(_folder: Path) -> Callable[[], TokenStore]:
    store = MemoryTokenStore()
    return lambda: store


def in_a_file(folder: Path) -> Callable[[], TokenStore]:
    return lambda: FileTokenStore(folder / "tokens.json")  # as two processes would


@pytest.mark.parametrize("shared", [in_a_process, in_a_file])
async def test_a_shared_store_is_the_cure(
    simulator: Simulator,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    shared: Callable[[Path], Callable[[], TokenStore]],
) -> None:
    """With a shared store one login serves both, and there is nothing to warn of."""
    store = shared(tmp_path)
    with simulator.serve() as site:
        one, other = (
            Every8DSession("shop", "hunter2", site=site, token_store=store()) for _ in range(2)
        )
        await take_turns(simulator, one, other)
    assert simulator.logins == 1
    assert warnings(caplog) == []


async def die(world: World) -> None:
    """Let the token at hand be ended by somebody else, and find out."""
    token = await world.keeper.token()
    world.gateway.dead.add(token)
    assert await world.keeper.suspect(token, world.keeper.tick()) is Verdict.DEAD


async def test_deaths_far_apart_are_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    """Only tokens that die within ten minutes of each other tell of another session."""
    world = World()
    for _ in range(3):
        await die(world)
        world.clock.now += 601
    assert warnings(caplog) == []
    await die(world)
    await die(world)
    assert len(warnings(caplog)) == 1


async def test_a_token_that_our_own_login_ended_does_not_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A call under a token that was replaced meanwhile says nothing of other sessions."""
    world = World()
    await die(world)
    old = await world.keeper.token()
    world.keeper.drop()
    await world.keeper.token()
    world.gateway.dead.add(old)
    assert await world.keeper.suspect(old, world.keeper.tick()) is Verdict.DEAD
    assert warnings(caplog) == []
