"""
One batch's way through its states: the one place that sends, and that judges what it means.

``run_batch`` may be called any number of times, by any worker, for any batch: it sends what is
planned, and of anything else it only tells how it stands.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Protocol

import anyio
from attrs import evolve

from every8d_async._bulk import _state_of as state_of
from every8d_async._endpoints import Endpoint
from every8d_async._errors import (
    Every8DError,
    GatewayRefused,
    InvalidRequest,
    OutcomeUnknown,
)
from every8d_async._models import FilteredReceipt, Receipt
from every8d_async.campaign._forms import ENDPOINTS, intent, people, request
from every8d_async.campaign._journal import Claim, Form, Journal, Limits
from every8d_async.campaign._values import (
    Batch,
    ClaimLost,
    Clock,
    Person,
    State,
    TooLate,
    claimed,
)

_LOG = logging.getLogger("every8d_async")

AnyReceipt = Receipt | FilteredReceipt

# The filter forgets after 24 hours; whom it forgot would be sent to twice.
FILTER_MEMORY = timedelta(hours=23)
_CUT = "the call was cut before an answer came"


class Call(Protocol):
    """The session's way to the gateway; `leaving` is waited for before the first byte."""

    async def __call__(
        self,
        endpoint: Endpoint[Any, Any],
        args: Any,
        *,
        leaving: Callable[[], Awaitable[None]] | None = None,
    ) -> Any:
        """Make the call, or raise what `_errors` says."""
        ...


class Worker:
    """
    Sends batches of one journal through one session.

    Attributes:
        active: The batches that this worker has under way, and how many of its tasks hold each;
            whatever else stands under its name was left behind by a task that is no more.
    """

    def __init__(self, journal: Journal, call: Call, clock: Clock) -> None:
        self.journal = journal
        self.call = call
        self.clock = clock
        self.active: Counter[int] = Counter()
        self._forms: dict[int, Form] = {}
        self._looking = anyio.Lock()

    async def recover(self) -> int:
        """Take back what owners that are gone have left under way."""
        async with self._looking:
            return await self.journal.recover(self.active, self.clock())

    async def claim(self, after: int, limits: Limits) -> Claim:
        """Take the next planned batch, and hold it until `let_go`."""
        # Nobody may look between the two: it would seem to be left behind.
        async with self._looking:
            claim = await self.journal.claim(after, limits, self.clock())
            if claim.batch is not None:
                self.active[claim.batch.id] += 1
            return claim

    def let_go(self, number: int) -> None:
        """Give up one hold on a batch."""
        self.active[number] -= 1
        if self.active[number] < 1:
            del self.active[number]

    @contextmanager
    def _holding(self, number: int) -> Generator[None]:
        self.active[number] += 1
        try:
            yield
        finally:
            self.let_go(number)

    async def form(self, number: int) -> Form:
        """Give what a batch's recipients share."""
        if number not in self._forms:
            self._forms[number] = await self.journal.form(number)
        return self._forms[number]

    async def request(self, batch: Batch) -> Any:
        """Rebuild a batch's request from what was kept."""
        payload = await self.journal.payload(batch.id)
        return request(await self.form(batch.form), payload, self.intent(batch))

    async def people(self, batch: Batch) -> list[Person]:
        """Read for whom a batch is."""
        payload = await self.journal.payload(batch.id)
        return people(await self.form(batch.form), payload) if payload else []

    def intent(self, batch: Batch) -> str:
        """Write the intent code of a batch."""
        return intent(self.journal.name, batch.id)

    async def run_batch(self, number: int) -> Batch:
        """
        Send a batch if it is planned; give it as it stands then.

        Raises:
            InvalidRequest: There is no such batch.
        """
        if number not in self.active:
            await self.recover()
            batch = await self.get(number)
            if batch.state is State.PLANNED:
                await self._send(batch)
        return await self.get(number)

    async def get(self, number: int) -> Batch:
        """Give a batch as it stands, or raise `InvalidRequest`."""
        batch = await self.journal.get(number)
        if batch is None:
            raise InvalidRequest([f"batch: there is no number {number!r} in this campaign"])
        return batch

    async def _send(self, batch: Batch) -> None:
        taken = claimed(batch, self.journal.owner, self.clock())
        with self._holding(batch.id):
            if await self.journal.move(batch, taken, "", self.clock()):
                try:
                    await self.attempt(taken)
                except Every8DError as error:
                    _LOG.info("batch %d: %s", batch.id, type(error).__name__)

    async def attempt(self, batch: Batch) -> AnyReceipt:
        """
        Send a batch once, and write down what became of it.

        It is claimed by this worker, or unknown, filtered from the start, and settled.

        Raises:
            Every8DError: Why it was not accepted; the journal knows.
        """
        with self._holding(batch.id):
            attempt = _Attempt(self, batch, await self.form(batch.form))
            return await attempt.run(await self.request(batch))


