"""The values that go in and come out: frozen, typed, quiet about numbers and texts in reprs."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Generic, Literal, Self, TypeVar, cast

from attrs import field, frozen

from every8d_async._border import discreet
from every8d_async._codes import DeliveryStatus
from every8d_async._errors import InvalidRequest, mask

TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")
"""The gateway's time zone: UTC+8, no daylight saving."""

Row = TypeVar("Row")
PictureType = Literal["jpg", "jpeg", "png", "gif"]

_TAIWAN = re.compile(r"(?:\+?8860?|0)(9[0-9]{8})")
_FOREIGN = re.compile(r"\+(?!886)[1-9][0-9]{6,14}")
_USUAL = re.compile(r"(?:(?:\+886|0)9[0-9]{8}\n)*")


def canonical(text: str) -> str | None:
    """Give a mobile's canonical form, or None for what is no mobile."""
    bare = text.replace(" ", "").replace("-", "")
    if taiwan := _TAIWAN.fullmatch(bare):
        return f"+886{taiwan[1]}"
    return bare if _FOREIGN.fullmatch(bare) else None


def canonicals(texts: Sequence[str]) -> list[str] | None:
    """
    Give the canonical forms of many mobiles, or None where one of them is no mobile.

    Raises:
        TypeError: One of them is no text.
    """
    lines = "\n".join(texts) + "\n"
    # No text holds a line end of its own if there are no more of them than texts.
    if _USUAL.fullmatch(lines) and lines.count("\n") == len(texts):
        if lines.count("+") == len(texts):
            return [*texts]
        return [text if text[0] == "+" else f"+886{text[1:]}" for text in texts]
    found = [number for text in texts if (number := canonical(text)) is not None]
    return found if len(found) == len(texts) else None


@discreet
def mobile(text: str) -> str:
    """
    Give the canonical form of a mobile number, such as ``+886912345678``.

    It is what goes on the wire, and what a report's `mobile` is compared with. Spaces and hyphens
    are dropped; ``09…``, ``8869…``, ``88609…``, ``+8869…``, ``+88609…`` and ``+<country>…`` are
    understood.

    Raises:
        InvalidRequest: It is no mobile number; the message shows it masked.
    """
    given: object = text
    if not isinstance(given, str):
        raise InvalidRequest([f"a mobile number must be a text, not {type(given).__name__}"])
    found = canonical(given)
    if found is None:
        raise InvalidRequest([f"{mask(text)!r} is not a mobile number"])
    return found


# Values don't check themselves: a repr must not fail on what somebody took out of a spreadsheet.


def _quiet_number(number: object) -> str:
    return repr(mask(number)) if isinstance(number, str) else f"<{type(number).__name__}>"


def _quiet_numbers(numbers: Sequence[object]) -> str:
    return f"[{', '.join(map(_quiet_number, numbers))}]"


def _quiet_data(data: object) -> str:
    return f"<{len(data)} bytes>" if isinstance(data, bytes) else f"<{type(data).__name__}>"


class ResponseFormat(IntEnum):
    """How the gateway writes a page of rows (RESPFORMAT). JSON alone says everything, safely."""

    TAB = 0
    JSON = 1
    XML = 2


@frozen
class PersonalizedMessage:
    """
    One person's own text, for `send_personalized` and `send_bulk` (§2.3, §3.4).

    Nothing is checked here, but by the call that sends it.

    Attributes:
        mobile: In any spelling that `mobile` takes.
        text: What this person reads.
        name: Shown in the gateway's records; one line, without TABs.
        email: The gateway mails the text to this address as well.
        send_at: When to send, with a time zone; at once if None.
        reference: Your own key, unique in its request (MR); it comes back in the delivery report.
    """

    mobile: str = field(repr=_quiet_number)
    text: str = field(repr=False)
    name: str = field(default="", kw_only=True, repr=False)
    email: str = field(default="", kw_only=True, repr=False)
    send_at: datetime | None = field(default=None, kw_only=True)
    reference: str = field(default="", kw_only=True)


@frozen
class TemplateRecipient:
    """
    One person's fields for a template, for `send_template` and `send_bulk` (§2.4, §3.5).

    Nothing is checked here, but by the call that sends it.

    Attributes:
        mobile: In any spelling that `mobile` takes.
        fields: What stands for ``%field1%`` to ``%field5%``; none may hold ``|``.
        name: Shown in the gateway's records; one line, without TABs.
        email: The gateway mails the text to this address as well.
        send_at: When to send, with a time zone; at once if None.
        reference: Your own key, unique in its request (MR); it comes back in the delivery report.
    """

    mobile: str = field(repr=_quiet_number)
    fields: Sequence[str] = field(repr=False)
    name: str = field(default="", kw_only=True, repr=False)
    email: str = field(default="", kw_only=True, repr=False)
    send_at: datetime | None = field(default=None, kw_only=True)
    reference: str = field(default="", kw_only=True)


@frozen
class Attachment:
    """
    An MMS's picture (§3.1): ``jpg``, ``jpeg``, ``png`` or ``gif``.

    Picture and text may have 300 KB together. Nothing is checked here, but by the call that sends
    it, which also compares the type with the data's own signature.

    Attributes:
        data: The file's bytes.
        type: ``jpg``, ``jpeg``, ``png`` or ``gif``.
    """

    data: bytes = field(repr=_quiet_data)
    type: PictureType

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """
        Read a picture from a file; its name's ending is its type.

        Raises:
            OSError: The file can't be read.
        """
        file = Path(path)
        kind = file.suffix.removeprefix(".").lower()
        return cls(file.read_bytes(), cast("PictureType", kind))


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


@frozen
class FilteredReceipt:
    """
    The gateway's answer to a filtered send (§2.5).

    Attributes:
        credit: Points left afterwards; None after a dry run, which does not tell.
        sent: Messages taken for sending; 0 after a dry run.
        cost: Points taken.
        unsent: Recipients who got nothing, because the credit ran out.
        batch_id: As in `Receipt`; empty after a dry run, and where everybody was filtered.
        filtered: The mobiles that had the same text in the last 24 hours, in canonical form; they
            got nothing now.
        filtered_batch_ids: The batches that had sent it to them; they need not pair with
            `filtered`.
    """

    credit: Decimal | None
    sent: int
    cost: Decimal
    unsent: int
    batch_id: str
    filtered: tuple[str, ...] = field(default=(), repr=_quiet_numbers)
    filtered_batch_ids: tuple[str, ...] = ()

    @property
    def is_partial(self) -> bool:
        """Tell whether somebody got nothing for want of credit."""
        return self.unsent > 0

    @property
    def nothing_sent(self) -> bool:
        """Tell whether nobody got anything now, although the gateway answered with a receipt."""
        return self.sent == 0


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
class Reply:
    """
    A text that somebody answered with (§4.3).

    Attributes:
        name: The recipient's name as given when sending.
        mobile: In canonical form (``+8869…``).
        text: What they wrote.
        received_at: When it came in, in Taipei time; None where the gateway does not say.
    """

    name: str = field(repr=False)
    mobile: str = field(repr=_quiet_number)
    text: str = field(repr=False)
    received_at: datetime | None = None


@frozen
class Estimate:
    """
    What a send will probably cost: an estimate by known rules, not the gateway's promise.

    Attributes:
        units: UTF-16 units of a text with anything beyond ASCII, characters of a plain one, bytes
            of an MMS.
        segments: Messages that each recipient's phone gets it in.
        points: Points for all recipients together.
    """

    units: int
    segments: int
    points: Decimal


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
