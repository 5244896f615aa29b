"""Bulk runs over a hand-made send: order, bounds, pauses, faults, early exits, accounting."""

import asyncio
import gc
import itertools
import logging
import signal
import weakref
from collections import Counter, defaultdict
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from decimal import Decimal
from typing import Any, Self, get_args

import anyio
import anyio.lowlevel
import pytest
import trio
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async import (
    AccessBlocked,
    AccountLocked,
    AuthenticationFailed,
    BatchOutcome,
    BulkRun,
    BulkSummary,
    Every8DError,
    FilteredReceipt,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    RateLimited,
    Receipt,
    SessionMisuse,
)
from every8d_async._bulk import Plan, State
from every8d_async.testing import receipt

End = BaseException | Receipt | FilteredReceipt
Outcome = BatchOutcome[int]

UNKNOWN = OutcomeUnknown("read", "ReadError", recipients=1, code=None, operation="test")
UNREACHABLE = GatewayUnreachable("connect", "ConnectError")
LIMITED = RateLimited(None)
UNAVAILABLE = GatewayUnavailable("HTTP 503")
WRONG_PASSWORD = AuthenticationFailed(-101, "密碼錯誤")
BLOCKED = AccessBlocked(403, {})
REFUSED = GatewayRefused(-306, "手機格式不符")


