"""
Sending to very many, streamed: read as it is needed, a bounded number of requests at once.

A run is given a plan of how items are checked and sent; it knows nothing of the wire. Grouping is
pure (`Chunker`), running uses one task group that lives as long as the caller's block. A failed
batch is a row. A fault (a bug, or what the source raises) travels as data and is raised to the
caller once nothing is in flight, so that it can't cut sends and make their outcome unknown.
"""

import logging
import math
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from decimal import Decimal
from inspect import isasyncgen, isgenerator
from itertools import chain, islice
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, cast

import anyio
import anyio.lowlevel
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


class NotAttempted(Every8DError):
    """We ourselves let a batch not go out, for a cause of its own; the gateway was not asked."""


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

    def summary(self, read: int) -> BulkSummary:
        return BulkSummary(
            **self.states,
            not_attempted=read - sum(self.states.values()),
            cost=self.cost,
            unsent=self.unsent,
            filtered=self.filtered,
        )


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
    _keys: set[str] = field(factory=set, init=False)

    @property
    def lacks(self) -> int:
        """Tell how many items the group still takes: one at least."""
        return self.size - len(self._items)

    def add(self, item: Item, ready: Ready, key: str) -> Chunk[Item, Ready] | None:
        """Take an item; give the group that became complete by it. An empty key may repeat."""
        chunk = self.rest() if key and key in self._keys else None
        self._items.append(item)
        self._ready.append(ready)
        if key:
            self._keys.add(key)
        # A group of one is closed at once, so there is never a second one to give.
        return self.rest() if len(self._items) == self.size else chunk

    def fits(self, keys: Sequence[str]) -> bool:
        """Tell whether no key stands twice among these, nor in the group already."""
        named = set(keys) - {""}
        return len(named) + keys.count("") == len(keys) and named.isdisjoint(self._keys)

    def extend(
        self, items: Sequence[Item], ready: Sequence[Ready], keys: Sequence[str]
    ) -> Chunk[Item, Ready] | None:
        """Take items that fit, no more than are lacking; give the group if it became complete."""
        self._items += items
        self._ready += ready
        self._keys.update(filter(None, keys))
        return self.rest() if len(self._items) == self.size else None

    def rest(self) -> Chunk[Item, Ready] | None:
        """Give what has gathered, if anything."""
        if not self._items:
            return None
        chunk = Chunk(tuple(self._items), tuple(self._ready))
        self._items, self._ready, self._keys = [], [], set()
        return chunk


@frozen
class Plan(Generic[Item, Ready]):
    """
    How a run treats its items.

    Attributes:
        check: Items, the first of them at a position, as what goes on the wire, or why one can't.
        key: What may stand once in a request, or an empty text.
        send: Sends a group.
        points: What a group will probably cost; asked only where `max_points` is set.
        batch_size: The most items in a request.
        max_in_flight: The most requests at once.
        max_points: Where to stop, by the estimate.
        max_recipients: Where to stop.
        progress: Hears after each batch.
    """

    check: Callable[[Sequence[Item], int], Sequence[Ready | InvalidRequest]]
    key: Callable[[Ready], str]
    send: Callable[[tuple[Ready, ...]], Awaitable[Receipt | FilteredReceipt]]
    points: Callable[[tuple[Ready, ...]], Decimal]
    batch_size: int
    max_in_flight: int
    max_points: Decimal | None
    max_recipients: int | None
    progress: Callable[[BulkSummary], None] | None


