"""The way to the gateway for one command: the account's, or a simulated one."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from attrs import evolve, frozen

from every8d_async import TAIPEI, Attachment, Every8DSession, FileTokenStore, OutcomeUnknown
from every8d_async._cli._account import Login, find_login, folder
from every8d_async._cli._exits import Exit, Failure
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._output import Output

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator

Result = TypeVar("Result")

STOPPING = "Stopping once what is in flight is done; Ctrl-C again leaves it unknown."

_DEMO = Login("demo", "demo", "http://localhost")  # of a simulator, whatever its port
_POINTS = Decimal(1_000_000)
_DELIVERY = timedelta(seconds=2)
_SLOW = timedelta(seconds=0.5)
_GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)


class Gateway:
    """
    Makes sessions for one account, one an event loop, and runs what needs one.

    Attributes:
        flags: What the next command needs to go the same way, with a blank in front, or empty.
    """

    def __init__(
        self, login: Login, out: Output, *, store: type[FileTokenStore] | None, flags: str
    ) -> None:
        self.flags = flags
        self._login = login
        self._out = out
        self._store = store

    def session(self) -> Every8DSession:
        """Make a session; it does no IO yet."""
        login = self._login
        options: dict[str, Any] = {} if login.site is None else {"site": login.site}
        store = None if self._store is None else _token_store(self._store)
        return Every8DSession(
            login.uid, login.password, token_store=store, proxy=login.proxy, **options
        )

    def ask(
        self,
        query: Callable[[Every8DSession], Awaitable[Result]],
        interrupted: str = "interrupted; nothing was changed.",
    ) -> Result:
        """
        Run what only asks; Ctrl-C ends it at once.

        Raises:
            Failure: It was interrupted; it says so in these words.
        """

        async def run() -> Result:
            interrupt = Interrupt()
            with interrupt.listening():
                async with self.session() as session:
                    with interrupt.stops():
                        return await query(session)
            raise Failure(Exit.INTERRUPTED, interrupted)

        return anyio.run(run)

    def send(self, work: Callable[[Every8DSession, Interrupt], Awaitable[Result]]) -> Result:
        """Run what sends, or changes something; it hears of Ctrl-C, and ends by itself."""

        async def run() -> Result:
            interrupt = Interrupt(lambda: self._out.note(STOPPING))
            with interrupt.listening():
                async with self.session() as session:
                    return await work(session, interrupt)

        return anyio.run(run)


@frozen
class Example:
    """
    A batch that a simulated gateway has from the start, so that there is something to ask about.

    Attributes:
        batch_id: Its id: whatever was asked for.
        mms: It is one of MMS.
        booked: It is for tomorrow.
        under_way: It becomes final while one looks.
    """

    batch_id: str
    mms: bool = False
    booked: bool = False
    under_way: bool = False


@contextmanager
def gateway(
    out: Output,
    *,
    simulate: bool,
    account: Path | None,
    example: Example | None = None,
    offline: bool = False,
    slow: bool = False,
    store: type[FileTokenStore] = FileTokenStore,
) -> Generator[Gateway]:
    """
    Open the way to the gateway for one command.

    Args:
        out: Says that it is only simulated.
        simulate: Serve a simulator, on a free port of this machine.
        account: The file that was named for the account.
        example: What a simulated gateway has from the start.
        offline: The gateway is not called; only whose account it is matters.
        slow: Let a simulated gateway take its time, so that one can interrupt.
        store: How tokens of an account are kept.

    Raises:
        Failure: There is no account, or no simulator; nothing was sent.
    """
    with ExitStack() as stack:
        if not simulate:
            login = find_login(account)
        elif offline:
            login = _DEMO
        else:
            login = stack.enter_context(_simulated(out, example, slow=slow))
        named = "" if account is None else f" --account {quote(str(account))}"
        flags = " --simulate" if simulate else named
        yield Gateway(login, out, store=None if simulate else store, flags=flags)


@contextmanager
def _simulated(out: Output, example: Example | None, *, slow: bool) -> Generator[Login]:
    need_simulator()
    from every8d_async.simulator import Account, Delay, Simulator

    account = Account(uid=_DEMO.uid, password=_DEMO.password, credit=_POINTS)
    options: dict[str, Any] = {} if example is None else {"new_id": lambda: example.batch_id}
    simulator = Simulator(accounts=[account], delivery_delay=_DELIVERY, **options)
    if slow:
        simulator.faults.add("*", Delay(_SLOW), rate=1.0)
    with simulator.serve() as url:
        out.note("Simulated: no account, no cost, and no phone gets anything.")
        if example is not None:
            out.note("The batch is invented: three people, whatever was sent before.")
            _play(simulator, url, example)
        yield evolve(_DEMO, site=url)


def _play(simulator: "Simulator", url: str, example: Example) -> None:
    """Let three people get a batch: one reads it, one answers, one has a number out of use."""
    people = ["0900000001", "0900000002", "0900000003"]
    at = datetime.now(TAIPEI) + timedelta(days=1) if example.booked else None

    simulator.fail(people[2], 103)

    async def play() -> None:
        async with Every8DSession(_DEMO.uid, _DEMO.password, site=url) as session:
            # An id of another form than the gateway's own is no sound receipt; the batch is there.
            with suppress(OutcomeUnknown):
                if example.mms:
                    picture = Attachment(_GIF, "gif")
                    await session.mms.send("Hello", people, picture, subject="Hello", send_at=at)
                else:
                    await session.sms.send("Hello", people, send_at=at)
        if not example.mms:
            simulator.add_reply(example.batch_id, people[1], "好")
        if not example.under_way:
            simulator.deliver_all()

    anyio.run(play)


def need_simulator() -> None:
    """
    See that the simulator can run.

    Raises:
        Failure: Its packages are not installed.
    """
    needed = ("starlette", "uvicorn", "python_multipart")
    if any(find_spec(name) is None for name in needed):
        raise Failure(
            Exit.MEND, "the simulator needs more packages: pip install 'every8d-async[simulator]'"
        )


def _token_store(kind: type[FileTokenStore]) -> FileTokenStore | None:
    """
    Give the file where tokens and refused logins outlast a command.

    Without it each command would log in, and a loop of commands with a wrong password would lock
    the account.
    """
    place = folder()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None  # a home that can't be written to: each command logs in for itself
    return kind(place / "tokens.json")
