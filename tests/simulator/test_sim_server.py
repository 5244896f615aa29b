"""The server form: plain sockets, real faults, and a clean end."""

from __future__ import annotations

import logging
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from every8d_async.simulator import (
    CutReply,
    Delay,
    Garbage,
    Hang,
    HttpStatus,
    Reset,
    Simulator,
    _server,
)

from .kit import DEMO, batch, make, sms, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREDIT = "/API21/HTTP/GetCredit.ashx"
PATIENCE = 30  # seconds, for what should take none


@pytest.fixture
def site(simulator: Simulator) -> Iterator[str]:
    """The URL of a server."""
    with simulator.serve() as url:
        yield url


def connect(site: str) -> socket.socket:
    """A plain socket to a server."""
    parts = urlsplit(site)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port or 80), PATIENCE)


def post(path: str, body: bytes, *, content_type: str = "", token: str = "") -> bytes:
    """A request as bytes, after which the server hangs up."""
    lines = [f"POST {path} HTTP/1.1", "Host: simulator", "Connection: close"]
    lines.append(f"Content-Type: {content_type or 'application/x-www-form-urlencoded'}")
    lines.append(f"Content-Length: {len(body)}")
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_all(conn: socket.socket) -> bytes:
    """Read until the other side hangs up."""
    parts = bytearray()
    while data := conn.recv(65536):
        parts += data
    return bytes(parts)


def until(true: Callable[[], bool]) -> None:
    """Wait for another thread; a test that hangs here has failed."""
    while not true():
        time.sleep(0.001)


def talk(site: str, request: bytes) -> tuple[bytes, bytes]:
    """Say something; give the head and the body of the answer."""
    with closing(connect(site)) as conn:
        conn.sendall(request)
        head, _, body = read_all(conn).partition(b"\r\n\r\n")
    return head, body


def test_conversation(site: str) -> None:
    """A whole conversation in plain bytes: login, send, reports, cancel, credit, close."""
    connection = "/API21/HTTP/ConnectionHandler.ashx"
    json = "application/json"

    login = b'{"HandlerType": 3, "VerifyType": 1, "UID": "demo", "PWD": "demo"}'
    head, body = talk(site, post(connection, login, content_type=json))
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\ncontent-type: application/json; charset=utf-8\r\n" in head
    assert b"\r\ncontent-length: 56\r\n" in head
    assert body == b'{"Result":true,"Msg":"00000000000000000000000000000001"}'
    held = token(1)
    send = b"SB=&MSG=%E4%BD%A0%E5%A5%BD&DEST=%2B886900000001%2C0900000002&ST=20260103000000"
    assert talk(site, post("/API21/HTTP/SendSMS.ashx", send, token=held))[1] == (
        b"9998.00,2,2,0,00000000-0000-4000-8000-000000000001"
    )
    query = b"BID=00000000-0000-4000-8000-000000000001&PNO=&RESPFORMAT=0"
    path = "/api21/http/getdeliverystatus.ASHX"
    assert talk(site, post(path, query, token=held))[1] == (
        b"2\r\n"
        b"\t+886900000001\t2026/01/03 00:00:00\t1.00\t300\t\n"
        b"\t+886900000002\t2026/01/03 00:00:00\t1.00\t300\t\n"
    )
    path = "/API21/HTTP/EraseBooking.ashx"
    assert talk(site, post(path, query, token=held))[1] == b"2,2.00"
    assert talk(site, post(CREDIT, b"", token=held))[1] == b"10000.00"
    close = b'{"HandlerType":3,"VerifyType":3}'
    answer = talk(site, post(connection, close, content_type=json, token=held))
    assert answer[1] == b'{"Result":true}'


def test_get_with_query(site: str) -> None:
    """GET with a query in mixed case does as well."""
    request = b"GET /api21/HTTP/getcredit.ASHX?uid=demo&Pwd=demo HTTP/1.0\r\n\r\n"

    head, body = talk(site, request)

    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == b"10000.00"


