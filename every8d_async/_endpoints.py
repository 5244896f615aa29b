"""
Every operation of the gateway as a value: fields out, model in.

This is the one place where the names of request fields stand.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Generic, TypeVar, cast

from attrs import evolve, field, frozen

from every8d_async import _codecs as codecs
from every8d_async import _pages as pages
from every8d_async._codecs import quoted
from every8d_async._codes import CANCEL, KNOWN, LOCKED, WRONG_LOGIN, kind_of
from every8d_async._convert import ReplyPage, ReportPage, structure
from every8d_async._errors import (
    AccountLocked,
    AuthenticationFailed,
    CancelRefused,
    GatewayRefused,
)
from every8d_async._models import Cancellation, FilteredReceipt, Receipt, ResponseFormat
from every8d_async._requests import PageQuery, ParamMessage, TextMessage
from every8d_async._usual import ParamRecipient
from every8d_async._wire import BadReply, Refusal, WireRequest

Args = TypeVar("Args")
Result = TypeVar("Result")

_DECIMALS = re.compile(rb"\.[0-9]+\s*\Z")
_SMALL = 1_000_000  # bytes: more is no receipt
_PAGE = 16_000_000  # bytes: 1000 rows take about 250 kB


@frozen
class Credentials:
    """An account's uid and password, shown nowhere."""

    uid: str = field(repr=False)
    password: str = field(repr=False)


def refused(refusal: Refusal, operation: str) -> GatewayRefused:
    """Make the error of a refused call."""
    kind: type[GatewayRefused] = GatewayRefused
    if refusal.code == LOCKED:
        kind = AccountLocked
    elif refusal.code in WRONG_LOGIN:
        kind = AuthenticationFailed
    return kind(refusal.code, refusal.message, operation=operation)


def _login_refused(refusal: Refusal, operation: str) -> GatewayRefused:
    # The only sample of a failed login is -99, so a refused login is one whatever its code.
    kind = AccountLocked if refusal.code == LOCKED else AuthenticationFailed
    return kind(refusal.code, refusal.message, operation=operation)


def _cancel_refused(refusal: Refusal, operation: str) -> GatewayRefused:
    if refusal.code in KNOWN[CANCEL]:
        return CancelRefused(refusal.code, refusal.message, operation=operation)
    return refused(refusal, operation)


def _nobody(_args: object) -> int:
    return 0


def _always(_body: bytes) -> bool:
    return True


def _never(_body: bytes) -> bool:
    return False


def _has_decimals(body: bytes) -> bool:
    # `1000.00` cut short may read `10`; with decimals there, only decimals can be gone.
    return _DECIMALS.search(body) is not None


@frozen
class Endpoint(Generic[Args, Result]):
    """
    One operation.

    Attributes:
        operation: Its name in errors, logs and events.
        path: Below ``API21/HTTP/``.
        fields: The arguments as wire fields.
        parse: A reply's bytes as a model or a refusal; raises `BadReply`.
        repeatable: Whether asking twice does no harm.
        form: Whether the body is a form, else JSON.
        refusal: Makes the error of a refusal.
        reply_limit: The most bytes that a sound reply can have.
        recipients: How many recipients a request holds.
        whole: Whether a sound reply that ends with its connection is surely whole.
        refusal_is_final: Whether -99 is an answer here, not a fault of the gateway.
    """

    operation: str
    path: str
    fields: Callable[[Args], dict[str, object]]
    parse: Callable[[bytes], Result | Refusal]
    repeatable: bool
    form: bool = True
    refusal: Callable[[Refusal, str], GatewayRefused] = refused
    reply_limit: int = _SMALL
    recipients: Callable[[Args], int] = _nobody
    whole: Callable[[bytes], bool] = _always
    refusal_is_final: bool = False

    @property
    def codes(self) -> frozenset[int]:
        """Give the refusals that are surely this operation's own answer, not a dead token's."""
        return frozenset({LOCKED, *KNOWN[kind_of(self.operation)]})

    def request(self, args: Args, auth: Credentials | str | None = None) -> WireRequest:
        """Write the request; `auth` is a token (M_1), uid and password (M_2), or nothing."""
        fields = self.fields(args)
        if isinstance(auth, Credentials):
            fields = {"UID": auth.uid, "PWD": auth.password, **fields}
        return WireRequest(
            path=self.path,
            content_type=codecs.FORM if self.form else codecs.JSON,
            body=codecs.form_body(fields) if self.form else codecs.json_body(fields),
            once=not self.repeatable,
            reply_limit=self.reply_limit,
            token=auth if isinstance(auth, str) else None,
        )