class Desk:
    """Notes each batch as it begins, and lets it end as it was told, when it was told."""

    def __init__(
        self,
        ends: Mapping[int, End] | None = None,
        *,
        otherwise: End | None = None,
        held: Iterable[int] = (),
    ) -> None:
        self._ends = dict(ends or {})
        self._otherwise = otherwise
        self._held = held
        self._doors: defaultdict[int, anyio.Event] = defaultdict(anyio.Event)
        self.begun: list[tuple[int, ...]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def send(self, group: tuple[int, ...]) -> Receipt | FilteredReceipt:
        number = len(self.begun)
        self.begun.append(group)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if number in self._held:
                await self._doors[number].wait()
            await anyio.lowlevel.checkpoint()
        finally:
            self.in_flight -= 1
        end = self._ends.get(number, self._otherwise)
        if isinstance(end, BaseException):
            raise end
        return end or receipt(len(group))

    def let_go(self, *numbers: int) -> None:
        for number in numbers:
            self._doors[number].set()

    def let_second_go(self, _summary: BulkSummary) -> None:
        self.let_go(1)

    def run(
        self,
        source: Iterable[int] | AsyncIterable[int],
        *,
        key: Callable[[int], str] = lambda _: "",
        **limits: Any,
    ) -> BulkRun[int]:
        return BulkRun(source, plan(check, self.send, key, **limits))


def plan(
    check: Callable[[Sequence[Any], int], Sequence[Any]],
    send: Callable[[tuple[Any, ...]], Awaitable[Receipt | FilteredReceipt]],
    key: Callable[[Any], str],
    *,
    size: int = 1,
    max_in_flight: int = 8,
    max_points: int | None = None,
    max_recipients: int | None = None,
    progress: Callable[[BulkSummary], None] | None = None,
) -> Plan[Any, Any]:
    return Plan(
        check=check,
        key=key,
        send=send,
        points=lambda group: Decimal(2 * len(group)),
        batch_size=size,
        max_in_flight=max_in_flight,
        max_points=None if max_points is None else Decimal(max_points),
        max_recipients=max_recipients,
        progress=progress,
    )


def check(items: Sequence[int], position: int) -> list[int | InvalidRequest]:
    return [
        item if item >= 0 else InvalidRequest([f"messages[{place}]: is below zero"])
        for place, item in enumerate(items, position)
    ]


class Source:
    """Gives numbers, and counts those that it gave."""

    def __init__(
        self,
        count: int | None = None,
        *,
        fault: BaseException | None = None,
        shape: Callable[[int], int] = lambda number: number,
        look: Callable[[], object] = lambda: None,
    ) -> None:
        self._numbers = itertools.count() if count is None else range(count)
        self._fault = fault
        self._shape = shape
        self._look = look
        self.read = 0
        self.closed = False

    def now(self) -> Generator[int]:
        try:
            for number in self._numbers:
                self.read += 1
                yield self._shape(number)
                self._look()
            if self._fault is not None:
                raise self._fault
        finally:
            self.closed = True

    async def later(self) -> AsyncGenerator[int]:
        numbers = self.now()
        try:
            while True:
                await anyio.lowlevel.checkpoint()
                try:
                    yield next(numbers)
                except StopIteration:
                    return
        finally:
            numbers.close()


def total(summary: BulkSummary) -> int:
    """The sum of the five counts that add up to what was read."""
    told = (summary.accepted, summary.refused, summary.not_sent, summary.unknown)
    assert min(*told, summary.not_attempted) >= 0
    return sum(told) + summary.not_attempted


async def outcomes_of(run: BulkRun[int]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    await collect(run, outcomes)
    return outcomes


async def collect(run: BulkRun[int], outcomes: list[Outcome]) -> None:
    async with run:
        await take(run, outcomes)


async def take(run: BulkRun[int], outcomes: list[Outcome]) -> None:
    async for outcome in run:
        outcomes.append(outcome)  # noqa: PERF401 - it may end in an exception


def items_of(outcomes: Iterable[Outcome]) -> list[int]:
    return sorted(item for outcome in outcomes for item in outcome.messages)


# --- reading ---


class Rows:
    """A table, as people write one: asked for its rows anew, it begins anew."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._next = 0

    def __iter__(self) -> Self:
        self._next = 0
        return self

    def __next__(self) -> int:
        if self._next == self._count:
            self._next = 0
            raise StopIteration
        self._next += 1
        return self._next - 1


class LaterRows:
    """The same, asynchronous."""

    def __init__(self, count: int) -> None:
        self._rows = Rows(count)

    def __aiter__(self) -> Self:
        iter(self._rows)
        return self

    async def __anext__(self) -> int:
        try:
            return next(self._rows)
        except StopIteration:
            raise StopAsyncIteration from None


SOURCES: dict[str, Callable[[int], Iterable[int] | AsyncIterable[int]]] = {
    "list": lambda count: list(range(count)),
    "range": range,
    "generator": lambda count: Source(count).now(),
    "async generator": lambda count: Source(count).later(),
    "rows": Rows,
    "async rows": LaterRows,
}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 10, 23])
async def test_any_iterable_is_read_once_from_first_to_last(kind: str, count: int) -> None:
    """Iterables and async iterables do, also those that begin anew when they are asked twice."""
    desk = Desk()
    run = desk.run(SOURCES[kind](count), size=5, max_in_flight=2)
    outcomes = await outcomes_of(run)
    assert list(range(count)) == [item for group in desk.begun for item in group]
    assert list(range(count)) == items_of(outcomes)
    assert BulkSummary(accepted=count, cost=Decimal(count)) == run.summary
    assert not run.paused


@pytest.mark.anyio
async def test_work_starts_with_the_first_step() -> None:
    """Making a run and entering it reads and sends nothing."""
    source, desk = Source(9), Desk()
    run = desk.run(source.now())
    async with run:
        await anyio.wait_all_tasks_blocked()
        assert (source.read, desk.begun) == (0, [])
    assert (source.read, desk.begun) == (0, [])
    assert BulkSummary() == run.summary


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["now", "later"])
async def test_input_is_read_as_room_is_given_back(kind: str) -> None:
    """At most `max_in_flight` batches are on their way or not yet taken, and one more is read."""
    source, desk = Source(), Desk()
    async with desk.run(getattr(source, kind)(), size=10, max_in_flight=3) as run:
        for taken in range(1, 6):
            await anext(run)
            await anyio.wait_all_tasks_blocked()
            assert 3 + taken == len(desk.begun)
            assert (3 + taken + 1) * 10 == source.read
    assert desk.most_in_flight <= 3


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["now", "later"])
async def test_room_is_given_back_by_taking_outcomes_not_by_sending(kind: str) -> None:
    """Where nobody takes outcomes, no more than `max_in_flight` batches go out."""
    desk = Desk(held=[0])
    async with desk.run(getattr(Source(), kind)(), max_in_flight=4) as run:
        assert (await anext(run)).index == 1
        await anyio.wait_all_tasks_blocked()
        assert len(desk.begun) == 5
        desk.let_go(0)
        await anyio.wait_all_tasks_blocked()
        assert len(desk.begun) == 5


class Thing:
    """A number that can be told to be alive."""

    def __init__(self, number: int) -> None:
        self.number = number


@pytest.mark.anyio
@pytest.mark.parametrize("keys", [10**9, 7, 1], ids=["full", "closed early", "alone"])
@pytest.mark.parametrize("bad", [10**9, 3], ids=["good", "with bad ones"])
async def test_memory_is_bounded(keys: int, bad: int) -> None:
    """With a slow consumer, `max_in_flight` + 1 batches are alive, beside what it holds itself."""
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()
    most = 0

    async def things() -> AsyncIterator[Thing]:
        nonlocal most
        for number in range(1, 400):
            thing = Thing(number)
            alive.add(thing)
            most = max(most, len(alive))
            yield thing

    def check_things(things: Sequence[Thing], _position: int) -> list[Thing | InvalidRequest]:
        return [thing if thing.number % bad else InvalidRequest([]) for thing in things]

    async def send(group: tuple[Thing, ...]) -> Receipt:
        await anyio.lowlevel.checkpoint()
        return receipt(len(group))

    run = BulkRun(
        things(),
        plan(check_things, send, lambda thing: str(thing.number % keys), size=10, max_in_flight=3),
    )
    async with run:
        with suppress(StopAsyncIteration):
            while True:
                await anyio.lowlevel.checkpoint()
                await anext(run)
    assert total(run.summary) == 399
    assert most <= (3 + 1) * 10


@pytest.mark.anyio
async def test_a_generator_is_closed_by_the_task_that_read_it() -> None:
    """The source is read and closed in one task, and may wait while it is closed."""
    tasks: list[anyio.TaskInfo] = []

    async def source() -> AsyncIterator[int]:
        try:
            while True:
                tasks.append(anyio.get_current_task())
                yield 1
        finally:
            await anyio.lowlevel.checkpoint()
            tasks.append(anyio.get_current_task())

    async with Desk().run(source(), max_in_flight=2) as run:
        await anext(run)
        await anyio.wait_all_tasks_blocked()
    assert len(tasks) >= 4
    assert len(set(tasks)) == 1
    assert tasks[0] != anyio.get_current_task()


# --- outcomes ---


@pytest.mark.anyio
async def test_outcomes_come_as_batches_finish() -> None:
    """They are not in order; `index` is the batch's number from 0."""
    desk = Desk(held=[0, 1])
    async with desk.run(range(3)) as run:
        assert BatchOutcome(2, (2,), "accepted", receipt()) == await anext(run)
        desk.let_go(1)
        assert (await anext(run)).index == 1
        desk.let_go(0)
        assert (await anext(run)).index == 0
        with pytest.raises(StopAsyncIteration):
            await anext(run)


ENDS: dict[str, tuple[Every8DError, State]] = {
    "unknown": (UNKNOWN, "unknown"),
    "unreachable": (UNREACHABLE, "not_sent"),
    "limited": (LIMITED, "not_sent"),
    "unavailable": (UNAVAILABLE, "not_sent"),
    "misuse": (SessionMisuse("closed"), "not_sent"),
    "blocked": (BLOCKED, "not_sent"),
    "password": (WRONG_PASSWORD, "not_sent"),
    "locked": (AccountLocked(-999, "帳號已被鎖定"), "not_sent"),
    "refused": (REFUSED, "refused"),
    "refused without a code": (GatewayRefused(0, ""), "refused"),
    "an HTTP status": (GatewayRefused(404, "HTTP 404"), "not_sent"),
    "invalid": (InvalidRequest(["text: must not be empty"]), "refused"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", ENDS)
async def test_a_failed_batch_is_a_row(name: str) -> None:
    """An error of ours is told in its batch's outcome, never raised; `state` says what is sure."""
    error, state = ENDS[name]
    run = Desk({0: error}).run(range(7), size=7)
    assert [BatchOutcome(0, tuple(range(7)), state, None, error)] == await outcomes_of(run)
    assert getattr(run.summary, state) == total(run.summary) == 7


@pytest.mark.anyio
async def test_bad_input_is_a_row_of_its_own() -> None:
    """What can't be sent is refused one by one, names why, and does not stop the rest."""
    desk = Desk()
    outcomes = await outcomes_of(desk.run([0, -1, 1, 2, -3, -4, 3], size=3))
    refused = [outcome for outcome in outcomes if outcome.state == "refused"]
    assert [outcome.messages for outcome in refused] == [(-1,), (-3,), (-4,)]
    for outcome, position in zip(refused, (1, 4, 5), strict=True):
        assert isinstance(outcome.error, InvalidRequest)
        assert outcome.error.problems == (f"messages[{position}]: is below zero",)
    assert desk.begun == [(0, 1, 2), (3,)]
    assert sorted(outcome.index for outcome in outcomes) == [0, 1, 2, 3, 4]


@pytest.mark.anyio
async def test_a_key_closes_a_batch_early() -> None:
    """The same key does not go out twice in one request."""
    desk = Desk()
    await outcomes_of(desk.run([1, 2, 11, 3, 3, 4], size=3, key=lambda item: str(item % 10)))
    assert desk.begun == [(1, 2), (11, 3), (3, 4)]


@pytest.mark.anyio
async def test_a_receipt_is_counted() -> None:
    """`unsent` and `filtered` are parts of `accepted`; `cost` is in points."""
    filtered = FilteredReceipt(None, 1, Decimal("1.5"), 2, "", ("+886900000001",), ())
    run = Desk({0: receipt(10, cost=Decimal("20.25")), 1: filtered}).run(range(14), size=10)
    await outcomes_of(run)
    expected = BulkSummary(accepted=14, cost=Decimal("21.75"), unsent=2, filtered=1)
    assert expected == run.summary


@pytest.mark.anyio
async def test_an_error_holds_nothing_of_the_run() -> None:
    """A failed batch is let go with its outcome, without a collector: no frame hangs on it."""

    class Heavy:
        """Something in a frame of the send."""

    async def send(group: tuple[int, ...]) -> Receipt:
        heavy = Heavy()
        gone.append(weakref.ref(heavy))
        await anyio.lowlevel.checkpoint()
        raise UNKNOWN.copy_for("test")

    gone: list[weakref.ref[Heavy]] = []
    run = BulkRun(range(1), plan(check, send, lambda _: ""))
    gc.disable()
    try:
        [outcome] = await outcomes_of(run)
        assert outcome.error is not None
        assert outcome.error.__traceback__ is None
        assert [ref() for ref in gone] == [None]
    finally:
        gc.enable()


# --- the summary, at every moment ---


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["now", "later"])
async def test_counts_add_up_at_every_moment(kind: str) -> None:
    """The first five are what was read: in `progress`, in the loop, in the source, afterwards."""

    def add_up() -> None:
        assert total(run.summary) == source.read

    def progress(summary: BulkSummary) -> None:
        assert total(summary) == source.read
        told.append(summary)

    told: list[BulkSummary] = []
    source = Source(60, shape=lambda number: number if number % 7 else -1, look=add_up)
    desk = Desk({2: UNKNOWN, 3: REFUSED, 5: UNREACHABLE, 6: UNKNOWN})
    run = desk.run(getattr(source, kind)(), size=4, max_in_flight=3, progress=progress)
    async with run:
        async for outcome in run:
            add_up()
            assert told
            assert len(outcome.messages) <= 4
    assert total(run.summary) == source.read == 60
    assert (run.summary.not_attempted, run.summary.refused) == (0, 9 + 4)
    assert told[-1] == run.summary


@pytest.mark.anyio
async def test_what_waits_in_a_slow_source_is_counted() -> None:
    """What was read counts at once, not when its batch is full."""
    more = anyio.Event()

    async def slow() -> AsyncIterator[int]:
        for number in range(12):
            yield number
        await more.wait()

    desk = Desk(held=[0])
    async with desk.run(slow(), size=10) as run, anyio.create_task_group() as group:

        async def one() -> None:
            await anext(run)

        group.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        assert BulkSummary(not_attempted=12) == run.summary
        desk.let_go(0)
        await anyio.wait_all_tasks_blocked()
        assert BulkSummary(accepted=10, not_attempted=2, cost=Decimal(10)) == run.summary
        more.set()


@pytest.mark.anyio
async def test_progress_hears_of_each_batch() -> None:
    """It is called once for each outcome, bad input included, with the summary at that moment."""
    told: list[BulkSummary] = []
    run = Desk().run([0, 1, -1, 2], size=2, max_in_flight=1, progress=told.append)
    outcomes = await outcomes_of(run)
    assert len(told) == len(outcomes) == 3
    done = [summary.accepted + summary.refused for summary in told]
    assert done == sorted(done)
    assert told[-1] == run.summary


# --- pausing ---

CAUSES = [UNKNOWN, UNREACHABLE, LIMITED, UNAVAILABLE, SessionMisuse("closed")]


@pytest.mark.anyio
@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: type(cause).__name__)
async def test_five_failures_in_a_row_pause(cause: Every8DError) -> None:
    """After 5 batches in a row that failed for a cause not their own, the iteration ends."""
    desk = Desk(otherwise=cause)
    async with desk.run(Source().later(), max_in_flight=1) as run:
        assert len([outcome async for outcome in run]) == 5
        assert run.paused
        assert run.pause_reason == f"5 batches in a row failed, the last with {_name(cause)}"
        assert len(desk.begun) == 5


def _name(error: BaseException) -> str:
    return type(error).__name__


@pytest.mark.anyio
@pytest.mark.parametrize("in_flight", [2, 3, 8])
async def test_what_is_in_flight_at_a_pause_is_told(in_flight: int) -> None:
    """With n in flight, up to n + 4 batches fail before a pause; each is told before the end."""
    desk = Desk(otherwise=UNREACHABLE)
    async with desk.run(Source().later(), max_in_flight=in_flight) as run:
        outcomes = [outcome async for outcome in run]
        assert 5 <= len(outcomes) <= in_flight + 4
        assert len(desk.begun) == len(outcomes)


@pytest.mark.anyio
async def test_resume_goes_on_where_it_paused() -> None:
    """Nothing is lost or doubled by a pause: `resume`, and iterating again, goes on."""
    desk = Desk(dict.fromkeys(range(5), LIMITED))
    async with desk.run(Source(20).later(), size=2, max_in_flight=1) as run:
        first = [outcome async for outcome in run]
        with pytest.raises(StopAsyncIteration):
            await anext(run)
        assert BulkSummary(not_sent=10, not_attempted=total(run.summary) - 10) == run.summary
        run.resume()
        assert (run.paused, run.pause_reason) == (False, "")
        second = [outcome async for outcome in run]
        assert not run.paused
    assert [(n, n + 1) for n in range(0, 20, 2)] == desk.begun
    assert list(range(20)) == items_of([*first, *second])
    assert BulkSummary(accepted=10, not_sent=10, cost=Decimal(10)) == run.summary


@pytest.mark.anyio
async def test_failures_count_anew_after_a_resume() -> None:
    """Another 5 pause it again."""
    desk = Desk(otherwise=UNREACHABLE)
    async with desk.run(Source().later(), max_in_flight=1) as run:
        for _ in range(3):
            assert len([outcome async for outcome in run]) == 5
            run.resume()


@pytest.mark.anyio
async def test_resuming_before_the_end_goes_on_without_one() -> None:
    """A run resumed while it is about to pause does not end its iteration."""
    desk = Desk(dict.fromkeys(range(5), UNKNOWN))
    async with desk.run(range(30), max_in_flight=1) as run:
        async for _ in run:
            if run.paused:
                run.resume()
    assert BulkSummary(accepted=25, unknown=5, cost=Decimal(25)) == run.summary


@pytest.mark.anyio
@pytest.mark.parametrize("answer", [receipt(), REFUSED], ids=["accepted", "refused"])
async def test_an_answer_ends_a_row_of_failures(answer: End) -> None:
    """A receipt, or a refusal for the messages' own sake: the gateway is there."""
    desk = Desk({4: answer, 9: answer}, otherwise=UNKNOWN)
    async with desk.run(Source(14).later(), max_in_flight=1) as run:
        assert len([outcome async for outcome in run]) == 14
        assert not run.paused


@pytest.mark.anyio
async def test_bad_input_does_not_end_a_row_of_failures() -> None:
    """Our own check's no says nothing of the gateway."""
    desk = Desk(otherwise=UNKNOWN)
    source = [-1 if number % 2 else number for number in range(100)]
    async with desk.run(source, max_in_flight=1) as run:
        assert len([outcome async for outcome in run]) in {9, 10}
        assert run.paused
        assert len(desk.begun) == 5


AT_ONCE: dict[str, tuple[End, str]] = {
    "password": (WRONG_PASSWORD, "AuthenticationFailed: every other batch would meet the same"),
    "locked": (AccountLocked(-999, ""), "AccountLocked: every other batch would meet the same"),
    "blocked": (BLOCKED, "AccessBlocked: every other batch would meet the same"),
    "credit": (receipt(0, unsent=1), "the credit is gone: a receipt says that some were not sent"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", AT_ONCE)
async def test_what_would_meet_all_pauses_at_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused login, a firewall, credit gone; `pause_reason` says which, and so does the log."""
    end, reason = AT_ONCE[name]
    desk = Desk({2: end})
    async with desk.run(Source().later(), max_in_flight=1) as run:
        assert len([outcome async for outcome in run]) == 3
        assert (run.paused, run.pause_reason) == (True, reason)
        run.resume()
        await anext(run)
    assert [f"a bulk run paused: {reason}"] == [record.message for record in caplog.records]


@pytest.mark.anyio
async def test_own_refusals_never_pause() -> None:
    """However many batches are refused for their own sake, the rest is tried."""
    run = Desk(otherwise=REFUSED).run(range(40), max_in_flight=2)
    assert len(await outcomes_of(run)) == 40
    assert not run.paused


@pytest.mark.anyio
async def test_a_pause_holds_while_the_source_is_waited_for() -> None:
    """The iteration ends although the source is in the middle of something."""
    more = anyio.Event()

    async def slow() -> AsyncIterator[int]:
        for number in range(5):
            yield number
        await more.wait()
        yield 5

    async with Desk(dict.fromkeys(range(5), UNKNOWN)).run(slow()) as run:
        assert len([outcome async for outcome in run]) == 5
        more.set()
        await anyio.wait_all_tasks_blocked()
        assert run.summary.not_attempted == 1
        run.resume()
        assert items_of([outcome async for outcome in run]) == [5]


@pytest.mark.anyio
async def test_a_paused_run_can_be_left() -> None:
    """What was read and not begun is `not_attempted`; the source is closed."""
    source = Source()
    async with Desk(otherwise=BLOCKED).run(source.now(), size=10, max_in_flight=2) as run:
        async for _ in run:
            pass
        assert run.paused
    assert source.closed
    assert total(run.summary) == source.read
    assert BulkSummary(not_sent=20, not_attempted=source.read - 20) == run.summary


# --- limits ---


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("limits", "sent", "reason"),
    [
        ({"max_recipients": 3}, 0, "max_recipients=3 would be crossed"),
        ({"max_recipients": 4}, 4, "max_recipients=4 would be crossed"),
        ({"max_recipients": 11}, 8, "max_recipients=11 would be crossed"),
        ({"max_recipients": 20}, 20, ""),
        ({"max_points": 7}, 0, "max_points=7 would be crossed, by our estimate"),
        ({"max_points": 8}, 4, "max_points=8 would be crossed, by our estimate"),
        ({"max_points": 23}, 8, "max_points=23 would be crossed, by our estimate"),
        ({"max_points": 40}, 20, ""),
        ({"max_recipients": 12, "max_points": 16}, 8, "max_points=16 would be crossed"),
        ({"max_recipients": 8, "max_points": 24}, 8, "max_recipients=8 would be crossed"),
    ],
)
async def test_limits_stop_before_the_batch_that_would_cross(
    limits: dict[str, Any], sent: int, reason: str
) -> None:
    """A run pauses before it, and stays so: `resume` lifts no limit."""
    desk = Desk()
    async with desk.run(range(20), size=4, max_in_flight=2, **limits) as run:
        for _ in range(2):
            async for _ in run:
                pass
            assert (run.paused, run.pause_reason[: len(reason)]) == (bool(reason), reason)
            assert [tuple(range(n, n + 4)) for n in range(0, sent, 4)] == desk.begun
            run.resume()
    assert run.summary.accepted == sent


@pytest.mark.anyio
async def test_what_is_refused_counts_for_no_limit() -> None:
    """Bad input costs nothing, so it is told however tight the limits are."""
    desk = Desk()
    async with desk.run([-1, -1, 0, -1, 1], max_points=2, max_recipients=1) as run:
        outcomes = [outcome async for outcome in run]
    assert items_of(outcomes) == [-1, -1, -1, 0]
    assert run.paused


# --- leaving early ---


class Told(Exception):
    """What a block or a source raises in a test."""


async def leave_by_break(run: BulkRun[int]) -> None:
    async with run:
        async for _ in run:
            await anyio.wait_all_tasks_blocked()
            break


async def leave_by_exception(run: BulkRun[int]) -> None:
    with suppress(Told):
        await raise_after_one(run)


async def raise_after_one(run: BulkRun[int]) -> None:
    async with run:
        async for _ in run:
            await anyio.wait_all_tasks_blocked()
            raise Told


async def leave_by_return(run: BulkRun[int]) -> None:
    async with run:
        await anext(run)
        await anyio.wait_all_tasks_blocked()
        return


LEAVING = [leave_by_break, leave_by_exception, leave_by_return]


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["now", "later"])
@pytest.mark.parametrize("leave", LEAVING)
async def test_leaving_early_waits_for_what_is_in_flight(
    leave: Callable[[BulkRun[int]], Any], kind: str
) -> None:
    """It stops reading, begins nothing more, waits, closes the source, accounts for all."""
    source, desk = Source(), Desk({2: UNKNOWN, 3: REFUSED}, held=[1, 2, 3, 4])
    run = desk.run(getattr(source, kind)(), size=10, max_in_flight=4)
    left = anyio.Event()

    async def use() -> None:
        await leave(run)
        left.set()

    read = 0
    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await anyio.wait_all_tasks_blocked()
        assert not left.is_set()
        read = source.read
        desk.let_go(1, 2, 3)
        await anyio.wait_all_tasks_blocked()
        assert not left.is_set()
        desk.let_go(4)
    assert left.is_set()
    assert (len(desk.begun), source.read) == (5, read)
    assert source.closed
    expected = BulkSummary(
        accepted=30, unknown=10, refused=10, not_attempted=read - 50, cost=Decimal(30)
    )
    assert expected == run.summary


@pytest.mark.anyio
async def test_what_was_not_taken_can_be_had_after_leaving() -> None:
    """Iterating over a run that was left gives the other outcomes, and ends."""
    desk = Desk({2: UNKNOWN})
    async with desk.run(range(100), size=10, max_in_flight=3) as run:
        first = await anext(run)
        await anyio.wait_all_tasks_blocked()
    rest = [outcome async for outcome in run]
    assert {0, 1, 2, 3} == {outcome.index for outcome in [first, *rest]}
    assert [outcome async for outcome in run] == []
    assert BulkSummary(accepted=30, unknown=10, not_attempted=10, cost=Decimal(30)) == run.summary


@pytest.mark.anyio
@pytest.mark.parametrize("turns", range(4))
async def test_nothing_begins_once_the_block_is_left(turns: int) -> None:
    """Room that is given back by the last outcome taken is not used any more."""
    desk = Desk()
    async with desk.run(Source().now(), max_in_flight=1) as run:
        await anext(run)
        for _ in range(turns):
            await anext(run)
        begun = len(desk.begun)
    assert begun == len(desk.begun) == turns + 1


@pytest.mark.anyio
async def test_nothing_begins_by_a_resume_on_leaving() -> None:
    """A block that resumes and is left in one go sends nothing more."""
    desk = Desk(otherwise=BLOCKED)
    async with desk.run(Source().now(), max_in_flight=1) as run:
        await anext(run)
        await anyio.wait_all_tasks_blocked()
        run.resume()
    assert len(desk.begun) == 1


@pytest.mark.anyio
async def test_nothing_is_read_once_the_block_is_left() -> None:
    """Left before the feeder's first turn, a run reads nothing at all."""
    source = Source()
    run = Desk().run(source.now())
    async with run:
        run._start()
    assert source.read == 0


@pytest.mark.anyio
async def test_a_source_that_blocks_forever_can_be_left() -> None:
    """Leaving ends its wait."""
    ended = anyio.Event()

    async def stuck() -> AsyncIterator[int]:
        try:
            yield 0
            await anyio.sleep_forever()
        finally:
            ended.set()

    async with Desk().run(stuck(), size=1) as run:
        async for _ in run:
            break
    assert ended.is_set()
    assert run.summary.accepted == 1


@pytest.mark.anyio
async def test_a_step_that_is_given_up_loses_nothing() -> None:
    """A cancelled wait for an outcome is just that: the next one gets it."""
    desk = Desk(held=[0])
    async with desk.run(range(3), size=3) as run:
        with anyio.move_on_after(0):
            await anext(run)
        desk.let_go(0)
        assert (await anext(run)).messages == (0, 1, 2)


# --- cancellation ---


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["now", "later"])
async def test_cancellation_cuts_and_counts_unknown(kind: str, caplog: Any) -> None:
    """A block left by a cancelled scope does not wait: what is in flight is unknown."""
    source, desk = Source(), Desk(held=range(1, 9))
    run = desk.run(getattr(source, kind)(), size=10, max_in_flight=8)
    with anyio.CancelScope() as scope:
        async with run:
            assert (await anext(run)).index == 0
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anext(run)
    assert scope.cancelled_caught
    assert desk.in_flight == 0
    assert source.closed
    expected = BulkSummary(
        accepted=10, unknown=80, not_attempted=source.read - 90, cost=Decimal(10)
    )
    assert expected == run.summary
    assert (run.paused, caplog.records) == (False, [])
    cut = [(outcome.state, outcome.receipt, outcome.error) async for outcome in run]
    assert cut == [("unknown", None, None)] * 8


@pytest.mark.anyio
@pytest.mark.parametrize("held", [range(9), [3], []], ids=["all", "one", "source"])
async def test_cancellation_never_looks_like_the_end(held: Iterable[int]) -> None:
    """However outcomes come in just then, a cancelled iteration does not end as if all went."""
    desk = Desk(held=held)
    ends: list[str] = []

    async def source() -> AsyncIterator[int]:
        for number in range(9):
            yield number
        if not held:
            await anyio.sleep_forever()

    async def use() -> None:
        async with desk.run(source()) as run:
            async for _ in run:
                pass
            ends.append("all went")

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert ends == []


@pytest.mark.anyio
async def test_a_cancelled_block_takes_no_outcome() -> None:
    """Not one that is there already, either; it can be had afterwards."""
    run = Desk().run(range(4))
    with anyio.CancelScope() as scope:
        async with run:
            assert (await anext(run)).index == 0
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anext(run)
    assert scope.cancelled_caught
    assert items_of([outcome async for outcome in run]) == [1, 2, 3]


@pytest.mark.anyio
async def test_cancellation_ends_the_wait_for_what_is_in_flight() -> None:
    """Also after leaving by `break`."""
    desk = Desk(held=[1])
    run = desk.run(range(2))
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def use() -> None:
                async with run:
                    async for _ in run:
                        break

            group.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
    assert BulkSummary(accepted=1, unknown=1, cost=Decimal(1)) == run.summary


@pytest.mark.anyio
async def test_cancellation_during_a_blocks_exception_comes_out() -> None:
    """While the block's exception waits for what is in flight, a cancel still gets through."""
    desk = Desk(held=[1])
    run = desk.run(range(2))
    ends: list[str] = []

    async def use() -> None:
        try:
            await raise_after_one(run)
        except Told:
            ends.append("told")
        finally:
            ends.append("ended")

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(use)
            await anyio.wait_all_tasks_blocked()
            assert ends == []
            scope.cancel()
    assert ends == ["ended"]
    assert run.summary.unknown == 1


async def two_wait_forever() -> Any:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await trio.sleep_forever()


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_several_cancellations_together_are_one() -> None:
    """What trio cancels in a nursery, in a send or the block, comes as a group; it is no fault."""

    async def send(group: tuple[int, ...]) -> Receipt:
        return await two_wait_forever() if group[0] else receipt()

    run = BulkRun(range(3), plan(check, send, lambda _: ""))
    with anyio.CancelScope() as scope:
        async with run:
            await anext(run)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await two_wait_forever()
    assert scope.cancelled_caught
    assert len([outcome async for outcome in run]) == 2
    assert BulkSummary(accepted=1, unknown=2, cost=Decimal(1)) == run.summary


@pytest.mark.anyio
async def test_a_scope_inside_the_block_is_the_blocks_own() -> None:
    """What is cancelled in the block, and ends in it, cuts nothing."""
    desk = Desk(held=[0])
    async with desk.run(range(1)) as run:
        with anyio.move_on_after(0):
            await anext(run)
        await anyio.wait_all_tasks_blocked()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anext(run)
        desk.let_go(0)
    assert run.summary.accepted == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_native_cancel_cuts_and_counts_unknown(cancels: int) -> None:
    """`task.cancel()` does what a scope does, and the task ends cancelled, also when hit again."""
    source, desk = Source(), Desk(held=range(1, 9))
    run = desk.run(source.later(), size=10, max_in_flight=8)

    async def use() -> None:
        async with run:
            async for _ in run:
                pass

    task = asyncio.create_task(use())
    await anyio.wait_all_tasks_blocked()
    for _ in range(cancels):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert source.closed
    expected = BulkSummary(
        accepted=10, unknown=80, not_attempted=source.read - 90, cost=Decimal(10)
    )
    assert expected == run.summary


@pytest.mark.asyncio
async def test_native_cancel_ends_the_wait_for_what_is_in_flight() -> None:
    """Also after leaving by `break`."""
    desk = Desk(held=[1])
    run = desk.run(range(2))
    task = asyncio.create_task(leave_by_break(run))
    await anyio.wait_all_tasks_blocked()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert BulkSummary(accepted=1, unknown=1, cost=Decimal(1)) == run.summary


@pytest.mark.asyncio
async def test_asyncio_timeout_comes_out_as_timeout() -> None:
    """`asyncio.timeout` around a run ends it as it ends anything else."""
    desk = Desk(held=[1])
    run = desk.run(range(2))

    async def use() -> None:
        async with asyncio.timeout(None) as limit, run:
            async for _ in run:
                limit.reschedule(0)

    with pytest.raises(TimeoutError):
        await use()
    current = asyncio.current_task()
    assert current is not None
    assert current.cancelling() == 0
    assert BulkSummary(accepted=1, unknown=1, cost=Decimal(1)) == run.summary


@pytest.mark.asyncio
async def test_a_cancellation_that_a_source_brings_along_is_the_sources() -> None:
    """A source that awaits a cancelled task raises that, and what is in flight is not cut."""
    other = asyncio.ensure_future(asyncio.sleep(3600))

    async def source() -> AsyncIterator[int]:
        yield 0
        await other

    desk = Desk(held=[0])
    run = desk.run(source())
    outcomes: list[Outcome] = []
    task = asyncio.create_task(collect(run, outcomes))
    await anyio.wait_all_tasks_blocked()
    other.cancel()
    await anyio.wait_all_tasks_blocked()
    desk.let_go(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [outcome.state for outcome in outcomes] == ["accepted"]
    assert BulkSummary(accepted=1, cost=Decimal(1)) == run.summary


# --- faults ---


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["now", "later"])
@pytest.mark.parametrize("fault", [Told("gone"), KeyboardInterrupt(), LIMITED])
@pytest.mark.parametrize("count", [0, 7, 23])
async def test_what_the_source_raises_comes_out_as_itself(
    kind: str, fault: BaseException, count: int
) -> None:
    """Once nothing is in flight; what was read is accounted for, and no group is around it."""
    source = Source(count, fault=fault)
    run = Desk().run(getattr(source, kind)(), size=5)
    outcomes: list[Outcome] = []
    with pytest.raises(type(fault)) as raised:
        await collect(run, outcomes)
    assert raised.value is fault
    sent = count - count % 5
    assert list(range(sent)) == items_of(outcomes)
    expected = BulkSummary(accepted=sent, not_attempted=count - sent, cost=Decimal(sent))
    assert expected == run.summary


@pytest.mark.anyio
async def test_a_bug_in_the_send_is_raised_when_nothing_is_in_flight() -> None:
    """Its batch is unknown, reading stops, the others are waited for and told first."""
    bug = Told("a bug")
    desk = Desk({0: bug}, held=[0, 1])
    async with desk.run(Source().later(), max_in_flight=2) as run:
        with anyio.move_on_after(0):
            await anext(run)
        await anyio.wait_all_tasks_blocked()
        desk.let_go(0)
        outcome = await anext(run)
        assert (outcome.index, outcome.state, outcome.error) == (0, "unknown", None)
        desk.let_go(1)
        outcomes: list[Outcome] = []
        with pytest.raises(Told) as raised:
            await take(run, outcomes)
        assert raised.value is bug
        assert [outcome.state for outcome in outcomes] == ["accepted"]
        assert len(desk.begun) == 2
        assert [outcome async for outcome in run] == []


@pytest.mark.anyio
async def test_the_first_fault_is_raised() -> None:
    """Once, however many there are; a batch that a bug hit is none that failed in a row."""
    desk = Desk({n: Told(str(n)) for n in range(8)})
    with pytest.raises(Told, match="0"):
        await outcomes_of(desk.run(range(8)))


@pytest.mark.anyio
async def test_a_fault_comes_out_of_a_block_that_is_left() -> None:
    """Where nobody iterates any more, the block's end raises it."""
    desk = Desk({1: Told("late")}, held=[1])
    run = desk.run(range(2), progress=desk.let_second_go)
    with pytest.raises(Told, match="late"):
        await leave_by_break(run)
    assert BulkSummary(accepted=1, unknown=1, cost=Decimal(1)) == run.summary


@pytest.mark.anyio
async def test_the_blocks_exception_wins_over_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    """What the block raises comes out as itself; the log tells of the other."""
    desk = Desk({1: ZeroDivisionError()}, held=[1])
    run = desk.run(range(2), progress=desk.let_second_go)
    with pytest.raises(Told):
        await raise_after_one(run)
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.ERROR, "a bulk run's ZeroDivisionError gives way to what its block raised")
    ]


@pytest.mark.anyio
async def test_what_progress_raises_comes_out_as_itself() -> None:
    """It stops the reading, and cuts nothing."""

    def progress(summary: BulkSummary) -> None:
        if summary.accepted >= 3:
            raise Told(summary.accepted)

    desk = Desk()
    run = desk.run(Source().later(), max_in_flight=2, progress=progress)
    with pytest.raises(Told):
        await outcomes_of(run)
    assert run.summary.accepted == len(desk.begun) < 9


@pytest.mark.anyio
async def test_what_closing_the_source_raises_comes_out_as_itself() -> None:
    """Also when the block is left early."""

    async def source() -> AsyncIterator[int]:
        try:
            while True:
                yield 0
        finally:
            raise Told

    run = Desk().run(source(), max_in_flight=2)
    with pytest.raises(Told):
        await leave_by_break(run)


@pytest.mark.anyio
async def test_a_source_that_cannot_be_opened_raises_at_the_first_step() -> None:
    """What asking for its iterator raises is the source's, too."""

    class Closed:
        def __iter__(self) -> Iterator[int]:
            raise Told

    async with Desk().run(Closed()) as run:
        with pytest.raises(Told):
            await anext(run)


@pytest.mark.anyio
async def test_no_group_leaves() -> None:
    """Bugs of several batches, of the source and of `progress` together are one exception."""

    def progress(_summary: BulkSummary) -> None:
        raise Told("progress")

    desk = Desk(dict.fromkeys(range(3), Told("send")))
    with pytest.raises(Told):
        await outcomes_of(desk.run(Source(3, fault=Told("source")).later(), progress=progress))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Heed Ctrl-C, also where the tests run in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_while_leaving_comes_out_as_itself() -> None:
    """Ctrl-C during the wait for what is in flight ends it, without a group around it."""

    @trio.lowlevel.enable_ki_protection
    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)  # trio hands it to the main task

    desk = Desk(held=[1])
    run = desk.run(range(2))

    async def main() -> None:
        async with run:
            async for _ in run:
                interrupt()
                break

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)
    assert BulkSummary(accepted=1, unknown=1, cost=Decimal(1)) == run.summary


