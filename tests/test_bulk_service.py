"""The service example, over real sockets on both sides: its client here, the simulator there."""

import json
import socket
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.abc
import anyio.lowlevel
import h11
import pytest
import uvicorn
from attrs import define, field

from every8d_async import Every8DSession
from every8d_async.simulator import Account, Delay, Reset, Simulator

from .examples.bulk_service import make_app

pytestmark = pytest.mark.anyio

ROWS = 10_000


@define
class Service:
    """The service under test, its journal, and the gateway behind it."""

    port: int
    simulator: Simulator
    journal: list[dict[str, Any]] = field(factory=list)
    ended: threading.Event = field(factory=threading.Event)

    def note(self, line: dict[str, Any]) -> None:
        self.journal.append(line)
        if "accepted" in line:
            self.ended.set()

    async def summary(self) -> dict[str, Any]:
        """Wait until a request was accounted for."""
        await anyio.to_thread.run_sync(self.ended.wait)
        return self.journal[-1]


@pytest.fixture
def service() -> Iterator[Service]:
    account = Account(uid="demo", password="demo", credit=10 * ROWS)
    simulator = Simulator(accounts=[account])
    with simulator.serve() as site, socket.create_server(("127.0.0.1", 0)) as listener:
        # Small buffers, so that a slow client is felt.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        it = Service(listener.getsockname()[1], simulator)
        app = make_app(lambda: Every8DSession("demo", "demo", site=site), it.note)
        with served(app, listener):
            yield it


@contextmanager
def served(app: Any, listener: socket.socket) -> Generator[None]:
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="h11", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


class Client:
    """Uploads and reads at once, as curl does."""

    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream = stream
        self._http: Any = h11.Connection(h11.CLIENT)

    async def begin(self, length: int) -> None:
        headers = [("Host", "localhost"), ("Content-Length", str(length))]
        await self._send(h11.Request(method="POST", target="/bulk", headers=headers))

    async def upload(self, body: bytes, *, end: bool = True) -> None:
        for start in range(0, len(body), 10_000):
            await self._send(h11.Data(data=body[start : start + 10_000]))
        if end:
            await self._send(h11.EndOfMessage())

    async def _send(self, event: Any) -> None:
        await self._stream.send(self._http.send(event) or b"")

    async def lines(self, at_once: int) -> AsyncGenerator[dict[str, Any]]:
        """Read so many bytes at a time."""
        rest = b""
        while True:
            event = self._http.next_event()
            match event:
                case h11.NEED_DATA:
                    await anyio.lowlevel.checkpoint()
                    self._http.receive_data(await self._stream.receive(at_once))
                case h11.Data(data=data):
                    *lines, rest = (rest + bytes(data)).split(b"\n")
                    for line in lines:
                        yield json.loads(line)
                case h11.EndOfMessage():
                    return
                case _:
                    pass


def rows(count: int, *, bad: range = range(0)) -> bytes:
    lines = ["mobile,text", *(f"+8869{n:08d},您的訂單 {n} 已出貨" for n in range(2, count + 2))]
    for number in bad:
        lines[number - 1] = "nobody,nothing"
    return "\r\n".join(lines).encode()


async def post(service: Service, body: bytes, at_once: int = 65536) -> list[dict[str, Any]]:
    """Upload a body, and read the answer meanwhile."""
    async with await anyio.connect_tcp("127.0.0.1", service.port) as stream:
        client = Client(stream)
        await client.begin(len(body))
        async with anyio.create_task_group() as group:
            group.start_soon(client.upload, body)
            return [line async for line in client.lines(at_once)]
    raise AssertionError("unreachable")


async def test_a_slow_client_is_told_of_every_row(service: Service) -> None:
    """10,000 rows, some bad, read 50 bytes at a time: each row is told once, and sent once."""
    bad = range(77, ROWS, 1000)
    *lines, summary = await post(service, rows(ROWS, bad=bad), at_once=50)
    states = {row: line["state"] for line in lines for row in line["rows"]}
    assert sum(len(line["rows"]) for line in lines) == len(states) == ROWS
    assert states == {row: "refused" if row in bad else "accepted" for row in range(2, ROWS + 2)}
    assert (summary["accepted"], summary["refused"]) == (ROWS - 10, 10)
    assert len({sent.mobile for sent in service.simulator.sent}) == ROWS - 10
    assert len(service.simulator.sent) == ROWS - 10
    assert service.journal == [*lines, summary]


