"""A token store that fails: sends go on, each with a warning, and it is left alone for a while."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from every8d_async import MemoryTokenStore, StoredRefusal, StoredToken, TokenStore
from every8d_async._lenient import LenientStore

pytestmark = pytest.mark.anyio

KEY = "https://new.e8d.tw uid"
TOKEN = StoredToken("4bc40f5255fa4d89ac4950b394eca0f6", 1_000.0, 29_800.0)
ALL = frozenset({"load", "save", "discard", "lock", "release"})


class Failing(MemoryTokenStore):
    """Fails at what it is told to fail at, and counts what it is asked."""

    def __init__(self, *fails: str) -> None:
        super().__init__()
        self.fails: frozenset[str] = frozenset(fails)
        self.asked: list[str] = []

    def ask(self, what: str) -> None:
        self.asked.append(what)
        if what in self.fails:
            raise OSError("redis://:s3cret@10.0.0.1 is gone")

    async def load(self, key: str) -> StoredToken | StoredRefusal | None:
        self.ask("load")
        return await super().load(key)

    async def save(self, key: str, token: StoredToken | StoredRefusal) -> None:
        self.ask("save")
        await super().save(key, token)

    async def discard(self, key: str, token: str) -> None:
        self.ask("discard")
        await super().discard(key, token)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncGenerator[None]:
        self.ask("lock")
        async with super().lock(key):
            yield
        self.ask("release")


async def log_in(store: TokenStore) -> StoredToken | StoredRefusal | None:
    """Ask all that a login asks."""
    async with store.lock(KEY):
        found = await store.load(KEY)
        await store.save(KEY, TOKEN)
    await store.discard(KEY, "another")
    return found


async def test_a_sound_store_is_used_as_it_is() -> None:
    """What is kept is kept, and nothing is asked twice."""
    store = Failing()
    lenient = LenientStore(store)
    assert await log_in(lenient) is None
    assert await log_in(lenient) == TOKEN
    assert store.asked == ["lock", "load", "save", "release", "discard"] * 2


@pytest.mark.parametrize("what", sorted(ALL))
async def test_whatever_fails(what: str, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is a warning without the error's message; the store is left alone for a while."""
    now = 0.0
    store = Failing(what)
    lenient = LenientStore(store, lambda: now)
    await log_in(lenient)
    assert caplog.messages == [f"the token store failed to {what}: OSError"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]

    store.asked.clear()
    store.fails = frozenset()
    now = 4.9
    assert await log_in(lenient) is None
    assert store.asked == []
    now = 5.0
    await log_in(lenient)
    assert await log_in(lenient) == TOKEN


async def test_a_lock_is_given_back_whatever_happened_in_it() -> None:
    """Also when the login failed, and when the store failed meanwhile."""
    store = Failing("save")
    lenient = LenientStore(store)

    async def fail() -> None:
        async with lenient.lock(KEY):
            await lenient.save(KEY, TOKEN)
            raise ValueError("no login")

    with pytest.raises(ValueError, match="no login"):
        await fail()
    assert store.asked == ["lock", "save", "release"]
