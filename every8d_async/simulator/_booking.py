"""Take an order: charge what fits, schedule what is for later, and note what went for sending."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import field, frozen

from every8d_async.simulator._ledger import (
    INTERNATIONAL_OFF,
    NO_CREDIT,
    OVERDUE,
    BatchState,
    Message,
)
from every8d_async.simulator._pricing import mms_points, sms_points
from every8d_async.simulator._reading import is_foreign
from every8d_async.simulator._replies import receipt
from every8d_async.simulator._values import Kind, SentMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from every8d_async.simulator._accounts import AccountState
    from every8d_async.simulator._state import State

_LATEST = timedelta(hours=24)
_FREE = Decimal(0)
FILTERED = "SendSMS4FilterMessage"


@frozen
class Picture:
    """The attachment of an MMS."""

    data: bytes = field(repr=False)
    type: str


@frozen(kw_only=True)
class Recipient:
    """One message that is asked for; a fate given here is one that its own form has earned it."""

    mobile: str
    text: str
    name: str = ""
    email: str = ""
    reference: str = ""
    scheduled_for: datetime | None = None
    fate: int | None = None


@frozen(kw_only=True)
class Order:
    """A request to send, read and found to be sound."""

    operation: str
    subject: str
    valid_minutes: int
    event_id: str
    picture: Picture | None
    recipients: Sequence[Recipient]

    @property
    def kind(self) -> Kind:
        """Tell what is sent."""
        return "sms" if self.picture is None else "mms"

    def points(self, recipient: Recipient) -> Decimal:
        """Price one message."""
        if self.picture is not None:
            return mms_points(len(self.picture.data) + len(utf8(recipient.text)))
        event, foreign = bool(self.event_id), is_foreign(recipient.mobile)
        return sms_points(recipient.text, event=event, foreign=foreign)


def utf8(text: str) -> bytes:
    """Encode a text to count its bytes."""
    return text.encode("utf-8", "surrogatepass")


@frozen
class Booked:
    """A batch that was made, and the receipt for it as it goes on the wire."""

    batch: BatchState
    receipt: str


def book(state: State, account: AccountState, order: Order) -> Booked:
    """Make a batch of an order."""
    batch = BatchState(
        account=account.account.uid,
        batch_id=state.options.new_id(),
        kind=order.kind,
        operation=order.operation,
        subject=order.subject,
        accepted_at=state.now(),
    )
    state.ledger.batches[batch.batch_id] = batch
    for recipient in order.recipients:
        _take(state, account, order, batch, recipient)
    line = receipt(account.credit, batch.sent, batch.cost, batch.unsent, batch.batch_id)
    return Booked(batch, line)


def _take(
    state: State, account: AccountState, order: Order, batch: BatchState, recipient: Recipient
) -> None:
    points = order.points(recipient)
    fate = _fate(account, batch, recipient, points)
    at = recipient.scheduled_for or batch.accepted_at
    message = Message(
        mobile=recipient.mobile,
        text=recipient.text,
        name=recipient.name,
        reference=recipient.reference or str(len(batch.messages) + 1),
        cost=points if fate is None else _FREE,
        go_at=max(at, batch.accepted_at),
        fate=fate,
    )
    state.ledger.add(batch, message)
    if fate is None:
        account.credit -= points
        batch.sent += 1
        batch.cost += points
        state.ledger.sent.append(_sent(order, batch, recipient, message))
        _remember(state, batch, message)
    elif fate == NO_CREDIT:
        batch.unsent += 1


def _remember(state: State, batch: BatchState, message: Message) -> None:
    filtered = batch.operation == FILTERED
    if batch.kind == "sms" and (filtered or state.options.filter_sees_plain_sends):
        at = batch.accepted_at
        state.memory.remember(batch.account, message.text, message.mobile, at, batch.batch_id)


def _fate(
    account: AccountState, batch: BatchState, recipient: Recipient, points: Decimal
) -> int | None:
    if recipient.fate is not None:
        return recipient.fate
    at = recipient.scheduled_for
    if at is not None and batch.accepted_at - at > _LATEST:
        return OVERDUE
    if is_foreign(recipient.mobile) and not account.account.international:
        return INTERNATIONAL_OFF
    return None if account.can_pay(points) else NO_CREDIT


def _sent(order: Order, batch: BatchState, recipient: Recipient, message: Message) -> SentMessage:
    picture = order.picture
    return SentMessage(
        account=batch.account,
        batch_id=batch.batch_id,
        kind=batch.kind,
        mobile=message.mobile,
        text=message.text,
        subject=batch.subject,
        name=message.name,
        email=recipient.email,
        reference=message.reference,
        cost=message.cost,
        accepted_at=batch.accepted_at,
        scheduled_for=recipient.scheduled_for,
        valid_minutes=order.valid_minutes,
        event_id=order.event_id,
        attachment=None if picture is None else picture.data,
        attachment_type="" if picture is None else picture.type,
    )
