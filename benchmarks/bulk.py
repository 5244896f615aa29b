"""
Bulk: one run through a session, beside a straightforward loop of httpx and cattrs.

``python -m benchmarks.bulk`` sends to a million people, from an async generator, to a local server
process that counts them, once each way, and prints what that took. The straightforward loop checks
nothing and accounts for nothing; the source is the same, and its own part is shown. Only figures of
one and the same run can be compared.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import anyio
import httpx
from attrs import asdict, frozen
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from every8d_async import Every8DSession, PersonalizedMessage

BATCH, IN_FLIGHT = 500, 8
GOAL = 1 / 3  # of the straightforward loop's CPU
ROOM = 20.0  # MB of growth, whatever the number of recipients
_MB = 2**20


@frozen
class Figures:
    """
    What a way of sending took.

    Attributes:
        name: Which way.
        recipients: How many were to be sent to.
        told: How many were accepted, by what the client says.
        counted: How many the server saw.
        seconds: By the clock on the wall.
        cpu: µs of this process for each recipient.
        growth: MB at most above where the process stood before.
    """

    name: str
    recipients: int
    told: int
    counted: int
    seconds: float
    cpu: float
    growth: float


# --- the server, in a process of its own ---


class Gateway(asyncio.Protocol):
    """Answers logins and sends, and counts the recipients; that costs it a tenth of a client."""

    counted = 0

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is one of TCP
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole; none begins before the one before it was answered."""
        self._pieces.append(data)
        if not self._missing:
            data = b"".join(self._pieces)
            self._pieces = [data]
            head, end, _ = data.partition(b"\r\n\r\n")
            if not end:
                return
            self._missing = len(head) + len(end) + _length(head)
        if sum(map(len, self._pieces)) >= self._missing:
            request, self._pieces, self._missing = b"".join(self._pieces), [], 0
            self._transport.write(self._answer(request))

    def _answer(self, request: bytes) -> bytes:
        if b"/ConnectionHandler" in request[:200]:
            body = b'{"Result":true,"Msg":"4bc40f5255fa4d89ac4950b394eca0f6"}'
        elif b"/counted" in request[:200]:
            body = b"%d" % Gateway.counted
        else:
            count = request.count(b'"Mobile"')
            Gateway.counted += count
            receipt = f"1000.00,{count},{count}.00,0,220478cc-8506-49b2-93b7-2505f651c12e"
            body = json.dumps({"Result": True, "Msg": receipt}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


async def serve() -> None:
    """Serve on a free port until killed, and say which."""
    server = await asyncio.get_running_loop().create_server(Gateway, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@contextmanager
def gateway() -> Any:
    """Run a server process, and give its address."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            yield process.stdout.readline().strip()
        finally:
            process.kill()


# --- the two ways ---


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


def _time(value: datetime | None) -> str:
    return "" if value is None else value.strftime("%Y%m%d%H%M%S")


CONVERTER = Converter()
CONVERTER.register_unstructure_hook(
    PersonalizedMessage,
    make_dict_unstructure_fn(
        PersonalizedMessage,
        CONVERTER,
        mobile=override(rename="Mobile"),
        text=override(rename="Param"),
        name=override(rename="Name"),
        email=override(rename="Email"),
        send_at=override(rename="SendTime", unstruct_hook=_time),
        reference=override(rename="Mr"),
    ),
)


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
            rows = CONVERTER.unstructure(batch)
            body = {"SB": "", "RETRYTIME": 1440, "RecipientDataList": rows}
            try:
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
    return 0


# --- measuring ---


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / _MB


class _Peak:
    def __init__(self) -> None:
        self._began = self._most = _resident()

    def look(self) -> None:
        self._most = max(self._most, _resident())

    @property
    def growth(self) -> float:
        return self._most - self._began


Way = Callable[[str, int, Callable[[], None]], Awaitable[int]]


def measure(way: Way, recipients: int) -> Figures:
    """Send to so many, against a server of its own."""
    with gateway() as url:
        peak = _Peak()
        clock, cpu = time.perf_counter(), time.process_time()
        told = anyio.run(way, url, recipients, peak.look)
        clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
        peak.look()
        with urlopen(f"{url}/counted") as answer:  # noqa: S310 - our own server
            counted = int(answer.read())
    micros = cpu / recipients * 1e6
    return Figures(way.__name__, recipients, told, counted, clock, micros, peak.growth)


def _table(figures: list[Figures]) -> str:
    mine, other, source = figures
    lines = [
        "| way | recipients | seconds | CPU, µs a recipient | growth | the server counted |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {f.name} | {f.recipients:,} | {f.seconds:.1f} | {f.cpu:.2f} | {f.growth:.1f} MB "
        f"| {f.counted:,} |"
        for f in figures
    ]
    net = (mine.cpu - source.cpu) / (other.cpu - source.cpu)
    ratio = f"CPU: {mine.cpu / other.cpu:.2f} of the straightforward loop's (goal {GOAL:.2f})"
    growth = f"growth {mine.growth:.1f} MB (goal {ROOM:.0f})"
    return "\n".join([*lines, "", f"{ratio}, {net:.2f} without the source; {growth}"])


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true", help="print the figures for a program")
    parser.add_argument("--serve", action="store_true", help="be the server")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    ways: list[Way] = [ours, straightforward, source_alone]
    figures = [measure(way, options.recipients) for way in ways]
    told = json.dumps([asdict(f) for f in figures]) if options.json else _table(figures)
    sys.stdout.write(f"{told}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
