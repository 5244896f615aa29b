"""Bulk runs through a session, in memory and on real sockets; the simulator's count is truth."""

import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from attrs import define, field, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async import (
    TAIPEI,
    AccessBlocked,
    AuthenticationFailed,
    BatchOutcome,
    BulkRun,
    BulkSummary,
    Every8DSession,
    FilteredReceipt,
    GatewayRefused,
    GatewayUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    PersonalizedMessage,
    RateLimited,
    RetryPolicy,
    SessionMisuse,
    TemplateRecipient,
    Timeout,
    mobile,
)
from every8d_async.simulator import (
    Account,
    CutReply,
    DeadToken,
    Delay,
    Fault,
    FirewallPage,
    Garbage,
    Hang,
    HttpStatus,
    Refuse,
    Reset,
    Simulator,
)

from .kit import PICTURE

RICH = Decimal(10_000_000)
QUICK = RetryPolicy(attempts=2, base=0.001, cap=0.001)
SOON = datetime(2099, 11, 24, 12, tzinfo=TAIPEI)

Outcome = BatchOutcome[Any]


def make(credit: Decimal | int = RICH, **options: Any) -> Simulator:
    return Simulator(accounts=[Account(uid="demo", password="demo", credit=credit)], **options)


def session_with(site: str, **options: Any) -> Every8DSession:
    options.setdefault("retry", QUICK)
    return Every8DSession("demo", "demo", site=site, **options)


def in_memory(simulator: Simulator) -> Every8DSession:
    return session_with("http://localhost", transport=httpx.ASGITransport(app=simulator))


@pytest.fixture
def simulator(request: pytest.FixtureRequest) -> Simulator:
    """Give a simulator with credit for all, or with what a test says."""
    return make(getattr(request, "param", RICH))


