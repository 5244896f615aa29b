"""The circle of a campaign: sent, its answer lost, pushed, and found again by its intent code."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fastapi import FastAPI

from every8d_async import Every8DSession, PersonalizedMessage
from every8d_async.campaign import Campaign, State
from every8d_async.integrations.aiohttp import report_routes
from every8d_async.integrations.fastapi import report_router
from every8d_async.simulator import Reset, Simulator
from every8d_async.webhooks import Handler, PushedReply, PushedReport
from tests.integrations.test_frameworks import under_aiohttp, under_uvicorn
from tests.webhooks.kit import TOKEN

pytestmark = pytest.mark.anyio

MOBILES = [f"+8869{number:08}" for number in range(4)]
OPERATIONS = {
    "personalized": "SendParam",
    "text": "SendSMS",
    "filtered": "SendSMS4FilterMessage",
}


@pytest.fixture
def anyio_backend() -> str:
    """Both servers are asyncio's."""
    return "asyncio"


def fastapi_server(handler: Handler, encoding: str) -> AbstractAsyncContextManager[int]:
    app = FastAPI()
    app.include_router(report_router(handler, tokens=[TOKEN], encoding=encoding))
    return under_uvicorn(app)


def aiohttp_server(handler: Handler, encoding: str) -> AbstractAsyncContextManager[int]:
    app = web.Application()
    app.add_routes(report_routes(handler, tokens=[TOKEN], encoding=encoding))
    return under_aiohttp(app)


async def plan(campaign: Campaign, kind: str) -> None:
    if kind == "personalized":
        await campaign.plan([PersonalizedMessage(each, f"{each} 您好") for each in MOBILES])
    else:
        await campaign.plan_text("秋季特賣", MOBILES, filtered=kind == "filtered", subject="秋季😀")


@pytest.mark.parametrize("kind", OPERATIONS)
@pytest.mark.parametrize("server", [fastapi_server, aiohttp_server])
@pytest.mark.parametrize(("method", "encoding"), [("GET", "utf-8"), ("POST", "big5")])
async def test_a_lost_batch_is_found_again(
    kind: str,
    server: Callable[[Handler, str], AbstractAsyncContextManager[int]],
    method: Any,
    encoding: Any,
    tmp_path: Path,
) -> None:
    """The push report names the batch, a query proves it, and it is never sent again."""
    simulator = Simulator()
    with simulator.serve() as site:
        async with (
            Every8DSession("demo", "demo", site=site) as session,
            Campaign.open(tmp_path / "campaign.sqlite3", session) as campaign,
        ):

            async def follow_up(report: PushedReport | PushedReply) -> None:
                await campaign.confirm(report.batch_id, report.subject)

            async with server(follow_up, encoding) as port:
                url = f"http://127.0.0.1:{port}/reports/{TOKEN}"
                simulator.push_to(url, method=method, encoding=encoding)
                simulator.faults.add(OPERATIONS[kind], Reset(acts=True))
                await plan(campaign, kind)
                assert await run(campaign) == ["unknown"]
                simulator.deliver_all()
                assert await asyncio.to_thread(simulator.settle_pushes)
            assert [push.tries for push in simulator.pushes] == [(200,)] * len(MOBILES)
            (found,) = [batch async for batch in campaign.batches()]
            assert await run(campaign) == []
    (sent,) = simulator.batches
    assert (found.state, found.batch_ids) == (State.ACCEPTED, (sent.batch_id,))
    assert [message.mobile for message in simulator.sent] == MOBILES


async def run(campaign: Campaign) -> list[str]:
    async with campaign.run() as run:
        return [outcome.state async for outcome in run]
