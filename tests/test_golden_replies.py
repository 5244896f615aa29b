"""Every literal reply of the official text, and every captured one, is read as what it says."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from every8d_async import (
    TAIPEI,
    Cancellation,
    DeliveryReport,
    DeliveryStatus,
    FilteredReceipt,
    GatewayUnavailable,
    MalformedReply,
    OutcomeUnknown,
    Receipt,
    Reply,
)
from every8d_async._convert import ReplyPage, ReportPage
from every8d_async._errors import Every8DError
from every8d_async._wire import BadReply, Refusal
from tests import kit
from tests.faulty import End, Fault, FaultyServer, instead, reply
from tests.kit import ENDPOINTS, FIRST, GOLDEN, SECOND, THIRD, golden

BATCH = "c496f706-9b0f-4ff8-9644-9503edbb7064"
EARLIER = ("a496f706-9b0f-4ff8-9644-9503edbb7064", "b496f706-9b0f-4ff8-9644-9503edbb7064")
PARAM_BATCH = "7eff1d50-8814-4f17-aa61-cb23b97987fa"
UNKNOWN = Refusal(-99, "發生不明錯誤")
ONE = Decimal("1.00")


def at(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=TAIPEI)


THEN = at(2021, 12, 16, 16, 9, 6)


def reports(*, named: bool = True, timed: bool = True, complete: bool = True) -> ReportPage:
    """Give the three reports of S 4-2-6, as much of them as a format tells."""
    return ReportPage(3, tuple(
        DeliveryReport(
            reference=str(number) if complete else "",
            name=f"Test0{number}" if named else "",
            mobile=mobile,
            sent_at=THEN,
            cost=ONE,
            code=code,
            real_cost=ONE if complete else None,
            received_at=THEN if timed else None,
        )
        for number, mobile, code in ((1, FIRST, 100), (2, SECOND, 100), (3, THIRD, 103))
    ))  # fmt: skip


def mms_report(*, complete: bool = True) -> ReportPage:
    then = at(2021, 5, 11, 14, 0, 0)
    reference, real_cost = ("1", Decimal(0)) if complete else ("", None)
    row = DeliveryReport(
        reference, "Test01", FIRST, then, Decimal("3.00"), 700, real_cost, then
    )  # fmt: skip
    return ReportPage(1, (row,))


REPLIES = ReplyPage(3, tuple(
    Reply(f"Test0{number}", mobile, f"回覆簡訊內容 0{number}", at(2021, 6, 1, 16, 56, 20))
    for number, mobile in ((1, FIRST), (2, SECOND), (3, THIRD))
))  # fmt: skip
XML_REPORT = DeliveryReport("", "", FIRST, at(2015, 9, 23, 15, 37, 5), ONE, 100)
SENDS = ["sms.send", "mms.send"]
PARAM_SENDS = [
    "sms.send_personalized",
    "sms.send_template",
    "mms.send_personalized",
    "mms.send_template",
]
FILTERED, DRY_RUN = "sms.send_filtered", "sms.send_filtered, dry run"
BOTH_REPORTS = ("sms.delivery_reports", "mms.delivery_reports")

# The reply, the operations that get it, and what it says.
GOLDEN_REPLIES: list[tuple[str, list[str], Any]] = [
    ("token.json", ["login"], "4bc40f5255fa4d89ac4950b394eca0f6"),
    ("token-done.json", ["check_token", "close_token"], True),
    ("token-refused.json", ["login", "check_token", "close_token"], Refusal(-99, "發生例外錯誤")),
    ("send.txt", SENDS, Receipt(Decimal("9610040.00"), 2, Decimal(2), 0, BATCH)),
    ("send-captured.txt", SENDS, Receipt(Decimal("285.0"), 1, Decimal("1.0"), 0, BATCH)),
    ("send-captured-2.txt", SENDS, Receipt(Decimal("4930.00"), 1, Decimal(1), 0, BATCH)),
    ("filtered-none.txt", [FILTERED],
     FilteredReceipt(Decimal("9610040.00"), 2, Decimal(2), 0, BATCH)),
    ("filtered-some.txt", [FILTERED],
     FilteredReceipt(Decimal("9610040.00"), 2, Decimal(2), 0, BATCH, (FIRST, SECOND), EARLIER)),
    ("filtered-dry-some.txt", [DRY_RUN],
     FilteredReceipt(None, 0, Decimal(0), 0, "", (FIRST, SECOND), EARLIER)),
    ("filtered-dry-none.txt", [DRY_RUN], FilteredReceipt(None, 0, Decimal(0), 0, "")),
    ("param.json", PARAM_SENDS,
     Receipt(Decimal("999630.00"), 2, Decimal(2), 0, PARAM_BATCH)),
    ("param-status.json", PARAM_SENDS,
     Receipt(Decimal("999630.00"), 2, Decimal(2), 0, PARAM_BATCH)),
    ("param-refused.json", PARAM_SENDS,
     Refusal(-28, "The sendTime format error: yyyyMMddHHmm")),
    ("credit.txt", ["credit"], Decimal("1000.00")),
    ("sms-reports.tab", ["sms.delivery_reports, TAB"], reports(complete=False)),
    ("sms-reports-captured.tab", ["sms.delivery_reports, TAB"],
     reports(named=False, timed=False, complete=False)),
    ("sms-reports.json", ["sms.delivery_reports, JSON"], reports()),
    ("sms-reports-count-text.json", ["sms.delivery_reports, JSON"], reports()),
    ("sms-reports.xml", ["sms.delivery_reports, XML", "mms.delivery_reports, XML"],
     ReportPage(1, (XML_REPORT,))),
    ("sms-reports-tables.xml", ["sms.delivery_reports, XML"],
     ReportPage(1, reports().rows[:1])),
    ("sms-reports-none.tab", [f"{name}, TAB" for name in BOTH_REPORTS], ReportPage(0)),
    ("sms-reports-none.json", [f"{name}, JSON" for name in BOTH_REPORTS], ReportPage(0)),
    ("replies.tab", ["sms.replies, TAB"], REPLIES),
    ("replies.json", ["sms.replies, JSON"], REPLIES),
    ("replies-none.tab", ["sms.replies, TAB"], ReplyPage(0)),
    ("replies-none.json", ["sms.replies, JSON"], ReplyPage(0)),
    ("mms-reports.tab", ["mms.delivery_reports, TAB"], mms_report(complete=False)),
    ("mms-reports.json", ["mms.delivery_reports, JSON"], mms_report()),
    ("mms-reports-none.tab", ["mms.delivery_reports, TAB"], ReportPage(0)),
    ("mms-reports-none.json", ["mms.delivery_reports, JSON"], ReportPage(0)),
    ("sms-cancel.txt", ["sms.cancel"], Cancellation(2, Decimal("2.00"))),
    ("mms-cancel.txt", ["mms.cancel"], Cancellation(2, Decimal("6.00"))),
    ("refused.txt", list(ENDPOINTS), UNKNOWN),
    ("query-refused.txt", list(ENDPOINTS), Refusal(-300, "帳號密碼不得為空")),
    ("refused-number-missing.txt", list(ENDPOINTS), Refusal(-27, "電話號碼不得為空")),
    ("refused-password.txt", list(ENDPOINTS), Refusal(-101, "密碼錯誤")),
    ("refused-number.txt", list(ENDPOINTS), Refusal(-306, "手機格式不符:+1-202-895-1800")),
    ("refused-unknown.txt", list(ENDPOINTS),
     Refusal(-99, "主機端發生不明錯誤，請與廠商窗口聯繫。")),
]  # fmt: skip
READINGS = [(file, name, says) for file, names, says in GOLDEN_REPLIES for name in names]
SUCCESSES = [reading for reading in READINGS if not isinstance(reading[2], Refusal)]
MUST_REFUSE = ["send-misprint.txt", "firewall.html"]

readings = pytest.mark.parametrize(("file", "name", "says"), READINGS)
successes = pytest.mark.parametrize(("file", "name", "says"), SUCCESSES)


def cuts(body: bytes, step: int = 1) -> Iterator[bytes]:
    """Give the beginnings of a reply that lack more than white space."""
    for length in range(0, len(body.rstrip()), step):
        yield body[:length]


@readings
def test_replies(file: str, name: str, says: object) -> None:
    """A golden reply is read as what its table says, to the last digit."""
    assert says == ENDPOINTS[name][0].parse(golden(file))


@readings
@pytest.mark.parametrize(
    ("before", "after"),
    [(b"\xef\xbb\xbf", b""), (b"", b"\r\n"), (b"\xef\xbb\xbf", b"\n\n")],
    ids=["byte order mark", "line end", "both"],
)
def test_what_surrounds_a_reply(
    file: str, name: str, says: object, before: bytes, after: bytes
) -> None:
    """A byte order mark before a reply and line ends after it change nothing."""
    assert says == ENDPOINTS[name][0].parse(before + golden(file) + after)


@readings
def test_other_line_ends(file: str, name: str, says: object) -> None:
    """CR LF and LF are the same everywhere, also inside what the PDF broke across lines."""
    body = golden(file).replace(b"\r\n", b"\n")
    assert says == ENDPOINTS[name][0].parse(body)
    assert says == ENDPOINTS[name][0].parse(body.replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("file", MUST_REFUSE)
def test_misprints(file: str, name: str) -> None:
    """A batch id of 35 characters is a reply that was cut; HTML is not the gateway's."""
    with pytest.raises(BadReply):
        ENDPOINTS[name][0].parse(golden(file))


