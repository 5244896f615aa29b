"""
The wire's spellings: whatever bytes come, they are what they say, a refusal, or `BadReply`.

What each golden reply says stands in `test_golden_replies`; here the grammar is held at its edges.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from every8d_async._codecs import (
    Written,
    excerpt,
    form_body,
    is_token,
    json_body,
    read_cancellation,
    read_credit,
    read_dry_run,
    read_filtered_receipt,
    read_json,
    read_param_receipt,
    read_receipt,
    read_refusal,
    read_text,
)
from every8d_async._endpoints import SEND_TEMPLATE
from every8d_async._models import Cancellation, Receipt
from every8d_async._pages import (
    read_json_page,
    read_reply_table,
    read_report_table,
    read_report_xml,
)
from every8d_async._requests import ParamMessage
from every8d_async._wire import BadReply, Refusal
from tests.kit import ENDPOINTS, GOLDEN, TOKEN, golden

BATCH = "c496f706-9b0f-4ff8-9644-9503edbb7064"
GOLDENS = sorted(path.name for path in (GOLDEN / "replies").iterdir())

# --- comma replies ---


def receipt(credit: str, cost: str = "1", unsent: int = 0, batch_id: str = BATCH) -> Receipt:
    return Receipt(Decimal(credit), 1, Decimal(cost), unsent, batch_id)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"-5.00,1,1,0,{BATCH}", receipt("-5.00")),
        (f"-5,1,1,0,{BATCH}", receipt("-5")),
        (f"-99,1,1,0,{BATCH}", receipt("-99")),
        (f"-999,1,1,0,{BATCH}", receipt("-999")),
        (f"0,1,1,0,{BATCH}", receipt("0")),
        (f"285.0,1,1.0,0,{BATCH}", receipt("285.0", "1.0")),
        (f"285.123456,1,0.7,0,{BATCH}", receipt("285.123456", "0.7")),
        (f"285.0, 1, 1.0, 0, {BATCH}", receipt("285.0", "1.0")),
        (f"285.0,1,1.0,7,{BATCH.upper()}", receipt("285.0", "1.0", 7, BATCH.upper())),
        (f"\ufeff \r\n285.0,1,1.0,0,{BATCH}\r\n\r\n", receipt("285.0", "1.0")),
        (f"0.00,0,0,3,{BATCH}", Receipt(Decimal(0), 0, Decimal(0), 3, BATCH)),
    ],
    ids=[
        "pays later",
        "pays later, whole",
        "credit like a code",
        "credit like another",
        "no credit",
        "decimals",
        "six decimals",
        "spaces",
        "upper case",
        "wrapped",
        "nothing sent",
    ],
)
def test_receipts(body: str, expected: Receipt) -> None:
    """A receipt is one also where its credit looks like a refusal's code."""
    assert expected == read_receipt(body.encode())
    message = body.lstrip("\ufeff")
    assert expected == read_param_receipt(json_body({"Result": True, "Msg": message}))


def test_a_receipt_keeps_the_gateways_digits() -> None:
    """Money is exact: decimals are kept as they were written."""
    read = read_receipt(f"9610040.10,2,1.50,0,{BATCH}".encode())
    assert isinstance(read, Receipt)
    assert (str(read.credit), str(read.cost)) == ("9610040.10", "1.50")


