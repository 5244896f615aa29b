"""Delivery reports, replies and cancelled bookings: their life, and their bytes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from every8d_async.simulator import Account, Dialect, Simulator

from .kit import DEMO, START, ask, batch, cancel, make, reports, sms, statuses

STUMBLED = "-99, 主機端發生不明錯誤，請與廠商窗口聯繫。"
SOON = "20260102040405"  # an hour from the start
HOUR = timedelta(hours=1)


def replies(simulator: Simulator, batch_id: str, **fields: str) -> bytes:
    """Ask for replies as the demo account, in JSON where nothing else is said."""
    fields = {**DEMO, "BID": batch_id, "RESPFORMAT": "1", **fields}
    return ask(simulator, "GetReplyMessage.ashx", fields).body


def test_waiting_then_final(simulator: Simulator) -> None:
    """A message waits with 0 until the delay has passed, and then is delivered."""
    sms(simulator)
    assert statuses(simulator, batch(1)) == ["0"]
    simulator.advance(timedelta(seconds=5) - timedelta(microseconds=1))
    assert statuses(simulator, batch(1)) == ["0"]

    simulator.advance(timedelta(microseconds=1))

    assert statuses(simulator, batch(1)) == ["100"]


def test_scheduled(simulator: Simulator) -> None:
    """A booking shows 300 until its time, then goes the way of all messages."""
    sms(simulator, ST=SOON)
    assert statuses(simulator, batch(1)) == ["300"]
    simulator.advance(HOUR - timedelta(microseconds=1))
    assert statuses(simulator, batch(1)) == ["300"]
    simulator.advance(timedelta(microseconds=1))
    assert statuses(simulator, batch(1)) == ["0"]

    simulator.advance(timedelta(seconds=5))

    assert reports(simulator, batch(1)).json["DATA"][0]["SEND_TIME"] == "2026-01-02 04:04:05"
    assert statuses(simulator, batch(1)) == ["100"]


def test_deliver_all(simulator: Simulator) -> None:
    """What has gone out can be delivered at once; a booking stays one, and later sends wait."""
    sms(simulator)
    sms(simulator, ST=SOON)

    simulator.deliver_all()
    sms(simulator)

    assert [statuses(simulator, batch(n)) for n in (1, 2, 3)] == [["100"], ["300"], ["0"]]


def test_deliver_all_keeps_the_time(simulator: Simulator) -> None:
    """What is final already keeps the time at which it became so."""
    sms(simulator)
    simulator.advance(timedelta(seconds=60))

    simulator.deliver_all()

    (row,) = reports(simulator, batch(1)).json["DATA"]
    assert row["RECEIVED_TIME"] == "2026-01-02 03:04:10"


@pytest.mark.parametrize("status", [101, 102, 103, 104, 105, 106, 107, 301, 500, 888, -3])
def test_scripted_end(simulator: Simulator, status: int) -> None:
    """How messages to a number end can be scripted, in whatever spelling of it."""
    simulator.fail("0912345678", status)
    sms(simulator, "+886912345678,0987654321")
    assert statuses(simulator, batch(1)) == ["0", "0"]

    simulator.deliver_all()

    assert statuses(simulator, batch(1)) == [str(status), "100"]


def test_scripted_on_the_way(simulator: Simulator) -> None:
    """A script holds for what is on its way, not for what has ended."""
    sms(simulator)
    simulator.deliver_all()
    sms(simulator)

    simulator.fail("+886912345678", 103)
    simulator.fail("+886912345678", 104)
    simulator.deliver_all()

    assert [statuses(simulator, batch(n)) for n in (1, 2)] == [["100"], ["104"]]


def test_scripted_never_ends(simulator: Simulator) -> None:
    """A scripted 0 keeps a message from ending."""
    simulator.fail("0912345678", 0)
    sms(simulator)

    simulator.deliver_all()

    (row,) = reports(simulator, batch(1)).json["DATA"]
    assert (row["STATUS"], row["REAL_COST"], row["RECEIVED_TIME"]) == ("0", "0.00", "")


def test_json(simulator: Simulator) -> None:
    """JSON: every value of a row is a string, and the number has its canonical form."""
    sms(simulator, "0900000001,+886900000002")
    simulator.fail("0900000002", 103)
    simulator.deliver_all()

    answer = reports(simulator, batch(1))

    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.body == (
        b'{"SMS_COUNT":2,"BID":"00000000-0000-4000-8000-000000000001","DATA":['
        b'{"MR":"1","NAME":"","MOBILE":"+886900000001","SEND_TIME":"2026-01-02 03:04:05",'
        b'"COST":"1.00","STATUS":"100","REAL_COST":"1.00","RECEIVED_TIME":"2026-01-02 03:04:05"},'
        b'{"MR":"2","NAME":"","MOBILE":"+886900000002","SEND_TIME":"2026-01-02 03:04:05",'
        b'"COST":"1.00","STATUS":"103","REAL_COST":"1.00","RECEIVED_TIME":"2026-01-02 03:04:05"}'
        b"]}"
    )


@pytest.mark.parametrize("response_format", ["0", "", "9"])
def test_tab(simulator: Simulator, response_format: str) -> None:
    """TAB: the count ends with CR LF, a row with LF; it starts with a TAB for want of a name."""
    sms(simulator, "0900000001,0900000002")
    simulator.fail("0900000002", 0)
    simulator.deliver_all()

    answer = reports(simulator, batch(1), RESPFORMAT=response_format)

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.body == (
        b"2\r\n"
        b"\t+886900000001\t2026/01/02 03:04:05\t1.00\t100\t2026/01/02 03:04:05\n"
        b"\t+886900000002\t2026/01/02 03:04:05\t1.00\t0\t\n"
    )


def test_tab_of_five_columns() -> None:
    """By setting, TAB has the five columns that public clients read."""
    simulator = make(dialect=Dialect(tab_columns=5))
    sms(simulator, "0900000001")

    answer = reports(simulator, batch(1), RESPFORMAT="0")

    assert answer.body == b"1\r\n\t+886900000001\t2026/01/02 03:04:05\t1.00\t0\n"


def test_xml(simulator: Simulator) -> None:
    """XML: the count is an attribute, the number is padded, the time is SENT_TIME."""
    row = {"Name": "A & <B>", "Mobile": "0900000001", "Param": "x"}
    body = {**DEMO, "RecipientDataList": [row, {"Mobile": "0900000002", "Param": "y"}]}
    ask(simulator, "SendParam.ashx", json=body)

    answer = reports(simulator, batch(1), RESPFORMAT="2")

    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert answer.text == (
        "<SMS_LOG><CODE>0</CODE><DESCRIPTION>發送狀態查詢成功</DESCRIPTION>"
        '<GET_DELIVERY_STATUS COUNT="2">'
        "<SMS><NAME>A &amp; &lt;B&gt;</NAME><MOBILE>+886900000001   </MOBILE>"
        "<SENT_TIME>2026/01/02 03:04:05</SENT_TIME><COST>1.00</COST><STATUS>0</STATUS></SMS>"
        "<SMS><NAME/><MOBILE>+886900000002   </MOBILE>"
        "<SENT_TIME>2026/01/02 03:04:05</SENT_TIME><COST>1.00</COST><STATUS>0</STATUS></SMS>"
        "</GET_DELIVERY_STATUS></SMS_LOG>"
    )


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        ("0", b"0"),
        ("1", b'{"SMS_COUNT":0,"BID":"no \\"such\\" batch"}'),
        (
            "2",
            "<SMS_LOG><CODE>0</CODE><DESCRIPTION>發送狀態查詢成功</DESCRIPTION>"
            '<GET_DELIVERY_STATUS COUNT="0"></GET_DELIVERY_STATUS></SMS_LOG>'.encode(),
        ),
    ],
)
def test_no_such_batch(simulator: Simulator, response_format: str, expected: bytes) -> None:
    """A batch that is not there looks like an empty one."""
    answer = reports(simulator, 'no "such" batch', RESPFORMAT=response_format)

    assert answer.body == expected


def test_other_accounts_batch() -> None:
    """A batch of another account is not there."""
    accounts = [Account(uid="demo", password="demo"), Account(uid="b", password="b")]
    simulator = make(accounts=accounts)
    sms(simulator)

    answer = reports(simulator, batch(1), UID="b", PWD="b")

    assert answer.text == f'{{"SMS_COUNT":0,"BID":"{batch(1)}"}}'


def test_count_as_text() -> None:
    """The count may be a string of digits."""
    simulator = make(dialect=Dialect(count_as_text=True))

    assert reports(simulator, "x").body == b'{"SMS_COUNT":"0","BID":"x"}'


def test_pages_of_a_large_batch() -> None:
    """A page has 1000 rows, the count is the whole batch's, and a page behind the last is empty."""
    simulator = make(accounts=[Account(uid="demo", password="demo", credit=100_000)])
    dest = ",".join(f"09{n:08}" for n in range(20_500))
    sms(simulator, dest)

    pages = [reports(simulator, batch(1), PNO=str(n)).json for n in (1, 2, 21, 22)]

    assert [len(page.get("DATA", ())) for page in pages] == [1000, 1000, 500, 0]
    assert {page["SMS_COUNT"] for page in pages} == {20_500}
    assert pages[1]["DATA"][0]["MOBILE"] == "+886900001000"
    assert pages[2]["DATA"][-1]["MR"] == "20500"
    assert reports(simulator, batch(1), PNO="22", RESPFORMAT="0").body == b"20500"


