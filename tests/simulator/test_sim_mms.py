"""MMS: what it needs, what it costs, how it is reported and cancelled."""

from __future__ import annotations

from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from .kit import DEMO, Answer, ask, batch, cancel, make, reports

if TYPE_CHECKING:
    from every8d_async.simulator import Simulator

PICTURE = b"\x89PNG picture"
ATTACHMENT = b64encode(PICTURE).decode()
MMS: dict[str, str] = {
    **DEMO,
    "SB": "主旨",
    "MSG": "內文",
    "DEST": "0900000001",
    "ATTACHMENT": ATTACHMENT,
    "TYPE": "png",
}


def send(simulator: Simulator, **fields: str) -> str:
    """Send as the demo account."""
    return ask(simulator, "MMS/SendMMS.ashx", {**MMS, **fields}).text


def mms_reports(simulator: Simulator, batch_id: str, response_format: str = "1") -> Answer:
    """Ask for reports of an MMS."""
    fields = {**DEMO, "BID": batch_id, "RESPFORMAT": response_format}
    return ask(simulator, "mms/getdeliverystatus.ashx", fields)


def test_send(simulator: Simulator) -> None:
    """An MMS costs 3 points up to 50 KB."""
    assert send(simulator, DEST="0900000001,0900000002") == f"9994.00,2,6,0,{batch(1)}"

    (message, _) = simulator.sent
    assert (message.kind, message.subject, message.text) == ("mms", "主旨", "內文")
    assert (message.attachment, message.attachment_type) == (PICTURE, "png")


def test_large(simulator: Simulator) -> None:
    """Picture and text together over 50 KB cost 5 points, over 300 KB they are refused."""
    small = b64encode(b"x" * (50 * 1024 - 6)).decode()
    large = b64encode(b"x" * (300 * 1024 - 6)).decode()

    assert send(simulator, ATTACHMENT=small) == f"9997.00,1,3,0,{batch(1)}"
    assert send(simulator, ATTACHMENT=small, MSG="內文!") == f"9992.00,1,5,0,{batch(2)}"
    assert send(simulator, ATTACHMENT=large) == f"9987.00,1,5,0,{batch(3)}"
    assert send(simulator, ATTACHMENT=large, MSG="內文!") == "-314,MMS圖文大小超過限制"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"SB": ""}, "-303,MMS主旨不得為空"),
        ({"SB": "主" * 16}, "-303,MMS主旨超過長度限制"),
        ({"SB": "a" * 40}, "-303,MMS主旨超過長度限制"),
        ({"ATTACHMENT": ""}, "-304,MMS圖片不得為空"),
        ({"ATTACHMENT": "???"}, "-304,MMS圖片格式錯誤"),
        ({"ATTACHMENT": "圖片"}, "-304,MMS圖片格式錯誤"),
        ({"TYPE": ""}, "-305,MMS圖片類型不得為空"),
        ({"TYPE": "bmp"}, "-305,MMS圖片類型不符"),
        ({"DEST": "+12028951800"}, "-306,手機格式不符:+12028951800"),
        ({"DEST": ""}, "-27,電話號碼不得為空"),
        ({"ST": "1"}, "-28,The sendTime format error: yyyyMMddHHmm"),
    ],
)
def test_refused(simulator: Simulator, fields: dict[str, str], expected: str) -> None:
    """What an MMS lacks, or has too much of, is refused with a code of its own."""
    assert send(simulator, **fields) == expected
    assert simulator.sent == ()


@pytest.mark.parametrize(
    "fields",
    [
        {"SB": "主" * 15},
        {"SB": "a" * 39},
        {"MSG": ""},
        {"MSG": "字" * 4000},
        {"TYPE": "JPEG"},
        {"ATTACHMENT": ATTACHMENT[:8] + "\r\n" + ATTACHMENT[8:]},
    ],
)
def test_allowed(simulator: Simulator, fields: dict[str, str]) -> None:
    """What just fits goes through; the text may be empty, base64 may have line ends."""
    assert send(simulator, **fields) == f"9997.00,1,3,0,{batch(1)}"


def test_text_too_long(simulator: Simulator) -> None:
    """A text over 4000 characters fails the message, not the request."""
    assert send(simulator, MSG="字" * 4001) == f"10000.00,0,0,0,{batch(1)}"
    assert mms_reports(simulator, batch(1)).json["DATA"][0]["STATUS"] == "-5"


def test_json_body(simulator: Simulator) -> None:
    """A JSON body is not looked into here either."""
    assert ask(simulator, "MMS/SendMMS.ashx", json=MMS).text == "-27,電話號碼不得為空"


