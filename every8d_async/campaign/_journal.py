"""
What a campaign needs of the place where it is written down; SQLite's is `SqliteJournal`.

Every method is one transaction: done and durable when it returns, or not done at all, also where
its caller is cancelled. Nobody but the owner that a row names may change it while it is under way.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

from attrs import field, frozen

from every8d_async._models import DeliveryReport
from every8d_async.campaign._values import Batch, CampaignStatus, Evidence, State

Kind = Literal["personalized", "template", "text", "filtered"]


@frozen
class Form:
    """
    What all recipients of some batches share, checked and ready for the wire.

    Attributes:
        kind: How they are sent.
        text: The text or template; empty where each has their own.
        subject: SB, without the intent code.
        minutes: RETRYTIME, in minutes.
        event_id: EventID, or None.
        send_at: ST of one text for many, 14 digits in Taipei; empty for at once.
        send_before: When a batch may not go out any more, or None.
    """

    kind: Kind
    text: str = field(repr=False)
    subject: str = field(repr=False)
    minutes: int
    event_id: str | None
    send_at: str
    send_before: datetime | None


class Entry(NamedTuple):
    """One recipient to plan: the digest of the key, the row's texts, the estimated points."""

    key: bytes
    row: Sequence[str]
    points: int


@frozen
class Group:
    """
    Entries that go out in one request, or one that can't.

    Attributes:
        entries: What it holds.
        problem: Why it can't go out, in words; empty where it can.
    """

    entries: Sequence[Entry] = field(repr=False)
    problem: str = ""


@frozen
class Limits:
    """
    Where claiming stops; all that was ever claimed and not proved unsent counts.

    Attributes:
        max_points: The most points, by our estimate, or None.
        max_recipients: The most recipients, or None.
    """

    max_points: Decimal | None = None
    max_recipients: int | None = None


@frozen
class Claim:
    """
    What came of claiming.

    Attributes:
        batch: The batch that was claimed, or None.
        crossed: Which limit it would have crossed, in words, or an empty text.
    """

    batch: Batch | None
    crossed: str = ""


class Journal(Protocol):
    """
    A campaign's journal; it never talks to the gateway.

    Attributes:
        name: A short text of letters and digits, the same for ever; intent codes begin with it.
        owner: Who this opening is; another one for each.
        began: When it was made: what may be planned must not change with the time, or who was
            planned once would be refused later.
    """

    name: str
    owner: str
    began: datetime

    async def open(self, account: str, now: datetime) -> None:
        """
        Open it, make it if it is not there, and bind it to an account.

        Raises:
            JournalError: It can't be used: newer, of another account, or no journal.
        """
        ...

    async def aclose(self) -> None:
        """Close it; whoever looks from now on sees that this owner is gone."""
        ...

    async def add(self, form: Form, groups: Sequence[Group], now: datetime) -> int:
        """
        Plan what has a new key; give how many that were.

        Args:
            form: What all of them share.
            groups: Each is a batch of its own.
            now: The time to put down.

        Raises:
            JournalError: Keys were purged, so nobody knows any more which are new.
        """
        ...

    async def form(self, form: int) -> Form:
        """Give what the recipients of some batches share."""
        ...

    async def payload(self, batch: int) -> str:
        """Give a batch's rows as a JSON list; an empty text once it was purged."""
        ...

    async def get(self, batch: int) -> Batch | None:
        """Give a batch as it stands."""
        ...

    async def page(self, states: Collection[State], after: int, size: int) -> list[Batch]:
        """
        Give the next batches in some states, by id.

        Args:
            states: The states.
            after: The id that they come after, from 0.
            size: How many batches at most.
        """
        ...

    async def claim(self, after: int, limits: Limits, now: datetime) -> Claim:
        """
        Take the next planned batch for this owner, in a new epoch.

        Args:
            after: The id that it comes after, from 0.
            limits: Where to stop.
            now: The time to put down.
        """
        ...

    async def move(self, before: Batch, after: Batch, note: str, now: datetime) -> bool:
        """
        Write a batch anew if its (id, state, owner, epoch) are still those of `before`.

        A note that is not empty becomes evidence in the same transaction. False: nothing was done.

        Args:
            before: The batch as it was read.
            after: The batch as it is to stand.
            note: What was learned, in words.
            now: The time to put down for the note.
        """
        ...

    async def note(self, batch: int, note: str, now: datetime) -> None:
        """
        Keep a piece of evidence; it changes no state.

        Args:
            batch: The batch's number.
            note: What was learned, in words.
            now: The time to put down.
        """
        ...

    async def notes(self, batch: int) -> list[Evidence]:
        """Give the evidence on a batch, in order."""
        ...

    async def recover(self, active: Collection[int], now: datetime) -> int:
        """
        Take back what nobody has any more; give how many batches that were.

        Claimed becomes planned, on the wire becomes unknown, for owners that are gone and for this
        owner's own batches that are not among the active ones.
        """
        ...

    async def status(self) -> CampaignStatus:
        """Count recipients by state."""
        ...

    async def unreported(self, after: int, size: int) -> list[Batch]:
        """Give the next accepted batches whose reports are not complete, by id; none purged."""
        ...

    async def keep_reports(
        self, batch: int, reports: Sequence[tuple[str, DeliveryReport]], *, complete: bool
    ) -> None:
        """
        Keep reports under a name each; a later one takes the place of an earlier.

        Args:
            batch: The batch's number.
            reports: Names and reports.
            complete: Whether all are there and final, so that nobody asks again.
        """
        ...

    async def reports(self, batch: int) -> list[DeliveryReport]:
        """Give the reports kept of a batch."""
        ...

    async def purge(self, before: datetime, now: datetime) -> int:
        """Remove the personal data of batches that ended before a time; give how many."""
        ...
