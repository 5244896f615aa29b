"""Campaigns as callers meet them: planned once, sent once, told in full, settled by evidence."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import evolve

from every8d_async import (
    AuthenticationFailed,
    BulkSummary,
    GatewayRefused,
    GatewayUnreachable,
    InvalidRequest,
    OutcomeUnknown,
    PersonalizedMessage,
    RateLimit,
    RateLimited,
    SessionMisuse,
    TemplateRecipient,
)
from every8d_async.campaign import (
    Campaign,
    Claim,
    ClaimLost,
    JournalError,
    Limits,
    Planned,
    SqliteJournal,
    State,
    TooLate,
)
from every8d_async.campaign._journal import Form
from every8d_async.campaign._values import claimed
from every8d_async.simulator import Account, FirewallPage, HttpStatus, Refuse, Reset
from tests.campaign_kit import Scripted, World, finish, messages, mobiles, only

pytestmark = pytest.mark.anyio

TEXT = "秋季特賣"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def states_of(campaign: Campaign) -> list[State]:
    return [batch.state async for batch in campaign.batches()]


# --- planning ---


async def test_a_campaign_is_planned_sent_and_told(world: World) -> None:
    """Everybody gets their text once, and the status adds up before, and after."""
    async with world.open() as campaign:
        assert await campaign.plan(messages(25), batch_size=10) == Planned(planned=25)
        assert (await campaign.status()).planned == 25
        outcomes = await finish(campaign)
        status = await campaign.status()
    assert sorted((o.batch.recipients for o in outcomes), reverse=True) == [10, 10, 5]
    assert {"accepted"} == {outcome.state for outcome in outcomes}
    assert all(o.receipt is not None and o.error is None for o in outcomes)
    assert (status.accepted, status.total, int(status.cost)) == (25, 25, 25)
    assert dict.fromkeys(mobiles(25), 1) == world.counts


async def test_a_key_planned_twice_is_planned_once(world: World) -> None:
    """The key is the reference, or else mobile and text; so a plan can be made again."""
    twice = [
        PersonalizedMessage("0900000001", "a"),
        PersonalizedMessage("+886900000001", "a"),  # the same mobile in another spelling
        PersonalizedMessage("0900000001", "b"),
        PersonalizedMessage("0900000002", "c", reference="order 1"),
        PersonalizedMessage("0900000003", "d", reference="order 1 "),
    ]
    async with world.open() as campaign:
        assert await campaign.plan(twice) == Planned(planned=3, repeated=2)
    async with world.open() as campaign:
        assert await campaign.plan(twice) == Planned(repeated=5)
        await finish(campaign)
    assert sorted(message.text for message in world.simulator.sent) == ["a", "b", "c"]


async def test_what_was_planned_is_planned_once_also_when_its_time_has_passed(world: World) -> None:
    """After a crash the same again, however late: nobody is refused who was planned."""
    at = world.clock.now - timedelta(hours=1)
    world.clock.now -= timedelta(hours=2)
    people = [PersonalizedMessage(n, "a", send_at=at) for n in mobiles(4)]
    fields = [TemplateRecipient(n, ["b"], send_at=at) for n in mobiles(4)]
    async with world.open() as campaign:
        assert (await campaign.plan(people[:2])).planned == 2
        assert (await campaign.plan(fields[:2], template="%field1%")).planned == 2
        assert (await campaign.plan_text("c", mobiles(2), send_at=at)).planned == 2
    world.clock.now += timedelta(hours=5)
    async with world.open() as campaign:
        again = Planned(planned=2, repeated=2)
        assert await campaign.plan(people) == again
        assert await campaign.plan(fields, template="%field1%") == again
        assert await campaign.plan_text("c", mobiles(4), send_at=at) == again
        await finish(campaign)
        status = await campaign.status()
        assert (status.accepted, status.total) == (12, 12)
    assert dict.fromkeys(mobiles(4), 3) == world.counts


async def test_what_had_passed_when_the_campaign_was_made_is_refused(world: World) -> None:
    """As for any send; it stays so, however often it is planned."""
    at = world.clock.now - timedelta(seconds=61)
    late = [PersonalizedMessage("0900000001", "a", send_at=at)]
    async with world.open() as campaign:
        assert await campaign.plan(late) == Planned(refused=1)
        with pytest.raises(InvalidRequest, match="60 s past"):
            await campaign.plan_text("c", mobiles(2), send_at=at)
        assert await campaign.plan(late) == Planned(repeated=1)


async def test_any_source_is_planned(world: World) -> None:
    """One mobile, a list, a generator, an async generator."""

    async def later() -> AsyncIterator[str]:
        for number in mobiles(3):
            yield number

    async with world.open() as campaign:
        assert (await campaign.plan_text("a", "0900000001")).planned == 1
        assert (await campaign.plan_text("b", list(mobiles(2)))).planned == 2
        assert (await campaign.plan_text("c", later())).planned == 3
        assert (await campaign.plan_text("d", [])).planned == 0


async def test_what_cannot_be_sent_is_a_refused_row(world: World) -> None:
    """It does not stop the rest, is not planned again, and its mended form is another."""
    given: list[Any] = [
        PersonalizedMessage("12", "a", reference="1"),
        PersonalizedMessage("0900000002", "b", reference="2"),
        TemplateRecipient("0900000003", ["x"]),
        "0900000004\ud800",
    ]
    async with world.open() as campaign:
        assert await campaign.plan(given) == Planned(planned=1, refused=3)
        assert await campaign.plan(given) == Planned(repeated=4)
        mended = [PersonalizedMessage("0900000001", "a", reference="1")]
        assert await campaign.plan(mended) == Planned(planned=1)
        refused = [batch async for batch in campaign.batches(State.REFUSED)]
        assert "is no mobile number" in refused[0].cause
        assert [len(await campaign.people(batch.id)) for batch in refused] == [1, 1, 1]
        with pytest.raises(InvalidRequest, match="is no mobile number"):
            await campaign.replan(refused[0].id)


async def test_progress_hears_of_planning_and_running(world: World) -> None:
    heard: list[object] = []
    summaries: list[BulkSummary] = []
    async with world.open() as campaign:
        await campaign.plan(messages(20), batch_size=10, progress=heard.append)
        await finish(campaign, progress=summaries.append)
    assert [Planned(planned=20)] == heard
    assert [summary.accepted for summary in summaries] == [10, 20]


@pytest.mark.parametrize(
    "options", [{"send_before": "tomorrow"}, {"batch_size": 0}, {"valid_for": 1}]
)
async def test_bad_options_are_refused_before_anything_is_planned(
    world: World, options: dict[str, Any]
) -> None:
    async with world.open() as campaign:
        for attempt in (campaign.plan([], **options), campaign.plan_text("a", [], **options)):
            with pytest.raises(InvalidRequest):
                await attempt
        with pytest.raises(InvalidRequest, match="max_in_flight"):
            campaign.run(max_in_flight=0)


@pytest.mark.parametrize("source", [42, None, b"09", PersonalizedMessage("0900000001", "a"), "09"])
async def test_a_source_that_is_none_is_refused_as_a_whole(world: World, source: Any) -> None:
    """As by a bulk run; a text is iterable, but into characters: one refused row each."""
    async with world.open() as campaign:
        with pytest.raises(InvalidRequest, match="recipients: must be an iterable"):
            await campaign.plan(source)
        if source != "09":
            with pytest.raises(InvalidRequest, match="recipients: must be an iterable"):
                await campaign.plan_text("a", source)
        assert (await campaign.status()).total == 0


async def test_progress_must_be_a_plain_function(world: World) -> None:
    """Nobody would await another."""

    async def progress(_: object) -> None: ...

    class Hearing:
        async def __call__(self, _: object) -> None: ...

    async with world.open() as campaign:
        for given in (progress, Hearing(), 1):
            heard: Any = given
            for attempt in (
                campaign.plan([], progress=heard),
                campaign.plan_text("a", [], progress=heard),
            ):
                with pytest.raises(InvalidRequest, match="plain function"):
                    await attempt
            with pytest.raises(InvalidRequest, match="plain function"):
                campaign.run(progress=heard)


async def test_what_is_no_message_is_refused_once(world: World) -> None:
    """Also where it has no name but the place it lies at, another one each time."""
    async with world.open() as campaign:
        for given in ([object()], [object()]):
            nothing: Any = given
            await campaign.plan(nothing)
        assert (await campaign.status()).refused == 1


async def test_requests_are_rebuilt_from_what_was_kept(world: World) -> None:
    """All that the caller gave is on the wire; SB and MR carry the intent code."""
    at = datetime.now(UTC) + timedelta(hours=1)
    options: dict[str, Any] = {"valid_for": timedelta(minutes=5), "subject": "autumn"}
    person = TemplateRecipient("0900000001", ["x", "y"], name="n", email="e@x", send_at=at)
    async with world.open() as campaign:
        await campaign.plan([person], template="%field1%-%field2%", **options)
        await campaign.plan_text("b", ["0900000002"], send_at=at, **options)
        await finish(campaign)
    first, second = world.simulator.sent
    assert (first.text, first.name, first.email, first.valid_minutes) == ("x-y", "n", "e@x", 5)
    assert first.scheduled_for == second.scheduled_for == at.replace(microsecond=0)
    word, code = first.subject.split(" ")
    assert ("autumn", f"{code}-1") == (word, first.reference)
    assert code.endswith("-1")
    assert second.subject.endswith("-2")


# --- running ---


async def test_a_refused_batch_can_be_planned_again(world: World) -> None:
    world.simulator.faults.add("SendParam", Refuse(-28, "no"))
    async with world.open() as campaign:
        await campaign.plan(messages(5))
        (outcome,) = await finish(campaign)
        assert isinstance(outcome.error, GatewayRefused)
        assert (outcome.state, outcome.batch.state, outcome.batch.code) == (
            "refused",
            State.REFUSED,
            -28,
        )
        assert (await campaign.replan(outcome.batch.id)).state is State.PLANNED
        assert [outcome.state for outcome in await finish(campaign)] == ["accepted"]
    assert dict.fromkeys(mobiles(5), 1) == world.counts


async def test_a_proxys_no_is_not_the_messages_own(world: World) -> None:
    """HTTP 404 and its like say that the gateway looked at no message: all stays planned."""
    async with world.open(transport=Scripted(world, *[b"404no"] * 5)) as campaign:
        await campaign.plan(messages(20), batch_size=2)
        async with campaign.run(max_in_flight=1) as run:
            told = [(outcome.state, outcome.batch.state) async for outcome in run]
            assert run.paused
        assert set(told) <= {("not_sent", State.PLANNED), ("accepted", State.ACCEPTED)}
        assert run.summary.not_sent == 10
        assert (await campaign.status()).refused == 0
        await finish(campaign)
    assert dict.fromkeys(mobiles(20), 1) == world.counts


async def test_an_unknown_batch_is_never_sent_again(world: World) -> None:
    """It is listed with its people, and stays so through any number of runs."""
    world.simulator.faults.add("SendParam", Reset(acts=True))
    async with world.open() as campaign:
        await campaign.plan(messages(5))
        (outcome,) = await finish(campaign)
        assert isinstance(outcome.error, OutcomeUnknown)
        assert outcome.batch.cause == "ReadError in phase send"
        assert not await finish(campaign)
        assert (await campaign.run_batch(outcome.batch.id)).state is State.UNKNOWN
        assert list(mobiles(5)) == [p.mobile for p in await campaign.people(outcome.batch.id)]
        assert (await campaign.status()).unknown == 5
    assert dict.fromkeys(mobiles(5), 1) == world.counts


async def test_what_certainly_did_not_leave_is_planned_again(world: World) -> None:
    """With the proof that nothing left, on_wire becomes planned, and another run sends it."""
    behind = httpx.ASGITransport(app=world.simulator)

    class Unreached(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if b"Send" in request.url.raw_path:
                raise httpx.ConnectError("no", request=request)
            return await behind.handle_async_request(request)

    async with world.open() as campaign:
        await campaign.plan(messages(5))
    world.simulator.faults.add("SendParam", HttpStatus(429))
    async with world.open() as campaign:
        (outcome,) = await finish(campaign)
        assert (outcome.state, outcome.batch.state) == ("not_sent", State.PLANNED)
        assert outcome.batch.cause == "not sent: RateLimited"
    async with world.open(transport=Unreached()) as campaign:
        (outcome,) = await finish(campaign)
        assert isinstance(outcome.error, GatewayUnreachable)
    async with world.open() as campaign:
        (outcome,) = await finish(campaign)
        assert outcome.state == "accepted"


async def test_a_second_try_within_a_call_is_put_on_the_wire_once(world: World) -> None:
    """A dead token is replaced, and the call repeated: by the proof, not by a timer."""
    async with world.open() as campaign:
        await campaign.plan(messages(2), batch_size=1)
        await campaign.run_batch(1)
        world.simulator.expire_tokens()
        assert (await campaign.run_batch(2)).state is State.ACCEPTED
        assert (await campaign.run_batch(2)).epoch == 1


async def test_the_run_pauses_for_causes_that_are_not_the_messages_own(world: World) -> None:
    """What was not sent is planned; after resume the same run takes it again."""
    world.simulator.faults.add("SendParam", FirewallPage())
    async with world.open() as campaign:
        await campaign.plan(messages(30), batch_size=10)
        async with campaign.run(max_in_flight=1) as run:
            first = [outcome async for outcome in run]
            assert run.paused
            assert run.pause_reason.startswith("AccessBlocked")
            run.resume()
            rest = [outcome async for outcome in run]
        assert [outcome.state for outcome in first] == ["not_sent"]
        assert [outcome.state for outcome in rest] == ["accepted"] * 3
        assert (run.summary.not_sent, run.summary.accepted) == (10, 30)


async def test_resuming_early_tells_each_try_as_it_stood(world: World) -> None:
    """A batch that is claimed again while its first outcome waits has two, each its own."""
    async with world.open(transport=Scripted(world, *[b"403"] * 3)) as campaign:
        await campaign.plan(messages(12), batch_size=1)
        told: list[tuple[str, State]] = []
        async with campaign.run(max_in_flight=8) as run:
            async for outcome in run:
                told.append((outcome.state, outcome.batch.state))
                if run.paused:
                    run.resume()
                await anyio.wait_all_tasks_blocked()
                await campaign.status()  # behind what the run asked of the journal
        assert set(told) == {("accepted", State.ACCEPTED), ("not_sent", State.PLANNED)}
        assert run.summary.accepted + (await campaign.status()).planned == 12
        await finish(campaign)
    assert dict.fromkeys(mobiles(12), 1) == world.counts


async def test_a_refused_login_leaves_all_planned(world: World) -> None:
    async with world.open() as campaign:
        await campaign.plan(messages(30), batch_size=10)
    simulator = World(world.path.parent, accounts=[Account(uid="demo", password="x")]).simulator
    async with world.open(transport=httpx.ASGITransport(app=simulator)) as campaign:
        outcomes = await finish(campaign, max_in_flight=1)
        assert isinstance(outcomes[0].error, AuthenticationFailed)
        assert (await campaign.status()).planned == 30


async def test_credit_gone_pauses_and_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, accounts=[Account(uid="demo", password="demo", credit=15)])
    async with world.open() as campaign:
        await campaign.plan(messages(40), batch_size=10)
        async with campaign.run(max_in_flight=1) as run:
            assert len([outcome async for outcome in run]) >= 2
            assert "credit" in run.pause_reason
        status = await campaign.status()
        assert status.unsent >= 5
        assert status.planned >= 10


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        ({"max_recipients": 25}, 20),
        ({"max_points": 25}, 20),
        ({"max_points": 100, "max_recipients": 100}, 30),
    ],
)
async def test_a_limit_holds_for_the_whole_campaign(
    world: World, limits: dict[str, Any], sent: int
) -> None:
    """What earlier runs sent counts, and what is unknown; so a crash gives nobody a new budget."""
    world.simulator.faults.add("SendParam", Reset(acts=True))
    async with world.open() as campaign:
        await campaign.plan(messages(30), batch_size=10)
        for _ in range(2):
            async with campaign.run(**limits) as run:
                assert all([outcome.error or True async for outcome in run])
            assert run.paused == (sent < 30)
            assert ("would be crossed" in run.pause_reason) == (sent < 30)
        status = await campaign.status()
    assert (sent - 10, 10) == (status.accepted, status.unknown)


async def test_send_before_stops_late_sends(world: World) -> None:
    """What is too late when it is about to leave was not sent, and says why."""
    until = world.clock.now + timedelta(hours=1)
    async with world.open() as campaign:
        await campaign.plan(messages(10), batch_size=5, send_before=until)
        assert (await campaign.run_batch(1)).state is State.ACCEPTED
        world.clock.now = until
        (outcome,) = await finish(campaign)
        assert isinstance(outcome.error, TooLate)
        assert (outcome.state, outcome.batch.state) == ("not_sent", State.NOT_SENT)
        assert (await campaign.status()).not_sent == 5
        assert (await campaign.replan(2)).state is State.PLANNED
        world.clock.now = until - timedelta(minutes=1)
        assert (await campaign.run_batch(2)).state is State.ACCEPTED


async def test_what_is_too_late_does_not_pause_the_run(world: World) -> None:
    """It is a batch's own end: it says nothing of the gateway, for better or worse."""
    async with world.open() as campaign:
        await campaign.plan(messages(20), batch_size=1, send_before=world.clock.now)
        async with campaign.run(max_in_flight=1) as run:
            assert len([outcome async for outcome in run]) == 20
            assert not run.paused
        assert (await campaign.status()).not_sent == 20


