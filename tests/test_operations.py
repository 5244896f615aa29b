"""
All operations of API 2.1 over real sockets, in the order of the official text.

`OPERATIONS` is the whole API at a glance: section, path, kind of body, what is called, what comes
back, and one refusal. Each row is played with a token (M_1) and with uid and password (M_2), on
asyncio and on trio, against the simulator's server. The report that the gateway pushes to its
customer (§6) is not called but received, so it has no row here.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import frozen

from every8d_async import (
    TAIPEI,
    AccountLocked,
    AuthenticationFailed,
    Cancellation,
    CancelRefused,
    DeliveryReport,
    Every8DSession,
    FilteredReceipt,
    GatewayRefused,
    PersonalizedMessage,
    Receipt,
    Reply,
    ResponseFormat,
    RetryPolicy,
    TemplateRecipient,
)
from every8d_async.simulator import ReceivedRequest, Refuse, Simulator
from tests.kit import FIRST, PICTURE, SECOND, THIRD
from tests.simulator import kit as gateway
from tests.simulator.kit import DEMO, ask

FORM, JSON = "application/x-www-form-urlencoded", "application/json"
THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=TAIPEI)  # where the simulator's clock stands
LATER = datetime(2099, 11, 24, 12, tzinfo=TAIPEI)

# Before each row: a text that arrived and was answered, an MMS that was sent, one booking of each.
SMS, MMS, BOOKED_SMS, BOOKED_MMS, NEW = (gateway.batch(number) for number in range(1, 6))
CREDIT = Decimal("9987.00")


def stage(**options: Any) -> Simulator:
    """Set the stage: four batches, of which two are still to go out."""
    simulator = gateway.make(**options)
    picture = {"SB": "主旨", "ATTACHMENT": "/9j/", "TYPE": "jpg"}
    for path, fields in (
        ("SendSMS.ashx", {"DEST": f"{FIRST},{SECOND}"}),
        ("MMS/SendMMS.ashx", {"DEST": FIRST, **picture}),
        ("SendSMS.ashx", {"DEST": f"{FIRST},{SECOND}", "ST": "20991124120000"}),
        ("MMS/SendMMS.ashx", {"DEST": f"{FIRST},{SECOND}", "ST": "20991124120000", **picture}),
    ):
        root = f"{options.get('prefix', '')}/API21/HTTP/"
        ask(simulator, root + path, {**DEMO, "MSG": "hello", **fields})
    simulator.fail(SECOND, 103)
    simulator.deliver_all()
    simulator.add_reply(SMS, FIRST, "好的")
    return simulator


Call = Callable[[Every8DSession], Awaitable[object]]


@frozen
class Operation:
    """
    A row of the API.

    Attributes:
        section: Of the official text.
        name: What it does.
        path: Below ``/API21/HTTP/``.
        body: The request's content type.
        call: What a user writes.
        gives: What comes back.
        refusal: What the gateway says in the second test.
        raises: What the caller then gets.
        verify: VerifyType, for calls about tokens, which have no other way of proving who one is.
    """

    section: str
    name: str
    path: str
    body: str
    call: Call
    gives: object
    refusal: tuple[int, str]
    raises: type[GatewayRefused]
    verify: int = 0

    @property
    def handler(self) -> str:
        name = self.path.removesuffix(".ashx")
        return f"{name}/{self.verify}" if self.verify else name

    def requests(self, simulator: Simulator) -> list[ReceivedRequest]:
        """Give the session's requests for this operation."""
        return [
            request
            for request in simulator.requests
            if request.path.endswith(f"/HTTP/{self.path}")
            and request.fields.get("VerifyType", 0) == self.verify
            and "user-agent" in request.headers
        ]


async def check_token(session: Every8DSession) -> object:
    await session.credit()  # gets one
    return await session.check_token()


async def close_token(session: Every8DSession) -> object:
    await session.credit()
    await session.close_token()
    return await session.check_token()


def receipt(sent: int, cost: int) -> Receipt:
    return Receipt(CREDIT - cost, sent, Decimal(cost), 0, NEW)


