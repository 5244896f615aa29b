"""What both applications do, without a framework: one-time passwords, bulk sends, reports."""

import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field

from every8d_async import (
    BatchOutcome,
    BulkRun,
    DeliveryReport,
    Every8DError,
    Every8DSession,
    InvalidRequest,
    OutcomeUnknown,
    mobile,
)
from every8d_async.webhooks import confirm_all
from tests.examples.report_store import ReportStore

Answer = tuple[int, dict[str, Any]]
Write = Callable[[bytes], Awaitable[bool]]

_VALID = 300  # seconds
_WAIT = 60  # seconds before a person may ask for the text again
_NOT_SENT = {"state": "not sent", "ask_again_after": 0}
_LOG = logging.getLogger("examples")


def refused(error: InvalidRequest) -> Answer:
    """Tell what is wrong with a request."""
    return 422, {"state": "refused", "problems": list(error.problems)}


@define
class OneTimePasswords:
    """
    Sends codes, and knows which one a number was sent.

    The code of a number stays the same while it is valid: whichever text of two arrives is right.
    """

    _codes: dict[str, tuple[str, float]] = field(factory=dict)

    async def send(self, session: Every8DSession, to: str) -> Answer:
        """Send a code; give the status and body of the HTTP answer."""
        try:
            number = mobile(to)
            receipt = await session.sms.send(f"您的驗證碼是 {self._code(number)}", to=number)
        except InvalidRequest as error:
            return refused(error)
        except OutcomeUnknown:
            # It may be on its way, so it is not sent again by itself: the person decides.
            return 202, {"state": "maybe sent", "ask_again_after": _WAIT}
        except Every8DError:
            return 503, _NOT_SENT
        if receipt.nothing_sent:  # for want of credit
            return 503, _NOT_SENT
        return 200, {"state": "sent", "ask_again_after": _WAIT}

    def check(self, to: str, code: str) -> bool:
        """Tell whether a code is right; it is right once."""
        number = mobile(to)
        known, until = self._codes.get(number, ("", 0.0))
        right = secrets.compare_digest(known.encode(), code.encode()) and time.monotonic() < until
        if right:
            del self._codes[number]
        return right

    def _code(self, number: str) -> str:
        code, until = self._codes.get(number, ("", 0.0))
        if time.monotonic() >= until:
            code, until = f"{secrets.randbelow(1_000_000):06}", time.monotonic() + _VALID
        self._codes[number] = code, until
        return code


async def stream_bulk(run: BulkRun[Any], write: Write) -> None:
    """
    Send to many, and write a line of JSON for each batch as it ends, and one for the whole.

    It writes rather than yields: a generator that is left in the middle would end in another task.
    What became of each batch is in the log, too, since a reader may hang up: then no more is begun,
    and what is in flight is waited for.

    Args:
        run: Not yet entered.
        write: Writes a line, and tells whether anybody still reads.
    """
    async with run:
        async for outcome in run:
            if not await write(_noted(outcome)):
                break
    async for outcome in run:  # what was in flight
        _noted(outcome)
    _LOG.info("bulk ended: %s", _summary(run))
    await write(_line({"summary": _summary(run)}))


def _noted(outcome: BatchOutcome[Any]) -> bytes:
    told = _outcome(outcome)
    _LOG.info("bulk: %s", told)
    return _line(told)


def _outcome(outcome: BatchOutcome[Any]) -> dict[str, Any]:
    batch_id = outcome.receipt.batch_id if outcome.receipt else None
    error = str(outcome.error) if outcome.error else None
    return {
        "state": outcome.state,
        "recipients": len(outcome.messages),
        "batch_id": batch_id,
        "error": error,
    }


def _summary(run: BulkRun[Any]) -> dict[str, Any]:
    summary = run.summary
    return {
        "accepted": summary.accepted,
        "refused": summary.refused,
        "not_sent": summary.not_sent,
        "unknown": summary.unknown,
        "not_attempted": summary.not_attempted,
        "cost": str(summary.cost),
    }


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


async def confirmed(
    session: Every8DSession, store: ReportStore, batch_id: str
) -> list[dict[str, Any]]:
    """Give what was pushed about a batch beside what the gateway itself says of it."""
    pushed = await store.of_batch(batch_id)
    rows = await confirm_all(session, pushed)
    return [_shown(rows[report.key], report.mobile, report.text) for report in pushed]


def _shown(row: object, number: str, text: str) -> dict[str, Any]:
    if isinstance(row, DeliveryReport):
        return {"mobile": number, "confirmed": True, "status": row.status.name}
    return {"mobile": number, "confirmed": row is not None, "reply": text}
