"""What an attacker found: hostile stores, replies and callers that must not mislead or stop us."""

import asyncio
import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio.lowlevel
import httpx
import pytest

from every8d_async import (
    AuthenticationFailed,
    CancelRefused,
    DeliveryReport,
    Every8DSession,
    FileTokenStore,
    GatewayRefused,
    OutcomeUnknown,
    Pager,
    PersonalizedMessage,
    RetryPolicy,
    StoredRefusal,
    StoredToken,
)
from every8d_async._convert import ReportPage, structure
from every8d_async._lenient import is_sound
from every8d_async._loop import Job
from every8d_async._models import Page
from every8d_async._watch import Watch
from every8d_async._wire import BadReply
from every8d_async.simulator import Simulator
from tests import kit

TOKEN = "4bc40f5255fa4d89ac4950b394eca0f6"
MESSAGE = PersonalizedMessage("0900000001", "hello")


def gateway(reply: dict[str, Any]) -> httpx.MockTransport:
    """Let everybody log in, and answer everything else with one reply."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("ConnectionHandler.ashx"):
            return httpx.Response(200, json={"Result": True, "Msg": TOKEN})
        return httpx.Response(200, json=reply)

    return httpx.MockTransport(answer)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "status", ["", "ERR", "0", "7", None, 0, 3, True, -99.5, [], "-99 ", " -99"]
)
async def test_a_refusal_without_a_code_proves_nothing(status: object) -> None:
    """A send that gets ``Result: false`` and no code that says why may have been done."""
    transport = gateway({"Result": False, "Status": status, "Msg": "Timeout expired"})
    session = Every8DSession("uid", "password", site="http://localhost", transport=transport)
    with pytest.raises(OutcomeUnknown) as caught:
        await session.sms.send_personalized([MESSAGE])
    assert caught.value.sent is None


@pytest.mark.anyio
async def test_a_refusal_with_its_code_stands() -> None:
    """A code that is the operation's own says that nothing was sent, also as a number."""
    for status in ("-28", -28, " -28"):
        transport = gateway({"Result": False, "Status": status, "Msg": "bad time"})
        session = Every8DSession("uid", "password", site="http://localhost", transport=transport)
        with pytest.raises(GatewayRefused) as caught:
            await session.sms.send_personalized([MESSAGE])
        assert (caught.value.sent, caught.value.code) == (False, -28)


@pytest.mark.anyio
@pytest.mark.parametrize("message", ["密碼錯誤", "3次錯誤後鎖定", ""])
async def test_a_refused_login_is_remembered_whatever_its_words(message: str) -> None:
    """With uid and password in each call, a wrong one is sent once: more than ten lock."""
    transport, requests = kit.recording(f"-101,{message}".encode())
    async with kit.session(transport, auth="password") as session:
        for _ in range(8):
            with pytest.raises(AuthenticationFailed):
                await session.credit()
    assert len(requests) == 1


@pytest.mark.anyio
async def test_a_refused_cancel_is_one_whatever_its_words() -> None:
    """A reason that begins with a digit is a reason."""
    transport, _ = kit.recording("-4,2025/11/26 已發送".encode())
    async with kit.session(transport) as session:
        with pytest.raises(CancelRefused) as caught:
            await session.sms.cancel("batch")
    assert caught.value.code == -4


@pytest.mark.asyncio
async def test_a_job_that_never_began_is_over() -> None:
    """A login whose task is cancelled before its first step leaves nobody waiting for ever."""

    async def work() -> str:
        raise AssertionError("it was cancelled before it began")

    job = Job(work)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert job.is_over
    await job.cancel()


def test_a_hostile_page_is_not_told_to_its_end() -> None:
    """Of a page with more unsound rows than any page has, the first thousand are told."""
    with pytest.raises(BadReply) as caught:
        structure({"SMS_COUNT": 1, "DATA": [{}] * 1_500}, ReportPage)
    *told, last = caught.value.problems
    assert len(told) == 2 * 1_000
    assert last == "DATA: has more than 1000 rows, and not all are sound"


def test_one_bad_row_behind_many_is_still_refused() -> None:
    """A page is refused for a row that is not looked at closely, too."""
    rows = [{"MOBILE": "0900000001", "STATUS": "100"}] * 1_500
    assert len(structure({"SMS_COUNT": 1, "DATA": rows}, ReportPage).rows) == 1_500
    with pytest.raises(BadReply, match="has more than 1000 rows"):
        structure({"SMS_COUNT": 1, "DATA": [*rows, {}]}, ReportPage)