@successes
def test_a_cut_reply_is_no_other_success(file: str, name: str, says: object) -> None:
    """
    Cut at any byte and ended with its connection, a reply is no success.

    But where only zeros behind the point are gone: the amount is the same.
    """
    for body in cuts(golden(file)):
        try:
            read = kit.settle(name, body, delimited=False)
        except (OutcomeUnknown, MalformedReply):
            continue
        assert says == read
        assert golden(file).removeprefix(body) in {b"0", b"00"}


@pytest.mark.parametrize(("file", "name", "says"), [
    reading for reading in SUCCESSES if "TAB" not in reading[1] and "filtered" not in reading[1]
])  # fmt: skip
def test_a_whole_reply_may_end_with_its_connection(file: str, name: str, says: object) -> None:
    """Where a reply's own form shows that it is whole, its length need not be announced."""
    assert says == kit.settle(name, golden(file), delimited=False)


@pytest.mark.parametrize("file", ["refused.txt", "refused-number.txt", "param-refused.json"])
def test_a_cut_refusal_is_no_success(file: str) -> None:
    """Nothing that begins like a refusal is a success of any operation, wherever it was cut."""
    for name in ENDPOINTS:
        for body in [golden(file), *cuts(golden(file))]:
            with pytest.raises(Every8DError):
                kit.settle(name, body, delimited=False)


