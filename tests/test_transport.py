"""Bytes out, bytes in, on real sockets: what says that a request left, and what a reply may be."""

import gc
import socket
import ssl
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Self

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from every8d_async import __version__
from every8d_async._endpoints import CANCEL_SMS, SEND_SMS, SMS_REPORTS
from every8d_async._options import Timeout
from every8d_async._pool import Borrowed, Pool, Transport, one_connection
from every8d_async._transport import Exchange
from every8d_async._wire import Progress, WireFailure, WireReply, WireRequest
from every8d_async.simulator import Simulator
from tests import faulty
from tests.certificate import server_context, trusting_context
from tests.clocks import jumping
from tests.faulty import End, Fault, FaultyServer, When

pytestmark = pytest.mark.anyio

PATIENCE = 30.0  # seconds: what hangs is cut by the deadlines of the tests, not by this
BRIEF = 0.3


def wire(
    body: bytes = b"MSG=hello",
    *,
    once: bool = True,
    limit: int = 1_000_000,
    token: str | None = None,
    path: str = "SendSMS.ashx",
) -> WireRequest:
    return WireRequest(path, "application/x-www-form-urlencoded", body, once, limit, token)


class Line:
    """An exchange, with one connection if nothing else is said."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.progress = Progress()

    async def send(
        self, request: WireRequest | None = None, patience: float = PATIENCE
    ) -> WireReply | WireFailure:
        self.progress = Progress()
        deadline = anyio.current_time() + patience
        # A test fails where the deadline does not hold; it does not hang.
        with anyio.fail_after(patience + PATIENCE):
            reply = await self.exchange.send(
                request or wire(), self.progress, deadline, lambda: True
            )
        assert reply is not None
        return reply

    async def works(self) -> None:
        reply = await self.send()
        assert isinstance(reply, WireReply)
        assert (reply.status, reply.fault) == (200, "")


@asynccontextmanager
async def line_to(
    site: str,
    *,
    size: int = 1,
    limits: Timeout = Timeout(),  # noqa: B008 - frozen
    proxy: str | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncGenerator[Line]:
    make = one_connection(
        https=site.startswith("https:"), keepalive=60.0, proxy=proxy, ssl_context=ssl_context
    )
    exchange = Exchange(site, Pool(make, size, 60.0), limits)
    try:
        yield Line(exchange)
    finally:
        await exchange.aclose()


def over(transport: Transport, site: str = "http://127.0.0.1:1") -> Line:
    return Line(Exchange(site, Borrowed(transport, 4), Timeout()))


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with FaultyServer() as serving:
        yield serving


def named(faults: tuple[Fault, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fault", faults, ids=lambda fault: fault.name)


reused = pytest.mark.parametrize("reused", [False, True], ids=["fresh", "reused"])


async def hit(server: FaultyServer, line: Line, fault: Fault, *, reused: bool) -> None:
    """Order a fault, for the first request of a connection or for its second one."""
    if reused:
        await line.works()
    server.add(fault)


def only(server: FaultyServer, *, reused: bool) -> int:
    """Give how many requests arrived whole, without the one that made the connection."""
    return len(server.requests) - reused


# --- the witness ---


async def test_a_closed_port() -> None:
    """Where nobody listens nothing left."""
    with faulty.refusing() as site:
        async with line_to(site) as line:
            assert await line.send() == WireFailure(False, "connect", "ConnectError")


async def test_an_unknown_host() -> None:
    """Where a name has no address nothing left."""
    async with line_to("http://no-such-host.invalid") as line:
        assert await line.send() == WireFailure(False, "connect", "ConnectError")


@named(faulty.NO_CONNECTION)
@reused
async def test_a_connection_that_ends_at_once(
    server: FaultyServer, fault: Fault, *, reused: bool
) -> None:
    """Whether the body was touched decides; and that it was not proves that nothing arrived."""
    async with line_to(server.url) as line:
        await hit(server, line, fault, reused=reused)
        failure = await line.send()
        assert isinstance(failure, WireFailure)
        assert failure.phase == ("send" if failure.left else "connect")
        # A reset can be there before the connection is known to be.
        assert failure.cause in {"ReadError", "RemoteProtocolError", "ConnectError"}
        assert not (failure.left and failure.cause == "ConnectError")
        assert failure.left is line.progress.left
        assert only(server, reused=reused) == 0
        await line.works()


@named(faulty.NO_ANSWER)
@reused
async def test_no_answer(server: FaultyServer, fault: Fault, *, reused: bool) -> None:
    """Nothing tells a gateway that acted from one that did not: the request left, that is all."""
    async with line_to(server.url) as line:
        await hit(server, line, fault, reused=reused)
        failure = await line.send()
        assert isinstance(failure, WireFailure)
        assert (failure.left, failure.phase) == (True, "send")
        assert failure.cause in {"ReadError", "RemoteProtocolError"}
        arrived = fault.when is When.BODY
        assert only(server, reused=reused) == arrived
        await line.works()


@named(faulty.CUT)
@reused
async def test_a_cut_body(server: FaultyServer, fault: Fault, *, reused: bool) -> None:
    """A body that ends before it should is no reply."""
    async with line_to(server.url) as line:
        await hit(server, line, fault, reused=reused)
        failure = await line.send()
        assert isinstance(failure, WireFailure)
        assert (failure.left, failure.phase) == (True, "read")
        assert failure.cause in {"ReadError", "RemoteProtocolError"}
        assert only(server, reused=reused) == 1
        await line.works()


@named(faulty.NO_END)
@reused
async def test_the_total_deadline(server: FaultyServer, fault: Fault, *, reused: bool) -> None:
    """A gateway that hangs, or sends a byte now and then, is left at the call's deadline."""
    phase = "read" if fault.out in {faulty.cut_body, faulty.drip} else "send"
    patience, failure = BRIEF, None
    async with line_to(server.url) as line:
        # A busy machine may need more time to get as far as the fault.
        while failure != WireFailure(True, phase, "deadline"):
            assert patience < PATIENCE
            server.heal()
            await hit(server, line, fault, reused=reused)
            failure = await line.send(patience=patience)
            patience *= 2
        server.heal()
        await line.works()


