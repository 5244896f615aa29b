"""The bytes of replies, written out by hand: what they look like can be read off here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from every8d_async.simulator._call import JSON, TEXT, XML, Reply
from every8d_async.simulator._values import TAIPEI, Dialect, Kind, Refusal, Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from every8d_async.simulator._ledger import MessageReply

_FIVE = 5  # columns of TAB reports, as every public client reads them; the documents have 6


def plain(text: str) -> Reply:
    """Answer with a line of text."""
    return Reply(body=_bytes(text), content_type=TEXT)


def refusal_line(refusal: Refusal) -> Reply:
    """Refuse as `-27,電話號碼不得為空`: there is HTTP 200 for refusals too."""
    body = _bytes(f"{refusal.code},{refusal.message}")
    return Reply(body=body, content_type=TEXT, status=refusal.http_status)


def refusal_json(refusal: Refusal) -> Reply:
    """Refuse as `{"Result":false,"Status":"-99","Msg":"…"}`."""
    body = f'{{"Result":false,"Status":"{refusal.code}","Msg":{_quoted(refusal.message)}}}'
    return Reply(body=_bytes(body), content_type=JSON, status=refusal.http_status)


def success_json(dialect: Dialect, message: str | None = None) -> Reply:
    """Answer `{"Result":true}`, with a message where there is one to give."""
    status = ',"Status":"0"' if dialect.json_status else ""
    msg = "" if message is None else f',"Msg":{_quoted(message)}'
    return Reply(body=_bytes(f'{{"Result":true{status}{msg}}}'), content_type=JSON)


def money(points: Decimal) -> str:
    """Write points with two decimals."""
    return f"{points:.2f}"


def receipt(credit: Decimal, sent: int, cost: Decimal, unsent: int, batch_id: str) -> str:
    """Write `CREDIT,SENDED,COST,UNSEND,BATCHID`; the cost is a whole number."""
    return f"{money(credit)},{sent},{cost.to_integral_value()},{unsent},{batch_id}"


def reports_json(
    dialect: Dialect, kind: Kind, bid: str, total: int, rows: Sequence[Report]
) -> Reply:
    """Write a page of reports as JSON: every value of a row is a string."""
    return _page_json(dialect, bid, total, [_report_json(kind, row) for row in rows])


def _report_json(kind: Kind, row: Report) -> str:
    # In the documents' MMS sample one row has dashes in one time and slashes in the other.
    received = _dashed(row.received_at) if kind == "sms" else _slashed(row.received_at)
    real_cost = "0" if kind == "mms" and not row.real_cost else money(row.real_cost)
    return (
        f'{{"MR":{_quoted(row.reference)},"NAME":{_quoted(row.name)},"MOBILE":"{row.mobile}",'
        f'"SEND_TIME":"{_dashed(row.sent_at)}","COST":"{money(row.cost)}",'
        f'"STATUS":"{row.status}","REAL_COST":"{real_cost}","RECEIVED_TIME":"{received}"}}'
    )


def reports_tab(dialect: Dialect, kind: Kind, total: int, rows: Sequence[Report]) -> Reply:
    """Write a page of reports as TAB: a row starts with a TAB where the name is empty."""
    if kind == "mms" and not rows:
        return plain(f"{total}\r\n")  # with a line end, unlike the page without rows of an SMS
    return _page_tab(total, [_report_tab(dialect, row) for row in rows])


def _report_tab(dialect: Dialect, row: Report) -> str:
    five = f"{row.name}\t{row.mobile}\t{_slashed(row.sent_at)}\t{money(row.cost)}\t{row.status}"
    return five if dialect.tab_columns == _FIVE else f"{five}\t{_slashed(row.received_at)}"


def reports_xml(total: int, rows: Sequence[Report]) -> Reply:
    """Write a page of reports as XML, as the SOAP sibling of this API was seen to."""
    body = (
        "<SMS_LOG><CODE>0</CODE><DESCRIPTION>發送狀態查詢成功</DESCRIPTION>"
        f'<GET_DELIVERY_STATUS COUNT="{total}">'
        + "".join(_report_xml(row) for row in rows)
        + "</GET_DELIVERY_STATUS></SMS_LOG>"
    )
    return Reply(body=_bytes(body), content_type=XML)


def _report_xml(row: Report) -> str:
    name = f"<NAME>{escape(row.name)}</NAME>" if row.name else "<NAME/>"
    # The number is padded with blanks to 16 characters.
    return (
        f"<SMS>{name}<MOBILE>{row.mobile:<16}</MOBILE><SENT_TIME>{_slashed(row.sent_at)}</SENT_TIME>"
        f"<COST>{money(row.cost)}</COST><STATUS>{row.status}</STATUS></SMS>"
    )


def replies_json(dialect: Dialect, bid: str, total: int, rows: Sequence[MessageReply]) -> Reply:
    """Write a page of replies as JSON."""
    return _page_json(dialect, bid, total, [_reply_json(row) for row in rows])


def _reply_json(row: MessageReply) -> str:
    return (
        f'{{"NAME":{_quoted(row.name)},"MOBILE":"{row.mobile}","CONTENT":{_quoted(row.text)},'
        f'"RECEIVED_TIME":"{_slashed(row.received_at)}"}}'
    )


def replies_tab(total: int, rows: Sequence[MessageReply]) -> Reply:
    """Write a page of replies as TAB; a text with a TAB or a line end in it breaks the format."""
    return _page_tab(
        total,
        [f"{row.name}\t{row.mobile}\t{row.text}\t{_slashed(row.received_at)}" for row in rows],
    )


def _page_json(dialect: Dialect, bid: str, total: int, rows: list[str]) -> Reply:
    count = f'"{total}"' if dialect.count_as_text else f"{total}"
    data = f',"DATA":[{",".join(rows)}]' if rows else ""
    body = f'{{"SMS_COUNT":{count},"BID":{_quoted(bid)}{data}}}'
    return Reply(body=_bytes(body), content_type=JSON)


def _page_tab(total: int, rows: list[str]) -> Reply:
    # The first line ends with CR LF, a row with LF alone; without rows there is no line end.
    if not rows:
        return plain(f"{total}")
    return plain(f"{total}\r\n" + "".join(row + "\n" for row in rows))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _bytes(text: str) -> bytes:
    # A lone surrogate can come in through JSON, but can't go out as UTF-8.
    return text.encode("utf-8", "replace")


def _dashed(at: datetime | None) -> str:
    return "" if at is None else _written(at, "-")


def _slashed(at: datetime | None) -> str:
    return "" if at is None else _written(at, "/")


def _written(at: datetime, mark: str) -> str:
    at = at.astimezone(TAIPEI)
    return (
        f"{at.year:04}{mark}{at.month:02}{mark}{at.day:02} "
        f"{at.hour:02}:{at.minute:02}:{at.second:02}"
    )
