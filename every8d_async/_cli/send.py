"""Sending: one text or picture to some numbers, or a file of people."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer
from attrs import asdict, evolve, frozen

from every8d_async import (
    TAIPEI,
    Attachment,
    BatchOutcome,
    BulkRun,
    BulkSummary,
    Every8DSession,
    FilteredReceipt,
    InvalidRequest,
    Receipt,
)
from every8d_async._cli._drive import confirm, drive, exit_of, progress_of, told
from every8d_async._cli._exits import Exit, Failure, sentence_of, weightiest
from every8d_async._cli._gateway import Gateway, gateway
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._options import (
    AccountFile,
    At,
    BatchSize,
    Csv,
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
from every8d_async._cli._progress import Report, progress, unheard
from every8d_async._cli._sheet import Checked, Row, Shape, Sheet, examine, good
from every8d_async._cli._table import CsvFile, csv_file
from every8d_async._estimate import estimate_mms, estimate_sms
from every8d_async._requests import Options, text_message

_LONG = 50_000  # lines that take a second to check
_MANY = 100  # numbers on the command line: more are a bulk send
_BATCH_SIZE, _IN_FLIGHT = 500, 8
_SHOWN = 20  # bad lines, where nothing is sent for them
Lines = tuple[int, int]  # the first and the last of a batch

_RESULTS = ("line", "mobile", "reference", "state", "batch_id", "detail")


@frozen
class Job:
    """What to send, as the command was told."""

    text: str | None
    template: str | None = None
    filtered: bool = False
    subject: str = ""
    at: str | None = None
    valid_for: int | None = None
    event_id: str | None = None
    picture: Attachment | None = None

    @property
    def send_at(self) -> datetime | None:
        """Give the time asked for; without a zone it is Taipei's."""
        if self.at is None:
            return None
        try:
            at = datetime.fromisoformat(self.at)
        except ValueError:
            raise Failure(
                Exit.MEND,
                f'{self.at!r} is no time: write --at "2026-01-31 09:00". Nothing was sent.',
            ) from None
        return at if at.tzinfo else at.replace(tzinfo=TAIPEI)

    @property
    def minutes(self) -> timedelta | None:
        """Give how long delivery is tried."""
        return None if self.valid_for is None else timedelta(minutes=self.valid_for)

    @property
    def shape(self) -> Shape:
        """Tell what a file of people must hold."""
        if self.template is not None:
            return "template"
        return "text" if self.text is None else "one text"

    @property
    def shared(self) -> dict[str, Any]:
        """Give what every send takes."""
        return {"subject": self.subject, "valid_for": self.minutes, "event_id": self.event_id}


# --- some numbers ---


def send(
    text: Annotated[
        str | None, typer.Argument(help="What people read; for all of them the same.")
    ] = None,
    mobiles: Annotated[
        list[str] | None, typer.Argument(help="0912345678, +886912345678, or a foreign +number.")
    ] = None,
    csv: Csv = None,
    template: Template = None,
    encoding: Encoding = None,
    skip_bad: SkipBad = False,
    from_line: Annotated[
        int, typer.Option(min=1, help="Pass over the lines before, as after an interruption.")
    ] = 1,
    results: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what became of every line to a new CSV file."),
    ] = None,
    filtered: Filtered = False,
    at: At = None,
    valid_for: ValidFor = None,
    subject: Subject = "",
    event_id: EventId = None,
    batch_size: BatchSize = _BATCH_SIZE,
    in_flight: InFlight = _IN_FLIGHT,
    max_points: MaxPoints = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """
    Send a text to one or more numbers, or to all of a CSV file.

    every8d send "Hello" 0912345678 0987654321

    every8d send --csv people.csv     with columns mobile,text[,name,reference]

    every8d send "Hello" --csv people.csv     with column mobile; the text is for all

    every8d send --template "Dear %field1%" --csv people.csv     mobile,field1,...
    """
    job = Job(text, template, filtered, subject, at, valid_for, event_id)
    with telling(as_json=as_json) as out:
        if csv is None:
            _check_arguments(job, mobiles)
            _refuse_without_csv(
                {
                    "--encoding": encoding is not None,
                    "--skip-bad": skip_bad,
                    "--from-line": from_line > 1,
                    "--results": results is not None,
                    "--batch-size": batch_size != _BATCH_SIZE,
                    "--in-flight": in_flight != _IN_FLIGHT,
                    "--max-points": max_points is not None,
                }
            )
            _send_once(
                out,
                job,
                mobiles or [],
                yes=yes,
                dry_run=dry_run,
                simulate=simulate,
                account=account,
            )
            return
        _check_file_arguments(job, mobiles)
        sheet = Sheet(csv, job.shape, encoding=encoding, send_at=job.send_at, from_line=from_line)
        limits = {"batch_size": batch_size, "max_in_flight": in_flight, "max_points": max_points}
        bulk = Bulk(out, job, sheet, limits)
        bulk.check(csv, skip_bad=skip_bad)
        if dry_run:
            would_send(out, bulk.checked.count, bulk.checked.points)
            return
        with gateway(out, simulate=simulate, account=account) as way:
            confirm(out, way, bulk.checked.count, bulk.checked.points, yes=yes)
            with csv_file(results, _RESULTS) as file:
                bulk.run(way, file)


