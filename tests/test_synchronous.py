"""From synchronous code: an event loop in a thread of its own, and one session for all threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from every8d_async import (
    BulkSummary,
    Every8DSession,
    GatewayRefused,
    InvalidRequest,
    OutcomeUnknown,
    PersonalizedMessage,
)
from every8d_async.simulator import HttpStatus, Refuse, Simulator


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


@pytest.fixture(params=["asyncio", "trio"])
def portal(request: pytest.FixtureRequest) -> Iterator[BlockingPortal]:
    with start_blocking_portal(request.param) as portal:
        yield portal


@pytest.fixture
def session(simulator: Simulator, portal: BlockingPortal) -> Iterator[Every8DSession]:
    with (
        simulator.serve() as url,
        portal.wrap_async_context_manager(Every8DSession("demo", "demo", site=url)) as session,
    ):
        yield session


def test_calls_and_pages(portal: BlockingPortal, session: Every8DSession) -> None:
    """Calls, with keywords by `partial`, and whole batches of reports."""
    receipt = portal.call(partial(session.sms.send, "hello", to="0912345678", subject="orders"))
    reports = portal.call(session.sms.delivery_reports(receipt.batch_id).collect)
    assert [report.mobile for report in reports] == ["+886912345678"]


def test_errors_come_out_as_they_are(
    simulator: Simulator, portal: BlockingPortal, session: Every8DSession
) -> None:
    """A caller in another thread sees the same error, with what was sent."""
    with pytest.raises(InvalidRequest):
        portal.call(session.sms.send, "", "0912345678")
    simulator.faults.add("SendSMS", Refuse(-306))
    with pytest.raises(GatewayRefused) as refused:
        portal.call(session.sms.send, "hello", "0912345678")
    assert refused.value.sent is False
    simulator.faults.add("SendSMS", HttpStatus(502))
    with pytest.raises(OutcomeUnknown) as unknown:
        portal.call(session.sms.send, "hello", "0912345678")
    assert unknown.value.sent is None
    assert not simulator.sent


def test_many_threads_share_a_session(
    simulator: Simulator, portal: BlockingPortal, session: Every8DSession
) -> None:
    """Any thread may call; they make one login together."""

    def send(number: int) -> int:
        return portal.call(session.sms.send, "hello", f"09{number:08d}").sent

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(send, range(40))) == 40
    assert simulator.logins == 1


def test_a_bulk_run(portal: BlockingPortal, session: Every8DSession) -> None:
    """An `async def` that iterates over a run is one call."""

    async def send_all(messages: list[PersonalizedMessage]) -> BulkSummary:
        async with session.sms.send_bulk(messages, batch_size=10) as run:
            states = [outcome.state async for outcome in run]
        assert states == ["accepted"] * 3
        return run.summary

    messages = [PersonalizedMessage(f"09{number:08d}", "hello") for number in range(30)]
    assert portal.call(send_all, messages).accepted == 30


def test_the_end_closes_the_session(simulator: Simulator) -> None:
    """Leaving the block closes the session, and then the loop."""
    with simulator.serve() as url, start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(Every8DSession("demo", "demo", site=url)) as session:
            assert portal.call(session.credit) == 10_000
        assert session.is_closed
