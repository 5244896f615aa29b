"""The file store: shared between processes, readable by its owner alone, never in the way."""

import json
import logging
import math
import stat
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from every8d_async import (
    AuthenticationFailed,
    Every8DSession,
    FileTokenStore,
    StoredRefusal,
    StoredToken,
)
from every8d_async._lenient import LenientStore
from every8d_async.simulator import Simulator

from .clocks import jumping

TOKEN = StoredToken("4bc40f5255fa4d89ac4950b394eca0f6", 1_000.0, 29_800.0)
REFUSAL = StoredRefusal(-101, "密碼錯誤", 1_000.0, 1_900.0, 1)
FOR_EVER = StoredRefusal(-999, "帳號已鎖定", 1_000.0, math.inf, 11)
KEY = "https://new.e8d.tw uid"

# Logs in through a shared file, and says with which token.
WORKER = """
import sys, anyio
from every8d_async import Every8DSession, FileTokenStore

async def main():
    store = FileTokenStore(sys.argv[2])
    async with Every8DSession("demo", "demo", site=sys.argv[1], token_store=store) as session:
        await session.credit()

anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@pytest.mark.anyio
@pytest.mark.parametrize("kept", [TOKEN, REFUSAL, FOR_EVER], ids=["token", "refusal", "for ever"])
async def test_what_is_saved_is_loaded(path: Path, kept: StoredToken | StoredRefusal) -> None:
    """Another store on the same file gives what was saved, and nothing for another key."""
    await FileTokenStore(path).save(KEY, kept)
    assert await FileTokenStore(path).load(KEY) == kept
    assert await FileTokenStore(path).load("another") is None


@pytest.mark.anyio
async def test_only_its_owner_can_read_it(path: Path) -> None:
    """The file and its lock have mode 0600, also where the file was there with another one."""
    path.write_text("{}")
    path.chmod(0o644)
    store = FileTokenStore(path)
    async with store.lock(KEY):
        await store.save(KEY, TOKEN)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {"tokens.json": 0o600, "tokens.json.lock": 0o600}


@pytest.mark.anyio
async def test_discard_takes_only_that_token(path: Path) -> None:
    """A newer token, and a refusal, stay."""
    store = FileTokenStore(path)
    await store.save(KEY, TOKEN)
    await store.save("refused", REFUSAL)
    await store.discard(KEY, "an older one")
    await store.discard("refused", TOKEN.value)
    assert (await store.load(KEY), await store.load("refused")) == (TOKEN, REFUSAL)
    await store.discard(KEY, TOKEN.value)
    assert await store.load(KEY) is None


@pytest.mark.anyio
@pytest.mark.parametrize("content", ["", "[]", "not JSON", "\x00"])
async def test_a_broken_file_is_passed_over(
    path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that can't be read holds nothing; a warning says so, and the next save mends it."""
    path.write_text(content)
    store = FileTokenStore(path)
    with caplog.at_level(logging.WARNING, "every8d_async"):
        assert await store.load(KEY) is None
    assert "tokens.json can't be read" in caplog.text
    await store.save(KEY, TOKEN)
    assert await store.load(KEY) == TOKEN


@pytest.mark.anyio
@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        {},
        {"token": 3, "issued_at": 1, "expires_at": 2},
        {"token": "t", "issued_at": "x", "expires_at": 2},
        {"code": "x", "message": "", "at": 1, "until": None, "streak": 1},
    ],
)
async def test_a_broken_entry_is_passed_over(path: Path, entry: object) -> None:
    """An entry of another shape is none."""
    path.write_text(json.dumps({KEY: entry}))
    assert await FileTokenStore(path).load(KEY) is None


@pytest.mark.anyio
async def test_lock_is_held_by_one_at_a_time(path: Path) -> None:
    """Who waits for the lock can be cancelled, and gets it once it is free."""
    first, second = FileTokenStore(path), FileTokenStore(path)
    async with first.lock(KEY):
        with anyio.move_on_after(0.01) as waiting:
            async with second.lock(KEY):
                pytest.fail("two hold the lock")
    assert waiting.cancelled_caught
    async with second.lock(KEY):
        pass


@pytest.mark.anyio
@pytest.mark.parametrize(
    "anyio_backend", [jumping("asyncio"), jumping("trio")], ids=["asyncio", "trio"]
)
async def test_a_lock_that_is_never_let_go_stops_nobody(
    path: Path, anyio_backend: object, caplog: pytest.LogCaptureFixture
) -> None:
    """A process that was stopped while it holds the lock delays a login by 30 s, and no more."""
    async with FileTokenStore(path).lock(KEY):
        began = anyio.current_time()
        with caplog.at_level(logging.WARNING, "every8d_async"), anyio.fail_after(60):
            async with LenientStore(FileTokenStore(path)).lock(KEY):
                assert 30 <= anyio.current_time() - began < 31
    assert "the token store failed to lock: TimeoutError" in caplog.text


def test_processes_make_one_login(path: Path) -> None:
    """Four processes that share a file, started together, make one login."""
    simulator = Simulator()
    with simulator.serve() as url:
        workers = [
            subprocess.Popen([sys.executable, "-W", "error", "-c", WORKER, url, str(path)])
            for _ in range(4)
        ]
        assert [worker.wait() for worker in workers] == [0, 0, 0, 0]
    assert simulator.logins == 1


@pytest.mark.anyio
async def test_restarted_program_believes_the_refusal(path: Path) -> None:
    """A login that was refused is not tried again by the next session on the file."""
    simulator = Simulator()
    with simulator.serve() as url:
        for _ in range(3):
            store = FileTokenStore(path)
            async with Every8DSession("demo", "wrong", site=url, token_store=store) as session:
                with pytest.raises(AuthenticationFailed):
                    await session.credit()
    assert simulator.failed_logins == 1
