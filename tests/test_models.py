"""The values that go in and come out: mobiles in one spelling, statuses, quiet reprs."""

import pickle
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import example, given
from hypothesis import strategies as st

from every8d_async._codes import DeliveryStatus
from every8d_async._errors import InvalidRequest
from every8d_async._models import (
    TAIPEI,
    Attachment,
    Cancellation,
    DeliveryReport,
    Estimate,
    FilteredReceipt,
    Page,
    PersonalizedMessage,
    Receipt,
    Reply,
    TemplateRecipient,
    canonical,
    mobile,
)

# --- mobiles ---

ZERO_TO_NINE = "0123456789"
WIDE = str.maketrans(ZERO_TO_NINE, "０１２３４５６７８９")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0912345678", "+886912345678"),
        ("886912345678", "+886912345678"),
        ("8860912345678", "+886912345678"),
        ("+886912345678", "+886912345678"),
        ("+8860912345678", "+886912345678"),
        ("0912-345-678", "+886912345678"),
        ("0912 345 678", "+886912345678"),
        ("+886 912 345 678", "+886912345678"),
        ("+886-0912-345678", "+886912345678"),
        (" 0912345678 ", "+886912345678"),
        ("+12025550123", "+12025550123"),
        ("+1 202-555-0123", "+12025550123"),
        ("+44 7700 900123", "+447700900123"),
        ("+8613800138000", "+8613800138000"),
        ("+885123456789", "+885123456789"),
        ("+887123456789", "+887123456789"),
        ("+88123456789", "+88123456789"),
        ("+1234567", "+1234567"),
        ("+123456789012345", "+123456789012345"),
    ],
)
def test_spellings(given: str, expected: str) -> None:
    """All spellings of a number are one number: the form that reports are compared with."""
    assert expected == mobile(given)


HOSTILE = {
    "empty": "",
    "blank": " ",
    "hyphens": "--",
    "plus": "+",
    "letters": "09l2345678",
    "word": "mobile",
    "no prefix": "912345678",
    "short": "091234567",
    "long": "09123456789",
    "double zero": "00912345678",
    "landline": "0223456789",
    "international landline": "+886223456789",
    "international landline with a zero": "+8860223456789",
    "bare international landline": "886223456789",
    "two zeros after 886": "+88600912345678",
    "short after 886": "+88691234567",
    "long after 886": "+8869123456789",
    "886 alone": "+886",
    "foreign without a plus": "12025550123",
    "00 for a plus": "0012025550123",
    "00 for a plus at home": "00886912345678",
    "foreign with a zero": "+0912345678",
    "foreign too short": "+123456",
    "foreign too long": "+1234567890123456",
    "two pluses": "++886912345678",
    "plus at the end": "0912345678+",
    "plus inside": "+886+912345678",
    "comma": "0912345678,0987654321",
    "trailing comma": "0912345678,",
    "leading comma": ",0912345678",
    "full-width comma": "0912345678，0987654321",
    "semicolon": "0912345678;0987654321",
    "slash": "0912345678/0987654321",
    "ampersand": "0912345678&MSG=x",
    "per cent": "0912345678%2C0987654321",
    "LF": "0912345678\n",
    "leading LF": "\n0912345678",
    "CR LF": "0912345678\r\n0987654321",
    "LF for a space": "0912\n345678",
    "NUL": "0912345678\x00",
    "NUL inside": "0912\x00345678",
    "tab": "0912\t345678",
    "vertical tab": "0912345678\x0b",
    "escape": "\x1b0912345678",
    "NEL": "0912345678\x85",
    "line separator": "0912345678\u2028",
    "NBSP": "0912\u00a0345678",
    "ideographic space": "0912\u3000345678",
    "zero width": "0912\u200b345678",
    "BOM": "\ufeff0912345678",
    "right to left": "\u202e0912345678",
    "dash": "0912–345–678",
    "minus": "0912\u2212345678",
    "full-width digits": "0912345678".translate(WIDE),
    "one full-width digit": "091234567８",
    "full-width plus": "＋886912345678",
    "Arabic digits": "٠٩١٢٣٤٥٦٧٨",
    "superscript": "091234567⁸",
    "surrogate": "0912345678\ud800",
    "parentheses": "(0912)345678",
    "dots": "0912.345.678",
    "exponent": "9e8",
    "underscore": "0912_345_678",
    "tel": "tel:+886912345678",
    "two numbers": "0912345678 0987654321",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_mobile(text: str) -> None:
    """What could be read as another number, or as more than one, is refused."""
    assert canonical(text) is None
    with pytest.raises(InvalidRequest) as caught:
        mobile(text)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].endswith("is not a mobile number")
    assert re.search("[0-9]{7}", str(caught.value)) is None
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [None, 912345678, b"0912345678", ["0912345678"], 9e8])
def test_a_mobile_is_a_text(value: Any) -> None:
    """A number's zero would be lost in an int: other things are refused in words."""
    with pytest.raises(InvalidRequest) as caught:
        mobile(value)
    assert caught.value.problems == (f"a mobile number must be a text, not {type(value).__name__}",)


