"""`every8d doctor`: what is wrong between here and the gateway, in words."""

import sys
import textwrap
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import anyio
import typer

from every8d_async import Every8DSession, InvalidRequest, mobile
from every8d_async._cli._account import Login, find_login
from every8d_async._cli._doctor import report
from every8d_async._cli._doctor.checks import CHECKS, PATIENCE, Examination, not_asked
from every8d_async._cli._doctor.probe import IDLE, LOGINS, MESSAGES, WAITS, Plan, Probe
from every8d_async._cli._doctor.rows import Row, State, Target
from every8d_async._cli._exits import Exit, Failure, weightiest
from every8d_async._cli._gateway import need_simulator
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._options import AccountFile, Json, Simulate
from every8d_async._cli._output import Output, points, telling, visible
from every8d_async._options import is_positive
from every8d_async._session import SITE
from every8d_async._site import check_site

_WAITS = ",".join(f"{wait:g}" for wait in WAITS)
_WIDTH = 79
_INDENT = " " * 25
_TOO_MANY, _FAULTS = 429, 500
_MINUTE = 60


def doctor(
    live_probe: Annotated[
        str | None,
        typer.Option(
            "--live-probe",
            metavar="NUMBER",
            help="Send two messages there, and find out what nobody knows of the gateway. Tells "
            "the cost and asks first.",
        ),
    ] = None,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Where the live probe writes its report, without secrets: .json, or Markdown.",
        ),
    ] = None,
    batch: Annotated[
        str,
        typer.Option(metavar="BATCH", help="A batch with many rows, to see how many a page holds."),
    ] = "",
    waits: Annotated[
        str,
        typer.Option(
            metavar="SECONDS,...",
            help="When the filter is asked after the sends; dry runs are free.",
        ),
    ] = _WAITS,
    idle: Annotated[
        float,
        typer.Option(min=0, help="The most seconds to watch an idle connection; 0 leaves it out."),
    ] = IDLE,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't ask before the live probe.")
    ] = False,
    simulate: Simulate = False,
    account: AccountFile = None,
    as_json: Json = False,
) -> None:
    """
    Check configuration, reach, TLS, clock, login, credit and firewall, in words.

    It logs in once and sends nothing, unless --live-probe is given. A
    refused login is not tried again: more than ten lock the account.
    Exit code 0 says that all is well.
    """
    with telling(as_json=as_json) as out, ExitStack() as stack:
        plan = None
        if live_probe is not None:
            plan = Plan(mobile(live_probe), batch, _seconds(waits), idle)
        elif report_file is not None:
            raise Failure(Exit.MEND, "--report is for the live probe: add --live-probe MOBILE.")
        simulated = stack.enter_context(_simulated(out)) if simulate else None
        visit = _Visit(out, plan, report_file or report.default_file())
        steps: tuple[Callable[[], None], ...] = (
            lambda: visit.configure(simulated, account),
            visit.examine,
            lambda: visit.consent(yes=yes),
            visit.probe,
            visit.end,
        )
        for step in steps:
            step()


class _Visit:
    """One run of the command: its steps, each of which leaves out what an earlier one forbids."""

    def __init__(self, out: Output, plan: Plan | None, file: Path) -> None:
        self._out = out
        self._plan = plan
        self._file = file
        self._target: Target | None = None
        self._examination: Examination | None = None
        self._probe: Probe | None = None
        self._token = ""
        self._whole = True
        self._checks: list[Row] = []
        self._codes = [Exit.DONE]

    def configure(self, simulated: Login | None, account: Path | None) -> None:
        """Find the account, and see that it can be used; without one, nothing more is asked."""
        try:
            target = _target(simulated or find_login(account))
        except Failure as failure:
            said, code = str(failure), failure.code
        except InvalidRequest as error:
            said, code = "; ".join(error.problems), Exit.MEND
        else:
            way = ", through a proxy" if target.proxy else ""
            said = f"uid and password are there; the site is {target.site}{way}"
            self._check(Row("configuration", State.OK, said))
            self._target = target
            return
        self._check(Row("configuration", State.FAILED, said), code)
        for name in CHECKS:
            self._check(not_asked(name, "configuration"))

    def examine(self) -> None:
        """Run the checks."""
        if self._target is not None:
            self._examination = Examination(self._target, self._check)
            self._whole = _run(self._examination.run)

    def consent(self, *, yes: bool) -> None:
        """
        Tell what the live probe costs, and ask.

        Raises:
            Failure: Somebody said no, stopped the checks, or can't be asked; nothing was sent.
        """
        if not self._whole:
            raise Failure(Exit.INTERRUPTED, "interrupted; nothing was sent.")
        if self._plan is None or self._target is None or self._examination is None:
            return
        failed = any(row.state is State.FAILED for row in self._checks)
        if failed or self._examination.token is None:
            self._out.note("The live probe waits until the checks are well: nothing was sent.")
            return
        self._out.note(textwrap.fill(_price(self._plan), _WIDTH))
        if not yes and not sys.stdin.isatty():
            raise Failure(Exit.MEND, "nobody can be asked here: add --yes. Nothing was sent.")
        if not yes and not typer.confirm("Go on?", err=True):
            raise Failure(Exit.INTERRUPTED, "you said no; nothing was sent.")
        self._token = self._examination.token
        self._probe = Probe(self._target, self._plan, self._tell, PATIENCE)

    def probe(self) -> None:
        """Probe where somebody said yes, and write the report."""
        if self._probe is not None and self._target is not None:
            with self._reporting(self._probe, self._target.site) as probe:
                self._whole = _run(lambda: probe.run(self._token))

    def end(self) -> None:
        """Give all as data, and the exit code."""
        rows = [] if self._probe is None else self._probe.rows
        if self._probe is not None:
            self._tell(rows[-1])
            self._out.note(f"The report is in {self._file}.")
            self._codes += [] if self._whole else [Exit.INTERRUPTED]
            self._codes += [Exit.UNKNOWN] if self._probe.unknown else []
            self._codes += [Exit.LATER for row in rows if row.state is State.FAILED]
        code = weightiest(*self._codes)
        if self._out.json:
            self._out.result(
                {
                    "well": code is Exit.DONE,
                    "exit_code": code,
                    "checks": [row.data for row in self._checks],
                    "probe": [row.data for row in rows],
                    "report": None if self._probe is None else str(self._file),
                }
            )
        self._out.end(code)

    @contextmanager
    def _reporting(self, probe: Probe, site: str) -> Generator[Probe]:
        """Open the report before anything is paid for, and write it also where all is cut short."""
        with report.create(self._file) as opened:
            try:
                yield probe
            finally:
                as_json = self._file.suffix.lower() == ".json"
                report.write(opened, probe.rows, site, as_json=as_json)

    def _check(self, row: Row, code: Exit | None = None) -> None:
        self._checks.append(row)
        self._tell(row)
        if row.state in (State.FAILED, State.WARNING):
            self._codes.append(code or _exit_of(row))

    def _tell(self, row: Row) -> None:
        if not self._out.json:
            self._out.result({}, "\n".join(_lines(row)))


