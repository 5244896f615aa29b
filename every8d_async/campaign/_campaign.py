"""The public face: plan, run, look, reconcile; a journal, a session, and little else."""

import os
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from types import TracebackType
from typing import Any, Self, cast

import anyio
from attrs import evolve

from every8d_async import _plans as plans
from every8d_async._bulk import BulkSummary
from every8d_async._bulk import _check_source as check_source
from every8d_async._checks import Problems
from every8d_async._errors import InvalidRequest
from every8d_async._models import DeliveryReport, PersonalizedMessage, TemplateRecipient
from every8d_async._requests import Options, utc_now
from every8d_async._requests import batch as check_batch_id
from every8d_async._session import Every8DSession
from every8d_async.campaign._confirm import matching, number_in
from every8d_async.campaign._forms import Draft, draft_personal, draft_text
from every8d_async.campaign._journal import Journal, Limits
from every8d_async.campaign._planning import Planner
from every8d_async.campaign._reconcile import SETTLE, Reconciler, Sleep
from every8d_async.campaign._reports import fetch_reports
from every8d_async.campaign._run import CampaignRun, giving_way
from every8d_async.campaign._sqlite import SqliteJournal
from every8d_async.campaign._values import (
    DOUBTFUL,
    Batch,
    CampaignStatus,
    Clock,
    Evidence,
    Person,
    Planned,
    Reconciled,
    Reported,
    State,
    is_time,
)
from every8d_async.campaign._worker import Worker

_PAGE = 100
_MOST = 2**63 - 1  # that a journal counts to