NO_RECEIPTS = [
    "",
    ",",
    ",,,,",
    "OK",
    "285.0",
    "0",
    f"285.0,1,1.0,{BATCH}",
    f"285.0,1,1.0,0,0,{BATCH}",
    f"285.0,1,1.0,0,{BATCH},",
    f"285.0,1,1.0,0,{BATCH}\x00",
    f"285.0,1,1.0,0,{BATCH} {BATCH}",
    f"285.0,1,1.0,0,{BATCH[:-1]}",
    f"285.0,1,1.0,0,{BATCH}0",
    f"285.0,1,1.0,0,{BATCH[:-1]}g",
    f"285.0,1,1.0,0,{BATCH.replace('-', '')}",
    "285.0,1,1.0,0,",
    "285.0,1,1.0,0",
    f"285.0,1.0,1.0,0,{BATCH}",
    f"285.0,-1,1.0,0,{BATCH}",
    f"285.0,1,-1.0,0,{BATCH}",
    f"285.0,1,1.0,-1,{BATCH}",
    f"+285.0,1,1.0,0,{BATCH}",
    f"--5,1,1.0,0,{BATCH}",
    f"285.,1,1.0,0,{BATCH}",
    f".5,1,1.0,0,{BATCH}",
    f"1e5,1,1.0,0,{BATCH}",
    f"1_000,1,1.0,0,{BATCH}",
    f"9,610,040.00,2,2,0,{BATCH}",
    f"NaN,1,1.0,0,{BATCH}",
    f"２８５,1,1.0,0,{BATCH}",
    f"285.0,１,1.0,0,{BATCH}",
    f"285.0,1,1.0,0,{BATCH[:-1]}４",
    f"{'9' * 16},1,1.0,0,{BATCH}",
    f"285.0,{'9' * 16},1.0,0,{BATCH}",
    f"285.0000001,1,1.0,0,{BATCH}",
    f"285.0,\n1,1.0,0,{BATCH}",
    f"285.0;1;1.0;0;{BATCH}",
    f'"285.0,1,1.0,0,{BATCH}"',
    f"x285.0,1,1.0,0,{BATCH}",
    f"-5,1,1,0,{BATCH[:-1]}",
    "-5,1,1,0",
    "-5,1",
    "-5, 1",
    "-5,",
    "-5, ",
    "-5",
    "-",
    "-5.00,x",
    "- 5,x",
    "−5,x",
    "-５,x",
    "5,x",
    "+5,x",
    "-1234567890,x",
    "<html>-99,x</html>",
]


@pytest.mark.parametrize("body", NO_RECEIPTS, ids=repr)
def test_no_receipts(body: str) -> None:
    """What misses the grammar by one character is neither a receipt nor a refusal."""
    with pytest.raises(BadReply):
        read_receipt(body.encode())
    with pytest.raises(BadReply):
        read_param_receipt(json_body({"Result": True, "Msg": body}))


