"""The delivery reports of a campaign's batches: fetched, and kept under the caller's own keys."""

from attrs import evolve

from every8d_async._errors import (
    AuthenticationFailed,
    Every8DError,
    GatewayRefused,
    MalformedReply,
)
from every8d_async._models import DeliveryReport
from every8d_async.campaign._confirm import Names, names, pager
from every8d_async.campaign._values import Batch, Reported
from every8d_async.campaign._worker import Worker

_PAGE = 100


async def fetch_reports(worker: Worker) -> Reported:
    """
    Ask for the reports of all accepted batches whose reports are not complete.

    A batch whose own query fails holds up no other: the first such error is raised in the end.
    """
    total = Reported()
    failed: Every8DError | None = None
    after = 0
    while page := await worker.journal.unreported(after, _PAGE):
        for batch in page:
            after = batch.id
            try:
                rows, complete = await _fetch(worker, batch)
            except AuthenticationFailed:
                raise  # as whatever every other query would meet
            except (GatewayRefused, MalformedReply) as error:
                failed = failed or error
                continue
            total = Reported(total.batches + 1, total.rows + rows, total.pending + (not complete))
    if failed is not None:
        raise failed
    return total


async def _fetch(worker: Worker, batch: Batch) -> tuple[int, bool]:
    ours = await names(worker, batch)
    found: dict[str, DeliveryReport] = {}
    for batch_id in batch.batch_ids:
        async for report in pager(worker, batch_id):
            name = ours.name_of(report)
            if name in ours:  # a batch that the filter named may hold others, too
                found[name] = _with_own_key(report, ours, name)
    # Without an id there is nothing that could be asked.
    everybody = len(found) == len(ours) or not batch.batch_ids
    complete = everybody and all(report.is_final for report in found.values())
    await worker.journal.keep_reports(batch.id, list(found.items()), complete=complete)
    return len(found), complete


def _with_own_key(report: DeliveryReport, ours: Names, name: str) -> DeliveryReport:
    return evolve(report, reference=ours[name].reference) if ours.by_reference else report
