"""The values that go into the simulator and come out of it: frozen, without behaviour."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen, validators

if TYPE_CHECKING:
    from collections.abc import Mapping

TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")

Kind = Literal["sms", "mms"]

_SECRET_FIELDS = frozenset({"pwd"})
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


def mask_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """Hide a password among fields."""
    return {n: "***" if n.lower() in _SECRET_FIELDS else value for n, value in values.items()}


def _shown_fields(values: Mapping[str, Any]) -> str:
    return repr(mask_fields(values))


def _shown_headers(values: Mapping[str, Any]) -> str:
    return repr({n: "***" if n in _SECRET_HEADERS else value for n, value in values.items()})


def _points(value: Decimal | float | str) -> Decimal:
    try:
        points = Decimal(str(value))
    except InvalidOperation:
        points = Decimal("NaN")
    if not points.is_finite():
        raise ValueError(f"points must be a finite number, not {value!r}")
    return points


@frozen(kw_only=True)
class Account:
    """
    Describe an account of the gateway as a run begins.

    Attributes:
        uid: The name it logs in with.
        password: Its password; not shown in its repr.
        credit: Points it starts with.
        international: Whether foreign numbers may be sent to; without it they end with status 500.
        default_channel: Whether it has a default channel, so that `EventID=-1` is not refused.
        overdraft: Points its credit may fall below zero, as for a postpaid account.
    """

    uid: str = field(validator=validators.min_len(1))
    password: str = field(repr=False, validator=validators.min_len(1))
    credit: Decimal = field(default=Decimal(10000), converter=_points)
    international: bool = False
    default_channel: bool = False
    overdraft: Decimal = field(default=Decimal(0), converter=_points)


@frozen
class Refusal:
    """
    Say no, in the gateway's way: a code and a message, with HTTP 200.

    Attributes:
        code: The status code, which means something only together with its operation.
        message: The text behind it, as it goes on the wire.
        http_status: The HTTP status: 200 as the gateway does it; another one to try out a client.
    """

    code: int
    message: str
    http_status: int = 200


@frozen(kw_only=True)
class Dialect:
    """
    Choose between spellings of a reply that were all seen in the wild.

    Attributes:
        json_status: Whether a JSON success carries `"Status":"0"` as well.
        count_as_text: Whether SMS_COUNT is a string of digits in JSON.
        tab_columns: Columns of a TAB row: 6 as the documents have it (with the time of the report),
            or 5.
    """

    json_status: bool = False
    count_as_text: bool = False
    tab_columns: int = field(default=6, validator=validators.in_((5, 6)))


DIALECT = Dialect()


@frozen(kw_only=True)
class SentMessage:
    """
    Tell of one message that the gateway took for sending, and for which it took points.

    Attributes:
        account: The uid it was sent by.
        batch_id: The batch it belongs to.
        kind: "sms" or "mms".
        mobile: The number in its canonical form, `+8869…`.
        text: The text as the phone shows it: fields of a template are filled in.
        subject: SB of the request.
        name: The recipient's name, empty when none was given.
        email: The recipient's mail address, empty when none was given.
        reference: MR, or the running number which the gateway gives where there is none.
        cost: Points.
        accepted_at: When the request came in.
        scheduled_for: The time asked for, or None for at once.
        valid_minutes: RETRYTIME, in minutes.
        event_id: EventID, empty when none was given.
        attachment: The picture of an MMS, decoded.
        attachment_type: TYPE of an MMS, in lower case.
    """

    account: str
    batch_id: str
    kind: Kind
    mobile: str
    text: str
    subject: str
    name: str
    email: str
    reference: str
    cost: Decimal
    accepted_at: datetime
    scheduled_for: datetime | None
    valid_minutes: int
    event_id: str
    attachment: bytes | None = field(default=None, repr=False)
    attachment_type: str = ""


@frozen(kw_only=True)
class Report:
    """
    Tell how a message stands at a moment.

    Attributes:
        reference: MR, or the running number which the gateway gives where there is none.
        name: The recipient's name, empty when none was given.
        mobile: The number in its canonical form.
        text: The text as the phone shows it.
        cost: Points taken; 0 for an unsent recipient.
        real_cost: Points finally taken; 0 for a cancelled one.
        status: The status code, as of annex 1.
        sent_at: When it went out, or will.
        received_at: When it ended; None while its status is not final.
    """

    reference: str
    name: str
    mobile: str
    text: str
    cost: Decimal
    real_cost: Decimal
    status: int
    sent_at: datetime
    received_at: datetime | None


@frozen(kw_only=True)
class Batch:
    """
    Tell of a batch as it stands: what was asked for, what it cost, and a report for each recipient.

    Attributes:
        account: The uid it was sent by.
        batch_id: Its id.
        kind: "sms" or "mms".
        operation: The name of the handler that took it.
        subject: SB of the request.
        accepted_at: When the request came in.
        sent: Messages that were taken for sending.
        unsent: Recipients for whom credit was missing; they are in `reports`, with status 301.
        cost: Points taken.
        reports: How each recipient's message stands.
    """

    account: str
    batch_id: str
    kind: Kind
    operation: str
    subject: str
    accepted_at: datetime
    sent: int
    unsent: int
    cost: Decimal
    reports: tuple[Report, ...] = field(repr=False)


@frozen(kw_only=True)
class ReceivedRequest:
    """
    Tell of a request that arrived, whatever became of it; its repr masks password and token.

    Attributes:
        method: GET or POST, or what else was tried.
        path: The path as it was spelled.
        operation: The handler's name in the documents' spelling (`MMS/SendMMS`), or None for a path
            that names none.
        fields: The fields under the names they came with: of the query and the form, or of the
            JSON body. A name given twice has its values joined with a comma.
        headers: Header names in lower case, with their values.
        body: The bytes of the body.
    """

    method: str
    path: str
    operation: str | None
    fields: Mapping[str, Any] = field(repr=_shown_fields)
    headers: Mapping[str, str] = field(repr=_shown_headers)
    body: bytes = field(repr=False)


@frozen(kw_only=True)
class Push:
    """
    Tell of a report or reply that goes to the customer's own URL.

    Attributes:
        batch_id: The batch it is about.
        mobile: The number in its canonical form.
        status: Its status; 999 for a reply.
        query: What goes on the wire: the query string of a GET, the form of a POST.
        tries: The HTTP statuses that answered, 0 where there was no answer.
        is_over: Whether it will not be tried any more.
    """

    batch_id: str
    mobile: str
    status: int
    query: str = field(repr=False)
    tries: tuple[int, ...] = ()
    is_over: bool = False

    @property
    def is_accepted(self) -> bool:
        """Tell whether a try was answered with exactly 200."""
        return 200 in self.tries  # noqa: PLR2004