@pytest.mark.parametrize(
    "body",
    [
        golden("send.txt"),
        golden("send-captured.txt"),
        golden("filtered-none.txt"),
        f"-5.00,1,1,0,{BATCH}".encode(),
        f"-5,1,1,0,{BATCH}".encode(),
        f"-5, 1, 1, 0, {BATCH}".encode(),
        f"-99,12,12.0,3,{BATCH}".encode(),
        f"\ufeff-300,1,1,0,{BATCH}\r\n".encode(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("read", [read_receipt, read_param_receipt, read_filtered_receipt])
def test_a_cut_receipt_is_nothing(read: Callable[[bytes], object], body: bytes) -> None:
    """Cut at any byte: neither a receipt of other values, nor a refusal that would be a lie."""
    whole = body
    if read is read_param_receipt:
        whole = b'{"Result": true, "Msg": "' + body.strip(b"\xef\xbb\xbf\r\n") + b'"}\n'
    assert read(whole) is not None
    for length in range(len(whole.rstrip())):
        cut = whole[:length]
        with pytest.raises(BadReply):
            print(cut, read(cut))  # noqa: T201 - shown where the test fails


def test_a_receipt_cut_inside_a_sound_json_is_nothing() -> None:
    """The gateway itself may cut what it puts into Msg."""
    for length in range(len(golden("send.txt"))):
        with pytest.raises(BadReply):
            read_param_receipt(
                json_body({"Result": True, "Msg": golden("send.txt")[:length].decode()})
            )


def spelled(whole: str, decimals: str) -> str:
    return f"{whole}.{decimals}" if decimals else whole


DIGITS = st.text("0123456789", min_size=1, max_size=15)
DECIMALS = st.text("0123456789", max_size=6)
POINTS = st.builds(spelled, DIGITS, DECIMALS)
CREDITS = st.builds("{}{}".format, st.sampled_from(["", "-"]), POINTS)


@given(CREDITS, DIGITS, POINTS, DIGITS, st.uuids(), st.sampled_from([",", ", "]))
def test_any_receipt(
    credit: str, sent: str, cost: str, unsent: str, batch_id: object, comma: str
) -> None:
    """Every sound receipt is read to its last digit, and as nothing when cut."""
    text = comma.join([credit, sent, cost, unsent, str(batch_id)])
    expected = Receipt(Decimal(credit), int(sent), Decimal(cost), int(unsent), str(batch_id))
    assert expected == read_receipt(text.encode())
    for length in range(len(text)):
        with pytest.raises(BadReply):
            read_receipt(text[:length].encode())


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("-99,發生不明錯誤", Refusal(-99, "發生不明錯誤")),
        ("-99, 發生不明錯誤", Refusal(-99, "發生不明錯誤")),
        (
            "-306,手機格式不符:+1-202-895-1800,0912",
            Refusal(-306, "手機格式不符:+1-202-895-1800,0912"),
        ),
        ("-1,a,b,,c,", Refusal(-1, "a,b,,c,")),
        ("-1,first\r\nsecond", Refusal(-1, "first\r\nsecond")),
        ("-999999999,x", Refusal(-999999999, "x")),
        ("-1,-1", Refusal(-1, "-1")),
        ("-1,１", Refusal(-1, "１")),
        ("-101,", Refusal(-101, "")),
        ("-101,  \n", Refusal(-101, "")),
        ("-101,3次錯誤後鎖定", Refusal(-101, "3次錯誤後鎖定")),
        ("-4,2025/11/26 已發送", Refusal(-4, "2025/11/26 已發送")),
        ("-1", None),
        ("-1234567890,x", None),
        ("1,x", None),
        ("-1.0,x", None),
        ("", None),
    ],
    ids=repr,
)
def test_refusals(text: str, refusal: Refusal | None) -> None:
    """A refusal is split on its first comma alone; its message may be anything, or empty."""
    assert refusal == read_refusal(text)


SURELY_REFUSED = [
    ("-27,電話號碼不得為空", Refusal(-27, "電話號碼不得為空")),
    ("-41,3 numbers missing", Refusal(-41, "3 numbers missing")),
    ("-306,0912345678 手機格式不符", Refusal(-306, "0912345678 手機格式不符")),
    ("-101, 3次錯誤後鎖定", Refusal(-101, "3次錯誤後鎖定")),
    ("-300,2,個欄位為空", Refusal(-300, "2,個欄位為空")),
]
PERHAPS_RECEIPTS = [
    "-27,",
    "-27, ",
    "-101,3",
    "-5,1,1,0,c496f706-9b0f",
    f"-5,1,1,0,{BATCH[:-1]}",
    f"-5,1,1,0,{BATCH} and more",
    f"-5, 1, 1.0, 0, {BATCH}<br>",
    "-5,1,1<html>",
]
SENDS = [read_receipt, read_filtered_receipt, read_param_receipt]


@pytest.mark.parametrize("read", SENDS)
@pytest.mark.parametrize(("text", "refusal"), SURELY_REFUSED, ids=repr)
def test_refusals_of_a_send(read: Callable[[bytes], object], text: str, refusal: Refusal) -> None:
    """What no receipt begins with is a refusal of a send, also where its message has digits."""
    assert refusal == read(text.encode())


@pytest.mark.parametrize("read", SENDS)
@pytest.mark.parametrize("text", PERHAPS_RECEIPTS, ids=repr)
def test_what_may_be_a_receipt_refuses_no_send(read: Callable[[bytes], object], text: str) -> None:
    """What may be the start of a receipt, with whatever follows it, proves nothing of a send."""
    with pytest.raises(BadReply):
        read(text.encode())


@pytest.mark.parametrize(
    "read",
    [
        read_dry_run,
        read_cancellation,
        read_credit,
        read_json,
        read_json_page,
        read_report_table,
        read_reply_table,
        read_report_xml,
    ],
)
@pytest.mark.parametrize("text", ["-101,", "-101,3次錯誤後鎖定", "-101,5,1"])
def test_refusals_of_what_sends_nothing(read: Callable[[bytes], object], text: str) -> None:
    """Where no success begins like it, a code and a comma are a refusal, whatever follows."""
    assert Refusal(-101, text.partition(",")[2]) == read(text.encode())


def refusal_of(read: Callable[[bytes], object], body: bytes) -> object:
    try:
        return read(body)
    except BadReply:
        return None


@pytest.mark.parametrize("read", [read_receipt, read_cancellation, read_credit, read_json])
def test_a_cut_refusal_keeps_its_code(read: Callable[[bytes], object]) -> None:
    """A cut message is a message; a cut code is none (but for a credit, which says so itself)."""
    body = "-306,手機格式不符".encode()
    for length in range(len(body)):
        found = refusal_of(read, body[:length])
        if isinstance(found, Refusal):
            assert found.code == -306
        else:
            assert found is None or read is read_credit
            assert found is None or not ENDPOINTS["credit"][0].whole(body[:length])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("2,2.00", Cancellation(2, Decimal(2))),
        ("0,0", Cancellation(0, Decimal(0))),
        ("2, 2.5\r\n", Cancellation(2, Decimal("2.5"))),
        ("-3,查無此批次", Refusal(-3, "查無此批次")),
        ("-2,2.00", Refusal(-2, "2.00")),
    ],
    ids=repr,
)
def test_cancellations(body: str, expected: object) -> None:
    """How many, and how much came back; or the gateway's reason."""
    assert expected == read_cancellation(body.encode())