class BulkRun(Generic[Item]):
    """
    A bulk send under way (§2.2 to §2.5, §3.4, §3.5); enter it, and iterate over its batches.

    ::

        async with session.sms.send_bulk(messages) as run:
            async for outcome in run: ...
        print(run.summary)

    Work starts with the first step of the iteration, and goes on only as outcomes are taken: at
    most `max_in_flight` batches are on their way or wait to be taken, and one more is being read.
    After five batches in a row that failed for a cause not their own, or at once for a refused
    login, a firewall or credit gone, no batch is begun, and the iteration ends with `paused` true
    once all that was begun is told; `resume` and iterate again to go on.

    Leaving the block early stops reading and waits for what is in flight; what became of it can be
    iterated over afterwards. Cancellation cuts what is in flight and counts it unknown. What the
    source or the block raises comes out as itself.

    Don't leave the block by a ``yield``: in an async generator that is dropped half-way, it would
    be left in another task. Iterate where the run was entered, and hand on what is needed.

    Attributes:
        paused: Whether the iteration ended, or is about to, before all was sent.
        pause_reason: Why, in words; empty while it is not paused.
    """

    def __init__(self, source: Iterable[Item] | AsyncIterable[Item], plan: Plan[Item, Any]) -> None:
        _check_source(source)
        self.paused = False
        self.pause_reason = ""
        self._source = source
        self._plan = plan
        self._tally = _Tally()
        self._group: TaskGroup | None = None
        self._feeding: anyio.CancelScope | None = None
        self._chunker = Chunker[Item, Any](plan.batch_size)
        self._reading: list[Item] = []
        self._planned = 0
        self._room = anyio.Semaphore(plan.max_in_flight)
        self._going = anyio.Event()
        self._news = anyio.Event()
        self._outcomes: deque[BatchOutcome[Item]] = deque()
        self._in_flight = 0
        self._launched = 0
        self._failed_in_row = 0
        self._points = Decimal(0)
        self._people = 0
        self._ended = False
        self._fault: BaseException | None = None

    @property
    def summary(self) -> BulkSummary:
        """Give the counts of recipients up to now."""
        return self._tally.summary(self._planned + len(self._reading))

    def resume(self) -> None:
        """
        Go on after a pause; iterate again.

        It lifts no limit: a run that `max_points` or `max_recipients` stopped pauses again.
        """
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
        try:
            # An exception of the block's own is no business of the group's: it would cut what is
            # in flight.
            if _is_cancellation(exc_value):
                await self._group.__aexit__(exc_type, exc_value, traceback)
            else:
                await self._group.__aexit__(None, None, None)
        except BaseExceptionGroup as several:
            raise _alone(several) from None
        finally:
            self._ended, self._in_flight = True, 0
            self._news.set()
        if exc_value is None:
            self._raise_fault()
        elif self._fault is not None:
            fault = type(self._fault).__name__
            _LOG.error("a bulk run's %s gives way to what its block raised", fault)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchOutcome[Item]:
        """
        Wait for the next batch to finish; a failed one is an outcome, not an exception.

        Raises:
            SessionMisuse: The run's block was not entered, or it was left before the first step;
                nothing was sent.
            Exception: What the source raised, or a bug, once nothing is in flight.
        """
        self._start()
        # A cancel must not look like the end, with outcomes there or coming in at the same moment.
        await anyio.lowlevel.checkpoint_if_cancelled()
        while not self._outcomes:
            if not self._in_flight:
                self._raise_fault()
                if self._ended or self.paused:
                    raise StopAsyncIteration
            if self._news.is_set():  # another task may be waiting for the one that is not
                self._news = anyio.Event()
            await self._news.wait()
            await anyio.lowlevel.checkpoint_if_cancelled()
        self._room.release()
        return self._outcomes.popleft()

    def _start(self) -> None:
        if self._feeding is None:
            if self._group is None or self._ended:
                raise SessionMisuse(
                    "a bulk run is iterated in its block: async with … as run. Nothing was sent."
                )
            self._feeding = anyio.CancelScope()
            self._group.start_soon(self._feed, self._feeding)

    def _raise_fault(self) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            raise fault

    # --- reading: one task from the source's first item to its last ---

    async def _feed(self, scope: anyio.CancelScope) -> None:
        try:
            source = _Source(self._source)
            try:
                with scope:
                    await self._read_on(source)
            finally:
                # Out of the scope that leaving cancels: a generator may have to wait in its end.
                await source.aclose()
        except BaseException as error:
            if _is_cut(error):
                raise
            self._fail(error)
        finally:
            self._ended = True
            self._news.set()

    async def _read_on(self, source: "_Source[Item]") -> None:
        more = True
        while more:
            await anyio.lowlevel.checkpoint_if_cancelled()
            more = await source.fill(self._reading, self._chunker.lacks)
            await self._plan_all()
        if (chunk := self._chunker.rest()) is not None:
            await self._launch(chunk)

    async def _plan_all(self) -> None:
        key, chunker = self._plan.key, self._chunker
        given = self._reading
        checked = self._plan.check(given, self._planned)
        sound = InvalidRequest not in set(map(type, checked))
        if sound and chunker.fits(keys := [*map(key, checked)]):
            if (chunk := chunker.extend(given, checked, keys)) is not None:
                await self._launch(chunk)
        else:
            for item, ready in zip(given, checked, strict=True):
                if isinstance(ready, InvalidRequest):
                    await self._launch(Chunk((item,), error=ready))
                elif (chunk := chunker.add(item, ready, key(ready))) is not None:
                    await self._launch(chunk)
        self._planned += len(given)
        given.clear()

    async def _launch(self, chunk: Chunk[Item, Any]) -> None:
        """Send a chunk off when there is room, and no pause."""
        await self._room.acquire()
        while self.paused or self._would_cross(chunk):
            self._going = anyio.Event()
            await self._going.wait()
        # Where room, or the word to go on, came together with the leaving of the block, both
        # waits end well.
        await anyio.lowlevel.checkpoint_if_cancelled()
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
            # Without its traceback: the frames hold the batch, and lead back to the error.
            error.__traceback__ = None
            outcome = BatchOutcome(index, chunk.items, _state_of(error), error=error)
        except BaseException as error:
            if _is_cut(error):
                raise
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
            except BaseException as error:  # noqa: BLE001 - the caller's own, raised in its time
                self._fail(error)
        self._news.set()

    def _fail(self, fault: BaseException) -> None:
        """Read no more: a fault is raised once nothing is in flight."""
        self._fault = self._fault or fault
        assert self._feeding is not None  # noqa: S101 - nothing fails before the first step
        self._feeding.cancel()

    def _learn(self, outcome: BatchOutcome[Item]) -> None:
        """Pause for causes that are not the messages' own."""
        error = outcome.error
        if isinstance(error, InvalidRequest | NotAttempted):
            return  # our own no tells nothing of the gateway
        if error is None or outcome.state == "refused":
            self._failed_in_row = 0
            if outcome.receipt is not None and outcome.receipt.unsent:
                self._pause("the credit is gone: a receipt says that some were not sent")
            return
        self._failed_in_row += 1
        cause = type(error).__name__
        if isinstance(error, AuthenticationFailed | AccessBlocked):
            self._pause(f"{cause}: every other batch would meet the same")
        elif self._failed_in_row >= _PATIENCE:
            self._pause(f"{self._failed_in_row} batches in a row failed, the last with {cause}")

    def _pause(self, reason: str) -> None:
        if not self.paused:
            self.paused, self.pause_reason = True, reason
            _LOG.warning("a bulk run paused: %s", reason)
        self._news.set()


