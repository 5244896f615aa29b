"""What became of a batch: its reports, its replies; and how to call it off."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import asdict

from every8d_async import (
    DeliveryReport,
    Every8DError,
    Every8DSession,
    Pager,
    Reply,
)
from every8d_async._cli._exits import Exit
from every8d_async._cli._gateway import Example, Gateway, gateway
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._options import AccountFile, BatchId, CsvOut, Json, Mms, Simulate
from every8d_async._cli._output import Output, points, several, telling
from every8d_async._cli._progress import progress, unheard
from every8d_async._cli._table import Rows, csv_file
from every8d_async._cli.send import cut

# Widths in a terminal of 80 columns; 0 leaves a column out there.
REPORT = (
    ("mobile", 16),
    ("code", 4),
    ("status", 22),
    ("received_at", 19),
    ("cost", 6),
    ("sent_at", 0),
    ("real_cost", 0),
    ("reference", 0),
    ("name", 0),
)
_REPLY = (("mobile", 16), ("received_at", 19), ("text", 43), ("name", 0))

FromPage = Annotated[int, typer.Option(min=1, metavar="N", help="The page to begin with.")]


def reports(
    batch: BatchId,
    mms: Mms = False,
    csv: CsvOut = None,
    from_page: FromPage = 1,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Read what became of each message of a batch."""
    with telling(as_json=as_json) as out:
        example = Example(batch, mms=mms)
        counts = Counter[str]()

        def cells(row: DeliveryReport) -> tuple[object, ...]:
            counts[status(row)] += 1
            return report_cells(row)

        def pager(session: Every8DSession) -> Pager[DeliveryReport]:
            return (session.mms if mms else session.sms).delivery_reports(
                batch, start_page=from_page
            )

        with gateway(out, simulate=simulate, account=account, example=example) as way:
            _read(out, way, pager, cells, csv, REPORT, lambda _: _tally(counts))


def replies(
    batch: BatchId,
    csv: CsvOut = None,
    from_page: FromPage = 1,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Read what people answered to a batch."""
    with telling(as_json=as_json) as out:

        def cells(row: Reply) -> tuple[object, ...]:
            return row.mobile, row.received_at, row.text, row.name

        def pager(session: Every8DSession) -> Pager[Reply]:
            return session.sms.replies(batch, start_page=from_page)

        with gateway(out, simulate=simulate, account=account, example=Example(batch)) as way:
            _read(out, way, pager, cells, csv, _REPLY, _replies)


def watch(
    batch: BatchId,
    mms: Mms = False,
    every: Annotated[
        float | None, typer.Option(min=0.1, metavar="SECONDS", help="Between readings; else 30.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="When to stop; else 26 hours.")
    ] = 93_600,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Follow a batch: each report when it is new or has changed, until all are final."""
    pause = every if every is not None else (1.0 if simulate else 30.0)
    with telling(as_json=as_json) as out:
        rows = Rows(out, REPORT)
        example = Example(batch, mms=mms, under_way=True)

        async def follow(session: Every8DSession) -> None:
            seen = (session.mms if mms else session.sms).watch(
                batch, every=timedelta(seconds=pause), timeout=timedelta(seconds=timeout)
            )
            async for report in seen:
                rows.write(*report_cells(report))
            if seen.is_complete:
                out.note("All are final.")
            else:
                out.note("The time was up, and not all are final: watch again later.")
                out.end(Exit.LATER)

        with gateway(out, simulate=simulate, account=account, example=example) as way:
            way.ask(follow)


def cancel(
    batch: BatchId,
    mms: Mms = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Call off a batch that was booked for later and has not gone out yet."""

    async def work(session: Every8DSession, interrupt: Interrupt) -> None:
        with interrupt.cuts():
            gone = await (session.mms if mms else session.sms).cancel(batch)
            back = f"{points(gone.refunded)} given back"
            out.result(asdict(gone), f"{gone.count:,} called off, {back}.")
            return
        raise cut(session)

    with telling(as_json=as_json) as out:
        example = Example(batch, mms=mms, booked=True)
        with gateway(out, simulate=simulate, account=account, example=example) as way:
            way.send(work)


def report_cells(report: DeliveryReport) -> tuple[object, ...]:
    """Give a report's cells, as `REPORT` names them."""
    return (
        report.mobile,
        report.code,
        status(report),
        report.received_at,
        report.cost,
        report.sent_at,
        report.real_cost,
        report.reference,
        report.name,
    )


def status(report: DeliveryReport) -> str:
    """Say what a report's code means."""
    return report.status.name.lower().replace("_", " ")


def _read(
    out: Output,
    way: Gateway,
    pager: Callable[[Every8DSession], Pager[Any]],
    cells: Callable[[Any], tuple[object, ...]],
    csv: Path | None,
    columns: Sequence[tuple[str, int]],
    told: Callable[[int], str],
) -> None:
    """Read all pages, into a file or onto stdout; at the end say what came, given how many."""

    async def read(session: Every8DSession) -> None:
        pages = pager(session)
        found = 0
        try:
            with progress(out, 0) if shown else nullcontext(unheard) as report:
                async for page in pages.pages():
                    for row in page.rows:
                        write(*cells(row))
                    found += len(page.rows)
                    report(found, page.total)
        except Every8DError as error:
            out.note(f"To go on from here: the same command with --from-page {error.page}")
            raise
        out.note(told(found))
        if pages.missing:
            rows = several(pages.missing, "row")
            out.note(f"{rows} that the gateway counted did not come: ask later.")
            out.end(Exit.LATER)

    with csv_file(csv, [name for name, _ in columns]) as file:
        write = Rows(out, columns).write if file is None else file.row
        # Where the rows go to the terminal they show by themselves how far it is.
        shown = csv is not None or not sys.stdout.isatty()
        way.ask(read)


def _replies(count: int) -> str:
    return "1 reply" if count == 1 else f"{count:,} replies"


def _tally(counts: Counter[str]) -> str:
    if not counts:
        return "no reports: they come late, or there is no such batch"
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common())
