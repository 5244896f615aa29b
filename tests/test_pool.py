"""The pool stays whole: whatever becomes of its callers, every slot comes back, and is of use."""

import asyncio
import gc
import random
import ssl
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from every8d_async import Every8DSession, MemoryTokenStore, StoredToken
from every8d_async._pool import Borrowed, Pool, Transport, in_memory, is_transport, one_connection
from every8d_async.simulator import Simulator
from tests.clocks import jumping
from tests.faulty import End, Fault, FaultyServer

pytestmark = pytest.mark.anyio

MOBILE = "+886900000001"


class Slot(httpx.AsyncBaseTransport):
    """A transport that only notes when it is closed; closing takes a moment."""

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        # Begun is closed: what a cancel cuts here is only the wait.
        self.closed += 1
        await checkpoint()


class Slots:
    """A pool of such, and all that it made."""

    def __init__(self, size: int = 2, keepalive: float = 5.0) -> None:
        self.made: list[Slot] = []
        self.pool = Pool(self._make, size, keepalive)

    def _make(self) -> Transport:
        self.made.append(Slot())
        return self.made[-1]

    @property
    def closed(self) -> list[int]:
        return [number for number, slot in enumerate(self.made) if slot.closed]

    @property
    def free(self) -> int:
        return self.pool._free.value


# --- taking and giving ---


async def test_the_newest_idle_slot_is_taken_first() -> None:
    """Last in, first out: the others may age, and be closed before the gateway closes them."""
    slots = Slots(size=3)
    taken = [await slots.pool.take() for _ in range(3)]
    for slot in taken:
        await slots.pool.give(slot, sound=True)
    assert [await slots.pool.take() for _ in range(3)] == taken[::-1]
    assert len(slots.made) == 3


async def test_no_more_connections_than_its_size() -> None:
    """Whoever comes when all are out waits, and they are served in the order of their coming."""
    slots = Slots(size=2)
    first, second = await slots.pool.take(), await slots.pool.take()
    served: list[tuple[int, Transport]] = []

    async def take(number: int) -> None:
        served.append((number, await slots.pool.take()))

    async with anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(take, number)
            await anyio.wait_all_tasks_blocked()
        assert not served
        await slots.pool.give(second, sound=True)
        await anyio.wait_all_tasks_blocked()
        assert served == [(0, second)]
        await slots.pool.give(first, sound=False)
    assert served[1] == (1, slots.made[2])
    assert slots.closed == [0]


async def test_an_unsound_slot_is_closed_and_replaced() -> None:
    """What failed or was cancelled is of no use any more; a new one takes its place."""
    slots = Slots(size=1)
    for _ in range(3):
        await slots.pool.give(await slots.pool.take(), sound=False)
    assert (len(slots.made), slots.closed, slots.free) == (3, [0, 1, 2], 1)


async def test_a_slot_is_closed_before_another_takes_its_place() -> None:
    """The gateway never sees more connections than allowed, not even for a moment."""
    order: list[str] = []

    class Slow(Slot):
        async def aclose(self) -> None:
            await anyio.wait_all_tasks_blocked()
            order.append("closed")

    pool = Pool(Slow, 1, 5.0)
    slot = await pool.take()

    async def take() -> None:
        await pool.take()
        order.append("taken")

    async with anyio.create_task_group() as group:
        group.start_soon(take)
        await checkpoint()
        await pool.give(slot, sound=False)
    assert order == ["closed", "taken"]


async def test_a_slot_that_cannot_be_made_is_free_again() -> None:
    """Making one may fail (no certificates on this machine): no slot is lost by that."""

    def fail() -> Transport:
        raise FileNotFoundError("no certificates")

    pool = Pool(fail, 2, 5.0)
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            await pool.take()
    assert pool._free.value == 2


@pytest.mark.parametrize("anyio_backend", [jumping("asyncio"), jumping("trio")])
async def test_old_idle_slots_are_swept(anyio_backend: object) -> None:
    """What was idle for longer than `keepalive` is closed at the next take, from the old end."""
    slots = Slots(size=4, keepalive=5.0)
    taken = [await slots.pool.take() for _ in range(4)]
    for slot in taken:
        await slots.pool.give(slot, sound=True)
        await anyio.sleep(2.0)
    assert slots.closed == []
    assert await slots.pool.take() is taken[3]
    assert slots.closed == [0, 1]
    await anyio.sleep(100.0)
    assert await slots.pool.take() not in taken
    assert slots.closed == [0, 1, 2]


