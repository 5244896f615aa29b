"""Estimates: what texts and pictures cost by the rules that resellers know, at their boundaries."""

import math
from decimal import Decimal
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from every8d_async import Attachment, Estimate, Every8DSession, InvalidRequest
from every8d_async._estimate import estimate_sms, segments, text_units
from every8d_async.simulator import Account, Simulator
from every8d_async.simulator._pricing import mms_points, sms_points
from tests import kit

# A session needs no gateway to estimate.
SMS, MMS = Every8DSession("uid", "password").sms, Every8DSession("uid", "password").mms
HOME, ABROAD = "+886900000001", "+12025550123"
KB = 1024
ACCOUNT = Account(uid="Test", password="XXX")
PNG = b"\x89PNG\r\n\x1a\n"

# (name, text, event id, units, points)
TEXTS: list[tuple[str, str, str | None, int, int]] = [
    ("one letter", "a", None, 1, 1),
    ("ascii 160", "a" * 160, None, 160, 1),
    ("ascii 161", "a" * 161, None, 161, 2),
    ("ascii 306", "a" * 306, None, 306, 2),
    ("ascii 307", "a" * 307, None, 307, 3),
    ("ascii 765", "a" * 765, None, 765, 5),
    ("ascii 766", "a" * 766, None, 766, 6),
    ("ascii 765+160", "a" * 925, None, 925, 6),
    ("ascii 765+161", "a" * 926, None, 926, 7),
    ("ascii 2*765", "a" * 1530, None, 1530, 10),
    ("ascii 2*765+1", "a" * 1531, None, 1531, 11),
    ("one character", "好", None, 1, 1),
    ("chinese 70", "好" * 70, None, 70, 1),
    ("chinese 71", "好" * 71, None, 71, 2),
    ("chinese 134", "好" * 134, None, 134, 2),
    ("chinese 135", "好" * 135, None, 135, 3),
    ("chinese 333", "好" * 333, None, 333, 5),
    ("chinese 334", "好" * 334, None, 334, 6),
    ("chinese 333+70", "好" * 403, None, 403, 6),
    ("chinese 333+71", "好" * 404, None, 404, 7),
    ("chinese 2*333", "好" * 666, None, 666, 10),
    ("chinese 2*333+1", "好" * 667, None, 667, 11),
    ("one accent among letters", "a" * 69 + "é", None, 70, 1),
    ("one accent too many", "a" * 70 + "é", None, 71, 2),
    ("35 astral", "😀" * 35, None, 70, 1),
    ("36 astral", "😀" * 36, None, 72, 2),
    ("line ends count", "a\r\n" * 53 + "a", None, 160, 1),
    ("event, ascii 143", "a" * 143, "1234", 160, 1),
    ("event, ascii 144", "a" * 144, "1234", 161, 2),
    ("event, chinese 53", "好" * 53, "1234", 70, 1),
    ("event, chinese 54", "好" * 54, "1234", 71, 2),
    ("default event", "好" * 54, "-1", 71, 2),
    ("event, chinese 316", "好" * 316, "1234", 333, 5),
    ("event, chinese 317", "好" * 317, "1234", 334, 6),
]
texts = pytest.mark.parametrize(
    ("text", "event_id", "units", "points"),
    [row[1:] for row in TEXTS],
    ids=[row[0] for row in TEXTS],
)


@texts
def test_texts(text: str, event_id: str | None, units: int, points: int) -> None:
    """Any non-ASCII: 70 alone, 67 joined, 5 points for 333; ASCII: 160, 153, 5 for 765."""
    assert Estimate(units, points, Decimal(points)) == SMS.estimate(text, event_id=event_id)


@texts
@pytest.mark.anyio
async def test_the_simulator_bills_what_was_estimated(
    text: str, event_id: str | None, units: int, points: int
) -> None:
    """The simulator prices by code of its own: at home once, abroad three times."""
    account = Account(uid="Test", password="XXX", international=True, default_channel=True)
    transport = httpx.ASGITransport(app=Simulator(accounts=[account]))
    async with kit.session(transport) as session:
        receipt = await session.sms.send(text, [HOME, ABROAD], event_id=event_id)
    estimate = SMS.estimate(text, [HOME, ABROAD], event_id=event_id)
    assert Decimal(4 * points) == receipt.cost == estimate.points


@given(st.text(st.sampled_from("aé好😀\n"), min_size=1, max_size=2000), st.booleans())
@settings(deadline=None)
def test_both_price_lists_agree(text: str, event: bool) -> None:
    """No text, of whatever length, has two prices."""
    estimate = estimate_sms(text, 1, "1234" if event else None)
    assert sms_points(text, event=event) == estimate.points


@given(st.integers(1, 5000), st.booleans())
@settings(deadline=None)
def test_longer_texts_cost_no_less(units: int, plain: bool) -> None:
    """One more character never makes a text cheaper, nor dearer by more than a message."""
    now, more = segments(units, plain=plain), segments(units + 1, plain=plain)
    assert now <= more <= now + 1
    assert now >= math.ceil(units / (160 if plain else 70))


