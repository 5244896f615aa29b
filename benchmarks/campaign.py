"""
A campaign of a million recipients, against a local server process: time and memory.

``python benchmarks/campaign.py`` plans, runs and counts them, for each kind, and prints how long it
took, how much the process grew, and what the server saw: everybody once. The server answers like
the gateway, and keeps nothing but a bit for each number.
"""

import argparse
import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen
from uuid import uuid4

import anyio
from attrs import frozen

from every8d_async import Every8DSession, PersonalizedMessage
from every8d_async.campaign import Campaign

KINDS = ("personalized", "filtered")
TEXT = "秋季特賣 本週末 全面八折"
_NUMBER = re.compile(rb"(?:\+|%2B)8869([0-9]{8})")
_MB = 2**20


@frozen
class Figures:
    """What one campaign took: seconds, and MB above where the process stood before."""

    kind: str
    recipients: int
    planning: float
    planning_again: float
    running: float
    growth: float
    seen: int
    twice: int


class Gateway(asyncio.Protocol):
    """Answers logins and sends, and knows who was sent to."""

    seen = bytearray(10**8 // 8)
    once = twice = 0

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: ([0-9]+)", head)
        if not found or length is None or len(body) < int(length[1]):
            return
        self._data = b""
        answer = self._answer(head, body)
        assert self._transport is not None  # noqa: S101
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer)
        )

    def _answer(self, head: bytes, body: bytes) -> bytes:
        if b"ConnectionHandler" in head:
            return json.dumps({"Result": True, "Msg": uuid4().hex}).encode()
        if b"/seen" in head:
            return json.dumps([self.once, self.twice]).encode()
        count = 0
        for found in _NUMBER.finditer(body):
            count += 1
            self._see(int(found[1]))
        receipt = f"1000000.00,{count},{count}.00,0,{uuid4()}"
        if b"SendParam" in head:
            return json.dumps({"Result": True, "Msg": receipt}).encode()
        return receipt.encode()

    def _see(self, number: int) -> None:
        place, bit = number >> 3, 1 << (number & 7)
        if self.seen[place] & bit:
            Gateway.twice += 1
        else:
            Gateway.once += 1
        self.seen[place] |= bit


async def serve() -> None:
    """Serve on a free port until killed, and say which."""
    server = await asyncio.get_running_loop().create_server(Gateway, "127.0.0.1", 0)
    sys.stdout.write(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


def resident() -> float:
    """Give the memory of this process, in MB."""
    status = Path("/proc/self/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+([0-9]+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


class Peak:
    """Knows the most memory since it was made, as far as it was asked."""

    def __init__(self) -> None:
        self._began = self._most = resident()

    def look(self, _progress: object = None) -> None:
        """Look once."""
        self._most = max(self._most, resident())

    @property
    def growth(self) -> float:
        """Give the growth, in MB."""
        return self._most - self._began


def mobiles(count: int) -> Iterator[str]:
    """Give so many different mobiles, in no order."""
    return (f"+8869{number * 48271 % 99999989:08d}" for number in range(count))


async def measure(kind: str, recipients: int, url: str, path: Path) -> Figures:
    """Plan one campaign, plan it again, and run it."""
    async with Every8DSession("demo", "demo", site=url) as session:
        await session.sms.send("warm", "+12025550123")
        async with Campaign.open(path, session) as campaign:
            peak = Peak()
            planning = await _plan(campaign, kind, recipients, peak)
            again = await _plan(campaign, kind, recipients, peak)
            began = time.perf_counter()
            async with campaign.run(max_in_flight=8) as run:
                async for _ in run:
                    peak.look()
            running = time.perf_counter() - began
            status = await campaign.status()
            assert (status.total, status.accepted) == (recipients, recipients)  # noqa: S101
    with urlopen(f"{url}/seen", b"-") as answer:  # noqa: ASYNC210, S310 - all is done
        seen, twice = json.load(answer)
    return Figures(kind, recipients, planning, again, running, peak.growth, seen, twice)


async def _plan(campaign: Campaign, kind: str, recipients: int, peak: Peak) -> float:
    began = time.perf_counter()
    numbers = mobiles(recipients)
    if kind == "personalized":
        messages = (
            PersonalizedMessage(n, f"親愛的客戶您好 {n[5:]}", reference=f"order {n}")
            for n in numbers
        )
        await campaign.plan(messages, progress=peak.look)
    else:
        await campaign.plan_text(TEXT, numbers, filtered=True, progress=peak.look)
    return time.perf_counter() - began


def run(kind: str, recipients: int) -> Figures:
    """Measure one kind, with a server and a journal of its own."""
    command = [sys.executable, __file__, "--serve"]
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server,  # noqa: S603
    ):
        try:
            assert server.stdout is not None  # noqa: S101
            url = server.stdout.readline().strip()
            return anyio.run(measure, kind, recipients, url, Path(place) / "campaign.sqlite3")
        finally:
            server.kill()


def say(line: str) -> None:
    """Print a line now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--serve", action="store_true", help="be the server")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    say("| kind | recipients | planned in | again in | run in | growth | seen | twice |")
    say("|---|---|---|---|---|---|---|---|")
    for kind in KINDS:
        f = run(kind, options.recipients)
        say(
            f"| {f.kind} | {f.recipients:,} | {f.planning:.1f} s | {f.planning_again:.1f} s "
            f"| {f.running:.1f} s | {f.growth:.0f} MB | {f.seen:,} | {f.twice} |"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