# --- guards against wrong use ---


@pytest.mark.anyio
async def test_a_run_is_entered_once() -> None:
    """Entering it again, in its block or after it, is `SessionMisuse`."""
    run = Desk().run(range(1))
    async with run:
        with pytest.raises(SessionMisuse, match="entered once"):
            await run.__aenter__()
        assert len([outcome async for outcome in run]) == 1
    with pytest.raises(SessionMisuse, match="entered once"):
        await run.__aenter__()


@pytest.mark.anyio
async def test_a_run_is_iterated_in_its_block() -> None:
    """Without entering it, or after a block that never did, it is `SessionMisuse`, not empty."""
    desk = Desk()
    run = desk.run(range(1))
    with pytest.raises(SessionMisuse, match="async with"):
        await anext(run)
    async with run:
        pass
    with pytest.raises(SessionMisuse, match="Nothing was sent"):
        await anext(run)
    assert desk.begun == []


@pytest.mark.anyio
@pytest.mark.parametrize("takers", [2, 5])
@pytest.mark.parametrize("held", [(), range(12)], ids=["free", "held"])
async def test_several_tasks_may_iterate(takers: int, held: Iterable[int]) -> None:
    """Each outcome goes to one of them, and all come to the end."""
    desk = Desk(held=held)
    taken: list[int] = []

    async def taker() -> None:
        async for outcome in run:
            taken.extend(outcome.messages)

    async with desk.run(range(12), max_in_flight=3) as run, anyio.create_task_group() as group:
        for _ in range(takers):
            group.start_soon(taker)
        for number in range(12):
            await anyio.wait_all_tasks_blocked()
            desk.let_go(number)
    assert list(range(12)) == sorted(taken)


