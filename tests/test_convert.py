"""From plain values to models: every spelling that is met, and every problem with its path."""

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async._codes import DeliveryStatus
from every8d_async._convert import (
    CAREFUL,
    REPORT_NAMES,
    ReplyPage,
    ReportPage,
    _carefully,
    structure,
    usual_rows,
)
from every8d_async._models import TAIPEI, DeliveryReport, Reply
from every8d_async._wire import BadReply

THEN = datetime(2021, 12, 16, 16, 9, 6, tzinfo=TAIPEI)
ROW: dict[str, Any] = {
    "MR": "1",
    "NAME": "王小明",
    "MOBILE": "+886900000001",
    "SEND_TIME": "2021-12-16 16:09:06",
    "COST": "1.00",
    "STATUS": "100",
    "REAL_COST": "0.50",
    "RECEIVED_TIME": "2021/12/16 16:09:06",
}
REPORT = DeliveryReport(
    reference="1",
    name="王小明",
    mobile="+886900000001",
    sent_at=THEN,
    cost=Decimal("1.00"),
    code=100,
    real_cost=Decimal("0.50"),
    received_at=THEN,
)
REPLY_ROW: dict[str, Any] = {
    "NAME": "王小明",
    "MOBILE": "+886900000001",
    "CONTENT": "好的\r\n謝謝",
    "RECEIVED_TIME": "2021/12/16 16:09:06",
}
REPLY = Reply(name="王小明", mobile="+886900000001", text="好的\r\n謝謝", received_at=THEN)


def report(**changes: Any) -> DeliveryReport:
    """Read a row that differs from the sample, and give its report."""
    page = structure({"SMS_COUNT": 1, "DATA": [ROW | changes]}, ReportPage)
    return page.rows[0]


def problems(plain: dict[str, Any], model: type = ReportPage) -> tuple[str, ...]:
    with pytest.raises(BadReply) as caught:
        structure(plain, model)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.problems


def problems_of_row(**changes: Any) -> tuple[str, ...]:
    return problems({"SMS_COUNT": 1, "DATA": [ROW | changes]})


def test_a_row_of_a_report() -> None:
    """Each value of the wire has its place and its type."""
    page = structure({"SMS_COUNT": 1, "BID": "f370", "DATA": [ROW]}, ReportPage)
    assert ReportPage(1, (REPORT,)) == page


def test_a_row_of_a_reply() -> None:
    """A reply's text is kept to the last line end."""
    page = structure({"SMS_COUNT": 1, "BID": "f370", "DATA": [REPLY_ROW]}, ReplyPage)
    assert ReplyPage(1, (REPLY,)) == page


@pytest.mark.parametrize("model", [ReportPage, ReplyPage])
@pytest.mark.parametrize(
    "plain",
    [
        {"SMS_COUNT": 0},
        {"SMS_COUNT": "0", "BID": ""},
        {"SMS_COUNT": 0, "DATA": None},
        {"SMS_COUNT": 0, "DATA": []},
    ],
    ids=["absent", "text", "null", "empty"],
)
def test_a_page_without_rows(plain: dict[str, Any], model: type) -> None:
    """DATA may be absent where there are no rows."""
    assert structure(plain, model) == model(0, ())


def test_the_count_is_the_batchs() -> None:
    """SMS_COUNT is of the whole batch: it need not be the number of rows here."""
    assert structure({"SMS_COUNT": 2500, "DATA": [ROW, ROW]}, ReportPage).total == 2500
    assert structure({"SMS_COUNT": "2500"}, ReportPage) == ReportPage(2500)


@pytest.mark.parametrize("field", ["SEND_TIME", "RECEIVED_TIME"])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021-12-16 16:09:06", THEN),
        ("2021/12/16 16:09:06", THEN),
        (" 2021/12/16 16:09:06 ", THEN),
        ("2024-02-29 23:59:59", datetime(2024, 2, 29, 23, 59, 59, tzinfo=TAIPEI)),
        ("", None),
        ("   ", None),
        (None, None),
    ],
    ids=repr,
)
def test_times(field: str, text: str | None, expected: datetime | None) -> None:
    """Both spellings of a date are met, in one row too; times are Taipei's."""
    row = report(**{field: text})
    read = row.sent_at if field == "SEND_TIME" else row.received_at
    assert expected == read
    assert read is None or read.tzinfo is TAIPEI