async def test_what_is_too_late_hides_no_failures(world: World) -> None:
    """Five in a row pause the run, whatever its own came between."""
    script = [b"429"] * 9
    async with world.open(transport=Scripted(world, *script)) as campaign:
        for number in mobiles(9):
            await campaign.plan_text("a", number)
            await campaign.plan_text("b", number, send_before=world.clock.now)
        async with campaign.run(max_in_flight=1) as run:
            told = [outcome async for outcome in run]
            assert run.pause_reason.startswith("5 batches in a row failed")
        kinds = [type(outcome.error) for outcome in told]
        assert (kinds[:2], kinds.count(RateLimited)) == ([RateLimited, TooLate], 5)


async def test_waiting_for_the_rate_limit_happens_while_claimed(world: World) -> None:
    """On the wire is written when it is about to leave, not while it waits its turn."""
    async with world.open(rate_limit=RateLimit(1, per=30, burst=1)) as campaign:
        await campaign.plan(messages(10), batch_size=5)
        with anyio.CancelScope() as scope:
            async with campaign.run(max_in_flight=2) as run:
                await anext(run)
                states = await states_of(campaign)
                while State.PLANNED in states:
                    states = await states_of(campaign)
                assert sorted(states) == [State.ACCEPTED, State.CLAIMED]
                scope.cancel()
        assert sorted(await states_of(campaign)) == [State.ACCEPTED, State.PLANNED]


