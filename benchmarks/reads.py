"""Ways to read delivery reports: whole batches from a server, and single pages."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from itertools import cycle
from typing import Any

from benchmarks.measure import Run, Slice, Stopwatch, repeated
from benchmarks.pages import FORMATS, page
from benchmarks.sends import Ticks

BATCH_ID = "220478cc-8506-49b2-93b7-2505f651c12e"
_KEPT = 20  # pages: each has times of its own, so that no cache knows all


def ours(form: str) -> Callable[[bytes], Any]:
    """Read by the package."""
    from every8d_async import ResponseFormat  # noqa: PLC0415 - each process imports what it measures
    from every8d_async._endpoints import SMS_REPORTS  # noqa: PLC0415

    return SMS_REPORTS[ResponseFormat(FORMATS.index(form))].parse


def obvious(form: str) -> Callable[[bytes], Any]:
    """Read as one would, with cattrs and strptime."""
    from benchmarks import obvious as reference  # noqa: PLC0415

    return {"JSON": reference.from_json, "TAB": reference.from_table, "XML": reference.from_xml}[
        form
    ]


def loads(module: str) -> Callable[[str], Callable[[bytes], Any]]:
    """Only make plain values of JSON."""
    return lambda _: import_module(module).loads


READERS: dict[str, Callable[[str], Callable[[bytes], Any]]] = {
    "ours": ours,
    "obvious": obvious,
    "json": loads("json"),
    "orjson": loads("orjson"),
}


@contextmanager
def decoding(reader: str, rows: int, form: str = "JSON", **_: Any) -> Generator[Run]:
    """Read one page after the other."""
    read = READERS[reader](form)
    pages = cycle([page(number, rows, form) for number in range(_KEPT)])
    yield repeated(lambda: read(next(pages)))


@contextmanager
def holding(reader: str, rows: int, **_: Any) -> Generator[Run]:
    """Hold pages, and count the bytes of a row."""
    read = READERS[reader]("JSON")
    read(page(_KEPT, 2))  # what is made once

    def run(_: float) -> Slice:
        running = Stopwatch()
        gc.collect()
        tracemalloc.start()
        held = [read(page(number, rows)) for number in range(_KEPT)]
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return running.slice(len(held), held=size / (rows * _KEPT))

    yield run


@contextmanager
def paging(url: str, pages: int, rows: int, window: int) -> Generator[Run]:
    """Read a whole batch by a session, so many pages at once; a page is a call."""
    from every8d_async import Every8DSession  # noqa: PLC0415

    async def run() -> Slice:
        async with Every8DSession("uid", "password", site=url) as session:
            await session.credit()  # a login, and a connection
            running, seen, found = Stopwatch(), 0, 0
            async for each in session.sms.delivery_reports(BATCH_ID, window=window).pages():
                seen, found = seen + 1, found + len(each.rows)
            return running.slice(seen, failed=pages * rows - found)

    yield lambda _: asyncio.run(run())


@contextmanager
def stall(url: str, rows: int) -> Generator[Run]:
    """Fetch and read a page, and look how long the event loop stands still at most."""
    from every8d_async import Every8DSession  # noqa: PLC0415

    with asyncio.Runner() as runner:
        session = Every8DSession("uid", "password", site=url)

        async def run() -> Slice:
            pager = session.sms.delivery_reports(BATCH_ID)
            await session.credit()  # a login, if one is due, and a connection
            ticks, running = Ticks(), Stopwatch()
            found = await pager.first_page()
            return running.slice(1, rows - len(found.rows), stall=ticks.stop())

        yield lambda _: runner.run(run())
        runner.run(session.aclose())


@contextmanager
def stall_obvious(url: str, rows: int) -> Generator[Run]:
    """Do the same with httpx and the obvious cattrs."""
    import httpx  # noqa: PLC0415

    from benchmarks.obvious import from_json  # noqa: PLC0415

    with asyncio.Runner() as runner:
        client = httpx.AsyncClient()
        form = {"BID": BATCH_ID, "PNO": "1", "RESPFORMAT": "1"}

        async def run() -> Slice:
            ticks, running = Ticks(), Stopwatch()
            answer = await client.post(f"{url}/API21/HTTP/GetDeliveryStatus.ashx", data=form)
            found = from_json(answer.content)
            return running.slice(1, rows - len(found.rows), stall=ticks.stop())

        yield lambda _: runner.run(run())
        runner.run(client.aclose())
