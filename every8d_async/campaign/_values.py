"""What a campaign tells: its batches and their states, counts, evidence; no secrets in them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from attrs import evolve, field, frozen

from every8d_async._bulk import NotAttempted
from every8d_async._bulk import State as Ending
from every8d_async._errors import Every8DError
from every8d_async._models import FilteredReceipt, Receipt

Clock = Callable[[], datetime]


class State(StrEnum):
    """
    Where a batch stands; each recipient is in exactly one batch, so in exactly one state.

    ::

        planned → claimed → on_wire → accepted | refused | unknown
        claimed → planned               when its owner is gone, or nothing left
        claimed → not_sent              when `send_before` has passed
        on_wire → planned               only with the proof that nothing left
        on_wire → unknown               when its owner is gone; no timer ever makes it planned
        unknown → accepted | not_sent   by evidence, or by a person's word
        unknown → on_wire               a repeat through the filter, where that is safe
        refused, not_sent → planned     by a person's word
        not_sent, planned → accepted    by evidence against a person's word
    """

    PLANNED = "planned"
    CLAIMED = "claimed"
    ON_WIRE = "on_wire"
    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


UNDER_WAY = (State.CLAIMED, State.ON_WIRE)
SPENT = (State.CLAIMED, State.ON_WIRE, State.ACCEPTED, State.UNKNOWN)
DOUBTFUL = (State.UNKNOWN, State.NOT_SENT, State.PLANNED)  # once a try may have been taken
ENDED = (State.ACCEPTED, State.REFUSED, State.NOT_SENT)


class JournalError(Every8DError):
    """The journal can't be used as it is: another account's, newer, or no journal at all."""


class ClaimLost(NotAttempted):
    """Another worker has the batch, or its state has changed; nothing was sent by this call."""


class TooLate(NotAttempted):
    """The batch may not go out any more: `send_before`, or the filter's memory; nothing left."""


@frozen
class Batch:
    """
    One request of a campaign: what it holds, and where it stands.

    Attributes:
        id: Its number in the campaign, from 1.
        form: The number of what its recipients share.
        state: Where it stands.
        owner: Who has it, while it is claimed or on the wire.
        epoch: How many times it was taken; an older epoch can't change it.
        recipients: How many recipients it holds.
        points: What it will probably cost, in points, by our estimate.
        since: When it came into its state.
        wired_at: When the first try that may have been taken was put down as leaving, or None.
        batch_ids: The gateway's ids for it; a repeat through the filter can leave it with several.
        code: The gateway's code for a refusal, or None.
        cause: Why it stands where it stands, in words; empty where there is nothing to say.
        sent: Messages that the gateway took, as far as it told.
        cost: Points that it took, as far as it told.
        unsent: Of an accepted batch: got nothing, for want of credit.
        filtered: Of an accepted batch: left out by the filter in the last try, since they had the
            text; after a repeat these are mostly those whom the first try reached.
    """

    id: int
    form: int
    state: State
    owner: str
    epoch: int
    recipients: int
    points: int
    since: datetime
    wired_at: datetime | None = None
    batch_ids: tuple[str, ...] = ()
    code: int | None = None
    cause: str = ""
    sent: int = 0
    cost: Decimal = Decimal(0)
    unsent: int = 0
    filtered: int = 0


def is_time(value: object, least: timedelta) -> bool:
    """Tell whether something is a time of so long at least."""
    return isinstance(value, timedelta) and value >= least


def claimed(batch: Batch, owner: str, now: datetime) -> Batch:
    """Give a planned batch to an owner, in a new epoch."""
    return evolve(
        batch, state=State.CLAIMED, owner=owner, epoch=batch.epoch + 1, since=now, cause=""
    )


def abandoned(batch: Batch, now: datetime) -> Batch:
    """Take a batch from an owner that is gone."""
    if batch.state is State.CLAIMED:
        return evolve(batch, state=State.PLANNED, owner="", since=now)
    # It may have left: no timer, and nobody's absence, ever makes it planned again.
    cause = "its owner was gone before an answer was written down"
    return evolve(batch, state=State.UNKNOWN, owner="", since=now, cause=cause)


@frozen
class Person:
    """
    One recipient of a batch.

    Attributes:
        mobile: Whom it is for, in canonical form.
        reference: The caller's own key, or an empty text.
    """

    mobile: str = field(repr=False)
    reference: str = ""


@frozen
class Evidence:
    """
    One thing that was learned of a batch.

    Attributes:
        at: When it was learned.
        text: What, in words; it names no person.
    """

    at: datetime
    text: str


@frozen
class Planned:
    """
    What a call of `Campaign.plan` did, in recipients.

    Attributes:
        planned: Put down for sending.
        repeated: Passed over, since their key was planned before.
        refused: Can't be sent as they are; each is a refused batch of its own.
    """

    planned: int = 0
    repeated: int = 0
    refused: int = 0


@frozen
class CampaignStatus:
    """
    How many recipients are in which state; the seven states add up to `total`.

    Attributes:
        planned: To be sent by a run.
        claimed: A run has their batch, and nothing of it has left.
        on_wire: Their batch is leaving, or its answer is waited for.
        accepted: A sound receipt came, or evidence that their batch was taken.
        refused: Their message can't be sent.
        not_sent: Certainly not sent, and no run sends them by itself.
        unknown: Nobody knows; see `Campaign.reconcile`.
        cost: Points taken, as far as receipts told.
        unsent: Of `accepted`: got nothing, for want of credit.
        filtered: Of `accepted`: left out by the filter, since they had the text.
    """

    planned: int = 0
    claimed: int = 0
    on_wire: int = 0
    accepted: int = 0
    refused: int = 0
    not_sent: int = 0
    unknown: int = 0
    cost: Decimal = Decimal(0)
    unsent: int = 0
    filtered: int = 0

    @property
    def total(self) -> int:
        """Count all recipients that were ever planned, the refused among them."""
        return (
            self.planned
            + self.claimed
            + self.on_wire
            + self.accepted
            + self.refused
            + self.not_sent
            + self.unknown
        )


@frozen
class CampaignOutcome:
    """
    What became of one batch in a run.

    Attributes:
        batch: The batch as it stands now; one that certainly was not sent is planned again.
        state: ``accepted``, ``refused``, ``not_sent`` or ``unknown``, as of a `BatchOutcome`.
        receipt: The gateway's answer, if it was accepted.
        error: Why it was not, else None.
    """

    batch: Batch
    state: Ending
    receipt: Receipt | FilteredReceipt | None = None
    error: Every8DError | None = None


@frozen
class Left:
    """
    A batch that stays unknown after `Campaign.reconcile`.

    Attributes:
        batch: The batch as it stands.
        why: Why nothing more can be learned now, in words.
    """

    batch: Batch
    why: str


@frozen
class Reconciled:
    """
    What `Campaign.reconcile` found out, in batches.

    Attributes:
        accepted: Now known to have been taken, or sent to the rest through the filter.
        not_sent: Now known not to have gone out.
        left: Still unknown, each with the reason.
    """

    accepted: int = 0
    not_sent: int = 0
    left: tuple[Left, ...] = ()


@frozen
class Reported:
    """
    What `Campaign.reports` fetched.

    Attributes:
        batches: Whose reports were asked for.
        rows: Reports kept, new and renewed.
        pending: Batches that still have a report missing, or one that is not final.
    """

    batches: int = 0
    rows: int = 0
    pending: int = 0