async def test_an_endless_head(server: FaultyServer) -> None:
    """A head without end is cut by its size."""
    server.add(faulty.ENDLESS_HEAD)
    async with line_to(server.url) as line:
        assert await line.send() == WireFailure(True, "send", "RemoteProtocolError")
        await line.works()


@pytest.mark.parametrize(
    ("fault", "status", "whole"),
    list(
        zip(
            faulty.NO_SOUND_ANSWER,
            [200, 200, 204, 302, 500, 502, 504, 408, 200, 200, 200],
            [*[""] * 8, "encoded", "larger", "larger"],
            strict=True,
        )
    ),
    ids=[fault.name for fault in faulty.NO_SOUND_ANSWER],
)
@reused
async def test_what_is_an_answer_but_not_the_gateways(
    server: FaultyServer, fault: Fault, status: int, whole: str, *, reused: bool
) -> None:
    """Any status is a reply, for the flow to judge; what was not read whole says why."""
    async with line_to(server.url) as line:
        await hit(server, line, fault, reused=reused)
        reply = await line.send()
        assert isinstance(reply, WireReply)
        assert reply.status == status
        assert (whole in reply.fault) if whole else not reply.fault
        assert not (whole and reply.body)
        assert only(server, reused=reused) == 1
        await line.works()


async def test_a_redirect_is_not_followed(server: FaultyServer) -> None:
    """A redirect is an answer like any other; where it leads to nobody goes."""
    server.add(Fault("302", out=faulty.instead(faulty.reply(b"", 302, {"Location": "/else"}))))
    async with line_to(server.url) as line:
        reply = await line.send()
        assert isinstance(reply, WireReply)
        assert (reply.status, reply.headers["location"]) == (302, "/else")
    assert server.paths() == ["SendSMS.ashx"]


async def test_a_kept_connection_that_was_closed_is_replaced(server: FaultyServer) -> None:
    """A connection that the gateway closed while it was idle is seen to be closed: no doubt."""
    async with line_to(server.url) as line:
        server.add(faulty.IDLE_CLOSE)
        await line.works()
        await server.until(lambda: server.open == 0)
        await line.works()
    assert (server.accepted, len(server.requests)) == (2, 2)


async def test_a_connection_is_kept(server: FaultyServer) -> None:
    """One after the other, requests share a connection."""
    async with line_to(server.url) as line:
        for _ in range(5):
            assert isinstance(await line.send(), WireReply)
    assert (server.accepted, len(server.requests)) == (1, 5)


def in_one_segment(sound: bytes) -> Iterator[bytes]:
    """Answer twice, in two TLS records that come together."""
    yield sound
    yield sound


def behind_a_read(sound: bytes) -> Iterable[bytes]:
    """Answer twice, the first time with as many bytes as httpcore reads at once."""
    head = len(faulty.reply(b"1" * 65_000)) - 65_000
    return (faulty.reply(b"1" * (65_536 - head)) + sound,)


