"""
One life of a process that runs a campaign; it may end at any moment.

``python -m tests.campaign_life '{…}'``: see `Life`. It says on its output how far it came.
"""

import json
import os
import signal
import sys
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
from attrs import frozen

from every8d_async import Every8DSession, PersonalizedMessage, RetryPolicy, TemplateRecipient
from every8d_async.campaign import Batch, Campaign, Claim, Form, Group, Limits, SqliteJournal, State

TEXT = "秋季特賣 本週末 全面八折"

INSIDE = {
    "INSERT INTO planned": "inside plan",
    "DELETE FROM planned": "inside purge",
    "VACUUM": "before vacuum",
    "PRAGMA wal_checkpoint": "before checkpoint",
}


@frozen
class Life:
    """
    What a life is to do.

    Attributes:
        path: The journal.
        url: The gateway.
        kind: ``personalized``, ``template``, ``text`` or ``filtered``.
        recipients: How many.
        batch_size: Recipients in a batch.
        ahead: Seconds that its clock is ahead.
        task: ``run`` (plan and run), ``reconcile``, ``purge``, ``replan``, or a person's word on
            all that is unknown: ``sent`` or ``not sent``.
        late: Whether what it plans is too late already.
        kill_at: A point at which it kills itself, and for the how manieth time.
        backend: asyncio or trio.
    """

    path: str
    url: str
    kind: str
    recipients: int
    batch_size: int
    ahead: float = 0.0
    task: str = "run"
    late: bool = False
    kill_at: tuple[str, int] | None = None
    backend: str = "asyncio"


class Clock:
    """Real time and more: sleeping moves it. Whoever starts a life has waited for quiet."""

    def __init__(self, ahead: float) -> None:
        self._ahead = timedelta(seconds=ahead)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self._ahead += timedelta(seconds=seconds)


class MortalJournal(SqliteJournal):
    """
    SQLite's journal, with a point before and after each transition at which a life can end.

    Points: ``before``/``after`` and ``plan``, ``claim``, ``recover``, ``purge`` or a state that a
    batch comes into; and in the middle of what is done at once: ``inside plan``, ``inside purge``,
    ``before vacuum``, ``before checkpoint``.
    """

    def __init__(self, path: str, kill_at: tuple[str, int] | None) -> None:
        super().__init__(path)
        self._kill_at, self._left = kill_at or ("", 0)

    def _reach(self, point: str) -> None:
        if point == self._kill_at:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    async def open(self, account: str, now: datetime) -> None:
        await super().open(account, now)
        assert self._connection is not None
        self._connection.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        for beginning, point in INSIDE.items():
            if statement.startswith(beginning):
                self._reach(point)

    async def add(self, form: Form, groups: Sequence[Group], now: datetime) -> int:
        self._reach("before plan")
        added = await super().add(form, groups, now)
        self._reach("after plan")
        return added

    async def claim(self, after: int, limits: Limits, now: datetime) -> Claim:
        self._reach("before claim")
        claim = await super().claim(after, limits, now)
        self._reach("after claim")
        return claim

    async def move(self, before: Batch, after: Batch, note: str, now: datetime) -> bool:
        self._reach(f"before {after.state}")
        moved = await super().move(before, after, note, now)
        self._reach(f"after {after.state}")
        return moved

    async def recover(self, active: Collection[int], now: datetime) -> int:
        self._reach("before recover")
        count = await super().recover(active, now)
        self._reach("after recover")
        return count

    async def purge(self, before: datetime, now: datetime) -> int:
        self._reach("before purge")
        count = await super().purge(before, now)
        self._reach("after purge")
        return count


def mobiles(count: int) -> Iterator[str]:
    return (f"+8869{number:08d}" for number in range(count))


async def plan(campaign: Campaign, life: Life) -> None:
    numbers, size = mobiles(life.recipients), life.batch_size
    until = datetime.now(UTC) if life.late else None
    if life.kind == "personalized":
        messages = (PersonalizedMessage(n, f"{n} 您好") for n in numbers)
        await campaign.plan(messages, batch_size=size, send_before=until)
    elif life.kind == "template":
        people = (TemplateRecipient(n, [n], reference=f"order {n}") for n in numbers)
        await campaign.plan(people, template="%field1% 您好", batch_size=size)
    else:
        filtered = life.kind == "filtered"
        await campaign.plan_text(TEXT, numbers, filtered=filtered, batch_size=size)


async def run(campaign: Campaign) -> int:
    """Run to the end, through all pauses; give how many batches that were."""
    done = 0
    async with campaign.run(max_in_flight=8) as run:
        while True:
            async for _ in run:
                done += 1
            if not run.paused:
                return done
            run.resume()


async def live(life: Life) -> None:
    clock = Clock(life.ahead)
    session = Every8DSession(
        "proof", "proof", site=life.url, retry=RetryPolicy(attempts=5, base=0.01)
    )
    journal = MortalJournal(life.path, life.kill_at)
    async with session, Campaign(journal, session, clock=clock, sleep=clock.sleep) as campaign:
        say("open")
        match life.task:
            case "run":
                await plan(campaign, life)
                say("planned")
                say(f"did {await run(campaign)}")
            case "reconcile":
                await campaign.reconcile()
            case "purge":
                await campaign.purge(after=timedelta(0))
            case "replan":
                async for batch in campaign.batches(State.REFUSED, State.NOT_SENT):
                    await campaign.replan(batch)
            case word:
                async for batch in campaign.batches(State.UNKNOWN):
                    await campaign.resolve(batch, sent=word == "sent")


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    life = Life(**given)
    anyio.run(live, life, backend=life.backend)
