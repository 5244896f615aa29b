"""A run over what is planned: the bulk run's way of going, pausing and ending, on a journal."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import Self

import anyio
from attrs import evolve

from every8d_async._bulk import BulkRun, BulkSummary, Plan
from every8d_async.campaign._journal import Limits
from every8d_async.campaign._values import Batch, CampaignOutcome, State
from every8d_async.campaign._worker import AnyReceipt, Worker

_LOG = logging.getLogger("every8d_async")

_ENDINGS = {State.ACCEPTED: "accepted", State.REFUSED: "refused", State.UNKNOWN: "unknown"}


class _Planned:
    """Claims planned batches, one by one, until there is none or a limit would be crossed."""

    def __init__(self, worker: Worker, limits: Limits) -> None:
        self._worker = worker
        self._limits = limits
        self._after = 0
        self._held: set[Batch] = set()
        self.crossed = ""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        if not self._after:
            await self._worker.recover()
        while (batch := await self._claim()) is None:
            # At the end, look once more: another worker may have died with what it had.
            if self.crossed or not await self._worker.recover():
                raise StopAsyncIteration
            self._after = 0
        return batch

    async def _claim(self) -> Batch | None:
        claim = await self._worker.claim(self._after, self._limits)
        self.crossed = claim.crossed
        if claim.batch is not None:
            self._after = claim.batch.id
            self._held.add(claim.batch)
        return claim.batch

    def begin_again(self) -> None:
        """Take those again that came back, after a pause."""
        self._after = 0

    def let_go(self, batch: Batch) -> None:
        """Give up a batch that had its turn."""
        self._held.discard(batch)
        self._worker.let_go(batch.id)

    def let_all_go(self) -> None:
        """Give up what was claimed and did not get its turn."""
        for batch in tuple(self._held):
            self.let_go(batch)


class CampaignRun:
    """
    A campaign's run under way (§2.2 to §2.5); enter it, and iterate over its batches.

    ::

        async with campaign.run() as run:
            async for outcome in run: ...

    It goes, pauses and ends as `BulkRun` does: work starts with the first step, and goes on only as
    outcomes are taken; after five batches in a row that failed for a cause not their own, or at
    once for a refused login, a firewall or credit gone, the iteration ends with `paused` true, and
    `resume` and another iteration go on. A limit ends it, too; another run may have a higher one.

    After a crash, run again: what is planned goes out, what may have gone out does not. Leaving the
    block early waits for what is in flight; cancellation cuts that and leaves it unknown. What was
    claimed and did not get its turn is planned again.

    Attributes:
        summary: What became of the recipients whose batches this run has finished. Those counted
            as ``not_sent`` are planned again, but for what came too late for `send_before`.
    """

    def __init__(
        self,
        worker: Worker,
        limits: Limits,
        max_in_flight: int,
        progress: Callable[[BulkSummary], None] | None,
    ) -> None:
        self.summary = BulkSummary()
        self._worker = worker
        self._source = _Planned(worker, limits)
        self._stood: dict[Batch, Batch] = {}  # how each stands that was claimed, by its claim
        self._bulk: BulkRun[Batch] = BulkRun(
            self._source,
            Plan[Batch, Batch](
                check=_as_they_are,
                key=_no_key,
                send=self._send,
                points=lambda _: Decimal(0),
                batch_size=1,
                max_in_flight=max_in_flight,
                max_points=None,
                max_recipients=None,
                progress=None if progress is None else lambda _: progress(self.summary),
            ),
        )

    @property
    def paused(self) -> bool:
        """Tell whether the iteration ended, or is about to, before all was sent."""
        return self._bulk.paused or bool(self._source.crossed)

    @property
    def pause_reason(self) -> str:
        """Say why, in words; empty while it is not paused."""
        return self._bulk.pause_reason or self._source.crossed

    def resume(self) -> None:
        """Go on after a pause; iterate again. It lifts no limit."""
        self._source.begin_again()
        self._bulk.resume()

    async def __aenter__(self) -> Self:
        """
        Enter the run; nothing is claimed or sent yet.

        Raises:
            SessionMisuse: It was entered before.
        """
        await self._bulk.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait for what is in flight, or cut it if the block was cancelled; let go of the rest."""
        try:
            await self._bulk.__aexit__(exc_type, exc_value, traceback)
        finally:
            with anyio.CancelScope(shield=True), giving_way(exc_value):
                self._source.let_all_go()
                await self._worker.recover()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> CampaignOutcome:
        """
        Wait for the next batch to finish; a failed one is an outcome, not an exception.

        Raises:
            SessionMisuse: The run's block was not entered, or it was left before the first step;
                nothing was sent.
        """
        outcome = await anext(self._bulk)
        batch = self._stood.pop(outcome.messages[0])
        return CampaignOutcome(batch, outcome.state, outcome.receipt, outcome.error)

    async def _send(self, group: tuple[Batch, ...]) -> AnyReceipt:
        batch = group[0]
        self._stood[batch] = batch
        try:
            return await self._worker.attempt(batch)
        finally:
            self._source.let_go(batch)
            with anyio.CancelScope(shield=True):
                self._stood[batch] = await self._worker.get(batch.id)
            self._count(self._stood[batch])

    def _count(self, batch: Batch) -> None:
        name = _ENDINGS.get(batch.state, "not_sent")
        done = batch if batch.state is State.ACCEPTED else None
        self.summary = evolve(
            self.summary,
            **{name: getattr(self.summary, name) + batch.recipients},
            cost=self.summary.cost + (done.cost if done else 0),
            unsent=self.summary.unsent + (done.unsent if done else 0),
            filtered=self.summary.filtered + (done.filtered if done else 0),
        )


@contextmanager
def giving_way(raised: BaseException | None) -> Generator[None]:
    """Log a failure of the journal's where a block ends with an error of its own."""
    try:
        yield
    except Exception as error:
        if raised is None:
            raise
        kind = type(error).__name__
        _LOG.error("a campaign's %s gives way to what its block raised", kind)


def _as_they_are(batches: Sequence[Batch], _position: int) -> Sequence[Batch]:
    return batches


def _no_key(_batch: Batch) -> str:
    return ""
