"""Campaigns: bulk that survives a crash, planned in a file and run until all is told."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
import typer
from attrs import asdict

from every8d_async import TAIPEI, DeliveryReport, Every8DSession
from every8d_async._cli._drive import confirm, drive, exit_of, progress_of
from every8d_async._cli._exits import Exit, Failure, weightiest
from every8d_async._cli._gateway import Gateway, gateway
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._options import (
    AccountFile,
    At,
    BatchSize,
    CsvOut,
    DryRun,
    Encoding,
    EventId,
    Filtered,
    InFlight,
    Json,
    MaxPoints,
    Simulate,
    SkipBad,
    Subject,
    Template,
    ValidFor,
    Yes,
)
from every8d_async._cli._output import Output, points, several, telling
from every8d_async._cli._progress import progress
from every8d_async._cli._sheet import Sheet, good
from every8d_async._cli._table import Rows, csv_file
from every8d_async._cli.batches import status as words_of
from every8d_async._cli.send import Job, check, check_texts, would_send

if TYPE_CHECKING:
    from every8d_async.campaign import (
        Batch,
        Campaign,
        CampaignOutcome,
        CampaignStatus,
        Person,
        Planned,
    )

Result = TypeVar("Result")

_EXPORT = (
    ("mobile", 16),
    ("reference", 16),
    ("batch", 6),
    ("state", 9),
    ("code", 4),
    ("status", 22),
    ("received_at", 0),
    ("cost", 0),
    ("batch_ids", 0),
    ("cause", 0),
)

Journal = Annotated[
    Path, typer.Argument(metavar="FILE", help="The campaign's own file, such as autumn.sqlite3.")
]


def plan(
    file: Journal,
    csv: Annotated[
        Path, typer.Option(metavar="FILE", help="People, one a line; its first line names columns.")
    ],
    text: Annotated[
        str | None, typer.Argument(help="One text for everybody, if it is not in the CSV.")
    ] = None,
    template: Template = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    filtered: Filtered = False,
    at: At = None,
    send_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="What has not gone out by then stays.")
    ] = None,
    valid_for: ValidFor = None,
    subject: Subject = "",
    event_id: EventId = None,
    batch_size: BatchSize = 500,
    dry_run: DryRun = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """
    Plan a CSV file's people in a campaign's file; nothing is sent.

    After a crash plan the same again: what was planned is planned once.
    """
    job = Job(text, template, filtered, subject, at, valid_for, event_id)
    with telling(as_json=as_json) as out:
        _must_have_a_place(file)
        check_texts(job)
        until = Job(None, at=send_before).send_at
        sheet = Sheet(csv, job.shape, encoding=encoding, send_at=job.send_at)
        checked = check(out, job, sheet, csv, skip_bad=skip_bad)
        if dry_run:
            would_send(out, checked.count, checked.points)
            return
        with (
            gateway(out, simulate=simulate, account=account, offline=True) as way,
            progress(out, checked.count) as report,
        ):

            async def work(campaign: "Campaign") -> "Planned":
                def heard(done: "Planned") -> None:
                    report(done.planned + done.repeated)

                people: Any = good(sheet, checked)
                shared: dict[str, Any] = {
                    **job.shared,
                    "send_before": until,
                    "batch_size": batch_size,
                    "progress": heard,
                }
                if job.text is None:
                    return await campaign.plan(people, template=job.template, **shared)
                return await campaign.plan_text(
                    job.text,
                    people,
                    filtered=job.filtered,
                    send_at=job.send_at,
                    **shared,
                )

            planned = _ask(way, file, work, "interrupted: plan the same again to go on.")
        before = f", {planned.repeated:,} were there before" if planned.repeated else ""
        out.result(
            asdict(planned) | {"points": checked.points},
            f"{planned.planned:,} planned{before}; about {points(checked.points)} for all. "
            f"Nothing is sent yet.\nTo send: {_again('run', way, file)}",
        )
        if checked.bad:
            out.end(Exit.REFUSED)


def run(
    file: Journal,
    in_flight: InFlight = 8,
    max_points: MaxPoints = None,
    max_recipients: Annotated[
        int | None, typer.Option(min=1, help="Stop before this would be crossed.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """
    Send what is planned; after an interruption or a crash run it again.

    Nobody is sent to twice: what may have gone out stays UNKNOWN until it is looked into.
    """
    with telling(as_json=as_json) as out:
        _must_exist(file)
        with gateway(out, simulate=simulate, account=account, slow=True, offline=dry_run) as way:
            stood, cost = _ask(way, file, _planned)
            if dry_run:
                would_send(out, stood.planned, cost)
                return
            if stood.planned:
                confirm(out, way, stood.planned, cost, yes=yes)
            _run(
                out,
                way,
                file,
                stood,
                {
                    "max_in_flight": in_flight,
                    "max_points": max_points,
                    "max_recipients": max_recipients,
                },
            )


def _run(
    out: Output, way: Gateway, file: Path, stood: "CampaignStatus", limits: dict[str, Any]
) -> None:
    codes = {Exit.DONE}
    before = stood.total - stood.planned - stood.claimed - stood.on_wire

    async def work(session: Every8DSession, interrupt: Interrupt) -> None:
        from every8d_async.campaign import Campaign

        async with Campaign.open(file, session) as campaign:
            going = campaign.run(**limits)

            def take(outcome: "CampaignOutcome") -> None:
                codes.add(exit_of(outcome))
                _tell_batch(out, outcome)
                done = going.summary
                report(
                    before + progress_of(done),
                    points=stood.cost + done.cost,
                    unknown=stood.unknown + done.unknown,
                )

            with progress(out, stood.total, before) as report:
                await drive(going, interrupt, take)
            status, unknown = await _look(campaign)
        if status.planned + status.claimed + status.on_wire:
            codes.add(Exit.INTERRUPTED if interrupt.asked else Exit.LATER)
        if going.pause_reason:
            out.note(f"Paused: {going.pause_reason}.")
        _tell_status(out, way, file, status, unknown, weightiest(*codes, code_of(status)))

    way.send(work)


def status(
    file: Journal, simulate: Simulate = False, account: AccountFile = None, as_json: Json = False
) -> None:
    """Tell how a campaign stands, and what to do next."""
    with telling(as_json=as_json) as out:
        _must_exist(file)
        with gateway(out, simulate=simulate, account=account, offline=True) as way:
            stood, unknown = _ask(way, file, _look)
        _tell_status(out, way, file, stood, unknown, code_of(stood))


def reconcile(
    file: Journal,
    settle: Annotated[
        float, typer.Option(min=60, metavar="SECONDS", help="How long a try must be over.")
    ] = 60,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """
    Find out what became of UNKNOWN batches, where the gateway's filter can tell.

    Those of one text that was filtered from the start go out once more, to who did not get it.
    """
    with telling(as_json=as_json) as out:
        _must_exist(file)
        with gateway(out, simulate=simulate, account=account) as way:

            async def work(session: Every8DSession, interrupt: Interrupt) -> None:
                from every8d_async.campaign import Campaign

                async def sleep(seconds: float) -> None:
                    out.note(f"Waiting {seconds:.0f} s: what was sent may still be on its way.")
                    with interrupt.stops():
                        await anyio.sleep(seconds)
                        return
                    raise Failure(
                        Exit.INTERRUPTED,
                        f"interrupted; to go on: {_again('reconcile', way, file)}",
                    )

                async with Campaign.open(file, session, sleep=sleep) as campaign:
                    with interrupt.cuts():
                        found = await campaign.reconcile(timedelta(seconds=settle))
                        for left in found.left:
                            out.note(f"batch {left.batch.id} stays UNKNOWN: {left.why}")
                    stood, unknown = await _look(campaign)
                _tell_status(out, way, file, stood, unknown, code_of(stood))

            way.send(work)


def resolve(
    file: Journal,
    batch: Annotated[int, typer.Argument(help="Its number, as status tells it.")],
    sent: Annotated[
        bool | None,
        typer.Option("--sent/--not-sent", help="What you found out about an UNKNOWN batch."),
    ] = None,
    batch_id: Annotated[
        str, typer.Option(metavar="ID", help="The gateway's id for it, where you know it.")
    ] = "",
    send_again: Annotated[
        bool, typer.Option("--send-again", help="Plan it again: not sent, or refused and mended.")
    ] = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Put down your word on an UNKNOWN batch, or plan one again that was not sent."""
    with telling(as_json=as_json) as out:
        _must_exist(file)
        if sent and send_again:
            raise Failure(Exit.MEND, "what was sent is not sent again. Nothing was changed.")
        if sent is None and not send_again:
            raise Failure(Exit.MEND, "say --sent, --not-sent or --send-again.")

        async def work(campaign: "Campaign") -> "Batch":
            if sent is None:
                return await campaign.replan(batch)
            stands = await campaign.resolve(batch, sent=sent, batch_id=batch_id)
            return await campaign.replan(batch) if send_again else stands

        with gateway(out, simulate=simulate, account=account, offline=True) as way:
            now = _ask(way, file, work)
        out.result(_plain(now), f"batch {batch} is {now.state} now.")