@contextmanager
def _simulated(out: Output) -> Generator[Login]:
    need_simulator()
    from every8d_async.simulator import Simulator

    with Simulator().serve() as url:
        out.note("Simulated: no account, no cost, nothing is sent.")
        yield Login("demo", "demo", url)


def _target(login: Login) -> Target:
    """
    Give whom to examine, with the site in its normal form.

    Raises:
        InvalidRequest: Something can't be as it is; all problems are listed.
    """
    site = SITE if login.site is None else login.site
    Every8DSession(login.uid, login.password, site=site, proxy=login.proxy)  # checks, without IO
    normal, _ = check_site(site, allow_http=False)
    return Target(login.uid, login.password, normal, login.proxy)


def _exit_of(row: Row) -> Exit:
    """Say what to do next where a check is not well."""
    status = row.facts.get("http_status", 0)
    match row.name, row.state:
        case "credit", State.WARNING:
            return Exit.CREDIT
        case "TLS" | "clock", _:
            return Exit.FAILED
        case "login" | "credit", _ if "code" in row.facts:
            return Exit.ACCESS
        case "firewall", _ if isinstance(status, int) and status != _TOO_MANY and status < _FAULTS:
            return Exit.ACCESS
        case _:
            return Exit.LATER


def _run(work: Callable[[], Awaitable[None]]) -> bool:
    """Run until the end or Ctrl-C; tell whether it came to its end."""

    async def run() -> bool:
        interrupt = Interrupt()
        with interrupt.listening(), interrupt.stops():
            await work()
        return not interrupt.asked

    return anyio.run(run)


def _seconds(text: str) -> tuple[float, ...]:
    """
    Read the waits.

    Raises:
        Failure: They are no rising numbers above zero.
    """
    try:
        waits = tuple(float(part) for part in text.split(","))
    except ValueError:
        waits = ()
    if not waits or not all(map(is_positive, waits)) or list(waits) != sorted(waits):
        raise Failure(Exit.MEND, "--waits: write rising seconds above zero, such as 5,60,600.")
    return waits


def _price(plan: Plan) -> str:
    long = plan.seconds >= 2 * _MINUTE
    time = f"{plan.seconds / _MINUTE:.0f} minutes" if long else f"{plan.seconds:.0f} seconds"
    return (
        f"The live probe sends {MESSAGES} messages to that number, about {points(plan.points)} "
        f"by our estimate, and takes up to {time}. It logs in {LOGINS} times more and "
        "closes a token: programs that use this account may have to log in again, which a session "
        "of this package does by itself."
    )


def _lines(row: Row) -> Iterable[str]:
    """Lay a row out for 80 columns."""
    if row.name in ("configuration", *CHECKS):
        lead = f"{row.state:<10} {row.name:<13} "
    else:
        yield f"{row.state:<13} {row.name}"
        lead = _INDENT
    yield _filled(lead, row.said)
    if row.next:
        yield _filled(f"{_INDENT}-> ", row.next)


def _filled(lead: str, text: str) -> str:
    return textwrap.fill(
        visible(text),
        _WIDTH,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
    )
