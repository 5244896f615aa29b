"""
Pages of rows as the gateway writes them, TAB, JSON and XML, read into plain values of one shape.

That shape is the JSON one: ``{"SMS_COUNT": …, "DATA": [{"MOBILE": …, …}, …]}``.
"""

import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from every8d_async._codecs import read_json, read_refusal, read_text
from every8d_async._wire import BadReply, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

Plain = dict[str, Any]


@frozen
class BadRow:
    """Stands for a row that can't be read, so that it is told together with all other problems."""

    problem: str


COUNT, ROWS = "SMS_COUNT", "DATA"
# The last column came later: rows of five and of six are met (§4.2.3).
REPORT_COLUMNS = ("NAME", "MOBILE", "SEND_TIME", "COST", "STATUS", "RECEIVED_TIME")
REPLY_COLUMNS = ("NAME", "MOBILE", "CONTENT", "RECEIVED_TIME")

_LOG, _ENTRIES, _CODE, _DESCRIPTION = "SMS_LOG", "GET_DELIVERY_STATUS", "CODE", "DESCRIPTION"
_ENTRIES_COUNT = "GET_DELIVERY_STATUS_COUNT"
_ROW_TAGS = ("SMS", "MMS")
_OTHER_SPELLINGS = {"SENT_TIME": "SEND_TIME"}
_WHOLE_NUMBER = re.compile("-?[0-9]{1,9}")


def read_json_page(body: bytes) -> Plain | Refusal:
    """Read a JSON page; one without rows may lack DATA."""
    return read_json(body)


def read_report_table(body: bytes) -> Plain | Refusal:
    """Read a TAB page of delivery reports: five or six columns."""
    return _read_table(body, REPORT_COLUMNS, least=len(REPORT_COLUMNS) - 1)


def read_reply_table(body: bytes) -> Plain | Refusal:
    """Read a TAB page of replies; a text with a TAB or line end in it breaks the page."""
    return _read_table(body, REPLY_COLUMNS, least=len(REPLY_COLUMNS))


def _read_table(body: bytes, columns: tuple[str, ...], least: int) -> Plain | Refusal:
    """Read the count, alone on the first line, and one row a line."""
    whole = read_text(body)
    if refusal := read_refusal(whole):
        return refusal
    # Not the stripped text: rows may start with a TAB (empty NAME), and end with one.
    count, _, rest = body.decode("utf-8-sig").partition("\n")
    lines = [line.removesuffix("\r") for line in rest.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return {
        COUNT: count.strip(),
        ROWS: [
            _table_row(number, line.split("\t"), columns, least)
            for number, line in enumerate(lines, start=2)
        ],
    }


def _table_row(
    number: int, cells: list[str], columns: tuple[str, ...], least: int
) -> Plain | BadRow:
    if least <= len(cells) <= len(columns):
        return dict(zip(columns, cells, strict=False))
    wanted = _either(least, len(columns))
    return BadRow(f"line {number} has {len(cells)} columns, not {wanted}")


def _either(least: int, most: int) -> str:
    return str(most) if least == most else f"{least} or {most}"


def read_report_xml(body: bytes) -> Plain | Refusal:
    """Read an XML page of delivery reports, in the spelling of the text or of the capture."""
    text = read_text(body)
    if refusal := read_refusal(text):
        return refusal
    log = _parse_xml(text)
    code = (log.findtext(_CODE) or "").strip() or "0"
    if not _WHOLE_NUMBER.fullmatch(code):
        raise BadReply(f"{_CODE}: must be a whole number")
    if int(code) < 0:
        return Refusal(int(code), (log.findtext(_DESCRIPTION) or "").strip())
    return {COUNT: _xml_count(log), ROWS: [_xml_row(row) for row in _xml_rows(log)]}


def _parse_xml(text: str) -> "Element":
    from xml.etree import ElementTree as ET  # noqa: PLC0415 - 5 ms that few need

    # Without a document type there are no entities to expand; expat knows no others.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadReply("the reply holds a document type")
    try:
        log = ET.fromstring(text)  # noqa: S314 - see above
    except (ET.ParseError, ValueError):
        log = None
    if log is None or log.tag != _LOG:
        raise BadReply(f"the reply is not a {_LOG} in sound XML")
    return log


def _xml_count(log: "Element") -> str | None:
    entries = log.find(_ENTRIES)
    told = None if entries is None else entries.get("COUNT")
    return told if told is not None else log.findtext(f".//{_ENTRIES_COUNT}")


def _xml_rows(log: "Element") -> "Iterable[Element]":
    return (element for element in log.iter() if element.tag in _ROW_TAGS)


def _xml_row(row: "Element") -> Plain:
    return {_OTHER_SPELLINGS.get(cell.tag, cell.tag): cell.text or "" for cell in row}
