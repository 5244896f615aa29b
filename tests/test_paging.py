"""The pager over a hand-made fetch: order, bounds, and an end that trusts no page size."""

import asyncio
import logging
from collections.abc import Callable, Sequence

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async._errors import Every8DError, GatewayUnavailable, RateLimited
from every8d_async._models import Page
from every8d_async._paging import Pager

pytestmark = pytest.mark.anyio


class Batch:
    """Hands out pages of given sizes, and notes what was asked for, and how much at once."""

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        total: int | Sequence[int] | None = None,
        failing: dict[int, Exception] | None = None,
    ) -> None:
        self._sizes = sizes
        self._total = sum(sizes) if total is None else total
        self._failing = failing or {}
        self.asked: list[int] = []
        self.in_flight = 0
        self.most_in_flight = 0

    async def fetch(self, number: int) -> Page[int]:
        self.asked.append(number)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            # Later pages come sooner: order must not depend on luck.
            for _ in range(max(1, 9 - number)):
                await anyio.lowlevel.checkpoint()
        finally:
            self.in_flight -= 1
        if number in self._failing:
            raise self._failing[number]
        return Page(number, self.told(number), tuple(self.rows(number)))

    def told(self, number: int) -> int:
        if isinstance(self._total, int):
            return self._total
        return self._total[min(number, len(self._total)) - 1]

    def rows(self, number: int) -> range:
        before = sum(self._sizes[: number - 1])
        return range(before, before + sum(self._sizes[number - 1 : number]))

    def pager(self, *, start_page: int = 1, window: int = 4) -> Pager[int]:
        return Pager(self.fetch, start_page=start_page, window=window)


async def rows_of(pager: Pager[int]) -> list[int]:
    return [row async for row in pager]


async def rows_until_error(pager: Pager[int]) -> tuple[list[int], Exception | None]:
    rows: list[int] = []
    try:
        async for row in pager:
            rows.append(row)  # noqa: PERF401 - those before the failure count
    except Exception as error:  # noqa: BLE001 - whatever comes is looked at
        return rows, error
    return rows, None


# --- which pages are asked for ---


@pytest.mark.parametrize(
    ("sizes", "window", "asked"),
    [
        ([], 4, [1]),
        ([1], 4, [1]),
        ([1000], 4, [1]),
        ([1000, 1], 4, [1, 2]),
        ([1000, 1000, 500], 4, [1, 2, 3]),
        ([1000, 1000, 500], 1, [1, 2, 3]),
        ([1000] * 6, 4, [1, 2, 3, 4, 5, 6]),
        ([10] * 3, 1000, [1, 2, 3]),
        ([10, 10, 5], 2, [1, 2, 3]),
    ],
    ids=["empty", "row", "page", "page+1", "2500", "2500/1", "window+", "tens", "tens/2"],
)
async def test_no_page_too_many(sizes: list[int], window: int, asked: list[int]) -> None:
    """With pages of one size, each is asked for once, and none beyond the last."""
    batch = Batch(sizes)
    assert list(range(sum(sizes))) == await rows_of(batch.pager(window=window))
    assert asked == sorted(batch.asked)