def test_reports(simulator: Simulator) -> None:
    """A delivered MMS has 700, a real cost of 0, and two ways to write a time."""
    send(simulator)
    assert mms_reports(simulator, batch(1)).json["DATA"][0]["RECEIVED_TIME"] == ""
    simulator.deliver_all()

    assert mms_reports(simulator, batch(1)).body == (
        b'{"SMS_COUNT":1,"BID":"00000000-0000-4000-8000-000000000001","DATA":['
        b'{"MR":"1","NAME":"","MOBILE":"+886900000001","SEND_TIME":"2026-01-02 03:04:05",'
        b'"COST":"3.00","STATUS":"700","REAL_COST":"0","RECEIVED_TIME":"2026/01/02 03:04:05"}]}'
    )
    assert mms_reports(simulator, batch(1), "0").body == (
        b"1\r\n\t+886900000001\t2026/01/02 03:04:05\t3.00\t700\t2026/01/02 03:04:05\n"
    )
    assert b"<STATUS>700</STATUS>" in mms_reports(simulator, batch(1), "2").body


def test_scripted(simulator: Simulator) -> None:
    """Another end has its real cost."""
    simulator.fail("0900000001", -10)
    send(simulator)
    simulator.deliver_all()

    (row,) = mms_reports(simulator, batch(1)).json["DATA"]
    assert (row["STATUS"], row["REAL_COST"]) == ("-10", "3.00")


def test_kinds_are_apart(simulator: Simulator) -> None:
    """An MMS is not there for the handlers of SMS."""
    send(simulator, ST="20260103000000")

    assert reports(simulator, batch(1)).json == {"SMS_COUNT": 0, "BID": batch(1)}
    assert cancel(simulator, batch(1)).text == "-3,無此批次"
    with pytest.raises(ValueError, match="no batch of texts"):
        simulator.add_reply(batch(1), "0900000001", "hi")


def test_cancel(simulator: Simulator) -> None:
    """A booked MMS gives its points back."""
    send(simulator, DEST="0900000001,0900000002", ST="20260103000000")

    answer = ask(simulator, "MMS/EraseBooking.ashx", {**DEMO, "BID": batch(1)})

    assert answer.body == b"2,6.00"
    assert mms_reports(simulator, batch(1)).json["DATA"][0]["REAL_COST"] == "0"
    simulator.advance(timedelta(days=2))
    assert mms_reports(simulator, batch(1)).json["DATA"][0]["STATUS"] == "303"


def param(simulator: Simulator, *rows: dict[str, str], **more: Any) -> Answer:
    """Send an MMS through SendParam as the demo account."""
    body = {**DEMO, "SB": "", "ATTACHMENT": ATTACHMENT, "TYPE": "png", "RecipientDataList": rows}
    return ask(simulator, "SendParam.ashx", json={**body, **more})


def test_through_send_param(simulator: Simulator) -> None:
    """With a picture SendParam sends MMS; the subject and a text may be empty there."""
    rows = ({"Mobile": "0900000001", "Param": "小明"}, {"Mobile": "0900000002", "Param": ""})

    assert param(simulator, *rows).json["Msg"] == f"9994.00,2,6,0,{batch(1)}"
    assert [message.kind for message in simulator.sent] == ["mms", "mms"]
    assert mms_reports(simulator, batch(1)).json["SMS_COUNT"] == 2


def test_template_through_send_param(simulator: Simulator) -> None:
    """So it does with a template, where each message may fail on its own."""
    rows = (
        {"Mobile": "0900000001", "Param": "小明||||"},
        {"Mobile": "0900000002", "Param": "字" * 4000 + "||||"},
        {"Mobile": "0900000003", "Param": "alone"},
    )

    param(simulator, *rows, MSG="%field1%!")

    found = [row["STATUS"] for row in mms_reports(simulator, batch(1)).json["DATA"]]
    assert found == ["0", "-5", "-1"]
    assert simulator.sent[0].text == "小明!"


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"ATTACHMENT": ""}, "-304"),
        ({"TYPE": ""}, "-305"),
        ({"SB": "主" * 16}, "-303"),
        ({"ATTACHMENT": b64encode(b"x" * 300 * 1024).decode()}, "-314"),
        ({"RecipientDataList": [{"Mobile": "+12028951800", "Param": "x"}]}, "-306"),
    ],
)
def test_refused_through_send_param(more: dict[str, Any], code: str) -> None:
    """What is missing, too large or abroad is refused there too."""
    answer = param(make(), {"Mobile": "0900000001", "Param": "x"}, **more)

    assert answer.json["Status"] == code
