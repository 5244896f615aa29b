"""The operations that ask for credit and reports, and the one that cancels a booking."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from every8d_async.simulator import _codes, _replies
from every8d_async.simulator._call import Call, Refused, Reply
from every8d_async.simulator._reading import whole_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from every8d_async.simulator._state import State
    from every8d_async.simulator._values import Kind, Report

_Row = TypeVar("_Row")


def get_credit(state: State, call: Call) -> Reply:
    """Tell the points left (§4.1)."""
    account = state.accounts.authenticate(call, state.now())
    return _replies.plain(_replies.money(account.credit))


def get_delivery_status(state: State, call: Call, kind: Kind) -> Reply:
    """Tell how the messages of a batch stand, a page of them (§4.2, §4.4)."""
    now = state.now()
    account = state.accounts.authenticate(call, now)
    bid = call.text("BID")
    batch = state.ledger.find(account.account.uid, kind, bid)
    messages = [] if batch is None else batch.messages
    page = _page(call, messages, state.options.report_page_size)
    rows = [] if batch is None else [state.ledger.report(batch, row, now) for row in page]
    return _write_reports(state, call, kind, len(messages), rows)


def _write_reports(
    state: State, call: Call, kind: Kind, total: int, rows: Sequence[Report]
) -> Reply:
    dialect = state.options.dialect
    match _format(call):
        case "1":
            return _replies.reports_json(dialect, kind, call.text("BID"), total, rows)
        case "2":
            return _replies.reports_xml(total, rows)
        case _:
            return _replies.reports_tab(dialect, kind, total, rows)


def get_reply_message(state: State, call: Call) -> Reply:
    """Tell what was written back to the messages of a batch, a page of it (§4.3)."""
    account = state.accounts.authenticate(call, state.now())
    bid = call.text("BID")
    batch = state.ledger.find(account.account.uid, "sms", bid)
    replies = [] if batch is None else batch.replies
    rows = _page(call, replies, state.options.reply_page_size)
    if _format(call) == "1":
        return _replies.replies_json(state.options.dialect, bid, len(replies), rows)
    return _replies.replies_tab(len(replies), rows)


def erase_booking(state: State, call: Call, kind: Kind) -> Reply:
    """Take back what of a batch did not go out yet, and give its points back (§5)."""
    now = state.now()
    account = state.accounts.authenticate(call, now)
    batch = state.ledger.find(account.account.uid, kind, call.text("BID"))
    if batch is None:
        raise Refused(_codes.NO_SUCH_BATCH)
    pending = [message for message in batch.messages if message.is_pending(now)]
    if not pending:
        raise Refused(_codes.BATCH_GONE)
    if min(message.go_at for message in pending) - now < state.options.cancel_until:
        raise Refused(_codes.BATCH_LEAVING)
    refund = sum((message.cost for message in pending), Decimal(0))
    account.credit += refund
    for message in pending:
        message.cancel()
        state.memory.forget(batch.account, message.text, message.mobile, batch.batch_id)
    return _replies.plain(f"{len(pending)},{_replies.money(refund)}")


def _page(call: Call, rows: Sequence[_Row], size: int) -> Sequence[_Row]:
    # An empty PNO is page 1.
    number = whole_number(call.text("PNO"), 1)
    if number < 1:
        raise Refused(_codes.UNKNOWN_AT_HOST)
    return rows[(number - 1) * size : number * size]


def _format(call: Call) -> str:
    # 1 is JSON and 2 is XML; whatever else is given, and nothing, is TAB.
    return call.text("RESPFORMAT").strip()
