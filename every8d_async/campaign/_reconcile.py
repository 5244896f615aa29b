"""
Finding out what became of the unknown: through the filter where that is safe, else by evidence.

A filtered batch is asked about with a dry run, which sends nothing. Where the gateway knows the
text for all its numbers, it was taken; where not, it goes out once more through the filter, which
leaves out those who have it. That is safe only for what went through the filter from the start,
after the first try has surely come to rest, and while the filter surely remembers it.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from attrs import evolve

from every8d_async._endpoints import FILTER_DRY_RUN
from every8d_async._errors import Every8DError, InvalidRequest
from every8d_async._models import FilteredReceipt
from every8d_async.campaign._confirm import matching
from every8d_async.campaign._journal import Form
from every8d_async.campaign._values import Batch, Left, Reconciled, State, is_time
from every8d_async.campaign._worker import Worker, is_remembered

SETTLE = timedelta(seconds=60)  # the least: what was sent may still be on its way into the filter
_PLAIN_SETTLE = timedelta(minutes=10)
_PAGE = 100

Sleep = Callable[[float], Awaitable[None]]


class Reconciler:
    """One pass over the unknown batches of a journal."""

    def __init__(self, worker: Worker, settle: timedelta, sleep: Sleep) -> None:
        if not is_time(settle, SETTLE):
            least = f"{SETTLE.seconds} s"
            raise InvalidRequest(
                [f"settle: must be a timedelta, {least} at least: what was sent may be on its way"],
                operation="campaign.reconcile",
            )
        self._worker = worker
        self._settle = settle
        self._sleep = sleep
        self._accepted = 0
        self._not_sent = 0
        self._left: list[Left] = []

    async def run(self) -> Reconciled:
        """Go over all that are unknown now."""
        await self._worker.recover()
        after = 0
        while page := await self._worker.journal.page((State.UNKNOWN,), after, _PAGE):
            for batch in page:
                await self._look_into(batch)
                after = batch.id
        return Reconciled(self._accepted, self._not_sent, tuple(self._left))

    async def _look_into(self, batch: Batch) -> None:
        try:
            why = await self._settle_one(batch)
        except Every8DError as error:
            why = f"{type(error).__name__}: {error}"
        batch = await self._worker.get(batch.id)
        match batch.state:
            case State.ACCEPTED:
                self._accepted += 1
            case State.NOT_SENT:
                self._not_sent += 1
            case _:
                self._left.append(Left(batch, why))

    async def _settle_one(self, batch: Batch) -> str:
        """Try to learn what became of a batch; give why not, for where it stays unknown."""
        form = await self._worker.form(batch.form)
        match form.kind:
            case "filtered":
                return await self._settle_filtered(batch, form)
            case "text":
                return await self._settle_plain(batch)
            case _:
                return (
                    "texts of their own can't be asked about through the filter; look at the "
                    "gateway's records, then confirm or resolve it"
                )

    async def _settle_filtered(self, batch: Batch, form: Form) -> str:
        if why := self._forgotten(batch):
            return why
        await self._wait(batch, self._settle)
        dry = await self._ask(batch)
        persons = await self._worker.people(batch)
        known = {person.mobile for person in persons} & set(dry.filtered)
        note = f"dry run: the filter knows {len(known)} of {batch.recipients}"
        if len(known) == batch.recipients:
            await self._accept(batch, dry.filtered_batch_ids, note)
            return ""
        if why := self._forgotten(batch):
            return why
        if form.send_before is not None and self._worker.clock() >= form.send_before:
            return await self._settle_late(batch, note, anybody=bool(known))
        await self._worker.journal.note(batch.id, note, self._worker.clock())
        await self._worker.attempt(batch)
        return "another worker had it"

    def _forgotten(self, batch: Batch) -> str:
        first = batch.wired_at
        if first is not None and is_remembered(first, self._worker.clock()):
            return ""
        return "its first try was 23 hours ago or more, and the filter may have forgotten it"

    async def _settle_late(self, batch: Batch, note: str, *, anybody: bool) -> str:
        """No repeat any more: what nobody got was not sent; what some got stays a person's."""
        if anybody:
            await self._worker.journal.note(batch.id, note, self._worker.clock())
            return f"{note}, and send_before has passed: it can't be repeated for the rest"
        ended = evolve(
            batch, state=State.NOT_SENT, since=self._worker.clock(), cause="send_before had passed"
        )
        await self._worker.journal.move(batch, ended, note, self._worker.clock())
        return "another worker had it"

    async def _settle_plain(self, batch: Batch) -> str:
        """Look only: nobody knows whether the filter remembers texts that were sent without it."""
        await self._wait(batch, max(self._settle, _PLAIN_SETTLE))
        dry = await self._ask(batch)
        note = f"dry run: the filter knows {len(dry.filtered)} of {batch.recipients}"
        for batch_id in dict.fromkeys(dry.filtered_batch_ids):
            if found := await matching(self._worker, batch, batch_id):
                await self._worker.journal.move(batch, found, note, self._worker.clock())
                return "another worker had it"
        await self._worker.journal.note(batch.id, note, self._worker.clock())
        return f"it was not sent through the filter, so a repeat could send twice; {note}"

    async def _ask(self, batch: Batch) -> FilteredReceipt:
        message = await self._worker.request(batch)
        dry: FilteredReceipt = await self._worker.call(FILTER_DRY_RUN, message)
        return dry

    async def _wait(self, batch: Batch, settle: timedelta) -> None:
        """Let the first try come to rest: since nobody was sending it any more, so long."""
        since = min(batch.since, self._worker.clock())  # a clock that was set back: from now on
        while (rest := since + settle - self._worker.clock()) > timedelta(0):
            await self._sleep(min(rest, settle).total_seconds())

    async def _accept(self, batch: Batch, batch_ids: tuple[str, ...], note: str) -> None:
        taken = evolve(
            batch,
            state=State.ACCEPTED,
            since=self._worker.clock(),
            batch_ids=tuple(dict.fromkeys((*batch.batch_ids, *filter(None, batch_ids)))),
            cause="the filter knows the text for all its numbers",
        )
        named = f"{note}, from {', '.join(taken.batch_ids)}" if taken.batch_ids else note
        await self._worker.journal.move(batch, taken, named, self._worker.clock())