async def test_run_batch_may_be_called_by_anybody_at_any_time(world: World) -> None:
    """Many calls at once make one request; what has ended is only told of."""
    async with world.open() as campaign:
        await campaign.plan(messages(5))
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(campaign.run_batch, 1)
        assert (await campaign.run_batch(1)).state is State.ACCEPTED
        with pytest.raises(InvalidRequest, match="no number 9"):
            await campaign.run_batch(9)
    assert dict.fromkeys(mobiles(5), 1) == world.counts


class Waiting(Scripted):
    """Answers a send when it is let go; tells when it has arrived."""

    def __init__(self, world: World, *script: str | bytes | None) -> None:
        super().__init__(world, *script)
        self.arrived, self.go = anyio.Event(), anyio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if b"Send" in request.url.raw_path and b"IsSend=false" not in await request.aread():
            self.arrived.set()
            await self.go.wait()
        return response


async def test_whoever_looks_while_two_run_a_batch_leaves_it_to_them(world: World) -> None:
    """The call that came second gives up its own hold only: the batch is not left behind."""
    transport = Waiting(world)
    async with world.open(transport=transport) as campaign:
        await campaign.plan(messages(5))
        stood = await only(campaign, State.PLANNED)
        async with anyio.create_task_group() as group:
            group.start_soon(campaign.run_batch, 1)
            await transport.arrived.wait()
            await campaign._worker._send(stood)  # as if it had looked at the same moment
            assert (await campaign.status()).on_wire == 5
            transport.go.set()
        assert (await only(campaign, State.ACCEPTED)).sent == 5


