"""What the gateway pushes, as values: frozen, quiet about numbers, texts and names in reprs."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal

from attrs import field, frozen

from every8d_async._codes import DeliveryStatus
from every8d_async._errors import mask
from every8d_async._models import DeliveryReport


class InvalidReport(ValueError):
    """
    It is no push report; what makes it none is listed.

    It is no error of a call, so it stands outside of `Every8DError`.

    Attributes:
        problems: Every problem found, by the wire's own names; values are masked.
    """

    problems: tuple[str, ...]

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("not a push report: " + "; ".join(self.problems))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems,)


def _quiet_number(number: str) -> str:
    return repr(mask(number))


def _key(*parts: str) -> str:
    # JSON keeps the parts apart whatever is in them. The number can't be read off the digest.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


@frozen(kw_only=True)
class _Pushed:
    batch_id: str
    mobile: str = field(repr=_quiet_number)
    text: str = field(default="", repr=False)
    reference: str = ""
    sent_at: datetime | None = None
    received_at: datetime | None = None
    subject: str = field(default="", repr=False)
    name: str = field(default="", repr=False)
    source: str = ""
    charge: Decimal | None = None
    kind: str = ""
    message_id: str = ""
    extra: Mapping[str, str] = field(factory=dict[str, str], repr=False, hash=False)


@frozen(kw_only=True)
class PushedReport(_Pushed):
    """
    What became of one message, as the gateway told it of its own accord (§6).

    Anybody who knows the path could have made it up: see `confirm`. It may come again, and reports
    of one message may come out of order.

    Attributes:
        batch_id: The batch (BatchID), as in the receipt.
        mobile: In canonical form where it is a mobile number (RM).
        code: The status as the gateway gave it; see `status`.
        text: The message's text (SM).
        reference: The `reference` given when sending, or the gateway's own number for it (MR).
        sent_at: When it went out, in Taipei time (ST).
        received_at: When it was reported, in Taipei time (RT).
        subject: The subject given when sending, which phones don't show for SMS (SUBJECT).
        name: The recipient's name as given when sending.
        source: What the message was sent by, where the gateway says so.
        charge: Points, where the gateway says so.
        kind: ``SMS``, ``MMS`` or empty (TYPE).
        message_id: MSGID, where the gateway says so.
        extra: What the official text does not list, by the names it came under.
    """

    code: int

    @property
    def key(self) -> str:
        """
        Give what is the same each time this report comes: keep it as a unique key.

        Batch, mobile, reference and status go into it. The time of reporting does not, since
        nobody knows whether a second try carries the first one's.
        """
        return _key("report", self.batch_id, self.mobile, self.reference, str(self.code))

    @property
    def status(self) -> DeliveryStatus:
        """Give the meaning of `code`; `UNKNOWN` for a code that the official text lacks."""
        return DeliveryStatus(self.code)

    @property
    def is_final(self) -> bool:
        """Tell whether the status will not change any more."""
        return self._as_row().is_final

    @property
    def is_delivered(self) -> bool:
        """Tell whether the phone has it; an MMS that was sent (700) gives no such proof."""
        return self._as_row().is_delivered

    def _as_row(self) -> DeliveryReport:
        return DeliveryReport(
            reference=self.reference,
            name=self.name,
            mobile=self.mobile,
            sent_at=self.sent_at,
            cost=None,
            code=self.code,
        )


@frozen(kw_only=True)
class PushedReply(_Pushed):
    """
    A text that somebody answered with, as the gateway told it of its own accord (§6, STATUS 999).

    Anybody who knows the path could have made it up: see `confirm`. It may come again.

    Attributes:
        batch_id: The batch that was answered to (BatchID).
        mobile: Who wrote, in canonical form where it is a mobile number (RM).
        text: What they wrote (SM).
        reference: The answered message's `reference`, or the gateway's own number for it (MR).
        sent_at: When the answered message went out, in Taipei time (ST).
        received_at: When the reply came in, in Taipei time (RT).
        subject: The subject given when sending (SUBJECT).
        name: The recipient's name as given when sending.
        source: What the message was sent by, where the gateway says so.
        charge: Points, where the gateway says so.
        kind: ``SMS``, ``MMS`` or empty (TYPE).
        message_id: MSGID, where the gateway says so.
        extra: What the official text does not list, by the names it came under.
    """

    @property
    def code(self) -> int:
        """Give the status that marks a reply: 999."""
        return DeliveryStatus.REPLY.value

    @property
    def key(self) -> str:
        """
        Give what is the same each time this reply comes: keep it as a unique key.

        Batch, mobile, reference, time and text go into it: people do write the same twice.
        """
        at = self.received_at.isoformat() if self.received_at else ""
        return _key("reply", self.batch_id, self.mobile, self.reference, at, self.text)