def _check_source(source: object) -> None:
    # A text can be iterated over, but into characters: that is never meant.
    if not isinstance(source, Iterable | AsyncIterable) or isinstance(source, str | bytes):
        kind = type(source).__name__
        raise InvalidRequest([f"recipients: must be an iterable or async iterable, not {kind}"])


class _Source(Generic[Item]):
    """
    Reads any iterable, a group at a time.

    It is asked for its iterator once, and not for more after its end: there are iterators that
    begin anew then, and their people would be sent to again.
    """

    def __init__(self, source: Iterable[Item] | AsyncIterable[Item]) -> None:
        if isinstance(source, AsyncIterable):
            self._later: AsyncIterator[Item] | None = aiter(source)
            self._now: Iterator[Item] = iter(())
        else:
            self._later = None
            self._now = iter(source)
        self._chained = chain(self._now)  # for islice, which asks for an iterator each time

    async def fill(self, items: list[Item], size: int) -> bool:
        """Append up to `size` items, one by one; tell whether there may be more."""
        if self._later is None:
            before = len(items)
            items.extend(islice(self._chained, size))
            return len(items) - before == size
        try:
            for _ in range(size):
                items.append(await anext(self._later))  # noqa: PERF401 - the end may come midway
        except StopAsyncIteration:
            return False
        return True

    async def aclose(self) -> None:
        """Close a generator; anything else (a file, say) is its owner's to close."""
        if isgenerator(self._now):
            self._now.close()
        if isasyncgen(self._later):
            await cast("AsyncGenerator[Item]", self._later).aclose()


def _is_cancellation(error: BaseException | None) -> bool:
    # Out of a nursery of trio's own, as where a connection was being opened, several come together.
    if isinstance(error, BaseExceptionGroup):
        several = cast("BaseExceptionGroup[BaseException]", error)
        return several.split(anyio.get_cancelled_exc_class())[1] is None
    return isinstance(error, anyio.get_cancelled_exc_class())


def _is_cut(error: BaseException) -> bool:
    """Tell our own end from a fault, which may be a cancellation too: of a task a source awaits."""
    return _is_cancellation(error) and anyio.current_effective_deadline() == -math.inf


def _alone(several: BaseExceptionGroup[BaseException]) -> BaseException:
    """Give what came into the wait for what is in flight, such as a KeyboardInterrupt."""
    _, others = several.split(anyio.get_cancelled_exc_class())
    return (others or several).exceptions[0]


def _state_of(error: Every8DError) -> State:
    if error.sent is None:
        return "unknown"
    if isinstance(error, GatewayRefused) and not isinstance(error, AuthenticationFailed):
        # A positive code is an HTTP status: the gateway looked at no message.
        return "refused" if error.code <= 0 else "not_sent"
    return "refused" if isinstance(error, InvalidRequest) else "not_sent"
