"""Faults to order, in memory."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from every8d_async.simulator import (
    CutReply,
    DeadToken,
    Delay,
    Fault,
    FirewallPage,
    Garbage,
    Hang,
    HttpStatus,
    Refuse,
    Reset,
    Simulator,
)
from every8d_async.simulator._line import Line

from .kit import DEMO, ask, batch, check, log_in, make, sms, token

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "http://simulator.test/API21/HTTP/"
SMS = {**DEMO, "MSG": "hello", "DEST": "0912345678"}

anyio_test = pytest.mark.anyio


def client(simulator: Simulator) -> httpx.AsyncClient:
    """A client without a socket."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=simulator), base_url=URL)


def test_once(simulator: Simulator) -> None:
    """Where nothing else is said, a fault hits one request."""
    simulator.faults.add("SendSMS", HttpStatus(503))

    assert [sms(simulator).status for _ in range(3)] == [503, 200, 200]
    assert len(simulator.faults) == 0


def test_several_times(simulator: Simulator) -> None:
    """A fault can hit several requests; those of other operations don't count."""
    simulator.faults.add("sendsms", HttpStatus(503), times=2)
    assert ask(simulator, "GetCredit.ashx", DEMO).status == 200

    assert [sms(simulator).status for _ in range(3)] == [503, 503, 200]


def test_in_order(simulator: Simulator) -> None:
    """Of several faults the first that fits is played, one a request."""
    simulator.faults.add("*", HttpStatus(501))
    simulator.faults.add("SendSMS", HttpStatus(502))

    assert [sms(simulator).status for _ in range(3)] == [501, 502, 200]


def test_rate() -> None:
    """At a rate, chance decides, which is handed in."""
    draws = iter([0.05, 0.5, 0.1, 0.09, 0.99])
    simulator = make(rng=lambda: next(draws))
    simulator.faults.add("*", HttpStatus(503), rate=0.1)

    assert [sms(simulator).status for _ in range(5)] == [503, 200, 200, 503, 200]
    assert len(simulator.faults) == 1


def test_rate_with_an_end() -> None:
    """A fault at a rate can end after a number of hits."""
    simulator = make(rng=lambda: 0.0)
    simulator.faults.add("*", HttpStatus(503), rate=0.5, times=2)

    assert [sms(simulator).status for _ in range(3)] == [503, 503, 200]


def test_parts_of_the_connection_handler(simulator: Simulator) -> None:
    """Getting, checking and closing a token can be hit apart."""
    log_in(simulator)
    simulator.faults.add("ConnectionHandler/2", HttpStatus(503))

    assert log_in(simulator).status == 200
    assert check(simulator, token(1)).status == 503
    simulator.faults.add("ConnectionHandler", HttpStatus(500))
    assert log_in(simulator).status == 500


def test_any_request(simulator: Simulator) -> None:
    """A star hits also what no handler is there for."""
    simulator.faults.add("*", Refuse(-8, "x"), times=2)
    assert ask(simulator, "Nothing.ashx").status == 404
    simulator.faults.add("*", HttpStatus(503), times=2)
    assert ask(simulator, "GetCredit.ashx", DEMO).text == "-8,x"

    assert ask(simulator, "Nothing.ashx").status == 503


def test_clear(simulator: Simulator) -> None:
    """Faults to come can be forgotten."""
    simulator.faults.add("*", HttpStatus(503), times=9)
    simulator.faults.clear()
    assert sms(simulator).status == 200

    simulator.faults.add("*", HttpStatus(503), times=9)
    simulator.reset()

    assert sms(simulator).status == 200


@pytest.mark.parametrize(
    ("operation", "number", "message"),
    [
        ("SendMail", {}, "no operation 'SendMail'; there are: "),
        ("*", {"times": 0}, "times must be 1 or more"),
        ("*", {"rate": 0.0}, "rate must be above 0"),
        ("*", {"rate": 1.1}, "rate must be above 0"),
    ],
)
def test_bad_orders(
    simulator: Simulator, operation: str, number: dict[str, Any], message: str
) -> None:
    """An order that makes no sense is a ValueError."""
    with pytest.raises(ValueError, match=message):
        simulator.faults.add(operation, Reset(), **number)


@pytest.mark.parametrize(
    ("make_fault", "message"),
    [
        (partial(HttpStatus, 199), "199"),
        (partial(HttpStatus, 600), "600"),
        (partial(HttpStatus, 204, body=b"x"), "204 has no body"),
        (partial(CutReply, keep=-1), "-1"),
        (partial(Delay, timedelta(seconds=-1)), "-1"),
    ],
)
def test_bad_faults(make_fault: Callable[[], Fault], message: str) -> None:
    """So is a fault that makes none."""
    with pytest.raises(ValueError, match=message):
        make_fault()


def test_status(simulator: Simulator) -> None:
    """An HTTP status comes with the headers and the body it is given."""
    fault = HttpStatus(429, headers={"Retry-After": "7", "Content-Type": "text/x"}, body=b"slow")
    simulator.faults.add("SendSMS", fault)

    answer = sms(simulator)

    assert (answer.status, answer.body) == (429, b"slow")
    assert answer.headers == {"content-type": "text/x", "content-length": "4", "retry-after": "7"}
    assert simulator.sent == ()


def test_status_after_acting(simulator: Simulator) -> None:
    """A gateway behind a broken proxy may have acted."""
    simulator.faults.add("SendSMS", HttpStatus(502, acts=True))

    assert sms(simulator).status == 502
    assert len(simulator.sent) == 1