def test_empty_page_number(simulator: Simulator) -> None:
    """An empty PNO is page 1."""
    sms(simulator)

    assert reports(simulator, batch(1), PNO="").body == reports(simulator, batch(1), PNO="1").body


@pytest.mark.parametrize("number", ["0", "-1", "one", "1.0", "9" * 5000])
def test_bad_page_number(simulator: Simulator, number: str) -> None:
    """A page number that is none makes the gateway stumble."""
    assert reports(simulator, batch(1), PNO=number).text == STUMBLED


def test_cancel(simulator: Simulator) -> None:
    """Cancelling a booking gives its points back, and its reports become 303."""
    assert sms(simulator, "0911111111,0922222222", ST=SOON).text.startswith("9998.00,2,2,0,")

    assert cancel(simulator, batch(1)).body == b"2,2.00"

    assert simulator.credit() == 10000
    (row, _) = reports(simulator, batch(1)).json["DATA"]
    assert (row["STATUS"], row["COST"], row["REAL_COST"]) == ("303", "1.00", "0.00")
    simulator.advance(2 * HOUR)
    simulator.deliver_all()
    assert statuses(simulator, batch(1)) == ["303", "303"]


def test_cancel_twice(simulator: Simulator) -> None:
    """What is cancelled can't be cancelled again."""
    sms(simulator, ST=SOON)
    cancel(simulator, batch(1))

    assert cancel(simulator, batch(1)).text == "-4,該批次已取消或已發送"
    assert simulator.credit() == 10000


