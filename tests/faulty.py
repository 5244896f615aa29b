"""
An HTTP server on a loopback socket that fails as it is told, request by request.

A `Fault` says when it strikes, what still goes out, and how the connection ends. What is not hit by
one is answered by `answer`: constants (`CANNED`), or an ASGI application such as the simulator
(`asgi`). `FaultyServer.requests` holds the requests whose whole body arrived.

With a certificate it speaks TLS, and it can stand in for a proxy: it takes absolute URLs, and ends
the tunnel of a CONNECT in itself.
"""

import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import anyio
from attrs import define, field, frozen

_NO_LINGER = struct.pack("ii", 1, 0)
_PATIENCE = 30.0  # seconds that a test may take to get somewhere


class When(Enum):
    """When a fault strikes."""

    ACCEPT = auto()  # before anything is read; on a kept connection like FIRST_BYTE
    FIRST_BYTE = auto()  # a request is coming in; nothing of it is read
    HEAD = auto()  # the head was read
    BODY = auto()  # the whole request was read


class End(Enum):
    """How a connection ends."""

    KEEP = auto()
    CLOSE = auto()
    RESET = auto()
    HANG = auto()  # until the client hangs up


@frozen
class Request:
    """A request whose whole body arrived."""

    method: str
    target: str
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def path(self) -> str:
        """Give the path, also out of an absolute URL."""
        return urlsplit(self.target).path

    @property
    def headers(self) -> dict[str, str]:
        """Give the headers by lower-case name."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}


Answer = Callable[[Request], bytes]
Out = Callable[[bytes], Iterable[bytes]]


def reply(body: bytes = b"", status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Write a whole HTTP reply."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _nothing(_sound: bytes) -> Iterable[bytes]:
    return ()


@frozen
class Fault:
    """
    What goes wrong with one request.

    Attributes:
        name: For test ids.
        when: When it strikes.
        acts: Whether the gateway does its work (for `When.BODY` only).
        out: Makes what still goes out of the sound reply (empty where the gateway does not act).
        end: How the connection ends after that.
        pause: Seconds between two pieces that go out.
        together: Whether the pieces go out in as few segments as there can be.
    """

    name: str
    when: When = When.BODY
    acts: bool = False
    out: Out = _nothing
    end: End = End.CLOSE
    pause: float = 0.0
    together: bool = False


def instead(raw: bytes) -> Out:
    """Send this, whatever the gateway would say."""
    return lambda _sound: (raw,)


def cut_head(sound: bytes) -> Iterable[bytes]:
    """Stop in the middle of the head."""
    return (sound[:20],)


def cut_body(sound: bytes) -> Iterable[bytes]:
    """Stop in the middle of a body whose length was announced."""
    head, _, body = sound.partition(b"\r\n\r\n")
    return (head + b"\r\n\r\n" + body[: len(body) // 2],)


def cut_undeclared(sound: bytes) -> Iterable[bytes]:
    """Stop in the middle of a body that ends with its connection: it looks whole."""
    body = sound.partition(b"\r\n\r\n")[2]
    return (b"HTTP/1.1 200 OK\r\n\r\n" + body[: len(body) // 2],)


def cut_chunked(sound: bytes) -> Iterable[bytes]:
    """Send the body as a chunk, and not the last one."""
    body = sound.partition(b"\r\n\r\n")[2]
    chunk = b"%x\r\n%b\r\n" % (len(body), body)
    return (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk,)


def drip(sound: bytes) -> Iterator[bytes]:
    """Send the head, and then byte after byte without end."""
    yield sound.partition(b"Content-Length")[0] + b"Content-Length: 999999\r\n\r\n"
    while True:
        yield b"1"


def endless_head(_sound: bytes) -> Iterator[bytes]:
    """Send header after header."""
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-More: " + b"x" * 1000 + b"\r\n"


def huge(_sound: bytes) -> Iterator[bytes]:
    """Send a body of a gigabyte that was announced."""
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
    for _ in range(1000):
        yield b"1" * 1_000_000


def huge_chunked(_sound: bytes) -> Iterator[bytes]:
    """Send a body without end, in chunks."""
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"F4240\r\n" + b"1" * 1_000_000 + b"\r\n"


def gzipped(sound: bytes) -> Iterable[bytes]:
    """Encode the body, which nobody asked for."""
    packed = gzip.compress(sound.partition(b"\r\n\r\n")[2])
    return (reply(packed, headers={"Content-Encoding": "gzip"}),)


def twice(sound: bytes) -> Iterable[bytes]:
    """Answer twice, in one piece."""
    return (sound + sound,)


def longer(sound: bytes) -> Iterable[bytes]:
    """Send more than was announced, in one piece."""
    return (sound + b"\r\n",)


HTML = b"<!DOCTYPE html>\r\n<html><body><h1>Service Unavailable</h1></body></html>\r\n"
_RESET_HEAD = Fault("reset after the head", When.HEAD, end=End.RESET)

# The connection ends; nothing that could be read as an answer comes.
NO_CONNECTION = (
    Fault("close at accept", When.ACCEPT),
    Fault("reset at accept", When.ACCEPT, end=End.RESET),
)
NO_ANSWER = (
    Fault("close as the request leaves", When.FIRST_BYTE),
    Fault("reset as the request leaves", When.FIRST_BYTE, end=End.RESET),
    Fault("close after the head", When.HEAD),
    _RESET_HEAD,
    Fault("close after the body"),
    Fault("reset after the body", end=End.RESET),
    Fault("act, then close", acts=True),
    Fault("act, then reset", acts=True, end=End.RESET),
    Fault("cut head", acts=True, out=cut_head),
    Fault("garbage", out=instead(b"\x00\x01 what\r\n\r\n")),
)
NO_END = (
    Fault("hang after the head", When.HEAD, end=End.HANG),
    Fault("act, then hang", acts=True, end=End.HANG),
    Fault("hang inside the head", acts=True, out=cut_head, end=End.HANG),
    Fault("hang inside the body", acts=True, out=cut_body, end=End.HANG),
    Fault("drip", acts=True, out=drip, pause=0.005),
)
CUT = (
    Fault("cut body", acts=True, out=cut_body),
    Fault("cut body, reset", acts=True, out=cut_body, end=End.RESET),
    Fault("chunked without end", acts=True, out=cut_chunked),
)
# An answer comes, but not one of the gateway's.
NO_SOUND_ANSWER = (
    Fault("cut body without a length", acts=True, out=cut_undeclared),
    Fault("HTML", out=instead(reply(HTML)), end=End.KEEP),
    Fault("204", out=instead(b"HTTP/1.1 204 No Content\r\n\r\n"), end=End.KEEP),
    Fault("302", out=instead(reply(b"", 302, {"Location": "/elsewhere"})), end=End.KEEP),
    Fault("500", out=instead(reply(HTML, 500)), end=End.KEEP),
    Fault("502", out=instead(reply(HTML, 502)), end=End.KEEP),
    Fault("act, then 504", acts=True, out=instead(reply(HTML, 504)), end=End.KEEP),
    Fault("408", out=instead(reply(HTML, 408)), end=End.KEEP),
    Fault("gzip", acts=True, out=gzipped, end=End.KEEP),
    Fault("huge", acts=True, out=huge),
    Fault("huge, chunked", acts=True, out=huge_chunked),
)
ENDLESS_HEAD = Fault("endless head", acts=True, out=endless_head)
NOT_FOUND = Fault("404", out=instead(reply(HTML, 404)), end=End.KEEP)
FORBIDDEN = Fault("403", out=instead(reply(HTML, 403, {"Server": "a wall"})), end=End.KEEP)
UNAUTHORIZED = Fault("401", out=instead(reply(HTML, 401)), end=End.KEEP)
# A sound answer, and more behind it that nobody asked for.
TOO_MUCH = (
    Fault("answers twice", acts=True, out=twice, end=End.KEEP),
    Fault("longer than announced", acts=True, out=longer, end=End.KEEP),
)
IDLE_CLOSE = Fault("answer, then close", acts=True, out=lambda sound: (sound,))


def too_many(seconds: float | None) -> Fault:
    """Answer 429, with Retry-After where seconds are given."""
    wait = {} if seconds is None else {"Retry-After": f"{seconds:g}"}
    return Fault("429", out=instead(reply(HTML, 429, wait)), end=End.KEEP)


_BATCH = "00000000-0000-4000-8000-000000000001"
CANNED = {
    "ConnectionHandler.ashx": b'{"Result":true,"Msg":"0123456789abcdef0123456789abcdef"}',
    "SendSMS.ashx": f"99.00,1,1.00,0,{_BATCH}".encode(),
    "GetCredit.ashx": b"99.00",
    "GetDeliveryStatus.ashx": b'{"SMS_COUNT": 0, "BID": ""}',
    "EraseBooking.ashx": b"1,1.00",
}


def canned(request: Request) -> bytes:
    """Answer the same each time."""
    return reply(CANNED.get(request.path.rpartition("/")[2], b"fine"))


def asgi(app: Any) -> Answer:
    """Answer as an ASGI application does that never waits for anything."""

    def answer(request: Request) -> bytes:
        messages: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": request.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            messages.append(message)

        scope = {
            "type": "http",
            "method": request.method,
            "path": request.path,
            "query_string": b"",
            "headers": [(n.encode(), v.encode()) for n, v in request.headers.items()],
        }
        with contextlib.suppress(StopIteration):
            app(scope, receive, send).send(None)
            raise AssertionError("the application waits for something")
        start, *rest = messages
        body = b"".join(message.get("body", b"") for message in rest)
        headers = {n.decode(): v.decode("latin-1") for n, v in start["headers"]}
        headers.pop("content-length", None)
        return reply(body, start["status"], headers)

    return answer


@define
class _Planned:
    fault: Fault
    path: str
    left: int


class FaultyServer:
    """
    Serves while its block runs.

    Attributes:
        requests: Those whose whole body arrived, in order.
        acted: How many of them the gateway worked on.
        accepted: Connections so far.
        hung: How often a connection fell silent, or began to drip, until the client hangs up.
        dripped: Pieces that went out so far with a pause after each.
        tunnels: Heads of the CONNECT requests.
        tls: The certificate that is shown, and `inner_tls` that of what is behind a tunnel; they
            may be exchanged at any time.
    """

    def __init__(
        self,
        answer: Answer = canned,
        *,
        tls: ssl.SSLContext | None = None,
        inner_tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._answer = answer
        self.tls = tls
        self.inner_tls = inner_tls
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=2048)
        self._host = f"[{host}]" if ":" in host else host
        self.port: int = self._listener.getsockname()[1]
        self._listens = True
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._planned: list[_Planned] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.requests: list[Request] = []
        self.acted = 0
        self.accepted = 0
        self.hung = 0
        self.dripped = 0
        self.written = 0  # faults that are with the client in full
        self.tunnels: list[bytes] = []

    @property
    def address(self) -> str:
        """Give host and port."""
        return f"{self._host}:{self.port}"

    @property
    def url(self) -> str:
        """Give the site."""
        return f"{'http' if self.tls is None else 'https'}://{self.address}"

    @property
    def open(self) -> int:
        """Count the connections that are open."""
        return len(self._open)

    def add(self, fault: Fault, path: str = "", times: int = 1) -> None:
        """Hit the next requests (of this path's end; before a path is read, any) with a fault."""
        with self._changed:
            self._planned.append(_Planned(fault, path, times))

    def heal(self) -> None:
        """Forget the faults that are still to come."""
        with self._changed:
            self._planned.clear()

    async def drop(self) -> None:
        """Close the connections that are open, as a gateway does with idle ones."""
        with self._changed:
            for stream in self._open:
                _wake(stream)
        await self.until(lambda: not self._open)

    async def shut(self) -> None:
        """Close the port and the connections: whoever connects now is refused."""
        address = self._listener.getsockname()
        _wake(self._listener)
        await self.until(lambda: not self._listens)
        self._listener.close()
        # Bound, so that nobody else takes the port, but not listening.
        self._listener = socket.socket(self._listener.family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(address)
        await self.drop()

    def reopen(self) -> None:
        """Listen on the port again."""
        self._listener.listen(2048)
        self._listens = True
        self._start(self._accept)

    def nudge(self) -> None:
        """Let those who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def paths(self) -> list[str]:
        """Give the last part of each request's path."""
        return [request.path.rpartition("/")[2] for request in self.requests]

    def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; it is asked whenever something happens here."""
        with self._changed:
            if not self._changed.wait_for(condition, _PATIENCE):
                raise AssertionError("it did not come about")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait as `wait` does, in a task."""
        with self._changed:
            if condition():
                return
        await anyio.to_thread.run_sync(self.wait, condition, abandon_on_cancel=True)

    async def arrived(self, count: int) -> None:
        """Wait until so many whole requests are here."""
        await self.until(lambda: len(self.requests) >= count)

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopping.set()
            for stream in (self._listener, *self._open):
                _wake(stream)
        self._listener.close()
        for thread in self._threads:
            thread.join(_PATIENCE)

    # --- the server's threads ---

    def _start(self, run: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=run, args=args, name="faulty", daemon=True)
        self._threads = [old for old in self._threads if old.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._stopping.is_set():
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.accepted += 1
                self._note(connection)
                self._start(self._serve, connection)
        with self._changed:
            self._listens = False
            self._changed.notify_all()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._talk(connection, self.tls)
        self._note(connection, gone=True)

    def _note(self, connection: socket.socket, *, gone: bool = False) -> None:
        with self._changed:
            (self._open.discard if gone else self._open.add)(connection)
            if self._stopping.is_set():
                _wake(connection)
            self._changed.notify_all()

    def _talk(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        if (fault := self._take(None, When.ACCEPT)) is not None:
            self._end(connection, fault.end)
            return
        if tls is None:
            self._listen(connection)
            return
        # What is wrapped gives its descriptor away.
        with tls.wrap_socket(connection, server_side=True) as stream:
            self._note(stream)
            self._note(connection, gone=True)
            try:
                self._listen(stream)
            finally:
                self._note(stream, gone=True)

    def _listen(self, stream: socket.socket) -> None:
        reader = _Reader(stream)
        while self._exchange(stream, reader):
            pass

    def _exchange(self, stream: socket.socket, reader: "_Reader") -> bool:
        """Take one request, and tell whether another may follow."""
        reader.wait()
        if (fault := self._take(None, When.ACCEPT, When.FIRST_BYTE)) is not None:
            return self._fail(stream, fault, b"")
        head = reader.head()
        method, target, _ = head.decode("latin-1").split(" ", 2)
        if method == "CONNECT":
            return self._tunnel(stream, head)
        request = Request(method, target, head, b"")
        if (fault := self._take(request.path, When.HEAD)) is not None:
            return self._fail(stream, fault, b"")
        body = reader.body(int(request.headers.get("content-length", "0")))
        return self._respond(stream, Request(method, target, head, body))

    def _respond(self, stream: socket.socket, request: Request) -> bool:
        fault = self._take(request.path, When.BODY)
        acts = fault is None or fault.acts
        with self._changed:
            sound = self._answer(request) if acts else b""
            self.acted += acts
            self.requests.append(request)
            self._changed.notify_all()
        if fault is not None:
            return self._fail(stream, fault, sound)
        stream.sendall(sound)
        return True

    def _tunnel(self, stream: socket.socket, head: bytes) -> bool:
        with self._changed:
            self.tunnels.append(head)
            self._changed.notify_all()
        fault = self._take("CONNECT", When.HEAD)
        if fault is not None:
            return self._fail(stream, fault, b"")
        stream.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._talk(stream, self.inner_tls)
        return False

    def _take(self, path: str | None, *when: When) -> Fault | None:
        with self._changed:
            for planned in self._planned:
                fits = path is None or path.endswith(planned.path)
                if planned.fault.when in when and fits:
                    planned.left -= 1
                    if not planned.left:
                        self._planned.remove(planned)
                    return planned.fault
        return None

    def _fail(self, stream: socket.socket, fault: Fault, sound: bytes) -> bool:
        self._tell_hung(fault.pause > 0)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, fault.together)
        for piece in fault.out(sound):
            stream.sendall(piece)
            if fault.pause:
                self._tell_dripped()
                if self._stopping.wait(fault.pause):
                    break
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, False)
        with self._changed:
            self.written += 1
            self._changed.notify_all()
        return self._end(stream, fault.end)

    def _tell_dripped(self) -> None:
        with self._changed:
            self.dripped += 1
            self._changed.notify_all()

    def _tell_hung(self, hangs: bool = True) -> None:
        with self._changed:
            self.hung += hangs
            self._changed.notify_all()

    def _end(self, stream: socket.socket, end: End) -> bool:
        match end:
            case End.KEEP:
                return True
            case End.RESET:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            case End.HANG:
                self._tell_hung()
                while stream.recv(65536):
                    pass
            case End.CLOSE:
                pass
        return False


def _wake(stream: socket.socket) -> None:
    """End what a thread waits for on a socket."""
    with contextlib.suppress(OSError):
        stream.shutdown(socket.SHUT_RDWR)


class _Reader:
    """Reads requests; the client's end of the connection comes as an OSError."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._kept = b""

    def wait(self) -> None:
        """Wait until something of a request has come; a plain socket's bytes stay in it."""
        if isinstance(self._stream, ssl.SSLSocket):
            self._more()
        elif not self._kept and not self._stream.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError

    def _more(self) -> None:
        piece = self._stream.recv(65536)
        if not piece:
            raise ConnectionResetError
        self._kept += piece

    def head(self) -> bytes:
        while b"\r\n\r\n" not in self._kept:
            self._more()
        head, _, self._kept = self._kept.partition(b"\r\n\r\n")
        return head

    def body(self, length: int) -> bytes:
        while len(self._kept) < length:
            self._more()
        body, self._kept = self._kept[:length], self._kept[length:]
        return body


@contextlib.contextmanager
def refusing() -> Generator[str]:
    """Give a site on a port where nobody listens, and nobody else will."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
