"""
Every operation of a session as a value, over a wire that fails, with the simulator behind it.

For tests that do the same with all of them. What is handed in holds the secrets of `SECRETS`.
"""

import json
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from enum import Enum, auto
from itertools import count
from uuid import uuid4

from attrs import frozen

from every8d_async import (
    Attachment,
    Every8DSession,
    PersonalizedMessage,
    ResponseFormat,
    TemplateRecipient,
)
from every8d_async.simulator import Account, Simulator

from .faulty import Request, asgi

TOKEN_PATH = "ConnectionHandler.ashx"

UID, PASSWORD = "shop-uid-7731", "p@ss w0rd & 密碼"
MOBILE, OTHER = "+886911222333", "+886944555666"
TEXT, NAME, EMAIL = "您的密碼是 <q8 & z5>", "王小明 & Co", "ming+vip@example.org"
SUBJECT, REFERENCE = "主旨 & 祕密", "ref/4711 x"
PICTURE = b"\xff\xd8\xff picture of somebody"
ATTACHMENT = Attachment(PICTURE, "jpg")
TOKEN_START = "70ce4a11"
SECRETS = {
    "uid": UID,
    "password": PASSWORD,
    "mobile": MOBILE,
    "other mobile": OTHER,
    "text": TEXT,
    "name": NAME,
    "e-mail": EMAIL,
    "subject": SUBJECT,
    "reference": REFERENCE,
    "token": TOKEN_START,
}


class Kind(Enum):
    """What an operation is, as far as repeating it goes."""

    QUERY = auto()
    ONCE = auto()  # a send or a cancel
    LOGIN = auto()  # the login before a call: nothing of the call itself has left


class Stage:
    """A gateway in which all operations have something to do."""

    def __init__(self) -> None:
        account = Account(uid=UID, password=PASSWORD, credit=Decimal(1_000_000))
        self.simulator = Simulator(
            accounts=[account], new_token=lambda: f"{TOKEN_START}{uuid4().hex[8:]}"
        )
        self.answer = asgi(self.simulator)
        self._numbers = count(1)
        self.sms = self._batch({})
        self.mms = self._batch({"ATTACHMENT": b64encode(PICTURE).decode(), "TYPE": "jpg"})
        self.simulator.add_reply(self.sms, MOBILE, TEXT)
        self.simulator.deliver_all()

    def text(self) -> str:
        """Give a text that was not sent before, so that no filter takes it for a repeat."""
        return f"{TEXT} {next(self._numbers)}"

    def booked(self, *, mms: bool = False) -> str:
        """Book a batch for tomorrow, and give its id."""
        tomorrow = self.simulator.now + timedelta(days=1)
        picture = {"ATTACHMENT": b64encode(PICTURE).decode(), "TYPE": "jpg"} if mms else {}
        return self._batch(picture, tomorrow.strftime("%Y%m%d%H%M%S"))

    def _batch(self, picture: dict[str, str], send_at: str = "") -> str:
        person = {"Name": NAME, "Mobile": MOBILE, "Email": EMAIL, "SendTime": send_at}
        person |= {"Param": self.text(), "Mr": REFERENCE}
        fields = {"UID": UID, "PWD": PASSWORD, "SB": "x", "RecipientDataList": [person], **picture}
        head = b"POST / HTTP/1.1\r\nContent-Type: application/json"
        body = json.dumps(fields).encode()
        self.answer(Request("POST", "/API21/HTTP/SendParam.ashx", head, body))
        return self.simulator.batches[-1].batch_id


Call = Callable[[Every8DSession, Stage], Awaitable[object]]


@frozen
class Operation:
    """
    A call that a session offers, or the login before one.

    Attributes:
        name: For test ids.
        operation: Its name in errors, logs and events.
        kind: Whether it may be repeated.
        path: The end of the path that its request goes to.
        call: Makes it; what comes back is something, not nothing, where all is well.
        mark: What its request holds, where others go to the same path.
    """

    name: str
    operation: str
    kind: Kind
    path: str
    call: Call
    mark: bytes = b""

    def matches(self, request: Request) -> bool:
        """Tell whether a request is this operation's."""
        return request.path.endswith(self.path) and self.mark in request.body


async def _check(session: Every8DSession, _stage: Stage) -> object:
    return await session.check_token()


async def _close(session: Every8DSession, _stage: Stage) -> object:
    await session.close_token()
    return True


async def _credit(session: Every8DSession, _stage: Stage) -> object:
    return await session.credit()


async def _send(session: Every8DSession, stage: Stage) -> object:
    return (await session.sms.send(stage.text(), MOBILE, subject=SUBJECT)).sent


async def _filtered(session: Every8DSession, stage: Stage) -> object:
    return (await session.sms.send_filtered(stage.text(), [MOBILE], subject=SUBJECT)).sent


async def _dry_run(session: Every8DSession, stage: Stage) -> object:
    return not (await session.sms.send_filtered(stage.text(), MOBILE, dry_run=True)).filtered


def own(stage: Stage) -> list[PersonalizedMessage]:
    text = stage.text()
    return [PersonalizedMessage(MOBILE, text, name=NAME, email=EMAIL, reference=REFERENCE)]


