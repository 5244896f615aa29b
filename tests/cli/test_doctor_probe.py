"""The live probe: each verdict of each question, against a simulated gateway; what it may cost."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest

from every8d_async import Every8DSession, Timeout
from every8d_async._cli._doctor import probe as questions
from every8d_async._cli._doctor.line import Line
from every8d_async._cli._doctor.probe import (
    DEAD_GETS,
    FILTERED_SENDS,
    NEWER_LOGIN,
    PLAIN_SENDS,
    QUESTIONS,
    REPLY_PAGES,
    REPORT_PAGES,
    SENDS,
    SPELLING,
    Plan,
    Probe,
    spelling,
)
from every8d_async._cli._doctor.rows import Row, State, Target
from every8d_async.simulator import Account, Garbage, HttpStatus, Refusal, Refuse, Reset, Simulator
from tests.certificate import PEM, server_context
from tests.faulty import IDLE_CLOSE, FaultyServer, Request, asgi, reply

MOBILE = "+886912345678"
PATIENCE = Timeout(total=20, connect=5, read=10, write=10)
Answer = Callable[[Request], bytes | None]

ANSWERED, FAILED, INCONCLUSIVE = State.ANSWERED, State.FAILED, State.INCONCLUSIVE


def target(site: str) -> Target:
    return Target("demo", "demo", site)


async def log_in(site: str) -> str:
    """Give a token, as the doctor's login does."""
    async with Every8DSession("demo", "demo", site=site) as session:
        await session.credit()
        token = session._driver._keeper.current
        assert token is not None
        return token


def probe(site: str, **options: Any) -> dict[str, Row]:
    """Run the probe with short waits, and give each row by its name."""
    defaults: dict[str, Any] = {"waits": (0.01, 0.05), "idle": 0.0}
    plan = Plan(MOBILE, **(defaults | options))
    told: list[Row] = []

    async def run() -> list[Row]:
        asked = Probe(target(site), plan, told.append, PATIENCE)
        await asked.run(await log_in(site))
        return asked.rows

    rows = anyio.run(run)
    assert [row.name for row in rows] == [*QUESTIONS, SENDS]
    assert {row.name for row in told} == set(QUESTIONS)
    return {row.name: row for row in rows}


@contextmanager
def gateway(simulator: Simulator, answer: Answer) -> Generator[str]:
    """Serve a simulator of which some requests are answered otherwise."""
    sound = asgi(simulator)
    with FaultyServer(lambda request: answer(request) or sound(request)) as server:
        yield server.url


def nth(path: str, number: int, said: bytes, marked: bytes = b"", last: int = 999) -> Answer:
    """Answer the requests of this path and mark from this number to the last one otherwise."""
    seen = count(1)

    def answer(request: Request) -> bytes | None:
        fits = request.path.endswith(path) and marked in request.body
        return said if fits and number <= next(seen) <= last else None

    return answer


# --- tokens ---


def test_a_dead_token() -> None:
    """A closed token's refusals are told by status and code, beside those of a live one."""
    simulator = Simulator(dead_token=Refusal(-77, "no", 401))
    with simulator.serve() as site:
        row = probe(site)[DEAD_GETS]
    assert row.state is ANSWERED
    assert row.facts["credit"] == {
        "dead token": "HTTP 401, no reply of the documented form",
        "live token": "HTTP 200, a sound reply",
    }
    assert row.facts["token check"] == {
        "dead token": "HTTP 200, code -99",
        "live token": "HTTP 200, a sound reply",
    }
    assert row.facts["send to nobody"] == {
        "dead token": "HTTP 401, no reply of the documented form",
        "live token": "HTTP 200, code -27",
    }


def test_a_refusal_that_is_not_the_tokens() -> None:
    """Where a live token gets the same, nothing is proved."""
    with Simulator(dead_token=Refusal(-27, "no")).serve() as site:
        row = probe(site)[DEAD_GETS]
    assert row.state is INCONCLUSIVE
    assert "credit: HTTP 200, code -27;" in row.said
    assert row.said.endswith("where a live token gets the same: send to nobody")


