"""
No secret gets out: every operation meets a sample of faults, and what it leaves behind is searched.

That is: logs of every logger at DEBUG, errors with their pickles and tracebacks
(with the locals of this package's frames), reprs, an observer's events, warnings, what is printed.
"""

import itertools
import json
import logging
import pickle
import traceback
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import anyio
import httpx
import pytest
from attrs import define, field

import every8d_async
from every8d_async import (
    Attachment,
    CallEvent,
    Every8DError,
    Every8DSession,
    GatewayUnreachable,
    InvalidRequest,
    PersonalizedMessage,
    RetryPolicy,
    TemplateRecipient,
    mobile,
)

from . import faulty
from .certificate import server_context
from .clocks import skip, skipping
from .faulty import HTML, End, Fault, FaultyServer, instead, refusing, reply
from .operations import (
    ALL,
    ATTACHMENT,
    EMAIL,
    IN_PASSWORD_MODE,
    LOGINS,
    MOBILE,
    NAME,
    OTHER,
    PASSWORD,
    PICTURE,
    SECRETS,
    SENDS,
    SUBJECT,
    TEXT,
    UID,
    Operation,
    Stage,
    own,
)
from .test_fault_matrix import Came, Cell, World, by_plan, play, world

pytestmark = pytest.mark.anyio

BRIEF = 10.0  # seconds; the session itself would wait longer
PACKAGE = str(Path(every8d_async.__file__).parent)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return skipping(request.param)


def spellings(secret: str) -> set[str]:
    """Give the forms in which a secret may turn up."""
    escaped = secret.encode("unicode_escape").decode()
    as_bytes = repr(secret.encode())[2:-1]
    as_json = json.dumps(secret)[1:-1]
    return {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)} | {
        escaped,
        as_bytes,
        as_json,
        repr(as_json)[1:-1],
    }


def all_spellings() -> dict[str, str]:
    """Give every form of every secret, and what it is."""
    secrets = dict(SECRETS)
    number = MOBILE.removeprefix("+886")
    secrets |= {"mobile without country": number, "grouped mobile": f"{number[:3]}-{number[3:]}"}
    picture = b64encode(PICTURE).decode()
    secrets |= {"picture": repr(PICTURE)[2:-1], "picture in base64": picture}
    return {form: what for what, secret in secrets.items() for form in spellings(secret)}


@define
class Litter:
    """All that calls left behind, searched as it comes in."""

    caplog: pytest.LogCaptureFixture
    capfd: pytest.CaptureFixture[str]
    recwarn: pytest.WarningsRecorder
    forms: dict[str, str] = field(factory=all_spellings)
    found: dict[str, str] = field(factory=dict[str, str])

    def search(self, where: str, text: str, *, but: str = "") -> None:
        for form, what in self.forms.items():
            if form in text and what != but:
                at = text.index(form)
                self.found.setdefault(f"{what} in {where}", text[max(0, at - 80) : at + 80])

    def search_error(self, error: Every8DError, *, ours: bool = True) -> None:
        """Search an error; `ours` where it was raised to us, and not handed over."""
        name = type(error).__name__
        assert error.__cause__ is error.__context__ is None
        self.search(f"{name}, as a text", str(error))
        self.search(f"{name}, as a repr", repr(error))
        self.search(f"{name}, its attributes", repr(vars(error)))
        pickled = pickle.dumps(error)
        self.search(f"{name}, pickled", pickled.decode("utf-8", "surrogateescape"))
        self.search(f"{name}, pickled", repr(pickled))
        assert self._search_traceback(error) > 0 or not ours

    def search_chain(self, error: BaseException | None) -> None:
        """Search the frames of an error that is not ours, and of all that it came from."""
        while error is not None:
            self._search_traceback(error)
            error = error.__cause__ or error.__context__

    def _search_traceback(self, error: BaseException) -> int:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        ours = [frame for frame in told.stack if frame.filename.startswith(PACKAGE)]
        for frame in ours:
            for local, value in (frame.locals or {}).items():
                place = f"{Path(frame.filename).name}:{frame.name}, its local {local}"
                self.search(f"{type(error).__name__}: {place}", f"{local} = {value}")
        self.search(f"{type(error).__name__}, its traceback", "".join(told.format_exception_only()))
        return len(ours)

    def check(self) -> None:
        """Search what came in beside the errors, and tell of all that was found."""
        records = self.caplog.get_records("call")
        assert {"httpcore", "every8d_async"} <= {r.name.partition(".")[0] for r in records}
        for record in records:
            self.search(f"a log of {record.name}", record.getMessage())
            self.search(f"a log of {record.name}, its arguments", repr(vars(record)))
        for warning in self.recwarn:
            self.search("a warning", str(warning))
        printed = self.capfd.readouterr()
        self.search("what is printed", printed.out + printed.err)
        assert self.found == {}