def fields(stage: Stage) -> list[TemplateRecipient]:
    values = [stage.text()]
    return [TemplateRecipient(MOBILE, values, name=NAME, email=EMAIL, reference=REFERENCE)]


TEMPLATE = f"%field1% {TEXT}"


async def _personalized(session: Every8DSession, stage: Stage) -> object:
    return (await session.sms.send_personalized(own(stage), subject=SUBJECT)).sent


async def _template(session: Every8DSession, stage: Stage) -> object:
    return (await session.sms.send_template(TEMPLATE, fields(stage), subject=SUBJECT)).sent


async def _mms(session: Every8DSession, stage: Stage) -> object:
    return (await session.mms.send(stage.text(), MOBILE, ATTACHMENT, subject=SUBJECT)).sent


async def _mms_personalized(session: Every8DSession, stage: Stage) -> object:
    return (await session.mms.send_personalized(own(stage), ATTACHMENT, subject=SUBJECT)).sent


async def _mms_template(session: Every8DSession, stage: Stage) -> object:
    return (
        await session.mms.send_template(TEMPLATE, fields(stage), ATTACHMENT, subject=SUBJECT)
    ).sent


def _sms_reports(form: ResponseFormat) -> Call:
    return lambda session, stage: session.sms.delivery_reports(
        stage.sms, response_format=form
    ).collect()


def _mms_reports(form: ResponseFormat) -> Call:
    return lambda session, stage: session.mms.delivery_reports(
        stage.mms, response_format=form
    ).collect()


def _replies(form: ResponseFormat) -> Call:
    return lambda session, stage: session.sms.replies(stage.sms, response_format=form).collect()


async def _cancel(session: Every8DSession, stage: Stage) -> object:
    return (await session.sms.cancel(stage.booked())).count


async def _cancel_mms(session: Every8DSession, stage: Stage) -> object:
    return (await session.mms.cancel(stage.booked(mms=True))).count


_JSON, _TAB, _XML = ResponseFormat.JSON, ResponseFormat.TAB, ResponseFormat.XML
_QUERY, _ONCE = Kind.QUERY, Kind.ONCE
_SMS_REPORTS, _MMS_REPORTS = "HTTP/GetDeliveryStatus.ashx", "MMS/GetDeliveryStatus.ashx"

LOGINS = (
    Operation("login, credit", "credit", Kind.LOGIN, TOKEN_PATH, _credit, b'"VerifyType":1'),
    Operation("login, sms.send", "sms.send", Kind.LOGIN, TOKEN_PATH, _send, b'"VerifyType":1'),
)
ON_TOKENS = (
    Operation("check_token", "check_token", _QUERY, TOKEN_PATH, _check, b'"VerifyType":2'),
    Operation("close_token", "close_token", _QUERY, TOKEN_PATH, _close, b'"VerifyType":3'),
)
QUERIES = (
    Operation("credit", "credit", _QUERY, "GetCredit.ashx", _credit),
    Operation("dry run", "sms.send_filtered", _QUERY, "SendSMS4FilterMessage.ashx", _dry_run),
    *(
        Operation(f"{name}, {form.name}", name, _QUERY, path, make(form))
        for name, path, make, forms in (
            ("sms.delivery_reports", _SMS_REPORTS, _sms_reports, (_JSON, _TAB, _XML)),
            ("mms.delivery_reports", _MMS_REPORTS, _mms_reports, (_JSON, _TAB, _XML)),
            ("sms.replies", "GetReplyMessage.ashx", _replies, (_JSON, _TAB)),
        )
        for form in forms
    ),
)
SENDS = (
    Operation("sms.send", "sms.send", _ONCE, "HTTP/SendSMS.ashx", _send),
    Operation(
        "sms.send_filtered", "sms.send_filtered", _ONCE, "SendSMS4FilterMessage.ashx", _filtered
    ),
    Operation(
        "sms.send_personalized", "sms.send_personalized", _ONCE, "SendParam.ashx", _personalized
    ),
    Operation("sms.send_template", "sms.send_template", _ONCE, "SendParam.ashx", _template),
    Operation("mms.send", "mms.send", _ONCE, "MMS/SendMMS.ashx", _mms),
    Operation(
        "mms.send_personalized",
        "mms.send_personalized",
        _ONCE,
        "SendParam.ashx",
        _mms_personalized,
    ),
    Operation("mms.send_template", "mms.send_template", _ONCE, "SendParam.ashx", _mms_template),
)
CANCELS = (
    Operation("sms.cancel", "sms.cancel", _ONCE, "HTTP/EraseBooking.ashx", _cancel),
    Operation("mms.cancel", "mms.cancel", _ONCE, "MMS/EraseBooking.ashx", _cancel_mms),
)
ALL = (*SENDS, *CANCELS, *QUERIES, *ON_TOKENS, *LOGINS)
"""With a token; each may be made in any order."""
IN_PASSWORD_MODE = (QUERIES[0], QUERIES[2], SENDS[0], SENDS[2], CANCELS[0])
"""A sample, with uid and password in each call."""
