"""The gateway as a machine without IO: a call goes in, the bytes of its reply come out."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import define, frozen

from every8d_async.simulator import _codes
from every8d_async.simulator._booking import FILTERED
from every8d_async.simulator._call import Call, Refused, Reply
from every8d_async.simulator._connection import handle_connection
from every8d_async.simulator._params import send_param
from every8d_async.simulator._queries import (
    erase_booking,
    get_credit,
    get_delivery_status,
    get_reply_message,
)
from every8d_async.simulator._replies import refusal_json, refusal_line
from every8d_async.simulator._sends import send_filtered, send_mms, send_sms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from every8d_async.simulator._state import State
    from every8d_async.simulator._values import Refusal


@frozen
class Operation:
    """What a handler does, and how it says no."""

    run: Callable[[State, Call], Reply]
    refuse: Callable[[Refusal], Reply]
    reads_json: bool = False


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "ConnectionHandler": Operation(handle_connection, refusal_json, reads_json=True),
        "SendSMS": Operation(send_sms, refusal_line),
        "SendParam": Operation(send_param, refusal_json, reads_json=True),
        FILTERED: Operation(send_filtered, refusal_line),
        "MMS/SendMMS": Operation(send_mms, refusal_line),
        "GetCredit": Operation(get_credit, refusal_line),
        "GetDeliveryStatus": Operation(partial(get_delivery_status, kind="sms"), refusal_line),
        "MMS/GetDeliveryStatus": Operation(partial(get_delivery_status, kind="mms"), refusal_line),
        "GetReplyMessage": Operation(get_reply_message, refusal_line),
        "EraseBooking": Operation(partial(erase_booking, kind="sms"), refusal_line),
        "MMS/EraseBooking": Operation(partial(erase_booking, kind="mms"), refusal_line),
    }
)


@define
class Gateway:
    """Answer calls from what the state says, and change it."""

    state: State

    def answer(self, call: Call) -> Reply:
        """Do what a call asks for; a refusal is a reply too."""
        operation = OPERATIONS[call.operation]
        try:
            if call.is_malformed:
                raise Refused(_codes.EXCEPTION)  # noqa: TRY301 - as an operation does
            return operation.run(self.state, call)
        except Refused as no:
            return operation.refuse(no.refusal)

    def refuse(self, call: Call, refusal: Refusal) -> Reply:
        """Say no to a call without looking into it."""
        return OPERATIONS[call.operation].refuse(refusal)