BEHIND_A_READ = Fault("behind a read", out=behind_a_read, acts=True, end=End.KEEP)
TWO_RECORDS = Fault("two records", out=in_one_segment, acts=True, end=End.KEEP, together=True)


@pytest.mark.parametrize(
    "fault", [*faulty.TOO_MUCH, TWO_RECORDS, BEHIND_A_READ], ids=lambda fault: fault.name
)
@pytest.mark.parametrize("way", ["plain", "tls", "proxy", "tls proxy", "tunnel"])
async def test_what_is_left_over_is_nobodys_answer(way: str, fault: Fault) -> None:
    """What comes behind a whole reply must not be taken for the answer to the next request."""
    tls = server_context() if "tls" in way else None
    inner = server_context() if way == "tunnel" else None
    with FaultyServer(tls=tls, inner_tls=inner) as server:
        proxied = "proxy" in way or inner is not None
        site = "https://localhost:1" if inner else "http://localhost:1" if proxied else server.url
        proxy = server.url if proxied else None
        async with line_to(site, proxy=proxy, ssl_context=trusting_context()) as line:
            for number in range(1, 4):
                server.add(fault, "SendSMS.ashx")
                await line.works()
                # What comes while the next request leaves, nobody can tell from its answer.
                await server.until(lambda: server.written == number)  # noqa: B023 - awaited here
                # Not the next request's: that one must get an answer that is its own.
                reply = await line.send(wire(path="Own.ashx"))
                assert isinstance(reply, WireReply)
                assert (reply.body, len(server.requests)) == (b"fine", 2 * number)
            assert server.accepted == 4


@pytest.mark.parametrize("status", [204, 304, 500])
async def test_only_a_sound_answer_keeps_a_connection(server: FaultyServer, status: int) -> None:
    """A reply of which nobody knows whether a body follows leaves nothing to the next one."""
    raw = faulty.reply(b"", status) + faulty.reply(b"stale")
    server.add(Fault("bodiless", out=faulty.instead(raw), end=End.KEEP))
    async with line_to(server.url) as line:
        await line.send()
        reply = await line.send()
    assert isinstance(reply, WireReply)
    assert (reply.status, reply.body) == (200, faulty.CANNED["SendSMS.ashx"])
    assert server.accepted == 2


async def test_a_connection_is_scrapped_for_leftovers_alone(server: FaultyServer) -> None:
    """A reply in many pieces, or of the size of a read, is no reason to connect anew."""
    sizes = [1, 65_536 - 40, 65_536, 200_000]
    async with line_to(server.url) as line:
        for size in sizes:
            raw = faulty.reply(b"1" * size)
            server.add(Fault("long", out=faulty.instead(raw), end=End.KEEP))
            reply = await line.send()
            assert isinstance(reply, WireReply)
            assert len(reply.body) == size
    assert server.accepted == 1


async def test_httpx_timeouts(server: FaultyServer) -> None:
    """The limits for reading and writing are httpx's own, and the witness stands all the same."""
    limits = Timeout(read=0.5, write=0.5)
    async with line_to(server.url, limits=limits) as line:
        server.add(Fault("hang", end=End.HANG))
        assert await line.send() == WireFailure(True, "send", "ReadTimeout")
        server.add(Fault("cut", acts=True, out=faulty.cut_body, end=End.HANG))
        assert await line.send() == WireFailure(True, "read", "ReadTimeout")
        with stuck_listener() as stuck:
            async with line_to(stuck.site, limits=limits) as clogged:
                failure = await clogged.send(wire(b"x" * 20_000_000))
        assert failure == WireFailure(True, "send", "WriteTimeout")


class stuck_listener:  # noqa: N801 - used as a function
    """A port that takes connections, and answers nothing."""

    def __init__(self, scheme: str = "http") -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=100)
        self._socket.settimeout(PATIENCE)
        self.site = f"{scheme}://127.0.0.1:{self._socket.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def cut(self, line: Line, request: WireRequest) -> socket.socket:
        """Cancel a request while it is on its way, and give the connection's other end."""
        reached: list[socket.socket] = []
        async with anyio.create_task_group() as group:
            group.start_soon(line.send, request)
            reached.append(await anyio.to_thread.run_sync(self._reached))
            group.cancel_scope.cancel()
        return reached[0]

    def _reached(self) -> socket.socket:
        connection, _ = self._socket.accept()
        connection.settimeout(PATIENCE)
        # More than a head: something of a body, or of a handshake, is here.
        missing = 500
        while missing > 0:
            missing -= len(connection.recv(missing))
        return connection


