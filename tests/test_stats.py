"""What `session.stats()` tells, and the budget that keeps retries from multiplying an outage."""

import anyio
import pytest

from every8d_async import (
    Every8DSession,
    GatewayUnavailable,
    OutcomeUnknown,
    RetryPolicy,
    SessionStats,
)
from every8d_async._pace import RetryBudget
from every8d_async.simulator import Hang, HttpStatus, Reset, Simulator

FRESH = SessionStats(in_flight=0, waiting=0, connections=0, token_age=None, retries=0, unknowns=0)
QUICK = RetryPolicy(attempts=3, base=0.001, cap=0.001)


def test_budget_is_spent_and_earned() -> None:
    """A session may start with fifty retries; after those, each takes five calls to earn."""
    budget = RetryBudget()
    assert [budget.spend() for _ in range(51)] == [True] * 50 + [False]
    for _ in range(4):
        budget.earn()
    assert not budget.spend()
    budget.earn()
    budget.earn()
    assert budget.spend()


def test_budget_has_an_end() -> None:
    """However many calls went well, a session saves up no more than fifty retries."""
    budget = RetryBudget()
    for _ in range(1_000):
        budget.earn()
    assert [budget.spend() for _ in range(51)] == [True] * 50 + [False]


@pytest.mark.anyio
async def test_outage_is_not_multiplied(every8d_simulator: Simulator) -> None:
    """In an outage retries die out: a hundred failing calls make far fewer than three hundred."""
    every8d_simulator.faults.add("GetCredit", HttpStatus(503), rate=1.0)
    with every8d_simulator.serve() as url:
        async with Every8DSession("demo", "demo", site=url, retry=QUICK) as session:
            for _ in range(100):
                with pytest.raises(GatewayUnavailable):
                    await session.credit()
            assert session.stats().retries == 50 + 100 // 5 - 1
    tried = [each for each in every8d_simulator.requests if each.operation == "GetCredit"]
    assert len(tried) == 100 + 50 + 100 // 5 - 1


@pytest.mark.anyio
async def test_stats_follow_the_session(every8d_simulator: Simulator) -> None:
    """The figures start at nothing, follow calls under way, and count what nobody knows."""
    with every8d_simulator.serve() as url:
        session = Every8DSession("demo", "demo", site=url, max_connections=1, retry=QUICK)
        assert session.stats() == FRESH
        await session.credit()
        stats = session.stats()
        assert (stats.in_flight, stats.connections, stats.waiting) == (0, 1, 0)
        assert stats.token_age is not None
        assert stats.token_age >= 0

        every8d_simulator.faults.add("GetCredit", Hang())
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(session.credit)
            await anyio.wait_all_tasks_blocked()
            stats = session.stats()
            assert (stats.in_flight, stats.connections, stats.waiting) == (3, 1, 2)
            group.cancel_scope.cancel()
        assert session.stats().in_flight == 0

        every8d_simulator.faults.add("SendSMS", Reset(acts=True))
        with pytest.raises(OutcomeUnknown):
            await session.sms.send("once", to="0900000001")
        assert (session.stats().unknowns, session.stats().retries) == (1, 0)
        await session.aclose()
        assert session.stats().connections == 0


@pytest.mark.anyio
async def test_stats_of_a_brought_transport(every8d_session: Every8DSession) -> None:
    """With a transport of the caller's own, the connections are those in use."""
    assert every8d_session.stats() == FRESH
    await every8d_session.credit()
    assert (every8d_session.stats().connections, every8d_session.stats().waiting) == (0, 0)