def report(
    mobile: str, code: int, cost: str, real_cost: str | None, number: str, *, late: bool = True
) -> DeliveryReport:
    return DeliveryReport(
        reference=number,
        name="",
        mobile=mobile,
        sent_at=THEN,
        cost=Decimal(cost),
        code=code,
        real_cost=None if real_cost is None else Decimal(real_cost),
        received_at=THEN if late else None,
    )


OWN = [PersonalizedMessage(FIRST, "王小明您好"), PersonalizedMessage(SECOND, "陳大文您好")]
TEMPLATE = "%field1%您好"
FIELDS = [TemplateRecipient(FIRST, ["王小明"]), TemplateRecipient(SECOND, ["陳大文"])]
IN_TAB, IN_XML = ResponseFormat.TAB, ResponseFormat.XML

OPERATIONS = [
    # --- tokens ---
    Operation("1.1", "get a token", "ConnectionHandler.ashx", JSON,
              lambda session: session.credit(), CREDIT,
              (-99, "發生例外錯誤"), AuthenticationFailed, verify=1),
    Operation("1.2", "check a token", "ConnectionHandler.ashx", JSON,
              check_token, True,
              (-99, "發生例外錯誤"), GatewayRefused, verify=2),
    Operation("1.3", "close a token", "ConnectionHandler.ashx", JSON,
              close_token, False,
              (-99, "發生例外錯誤"), GatewayRefused, verify=3),
    # --- SMS ---
    Operation("2.2", "SMS, one text to many", "SendSMS.ashx", FORM,
              lambda session: session.sms.send("您好", [FIRST, SECOND]),
              receipt(2, 2),
              (-27, "電話號碼不得為空"), GatewayRefused),
    Operation("2.3", "SMS, own text each", "SendParam.ashx", JSON,
              lambda session: session.sms.send_personalized(OWN),
              receipt(2, 2),
              (-28, "The sendTime format error: yyyyMMddHHmm"), GatewayRefused),
    Operation("2.4", "SMS, template and fields", "SendParam.ashx", JSON,
              lambda session: session.sms.send_template(TEMPLATE, FIELDS),
              receipt(2, 2),
              (-41, "無發送門號"), GatewayRefused),
    Operation("2.5", "SMS, filtered for repeats", "SendSMS4FilterMessage.ashx", FORM,
              lambda session: session.sms.send_filtered("hello", [FIRST, THIRD]),
              FilteredReceipt(CREDIT - 1, 1, Decimal(1), 0, NEW, (FIRST,), (BOOKED_SMS,)),
              (-306, "手機格式不符:+1-202-895-1800"), GatewayRefused),
    Operation("2.5", "SMS, filtered, only asked", "SendSMS4FilterMessage.ashx", FORM,
              lambda session: session.sms.send_filtered("hello", [FIRST, THIRD], dry_run=True),
              FilteredReceipt(None, 0, Decimal(0), 0, "", (FIRST,), (BOOKED_SMS,)),
              (-24, "簡訊內容不得為空"), GatewayRefused),
    # --- MMS ---
    Operation("3.3", "MMS, one text to many", "MMS/SendMMS.ashx", FORM,
              lambda session: session.mms.send("您好", [FIRST, SECOND], PICTURE, subject="主旨"),
              receipt(2, 6),
              (-303, "MMS主旨不得為空"), GatewayRefused),
    Operation("3.4", "MMS, own text each", "SendParam.ashx", JSON,
              lambda session: session.mms.send_personalized(OWN, PICTURE, subject="主旨"),
              receipt(2, 6),
              (-314, "MMS圖文大小超過限制"), GatewayRefused),
    Operation("3.5", "MMS, template and fields", "SendParam.ashx", JSON,
              lambda session: session.mms.send_template(
                  TEMPLATE, FIELDS, PICTURE, subject="主旨"),
              receipt(2, 6),
              (-305, "MMS圖片類型不得為空"), GatewayRefused),
    # --- queries ---
    Operation("4.1", "credit", "GetCredit.ashx", FORM,
              lambda session: session.credit(), CREDIT,
              (-999, "帳號已被鎖定"), AccountLocked),
    Operation("4.2", "SMS reports", "GetDeliveryStatus.ashx", FORM,
              lambda session: session.sms.delivery_reports(SMS).collect(),
              [report(FIRST, 100, "1.00", "1.00", "1"), report(SECOND, 103, "1.00", "1.00", "2")],
              (-100, "無此帳號"), AuthenticationFailed),
    Operation("4.2", "SMS reports, TAB", "GetDeliveryStatus.ashx", FORM,
              lambda session: session.sms.delivery_reports(
                  SMS, response_format=IN_TAB).collect(),
              [report(FIRST, 100, "1.00", None, ""), report(SECOND, 103, "1.00", None, "")],
              (-101, "密碼錯誤"), AuthenticationFailed),
    Operation("4.2", "SMS reports, XML", "GetDeliveryStatus.ashx", FORM,
              lambda session: session.sms.delivery_reports(
                  SMS, response_format=IN_XML).collect(),
              [report(FIRST, 100, "1.00", None, "", late=False),
               report(SECOND, 103, "1.00", None, "", late=False)],
              (-300, "帳號密碼不得為空"), AuthenticationFailed),
    Operation("4.3", "replies", "GetReplyMessage.ashx", FORM,
              lambda session: session.sms.replies(SMS).collect(),
              [Reply("", FIRST, "好的", THEN)],
              (-2, "不行"), GatewayRefused),
    Operation("4.3", "replies, TAB", "GetReplyMessage.ashx", FORM,
              lambda session: session.sms.replies(SMS, response_format=IN_TAB).collect(),
              [Reply("", FIRST, "好的", THEN)],
              (-2, "不行"), GatewayRefused),
    Operation("4.4", "MMS reports", "MMS/GetDeliveryStatus.ashx", FORM,
              lambda session: session.mms.delivery_reports(MMS).collect(),
              [report(FIRST, 700, "3.00", "0", "1")],
              (-2, "不行"), GatewayRefused),
    Operation("4.4", "MMS reports, TAB", "MMS/GetDeliveryStatus.ashx", FORM,
              lambda session: session.mms.delivery_reports(
                  MMS, response_format=IN_TAB).collect(),
              [report(FIRST, 700, "3.00", None, "")],
              (-2, "不行"), GatewayRefused),
    Operation("4.4", "MMS reports, XML", "MMS/GetDeliveryStatus.ashx", FORM,
              lambda session: session.mms.delivery_reports(
                  MMS, response_format=IN_XML).collect(),
              [report(FIRST, 700, "3.00", None, "", late=False)],
              (-2, "不行"), GatewayRefused),
    # --- bookings ---
    Operation("5.1", "cancel an SMS booking", "EraseBooking.ashx", FORM,
              lambda session: session.sms.cancel(BOOKED_SMS), Cancellation(2, Decimal("2.00")),
              (-8, "稍後再試"), CancelRefused),
    Operation("5.2", "cancel an MMS booking", "MMS/EraseBooking.ashx", FORM,
              lambda session: session.mms.cancel(BOOKED_MMS), Cancellation(2, Decimal("6.00")),
              (-4, "該批次已取消或已發送"), CancelRefused),
]  # fmt: skip

