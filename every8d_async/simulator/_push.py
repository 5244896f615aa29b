"""
Push reports as they go on the wire (§6): where to, and the query string byte for byte.

The shape is a recorded one: lower-case hex, `+` for a space, `SM` in delivery reports too, and four
names (CustID, UserNo, USERID, SOURCE's place) that the documents lack or put elsewhere.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit
from uuid import NAMESPACE_OID, uuid5

from attrs import field, frozen, validators

from every8d_async.simulator._server import is_loopback
from every8d_async.simulator._values import TAIPEI, Kind, Push

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from every8d_async.simulator._ledger import BatchState
    from every8d_async.simulator._state import State

Method = Literal["GET", "POST"]
Encoding = Literal["utf-8", "big5"]

REPLY = 999
_CODECS: Mapping[str, str] = {"utf-8": "utf-8", "big5": "cp950"}  # to Windows BIG5 is cp950
# What .NET's UrlEncode leaves as it is.
_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.!*()")


@frozen(kw_only=True)
class PushTarget:
    """Where reports are pushed to, and how; `Simulator.push_to` says what each one means."""

    url: str
    method: Method = field(default="GET", validator=validators.in_(("GET", "POST")))
    encoding: Encoding = field(default="utf-8", validator=validators.in_(tuple(_CODECS)))
    tries: int = field(default=3, validator=validators.ge(1))
    pause: timedelta = field(default=timedelta(seconds=1), validator=validators.ge(timedelta(0)))
    repeat: float = field(default=0.0, validator=[validators.ge(0), validators.le(1)])
    connections: int = field(default=4, validator=validators.ge(1))
    allow_remote: bool = False

    def __attrs_post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"{self.url!r} is no http:// URL")
        if not self.allow_remote and not is_loopback(parts.hostname):
            raise ValueError(f"{self.url!r} is not on loopback; allow_remote permits it")


def take_due(state: State, encoding: Encoding) -> list[Push]:
    """Give what is to be pushed now: messages that have become final, and replies."""
    now = state.now()
    ledger = state.ledger
    due = [
        _push(
            batch,
            encoding,
            mobile=report.mobile,
            at=report.received_at or now,
            status=report.status,
            text=report.text,
            sent_at=report.sent_at,
            reference=report.reference,
            name=report.name,
            charge=_whole(report.real_cost),
        )
        for batch, report in ledger.take_final(now)
    ]
    replies, ledger.unpushed_replies = ledger.unpushed_replies, []
    return due + [
        _push(
            batch,
            encoding,
            mobile=reply.mobile,
            at=reply.received_at,
            status=REPLY,
            text=reply.text,
            sent_at=message.go_at,
            reference=message.reference,
            name=reply.name,
            charge="0",
        )
        for batch, message, reply in replies
    ]


def _push(
    batch: BatchState,
    encoding: Encoding,
    *,
    mobile: str,
    at: datetime,
    status: int,
    text: str,
    sent_at: datetime,
    reference: str,
    name: str,
    charge: str,
) -> Push:
    values = {
        "BatchID": batch.batch_id,
        "RM": mobile,
        "RT": _moment(at),
        "STATUS": str(status),
        "SM": text,
        "CustID": str(uuid5(NAMESPACE_OID, f"customer {batch.account}")),
        "UserNo": str(uuid5(NAMESPACE_OID, f"user {batch.account}")),
        "ST": _moment(sent_at),
        "MR": reference,
        "SUBJECT": batch.subject,
        "NAME": name,
        "USERID": batch.account,
        "SOURCE": "",
        "CHARGE": charge,
        "TYPE": _TYPES[batch.kind],
        "MSGID": "",
    }
    codec = _CODECS[encoding]
    query = "&".join(f"{name}={_quoted(value, codec)}" for name, value in values.items())
    return Push(batch_id=batch.batch_id, mobile=mobile, status=status, query=query)


_TYPES: Mapping[Kind, str] = {"sms": "SMS", "mms": "MMS"}


def _quoted(text: str, codec: str) -> str:
    # What an encoding lacks is a question mark, as in .NET.
    return "".join(map(_escaped, text.encode(codec, "replace")))


def _escaped(byte: int) -> str:
    if byte in _SAFE:
        return chr(byte)
    return "+" if byte == ord(" ") else f"%{byte:02x}"


def _whole(points: Decimal) -> str:
    return str(points.to_integral_value())


def _moment(at: datetime) -> str:
    at = at.astimezone(TAIPEI)
    return f"{at.year:04}{at:%m%d%H%M%S}"