def mms(
    text: Annotated[str, typer.Argument(help='What people read; "" for none.')],
    mobiles: Annotated[list[str], typer.Argument(help="0912345678, or +886912345678.")],
    picture: Annotated[
        Path, typer.Option(metavar="FILE", help="jpg, jpeg, png or gif; 300 KB with the text.")
    ],
    subject: Annotated[
        str, typer.Option(help="What people see first: 15 characters, or 39 plain ones.")
    ],
    at: At = None,
    valid_for: ValidFor = None,
    event_id: EventId = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """Send a picture and a text to one or more numbers."""
    with telling(as_json=as_json) as out:
        job = Job(
            text,
            subject=subject,
            at=at,
            valid_for=valid_for,
            event_id=event_id,
            picture=read_picture(picture),
        )
        _send_once(out, job, mobiles, yes=yes, dry_run=dry_run, simulate=simulate, account=account)


def estimate(
    text: Annotated[str, typer.Argument(help="The text.")],
    mobiles: Annotated[
        list[str] | None, typer.Argument(help="For whom; a foreign number costs three times.")
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="How many people, instead of their numbers.")
    ] = 1,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="For an MMS: its picture.")
    ] = None,
    event_id: EventId = None,
    as_json: Json = False,
) -> None:
    """Estimate what a text costs: nobody is asked, no account is needed."""
    with telling(as_json=as_json) as out:
        to = mobiles or count
        if picture is None:
            found = estimate_sms(text, to, event_id)
        else:
            found = estimate_mms(read_picture(picture), text, to)
        size = f"{found.units:,} bytes" if picture else f"{found.units:,} characters"
        pieces = "1 message" if found.segments == 1 else f"{found.segments} messages"
        out.result(
            asdict(found),
            f"about {points(found.points)}: {size}, {pieces} a person. An estimate, no promise.",
        )


def read_picture(path: Path) -> Attachment:
    """
    Read an MMS's picture.

    Raises:
        Failure: It can't be read.
    """
    try:
        return Attachment.from_path(path)
    except OSError as error:
        raise Failure(Exit.MEND, f"{path}: {error.strerror}. Nothing was sent.") from None


def _check_arguments(job: Job, mobiles: list[str] | None) -> None:
    if job.template is not None:
        raise Failure(Exit.MEND, "--template goes with --csv FILE. Nothing was sent.")
    if job.text is None or not mobiles:
        raise Failure(
            Exit.MEND,
            'say a text and a mobile: every8d send "Hello" 0912345678, or --csv FILE. Nothing was '
            "sent.",
        )


def _refuse_without_csv(said: dict[str, bool]) -> None:
    """Refuse what would be ignored: a limit that isn't kept costs money."""
    for name, used in said.items():
        if used:
            raise Failure(Exit.MEND, f"{name} goes with --csv FILE. Nothing was sent.")


def _check_file_arguments(job: Job, mobiles: list[str] | None) -> None:
    if mobiles:
        raise Failure(
            Exit.MEND, "with --csv the numbers come from the file alone. Nothing was sent."
        )
    check_texts(job)