def test_chunked(site: str) -> None:
    """A chunked body does as well as one with a length."""
    head = f"POST {CREDIT} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n".encode()
    chunks = b"Transfer-Encoding: chunked\r\n\r\n9\r\nUID=demo&\r\n8\r\nPWD=demo\r\n0\r\n\r\n"

    assert talk(site, head + chunks)[1] == b"10000.00"


def test_half_a_request(simulator: Simulator, site: str) -> None:
    """A request that breaks off before its end is none: nothing is done, nothing is noted."""
    body = b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"
    with closing(connect(site)) as conn:
        conn.sendall(post("/API21/HTTP/SendSMS.ashx", body)[:-1])
        conn.shutdown(socket.SHUT_WR)
        assert read_all(conn) == b""

    assert simulator.requests == ()
    assert talk(site, post(CREDIT, b"UID=demo&PWD=demo"))[1] == b"10000.00"


@pytest.mark.parametrize("late", [False, True])
def test_a_caller_may_end_its_side(simulator: Simulator, site: str, late: bool) -> None:
    """Whoever has asked and then sends no more is answered, also late; then the server hangs up."""
    if late:
        simulator.faults.add("SendSMS", Delay(timedelta(seconds=0.2)))
    body = b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"
    requests = [post("/API21/HTTP/SendSMS.ashx", body), post(CREDIT, b"UID=demo&PWD=demo")]
    with closing(connect(site)) as conn:
        conn.sendall(requests[0].replace(b"Connection: close\r\n", b"") + requests[1])
        conn.shutdown(socket.SHUT_WR)
        answers = read_all(conn)

    assert answers.count(b"HTTP/1.1 200 OK") == 2
    assert f"\r\n9999.00,1,1,0,{batch(1)}HTTP/".encode() in answers
    assert answers.endswith(b"\r\n9999.00")


def test_a_kept_connection_ends_with_its_caller(simulator: Simulator, site: str) -> None:
    """A caller who was answered, and ends its side, is gone."""
    with closing(connect(site)) as conn:
        conn.sendall(post(CREDIT, b"UID=demo&PWD=demo").replace(b"Connection: close\r\n", b""))
        assert conn.recv(1) == b"H"
        conn.shutdown(socket.SHUT_WR)
        assert read_all(conn).endswith(b"10000.00")