@pytest.mark.parametrize("field", ["COST", "REAL_COST"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.00", "1.00"),
        ("3", "3"),
        (" 1.5 ", "1.5"),
        ("-1.00", "-1.00"),
        ("0.123456", "0.123456"),
        (1, "1"),
        (1.5, "1.5"),
        (0, "0"),
        (-2.25, "-2.25"),
        ("", None),
        (None, None),
    ],
    ids=repr,
)
def test_points(field: str, value: Any, expected: str | None) -> None:
    """Money is exact, whether it came as a text or as a number of JSON."""
    row = report(**{field: value})
    read = row.cost if field == "COST" else row.real_cost
    assert expected == (None if read is None else str(read))
    assert read is None or isinstance(read, Decimal)


@pytest.mark.parametrize(
    ("value", "code", "status"),
    [
        ("100", 100, DeliveryStatus.DELIVERED),
        (100, 100, DeliveryStatus.DELIVERED),
        (" 0 ", 0, DeliveryStatus.HANDED_TO_CARRIER),
        ("-10", -10, DeliveryStatus.MMS_UNSUPPORTED),
        ("0100", 100, DeliveryStatus.DELIVERED),
        ("424242", 424242, DeliveryStatus.UNKNOWN),
        (-424242, -424242, DeliveryStatus.UNKNOWN),
        ("999999999999999", 999999999999999, DeliveryStatus.UNKNOWN),
    ],
    ids=repr,
)
def test_codes(value: Any, code: int, status: DeliveryStatus) -> None:
    """A code that nobody knows breaks no page; it stays beside its status."""
    assert (report(STATUS=value).code, report(STATUS=value).status) == (code, status)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("+886900000001", "+886900000001"),
        ("0900000001", "+886900000001"),
        ("886900000001", "+886900000001"),
        ("+886900000001   ", "+886900000001"),
        ("+12025550123", "+12025550123"),
        ("0223456789", "0223456789"),
        ("+8869*****001", "+8869*****001"),
        ("", ""),
    ],
    ids=repr,
)
def test_mobiles(value: str, expected: str) -> None:
    """Mobiles come in canonical form; what is none is kept as it stands, and breaks no page."""
    assert expected == report(MOBILE=value).mobile


@pytest.mark.parametrize(
    ("field", "name", "empty"),
    [
        ("MR", "reference", ""),
        ("NAME", "name", ""),
        ("SEND_TIME", "sent_at", None),
        ("COST", "cost", None),
        ("REAL_COST", "real_cost", None),
        ("RECEIVED_TIME", "received_at", None),
    ],
)
def test_fields_that_may_be_absent(field: str, name: str, empty: object) -> None:
    """A row may lack anything but whose it is and what became of it; null is as good as absent."""
    row = {key: value for key, value in ROW.items() if key != field}
    for variant in (row, row | {field: None}, row | {field: ""}):
        page = structure({"SMS_COUNT": 1, "DATA": [variant]}, ReportPage)
        assert empty == getattr(page.rows[0], name)


def test_what_is_new_is_let_pass() -> None:
    """A field that a later version of the gateway adds breaks nothing."""
    assert report(TYPE="SMS", MSGID=5, EXTRA={"deep": [1]}) == REPORT


BAD_PAGES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["SMS_COUNT: is missing"]),
    ({"BID": "f370"}, ["SMS_COUNT: is missing"]),
    ({"DATA": []}, ["SMS_COUNT: is missing"]),
    ({"SMS_COUNT": None}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": ""}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": "many"}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": 1.0}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": True}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": "１"}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": "1_000"}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": [1]}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": 10**15}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": "9" * 16}, ["SMS_COUNT: must be a whole number"]),
    ({"SMS_COUNT": -1}, ["SMS_COUNT: must not be negative"]),
    ({"SMS_COUNT": "-1"}, ["SMS_COUNT: must not be negative"]),
    ({"SMS_COUNT": 1, "DATA": {}}, ["DATA: must be a list"]),
    ({"SMS_COUNT": 1, "DATA": "[]"}, ["DATA: must be a list"]),
    ({"SMS_COUNT": 1, "DATA": 5}, ["DATA: must be a list"]),
    ({"SMS_COUNT": 1, "DATA": [None]}, ["DATA[0]: must be an object"]),
    (
        {"SMS_COUNT": 1, "DATA": [[], "x"]},
        ["DATA[0]: must be an object", "DATA[1]: must be an object"],
    ),
    (
        {"SMS_COUNT": 1, "DATA": [{}]},
        ["DATA[0].MOBILE: is missing", "DATA[0].STATUS: is missing"],
    ),
    (
        {"SMS_COUNT": "x", "DATA": 5},
        ["SMS_COUNT: must be a whole number", "DATA: must be a list"],
    ),
]