@pytest.mark.anyio
async def test_an_iterating_task_ends_when_the_block_is_left() -> None:
    """Another task that waits for an outcome is told of the end."""
    ended = anyio.Event()

    async def taker() -> None:
        async for _ in run:
            pass
        ended.set()

    async def stuck() -> AsyncIterator[int]:
        await anyio.sleep_forever()
        yield 0

    async with anyio.create_task_group() as group:
        async with Desk().run(stuck()) as run:
            group.start_soon(taker)
            await anyio.wait_all_tasks_blocked()
        await ended.wait()


# --- all of it together ---

ENDINGS: list[End | None] = [
    *[None] * 6,
    UNKNOWN,
    UNREACHABLE,
    LIMITED,
    REFUSED,
    BLOCKED,
    receipt(0, unsent=1),
]
EXITS = ["end", "break", "raise", "cancel", "source", "bug", "resume"]


@frozen
class Case:
    """A run to be tried: what comes in, how batches end, how the block is left."""

    count: int
    size: int
    in_flight: int
    later: bool
    ends: Sequence[End | None]
    bad: set[int]
    keys: int
    way_out: str
    after: int
    limit: int | None

    def desk(self) -> Desk:
        ends: dict[int, End] = {n: end for n, end in enumerate(self.ends) if end is not None}
        if self.way_out == "bug":
            ends[self.after] = Told("bug")
        cut = range(self.after + 1, self.after + 4) if self.way_out == "cancel" else ()
        return Desk(ends, held=cut)

    def source(self) -> Source:
        fault = Told("source") if self.way_out == "source" else None
        return Source(self.count, fault=fault, shape=self.number)

    def number(self, number: int) -> int:
        return -number - 1 if number in self.bad else number + 1


