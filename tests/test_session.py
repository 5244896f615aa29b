"""The public face, over real sockets and in memory: what it promises, whatever goes wrong."""

import asyncio
import copy
import gc
import logging
import math
import os
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, quote_plus

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint

from every8d_async import (
    TAIPEI,
    AccessBlocked,
    AuthenticationFailed,
    CallEvent,
    CancelRefused,
    Every8DError,
    Every8DSession,
    GatewayRefused,
    GatewayUnavailable,
    GatewayUnreachable,
    InvalidRequest,
    MalformedReply,
    MemoryTokenStore,
    OutcomeUnknown,
    RateLimit,
    RateLimited,
    Receipt,
    RetryPolicy,
    SessionMisuse,
    StoredToken,
    Timeout,
)
from every8d_async._driver import GUARDS
from every8d_async._pool import in_memory
from every8d_async.simulator import Account, DeadToken, Hang, HttpStatus, Refusal, Refuse, Simulator
from tests import faulty
from tests.certificate import server_context, trusting_context
from tests.clocks import jumping
from tests.faulty import End, Fault, FaultyServer, asgi

pytestmark = pytest.mark.anyio

MOBILE = "+886900000001"
QUICK = RetryPolicy(attempts=2, base=0.001)


async def send(session: Every8DSession) -> object:
    return await session.sms.send("hello", to=MOBILE)


async def credit(session: Every8DSession) -> object:
    return await session.credit()


async def many(count: int, call: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Make calls at once, and give what each one ended with."""
    ends: list[Any] = []

    async def one() -> None:
        try:
            ends.append(await call())
        except Every8DError as error:
            ends.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(one)
    return ends


async def failure(call: Awaitable[object]) -> Any:
    """Give the error with which a call ends."""
    try:
        await call
    except Every8DError as error:
        return error
    raise AssertionError("it succeeded")


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


@pytest.fixture
def server(simulator: Simulator) -> Iterator[FaultyServer]:
    """Give a server of real sockets that acts as the simulator does, and fails as it is told."""
    with FaultyServer(asgi(simulator)) as serving:
        yield serving


def demo(server: FaultyServer, **options: Any) -> Every8DSession:
    options = {"retry": QUICK, **options}
    return Every8DSession("demo", "demo", site=server.url, **options)


def in_mind(simulator: Any, **options: Any) -> Every8DSession:
    """Make a session that reaches a simulator in memory."""
    options = {"retry": QUICK, "transport": in_memory(simulator), **options}
    return Every8DSession("demo", "demo", site="http://localhost", **options)


async def with_token(site: str, **options: Any) -> Every8DSession:
    """Make a session that has a token already."""
    store = MemoryTokenStore()
    await store.save(f"{site} demo", StoredToken("0" * 32, 0.0, math.inf))
    return Every8DSession("demo", "demo", site=site, token_store=store, **options)


class Scripted(httpx.AsyncBaseTransport):
    """Answers each path with what was ordered for it, and keeps what came."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.times: list[float] = []
        self.ordered: dict[str, list[httpx.Response | Callable[[], Awaitable[Any]]]] = {}
        self.closed = 0

    def order(self, path: str, *responses: httpx.Response | Callable[[], Awaitable[Any]]) -> None:
        self.ordered.setdefault(path, []).extend(responses)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        path = request.url.path.rpartition("/")[2]
        self.paths.append(path)
        self.times.append(anyio.current_time())
        ordered = self.ordered.get(path)
        if not ordered:
            return httpx.Response(200, content=faulty.CANNED[path])
        response = ordered.pop(0)
        return response if isinstance(response, httpx.Response) else await response()

    async def aclose(self) -> None:
        self.closed += 1

    def session(self, **options: Any) -> Every8DSession:
        options = {"site": "http://localhost", "transport": self, **options}
        return Every8DSession("demo", "demo", **options)


virtual = pytest.mark.parametrize(
    "anyio_backend", [jumping("asyncio"), jumping("trio")], ids=["asyncio", "trio"]
)


# --- the whole surface ---


@contextmanager
def reached(way: str, simulator: Simulator) -> Generator[dict[str, Any]]:
    """Give the options that lead to a simulator."""
    if way == "in memory":
        yield {"site": "http://localhost", "transport": in_memory(simulator)}
        return
    with simulator.serve() as url:
        yield {"site": url}


@pytest.mark.parametrize("way", ["in memory", "over sockets"])
@pytest.mark.parametrize("auth", ["token", "password"])
async def test_the_main_job(
    simulator: Simulator, way: str, auth: Literal["token", "password"]
) -> None:
    """Send, follow, schedule, cancel, ask for credit: with a token or with the password."""
    with reached(way, simulator) as options:
        async with Every8DSession("demo", "demo", auth=auth, **options) as session:
            assert await session.credit() == Decimal(10000)
            receipt = await session.sms.send("您好", to=[MOBILE, "0900-000-002"])
            assert (receipt.sent, receipt.unsent, receipt.credit) == (2, 0, Decimal(9998))
            simulator.deliver_all()
            reports = await session.sms.delivery_reports(receipt.batch_id).collect()
            assert [report.mobile for report in reports] == [MOBILE, "+886900000002"]
            assert all(report.is_delivered for report in reports)
            later = datetime.now(TAIPEI) + timedelta(days=1)
            booked = await session.sms.send("later", to=MOBILE, send_at=later)
            cancelled = await session.sms.cancel(booked.batch_id)
            assert (cancelled.count, cancelled.refunded) == (1, Decimal(1))
            with pytest.raises(CancelRefused):
                await session.sms.cancel(booked.batch_id)
            assert session.is_closed is False
        assert (session.is_closed, await failure(session.credit())) != (False, None)
    assert simulator.logins == (1 if auth == "token" else 0)
    assert [message.text for message in simulator.sent] == ["您好", "您好", "later"]


async def test_pages_in_windows(simulator: Simulator) -> None:
    """2,500 reports come in three pages, in order, over one session."""
    with simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url) as session:
            mobiles = [f"+8869{number:08d}" for number in range(2500)]
            receipt = await session.sms.send("hello", to=mobiles)
            reports = await session.sms.delivery_reports(receipt.batch_id, window=4).collect()
    assert [report.mobile for report in reports] == mobiles


def test_constructing_needs_no_loop() -> None:
    """A session can be made anywhere; the first call opens what it needs."""
    session = Every8DSession("demo", "s3cret")
    assert repr(session) == "<Every8DSession https://new.e8d.tw open>"
    assert not session.is_closed


def test_a_session_does_not_travel() -> None:
    """Connections can't be pickled, and a password must not be."""
    session = Every8DSession("demo", "demo")
    for travel in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make one in each process"):
            travel(session)


def test_bad_options_are_all_listed() -> None:
    """Everything that is wrong is told at once, without the password."""
    with pytest.raises(InvalidRequest) as caught:
        Every8DSession("", "s3\0cret", site="http://gateway.test", max_connections=0)
    names = {problem.partition(":")[0] for problem in caught.value.problems}
    assert names == {"uid", "password", "site", "max_connections"}
    assert "s3" not in str(caught.value)


