"""
No fault loses or doubles a message: each fault × every operation × both backends, on real sockets.

A cell is one call that meets one fault: on a connection that is fresh or was used before, and where
the fault passes (it strikes once) or lasts. What must come of it is told by `expected`, from the
kind of operation, whether anything left, and what came back; nothing here is taken from the client.
Each cell checks the class of the outcome, `sent`, how many requests arrived whole, what the gateway
did, that the same session then serves a good call, and that no secret is in the error or the logs
(`test_secrets` looks deeper, at a sample).

Time limits are the real ones: where a call would wait, the clock is put ahead.
"""

import itertools
import logging
import pickle
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from enum import Enum, auto
from functools import cache
from typing import Any
from urllib.parse import quote

import anyio
import pytest
from anyio.lowlevel import checkpoint
from attrs import define, frozen

from every8d_async import (
    AccessBlocked,
    Every8DError,
    Every8DSession,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    MalformedReply,
    OutcomeUnknown,
    RateLimited,
    RetryPolicy,
    Timeout,
)

from . import faulty
from .certificate import REFUSED_PEM, server_context, trusting_context
from .clocks import skip, skipping
from .faulty import HTML, End, Fault, FaultyServer, When, instead, reply
from .operations import ALL, IN_PASSWORD_MODE, PASSWORD, UID, Kind, Operation, Stage

pytestmark = pytest.mark.anyio

READ, TOTAL, HELD = 30.0, 300.0, 60.0  # seconds
ATTEMPTS = 2
MANY = 500  # pieces of a reply that come one by one: the call should have ended long ago

Error = type[Every8DError]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return skipping(request.param)


# --- what must come of it ---


class Came(Enum):
    """What became of a request, as far as a client can see."""

    NOTHING_LEFT = auto()  # no connection came about
    PERHAPS_LEFT = auto()  # it ended as it came about: the request may have been on its way or not
    BROKEN = auto()  # it left, and the connection ended or fell silent before a whole answer
    TOO_SLOW = auto()  # the same, and no time is left
    UNREADABLE = auto()  # an answer that is none of the gateway's
    UNAVAILABLE = auto()  # a status that says: not now
    REFUSED = auto()  # a status that says: not this
    DENIED = auto()  # 401
    FORBIDDEN = auto()  # 403
    SLOW_DOWN = auto()  # 429
    LONG_PAUSE = auto()  # 429, and the pause asked for is longer than the call may take
    SOUND = auto()


# What a query ends with when trying again did not help; whether it is tried again; and what a send
# or cancel ends with. None is success.
RULES: dict[Came, tuple[Error | None, bool, Error | None]] = {
    Came.NOTHING_LEFT: (GatewayUnreachable, True, GatewayUnreachable),
    Came.BROKEN: (GatewayUnavailable, True, OutcomeUnknown),
    Came.TOO_SLOW: (GatewayUnavailable, False, OutcomeUnknown),
    Came.UNREADABLE: (MalformedReply, True, OutcomeUnknown),
    Came.UNAVAILABLE: (GatewayUnavailable, True, OutcomeUnknown),
    Came.REFUSED: (GatewayRefused, False, GatewayRefused),
    Came.DENIED: (AccessBlocked, False, AccessBlocked),
    Came.FORBIDDEN: (AccessBlocked, False, AccessBlocked),
    Came.SLOW_DOWN: (RateLimited, True, RateLimited),
    Came.LONG_PAUSE: (RateLimited, False, RateLimited),
    Came.SOUND: (None, False, None),
}


@frozen
class Ending:
    """How a call ends: the error (None: it succeeds), and the requests that arrived whole."""

    error: Error | None
    arrived: int


