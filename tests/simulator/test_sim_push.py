"""Push reports: the recorded bytes, tries until exactly 200, over real sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, urlencode, urlsplit

import httpx
import pytest

from .kit import DEMO, ask, batch, cancel, make, sms

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from every8d_async.simulator import Simulator

CUSTOMER = "e43bd542-7b45-594e-af53-1894fb0570cb"
USER = "c078ae8f-3608-5524-baa6-b59260d4813c"


class Receiver:
    """The customer's own URL: notes what comes in, and answers as it is told."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, str, bytes, str | None]] = []
        self.answer: Callable[[int], int] = lambda _number: 200

    def note(self, method: str, target: str, body: bytes, content_type: str | None) -> int:
        self.requests.append((method, target, body, content_type))
        return self.answer(len(self.requests))


@contextmanager
def receiving() -> Generator[Receiver]:
    """Receive on a free loopback port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status = receiver.note(self.command, self.path, body, self.headers["content-type"])
            answer = b"" if status == 204 else b"ok"
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = handle_any  # noqa: N815 - the server's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of callers that were cut off."""

        def process_request(self, request: Any, client_address: Any) -> None:
            held.append(request)
            super().process_request(request, client_address)

    held: list[socket.socket] = []
    with Server(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}/reports/token")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
            for connection in held:
                connection.close()


def queries(simulator: Simulator) -> list[str]:
    """What is due, as it goes on the wire."""
    return [push.query for push in simulator.take_pushes()]


def test_report_byte_for_byte(simulator: Simulator) -> None:
    """A report has the recorded shape: names in order, lower-case hex, `+` for a space."""
    sms(simulator, "+886987654321", MSG="Hello, 世界", SB="A b")
    simulator.deliver_all()

    (query,) = queries(simulator)

    assert query == (
        f"BatchID={batch(1)}&RM=%2b886987654321&RT=20260102030405&STATUS=100"
        f"&SM=Hello%2c+%e4%b8%96%e7%95%8c&CustID={CUSTOMER}&UserNo={USER}&ST=20260102030405&MR=1"
        "&SUBJECT=A+b&NAME=&USERID=demo&SOURCE=&CHARGE=1&TYPE=SMS&MSGID="
    )


def test_reply_byte_for_byte(simulator: Simulator) -> None:
    """A reply is STATUS 999 with its own text and time."""
    sms(simulator, "0987654321")
    simulator.advance(timedelta(seconds=1))
    simulator.add_reply(batch(1), "0987654321", "好 (1)~'")

    (query,) = queries(simulator)

    assert query == (
        f"BatchID={batch(1)}&RM=%2b886987654321&RT=20260102030406&STATUS=999"
        f"&SM=%e5%a5%bd+(1)%7e%27&CustID={CUSTOMER}&UserNo={USER}&ST=20260102030405&MR=1"
        "&SUBJECT=&NAME=&USERID=demo&SOURCE=&CHARGE=0&TYPE=SMS&MSGID="
    )


def test_big5(simulator: Simulator) -> None:
    """In BIG5 a trail byte that is ASCII stays as it is; what BIG5 lacks is a question mark."""
    sms(simulator, MSG="一功€😀")
    simulator.deliver_all()

    (push,) = simulator.take_pushes("big5")

    assert "&SM=%a4%40%a5%5c%a3%e1%3f&" in push.query
    sms(simulator, MSG="乙")
    simulator.deliver_all()
    assert "&SM=%a4A&" in simulator.take_pushes("big5")[0].query


WHEN: list[tuple[Callable[[Simulator], object], list[int]]] = [
    (lambda _simulator: None, []),
    (lambda simulator: simulator.advance(timedelta(seconds=4)), []),
    (lambda simulator: simulator.advance(timedelta(seconds=5)), [100]),
    (lambda simulator: simulator.deliver_all(), [100]),
    (lambda simulator: simulator.advance(timedelta(hours=1)), [100, 100]),
    (lambda simulator: cancel(simulator, batch(2)), [303]),
]


@pytest.mark.parametrize(("happens", "statuses"), WHEN)
def test_when(
    simulator: Simulator, happens: Callable[[Simulator], object], statuses: list[int]
) -> None:
    """A report goes once its message is final: after the delay, delivered by hand, cancelled."""
    sms(simulator)
    sms(simulator, ST="20260102033000")
    happens(simulator)

    assert [push.status for push in simulator.take_pushes()] == statuses
    assert not simulator.take_pushes()


