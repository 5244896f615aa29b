"""Pages of reports and replies: the rules for reading TAB, JSON and XML; every problem named."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async import (
    TAIPEI,
    DeliveryReport,
    DeliveryStatus,
    GatewayRefused,
    InvalidRequest,
    MalformedReply,
    Reply,
    ResponseFormat,
)
from every8d_async._convert import ReplyPage, ReportPage
from every8d_async._wire import BadReply, Refusal
from tests import kit
from tests.kit import ENDPOINTS, FIRST, SECOND, golden

THEN = datetime(2026, 1, 31, 12, 0, 5, tzinfo=TAIPEI)
STAMP = "2026/01/31 12:00:05"
TIME = "a time such as 2026-01-31 12:00:00"
KINDS = ("sms.delivery_reports", "mms.delivery_reports", "sms.replies")
IN_JSON = [f"{kind}, JSON" for kind in KINDS]
IN_TAB = [f"{kind}, TAB" for kind in KINDS]
IN_XML = ["sms.delivery_reports, XML", "mms.delivery_reports, XML"]


def read(name: str, body: str | bytes) -> Any:
    parse = ENDPOINTS[name][0].parse
    return parse(body.encode() if isinstance(body, str) else body)


def reports(body: str | bytes, respformat: str = "TAB") -> ReportPage:
    page = read(f"sms.delivery_reports, {respformat}", body)
    assert isinstance(page, ReportPage)
    return page


def replies(body: str | bytes, respformat: str = "TAB") -> ReplyPage:
    page = read(f"sms.replies, {respformat}", body)
    assert isinstance(page, ReplyPage)
    return page


def row_of(**values: Any) -> DeliveryReport:
    """Read one JSON row that has these values beside a mobile and a status."""
    row = {"MOBILE": FIRST, "STATUS": "100"} | values
    return reports(json.dumps({"SMS_COUNT": 1, "DATA": [row]}), "JSON").rows[0]


def problems(name: str, body: str | bytes) -> list[str]:
    with pytest.raises(BadReply) as caught:
        read(name, body)
    return list(caught.value.problems)


def report(name: str, code: int = 100, *, received: bool = False) -> DeliveryReport:
    return DeliveryReport(
        "", name, FIRST, THEN, Decimal("1.00"), code, None, THEN if received else None
    )


# --- TAB ---

FIVE = f"Test01\t{FIRST}\t{STAMP}\t1.00\t100"
NAMELESS = FIVE.removeprefix("Test01")


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (f"1\r\n{FIVE}\n", [report("Test01")]),
        (f"1\r\n{FIVE}\t{STAMP}\n", [report("Test01", received=True)]),
        (f"1\r\n{FIVE}\t\n", [report("Test01")]),
        (f"2\r\n{FIVE}\t{STAMP}\n{FIVE}\n", [report("Test01", received=True), report("Test01")]),
        (f"1\r\n{NAMELESS}\n", [report("")]),
        (f"2\r\n{NAMELESS}\n{NAMELESS}\n", [report(""), report("")]),
        (f"1\r\n{NAMELESS}\t\n", [report("")]),
        (f"1\n{FIVE}\n", [report("Test01")]),
        (f"1\r\n{FIVE}\r\n", [report("Test01")]),
        (f"1\r\n{FIVE}\t{STAMP}\r\n", [report("Test01", received=True)]),
        (f"1\r\n{FIVE}", [report("Test01")]),
        (f"1\r\n{NAMELESS}", [report("")]),
        (f"1\r\n{FIVE}\t", [report("Test01")]),
        (f"1\r\n{FIVE}\n\n\r\n\n", [report("Test01")]),
        (f"1 \r\n{FIVE}\n", [report("Test01")]),
        (f"\ufeff1\r\n{FIVE}\n", [report("Test01")]),
        (f"1\r\n{FIVE}".replace(FIRST, f"{FIRST}   "), [report("Test01")]),
        (f"1\r\n{FIVE}".replace(FIRST, "0900000001"), [report("Test01")]),
        (f"1\r\n{FIVE}".replace("/", "-"), [report("Test01")]),
        (f"1\r\n{FIVE}".replace("\t100", "\t-3"), [report("Test01", -3)]),
        (f"1\r\n {FIVE}", [report(" Test01")]),
        (f"1\r\n王\u2028小明{NAMELESS}", [report("王\u2028小明")]),
    ],
    ids=[
        "five columns",
        "six columns",
        "six columns, the last empty",
        "five and six",
        "starts with a TAB",
        "all start with a TAB",
        "starts and ends with a TAB",
        "LF after the count",
        "CR LF after five columns",
        "CR LF after six columns",
        "no line end at the end",
        "starts with a TAB, no line end",
        "ends with a TAB, no line end",
        "blank lines at the end",
        "blank after the count",
        "byte order mark",
        "padded mobile",
        "local mobile",
        "times with dashes",
        "negative status",
        "a name's own blank",
        "a name with a line separator",
    ],
)
def test_tab_reports(body: str, rows: list[DeliveryReport]) -> None:
    """The count alone, then a row a line; rows are never stripped, five columns or six."""
    assert rows == list(reports(body).rows)


@pytest.mark.parametrize("name", IN_TAB)
@pytest.mark.parametrize("body", ["0", "0\n", "0\r\n", "0\r\n\r\n", "\ufeff0", " 0 "])
def test_an_empty_tab_page(name: str, body: str) -> None:
    """No rows: `0` and perhaps a line end. It is called the failure; a wrong batch looks so."""
    page = read(name, body)
    assert (page.total, page.rows) == (0, ())


@pytest.mark.parametrize("name", IN_TAB)
def test_an_empty_tab_page_behind_the_last_one(name: str) -> None:
    """The count is the batch's, not the page's: it may stand over no rows at all."""
    page = read(name, "2500\r\n")
    assert (page.total, page.rows) == (2500, ())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ["SMS_COUNT: must be a whole number"]),
        ("\r\n", ["SMS_COUNT: must be a whole number"]),
        ("three", ["SMS_COUNT: must be a whole number"]),
        ("-1", ["SMS_COUNT: must not be negative"]),
        ("1.0", ["SMS_COUNT: must be a whole number"]),
        ("٣", ["SMS_COUNT: must be a whole number"]),
        ("1" * 16, ["SMS_COUNT: must be a whole number"]),
        (FIVE, ["SMS_COUNT: must be a whole number"]),
        (f"1\t{FIVE}", ["SMS_COUNT: must be a whole number"]),
        (f"1\r\n{FIVE}\t{STAMP}\tmore", ["DATA[0]: line 2 has 7 columns, not 5 or 6"]),
        (f"1\r\n{FIRST}\t{STAMP}\t1.00\t100", ["DATA[0]: line 2 has 4 columns, not 5 or 6"]),
        (f"2\r\n{FIVE}\n\n{FIVE}\n", ["DATA[1]: line 3 has 1 columns, not 5 or 6"]),
        (
            f"3\r\nx\n{FIVE}\n\t\ny\tz",
            [
                "DATA[0]: line 2 has 1 columns, not 5 or 6",
                "DATA[2]: line 4 has 2 columns, not 5 or 6",
                "DATA[3]: line 5 has 2 columns, not 5 or 6",
            ],
        ),
        (
            f"1\r\n王\t小明{NAMELESS}",
            [
                f"DATA[0].SEND_TIME: must be {TIME}",
                "DATA[0].COST: must be an amount of points",
                "DATA[0].STATUS: must be a whole number",
                f"DATA[0].RECEIVED_TIME: must be {TIME}",
            ],
        ),
        (f"1\r\n{FIVE}".replace("100", ""), ["DATA[0].STATUS: must be a whole number"]),
        (
            f"x\r\n{FIVE}\n{FIVE}".replace("1.00", "free"),
            [
                "SMS_COUNT: must be a whole number",
                "DATA[0].COST: must be an amount of points",
                "DATA[1].COST: must be an amount of points",
            ],
        ),
        (
            f"x\r\nx\n{FIVE}\n{FIVE}\t\t\n".replace("1.00", "free"),
            [
                "SMS_COUNT: must be a whole number",
                "DATA[0]: line 2 has 1 columns, not 5 or 6",
                "DATA[1].COST: must be an amount of points",
                "DATA[2]: line 4 has 7 columns, not 5 or 6",
            ],
        ),
    ],
    ids=[
        "nothing",
        "a line end",
        "a word",
        "negative count",
        "a fraction",
        "other digits",
        "a count without end",
        "no count",
        "count in the first row",
        "seven columns",
        "four columns",
        "a blank line between rows",
        "every bad line",
        "a TAB in a name",
        "no status",
        "every bad value",
        "bad lines, bad values and a bad count",
    ],
)
def test_broken_tab_reports(body: str, expected: list[str]) -> None:
    """Every line that has the wrong number of columns is named, and every bad value."""
    assert expected == problems("sms.delivery_reports, TAB", body)


def test_tab_replies() -> None:
    """Four columns; an empty text, and an empty name, are a reply's right."""
    body = f"3\r\nTest01\t{FIRST}\t好 的\t{STAMP}\n\t{SECOND}\t\t{STAMP}\n\t{FIRST}\tno time\t"
    assert replies(body) == ReplyPage(
        3,
        (
            Reply("Test01", FIRST, "好 的", THEN),
            Reply("", SECOND, "", THEN),
            Reply("", FIRST, "no time", None),
        ),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\tb", ["DATA[1]: line 3 has 5 columns, not 4"]),
        ("a\nb", ["DATA[1]: line 3 has 3 columns, not 4", "DATA[2]: line 4 has 2 columns, not 4"]),
        (
            "a\r\nb",
            ["DATA[1]: line 3 has 3 columns, not 4", "DATA[2]: line 4 has 2 columns, not 4"],
        ),
        ("a\n", ["DATA[1]: line 3 has 3 columns, not 4", "DATA[2]: line 4 has 2 columns, not 4"]),
        (
            "a\n\nb\tc",
            [
                "DATA[1]: line 3 has 3 columns, not 4",
                "DATA[2]: line 4 has 1 columns, not 4",
                "DATA[3]: line 5 has 3 columns, not 4",
            ],
        ),
    ],
    ids=["TAB", "LF", "CR LF", "at its end", "both"],
)
def test_a_reply_s_text_breaks_a_tab_page(text: str, expected: list[str]) -> None:
    """A TAB or a line end in somebody's text is not taken for columns or rows."""
    body = f"2\r\n\t{FIRST}\tfine\t{STAMP}\n\t{SECOND}\t{text}\t{STAMP}\n"
    assert expected == problems("sms.replies, TAB", body)


