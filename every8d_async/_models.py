"""The values that go in and come out: frozen, typed, quiet about numbers and texts in reprs."""

import re
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from typing import Generic, TypeVar

from attrs import field, frozen

from every8d_async._errors import InvalidRequest, mask

TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")
"""The gateway's time zone: UTC+8, no daylight saving."""

Row = TypeVar("Row")

_TAIWAN = re.compile(r"(?:\+?8860?|0)(9[0-9]{8})")
_FOREIGN = re.compile(r"\+(?!886)[1-9][0-9]{6,14}")


def canonical(text: str) -> str | None:
    """Give a mobile's canonical form, or None for what is no mobile."""
    bare = text.replace(" ", "").replace("-", "")
    if taiwan := _TAIWAN.fullmatch(bare):
        return f"+886{taiwan[1]}"
    return bare if _FOREIGN.fullmatch(bare) else None


def mobile(text: str) -> str:
    """
    Give the canonical form of a mobile number, such as ``+886912345678``.

    It is what goes on the wire, and what a report's `mobile` is compared with. Spaces and hyphens
    are dropped; ``09…``, ``8869…``, ``88609…``, ``+8869…``, ``+88609…`` and ``+<country>…`` are
    understood.

    Raises:
        InvalidRequest: It is no mobile number; the message shows it masked.
    """
    found = canonical(text)
    if found is None:
        raise InvalidRequest([f"{mask(text)!r} is not a mobile number"])
    return found


class DeliveryStatus(IntEnum):
    """
    What became of a message (annex 1).

    Codes that the official text does not list are `UNKNOWN`; the report's `code` keeps them.
    """

    UNKNOWN = -(2**31)
    MMS_UNSUPPORTED = -10
    BAD_NUMBER = -8
    TOO_LONG = -5
    OVERDUE = -4
    BLOCKED_BY_RECIPIENT = -3
    BAD_CREDENTIALS = -2
    BAD_PARAMETER = -1
    HANDED_TO_CARRIER = 0
    DELIVERED = 100
    PHONE_UNREACHABLE = 101
    CARRIER_FAULT = 102
    NUMBER_INVALID = 103
    CARRIER_BLACKLIST = 104
    CARRIER_BLOCKED_TEXT = 105
    PLATFORM_BLOCKED_TEXT = 106
    DELIVERED_LATE = 107
    SCHEDULED = 300
    NO_CREDIT = 301
    CANCELLED = 303
    FOREIGN_DISABLED = 500
    MMS_SENT = 700
    TEST_MODE = 888
    REPLY = 999

    @classmethod
    def _missing_(cls, value: object) -> "DeliveryStatus":  # noqa: ARG003 - the enum's protocol
        return cls.UNKNOWN


@frozen
class Receipt:
    """
    The gateway's answer to a send (§2.2).

    Attributes:
        credit: Points left afterwards; below zero for an account that pays later.
        sent: Messages taken for sending.
        cost: Points taken.
        unsent: Recipients who got nothing, because the credit ran out.
        batch_id: Keep it: reports, replies and cancelling ask for it.
    """

    credit: Decimal
    sent: int
    cost: Decimal
    unsent: int
    batch_id: str

    @property
    def is_partial(self) -> bool:
        """Tell whether somebody got nothing for want of credit."""
        return self.unsent > 0

    @property
    def nothing_sent(self) -> bool:
        """Tell whether nobody got anything, although the gateway answered with a receipt."""
        return self.sent == 0


def _quiet_number(number: str) -> str:
    return repr(mask(number))


@frozen
class DeliveryReport:
    """
    What became of one message (§4.2).

    Attributes:
        reference: The `reference` given when sending, or the gateway's own number for it.
        name: The recipient's name as given when sending.
        mobile: In canonical form (``+8869…``).
        sent_at: When it went out, in Taipei time; None where the gateway does not say.
        cost: Points taken for it; None where the gateway does not say.
        code: The status as the gateway gave it; see `status`.
        real_cost: Points finally taken; None where the gateway does not say.
        received_at: When the phone got it, or the last word came; None where there is none yet.
    """

    reference: str
    name: str = field(repr=False)
    mobile: str = field(repr=_quiet_number)
    sent_at: datetime | None
    cost: Decimal | None
    code: int
    real_cost: Decimal | None = None
    received_at: datetime | None = None

    @property
    def status(self) -> DeliveryStatus:
        """Give the meaning of `code`; `UNKNOWN` for a code that the official text lacks."""
        return DeliveryStatus(self.code)

    @property
    def is_final(self) -> bool:
        """Tell whether the status will not change any more."""
        return self.code < 0 or (self.code >= DeliveryStatus.DELIVERED and self.code != _SCHEDULED)

    @property
    def is_delivered(self) -> bool:
        """Tell whether the phone has it; an MMS that was sent (700) gives no such proof."""
        return self.code in _ARRIVED


_SCHEDULED = DeliveryStatus.SCHEDULED.value
_ARRIVED = (DeliveryStatus.DELIVERED.value, DeliveryStatus.DELIVERED_LATE.value)


@frozen
class Cancellation:
    """
    The gateway's answer to a cancel (§5.1).

    Attributes:
        count: Messages that will not go out.
        refunded: Points given back.
    """

    count: int
    refunded: Decimal


@frozen
class Page(Generic[Row]):
    """
    One page of a query.

    Attributes:
        number: The page's number, from 1.
        total: Rows of the whole batch, as told with this page.
        rows: This page's rows.
    """

    number: int
    total: int
    rows: tuple[Row, ...]