def test_cancel_too_late(simulator: Simulator) -> None:
    """What has gone out can't be cancelled."""
    sms(simulator)
    sms(simulator, ST=SOON)
    simulator.advance(HOUR)

    texts = [cancel(simulator, batch(n)).text for n in (1, 2)]

    assert texts == ["-4,該批次已取消或已發送"] * 2


def test_cancel_just_before_it_goes_out() -> None:
    """By setting, what is about to go out can't be cancelled at the moment, and then is gone."""
    simulator = make(cancel_until=timedelta(minutes=5))
    sms(simulator, ST=SOON)
    sms(simulator, ST=SOON)

    assert cancel(simulator, batch(1)).body == b"1,1.00"
    texts: list[str] = []
    for wait in (HOUR - timedelta(minutes=4), timedelta(minutes=4)):
        simulator.advance(wait)
        texts.append(cancel(simulator, batch(2)).text)
    assert texts == ["-8,目前無法取消", "-4,該批次已取消或已發送"]
    assert simulator.credit() == 9999


def test_cancel_nothing(simulator: Simulator) -> None:
    """A batch that is not there can't be cancelled."""
    assert cancel(simulator, "x").text == "-3,無此批次"


def test_cancel_the_rest(simulator: Simulator) -> None:
    """Of a batch with several times only what did not go out yet is cancelled."""
    rows = [
        {"Mobile": "0911111111", "Param": "x", "SendTime": ""},
        {"Mobile": "0922222222", "Param": "x", "SendTime": SOON},
    ]
    ask(simulator, "SendParam.ashx", json={**DEMO, "RecipientDataList": rows})

    assert cancel(simulator, batch(1)).body == b"1,1.00"
    assert statuses(simulator, batch(1)) == ["0", "303"]