def test_firewall(simulator: Simulator) -> None:
    """A firewall in front answers 403 with a page; the request is noted all the same."""
    simulator.faults.add("*", FirewallPage())

    answer = sms(simulator)

    assert answer.status == 403
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert b"<html>" in answer.body
    assert (simulator.sent, len(simulator.requests)) == ((), 1)


@pytest.mark.parametrize(("acts", "sent"), [(False, 0), (True, 1)])
def test_garbage(simulator: Simulator, acts: bool, sent: int) -> None:
    """Garbage comes with HTTP 200, whether the gateway acted or not."""
    simulator.faults.add("SendSMS", Garbage(b"\xff\x00", acts=acts))

    answer = sms(simulator)

    assert (answer.status, answer.body) == (200, b"\xff\x00")
    assert len(simulator.sent) == sent


def test_clean_cut(simulator: Simulator) -> None:
    """A clean cut is a reply that is too short, and shows no sign of it."""
    simulator.faults.add("SendSMS", CutReply(keep=20, clean=True))

    answer = sms(simulator)

    assert (answer.status, answer.body) == (200, b"9999.00,1,1,0,000000")
    assert answer.headers["content-length"] == "20"
    assert len(simulator.sent) == 1


def test_refuse(simulator: Simulator) -> None:
    """A refusal of one's choice is written as the operation writes refusals."""
    simulator.faults.add("EraseBooking", Refuse(-8, "目前無法取消"))
    simulator.faults.add("SendParam", Refuse(-99))

    answer = ask(simulator, "EraseBooking.ashx", DEMO)
    assert answer.text == "-8,目前無法取消"
    answer = ask(simulator, "SendParam.ashx", json={})
    assert answer.text == '{"Result":false,"Status":"-99","Msg":"發生不明錯誤"}'


def test_dead_token(simulator: Simulator) -> None:
    """A token can die under a call, and stays dead."""
    log_in(simulator)
    log_in(simulator)
    simulator.faults.add("GetCredit", DeadToken())

    answer = ask(simulator, "GetCredit.ashx", token=token(1))

    assert answer.text == "-99,發生不明錯誤"
    assert check(simulator, token(1)).json["Result"] is False
    assert check(simulator, token(2)).json["Result"] is True


@anyio_test
@pytest.mark.parametrize(("acts", "sent"), [(False, 0), (True, 1)])
async def test_reset(simulator: Simulator, acts: bool, sent: int) -> None:
    """A reset is httpx's ReadError, whether the gateway acted or not."""
    simulator.faults.add("SendSMS", Reset(acts=acts))
    async with client(simulator) as http:
        with pytest.raises(httpx.ReadError):
            await http.post("SendSMS.ashx", data=SMS)

    assert len(simulator.sent) == sent


@anyio_test
async def test_cut(simulator: Simulator) -> None:
    """A cut reply is httpx's RemoteProtocolError; the gateway has acted."""
    simulator.faults.add("SendSMS", CutReply(keep=7))
    async with client(simulator) as http:
        with pytest.raises(httpx.RemoteProtocolError, match=r"received 7 bytes, expected 50"):
            await http.post("SendSMS.ashx", data=SMS)

    assert len(simulator.sent) == 1


@anyio_test
@pytest.mark.parametrize(("acts", "sent"), [(False, 0), (True, 1)])
async def test_hang(simulator: Simulator, acts: bool, sent: int) -> None:
    """A hanging call never answers, and ends when its caller is cancelled."""
    simulator.faults.add("SendSMS", Hang(acts=acts))
    async with client(simulator) as http:
        with anyio.move_on_after(0.05) as scope:
            await http.post("SendSMS.ashx", data=SMS)

    assert scope.cancelled_caught
    assert len(simulator.sent) == sent


@anyio_test
async def test_hang_until_the_caller_hangs_up() -> None:
    """Only the end of the connection ends a hanging call, whatever comes in before."""
    coming = iter(["http.request", "http.request", "http.disconnect", "http.disconnect"])

    async def receive() -> dict[str, str]:
        return {"type": next(coming)}

    async def send(_message: object) -> None:
        raise AssertionError("nothing is to be sent")

    await Line(receive, send).hang()

    assert list(coming) == ["http.disconnect"]


@anyio_test
async def test_delay(simulator: Simulator) -> None:
    """A delayed call is answered, later."""
    simulator.faults.add("SendSMS", Delay(timedelta(milliseconds=10)))
    async with client(simulator) as http:
        answer = await http.post("SendSMS.ashx", data=SMS)

    assert answer.text == f"9999.00,1,1,0,{batch(1)}"


@anyio_test
async def test_a_delayed_call_acts_late(simulator: Simulator) -> None:
    """A caller who gives up on a delayed call in memory takes it back."""
    simulator.faults.add("SendSMS", Delay(timedelta(hours=1)))
    async with client(simulator) as http:
        with anyio.move_on_after(0.05):
            await http.post("SendSMS.ashx", data=SMS)

    assert simulator.sent == ()


def test_faults_are_values() -> None:
    """Faults are values: they compare, and can't be changed."""
    faults: list[Fault] = [Reset(), Hang(acts=True), CutReply(keep=3)]

    assert faults == [Reset(acts=False), Hang(acts=True), CutReply(keep=3, clean=False)]
    with pytest.raises(AttributeError):
        faults[0].acts = True  # type: ignore[misc]


def test_a_fault_is_an_instance() -> None:
    """A fault's class in place of a fault would do nothing, and the test that ordered it pass."""
    with pytest.raises(TypeError, match=r"such as Reset\(\)"):
        Simulator().faults.add("SendSMS", Reset)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
