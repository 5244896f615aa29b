"""
Sending to very many, streamed: read as it is needed, a bounded number of requests at once.

A run is given its chunks' making and its sending; it knows nothing of the wire. Planning is pure
(`Chunker`), running uses one task group that lives as long as the caller's block. A failed batch is
a row. A bug, the source's own exception among them, travels as data and is raised to the caller
once nothing is in flight, so that it can't cut sends of unknown outcome.
"""

import logging
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Iterator,
)
from decimal import Decimal
from inspect import isasyncgen, isgenerator
from itertools import islice
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast

import anyio
from anyio.abc import TaskGroup  # noqa: TC002 - it names a field's type
from attrs import define, field, frozen

from every8d_async._errors import (
    AccessBlocked,
    AuthenticationFailed,
    Every8DError,
    GatewayRefused,
    InvalidRequest,
    SessionMisuse,
)
from every8d_async._models import FilteredReceipt, Receipt

Item = TypeVar("Item")
Ready = TypeVar("Ready")

State = Literal["accepted", "refused", "not_sent", "unknown"]

_LOG = logging.getLogger("every8d_async")
_PATIENCE = 5  # batches in a row that fail for a cause not their own


@frozen
class BatchOutcome(Generic[Item]):
    """
    What became of one batch of a bulk run.

    Attributes:
        index: The batch's number in this run, from 0; input that can't be sent is a batch of one.
        messages: What was in it, as given (for a broadcast, the mobiles).
        state: ``accepted`` (a sound receipt came), ``refused`` (these messages can't be sent),
            ``not_sent`` (certainly not, for a cause not their own) or ``unknown``.
        receipt: The gateway's answer, if it was accepted.
        error: Why it was not, else None.
    """

    index: int
    messages: tuple[Item, ...] = field(repr=False)
    state: State
    receipt: Receipt | FilteredReceipt | None = None
    error: Every8DError | None = None


@frozen
class BulkSummary:
    """
    What became of all recipients that were read; the first five add up to them at every moment.

    Attributes:
        accepted: In batches for which a sound receipt came.
        refused: Whose message can't be sent, by our checks or by the gateway's.
        not_sent: In batches that certainly did not go out.
        unknown: In batches of which nobody knows.
        not_attempted: Without an outcome: not begun, or, while the run goes on, under way.
        cost: Points taken.
        unsent: Of `accepted`: got nothing, for want of credit.
        filtered: Of `accepted`: got nothing, because they had the same text in the last 24 hours.
    """

    accepted: int = 0
    refused: int = 0
    not_sent: int = 0
    unknown: int = 0
    not_attempted: int = 0
    cost: Decimal = Decimal(0)
    unsent: int = 0
    filtered: int = 0


@define
class _Tally:
    read: int = 0
    states: dict[State, int] = field(
        factory=lambda: {"accepted": 0, "refused": 0, "not_sent": 0, "unknown": 0}
    )
    cost: Decimal = Decimal(0)
    unsent: int = 0
    filtered: int = 0

    def count(self, outcome: BatchOutcome[Item]) -> None:
        self.states[outcome.state] += len(outcome.messages)
        if (receipt := outcome.receipt) is not None:
            self.cost += receipt.cost
            self.unsent += receipt.unsent
            if isinstance(receipt, FilteredReceipt):
                self.filtered += len(receipt.filtered)

    def summary(self) -> BulkSummary:
        return BulkSummary(
            **self.states,
            not_attempted=self.read - sum(self.states.values()),
            cost=self.cost,
            unsent=self.unsent,
            filtered=self.filtered,
        )


@frozen
class Checked(Generic[Ready]):
    """What an item becomes on the wire; `key` may stand once in a request."""

    ready: Ready
    key: Hashable | None


@frozen
class Chunk(Generic[Item, Ready]):
    """Items that go out in one request, or one that can't go out at all."""

    items: tuple[Item, ...]
    ready: tuple[Ready, ...] = ()
    error: InvalidRequest | None = None


@define
class Chunker(Generic[Item, Ready]):
    """Groups items as they come; a key that is there already closes the group early."""

    size: int
    _items: list[Item] = field(factory=list, init=False)
    _ready: list[Ready] = field(factory=list, init=False)
    _keys: set[Hashable] = field(factory=set, init=False)

    def add(
        self, checked: Checked[Ready] | InvalidRequest, item: Item
    ) -> Iterator[Chunk[Item, Ready]]:
        """Take an item; give the chunks that became complete by it."""
        if isinstance(checked, InvalidRequest):
            yield Chunk((item,), error=checked)
            return
        if checked.key is not None and checked.key in self._keys:
            yield from self.rest()
        self._items.append(item)
        self._ready.append(checked.ready)
        if checked.key is not None:
            self._keys.add(checked.key)
        if len(self._items) == self.size:
            yield from self.rest()

    def rest(self) -> Iterator[Chunk[Item, Ready]]:
        """Give what has gathered, if anything."""
        if self._items:
            chunk = Chunk(tuple(self._items), tuple(self._ready))
            self._items, self._ready, self._keys = [], [], set()
            yield chunk