@pytest.mark.anyio
async def test_a_broken_tab_page_names_line_and_columns() -> None:
    """The caller hears where a page broke, and reads nobody's text in the excerpt."""
    body = f"1\r\nTest01\t{FIRST}\tmy secret\tplan\t{STAMP}\n".encode()
    async with kit.session(kit.answering(body)) as session:
        with pytest.raises(MalformedReply) as caught:
            await session.sms.replies("batch", response_format=ResponseFormat.TAB).collect()
    assert caught.value.problems == ("DATA[0]: line 2 has 5 columns, not 4",)
    assert "DATA[0]: line 2 has 5 columns, not 4" in str(caught.value)
    assert "secret" not in caught.value.excerpt + str(caught.value)
    assert caught.value.page == 1


# --- JSON ---


@pytest.mark.parametrize("name", IN_JSON)
@pytest.mark.parametrize(
    ("body", "total"),
    [
        ('{"SMS_COUNT": 0, "BID": ""}', 0),
        ('{"SMS_COUNT": "0", "BID": ""}', 0),
        ('{"SMS_COUNT": 2500, "DATA": []}', 2500),
        ('{"SMS_COUNT": " 2500 ", "DATA": null}', 2500),
        ('{"SMS_COUNT": 0, "BID": "not what was asked for"}', 0),
        ('\ufeff{"SMS_COUNT": 0}\r\n', 0),
        ('{"Result": true, "SMS_COUNT": 0}', 0),
    ],
    ids=[
        "without DATA",
        "count as text",
        "empty DATA",
        "null DATA",
        "another batch",
        "byte order mark",
        "Result too",
    ],
)
def test_an_empty_json_page(name: str, body: str, total: int) -> None:
    """No rows: without DATA; the count may be a digit string, and BID is not checked."""
    page = read(name, body)
    assert (total, ()) == (page.total, page.rows)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        ({"MR": "a-1"}, {"reference": "a-1"}),
        ({"NAME": "王 小明 "}, {"name": "王 小明 "}),
        ({"NAME": None, "MR": None}, {}),
        ({"MOBILE": f" {FIRST}  "}, {}),
        ({"MOBILE": "0900-000-001"}, {}),
        ({"MOBILE": "886900000001"}, {}),
        ({"MOBILE": "not one"}, {"mobile": "not one"}),
        ({"STATUS": 100}, {}),
        ({"STATUS": " 100 "}, {}),
        ({"STATUS": "-10"}, {"code": -10}),
        ({"STATUS": "4711"}, {"code": 4711}),
        ({"SEND_TIME": STAMP}, {"sent_at": THEN}),
        ({"SEND_TIME": STAMP.replace("/", "-")}, {"sent_at": THEN}),
        (
            {"SEND_TIME": STAMP, "RECEIVED_TIME": STAMP.replace("/", "-")},
            {"sent_at": THEN, "received_at": THEN},
        ),
        ({"RECEIVED_TIME": ""}, {}),
        ({"COST": "1.5"}, {"cost": Decimal("1.5")}),
        ({"COST": 1.5, "REAL_COST": 0}, {"cost": Decimal("1.5"), "real_cost": Decimal(0)}),
        ({"COST": "-1.00", "REAL_COST": ""}, {"cost": Decimal("-1.00")}),
        ({"MSGID": "1", "Extra": {"deep": [1]}}, {}),
    ],
    ids=lambda value: ", ".join(f"{k}={v!r}" for k, v in value.items())[:60] or "bare",
)
def test_json_rows(values: dict[str, Any], expected: dict[str, Any]) -> None:
    """Values are texts or numbers, dates of both spellings; fields may be extra, empty, missing."""
    bare: dict[str, Any] = {
        "reference": "", "name": "", "mobile": FIRST, "sent_at": None, "cost": None, "code": 100,
    }  # fmt: skip
    assert DeliveryReport(**(bare | expected)) == row_of(**values)


