"""
Ways to send to a million people, from an async generator: a bulk run, and a straightforward loop.

The straightforward loop checks nothing and accounts for nothing. The source is the same; what it
takes is measured too.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx

from benchmarks.measure import Run, Slice, Stopwatch
from benchmarks.obvious import personal_body
from every8d_async import Every8DSession, PersonalizedMessage

BATCH, IN_FLIGHT = 500, 8
_MB = 2**20

Way = Callable[[str, int, Callable[[], None]], Awaitable[int]]


async def people(count: int) -> AsyncIterator[PersonalizedMessage]:
    """Give so many people, each with a text of their own."""
    for n in range(count):
        text = f"親愛的會員您好，您的訂單 {n} 已出貨"
        yield PersonalizedMessage(f"+8869{n:08d}", text, reference=str(n))


async def ours(url: str, count: int, look: Callable[[], None]) -> int:
    """Send by a bulk run."""
    async with Every8DSession("uid", "password", site=url) as session:
        run = session.sms.send_bulk(people(count), batch_size=BATCH, max_in_flight=IN_FLIGHT)
        async with run:
            async for _ in run:
                look()
        return run.summary.accepted


async def straightforward(url: str, count: int, look: Callable[[], None]) -> int:
    """Send as one would without us: the same batches, as many at once."""
    sent = 0
    room = anyio.Semaphore(IN_FLIGHT)
    async with httpx.AsyncClient(base_url=f"{url}/API21/HTTP/", timeout=60) as client:
        login = {"HandlerType": 3, "VerifyType": 1, "UID": "uid", "PWD": "password"}
        token = (await client.post("ConnectionHandler.ashx", json=login)).json()["Msg"]
        headers = {"Authorization": f"Bearer {token}"}

        async def send(batch: list[PersonalizedMessage]) -> None:
            nonlocal sent
            try:
                body = personal_body(batch)
                response = await client.post("SendParam.ashx", json=body, headers=headers)
                sent += int(response.raise_for_status().json()["Msg"].split(",")[1])
            finally:
                room.release()
            look()

        async with anyio.create_task_group() as group:
            batch: list[PersonalizedMessage] = []
            async for person in people(count):
                batch.append(person)
                if len(batch) == BATCH:
                    await room.acquire()
                    group.start_soon(send, batch)
                    batch = []
            if batch:
                await room.acquire()
                group.start_soon(send, batch)
    return sent


async def source_alone(_url: str, count: int, _look: Callable[[], None]) -> int:
    """Only read the source."""
    async for _ in people(count):
        pass
    return count


WAYS: dict[str, Way] = {
    "ours": ours,
    "straightforward": straightforward,
    "source_alone": source_alone,
}


def _resident() -> float:
    """Give the memory of this process, in MB; 0 where it can't be read."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0.0
    return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MB


@contextmanager
def bulk(url: str, way: str, recipients: int) -> Generator[Run]:
    """Send to so many; a recipient is a call."""
    began = _resident()

    async def run() -> Slice:
        most = began

        def look() -> None:
            nonlocal most
            most = max(most, _resident())

        running = Stopwatch()
        told = await WAYS[way](url, recipients, look)
        look()
        return running.slice(told, recipients - told, growth=most - began)

    yield lambda _: asyncio.run(run())