def export(
    file: Journal,
    csv: CsvOut = None,
    reports: Annotated[
        bool, typer.Option("--reports", help="Fetch the delivery reports first, where still open.")
    ] = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Write down everybody of a campaign, with what became of them."""
    with telling(as_json=as_json) as out:
        _must_exist(file)
        with (
            csv_file(csv, [name for name, _ in _EXPORT]) as sheet,
            gateway(out, simulate=simulate, account=account, offline=not reports) as way,
        ):
            write = Rows(out, _EXPORT).write if sheet is None else sheet.row

            async def work(campaign: "Campaign") -> None:
                if reports:
                    got = await campaign.reports()
                    batches = "1 batch" if got.pending == 1 else f"{got.pending:,} batches"
                    out.note(f"{several(got.rows, 'report')}; {batches} still open")
                    if got.pending:
                        out.end(Exit.LATER)
                stood = await campaign.status()
                await _write_people(out, campaign, stood.total, write)
                if stood.unknown:
                    out.note(f"{stood.unknown:,} are UNKNOWN.")
                    out.end(Exit.UNKNOWN)

            _ask(way, file, work)


async def _write_people(
    out: Output, campaign: "Campaign", total: int, write: Callable[..., None]
) -> None:
    done = 0
    with progress(out, total) as report:
        async for batch in campaign.batches():
            people = await campaign.people(batch.id)
            found = _by_person(await campaign.reports_of(batch.id))
            for person in people:
                write(*_cells(batch, person, found))
            done += batch.recipients
            report(done)


def _by_person(reports: list[DeliveryReport]) -> dict[tuple[str, str], list[DeliveryReport]]:
    found: dict[tuple[str, str], list[DeliveryReport]] = {}
    for report in reports:
        # One text for many has no references of ours: the gateway's own are put aside.
        for key in ((report.reference, report.mobile), ("", report.mobile)):
            found.setdefault(key, []).append(report)
    return found


def _cells(
    batch: "Batch", person: "Person", found: dict[tuple[str, str], list[DeliveryReport]]
) -> tuple[object, ...]:
    reports = found.get((person.reference, person.mobile), [])
    report = reports.pop(0) if reports else None
    return (
        person.mobile,
        person.reference,
        batch.id,
        str(batch.state),
        None if report is None else report.code,
        None if report is None else words_of(report),
        None if report is None else report.received_at,
        None if report is None else report.cost,
        " ".join(batch.batch_ids),
        batch.cause,
    )


# --- what they have in common ---


def _again(name: str, way: Gateway, file: Path) -> str:
    """Write the command that comes next, as a shell takes it."""
    return f"every8d campaign {name}{way.flags} {quote(str(file))}"


def _must_exist(file: Path) -> None:
    if not file.is_file():
        raise Failure(
            Exit.MEND,
            f"there is no campaign {file}; to make it: every8d campaign plan {quote(str(file))} "
            "--csv people.csv",
        )


def _must_have_a_place(file: Path) -> None:
    if file.is_dir():
        raise Failure(Exit.MEND, f"{file} is a folder: name a file.")
    if not file.parent.is_dir():
        raise Failure(Exit.MEND, f"there is no folder {file.parent}.")


def _ask(
    way: Gateway,
    file: Path,
    work: Callable[["Campaign"], Awaitable[Result]],
    interrupted: str = "interrupted; nothing was sent.",
) -> Result:
    """Open the campaign for what sends nothing."""

    async def opened(session: Every8DSession) -> Result:
        from every8d_async.campaign import Campaign

        async with Campaign.open(file, session) as campaign:
            return await work(campaign)

    return way.ask(opened, interrupted)


async def _planned(campaign: "Campaign") -> tuple["CampaignStatus", Decimal]:
    from every8d_async.campaign import State

    stood = await campaign.status()  # takes back what a crash has left, before it is counted
    cost = 0
    async for batch in campaign.batches(State.PLANNED):
        cost += batch.points
    return stood, Decimal(cost)


async def _look(campaign: "Campaign") -> tuple["CampaignStatus", list["Batch"]]:
    from every8d_async.campaign import State

    stood = await campaign.status()
    return stood, [batch async for batch in campaign.batches(State.UNKNOWN)]


def code_of(status: "CampaignStatus") -> Exit:
    """Give the exit code for how a campaign stands."""
    found = (
        (status.unknown, Exit.UNKNOWN),
        (status.unsent, Exit.CREDIT),
        (status.planned + status.claimed + status.on_wire + status.not_sent, Exit.LATER),
        (status.refused, Exit.REFUSED),
    )
    return weightiest(Exit.DONE, *(code for count, code in found if count))


def _tell_batch(out: Output, outcome: "CampaignOutcome") -> None:
    batch = outcome.batch
    word = outcome.state.replace("_", " ")
    words = f"batch {batch.id}: {several(batch.recipients, 'recipient')} {word}"
    gone = f"{batch.unsent:,} of them got nothing, for want of credit" if batch.unsent else ""
    silent = outcome.state == "accepted" and not gone
    out.result(
        _plain(batch) | {"outcome": outcome.state},
        "" if silent else f"{words} ({gone or batch.cause})",
    )


def _plain(batch: "Batch") -> dict[str, object]:
    kept = ("id", "state", "recipients", "points", "batch_ids", "code", "cause", "cost", "unsent")
    plain = asdict(batch)
    return {"batch" if name == "id" else name: plain[name] for name in kept}


def _tell_status(
    out: Output,
    way: Gateway,
    file: Path,
    status: "CampaignStatus",
    unknown: list["Batch"],
    code: Exit,
) -> None:
    plain = asdict(status)
    counts = [
        f"{plain[name]:,} {name.upper() if name == 'unknown' else name.replace('_', ' ')}"
        for name in plain
        if name != "cost" and plain[name]
    ]
    words = f"{status.total:,} in all: {', '.join(counts)}; {points(status.cost)} taken."
    out.result(
        {
            "status": status,
            "total": status.total,
            "unknown_batches": [_plain(batch) for batch in unknown],
            "exit_code": code,
        },
        words,
    )
    for batch in unknown:
        out.note(
            f"batch {batch.id}: {several(batch.recipients, 'recipient')} UNKNOWN since "
            f"{batch.since.astimezone(TAIPEI):%Y-%m-%d %H:%M:%S} ({batch.cause})"
        )
    if unknown:
        out.note(
            "They may have been sent, and are not sent again by themselves. To look into it: "
            f"{_again('reconcile', way, file)}; with your own word: "
            f"{_again('resolve', way, file)} {unknown[0].id} --sent, or --not-sent"
        )
    if status.planned:
        out.note(f"To go on: {_again('run', way, file)}")
    out.end(code)