@pytest.mark.parametrize("late", [False, True])
def test_a_hanging_call_ends_with_its_caller(simulator: Simulator, site: str, late: bool) -> None:
    """Whoever ends its side before or while the gateway hangs gets no answer, and is let go."""
    simulator.faults.add("SendSMS", Hang())
    with closing(connect(site)) as conn:
        conn.sendall(post("/API21/HTTP/SendSMS.ashx", b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"))
        if late:
            until(lambda: len(simulator.requests) == 1)
        conn.shutdown(socket.SHUT_WR)
        assert read_all(conn) == b""


def test_no_http(site: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What is no HTTP gets 400, and nothing is printed."""
    assert talk(site, b"hello\r\n\r\n")[0].startswith(b"HTTP/1.1 400 ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(site: str) -> None:
    """Curl gets what a socket gets."""
    form = ["--data-urlencode", "UID=demo", "--data-urlencode", "PWD=demo"]
    more = ["--data-urlencode", "MSG=你好", "--data-urlencode", "DEST=+886912345678"]
    cases = [
        ([*form, f"{site}/API21/HTTP/SendSMS.ashx"], "-27,電話號碼不得為空"),
        ([*form, *more, f"{site}/API21/HTTP/SendSMS.ashx"], f"9999.00,1,1,0,{batch(1)}"),
        (["-G", *form, f"{site}/api21/http/GETCREDIT.ashx"], "9999.00"),
        (["-FUID=demo", "-FPWD=demo", f"{site}{CREDIT}"], "9999.00"),
    ]

    for arguments, expected in cases:
        run = subprocess.run(["curl", "-s", *arguments], capture_output=True, check=True)
        assert run.stdout.decode() == expected


def test_keep_alive(site: str) -> None:
    """One connection serves several requests."""
    with httpx.Client(base_url=site) as http:
        answers = [http.post(CREDIT, data=DEMO) for _ in range(3)]

    assert [answer.text for answer in answers] == ["10000.00"] * 3
    assert {answer.headers.get("connection") for answer in answers} == {None}


@pytest.mark.anyio
async def test_from_async_code(simulator: Simulator) -> None:
    """The server runs beside asyncio and trio alike."""
    with simulator.serve() as url:
        async with httpx.AsyncClient(base_url=url) as http:
            assert (await http.post(CREDIT, data=DEMO)).text == "10000.00"
            simulator.faults.add("*", Hang())
            with anyio.move_on_after(0.05) as scope:
                await http.post(CREDIT, data=DEMO)
            assert scope.cancelled_caught
            assert (await http.post(CREDIT, data=DEMO)).text == "10000.00"


def test_state_is_shared(simulator: Simulator, site: str) -> None:
    """A test's thread sees what the server's does, while it works."""
    body = b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"

    def work() -> None:
        for _ in range(20):
            talk(site, post("/API21/HTTP/SendSMS.ashx", body))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert len(simulator.sent) + simulator.credit() <= 10_000
        assert len(simulator.batches) <= 80
    for thread in threads:
        thread.join()

    assert (len(simulator.sent), len(simulator.requests)) == (80, 80)
    assert simulator.credit() == 10_000 - 80


def test_serving_again(simulator: Simulator) -> None:
    """A simulator can be served again and again; its state goes on."""
    for number in range(3):
        with simulator.serve() as url:
            assert httpx.get(url + CREDIT, params=DEMO).text == f"{10_000 - number}.00"
        sms(simulator)


def test_prefix_is_part_of_the_url() -> None:
    """With a prefix the URL has it."""
    with make(prefix="corp").serve() as url:
        assert url.endswith("/corp")
        assert httpx.get(url + CREDIT, params=DEMO).text == "10000.00"


def test_ends_with_open_connections(simulator: Simulator) -> None:
    """The end does not wait for callers: idle, hanging, delayed or half-way through a request."""
    simulator.faults.add("GetCredit", Hang())
    simulator.faults.add("GetCredit", Delay(timedelta(hours=1)))
    body = b"UID=demo&PWD=demo"
    with simulator.serve() as url:
        conns = [connect(url) for _ in range(4)]
        conns[0].sendall(post(CREDIT, body))
        conns[1].sendall(post(CREDIT, body))
        conns[2].sendall(post(CREDIT, body)[:-5])
        until(lambda: len(simulator.requests) == 2)

    for conn in conns:
        with closing(conn):
            assert _ended(conn)


def _ended(conn: socket.socket) -> bool:
    try:
        return conn.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("acts", "credit"), [(False, 10_000), (True, 9_999)])
def test_reset(simulator: Simulator, site: str, acts: bool, credit: int) -> None:
    """A reset is a real one: the socket gets RST."""
    simulator.faults.add("SendSMS", Reset(acts=acts))
    with closing(connect(site)) as conn:
        conn.sendall(post("/API21/HTTP/SendSMS.ashx", b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"))
        with pytest.raises(ConnectionResetError):
            conn.recv(1)

    assert simulator.credit() == credit


def test_cut(simulator: Simulator, site: str) -> None:
    """A cut reply ends before the length that was announced, in an orderly way."""
    simulator.faults.add("SendSMS", CutReply(keep=9))

    head, body = talk(
        site, post("/API21/HTTP/SendSMS.ashx", b"UID=demo&PWD=demo&MSG=x&DEST=0912345678")
    )

    assert b"content-length: 50" in head
    assert body == b"9999.00,1"
    assert len(simulator.sent) == 1


def test_cut_is_always_a_cut(simulator: Simulator, site: str) -> None:
    """However much is kept, the last byte is missing."""
    simulator.faults.add("*", CutReply(keep=1000))

    assert talk(site, post(CREDIT, b"UID=demo&PWD=demo"))[1] == b"10000.0"


@pytest.mark.parametrize("acts", [False, True])
def test_hang(simulator: Simulator, site: str, acts: bool) -> None:
    """A hanging call gets no answer; others do meanwhile."""
    simulator.faults.add("SendSMS", Hang(acts=acts))
    with closing(connect(site)) as conn:
        conn.sendall(post("/API21/HTTP/SendSMS.ashx", b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"))
        expected = b"9999.00" if acts else b"10000.00"
        until(lambda: len(simulator.requests) == 1 and len(simulator.sent) == acts)
        assert talk(site, post(CREDIT, b"UID=demo&PWD=demo"))[1] == expected
        conn.setblocking(False)
        with pytest.raises(BlockingIOError):
            conn.recv(1)


def test_a_delayed_call_acts_though_its_caller_left(simulator: Simulator, site: str) -> None:
    """On a socket a delayed call is done, also when nobody waits for the answer any more."""
    simulator.faults.add("SendSMS", Delay(timedelta(seconds=0.2)))
    with closing(connect(site)) as conn:
        conn.sendall(post("/API21/HTTP/SendSMS.ashx", b"UID=demo&PWD=demo&MSG=x&DEST=0912345678"))
        until(lambda: len(simulator.requests) == 1)

    until(lambda: len(simulator.sent) == 1)


@pytest.mark.parametrize("status", [204, 304, 503])
def test_status(simulator: Simulator, site: str, status: int) -> None:
    """Any HTTP status goes over the socket."""
    simulator.faults.add("*", HttpStatus(status, headers={"Retry-After": "7"}))

    head, body = talk(site, post(CREDIT, b""))

    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nretry-after: 7\r\n" in head
    assert body == b""


def test_garbage(simulator: Simulator, site: str) -> None:
    """Garbage goes over the socket as it is."""
    simulator.faults.add("*", Garbage(b"\x00\xff"))

    assert talk(site, post(CREDIT, b""))[1] == b"\x00\xff"


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "example.org", "::"])
def test_only_loopback(host: str) -> None:
    """Other addresses than this machine's own are refused, unless they are permitted."""
    with pytest.raises(ValueError, match="not a loopback address"), make().serve(host=host):
        pass


def test_remote_when_permitted() -> None:
    """With permission any address will do."""
    with make().serve(host="0.0.0.0", allow_remote=True) as url:
        assert url.startswith("http://0.0.0.0:")


@pytest.mark.parametrize(("host", "start"), [("localhost", "127."), ("::1", "[::1]:")])
def test_names_of_loopback(host: str, start: str) -> None:
    """The name of this machine, and its IPv6 address, will do."""
    try:
        with make().serve(host=host) as url:
            assert url.startswith(f"http://{start}")
            assert httpx.get(url + CREDIT, params=DEMO).text == "10000.00"
    except OSError:  # pragma: no cover - a machine without IPv6
        pytest.skip("there is no IPv6 here")


def test_port_in_use(site: str) -> None:
    """A port in use is an OSError, before anything has started."""
    port = urlsplit(site).port
    assert port is not None
    with pytest.raises(OSError, match="in use"), make().serve(port=port):
        pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_does_not_start(simulator: Simulator) -> None:
    """A server that ends before it listens is told of, and not waited for."""
    listener = socket.socket()
    listener.close()

    with pytest.raises(RuntimeError, match="ended before"), _server.serving(simulator, listener):
        pass


def test_without_the_extra(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvicorn it is told what to install."""
    monkeypatch.setitem(sys.modules, "uvicorn.config", None)

    with pytest.raises(ImportError, match=r"every8d-async\[simulator\]"), simulator.serve():
        pass


def test_logging_of_others(simulator: Simulator) -> None:
    """Serving leaves the logs of another uvicorn in this process as they are."""
    logger = logging.getLogger("uvicorn.access")
    before = (logger.propagate, logger.level, list(logger.handlers))
    with simulator.serve():
        assert (logger.propagate, logger.level, list(logger.handlers)) == before


def test_no_thread_is_left() -> None:
    """After the end there is no thread, and no open socket (warnings are errors)."""
    with make().serve():
        assert any(thread.name == "every8d-simulator" for thread in threading.enumerate())

    assert all(thread.name != "every8d-simulator" for thread in threading.enumerate())
