"""The operations that take one text to many numbers, as a form: SMS, filtered SMS, MMS."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from attrs import evolve

from every8d_async.simulator import _codes, _pictures
from every8d_async.simulator._booking import Order, Recipient, book
from every8d_async.simulator._call import Refused
from every8d_async.simulator._reading import is_false, moment, numbers, whole_number
from every8d_async.simulator._replies import plain, receipt

if TYPE_CHECKING:
    from every8d_async.simulator._accounts import AccountState
    from every8d_async.simulator._call import Call, Reply
    from every8d_async.simulator._state import State
    from every8d_async.simulator._values import Refusal

_DAY_OF_MINUTES = 1440
_NOTHING = Decimal(0)


def send_sms(state: State, call: Call) -> Reply:
    """Send one text to many (§2.2)."""
    account, order = _read_sms(state, call)
    return plain(book(state, account, order).receipt)


def send_filtered(state: State, call: Call) -> Reply:
    """Send one text to those who did not get it within 24 hours, or only tell who did (§2.5)."""
    account, order = _read_sms(state, call)
    fresh, repeats = _sift(state, account, order)
    if is_false(call.text("ISSEND")):
        known = [(mobile, batch) for mobile, batch in repeats if batch]
        return plain("0,0,0," + _repeats(known, ""))
    if not fresh:
        nothing = receipt(account.credit, 0, _NOTHING, 0, "")
        return plain(nothing + _repeats(repeats, ""))
    booked = book(state, account, evolve(order, recipients=fresh))
    return plain(booked.receipt + _repeats(repeats, booked.batch.batch_id))


def _sift(
    state: State, account: AccountState, order: Order
) -> tuple[list[Recipient], list[tuple[str, str]]]:
    """Part those who are new to a text from repeats; one within the request has no batch yet."""
    uid, now = account.account.uid, state.now()
    fresh: dict[str, Recipient] = {}
    repeats: list[tuple[str, str]] = []
    for recipient in order.recipients:
        batch = state.memory.batch_of(uid, recipient.text, recipient.mobile, now)
        if batch is None and recipient.mobile not in fresh:
            fresh[recipient.mobile] = recipient
        else:
            repeats.append((recipient.mobile, batch or ""))
    return list(fresh.values()), repeats


def _repeats(repeats: list[tuple[str, str]], batch_id: str) -> str:
    if not repeats:
        return ""
    mobiles = "/".join(mobile for mobile, _ in repeats)
    return f",{mobiles},{'/'.join(batch or batch_id for _, batch in repeats)}"


def send_mms(state: State, call: Call) -> Reply:
    """Send a picture with one text to many (§3.3)."""
    account, mobiles = _read_numbers(state, call)
    subject, text = call.text("SB"), call.text("MSG")
    _pictures.check_domestic(mobiles)
    _pictures.check_subject(subject, required=True)
    picture = _pictures.read_picture(call)
    _pictures.check_size(picture, [text])
    at, fate = moment(call.text("ST")), _pictures.text_fate(text)
    order = Order(
        operation=call.operation,
        subject=subject,
        valid_minutes=valid_minutes(call),
        event_id=event_id(account, call),
        picture=picture,
        recipients=[
            Recipient(mobile=mobile, text=text, scheduled_for=at, fate=fate) for mobile in mobiles
        ],
    )
    return plain(book(state, account, order).receipt)


def _read_sms(state: State, call: Call) -> tuple[AccountState, Order]:
    account, mobiles = _read_numbers(state, call)
    text = call.text("MSG")
    if not text:
        raise Refused(_codes.NO_TEXT)
    at = moment(call.text("ST"))
    order = Order(
        operation=call.operation,
        subject=call.text("SB"),
        valid_minutes=valid_minutes(call),
        event_id=event_id(account, call),
        picture=None,
        recipients=[Recipient(mobile=m, text=text, scheduled_for=at) for m in mobiles],
    )
    return account, order


def _read_numbers(state: State, call: Call) -> tuple[AccountState, list[str]]:
    if call.is_json:
        # A JSON body is not looked into, so that there is no number: -27 is what was recorded.
        raise Refused(_codes.NO_NUMBER)
    account = state.accounts.authenticate(call, state.now())
    return account, numbers(call.text("DEST"))


def valid_minutes(call: Call, stumble: Refusal = _codes.UNKNOWN_AT_HOST) -> int:
    """Read RETRYTIME: minutes, a day where none is given."""
    return whole_number(call.text("RETRYTIME"), _DAY_OF_MINUTES, stumble)


def event_id(account: AccountState, call: Call) -> str:
    """Read EventID; -1 asks for the default channel, which the account must have."""
    event = call.text("EVENTID").strip()
    if event == "-1" and not account.account.default_channel:
        raise Refused(_codes.NO_CHANNEL)
    return event
