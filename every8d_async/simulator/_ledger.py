"""
Batches, their messages, and what becomes of them.

Nothing here waits for a timer: how a message stands follows from the time that is asked about, so a
moved clock is enough to send out what was scheduled and to deliver it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from every8d_async.simulator._values import Batch, Kind, Report, SentMessage

if TYPE_CHECKING:
    from datetime import datetime, timedelta

SCHEDULED, WAITING, DELIVERED, MMS_SENT = 300, 0, 100, 700
NO_CREDIT, CANCELLED, INTERNATIONAL_OFF = 301, 303, 500
OVERDUE, TOO_LONG, BAD_PARAMETER = -4, -5, -1

_NOTHING = Decimal(0)


@define
class Message:
    """
    One recipient of a batch.

    Attributes:
        fate: A status that time won't change: unsent, cancelled, refused as a message.
        delivered_at: When somebody said that all is delivered now, before it was due.
        outcome: The final status, once it may not change any more.
    """

    mobile: str
    text: str
    name: str
    reference: str
    cost: Decimal
    go_at: datetime
    fate: int | None = None
    delivered_at: datetime | None = None
    outcome: int | None = None

    def cancel(self) -> None:
        """Take it back before it went out."""
        self.fate = CANCELLED

    def is_pending(self, now: datetime) -> bool:
        """Tell whether it is scheduled and did not go out yet."""
        return self.fate is None and now < self.go_at


@frozen
class MessageReply:
    """What somebody wrote back."""

    name: str
    mobile: str
    text: str
    received_at: datetime


@define
class BatchState:
    """A batch while it is in use."""

    account: str
    batch_id: str
    kind: Kind
    operation: str
    subject: str
    accepted_at: datetime
    messages: list[Message] = field(factory=list)
    replies: list[MessageReply] = field(factory=list)
    sent: int = 0
    unsent: int = 0
    cost: Decimal = _NOTHING


@define
class Ledger:
    """Keep all batches, and what was scripted about numbers."""

    delivery_delay: timedelta
    batches: dict[str, BatchState] = field(init=False, factory=dict)
    sent: list[SentMessage] = field(init=False, factory=list)
    unpushed_replies: list[tuple[BatchState, Message, MessageReply]] = field(
        init=False, factory=list
    )
    _unpushed: list[tuple[BatchState, Message]] = field(init=False, factory=list)
    _script: dict[str, int] = field(init=False, factory=dict)
    _by_mobile: dict[str, list[tuple[BatchState, Message]]] = field(init=False, factory=dict)

    def add(self, batch: BatchState, message: Message) -> None:
        """Put a message into its batch."""
        batch.messages.append(message)
        self._by_mobile.setdefault(message.mobile, []).append((batch, message))
        self._unpushed.append((batch, message))

    def add_reply(self, batch: BatchState, message: Message, reply: MessageReply) -> None:
        """Put what somebody wrote back into the batch."""
        batch.replies.append(reply)
        self.unpushed_replies.append((batch, message, reply))

    def take_final(self, now: datetime) -> list[tuple[BatchState, Report]]:
        """Give what has become final since this was asked last; each message comes once."""
        final: list[tuple[BatchState, Report]] = []
        pending: list[tuple[BatchState, Message]] = []
        for batch, message in self._unpushed:
            final_at = self._final_at(message, now)
            if self._status(batch, message, now, final_at) in {WAITING, SCHEDULED}:
                pending.append((batch, message))
            else:
                final.append((batch, self.report(batch, message, now)))
        self._unpushed = pending
        return final

    def find(self, account: str, kind: Kind, batch_id: str) -> BatchState | None:
        """Find a batch; that of another account, or of the other kind, is not there."""
        batch = self.batches.get(batch_id.strip())
        if batch is None or (batch.account, batch.kind) != (account, kind):
            return None
        return batch

    def report(self, batch: BatchState, message: Message, now: datetime) -> Report:
        """Tell how a message stands."""
        final_at = self._final_at(message, now)
        status = self._status(batch, message, now, final_at)
        is_final = final_at is not None and status not in {WAITING, SCHEDULED}
        return Report(
            reference=message.reference,
            name=message.name,
            mobile=message.mobile,
            text=message.text,
            cost=message.cost,
            # The documents' MMS sample has a real cost of 0 beside status 700.
            real_cost=message.cost if is_final and status != MMS_SENT else _NOTHING,
            status=status,
            sent_at=message.go_at,
            received_at=final_at if is_final else None,
        )

    def script(self, mobile: str, status: int, now: datetime) -> None:
        """Say how messages to a number will end; what is final already stays as it is."""
        for batch, message in self._by_mobile.get(mobile, ()):
            final_at = self._final_at(message, now)
            if final_at is not None and message.outcome is None:
                message.outcome = self._status(batch, message, now, final_at)
        self._script[mobile] = status

    def deliver_all(self, now: datetime) -> None:
        """Make final at once whatever has gone out."""
        for batch in self.batches.values():
            for message in batch.messages:
                if message.go_at <= now and self._final_at(message, now) is None:
                    message.delivered_at = now

    def snapshot(self, batch: BatchState, now: datetime) -> Batch:
        """Tell of a batch as it stands."""
        return Batch(
            account=batch.account,
            batch_id=batch.batch_id,
            kind=batch.kind,
            operation=batch.operation,
            subject=batch.subject,
            accepted_at=batch.accepted_at,
            sent=batch.sent,
            unsent=batch.unsent,
            cost=batch.cost,
            reports=tuple(self.report(batch, message, now) for message in batch.messages),
        )

    def _final_at(self, message: Message, now: datetime) -> datetime | None:
        """Give the time since when a message is final, or None before it."""
        if message.fate is not None:
            return None
        if message.delivered_at is not None:
            return message.delivered_at
        # Differences are compared, not sums: a booking for the year 9999 must not overflow.
        if now - message.go_at >= self.delivery_delay:
            return message.go_at + self.delivery_delay
        return None

    def _status(
        self, batch: BatchState, message: Message, now: datetime, final_at: datetime | None
    ) -> int:
        if message.fate is not None:
            return message.fate
        if now < message.go_at:
            return SCHEDULED
        if final_at is None:
            return WAITING
        if message.outcome is not None:
            return message.outcome
        return self._script.get(message.mobile, DELIVERED if batch.kind == "sms" else MMS_SENT)