@pytest.mark.parametrize("code", [-6, -9, -32, 1, 107, 302, 888, 4711, -(10**14)])
@pytest.mark.parametrize("as_text", [True, False])
def test_unknown_statuses_pass_through(code: int, *, as_text: bool) -> None:
    """A status nobody listed is data: it never breaks a page."""
    row = row_of(STATUS=str(code) if as_text else code)
    assert code == row.code
    assert row.status in {
        DeliveryStatus.UNKNOWN,
        DeliveryStatus.DELIVERED_LATE,
        DeliveryStatus.TEST_MODE,
    }


def test_a_row_needs_little() -> None:
    """A report needs mobile and status, a reply mobile and text; all else may be missing."""
    page = replies('{"SMS_COUNT": 1, "DATA": [{"MOBILE": "0900000001", "CONTENT": "OK"}]}', "JSON")
    assert ReplyPage(1, (Reply("", FIRST, "OK", None),)) == page


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ""), (None, ""), ("a\tb\r\n\u2028|&+%😀", "a\tb\r\n\u2028|&+%😀"), (" x ", " x ")],
    ids=["empty", "null", "all sorts", "blanks"],
)
def test_a_reply_s_text_in_json(text: str | None, expected: str) -> None:
    """In JSON a text may hold anything, and comes as it was written."""
    body = json.dumps({"SMS_COUNT": 1, "DATA": [{"MOBILE": FIRST, "CONTENT": text}]})
    assert expected == replies(body, "JSON").rows[0].text