@pytest.mark.parametrize("anyio_backend", [jumping("asyncio"), jumping("trio")])
async def test_a_sweep_that_is_cancelled_loses_no_slot(anyio_backend: object) -> None:
    """Who is cancelled while he closes old slots leaves his place, and they are closed."""
    slots = Slots(size=3)
    for slot in [await slots.pool.take() for _ in range(3)]:
        await slots.pool.give(slot, sound=True)
    await anyio.sleep(100.0)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await slots.pool.take()
    assert slots.free == 3
    await slots.pool.take()
    assert slots.closed == [0, 1, 2]


async def test_a_cancelled_caller_closes_his_slot_all_the_same() -> None:
    """Giving back is not cut by the scope that cut the exchange."""
    slots = Slots(size=2)
    with anyio.CancelScope() as scope:
        taken = [await slots.pool.take() for _ in range(2)]
        scope.cancel()
        for slot in taken:
            await slots.pool.give(slot, sound=False)
    assert (slots.closed, slots.free) == ([0, 1], 2)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_what_a_native_cancel_leaves_is_closed_by_the_next(
    anyio_backend: str, times: int
) -> None:
    """`task.cancel()` goes through anyio's shield; the slot is free, and is closed later on."""
    slots = Slots(size=3)
    taken = [await slots.pool.take() for _ in range(3)]
    for slot in taken[1:]:
        slots.pool._scrapped.append(slot)
    task = asyncio.create_task(slots.pool.give(taken[0], sound=False))
    await asyncio.sleep(0)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert slots.free == 1
    await slots.pool.give(await slots.pool.take(), sound=False)
    assert slots.closed == [0, 1, 2, 3]
    assert {slot.closed for slot in slots.made} == {1}


async def test_a_closed_pool_keeps_nothing() -> None:
    """Closing closes what is idle, and what is out as soon as it comes back, sound or not."""
    slots = Slots(size=3)
    taken = [await slots.pool.take() for _ in range(3)]
    await slots.pool.give(taken[0], sound=True)
    await slots.pool.aclose()
    assert slots.closed == [0]
    await slots.pool.give(taken[1], sound=True)
    await slots.pool.give(taken[2], sound=False)
    assert (slots.closed, slots.free) == ([0, 1, 2], 3)
    await slots.pool.aclose()
    assert {slot.closed for slot in slots.made} == {1}


# --- a transport of the user's ---


async def test_a_borrowed_transport_serves_all() -> None:
    """It is lent to `size` callers at once, and never replaced, whatever became of them."""
    transport = Slot()
    borrowed = Borrowed(transport, 2)
    assert [await borrowed.take(), await borrowed.take()] == [transport, transport]
    with anyio.move_on_after(0) as scope:
        await borrowed.take()
    assert scope.cancelled_caught
    await borrowed.give(transport, sound=False)
    await borrowed.give(transport, sound=True)
    assert await borrowed.take() is transport
    assert not transport.closed


async def test_a_borrowed_transport_is_closed_once() -> None:
    """Its own `aclose` need not bear a second call."""
    transport = Slot()
    borrowed = Borrowed(transport, 2)
    await borrowed.aclose()
    await borrowed.aclose()
    assert transport.closed == 1


async def test_what_is_a_transport() -> None:
    """Anything of httpx's asynchronous kind is; a client or a class is not."""
    assert is_transport(Slot())
    assert is_transport(in_memory(Simulator()))
    assert not is_transport(Slot)
    assert not is_transport(httpx.HTTPTransport())


# --- transports of our own ---


def contexts(monkeypatch: pytest.MonkeyPatch) -> list[ssl.SSLContext]:
    """Note each set of system certificates that is loaded."""
    loaded: list[ssl.SSLContext] = []

    def load(*_args: object, **_options: object) -> ssl.SSLContext:
        loaded.append(ssl.create_default_context())
        return loaded[-1]

    monkeypatch.setattr(httpx, "create_ssl_context", load)
    return loaded


@pytest.mark.parametrize(
    ("https", "proxy", "loads"),
    [
        (False, None, 0),
        (False, "http://127.0.0.1:1", 0),
        (True, None, 1),
        (True, "http://127.0.0.1:1", 1),
        (False, "https://127.0.0.1:1", 1),
        (True, "https://127.0.0.1:1", 1),
    ],
)
async def test_certificates_are_loaded_once_and_where_needed(
    monkeypatch: pytest.MonkeyPatch, *, https: bool, proxy: str | None, loads: int
) -> None:
    """Loading takes 30 ms: not for plain http, and for TLS not before a connection is needed."""
    loaded = contexts(monkeypatch)
    make = one_connection(https=https, keepalive=5.0, proxy=proxy, ssl_context=None)
    assert not loaded
    for _ in range(3):
        await make().aclose()
    assert len(loaded) == loads