def test_replies(simulator: Simulator) -> None:
    """Replies have slashes in their times, in JSON as in TAB."""
    sms(simulator, "0900000001")
    simulator.add_reply(batch(1), "0900000001", '好 "ok"')
    simulator.advance(timedelta(seconds=1))
    simulator.add_reply(batch(1), "+886900000001", "second")

    assert replies(simulator, batch(1)).decode() == (
        '{"SMS_COUNT":2,"BID":"00000000-0000-4000-8000-000000000001","DATA":['
        '{"NAME":"","MOBILE":"+886900000001","CONTENT":"好 \\"ok\\"",'
        '"RECEIVED_TIME":"2026/01/02 03:04:05"},'
        '{"NAME":"","MOBILE":"+886900000001","CONTENT":"second",'
        '"RECEIVED_TIME":"2026/01/02 03:04:06"}]}'
    )
    assert replies(simulator, batch(1), RESPFORMAT="0").decode() == (
        "2\r\n"
        '\t+886900000001\t好 "ok"\t2026/01/02 03:04:05\n'
        "\t+886900000001\tsecond\t2026/01/02 03:04:06\n"
    )


def test_no_replies(simulator: Simulator) -> None:
    """Without replies there is a count of 0, and nothing else."""
    sms(simulator)

    assert replies(simulator, "x") == b'{"SMS_COUNT":0,"BID":"x"}'
    assert replies(simulator, batch(1), RESPFORMAT="0") == b"0"


def test_a_reply_can_break_tab(simulator: Simulator) -> None:
    """A reply's text goes into TAB as it is, even where that breaks the format."""
    sms(simulator, "0900000001")
    simulator.add_reply(batch(1), "0900000001", "a\tb\r\nc")

    assert replies(simulator, batch(1), RESPFORMAT="2") == (
        b"1\r\n\t+886900000001\ta\tb\r\nc\t2026/01/02 03:04:05\n"
    )


@pytest.mark.parametrize(("size", "lengths"), [(1000, [11, 0]), (10, [10, 1])])
def test_pages_of_replies(size: int, lengths: list[int]) -> None:
    """A page of replies has 10 or 1000 rows by setting; the documents say both."""
    simulator = make(reply_page_size=size)
    sms(simulator, "0900000001")
    for n in range(11):
        simulator.add_reply(batch(1), "0900000001", str(n))

    pages = [replies(simulator, batch(1), PNO=n) for n in ("1", "2")]

    assert [page.count(b"CONTENT") for page in pages] == lengths
    assert all(page.startswith(b'{"SMS_COUNT":11,') for page in pages)


def test_reply_to_nothing(simulator: Simulator) -> None:
    """A reply needs a batch of texts, and a number in it."""
    sms(simulator)

    with pytest.raises(ValueError, match="no batch of texts 'x'"):
        simulator.add_reply("x", "0912345678", "hi")
    with pytest.raises(ValueError, match="has no recipient '0987654321'"):
        simulator.add_reply(batch(1), "0987654321", "hi")
    with pytest.raises(ValueError, match="'abc' is no mobile number"):
        simulator.add_reply(batch(1), "abc", "hi")
    with pytest.raises(ValueError, match="'abc' is no mobile number"):
        simulator.fail("abc", 101)


def test_clock(simulator: Simulator) -> None:
    """The clock moves forward only, and by as much as it is told to."""
    simulator.advance(HOUR)

    assert simulator.now == START + HOUR
    with pytest.raises(ValueError, match="can't be moved back"):
        simulator.advance(-HOUR)


def test_reset(simulator: Simulator) -> None:
    """A reset brings back the credit, the time, and an empty book."""
    sms(simulator)
    simulator.advance(HOUR)

    simulator.reset()

    assert (simulator.sent, simulator.batches, simulator.requests) == ((), (), ())
    assert simulator.credit() == 10000
    assert (simulator.now, simulator.logins) == (START, 0)