TAIWAN = r"\+8869[0-9]{8}"
FOREIGN = r"\+(?!886)[1-9][0-9]{6,14}"
NEARLY = st.text(st.sampled_from("0123456789+- 89,\n\t\u00a0０"), min_size=8, max_size=18)


@given(st.text() | NEARLY | st.from_regex(r"(\+?8860?|0)9[0-9]{8}", fullmatch=True))
@example("+886 0912-345-678")
def test_any_mobile(text: str) -> None:
    """
    Whatever text comes.

    What is taken is in the canonical form, stays itself, and has all digits of what was given,
    which holds nothing but digits, spaces, hyphens and a plus.
    """
    found = canonical(text)
    if found is None:
        return
    assert re.fullmatch(f"{TAIWAN}|{FOREIGN}", found)
    assert found == mobile(text) == mobile(found)
    assert re.fullmatch("[0-9 +-]+", text)
    digits = re.sub("[ +-]", "", text)
    assert found.removeprefix("+").removeprefix("886") == re.sub("^(8860?|0)", "", digits)


@given(
    st.from_regex("9[0-9]{8}", fullmatch=True),
    st.sampled_from(["0", "886", "8860", "+886", "+8860"]),
    st.lists(st.tuples(st.integers(0, 15), st.sampled_from(" -")), max_size=5),
)
def test_every_taiwanese_mobile(number: str, prefix: str, breaks: list[tuple[int, str]]) -> None:
    """Each of the five prefixes, with spaces and hyphens anywhere, is the same number."""
    text = prefix + number
    for place, mark in breaks:
        text = text[:place] + mark + text[place:]
    assert mobile(text) == f"+886{number}"


# --- reports ---


def report(code: int, *, mobile: str = "+886912345678") -> DeliveryReport:
    return DeliveryReport("1", "王小明", mobile, None, None, code)