def test_every_problem_of_a_json_page() -> None:
    """Every problem of a page is listed, with its path on the wire; no value is quoted."""
    rows = [
        {"MOBILE": FIRST, "STATUS": "100"},
        7,
        {"MOBILE": 5, "STATUS": "done", "NAME": 1, "MR": [], "SEND_TIME": "yesterday",
         "RECEIVED_TIME": 20260131, "COST": "1,5", "REAL_COST": [1]},
        {"STATUS": 100.0},
    ]  # fmt: skip
    body = json.dumps({"SMS_COUNT": "many", "DATA": rows})
    assert problems("sms.delivery_reports, JSON", body) == [
        "SMS_COUNT: must be a whole number",
        "DATA[1]: must be an object",
        "DATA[2].MR: must be a text",
        "DATA[2].NAME: must be a text",
        "DATA[2].MOBILE: must be a text",
        f"DATA[2].SEND_TIME: must be {TIME}",
        "DATA[2].COST: must be an amount of points",
        "DATA[2].STATUS: must be a whole number",
        "DATA[2].REAL_COST: must be an amount of points",
        "DATA[2].RECEIVED_TIME: must be a time",
        "DATA[3].MOBILE: is missing",
        "DATA[3].STATUS: must be a whole number",
    ]


@pytest.mark.parametrize("name", IN_JSON)
@pytest.mark.parametrize(
    "body",
    [
        "", "null", "[]", "0", '"text"', "{", "{]", '{"SMS_COUNT": NaN}', '{"SMS_COUNT": Infinity}',
        '{"SMS_COUNT": 0} more', '{"SMS_COUNT": 0}{"SMS_COUNT": 0}', "{" * 100000,
        '{"SMS_COUNT": ' + "9" * 5000 + "}", '{"a":' * 100000, "\x00", '{"Result": 1}',
        '{"Result": null, "SMS_COUNT": 0}',
    ],
    ids=lambda body: repr(body[:20]),
)  # fmt: skip
def test_what_is_no_json_page(name: str, body: str) -> None:
    """Anything but one JSON object is no page, however deep or long it is."""
    assert problems(name, body)