ROWS = [
    pytest.param(operation, auth, id=f"{operation.section} {operation.name}, {auth}")
    for operation in OPERATIONS
    for auth in (("token",) if operation.verify else ("token", "password"))
]
rows = pytest.mark.parametrize(("operation", "auth"), ROWS)
ONCE = RetryPolicy(attempts=1)


def assert_proof(request: ReceivedRequest, auth: str, verify: int) -> None:
    """Hold one of the two ways, and not both; a login has neither but its own fields."""
    in_header = request.headers.get("authorization", "").startswith("Bearer ")
    in_body = (request.fields.get("UID"), request.fields.get("PWD")) == ("demo", "demo")
    by_password = auth == "password" or verify == 1
    assert (not by_password, by_password) == (in_header, in_body)
    assert ("UID" in request.fields) is by_password


@pytest.mark.anyio
@rows
async def test_operation(operation: Operation, auth: Any) -> None:
    """Each operation goes to its path, as its kind of body, proves who it is, and gives this."""
    simulator = stage()
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url, auth=auth) as session:
            assert operation.gives == await operation.call(session)
    (request,) = operation.requests(simulator)
    assert ("POST", f"/API21/HTTP/{operation.path}") == (request.method, request.path)
    assert operation.body == request.headers["content-type"]
    assert str(len(request.body)) == request.headers["content-length"]
    assert_proof(request, auth, operation.verify)


