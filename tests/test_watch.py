"""Following a batch: what is new or changed, until all are final or the time is up."""

import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest
from attrs import define, field

from every8d_async import (
    AuthenticationFailed,
    DeliveryReport,
    Every8DError,
    Every8DSession,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidRequest,
    MalformedReply,
    Page,
    Pager,
    RateLimited,
    Watch,
)
from every8d_async.simulator import Account, Simulator
from every8d_async.testing import report
from tests import kit
from tests.kit import FIRST, PICTURE, SECOND, THIRD

EVERY, TIMEOUT = 30.0, 3600.0
HOURS, MOMENT = timedelta(hours=5), timedelta(milliseconds=5)
PASSING = [
    GatewayUnavailable("HTTP 503"),
    GatewayUnreachable("connect", "ConnectError"),
    RateLimited(90.0),
]
FATAL = [
    MalformedReply(["SMS_COUNT: is missing"], "{}"),
    GatewayRefused(-7, "no"),
    AuthenticationFailed(-101, "密碼錯誤"),
]

# One reading of a batch: its rows (with a count, where it is not theirs), or how it failed.
Rows = list[DeliveryReport]
Reading = Rows | tuple[int, Rows] | Every8DError


@define
class Batch:
    """A batch that is read as scripted, in a time that passes only while somebody sleeps."""

    readings: list[Reading]
    now: float = 1000.0
    reads: list[float] = field(factory=list)
    naps: list[float] = field(factory=list)

    def pager(self) -> Pager[DeliveryReport]:
        reading = self.readings[min(len(self.reads), len(self.readings) - 1)]
        self.reads.append(self.now)

        async def fetch(number: int) -> Page[DeliveryReport]:
            if isinstance(reading, Every8DError):
                raise reading.copy_for("sms.delivery_reports")
            total, rows = reading if isinstance(reading, tuple) else (len(reading), reading)
            return Page(number, total, tuple(rows) if number == 1 else ())

        return Pager(fetch, start_page=1, window=1)

    async def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds

    def watch(self, every: float = EVERY, timeout: float = TIMEOUT) -> Watch:
        return Watch(
            self.pager, every=every, timeout=timeout, now=lambda: self.now, sleep=self.sleep
        )


def codes(reports: Sequence[DeliveryReport]) -> list[tuple[str, int]]:
    return [(each.mobile[-1], each.code) for each in reports]


async def gathered(watch: Watch) -> list[tuple[str, int]]:
    return codes([each async for each in watch])


def rows(*given: int) -> Rows:
    """Give a row for each code, of the first mobile, the second and so on."""
    mobiles = (FIRST, SECOND, THIRD)
    return [
        report(mobile, code, reference=str(number))
        for number, (mobile, code) in enumerate(zip(mobiles, given, strict=False), start=1)
    ]


pytestmark = pytest.mark.anyio


async def test_each_report_when_new_or_changed() -> None:
    """A report comes once, and again when it has changed; what stayed as it was does not."""
    batch = Batch([rows(0), rows(0, 0), rows(0, 100), rows(0, 100), rows(103, 100)])
    watch = batch.watch()
    assert await gathered(watch) == [("1", 0), ("2", 0), ("2", 100), ("1", 103)]
    assert watch.is_complete
    assert batch.reads == [1000.0, 1030.0, 1060.0, 1090.0, 1120.0]
    assert batch.naps == [EVERY] * 4


async def test_any_change_is_one() -> None:
    """Not the status alone: a cost or a time that was put right is told, too."""
    early = report(FIRST, 0, received_at=None)
    batch = Batch([[early], [report(FIRST, 0)], [report(FIRST, 100)]])
    assert await gathered(batch.watch()) == [("1", 0), ("1", 0), ("1", 100)]


async def test_all_final_at_once() -> None:
    """A batch that is through is read once, and nobody sleeps."""
    batch = Batch([rows(100, 103, 301)])
    watch = batch.watch()
    assert await gathered(watch) == [("1", 100), ("2", 103), ("3", 301)]
    assert watch.is_complete
    assert (batch.reads, batch.naps) == ([1000.0], [])