async def test_whoever_looks_while_two_reconcile_leaves_the_repeat_to_them(world: World) -> None:
    """The repeat that lost is over, and the one that is on the wire is not left behind."""
    transport = Waiting(world, b"502")
    transport.go.set()
    async with world.open(transport=transport) as campaign:
        await campaign.plan_text(TEXT, mobiles(5), filtered=True)
        await finish(campaign)
        before = await only(campaign, State.UNKNOWN)
        transport.arrived, transport.go = anyio.Event(), anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(campaign._worker.attempt, before)
            await transport.arrived.wait()
            with pytest.raises(ClaimLost):
                await campaign._worker.attempt(before)
            assert (await campaign.status()).on_wire == 5
            transport.go.set()
        assert (await only(campaign, State.ACCEPTED)).sent == 5


async def test_a_claim_is_held_before_anybody_can_look(world: World) -> None:
    """Else it would be taken for left behind, between its commit and its owner's next step."""
    async with world.open() as campaign, anyio.create_task_group() as group:
        await campaign.plan(messages(3), batch_size=1)
        journal = campaign._journal
        claim = journal.claim

        async def watched(*given: Any) -> Claim:
            claimed = await claim(*given)
            group.start_soon(campaign.status)
            await anyio.wait_all_tasks_blocked()
            await journal.get(1)  # behind what that one asks of the journal
            return claimed

        journal.claim = watched  # type: ignore[method-assign, assignment]
        assert [outcome.state for outcome in await finish(campaign)] == ["accepted"] * 3
        assert not campaign._worker.active


async def test_a_batch_may_be_given_as_it_was_told(world: World) -> None:
    """Itself or its number, wherever one is asked for."""
    async with world.open(transport=Scripted(world, None, b"502", b"200-28,no")) as campaign:
        await campaign.plan_text(TEXT, mobiles(3), batch_size=1)
        one, two, three = [batch async for batch in campaign.batches()]
        for batch in (one, two, three):
            await campaign.run_batch(batch)
        assert len(await campaign.people(one)) == 1
        assert (await campaign.resolve(two, sent=False)).state is State.NOT_SENT
        assert len(await campaign.evidence(two)) == 2
        assert (await campaign.replan(three)).state is State.PLANNED
        await campaign.reports()
        assert len(await campaign.reports_of(one)) == 1


@pytest.mark.parametrize("batch", [10**30, 0, -1, "1", True, None])
async def test_what_can_be_no_batch_is_told(world: World, batch: Any) -> None:
    async with world.open() as campaign:
        await campaign.plan(messages(1))
        for attempt in (
            campaign.run_batch(batch),
            campaign.people(batch),
            campaign.evidence(batch),
            campaign.resolve(batch, sent=True),
            campaign.replan(batch),
            campaign.reports_of(batch),
        ):
            with pytest.raises(InvalidRequest, match="batch: "):
                await attempt


async def test_run_batch_tells_of_a_failure_as_a_state(world: World) -> None:
    world.simulator.faults.add("SendParam", HttpStatus(502))
    async with world.open() as campaign:
        await campaign.plan(messages(5))
        assert (await campaign.run_batch(1)).state is State.UNKNOWN


async def test_leaving_a_run_early_gives_back_what_was_claimed(world: World) -> None:
    async with world.open() as campaign:
        await campaign.plan(messages(100), batch_size=5)
        async with campaign.run(max_in_flight=2) as run:
            async for _ in run:
                break
        status = await campaign.status()
        assert (status.claimed, status.on_wire, status.unknown) == (0, 0, 0)
        assert status.planned + status.accepted == 100
        await finish(campaign)
    assert dict.fromkeys(mobiles(100), 1) == world.counts


async def test_a_cut_send_is_unknown(world: World) -> None:
    """Cancellation cuts what had left, and says so; nothing sends it again."""
    arrived = anyio.Event()

    class Gate(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await request.aread()
            if b"RecipientDataList" in request.content:
                arrived.set()
                await anyio.sleep_forever()
            return httpx.Response(200, json={"Result": True, "Msg": "0" * 32})

    async with world.open(transport=Gate()) as campaign:
        await campaign.plan(messages(5))
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(campaign.run_batch, 1)
                await arrived.wait()
                # Whoever calls for it meanwhile is only told of it.
                assert (await campaign.run_batch(1)).state is State.ON_WIRE
                scope.cancel()
        batch = await only(campaign, State.UNKNOWN)
        assert batch.cause == "the call was cut before an answer came"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("cancels", [1, 2, 3])
async def test_a_native_cancel_never_plans_again_what_had_left(
    world: World, anyio_backend: str, cancels: int
) -> None:
    """A cancel of asyncio's own passes through shields; what it leaves behind is unknown."""
    arrived = asyncio.Event()

    class Gate(Scripted):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if b"RecipientDataList" in await request.aread():
                arrived.set()
                await asyncio.Event().wait()
            return response

    async with world.open(transport=Gate(world)) as campaign:
        await campaign.plan(messages(5))
        task = asyncio.create_task(campaign.run_batch(1))
        await arrived.wait()
        for _ in range(cancels):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await campaign.status()).unknown == 5
        assert not await finish(campaign)
    assert world.counts == dict.fromkeys(mobiles(5), 1)


async def test_a_repeat_that_is_cut_before_it_left_leaves_the_doubt(world: World) -> None:
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        before = await only(campaign, State.UNKNOWN)
        with anyio.CancelScope() as scope:

            async def cut(*_: object, **__: object) -> None:
                scope.cancel()
                await anyio.sleep_forever()

            campaign._worker.call = cut
            await campaign._worker.attempt(before)
        assert await only(campaign, State.UNKNOWN) == before
        assert (await campaign.evidence(1))[-1].text == "the repeat was cut before it left"


async def test_what_a_worker_leaves_that_dies_meanwhile_is_run_at_the_end(world: World) -> None:
    """A run looks once more when nothing is planned any more."""
    async with world.open() as campaign:
        dying = SqliteJournal(world.path)
        await dying.open(campaign._account, world.clock())
        await campaign.plan(messages(6), batch_size=2)
        await dying.claim(0, Limits(), world.clock())
        async with campaign.run(1, progress=lambda _: dying._owner.end()) as run:
            assert [outcome.batch.id async for outcome in run] == [2, 3, 1]
        await dying.aclose()


@asynccontextmanager
async def dying_on_wire(world: World, campaign: Campaign) -> AsyncGenerator[str]:
    """Plan four, let an owner send them, and lose that owner with the answer; give a SUBJECT."""
    dying = SqliteJournal(world.path)
    await dying.open(campaign._account, world.clock())
    await campaign.plan_text(TEXT, mobiles(4))
    batch = (await dying.claim(0, Limits(), world.clock())).batch
    assert batch is not None
    now = world.clock()
    await dying.move(batch, evolve(batch, state=State.ON_WIRE, wired_at=now), "", now)
    subject = campaign._worker.intent(batch)
    async with world.session() as session:
        await session.sms.send(TEXT, list(mobiles(4)), subject=subject)
    dying._owner.end()
    yield subject
    await dying.aclose()