async def test_a_cancel_while_the_body_leaves_is_quiet() -> None:
    """A cancelled body leaves no generator half-way, which trio would warn of."""
    with stuck_listener() as stuck, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with line_to(stuck.site) as line:
            with await stuck.cut(line, wire(b"x" * 20_000_000)):
                assert line.progress.left
        gc.collect()
        await checkpoint()
        assert [str(warning.message) for warning in warned] == []


async def test_a_cancelled_exchange_closes_its_connection(server: FaultyServer) -> None:
    """The caller is cancelled: the witness can be read afterwards, and the connection is gone."""
    server.add(Fault("hang", end=End.HANG))
    async with line_to(server.url) as line:
        async with anyio.create_task_group() as group:
            group.start_soon(line.send)
            await server.arrived(1)
            group.cancel_scope.cancel()
        assert line.progress.left
        assert not line.progress.answered
        await server.until(lambda: server.open == 0)
        await line.works()
    assert server.accepted == 2


# --- slots ---


async def test_no_slot_in_time(server: FaultyServer) -> None:
    """Who gets no connection before the deadline has sent nothing."""
    server.add(Fault("hang", end=End.HANG))
    async with line_to(server.url) as line, anyio.create_task_group() as group:
        group.start_soon(line.send)
        await server.arrived(1)
        waiter = Line(line.exchange)
        assert await waiter.send(patience=0.05) == WireFailure(False, "slot", "deadline")
        assert not waiter.progress.left
        group.cancel_scope.cancel()


async def test_whoever_may_not_go_gives_his_slot_back(server: FaultyServer) -> None:
    """Asked once a slot is there, a no sends nothing and costs no connection; an error likewise."""

    def refuse() -> bool:
        raise ValueError("not welcome")

    async with line_to(server.url) as line:
        await line.works()
        deadline = anyio.current_time() + PATIENCE
        progress = Progress()
        assert await line.exchange.send(wire(), progress, deadline, lambda: False) is None
        with pytest.raises(ValueError, match="not welcome"):
            await line.exchange.send(wire(), progress, deadline, refuse)
        assert not progress.left
        await line.works()
    assert (server.accepted, len(server.requests)) == (1, 2)


async def test_what_is_waited_for_before_the_first_byte(server: FaultyServer) -> None:
    """It is asked with a connection at hand; where it raises or takes too long, nothing left."""

    async def fail() -> None:
        raise ValueError("not on record")

    async def leave() -> None:
        left.append((progress.left, len(server.requests)))

    left: list[tuple[bool, int]] = []
    async with line_to(server.url) as line:
        await line.works()
        progress = Progress()
        deadline = anyio.current_time() + PATIENCE
        with pytest.raises(ValueError, match="not on record"):
            await line.exchange.send(wire(), progress, deadline, lambda: True, fail)
        soon = anyio.current_time() + 0.05
        late = await line.exchange.send(wire(), progress, soon, lambda: True, anyio.sleep_forever)
        assert late == WireFailure(False, "connect", "deadline")
        assert not progress.left
        reply = await line.exchange.send(wire(), progress, deadline, lambda: True, leave)
        assert isinstance(reply, WireReply)
    assert left == [(False, 1)]
    assert (server.accepted, len(server.requests)) == (1, 2)


# --- what leaves ---


async def test_the_exact_head(server: FaultyServer) -> None:
    """Nothing goes out but what we say: no cookie, no connection header, nothing of httpx's."""
    async with line_to(server.url) as line:
        await line.send(wire(b"MSG=%E4%BD%A0", token="0123456789abcdef"))
    (request,) = server.requests
    assert request.body == b"MSG=%E4%BD%A0"
    assert request.head.decode() == "\r\n".join(
        [
            "POST /API21/HTTP/SendSMS.ashx HTTP/1.1",
            f"Host: {server.address}",
            f"User-Agent: every8d-async/{__version__}",
            "Accept: */*",
            "Accept-Encoding: identity",
            "Content-Type: application/x-www-form-urlencoded",
            "Content-Length: 13",
            "Authorization: Bearer 0123456789abcdef",
        ]
    )