def check_texts(job: Job) -> None:
    """
    See that what was said of texts fits together.

    Raises:
        Failure: It does not.
    """
    if job.template is not None and job.text is not None:
        raise Failure(Exit.MEND, "give a text or a --template, not both. Nothing was sent.")
    if job.filtered and job.text is None:
        raise Failure(Exit.MEND, "--filtered needs one text for everybody. Nothing was sent.")


def would_send(out: Output, count: int, cost: Decimal) -> None:
    """Say what would be sent."""
    out.result(
        {"dry_run": True, "count": count, "points": cost},
        f"Would send {several(count)} for about {points(cost)}. Nothing was sent.",
    )


def _send_once(
    out: Output,
    job: Job,
    mobiles: list[str],
    *,
    yes: bool,
    dry_run: bool,
    simulate: bool,
    account: Path | None,
) -> None:
    assert job.text is not None  # noqa: S101 - the arguments were checked
    if dry_run:
        would_send(out, len(mobiles), _checked_cost(job, job.text, mobiles))
        return
    with gateway(out, simulate=simulate, account=account) as way:
        if len(mobiles) > _MANY:
            cost = _checked_cost(job, job.text, mobiles)
            confirm(out, way, len(mobiles), cost, yes=yes)
        follow = f"every8d watch{way.flags}{' --mms' if job.picture else ''}"
        once = _once(job, job.text, mobiles)

        async def work(session: Every8DSession, interrupt: Interrupt) -> None:
            with interrupt.cuts():
                _tell_receipt(out, await once(session), follow)
                return
            raise cut(session)

        way.send(work)


def _checked_cost(job: Job, text: str, mobiles: list[str]) -> Decimal:
    options = Options(
        job.subject, job.minutes, job.event_id, job.picture, mms=job.picture is not None
    )
    name = "sms.send" if job.picture is None else "mms.send"
    text_message(name, text, mobiles, options, job.send_at)
    if job.picture is None:
        return estimate_sms(text, mobiles, job.event_id).points
    return estimate_mms(job.picture, text, mobiles).points


def _once(
    job: Job, text: str, mobiles: list[str]
) -> Callable[[Every8DSession], Awaitable[Receipt | FilteredReceipt]]:
    async def once(session: Every8DSession) -> Receipt | FilteredReceipt:
        if job.picture is not None:
            return await session.mms.send(
                text, mobiles, job.picture, send_at=job.send_at, **job.shared
            )
        way = session.sms.send_filtered if job.filtered else session.sms.send
        return await way(text, mobiles, send_at=job.send_at, **job.shared)

    return once


def cut(session: Every8DSession) -> Failure:
    """Say what is known of a call that Ctrl-C has cut."""
    if session.stats().unknowns:
        return Failure(
            Exit.UNKNOWN,
            "cut after it had left: it may have been done. Look at the gateway's records before "
            "you do it again.",
        )
    return Failure(Exit.INTERRUPTED, "interrupted before it left; nothing was sent.")


def _tell_receipt(out: Output, receipt: Receipt | FilteredReceipt, follow: str) -> None:
    words = [f"{receipt.sent:,} sent for {points(receipt.cost)}."]
    if isinstance(receipt, FilteredReceipt) and receipt.filtered:
        words.append(f"{len(receipt.filtered):,} left out: they had this text within 24 hours.")
    words.append("" if receipt.credit is None else f"{points(receipt.credit)} left.")
    if receipt.batch_id:
        words.append(f"\nTo follow it: {follow} {receipt.batch_id}")
    said = " ".join(filter(None, words)).replace(" \n", "\n")
    try:
        out.result(asdict(receipt), said)
    except OSError as error:
        out.note(f"The receipt can't be written ({error}), but this WAS sent; not again:\n{said}")
        out.end(Exit.FAILED)
    if receipt.unsent:
        out.note(f"{receipt.unsent:,} got nothing: the credit is gone. Buy points first.")
        out.end(Exit.CREDIT)


# --- a file of people ---