class TestFromEnv:
    """Settings from the environment."""

    @pytest.fixture(autouse=True)
    def environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EVERY8D_UID", "me")
        monkeypatch.setenv("EVERY8D_PASSWORD", "s3cret")
        monkeypatch.setenv("EVERY8D_SITE", "https://gateway.test/x")
        monkeypatch.setenv("EVERY8D_PROXY", "http://proxy.test:3128")

    def test_all_four(self) -> None:
        """Uid, password, site and proxy come from there."""
        settings = Every8DSession.from_env()._settings
        assert (settings.uid, settings.password) == ("me", "s3cret")
        assert (settings.site, settings.proxy) == (
            "https://gateway.test/x",
            "http://proxy.test:3128",
        )

    def test_what_is_given_wins(self) -> None:
        """Keywords stand before the environment, None for no proxy among them."""
        settings = Every8DSession.from_env(
            uid="you", password="other", site="https://new.e8d.tw", proxy=None, max_connections=3
        )._settings
        assert (settings.uid, settings.password) == ("you", "other")
        assert (settings.site, settings.proxy) == ("https://new.e8d.tw", None)
        assert settings.max_connections == 3

    def test_empty_ones_are_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty site or proxy is none."""
        monkeypatch.setenv("EVERY8D_SITE", "")
        monkeypatch.setenv("EVERY8D_PROXY", "")
        settings = Every8DSession.from_env()._settings
        assert (settings.site, settings.proxy) == ("https://new.e8d.tw", None)

    def test_missing_ones_are_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each variable that is needed and missing is named."""
        monkeypatch.delenv("EVERY8D_UID")
        monkeypatch.delenv("EVERY8D_PASSWORD")
        with pytest.raises(InvalidRequest) as caught:
            Every8DSession.from_env()
        assert len(caught.value.problems) == 2
        with pytest.raises(InvalidRequest) as caught:
            Every8DSession.from_env(password="x")
        assert caught.value.problems == ("EVERY8D_UID: is not set in the environment",)


# --- one login ---


@pytest.mark.parametrize("way", ["in memory", "over sockets"])
async def test_500_cold_calls_make_one_login(simulator: Simulator, way: str) -> None:
    """However many calls come at once, one login is made, and all are served."""
    with reached(way, simulator) as options:
        async with Every8DSession("demo", "demo", **options) as session:
            assert await many(500, session.credit) == [Decimal(10000)] * 500
    assert simulator.logins == 1


@pytest.mark.parametrize("auth", ["token", "password"])
@pytest.mark.parametrize("way", ["in memory", "over sockets"])
async def test_a_wrong_password_is_tried_once(
    simulator: Simulator, way: str, auth: Literal["token", "password"]
) -> None:
    """100 callers and 100 more, sends and queries: at most one login reaches the gateway."""
    with reached(way, simulator) as options:
        async with Every8DSession("demo", "wrong", auth=auth, **options) as session:
            ends = await many(50, session.credit)
            ends += await many(50, lambda: send(session))
            ends += await many(100, session.credit)
            assert {(type(end), end.code, end.sent) for end in ends} == {
                (AuthenticationFailed, -101, False)
            }
            assert {end.operation for end in ends} == {"credit", "sms.send"}
            assert simulator.failed_logins == 1
            session.forget_refusal()
            await many(20, session.credit)
            assert simulator.failed_logins == 2
    assert not simulator.sent


async def test_a_password_changed_under_way_is_met_by_who_is_out(server: FaultyServer) -> None:
    """In password mode those who wait for a connection when the refusal comes don't repeat it."""
    session = demo(server, auth="password", max_connections=2)
    refusal = faulty.reply("-101,密碼錯誤".encode())
    async with session:
        await session.credit()
        server.add(Fault("refused", out=faulty.instead(refusal), end=End.KEEP), times=100)
        ends = await many(50, session.credit)
    assert {type(end) for end in ends} == {AuthenticationFailed}
    # The two that were out at once, and no more.
    assert len(server.requests) <= 1 + 2
    assert server.accepted <= 2


@virtual
async def test_a_changed_password_makes_fewer_failed_logins_than_lock(
    anyio_backend: object,
) -> None:
    """In password mode each call is a login: no more are out at once than an account survives."""
    transport = Scripted()

    async def refuse() -> httpx.Response:
        await anyio.sleep(1.0)
        return httpx.Response(200, content="-101,密碼錯誤".encode())

    async with transport.session(auth="password", max_connections=50) as session:
        await session.credit()
        transport.order("GetCredit.ashx", *[refuse] * 100)
        ends = await many(100, session.credit)
    assert {type(end) for end in ends} == {AuthenticationFailed}
    assert len(transport.paths) == 1 + 8


# --- dead tokens ---


@pytest.mark.parametrize("way", ["in memory", "over sockets"])
async def test_a_dead_token_is_replaced_unseen(simulator: Simulator, way: str) -> None:
    """Tokens die at the gateway: calls log in again, and each send is done exactly once."""
    with reached(way, simulator) as options:
        async with Every8DSession("demo", "demo", **options) as session:
            await session.sms.send("first", to=MOBILE)
            simulator.expire_tokens()
            await session.sms.send("second", to=MOBILE)
            assert simulator.logins == 2
            simulator.expire_tokens()
            ends = await many(50, lambda: session.sms.send("third", to=MOBILE))
            assert all(end.sent == 1 for end in ends)
            assert await session.check_token()
    assert simulator.logins == 3
    texts = [message.text for message in simulator.sent]
    assert texts == ["first", "second"] + ["third"] * 50


@pytest.mark.parametrize(
    "refusal",
    [Refuse(-99, "發生不明錯誤"), Refuse(-2, "?"), Refuse(-7777, "new"), HttpStatus(401)],
    ids=["-99", "-2", "unknown", "401"],
)
async def test_whatever_a_dead_token_gets(simulator: Simulator, refusal: Any) -> None:
    """Nobody recorded it, so any doubtful answer makes us look; the proof decides."""
    async with in_mind(simulator) as session:
        await session.credit()
        simulator.expire_tokens()
        simulator.faults.add("SendSMS", refusal)
        assert (await session.sms.send("hello", to=MOBILE)).sent == 1
    assert (len(simulator.sent), simulator.logins) == (1, 2)


@virtual
async def test_a_second_token_may_die_as_well(anyio_backend: object, simulator: Simulator) -> None:
    """Two tokens in a row that die under a send prove that it was not done, and it is told so."""
    async with in_mind(simulator) as session:
        simulator.faults.add("SendSMS", DeadToken(), times=2)
        error = await failure(send(session))
        assert isinstance(error, GatewayUnavailable)
        assert (error.cause, error.sent) == ("token after token died", False)
        simulator.faults.add("GetCredit", DeadToken(), times=2)
        assert await session.credit() == Decimal(10000)
    assert (len(simulator.sent), simulator.logins) == (0, 5)


