"""Planning: any source, read in slabs, a slab a transaction; what was planned is passed over."""

from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any

import anyio.lowlevel

from every8d_async._bulk import _Source as Source
from every8d_async._errors import InvalidRequest
from every8d_async.campaign._forms import Draft, refused_entry
from every8d_async.campaign._journal import Entry, Group, Journal
from every8d_async.campaign._values import Clock, Planned

# A slab's keys are put in order, so that each page of a large table is touched once a slab: few and
# large ones write least. Items are not kept, only what is written of them.
SLAB = 40_000
_READ = 1_000


class Planner:
    """Plans one source's items, in groups of a size."""

    def __init__(self, journal: Journal, draft: Draft, batch_size: int, clock: Clock) -> None:
        self._journal = journal
        self._draft = draft
        self._size = batch_size
        self._clock = clock
        self._waiting: list[Entry] = []
        self._groups: list[Group] = []
        self._position = 0
        self._held = 0
        self._done = Planned()

    async def run(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        progress: Callable[[Planned], None] | None,
    ) -> Planned:
        """Plan all. What the source raises comes out as itself; the slabs before it are planned."""
        source = Source(items)
        read: list[Any] = []
        more = True
        try:
            while more:
                await anyio.lowlevel.checkpoint()
                more = await source.fill(read, _READ)
                self._take(read, rest=not more)
                if self._held >= SLAB or not more:
                    await self._write()
                    if progress is not None:
                        progress(self._done)
        finally:
            await source.aclose()
        return self._done

    def _take(self, read: list[Any], *, rest: bool) -> None:
        for item, entry in zip(read, self._draft.check(read, self._position), strict=True):
            if isinstance(entry, InvalidRequest):
                problem = "; ".join(entry.problems)
                self._groups.append(Group((refused_entry(item),), problem))
            else:
                self._waiting.append(entry)
        self._position += len(read)
        self._held += len(read)
        read.clear()
        while len(self._waiting) >= self._size or (rest and self._waiting):
            self._groups.append(Group(tuple(self._waiting[: self._size])))
            del self._waiting[: self._size]

    async def _write(self) -> None:
        good = [group for group in self._groups if not group.problem]
        bad = [group for group in self._groups if group.problem]
        self._groups, self._held = [], len(self._waiting)
        form, now = self._draft.form, self._clock()
        planned = await self._journal.add(form, good, now)
        refused = await self._journal.add(form, bad, now) if bad else 0
        count = sum(len(group.entries) for group in (*good, *bad))
        self._done = Planned(
            self._done.planned + planned,
            self._done.repeated + count - planned - refused,
            self._done.refused + refused,
        )
