"""
Every operation of the gateway as a value: fields out, model in.

This is the one place where the names of request fields stand. Codes mean something only with
their operation, so each endpoint lists the ones that are known to be its own answer; any other may
come from a dead token.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Generic, TypeVar

from attrs import field, frozen

from every8d_async import _codecs as codecs
from every8d_async._convert import ReportPage, structure
from every8d_async._errors import (
    AccountLocked,
    AuthenticationFailed,
    CancelRefused,
    GatewayRefused,
)
from every8d_async._models import Cancellation, Receipt
from every8d_async._requests import PageQuery, TextMessage
from every8d_async._wire import BadReply, Refusal, WireRequest

Args = TypeVar("Args")
Result = TypeVar("Result")

_SMALL = 1_000_000  # bytes: more is no receipt
_PAGE = 16_000_000  # bytes: 1000 rows take about 250 kB

UNKNOWN_ERROR = -99
LOCKED = -999
WRONG_LOGIN = (-100, -101, -300)

_SEND_CODES = frozenset({-24, -27, -28, -41, -290, -306, LOCKED})
_CANCEL_CODES = frozenset({-3, -4, -8, LOCKED})


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
    if refusal.code in _CANCEL_CODES - {LOCKED}:
        return CancelRefused(refusal.code, refusal.message, operation=operation)
    return refused(refusal, operation)


def _nobody(_args: object) -> int:
    return 0


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
        codes: Refusals that are known to be this operation's own answer.
        refusal: Makes the error of a refusal.
        reply_limit: The most bytes that a sound reply can have.
        recipients: How many recipients a request holds.
        open_ended: Whether a sound reply, cut short, would still look sound.
        refusal_is_final: Whether -99 is an answer here, not a fault of the gateway.
    """

    operation: str
    path: str
    fields: Callable[[Args], dict[str, object]]
    parse: Callable[[bytes], Result | Refusal]
    repeatable: bool
    form: bool = True
    codes: frozenset[int] = frozenset({LOCKED})
    refusal: Callable[[Refusal, str], GatewayRefused] = refused
    reply_limit: int = _SMALL
    recipients: Callable[[Args], int] = _nobody
    open_ended: bool = False
    refusal_is_final: bool = False

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

# --- §2 SMS ---


def _text_fields(message: TextMessage) -> dict[str, object]:
    fields: dict[str, object] = {
        "SB": message.subject,
        "MSG": message.text,
        "DEST": ",".join(message.mobiles),
        "ST": message.send_at,
        "RETRYTIME": str(message.minutes),
    }
    if message.event_id is not None:
        fields["EventID"] = message.event_id
    return fields


SEND_SMS = Endpoint[TextMessage, Receipt](
    operation="sms.send",
    path="SendSMS.ashx",
    fields=_text_fields,
    parse=codecs.read_receipt,
    repeatable=False,
    codes=_SEND_CODES,
    recipients=lambda message: len(message.mobiles),
)

# --- §4 queries ---

CREDIT = Endpoint[None, Decimal](
    operation="credit",
    path="GetCredit.ashx",
    fields=lambda _: {},
    parse=codecs.read_credit,
    repeatable=True,
    open_ended=True,
)


def _page_fields(query: PageQuery) -> dict[str, object]:
    return {"BID": query.batch_id, "PNO": query.page, "RESPFORMAT": 1}


def _read_report_page(body: bytes) -> ReportPage | Refusal:
    reply: Mapping[str, object] | Refusal = codecs.read_json(body)
    return reply if isinstance(reply, Refusal) else structure(reply, ReportPage)


SMS_REPORTS = Endpoint[PageQuery, ReportPage](
    operation="sms.delivery_reports",
    path="GetDeliveryStatus.ashx",
    fields=_page_fields,
    parse=_read_report_page,
    repeatable=True,
    reply_limit=_PAGE,
)

# --- §5 cancelling ---

CANCEL_SMS = Endpoint[str, Cancellation](
    operation="sms.cancel",
    path="EraseBooking.ashx",
    fields=lambda batch_id: {"BID": batch_id},
    parse=codecs.read_cancellation,
    repeatable=False,  # a second try could hide the first one's refund
    codes=_CANCEL_CODES,
    refusal=_cancel_refused,
    open_ended=True,
)