def test_every_page_is_utf8() -> None:
    """Bytes of another encoding are a problem of the page, in every format."""
    body = "3\r\n王小明".encode("big5")
    for name in IN_TAB + IN_JSON + IN_XML:
        assert problems(name, body) == ["the reply is not UTF-8"]


# --- XML ---


def xml(inner: str, count: str = ' COUNT="1"') -> str:
    return (
        "<SMS_LOG><CODE>0</CODE><DESCRIPTION>發送狀態查詢成功</DESCRIPTION>"
        f"<GET_DELIVERY_STATUS{count}>{inner}</GET_DELIVERY_STATUS></SMS_LOG>"
    )


ROW = f"<SMS><NAME/><MOBILE>{FIRST}</MOBILE><STATUS>100</STATUS></SMS>"
BARE = DeliveryReport("", "", FIRST, None, None, 100)


@pytest.mark.parametrize("tag", ["SENT_TIME", "SEND_TIME"])
@pytest.mark.parametrize("stamp", [STAMP, STAMP.replace("/", "-")])
def test_both_names_of_a_time_in_xml(tag: str, stamp: str) -> None:
    """The table says SEND_TIME and SENT_TIME, the capture SENT_TIME: both are read."""
    body = xml(ROW.replace("</SMS>", f"<{tag}>{stamp}</{tag}></SMS>"))
    assert reports(body, "XML").rows[0].sent_at == THEN


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (xml(ROW), ReportPage(1, (BARE,))),
        (xml(ROW, ' COUNT=" 1 "'), ReportPage(1, (BARE,))),
        (
            f"<SMS_LOG><GET_DELIVERY_STATUS_COUNT>7</GET_DELIVERY_STATUS_COUNT>{ROW}</SMS_LOG>",
            ReportPage(7, (BARE,)),
        ),
        (
            xml(f"<GET_DELIVERY_STATUS_COUNT>7</GET_DELIVERY_STATUS_COUNT>{ROW}", ""),
            ReportPage(7, (BARE,)),
        ),
        (
            xml("<GET_DELIVERY_STATUS_COUNT>8</GET_DELIVERY_STATUS_COUNT>", ' COUNT="7"'),
            ReportPage(7),
        ),
        (xml("", ' COUNT="0"'), ReportPage(0)),
        (xml("", ' COUNT="2500"'), ReportPage(2500)),
        (xml(ROW.replace("SMS>", "MMS>")), ReportPage(1, (BARE,))),
        (xml(ROW.replace(FIRST, f"\n  {FIRST}   ")), ReportPage(1, (BARE,))),
        (xml(ROW.replace("<STATUS>", "<EXTRA><DEEP/></EXTRA><STATUS>")), ReportPage(1, (BARE,))),
        (f'<?xml version="1.0" encoding="big5"?>\n{xml(ROW)}', ReportPage(1, (BARE,))),
        (f"\ufeff{xml(ROW)}\r\n", ReportPage(1, (BARE,))),
        (f"<!-- a comment -->{xml(ROW)}", ReportPage(1, (BARE,))),
        (
            xml(ROW.replace("<NAME/>", "<NAME>A&amp;B &#26446;</NAME>")),
            ReportPage(1, (DeliveryReport("", "A&B 李", FIRST, None, None, 100),)),
        ),
        (
            xml(ROW.replace(
                "<NAME/>",
                "<MR>r-1</MR><NAME>a</NAME><COST>1.50</COST><REAL_COST>1.00</REAL_COST>"
                f"<RECEIVED_TIME>{STAMP}</RECEIVED_TIME>",
            )),
            ReportPage(1, (
                DeliveryReport(
                    "r-1", "a", FIRST, None, Decimal("1.50"), 100, Decimal("1.00"), THEN
                ),
            )),
        ),
        (xml(ROW).replace("<CODE>0</CODE>", ""), ReportPage(1, (BARE,))),
        (xml(ROW).replace("<CODE>0</CODE>", "<CODE/>"), ReportPage(1, (BARE,))),
    ],
    ids=[
        "count an attribute", "count padded", "count an element", "count an element inside",
        "attribute before element", "no rows", "behind the last page", "MMS rows", "padded mobile",
        "extra elements", "declared encoding", "byte order mark", "comment", "references",
        "every field", "no code", "empty code",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", IN_XML)
def test_xml_reports(name: str, body: str, page: ReportPage) -> None:
    """Both spellings, padded mobiles, the count as attribute or element, fields where present."""
    assert page == read(name, body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", ["the reply is not a SMS_LOG in sound XML"]),
        ("<SMS_LOG>", ["the reply is not a SMS_LOG in sound XML"]),
        ("<LOG/>", ["the reply is not a SMS_LOG in sound XML"]),
        (xml(ROW) + "<more/>", ["the reply is not a SMS_LOG in sound XML"]),
        (xml(ROW).replace("<NAME/>", "<NAME>&eacute;</NAME>"),
         ["the reply is not a SMS_LOG in sound XML"]),
        (xml(ROW).replace("<NAME/>", "<NAME>\x00</NAME>"),
         ["the reply is not a SMS_LOG in sound XML"]),
        ("<SMS_LOG/>", ["SMS_COUNT: must be a whole number"]),
        (xml(ROW, ""), ["SMS_COUNT: must be a whole number"]),
        (xml(ROW, ' COUNT="x"'), ["SMS_COUNT: must be a whole number"]),
        (xml("<SMS/>"), ["DATA[0].MOBILE: is missing", "DATA[0].STATUS: is missing"]),
        (
            xml(ROW + ROW.replace("100", "") + ROW.replace("<NAME/>", "<COST>free</COST>")),
            ["DATA[1].STATUS: must be a whole number", "DATA[2].COST: must be an amount of points"],
        ),
        (xml(ROW).replace("<CODE>0", "<CODE>none"), ["CODE: must be a whole number"]),
        (xml(ROW).replace("<CODE>0", "<CODE>-" + "9" * 5000), ["CODE: must be a whole number"]),
        (xml(ROW).replace("<CODE>0", "<CODE>-٣"), ["CODE: must be a whole number"]),
    ],
    ids=[
        "nothing", "cut", "another root", "two roots", "undefined entity", "NUL", "empty",
        "no count", "bad count", "empty row", "bad values", "code a word", "code without end",
        "code in other digits",
    ],
)  # fmt: skip
def test_broken_xml_reports(body: str, expected: list[str]) -> None:
    """What is no sound SMS_LOG is said to be none; inside one, every problem has its path."""
    assert expected == problems("sms.delivery_reports, XML", body)


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS + xml(ROW.replace("<NAME/>", "<NAME>&c;</NAME>")),
        "<!DOCTYPE SMS_LOG>" + xml(ROW),
        '<!DOCTYPE SMS_LOG SYSTEM "file:///etc/passwd">' + xml(ROW),
        '<?xml version="1.0"?>\n\n<!DOCTYPE SMS_LOG []>' + xml(ROW),
        xml(ROW.replace("<NAME/>", '<NAME><!ENTITY a "b"></NAME>')),
        golden("firewall.html").decode(),
    ],
    ids=["many laughs", "bare", "external", "after the declaration", "entity", "firewall page"],
)
@pytest.mark.parametrize("name", IN_XML)
def test_a_document_type_is_refused(name: str, body: str) -> None:
    """A DOCTYPE or an ENTITY is refused unread: nothing is expanded, nothing is fetched."""
    assert problems(name, body) == ["the reply holds a document type"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_no_document_type_hides_in_another_encoding(encoding: str) -> None:
    """A document type that UTF-16 hides from a search for it is no UTF-8, or no XML."""
    body = (LAUGHS + xml(ROW)).encode(encoding)
    assert problems("sms.delivery_reports, XML", body)


def test_deep_xml_is_read_without_recursion() -> None:
    """Elements nested without end are one page without a count, not a crash."""
    body = "<SMS_LOG>" + "<a>" * 50000 + "</a>" * 50000 + "</SMS_LOG>"
    assert problems("sms.delivery_reports, XML", body) == ["SMS_COUNT: must be a whole number"]


@pytest.mark.parametrize("name", IN_XML)
@pytest.mark.parametrize(
    ("code", "description", "refusal"),
    [
        ("-99", "發生不明錯誤", Refusal(-99, "發生不明錯誤")),
        (" -100\n", "  查無帳號 ", Refusal(-100, "查無帳號")),
        ("-1", "", Refusal(-1, "")),
    ],
)
def test_a_negative_code_in_xml_is_a_refusal(
    name: str, code: str, description: str, refusal: Refusal
) -> None:
    """CODE below zero is the gateway's «no», with DESCRIPTION its words; rows don't count then."""
    body = (
        f"<SMS_LOG><CODE>{code}</CODE><DESCRIPTION>{description}</DESCRIPTION>"
        f'<GET_DELIVERY_STATUS COUNT="1">{ROW}</GET_DELIVERY_STATUS></SMS_LOG>'
    )
    assert refusal == read(name, body)


# --- all formats ---


@pytest.mark.parametrize("name", IN_TAB + IN_JSON + IN_XML)
@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ("-99,發生不明錯誤", Refusal(-99, "發生不明錯誤")),
        ("-99, 主機端發生不明錯誤，請與廠商窗口聯繫。", Refusal(
            -99, "主機端發生不明錯誤，請與廠商窗口聯繫。")),
        ("\ufeff-300,帳號密碼不得為空\r\n", Refusal(-300, "帳號密碼不得為空")),
        ("-306,手機格式不符:+1-202-895-1800,+1", Refusal(-306, "手機格式不符:+1-202-895-1800,+1")),
        ("-1,two\nlines\tand a TAB", Refusal(-1, "two\nlines\tand a TAB")),
    ],
    ids=["plain", "a blank after the comma", "surrounded", "commas in the message", "lines"],
)  # fmt: skip
def test_a_query_may_be_refused(name: str, body: str, refusal: Refusal) -> None:
    """In every format `code,message` is a refusal, split at its first comma."""
    assert refusal == read(name, body)