@pytest.fixture
def litter(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> Litter:
    """Listen to every logger, from DEBUG on."""
    caplog.set_level(logging.DEBUG)
    return Litter(caplog, capfd, recwarn)


SAMPLE = (
    faulty.IDLE_CLOSE,
    Fault("reset after the body", end=End.RESET),
    Fault("cut body", acts=True, out=faulty.cut_body),
    Fault("cut body without a length", acts=True, out=faulty.cut_undeclared),
    Fault("garbage", out=instead(b"\x00\x01 what\r\n\r\n")),
    Fault("HTML", out=instead(reply(HTML)), end=End.KEEP),
    *(
        Fault(str(status), out=instead(reply(HTML, status)), end=End.KEEP)
        for status in (302, 401, 403, 404, 429, 500)
    ),
    Fault("-99", acts=True, out=instead(reply("-99,發生例外錯誤".encode())), end=End.KEEP),
    Fault("-41", out=instead(reply("-41,沒有電話號碼".encode())), end=End.KEEP),
)


async def leave_traces(there: World, operation: Operation, litter: Litter) -> None:
    """Make a call, and search what is left of it."""
    try:
        result = await operation.call(there.session, there.stage)
    except Every8DError as error:
        litter.search_error(error)
    else:
        # A reference is the caller's own mark on a row, by which one is told from another.
        litter.search(f"the result of {operation.name}", repr(result), but="reference")


@pytest.mark.parametrize("fault", SAMPLE, ids=[fault.name for fault in SAMPLE])
async def test_no_operation_leaves_a_secret(fault: Fault, litter: Litter) -> None:
    """Whatever goes wrong with whatever call, no secret is in anything that it leaves behind."""
    events: list[CallEvent] = []
    for auth, operations in (("token", ALL), ("password", IN_PASSWORD_MODE)):
        stage = Stage()
        server = FaultyServer(stage.answer)
        async with world(server, stage, auth=auth, observer=events.append) as there:
            for operation in operations:
                await there.make_ready(operation, fresh=False)
                server.add(fault, operation.path, times=1000)
                await leave_traces(there, operation, litter)
                server.heal()
                there.session.forget_refusal()
                await there.good_call()
            litter.search("a session's repr", repr(there.session))
    litter.search("events", repr(events))
    assert len(events) >= len(ALL)
    litter.check()


SILENCE = Fault("act, then hang", acts=True, end=End.HANG)


@pytest.mark.parametrize("operation", ALL, ids=[operation.name for operation in ALL])
async def test_no_silence_leaves_a_secret(operation: Operation, litter: Litter) -> None:
    """A call that its time limit ends, or that its caller cancels, leaves no secret either."""
    events: list[CallEvent] = []
    stage = Stage()
    server = FaultyServer(stage.answer)
    async with world(server, stage, observer=events.append) as there:
        cell = Cell(operation, Came.BROKEN, SILENCE, fresh=False, lasts=True)
        await there.make_ready(operation, fresh=False)
        async with by_plan(there, cell):
            error = await play(there, cell)
        assert error is not None
        litter.search_error(error)
        await there.good_call()
        await there.make_ready(operation, fresh=False)

        async def call() -> None:
            await operation.call(there.session, stage)

        async with by_plan(there, cell), anyio.create_task_group() as group:
            hung = server.hung
            group.start_soon(call)
            await server.until(lambda: server.hung > hung)
            group.cancel_scope.cancel()
        assert events[-1].outcome == "cancelled"
    litter.search("events", repr(events))
    litter.check()


@pytest.mark.parametrize("operation", ALL, ids=[operation.name for operation in ALL])
async def test_no_time_limit_of_the_callers_leaves_a_secret(
    operation: Operation, litter: Litter
) -> None:
    """The frames of a cut call, to which a `TimeoutError` leads, hold no secret."""
    stage = Stage()
    server = FaultyServer(stage.answer)

    async def in_time(session: Every8DSession) -> None:
        with pytest.raises(TimeoutError) as caught:
            with anyio.fail_after(BRIEF):
                await operation.call(session, stage)
        litter.search_chain(caught.value)

    async with world(server, stage) as there:
        cell = Cell(operation, Came.BROKEN, SILENCE, fresh=False, lasts=True)
        await there.make_ready(operation, fresh=False)
        async with by_plan(there, cell), anyio.create_task_group() as group:
            hung = server.hung
            group.start_soon(in_time, there.session)
            await server.until(lambda: server.hung > hung)
            await anyio.wait_all_tasks_blocked()
            skip(BRIEF + 1)
    litter.check()


async def test_no_missing_connection_leaves_a_secret(litter: Litter) -> None:
    """Neither a closed port, nor a proxy that fails, nor a refused certificate brings one out."""
    stage = Stage()
    retry = RetryPolicy(attempts=1)
    secret_proxy = quote(PASSWORD, safe="")
    with refusing() as nobody, FaultyServer(tls=server_context()) as stranger:
        ways: list[dict[str, Any]] = [
            {"site": nobody},
            {"site": stranger.url},
            {"site": nobody, "proxy": nobody.replace("//", f"//{UID}:{secret_proxy}@")},
        ]
        for way, auth in itertools.product(ways, ("token", "password")):
            async with Every8DSession(UID, PASSWORD, auth=auth, retry=retry, **way) as session:
                for operation in (*LOGINS, *SENDS):
                    with pytest.raises(GatewayUnreachable) as caught:
                        await operation.call(session, stage)
                    litter.search_error(caught.value)
    litter.check()


async def test_a_bulk_run_leaves_no_secret(litter: Litter) -> None:
    """The rows of a bulk run, and the errors in them, hold none."""
    stage = Stage()
    server = FaultyServer(stage.answer)
    async with world(server, stage) as there:
        sms, bad = there.session.sms, PersonalizedMessage(f"{MOBILE}99999", TEXT)
        server.add(Fault("500", out=instead(reply(HTML, 500)), end=End.KEEP), "SendParam.ashx")
        for run in (
            sms.send_bulk([*own(stage), bad], subject=SUBJECT, batch_size=1, max_in_flight=1),
            sms.broadcast(TEXT, [MOBILE, OTHER, "nobody"], batch_size=1),
        ):
            async with run:
                async for outcome in run:
                    litter.search("an outcome", repr(outcome))
                    if outcome.error is not None:
                        litter.search_error(outcome.error, ours=False)
            litter.search("a run", repr(run) + repr(run.summary))
    litter.check()


async def test_a_bug_keeps_its_whole_traceback(anyio_backend: object) -> None:
    """Only errors that say all themselves lose their frames: what nobody foresaw keeps them."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    transport = httpx.MockTransport(fail)
    session = Every8DSession(UID, PASSWORD, site="http://localhost", transport=transport)
    with pytest.raises(ZeroDivisionError) as caught:
        await session.sms.send(TEXT, MOBILE)
    assert {"send", "_admit", "fail"} <= {entry.name for entry in caught.traceback}


BAD: dict[str, Callable[[Every8DSession], Any]] = {
    "sms.send": lambda it: it.sms.send(TEXT, [MOBILE, MOBILE, f"{OTHER}99999"], subject=SUBJECT),
    "sms.send_filtered": lambda it: it.sms.send_filtered(
        TEXT, MOBILE, subject=SUBJECT, event_id=""
    ),
    "sms.send_personalized": lambda it: it.sms.send_personalized(
        [PersonalizedMessage(f"{MOBILE}99999", TEXT, name=NAME + "\0", email=EMAIL)]
    ),
    "sms.send_template": lambda it: it.sms.send_template(
        TEXT + "%field1%", [TemplateRecipient(MOBILE, [], name=NAME, email=EMAIL)]
    ),
    "sms.send_bulk": lambda it: it.sms.send_bulk([], template=TEXT + "%field9%", subject=SUBJECT),
    "sms.broadcast": lambda it: it.sms.broadcast(TEXT, [MOBILE], subject=SUBJECT, event_id=""),
    "sms.estimate": lambda it: it.sms.estimate(TEXT, to=0),
    "mms.send": lambda it: it.mms.send(TEXT, MOBILE, ATTACHMENT, subject=SUBJECT * 9),
    "mms.send_personalized": lambda it: it.mms.send_personalized(
        [PersonalizedMessage(MOBILE, TEXT + "\0")], ATTACHMENT, subject=SUBJECT
    ),
    "mms.send_template": lambda it: it.mms.send_template(
        TEXT + "%field1%", [TemplateRecipient(MOBILE, [])], ATTACHMENT, subject=SUBJECT
    ),
    "mms.send_bulk": lambda it: it.mms.send_bulk([], Attachment(PICTURE, "gif"), subject=SUBJECT),
    "mms.estimate": lambda it: it.mms.estimate(ATTACHMENT, TEXT, to=0),
    "mobile": lambda _: mobile(f"{MOBILE}99999"),
    "Every8DSession": lambda it: Every8DSession(UID, PASSWORD, site="gopher://x"),
    "Every8DSession, proxy": lambda _: Every8DSession("", "", proxy=f"x://{UID}:{PASSWORD}@x"),
    "Every8DSession.from_env": lambda _: Every8DSession.from_env(
        uid=UID, password=PASSWORD, site=""
    ),
}


@pytest.mark.parametrize("name", BAD)
async def test_what_can_not_be_sent_leaves_no_secret(name: str, litter: Litter) -> None:
    """A call that is refused for its arguments quotes none of them, but for masked numbers."""
    stage = Stage()
    async with world(FaultyServer(stage.answer), stage) as there:

        async def call() -> None:
            await BAD[name](there.session)

        with pytest.raises(InvalidRequest) as caught:
            await call()
        litter.search_error(caught.value)
    litter.check()