@frozen
class Plan(Generic[Item, Ready]):
    """
    How a run treats its items.

    Attributes:
        check: An item and its position as what goes on the wire, or why it can't.
        send: Sends a group.
        points: What a group will probably cost; asked only where `max_points` is set.
        batch_size: The most items in a request.
        max_in_flight: The most requests at once.
        max_points: Where to stop, by the estimate.
        max_recipients: Where to stop.
        progress: Hears after each batch.
    """

    check: Callable[[Item, int], Checked[Ready] | InvalidRequest]
    send: Callable[[tuple[Ready, ...]], Awaitable[Receipt | FilteredReceipt]]
    points: Callable[[tuple[Ready, ...]], Decimal]
    batch_size: int
    max_in_flight: int
    max_points: Decimal | None
    max_recipients: int | None
    progress: Callable[[BulkSummary], None] | None


class BulkRun(Generic[Item]):
    """
    A bulk send under way; enter it, and iterate over its batches as they finish.

    ::

        async with session.sms.send_bulk(messages) as run:
            async for outcome in run: ...
        print(run.summary)

    Work starts with the first step of the iteration, and goes on only as outcomes are taken, so
    memory is bounded by `max_in_flight` + 1 batches. After five batches in a row that failed for a
    cause not their own, or at once for a refused login, a firewall or credit gone, the iteration
    ends with `paused` true; `resume` and iterate again to go on.

    Leaving the block early stops reading and waits for what is in flight. Cancellation cuts what is
    in flight and counts it unknown. What the source or the block raises comes out as itself.

    Attributes:
        paused: Whether the iteration ended, or is about to, before the source did.
        pause_reason: Why, in words; empty while it is not paused.
    """

    def __init__(self, source: Iterable[Item] | AsyncIterable[Item], plan: Plan[Item, Any]) -> None:
        self.paused = False
        self.pause_reason = ""
        self._source = source
        self._plan = plan
        self._tally = _Tally()
        self._group: TaskGroup | None = None
        self._feeding: anyio.CancelScope | None = None
        self._room = anyio.Semaphore(plan.max_in_flight)
        self._going = anyio.Event()
        self._news = anyio.Event()
        self._outcomes: deque[BatchOutcome[Item]] = deque()
        self._in_flight = 0
        self._launched = 0
        self._failed_in_row = 0
        self._points = Decimal(0)
        self._people = 0
        self._exhausted = False
        self._fault: Exception | None = None

    @property
    def summary(self) -> BulkSummary:
        """Give the counts of recipients up to now."""
        return self._tally.summary()

    def resume(self) -> None:
        """Go on after a pause; iterate again."""
        self.paused, self.pause_reason, self._failed_in_row = False, "", 0
        self._going.set()

    async def __aenter__(self) -> Self:
        """
        Enter the run; nothing is read or sent yet.

        Raises:
            SessionMisuse: It was entered before.
        """
        if self._group is not None:
            raise SessionMisuse("a bulk run can be entered once. Nothing was sent by this.")
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop reading, and wait for what is in flight; cut it if the block was cancelled."""
        assert self._group is not None  # noqa: S101 - __aenter__ made it
        if self._feeding is not None:
            self._feeding.cancel()
        if isinstance(exc_value, anyio.get_cancelled_exc_class()):
            self._group.cancel_scope.cancel()
        # The block's exception is not the group's: it would cut what is in flight.
        await self._group.__aexit__(None, None, None)
        if exc_value is None:
            self._raise_fault()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchOutcome[Item]:
        """Wait for the next batch to finish."""
        if self._group is None:
            raise SessionMisuse("enter the bulk run first: async with … as run. Nothing was sent.")
        if self._feeding is None:
            self._feeding = anyio.CancelScope()
            self._group.start_soon(self._feed)
        while not self._outcomes:
            if not self._in_flight:
                self._raise_fault()
                if self._exhausted or self.paused:
                    raise StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()
        self._room.release()
        return self._outcomes.popleft()

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    # --- reading: one task from the source's first item to its last ---

    async def _feed(self) -> None:
        assert self._feeding is not None  # noqa: S101 - __anext__ made it
        with self._feeding:
            try:
                await self._read_on()
            except Exception as error:  # noqa: BLE001 - raised to the caller in its time
                self._fail(error)
        self._exhausted = True
        self._news.set()

    async def _read_on(self) -> None:
        size, position = self._plan.batch_size, 0
        chunker = Chunker[Item, Any](size)
        source = _Source(self._source)
        try:
            while items := await self._read(source, size):
                for item in items:
                    for chunk in chunker.add(self._plan.check(item, position), item):
                        await self._launch(chunk)
                    position += 1
        finally:
            await source.aclose()
        for chunk in chunker.rest():
            await self._launch(chunk)

    async def _read(self, source: "_Source[Item]", size: int) -> list[Item]:
        items: list[Item] = []
        try:
            await source.fill(items, size)
        finally:
            self._tally.read += len(items)
        return items

    async def _launch(self, chunk: Chunk[Item, Any]) -> None:
        """Send a chunk off when there is room, and no pause."""
        await self._room.acquire()
        while self.paused or self._would_cross(chunk):
            self._going = anyio.Event()
            await self._going.wait()
        index = self._launched
        self._launched += 1
        self._in_flight += 1
        assert self._group is not None  # noqa: S101 - it runs us
        if chunk.error is None:
            self._group.start_soon(self._work, index, chunk)
        else:
            self._finish(BatchOutcome(index, chunk.items, "refused", error=chunk.error))

    def _would_cross(self, chunk: Chunk[Item, Any]) -> bool:
        """Pause before the chunk that would cross a limit; else count it in."""
        plan = self._plan
        people = self._people + len(chunk.ready)
        if plan.max_recipients is not None and people > plan.max_recipients:
            self._pause(f"max_recipients={plan.max_recipients} would be crossed")
            return True
        points = self._points
        if plan.max_points is not None and chunk.ready:
            points += plan.points(chunk.ready)
            if points > plan.max_points:
                self._pause(f"max_points={plan.max_points} would be crossed, by our estimate")
                return True
        self._people, self._points = people, points
        return False

    # --- sending ---

    async def _work(self, index: int, chunk: Chunk[Item, Any]) -> None:
        # Whatever ends this without an answer (a cancel, a bug) leaves the batch unknown.
        outcome: BatchOutcome[Item] = BatchOutcome(index, chunk.items, "unknown")
        try:
            receipt = await self._plan.send(chunk.ready)
            outcome = BatchOutcome(index, chunk.items, "accepted", receipt)
        except Every8DError as error:
            outcome = BatchOutcome(index, chunk.items, _state_of(error), error=error)
        except Exception as error:  # noqa: BLE001 - a bug: raised to the caller in its time
            self._fail(error)
        finally:
            self._finish(outcome)

    def _finish(self, outcome: BatchOutcome[Item]) -> None:
        self._in_flight -= 1
        self._tally.count(outcome)
        self._outcomes.append(outcome)
        self._learn(outcome)
        if self._plan.progress is not None:
            try:
                self._plan.progress(self.summary)
            except Exception as error:  # noqa: BLE001 - the caller's own, raised in its time
                self._fail(error)
        self._news.set()

    def _fail(self, fault: Exception) -> None:
        """Read no more: a fault is raised once nothing is in flight."""
        self._fault = self._fault or fault
        if self._feeding is not None:
            self._feeding.cancel()

    def _learn(self, outcome: BatchOutcome[Item]) -> None:
        """Pause for causes that are not the messages' own."""
        if outcome.state in ("accepted", "refused"):
            self._failed_in_row = 0
            if outcome.receipt is not None and outcome.receipt.unsent:
                self._pause("the credit is gone: a receipt says that some were not sent")
            return
        self._failed_in_row += 1
        cause = type(outcome.error).__name__ if outcome.error else "a cut connection"
        if isinstance(outcome.error, AuthenticationFailed | AccessBlocked):
            self._pause(f"{cause}: every other batch would meet the same")
        elif self._failed_in_row >= _PATIENCE:
            self._pause(f"{self._failed_in_row} batches in a row failed, the last with {cause}")

    def _pause(self, reason: str) -> None:
        if not self.paused:
            self.paused, self.pause_reason = True, reason
            _LOG.warning("a bulk run paused: %s", reason)
        self._news.set()


class _Source(Generic[Item]):
    """Reads any iterable, a group at a time."""

    def __init__(self, source: Iterable[Item] | AsyncIterable[Item]) -> None:
        if isinstance(source, AsyncIterable):
            self._later: AsyncIterator[Item] | None = aiter(source)
            self._now: Iterator[Item] = iter(())
        else:
            self._later = None
            self._now = iter(source)

    async def fill(self, items: list[Item], size: int) -> None:
        """Append up to `size` items; none at the end. What it raises comes after what it read."""
        if self._later is None:
            items.extend(islice(self._now, size))
            return
        while len(items) < size:
            try:
                items.append(await anext(self._later))
            except StopAsyncIteration:
                return

    async def aclose(self) -> None:
        """Close a generator; anything else (a file, say) is its owner's to close."""
        with anyio.CancelScope(shield=True):
            if isgenerator(self._now):
                self._now.close()
            if isasyncgen(self._later):
                await cast("AsyncGenerator[Item]", self._later).aclose()


def _state_of(error: Every8DError) -> State:
    if error.sent is None:
        return "unknown"
    own = isinstance(error, GatewayRefused | InvalidRequest)
    return "refused" if own and not isinstance(error, AuthenticationFailed) else "not_sent"