async def test_no_rows_yet_is_not_the_end() -> None:
    """The gateway shows rows late: an empty batch is looked at again."""
    batch = Batch([[], [], rows(100)])
    watch = batch.watch()
    assert await gathered(watch) == [("1", 100)]
    assert watch.is_complete
    assert len(batch.reads) == 3


async def test_rows_that_are_missing_are_waited_for() -> None:
    """Counted, but not handed over: the batch is not complete, however final its other rows."""
    batch = Batch([(2, rows(100)), (2, rows(100)), rows(100, 100)])
    watch = batch.watch()
    assert await gathered(watch) == [("1", 100), ("2", 100)]
    assert watch.is_complete
    assert len(batch.reads) == 3


async def test_the_same_mobile_twice() -> None:
    """Two messages to one mobile under one reference are two, in the gateway's order."""
    twice = [report(FIRST, code, reference="") for code in (0, 0)]
    later = [report(FIRST, code, reference="") for code in (0, 100)]
    last = [report(FIRST, code, reference="") for code in (103, 100)]
    batch = Batch([twice, later, last])
    assert await gathered(batch.watch()) == [("1", 0), ("1", 0), ("1", 100), ("1", 103)]


async def test_the_time_is_up() -> None:
    """At the end it looks once more, ends without an error, and says that it is not complete."""
    batch = Batch([rows(0)])
    watch = batch.watch(timeout=75.0)
    assert await gathered(watch) == [("1", 0)]
    assert not watch.is_complete
    assert batch.reads == [1000.0, 1030.0, 1060.0, 1075.0]
    assert batch.naps == [30.0, 30.0, 15.0]


async def test_news_of_the_last_look_are_told() -> None:
    """What became final in the last moment is handed over, and the batch is complete."""
    batch = Batch([rows(0), rows(100)])
    watch = batch.watch(every=30.0, timeout=10.0)
    assert await gathered(watch) == [("1", 0), ("1", 100)]
    assert watch.is_complete
    assert batch.naps == [10.0]


@pytest.mark.parametrize("codes_at_the_end", [(0,), (100,)], ids=["time is up", "complete"])
async def test_an_ended_watch_stays_so(codes_at_the_end: tuple[int, ...]) -> None:
    """Iterating on asks nobody."""
    batch = Batch([rows(*codes_at_the_end)])
    watch = batch.watch(timeout=EVERY)
    await gathered(watch)
    reads = len(batch.reads)
    assert await gathered(watch) == []
    assert reads == len(batch.reads)


async def test_time_begins_with_the_iteration() -> None:
    """A watch that is made early does not lose time by lying about."""
    batch = Batch([rows(0), rows(100)])
    watch = batch.watch(timeout=EVERY)
    batch.now += 10 * TIMEOUT
    assert await gathered(watch) == [("1", 0), ("1", 100)]