@pytest.mark.parametrize("name", IN_JSON)
@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ('{"Result": false, "Status": "-100", "Msg": "查無帳號"}', Refusal(-100, "查無帳號")),
        ('{"Result": false, "Status": -100, "Msg": "x", "SMS_COUNT": 0}', Refusal(-100, "x")),
        ('{"Result": false}', Refusal(0, "")),
        ('{"Result": false, "Status": "soon", "Msg": null}', Refusal(0, "")),
        ('{"Result": false, "Status": 1e999, "Msg": 5}', Refusal(0, "")),
    ],
    ids=["texts", "a number", "bare", "no code", "a code without end"],
)
def test_a_json_query_may_be_refused_in_json(name: str, body: str, refusal: Refusal) -> None:
    """`Result` alone decides; a «no» stays one without its reasons."""
    assert refusal == read(name, body)


@pytest.mark.parametrize("name", IN_TAB + IN_JSON + IN_XML)
def test_html_is_no_page(name: str) -> None:
    """A page of something in front of the gateway is malformed in every format."""
    assert problems(name, "<html><body><h1>Service Unavailable</h1></body></html>")
    assert problems(name, golden("firewall.html"))


FETCHES: list[tuple[str, ResponseFormat]] = [
    ("sms", ResponseFormat.TAB),
    ("sms", ResponseFormat.JSON),
    ("sms", ResponseFormat.XML),
    ("mms", ResponseFormat.TAB),
    ("mms", ResponseFormat.JSON),
    ("mms", ResponseFormat.XML),
]