def test_a_closed_token_that_lives_on() -> None:
    """A gateway that says it closed a token, and honours it, is told."""
    simulator = Simulator()
    simulator.faults.add("ConnectionHandler/3", Garbage(b'{"Result":true}'))
    with simulator.serve() as site:
        row = probe(site)[DEAD_GETS]
    assert (row.state, row.said) == (ANSWERED, "a closed token goes on working")


def test_a_token_that_can_not_be_closed() -> None:
    """Without a dead token there is nothing to see, and the other questions go on."""
    simulator = Simulator()
    simulator.faults.add("ConnectionHandler/3", HttpStatus(503, body=b"<html>"))
    with simulator.serve() as site:
        rows = probe(site)
    assert rows[DEAD_GETS].state is INCONCLUSIVE
    assert "could not be closed: HTTP 503, an HTML page" in rows[DEAD_GETS].said
    assert rows[NEWER_LOGIN].state is FAILED
    assert rows[PLAIN_SENDS].state is ANSWERED


def test_a_token_that_has_ended_before() -> None:
    """A token that time or another login has ended can't be closed; the rest goes on."""
    simulator = Simulator()

    def answer(request: Request) -> bytes | None:
        if b'"VerifyType":3' in request.body:
            simulator.expire_tokens()
        return None

    with gateway(simulator, answer) as site:
        rows = probe(site)
    assert rows[DEAD_GETS].state is INCONCLUSIVE
    assert rows[DEAD_GETS].said == "the token could not be closed: HTTP 200, code -99"
    assert rows[SENDS].state is State.OK


def test_no_live_token_to_compare_with() -> None:
    """A login that fails in between is a row, and is not tried again by the same question."""
    simulator = Simulator()
    down = nth("ConnectionHandler.ashx", 2, reply(b"", 503), b'"VerifyType":1')
    with gateway(simulator, down) as site:
        rows = probe(site)
    assert rows[DEAD_GETS].state is INCONCLUSIVE
    assert rows[DEAD_GETS].said.endswith("There was no live token to compare with")
    assert rows[NEWER_LOGIN].state is FAILED
    assert "two logins are needed: HTTP 503" in rows[NEWER_LOGIN].said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "no: the older token goes on working"),
        (
            {"one_token_per_account": True},
            "yes: the older token then gets HTTP 200, code -99",
        ),
        ({"new_token": lambda: "0" * 32}, "no: a second login gives the same token again"),
        (
            {"one_token_per_account": True, "dead_token": Refusal(-1, "no", 401)},
            "yes: the older token then gets HTTP 401, no reply of the documented form",
        ),
    ],
)
def test_a_newer_login(options: dict[str, Any], words: str) -> None:
    """Whether a login ends the older token is seen by a query under each."""
    simulator = Simulator(**options)
    with simulator.serve() as site:
        row = probe(site)[NEWER_LOGIN]
    assert (row.state, row.said) == (ANSWERED, words)
    assert simulator.logins == 3  # the checks' own, and two


@pytest.mark.parametrize(
    ("number", "said", "words"),
    [
        (4, reply(b"", 503), "older token: HTTP 503, no reply of the documented form; newer"),
        (5, reply(b"", 503), "newer token: HTTP 503, no reply of the documented form"),
        (4, b"", "older token: no reply (RemoteProtocolError)"),
    ],
)
def test_a_newer_login_that_proves_nothing(number: int, said: bytes, words: str) -> None:
    """A query that fails for another cause says nothing about a token."""
    # Of the queries for credit the first is the login's, two more are about the dead token.
    strange = nth("GetCredit.ashx", number, said or b"\r\n", last=number)
    with gateway(Simulator(), strange) as site:
        row = probe(site)[NEWER_LOGIN]
    assert row.state is INCONCLUSIVE
    assert words in row.said