async def test_without_a_token_there_is_no_authorization(server: FaultyServer) -> None:
    """Uid and password travel in the body: then no header speaks for us."""
    async with line_to(server.url) as line:
        await line.send()
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize(
    ("site", "host", "target"),
    [
        ("http://gateway.test", "gateway.test", "/API21/HTTP/SendSMS.ashx"),
        ("https://new.e8d.tw", "new.e8d.tw", "/API21/HTTP/SendSMS.ashx"),
        ("https://gateway.test:8443", "gateway.test:8443", "/API21/HTTP/SendSMS.ashx"),
        ("http://gateway.test/a/b.c", "gateway.test", "/a/b.c/API21/HTTP/SendSMS.ashx"),
        ("http://[::1]:8021/x", "[::1]:8021", "/x/API21/HTTP/SendSMS.ashx"),
    ],
)
async def test_host_and_path(site: str, host: str, target: str) -> None:
    """Host, port and prefix of the site stand where they belong."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    line = over(httpx.MockTransport(handler), site)
    await line.send()
    await line.send(wire(path="MMS/SendMMS.ashx"))
    assert seen[0].headers["host"] == host
    assert seen[0].url.raw_path == target.encode()
    assert seen[1].url.raw_path == target.replace("SendSMS", "MMS/SendMMS").encode()
    assert seen[0].url.host == httpx.URL(site).host


async def test_ipv6() -> None:
    """An address of six goes out in brackets."""
    try:
        serving = FaultyServer(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6")
    with serving as server:
        async with line_to(server.url) as line:
            await line.works()
        assert server.requests[0].headers["host"] == f"[::1]:{server.port}"


async def test_an_empty_body_leaves_as_such(server: FaultyServer) -> None:
    """A query without fields has a body of no bytes, and a length that says so."""
    async with line_to(server.url) as line:
        await line.send(wire(b"", once=False))
    assert server.requests[0].headers["content-length"] == "0"


async def test_a_body_can_be_read_twice() -> None:
    """A transport that asks for the body once more gets it once more."""

    class Twice(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            stream: Any = request.stream
            bodies = [b"".join([part async for part in aiter(stream)]) for _ in range(2)]
            return httpx.Response(200, content=b"|".join(bodies))

    reply = await over(Twice()).send()
    assert isinstance(reply, WireReply)
    assert reply.body == b"MSG=hello|MSG=hello"


# --- what comes in ---


def test_the_caps() -> None:
    """A receipt has no megabyte, and a page no sixteen."""
    assert (SEND_SMS.reply_limit, CANCEL_SMS.reply_limit) == (1_000_000, 1_000_000)
    assert {endpoint.reply_limit for endpoint in SMS_REPORTS.values()} == {16_000_000}


@pytest.mark.parametrize("limit", [1_000_000, 16_000_000])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
@pytest.mark.parametrize("over", [0, 1], ids=["at the limit", "above"])
async def test_a_reply_has_its_limit(
    server: FaultyServer, limit: int, over: int, *, declared: bool
) -> None:
    """What is larger than a sound reply can be is not kept, whether its size was told or not."""
    body = b"1" * (limit + over)
    raw = faulty.reply(body)
    if not declared:
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk
    server.add(Fault("large", out=faulty.instead(raw), end=End.KEEP))
    async with line_to(server.url) as line:
        reply = await line.send(wire(limit=limit))
        assert isinstance(reply, WireReply)
        assert (reply.fault == "") is not bool(over)
        assert reply.body == (b"" if over else body)
        await line.works()


class Pieces(httpx.AsyncByteStream):
    """A reply's body in pieces, without end."""

    def __init__(self) -> None:
        self.given = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            await checkpoint()
            self.given += 1
            yield b"1" * 100

    async def aclose(self) -> None:
        self.closed = True


async def test_no_more_is_read_than_the_limit() -> None:
    """Reading stops where the limit is passed, and the reply is closed."""
    pieces = Pieces()
    reply = await over(answering(httpx.Response(200, stream=pieces))).send(wire(limit=1000))
    assert isinstance(reply, WireReply)
    assert reply.fault == "the reply is larger than 1000 bytes"
    assert pieces.given <= 12
    assert pieces.closed


async def test_a_stream_that_never_waits_is_read_to_its_end_and_kept_nowhere() -> None:
    """A cut would leave its generator half-way: the rest is dropped, piece by piece."""
    given: list[int] = []

    class Unwaiting(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for number in range(20):
                given.append(number)
                yield b"1" * 100

    reply = await over(answering(httpx.Response(200, stream=Unwaiting()))).send(wire(limit=1000))
    assert reply == WireReply(200, {}, b"", fault="the reply is larger than 1000 bytes")
    assert len(given) == 20


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "identity, gzip", "x"])
async def test_an_encoded_reply_is_not_unpacked(encoding: str) -> None:
    """Plain bytes were asked for; anything else is refused unread."""
    pieces = Pieces()
    response = httpx.Response(200, stream=pieces, headers={"Content-Encoding": encoding})
    reply = await over(answering(response)).send()
    assert isinstance(reply, WireReply)
    assert (reply.fault, reply.body) == ("the reply is encoded", b"")
    assert (pieces.given, pieces.closed) == (0, True)


