"""SendSMS, credit, and what is refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from every8d_async.simulator import Account, Simulator
from every8d_async.simulator._pricing import mms_points, sms_points

from .kit import DEMO, START, ask, batch, make, reports, sms, statuses, with_credit


def test_send(simulator: Simulator) -> None:
    """A send answers credit, sent, cost, unsent and batch id."""
    answer = sms(simulator, "+886912345678,0987654321")

    assert answer.body == b"9998.00,2,2,0,00000000-0000-4000-8000-000000000001"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert simulator.credit() == Decimal(9998)


def test_sent_is_typed(simulator: Simulator) -> None:
    """What was taken for sending can be looked at, with numbers in their canonical form."""
    sms(simulator, "0912345678", SB="note", RETRYTIME="60", EventID="1234", ST="20260102120000")

    (message,) = simulator.sent

    assert message.account == "demo"
    assert message.batch_id == batch(1)
    assert message.kind == "sms"
    assert message.mobile == "+886912345678"
    assert message.text == "hello"
    assert message.subject == "note"
    assert message.name == message.email == ""
    assert message.reference == "1"
    assert message.cost == 1
    assert message.accepted_at == START
    assert message.scheduled_for == datetime.fromisoformat("2026-01-02T12:00:00+08:00")
    assert message.valid_minutes == 60
    assert message.event_id == "1234"
    assert message.attachment is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"DEST": ""}, "-27,電話號碼不得為空"),
        ({"DEST": "", "MSG": ""}, "-27,電話號碼不得為空"),
        ({"DEST": " , ,"}, "-41,無發送門號"),
        ({"MSG": ""}, "-24,簡訊內容不得為空"),
        ({"DEST": "+1-202-895-1800"}, "-306,手機格式不符:+1-202-895-1800"),
        ({"DEST": "0912345678,12,0800"}, "-306,手機格式不符:12,0800"),
        ({"DEST": "+886212345678"}, "-306,手機格式不符:+886212345678"),
        ({"DEST": "886912345678"}, "-306,手機格式不符:886912345678"),
        ({"DEST": "09１２３４５６７８"}, "-306,手機格式不符:09１２３４５６７８"),
        ({"ST": "202601021200"}, "-28,The sendTime format error: yyyyMMddHHmm"),
        ({"ST": "20261301120000"}, "-28,The sendTime format error: yyyyMMddHHmm"),
        ({"ST": "tomorrow"}, "-28,The sendTime format error: yyyyMMddHHmm"),
        ({"EventID": "-1"}, "-290,無預設活動頻道"),
        ({"RETRYTIME": "soon"}, "-99, 主機端發生不明錯誤，請與廠商窗口聯繫。"),
        ({"RETRYTIME": "9" * 5000}, "-99, 主機端發生不明錯誤，請與廠商窗口聯繫。"),
    ],
)
def test_refused(simulator: Simulator, fields: dict[str, str], expected: str) -> None:
    """A request that is not sound is refused as a whole, with HTTP 200, and costs nothing."""
    answer = sms(simulator, **{"DEST": "0912345678", **fields})

    assert (answer.status, answer.text) == (200, expected)
    assert simulator.sent == ()
    assert simulator.batches == ()
    assert simulator.credit() == 10000


def test_json_body(simulator: Simulator) -> None:
    """A JSON body is not looked into: the number is missing."""
    body = {**DEMO, "MSG": "hello", "DEST": "0912345678"}

    assert ask(simulator, "SendSMS.ashx", json=body).text == "-27,電話號碼不得為空"


def test_blanks_in_dest(simulator: Simulator) -> None:
    """Blanks around a number, and a comma too many, do no harm."""
    assert sms(simulator, " +886912345678, 0987654321 ,").text.startswith("9998.00,2,2,0,")
    assert [message.mobile for message in simulator.sent] == ["+886912345678", "+886987654321"]


def test_the_same_number_twice(simulator: Simulator) -> None:
    """A number given twice is sent to twice, and paid for twice."""
    assert sms(simulator, "0912345678,+886912345678").text.startswith("9998.00,2,2,0,")


def test_default_channel() -> None:
    """With a default channel -1 stands for it."""
    simulator = with_credit("10", default_channel=True)

    assert sms(simulator, EventID="-1").text.startswith("9.00,1,1,0,")


def test_credit_runs_out() -> None:
    """What fits is sent; the rest is counted as unsent, and reported with 301 and no cost."""
    simulator = with_credit("2")

    assert sms(simulator, "0911111111,0922222222,0933333333").text == f"0.00,2,2,1,{batch(1)}"
    assert statuses(simulator, batch(1)) == ["0", "0", "301"]
    assert reports(simulator, batch(1)).json["DATA"][2] == {
        "MR": "3",
        "NAME": "",
        "MOBILE": "+886933333333",
        "SEND_TIME": "2026-01-02 03:04:05",
        "COST": "0.00",
        "STATUS": "301",
        "REAL_COST": "0.00",
        "RECEIVED_TIME": "",
    }
    assert len(simulator.sent) == 2


def test_no_credit_at_all() -> None:
    """Without credit nothing is sent, and the reply is still a receipt."""
    simulator = with_credit("0.5")

    assert sms(simulator).text == f"0.50,0,0,1,{batch(1)}"


def test_overdraft() -> None:
    """A postpaid account's credit goes below zero."""
    account = Account(uid="demo", password="demo", credit=Decimal(0), overdraft=Decimal(1))
    simulator = make(accounts=[account])

    assert sms(simulator, "0911111111,0922222222").text == f"-1.00,1,1,1,{batch(1)}"