@pytest.mark.anyio
@rows
async def test_refusal(operation: Operation, auth: Any) -> None:
    """The gateway's «no» comes with its code and its own words, and nothing was done."""
    simulator = stage()
    simulator.faults.add(operation.handler, Refuse(*operation.refusal))
    sent = len(simulator.sent)
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url, auth=auth, retry=ONCE) as session:
            if operation.verify == 2:  # a token that is not honoured is an answer, not an error
                assert await operation.call(session) is False
                return
            with pytest.raises(GatewayRefused) as caught:
                await operation.call(session)
    error = caught.value
    assert operation.raises is type(error)
    assert operation.refusal == (error.code, error.message)
    assert error.sent is False
    assert (sent, CREDIT) == (len(simulator.sent), simulator.credit())


@pytest.mark.anyio
@pytest.mark.parametrize(
    "operation", OPERATIONS, ids=[f"{row.section} {row.name}" for row in OPERATIONS]
)
async def test_on_a_platform_with_a_prefix(operation: Operation) -> None:
    """A dedicated platform has a path before /API21/HTTP/: every operation goes below it."""
    simulator = stage(prefix="/tenant/one")
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            assert operation.gives == await operation.call(session)
    (request,) = operation.requests(simulator)
    assert request.path == f"/tenant/one/API21/HTTP/{operation.path}"


@pytest.mark.anyio
async def test_tokens_are_nobody_s_business_in_password_mode() -> None:
    """With uid and password in each call no token is got, checked or closed."""
    simulator = stage()
    with simulator.serve() as url:
        async with Every8DSession(
            "demo", "demo", site=url, auth="password", revoke_on_close=True
        ) as session:
            assert await session.credit() == CREDIT
            assert await session.check_token() is False
            await session.close_token()
    assert simulator.logins == 0


@pytest.mark.anyio
async def test_one_session_for_everything() -> None:
    """All operations one after the other, on one session, with one login."""
    simulator = stage()
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            for operation in OPERATIONS:
                if operation.verify != 3:
                    assert await operation.call(session) is not None
    assert simulator.logins == 1
    assert all(row.requests(simulator) for row in OPERATIONS if row.verify != 3)


@pytest.mark.anyio
async def test_a_booking_goes_out_in_its_time() -> None:
    """A time, a name, a mail, a reference and a channel arrive as they were given."""
    simulator = stage(delivery_delay=timedelta(0))
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            message = PersonalizedMessage(
                "0900000001",
                "您好",
                name="王小明",
                email="wang@example.com",
                send_at=LATER,
                reference="order-1",
            )
            booked = await session.sms.send_personalized(
                [message], subject="註記", valid_for=timedelta(hours=2), event_id="1234"
            )
            (before,) = await session.sms.delivery_reports(booked.batch_id).collect()
            simulator.advance(LATER - THEN)
            (after,) = await session.sms.delivery_reports(booked.batch_id).collect()
    assert (
        before.code,
        before.reference,
        before.name,
        before.sent_at,
    ) == (300, "order-1", "王小明", LATER)
    assert (after.code, after.received_at) == (100, LATER)
    sent = simulator.sent[-1]
    assert (
        sent.scheduled_for,
        sent.valid_minutes,
        sent.event_id,
        sent.subject,
        sent.email,
    ) == (LATER, 120, "1234", "註記", "wang@example.com")