@pytest.mark.parametrize(
    ("plain", "expected"), BAD_PAGES, ids=[repr(plain)[:60] for plain, _ in BAD_PAGES]
)
def test_problems_of_a_page(plain: dict[str, Any], expected: list[str]) -> None:
    """Each problem names its path as the wire has it."""
    assert expected == list(problems(plain))


AMOUNT = "must be an amount of points"
TIME = "must be a time such as 2026-01-31 12:00:00"


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("STATUS", None, "must be a whole number"),
        ("STATUS", "", "must be a whole number"),
        ("STATUS", "delivered", "must be a whole number"),
        ("STATUS", "1.0", "must be a whole number"),
        ("STATUS", 1.0, "must be a whole number"),
        ("STATUS", False, "must be a whole number"),
        ("STATUS", {"code": 1}, "must be a whole number"),
        ("STATUS", "9" * 16, "must be a whole number"),
        ("STATUS", 10**15, "must be a whole number"),
        ("MOBILE", 900000001, "must be a text"),
        ("NAME", 5, "must be a text"),
        ("MR", ["1"], "must be a text"),
        ("COST", "one", AMOUNT),
        ("COST", "1,000.00", AMOUNT),
        ("COST", "1.", AMOUNT),
        ("COST", "１", AMOUNT),
        ("COST", "NaN", AMOUNT),
        ("COST", "1e3", AMOUNT),
        ("COST", 1e300, AMOUNT),
        ("COST", True, AMOUNT),
        ("COST", [1], AMOUNT),
        ("REAL_COST", {}, AMOUNT),
        ("SEND_TIME", "2021-12-16T16:09:06", TIME),
        ("SEND_TIME", "2021-12/16 16:09:06", TIME),
        ("SEND_TIME", "2021-12-16", TIME),
        ("SEND_TIME", "20211216160906", TIME),
        ("SEND_TIME", "2021-12-16 16:09:06+08:00", TIME),
        ("SEND_TIME", "２021-12-16 16:09:06", TIME),
        ("SEND_TIME", 1639642146, "must be a time"),
        ("RECEIVED_TIME", "soon", TIME),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_problems_of_a_row(field: str, value: Any, problem: str) -> None:
    """A wrong value is an error with its path, never 0, None or a guess."""
    assert problems_of_row(**{field: value}) == (f"DATA[0].{field}: {problem}",)


@pytest.mark.parametrize(
    "text", ["2021-13-01 00:00:00", "2021-02-29 00:00:00", "2021-01-01 24:00:01"]
)
def test_a_time_that_there_is_not(text: str) -> None:
    """A date that is in no calendar is refused as well."""
    (problem,) = problems_of_row(SEND_TIME=text)
    assert problem.startswith("DATA[0].SEND_TIME: ")


def test_all_problems_are_listed() -> None:
    """One look tells everything that is wrong with a page, in the order of its rows."""
    rows = [ROW, ROW | {"STATUS": "x", "COST": "y"}, 5, ROW | {"SEND_TIME": "z"}]
    assert problems({"SMS_COUNT": -1, "DATA": rows}) == (
        "SMS_COUNT: must not be negative",
        "DATA[1].COST: must be an amount of points",
        "DATA[1].STATUS: must be a whole number",
        "DATA[2]: must be an object",
        f"DATA[3].SEND_TIME: {TIME}",
    )


def test_problems_of_replies() -> None:
    """Replies have paths of their own."""
    no_text = {"MOBILE": "+886900000001"}
    rows: list[Any] = [REPLY_ROW | {"CONTENT": 5}, no_text, REPLY_ROW | {"NAME": 5.0}]
    assert problems({"SMS_COUNT": 3, "DATA": rows}, ReplyPage) == (
        "DATA[0].CONTENT: must be a text",
        "DATA[1].CONTENT: is missing",
        "DATA[2].NAME: must be a text",
    )


SECRET = "王小明-0912345678-hunter2"


@pytest.mark.parametrize("field", ROW)
@pytest.mark.parametrize("value", [SECRET, [SECRET], {SECRET: SECRET}, {"@ x": SECRET}])
def test_values_are_quoted_nowhere(field: str, value: Any) -> None:
    """A problem tells where, and what should stand there; what does may be anybody's."""
    try:
        structure({"SMS_COUNT": 1, "DATA": [ROW | {field: value}]}, ReportPage)
    except BadReply as bad:
        said = str(bad)
    else:
        said = ""
    assert SECRET not in said