def test_international_off(simulator: Simulator) -> None:
    """A foreign number ends with 500 and costs nothing; it is neither sent nor unsent."""
    assert sms(simulator, "+12028951800,0912345678").text == f"9999.00,1,1,0,{batch(1)}"
    assert statuses(simulator, batch(1)) == ["500", "0"]


def test_international_on() -> None:
    """With the switch on, a foreign number costs three times as much."""
    simulator = with_credit("10", international=True)

    assert sms(simulator, "+12028951800").text == f"7.00,1,3,0,{batch(1)}"
    assert simulator.sent[0].mobile == "+12028951800"


def test_overdue(simulator: Simulator) -> None:
    """What should have gone more than 24 hours ago is reported with -4, and not charged."""
    assert sms(simulator, ST="20260101030404").text == f"10000.00,0,0,0,{batch(1)}"
    assert statuses(simulator, batch(1)) == ["-4"]


def test_a_day_late_is_sent(simulator: Simulator) -> None:
    """What is exactly 24 hours late is sent at once."""
    assert sms(simulator, ST="20260101030405").text == f"9999.00,1,1,0,{batch(1)}"
    assert reports(simulator, batch(1)).json["DATA"][0]["SEND_TIME"] == "2026-01-02 03:04:05"


def test_last_moment_of_all(simulator: Simulator) -> None:
    """A booking for the end of time is as good as any."""
    assert sms(simulator, ST="99991231235959").text.startswith("9999.00,1,1,0,")
    assert statuses(simulator, batch(1)) == ["300"]


def test_credit(simulator: Simulator) -> None:
    """Credit has two decimals."""
    assert ask(simulator, "GetCredit.ashx", DEMO).body == b"10000.00"


def test_credits_by_account() -> None:
    """Each account pays for itself."""
    accounts = [
        Account(uid="demo", password="demo", credit=Decimal(5)),
        Account(uid="other", password="other", credit=Decimal(7)),
    ]
    simulator = make(accounts=accounts)
    sms(simulator)

    assert simulator.credits == {"demo": Decimal(4), "other": Decimal(7)}
    assert (simulator.credit(), simulator.credit("other")) == (Decimal(4), Decimal(7))


@pytest.mark.parametrize(
    ("text", "points"),
    [
        ("", 0),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 765, 5),
        ("a" * 766, 6),
        ("a" * (765 + 160), 6),
        ("a" * (765 + 161), 7),
        ("a" * 1530, 10),
        ("簡" * 70, 1),
        ("簡" * 71, 2),
        ("簡" * 134, 2),
        ("簡" * 135, 3),
        ("簡" * 333, 5),
        ("簡" * 334, 6),
        ("簡" * 666, 10),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("\ud800" * 70, 1),
    ],
)
def test_points(text: str, points: int) -> None:
    """A text is priced by its length in UTF-16 units, and ASCII by wider bounds."""
    assert sms_points(text) == points
    assert sms_points(text, foreign=True) == 3 * points


@pytest.mark.parametrize(("length", "points"), [(143, 1), (144, 2)])
def test_event_adds_17_characters(length: int, points: int) -> None:
    """The link of an EventID counts as 17 characters."""
    assert sms_points("a" * length, event=True) == points


@pytest.mark.parametrize(
    ("size", "points"), [(0, 3), (50 * 1024, 3), (50 * 1024 + 1, 5), (300 * 1024, 5)]
)
def test_mms_points(size: int, points: int) -> None:
    """An MMS costs 3 points up to 50 KB, and 5 beyond."""
    assert mms_points(size) == points


def test_batches_are_typed(simulator: Simulator) -> None:
    """A batch can be looked at as it stands, report by report."""
    sms(simulator, "0911111111,0922222222", SB="note")
    simulator.advance(timedelta(seconds=5))

    (found,) = simulator.batches

    assert (found.batch_id, found.account, found.kind) == (batch(1), "demo", "sms")
    assert (found.operation, found.subject, found.accepted_at) == ("SendSMS", "note", START)
    assert (found.sent, found.unsent, found.cost) == (2, 0, Decimal(2))
    assert [(r.mobile, r.status) for r in found.reports] == [
        ("+886911111111", 100),
        ("+886922222222", 100),
    ]
    assert found.reports[0].received_at == START + timedelta(seconds=5)


def test_lone_surrogate(simulator: Simulator) -> None:
    """Half a character does not bring the gateway down: it comes back as a question mark."""
    row = {"Mobile": "0912345678", "Param": "x", "Mr": "\\ud800"}
    body = f'{{"UID":"demo","PWD":"demo","RecipientDataList":[{row}]}}'.replace("'", '"')
    answer = ask(
        simulator,
        "SendParam.ashx",
        body=body.replace("\\\\", "\\").encode(),
        headers={"content-type": "application/json"},
    )

    assert answer.json["Result"] is True
    assert reports(simulator, batch(1)).json["DATA"][0]["MR"] == "?"
