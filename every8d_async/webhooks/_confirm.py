"""Ask the gateway what is true: push reports carry no signature."""

import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from typing import Protocol, overload

from every8d_async._models import DeliveryReport, Reply
from every8d_async.webhooks._values import PushedReply, PushedReport

_LOST = re.compile("[?\ufffd]+")  # what stands where the push report's encoding lacks a character

Pushed = PushedReport | PushedReply
Row = DeliveryReport | Reply


class _Mms(Protocol):
    def delivery_reports(self, batch_id: str) -> AsyncIterable[DeliveryReport]: ...


class _Sms(_Mms, Protocol):
    def replies(self, batch_id: str) -> AsyncIterable[Reply]: ...


class Asking(Protocol):
    """What confirming needs of a session; `Every8DSession` has it."""

    @property
    def sms(self) -> _Sms:
        """Ask about texts."""
        ...

    @property
    def mms(self) -> _Mms:
        """Ask about picture messages."""
        ...


@overload
async def confirm(session: Asking, report: PushedReport) -> DeliveryReport | None: ...
@overload
async def confirm(session: Asking, report: PushedReply) -> Reply | None: ...
async def confirm(session: Asking, report: Pushed) -> Row | None:
    """
    Ask the gateway for a pushed report's batch (§4.2 to §4.4), and give what it says of it.

    Believe what comes back, not what was pushed: the status may differ, as a later one does from
    the one that was pushed. It reads the batch's pages until the message is found; for many reports
    `confirm_all` reads each batch once. It sends nothing.

    A question mark or U+FFFD in the pushed text or reference may stand for characters that BIG5
    lacks, such as an emoji; what comes back has them.

    Returns:
        The gateway's own report, or reply; None where it knows of none: don't believe the pushed.

    Raises:
        Every8DError: As by `Sms.delivery_reports`; nothing is known then, so let the handler fail,
            and the report comes again.
    """
    return (await confirm_all(session, [report]))[report.key]


async def confirm_all(session: Asking, reports: Iterable[Pushed]) -> Mapping[str, Row | None]:
    """
    Ask the gateway about many pushed reports (§4.2 to §4.4), reading each of their batches once.

    It sends nothing.

    Returns:
        By `key` of the pushed report, what `confirm` gives for each.

    Raises:
        Every8DError: As by `Sms.delivery_reports`; what was read until then is lost.
    """
    confirmed: dict[str, Row | None] = {}
    batches: dict[tuple[str, _Ask], list[Pushed]] = {}
    for report in reports:
        confirmed[report.key] = None
        batches.setdefault((report.batch_id, _ask_for(report)), []).append(report)
    for (batch_id, ask), wanted in batches.items():
        confirmed.update(await ask(session, batch_id, wanted))
    return confirmed


_Ask = Callable[[Asking, str, list[Pushed]], Awaitable[dict[str, Row]]]


def _ask_for(report: Pushed) -> _Ask:
    if isinstance(report, PushedReply):
        return _ask_replies
    return _KINDS.get(report.kind.upper(), _ask_both)


async def _ask_replies(session: Asking, batch_id: str, wanted: list[Pushed]) -> dict[str, Row]:
    return await _search(session.sms.replies(batch_id), wanted)


async def _ask_sms(session: Asking, batch_id: str, wanted: list[Pushed]) -> dict[str, Row]:
    return await _search(session.sms.delivery_reports(batch_id), wanted)


async def _ask_mms(session: Asking, batch_id: str, wanted: list[Pushed]) -> dict[str, Row]:
    return await _search(session.mms.delivery_reports(batch_id), wanted)


async def _ask_both(session: Asking, batch_id: str, wanted: list[Pushed]) -> dict[str, Row]:
    # TYPE is newer than the rest of a report. A batch of the other kind looks like an empty one.
    return await _ask_sms(session, batch_id, wanted) or await _ask_mms(session, batch_id, wanted)


_KINDS: Mapping[str, _Ask] = {"SMS": _ask_sms, "MMS": _ask_mms}


async def _search(rows: AsyncIterable[Row], wanted: list[Pushed]) -> dict[str, Row]:
    """Read rows until all that are wanted were found."""
    found: dict[str, Row] = {}
    missing: dict[str, list[Pushed]] = {}
    for report in wanted:
        missing.setdefault(report.mobile, []).append(report)
    async for row in rows:
        for report in missing.pop(row.mobile, []):
            if _is_about(row, report):
                found[report.key] = row
            else:
                missing.setdefault(row.mobile, []).append(report)
        if not missing:
            break
    return found


def _is_about(row: Row, report: Pushed) -> bool:
    if isinstance(row, Reply):
        # A pushed time may be missing; the text tells two replies of one person apart.
        times = {row.received_at, report.received_at} - {None}
        return _may_be(report.text, row.text) and len(times) < 2  # noqa: PLR2004
    return not report.reference or _may_be(report.reference, row.reference.strip())


def _may_be(pushed: str, kept: str) -> bool:
    """Compare what was pushed with what is true; BIG5 may have lost characters on the way."""
    return pushed == kept or (bool(_LOST.search(pushed)) and _in_big5(pushed) == _in_big5(kept))


def _in_big5(text: str) -> str:
    # One that is lost may count as two: UTF-16 has no other way to write an emoji.
    return _LOST.sub("?", text.encode("cp950", "replace").decode("cp950"))