@pytest.mark.anyio
@pytest.mark.parametrize(("kind", "respformat"), FETCHES)
async def test_what_a_caller_gets_of_a_bad_page(kind: str, respformat: ResponseFormat) -> None:
    """HTML is MalformedReply, `code,message` is GatewayRefused; both name the page."""
    for body, error in (
        (golden("firewall.html"), MalformedReply),
        ("-7,不行".encode(), GatewayRefused),
    ):
        async with kit.session(kit.answering(body)) as session:
            side = session.sms if kind == "sms" else session.mms
            pager = side.delivery_reports("batch", start_page=3, response_format=respformat)
            with pytest.raises(error) as caught:
                await pager.collect()
        assert caught.value.page == 3
        assert caught.value.operation == f"{kind}.delivery_reports"
        assert caught.value.sent is False


@pytest.mark.parametrize("response_format", [[], {}, "json", None, 3, -1, 1.5], ids=repr)
def test_formats_that_there_are_not(response_format: Any) -> None:
    """TAB, JSON and XML are all there are, whatever else is handed in; replies have no XML."""
    session = kit.session(kit.refusing())
    for make in (session.sms.delivery_reports, session.mms.delivery_reports, session.sms.replies):
        with pytest.raises(InvalidRequest) as caught:
            make("batch", response_format=response_format)
        assert caught.value.problems == ("response_format: can't be had for this query",)
    with pytest.raises(InvalidRequest):
        session.sms.replies("batch", response_format=ResponseFormat.XML)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs"])),
            st.sampled_from([FIRST, SECOND, "+12025550123"]),
            st.sampled_from([-10, 0, 100, 300, 4711]),
            st.booleans(),
        ),
        max_size=5,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["\n", "\r\n"]),
)
@settings(deadline=None)
def test_any_tab_page_is_read_as_it_was_written(
    rows: list[tuple[str, str, int, bool]], first: str, others: str
) -> None:
    """Whatever names there are, and however lines end, each row keeps its columns."""
    body = f"{len(rows)}{first}" + "".join(
        f"{name}\t{mobile}\t{STAMP}\t1.00\t{code}{f'{chr(9)}{STAMP}' if timed else ''}{others}"
        for name, mobile, code, timed in rows
    )
    assert reports(body) == ReportPage(
        len(rows),
        tuple(
            DeliveryReport(
                "", name, mobile, THEN, Decimal("1.00"), code, None, THEN if timed else None
            )
            for name, mobile, code, timed in rows
        ),
    )