class Bulk:
    """
    A file of people on its way out.

    Attributes:
        checked: What its lines come to.
        next_line: Where another run would go on: behind the last line that may have been sent, or
            that the gateway refused.
    """

    def __init__(self, out: Output, job: Job, sheet: Sheet, limits: dict[str, Any]) -> None:
        self.checked = Checked()
        self._out = out
        self._job = job
        self._sheet = sheet
        self._limits = limits
        self._codes = {Exit.DONE}
        self.next_line = max(sheet.from_line, 2)
        self._nothing: list[Lines] = []  # of batches of which nobody got anything
        self._short: list[tuple[Lines, int]] = []  # of batches of which some got nothing
        self._fault: OSError | None = None

    def _start(self, session: Every8DSession, rows: Iterable[Row]) -> BulkRun[Any]:
        return start(self._job, session, rows, **self._limits)

    def check(self, file: Path, *, skip_bad: bool) -> None:
        """
        Check every line.

        Raises:
            Failure: Some can't be sent, and are not to be passed over; or nobody is left.
        """
        self.checked = check(self._out, self._job, self._sheet, file, skip_bad=skip_bad)
        if self.checked.bad:
            self._codes.add(Exit.REFUSED)

    def run(self, way: Gateway, file: CsvFile | None) -> None:
        """Send, and tell what became of every line."""
        if file is not None:
            for bad in self.checked.bad:
                file.row(bad.line, bad.mobile, bad.reference, "refused", "", bad.problem)

        async def work(session: Every8DSession, interrupt: Interrupt) -> None:
            run = self._start(session, good(self._sheet, self.checked))
            with progress(self._out, self.checked.count) as report:
                await drive(
                    run,
                    interrupt,
                    lambda outcome: self._take(run, outcome, report, file, interrupt),
                )
            left = self.checked.count - progress_of(run.summary)
            if left:
                self._codes.add(Exit.INTERRUPTED if interrupt.asked else Exit.LATER)
            self._end(evolve(run.summary, not_attempted=left), run.pause_reason)

        way.send(work)

    def _take(
        self,
        run: BulkRun[Any],
        outcome: BatchOutcome[Any],
        report: Report,
        file: CsvFile | None,
        interrupt: Interrupt,
    ) -> None:
        self._codes.add(exit_of(outcome))
        self._note_lines(outcome)
        if self._fault is None:
            try:
                self._tell(outcome, file)
            except OSError as error:
                # What can't be told any more is still counted, and nothing more is begun.
                self._fault = error
                interrupt.stop()
        summary = run.summary
        report(progress_of(summary), points=summary.cost, unknown=summary.unknown)

    def _note_lines(self, outcome: BatchOutcome[Any]) -> None:
        lines = outcome.messages[0].line, outcome.messages[-1].line
        unsent = outcome.receipt.unsent if outcome.receipt else 0
        if outcome.state == "not_sent" or unsent == len(outcome.messages):
            self._nothing.append(lines)
            return
        if unsent:
            self._short.append((lines, unsent))
        # Lines that can't be sent are told as they are read, before those that wait for company.
        if not isinstance(outcome.error, InvalidRequest):
            self.next_line = max(self.next_line, lines[1] + 1)

    def _tell(self, outcome: BatchOutcome[Any], file: CsvFile | None) -> None:
        rows: tuple[Row, ...] = outcome.messages
        first, last = rows[0].line, rows[-1].line
        batch_id = outcome.receipt.batch_id if outcome.receipt else ""
        detail = _detail(outcome)
        state = outcome.state.upper() if outcome.state == "unknown" else outcome.state
        self._out.result(
            {
                "lines": [first, last],
                "recipients": len(rows),
                "state": outcome.state,
                "batch_id": batch_id,
                "cost": outcome.receipt.cost if outcome.receipt else None,
                "detail": detail,
            },
            f"lines {first}-{last}: {len(rows):,} {state.replace('_', ' ')}"
            + (f", batch {batch_id}" if batch_id else "")
            + (f" ({detail})" if detail else ""),
        )
        if file is not None:
            for row in rows:
                file.row(row.line, row.mobile, row.reference, outcome.state, batch_id, detail)
            file.flush()

    def _end(self, summary: BulkSummary, reason: str) -> None:
        if self._fault is not None:
            self._codes.add(Exit.FAILED)
            self._out.note(
                f"Stopped, since results can't be written: {self._fault}. {told(summary)}."
            )
        code = weightiest(*self._codes)
        passed = joined(lines for lines in self._nothing if lines[0] < self.next_line)
        left = summary.not_attempted or any(line >= self.next_line for line, _ in self._nothing)
        on = self.next_line if left else None
        self._sum_up(
            {
                "summary": summary,
                "paused": reason,
                "next_line": on,
                "passed_lines": passed,
                "exit_code": code,
            },
            f"{told(summary)}.",
        )
        if reason:
            self._out.note(f"Paused: {reason}.")
        if summary.unknown:
            self._out.note(
                "UNKNOWN may have been sent: look at the gateway's records before you send those "
                "lines again."
            )
        for (first, last), count in self._short:
            self._out.note(f"Of lines {first}-{last} {count:,} got nothing, for want of credit.")
        if passed:
            words = ", ".join(f"{first}-{last}" for first, last in passed)
            self._out.note(f"Lines {words} got nothing: send them from a file of their own.")
        if on is not None:
            # Where the limit let nothing begin, the same command would at once pause again.
            stuck = reason.startswith("max_points") and not progress_of(summary)
            more = "a higher --max-points and " if stuck else ""
            self._out.note(f"To go on: the same command with {more}--from-line {on}")
        self._out.end(code)

    def _sum_up(self, plain: dict[str, object], words: str) -> None:
        """Give the sum on stdout, or else on stderr: what to do next is said after it."""
        try:
            self._out.result(plain, words)
        except OSError as error:
            self._out.note(f"Results can't be written: {error}. {words}")
            self._out.end(Exit.FAILED)


