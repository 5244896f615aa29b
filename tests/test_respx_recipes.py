"""
Recipes for tests with respx: copy the one for the operation that you call, and change its values.

respx mocks httpcore, which the session's own pool is made of; nothing else is needed. Each recipe
says what the gateway would answer, calls, and looks at what would have gone out.
"""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qs

import pytest
import respx

from every8d_async import (
    TAIPEI,
    Attachment,
    CancelRefused,
    Every8DSession,
    GatewayRefused,
    OutcomeUnknown,
    PersonalizedMessage,
    ResponseFormat,
    TemplateRecipient,
)

API = "https://new.e8d.tw/API21/HTTP/"
BATCH = "c496f706-9b0f-4ff8-9644-9503edbb7064"
PICTURE = Attachment(b"\xff\xd8\xff\xe0 your picture", "jpg")

pytestmark = pytest.mark.anyio


@pytest.fixture
def gateway() -> Iterator[respx.MockRouter]:
    """Mock the gateway: it gives out tokens, and each test says what else it answers."""
    with respx.mock(base_url=API, assert_all_called=False) as router:
        router.post("ConnectionHandler.ashx", json__VerifyType=1, name="login").respond(
            json={"Result": True, "Msg": "4bc40f5255fa4d89ac4950b394eca0f6"}
        )
        yield router


@pytest.fixture
async def session(gateway: respx.MockRouter) -> AsyncIterator[Every8DSession]:
    async with Every8DSession("uid", "password") as session:
        yield session