@pytest.mark.parametrize(
    "sizes",
    [[10, 1000, 490], [1000, 10, 1000, 10, 5], [1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [500, 1000]],
    ids=["growing", "mixed", "rising", "falling", "half"],
)
@pytest.mark.parametrize("window", [1, 2, 4, 50])
async def test_page_sizes_are_not_trusted(sizes: list[int], window: int) -> None:
    """The end is where the gateway's count is reached, whatever the pages' sizes."""
    pager = Batch(sizes).pager(window=window)
    assert list(range(sum(sizes))) == await rows_of(pager)
    assert pager.missing == 0


async def test_pages_are_handed_over_whole_and_in_order() -> None:
    """Pages come by number, though the later ones of a window were there first."""
    batch = Batch([3, 3, 3, 3, 1])
    pages = [page async for page in batch.pager().pages()]
    assert [page.number for page in pages] == [1, 2, 3, 4, 5]
    assert [Page(number, 13, tuple(batch.rows(number))) for number in range(1, 6)] == pages


async def test_an_empty_batch(caplog: pytest.LogCaptureFixture) -> None:
    """Who iterates over pages meets no empty one, and where nothing was counted, nothing lacks."""
    batch = Batch([], total=0)
    assert [page async for page in batch.pager().pages()] == []
    assert caplog.messages == []


@pytest.mark.parametrize(("window", "most"), [(1, 1), (2, 2), (4, 4), (100, 19)])
async def test_the_window_bounds_what_is_asked_at_once(window: int, most: int) -> None:
    """Page 1 goes alone; after it, `window` pages at most are under way."""
    batch = Batch([10] * 20)
    await rows_of(batch.pager(window=window))
    assert batch.asked[0] == 1
    assert most == batch.most_in_flight


async def test_nothing_is_asked_ahead_of_the_reader() -> None:
    """Making a pager asks for nothing, and a window is asked for once its first row is wanted."""
    batch = Batch([2] * 9)
    pager = batch.pager(window=3)
    rows = aiter(pager)
    assert batch.asked == []
    asked: list[int] = []
    for _ in range(18):
        await anext(rows)
        asked.append(len(batch.asked))
    assert asked == [1, 1, *[4] * 6, *[7] * 6, *[9] * 4]


# --- counts that change, pages that are empty too early ---


async def test_a_count_that_grows_is_followed() -> None:
    """The latest count stands: rows that came while reading are read too."""
    batch = Batch([10, 10, 10, 5], total=[20, 35, 35, 35])
    assert list(range(35)) == await rows_of(batch.pager(window=1))


async def test_a_count_that_shrinks_is_followed() -> None:
    """The latest count stands: no page is asked for rows that are gone."""
    batch = Batch([10, 10], total=[40, 20])
    assert list(range(20)) == await rows_of(batch.pager(window=1))
    assert batch.asked == [1, 2]


async def test_more_rows_than_counted_are_handed_over() -> None:
    """A page's rows are all handed over, also beyond the count."""
    batch = Batch([10], total=7)
    assert list(range(10)) == await rows_of(batch.pager())


@pytest.mark.parametrize(
    ("sizes", "total", "missing"),
    [([], 5, 5), ([10, 10], 35, 15), ([10, 3], 20, 7), ([10], 11, 1)],
    ids=["first", "later", "after a short one", "one row"],
)
async def test_an_empty_page_before_the_end_is_told(
    sizes: list[int], total: int, missing: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An empty page ends the iteration; rows that were counted but never came are told."""
    pager = Batch(sizes, total=total).pager()
    with caplog.at_level(logging.WARNING, logger="every8d_async"):
        assert list(range(sum(sizes))) == await rows_of(pager)
    assert missing == pager.missing
    assert [f"page {len(sizes) + 1} is empty, {missing} row(s) before the end"] == caplog.messages


async def test_a_count_of_nothing_takes_nothing_back(caplog: pytest.LogCaptureFixture) -> None:
    """An empty page says 0 where the text's sample does; what was told before still counts."""
    pager = Batch([10, 10], total=[35, 35, 0]).pager(window=1)
    assert list(range(20)) == await rows_of(pager)
    assert pager.missing == 15
    assert len(caplog.messages) == 1


async def test_a_monstrous_count_is_only_a_count() -> None:
    """A count without measure asks for a window more, and ends at the empty page."""
    batch = Batch([10, 10], total=10**400)
    pager = batch.pager(window=4)
    assert list(range(20)) == await rows_of(pager)
    assert pager.missing == 10**400 - 20
    assert sorted(batch.asked) == [1, 2, 3, 4, 5]


async def test_a_whole_batch_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """No warning, no missing rows, where all came."""
    pager = Batch([10, 10, 3]).pager()
    await rows_of(pager)
    assert pager.missing == 0
    assert caplog.messages == []


# --- failing pages ---


@pytest.mark.parametrize("failing", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("window", [1, 3, 10])
async def test_rows_before_a_failing_page_come_first(failing: int, window: int) -> None:
    """Rows are handed over up to the failure, which names its page and is no group."""
    error = GatewayUnavailable("HTTP 503", operation="sms.delivery_reports")
    batch = Batch([4] * 7, failing={failing: error})
    rows, caught = await rows_until_error(batch.pager(window=window))
    assert list(range(4 * (failing - 1))) == rows
    assert caught is error
    assert failing == error.page
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_the_first_of_several_failures_is_told() -> None:
    """Two pages of a window fail: the earlier one is what the caller can go on from."""
    first, second = GatewayUnavailable("HTTP 503"), RateLimited(2.0)
    rows, caught = await rows_until_error(Batch([4] * 7, failing={3: first, 5: second}).pager())
    assert (list(range(8)), first) == (rows, caught)
    assert (first.page, second.page) == (3, 5)


@pytest.mark.parametrize("failing", [1, 3])
async def test_a_bug_comes_out_as_itself(failing: int) -> None:
    """What is not this package's error is the caller's to see, neither wrapped nor grouped."""
    bug = ValueError("a bug in fetch")
    rows, caught = await rows_until_error(Batch([4] * 5, failing={failing: bug}).pager())
    assert (list(range(4 * (failing - 1))), bug) == (rows, caught)
    assert caught is bug


async def test_after_a_failure_the_iteration_is_over() -> None:
    """Iterators that raised once don't ask again."""
    batch = Batch([4] * 3, failing={1: GatewayUnavailable("HTTP 503")})
    pages = batch.pager().pages()
    with pytest.raises(GatewayUnavailable):
        await anext(pages)
    with pytest.raises(StopAsyncIteration):
        await anext(pages)
    assert batch.asked == [1]


async def test_a_failure_beyond_the_end_is_nobodys() -> None:
    """A page that turned out not to be needed may fail."""
    batch = Batch([10, 30], failing={3: GatewayUnavailable("x"), 4: GatewayUnavailable("x")})
    assert list(range(40)) == await rows_of(batch.pager())
    assert sorted(batch.asked) == [1, 2, 3, 4]


async def test_going_on_from_the_failing_page() -> None:
    """`error.page` as `start_page` gives the rest: together all rows, each once."""
    sizes = [4, 4, 4, 4, 2]
    rows, caught = await rows_until_error(Batch(sizes, failing={4: RateLimited(1.0)}).pager())
    assert isinstance(caught, Every8DError)
    assert caught.page is not None
    rows += await rows_of(Batch(sizes).pager(start_page=caught.page))
    assert list(range(18)) == rows


# --- beginning in the middle ---


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize(
    ("sizes", "start"),
    [
        ([1000, 1000, 500], 2),
        ([1000, 1000, 500], 3),
        ([1000, 1000, 1000], 2),
        ([1000, 1000, 1000], 3),
        ([10, 1000, 490], 2),
        ([10, 1000, 1000, 1000, 5], 3),
        ([1000, 10, 10, 1000, 5], 2),
        ([1, 1, 1, 1], 4),
    ],
    ids=str,
)
async def test_beginning_in_the_middle(
    sizes: list[int], start: int, window: int, caplog: pytest.LogCaptureFixture
) -> None:
    """All rows from the start page on, whatever the sizes before it, and no false alarm."""
    pager = Batch(sizes).pager(start_page=start, window=window)
    assert list(range(sum(sizes[: start - 1]), sum(sizes))) == await rows_of(pager)
    assert pager.missing == 0
    assert caplog.messages == []


async def test_beginning_in_the_middle_asks_for_no_page_too_many() -> None:
    """With full pages of one size the gateway's count is enough to know the end."""
    batch = Batch([1000, 1000, 500])
    await rows_of(batch.pager(start_page=2))
    assert batch.asked == [2, 3]


@pytest.mark.parametrize("told", [25, 0], ids=["count", "no count"])
async def test_beginning_beyond_the_end(told: int, caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing, and nothing is missing."""
    pager = Batch([10, 10, 5], total=told).pager(start_page=9)
    assert await rows_of(pager) == []
    assert pager.missing == 0
    assert caplog.messages == []


async def test_begun_in_the_middle_missing_rows_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Two pages of one size tell how many rows came before them, and so how many are missing."""
    pager = Batch([10, 10, 10], total=42).pager(start_page=2)
    assert list(range(10, 30)) == await rows_of(pager)
    assert pager.missing == 12
    assert caplog.messages == ["page 4 is empty, 12 row(s) before the end"]


# --- reading only some ---


async def test_first_page() -> None:
    """One request, for one page: the one at `start_page`, empty or not."""
    batch = Batch([3, 3, 1])
    assert Page(1, 7, (0, 1, 2)) == await batch.pager().first_page()
    assert Page(3, 7, (6,)) == await batch.pager(start_page=3).first_page()
    assert Page(4, 7, ()) == await batch.pager(start_page=4).first_page()
    assert batch.asked == [1, 3, 4]


async def test_first_page_names_itself_when_it_fails() -> None:
    """Its error says which page it was, as while iterating."""
    error = GatewayUnavailable("HTTP 503")
    with pytest.raises(GatewayUnavailable) as caught:
        await Batch([1], failing={5: error}).pager(start_page=5).first_page()
    assert caught.value is error
    assert error.page == 5
    assert error.__context__ is None


@pytest.mark.parametrize(
    ("most", "rows", "asked"),
    [
        (None, 95, range(1, 11)),
        (1000, 95, range(1, 11)),
        (95, 95, range(1, 11)),
        (94, 94, range(1, 11)),
        (90, 90, range(1, 10)),
        (41, 41, range(1, 6)),
        (40, 40, range(1, 5)),
        (11, 11, range(1, 3)),
        (10, 10, range(1, 2)),
        (1, 1, range(1, 2)),
        (0, 0, range(0)),
        (-1, 0, range(0)),
    ],
    ids=str,
)
@pytest.mark.parametrize("window", [1, 4, 100])
async def test_collect_asks_for_no_page_beyond(
    most: int | None, rows: int, asked: range, window: int
) -> None:
    """`max_rows` bounds the rows, and the pages that are asked for."""
    batch = Batch([10] * 9 + [5])
    assert list(range(rows)) == await batch.pager(window=window).collect(max_rows=most)
    assert list(asked) == sorted(batch.asked)


async def test_collect_does_not_trust_sizes_either() -> None:
    """Smaller pages than the first: it goes on until it has the rows."""
    batch = Batch([10, 1, 1, 1, 10, 10])
    assert list(range(14)) == await batch.pager().collect(max_rows=14)


@pytest.mark.parametrize("after", [1, 5, 12])
async def test_leaving_early_leaves_nothing_open(after: int) -> None:
    """Whoever breaks out leaves no task and no generator behind: warnings would be errors."""
    batch = Batch([3] * 9)
    seen: list[int] = []
    async for row in batch.pager():
        seen.append(row)
        if len(seen) == after:
            break
    assert list(range(after)) == seen
    assert batch.in_flight == 0


async def test_iterating_twice_asks_twice() -> None:
    """A pager keeps no rows: the second iteration sees what is true by then."""
    batch = Batch([3, 3, 1])
    pager = batch.pager(window=1)
    assert await rows_of(pager) == await rows_of(pager)
    assert batch.asked == [1, 2, 3, 1, 2, 3]


async def test_missing_is_of_the_latest_iteration() -> None:
    """What was missing once is not missing in an iteration that only begins."""
    pager = Batch([3], total=5).pager()
    await rows_of(pager)
    assert pager.missing == 2
    aiter(pager)
    assert pager.missing == 0


async def test_two_iterations_at_once_do_not_mix() -> None:
    """Each iterator reads on its own."""
    pager = Batch([2, 2, 1]).pager()
    one, other = aiter(pager), aiter(pager)
    assert [await anext(one), await anext(one), await anext(other)] == [0, 1, 0]


# --- cancellation ---


def hanging(batch: Batch, page: int, hang: Callable[[], None]) -> Pager[int]:
    """Make a pager whose fetch of one page hangs the first time, once all others have come."""
    hung: list[int] = []

    async def fetch(number: int) -> Page[int]:
        if number == page and not hung:
            hung.append(number)
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            hang()
            await anyio.sleep_forever()
        return await batch.fetch(number)

    return Pager(fetch, start_page=1, window=4)


each_place = pytest.mark.parametrize(
    "page", [1, 2, 5], ids=["alone", "first of a window", "last of a window"]
)


@each_place
async def test_after_a_cancelled_wait_no_row_is_lost(page: int) -> None:
    """A wait that was cut by a deadline can be taken up again: it asks anew, and skips nothing."""
    batch = Batch([2] * 7)
    scope = anyio.CancelScope()
    rows = aiter(hanging(batch, page, scope.cancel))
    seen: list[int] = []
    with scope:
        async for row in rows:
            seen.append(row)  # noqa: PERF401 - those before the cut count
    assert scope.cancelled_caught
    assert len(seen) == (0 if page == 1 else 2)
    seen += [row async for row in rows]
    assert list(range(14)) == seen
    assert batch.in_flight == 0


@each_place
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_native_cancel_is_no_group(page: int) -> None:
    """A native cancel comes out as itself, and leaves no page under way."""
    batch = Batch([2] * 7)
    hangs = anyio.Event()
    task = asyncio.create_task(hanging(batch, page, hangs.set).collect())
    await hangs.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert batch.in_flight == 0


# --- all of it ---


@settings(max_examples=300)
@given(
    rows=st.integers(0, 120),
    size=st.integers(1, 30),
    window=st.integers(1, 9),
    start=st.integers(1, 6),
    most=st.none() | st.integers(0, 130),
)
def test_any_batch(rows: int, size: int, window: int, start: int, most: int | None) -> None:
    """Whatever the sizes: all rows from the start page on, in order, each once, bounded."""
    sizes = [size] * (rows // size) + [rows % size] * (rows % size > 0)
    batch = Batch(sizes)
    expected = list(range(min((start - 1) * size, rows), rows))
    pager = batch.pager(start_page=start, window=window)
    assert expected[:most] == anyio.run(pager.collect, most)
    assert batch.most_in_flight <= window
    assert len(set(batch.asked)) == len(batch.asked)
    if start == 1:
        assert len(batch.asked) <= max(1, len(sizes))
    assert pager.missing == 0


@settings(max_examples=300)
@given(
    sizes=st.lists(st.integers(1, 25), max_size=12),
    window=st.integers(1, 9),
    failing=st.sets(st.integers(1, 12), max_size=2),
)
def test_any_sizes_and_failures(sizes: list[int], window: int, failing: set[int]) -> None:
    """Pages of any sizes, some failing: the rows before the first failing one, then its error."""
    errors: dict[int, Exception] = {number: GatewayUnavailable("x") for number in failing}
    batch = Batch(sizes, failing=errors)
    first = min([number for number in failing if number <= max(1, len(sizes))], default=None)
    rows, caught = anyio.run(rows_until_error, batch.pager(window=window))
    assert list(range(sum(sizes[: first - 1] if first else sizes))) == rows
    assert caught is (errors[first] if first else None)
    assert batch.most_in_flight <= window