# --- §1 tokens ---

_CONNECTION = "ConnectionHandler.ashx"


def _connection(verify: int) -> dict[str, object]:
    return {"HandlerType": 3, "VerifyType": verify}


def _read_token(body: bytes) -> str | Refusal:
    reply = codecs.read_json(body)
    if isinstance(reply, Refusal):
        return reply
    match reply:
        case {"Result": True, "Msg": str(token)} if codecs.is_token(token):
            return token
        case _:
            raise BadReply("the reply holds no token")


def _read_done(body: bytes) -> bool | Refusal:
    reply = codecs.read_json(body)
    if isinstance(reply, Refusal):
        return reply
    if "Result" not in reply:
        raise BadReply("Result: is missing")
    return True


LOGIN = Endpoint[Credentials, str](
    operation="login",
    path=_CONNECTION,
    fields=lambda account: _connection(1) | {"UID": account.uid, "PWD": account.password},
    parse=_read_token,
    repeatable=True,
    form=False,
    refusal=_login_refused,
    refusal_is_final=True,
)

CHECK_TOKEN = Endpoint[None, bool](
    operation="check_token",
    path=_CONNECTION,
    fields=lambda _: _connection(2),
    parse=_read_done,
    repeatable=True,
    form=False,
    refusal_is_final=True,
)

CLOSE_TOKEN = Endpoint[None, bool](
    operation="close_token",
    path=_CONNECTION,
    fields=lambda _: _connection(3),
    parse=_read_done,
    repeatable=True,
    form=False,
    refusal_is_final=True,
)

# --- §2 SMS, §3 MMS ---


def _text_fields(message: TextMessage) -> dict[str, object]:
    return {
        "SB": message.subject,
        "MSG": message.text,
        "DEST": codecs.listed(message.mobiles),
        "ST": message.send_at,
        "RETRYTIME": str(message.minutes),
        **_extras(message),
    }


def _extras(message: TextMessage | ParamMessage) -> dict[str, object]:
    """Write what only MMS, or only some calls, have."""
    fields: dict[str, object] = {}
    if message.picture is not None:
        fields |= {"ATTACHMENT": message.picture.base64, "TYPE": message.picture.type}
    if message.event_id is not None:
        fields["EventID"] = message.event_id
    return fields


def _param_fields(message: ParamMessage) -> dict[str, object]:
    return {
        "SB": message.subject,
        **({} if message.template is None else {"MSG": message.template}),
        "RETRYTIME": message.minutes,  # a number here, a text in forms
        **_extras(message),
        "RecipientDataList": codecs.Written(_rows(message.recipients)),
    }


def _rows(recipients: Sequence[ParamRecipient]) -> bytes:
    # The same bytes either way.
    if (fast := codecs.fast_json()) is not None:
        rows = [
            {
                "Name": name,
                "Mobile": mobile,
                "Email": email,
                "SendTime": send_at,
                "Param": param,
                "Mr": reference,
            }
            for mobile, param, name, email, send_at, reference in recipients
        ]
        return cast("bytes", fast.dumps(rows))
    written = [
        f'{{"Name":{quoted(name)},"Mobile":{quoted(mobile)},"Email":{quoted(email)}'
        f',"SendTime":{quoted(send_at)},"Param":{quoted(param)},"Mr":{quoted(reference)}}}'
        for mobile, param, name, email, send_at, reference in recipients
    ]
    return f"[{','.join(written)}]".encode()


SEND_SMS = Endpoint[TextMessage, Receipt](
    operation="sms.send",
    path="SendSMS.ashx",
    fields=_text_fields,
    parse=codecs.read_receipt,
    repeatable=False,
    recipients=lambda message: len(message.mobiles),
)

SEND_MMS = evolve(SEND_SMS, operation="mms.send", path="MMS/SendMMS.ashx")