def expected(operation: Operation, came: Came, fault: Fault, *, lasts: bool) -> set[Ending]:
    """
    Tell how a call may end.

    A send or cancel that has left is never repeated: its outcome is unknown unless the answer says
    no. All else is tried again where that may help; a fault that passes is then not noticed.
    """
    if came is Came.PERHAPS_LEFT:
        either = (Came.NOTHING_LEFT, Came.BROKEN)
        return set[Ending]().union(*(expected(operation, c, fault, lasts=lasts) for c in either))
    arrives = fault.when is When.BODY
    error, repeated, error_once = RULES[came]
    if operation.kind is Kind.ONCE:
        error, repeated = error_once, came is Came.NOTHING_LEFT
    if operation.operation == "check_token" and came is Came.DENIED:
        error = None  # that is the answer: this token is not honoured
    if came is Came.SOUND and fault.end is End.CLOSE and operation.name == "login, sms.send":
        # The send leaves at once after the login, perhaps just as its connection is closed.
        return {Ending(None, 1), Ending(OutcomeUnknown, 1)}
    if repeated and not lasts:
        # A token can be closed once: asked again, the gateway knows it no longer.
        gone = operation.operation == "close_token" and fault.acts
        return {Ending(GatewayRefused if gone else None, arrives + 1)}
    return {Ending(error, arrives * (ATTEMPTS if repeated else 1))}


# --- the faults ---


def status(number: int, headers: dict[str, str] | None = None, *, acts: bool = False) -> Fault:
    name = " ".join(["act, then"] * acts + [str(number), *(headers or {}).values()])
    return Fault(name, acts=acts, out=instead(reply(HTML, number, headers)), end=End.KEEP)


def answer(name: str, raw: bytes, *, acts: bool = False) -> Fault:
    return Fault(name, acts=acts, out=instead(raw), end=End.KEEP)


def hints(_sound: bytes) -> Iterable[bytes]:
    """Say «an answer will come» for ever."""
    return itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n")


def announced(sound: bytes) -> Iterable[bytes]:
    """Answer, and say that the connection ends with it; it is the client that closes it."""
    return (sound.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),)