def test_unsent_and_mms() -> None:
    """What could not be sent is final from the start; an MMS ends with 700 and costs 0."""
    simulator = make()
    sms(simulator, "+12025550123")
    fields = {**DEMO, "SB": "x", "DEST": "0900000001", "ATTACHMENT": "eA==", "TYPE": "gif"}
    ask(simulator, "MMS/SendMMS.ashx", fields)
    simulator.deliver_all()

    first, second = simulator.take_pushes()

    assert (first.status, second.status) == (500, 700)
    assert "&RT=20260102030405&" in first.query
    assert second.query.endswith("&CHARGE=0&TYPE=MMS&MSGID=")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("given", ["", "?a=b"])
def test_on_the_wire(simulator: Simulator, method: Any, given: str) -> None:
    """GET has it in the query, behind what the URL has; POST as a form."""
    with receiving() as receiver, simulator.serve():
        simulator.push_to(receiver.url + given, method=method)
        sms(simulator)
        simulator.deliver_all()
        assert simulator.settle_pushes()

    (push,) = simulator.pushes
    path = "/reports/token" + given
    query, body = push.query, push.query.encode()
    assert receiver.requests == [
        ("POST", path, body, "application/x-www-form-urlencoded")
        if method == "POST"
        else ("GET", path + ("&" if given else "?") + query, b"", None)
    ]
    assert (push.tries, push.is_accepted, push.is_over) == ((200,), True, True)
    assert query not in repr(push)


def test_tries_until_exactly_200(simulator: Simulator) -> None:
    """Anything but 200 (a redirect, 204) is tried again, up to the limit."""
    answers = {1: 500, 2: 301, 3: 204, 4: 200}
    with receiving() as receiver, simulator.serve():
        receiver.answer = lambda number: answers.get(number, 404)
        simulator.push_to(receiver.url, tries=4, pause=timedelta(0), connections=1)
        for count in (1, 2):
            sms(simulator)
            simulator.deliver_all()
            assert simulator.settle_pushes()
            assert len(simulator.pushes) == count

    first, second = simulator.pushes
    assert (first.tries, first.is_accepted, first.is_over) == ((500, 301, 204, 200), True, True)
    assert (second.tries, second.is_accepted, second.is_over) == ((404,) * 4, False, True)
    assert [target for _, target, _, _ in receiver.requests[:4]] == [receiver.requests[0][1]] * 4


def test_a_failed_try_does_not_hold_up_others(simulator: Simulator) -> None:
    """What waits for its next try lets others pass, and is not settled."""
    with receiving() as receiver, simulator.serve():
        receiver.answer = lambda number: 500 if number == 1 else 200
        simulator.push_to(receiver.url, pause=timedelta(hours=1), connections=1)
        sms(simulator, "0900000001,0900000002")
        simulator.deliver_all()
        assert not simulator.settle_pushes(0.5)

    assert [push.tries for push in simulator.pushes] == [(500,), (200,)]
    assert [push.is_over for push in simulator.pushes] == [False, True]


def test_no_answer(simulator: Simulator) -> None:
    """Where nobody listens, a try counts as 0."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    with simulator.serve():
        simulator.push_to(f"http://127.0.0.1:{port}", tries=2, pause=timedelta(0))
        sms(simulator)
        simulator.deliver_all()
        assert simulator.settle_pushes()

    assert [push.tries for push in simulator.pushes] == [(0, 0)]


def test_repeat(simulator: Simulator) -> None:
    """A share comes once more although it was accepted, as it can with the service."""
    with receiving() as receiver, simulator.serve():
        simulator.push_to(receiver.url, repeat=1.0)
        sms(simulator)
        simulator.deliver_all()
        assert simulator.settle_pushes()

    assert [push.tries for push in simulator.pushes] == [(200, 200)]
    assert receiver.requests[0] == receiver.requests[1]


def test_another_receiver(simulator: Simulator) -> None:
    """From one push to the next the URL may change; and a connection that was idle is not used."""
    with receiving() as first, receiving() as second, simulator.serve():
        for number, receiver in enumerate([first, second, second]):
            simulator.push_to(receiver.url, connections=1)
            sms(simulator)
            simulator.deliver_all()
            assert simulator.settle_pushes()
            if number == 1:
                threading.Event().wait(1.1)

    assert (len(first.requests), len(second.requests)) == (1, 2)


def test_by_options_and_time() -> None:
    """The constructor's options do as well; time alone makes a message final."""
    with receiving() as receiver:
        options = {"push_url": receiver.url, "push_method": "POST", "push_encoding": "big5"}
        simulator = make(delivery_delay=timedelta(0), push_tries=1, **options)
        with simulator.serve():
            sms(simulator, MSG="一")
            assert simulator.settle_pushes()

    assert [method for method, _, _, _ in receiver.requests] == ["POST"]
    assert b"&SM=%a4%40&" in receiver.requests[0][2]