async def test_a_gone_owners_doubt_is_seen_by_whoever_asks_first(world: World) -> None:
    """Without a run or a status: it is listed."""
    async with world.open() as campaign, dying_on_wire(world, campaign):
        assert (await only(campaign, State.UNKNOWN)).recipients == 4


async def test_a_gone_owners_doubt_is_there_when_the_campaign_is_opened(world: World) -> None:
    async with world.open() as campaign, dying_on_wire(world, campaign), world.open() as other:
        batch = await other._journal.get(1)
        assert batch is not None
        assert batch.state is State.UNKNOWN


async def test_a_gone_owners_doubt_can_be_resolved_at_once(world: World) -> None:
    async with world.open() as campaign, dying_on_wire(world, campaign):
        assert (await campaign.resolve(1, sent=True)).state is State.ACCEPTED


async def test_a_gone_owners_doubt_is_confirmed_by_a_push_report(world: World) -> None:
    """A process that only receives reports loses no evidence."""
    async with world.open() as campaign, dying_on_wire(world, campaign) as subject:
        found = await campaign.confirm(world.simulator.batches[0].batch_id, subject)
        assert found is not None
        assert found.state is State.ACCEPTED


async def test_a_campaign_that_cannot_be_taken_up_is_closed(world: World) -> None:
    """What fails while it is opened leaves no owner behind."""
    async with world.session() as session:
        campaign = Campaign.open(world.path, session)

        async def broken(*_: object) -> int:
            raise RuntimeError("broken")

        campaign._journal.recover = broken  # type: ignore[method-assign, assignment]
        with pytest.raises(RuntimeError, match="broken"):
            await campaign.__aenter__()
    assert [world.path] == list(world.path.parent.iterdir())


async def test_a_claim_that_was_lost_sends_nothing(world: World) -> None:
    """The compare-and-set before the first byte fails, and so nothing leaves."""
    async with world.open() as campaign:
        await campaign.plan(messages(5))
        stood = await only(campaign, State.PLANNED)
        stale = claimed(stood, "somebody else", world.clock())
        with pytest.raises(ClaimLost):
            await campaign._worker.attempt(stale)
        await campaign._worker._send(stale)
        assert (await only(campaign, State.PLANNED)) == stood
    assert not world.simulator.sent