@pytest.mark.anyio
async def test_replies_cut_on_the_way() -> None:
    """
    Cut short of the length that was announced, a reply is none: a query says so, a send doubts.

    On real sockets; each golden success with nothing of it, a byte, half, and all but a byte.
    """
    with FaultyServer() as server:
        async with kit.session(None, site=server.url, auth="password") as session:
            for file, name, _ in SUCCESSES:
                endpoint, args = ENDPOINTS[name]
                whole = reply(golden(file))
                body = len(golden(file))
                for missing in {body, body - 1, body - body // 2, 1} - {0}:
                    cut = Fault("cut", out=instead(whole[:-missing]), end=End.CLOSE)
                    server.add(cut)
                    expected = GatewayUnavailable if endpoint.repeatable else OutcomeUnknown
                    with pytest.raises(expected) as caught:
                        await session._driver.call(endpoint, args)
                    assert (False if endpoint.repeatable else None) is caught.value.sent


def test_statuses_of_the_samples() -> None:
    """The samples' statuses have their names: two got it, one number is wrong, an MMS was sent."""
    names = [row.status for row in (*reports().rows, *mms_report().rows)]
    assert names == [
        DeliveryStatus.DELIVERED,
        DeliveryStatus.DELIVERED,
        DeliveryStatus.NUMBER_INVALID,
        DeliveryStatus.MMS_SENT,
    ]


def test_no_golden_reply_is_forgotten() -> None:
    """Every file is read above, and ORIGIN.md tells where each one comes from."""
    files = {path.name for path in (GOLDEN / "replies").iterdir()}
    assert files == {file for file, *_ in GOLDEN_REPLIES} | set(MUST_REFUSE)
    origin = (GOLDEN / "ORIGIN.md").read_text("utf-8")
    for file in files:
        stem, _, ending = file.partition(".")
        assert file in origin or (f"{stem}.tab, .{ending}" in origin), file


def test_every_operation_has_a_golden_success() -> None:
    """No operation, in no format, goes without a golden success."""
    assert set(ENDPOINTS) == {name for _, name, _ in SUCCESSES}