class _Attempt:
    """One try to send one batch; `now` is the batch as this try last wrote it."""

    def __init__(self, worker: Worker, batch: Batch, form: Form) -> None:
        self._worker = worker
        self._journal = worker.journal
        self._clock = worker.clock
        self._form = form
        self._before = batch
        self._now = batch

    async def run(self, message: Any) -> AnyReceipt:
        endpoint = ENDPOINTS[self._form.kind]
        try:
            receipt: AnyReceipt = await self._worker.call(
                endpoint, message, leaving=self._put_on_wire
            )
        except ClaimLost:
            raise  # it is another's to write
        except Every8DError as error:
            await self._write(*self._judge(error))
            raise
        except BaseException:
            # Whatever ends this without an answer leaves in doubt what had left.
            with anyio.CancelScope(shield=True):
                await self._write(*self._judge_cut())
            raise
        await self._write(self._accepted(receipt), "")
        return receipt

    async def _put_on_wire(self) -> None:
        """Commit that the batch is leaving; login, rate limit and connection are there."""
        now = self._clock()
        self._check_time()
        if self._now.state is State.ON_WIRE:
            return  # a second try within one call: nothing of the first was taken
        wired = evolve(
            self._now,
            state=State.ON_WIRE,
            owner=self._journal.owner,
            # A claim has begun an epoch; a repeat begins its own, so that nobody else repeats it.
            epoch=self._before.epoch + self._repeats,
            since=now,
            wired_at=self._before.wired_at or now,
        )
        note = "goes out once more, through the filter" if self._repeats else ""
        if not await self._journal.move(self._now, wired, note, now):
            raise ClaimLost("another worker has the batch. Nothing was sent by this call.")
        self._now = wired

    @property
    def _repeats(self) -> bool:
        return self._before.state is State.UNKNOWN

    def _check_time(self) -> None:
        now, until = self._clock(), self._form.send_before
        if until is not None and now >= until:
            raise TooLate("send_before has passed. Nothing was sent.")
        first = self._before.wired_at
        if self._repeats and (first is None or not is_remembered(first, now)):
            raise TooLate("the filter may have forgotten the first try. Nothing was sent.")

    def _accepted(self, receipt: AnyReceipt) -> Batch:
        filtered = receipt.filtered if isinstance(receipt, FilteredReceipt) else ()
        others = receipt.filtered_batch_ids if isinstance(receipt, FilteredReceipt) else ()
        ids = (*self._before.batch_ids, receipt.batch_id, *others)
        return evolve(
            self._now,
            state=State.ACCEPTED,
            owner="",
            since=self._clock(),
            batch_ids=tuple(dict.fromkeys(filter(None, ids))),
            sent=receipt.sent,
            cost=receipt.cost,
            unsent=receipt.unsent,
            filtered=len(filtered),
            cause="",
        )

    def _judge(self, error: Every8DError) -> tuple[Batch, str]:
        name = type(error).__name__
        if isinstance(error, OutcomeUnknown):
            cause = f"{error.cause} in phase {error.phase}"
            return self._unknown(cause), f"the outcome is unknown: {cause}"
        if self._repeats:
            # This try proves nothing of the first one.
            return self._as_before(), f"the repeat was not sent: {name}"
        if isinstance(error, TooLate):
            return self._ended(State.NOT_SENT, "send_before had passed"), "send_before had passed"
        if state_of(error) == "refused":
            code = error.code if isinstance(error, GatewayRefused) else None
            refused = self._ended(State.REFUSED, f"refused with code {code}")
            return evolve(refused, code=code), f"the gateway refused it with code {code}"
        # The proof that nothing left, or that nothing was taken: it may go out another time.
        return self._ended(State.PLANNED, f"not sent: {name}"), f"not sent: {name}"

    def _judge_cut(self) -> tuple[Batch, str]:
        if self._now.state is State.ON_WIRE:
            return self._unknown(_CUT), _CUT
        if self._repeats:
            return self._as_before(), "the repeat was cut before it left"
        return self._ended(State.PLANNED, ""), ""

    def _unknown(self, cause: str) -> Batch:
        return evolve(self._now, state=State.UNKNOWN, owner="", since=self._clock(), cause=cause)

    def _as_before(self) -> Batch:
        """Leave the doubt as it was, with the time since when there is quiet."""
        return evolve(self._before, epoch=self._now.epoch)

    def _ended(self, state: State, cause: str) -> Batch:
        """End a try of which nothing was taken: it did not begin the filter's memory."""
        return evolve(
            self._now,
            state=state,
            owner="",
            since=self._clock(),
            wired_at=self._before.wired_at,
            cause=cause,
        )

    async def _write(self, after: Batch, note: str) -> None:
        now = self._clock()
        if not await self._journal.move(self._now, after, note, now):
            # Somebody changed it meanwhile: what was learned is kept, what they decided stands.
            _LOG.warning("batch %d was changed by another; it stays so", after.id)
            ids = f" as {', '.join(after.batch_ids)}" if after.batch_ids else ""
            late = f"came too late to be written: {after.state}{ids} {note}".strip()
            await self._journal.note(after.id, late, now)


def is_remembered(first: datetime, now: datetime) -> bool:
    """Tell whether the filter surely knows what first left then; not if the clock went back."""
    return timedelta(0) <= now - first < FILTER_MEMORY