# --- messages ---


def test_two_messages_and_no_more() -> None:
    """The probe sends what it said, two texts that were never sent before, and tells the points."""
    simulator = Simulator()
    with simulator.serve() as site:
        first, second = probe(site), probe(site)
    for rows in (first, second):
        assert rows[SENDS].state is State.OK
        assert rows[SENDS].facts == {"plain": "accepted", "filtered": "accepted", "points": "2"}
    assert len({message.text for message in simulator.sent}) == len(simulator.sent) == 4
    plan = Plan(MOBILE)
    assert (plan.points, plan.seconds) == (Decimal(2), 600)


def test_a_filter_that_remembers() -> None:
    """What the filter knows, and how it spells the number, is told without the number."""
    with Simulator().serve() as site:
        rows = probe(site)
    for name in (PLAIN_SENDS, FILTERED_SENDS):
        assert rows[name].state is ANSWERED
        assert rows[name].facts["send"] == "accepted"
        assert rows[name].facts["dry runs"] == 1
    assert rows[PLAIN_SENDS].said.startswith("yes: it was known when asked 0.")
    assert rows[FILTERED_SENDS].said.startswith("it was known when asked 0.")
    assert rows[SPELLING].state is ANSWERED
    assert rows[SPELLING].said == "+8869######## for a number sent as +8869########"


def test_a_filter_that_does_not_know_plain_sends() -> None:
    """A plain send that stays unknown is an answer where the filtered one was known."""
    with Simulator(filter_sees_plain_sends=False).serve() as site:
        rows = probe(site)
    assert rows[PLAIN_SENDS].state is ANSWERED
    assert rows[PLAIN_SENDS].said.startswith("no: it was not known within 0.05 s, while")
    assert rows[PLAIN_SENDS].facts["dry runs"] == 2
    assert rows[FILTERED_SENDS].state is ANSWERED


def test_a_filter_that_knows_nothing() -> None:
    """Where not even the filtered send is known, nothing is proved."""
    silent = nth("SendSMS4FilterMessage.ashx", 1, reply(b"0,0,0,"), b"IsSend=false")
    with gateway(Simulator(), silent) as site:
        rows = probe(site)
    for name in (PLAIN_SENDS, FILTERED_SENDS, SPELLING):
        assert rows[name].state is INCONCLUSIVE
    assert rows[PLAIN_SENDS].said == "it was not known within 0.05 s"
    assert rows[SPELLING].said == "no dry run listed the number"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (reply(b"-99,what"), "a dry run before the sends failed: HTTP 200, code -99"),
        (reply(b"0,0,0,,0912345678,x".replace(b",x", b",")), "knows a text before it was sent"),
    ],
)
def test_nothing_is_sent_where_the_filter_makes_no_sense(said: bytes, words: str) -> None:
    """Dry runs come first: no point is spent on a question that can't be answered."""
    simulator = Simulator()
    strange = nth("SendSMS4FilterMessage.ashx", 1, said, b"IsSend=false")
    with gateway(simulator, strange) as site:
        rows = probe(site)
    for name in (PLAIN_SENDS, FILTERED_SENDS):
        assert rows[name].state is FAILED
        assert words in rows[name].said
    assert rows[SENDS].facts["plain"] == "not attempted"
    assert rows[REPORT_PAGES].said == "there is no batch to look at"
    assert simulator.sent == ()


def test_a_refused_send() -> None:
    """A send that is refused is told by its code, and the other one goes on."""
    simulator = Simulator()
    with gateway(simulator, nth("SendSMS.ashx", 3, reply(b"-306,no"))) as site:
        rows = probe(site)
    assert rows[PLAIN_SENDS].state is FAILED
    assert rows[PLAIN_SENDS].said == "the message was not sent: HTTP 200, code -306"
    assert rows[FILTERED_SENDS].state is ANSWERED
    assert rows[SENDS].facts == {"plain": "not sent", "filtered": "accepted", "points": "1"}
    assert rows[REPORT_PAGES].facts["total"] == 1  # of the other batch
    assert len(simulator.sent) == 1