async def test_identity_is_no_encoding(server: FaultyServer) -> None:
    """A gateway may say that it did not encode."""
    raw = faulty.reply(b"fine", headers={"Content-Encoding": "Identity"})
    server.add(Fault("identity", out=faulty.instead(raw), end=End.KEEP))
    async with line_to(server.url) as line:
        reply = await line.send()
    assert isinstance(reply, WireReply)
    assert (reply.body, reply.fault) == (b"fine", "")


@pytest.mark.parametrize(
    ("raw", "delimited"),
    [
        (faulty.reply(b"1000.00"), True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n1000.00\r\n0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\n\r\n1000.00", False),
        (b"HTTP/1.0 200 OK\r\n\r\n1000.00", False),
    ],
    ids=["length", "chunked", "close", "1.0"],
)
async def test_whether_the_end_was_announced(
    server: FaultyServer, raw: bytes, *, delimited: bool
) -> None:
    """A body that ends with its connection may have been cut; the reply says so."""
    server.add(Fault("raw", out=faulty.instead(raw)))
    async with line_to(server.url) as line:
        reply = await line.send()
    assert isinstance(reply, WireReply)
    assert (reply.body, reply.delimited) == (b"1000.00", delimited)


class Versioned(httpx.AsyncBaseTransport):
    """Answers without a word about the body's length, in a version of HTTP."""

    def __init__(self, version: bytes) -> None:
        self._version = version

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        body = httpx.ByteStream(b"1000.00")
        return httpx.Response(200, stream=body, extensions={"http_version": self._version})


@pytest.mark.parametrize(("version", "delimited"), [(b"HTTP/2", True), (b"HTTP/1.1", False)])
async def test_http2_says_where_a_body_ends(version: bytes, *, delimited: bool) -> None:
    """Under HTTP/2, which only a user's transport speaks, no header is needed for that."""
    reply = await over(Versioned(version)).send()
    assert isinstance(reply, WireReply)
    assert (reply.body, reply.delimited) == (b"1000.00", delimited)


async def test_header_names_are_lower_case(server: FaultyServer) -> None:
    """The flow looks for headers by one spelling."""
    raw = faulty.reply(b"", 429, {"RETRY-AFTER": "7", "SeRvEr": "x"})
    server.add(Fault("429", out=faulty.instead(raw), end=End.KEEP))
    async with line_to(server.url) as line:
        reply = await line.send()
    assert isinstance(reply, WireReply)
    assert (reply.headers["retry-after"], reply.headers["server"]) == ("7", "x")


# --- transports of the user's ---


class Failing(httpx.AsyncBaseTransport):
    """Fails before or after it has read the body."""

    def __init__(self, error: BaseException, *, reads: bool) -> None:
        self.error = error
        self.reads = reads

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.reads:
            await request.aread()
        raise self.error


def answering(response: httpx.Response) -> Transport:
    class Answering(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await request.aread()
            return response

    return Answering()


NETWORK = [
    httpx.ConnectError("x"),
    httpx.ConnectTimeout("x"),
    httpx.PoolTimeout("x"),
    httpx.ReadError("x"),
    httpx.WriteError("x"),
    httpx.ReadTimeout("x"),
    httpx.RemoteProtocolError("x"),
    httpx.ProxyError("x"),
    httpx.StreamClosed(),
    OSError("x"),
    TimeoutError("x"),
    anyio.ClosedResourceError(),
]


@pytest.mark.parametrize("error", NETWORK, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("reads", [False, True], ids=["untouched", "touched"])
@pytest.mark.parametrize("once", [False, True], ids=["query", "send"])
async def test_under_a_users_transport_only_the_body_counts(
    error: Exception, *, reads: bool, once: bool
) -> None:
    """Even ConnectTimeout proves nothing there: some transports raise it after the fact."""
    failure = await over(Failing(error, reads=reads)).send(wire(once=once))
    phase = "send" if reads else "connect"
    assert failure == WireFailure(reads, phase, type(error).__name__)


@pytest.mark.parametrize("error", NETWORK[:3], ids=lambda error: type(error).__name__)
async def test_under_our_own_three_errors_prove_that_nothing_left(error: Exception) -> None:
    """With one connection each, these mean that none came about, also when a double says so."""
    pool = Pool(lambda: Failing(error, reads=True), 1, 60.0)
    line = Line(Exchange("http://127.0.0.1:1", pool, Timeout()))
    assert await line.send() == WireFailure(False, "connect", type(error).__name__)
    assert not line.progress.left


async def test_a_mock_that_fails_after_reading_has_sent() -> None:
    """httpx.MockTransport reads the body first: whatever it raises then, the request left."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("x", request=request)

    failure = await over(httpx.MockTransport(handler)).send()
    assert failure == WireFailure(True, "send", "ConnectError")


@pytest.mark.parametrize("own", [False, True], ids=["the user's", "our own"])
async def test_a_bug_is_not_hidden(*, own: bool) -> None:
    """What is not the network's passes as it is, but for a send that may have left."""
    bug = KeyError("a bug")

    def line(*, reads: bool) -> Line:
        transport = Failing(bug, reads=reads)
        slots = Pool(lambda: transport, 1, 60.0) if own else Borrowed(transport, 1)
        return Line(Exchange("http://127.0.0.1:1", slots, Timeout()))

    for reads, once in [(False, False), (True, False), (False, True)]:
        with pytest.raises(KeyError) as caught:
            await line(reads=reads).send(wire(once=once))
        assert caught.value is bug
    assert await line(reads=True).send() == WireFailure(True, "send", "KeyError")


async def test_a_bug_while_reading_a_sends_reply_is_a_doubt() -> None:
    """A reply that breaks off with somebody's bug leaves open what became of a send."""

    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"1"
            raise KeyError("a bug")

    def line() -> Line:
        return over(answering(httpx.Response(200, stream=Broken())))

    assert await line().send() == WireFailure(True, "read", "KeyError")
    with pytest.raises(KeyError):
        await line().send(wire(once=False))


async def test_asgi() -> None:
    """An application in memory is reached through the same witness, with the same bytes."""
    simulator = Simulator()
    reply = await over(httpx.ASGITransport(app=simulator)).send()
    assert isinstance(reply, WireReply)
    assert reply.status == 200
    assert simulator.requests[0].body == b"MSG=hello"


@pytest.mark.parametrize("reads", [False, True], ids=["untouched", "touched"])
async def test_asgi_that_fails(*, reads: bool) -> None:
    """An application that raises before it read anything has not been reached."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if reads:
            await receive()
        raise httpx.ReadError("reset")

    failure = await over(httpx.ASGITransport(app=app)).send()
    assert failure == WireFailure(reads, "send" if reads else "connect", "ReadError")
    gc.collect()


@pytest.mark.parametrize("anyio_backend", [jumping("asyncio"), jumping("trio")])
async def test_asgi_that_hangs(anyio_backend: object) -> None:
    """The deadline holds in memory too."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await anyio.sleep_forever()

    failure = await over(httpx.ASGITransport(app=app)).send(patience=0.05)
    assert failure == WireFailure(True, "send", "deadline")


# --- TLS ---


def tls_faults() -> tuple[Fault, ...]:
    return tuple(
        fault for fault in faulty.NO_ANSWER if fault.when in {When.HEAD, When.BODY}
    ) + tuple(faulty.CUT)


async def test_a_certificate_that_nobody_knows() -> None:
    """A certificate of one's own making is refused: nothing left."""
    with FaultyServer(tls=server_context()) as server:
        async with line_to(server.url) as line:
            assert await line.send() == WireFailure(False, "connect", "ConnectError")
        assert not server.requests


async def test_a_context_of_the_users() -> None:
    """Who brings the certificate is served, over one connection."""
    with FaultyServer(tls=server_context()) as server:
        async with line_to(server.url, ssl_context=trusting_context()) as line:
            await line.works()
            await line.works()
        assert server.accepted == 1


@named(tls_faults())
@reused
async def test_faults_inside_tls(fault: Fault, *, reused: bool) -> None:
    """The witness is the same inside TLS, where errors have other names."""
    with FaultyServer(tls=server_context()) as server:
        async with line_to(server.url, ssl_context=trusting_context()) as line:
            await hit(server, line, fault, reused=reused)
            failure = await line.send()
            assert isinstance(failure, WireFailure)
            assert failure.left
            assert failure.phase == ("read" if fault in faulty.CUT else "send")
            await line.works()


async def test_plain_http_where_tls_is_expected(server: FaultyServer) -> None:
    """A server that speaks no TLS gets nothing."""
    server.add(Fault("400", When.FIRST_BYTE, out=faulty.instead(faulty.reply(b"", 400))))
    async with line_to(server.url.replace("http:", "https:")) as line:
        assert await line.send() == WireFailure(False, "connect", "ConnectError")
    assert not server.requests


async def test_a_handshake_that_hangs() -> None:
    """A handshake has the time that a connection has; then nothing left."""
    with stuck_listener("https") as stuck:
        async with line_to(stuck.site, limits=Timeout(connect=0.1)) as line:
            assert await line.send() == WireFailure(False, "connect", "ConnectTimeout")


async def test_a_cancelled_handshake_leaves_no_connection_open() -> None:
    """A connection whose handshake is cut is closed at once, not when the collector comes by."""
    gc.collect()
    gc.disable()
    try:
        with stuck_listener("https") as stuck:
            async with line_to(stuck.site) as line:
                for _ in range(3):
                    with await stuck.cut(line, wire()) as connection:
                        assert not line.progress.left
                        await anyio.to_thread.run_sync(drained, connection)
    finally:
        gc.enable()


def drained(connection: socket.socket) -> None:
    """Read until the client has hung up."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass


# --- proxies ---


async def test_a_proxy_for_plain_http(server: FaultyServer) -> None:
    """A proxy gets the whole address, and its own credentials."""
    proxy = server.url.replace("//", "//me:secret@")
    async with line_to("http://gateway.test:81/x", proxy=proxy) as line:
        await line.works()
    (request,) = server.requests
    assert request.target == "http://gateway.test:81/x/API21/HTTP/SendSMS.ashx"
    assert request.headers["host"] == "gateway.test:81"
    assert request.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"


def tunnelling() -> FaultyServer:
    return FaultyServer(inner_tls=server_context())


def through(server: FaultyServer) -> AbstractAsyncContextManager[Line]:
    proxy = server.url.replace("//", "//me:secret@")
    return line_to("https://localhost:444", proxy=proxy, ssl_context=trusting_context())


async def test_a_tunnel() -> None:
    """To a TLS site a proxy tunnels; its credentials stay outside of the tunnel."""
    with tunnelling() as server:
        async with through(server) as line:
            await line.works()
            await line.works()
        (tunnel,) = server.tunnels
        assert tunnel.startswith(b"CONNECT localhost:444 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic bWU6c2VjcmV0" in tunnel
        assert server.paths() == ["SendSMS.ashx"] * 2
        assert all("proxy-authorization" not in request.headers for request in server.requests)


@pytest.mark.parametrize(
    ("fault", "causes"),
    [
        (Fault("403", When.HEAD, out=faulty.instead(faulty.reply(b"", 403))), {"ProxyError"}),
        (Fault("407", When.HEAD, out=faulty.instead(faulty.reply(b"", 407))), {"ProxyError"}),
        (Fault("drop", When.HEAD), {"RemoteProtocolError", "ReadError"}),
        (Fault("reset", When.HEAD, end=End.RESET), {"RemoteProtocolError", "ReadError"}),
        (Fault("garbage", When.HEAD, out=faulty.instead(b"\x00\r\n\r\n")), {"RemoteProtocolError"}),
        (Fault("hang", When.HEAD, end=End.HANG), {"deadline"}),
    ],
    ids=["403", "407", "drop", "reset", "garbage", "hang"],
)
async def test_a_proxy_that_refuses(fault: Fault, causes: set[str]) -> None:
    """A tunnel that does not come about let nothing through."""
    with tunnelling() as server:
        server.add(fault, "CONNECT")
        async with through(server) as line:
            failure = await line.send(patience=BRIEF if fault.end is End.HANG else PATIENCE)
            assert isinstance(failure, WireFailure)
            assert (failure.left, failure.phase) == (False, "connect")
            assert failure.cause in causes
            assert not server.requests
            await line.works()


@named(tls_faults())
async def test_faults_inside_a_tunnel(fault: Fault) -> None:
    """Inside the tunnel the witness is the same."""
    with tunnelling() as server:
        server.add(fault, "SendSMS.ashx")
        async with through(server) as line:
            failure = await line.send()
            assert isinstance(failure, WireFailure)
            assert failure.left
            await line.works()


async def test_a_closed_proxy() -> None:
    """A proxy that is not there lets nothing through."""
    with faulty.refusing() as proxy:
        async with line_to("https://localhost:444", proxy=proxy) as line:
            assert await line.send() == WireFailure(False, "connect", "ConnectError")


async def test_proxies_of_the_environment_are_not_read(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sets HTTP_PROXY for other programs does not hear of our messages."""
    with faulty.refusing() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        async with line_to(server.url) as line:
            await line.works()