class Trial:
    """Runs a case, and looks at the counts at every moment."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.source = case.source()
        self.desk = case.desk()
        self.outcomes: list[Outcome] = []
        self.run = self.desk.run(
            self.source.later() if case.later else self.source.now(),
            size=case.size,
            max_in_flight=case.in_flight,
            max_recipients=case.limit,
            progress=self.add_up,
            key=lambda item: str(item % case.keys),
        )

    def add_up(self, summary: BulkSummary) -> None:
        assert total(summary) == self.source.read

    async def go(self) -> None:
        try:
            with anyio.CancelScope() as scope:
                async with self.run:
                    for _ in range(3 if self.case.way_out == "resume" else 1):
                        await self.iterate(scope)
                        self.run.resume()
        except Told:
            assert self.case.way_out in {"raise", "source", "bug"}
        await take(self.run, self.outcomes)

    async def iterate(self, scope: anyio.CancelScope) -> None:
        async for outcome in self.run:
            self.outcomes.append(outcome)
            self.add_up(self.run.summary)
            if len(self.outcomes) > self.case.after:
                match self.case.way_out:
                    case "break":
                        return
                    case "raise":
                        raise Told("block")
                    case "cancel":
                        scope.cancel()
                    case _:
                        pass

    def account(self) -> None:
        summary = self.run.summary
        self.add_up(summary)
        sent = Counter(item for group in self.desk.begun for item in group)
        states = [(item, outcome.state) for outcome in self.outcomes for item in outcome.messages]
        told = Counter(item for item, _ in states)
        assert max([0, *sent.values(), *told.values()]) <= 1
        counts = Counter(state for _, state in states)
        assert [counts[state] for state in get_args(State)] == [
            getattr(summary, state) for state in get_args(State)
        ]
        # Every batch that began has an outcome, and beside them bad input alone.
        assert set(sent) == {item for item, _ in states if item > 0}
        assert {outcome.index for outcome in self.outcomes} == set(range(len(self.outcomes)))


@settings(max_examples=300, deadline=None)
@given(
    backend=st.sampled_from(["asyncio", "trio"]),
    case=st.builds(
        Case,
        count=st.integers(0, 60),
        size=st.integers(1, 7),
        in_flight=st.integers(1, 5),
        later=st.booleans(),
        ends=st.lists(st.sampled_from(ENDINGS), max_size=30),
        bad=st.sets(st.integers(0, 60), max_size=9),
        keys=st.sampled_from([3, 1000]),
        way_out=st.sampled_from(EXITS),
        after=st.integers(0, 12),
        limit=st.none() | st.integers(1, 60),
    ),
)
def test_nobody_is_lost_doubled_or_counted_twice(backend: str, case: Case) -> None:
    """Whatever the sizes, faults and ways out: who was read has one state, and is sent once."""
    trial = Trial(case)
    anyio.run(trial.go, backend=backend)
    trial.account()
