"""respx's default mock, as users' tests have it, stands in for the network under our own pool."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pytest
import respx

from every8d_async import (
    Every8DError,
    Every8DSession,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    OutcomeUnknown,
    RetryPolicy,
)
from tests.faulty import FaultyServer

pytestmark = pytest.mark.anyio

SITE = "https://new.e8d.tw"
API = f"{SITE}/API21/HTTP"
TOKEN = "4bc40f5255fa4d89ac4950b394eca0f6"
BATCH = "f370a403-df23-4122-a7e6-261563a071cd"
MOBILE = "+886900000001"


@pytest.fixture
def gateway() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        router.post(f"{API}/ConnectionHandler.ashx", name="login").respond(
            json={"Result": True, "Msg": TOKEN}
        )
        yield router


def session(**options: Any) -> Every8DSession:
    options = {"retry": RetryPolicy(attempts=3, base=0.001), **options}
    return Every8DSession("uid", "pass word", **options)


def form(route: respx.Route) -> dict[str, str]:
    return dict(parse_qsl(route.calls.last.request.content.decode(), keep_blank_values=True))


async def failure(call: Any) -> Any:
    try:
        await call
    except Every8DError as error:
        return error
    raise AssertionError("it succeeded")


async def test_a_send(gateway: respx.MockRouter) -> None:
    """SendSMS: a form with six fields, numbers in one, under a token that was logged in for."""
    route = gateway.post(f"{API}/SendSMS.ashx").respond(text=f"79.0,2,2.0,0,{BATCH}")
    async with session() as client:
        receipt = await client.sms.send("您好&", to=[MOBILE, "0900000002"], subject="s")
    assert (receipt.sent, receipt.batch_id) == (2, BATCH)
    assert form(route) == {
        "SB": "s",
        "MSG": "您好&",
        "DEST": "+886900000001,+886900000002",
        "ST": "",
        "RETRYTIME": "1440",
    }
    headers = route.calls.last.request.headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert headers["host"] == "new.e8d.tw"
    login = gateway["login"].calls
    assert login.call_count == 1
    assert json.loads(login.last.request.content) == {
        "HandlerType": 3,
        "VerifyType": 1,
        "UID": "uid",
        "PWD": "pass word",
    }
    assert "authorization" not in login.last.request.headers


async def test_password_mode(gateway: respx.MockRouter) -> None:
    """Uid and password stand in the body of each call, and no login is made."""
    route = gateway.post(f"{API}/GetCredit.ashx").respond(text="1000.00")
    async with session(auth="password") as client:
        await client.credit()
    assert form(route) == {"UID": "uid", "PWD": "pass word"}
    assert "authorization" not in route.calls.last.request.headers
    assert not gateway["login"].called


async def test_queries_and_cancelling(gateway: respx.MockRouter) -> None:
    """GetCredit, GetDeliveryStatus, EraseBooking: their forms, and what their replies mean."""
    credit = gateway.post(f"{API}/GetCredit.ashx").respond(text="1000.00")
    page = {"SMS_COUNT": 1, "DATA": [{"MOBILE": MOBILE, "STATUS": "100"}]}
    reports = gateway.post(f"{API}/GetDeliveryStatus.ashx").respond(json=page)
    cancel = gateway.post(f"{API}/EraseBooking.ashx").respond(text="2,2.00")
    async with session() as client:
        assert str(await client.credit()) == "1000.00"
        (report,) = await client.sms.delivery_reports(BATCH).collect()
        assert (report.mobile, report.is_delivered) == (MOBILE, True)
        assert (await client.sms.cancel(BATCH)).count == 2
    assert credit.calls.last.request.content == b""
    assert form(reports) == {"BID": BATCH, "PNO": "1", "RESPFORMAT": "1"}
    assert form(cancel) == {"BID": BATCH}


async def test_the_tokens_own_calls(gateway: respx.MockRouter) -> None:
    """ConnectionHandler: VerifyType 2 asks about the token, and 3 closes it."""
    gateway.post(f"{API}/GetCredit.ashx").respond(text="1000.00")
    async with session() as client:
        await client.credit()
        assert await client.check_token() is True
        await client.close_token()
    login: Any = gateway["login"]
    calls: list[httpx.Request] = [call.request for call in login.calls]
    assert [json.loads(call.content)["VerifyType"] for call in calls] == [1, 2, 3]
    assert [call.headers.get("authorization") for call in calls[1:]] == [f"Bearer {TOKEN}"] * 2


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_no_connection(gateway: respx.MockRouter, error: type[Exception]) -> None:
    """These errors mean that nothing left: a send is tried again, and then told so."""
    route = gateway.post(f"{API}/SendSMS.ashx").mock(side_effect=error)
    async with session() as client:
        failed = await failure(client.sms.send("hello", to=MOBILE))
    assert isinstance(failed, GatewayUnreachable)
    assert (failed.cause, failed.attempts, failed.sent) == (error.__name__, 3, False)
    assert route.call_count == 3


@pytest.mark.parametrize(
    "error", [httpx.ReadError, httpx.ReadTimeout, httpx.WriteError, httpx.RemoteProtocolError]
)
async def test_a_doubt(gateway: respx.MockRouter, error: type[Exception]) -> None:
    """Any other leaves a send in doubt, called once; a query is asked again."""
    send = gateway.post(f"{API}/SendSMS.ashx").mock(side_effect=error)
    credit = gateway.post(f"{API}/GetCredit.ashx").mock(side_effect=error)
    async with session() as client:
        failed = await failure(client.sms.send("hello", to=MOBILE))
        assert isinstance(failed, OutcomeUnknown)
        assert (failed.cause, failed.sent) == (error.__name__, None)
        assert isinstance(await failure(client.credit()), GatewayUnavailable)
    assert (send.call_count, credit.call_count) == (1, 3)


async def test_a_sequence(gateway: respx.MockRouter) -> None:
    """A query that fails at first and then succeeds."""
    answers: list[Any] = [httpx.ConnectError, httpx.Response(503), httpx.Response(200, text="5")]
    route = gateway.post(f"{API}/GetCredit.ashx").mock(side_effect=answers)
    async with session() as client:
        assert await client.credit() == 5
    assert route.call_count == 3


async def test_a_refusal(gateway: respx.MockRouter) -> None:
    """HTTP 200 with a code below zero is a no."""
    gateway.post(f"{API}/SendSMS.ashx").respond(text="-27,電話號碼不得為空")
    async with session() as client:
        failed = await failure(client.sms.send("hello", to=MOBILE))
    assert isinstance(failed, GatewayRefused)
    assert (failed.code, failed.sent) == (-27, False)


async def test_what_is_not_mocked_reaches_nobody() -> None:
    """Without a route respx complains; the network, here a real port, hears nothing of it."""
    with FaultyServer() as server:
        with respx.mock:
            async with session(site=server.url, auth="password") as client:
                with pytest.raises(AssertionError, match="not mocked"):
                    await client.credit()
                # A bug after the body left is a doubt on a send, whoever made it.
                failed = await failure(client.sms.send("hello", to=MOBILE))
                assert isinstance(failed, OutcomeUnknown)
                assert failed.cause == "AllMockedAssertionError"
        assert server.accepted == 0


async def test_after_the_mock_connections_are_real() -> None:
    """The pool that served a mock serves the network afterwards."""
    with FaultyServer() as server:
        async with session(site=server.url) as client:
            with respx.mock:
                respx.post(path__regex="ConnectionHandler").respond(
                    json={"Result": True, "Msg": TOKEN}
                )
                respx.post(path__regex="GetCredit").respond(text="1.00")
                assert str(await client.credit()) == "1.00"
            assert str(await client.credit()) == "99.00"
        assert server.paths() == ["GetCredit.ashx"]