async def test_a_late_answer_does_not_overwrite_what_a_person_decided(world: World) -> None:
    """The epoch has passed: what is learned is kept as evidence, and the decision stands."""
    reply = anyio.Event()
    arrived = anyio.Event()
    behind = httpx.ASGITransport(app=world.simulator)

    class Gate(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await behind.handle_async_request(request)
            if b"RecipientDataList" in await request.aread():
                arrived.set()
                await reply.wait()
            return response

    async with world.open(transport=Gate()) as campaign:
        await campaign.plan(messages(5))
        async with anyio.create_task_group() as group:
            group.start_soon(campaign.run_batch, 1)
            await arrived.wait()
            async with world.open() as other:
                # As if this owner had been taken for gone.
                journal = other._journal
                assert isinstance(journal, SqliteJournal)
                journal._owner.is_gone = lambda name: True  # type: ignore[method-assign]
                assert (await other.status()).unknown == 5
                await other.resolve(1, sent=False)
            reply.set()
        assert (await only(campaign, State.NOT_SENT)).id == 1
        texts = [evidence.text for evidence in await campaign.evidence(1)]
        assert texts[:2] == ["its owner was gone while it was on_wire", "a person said: not sent"]
        assert texts[2].startswith("came too late to be written: accepted as ")


# --- settling doubts ---


@pytest.mark.parametrize("acts", [True, False])
async def test_filtered_campaigns_settle_by_themselves(world: World, *, acts: bool) -> None:
    """The dry run says who has it; the rest get it once, through the filter."""
    world.simulator.faults.add("SendSMS4FilterMessage", Reset(acts=acts))
    async with world.open() as campaign:
        await campaign.plan_text(TEXT, mobiles(10), filtered=True)
        (outcome,) = await finish(campaign)
        assert outcome.batch.state is State.UNKNOWN
        found = await campaign.reconcile()
        assert (found.accepted, found.not_sent, found.left) == (1, 0, ())
        batch = await only(campaign, State.ACCEPTED)
        assert len(batch.batch_ids) == 1
        texts = [evidence.text for evidence in await campaign.evidence(1)]
        assert any(f"the filter knows {10 if acts else 0} of 10" in text for text in texts)
        assert not (await campaign.reconcile()).accepted
    assert world.clock.slept == timedelta(seconds=60)
    assert dict.fromkeys(mobiles(10), 1) == world.counts


async def test_a_part_that_the_filter_knows_is_left_out_of_the_repeat(world: World) -> None:
    async with world.open() as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        async with world.session() as session:
            await session.sms.send(TEXT, list(mobiles(2)))
        world.simulator.faults.add("SendSMS4FilterMessage", HttpStatus(502))
        await finish(campaign)
        await campaign.reconcile(timedelta(minutes=5))
        batch = await only(campaign, State.ACCEPTED)
        assert (batch.sent, batch.filtered, len(batch.batch_ids)) == (2, 2, 2)
    assert world.clock.slept == timedelta(minutes=5)
    assert dict.fromkeys(mobiles(4), 1) == world.counts


async def test_a_repeat_that_fails_leaves_the_doubt_as_it_was(world: World) -> None:
    """Not sent proves nothing of the first try; unknown again begins a new time of quiet."""
    transport = Scripted(world, b"502", b"200-41,no number", b"429", b"502", b"403", "lost")
    async with world.open(transport=transport) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        first = await only(campaign, State.UNKNOWN)
        since = first.since
        for certain in (True, True, False, True):
            (left,) = (await campaign.reconcile()).left
            assert left.batch.state is State.UNKNOWN
            assert left.batch.wired_at == first.wired_at
            assert (left.batch.since == since) == certain, left
            since = left.batch.since
        assert "AccessBlocked" in left.why
        (left,) = (await campaign.reconcile()).left
        assert "OutcomeUnknown" in left.why
        assert (await campaign.reconcile()).accepted == 1
    assert dict.fromkeys(mobiles(4), 1) == world.counts


async def test_a_repeat_waits_for_quiet_since_the_latest_try(world: World) -> None:
    """Each try that may have left begins the time anew; 23 hours count from the first."""
    transport = Scripted(world, b"502", b"502", b"502")
    async with world.open(transport=transport) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        for _ in range(2):
            assert (await campaign.reconcile()).left
        assert world.clock.slept == timedelta(seconds=120)
        assert (await campaign.reconcile()).accepted == 1
        assert world.clock.slept == timedelta(seconds=180)


@pytest.mark.parametrize("proof", [b"429", b"200-28,no"])
async def test_the_23_hours_begin_with_the_first_try_that_may_have_left(
    world: World, proof: bytes
) -> None:
    """Not with one that certainly was not taken."""
    async with world.open(transport=Scripted(world, proof, "lost")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        (outcome,) = await finish(campaign)
        assert outcome.batch.wired_at is None
        if outcome.batch.state is State.REFUSED:
            await campaign.replan(1)
        world.clock.now += timedelta(hours=30)
        await finish(campaign)
        assert (await campaign.reconcile()).accepted == 1
    assert dict.fromkeys(mobiles(4), 1) == world.counts


@pytest.mark.parametrize("hours", [23, 72, -1])
async def test_after_23_hours_nothing_is_repeated(world: World, hours: int) -> None:
    """The filter may have forgotten; and where the clock was set back, nobody can tell."""
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        world.clock.now += timedelta(hours=hours)
        (left,) = (await campaign.reconcile()).left
        assert "23 hours" in left.why
    assert not world.simulator.sent


async def test_a_repeat_that_waits_too_long_for_its_turn_does_not_leave(world: World) -> None:
    """The filter's memory is looked at once more when the repeat is about to leave."""
    clock = world.clock

    class Slow(Scripted):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if b"IsSend=false" in await request.aread():
                clock.now += passing.pop()
            return response

    passing = [timedelta(0)]
    async with world.open(transport=Slow(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        batch = await only(campaign, State.UNKNOWN)
        clock.now += timedelta(hours=24)
        with pytest.raises(TooLate):
            await campaign._worker.attempt(batch)
        assert "the repeat was not sent: TooLate" in [e.text for e in await campaign.evidence(1)]
        clock.now -= timedelta(hours=24)
        passing = [timedelta(hours=23)]
        (left,) = (await campaign.reconcile()).left
        assert "23 hours" in left.why
    assert not world.simulator.sent


@pytest.mark.parametrize(("known", "state"), [(0, State.NOT_SENT), (2, State.UNKNOWN)])
async def test_after_send_before_nobody_gets_a_repeat(
    world: World, known: int, state: State
) -> None:
    """What nobody got was not sent; what some got is a person's to judge."""
    until = world.clock.now + timedelta(seconds=30)
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True, send_before=until)
        await finish(campaign)
        async with world.session() as session:
            for number in mobiles(known):
                await session.sms.send(TEXT, number)
        found = await campaign.reconcile()
        assert (not known, bool(known)) == (bool(found.not_sent), bool(found.left))
        await only(campaign, state)
    assert len(world.simulator.sent) == known


async def test_reconcile_takes_no_less_than_a_minute(world: World) -> None:
    """What was sent may still be on its way into the filter: a repeat at once sends twice."""
    async with world.open() as campaign:
        with pytest.raises(InvalidRequest, match="60 s"):
            await campaign.reconcile(timedelta(seconds=59))


@pytest.mark.parametrize("acts", [True, False])
async def test_a_plain_text_is_looked_for_and_never_repeated(world: World, *, acts: bool) -> None:
    """A dry run may name its batch, which reports must confirm; else it stays unknown."""
    fault = "lost" if acts else b"502"
    async with world.open(transport=Scripted(world, fault)) as campaign:
        await campaign.plan_text(TEXT, mobiles(4))
        await finish(campaign)
        found = await campaign.reconcile()
        assert (acts, not acts) == (bool(found.accepted), bool(found.left))
        if acts:
            batch = await only(campaign, State.ACCEPTED)
            assert (batch.sent, int(batch.cost), batch.unsent) == (4, 4, 0)
            assert batch.batch_ids == (world.simulator.batches[0].batch_id,)
        else:
            assert "a repeat could send twice" in found.left[0].why
    assert world.clock.slept == timedelta(minutes=10)
    assert len(world.simulator.sent) == (4 if acts else 0)


async def test_a_clock_that_was_set_back_costs_no_more_than_the_wait(world: World) -> None:
    """The doubt seems to come from the future: the time of quiet begins now."""
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4))
        await finish(campaign)
        world.clock.now -= timedelta(days=2)
        assert len((await campaign.reconcile()).left) == 1
    assert world.clock.slept == timedelta(minutes=10)


async def test_a_batch_of_others_is_no_evidence(world: World) -> None:
    """The same text went to more people than ours, by somebody else's hand."""
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4))
        await finish(campaign)
        async with world.session() as session:
            await session.sms.send(TEXT, list(mobiles(5)))
        assert len((await campaign.reconcile()).left) == 1


async def test_texts_of_their_own_stay_unknown(world: World) -> None:
    async with world.open(transport=Scripted(world, "lost")) as campaign:
        await campaign.plan(messages(4))
        await finish(campaign)
        (left,) = (await campaign.reconcile()).left
        assert "can't be asked about" in left.why


async def test_a_query_that_fails_leaves_the_batch_unknown(world: World) -> None:
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        world.simulator.faults.add("*", FirewallPage())
        (left,) = (await campaign.reconcile()).left
        assert left.why.startswith("AccessBlocked")


async def test_two_that_reconcile_at_once_repeat_once(world: World) -> None:
    """The compare-and-set lets one of them through."""
    async with world.open(transport=Scripted(world, b"502")) as campaign, world.open() as other:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True)
        await finish(campaign)
        async with anyio.create_task_group() as group:
            group.start_soon(campaign.reconcile)
            group.start_soon(other.reconcile)
        await only(campaign, State.ACCEPTED)
    assert dict.fromkeys(mobiles(4), 1) == world.counts


async def test_a_batch_that_another_has_settled_is_told_as_it_stands(world: World) -> None:
    """Whoever is slower finds its compare-and-set refused, and changes nothing."""
    late = world.clock.now + timedelta(seconds=1)
    async with world.open(transport=Scripted(world, *[b"502"] * 3)) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), filtered=True, send_before=late)
        await finish(campaign)
        journal = campaign._journal

        async def losing(*_: object) -> bool:
            return False

        journal.move = losing  # type: ignore[method-assign, assignment]
        (left,) = (await campaign.reconcile()).left
        assert left.why == "another worker had it"


@pytest.mark.parametrize("kind", ["personalized", "text"])
async def test_a_push_report_names_a_lost_batch_and_a_query_confirms_it(
    world: World, kind: str
) -> None:
    """SUBJECT or MR carries the intent code; the report itself proves nothing."""
    async with world.open(transport=Scripted(world, "lost")) as campaign:
        if kind == "text":
            await campaign.plan_text(TEXT, mobiles(4), subject="autumn")
        else:
            await campaign.plan(messages(4))
        await finish(campaign)
        (batch,) = world.simulator.batches
        named = batch.subject if kind == "text" else batch.reports[2].reference
        async with world.session() as session:
            stranger = (await session.sms.send("other", list(mobiles(4)))).batch_id
            fewer = (await session.sms.send("other", list(mobiles(3)))).batch_id
        assert await campaign.confirm(fewer, named) is None
        assert (await campaign.confirm(stranger, named) is None) == (kind != "text")
        found = await campaign.confirm(batch.batch_id, named)
        assert found is not None
        assert found.state is State.ACCEPTED
        assert await campaign.confirm(batch.batch_id, named) == found
        for nobody in ("", "e00000000-1", f"{named.split('-')[0]}-99"):
            assert await campaign.confirm(batch.batch_id, nobody) is None