@pytest.mark.parametrize("failure", PASSING, ids=lambda error: type(error).__name__)
async def test_passing_failures_are_borne(
    failure: Every8DError, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a reading has succeeded, a failure is logged, and the batch is read again."""
    batch = Batch([rows(0), failure, failure, rows(100)])
    with caplog.at_level(logging.WARNING, "every8d_async"):
        watch = batch.watch()
        assert await gathered(watch) == [("1", 0), ("1", 100)]
    assert watch.is_complete
    assert [f"a batch could not be read, going on: {type(failure).__name__}"] * 2 == caplog.messages


@pytest.mark.parametrize("failure", PASSING, ids=lambda error: type(error).__name__)
async def test_not_before_a_first_success(failure: Every8DError) -> None:
    """Who can't reach the gateway at all hears so at once; iterating on tries again."""
    batch = Batch([failure, failure, rows(100)])
    watch = batch.watch()
    for _ in range(2):
        with pytest.raises(type(failure)) as caught:
            await anext(watch)
        assert caught.value.page == 1
    assert await gathered(watch) == [("1", 100)]
    assert watch.is_complete


@pytest.mark.parametrize("failure", PASSING, ids=lambda error: type(error).__name__)
async def test_ten_in_a_row_and_no_more(failure: Every8DError) -> None:
    """Ten readings in a row may fail; the eleventh failure is raised, and iterating goes on."""
    batch = Batch([rows(0), *[failure] * 10, rows(0), *[failure] * 11, rows(100)])
    watch = batch.watch()
    assert codes([await anext(watch)]) == [("1", 0)]
    with pytest.raises(type(failure)):
        await anext(watch)
    assert len(batch.reads) == 1 + 10 + 1 + 11
    assert await gathered(watch) == [("1", 100)]


@pytest.mark.parametrize("failure", FATAL, ids=lambda error: type(error).__name__)
async def test_other_failures_are_raised(failure: Every8DError) -> None:
    """What won't pass by itself is not waited out."""
    batch = Batch([rows(0), failure, rows(100)])
    watch = batch.watch()
    assert codes([await anext(watch)]) == [("1", 0)]
    with pytest.raises(type(failure)):
        await anext(watch)
    assert await gathered(watch) == [("1", 100)]


async def test_rows_before_a_failure_are_told() -> None:
    """A page that fails does not keep back the rows before it."""

    async def fetch(number: int) -> Page[DeliveryReport]:
        if number > 1 and len(batch.reads) == 1:
            raise GatewayUnavailable("HTTP 503")
        return Page(number, 2, (rows(100, 100)[number - 1],))

    def pager() -> Pager[DeliveryReport]:
        batch.reads.append(batch.now)
        return Pager(fetch, start_page=1, window=1)

    batch = Batch([])
    watch = Watch(pager, every=EVERY, timeout=TIMEOUT, now=lambda: batch.now, sleep=batch.sleep)
    with pytest.raises(GatewayUnavailable) as caught:
        await anext(watch)
    assert caught.value.page == 2
    assert await gathered(watch) == [("1", 100), ("2", 100)]
    assert watch.is_complete


async def test_leaving_is_safe() -> None:
    """It is a class, not a generator: a break leaves nothing behind, and it can be gone on with."""
    batch = Batch([rows(0, 0), rows(100, 100)])
    watch = batch.watch()
    async for each in watch:
        assert (each.mobile[-1], each.code) == ("1", 0)
        break
    assert len(batch.reads) == 1
    assert await gathered(watch) == [("2", 0), ("1", 100), ("2", 100)]


@pytest.mark.parametrize("kind", ["sms", "mms"])
async def test_bad_arguments(kind: str) -> None:
    """Bad arguments are told when the watch is made, all at once, and nothing is asked."""
    session = kit.session(kit.refusing())
    with pytest.raises(InvalidRequest) as caught:
        getattr(session, kind).watch("", every=30, timeout=timedelta(0))
    assert list(caught.value.problems) == [
        "batch_id: must not be empty",
        "every: must be a timedelta above zero",
        "timeout: must be a timedelta above zero",
    ]
    assert f"{kind}.delivery_reports" == caught.value.operation


@pytest.mark.parametrize("kind", ["sms", "mms"])
async def test_over_sockets(kind: str) -> None:
    """From the carrier's hands to the phones, over the wire; then it ends by itself."""
    simulator = Simulator(accounts=[Account(uid="Test", password="XXX")], delivery_delay=HOURS)
    simulator.fail(SECOND, 103)
    with simulator.serve() as url:
        async with Every8DSession("Test", "XXX", site=url) as session:
            if kind == "sms":
                receipt = await session.sms.send("hello", [FIRST, SECOND])
                watch = session.sms.watch(receipt.batch_id, every=MOMENT)
            else:
                receipt = await session.mms.send("", [FIRST, SECOND], PICTURE, subject="主旨")
                watch = session.mms.watch(receipt.batch_id, every=MOMENT)
            seen: list[DeliveryReport] = []
            async for each in watch:
                seen.append(each)
                if len(seen) == 2:
                    simulator.deliver_all()
            assert watch.is_complete
    final = 100 if kind == "sms" else 700
    assert [("1", 0), ("2", 0), ("1", final), ("2", 103)] == codes(seen)