SENDS: dict[str, Callable[[Every8DSession, dict[str, Any]], Awaitable[object]]] = {
    "sms.send": lambda s, o: s.sms.send("您好", FIRST, **o),
    "sms.send_filtered": lambda s, o: s.sms.send_filtered("您好", FIRST, **o),
    "sms.send_personalized": lambda s, o: s.sms.send_personalized(OWN, **o),
    "sms.send_template": lambda s, o: s.sms.send_template(TEMPLATE, FIELDS, **o),
    "mms.send": lambda s, o: s.mms.send("您好", FIRST, PICTURE, **o),
    "mms.send_personalized": lambda s, o: s.mms.send_personalized(OWN, PICTURE, **o),
    "mms.send_template": lambda s, o: s.mms.send_template(TEMPLATE, FIELDS, PICTURE, **o),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", SENDS)
async def test_what_all_sends_take(name: str) -> None:
    """Subject, minutes and channel arrive, with whichever operation they were given."""
    simulator = stage()
    options = {"subject": "註記", "valid_for": timedelta(hours=2), "event_id": "1234"}
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            await SENDS[name](session, options)
    sent = simulator.sent[-1]
    assert (sent.subject, sent.valid_minutes, sent.event_id) == ("註記", 120, "1234")


REFUSED_BY_ITSELF: list[tuple[str, Call, int]] = [
    ("no such batch", lambda session: session.sms.cancel(NEW), -3),
    ("gone out", lambda session: session.sms.cancel(SMS), -4),
    ("the other kind", lambda session: session.mms.cancel(BOOKED_SMS), -3),
    ("no channel", lambda session: session.sms.send("您好", FIRST, event_id="-1"), -290),
    (
        "no channel for own texts",
        lambda session: session.sms.send_personalized(OWN, event_id="-1"),
        -290,
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("call", "code"),
    [row[1:] for row in REFUSED_BY_ITSELF],
    ids=[row[0] for row in REFUSED_BY_ITSELF],
)
async def test_what_is_refused_by_itself(call: Call, code: int) -> None:
    """What can't be done is refused with the code that belongs to it."""
    simulator = stage()
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            with pytest.raises(GatewayRefused) as caught:
                await call(session)
    assert code == caught.value.code
    assert isinstance(caught.value, CancelRefused) is (code in {-3, -4})


@pytest.mark.anyio
async def test_a_batch_is_cancelled_once() -> None:
    """The second cancel is refused, and the first one's refund stays."""
    simulator = stage()
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            await session.sms.cancel(BOOKED_SMS)
            with pytest.raises(CancelRefused) as caught:
                await session.sms.cancel(BOOKED_SMS)
            codes = [row.code async for row in session.sms.delivery_reports(BOOKED_SMS)]
            assert await session.credit() == CREDIT + 2
    assert caught.value.code == -4
    assert codes == [303, 303]


@pytest.mark.anyio
async def test_a_receipt_is_no_promise() -> None:
    """Where the credit runs out, some get it, then nobody; the receipt tells, and so do reports."""
    simulator = gateway.with_credit("1.00")
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            some = await session.sms.send("hello", [FIRST, SECOND])
            none = await session.sms.send_filtered("hello again", [FIRST, SECOND])
            codes = [row.code async for row in session.sms.delivery_reports(none.batch_id)]
    assert (some.sent, some.unsent, some.is_partial, some.nothing_sent) == (1, 1, True, False)
    assert (none.sent, none.unsent, none.is_partial, none.nothing_sent) == (0, 2, True, True)
    assert codes == [301, 301]


@pytest.mark.anyio
async def test_a_wrong_batch_id_looks_empty() -> None:
    """No rows, no error: the gateway makes no difference between a wrong batch and an empty one."""
    simulator = stage()
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            for form in ResponseFormat:
                assert await session.sms.delivery_reports("?", response_format=form).collect() == []
            assert await session.sms.replies("?").collect() == []
            assert await session.mms.delivery_reports(SMS).collect() == []


def test_the_table_is_the_whole_api() -> None:
    """Sixteen operations; a dry run and other formats are rows of the same operation."""
    operations = {(row.section, row.path, row.verify) for row in OPERATIONS}
    assert len(operations) == 16
    assert [row.section for row in OPERATIONS] == sorted(row.section for row in OPERATIONS)