def test_no_credit_for_a_send() -> None:
    """A receipt for nobody is told as that."""
    account = Account(uid="demo", password="demo", credit=Decimal(1))
    with Simulator(accounts=[account]).serve() as site:
        rows = probe(site)
    assert rows[FILTERED_SENDS].state is FAILED
    assert "the receipt says that nobody was sent to" in rows[FILTERED_SENDS].said
    assert rows[SENDS].facts["filtered"] == "not sent"


@pytest.mark.parametrize("acts", [True, False])
def test_a_send_whose_answer_is_lost(acts: bool) -> None:
    """An unknown outcome is told, is never sent again, and the filter may clear it up."""
    simulator = Simulator()
    sound = asgi(simulator)
    # Two sends to nobody come first, about the dead token and the live one.
    seen = count(1)

    def answer(request: Request) -> bytes:
        if not request.path.endswith("/SendSMS.ashx") or next(seen) != 3:
            return sound(request)
        if acts:
            sound(request)
        raise ConnectionResetError

    with FaultyServer(answer) as server:
        rows = probe(server.url)
    assert rows[SENDS].state is State.WARNING
    assert rows[SENDS].facts["plain"] == "unknown"
    assert "was not repeated" in rows[SENDS].said
    if acts:
        assert rows[PLAIN_SENDS].state is ANSWERED
        assert rows[PLAIN_SENDS].said.endswith("whose answer was lost: so it did go out")
    else:
        assert rows[PLAIN_SENDS].state is INCONCLUSIVE
        assert rows[PLAIN_SENDS].said.endswith("so it may not have gone out")
    assert len(simulator.sent) == 1 + acts


def test_dry_runs_that_fail_after_the_sends() -> None:
    """Where no dry run is answered, the sends are told and the question has failed."""
    down = nth("SendSMS4FilterMessage.ashx", 3, reply(b"", 502), b"IsSend=false")
    with gateway(Simulator(), down) as site:
        rows = probe(site)
    assert rows[PLAIN_SENDS].state is FAILED
    assert "no dry run after the send was answered: HTTP 502" in rows[PLAIN_SENDS].said
    assert rows[SENDS].facts["plain"] == "accepted"


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"0,0,0,,+886912345678/+886900000001,x/y", "+8869########"),
        (b"\xef\xbb\xbf0,0,0,, 0912345678 ,x", "09########"),
        (b"10.00,0,0,0,,886912345678,x", "8869########"),
        (b"0,0,0,,912345678,x", "9########"),
        (b"0,0,0,,+886 912-345-678,x", "+886 9##-###-###"),
        (b"0,0,0,,+12025550123,x", "+###########"),
        (b"0,0,0,,0x12,x", "#?##"),
        (b"0,0,0,", ""),
    ],
)
def test_how_a_number_is_spelled(body: bytes, form: str) -> None:
    """The form of a number is kept, and its digits are not."""
    assert spelling(body) == form


# --- pages ---


@pytest.mark.parametrize("size", [10, 1000])
def test_the_size_of_a_page(size: int) -> None:
    """A page that holds less than the batch tells its size; a whole batch tells nothing."""
    simulator = Simulator(reply_page_size=size, report_page_size=size)

    async def prepare() -> str:
        numbers = [f"09000000{number:02d}" for number in range(25)]
        async with Every8DSession("demo", "demo", site=site) as session:
            receipt = await session.sms.send("text", numbers)
        for number in numbers:
            simulator.add_reply(receipt.batch_id, number, "OK")
        return receipt.batch_id

    with simulator.serve() as site:
        rows = probe(site, batch_id=anyio.run(prepare))
    for name in (REPORT_PAGES, REPLY_PAGES):
        if size == 10:
            assert (rows[name].state, rows[name].said) == (ANSWERED, "10 of the batch's 25")
        else:
            assert rows[name].state is INCONCLUSIVE
            assert rows[name].said == "the batch's 25 came on one page, which may hold more"
            assert "--batch" in rows[name].next