async def test_a_gateways_batch_is_one_batch_of_ours(world: World) -> None:
    """What another batch of ours has is no proof of this one, though the people are the same."""
    async with world.open(transport=Scripted(world, None, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4))
        await campaign.plan_text("another", mobiles(4))
        await finish(campaign, max_in_flight=1)
        first, second = [batch async for batch in campaign.batches()]
        name = world.simulator.batches[0].subject.rpartition("-")[0]
        assert await campaign.confirm(first.batch_ids[0], f"{name}-{second.id}") is None
        assert (await only(campaign, State.UNKNOWN)).id == second.id


async def test_a_dry_run_that_names_another_batch_is_no_evidence(world: World) -> None:
    """The same text to the same people at another time is another batch."""
    later = world.clock.now + timedelta(hours=1)
    async with world.open(transport=Scripted(world, None, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4))
        await campaign.plan_text(TEXT, mobiles(4), send_at=later)
        await finish(campaign, max_in_flight=1)
        assert len((await campaign.reconcile()).left) == 1


@pytest.mark.parametrize("hours", [None, 3])
async def test_what_went_out_before_our_batch_is_another(world: World, hours: int | None) -> None:
    """Yesterday's reminder, to the same people, proves nothing of today's: it stays unknown."""
    async with world.session() as session:
        ahead = None if hours is None else world.clock.now + timedelta(hours=1)
        await session.sms.send(TEXT, list(mobiles(4)), send_at=ahead)
    at = None if hours is None else world.clock.now + timedelta(hours=hours)
    world.clock.now += timedelta(hours=hours is None)
    async with world.open(transport=Scripted(world, b"502")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), send_at=at)
        await finish(campaign)
        assert len((await campaign.reconcile()).left) == 1


async def test_a_scheduled_batch_is_found_by_its_time(world: World) -> None:
    at = world.clock.now + timedelta(hours=3)
    async with world.open(transport=Scripted(world, "lost")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), send_at=at)
        await finish(campaign)
        assert (await campaign.reconcile()).accepted == 1


async def test_a_persons_word_settles_a_doubt(world: World) -> None:
    """It is kept as evidence; only the unknown can be resolved."""
    transport = Scripted(world, b"502", b"502")
    async with world.open(transport=transport) as campaign:
        await campaign.plan(messages(4), batch_size=2)
        await finish(campaign)
        first = await campaign.resolve(1, sent=True, batch_id="b-1")
        assert (first.state, first.batch_ids) == (State.ACCEPTED, ("b-1",))
        assert (await campaign.resolve(2, sent=False)).state is State.NOT_SENT
        with pytest.raises(InvalidRequest, match="1 is accepted, not unknown"):
            await campaign.resolve(1, sent=False)
        with pytest.raises(InvalidRequest, match="not refused or not_sent"):
            await campaign.replan(1)
        assert (await campaign.replan(2)).state is State.PLANNED
        assert [outcome.state for outcome in await finish(campaign)] == ["accepted"]
        texts = [evidence.text for evidence in await campaign.evidence(2)]
    assert texts[1:] == ["a person said: not sent", "planned again by a person"]
    assert world.counts == {"+886900000002": 1, "+886900000003": 1}


@pytest.mark.parametrize("planned", [False, True])
async def test_a_confirmed_report_overrules_a_persons_not_sent(
    world: World, *, planned: bool
) -> None:
    """Planned again already, too: else it would go out a second time."""
    async with world.open(transport=Scripted(world, "lost")) as campaign:
        await campaign.plan(messages(4))
        await finish(campaign)
        await campaign.resolve(1, sent=False)
        if planned:
            await campaign.replan(1)
        (batch,) = world.simulator.batches
        found = await campaign.confirm(batch.batch_id, batch.reports[0].reference)
        assert found is not None
        assert (found.state, found.batch_ids) == (State.ACCEPTED, (batch.batch_id,))
        assert not await finish(campaign)
    assert dict.fromkeys(mobiles(4), 1) == world.counts


@pytest.mark.parametrize("proof", [b"200-28,no", b"429"])
async def test_a_report_of_what_certainly_did_not_leave_is_not_asked_about(
    world: World, proof: bytes
) -> None:
    """The same people may have had another text: no report proves more than our own knowledge."""
    async with world.open(transport=Scripted(world, proof)) as campaign:
        await campaign.plan_text(TEXT, mobiles(4))
        (outcome,) = await finish(campaign)
        async with world.session() as session:
            stranger = (await session.sms.send("other", list(mobiles(4)))).batch_id
        found = await campaign.confirm(stranger, campaign._worker.intent(outcome.batch))
        assert found == outcome.batch


# --- reports, and the end ---


# What is said, and what is wrong about it.
WORDS: list[tuple[Callable[[Any], Awaitable[object]], str]] = [
    (lambda campaign: campaign.reconcile(60), "settle"),
    (lambda campaign: campaign.purge(after=5), "after"),
    (lambda campaign: campaign.purge(after=timedelta(days=-1)), "after"),
    (lambda campaign: campaign.confirm("abc", None), "named"),
    (lambda campaign: campaign.resolve(1, sent="no"), "sent"),
    (lambda campaign: campaign.resolve(1, sent=False, batch_id="abc"), "batch_id"),
    (lambda campaign: campaign.resolve(1, sent=True, batch_id=7), "batch_id"),
]


@pytest.mark.parametrize(("say", "name"), WORDS)
async def test_a_word_that_is_none_changes_nothing(
    world: World, say: Callable[[Any], Awaitable[object]], name: str
) -> None:
    """It is told as what is wrong with it, and decides nothing."""
    async with world.open(transport=Scripted(world, b"502", b"200-28,no")) as campaign:
        await campaign.plan_text(TEXT, mobiles(2), batch_size=1)
        await finish(campaign, max_in_flight=1)
        with pytest.raises(InvalidRequest, match=f"{name}: "):
            await say(campaign)
        assert await states_of(campaign) == [State.UNKNOWN, State.REFUSED]
        assert len(await campaign.people(2)) == 1