def test_reset_forgets(simulator: Simulator) -> None:
    """A reset forgets pushes, also one that is under way."""
    reached, go_on = threading.Event(), threading.Event()

    def slowly(_number: int) -> int:
        reached.set()
        go_on.wait()
        return 200

    with receiving() as receiver, simulator.serve():
        receiver.answer = slowly
        simulator.push_to(receiver.url)
        sms(simulator)
        simulator.deliver_all()
        reached.wait()
        assert len(simulator.pushes) == 1
        simulator.reset()
        go_on.set()
        assert simulator.settle_pushes()

    assert not simulator.pushes


def test_the_end_does_not_wait_for_a_receiver(simulator: Simulator) -> None:
    """A receiver that does not answer is cut off when the serving ends."""
    reached, go_on = threading.Event(), threading.Event()

    def slowly(_number: int) -> int:
        reached.set()
        go_on.wait()
        return 200

    with receiving() as receiver:
        receiver.answer = slowly
        with simulator.serve():
            simulator.push_to(receiver.url, connections=2)
            sms(simulator)
            simulator.deliver_all()
            reached.wait()
        go_on.set()

    assert [push.tries for push in simulator.pushes] == [(0,)]
    assert all("push" not in thread.name for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("http://192.0.2.1/x", {}, "not on loopback"),
        ("http://example.org/x", {}, "not on loopback"),
        ("https://127.0.0.1/x", {}, "is no http:// URL"),
        ("http:///x", {}, "is no http:// URL"),
        ("http://127.0.0.1", {"method": "PUT"}, "method"),
        ("http://127.0.0.1", {"encoding": "utf-16"}, "encoding"),
        ("http://127.0.0.1", {"tries": 0}, "tries"),
        ("http://127.0.0.1", {"repeat": 2}, "repeat"),
        ("http://127.0.0.1", {"pause": timedelta(-1)}, "pause"),
        ("http://127.0.0.1", {"connections": 0}, "connections"),
    ],
)
def test_what_makes_no_sense(
    simulator: Simulator, url: str, options: dict[str, Any], message: str
) -> None:
    """Only loopback, unless it is permitted; options within their range."""
    with pytest.raises(ValueError, match=message):
        simulator.push_to(url, **options)


def test_remote_when_permitted(simulator: Simulator) -> None:
    """With permission any host will do."""
    simulator.push_to("http://192.0.2.1/x", allow_remote=True)


def test_control() -> None:
    """The control path tells where to push, and of the pushes."""
    simulator = make(control=True)
    with receiving() as receiver, simulator.serve() as url, httpx.Client(base_url=url) as http:
        body = {"url": receiver.url, "method": "POST"}
        assert http.post("/__control__/push-to", json=body).text == "{}"
        assert http.post("/__control__/push-to", json={"url": "x"}).status_code == 400
        sms(simulator)
        http.post("/__control__/deliver", json={})
        assert simulator.settle_pushes()
        (push,) = http.get("/__control__/pushes").json()["pushes"]

    assert push.pop("query").startswith(f"BatchID={batch(1)}&")
    assert push == {
        "batch_id": batch(1),
        "mobile": "+886912345678",
        "status": 100,
        "tries": [200],
        "is_over": True,
    }


def test_command() -> None:
    """`--push-url` does it from the command line."""
    with receiving() as receiver:
        options = ["--port", "0", "--delivery-delay", "0", "--push-url", receiver.url]
        command = [sys.executable, "-W", "error", "-m", "every8d_async.simulator", *options]
        came = threading.Event()

        def note(_number: int) -> int:
            came.set()
            return 200

        receiver.answer = note
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            site = next(word for word in line.split() if word.startswith("http://"))
            fields = {**DEMO, "MSG": "x", "DEST": "0912345678"}
            httpx.post(f"{site}/API21/HTTP/SendSMS.ashx", data=fields)
            assert came.wait(30)
            process.terminate()
            process.wait(30)

    assert urlsplit(receiver.requests[0][1]).path == "/reports/token"


def test_escapes_are_like_those_of_python(simulator: Simulator) -> None:
    """But for case, `+` and a few signs it is what Python's own quoting gives."""
    text = "a b+c&d=é/?#%\r\n\t"
    sms(simulator, MSG=text)
    simulator.deliver_all()
    (query,) = queries(simulator)
    sent = query.split("&SM=")[1].split("&CustID")[0]
    assert sent.upper() == urlencode({"": text})[1:].upper()
    assert quote_from_bytes(b"\xe9").lower() == "%e9"
