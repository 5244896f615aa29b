"""Redis: one login and one rate for several processes, and no send lost or stuck without it."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from every8d_async import (
    AuthenticationFailed,
    Every8DSession,
    RateLimit,
    SharedRateLimit,
    StoredRefusal,
    StoredToken,
    TokenStore,
)
from every8d_async.integrations.redis import RedisRateLimit, RedisTokenStore
from every8d_async.simulator import Delay, Simulator
from tests.integrations.servers import Child, RedisServer, redis_server

pytestmark = pytest.mark.anyio

KEY = "https://new.e8d.tw uid"
NOW = time.time()
TOKEN = StoredToken("4bc40f5255fa4d89ac4950b394eca0f6", NOW, NOW + 28_800)
NEWER = StoredToken("5bc40f5255fa4d89ac4950b394eca0f6", NOW + 1, NOW + 28_801)
REFUSAL = StoredRefusal(-101, "密碼錯誤", NOW, NOW + 900, 1)
FOR_EVER = StoredRefusal(-999, "帳號已鎖定", NOW, math.inf, 11)

# Makes as many calls as a line says, all at once, and answers when each left.
WORKER = """
import asyncio, sys, time
from datetime import timedelta
from redis.asyncio import Redis
from every8d_async import Every8DSession, RateLimit
from every8d_async.integrations.redis import RedisRateLimit, RedisTokenStore