async def test_with_a_live_token_the_answer_stands(simulator: Simulator) -> None:
    """A send refused with -99 under a token that lives is in doubt, and done once at most."""
    async with in_mind(simulator) as session:
        simulator.faults.add("SendSMS", Refuse(-99, "發生不明錯誤", acts=True))
        error = await failure(send(session))
        assert isinstance(error, OutcomeUnknown)
        assert (error.code, error.recipients, error.sent) == (-99, 1, None)
        simulator.faults.add("SendSMS", HttpStatus(401, {"Server": "a wall"}))
        blocked = await failure(send(session))
        assert isinstance(blocked, AccessBlocked)
        assert (blocked.status, blocked.sent) == (401, False)
        simulator.faults.add("GetCredit", Refuse(-99, "發生不明錯誤"), times=2)
        assert isinstance(await failure(session.credit()), GatewayUnavailable)
    assert (len(simulator.sent), simulator.logins) == (1, 1)


@virtual
async def test_an_answer_of_earlier_is_not_used_for_a_later_request(anyio_backend: object) -> None:
    """That the token lived while a call waited for its turn says nothing of when it left."""
    simulator = Simulator(dead_token=Refusal(-100, "no such token"))
    async with in_mind(simulator, rate_limit=RateLimit(1, per=10.0, burst=1)) as session:
        await session.credit()
        await anyio.sleep(10.0)
        ends: list[Any] = []

        async def two() -> None:
            ends.extend(await many(2, lambda: send(session)))

        simulator.faults.add("SendSMS", Refuse(-77))
        async with anyio.create_task_group() as group:
            group.start_soon(two)
            await anyio.sleep(5.0)
            simulator.expire_tokens()
    assert [type(end) for end in ends] == [GatewayRefused, Receipt]


async def test_a_check_that_proves_nothing_leaves_a_send_in_doubt(simulator: Simulator) -> None:
    """Where even a fresh token fails its check, a refused send is not repeated; a query is."""
    async with in_mind(simulator) as session:
        await session.credit()
        simulator.faults.add("ConnectionHandler/2", Refuse(-99, "發生例外錯誤"), times=100)
        simulator.faults.add("SendSMS", Refuse(-99, "發生不明錯誤", acts=True))
        error = await failure(send(session))
        assert isinstance(error, OutcomeUnknown)
        simulator.faults.add("GetCredit", Refuse(-99, "發生不明錯誤"))
        assert await session.credit() == Decimal(9999)
    assert len(simulator.sent) == 1


@pytest.mark.parametrize("denial", [Refuse(-99), HttpStatus(401)])
@virtual
async def test_a_hiccup_doubles_no_send(
    anyio_backend: object, simulator: Simulator, denial: Refuse | HttpStatus
) -> None:
    """What was acted on under a token that lives is not repeated because a check went wrong too."""
    async with in_mind(simulator) as session:
        await session.credit()
        for wrong in (1, 2):
            before = len(simulator.sent)
            simulator.faults.add("SendSMS", Refuse(-99, acts=True))
            simulator.faults.add("ConnectionHandler/2", denial, times=wrong)
            assert isinstance(await failure(send(session)), OutcomeUnknown)
            assert len(simulator.sent) == before + 1


async def test_logging_in_anew_is_refused_while_in_doubt(simulator: Simulator) -> None:
    """The token is denied and the login too: the send is in doubt, and the next call is told."""
    async with in_mind(simulator) as session:
        await session.credit()
        simulator.expire_tokens()
        simulator.faults.add("ConnectionHandler/1", Refuse(-101, "密碼錯誤"))
        assert isinstance(await failure(send(session)), OutcomeUnknown)
        assert isinstance(await failure(send(session)), AuthenticationFailed)
    assert (len(simulator.sent), simulator.logins) == (0, 1)


# --- the token's own calls ---


async def test_check_token(simulator: Simulator) -> None:
    """It says what the gateway says, and asks nobody where there is no token to ask about."""
    async with in_mind(simulator) as session:
        assert await session.check_token() is False
        assert not simulator.requests
        await session.credit()
        assert await session.check_token() is True
        simulator.faults.add("ConnectionHandler/2", HttpStatus(401))
        assert await session.check_token() is False
        simulator.faults.add("ConnectionHandler/2", HttpStatus(404))
        assert (await failure(session.check_token())).code == 404
        simulator.faults.add("ConnectionHandler/2", HttpStatus(403))
        assert isinstance(await failure(session.check_token()), AccessBlocked)
        simulator.faults.add("ConnectionHandler/2", HttpStatus(503), times=2)
        assert isinstance(await failure(session.check_token()), GatewayUnavailable)
        simulator.expire_tokens()
        assert await session.check_token() is False
    assert simulator.logins == 1


async def test_close_token(simulator: Simulator) -> None:
    """The gateway closes it, and the next call logs in anew."""
    async with in_mind(simulator) as session:
        await session.close_token()
        assert not simulator.requests
        await session.credit()
        await session.close_token()
        await session.close_token()
        assert await session.check_token() is False
        await session.credit()
        simulator.expire_tokens()
        assert isinstance(await failure(session.close_token()), GatewayRefused)
        await session.credit()
    closings = [r for r in simulator.requests if r.fields.get("VerifyType") == 3]
    assert (len(closings), simulator.logins) == (2, 3)


@pytest.mark.parametrize("options", [{"auth": "password"}, {"token_store": MemoryTokenStore()}])
async def test_what_is_not_ours_is_not_closed(
    simulator: Simulator, options: dict[str, Any]
) -> None:
    """Without a token of its own a session closes none: in password mode, or with a shared one."""
    async with in_mind(simulator, revoke_on_close=True, **options) as session:
        await session.credit()
        await session.close_token()
        assert await session.check_token() is ("auth" not in options)
    assert not [r for r in simulator.requests if r.fields.get("VerifyType") == 3]


async def test_revoking_on_close(simulator: Simulator) -> None:
    """Asked for, `aclose` closes the token at the gateway; nothing to close costs nothing."""
    async with in_mind(simulator, revoke_on_close=True):
        pass
    assert not simulator.requests
    async with in_mind(simulator, revoke_on_close=True) as session:
        await session.credit()
    (closing,) = [r for r in simulator.requests if r.fields.get("VerifyType") == 3]
    token = closing.headers["authorization"].partition(" ")[2]
    async with in_mind(simulator) as session:
        session._driver._keeper._take(StoredToken(token, 0.0, math.inf))
        assert await session.check_token() is False