def form(route: respx.Route) -> dict[str, str]:
    """Give the fields of the form that was sent."""
    fields = parse_qs(route.calls.last.request.content.decode(), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


# --- §1 tokens ---


async def test_a_token_is_got_once(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """The session logs in by itself, before its first call."""
    credit = gateway.post("GetCredit.ashx").respond(text="1000.00")

    await session.credit()
    await session.credit()

    assert gateway["login"].call_count == 1
    assert json.loads(gateway["login"].calls.last.request.content) == {
        "HandlerType": 3, "VerifyType": 1, "UID": "uid", "PWD": "password",
    }  # fmt: skip
    headers = credit.calls.last.request.headers
    assert headers["Authorization"] == "Bearer 4bc40f5255fa4d89ac4950b394eca0f6"


async def test_check_and_close_a_token(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Tokens can be asked about and closed; each has a VerifyType."""
    gateway.post("GetCredit.ashx").respond(text="1000.00")
    check = gateway.post("ConnectionHandler.ashx", json__VerifyType=2)
    check.respond(json={"Result": True})
    close = gateway.post("ConnectionHandler.ashx", json__VerifyType=3)
    close.respond(json={"Result": True})
    await session.credit()

    assert await session.check_token()
    await session.close_token()

    assert check.called
    assert close.called


async def test_uid_and_password_in_every_call(gateway: respx.MockRouter) -> None:
    """`auth="password"` needs no login."""
    route = gateway.post("GetCredit.ashx").respond(text="1000.00")

    async with Every8DSession("uid", "password", auth="password") as session:
        await session.credit()

    assert form(route) == {"UID": "uid", "PWD": "password"}
    assert not gateway["login"].called


# --- §2 SMS ---


async def test_send(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """A receipt is five fields: credit, sent, cost, unsent, batch id."""
    route = gateway.post("SendSMS.ashx").respond(text=f"998.00,2,2,0,{BATCH}")

    receipt = await session.sms.send("您的驗證碼是 123456", to=["0900000001", "0900000002"])

    assert receipt.batch_id == BATCH
    assert form(route)["MSG"] == "您的驗證碼是 123456"
    assert form(route)["DEST"] == "+886900000001,+886900000002"


async def test_send_filtered(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Two lists follow where somebody was filtered: mobiles, and the batches they were in."""
    route = gateway.post("SendSMS4FilterMessage.ashx").respond(
        text=f"999.00,1,1,0,{BATCH},+886900000001,a496f706-9b0f-4ff8-9644-9503edbb7064"
    )

    receipt = await session.sms.send_filtered("hello", to=["0900000001", "0900000002"])

    assert receipt.filtered == ("+886900000001",)
    assert form(route)["IsSend"] == "true"


async def test_send_filtered_dry_run(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """A dry run's answer has no credit and no batch."""
    route = gateway.post("SendSMS4FilterMessage.ashx").respond(text="0,0,0,")

    receipt = await session.sms.send_filtered("hello", to="0900000001", dry_run=True)

    assert receipt.filtered == ()
    assert form(route)["IsSend"] == "false"


async def test_send_personalized(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Own texts are JSON, and so is the receipt around the five fields."""
    route = gateway.post("SendParam.ashx").respond(
        json={"Result": True, "Msg": f"998.00,2,2,0,{BATCH}"}
    )
    messages = [
        PersonalizedMessage("0900000001", "王小明您好", reference="1"),
        PersonalizedMessage("0900000002", "陳大文您好", reference="2"),
    ]

    receipt = await session.sms.send_personalized(messages)

    assert receipt.sent == 2
    people = json.loads(route.calls.last.request.content)["RecipientDataList"]
    assert [(each["Mobile"], each["Param"], each["Mr"]) for each in people] == [
        ("+886900000001", "王小明您好", "1"),
        ("+886900000002", "陳大文您好", "2"),
    ]


async def test_send_template(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Five fields go out for each, with four separators."""
    route = gateway.post("SendParam.ashx").respond(
        json={"Result": True, "Msg": f"999.00,1,1,0,{BATCH}"}
    )

    await session.sms.send_template(
        "%field1%您好，您於%field2%到期。", [TemplateRecipient("0900000001", ["王小明", "1/31"])]
    )

    request = json.loads(route.calls.last.request.content)
    assert request["MSG"] == "%field1%您好，您於%field2%到期。"
    assert request["RecipientDataList"][0]["Param"] == "王小明|1/31|||"


# --- §3 MMS ---


async def test_send_mms(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """An MMS is a form like an SMS, with a picture in base64."""
    route = gateway.post("MMS/SendMMS.ashx").respond(text=f"997.00,1,3,0,{BATCH}")

    receipt = await session.mms.send("您好", "0900000001", PICTURE, subject="主旨")

    assert receipt.cost == 3
    assert (form(route)["SB"], form(route)["TYPE"]) == ("主旨", "jpg")


async def test_send_mms_personalized(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Own texts go with the same picture."""
    route = gateway.post("SendParam.ashx").respond(
        json={"Result": True, "Msg": f"997.00,1,3,0,{BATCH}"}
    )
    message = PersonalizedMessage("0900000001", "王小明您好")

    await session.mms.send_personalized([message], PICTURE, subject="主旨")

    request = json.loads(route.calls.last.request.content)
    assert (request["SB"], request["TYPE"]) == ("主旨", "jpg")


async def test_send_mms_template(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """A template goes with the same picture."""
    route = gateway.post("SendParam.ashx").respond(
        json={"Result": True, "Msg": f"997.00,1,3,0,{BATCH}"}
    )
    recipient = TemplateRecipient("0900000001", ["王小明"])

    await session.mms.send_template("%field1%您好", [recipient], PICTURE, subject="主旨")

    assert json.loads(route.calls.last.request.content)["MSG"] == "%field1%您好"


# --- §4 queries ---


async def test_credit(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """The answer is a number alone."""
    gateway.post("GetCredit.ashx").respond(text="1000.00")

    assert await session.credit() == Decimal(1000)


async def test_delivery_reports(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """A page is the batch's count and some rows, all of whose values are texts."""
    route = gateway.post("GetDeliveryStatus.ashx").respond(
        json={
            "SMS_COUNT": 1,
            "BID": BATCH,
            "DATA": [{
                "MR": "1", "NAME": "", "MOBILE": "+886900000001",
                "SEND_TIME": "2026-01-31 12:00:00", "COST": "1.00", "STATUS": "100",
                "REAL_COST": "1.00", "RECEIVED_TIME": "2026-01-31 12:00:05",
            }],
        }
    )  # fmt: skip

    (report,) = await session.sms.delivery_reports(BATCH).collect()

    assert report.is_delivered
    assert report.received_at == datetime(2026, 1, 31, 12, 0, 5, tzinfo=TAIPEI)
    assert form(route) == {"BID": BATCH, "PNO": "1", "RESPFORMAT": "1"}


async def test_delivery_reports_in_tab(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """The count alone, then a row a line, here of five columns and without a name."""
    gateway.post("GetDeliveryStatus.ashx", data__contains={"RESPFORMAT": "0"}).respond(
        text="1\r\n\t+886900000001\t2026/01/31 12:00:00\t1.00\t103\n"
    )

    pager = session.sms.delivery_reports(BATCH, response_format=ResponseFormat.TAB)

    assert [report.status.name for report in await pager.collect()] == ["NUMBER_INVALID"]


async def test_delivery_reports_in_xml(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """The count is an attribute, and mobiles are padded."""
    gateway.post("GetDeliveryStatus.ashx", data__contains={"RESPFORMAT": "2"}).respond(
        text='<SMS_LOG><CODE>0</CODE><GET_DELIVERY_STATUS COUNT="1"><SMS>'
        "<MOBILE>+886900000001   </MOBILE><STATUS>100</STATUS>"
        "</SMS></GET_DELIVERY_STATUS></SMS_LOG>"
    )

    pager = session.sms.delivery_reports(BATCH, response_format=ResponseFormat.XML)

    assert [report.mobile for report in await pager.collect()] == ["+886900000001"]


async def test_pages(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Two pages of one row each: the pager asks until SMS_COUNT rows were seen."""
    for page in ("1", "2"):
        row = {"MOBILE": f"+88690000000{page}", "STATUS": "100"}
        gateway.post("GetDeliveryStatus.ashx", data__contains={"PNO": page}).respond(
            json={"SMS_COUNT": 2, "BID": BATCH, "DATA": [row]}
        )

    mobiles = [report.mobile async for report in session.sms.delivery_reports(BATCH)]

    assert mobiles == ["+886900000001", "+886900000002"]


async def test_replies(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """Replies come in pages as reports do."""
    gateway.post("GetReplyMessage.ashx").respond(
        json={
            "SMS_COUNT": 1,
            "BID": BATCH,
            "DATA": [{
                "NAME": "", "MOBILE": "+886900000001", "CONTENT": "好的",
                "RECEIVED_TIME": "2026/01/31 12:00:05",
            }],
        }
    )  # fmt: skip

    assert [reply.text async for reply in session.sms.replies(BATCH)] == ["好的"]


async def test_mms_delivery_reports(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """An MMS has its own path, and ends with status 700."""
    row = {"MOBILE": "+886900000001", "STATUS": "700"}
    gateway.post("MMS/GetDeliveryStatus.ashx").respond(
        json={"SMS_COUNT": 1, "BID": BATCH, "DATA": [row]}
    )

    (report,) = await session.mms.delivery_reports(BATCH).collect()

    assert report.status.name == "MMS_SENT"


# --- §5 bookings ---


async def test_cancel(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """How many messages were dropped, and the points that came back."""
    route = gateway.post("EraseBooking.ashx").respond(text="2,2.00")

    cancellation = await session.sms.cancel(BATCH)

    assert (cancellation.count, cancellation.refunded) == (2, Decimal(2))
    assert form(route) == {"BID": BATCH}


async def test_cancel_mms(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """The same for an MMS, on its own path."""
    gateway.post("MMS/EraseBooking.ashx").respond(text="2,6.00")

    assert (await session.mms.cancel(BATCH)).refunded == Decimal(6)


# --- what goes wrong ---


async def test_a_refused_send(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """A refusal is HTTP 200 with `code,message`."""
    gateway.post("SendSMS.ashx").respond(text="-306,手機格式不符:+1-202-895-1800")

    with pytest.raises(GatewayRefused) as caught:
        await session.sms.send("hello", "0900000001")

    assert caught.value.code == -306


async def test_a_refused_personalized_send(
    gateway: respx.MockRouter, session: Every8DSession
) -> None:
    """Where requests are JSON, refusals are, too."""
    gateway.post("SendParam.ashx").respond(
        json={"Result": False, "Status": "-28", "Msg": "The sendTime format error: yyyyMMddHHmm"}
    )

    with pytest.raises(GatewayRefused) as caught:
        await session.sms.send_personalized([PersonalizedMessage("0900000001", "hello")])

    assert caught.value.code == -28


async def test_a_refused_cancel(gateway: respx.MockRouter, session: Every8DSession) -> None:
    """-8 alone is worth another try."""
    gateway.post("EraseBooking.ashx").respond(text="-8,目前無法取消")

    with pytest.raises(CancelRefused) as caught:
        await session.sms.cancel(BATCH)

    assert caught.value.retryable


async def test_a_send_of_unknown_outcome(
    gateway: respx.MockRouter, session: Every8DSession
) -> None:
    """The gateway broke down while it answered: nobody knows, and nothing is repeated."""
    route = gateway.post("SendSMS.ashx").respond(502)

    with pytest.raises(OutcomeUnknown):
        await session.sms.send("hello", "0900000001")

    assert route.call_count == 1