BAD = """\
\ufeffmobile,text
0912345678,"one, with a comma"
0912345679
0912345680,a,b

0912345681,"two
lines, and ""quotes\"""
nobody,x
0912345682,"broken"quotes
0912345683,"""


async def test_bad_rows_are_lines_of_the_answer(service: Service) -> None:
    """Whatever a row holds, it is refused by its number, and the others go out."""
    body = BAD.encode()
    body += b"\n0912345684,\xff\xfe\n0912345685,last"
    *lines, summary = await post(service, body)
    assert {"one, with a comma", 'two\nlines, and "quotes"', "last"} == {
        sent.text for sent in service.simulator.sent
    }
    refused = {line["rows"][0]: line["problems"] for line in lines if line["state"] == "refused"}
    assert {3, 4, 6, 7, 8, 9} == set(refused)
    assert refused[6] == ["messages[4].mobile: 'no…' is no mobile number"]
    assert "can't be sent (U+DCFF)" in refused[9][0]
    assert (summary["accepted"], summary["refused"]) == (3, 6)


async def test_a_quote_that_is_never_closed_takes_one_row(service: Service) -> None:
    """It does not hold the rest of the upload in memory, nor send it to anybody as a text."""
    body = rows(5_000).replace("您的訂單 3 已出貨".encode(), b'"never closed')
    *_, summary = await post(service, body)
    assert summary["accepted"] + summary["refused"] < 5_000
    assert 1 <= summary["refused"] <= 2
    assert all(len(sent.text) < 20 for sent in service.simulator.sent)


async def test_what_is_lost_is_told(service: Service) -> None:
    """A broken connection to the gateway is a line of the answer; five pause the run."""
    service.simulator.faults.add("SendParam", Reset(acts=True), times=5)
    *lines, summary = await post(service, rows(5_000))
    unknown = [line for line in lines if line["state"] == "unknown"]
    assert len(unknown) == 5
    assert all("it was not repeated" in line["error"] for line in unknown)
    assert (summary["unknown"], summary["paused"] != "") == (500, summary["accepted"] < 4_500)


async def test_a_client_that_hangs_up_midway_is_accounted_for(service: Service) -> None:
    """The journal holds every row that was read; who was accepted was sent to once."""
    service.simulator.faults.add("SendParam", Delay(by=timedelta(seconds=0.2)), times=1000)
    body = rows(ROWS)
    async with await anyio.connect_tcp("127.0.0.1", service.port) as stream:
        client = Client(stream)
        await client.begin(len(body))
        async with anyio.create_task_group() as group:
            group.start_soon(client.upload, body)
            async with aclosing(client.lines(100)) as lines:
                await anext(lines)
            group.cancel_scope.cancel()
    summary = await service.summary()
    check(service, summary, read=ROWS)
    assert summary["accepted"] < ROWS


async def test_a_client_that_hangs_up_while_uploading_is_accounted_for(service: Service) -> None:
    """Likewise; and the row that was cut is not sent."""
    body = rows(ROWS)
    half = len(body) // 2
    async with await anyio.connect_tcp("127.0.0.1", service.port) as stream:
        client = Client(stream)
        await client.begin(len(body))
        await client.upload(body[:half], end=False)
    check(service, await service.summary(), read=ROWS // 2 + 1)


def check(service: Service, summary: dict[str, Any], read: int) -> None:
    counts = ("accepted", "refused", "not_sent", "unknown", "not_attempted")
    assert sum(summary[count] for count in counts) <= read
    assert (summary["refused"], summary["unknown"]) == (0, 0)
    told = [row for line in service.journal[:-1] for row in line["rows"]]
    assert len(told) == len(set(told)) == summary["accepted"] + summary["not_sent"]
    sent = [sent.mobile for sent in service.simulator.sent]
    assert sorted(f"+8869{row:08d}" for row in told) == sorted(sent)
    assert all(sent.text.endswith("已出貨") for sent in service.simulator.sent)
