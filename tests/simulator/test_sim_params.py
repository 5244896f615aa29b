"""SendParam: a text each, or a template with fields."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from every8d_async.simulator import Dialect, Simulator

from .kit import DEMO, Answer, ask, batch, log_in, make, reports, statuses, token

HELLO = {
    "Name": "Test01",
    "Mobile": "+886900000001",
    "Email": "test01@example.com",
    "SendTime": "",
    "Param": "小明您好",
    "Mr": "",
}


def send(simulator: Simulator, *rows: Any, path: str = "SendParam.ashx", **more: Any) -> Answer:
    """Send as the demo account."""
    body = {**DEMO, "SB": "主旨", "RETRYTIME": 1440, "RecipientDataList": list(rows), **more}
    return ask(simulator, path, json=body)


def refused(code: int, message: str) -> str:
    """The bytes of a refusal."""
    return f'{{"Result":false,"Status":"{code}","Msg":"{message}"}}'


def test_personalised(simulator: Simulator) -> None:
    """A text for each; the receipt stands in Msg."""
    answer = send(simulator, HELLO, {**HELLO, "Mobile": "0900000002", "Param": "大明您好"})

    assert answer.body == (
        b'{"Result":true,"Msg":"9998.00,2,2,0,00000000-0000-4000-8000-000000000001"}'
    )
    assert [(m.mobile, m.text) for m in simulator.sent] == [
        ("+886900000001", "小明您好"),
        ("+886900000002", "大明您好"),
    ]
    (message, _) = simulator.sent
    assert (message.name, message.email, message.subject) == (
        "Test01",
        "test01@example.com",
        "主旨",
    )


def test_second_spelling(simulator: Simulator) -> None:
    """The handler has a second name."""
    answer = send(simulator, HELLO, path="sendparamsms.ASHX")

    assert answer.json["Result"] is True
    assert simulator.requests[0].operation == "SendParam"


def test_with_a_token(simulator: Simulator) -> None:
    """A token does as well as uid and password."""
    log_in(simulator)

    answer = ask(simulator, "SendParam.ashx", json={"RecipientDataList": [HELLO]}, token=token(1))

    assert answer.json["Result"] is True


def test_json_without_its_content_type(simulator: Simulator) -> None:
    """The body is JSON, whatever its header says."""
    row = b'{"MOBILE":"0900000001","param":"x"}'
    body = b'\xef\xbb\xbf{"uid":"demo","pwd":"demo","recipientdatalist":[' + row + b"]}"

    assert ask(simulator, "SendParam.ashx", body=body).json["Result"] is True


@pytest.mark.parametrize(
    ("param", "text"),
    [
        ("小明|2021/09/30|||", "客戶:小明您好、您於2021/09/30到期。"),
        ("小明|2021/09/30||", "客戶:小明您好、您於2021/09/30到期。"),
        ("小明|2021/09/30", "客戶:小明您好、您於2021/09/30到期。"),
        ("||||", "客戶:您好、您於到期。"),
    ],
)
def test_template(simulator: Simulator, param: str, text: str) -> None:
    """Fields are filled in by their place; one to four separators are read."""
    send(simulator, {**HELLO, "Param": param}, MSG="客戶:%field1%您好、您於%field2%到期。")

    assert simulator.sent[0].text == text


def test_all_five_fields(simulator: Simulator) -> None:
    """There are five fields, each can stand anywhere, and there is no sixth."""
    template = "%field5%%field4%-%field3%%field2%%field1%%field1% %field6% %FIELD1%"
    send(simulator, {**HELLO, "Param": "a|b|c|d|e"}, MSG=template)

    assert simulator.sent[0].text == "ed-cbaa %field6% %FIELD1%"


def test_fields_are_not_filled_in_again(simulator: Simulator) -> None:
    """A field's text is not looked through for fields."""
    send(simulator, {**HELLO, "Param": "%field2%|b|||"}, MSG="%field1%")

    assert simulator.sent[0].text == "%field2%"


@pytest.mark.parametrize("param", ["", "alone", "a|b|c|d|e|f"])
def test_wrong_separators(simulator: Simulator, param: str) -> None:
    """Without separators, or with more than four, a message fails with -1 and costs nothing."""
    answer = send(simulator, {**HELLO, "Param": param}, {**HELLO, "Param": "a|"}, MSG="%field1%")

    assert answer.json["Msg"] == f"9999.00,1,1,0,{batch(1)}"
    assert statuses(simulator, batch(1)) == ["-1", "0"]


def test_references(simulator: Simulator) -> None:
    """MR comes back in reports; where there was none it is the running number."""
    send(simulator, {**HELLO, "Mr": "order-7"}, {**HELLO, "Mr": ""}, {**HELLO, "Mr": None})

    rows = reports(simulator, batch(1)).json["DATA"]

    assert [row["MR"] for row in rows] == ["order-7", "2", "3"]
    assert [message.reference for message in simulator.sent] == ["order-7", "2", "3"]
    assert [row["NAME"] for row in rows] == ["Test01"] * 3


def test_scheduled_each(simulator: Simulator) -> None:
    """Each recipient has a time of their own."""
    send(simulator, {**HELLO, "SendTime": "29991231173000"}, HELLO)

    assert statuses(simulator, batch(1)) == ["300", "0"]
    assert simulator.sent[0].scheduled_for == datetime.fromisoformat("2999-12-31T17:30:00+08:00")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], refused(-41, "無發送門號")),
        ([{**HELLO, "Mobile": ""}], refused(-27, "電話號碼不得為空")),
        ([{"Param": "x"}], refused(-27, "電話號碼不得為空")),
        ([{**HELLO, "Mobile": "12"}], refused(-306, "手機格式不符:12")),
        ([{**HELLO, "Param": ""}], refused(-24, "簡訊內容不得為空")),
        (
            [{**HELLO, "SendTime": "2999"}],
            refused(-28, "The sendTime format error: yyyyMMddHHmm"),
        ),
        (
            [{**HELLO, "Mr": "a"}, {**HELLO, "Mr": "a"}],
            refused(-1, "參數錯誤：Mr 重複"),
        ),
        (["text"], refused(-99, "發生例外錯誤")),
        ([HELLO, None], refused(-99, "發生例外錯誤")),
    ],
)
def test_refused(simulator: Simulator, rows: list[Any], expected: str) -> None:
    """A request that is not sound is refused as a whole, as JSON with HTTP 200."""
    answer = send(simulator, *rows)

    assert (answer.status, answer.text) == (200, expected)
    assert simulator.sent == ()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"RecipientDataList": HELLO}, refused(-99, "發生例外錯誤")),
        ({"RecipientDataList": None}, refused(-41, "無發送門號")),
        ({"EventID": -1}, refused(-290, "無預設活動頻道")),
        ({"RETRYTIME": 1.5}, refused(-99, "發生例外錯誤")),
        ({"PWD": ""}, refused(-300, "帳號密碼不得為空")),
    ],
)
def test_refused_outside(simulator: Simulator, more: dict[str, Any], expected: str) -> None:
    """So it is for what stands beside the recipients."""
    assert send(simulator, HELLO, **more).text == expected


def test_extra_fields(simulator: Simulator) -> None:
    """Fields that nobody knows are ignored, in the request and in a recipient."""
    assert send(simulator, {**HELLO, "More": [1]}, More={"a": 1}).json["Result"] is True


def test_dialect() -> None:
    """A success may carry a Status of 0."""
    answer = send(make(dialect=Dialect(json_status=True)), HELLO)

    assert answer.text == f'{{"Result":true,"Status":"0","Msg":"9999.00,1,1,0,{batch(1)}"}}'