_LOCATION = {"Location": "/elsewhere"}
FAULTS: dict[Came, tuple[Fault, ...]] = {
    Came.PERHAPS_LEFT: faulty.NO_CONNECTION,
    Came.BROKEN: (
        *faulty.NO_ANSWER,
        *(fault for fault in faulty.NO_END if fault.end is End.HANG),
        *faulty.CUT,
        faulty.ENDLESS_HEAD,
        Fault("garbage in the middle", acts=True, out=lambda sound: (sound[:30], b"\r\n\0: \xff")),
    ),
    Came.TOO_SLOW: (
        *(fault for fault in faulty.NO_END if fault.end is not End.HANG),
        Fault("hints without end", acts=True, out=hints, pause=0.005),
    ),
    Came.UNREADABLE: (
        Fault("cut body without a length", acts=True, out=faulty.cut_undeclared),
        Fault("gzip", acts=True, out=faulty.gzipped, end=End.KEEP),
        Fault("huge", acts=True, out=faulty.huge),
        Fault("huge, chunked", acts=True, out=faulty.huge_chunked),
        answer("HTML", reply(HTML)),
        answer("nothing", reply(b""), acts=True),
        answer("204", b"HTTP/1.1 204 No Content\r\n\r\n"),
        answer("304", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        *(status(number, _LOCATION) for number in (301, 302, 307)),
    ),
    Came.UNAVAILABLE: (
        *(status(number) for number in (408, 451, 500, 502, 503)),
        *(status(number, acts=True) for number in (500, 502, 504)),
        status(503, {"Retry-After": "0"}),
    ),
    Came.REFUSED: tuple(status(number) for number in (400, 404, 418, 431)),
    Came.DENIED: (status(401),),
    Came.FORBIDDEN: (status(403),),
    Came.SLOW_DOWN: (status(429), status(429, {"Retry-After": "0"})),
    Came.LONG_PAUSE: (status(429, {"Retry-After": "100"}),),
    Came.SOUND: (
        *faulty.TOO_MUCH,
        faulty.IDLE_CLOSE,
        Fault("answer, then close, as announced", acts=True, out=announced, end=End.KEEP),
    ),
}
CASES = [(came, fault) for came, faults in FAULTS.items() for fault in faults]


# --- the cells ---


@define
class Tally:
    """What all cells came to."""

    cells: int = 0
    doubles: int = 0
    losses: int = 0
    leaks: int = 0

    def __str__(self) -> str:
        return (
            f"fault matrix: {self.cells} cells, {self.doubles} doubles, {self.losses} losses, "
            f"{self.leaks} leaks"
        )


TALLY = Tally()


@define
class World:
    """A gateway, its wire, and one session for all cells of a test."""

    stage: Stage
    server: FaultyServer
    session: Every8DSession
    said: list[str]  # in logs, since the last cell

    async def make_ready(self, operation: Operation, *, fresh: bool) -> None:
        """Have a token or not, and a connection or not, as the cell wants it."""
        if operation.kind is Kind.LOGIN:
            await self.session.close_token()
        if fresh:
            await self.server.drop()
        await self.server.until(lambda: self.server.open == (not fresh))

    def done(self, operation: Operation) -> int:
        """Count what the gateway did so far: sent messages, or cancelled ones."""
        simulator = self.stage.simulator
        if not operation.operation.endswith("cancel"):
            return len(simulator.sent)
        cancelled = 303
        return sum(batch.reports[0].status == cancelled for batch in simulator.batches)

    async def good_call(self) -> None:
        """Make a call that nothing befalls."""
        assert await self.session.credit() == self.stage.simulator.credit()


class Listener(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


@contextmanager
def listening() -> Generator[list[str]]:
    """Give what every logger says, from DEBUG on."""
    listener, root = Listener(), logging.getLogger()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield listener.said
    finally:
        root.setLevel(level)
        root.removeHandler(listener)


@cache
def forms() -> dict[str, str]:
    """Give every spelling of every secret, and what it is."""
    from .test_secrets import all_spellings  # noqa: PLC0415 - which imports this module

    return all_spellings()


def leaks(said: list[str], error: Every8DError | None) -> list[str]:
    """Name the secrets that were told, in whatever spelling."""
    texts = [*said, repr(error)]
    if error is not None:
        texts += [str(error), repr(vars(error)), repr(pickle.dumps(error))]
    told = "\n".join(texts)
    return [what for form, what in forms().items() if form in told]


@asynccontextmanager
async def world(server: FaultyServer, stage: Stage, **options: Any) -> AsyncGenerator[World]:
    settings: dict[str, Any] = {
        "site": server.url,
        "timeout": Timeout(total=TOTAL, read=READ),
        "retry": RetryPolicy(attempts=ATTEMPTS, base=0.001, cap=0.001),
    } | options
    with server, listening() as said:
        async with Every8DSession(UID, PASSWORD, **settings) as session:
            there = World(stage, server, session, said)
            await there.good_call()
            yield there


@frozen
class Cell:
    """One call that meets one fault."""

    operation: Operation
    came: Came
    fault: Fault
    fresh: bool
    lasts: bool

    @property
    def is_silent(self) -> bool:
        """Tell whether the gateway falls silent, or as good as."""
        return self.came is Came.TOO_SLOW or self.fault.end is End.HANG

    @property
    def expected(self) -> set[Ending]:
        came = self.came
        if came is Came.PERHAPS_LEFT and not self.fresh and self.operation.kind is Kind.ONCE:
            came = Came.BROKEN  # on a connection that was there
        return expected(self.operation, came, self.fault, lasts=self.lasts)

    def __str__(self) -> str:
        connection = "fresh" if self.fresh else "reused"
        fault = f"{self.fault.name}, {'lasting' if self.lasts else 'passing'}"
        return f"{self.operation.name} × {fault} × {connection} connection"


class Patience:
    """Skips what a call would wait, whenever the gateway falls silent, until the call has ended."""

    def __init__(self, there: World, cell: Cell) -> None:
        self._server = there.server
        self._cell = cell
        self._seen = there.server.hung
        self._most = 0
        self._ended = False

    def end(self) -> None:
        self._ended = True
        self._server.nudge()

    async def pass_time(self) -> None:
        while True:
            await self._server.until(lambda: self._ended or self._server.hung > self._seen)
            if self._ended:
                return
            self._seen = self._server.hung
            for _ in range(
                10
            ):  # turns for the call to come to its wait, which is then seen at once
                await checkpoint()
            if self._cell.came is Came.TOO_SLOW:
                await self._end_in_time()
            else:
                await anyio.wait_all_tasks_blocked()
                skip(READ + 1)

    async def _end_in_time(self) -> None:
        skip(TOTAL + 1)
        self._most = self._server.dripped + MANY
        await self._server.until(lambda: self._ended or self._server.dripped > self._most)
        assert self._ended, f"beyond its time limit: {self._cell}"


async def play(there: World, cell: Cell) -> Every8DError | None:
    """Make the call, and give the error that it ends with."""
    patience = Patience(there, cell)
    error = None
    async with anyio.create_task_group() as group:
        if cell.is_silent:
            group.start_soon(patience.pass_time)
        try:
            result = await cell.operation.call(there.session, there.stage)
        except Every8DError as failure:
            error = failure
        else:
            # The one answer that may be no: a token that was denied.
            assert result or cell.came is Came.DENIED, cell
        patience.end()
    return error


Strike = Callable[[World, Cell], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def by_plan(there: World, cell: Cell) -> AsyncGenerator[None]:
    """Let the fault befall the operation's requests, or the next one of them."""
    path = "CONNECT" if there.server.inner_tls else cell.operation.path
    there.server.add(cell.fault, path, times=1000 if cell.lasts else 1)
    yield
    there.server.heal()


async def try_cell(there: World, cell: Cell, strike: Strike = by_plan) -> None:
    """Make the call, compare its end with what is expected, and make a good one after it."""
    operation = cell.operation
    await there.make_ready(operation, fresh=cell.fresh)
    before, done_before = len(there.server.requests), there.done(operation)
    async with strike(there, cell):
        error = await play(there, cell)
    arrived = sum(map(operation.matches, there.server.requests[before:]))
    done = there.done(operation) - done_before

    told = leaks(there.said, error)
    there.said.clear()

    TALLY.cells += 1
    TALLY.leaks += bool(told)
    assert not told, cell
    TALLY.doubles += done > 1 or (done == 1 and error is not None and error.sent is False)
    ending = Ending(None if error is None else type(error), arrived)
    assert ending in cell.expected, cell
    if operation.kind is Kind.ONCE or operation.operation == "sms.send":
        acted = cell.fault.acts and arrived > 0 and operation.kind is Kind.ONCE
        TALLY.losses += error is None and not done
        assert done == (error is None or acted), cell
    if error is not None:
        assert error.sent is (None if isinstance(error, OutcomeUnknown) else False), cell
        assert error.operation == operation.operation, cell
        assert error.__cause__ is error.__context__ is None, cell
    if cell.came is Came.LONG_PAUSE:
        skip(HELD + 1)
    await there.good_call()


PLANS = [(fresh, lasts) for fresh in (True, False) for lasts in (True, False)]


@pytest.mark.parametrize(
    ("came", "fault"), CASES, ids=[f"{came.name}-{fault.name}" for came, fault in CASES]
)
async def test_every_operation_meets(came: Came, fault: Fault) -> None:
    """Every call ends as the rules say, was done at most once, and leaves the session whole."""
    limits = {
        Came.LONG_PAUSE: Timeout(total=HELD - 10, read=READ),
        Came.TOO_SLOW: Timeout(total=TOTAL, read=TOTAL * 10),  # each piece comes in time
    }
    timeout = limits.get(came, Timeout(total=TOTAL, read=READ))
    for auth, operations in (("token", ALL), ("password", IN_PASSWORD_MODE)):
        stage = Stage()
        server = FaultyServer(stage.answer)
        async with world(server, stage, auth=auth, timeout=timeout) as there:
            for operation, (fresh, lasts) in itertools.product(operations, PLANS):
                await try_cell(there, Cell(operation, came, fault, fresh, lasts))
        assert server.open == 0


# --- no connection at all ---


@asynccontextmanager
async def port_closed(there: World, _cell: Cell) -> AsyncGenerator[None]:
    """Close the port."""
    await there.server.shut()
    yield
    there.server.reopen()


@asynccontextmanager
async def certificate_exchanged(there: World, _cell: Cell) -> AsyncGenerator[None]:
    """Show a certificate that the session does not trust."""
    there.server.tls = server_context(REFUSED_PEM)
    yield
    there.server.tls = server_context()


async def test_every_operation_meets_a_closed_port() -> None:
    """Where nobody listens nothing leaves: it is tried again, and then said so."""
    stage = Stage()
    async with world(FaultyServer(stage.answer), stage) as there:
        for operation, fresh in itertools.product(ALL, (True, False)):
            cell = Cell(
                operation, Came.NOTHING_LEFT, Fault("closed port", When.ACCEPT), fresh, lasts=True
            )
            await try_cell(there, cell, port_closed)


async def test_every_operation_meets_a_certificate_that_is_refused() -> None:
    """To whoever can't prove to be the gateway nothing is sent."""
    stage = Stage()
    server = FaultyServer(stage.answer, tls=server_context())
    async with world(server, stage, ssl_context=trusting_context()) as there:
        for operation in ALL:
            fault = Fault("certificate refused", When.ACCEPT)
            cell = Cell(operation, Came.NOTHING_LEFT, fault, fresh=True, lasts=True)
            await try_cell(there, cell, certificate_exchanged)


TUNNELS = (
    *(
        Fault(f"CONNECT gets {number}", When.HEAD, out=instead(reply(HTML, number)), end=End.KEEP)
        for number in (403, 407, 429, 502, 503)
    ),
    Fault("CONNECT is dropped", When.HEAD),
    Fault("CONNECT is reset", When.HEAD, end=End.RESET),
    Fault("CONNECT gets nothing", When.HEAD, end=End.HANG),
    Fault("CONNECT gets garbage", When.HEAD, out=instead(b"\0\1 what\r\n\r\n")),
    Fault("tunnel is dropped", When.HEAD, out=instead(b"HTTP/1.1 200 Here\r\n\r\n")),
    Fault("proxy closes at accept", When.ACCEPT),
    Fault("proxy resets at accept", When.ACCEPT, end=End.RESET),
)


@pytest.mark.parametrize("fault", TUNNELS, ids=[fault.name for fault in TUNNELS])
async def test_every_operation_meets_a_proxy_that_fails(fault: Fault) -> None:
    """Until a proxy has made the tunnel nothing leaves, however it fails."""
    stage = Stage()
    server = FaultyServer(stage.answer, inner_tls=server_context())
    site, context = "https://localhost:1", trusting_context()
    async with world(server, stage, site=site, proxy=server.url, ssl_context=context) as there:
        for operation, lasts in itertools.product(ALL, (True, False)):
            cell = Cell(operation, Came.NOTHING_LEFT, fault, fresh=True, lasts=lasts)
            await try_cell(there, cell)


def test_a_leak_is_noticed() -> None:
    """A secret in a log of anybody's, or in an error, is found, as it is or in another spelling."""
    with listening() as said:
        logging.getLogger("anybody").debug("sending to %s", UID)
    assert "uid" in leaks(said, None)
    assert "password" in leaks([], GatewayUnreachable("connect", quote(PASSWORD)))
    assert not leaks(["sending to somebody"], GatewayUnreachable("connect", "refused"))


def test_there_are_thousands_of_cells() -> None:
    """The tables make more than a thousand cells on each backend, each of them another one."""
    cells = {
        str(Cell(operation, came, fault, fresh, lasts))
        for operation, (came, fault), (fresh, lasts) in itertools.product(ALL, CASES, PLANS)
    }
    assert len(cells) == len(ALL) * len(CASES) * len(PLANS) > 1000