@pytest.mark.parametrize(
    "body", ["", "2", "2,", "2,2.", "2,2.00,", "2,2,2", "2,-2.00", "2.0,2", "two", "2;2"]
)
def test_no_cancellations(body: str) -> None:
    """Neither half a reply nor a negative count is a cancellation."""
    with pytest.raises(BadReply):
        read_cancellation(body.encode())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("1000.00", Decimal(1000)),
        ("0", Decimal(0)),
        ("-5.00", Decimal(-5)),
        ("\ufeff285.0\n", Decimal(285)),
        ("-300,帳號密碼不得為空", Refusal(-300, "帳號密碼不得為空")),
    ],
    ids=repr,
)
def test_credits(body: str, expected: object) -> None:
    """A number alone, below zero for who pays later."""
    assert expected == read_credit(body.encode())


@pytest.mark.parametrize(
    "body", ["", "1,000.00", "1000.", ".5", "1e3", "+5", "5 5", "NaN", "Infinity", "1000.00 points"]
)
def test_no_credits(body: str) -> None:
    """A credit that is not surely one is none."""
    with pytest.raises(BadReply):
        read_credit(body.encode())


# --- JSON replies ---


@pytest.mark.parametrize(
    "body",
    [
        "",
        " ",
        "null",
        "[]",
        "[{}]",
        '"{}"',
        "{",
        "{}}",
        "{} {}",
        "{'Result':true}",
        '{"Result":True}',
        '{"Result":NaN}',
        '{"Result":Infinity}',
        '{"Result":-Infinity}',
        '{"Result":1}',
        '{"Result":0}',
        '{"Result":"true"}',
        '{"Result":null}',
        '{"Result":[true]}',
        '{"Result":true,}',
        '{"Result":true} x',
        '{"a":' + "9" * 5000 + "}",
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"a":' + "[" * 100_000,
        "OK",
        "<html></html>",
    ],
    ids=lambda body: repr(body[:30]),
)
def test_no_json(body: str) -> None:
    """Only an object in sound JSON is read, and Result is true, false or absent."""
    with pytest.raises(BadReply):
        read_json(body.encode())


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"Result":true,"Msg":"x"}', {"Result": True, "Msg": "x"}),
        ('{"Result":true,"Status":"0"}', {"Result": True, "Status": "0"}),
        ('{"Result":true,"Status":"-99"}', {"Result": True, "Status": "-99"}),
        ('\ufeff\r\n{"SMS_COUNT":0}\r\n', {"SMS_COUNT": 0}),
        ("{}", {}),
        ('{"Result":false,"Status":"-28","Msg":"a, b"}', Refusal(-28, "a, b")),
        ('{"Result":false,"Status":-28,"Msg":""}', Refusal(-28, "")),
        ('{"Result":false,"Status":"0","Msg":"x"}', Refusal(0, "x")),
        ('{"Result":false}', Refusal(0, "")),
        ('{"Result":false,"Status":null,"Msg":null}', Refusal(0, "")),
        ('{"Result":false,"Status":true,"Msg":5}', Refusal(0, "")),
        ('{"Result":false,"Status":"-28 ","Msg":["x"]}', Refusal(-28, "")),
        ('{"Result":false,"Status":"９","Msg":"x"}', Refusal(0, "x")),
        ('{"Result":false,"Status":"' + "9" * 5000 + '"}', Refusal(0, "")),
        ('{"Result":false,"Status":-9999999999}', Refusal(0, "")),
        ("-300,帳號密碼不得為空", Refusal(-300, "帳號密碼不得為空")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_json(body: str, expected: object) -> None:
    """Result alone decides; a «no» stays one, whatever its reasons look like."""
    assert expected == read_json(body.encode())


@pytest.mark.parametrize("depth", range(900, 1030, 10))
def test_a_refusal_may_hold_nested_lists(depth: int) -> None:
    """However deep what stands in a refusal's place of a code: it has none, or is no JSON."""
    nested = "[" * depth + "]" * depth
    try:
        read = read_json(f'{{"Result":false,"Status":{nested},"Msg":{nested}}}'.encode())
    except BadReply:
        return
    assert read == Refusal(0, "")


@pytest.mark.parametrize("name", [name for name in GOLDENS if name.endswith(".json")])
def test_cut_json_is_nothing(name: str) -> None:
    """No cut JSON is JSON, whatever operation reads it."""
    body = golden(name)
    for length in range(len(body.rstrip())):
        for endpoint, _ in ENDPOINTS.values():
            with pytest.raises(BadReply):
                endpoint.parse(body[:length])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TOKEN, True),
        ("a" * 8, True),
        ("eyJhbGciOi.J9-_~+/=", True),
        ("a" * 4096, True),
        ("", False),
        ("a" * 7, False),
        ("a" * 4097, False),
        (f"{TOKEN}\r\nX-Other: 1", False),
        (f"{TOKEN}\n", False),
        (f"{TOKEN} {TOKEN}", False),
        (f"{TOKEN}\x00", False),
        (f"{TOKEN}\x7f", False),
        (f"{TOKEN}é", False),
        ("發生例外錯誤發生例外錯誤", False),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_tokens(text: str, *, expected: bool) -> None:
    """A token goes into a header: what could end or change that is no token."""
    assert expected is is_token(text)


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        '{"Result":true}',
        '{"Msg":"4bc40f5255fa4d89ac4950b394eca0f6"}',
        '{"Result":true,"Msg":null}',
        '{"Result":true,"Msg":5}',
        '{"Result":true,"Msg":""}',
        '{"Result":true,"Msg":"a\\r\\nb-and-more"}',
    ],
)
def test_a_login_without_a_token(body: str) -> None:
    """A login has succeeded only with a token that can be used."""
    with pytest.raises(BadReply) as caught:
        ENDPOINTS["login"][0].parse(body.encode())
    assert caught.value.problems == ("the reply holds no token",)


