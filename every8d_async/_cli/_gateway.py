"""The way to the gateway for one command: the account's, or a simulated one."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import anyio

from every8d_async import Every8DSession, FileTokenStore
from every8d_async._cli._account import Login, find_login, folder
from every8d_async._cli._exits import Exit, Failure
from every8d_async._cli._interrupt import Interrupt
from every8d_async._cli._output import Output

Result = TypeVar("Result")
Prepare = Callable[["Every8DSession"], Awaitable[None]]

STOPPING = "Stopping: waiting for what is in flight. Ctrl-C again cuts it, and leaves it unknown."


class Gateway:
    """
    Makes sessions, one an event loop.

    Attributes:
        simulated: Whether it is only a simulator, in this process.
    """

    def __init__(self, login: Login, out: Output, *, simulated: bool) -> None:
        self.simulated = simulated
        self._login = login
        self._out = out

    def session(self) -> Every8DSession:
        """Make a session; it does no IO yet."""
        login = self._login
        store = None if self.simulated else _token_store()
        if login.site is None:
            return Every8DSession(login.uid, login.password, token_store=store, proxy=login.proxy)
        return Every8DSession(
            login.uid, login.password, site=login.site, token_store=store, proxy=login.proxy
        )

    def ask(self, query: Callable[[Every8DSession], Awaitable[Result]]) -> Result:
        """
        Run what only asks; Ctrl-C ends it at once.

        Raises:
            Failure: It was interrupted.
        """

        async def run() -> Result:
            interrupt = Interrupt()
            with interrupt.listening():
                async with self.session() as session:
                    with interrupt.stops():
                        return await query(session)
            raise Failure(Exit.INTERRUPTED, "interrupted; nothing was changed.")

        return anyio.run(run)

    def send(self, work: Callable[[Every8DSession, Interrupt], Awaitable[Result]]) -> Result:
        """Run what sends, or changes something; it hears of Ctrl-C, and ends by itself."""

        async def run() -> Result:
            interrupt = Interrupt(lambda: self._out.note(STOPPING))
            with interrupt.listening():
                async with self.session() as session:
                    return await work(session, interrupt)

        return anyio.run(run)


@contextmanager
def gateway(out: Output, *, simulate: bool, account: Path | None) -> Iterator[Gateway]:
    """
    Open the way to the gateway for one command.

    Raises:
        Failure: There is no account, or no simulator; nothing was sent.
    """
    with ExitStack() as stack:
        login = stack.enter_context(_simulated(out)) if simulate else find_login(account)
        yield Gateway(login, out, simulated=simulate)


@contextmanager
def _simulated(out: Output) -> Iterator[Login]:
    need_simulator()
    from every8d_async.simulator import Simulator

    with Simulator().serve() as url:
        out.note("Simulated: no account, no cost, nothing is sent.")
        yield Login("demo", "demo", url)


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


def _token_store() -> FileTokenStore | None:
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
    return FileTokenStore(place / "tokens.json")
