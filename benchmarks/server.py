"""
A gateway that is not the limit: fixed bytes, answered by hand, in a process of its own.

It counts what it was sent, by the first part of the path, so that each way of a case has its own
count, and tells that and its own CPU time on ``/counted``.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from typing import ClassVar
from urllib.request import urlopen

from attrs import frozen

from benchmarks.pages import page
from benchmarks.worker import pin
from tests.certificate import server_context, trusting_context

BATCH_ID = "220478cc-8506-49b2-93b7-2505f651c12e"
_CODE = [sys.executable, "-m", "benchmarks.server"]


@frozen
class Setup:
    """
    How the server answers.

    Attributes:
        delay: Seconds until each answer.
        tls: Whether it shows a certificate that `trusting_context` trusts.
        pages: Pages of the one batch that it reports on.
        rows: Rows of each.
    """

    delay: float = 0
    tls: bool = False
    pages: int = 0
    rows: int = 100


class Gateway(asyncio.Protocol):
    """Answers a request when it is whole; none begins before the one before it was answered."""

    setup = Setup()
    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        """Take a piece."""
        if self._pieces:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return
            data = b"".join(self._pieces)
        end = data.find(b"\r\n\r\n") + 4
        if end < len(b"\r\n\r\n"):
            self._wanted = 0
        else:
            self._wanted = end + _length(data[:end])
        if not self._wanted or len(data) < self._wanted:
            self._pieces, self._size = [data], len(data)
            return
        self._pieces, self._size, self._wanted = [], 0, 0
        answer = _answer(data, end)
        if self.setup.delay:
            self._loop.call_later(self.setup.delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"\r\ncontent-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


def _answer(request: bytes, end: int) -> bytes:
    path = request.split(b" ", 2)[1]
    if path.endswith((b"SendSMS.ashx", b"Messages.json")):
        Gateway.counted[_prefix(path)] += 1
        return _RECEIPT if path.endswith(b"x") else _TWILIO
    if path.endswith(b"SendParam.ashx"):
        count = request.count(b'"Mobile"')
        Gateway.counted[_prefix(path)] += count
        receipt = f"1000.00,{count},{count}.00,0,{BATCH_ID}"
        return _reply(json.dumps({"Result": True, "Msg": receipt}).encode())
    if path.endswith(b"GetDeliveryStatus.ashx"):
        Gateway.counted[_prefix(path)] += 1
        return _page(int(request[end:].split(b"PNO=", 1)[1].split(b"&", 1)[0]))
    if path.endswith(b"ConnectionHandler.ashx"):
        return _reply(b'{"Result":true,"Msg":"4bc40f5255fa4d89ac4950b394eca0f6"}')
    if path.endswith(b"GetCredit.ashx"):
        return _reply(b"1000.00")
    told = {"cpu": time.process_time(), "counted": Gateway.counted}
    return _reply(json.dumps(told).encode())


def _prefix(path: bytes) -> str:
    return path.split(b"/", 2)[1].decode()


def _reply(body: bytes, kind: bytes = b"text/plain", status: bytes = b"200 OK") -> bytes:
    head = b"HTTP/1.1 %s\r\nContent-Type: %s; charset=utf-8\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body


@cache
def _page(number: int) -> bytes:
    setup = Gateway.setup
    rows = setup.rows if 1 <= number <= setup.pages else 0
    return _reply(page(number, rows, total=setup.rows * setup.pages), b"application/json")


_RECEIPT = _reply(f"1000.00,1,1.00,0,{BATCH_ID}".encode())
_TWILIO = _reply(
    json.dumps(
        {
            "account_sid": "AC00000000000000000000000000000000",
            "api_version": "2010-04-01",
            "body": "驗證碼 123456",
            "date_created": "Sat, 31 Jan 2026 12:00:00 +0000",
            "date_sent": None,
            "date_updated": "Sat, 31 Jan 2026 12:00:00 +0000",
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": "+15005550006",
            "messaging_service_sid": None,
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": "SM00000000000000000000000000000000",
            "status": "queued",
            "subresource_uris": {"media": "/Media.json"},
            "to": "+886912345678",
            "uri": "/Messages/SM00000000000000000000000000000000.json",
        }
    ).encode(),
    b"application/json",
    b"201 Created",
)


async def serve(setup: Setup) -> None:
    """Serve on a free port until killed, and say which."""
    Gateway.setup = setup
    for number in range(1, setup.pages + 1):
        _page(number)
    server = await asyncio.get_running_loop().create_server(
        Gateway, "127.0.0.1", 0, backlog=4096, ssl=server_context() if setup.tls else None
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


@frozen
class Told:
    """What a server tells of itself: its CPU seconds, and what each way sent."""

    cpu: float
    counted: dict[str, int]


@frozen
class Server:
    """A server under way."""

    url: str

    def ask(self) -> Told:
        """Ask what it has seen."""
        context = trusting_context() if self.url.startswith("https") else None
        with urlopen(f"{self.url}/counted", context=context) as answer:  # noqa: S310 - our own
            return Told(**json.load(answer))


@contextmanager
def running(setup: Setup) -> Generator[Server]:
    """Run a server, on the first core where the system lets us choose."""
    options = [str(setup.delay), str(int(setup.tls)), str(setup.pages), str(setup.rows)]
    with subprocess.Popen([*_CODE, *options], stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            port = int(process.stdout.readline())
            yield Server(f"http{'s' * setup.tls}://127.0.0.1:{port}")
        finally:
            process.kill()


def main() -> None:
    """Be the server."""
    delay, tls, pages, rows = sys.argv[1:]
    pin(0)
    with suppress(ImportError):
        import_module("uvloop").install()  # it is of the extra
    asyncio.run(serve(Setup(float(delay), bool(int(tls)), int(pages), int(rows))))


if __name__ == "__main__":
    main()