SEND_FILTERED = Endpoint[TextMessage, FilteredReceipt](
    operation="sms.send_filtered",
    path="SendSMS4FilterMessage.ashx",
    fields=lambda message: {**_text_fields(message), "IsSend": "true"},
    parse=codecs.read_filtered_receipt,
    repeatable=False,
    recipients=lambda message: len(message.mobiles),
    whole=_never,  # a receipt without lists may be the start of one with lists
)


def _dry_fields(message: TextMessage) -> dict[str, object]:
    return {**_text_fields(message), "IsSend": "false"}


FILTER_DRY_RUN = evolve(
    SEND_FILTERED,
    fields=_dry_fields,
    parse=codecs.read_dry_run,
    repeatable=True,
    recipients=_nobody,
)

SEND_PERSONALIZED = Endpoint[ParamMessage, Receipt](
    operation="sms.send_personalized",
    path="SendParam.ashx",
    fields=_param_fields,
    parse=codecs.read_param_receipt,
    repeatable=False,
    form=False,
    recipients=lambda message: len(message.recipients),
)

SEND_TEMPLATE = evolve(SEND_PERSONALIZED, operation="sms.send_template")
SEND_MMS_PERSONALIZED = evolve(SEND_PERSONALIZED, operation="mms.send_personalized")
SEND_MMS_TEMPLATE = evolve(SEND_PERSONALIZED, operation="mms.send_template")

# --- §4 queries ---

CREDIT = Endpoint[None, Decimal](
    operation="credit",
    path="GetCredit.ashx",
    fields=lambda _: {},
    parse=codecs.read_credit,
    repeatable=True,
    whole=_has_decimals,
)

PageModel = TypeVar("PageModel")


def _paged(
    operation: str,
    path: str,
    model: type[PageModel],
    readers: Mapping[ResponseFormat, Callable[[bytes], pages.Plain | Refusal]],
) -> Mapping[ResponseFormat, Endpoint[PageQuery, PageModel]]:
    """Make an endpoint for each format in which pages of rows can be had."""

    def endpoint(
        respformat: ResponseFormat, read: Callable[[bytes], pages.Plain | Refusal]
    ) -> Endpoint[PageQuery, PageModel]:
        def parse(body: bytes) -> PageModel | Refusal:
            plain = read(body)
            return plain if isinstance(plain, Refusal) else structure(plain, model)

        return Endpoint[PageQuery, PageModel](
            operation=operation,
            path=path,
            fields=lambda query: {
                "BID": query.batch_id,
                "PNO": query.page,
                "RESPFORMAT": respformat.value,
            },
            parse=parse,
            repeatable=True,
            reply_limit=_PAGE,
            # Lines that are missing from a table leave no trace.
            whole=_never if respformat is ResponseFormat.TAB else _always,
        )

    return {respformat: endpoint(respformat, read) for respformat, read in readers.items()}


_REPORT_READERS = {
    ResponseFormat.TAB: pages.read_report_table,
    ResponseFormat.JSON: pages.read_json_page,
    ResponseFormat.XML: pages.read_report_xml,
}

SMS_REPORTS = _paged("sms.delivery_reports", "GetDeliveryStatus.ashx", ReportPage, _REPORT_READERS)
MMS_REPORTS = _paged(
    "mms.delivery_reports", "MMS/GetDeliveryStatus.ashx", ReportPage, _REPORT_READERS
)
SMS_REPLIES = _paged(
    "sms.replies",
    "GetReplyMessage.ashx",
    ReplyPage,
    {
        ResponseFormat.TAB: pages.read_reply_table,
        ResponseFormat.JSON: pages.read_json_page,
    },
)

# --- §5 cancelling ---

CANCEL_SMS = Endpoint[str, Cancellation](
    operation="sms.cancel",
    path="EraseBooking.ashx",
    fields=lambda batch_id: {"BID": batch_id},
    parse=codecs.read_cancellation,
    repeatable=False,  # a second try could hide the first one's refund
    refusal=_cancel_refused,
    whole=_has_decimals,
)

CANCEL_MMS = evolve(CANCEL_SMS, operation="mms.cancel", path="MMS/EraseBooking.ashx")