async def main(site, port, rate, lifetime):
    redis = Redis(host="127.0.0.1", port=int(port))
    session = Every8DSession(
        "demo", "demo", site=site, token_store=RedisTokenStore(redis, patience=0.5),
        rate_limit=RedisRateLimit(redis, RateLimit(float(rate), burst=5), patience=0.5),
        token_lifetime=timedelta(seconds=float(lifetime)),
    )
    async with session, redis:
        loop = asyncio.get_running_loop()
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            kind, count = line.split()
            call = session.credit if kind == "ask" else (
                lambda: session.sms.send("hello", to="0900000001"))
            calls = (call() for _ in range(int(count)))
            ends = await asyncio.gather(*calls, return_exceptions=True)
            print([type(end).__name__ for end in ends if isinstance(end, Exception)], flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def anyio_backend() -> str:
    """Redis's client knows asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
async def redis(server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(host="127.0.0.1", port=server.port) as client:
        await client.flushall()  # pyright: ignore[reportUnknownMemberType]
        yield client


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


@contextmanager
def workers(count: int, *arguments: object) -> Generator[list[Child]]:
    """Start worker processes; kill what is left of them."""
    children = [Child(WORKER, *map(str, arguments)) for _ in range(count)]
    try:
        yield children
    finally:
        for child in children:
            child.kill()


def all_do(children: list[Child], line: str) -> list[str]:
    """Let all do the same at once; give their answers."""
    for child in children:
        child.tell(line)
    return [child.hear() for child in children]


def new_session(simulator_url: str, **options: Any) -> Every8DSession:
    return Every8DSession("demo", options.pop("password", "demo"), site=simulator_url, **options)


# --- the token store ---


@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
@pytest.mark.parametrize("kept", [TOKEN, REFUSAL, FOR_EVER], ids=["token", "refusal", "for ever"])
async def test_what_is_saved_is_loaded(
    redis: Redis, server: RedisServer, kept: Any, text: bool
) -> None:
    """Another store on the same Redis gives what was saved, whatever its client decodes."""
    await RedisTokenStore(redis).save(KEY, kept)
    async with Redis(host="127.0.0.1", port=server.port, decode_responses=text) as other:
        store: TokenStore = RedisTokenStore(other)
        assert await store.load(KEY) == kept
        assert await store.load("another") is None


async def test_keys_end(redis: Redis) -> None:
    """A token ends with itself, a refusal a day later, one for ever never; the prefix is yours."""
    store = RedisTokenStore(redis, prefix="mine:")
    cases: list[tuple[StoredToken | StoredRefusal, int, int]] = [
        (TOKEN, 28_000, 28_801),
        (REFUSAL, 86_400, 87_301),
        (FOR_EVER, -1, 0),
        (StoredToken("old", NOW - 10, NOW - 5), -2, 1),
    ]
    for kept, least, most in cases:
        await store.save(KEY, kept)
        assert least <= await redis.ttl(f"mine:token:{KEY}") <= most


@pytest.mark.parametrize("kept", ["", "[]", "not JSON", b"\xff", '{"token": 3}'])
async def test_what_cannot_be_read_is_none(redis: Redis, kept: Any) -> None:
    """What somebody else put there is passed over."""
    await redis.set(f"every8d:token:{KEY}", kept)
    assert await RedisTokenStore(redis).load(KEY) is None


async def test_discard_takes_only_that_token(redis: Redis) -> None:
    """A newer token, and a refusal, stay."""
    store = RedisTokenStore(redis)
    await store.save(KEY, NEWER)
    await store.save("refused", REFUSAL)
    for key in (KEY, "refused", "none"):
        await store.discard(key, TOKEN.value)
    assert (await store.load(KEY), await store.load("refused")) == (NEWER, REFUSAL)
    await store.discard(KEY, NEWER.value)
    assert await store.load(KEY) is None


async def test_lock_is_held_by_one_at_a_time(redis: Redis) -> None:
    """Who waits for the lock gets it once it is free; other keys have locks of their own."""
    first, second = RedisTokenStore(redis), RedisTokenStore(redis)
    order: list[str] = []

    async def wait() -> None:
        async with second.lock(KEY):
            order.append("second")

    async with first.lock(KEY):
        waiting = asyncio.create_task(wait())
        async with second.lock("another"):
            await asyncio.sleep(0.1)
        order.append("first")
    await waiting
    assert order == ["first", "second"]
    assert not await redis.exists(f"every8d:lock:{KEY}", "every8d:lock:another")


async def test_a_living_holder_extends_its_lock(redis: Redis) -> None:
    """A login may take longer than the lock's time."""
    store = RedisTokenStore(redis, lock_seconds=0.15)
    async with store.lock(KEY):
        await asyncio.sleep(0.5)
        assert await redis.get(f"every8d:lock:{KEY}") is not None
        await store.save(KEY, TOKEN)
    assert await store.load(KEY) == TOKEN


async def test_the_lock_of_a_dead_process_expires(redis: Redis) -> None:
    """What a killed process leaves behind stops others only for a while."""
    await redis.set(f"every8d:lock:{KEY}", "dead", px=100)
    async with RedisTokenStore(redis).lock(KEY):
        pass


async def test_who_lost_the_lock_saves_nothing(
    redis: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Another one is ahead, or has been: its token stays, and so does its lock."""
    slow, quick = RedisTokenStore(redis), RedisTokenStore(redis)
    name = f"every8d:lock:{KEY}"
    async with slow.lock(KEY):
        await redis.set(name, "quick")
        await quick.save(KEY, NEWER)
        await slow.save(KEY, TOKEN)
        assert await redis.get(name) == b"quick"
        await redis.delete(name)
        await slow.save(KEY, TOKEN)
        await redis.set(name, "quick")
    assert await redis.get(name) == b"quick"
    assert await slow.load(KEY) == NEWER
    assert "its token is not shared" in caplog.text


async def test_a_lock_that_redis_forgot(redis: Redis) -> None:
    """After a restart Redis knows nothing: then the holder's token is the best there is."""
    store = RedisTokenStore(redis)
    async with store.lock(KEY):
        await redis.flushall()  # pyright: ignore[reportUnknownMemberType]
        await store.save(KEY, TOKEN)
    assert await store.load(KEY) == TOKEN


async def test_two_of_one_store_while_redis_forgets(redis: Redis) -> None:
    """Each has a lock of its own: who lost it saves nothing, and nobody's stays behind."""
    store = RedisTokenStore(redis)
    has_it, may_go = asyncio.Event(), asyncio.Event()

    async def second() -> None:
        async with store.lock(KEY):
            has_it.set()
            await may_go.wait()
            await store.save(KEY, NEWER)

    async with store.lock(KEY):
        await redis.flushall()  # pyright: ignore[reportUnknownMemberType]
        waiting = asyncio.create_task(second())
        await has_it.wait()
        await store.save(KEY, TOKEN)
    assert await store.load(KEY) is None
    assert await redis.exists(f"every8d:lock:{KEY}")
    may_go.set()
    await waiting
    assert await store.load(KEY) == NEWER
    assert not await redis.exists(f"every8d:lock:{KEY}")


async def test_a_redis_that_hangs_is_not_waited_for(redis: Redis) -> None:
    """What takes longer than the patience is a TimeoutError."""
    await redis.client_pause(300)  # pyright: ignore[reportUnknownMemberType]
    with pytest.raises(TimeoutError):
        await RedisTokenStore(redis, patience=0.01).load(KEY)


async def test_a_refusal_is_shared(redis: Redis, simulator: Simulator) -> None:
    """A login that was refused is not tried again by the next session on this Redis."""
    with simulator.serve() as url:
        for _ in range(3):
            store = RedisTokenStore(redis)
            async with new_session(url, password="wrong", token_store=store) as session:
                with pytest.raises(AuthenticationFailed):
                    await session.credit()
    assert simulator.failed_logins == 1


# --- the rate limit ---


async def test_turns(redis: Redis) -> None:
    """A burst goes at once, then one each interval; who won't wait so long takes no turn."""
    limit: SharedRateLimit = RedisRateLimit(redis, RateLimit(10, burst=2))
    assert [await limit.take(math.inf), await limit.take(0)] == [0, 0]
    assert await limit.take(0.01) is None
    third, fourth = await limit.take(60), await limit.take(60)
    assert third is not None
    assert fourth is not None
    assert third <= 0.1
    assert third < fourth <= 0.2
    assert await RedisRateLimit(redis, RateLimit(10, burst=1), name="another").take(0) == 0


async def test_turns_are_counted_in_microseconds(redis: Redis) -> None:
    """Redis's clock is kept whole: no digit of it is lost in the script."""
    limit = RedisRateLimit(redis, RateLimit(1, per=1000.0, burst=1))
    before = time.time()
    await limit.take(0)
    even = int(await redis.get("every8d:rate:default") or 0)
    assert before * 1e6 - 1e6 <= even - 1e9 <= time.time() * 1e6 + 1e6
    assert 1000 <= await redis.ttl("every8d:rate:default") <= 1001


async def test_alone_while_redis_is_away(
    tmp_path: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Redis each process keeps a limit of its own, asks again later, and comes back."""
    with redis_server(tmp_path) as server:
        async with Redis(host="127.0.0.1", port=server.port) as redis:
            limit = RedisRateLimit(redis, RateLimit(1000), alone=RateLimit(0.001, burst=2))
            server.kill()
            assert [await limit.take(1), await limit.take(1), await limit.take(1)] == [0, 0, None]
            assert len(caplog.messages) == 1
            assert "each process for itself" in caplog.text
            server.start()
            assert await limit.take(1) is None
            monkeypatch.setattr(limit, "_away_until", -math.inf)  # as if five seconds had passed
            assert await limit.take(1) == 0


# --- together ---


async def test_four_processes_make_one_login_a_lifetime(server: RedisServer, redis: Redis) -> None:
    """When the time of a token is up, one process logs in, and the others take its token over."""
    simulator = Simulator()
    with simulator.serve() as url, workers(4, url, server.port, 1000, 2.5) as children:
        assert all_do(children, "ask 5") == ["[]"] * 4
        assert simulator.logins == 1
        await asyncio.sleep(2.6)  # until the token's time is up
        assert all_do(children, "ask 5") == ["[]"] * 4
        assert simulator.logins == 2


async def test_four_processes_keep_one_token_and_one_rate(
    server: RedisServer, redis: Redis
) -> None:
    """Tokens that end bring one login; whatever the moment, no more than a burst ran ahead."""
    times: list[float] = []

    class Clocked(Simulator):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["path"].endswith("GetCredit.ashx"):
                times.append(time.monotonic())
            await super().__call__(scope, receive, send)

    simulator = Clocked()
    with simulator.serve() as url, workers(4, url, server.port, 50, 28_800) as children:
        for logins in (1, 2, 3):
            assert all_do(children, "ask 2") == ["[]"] * 4
            assert simulator.logins == logins
            simulator.expire_tokens()
        assert all_do(children, "ask 1") == ["[]"] * 4
        times.clear()
        begun = time.monotonic()
        assert all_do(children, "ask 25") == ["[]"] * 4
    assert len(times) == 100
    # Requests may come in late, never early: the n-th can't before its turn, counted from begun.
    early = [n for n, at in enumerate(times) if at - begun < (n - 4) * 0.02 - 0.001]
    assert early == []


async def test_redis_killed_and_back(tmp_path: Any) -> None:
    """Without Redis sends go on, each process with its own token; nothing is lost or twice."""
    simulator = Simulator()
    with (
        redis_server(tmp_path) as server,
        simulator.serve() as url,
        workers(4, url, server.port, 1000, 28_800) as children,
    ):
        assert all_do(children, "send 5") == ["[]"] * 4
        for child in children:
            child.tell("send 20")
        server.kill()
        assert [child.hear() for child in children] == ["[]"] * 4
        assert simulator.logins == 1
        simulator.expire_tokens()
        assert all_do(children, "send 5") == ["[]"] * 4
        assert simulator.logins == 5
        server.start()
        await asyncio.sleep(5.1)  # until a store that failed is asked again
        assert all_do(children, "send 5") == ["[]"] * 4
        simulator.expire_tokens()
        assert all_do(children, "send 5") == ["[]"] * 4
        assert simulator.logins == 6
    assert len(simulator.sent) == 4 * (5 + 20 + 5 + 5 + 5)


async def test_killed_while_a_login_is_under_way(
    tmp_path: Any, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis may go while a login holds its lock: the login counts, for this process alone."""
    simulator.faults.add("ConnectionHandler/1", Delay(timedelta(seconds=0.3)))
    with redis_server(tmp_path) as server, simulator.serve() as url:
        async with Redis(host="127.0.0.1", port=server.port) as redis:
            store = RedisTokenStore(redis, lock_seconds=0.1, patience=0.5)
            async with new_session(url, token_store=store) as session:
                call = asyncio.create_task(session.credit())
                while not simulator.requests:  # noqa: ASYNC110 - another thread's
                    await asyncio.sleep(0.001)
                server.kill()
                assert await call == 10_000
    assert simulator.logins == 1
    failures = [message.split(":")[0] for message in caplog.messages]
    assert failures == ["the token store failed to save", "the token store failed to release"]