def test_a_big_page_stays_exact() -> None:
    """A full page of 1000 rows, each its own, comes in order."""
    rows = [ROW | {"MR": str(number), "STATUS": number} for number in range(1000)]
    page = structure({"SMS_COUNT": 5000, "DATA": rows}, ReportPage)
    assert [str(number) for number in range(1000)] == [row.reference for row in page.rows]
    assert list(range(1000)) == [row.code for row in page.rows]


WIRE_NAMES = [*ROW, "CONTENT", "SMS_COUNT", "DATA", "other"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WIRE_NAMES), inner, max_size=4)
    ),
    max_leaves=8,
)


def page_of(rows: object) -> dict[str, Any]:
    return {"SMS_COUNT": 9, "DATA": rows}


ROWS = st.lists(st.dictionaries(st.sampled_from(WIRE_NAMES), VALUES), max_size=4)
PAGES = st.builds(page_of, ROWS | VALUES) | st.dictionaries(st.sampled_from(WIRE_NAMES), VALUES)


@settings(max_examples=200)
@given(PAGES)
def test_any_page(plain: dict[str, Any]) -> None:
    """Whatever stands where, a page is read or all its problems have a path of the wire."""
    for model in (ReportPage, ReplyPage):
        try:
            structure(plain, model)
        except BadReply as bad:
            paths = [problem.partition(":")[0] for problem in bad.problems]
        else:
            paths = ["SMS_COUNT"]
        assert paths
        assert all(path.startswith(("SMS_COUNT", "DATA")) for path in paths)


SPELLINGS = st.one_of(
    VALUES,
    *(st.just(value) for value in ROW.values()),
    st.sampled_from(["", " ", "0900000001", "-10", "007", "1.5", 1, 100, 1.5, True]),
)


@settings(max_examples=400)
@given(
    st.lists(st.dictionaries(st.sampled_from([*ROW, "other"]), SPELLINGS, max_size=3), max_size=3)
)
def test_the_quick_way_is_the_careful_way(changes: list[dict[str, Any]]) -> None:
    """Rows in their usual spelling are read by quicker code, to the same values."""
    plain = {"SMS_COUNT": 3, "DATA": [ROW, *(ROW | change for change in changes)]}
    careful = problems_or_page(plain, _carefully)
    assert careful == problems_or_page(plain, structure)
    if isinstance(careful, ReportPage):
        usual = problems_or_page({"SMS_COUNT": 1, "DATA": [ROW]}, structure)
        assert isinstance(usual, ReportPage)
        assert usual.rows[0] == careful.rows[0]


def problems_or_page(plain: dict[str, Any], read: Callable[..., ReportPage]) -> object:
    try:
        return read(plain, ReportPage)
    except BadReply as bad:
        return bad.problems


@given(st.dictionaries(st.sampled_from(list(ROW)), st.text(max_size=20)))
def test_texts_alone_break_only_their_own_fields(changes: dict[str, str]) -> None:
    """A row of any texts is read, or each problem is of a field that was changed."""
    plain = json.loads(json.dumps({"SMS_COUNT": 1, "DATA": [ROW | changes]}))
    try:
        structure(plain, ReportPage)
    except BadReply as bad:
        paths = [problem.partition(":")[0] for problem in bad.problems]
    else:
        paths = []
    assert {path.removeprefix("DATA[0].") for path in paths} <= set(changes)


ODD_VALUES: dict[str, list[Any]] = {
    "MR": [None, ""],
    "NAME": [None],
    "MOBILE": ["+886900000001   ", "0900-000-001", "abc", None],
    "SEND_TIME": [None, "", " 2026/01/31 12:00:00 "],
    "COST": [None, 1, 1.5, " 1.00"],
    "STATUS": [100, " 0 ", "-1"],
    "REAL_COST": [None, 1.0, 1],
    "RECEIVED_TIME": [None, ""],
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, them in ODD_VALUES.items() for v in them]
)
def test_an_odd_spelling_is_read_with_all_the_others(name: str, value: Any) -> None:
    """It costs its own column, not the page: a thousand of them must not hold up the event loop."""
    usual = {
        "MR": "1", "NAME": "王", "MOBILE": "+886900000001", "SEND_TIME": "2026-01-31 12:00:00",
        "COST": "1.00", "STATUS": "100", "REAL_COST": "1.00", "RECEIVED_TIME": "",
    }  # fmt: skip
    rows = [usual, {**usual, name: value}, {key: usual[key] for key in ("MOBILE", "STATUS")}]
    made = usual_rows(DeliveryReport, REPORT_NAMES)(rows)
    assert made == CAREFUL.structure({"SMS_COUNT": 3, "DATA": rows}, ReportPage).rows
