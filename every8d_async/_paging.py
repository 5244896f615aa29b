"""
Reading a batch page by page, some pages at once, in order.

No page size is trusted: a pager ends when as many rows were seen as the gateway counts, or when a
page is empty. Iterators are classes, not generators, so that leaving one early leaves nothing open.
"""

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from every8d_async._errors import Every8DError
from every8d_async._models import Page

Row = TypeVar("Row")
Fetch = Callable[[int], Awaitable[Page[Row]]]

_LOG = logging.getLogger("every8d_async")


class Pager(Generic[Row]):
    """
    A batch's rows, asked for as they are read (§4.2 to §4.4); it sends nothing.

    ::

        async for row in pager: ...
        async for page in pager.pages(): ...

    It can be left at any time, and iterated again, which asks again. Rows before a page that fails
    are handed over first; the error's `page` is where to go on with ``start_page=``.

    Attributes:
        missing: Rows that the gateway counted but did not hand over, in the latest iteration that
            came to its end.
    """

    def __init__(self, fetch: Fetch[Row], *, start_page: int, window: int) -> None:
        self._fetch = fetch
        self._start = start_page
        self._window = window
        self.missing = 0

    def __aiter__(self) -> AsyncIterator[Row]:
        return _Rows(self.pages())

    def pages(self) -> AsyncIterator[Page[Row]]:
        """Iterate over whole pages; the empty one that may end a batch is left out."""
        return self._pages(None)

    def _pages(self, limit: int | None) -> "_Pages[Row]":
        self.missing = 0
        return _Pages(self, self._fetch, self._start, self._window, limit)

    async def first_page(self) -> Page[Row]:
        """
        Ask for one page alone: the one at `start_page`.

        Raises:
            Every8DError: As iterating does; see `Sms.delivery_reports`. Its `page` is the number.
        """
        page = await _safely(self._fetch, self._start)
        if isinstance(page, Exception):
            raise page
        return page

    async def collect(self, max_rows: int | None = None) -> list[Row]:
        """
        Read the rows into a list, `max_rows` at most; no page is asked for beyond them.

        Raises:
            Every8DError: As iterating does; see `Sms.delivery_reports`. What was read until then is
                lost; `page` is where to go on.
        """
        rows: list[Row] = []
        if max_rows is not None and max_rows <= 0:
            return rows
        async for row in _Rows(self._pages(max_rows)):
            rows.append(row)
            if len(rows) == max_rows:
                break
        return rows


class _Pages(Generic[Row]):
    def __init__(
        self, pager: Pager[Row], fetch: Fetch[Row], start: int, window: int, limit: int | None
    ) -> None:
        self._pager = pager
        self._fetch = fetch
        self._skipped = start - 1
        self._next = start
        self._window = window
        self._limit = limit
        self._ready: deque[Page[Row] | Exception] = deque()
        self._wanted = 1
        self._told = 0
        self._seen = 0
        self._read = 0
        self._size = 0

    def __aiter__(self) -> AsyncIterator[Page[Row]]:
        return self

    async def __anext__(self) -> Page[Row]:
        if not self._ready:
            if not self._wanted:
                raise StopAsyncIteration
            await self._refill()
        page = self._ready.popleft()
        if isinstance(page, Exception):
            self._stop()
            raise page
        if not page.rows:
            self._end_early(page)
            raise StopAsyncIteration
        self._count(page)
        return page

    async def _refill(self) -> None:
        numbers = range(self._next, self._next + self._wanted)
        found: dict[int, Page[Row] | Exception] = {}

        async def fetch(number: int) -> None:
            found[number] = await _safely(self._fetch, number)

        if len(numbers) == 1:
            await fetch(numbers[0])
        else:
            async with anyio.create_task_group() as group:
                for number in numbers:
                    group.start_soon(fetch, number)
        # Only now: whoever was cancelled meanwhile, and goes on, is still to get these pages.
        self._next = numbers.stop
        self._ready.extend(found[number] for number in numbers)

    def _count(self, page: Page[Row]) -> None:
        """Ask next for as many pages as are missing by the sizes seen, `window` at most."""
        self._read += 1
        self._seen += len(page.rows)
        self._size = max(self._size, len(page.rows))
        self._told = page.total
        missing = self._told - self._skipped * self._size - self._seen
        if missing < 0 and self._skipped:
            # Some page before the first one read was shorter: an empty page will tell the end.
            missing = 1
        if self._limit is not None:
            missing = min(missing, self._limit - self._seen)
        if missing > 0:
            self._wanted = min(self._window, -(-missing // self._size))
        else:
            self._stop()

    def _end_early(self, page: Page[Row]) -> None:
        """Stop at an empty page, and tell of rows that were counted but not handed over."""
        self._stop()
        # An empty page may tell a count of 0: that takes back nothing that was told before.
        missing = max(page.total, self._told) - self._skipped * self._size - self._seen
        # Begun in the middle, one page alone does not tell how many rows came before it.
        if missing > 0 and (not self._skipped or self._read > 1):
            self._pager.missing = missing
            _LOG.warning("page %d is empty, %d row(s) before the end", page.number, missing)

    def _stop(self) -> None:
        self._ready.clear()
        self._wanted = 0


class _Rows(Generic[Row]):
    def __init__(self, pages: AsyncIterator[Page[Row]]) -> None:
        self._pages = pages
        self._rows: deque[Row] = deque()

    def __aiter__(self) -> AsyncIterator[Row]:
        return self

    async def __anext__(self) -> Row:
        while not self._rows:
            self._rows.extend((await anext(self._pages)).rows)
        return self._rows.popleft()


async def _safely(fetch: Fetch[Row], number: int) -> Page[Row] | Exception:
    """Fetch a page; a failure comes back as a value, so that no exception group arises."""
    try:
        return await fetch(number)
    except Every8DError as error:
        error.page = number
        return error
    except Exception as error:  # noqa: BLE001 - a bug: raised as it is, in its page's turn
        return error