@pytest.mark.parametrize(
    ("kept", "sound"),
    [
        (StoredToken(TOKEN, 1.0, 2.0), True),
        (StoredRefusal(-101, "no", 1.0, math.inf, 1), True),
        (StoredToken("a\r\nb: c", 1.0, 2.0), False),
        (StoredToken("", 1.0, 2.0), False),
        (StoredToken("密碼密碼密碼密碼", 1.0, 2.0), False),
        (StoredToken(b"bytes-bytes", 1.0, 2.0), False),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (StoredToken(TOKEN, "1", 2.0), False),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (StoredRefusal("x", "no", 1.0, 2.0, 1), False),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        (StoredRefusal(-101, "no", None, 2.0, 1), False),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        ("text", False),
    ],
)
def test_what_a_store_gives_is_looked_at(kept: object, sound: bool) -> None:
    """A store may be spoilt or another's: what is no token is none."""
    assert is_sound(kept) is sound


@pytest.mark.anyio
async def test_a_spoilt_store_costs_a_login(
    every8d_simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A token that can't stand in a header is passed over, with a warning, for a fresh one."""
    path = tmp_path / "tokens.json"
    entry = {"token": "a\r\nb: c", "issued_at": 0, "expires_at": 9e9}
    path.write_text(json.dumps({"http://localhost demo": entry}))
    session = Every8DSession(
        "demo",
        "demo",
        site="http://localhost",
        transport=httpx.ASGITransport(app=every8d_simulator),
        token_store=FileTokenStore(path),
    )
    await session.credit()
    assert every8d_simulator.logins == 1
    assert "gave something that is no token" in caplog.text


@pytest.mark.anyio
async def test_a_lock_does_not_live_on_in_a_child(tmp_path: Path) -> None:
    """A child that inherited the lock's file does not hold off everybody else."""
    store = FileTokenStore(tmp_path / "tokens.json")
    inherited: list[int] = []
    async with store.lock("key"):
        for link in list(Path("/proc/self/fd").iterdir()):
            with suppress(OSError):
                if str(link.readlink()).endswith(".lock"):
                    inherited.append(os.dup(int(link.name)))  # what a fork does
    assert inherited
    async with store.lock("key"):
        pass
    for descriptor in inherited:
        os.close(descriptor)


@pytest.mark.anyio
async def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    """A token that could not be written is not left in a file of another name."""
    store = FileTokenStore(tmp_path / "tokens.json")
    with pytest.raises(TypeError):
        await store.save("key", StoredToken(object(), 1.0, 2.0))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.anyio
async def test_a_watch_ends_a_reading_with_its_time() -> None:
    """A gateway that never stops giving pages can't keep a watch beyond its time."""

    async def endless(number: int) -> Page[DeliveryReport]:
        await anyio.lowlevel.checkpoint()
        row = DeliveryReport(str(number), "", "+886900000001", None, None, 0)
        return Page(number, 10**9, (row,))

    def read() -> Pager[DeliveryReport]:
        return Pager(endless, start_page=1, window=1)

    clock = iter([0.0, 10.0, 10.0, 10.0])
    watch = Watch(read, every=1.0, timeout=5.0, now=lambda: next(clock, 10.0))
    assert len([report async for report in watch]) <= 1
    assert not watch.is_complete


def test_a_transport_of_ones_own_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """EVERY8D_PROXY is for the session's own pool: a transport given here wins over it."""
    monkeypatch.setenv("EVERY8D_PROXY", "http://proxy:3128")
    transport = gateway({})
    session = Every8DSession.from_env(uid="uid", password="password", transport=transport)
    assert not session.is_closed


@pytest.mark.anyio
async def test_an_event_names_the_batch_of_a_filtered_send(every8d_simulator: Simulator) -> None:
    """The observer hears of the batch that a filtered send made."""
    events: list[str] = []
    session = Every8DSession(
        "demo",
        "demo",
        site="http://localhost",
        transport=httpx.ASGITransport(app=every8d_simulator),
        observer=lambda event: events.append(event.batch_id),
        retry=RetryPolicy(attempts=1),
    )
    receipt = await session.sms.send_filtered("hello", "0900000001")
    assert events == [receipt.batch_id]