async def test_a_failed_revocation_is_told_in_the_log(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A session ends, whatever the gateway says to that."""
    async with in_mind(simulator, revoke_on_close=True) as session:
        await session.credit()
        simulator.faults.add("ConnectionHandler/3", HttpStatus(503), times=9)
    assert "the token was not closed: GatewayUnavailable" in caplog.messages
    assert session.is_closed


async def test_a_shared_store_shares_the_login(simulator: Simulator) -> None:
    """Two sessions of an account on one store make one login between them."""
    store = MemoryTokenStore()
    async with (
        in_mind(simulator, token_store=store) as one,
        in_mind(simulator, token_store=store) as other,
    ):
        await one.credit()
        await other.credit()
    assert simulator.logins == 1


# --- was it sent? ---


@pytest.mark.parametrize(
    "fault",
    [
        *[fault for fault in faulty.NO_ANSWER if fault.when is faulty.When.BODY],
        *faulty.CUT,
        *faulty.NO_SOUND_ANSWER,
    ],
    ids=lambda fault: fault.name,
)
async def test_a_send_that_left_is_never_repeated(
    server: FaultyServer, simulator: Simulator, fault: Fault
) -> None:
    """Its body left and no sound answer came: `OutcomeUnknown`, and exactly one POST."""
    server.add(fault, "SendSMS.ashx", times=99)
    async with demo(server) as session:
        error = await failure(session.sms.send("hello", to=[MOBILE, "+886900000002"]))
        assert isinstance(error, OutcomeUnknown)
        assert (error.sent, error.recipients, error.operation) == (None, 2, "sms.send")
        assert server.paths().count("SendSMS.ashx") == 1
        assert len(simulator.sent) == 2 * fault.acts
        assert isinstance(await session.credit(), Decimal)


async def test_a_cancel_that_left_is_never_repeated(
    server: FaultyServer, simulator: Simulator
) -> None:
    """A second try could hide the first one's refund."""
    server.add(Fault("act, then reset", acts=True, end=End.RESET), "EraseBooking.ashx", times=99)
    async with demo(server) as session:
        later = datetime.now(TAIPEI) + timedelta(days=1)
        receipt = await session.sms.send("later", to=MOBILE, send_at=later)
        assert isinstance(await failure(session.sms.cancel(receipt.batch_id)), OutcomeUnknown)
    assert server.paths().count("EraseBooking.ashx") == 1


async def test_a_send_of_which_nothing_left_is_repeated(server: FaultyServer) -> None:
    """No connection: it is tried again as often as the policy says, and then told so."""
    with faulty.refusing() as site:
        async with await with_token(site, retry=RetryPolicy(attempts=3, base=0.001)) as session:
            error = await failure(send(session))
    assert isinstance(error, GatewayUnreachable)
    assert (error.phase, error.cause, error.attempts) == ("connect", "ConnectError", 3)
    assert error.sent is False


@pytest.mark.parametrize("fault", [*faulty.NO_ANSWER, *faulty.CUT], ids=lambda fault: fault.name)
async def test_a_query_is_repeated(server: FaultyServer, fault: Fault) -> None:
    """Asking twice does no harm."""
    async with demo(server) as session:
        await session.credit()
        server.add(fault)
        assert await session.credit() == Decimal(10000)


@pytest.mark.parametrize("fault", faulty.NO_ANSWER, ids=lambda fault: fault.name)
async def test_a_failed_login_is_no_send(
    server: FaultyServer, simulator: Simulator, fault: Fault
) -> None:
    """A send whose login got no answer was not sent, and says so."""
    path = "" if fault.when in {faulty.When.ACCEPT, faulty.When.FIRST_BYTE} else "Handler.ashx"
    server.add(fault, path, times=2)
    async with demo(server) as session:
        error = await failure(send(session))
        assert isinstance(error, GatewayUnavailable)
        assert (error.sent, error.operation) == (False, "sms.send")
        await send(session)
    assert len(simulator.sent) == 1


async def test_a_malformed_reply_is_told_after_a_second_look(server: FaultyServer) -> None:
    """A query whose reply breaks the format is asked once more."""
    server.add(Fault("HTML", out=faulty.instead(faulty.reply(faulty.HTML))), "GetCredit.ashx", 2)
    async with demo(server, retry=RetryPolicy(attempts=5, base=0.001)) as session:
        assert isinstance(await failure(session.credit()), MalformedReply)
    assert server.paths().count("GetCredit.ashx") == 2


async def test_a_certificate_that_nobody_knows() -> None:
    """A certificate of one's own making is refused: nothing was sent, not even the password."""
    with FaultyServer(tls=server_context()) as server:
        async with demo(server) as session:
            assert isinstance(await failure(send(session)), GatewayUnreachable)
        async with await with_token(server.url, retry=QUICK) as session:
            assert isinstance(await failure(send(session)), GatewayUnreachable)
        assert not server.requests
        async with demo(server, ssl_context=trusting_context()) as session:
            assert await session.credit() == Decimal("99.00")


@pytest.mark.parametrize("content", [None, "no certificate"], ids=["missing", "spoilt"])
async def test_a_bad_certificate_store(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without certificates to trust no connection comes about: nothing was sent, and it is told."""
    store = tmp_path / "certificates.pem"
    if content is not None:
        store.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(store))
    async with await with_token("https://127.0.0.1:1", retry=QUICK) as session:
        error = await failure(send(session))
    assert isinstance(error, GatewayUnreachable)
    cause = "FileNotFoundError" if content is None else "SSLError"
    assert (error.phase, error.cause, error.sent) == ("connect", cause, False)
    assert error.__cause__ is error.__context__ is None


async def test_a_proxy_that_refuses() -> None:
    """What a proxy did not let through was not sent."""
    with FaultyServer(inner_tls=server_context()) as server:
        no = Fault("403", faulty.When.HEAD, out=faulty.instead(faulty.reply(b"", 403)))
        server.add(no, "CONNECT", times=2)
        options: dict[str, Any] = {"proxy": server.url, "ssl_context": trusting_context()}
        async with await with_token("https://localhost", retry=QUICK, **options) as session:
            error = await failure(send(session))
            assert isinstance(error, GatewayUnreachable)
            assert error.cause == "ProxyError"
            assert await session.credit() == Decimal("99.00")


# --- the end ---


def held(event: threading.Event) -> Fault:
    """Answer as soon as an event is set."""

    def out(sound: bytes) -> Iterable[bytes]:
        assert event.wait(30)
        yield sound

    return Fault("held", acts=True, out=out, end=End.KEEP)


async def test_closing_waits_for_what_is_under_way(
    server: FaultyServer, simulator: Simulator
) -> None:
    """Sends finish, new calls are refused, and then the connections are closed."""
    go = threading.Event()
    server.add(held(go), "SendSMS.ashx", times=3)
    session = demo(server)
    await session.credit()
    ends: list[Any] = []

    async def sending() -> None:
        ends.extend(await many(3, lambda: send(session)))

    async with anyio.create_task_group() as group:
        group.start_soon(sending)
        await server.until(lambda: server.paths().count("SendSMS.ashx") == 3)
        group.start_soon(session.aclose)
        group.start_soon(session.aclose)
        await anyio.wait_all_tasks_blocked()
        assert session.is_closed
        for call in (credit, send, Every8DSession.check_token, Every8DSession.close_token):
            error = await failure(call(session))
            assert isinstance(error, SessionMisuse)
            assert error.sent is False
        with pytest.raises(SessionMisuse):
            await session.__aenter__()
        assert server.open == 3
        go.set()
    assert [end.sent for end in ends] == [1, 1, 1]
    await server.until(lambda: server.open == 0)
    await session.aclose()
    assert repr(session) == f"<Every8DSession {server.url} closed>"
    assert len(simulator.sent) == 3


@virtual
async def test_closing_waits_no_longer_than_a_call_may_take(anyio_backend: object) -> None:
    """What hangs is cut by its own deadline, and the session's end follows."""
    transport = Scripted()
    transport.order("SendSMS.ashx", anyio.sleep_forever)
    session = transport.session(timeout=Timeout(total=10.0))
    await session.credit()
    ends: list[Any] = []

    async def sending() -> None:
        ends.append(await failure(send(session)))

    async with anyio.create_task_group() as group:
        group.start_soon(sending)
        await anyio.wait_all_tasks_blocked()
        await session.aclose()
        assert [type(end) for end in ends] == [OutcomeUnknown]
        assert transport.closed == 1


@virtual
async def test_patience_ends_with_the_total_time(anyio_backend: object) -> None:
    """A call that does not end at its deadline (a broken transport) holds up no closing."""
    never = anyio.Event()

    async def stubborn() -> httpx.Response:
        with anyio.CancelScope(shield=True):
            await never.wait()
        return httpx.Response(200, content=b"1.00")

    transport = Scripted()
    transport.order("GetCredit.ashx", stubborn)
    session = transport.session()
    async with anyio.create_task_group() as group:
        group.start_soon(many, 1, session.credit)
        await anyio.wait_all_tasks_blocked()
        await session.aclose()
        assert transport.closed == 1
        never.set()


async def test_a_block_that_is_cancelled_closes_its_connections(server: FaultyServer) -> None:
    """`async with` left by cancellation leaves no connection open, and none to the collector."""
    gc.collect()
    gc.disable()
    try:
        with anyio.CancelScope() as scope:
            async with demo(server) as session:
                await many(5, session.credit)
                scope.cancel()
                await checkpoint()
        assert scope.cancelled_caught
        await server.until(lambda: server.open == 0)
    finally:
        gc.enable()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_native_cancel_of_closing(
    anyio_backend: str, server: FaultyServer, times: int
) -> None:
    """`task.cancel()` cuts the wait; connections are closed then, or by another `aclose`."""
    go = threading.Event()
    server.add(held(go), "SendSMS.ashx")
    session = demo(server)
    await many(3, session.credit)
    sending = asyncio.create_task(many(1, lambda: send(session)))
    await server.until(lambda: "SendSMS.ashx" in server.paths())
    closing = asyncio.create_task(session.aclose())
    await asyncio.sleep(0)
    for _ in range(times):
        closing.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await closing
    await session.aclose()
    await server.until(lambda: server.open == 1)
    go.set()
    (receipt,) = await sending
    assert receipt.sent == 1
    await server.until(lambda: server.open == 0)


async def test_a_cancelled_closing_leaves_sends_to_finish(server: FaultyServer) -> None:
    """A send of another task goes on; its connection is closed behind it, its token is no more."""
    go = threading.Event()
    server.add(held(go), "SendSMS.ashx")
    session = demo(server)
    await session.credit()
    ends: list[Any] = []

    async def sending() -> None:
        ends.extend(await many(1, lambda: send(session)))

    async with anyio.create_task_group() as group:
        group.start_soon(sending)
        await server.until(lambda: "SendSMS.ashx" in server.paths())
        with anyio.move_on_after(0):
            await session.aclose()
        assert session.is_closed
        assert server.open == 1
        go.set()
    assert [end.sent for end in ends] == [1]
    await server.until(lambda: server.open == 0)


async def test_closing_ends_a_login_under_way(simulator: Simulator) -> None:
    """Where closing is cut short, those who wait for a login are told that nothing was sent."""
    simulator.faults.add("ConnectionHandler/1", Hang())
    session = in_mind(simulator)
    ends: list[Any] = []

    async def calling() -> None:
        ends.extend(await many(3, lambda: send(session)))

    async with anyio.create_task_group() as group:
        group.start_soon(calling)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0):
            await session.aclose()
    assert [type(end) for end in ends] == [SessionMisuse] * 3
    assert [end.sent for end in ends] == [False] * 3
    assert not simulator.sent


async def test_closing_ends_a_question_under_way(simulator: Simulator) -> None:
    """Where it cuts the question what a token is worth, the refused send is in doubt."""
    session = in_mind(simulator)
    await session.credit()
    simulator.faults.add("SendSMS", Refuse(-99, "發生不明錯誤"))
    simulator.faults.add("ConnectionHandler/2", Hang())
    ends: list[Any] = []

    async def calling() -> None:
        ends.extend(await many(1, lambda: send(session)))

    async with anyio.create_task_group() as group:
        group.start_soon(calling)
        await anyio.wait_all_tasks_blocked()
        with anyio.move_on_after(0):
            await session.aclose()
    assert [type(end) for end in ends] == [OutcomeUnknown]


async def test_enter_and_exit_in_different_tasks(server: FaultyServer) -> None:
    """Fixtures and lifespans enter in one task and leave in another."""
    session = demo(server)
    async with anyio.create_task_group() as group:
        group.start_soon(session.__aenter__)
    assert await session.credit() == Decimal(10000)
    async with anyio.create_task_group() as group:
        group.start_soon(session.__aexit__, None, None, None)
    await server.until(lambda: server.open == 0)
    assert session.is_closed


async def test_closing_what_was_never_used() -> None:
    """A session that was never called closes without a word."""
    session = Every8DSession("demo", "demo")
    await session.aclose()
    await session.aclose()
    assert isinstance(await failure(session.credit()), SessionMisuse)


async def test_a_users_transport_is_closed_once() -> None:
    """`aclose` closes what it was given, and only once."""
    transport = Scripted()
    session = transport.session()
    async with session:
        await session.credit()
    await session.aclose()
    assert transport.closed == 1


@pytest.mark.parametrize("second", ["asyncio", "trio"])
async def test_another_loop(server: FaultyServer, second: str) -> None:
    """A session used in a second loop says so before anything is sent; so does closing it there."""

    async def misuse() -> None:
        for call in (credit, send, Every8DSession.aclose, Every8DSession.check_token):
            error = await failure(call(session))
            assert isinstance(error, SessionMisuse)
            assert error.sent is False

    async with demo(server) as session:
        await session.credit()
        arrived = len(server.requests)
        await anyio.to_thread.run_sync(lambda: anyio.run(misuse, backend=second))
        assert (len(server.requests), server.accepted) == (arrived, 1)
        assert not session.is_closed
        await session.credit()


FORK = """
import os, sys, anyio
from every8d_async import Every8DSession, SessionMisuse

def outcome(coroutine):
    # No loop runs in the child: what does no IO needs none.
    try:
        coroutine.send(None)
    except StopIteration:
        return "done"
    except SessionMisuse as error:
        return "misuse" if "before a fork" in str(error) else str(error)
    return "waits"

async def main(backend, site):
    session = Every8DSession("demo", "demo", site=site)
    await session.credit()
    pid = os.fork()
    if not pid:
        ends = [outcome(call) for call in (
            session.credit(),
            session.sms.send("hello", to="+886900000001"),
            session.__aenter__(),
            session.check_token(),
            session.aclose(),
            session.aclose(),
        )]
        good = ends == ["misuse"] * 4 + ["done"] * 2 and session.is_closed
        os._exit(7 if good else 8)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    for _ in range(20):
        await session.credit()
    await session.aclose()
    sys.exit(status)

anyio.run(main, *sys.argv[1:], backend=sys.argv[1])
"""


def test_a_fork(anyio_backend: str, server: FaultyServer) -> None:
    """A forked child may not use it, and closes it without IO; the parent's connection is whole."""
    command = [sys.executable, "-c", FORK, anyio_backend, server.url]
    assert subprocess.run(command, check=False, timeout=60).returncode == 7
    assert server.accepted == 1
    assert server.paths() == ["ConnectionHandler.ashx", *["GetCredit.ashx"] * 21]


async def test_closing_in_another_process_does_nothing(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a fork the child lets go without waiting for anything: what is open is the parent's."""
    transport = Scripted()
    session = transport.session()
    await session.credit()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(StopIteration):
            session.aclose().send(None)
        assert (session.is_closed, transport.closed) == (True, 0)
    await session.aclose()
    assert [transport.closed] == [1]


# --- what others hear ---


async def test_an_observer_hears_of_each_call(simulator: Simulator) -> None:
    """One event a call, with its outcome and batch, also for those that failed."""
    events: list[CallEvent] = []
    async with in_mind(simulator, observer=events.append) as session:
        receipt = await session.sms.send("hello", to=MOBILE)
        await session.sms.delivery_reports(receipt.batch_id).collect()
        await failure(session.sms.cancel(receipt.batch_id))
        simulator.faults.add("GetCredit", HttpStatus(503))
        await session.credit()
        simulator.faults.add("SendSMS", HttpStatus(502))
        await failure(send(session))
    told = [(event.operation, event.attempts, event.outcome, event.batch_id) for event in events]
    assert told == [
        ("sms.send", 1, "ok", receipt.batch_id),
        ("sms.delivery_reports", 1, "ok", receipt.batch_id),
        ("sms.cancel", 1, "CancelRefused", receipt.batch_id),
        ("credit", 2, "ok", ""),
        ("sms.send", 1, "OutcomeUnknown", ""),
    ]
    assert all(event.seconds >= 0 for event in events)


async def test_a_failing_observer_hides_nothing(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener's fault is told in the log; the call ends as it would have."""

    def fail(event: CallEvent) -> None:
        raise ValueError(event.outcome)

    async with in_mind(simulator, observer=fail) as session:
        assert (await session.sms.send("hello", to=MOBILE)).sent == 1
        simulator.faults.add("SendSMS", HttpStatus(502))
        assert isinstance(await failure(send(session)), OutcomeUnknown)
    assert caplog.messages.count("the observer failed on sms.send") == 2


async def test_a_send_that_was_cut_is_told(
    server: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut by its caller after it left, a send leaves a warning in the log; a query does not."""
    events: list[CallEvent] = []
    async with demo(server, observer=events.append) as session:
        await session.credit()
        caplog.clear()
        for call, path, warns in [(send, "SendSMS.ashx", True), (credit, "GetCredit.ashx", False)]:
            server.add(Fault("hang", end=End.HANG), path)
            count = len(server.requests)
            async with anyio.create_task_group() as group:
                group.start_soon(call, session)
                await server.arrived(count + 1)
                group.cancel_scope.cancel()
            warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
            assert [warns] == [bool(warned)]
            assert all("sms.send cancelled" in text and "nobody knows" in text for text in warned)
            caplog.clear()
    assert [event.outcome for event in events] == ["ok", "cancelled", "cancelled"]
    assert [event.unknown for event in events] == [False, True, False]


async def test_a_send_cut_while_its_refusal_is_looked_into_is_told(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It left and was refused, perhaps; whether it was done nobody knows while we ask."""
    async with in_mind(simulator) as session:
        await session.credit()
        simulator.faults.add("SendSMS", Refuse(-99, "發生不明錯誤"))
        simulator.faults.add("ConnectionHandler/2", Hang())
        async with anyio.create_task_group() as group:
            group.start_soon(send, session)
            await anyio.wait_all_tasks_blocked()
            caplog.clear()
            group.cancel_scope.cancel()
        assert ["nobody knows" in message for message in caplog.messages] == [True]


async def test_a_send_cut_while_it_logs_in_again_is_no_doubt(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Its token was proven dead, so it was not done, and nothing of the second try has left."""
    async with in_mind(simulator) as session:
        await session.credit()
        simulator.expire_tokens()
        simulator.faults.add("ConnectionHandler/1", Hang())
        async with anyio.create_task_group() as group:
            group.start_soon(send, session)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        caplog.clear()
        session._driver._keeper.drop()
        simulator.faults.add("ConnectionHandler/1", Hang())
        async with anyio.create_task_group() as group:
            group.start_soon(send, session)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


@virtual
async def test_a_send_cut_before_its_second_try_is_no_doubt(
    anyio_backend: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Proven not done, and waiting for its turn to be done: a cancel leaves no doubt."""
    simulator = Simulator()
    async with in_mind(simulator, rate_limit=RateLimit(1, per=30.0)) as session:
        await session.credit()
        simulator.expire_tokens()
        with anyio.move_on_after(50.0):
            await send(session)
    assert simulator.logins == 2
    assert not simulator.sent
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


async def test_a_bug_is_passed_on() -> None:
    """What is neither ours nor the network's comes through as it is; observers hear its class."""

    async def fail() -> httpx.Response:
        raise ZeroDivisionError

    events: list[CallEvent] = []
    transport = Scripted()
    transport.order("GetCredit.ashx", fail)
    async with transport.session(observer=events.append) as session:
        with pytest.raises(ZeroDivisionError):
            await session.credit()
        await session.credit()
    assert [event.outcome for event in events] == ["ZeroDivisionError", "ok"]


SECRETS = ["u1d-canary", "p4ss&canary", "t0ken-canary-0123456789", "text canary 您好", "900123456"]


def spellings(secret: str) -> set[str]:
    found = {secret, quote(secret), quote_plus(secret), quote_plus(secret).lower()}
    return found | {secret.encode("unicode_escape").decode(), secret.encode().hex()}


@pytest.mark.parametrize("auth", ["token", "password"])
async def test_nothing_tells_a_secret(
    caplog: pytest.LogCaptureFixture, auth: Literal["token", "password"]
) -> None:
    """No uid, password, token, text or number in a log record, an error or an event, at DEBUG."""
    uid, password, token, text, number = SECRETS
    simulator = Simulator(accounts=[Account(uid=uid, password=password)], new_token=lambda: token)
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    with FaultyServer(asgi(simulator)) as server:
        options: dict[str, Any] = {"site": server.url, "auth": auth, "retry": QUICK}

        def hear(event: CallEvent) -> None:
            said.append(repr(event))

        options["observer"] = hear
        session = Every8DSession(uid, password, **options)
        async with session:
            await session.credit()
            for fault in [None, *faulty.NO_ANSWER, *faulty.CUT, *faulty.NO_SOUND_ANSWER]:
                if fault is not None:
                    server.add(fault)
                try:
                    said.append(repr(await session.sms.send(text, to=f"+886{number}")))
                except Every8DError as error:
                    said += [str(error), repr(error), repr(error.__dict__)]
                    said.append(pickle.dumps(error).decode("latin-1"))
                    said += traceback.format_exception(error)
            said.append(repr(session))
        async with Every8DSession(uid, password + "?", **options) as wrong:
            said.append(str(await failure(wrong.credit())))
    assert len(caplog.records) > 100
    said += [record.getMessage() for record in caplog.records]
    said += [repr(record.__dict__) for record in caplog.records]
    everything = "\n".join(said)
    for secret in SECRETS:
        assert [spelled for spelled in spellings(secret) if spelled in everything] == []


# --- errors lead nowhere ---


async def every_error(server: FaultyServer) -> AsyncGenerator[Awaitable[Any]]:
    """Give a call for each kind of failure."""
    html = faulty.instead(faulty.reply(faulty.HTML))
    async with demo(server) as session:
        await session.credit()
        for out in (faulty.instead(faulty.reply(b"", 503)), html):
            server.add(Fault("x", out=out, end=End.KEEP), times=2)
            yield session.credit()
        for fault in (faulty.NOT_FOUND, faulty.FORBIDDEN, faulty.UNAUTHORIZED, faulty.too_many(0)):
            server.add(fault, "SendSMS.ashx")
            yield send(session)
        for fault in (*faulty.NO_ANSWER[-2:], *faulty.CUT):
            server.add(fault)
            yield send(session)
        refusal = faulty.instead(faulty.reply("-99,發生不明錯誤".encode()))
        server.add(Fault("-99", out=refusal, end=End.KEEP), "SendSMS.ashx")
        yield send(session)
        yield session.sms.cancel("none")
        yield session.sms.send("", to="nobody")
    yield session.credit()
    async with Every8DSession("demo", "wrong", site=server.url) as session:
        yield session.credit()
        yield send(session)
    async with Every8DSession("demo", "wrong", site=server.url, auth="password") as session:
        yield session.credit()
        yield send(session)
    with faulty.refusing() as site:
        async with await with_token(site, retry=QUICK) as session:
            yield send(session)
    async with demo(server, timeout=Timeout(total=0.1)) as session:
        server.add(Fault("hang", end=End.HANG))
        yield session.credit()


async def test_errors_lead_nowhere(server: FaultyServer) -> None:
    """No cause, no context, and no frame below the call itself, where texts and tokens stand."""
    kinds: set[Any] = set()
    async for call in every_error(server):
        error = await failure(call)
        kinds.add(type(error))
        assert error.__cause__ is None
        assert error.__context__ is None
        frames = traceback.extract_tb(error.__traceback__)
        files = {Path(frame.filename).name for frame in frames}
        assert files <= {"test_session.py", "_border.py", "_driver.py", "_resources.py"}
    assert kinds >= {
        AccessBlocked,
        AuthenticationFailed,
        CancelRefused,
        GatewayRefused,
        GatewayUnavailable,
        GatewayUnreachable,
        InvalidRequest,
        MalformedReply,
        OutcomeUnknown,
        RateLimited,
        SessionMisuse,
    }


async def test_errors_are_gone_when_nobody_holds_them(server: FaultyServer) -> None:
    """A failed call leaves nothing to the garbage collector: neither its error nor what it held."""
    gc.collect()
    gc.disable()
    before = {id(each) for each in gc.get_objects() if isinstance(each, Every8DError)}
    try:
        async for call in every_error(server):
            ref = weakref.ref(await failure(call))
            await checkpoint()
            assert ref() is None
        left = [each for each in gc.get_objects() if isinstance(each, Every8DError)]
        left = [each for each in left if id(each) not in before]
        # How a login ended is kept; the frames, with the password in them, are not.
        assert all(error.__traceback__ is None for error in left)
    finally:
        gc.enable()


# --- the total deadline ---


@virtual
async def test_the_deadline_covers_the_wait_for_a_connection(anyio_backend: object) -> None:
    """All connections are out: whoever waits too long has sent nothing."""
    transport = Scripted()
    async with transport.session(max_connections=1) as session:
        await session.credit()
        slots = session._driver._exchange._slots
        slot = await slots.take()
        error = await failure(send(session))
        await slots.give(slot, sound=True)
        assert isinstance(error, GatewayUnreachable)
        assert (error.phase, error.cause, error.sent) == ("slot", "deadline", False)
    assert "SendSMS.ashx" not in transport.paths


@virtual
async def test_the_deadline_covers_the_login(anyio_backend: object) -> None:
    """A login that hangs ends the call: nothing was sent."""
    transport = Scripted()
    transport.order("ConnectionHandler.ashx", *[anyio.sleep_forever] * 9)
    async with transport.session() as session:
        error = await failure(send(session))
        assert isinstance(error, GatewayUnavailable)
        assert error.sent is False
    assert "SendSMS.ashx" not in transport.paths


@virtual
async def test_the_deadline_covers_the_turn_of_password_mode(anyio_backend: object) -> None:
    """A call whose turn does not come while the first one is out has sent nothing."""
    transport = Scripted()
    async with transport.session(auth="password") as session:
        gate = session._driver._gate
        assert gate is not None
        async with gate._lock:
            (error,) = await many(1, lambda: send(session))
        assert isinstance(error, GatewayUnreachable)
        assert (error.phase, error.sent) == ("slot", False)
    assert not transport.paths


@virtual
async def test_the_deadline_covers_the_question_about_a_token(anyio_backend: object) -> None:
    """A refusal that nobody explains in time leaves a send in doubt."""
    transport = Scripted()
    transport.order("SendSMS.ashx", httpx.Response(200, content="-99,發生不明錯誤".encode()))
    async with transport.session() as session:
        await session.credit()
        transport.order("ConnectionHandler.ashx", *[anyio.sleep_forever] * 9)
        assert isinstance(await failure(send(session)), OutcomeUnknown)


@virtual
@pytest.mark.parametrize("token_dies", [False, True], ids=["question", "login"])
async def test_what_serves_many_has_its_own_time(
    anyio_backend: object, *, token_dies: bool
) -> None:
    """A login or question begun late in a call may go on for others; the call ends in time."""
    transport = Scripted()
    refusal = httpx.Response(200, content="-99,發生不明錯誤".encode())

    async def late() -> httpx.Response:
        await anyio.sleep(50.0)
        transport.order("ConnectionHandler.ashx", *[anyio.sleep_forever] * 9)
        if token_dies:
            session._driver._keeper.drop()
        return httpx.Response(503) if token_dies else refusal

    async with transport.session(timeout=Timeout(total=60.0)) as session:
        await session.credit()
        transport.order("GetCredit.ashx" if token_dies else "SendSMS.ashx", late)
        begun = anyio.current_time()
        error = await failure(credit(session) if token_dies else send(session))
        assert type(error) is (GatewayUnavailable if token_dies else OutcomeUnknown)
        assert anyio.current_time() - begun == pytest.approx(60.0, abs=0.1)


@virtual
async def test_the_deadline_covers_back_off(anyio_backend: object) -> None:
    """A wait that would go beyond the deadline is not begun: the failure is told at once."""
    transport = Scripted()
    transport.order("GetCredit.ashx", *[httpx.Response(503)] * 9)
    policy = RetryPolicy(attempts=9, base=8.0, cap=8.0)
    async with transport.session(retry=policy, timeout=Timeout(total=20.0)) as session:
        begun = anyio.current_time()
        error = await failure(session.credit())
        assert isinstance(error, GatewayUnavailable)
        assert anyio.current_time() - begun < 20.0
    assert 3 <= transport.paths.count("GetCredit.ashx") <= 5


@virtual
async def test_the_deadline_covers_the_callers_own_rate(anyio_backend: object) -> None:
    """A turn that would come too late is told: nothing was sent."""
    transport = Scripted()
    limit = RateLimit(1, per=100.0)
    async with transport.session(rate_limit=limit, timeout=Timeout(total=10.0)) as session:
        await session.credit()
        error = await failure(send(session))
    assert isinstance(error, GatewayUnreachable)
    assert (error.phase, error.sent) == ("slot", False)
    assert "SendSMS.ashx" not in transport.paths


# --- the pace ---


@virtual
async def test_a_rate_limit_counts_attempts_and_no_logins(anyio_backend: object) -> None:
    """Calls and their retries leave at the caller's pace; what the session does itself is free."""
    transport = Scripted()
    transport.order("GetCredit.ashx", httpx.Response(503))
    policy = RetryPolicy(attempts=2, base=0.001)
    async with transport.session(rate_limit=RateLimit(1), retry=policy) as session:
        begun = anyio.current_time()
        await many(3, session.credit)
    times = [round(time - begun, 2) for time in transport.times]
    assert transport.paths == ["ConnectionHandler.ashx", *["GetCredit.ashx"] * 4]
    assert times[1:] == pytest.approx([0.0, 1.0, 2.0, 3.0], abs=0.1)


@virtual
async def test_a_429_holds_everybody_back(anyio_backend: object) -> None:
    """A query waits and asks again; so do all others, also those that wait for a connection."""
    transport = Scripted()

    async def slowly() -> httpx.Response:
        await anyio.sleep(1.0)
        return httpx.Response(429, headers={"Retry-After": "30"})

    transport.order("GetCredit.ashx", slowly)
    async with transport.session(max_connections=1) as session:
        begun = anyio.current_time()
        ends = await many(20, session.credit)
    assert ends == [Decimal("99.00")] * 20
    times = [time - begun for time in transport.times]
    assert len(times) == 22
    assert min(times[2:]) == pytest.approx(31.0, abs=0.1)


@virtual
async def test_a_send_that_met_a_429_is_not_repeated(anyio_backend: object) -> None:
    """`RateLimited` tells how long; the session's next send waits that out."""
    transport = Scripted()
    transport.order("SendSMS.ashx", httpx.Response(429, headers={"Retry-After": "7"}))
    async with transport.session() as session:
        error = await failure(send(session))
        assert isinstance(error, RateLimited)
        assert (error.retry_after, error.sent) == (7.0, False)
        begun = anyio.current_time()
        await send(session)
        assert anyio.current_time() - begun == pytest.approx(7.0, abs=0.1)
    assert transport.paths.count("SendSMS.ashx") == 2


@virtual
async def test_a_429_longer_than_a_call_may_take(anyio_backend: object) -> None:
    """Whoever can't wait so long is told at once, and nothing is sent."""
    transport = Scripted()
    transport.order("SendSMS.ashx", httpx.Response(429, headers={"Retry-After": "50"}))
    async with transport.session(timeout=Timeout(total=10.0)) as session:
        await failure(send(session))
        error = await failure(send(session))
    assert isinstance(error, RateLimited)
    assert error.retry_after == pytest.approx(50.0, abs=0.1)
    assert transport.paths.count("SendSMS.ashx") == 1


@virtual
async def test_a_429_to_the_login_holds_everybody_back(anyio_backend: object) -> None:
    """The login is no exception to the gateway's word: not who hears it, nor who waits it out."""
    transport = Scripted()
    transport.order("ConnectionHandler.ashx", httpx.Response(429, headers={"Retry-After": "50"}))
    async with transport.session(timeout=Timeout(total=10.0)) as session:
        for _ in range(30):
            error = await failure(send(session))
            assert isinstance(error, RateLimited)
            assert (error.operation, error.sent) == ("sms.send", False)
        assert transport.paths == ["ConnectionHandler.ashx"]
        await anyio.sleep(45.0)
        await send(session)
    login, again, _ = transport.times
    assert again - login == pytest.approx(50.0, abs=0.1)


@virtual
async def test_a_login_waits_out_what_a_send_met(anyio_backend: object) -> None:
    """A session that was asked to wait logs in no sooner, and asks about no token."""
    transport = Scripted()
    transport.order("SendSMS.ashx", httpx.Response(429, headers={"Retry-After": "7"}))
    async with transport.session() as session:
        await failure(send(session))
        held = anyio.current_time()
        session._driver._keeper.drop()
        await send(session)
    assert transport.paths[2] == "ConnectionHandler.ashx"
    assert transport.times[2] - held == pytest.approx(7.0, abs=0.1)


# --- guards ---


async def test_guards_are_asked_before_anything_leaves(server: FaultyServer) -> None:
    """What refuses a site (the pytest plugin) is told it, and the caller's own transport."""
    asked: list[tuple[str, httpx.AsyncBaseTransport | None]] = []
    transport = Scripted()

    def guard(site: str, transport: httpx.AsyncBaseTransport | None) -> None:
        asked.append((site, transport))
        raise SessionMisuse("not in a test")

    GUARDS.append(guard)
    try:
        async with demo(server) as session:
            assert isinstance(await failure(session.credit()), SessionMisuse)
        async with transport.session() as session:
            assert isinstance(await failure(session.credit()), SessionMisuse)
            site = session._settings.site
    finally:
        GUARDS.remove(guard)
    assert asked == [(server.url, None), (site, transport)]
    assert not server.requests
    assert not transport.paths