@pytest.fixture(params=["memory", "sockets"])
def session(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[Every8DSession]:
    """Give a session with the simulator, in memory or over real sockets."""
    if request.param == "memory":
        yield in_memory(simulator)
    else:
        with simulator.serve() as site:
            yield session_with(site)


def number(position: int) -> str:
    return f"+8869{position:08d}"


def texts(count: int) -> list[PersonalizedMessage]:
    return [
        PersonalizedMessage(number(each), f"您的訂單 {each}", reference=f"order-{each}")
        for each in range(count)
    ]


async def outcomes_of(run: BulkRun[Any]) -> list[Outcome]:
    async with run:
        return [outcome async for outcome in run]


def total(summary: BulkSummary) -> int:
    told = (summary.accepted, summary.refused, summary.not_sent, summary.unknown)
    return sum(told) + summary.not_attempted


# --- what can be sent so ---


@pytest.mark.anyio
async def test_own_texts(session: Every8DSession, simulator: Simulator) -> None:
    """Each message goes out once, with all that belongs to it, in batches of `batch_size`."""
    messages = texts(1_234)
    messages[7] = PersonalizedMessage(
        "0912-345-678",
        "line one\n第二行 😀",
        name="林小姐",
        email="lin@example.org",
        send_at=SOON,
        reference="special",
    )
    async with session:
        run = session.sms.send_bulk(
            messages,
            subject="主旨",
            valid_for=timedelta(minutes=60),
            event_id="42",
            batch_size=100,
        )
        outcomes = await outcomes_of(run)
    assert Counter(m.text for m in messages) == Counter(m.text for m in simulator.sent)
    assert {("主旨", 60, "42")} == {
        (m.subject, m.valid_minutes, m.event_id) for m in simulator.sent
    }
    [special] = [sent for sent in simulator.sent if sent.reference == "special"]
    told = (special.mobile, special.text, special.name, special.email, special.scheduled_for)
    assert told == ("+886912345678", "line one\n第二行 😀", "林小姐", "lin@example.org", SOON)
    assert sorted(len(outcome.messages) for outcome in outcomes) == [34] + [100] * 12
    cost = RICH - simulator.credit()
    assert BulkSummary(accepted=1_234, cost=cost) == run.summary
    for outcome in outcomes:
        assert outcome.receipt is not None
        sent = [m for m in simulator.sent if m.batch_id == outcome.receipt.batch_id]
        assert [m.text for m in sent] == [m.text for m in outcome.messages]
        assert all(m in messages for m in outcome.messages)


@pytest.mark.anyio
async def test_a_template(session: Every8DSession, simulator: Simulator) -> None:
    """With `template=`, `TemplateRecipient`s give the fields."""
    recipients = [TemplateRecipient(number(n), [str(n), "點"]) for n in range(250)]
    async with session:
        run = session.sms.send_bulk(recipients, template="還有 %field1% %field2%", batch_size=99)
        outcomes = await outcomes_of(run)
    assert [f"還有 {n} 點" for n in range(250)] == sorted(
        (sent.text for sent in simulator.sent), key=lambda text: int(text.split()[1])
    )
    assert {"SendParam"} == {r.operation for r in simulator.requests[1:]}
    assert len(outcomes) == 3
    assert run.summary.accepted == 250


@pytest.mark.anyio
async def test_a_broadcast(session: Every8DSession, simulator: Simulator) -> None:
    """One text for many; each outcome's `messages` holds the mobiles, as they were given."""
    given_mobiles = [f"09{n:08d}" for n in range(120)]
    async with session:
        run = session.sms.broadcast("特賣", given_mobiles, send_at=SOON, batch_size=50)
        outcomes = await outcomes_of(run)
    assert given_mobiles == sorted(m for outcome in outcomes for m in outcome.messages)
    assert [mobile(m) for m in given_mobiles] == sorted(sent.mobile for sent in simulator.sent)
    assert {("特賣", SOON)} == {(sent.text, sent.scheduled_for) for sent in simulator.sent}
    assert run.summary.accepted == 120


@pytest.mark.anyio
async def test_a_filtered_broadcast(session: Every8DSession, simulator: Simulator) -> None:
    """Who had the text in the last 24 hours is left out, and counted in `filtered`."""
    mobiles = [number(n) for n in range(90)]
    async with session:
        await outcomes_of(session.sms.broadcast("特賣", mobiles[:40], filtered=True))
        run = session.sms.broadcast("特賣", mobiles, filtered=True, batch_size=30)
        outcomes = await outcomes_of(run)
    assert mobiles == sorted(sent.mobile for sent in simulator.sent)
    assert {"SendSMS4FilterMessage"} == {r.operation for r in simulator.requests[1:]}
    assert all(isinstance(outcome.receipt, FilteredReceipt) for outcome in outcomes)
    assert BulkSummary(accepted=90, filtered=40, cost=Decimal(50)) == run.summary


@pytest.mark.anyio
async def test_a_broadcast_to_one(session: Every8DSession, simulator: Simulator) -> None:
    """A text for `to` is one mobile, as everywhere."""
    async with session:
        [outcome] = await outcomes_of(session.sms.broadcast("hello", "0912345678"))
    assert outcome.messages == ("0912345678",)
    assert [sent.mobile for sent in simulator.sent] == ["+886912345678"]


@pytest.mark.anyio
async def test_pictures(session: Every8DSession, simulator: Simulator) -> None:
    """An MMS run sends one picture with own texts, or with a template's fields."""
    recipients = [TemplateRecipient(number(n), [str(n)]) for n in range(5)]
    bad = PersonalizedMessage("+12025550123", "no picture goes abroad")
    async with session:
        own = session.mms.send_bulk([*texts(7), bad], PICTURE, subject="主旨", batch_size=3)
        assert len(await outcomes_of(own)) == 4
        filled = session.mms.send_bulk(
            recipients, PICTURE, subject="主旨", template="%field1%", batch_size=2
        )
        assert len(await outcomes_of(filled)) == 3
    assert {("mms", PICTURE.data)} == {(m.kind, m.attachment) for m in simulator.sent}
    wanted = [*(f"您的訂單 {n}" for n in range(7)), *"01234"]
    assert sorted(wanted) == sorted(m.text for m in simulator.sent)
    assert (own.summary.accepted, own.summary.refused, filled.summary.accepted) == (7, 1, 5)


@pytest.mark.anyio
async def test_what_may_not_repeat_in_a_request_closes_it_early(
    session: Every8DSession, simulator: Simulator
) -> None:
    """The same reference, or in a broadcast the same mobile, goes out in another request."""
    twice = [PersonalizedMessage(number(n), str(n), reference=str(n % 4)) for n in range(12)]
    spelled = ["0912345678", "0912345679", "+886912345678", "0912345679"]
    async with session:
        own = await outcomes_of(session.sms.send_bulk(twice))
        cast = await outcomes_of(session.sms.broadcast("hello", spelled))
    assert [len(outcome.messages) for outcome in own] == [4, 4, 4]
    assert [len(outcome.messages) for outcome in cast] == [2, 2]
    assert {"accepted"} == {outcome.state for outcome in [*own, *cast]}
    assert len(simulator.sent) == 12 + 4


@pytest.mark.anyio
async def test_a_mobile_may_repeat_among_own_texts(
    session: Every8DSession, simulator: Simulator
) -> None:
    """One person may get several texts in one request."""
    messages = [PersonalizedMessage(number(1), str(n)) for n in range(6)]
    async with session:
        assert len(await outcomes_of(session.sms.send_bulk(messages))) == 1
    assert [str(n) for n in range(6)] == [sent.text for sent in simulator.sent]


@pytest.mark.anyio
async def test_bad_input_is_refused_and_named(
    session: Every8DSession, simulator: Simulator
) -> None:
    """A bad mobile or text is a row that names the place and why; the others go out."""
    messages: list[Any] = texts(10)
    messages[3] = PersonalizedMessage("02-2345-6789", "a landline")
    messages[5] = PersonalizedMessage(number(5), "")
    messages[8] = ("0912345678", "a tuple")
    async with session:
        run = session.sms.send_bulk(messages)
        outcomes = await outcomes_of(run)
        cast = await outcomes_of(session.sms.broadcast("hello", ["0912345678", "nobody"]))
    refused = [outcome for outcome in outcomes if outcome.state == "refused"]
    assert [outcome.messages[0] for outcome in refused] == [messages[n] for n in (3, 5, 8)]
    errors = [outcome.error for outcome in refused if isinstance(outcome.error, InvalidRequest)]
    assert [error.problems for error in errors] == [
        ("messages[3].mobile: '02-23…789' is no mobile number",),
        ("messages[5].text: must not be empty",),
        ("messages[8]: must be a PersonalizedMessage, not tuple",),
    ]
    assert {("sms.send_bulk", False)} == {(error.operation, error.sent) for error in errors}
    [nobody] = [outcome for outcome in cast if outcome.state == "refused"]
    assert nobody.messages == ("nobody",)
    assert isinstance(nobody.error, InvalidRequest)
    assert nobody.error.problems == ("to[1]: 'no…' is no mobile number",)
    assert len(simulator.sent) == 7 + 1
    assert (run.summary.accepted, run.summary.refused) == (7, 3)


@pytest.mark.anyio
async def test_options_are_checked_at_once(session: Every8DSession, simulator: Simulator) -> None:
    """What is wrong with what all share is `InvalidRequest` at the call; nothing is sent."""
    async with session:
        with pytest.raises(InvalidRequest, match=r"^sms\.send_bulk: nothing was sent: batch_size"):
            session.sms.send_bulk([], batch_size=0)
        with pytest.raises(InvalidRequest, match=r"^sms\.broadcast: nothing was sent: text"):
            session.sms.broadcast("", [])
        with pytest.raises(InvalidRequest, match=r"^mms\.send_bulk: nothing was sent: subject"):
            session.mms.send_bulk([], PICTURE, subject="")
    assert not simulator.requests


# --- what goes wrong ---


@pytest.mark.anyio
async def test_a_lost_reply_is_unknown_and_is_not_repeated(
    session: Every8DSession, simulator: Simulator
) -> None:
    """Five in a row pause; what was lost went out once at most, and is left to the caller."""
    simulator.faults.add("SendParam", Reset(acts=True), times=3)
    simulator.faults.add("SendParam", Reset(), times=2)
    messages = texts(50)
    async with session, session.sms.send_bulk(messages, batch_size=5, max_in_flight=1) as run:
        lost = [outcome async for outcome in run]
        assert (run.paused, len(lost)) == (True, 5)
        assert run.pause_reason == "5 batches in a row failed, the last with OutcomeUnknown"
        assert {OutcomeUnknown} == {type(outcome.error) for outcome in lost}
        run.resume()
        rest = [outcome async for outcome in run]
    assert [m.text for outcome in [*lost, *rest] for m in outcome.messages] == [
        m.text for m in messages
    ]
    assert Counter(m.text for m in [*messages[:15], *messages[25:]]) == Counter(
        m.text for m in simulator.sent
    )
    assert BulkSummary(accepted=25, unknown=25, cost=Decimal(25)) == run.summary


@pytest.mark.anyio
@pytest.mark.parametrize("simulator", [25], indirect=True)
async def test_credit_gone_pauses_at_once(session: Every8DSession, simulator: Simulator) -> None:
    """A receipt with `unsent` above 0 pauses; the summary tells how many got nothing."""
    async with session, session.sms.send_bulk(texts(100), batch_size=10, max_in_flight=1) as run:
        outcomes = [outcome async for outcome in run]
        assert run.pause_reason == "the credit is gone: a receipt says that some were not sent"
    assert [outcome.receipt and outcome.receipt.unsent for outcome in outcomes] == [0, 0, 5]
    assert (
        BulkSummary(
            accepted=30,
            not_attempted=run.summary.not_attempted,
            cost=Decimal(25),
            unsent=5,
        )
        == run.summary
    )
    assert len(simulator.sent) == 25


PAUSES: dict[str, tuple[str, Fault, type[Exception]]] = {
    "login": ("ConnectionHandler/1", Refuse(code=-101), AuthenticationFailed),
    "firewall": ("SendParam", FirewallPage(), AccessBlocked),
}


@pytest.mark.anyio
@pytest.mark.parametrize("name", PAUSES)
async def test_what_would_meet_all_pauses_at_once(
    name: str, session: Every8DSession, simulator: Simulator
) -> None:
    """A refused login and a firewall; nothing was sent, and a resumed run goes on."""
    operation, fault, error = PAUSES[name]
    simulator.faults.add(operation, fault)
    async with session, session.sms.send_bulk(texts(100), batch_size=10, max_in_flight=1) as run:
        [outcome] = [outcome async for outcome in run]
        assert (run.paused, outcome.state) == (True, "not_sent")
        assert isinstance(outcome.error, error)
        assert run.pause_reason.startswith(error.__name__)
        assert not simulator.sent
        session.forget_refusal()
        run.resume()
        async for _ in run:
            pass
    expected = [each.text for each in texts(100)[10:]]
    assert expected == [each.text for each in simulator.sent]
    assert BulkSummary(accepted=90, not_sent=10, cost=Decimal(90)) == run.summary


@pytest.mark.anyio
async def test_a_wrong_password_does_not_storm(
    session: Every8DSession, simulator: Simulator
) -> None:
    """With many in flight, the login is tried once."""
    simulator.faults.add("ConnectionHandler/1", Refuse(code=-101), times=10)
    async with session:
        run = session.sms.send_bulk(texts(100), batch_size=1, max_in_flight=8)
        outcomes = await outcomes_of(run)
    assert {AuthenticationFailed} == {type(outcome.error) for outcome in outcomes}
    assert len(outcomes) <= 8
    assert simulator.logins <= 1
    assert not simulator.sent


@pytest.mark.anyio
async def test_a_refused_batch_is_its_own_fault(
    session: Every8DSession, simulator: Simulator
) -> None:
    """The gateway's no to some batches is told, and the rest goes on."""
    simulator.faults.add("SendParam", Refuse(code=-306, message="手機格式不符"), times=7)
    async with session:
        run = session.sms.send_bulk(texts(100), batch_size=10, max_in_flight=1)
        outcomes = await outcomes_of(run)
    assert [outcome.state for outcome in outcomes] == ["refused"] * 7 + ["accepted"] * 3
    assert isinstance(outcomes[0].error, GatewayRefused)
    assert len(simulator.sent) == 30
    assert not run.paused


@pytest.mark.anyio
async def test_too_many_requests_are_not_sent(
    session: Every8DSession, simulator: Simulator
) -> None:
    """A 429 is no refusal of the messages: its batch was not sent, and is the caller's to retry."""
    simulator.faults.add("SendSMS", HttpStatus(status=429), times=2)
    mobiles = [number(n) for n in range(50)]
    async with session:
        run = session.sms.broadcast("hello", mobiles, batch_size=10, max_in_flight=1)
        outcomes = await outcomes_of(run)
    assert [outcome.state for outcome in outcomes] == ["not_sent"] * 2 + ["accepted"] * 3
    assert isinstance(outcomes[0].error, RateLimited)
    assert len(simulator.sent) == 30


@pytest.mark.anyio
async def test_a_wrong_site_is_no_fault_of_the_messages(
    session: Every8DSession, simulator: Simulator
) -> None:
    """An HTTP status in place of an answer is `not_sent`, and five of them pause."""
    simulator.faults.add("SendParam", HttpStatus(status=404), times=100)
    async with session:
        run = session.sms.send_bulk(texts(100), batch_size=10, max_in_flight=1)
        outcomes = await outcomes_of(run)
    assert {("not_sent", 404)} == {(o.state, getattr(o.error, "code", 0)) for o in outcomes}
    assert (run.paused, len(outcomes)) == (True, 5)


@pytest.mark.anyio
async def test_a_gateway_that_is_down_pauses() -> None:
    """Where nobody answers at all, nothing was sent, and the run pauses."""
    simulator = make()
    with simulator.serve() as site:
        pass
    async with session_with(site, auth="password") as session:
        run = session.sms.send_bulk(texts(100), batch_size=2, max_in_flight=2)
        outcomes = await outcomes_of(run)
    assert {GatewayUnreachable} == {type(outcome.error) for outcome in outcomes}
    assert {"not_sent"} == {outcome.state for outcome in outcomes}
    assert run.paused
    assert not simulator.requests


# --- limits ---


@pytest.mark.anyio
async def test_the_estimate_stops_a_run_before_its_points(
    session: Every8DSession, simulator: Simulator
) -> None:
    """`max_points` holds, by our estimate, which the simulator's prices agree with."""
    messages = [PersonalizedMessage(number(n), "字" * (60 + n)) for n in range(50)]
    async with session, session.sms.send_bulk(messages, batch_size=8, max_points=40) as run:
        async for _ in run:
            pass
        assert run.pause_reason == "max_points=40 would be crossed, by our estimate"
    assert len(simulator.sent) == 24
    assert RICH - simulator.credit() == run.summary.cost == Decimal(11 + 13 * 2)


@pytest.mark.anyio
async def test_a_count_stops_a_run(session: Every8DSession, simulator: Simulator) -> None:
    """`max_recipients` holds for a broadcast, too."""
    mobiles = (number(n) for n in range(10**6))
    async with (
        session,
        session.sms.broadcast("a", mobiles, batch_size=30, max_recipients=100) as run,
    ):
        async for _ in run:
            pass
        assert run.paused
    assert len(simulator.sent) == 90


# --- early ends ---


@pytest.mark.anyio
async def test_leaving_early_waits_for_the_gateway(
    session: Every8DSession, simulator: Simulator
) -> None:
    """A block left by `break` waits for what is in flight, and nothing is unknown."""
    read = 0

    async def people() -> AsyncIterator[PersonalizedMessage]:
        nonlocal read
        for message in texts(10_000):
            read += 1
            yield message

    async with session:
        await session.credit()
        simulator.faults.add("SendParam", Delay(by=timedelta(seconds=0.05)), times=100)
        async with session.sms.send_bulk(people(), batch_size=10, max_in_flight=4) as run:
            async for _ in run:
                break
    assert total(run.summary) == read <= 60
    assert run.summary.unknown == 0
    assert len(simulator.sent) == run.summary.accepted <= 50


@pytest.mark.anyio
async def test_leaving_early_waits_no_longer_than_a_call_may_take() -> None:
    """A gateway that never answers holds a block up for `timeout.total` at most."""
    simulator = make()
    with simulator.serve() as site:
        async with session_with(site, timeout=Timeout(total=0.2)) as session:
            await session.credit()
            simulator.faults.add("SendParam", Hang(acts=True), times=2)
            simulator.faults.add("SendParam", Hang(), times=100)
            run = session.sms.send_bulk(texts(100), batch_size=10, max_in_flight=4)
            async with run:
                async for _ in run:
                    break
            rest = [outcome async for outcome in run]
    assert {("unknown", OutcomeUnknown)} == {(o.state, type(o.error)) for o in rest}
    assert run.summary.unknown + run.summary.not_attempted == total(run.summary)
    assert len(simulator.sent) == 20


@pytest.mark.anyio
async def test_cancellation_cuts_and_counts_unknown(
    session: Every8DSession, simulator: Simulator
) -> None:
    """Whether the gateway acted or not, what was cut is unknown, and went out once at most."""
    simulator.faults.add("SendParam", Hang(acts=True), times=2)
    simulator.faults.add("SendParam", Hang(), times=2)
    async with session:
        run = session.sms.send_bulk(texts(1000), batch_size=10, max_in_flight=5)
        with anyio.CancelScope() as scope:
            async with run:
                async for _ in run:
                    if run.summary.accepted >= 100:
                        scope.cancel()
        cut = [outcome async for outcome in run if outcome.state == "unknown"]
        assert await session.credit() == RICH - len(simulator.sent)
    assert 4 <= len(cut) <= 5
    assert run.summary.unknown == 10 * len(cut)
    counts = Counter(m.text for m in simulator.sent)
    assert max(counts.values()) == 1
    assert run.summary.accepted + 20 <= len(counts) <= run.summary.accepted + 30


@pytest.mark.anyio
async def test_a_session_closed_meanwhile(session: Every8DSession, simulator: Simulator) -> None:
    """What was in flight finishes; what came later was not sent, says why, and pauses the run."""
    async with session.sms.send_bulk(texts(200), batch_size=10, max_in_flight=2) as run:
        accepted = [await anext(run)]
        await session.aclose()
        rest = [outcome async for outcome in run]
        assert run.paused
    accepted += [outcome for outcome in rest if outcome.state == "accepted"]
    late = [outcome for outcome in rest if outcome.state != "accepted"]
    assert {("not_sent", SessionMisuse)} == {(o.state, type(o.error)) for o in late}
    assert len(late) >= 5
    assert sorted(m.text for m in simulator.sent) == sorted(
        m.text for outcome in accepted for m in outcome.messages
    )


# --- all of it together ---


@frozen
class Trouble:
    """A fault that hits some of the sends."""

    fault: Fault
    times: int
    rate: float


FAULTS: list[Fault] = [
    Reset(),
    Reset(acts=True),
    HttpStatus(status=503),
    HttpStatus(status=502, acts=True),
    HttpStatus(status=404),
    HttpStatus(status=429),
    FirewallPage(),
    Garbage(),
    Garbage(acts=True),
    CutReply(keep=40),
    CutReply(keep=0, clean=True),
    CutReply(keep=40, clean=True),
    Refuse(code=-306),
    Refuse(code=-99),
    Refuse(code=-99, acts=True),
    DeadToken(),
]
TROUBLES = st.lists(
    st.builds(
        Trouble, st.sampled_from(FAULTS), st.integers(1, 6), st.sampled_from([0.1, 0.5, 0.9, 1.0])
    ),
    max_size=5,
)
WAYS_OUT = ["end", "break", "raise", "cancel", "source", "resume"]


class Told(Exception):
    """What a block or a source raises in a test."""


@define
class Trial:
    """A run through a session, of which the simulator tells the truth."""

    form: str
    count: int
    batch_size: int
    max_in_flight: int
    bad: set[int]
    keys: int
    troubles: Sequence[Trouble]
    seed: int
    way_out: str
    after: int
    credit: int
    _read: list[Any] = field(factory=list, init=False)
    _outcomes: list[Outcome] = field(factory=list, init=False)

    def simulator(self) -> Simulator:
        rng = random.Random(self.seed)
        simulator = make(self.credit, rng=rng.random)
        for trouble in self.troubles:
            for operation in ("SendParam", "SendSMS", "SendSMS4FilterMessage"):
                simulator.faults.add(
                    operation, trouble.fault, times=trouble.times, rate=trouble.rate
                )
        return simulator

    def item(self, place: int) -> Any:
        mobile = "bad" if place in self.bad else number(place)
        match self.form:
            case "personalized":
                return PersonalizedMessage(mobile, str(place), reference=str(place % self.keys))
            case "template":
                return TemplateRecipient(mobile, [str(place)])
            case _:
                return mobile

    def place(self, item: Any) -> int:
        """Tell an item's place in the source."""
        match item:
            case PersonalizedMessage():
                return int(item.text)
            case TemplateRecipient():
                return int(item.fields[0])
            case _:
                return int(item.removeprefix("+8869")) if item != "bad" else -1

    async def source(self) -> AsyncIterator[Any]:
        for place in range(self.count):
            await anyio.lowlevel.checkpoint()
            item = self.item(place)
            self._read.append(item)
            yield item
        if self.way_out == "source":
            raise Told

    def start(self, session: Every8DSession) -> BulkRun[Any]:
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "max_in_flight": self.max_in_flight,
            "progress": self.add_up,
        }
        match self.form:
            case "personalized":
                return session.sms.send_bulk(self.source(), **options)
            case "template":
                return session.sms.send_bulk(self.source(), template="%field1%", **options)
            case _:
                filtered = self.form == "filtered"
                return session.sms.broadcast("text", self.source(), filtered=filtered, **options)

    def add_up(self, summary: BulkSummary) -> None:
        assert total(summary) == len(self._read)

    async def go(self, session: Every8DSession, simulator: Simulator) -> None:
        async with session:
            run = self.start(session)
            try:
                with anyio.CancelScope() as scope:
                    async with run:
                        await self.iterate(run, scope)
            except Told:
                assert self.way_out in {"raise", "source"}
            self._outcomes += [outcome async for outcome in run]
        self.account(run.summary, simulator)

    async def iterate(self, run: BulkRun[Any], scope: anyio.CancelScope) -> None:
        for _ in range(4 if self.way_out == "resume" else 1):
            async for outcome in run:
                self._outcomes.append(outcome)
                self.add_up(run.summary)
                if len(self._outcomes) > self.after:
                    if self.way_out == "break":
                        return
                    if self.way_out == "raise":
                        raise Told
                    if self.way_out == "cancel":
                        scope.cancel()
            run.resume()

    def account(self, summary: BulkSummary, simulator: Simulator) -> None:
        self.add_up(summary)
        outcomes = self._outcomes
        state = {
            self.place(item): o.state for o in outcomes for item in o.messages if item != "bad"
        }
        counted = Counter(o.state for o in outcomes for _ in o.messages)
        assert counted == +Counter(
            accepted=summary.accepted,
            refused=summary.refused,
            not_sent=summary.not_sent,
            unknown=summary.unknown,
        )
        sent = Counter(
            self.place(message.mobile if self.form in {"plain", "filtered"} else self.like(message))
            for message in simulator.sent
        )
        assert max([0, *sent.values()]) <= 1
        went = Counter(state.get(place, "not_attempted") for place in sent)
        assert set(went) <= {"accepted", "unknown"}
        assert went["accepted"] == summary.accepted - summary.unsent - summary.filtered
        for outcome in outcomes:
            if outcome.receipt is not None and not outcome.receipt.unsent:
                assert all(sent[self.place(item)] == 1 for item in outcome.messages)

    def like(self, message: Any) -> PersonalizedMessage:
        return PersonalizedMessage(message.mobile, message.text)