def test_pages_without_rows_or_answers() -> None:
    """Nothing is made out of nothing, and a query that fails is told."""
    simulator = Simulator()
    simulator.faults.add("GetDeliveryStatus", Refuse(-99))
    with simulator.serve() as site:
        rows = probe(site)
    assert rows[REPORT_PAGES].state is FAILED
    assert rows[REPORT_PAGES].said == "the query failed: HTTP 200, code -99"
    assert rows[REPLY_PAGES].state is INCONCLUSIVE
    assert rows[REPLY_PAGES].said == "0 came, of 0"


# --- idle connections ---


def watch_idle(site: str, idle: float) -> Row:
    """Ask the one question about connections."""
    return anyio.run(Probe(target(site), Plan(MOBILE, idle=idle), print, PATIENCE)._idle)


def test_an_idle_connection_that_lives() -> None:
    """A connection that answers after the limit lives longer."""
    with FaultyServer(asgi(Simulator())) as server:
        row = watch_idle(server.url, 0.3)
        assert server.accepted == 1
    assert (row.state, row.said) == (ANSWERED, "longer than 0.3 s: it answered after that")


def test_an_idle_connection_inside_of_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What TLS says by itself after a handshake is not taken for an end."""
    path = tmp_path / "trusted.pem"
    path.write_text(PEM.partition("-----BEGIN PRIVATE")[0])
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with FaultyServer(asgi(Simulator()), tls=server_context()) as server:
        row = watch_idle(f"https://localhost:{server.port}", 0.3)
    assert (row.state, row.said) == (ANSWERED, "longer than 0.3 s: it answered after that")


class Replaced(Line):
    """A line whose connection is another one each time, without a sign of it."""

    @property
    def connection(self) -> object:
        return object()

    @property
    def is_dropped(self) -> bool:
        return False


def test_an_idle_connection_that_is_replaced() -> None:
    """An answer on another connection is no sign of life of the first one."""

    async def run(site: str) -> Row:
        line = Replaced(target(site), PATIENCE)
        try:
            return await Probe(target(site), Plan(MOBILE), print, PATIENCE)._watch_idle(line, 0.01)
        finally:
            await line.aclose()

    with FaultyServer(asgi(Simulator())) as server:
        row = anyio.run(run, server.url)
    assert row.state is ANSWERED
    assert "gone without a sign within 0.01 s: HTTP 200, a sound reply" in row.said


def test_an_idle_connection_that_is_closed() -> None:
    """A connection that the gateway closes is seen without asking on it."""
    with FaultyServer(asgi(Simulator())) as server:
        server.add(IDLE_CLOSE, "GetCredit.ashx")
        row = watch_idle(server.url, 30)
        assert len(server.requests) == 1
    assert row.state is ANSWERED
    assert row.said.startswith("the other end closed it after ")
    assert float(str(row.facts["closed_after_seconds"])) < 30


@pytest.mark.parametrize("limit", [0.0001, 0.3])
def test_an_idle_connection_that_is_gone_without_a_sign(limit: float) -> None:
    """A connection on which a request is lost was gone before."""
    sound = asgi(Simulator())
    seen = count(1)

    def answer(request: Request) -> bytes:
        if next(seen) > 1:
            raise ConnectionResetError
        return sound(request)

    with FaultyServer(answer) as server:
        row = watch_idle(server.url, limit)
    assert row.state is ANSWERED
    assert "gone without a sign" in row.said
    assert row.facts["silent"] is True


def test_idle_connections_left_out_or_unseen() -> None:
    """The question can be left out, and fails where the first query does."""
    simulator = Simulator()
    simulator.faults.add("GetCredit", Reset())
    with simulator.serve() as site:
        assert watch_idle(site, 0).state is State.NOT_ASKED
        failed = watch_idle(site, 1)
    assert failed.state is FAILED
    assert "the query failed: no reply" in failed.said


# --- how it ends ---


def test_a_question_that_breaks_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever breaks in one question does not take along the others, or what was paid for."""
    with Simulator().serve() as site:
        token = anyio.run(log_in, site)
        monkeypatch.setattr(questions, "SMS_REPORTS", {})
        asked = Probe(target(site), Plan(MOBILE, waits=(0.01,), idle=0), print, PATIENCE)
        anyio.run(asked.run, token)
    rows = {row.name: row for row in asked.rows}
    assert rows[REPORT_PAGES].state is FAILED
    assert rows[REPORT_PAGES].said == "this question broke: KeyError"
    assert rows[PLAIN_SENDS].state is ANSWERED