async def test_reports_of_all_batches_are_fetched_and_kept(world: World) -> None:
    """Under the caller's own references; asked for again while one is open."""
    people = [PersonalizedMessage(n, n, reference=f"order {n}") for n in mobiles(3)]
    async with world.open() as campaign:
        await campaign.plan(people)
        await campaign.plan_text(TEXT, mobiles(3), filtered=True)
        await finish(campaign)
        first = await campaign.reports()
        assert (first.batches, first.rows, first.pending) == (2, 6, 2)
        world.simulator.deliver_all()
        second = await campaign.reports()
        assert (second.batches, second.rows, second.pending) == (2, 6, 0)
        assert (await campaign.reports()).batches == 0
        own = await campaign.reports_of(1)
        assert [f"order {n}" for n in mobiles(3)] == [report.reference for report in own]
        assert all(report.is_delivered and report.cost == 1 for report in own)
        assert list(mobiles(3)) == [r.mobile for r in await campaign.reports_of(2)]


async def test_a_query_that_fails_holds_up_no_other_batchs_reports(world: World) -> None:
    """The rest is fetched and kept; then the first failure is raised."""
    async with world.open() as campaign:
        await campaign.plan_text(TEXT, mobiles(3), batch_size=1)
        await finish(campaign)
        first = (await campaign.run_batch(1)).batch_ids[0].encode()

    class OneFails(Scripted):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if b"GetDelivery" in request.url.raw_path and first in await request.aread():
                return httpx.Response(200, content=b"-1,no")
            return await super().handle_async_request(request)

    async with world.open(transport=OneFails(world)) as campaign:
        with pytest.raises(GatewayRefused, match="-1"):
            await campaign.reports()
        assert [len(await campaign.reports_of(n)) for n in (1, 2, 3)] == [0, 1, 1]


async def test_a_query_that_fails_for_all_is_not_made_for_each(world: World) -> None:
    """A refused login is raised at once."""
    async with world.open() as campaign:
        await campaign.plan_text(TEXT, mobiles(3), batch_size=1)
        await finish(campaign)
        calls: list[object] = []

        async def refused(*given: object, **_: object) -> None:
            calls.append(given)
            raise AuthenticationFailed(-100, "no", operation="sms.delivery_reports")

        campaign._worker.call = refused
        with pytest.raises(AuthenticationFailed):
            await campaign.reports()
    assert len(calls) == 1


async def test_reports_of_others_in_a_named_batch_are_left_out(world: World) -> None:
    """The filter names an older batch, which may hold more people; and it may name none."""
    async with world.session() as session:
        await session.sms.send_filtered(TEXT, list(mobiles(9)))
    async with world.open() as campaign:
        await campaign.plan_text(TEXT, mobiles(3), filtered=True)
        await finish(campaign)
        world.simulator.deliver_all()
        assert (await campaign.reports()).rows == 3
    nowhere = b"2009.00,0,0,0,,+886900000000,"
    async with world.open(transport=Scripted(world, nowhere)) as campaign:
        await campaign.plan_text("another", mobiles(1), filtered=True)
        await finish(campaign)
        found = await campaign.reports()
        assert (found.batches, found.rows, found.pending) == (1, 0, 0)


async def test_purging_removes_personal_data_from_the_files(world: World) -> None:
    """Texts, numbers, references, reports and keys go; states, counts and evidence stay."""
    person = PersonalizedMessage("0900000001", "geheim", reference="order-77", name="Ann")
    async with world.open(transport=Scripted(world, None, b"502")) as campaign:
        await campaign.plan([person])
        await finish(campaign)
        world.simulator.deliver_all()
        await campaign.reports()
        await campaign.plan([PersonalizedMessage("0900000002", "offen")])
        await finish(campaign)
        world.clock.now += timedelta(days=1)
        assert await campaign.purge(after=timedelta(days=2)) == 0
        assert await campaign.purge(after=timedelta(days=1)) == 1
        assert await campaign.purge(after=timedelta(days=1)) == 0
        found = b"".join(path.read_bytes() for path in world.path.parent.iterdir())
        for secret in (b"+886900000001", b"geheim", b"order-77", b"Ann"):
            assert secret not in found
        assert b"offen" in found
        assert not await campaign.people(1)
        assert not await campaign.reports_of(1)
        assert len(await campaign.people(2)) == 1
        status = await campaign.status()
        assert (status.accepted, status.unknown) == (1, 1)
        texts = [evidence.text for evidence in await campaign.evidence(1)]
        assert texts == ["purged; its reports were: 100: 1"]
        with pytest.raises(JournalError, match="purged"):
            await campaign.plan([person])
        assert (await campaign.resolve(2, sent=False)).state is State.NOT_SENT
        world.clock.now += timedelta(days=1)
        assert await campaign.purge(after=timedelta(days=1)) == 1
        assert [e.text for e in await campaign.evidence(2)][-1].endswith("none")


async def test_what_was_purged_is_asked_for_no_more(world: World) -> None:
    """Reopened, too: it has no reports to fetch, and nothing to send again."""
    async with world.open(transport=Scripted(world, b"200-28,no")) as campaign:
        await campaign.plan_text(TEXT, mobiles(4), batch_size=2)
        await finish(campaign, max_in_flight=1)
        assert await campaign.purge(after=timedelta(0)) == 2
    async with world.open() as campaign:
        assert (await campaign.reports()).batches == 0
        with pytest.raises(InvalidRequest, match="1 was purged"):
            await campaign.replan(1)
        assert not await finish(campaign)


async def test_a_batch_whose_payload_cannot_be_read_is_let_go_of(world: World) -> None:
    """The bug comes out, and the batch is planned, not this worker's for ever."""
    async with world.open() as campaign:
        await campaign.plan(messages(4))
        journal = campaign._journal

        async def broken(_form: int) -> Form:
            raise RuntimeError("broken")

        journal.form = broken  # type: ignore[method-assign, assignment]
        for attempt in (campaign.run_batch(1), finish(campaign)):
            with pytest.raises(RuntimeError, match="broken"):
                await attempt
            assert (await campaign.status()).planned == 4


async def test_nothing_secret_shows(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No text, number or name in logs, reprs or evidence."""
    caplog.set_level("DEBUG")
    transport = Scripted(world, "lost", b"200-41,+886900000001")
    async with world.open(transport=transport) as campaign:
        shown: list[object] = []
        people = [PersonalizedMessage(n, "geheim", name="Ann") for n in mobiles(2)]
        shown.append(await campaign.plan([*people, PersonalizedMessage("090000", "geheim")]))
        shown += await finish(campaign)
        await campaign.plan_text("geheim", mobiles(2))
        shown += await finish(campaign)
        shown += [batch async for batch in campaign.batches()]
        shown += [await campaign.people(1), await campaign.evidence(1)]
        shown += [await campaign.reconcile(), campaign._worker._forms]
    told = repr(shown) + caplog.text
    for secret in ("geheim", "Ann", "900000000", "900000001"):
        assert secret not in told


async def test_a_campaign_needs_to_be_open(world: World) -> None:
    async with world.session() as session:
        campaign = Campaign.open(world.path, session)
        for attempt in (campaign.status(), campaign.plan([]), campaign.plan_text("a", [])):
            with pytest.raises(SessionMisuse, match="not open"):
                await attempt
        async with campaign:
            assert (await campaign.status()).total == 0
