"""Which batch of the gateway's is which of ours: told by reports, and believed after a query."""

import re
from datetime import datetime, timedelta
from decimal import Decimal

from attrs import evolve

from every8d_async._codes import DeliveryStatus
from every8d_async._endpoints import SMS_REPORTS
from every8d_async._models import DeliveryReport, Page, ResponseFormat
from every8d_async._paging import Pager
from every8d_async._requests import PageQuery
from every8d_async.campaign._values import Batch, Person, State
from every8d_async.campaign._worker import Worker

_PAGE = 1000
_SLACK = timedelta(seconds=5)  # between our clock and the gateway's, whose times are whole seconds
_INTENT = re.compile(r"\b(e[0-9a-f]{8})-([0-9]{1,18})(?:-[0-9]+)?\b")


def number_in(name: str, text: str) -> int | None:
    """Read the number of a batch out of a push report's SUBJECT or MR; None if it names none."""
    for found in _INTENT.finditer(text):
        if found[1] == name:
            return int(found[2])
    return None


def pager(worker: Worker, batch_id: str) -> Pager[DeliveryReport]:
    """Read the reports of one of the gateway's batches."""
    endpoint = SMS_REPORTS[ResponseFormat.JSON]

    async def fetch(number: int) -> Page[DeliveryReport]:
        page = await worker.call(endpoint, PageQuery(batch_id, number))
        return Page(number, page.total, page.rows)

    return Pager(fetch, start_page=1, window=1)


async def matching(worker: Worker, batch: Batch, batch_id: str) -> Batch | None:
    """
    Ask for a gateway batch's reports; give ours as accepted if it holds just our recipients.

    A gateway's batch that another batch of the journal has is never ours, nor is one of a text that
    went out before ours did: the same people may have had it yesterday.

    Raises:
        Every8DError: As by a query.
    """
    if await _is_anothers(worker, batch, batch_id):
        return None
    # One more than ours would be another batch.
    rows = await pager(worker, batch_id).collect(batch.recipients + 1)
    ours = await names(worker, batch)
    if sorted(ours) != sorted(ours.name_of(row) for row in rows):
        return None
    if not ours.by_reference and await _is_older(worker, batch, rows):
        return None
    unsent = sum(row.status is DeliveryStatus.NO_CREDIT for row in rows)
    return evolve(
        batch,
        state=State.ACCEPTED,
        owner="",
        since=worker.clock(),
        batch_ids=(batch_id,),
        cause="the gateway has reports of a batch with just these recipients",
        sent=len(rows) - unsent,
        unsent=unsent,
        cost=sum((row.cost or Decimal(0) for row in rows), Decimal(0)),
    )


async def _is_anothers(worker: Worker, batch: Batch, batch_id: str) -> bool:
    after = 0
    while page := await worker.journal.page(tuple(State), after, _PAGE):
        if any(batch_id in each.batch_ids and each.id != batch.id for each in page):
            return True
        after = page[-1].id
    return False


async def _is_older(worker: Worker, batch: Batch, rows: list[DeliveryReport]) -> bool:
    at = (await worker.form(batch.form)).send_at
    # A late one may be reported under the time that was asked for.
    asked = datetime.strptime(f"{at}+0800", "%Y%m%d%H%M%S%z") if at else None
    begun = asked or batch.wired_at or batch.since
    return any(row.sent_at is not None and row.sent_at < begun - _SLACK for row in rows)


class Names(dict[str, Person]):
    """A batch's recipients under what a report names them by: our MR, or else the mobile."""

    by_reference: bool = False

    def name_of(self, report: DeliveryReport) -> str:
        """Give the name of a report's recipient."""
        return report.reference if self.by_reference else report.mobile


async def names(worker: Worker, batch: Batch) -> Names:
    """Read the names of a batch's recipients."""
    form = await worker.form(batch.form)
    persons = await worker.people(batch)
    if form.kind in ("text", "filtered"):
        return Names({person.mobile: person for person in persons})
    code = worker.intent(batch)
    found = Names({f"{code}-{number}": person for number, person in enumerate(persons, 1)})
    found.by_reference = True
    return found