def test_a_refused_login_ends_the_asking() -> None:
    """Nothing is asked after a refused login: ten of them lock the account."""
    simulator = Simulator()

    async def run() -> list[Row]:
        token = await log_in(site)
        asked = Probe(
            Target("demo", "wrong", site), Plan(MOBILE, waits=(0.01,), idle=0), print, PATIENCE
        )
        await asked.run(token)
        return asked.rows

    with simulator.serve() as site:
        rows = {row.name: row for row in anyio.run(run)}
    assert simulator.failed_logins == 1
    assert rows[NEWER_LOGIN].state is FAILED
    assert rows[PLAIN_SENDS].state is FAILED
    assert simulator.sent == ()


def test_a_probe_that_is_cut_keeps_what_it_knows() -> None:
    """Stopped half-way, it tells what was found, what was not asked, and what was sent."""
    simulator = Simulator()

    async def run() -> list[Row]:
        token, scope = await log_in(site), anyio.CancelScope()

        def tell(row: Row) -> None:
            if row.name == NEWER_LOGIN:
                scope.cancel()

        asked = Probe(target(site), Plan(MOBILE), tell, PATIENCE)
        with scope:
            await asked.run(token)
        return asked.rows

    with simulator.serve() as site:
        rows = {row.name: row for row in anyio.run(run)}
    assert rows[NEWER_LOGIN].state is ANSWERED
    assert rows[PLAIN_SENDS].said == "the probe ended before this question"
    assert rows[SENDS].facts["plain"] == "not attempted"
    assert simulator.sent == ()


def test_a_stop_does_not_cut_a_send() -> None:
    """Stopped in the middle of a send, that one comes to its end, and the other does not begin."""
    simulator = Simulator()
    sound = asgi(simulator)
    seen = count(1)
    unknown: list[int] = []

    async def run() -> list[Row]:
        loop, scope = anyio.lowlevel.current_token(), anyio.CancelScope()

        def answer(request: Request) -> bytes:
            # Two sends to nobody come first, about the dead token and the live one.
            if request.path.endswith("/SendSMS.ashx") and next(seen) == 3:
                unknown.append(asked.unknown)
                anyio.from_thread.run_sync(scope.cancel, token=loop)
            return sound(request)

        with FaultyServer(answer) as server:
            asked = Probe(target(server.url), Plan(MOBILE, idle=0), print, PATIENCE)
            token = await log_in(server.url)
            with scope:
                await asked.run(token)
        return asked.rows

    rows = {row.name: row for row in anyio.run(run)}
    assert rows[SENDS].facts == {"plain": "accepted", "filtered": "not attempted", "points": "1"}
    assert unknown == [1]  # until its answer is here
    assert rows[PLAIN_SENDS].state is State.NOT_ASKED
    assert len(simulator.sent) == 1