STATUSES = [
    # code, status, final, delivered
    (-10, DeliveryStatus.MMS_UNSUPPORTED, True, False),
    (-8, DeliveryStatus.BAD_NUMBER, True, False),
    (-5, DeliveryStatus.TOO_LONG, True, False),
    (-4, DeliveryStatus.OVERDUE, True, False),
    (-3, DeliveryStatus.BLOCKED_BY_RECIPIENT, True, False),
    (-2, DeliveryStatus.BAD_CREDENTIALS, True, False),
    (-1, DeliveryStatus.BAD_PARAMETER, True, False),
    (0, DeliveryStatus.HANDED_TO_CARRIER, False, False),
    (100, DeliveryStatus.DELIVERED, True, True),
    (101, DeliveryStatus.PHONE_UNREACHABLE, True, False),
    (102, DeliveryStatus.CARRIER_FAULT, True, False),
    (103, DeliveryStatus.NUMBER_INVALID, True, False),
    (104, DeliveryStatus.CARRIER_BLACKLIST, True, False),
    (105, DeliveryStatus.CARRIER_BLOCKED_TEXT, True, False),
    (106, DeliveryStatus.PLATFORM_BLOCKED_TEXT, True, False),
    (107, DeliveryStatus.DELIVERED_LATE, True, True),
    (300, DeliveryStatus.SCHEDULED, False, False),
    (301, DeliveryStatus.NO_CREDIT, True, False),
    (303, DeliveryStatus.CANCELLED, True, False),
    (500, DeliveryStatus.FOREIGN_DISABLED, True, False),
    (700, DeliveryStatus.MMS_SENT, True, False),
    (888, DeliveryStatus.TEST_MODE, True, False),
    (999, DeliveryStatus.REPLY, True, False),
    # met elsewhere, or never
    (-6, DeliveryStatus.UNKNOWN, True, False),
    (-9, DeliveryStatus.UNKNOWN, True, False),
    (-32, DeliveryStatus.UNKNOWN, True, False),
    (1, DeliveryStatus.UNKNOWN, False, False),
    (99, DeliveryStatus.UNKNOWN, False, False),
    (108, DeliveryStatus.UNKNOWN, True, False),
    (299, DeliveryStatus.UNKNOWN, True, False),
    (302, DeliveryStatus.UNKNOWN, True, False),
    (10**14, DeliveryStatus.UNKNOWN, True, False),
    (-(2**31), DeliveryStatus.UNKNOWN, True, False),
]


@pytest.mark.parametrize(
    ("code", "status", "final", "delivered"), STATUSES, ids=[str(code) for code, *_ in STATUSES]
)
def test_statuses(code: int, status: DeliveryStatus, *, final: bool, delivered: bool) -> None:
    """Each code has its meaning, and a report says whether it will change and whether it came."""
    row = report(code)
    assert status is row.status
    assert code == row.code
    assert final is row.is_final
    assert delivered is row.is_delivered


def test_every_status_is_in_the_table() -> None:
    """No meaning goes untested."""
    assert set(DeliveryStatus) == {status for _, status, *_ in STATUSES}


@given(st.integers())
def test_no_code_breaks_a_status(code: int) -> None:
    """A code that the gateway invents tomorrow is data, never an exception."""
    status = report(code).status
    assert status.value == code or status is DeliveryStatus.UNKNOWN
    assert not report(code).is_delivered or report(code).is_final


@pytest.mark.parametrize("value", ["100", None, 100.5, object()], ids=repr)
def test_a_status_of_anything_is_unknown(value: Any) -> None:
    """What is no number is no status either, and raises nothing."""
    assert DeliveryStatus(value) is DeliveryStatus.UNKNOWN


# --- receipts ---


@pytest.mark.parametrize(
    ("sent", "unsent", "partial", "nothing"),
    [(2, 0, False, False), (1, 1, True, False), (0, 2, True, True), (0, 0, False, True)],
    ids=["all", "some", "none", "nobody"],
)
def test_receipts_say_who_got_nothing(
    sent: int, unsent: int, *, partial: bool, nothing: bool
) -> None:
    """A success may have sent to nobody, and the caller can see it."""
    for receipt in (
        Receipt(Decimal(0), sent, Decimal(sent), unsent, "b"),
        FilteredReceipt(Decimal(0), sent, Decimal(sent), unsent, "b"),
    ):
        assert partial is receipt.is_partial
        assert nothing is receipt.nothing_sent


# --- values ---