def can_be_told_apart(troubles: list[Trouble]) -> bool:
    """
    Leave out the one pair of faults that nobody can tell from a dead token.

    A gateway that acts, answers -99 all the same, and whose token dies before it is asked about,
    looks exactly like one that refused the call because the token was dead: the README says so.
    """
    faults = [trouble.fault for trouble in troubles]
    acted = any(isinstance(fault, Refuse) and fault.acts and fault.code == -99 for fault in faults)
    return not (acted and any(isinstance(fault, DeadToken) for fault in faults))


def trials(forms: Iterable[str]) -> st.SearchStrategy[Trial]:
    return st.builds(
        Trial,
        form=st.sampled_from(sorted(forms)),
        count=st.integers(0, 70),
        batch_size=st.integers(1, 8),
        max_in_flight=st.integers(1, 5),
        bad=st.sets(st.integers(0, 70), max_size=6),
        keys=st.sampled_from([5, 1000]),
        troubles=TROUBLES.filter(can_be_told_apart),
        seed=st.integers(0, 2**16),
        way_out=st.sampled_from(WAYS_OUT),
        after=st.integers(0, 10),
        credit=st.sampled_from([10_000, 10_000, 40]),
    )


FORMS = ["personalized", "template", "plain", "filtered"]


@settings(max_examples=500)
@given(backend=st.sampled_from(["asyncio", "trio"]), trial=trials(FORMS))
def test_nobody_is_lost_or_doubled_in_memory(backend: str, trial: Trial) -> None:
    """Accepted was sent once, unknown at most once, all else never: the simulator counts."""
    simulator = trial.simulator()
    anyio.run(trial.go, in_memory(simulator), simulator, backend=backend)


@settings(max_examples=150)
@given(backend=st.sampled_from(["asyncio", "trio"]), trial=trials(FORMS))
def test_nobody_is_lost_or_doubled_on_sockets(backend: str, trial: Trial) -> None:
    """Likewise where connections really break."""
    simulator = trial.simulator()
    with simulator.serve() as site:
        anyio.run(trial.go, session_with(site), simulator, backend=backend)