def test_units_are_utf16() -> None:
    """An astral character takes two units; all others one, joiners and accents included."""
    assert text_units("a好é\n") == 4
    assert text_units("😀") == 2
    assert text_units("👨\u200d👩") == 5


@pytest.mark.parametrize(
    ("to", "points"),
    [
        (1, 2),
        (1000, 2000),
        ("0900000001", 2),
        ([HOME], 2),
        ((HOME, "0900-000-002", "886900000003"), 6),
        ((number for number in (HOME, HOME)), 4),
        (ABROAD, 6),
        ([HOME, ABROAD], 8),
        ([], 0),
    ],
    ids=["one", "count", "text", "list", "spellings", "generator", "abroad", "mixed", "nobody"],
)
def test_recipients(to: Any, points: int) -> None:
    """A bare count is taken to be at home; a foreign number costs three times as much."""
    assert Estimate(71, 2, Decimal(points)) == SMS.estimate("好" * 71, to)


@pytest.mark.parametrize(
    ("text", "to", "problems"),
    [
        ("", 1, ["text: must not be empty"]),
        (None, 1, ["text: must be a text, not NoneType"]),
        ("a\x00b", 1, ["text: holds a character that can't be sent (U+0000) at position 1"]),
        ("a", 0, ["to: must be a whole number from 1"]),
        ("a", -5, ["to: must be a whole number from 1"]),
        ("a", True, ["to: must be an iterable, not bool"]),
        ("a", 2.5, ["to: must be an iterable, not float"]),
        ("a", None, ["to: must be an iterable, not NoneType"]),
        ("a", ["0900000001", "12", 5],
         ["to[1]: '12…' is no mobile number", "to[2]: must be a text, not int"]),
        ("", ["12"], ["text: must not be empty", "to[0]: '12…' is no mobile number"]),
    ],
)  # fmt: skip
def test_bad_arguments(text: Any, to: Any, problems: list[str]) -> None:
    """What can't be sent has no price; all problems are told at once."""
    with pytest.raises(InvalidRequest) as caught:
        SMS.estimate(text, to)
    assert problems == list(caught.value.problems)
    assert caught.value.operation == "sms.estimate"


@pytest.mark.parametrize(
    ("size", "text", "units", "points"),
    [
        (0, "", 0, 3),
        (50 * KB, "", 51200, 3),
        (50 * KB + 1, "", 51201, 5),
        (50 * KB - 3, "好", 51200, 3),
        (50 * KB - 2, "好", 51201, 5),
        (300 * KB, "", 307200, 5),
        (300 * KB - 4, "😀", 307200, 5),
    ],
)
def test_pictures(size: int, text: str, units: int, points: int) -> None:
    """An MMS costs 3 points up to 50 KB and 5 up to 300 KB, its text's UTF-8 bytes included."""
    estimate = MMS.estimate(Attachment(bytes(size), "png"), text, 2)
    assert Estimate(units, 1, Decimal(2 * points)) == estimate
    assert mms_points(size + len(text.encode())) == Decimal(points)


@pytest.mark.anyio
@pytest.mark.parametrize("size", [50 * KB, 50 * KB + 1, 300 * KB])
async def test_the_simulator_bills_an_mms_as_estimated(size: int) -> None:
    """The second price list agrees at the boundaries of picture and text together."""
    picture = Attachment(PNG + bytes(size - len(PNG) - 3), "png")
    transport = httpx.ASGITransport(app=Simulator(accounts=[ACCOUNT]))
    async with kit.session(transport) as session:
        receipt = await session.mms.send("好", HOME, picture, subject="主旨")
    assert receipt.cost == MMS.estimate(picture, "好").points


@pytest.mark.parametrize(
    ("attachment", "text", "to", "problems"),
    [
        (Attachment(bytes(300 * KB + 1), "png"), "", 1,
         ["attachment: 307201 bytes with the text; an MMS takes 307200"]),
        (Attachment(bytes(300 * KB - 2), "png"), "好", 1,
         ["attachment: 307201 bytes with the text; an MMS takes 307200"]),
        (PNG, "", 1, ["attachment: must be an Attachment with data of bytes"]),
        (Attachment(None, "png"), "", 1,  # type: ignore[arg-type]
         ["attachment: must be an Attachment with data of bytes"]),
        (Attachment(PNG, "png"), None, 1, ["text: must be a text, not NoneType"]),
        (Attachment(PNG, "png"), "", [HOME, ABROAD],
         ["to[1]: an MMS can't go to a foreign number"]),
        (Attachment(PNG, "png"), "", "12", ["to[0]: '12…' is no mobile number"]),
        (None, "\ud800", 0, [
            "text: holds a character that can't be sent (U+D800) at position 0",
            "to: must be a whole number from 1",
            "attachment: must be an Attachment with data of bytes",
        ]),
    ],
)  # fmt: skip
def test_bad_mms_arguments(attachment: Any, text: Any, to: Any, problems: list[str]) -> None:
    """Too large, no picture, abroad, no number: all is told at once, and nothing twice."""
    with pytest.raises(InvalidRequest) as caught:
        MMS.estimate(attachment, text, to)
    assert problems == list(caught.value.problems)
    assert caught.value.operation == "mms.estimate"