async def test_a_context_of_the_users_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who brings TLS settings needs no system certificates."""
    loaded = contexts(monkeypatch)
    make = one_connection(
        https=True, keepalive=5.0, proxy=None, ssl_context=ssl.create_default_context()
    )
    await make().aclose()
    assert not loaded


# --- storms of cancellations ---


async def session_with_token(site: str, size: int) -> Every8DSession:
    """Make a session that need not log in."""
    store = MemoryTokenStore()
    await store.save(f"{site} demo", StoredToken("0" * 32, 0.0, 1e12))
    return Every8DSession("demo", "demo", site=site, max_connections=size, token_store=store)


def in_pieces(sound: bytes) -> list[bytes]:
    """Cut a reply inside its head and inside its body."""
    return [sound[:10], sound[10:-2], sound[-2:]]


SLOW = Fault("slow", acts=True, out=in_pieces, end=End.KEEP, pause=0.001)


class Storm:
    """Callers that are cancelled at any moment of a call."""

    def __init__(self, session: Every8DSession, until: int) -> None:
        self.session = session
        self.until = until
        self.random = random.Random(8)
        self.cancelled = 0
        self.patience = 0.01

    async def call(self) -> None:
        if self.random.random() < 0.5:
            await self.session.sms.send("hello", to=MOBILE)
        else:
            await self.session.credit()

    def moment(self) -> float:
        return self.random.uniform(0.0, self.patience)

    def count(self, *, cancelled: bool) -> None:
        # However fast this machine is, most calls are cut, and some are not: so all moments occur.
        self.cancelled += cancelled
        self.patience *= 1.02 if cancelled else 0.95

    async def by_scope(self) -> None:
        with anyio.move_on_after(self.moment()) as scope:
            await self.call()
        self.count(cancelled=scope.cancelled_caught)

    async def natively(self, times: int) -> None:
        task = asyncio.create_task(self.call())
        for _ in range(times):
            await asyncio.sleep(self.moment() / times)
            task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            self.count(cancelled=True)
        else:
            self.count(cancelled=False)

    async def rage(self, how: str) -> None:
        async def caller() -> None:
            while self.cancelled < self.until:
                match how:
                    case "scope":
                        await self.by_scope()
                    case "native":
                        await self.natively(1)
                    case _:
                        await self.natively(2)

        await many(40, caller)


async def many(count: int, call: Callable[[], Awaitable[object]]) -> list[object]:
    """Make calls at once, and give what they end with."""
    ends: list[object] = []

    async def one() -> None:
        ends.append(await call())

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return ends


async def storm(how: str, until: int, size: int = 20) -> None:
    """Cancel so many calls; then every slot must be free and of use, and nothing may be open."""
    with FaultyServer() as server:
        server.add(SLOW, times=10**9)
        async with await session_with_token(server.url, size) as session:
            raging = Storm(session, until)
            await raging.rage(how)
            assert raging.cancelled >= until
            # Calls were cut while they waited, and also when their request had arrived.
            assert len(server.requests) > until / 10
            pool: Any = session._driver._exchange._slots
            assert pool._free.value == size
            assert len(await many(200, session.credit)) == 200
            assert pool._free.value == size
            gc.collect()
            await server.until(lambda: server.open <= size)
        await server.until(lambda: server.open == 0)


CANCELS = [("asyncio", "scope"), ("asyncio", "native"), ("asyncio", "double"), ("trio", "scope")]


@pytest.mark.parametrize(("anyio_backend", "how"), CANCELS)
async def test_1000_cancellations(anyio_backend: str, how: str) -> None:
    """A sample of the proof below."""
    await storm(how, 1000)


@pytest.mark.proof
@pytest.mark.parametrize(("anyio_backend", "how"), CANCELS)
async def test_10000_cancellations(anyio_backend: str, how: str) -> None:
    """10,000 calls cancelled at random: all slots are free, and 200 of 200 calls succeed."""
    await storm(how, 10_000)


async def test_one_connection_is_enough() -> None:
    """With a single connection nobody logs in while holding it, nor asks about a token."""
    simulator = Simulator()
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url, max_connections=1) as session:
            for _ in range(2):
                assert len(await many(20, session.credit)) == 20
                simulator.expire_tokens()
            simulator.advance(timedelta(hours=9))
            await session.credit()