SECRETS = ["王小明", "+886912345678", "912345678", "您的驗證碼", "a@example.com", "GIF89a", "好的"]
VALUES: list[Callable[[], Any]] = [
    lambda: report(100),
    lambda: report(100, mobile="0912345678\n0987654321"),
    lambda: Reply("王小明", "+886912345678", "好的"),
    lambda: Receipt(Decimal(1), 1, Decimal(1), 0, "b"),
    lambda: FilteredReceipt(None, 0, Decimal(0), 0, "", ("+886912345678",), ("b",)),
    lambda: Cancellation(2, Decimal(2)),
    lambda: Estimate(70, 1, Decimal(1)),
    lambda: Page(1, 1, (report(100),)),
    lambda: PersonalizedMessage(
        "+886912345678", "您的驗證碼", name="王小明", email="a@example.com"
    ),
    lambda: TemplateRecipient("+886912345678", ["好的"], name="王小明", email="a@example.com"),
    lambda: Attachment(b"GIF89a", "gif"),
]
each = pytest.mark.parametrize("make", VALUES, ids=lambda make: type(make()).__name__)


@each
def test_reprs_are_quiet(make: Callable[[], Any]) -> None:
    """What ends up in logs shows no name, text, mail or whole number."""
    shown = repr(make())
    assert [secret for secret in SECRETS if secret in shown] == []
    assert shown.startswith(type(make()).__name__)


WRONG: Any = 912345678  # as out of a spreadsheet


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (PersonalizedMessage(WRONG, "t"), "mobile=<int>"),
        (TemplateRecipient(WRONG, []), "mobile=<int>"),
        (Attachment(WRONG, "jpg"), "data=<int>"),
        (FilteredReceipt(None, 0, Decimal(0), 0, "", (WRONG,)), "filtered=[<int>]"),
    ],
    ids=["message", "recipient", "attachment", "filtered"],
)
def test_reprs_of_what_is_wrong(value: object, shown: str) -> None:
    """What holds a value of a wrong type shows that, and does not fail: one wants to see it."""
    assert shown in repr(value)
    assert "912345678" not in repr(value)


def test_reprs_show_enough() -> None:
    """A number can be found again by its ends, a batch by its id."""
    assert "+8869…678" in repr(report(100))
    assert "code=100" in repr(report(100))
    assert "<6 bytes>" in repr(Attachment(b"GIF89a", "gif"))
    assert "+8869…678" in repr(FilteredReceipt(None, 0, Decimal(0), 0, "", ("+886912345678",)))


@each
def test_values_are_frozen_and_small(make: Callable[[], Any]) -> None:
    """A value is never changed, and has no room for more than its fields."""
    value = make()
    with pytest.raises(FrozenInstanceError):
        setattr(value, value.__slots__[0], None)
    assert not hasattr(value, "__dict__")


@each
def test_values_compare_and_pickle(make: Callable[[], Any]) -> None:
    """Equal fields are equal values, also after a way to another process."""
    assert make() == make()
    assert make() == pickle.loads(pickle.dumps(make()))


def test_values_do_not_check_themselves() -> None:
    """A generator that feeds many sends must not blow up: the call that sends does the checks."""
    assert PersonalizedMessage("nobody", "").mobile == "nobody"
    assert TemplateRecipient("nobody", ["|"] * 9).fields == ["|"] * 9
    assert Attachment(b"", "gif").data == b""


def test_taipei_has_no_daylight_saving() -> None:
    """The gateway's clock is eight hours ahead, the whole year."""
    assert TAIPEI.utcoffset(None).total_seconds() == 8 * 3600
    assert str(TAIPEI) == "Asia/Taipei"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", "png"), ("a.JPG", "jpg"), ("a.tar.jpeg", "jpeg"), ("a.bmp", "bmp"), ("a", "")],
)
def test_an_attachment_from_a_file(name: str, kind: str, tmp_path: Path) -> None:
    """A file's ending says the type; whether it is true is checked when it is sent."""
    file = tmp_path / name
    file.write_bytes(b"GIF89a")
    for path in (file, str(file)):
        read = Attachment.from_path(path)
        assert (read.data, read.type) == (b"GIF89a", kind)


def test_an_attachment_that_is_not_there(tmp_path: Path) -> None:
    """A missing file is the file system's own error."""
    with pytest.raises(FileNotFoundError):
        Attachment.from_path(tmp_path / "missing.png")
