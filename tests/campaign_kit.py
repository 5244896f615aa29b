"""What the tests of campaigns share: a world with a gateway in memory, a journal, and a clock."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx

from every8d_async import Every8DSession, PersonalizedMessage, RetryPolicy
from every8d_async.campaign import Batch, Campaign, CampaignOutcome, SqliteJournal, State
from every8d_async.simulator import Account, Simulator


class Clock:
    """Stands still but for sleeping."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)
        self.slept = timedelta(0)

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.now += timedelta(seconds=seconds)
        self.slept += timedelta(seconds=seconds)


class World:
    """A gateway in memory, a place for a journal, and a clock."""

    def __init__(self, place: Path, **options: Any) -> None:
        account = Account(uid="demo", password="demo", credit=10**6)
        defaults: dict[str, Any] = {"accounts": [account]}
        self.simulator = Simulator(**defaults | options)
        self.path = place / "campaign.sqlite3"
        self.clock = Clock()

    @property
    def counts(self) -> Counter[str]:
        """Count what each mobile was sent."""
        return Counter(message.mobile for message in self.simulator.sent)

    def session(self, **options: Any) -> Every8DSession:
        defaults: dict[str, Any] = {
            "site": "http://localhost",
            "retry": RetryPolicy(attempts=1),
            "transport": httpx.ASGITransport(app=self.simulator),
        }
        return Every8DSession("demo", "demo", **defaults | options)

    @asynccontextmanager
    async def open(
        self, journal: SqliteJournal | None = None, **options: Any
    ) -> AsyncGenerator[Campaign]:
        made = journal or SqliteJournal(self.path)
        clock = self.clock
        async with (
            self.session(**options) as session,
            Campaign(made, session, clock=clock, sleep=clock.sleep) as campaign,
        ):
            yield campaign


class Scripted(httpx.AsyncBaseTransport):
    """
    Reaches the gateway in memory, but for sends that a script has another end for.

    ``lost`` is acted on and not answered; bytes are an answer without an act; None is no fault.
    Dry runs are no sends.
    """

    def __init__(self, world: World, *script: str | bytes | None) -> None:
        self._behind = httpx.ASGITransport(app=world.simulator)
        self._script = list(script)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        sends = b"Send" in request.url.raw_path and b"IsSend=false" not in body
        step = self._script.pop(0) if sends and self._script else None
        if isinstance(step, bytes):
            return httpx.Response(int(step[:3]), content=step[3:])
        response = await self._behind.handle_async_request(request)
        if step == "lost":
            raise httpx.ReadError("lost", request=request)
        return response


def mobiles(count: int) -> Iterator[str]:
    return (f"+8869{number:08d}" for number in range(count))


def messages(count: int) -> Iterator[PersonalizedMessage]:
    return (PersonalizedMessage(number, f"{number} 您好") for number in mobiles(count))


async def finish(campaign: Campaign, **options: Any) -> list[CampaignOutcome]:
    """Run to the end or to a pause."""
    async with campaign.run(**options) as run:
        return [outcome async for outcome in run]


async def only(campaign: Campaign, state: State) -> Batch:
    """Give the one batch in a state."""
    (batch,) = [batch async for batch in campaign.batches(state)]
    return batch