# --- text ---


def test_text_is_utf_8() -> None:
    """Another encoding, and a character that was cut, are no text."""
    assert read_text("\ufeff 發生\r\n".encode()) == "發生"
    for body in ["發生".encode("big5"), "發生".encode()[:-1], b"\xff\xfe0\x00", b"\xef\xbb"]:
        with pytest.raises(BadReply) as caught:
            read_text(body)
        assert caught.value.problems == ("the reply is not UTF-8",)
        assert caught.value.__context__ is None


# --- whatever bytes come ---

PIECES = [b",", b"-", b'"', b"{", b"}", b"\\", b"\t", b"\n", b"\x00", b"\xff", b"<", b"9" * 5000]


def problems_of(parse: Callable[[bytes], object], body: bytes) -> tuple[str, ...] | None:
    """Give what is wrong with a reply, or None where it is sound."""
    try:
        assert parse(body) is not None
    except BadReply as bad:
        return bad.problems or ("",)
    return None


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Take a golden reply, and cut, repeat or replace pieces of it."""
    body = golden(draw(st.sampled_from(GOLDENS)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 40)))
        piece = draw(st.sampled_from([b"", body[start:end] * 2, *PIECES]) | st.binary(max_size=4))
        body = body[:start] + piece + body[end:]
    return body


@settings(max_examples=1000)
@given(mutated() | st.binary() | st.text().map(str.encode))
@example(b"<SMS_LOG><CODE>-" + b"9" * 5000 + b"</CODE></SMS_LOG>")
@example(b'{"SMS_COUNT":' + b"9" * 4000 + b"}")
@example(b'{"SMS_COUNT":1e999,"DATA":[{"STATUS":1e999,"COST":1e999}]}')
@example(b"<SMS_LOG>" + b"<SMS>" * 50_000)
@example('{"SMS_COUNT":1,"DATA":[{"MOBILE":"\\ud800","STATUS":"٣"}]}'.encode())
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    """Whatever comes: every reader gives its value, a refusal, or `BadReply` with problems."""
    for name, (endpoint, _) in ENDPOINTS.items():
        assert "" not in (problems_of(endpoint.parse, body) or ()), name


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | FLOATS | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Result", "Status", "Msg", "SMS_COUNT", "DATA", "MOBILE", "STATUS"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(JSON_VALUES)
def test_no_json_raises_anything_else(value: object) -> None:
    """Sound JSON of any shape is as good as any bytes."""
    body = json.dumps(value).encode()
    for name, (endpoint, _) in ENDPOINTS.items():
        assert "" not in (problems_of(endpoint.parse, body) or ()), name


# --- what goes out ---


def test_what_is_written_by_hand_is_not_shown() -> None:
    """JSON that waits to be sent is full of texts and numbers."""
    assert repr(Written(b'"secret"')) == "Written()"


SENDABLE = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(SENDABLE, SENDABLE))
@example({"MSG": "a+b&c=d%20;\r\n 您好😀", "DEST": "+886900000001,+886900000002", "ST": ""})
def test_a_form_says_what_it_was_given(fields: dict[str, str]) -> None:
    """Any text comes out of an independent reader as it went in, empty ones too."""
    body = form_body(fields)
    assert list(fields.items()) == parse_qsl(
        body.decode("ascii"), keep_blank_values=True, strict_parsing=bool(fields), encoding="utf-8"
    )


def test_a_form_writes_numbers() -> None:
    """Numbers stand in a form as their digits."""
    assert form_body({"PNO": 12, "RESPFORMAT": 1}) == b"PNO=12&RESPFORMAT=1"


@given(JSON_VALUES)
@example('a"b\\c\r\n\t</script>您好😀\u2028')
def test_a_json_body_says_what_it_was_given(value: object) -> None:
    """Any value comes out of an independent reader as it went in, in UTF-8 and without escapes."""
    body = json_body({"Param": value})
    assert json.loads(body.decode("utf-8")) == {"Param": value}


@given(*[SENDABLE] * 6)
@example('"', "\\", "\r\n\t", "\u2028</script>", "您好😀", '","Mr":"')
def test_own_texts_say_what_they_were_given(
    name: str, mobile: str, email: str, send_at: str, param: str, reference: str
) -> None:
    """What is written by hand, for speed, is sound JSON with the very texts in it."""
    person = (mobile, param, name, email, send_at, reference)
    message = ParamMessage(param, (person, person), name, 60, reference)
    body = json.loads(SEND_TEMPLATE.request(message, "a-token").body)
    row = {
        "Name": name,
        "Mobile": mobile,
        "Email": email,
        "SendTime": send_at,
        "Param": param,
        "Mr": reference,
    }
    assert body == {
        "SB": name,
        "MSG": param,
        "RETRYTIME": 60,
        "EventID": reference,
        "RecipientDataList": [row, row],
    }


def test_a_json_body_is_compact_utf_8() -> None:
    """Chinese stands as itself: half the bytes of its escapes."""
    assert json_body({"SB": "主旨", "RETRYTIME": 1440}) == '{"SB":"主旨","RETRYTIME":1440}'.encode()


# --- what an error may show of a reply ---

SECRET = "4bc40f5255fa4d89ac4950b394eca0f6"
BONES: list[tuple[str, str]] = [
    ('{"Result":true,"Msg":"' + SECRET + '"', '{"Result":true,"Msg":…'),
    ('{"Result":true,"Msg":"' + SECRET, '{"Result":true,"Msg":…'),
    ('\ufeff{"Msg" : "' + SECRET + '"}', '{"Msg" :…}'),
    ('OK {"Msg":"a\\"' + SECRET + '\\\\"}', '…{"Msg":…}'),
    ('{"' + SECRET + '":1}', "{…}"),
    ('{"NAME":"王小明","COST":1.5,"x":["王小明"]', '{"NAME":…,"COST":…,"x":[…]'),
    ('{"NAME":"王小明\\', '{"NAME":…'),
    ('{"CONTENT":"he said "yes" to you"}', '{"CONTENT":…}'),
    ("{'Msg': '" + SECRET + "'}", "{…}"),
    (SECRET, "…"),
    (f"token={SECRET}&x=1", "token=…&x=1"),
    ("2\r\n王小明\t+886900000001\t好的\t2021", "…\r\n…\t…\t…\t…"),
    ("<SMS><NAME>王小明</NAME><X a='1'/>", "<SMS><NAME>…</NAME><X…>"),
    ("<!DOCTYPE html>\n<html><title>403 - Forbidden", "<!DOCTYPE…>\n<html><title>…"),
    ("busy, call 0912345678", "busy, call 09…678"),
    ("", ""),
    ("\xff\xfe", "ÿþ"),
]


@pytest.mark.parametrize(("body", "shown"), BONES, ids=lambda text: repr(text)[:40])
def test_an_excerpt_shows_bones(body: str, shown: str) -> None:
    """An error shows a reply's keys and tags; what stands between them may be anybody's."""
    assert shown == excerpt(body.encode())


def test_an_excerpt_is_short() -> None:
    """Its length has a bound, whatever came, and cut characters do no harm."""
    assert excerpt(b"no " * 1000) == ("no " * 1000)[:160]
    assert len(excerpt("簡訊 ".encode() * 1000)) <= 160
    assert excerpt("簡".encode()[:2]) == "�"


@given(
    st.sampled_from(GOLDENS),
    st.integers(0, 400),
    st.sampled_from([SECRET, "+886912345678", "王小明小明", "Aa1-密碼-hunter2"]),
    st.sampled_from(['"{}"', "\t{}\t", "<NAME>{}</NAME>", '"x":"{}",', '"{}']),
)
def test_no_excerpt_tells_a_secret(file: str, position: int, secret: str, where: str) -> None:
    """Wherever a value stands in a reply that broke, the excerpt does not hold it."""
    body = golden(file).decode()
    body = body[:position] + where.format(secret) + body[position:]
    shown: Any = excerpt(body.encode())
    assert secret not in shown