class Campaign:
    """
    Bulk that survives a crash: planned in a journal, sent batch by batch, never twice on doubt.

    ::

        async with Campaign.open("autumn.sqlite3", session) as campaign:
            await campaign.plan(messages)
            async with campaign.run() as run:
                async for outcome in run: ...
            print(await campaign.status())

    After a crash do the same again: what was planned is planned once, what is planned goes out, and
    what may have gone out stays `State.UNKNOWN` until evidence or a person says more. Any number of
    processes of one machine may run one campaign together.

    What the journal alone can tell is asked of it alone. Its own troubles (`JournalError`,
    ``sqlite3.Error`` of a full disk) come out of any method.

    Args:
        journal: Where it is written down; `open` makes one of SQLite's.
        session: The way to the gateway; the campaign does not close it.
        clock: What tells the time, aware; handed in where tests need another.
        sleep: What waits, in seconds; likewise.
    """

    def __init__(
        self,
        journal: Journal,
        session: Every8DSession,
        *,
        clock: Clock = utc_now,
        sleep: Sleep = anyio.sleep,
    ) -> None:
        self._journal = journal
        self._call = session._driver.call  # noqa: SLF001 - within the package
        site, uid = session._settings.site, session._settings.uid  # noqa: SLF001 - likewise
        # A digest: the account's name is nobody's business who reads the file.
        account = f"{site} {uid}".encode("utf-8", "surrogatepass")
        self._account = blake2b(account, digest_size=16).hexdigest()
        self._clock = clock
        self._sleep = sleep
        self._worker = Worker(journal, self._call, clock)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        session: Every8DSession,
        *,
        clock: Clock = utc_now,
        sleep: Sleep = anyio.sleep,
    ) -> Self:
        """
        Give the campaign of a file, to be entered with ``async with``.

        The file is made if it is not there, for its owner's eyes only (mode 0600): it holds texts
        and numbers. It belongs to the session's account for ever.

        Args:
            path: The file; its folder must be there.
            session: The way to the gateway; the campaign does not close it.
            clock: What tells the time, aware; handed in where tests need another.
            sleep: What waits, in seconds; likewise.
        """
        return cls(SqliteJournal(path), session, clock=clock, sleep=sleep)

    async def __aenter__(self) -> Self:
        """
        Open the journal; nothing is sent. What owners that are gone left behind is taken back.

        Raises:
            JournalError: It was written by a newer version, belongs to another account, is damaged,
                or is none.
            SessionMisuse: It is open already.
        """
        await self._journal.open(self._account, self._clock())
        try:
            await self._worker.recover()
        except BaseException:
            await self._journal.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the journal; what this opening had claimed is planned again."""
        with anyio.CancelScope(shield=True), giving_way(exc_value):
            try:
                self._worker.active.clear()
                await self._worker.recover()
            finally:
                await self._journal.aclose()

    # --- planning ---

    async def plan(
        self,
        messages: Iterable[PersonalizedMessage]
        | AsyncIterable[PersonalizedMessage]
        | Iterable[TemplateRecipient]
        | AsyncIterable[TemplateRecipient],
        *,
        template: str | None = None,
        subject: str = "",
        valid_for: timedelta | None = None,
        event_id: str | None = None,
        send_before: datetime | None = None,
        batch_size: int = 500,
        progress: Callable[[Planned], None] | None = None,
    ) -> Planned:
        """
        Plan a text of their own for each of very many people; nothing is sent.

        It is durable when it returns, and done 40,000 at a time: after a crash plan the same again,
        and only what is missing is planned. A key is planned once in a campaign, whatever it comes
        with: the key is `reference`, or without one the mobile, the text (template and fields) and
        `send_at` together. A `send_at` may not have passed when the campaign was made; where it has
        since, the message is late, and goes out unless `send_before` says no.

        On the wire, MR is an intent code of ours, and SB ends with one; `reports_of` gives the
        caller's own references back.

        Args:
            messages: Any iterable or async iterable, read once; `PersonalizedMessage`, or
                `TemplateRecipient` with `template`. What can't be sent is a refused batch of one.
            template: As for `Sms.send_template`, or None.
            subject: As for `Sms.send`; the intent code follows it.
            valid_for: As for `Sms.send`.
            event_id: As for `Sms.send`.
            send_before: When these may not go out any more, with a time zone.
            batch_size: Recipients in a request; the gateway's makers advise 500 to 2,000.
            progress: Hears the counts after each 40,000; it must be quick.

        Raises:
            InvalidRequest: An option is wrong.
            JournalError: The campaign was purged: nobody knows any more who was planned.
        """
        options = Options(subject, valid_for, event_id)
        began = self._journal.began
        draft = draft_personal(self._call, template, options, batch_size, send_before, began)
        return await self._plan(draft, messages, batch_size, progress)

    async def plan_text(
        self,
        text: str,
        to: str | Iterable[str] | AsyncIterable[str],
        *,
        filtered: bool = False,
        subject: str = "",
        send_at: datetime | None = None,
        valid_for: timedelta | None = None,
        event_id: str | None = None,
        send_before: datetime | None = None,
        batch_size: int = 500,
        progress: Callable[[Planned], None] | None = None,
    ) -> Planned:
        """
        Plan one text for very many people; nothing is sent.

        As `plan`; the key is the mobile, the text and `send_at` together. With ``filtered`` the
        gateway leaves out who had the same text in the last 24 hours, which lets `reconcile` find
        out about a crash by itself.

        Args:
            text: As for `Sms.send`.
            to: Any iterable or async iterable of mobiles, read once.
            filtered: Send through the filter, as `Sms.send_filtered`.
            subject: As for `plan`.
            send_at: As for `Sms.send`.
            valid_for: As for `Sms.send`.
            event_id: As for `Sms.send`.
            send_before: As for `plan`.
            batch_size: As for `plan`.
            progress: As for `plan`.

        Raises:
            InvalidRequest: An option is wrong.
            JournalError: The campaign was purged: nobody knows any more who was planned.
        """
        options = Options(subject, valid_for, event_id)
        draft = draft_text(
            self._call,
            text,
            send_at,
            options,
            batch_size,
            send_before,
            self._journal.began,
            filtered=filtered,
        )
        return await self._plan(draft, (to,) if isinstance(to, str) else to, batch_size, progress)

    async def _plan(
        self,
        draft: Draft,
        items: Iterable[Any] | AsyncIterable[Any],
        batch_size: int,
        progress: Callable[[Planned], None] | None,
    ) -> Planned:
        check_source(items)
        problems = Problems()
        plans.Limits(batch_size, 1, progress=cast("Any", progress)).check(problems)
        problems.end("campaign.plan")
        planner = Planner(self._journal, draft, batch_size, self._clock)
        return await planner.run(items, progress)

    # --- running ---

    def run(
        self,
        max_in_flight: int = 8,
        *,
        max_points: Decimal | float | None = None,
        max_recipients: int | None = None,
        progress: Callable[[BulkSummary], None] | None = None,
    ) -> CampaignRun:
        """
        Send what is planned; see `CampaignRun`.

        A batch is put down as on the wire, and synced to disk, before its first byte leaves.

        Args:
            max_in_flight: Requests at once.
            max_points: End before the batch with which the whole campaign would cross so many
                points, by our estimate; what is unknown counts, and what earlier runs sent.
            max_recipients: Likewise, in recipients.
            progress: Hears the summary after each batch, in the event loop; it must be quick.

        Raises:
            InvalidRequest: An option is wrong.
        """
        problems = Problems()
        plans.Limits(1, max_in_flight, max_points, max_recipients, progress).check(problems)
        problems.end("campaign.run")
        points = None if max_points is None else Decimal(str(max_points))
        return CampaignRun(self._worker, Limits(points, max_recipients), max_in_flight, progress)

    async def run_batch(self, batch: int | Batch) -> Batch:
        """
        Send one batch if it is planned (§2.2 to §2.5), and give it as it stands then.

        Any worker, any queue, may call it any number of times for any batch: one that is under way
        or has ended is only told of. A failure is a state, not an exception.

        Raises:
            InvalidRequest: There is no such batch; nothing was sent.
        """
        return await self._worker.run_batch(_number(batch))

    # --- looking ---

    async def status(self) -> CampaignStatus:
        """
        Count all recipients by state, from the journal alone.

        What owners that are gone left behind is taken back first.
        """
        await self._worker.recover()
        return await self._journal.status()

    def batches(self, *states: State) -> "Batches":
        """Iterate over the batches in some states, or in all, by id; it may be left early."""
        return Batches(self._worker, states or tuple(State))

    async def people(self, batch: int | Batch) -> list[Person]:
        """
        Read for whom a batch is, from the journal alone; nobody, once it was purged.

        Raises:
            InvalidRequest: There is no such batch.
        """
        return await self._worker.people(await self._worker.get(_number(batch)))

    async def evidence(self, batch: int | Batch) -> list[Evidence]:
        """Read what was learned of a batch, in order, from the journal alone."""
        return await self._journal.notes(_number(batch))

    # --- settling doubts ---

    async def reconcile(self, settle: timedelta = SETTLE) -> Reconciled:
        """
        Find out what became of the unknown batches (§2.5), where that is safe; all else stays so.

        - Filtered from the start: `settle` after the last try ended it asks with a dry run. Where
          the filter knows the text for all numbers, the batch is accepted; else it goes out once
          more through the filter, to those who did not get it. Not when the first try was 23 hours
          ago or more, nor after `send_before`.
        - One text for many, not filtered: after ten minutes at least it asks with a dry run, and
          accepts a batch that the dry run names once its reports list just these recipients. It
          never sends: whether the filter remembers such texts is not known.
        - Texts of their own: nothing can be asked; see `confirm` and `resolve`.

        It waits until the time has passed, batch by batch. What it learns is kept as evidence.

        Args:
            settle: How long a try must have been over; 60 seconds at least, since what was sent may
                still be on its way.

        Raises:
            InvalidRequest: The time is too short, or none; nothing was asked or sent. What a
                question or a repeat comes to is a state, or a reason in `Reconciled.left`, not an
                exception.
        """
        return await Reconciler(self._worker, settle, self._sleep).run()

    async def confirm(self, batch_id: str, named: str) -> Batch | None:
        """
        Follow up a push report (§4.2, §6): its BatchID, and its SUBJECT or MR with our intent code.

        SUBJECT always has the code, MR only for texts of their own. It may be called for each
        report that comes in; that of a batch which is not in doubt costs no query.

        A push report proves nothing alone. The gateway is asked for the reports of its batch, and
        if they list just the recipients of ours, and ours is unknown, it is accepted. So is one of
        which a person had said that it was not sent, unless it is on its way again.

        Returns:
            Our batch, as it stands then; None where the text names none of this campaign, or the
            gateway's batch holds others, or is that of another batch of ours.

        Raises:
            InvalidRequest: The batch id can't be one, or the name is no text; nothing was asked.
            Every8DError: The query failed, as by `Sms.delivery_reports`; nothing was changed.
        """
        problems = Problems()
        problems.check(ok=isinstance(named, str), problem="named: must be a text")
        problems.end("campaign.confirm")
        number = number_in(self._journal.name, named)
        if number is None:
            return None
        await self._worker.recover()
        batch = await self._journal.get(number)
        if batch is None or batch.state not in DOUBTFUL or batch.wired_at is None:
            return batch
        checked = check_batch_id("campaign.confirm", batch_id)
        found = await matching(self._worker, batch, checked)
        if found is None:
            return None
        note = f"a push report named batch {checked}, and its reports list these recipients"
        await self._journal.move(batch, found, note, self._clock())
        return await self._worker.get(batch.id)

    async def resolve(self, batch: int | Batch, *, sent: bool, batch_id: str = "") -> Batch:
        """
        Put down a person's word on an unknown batch, in the journal alone.

        Args:
            batch: Itself, or its number.
            sent: Whether it was sent; if not, `replan` lets it go out again.
            batch_id: The gateway's id for it, if that is known.

        Returns:
            The batch, accepted or not sent.

        Raises:
            InvalidRequest: There is no such batch, it is not unknown, or the word is none; nothing
                was changed.
        """
        problems = Problems()
        problems.check(ok=isinstance(sent, bool), problem="sent: must be True or False")
        problems.check(ok=bool(sent) or not batch_id, problem="batch_id: nothing sent has none")
        problems.end("campaign.resolve")
        ids = (check_batch_id("campaign.resolve", batch_id),) if batch_id else ()
        word = "sent" if sent else "not sent"

        def decide(before: Batch) -> Batch:
            state = State.ACCEPTED if sent else State.NOT_SENT
            known = tuple(dict.fromkeys((*before.batch_ids, *ids)))
            return evolve(before, state=state, batch_ids=known, cause="a person said so")

        return await self._decide(
            _number(batch), (State.UNKNOWN,), decide, f"a person said: {word}"
        )

    async def replan(self, batch: int | Batch) -> Batch:
        """
        Let a batch go out that was refused or not sent, once its cause is mended.

        It is put down in the journal alone; the next run sends it.

        Returns:
            The batch, planned.

        Raises:
            InvalidRequest: There is no such batch, it is neither refused nor not sent, it was
                purged, or it can't be sent at all; nothing was changed.
        """

        def decide(before: Batch) -> Batch:
            return evolve(before, state=State.PLANNED, code=None, cause="")

        number = _number(batch)
        stood = await self._worker.get(number)
        if not stood.epoch:
            raise InvalidRequest(
                [f"batch: {stood.cause or 'it was not tried yet'}"], operation="campaign.replan"
            )
        if not await self._journal.payload(number):
            raise InvalidRequest([f"batch: {number} was purged"], operation="campaign.replan")
        states = (State.REFUSED, State.NOT_SENT)
        return await self._decide(number, states, decide, "planned again by a person")

    async def _decide(
        self,
        number: int,
        states: tuple[State, ...],
        decide: Callable[[Batch], Batch],
        note: str,
    ) -> Batch:
        await self._worker.recover()
        before = await self._worker.get(number)
        now = self._clock()
        after = evolve(decide(before), since=now, epoch=before.epoch + 1)
        allowed = before.state in states
        if not allowed or not await self._journal.move(before, after, note, now):
            wanted = " or ".join(states)
            raise InvalidRequest([f"batch: {number} is {before.state}, not {wanted}"])
        return after

    # --- reports, and the end ---

    async def reports(self) -> Reported:
        """
        Fetch the delivery reports of all accepted batches (§4.2), and keep them.

        It sends nothing. Called again, it asks for what is not final yet.

        Raises:
            Every8DError: As by `Sms.delivery_reports`; what was fetched is kept. A batch whose own
                query fails holds up no other.
        """
        return await fetch_reports(self._worker)

    async def reports_of(self, batch: int | Batch) -> list[DeliveryReport]:
        """Read the reports kept of a batch, from the journal alone; `reference` is the caller's."""
        return await self._journal.reports(_number(batch))

    async def purge(self, *, after: timedelta) -> int:
        """
        Remove the personal data of ended batches, from the journal alone; give how many these were.

        Texts, numbers, references, keys and reports go, from the file and its log; states, counts,
        batch ids and evidence stay. Batches that are planned, under way or unknown keep theirs.
        Without the keys nobody knows who was planned, so the campaign takes no more plans.

        Args:
            after: How long ago a batch must have ended.

        Raises:
            InvalidRequest: The time is none, or in the future.
        """
        problems = Problems()
        ok = is_time(after, timedelta(0))
        problems.check(ok=ok, problem="after: must be a timedelta, zero at least")
        problems.end("campaign.purge")
        now = self._clock()
        return await self._journal.purge(now - after, now)


def _number(batch: object) -> int:
    number = batch.id if isinstance(batch, Batch) else batch
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= _MOST:
        return number
    raise InvalidRequest(["batch: must be a batch of this campaign, or its number"])


class Batches:
    """Batches read as they are needed, by id, from the journal alone."""

    def __init__(self, worker: Worker, states: tuple[State, ...]) -> None:
        self._worker = worker
        self._states = states
        self._page: deque[Batch] = deque()
        self._after = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Batch:
        """Give the next one, from the journal alone."""
        if not self._after:
            await self._worker.recover()
        if not self._page:
            page = await self._worker.journal.page(self._states, self._after, _PAGE)
            self._page.extend(page)
        if not self._page:
            raise StopAsyncIteration
        self._after = self._page[-1].id
        return self._page.popleft()