def joined(parts: Iterable[Lines]) -> list[Lines]:
    """Put lines in order, those that follow each other as one."""
    found: list[Lines] = []
    for first, last in sorted(parts):
        begins = found.pop()[0] if found and found[-1][1] + 1 == first else first
        found.append((begins, last))
    return found


def start(job: Job, session: Every8DSession, rows: Iterable[Row], **limits: Any) -> BulkRun[Any]:
    """Begin a bulk run; nothing is read or sent yet."""
    people: Any = rows
    if job.text is None:
        return session.sms.send_bulk(people, template=job.template, **job.shared, **limits)
    return session.sms.broadcast(
        job.text, people, send_at=job.send_at, filtered=job.filtered, **job.shared, **limits
    )


def check(out: Output, job: Job, sheet: Sheet, file: Path, *, skip_bad: bool) -> Checked:
    """
    Check every line by the rules of the run that will send it, and tell of the bad ones.

    Raises:
        Failure: Some can't be sent, and are not to be passed over; or nobody is left.
    """
    run = start(job, Every8DSession("-", "-"), ())  # never entered: it has the rules
    shown = progress(out, sheet.length) if sheet.length > _LONG else nullcontext(unheard)
    with shown as report:
        checked = examine(sheet, run._plan, report)  # noqa: SLF001 - within the package
    tell_bad(out, checked, file, skip_bad=skip_bad)
    return checked


def tell_bad(out: Output, checked: Checked, file: Path, *, skip_bad: bool) -> None:
    """
    Tell of each line that can't be sent.

    Raises:
        Failure: They are not to be passed over, or nobody is left; nothing was sent.
    """
    shown = checked.bad if skip_bad or out.json else checked.bad[:_SHOWN]
    for bad in shown:
        out.result({"line": bad.line, "state": "refused", "problem": bad.problem})
        out.note(f"{file}, line {bad.line}: {bad.problem}")
    if checked.bad and not skip_bad:
        more = len(checked.bad) - len(shown)
        rest = f" ({more:,} more are not shown)" if more else ""
        raise Failure(
            Exit.MEND,
            f"{len(checked.bad):,} lines can't be sent{rest}: mend them, or send the other "
            f"{checked.count:,} with --skip-bad. Nothing was sent.",
        )
    if not checked.count:
        raise Failure(Exit.MEND, f"{file}: there is nobody to send to. Nothing was sent.")


def _detail(outcome: BatchOutcome[Any]) -> str:
    if outcome.error is not None:
        return sentence_of(outcome.error)
    receipt = outcome.receipt
    if receipt is None:
        return "cut before an answer came" if outcome.state == "unknown" else ""
    found: list[str] = []
    if receipt.unsent:
        found.append(f"{receipt.unsent:,} of them got nothing, for want of credit")
    if isinstance(receipt, FilteredReceipt) and receipt.filtered:
        found.append(f"{len(receipt.filtered):,} of them had the text before")
    return ", ".join(found)
