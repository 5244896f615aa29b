"""Reading a push report: every spelling that was met, and nothing but InvalidReport otherwise."""

import pickle
import time
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import MultiDict
from starlette.datastructures import QueryParams

from every8d_async import TAIPEI, DeliveryStatus, Every8DSession, PersonalizedMessage
from every8d_async._checks import is_line
from every8d_async._pool import in_memory
from every8d_async.simulator import Simulator
from every8d_async.webhooks import InvalidReport, PushedReply, PushedReport, parse_report

BATCH = "f370a403-df23-4122-a7e6-261563a071cd"
RECORDED = (
    f"BatchID={BATCH}&RM=%2b886987654321&RT=20180101120002&STATUS=100"
    "&SM=Hello%2c+%e4%b8%96%e7%95%8c&CustID=a1&UserNo=b2&ST=20180101120000&MR=1&SUBJECT=&"
    "NAME=%e7%8e%8b+%e5%b0%8f%e6%98%8e&USERID=demo&SOURCE=&CHARGE=0"
)
LEAST = {"BatchID": BATCH, "RM": "+886987654321", "STATUS": "100"}


def report(**more: Any) -> PushedReport:
    found = parse_report(LEAST | more)
    assert isinstance(found, PushedReport)
    return found


def reply(**more: Any) -> PushedReply:
    found = parse_report(LEAST | {"STATUS": "999"} | more)
    assert isinstance(found, PushedReply)
    return found


def problems(data: Any, **options: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidReport) as raised:
        parse_report(data, **options)
    return raised.value.problems


@pytest.mark.parametrize("data", [RECORDED, RECORDED.encode(), "?" + RECORDED], ids=type)
def test_recorded_report(data: str | bytes) -> None:
    """The recorded query string: lower-case hex, `+` for a space, SM in a delivery report."""
    assert parse_report(data) == PushedReport(
        batch_id=BATCH,
        mobile="+886987654321",
        text="Hello, 世界",
        reference="1",
        sent_at=datetime(2018, 1, 1, 12, 0, 0, tzinfo=TAIPEI),
        received_at=datetime(2018, 1, 1, 12, 0, 2, tzinfo=TAIPEI),
        name="王 小明",
        charge=Decimal(0),
        extra={"CustID": "a1", "UserNo": "b2", "USERID": "demo"},
        code=100,
    )


def test_documented_report() -> None:
    """The official text's names, all of them; TYPE and MSGID are newer."""
    data = (
        f"BatchID={BATCH}&RM=0987654321&RT=20260131120000&STATUS=103&SM=&ST=20260131115959"
        "&MR=own&SUBJECT=s&NAME=n&SOURCE=api&CHARGE=1.50&TYPE=SMS&MSGID=m"
    )
    found = parse_report(data)
    assert isinstance(found, PushedReport)
    assert (found.mobile, found.source, found.charge) == ("+886987654321", "api", Decimal("1.50"))
    assert (found.kind, found.message_id, found.subject, found.extra) == ("SMS", "m", "s", {})


def test_reply() -> None:
    """STATUS 999 is a reply, and SM what was written."""
    found = reply(SM="好", RT="20260131120000")
    assert (found.mobile, found.text, found.code) == ("+886987654321", "好", 999)
    assert found.received_at == datetime(2026, 1, 31, 12, tzinfo=TAIPEI)


def test_only_three_names_must_be_there() -> None:
    """All but BatchID, RM and STATUS may be missing or empty."""
    empty = dict.fromkeys(["RT", "SM", "ST", "MR", "SUBJECT", "NAME", "SOURCE", "CHARGE"], "")
    expected = PushedReport(batch_id=BATCH, mobile="+886987654321", code=100)
    assert report() == report(**empty) == expected


@pytest.mark.parametrize("name", ["BatchID", "RM", "STATUS"])
def test_what_must_be_there(name: str) -> None:
    """Without one of the three, or with an empty one, it is no report."""
    assert f"{name}: is missing" in problems(LEAST | {name: " "})
    rest = {key: value for key, value in LEAST.items() if key != name}
    assert problems(urlencode(rest)) == (f"{name}: is missing",)


def test_names_in_any_case() -> None:
    """The gateway's own kind of server knows no case; nor do we."""
    assert parse_report(f"batchid={BATCH}&rm=%2B886987654321&Status=100") == report()


@pytest.mark.parametrize(
    ("code", "status", "is_final", "is_delivered"),
    [
        ("0", DeliveryStatus.HANDED_TO_CARRIER, False, False),
        ("300", DeliveryStatus.SCHEDULED, False, False),
        ("100", DeliveryStatus.DELIVERED, True, True),
        ("-4", DeliveryStatus.OVERDUE, True, False),
        ("12345", DeliveryStatus.UNKNOWN, True, False),
    ],
)
def test_statuses(code: str, status: DeliveryStatus, is_final: bool, is_delivered: bool) -> None:
    """Codes mean what they mean in the gateway's own reports; unknown ones pass as data."""
    found = report(STATUS=code)
    assert (found.status, found.is_final, found.is_delivered) == (status, is_final, is_delivered)
    assert found.code == int(code)


@pytest.mark.parametrize("time", ["20260131120000", "2026/01/31 12:00:00", "2026-01-31 12:00:00"])
def test_times_are_taipei_times(time: str) -> None:
    """Times are aware; the forms of the gateway's query replies are taken too."""
    assert report(RT=time).received_at == datetime(2026, 1, 31, 12, tzinfo=TAIPEI)


def test_a_bad_number_is_reported_too() -> None:
    """RM may be no mobile number at all: that is what status -8 says."""
    assert report(RM=" 12-34 ", STATUS="-8").mobile == "12-34"


def test_repeated_reference() -> None:
    """MR, which the text lists twice, may come twice: the first counts, another is kept."""
    found = parse_report(f"{urlencode(LEAST)}&MR=&MR=1&MR=1&MR=batch+7")
    assert (found.reference, found.extra) == ("1", {"MR": "batch 7"})


def test_other_names_may_not_contradict() -> None:
    """The same value twice is fine; two values leave it open which one is meant."""
    assert parse_report(f"{urlencode(LEAST)}&STATUS=100") == report()
    assert problems(f"{urlencode(LEAST)}&STATUS=101") == (
        "STATUS: comes 2 times, each time another",
    )


def test_unknown_names_are_kept() -> None:
    """Unknown names are in `extra`; repeated ones are joined with commas; values are whole."""
    found = parse_report(f"{urlencode(LEAST)}&&New=a%3db&New=c=d&flag")
    assert found.extra == {"New": "a=b,c=d", "flag": ""}


@pytest.mark.parametrize("encoding", ["big5", "BIG5", "cp950"])
def test_big5(encoding: str) -> None:
    """BIG5 is read as cp950; trail bytes that are ASCII come as they are."""
    text = "一功€ 乙"
    escaped = "%a4%40%a5%5c%a3%e1+%a4A"
    data = f"{urlencode(LEAST)}&SM={escaped}"
    for each in (data, data.encode(), f"{urlencode(LEAST)}&SM={text}"):
        assert parse_report(each, encoding=encoding).text == text


def test_characters_of_ones_own() -> None:
    """A character that Windows users define themselves costs itself, not the report."""
    assert parse_report(f"{urlencode(LEAST)}&SM=a%fa%40b", encoding="big5").text == "a\ufffdb"
    assert problems(f"{urlencode(LEAST)}&SM=a%fa", encoding="big5") == ("SM: is not cp950",)
    assert problems(f"{urlencode(LEAST)}&SM=%ff%20", encoding="big5") == ("SM: is not cp950",)
    with pytest.raises(UnicodeEncodeError):
        "é".encode("ascii", "every8d.own-characters")  # for reading alone


def test_an_encoding_that_was_set_wrongly_is_met() -> None:
    """BIG5 where UTF-8 was agreed on is a problem with its name, not other characters."""
    assert problems(f"{urlencode(LEAST)}&SM=%a4%40") == ("SM: is not utf-8",)
    assert problems(f"{urlencode(LEAST)}&%ff=1") == ("%f…: is not utf-8",)
    assert "holds characters that are not cp950" in problems("SM=😀", encoding="big5")


def test_no_such_encoding() -> None:
    """An encoding that the gateway does not offer is the program's fault."""
    for encoding in ("utf-16", "ascii", "nonsense"):
        with pytest.raises(ValueError, match="utf-8 or big5"):
            parse_report(RECORDED, encoding=encoding)


def test_mapping() -> None:
    """A mapping may have lists of values, as frameworks give them."""
    assert parse_report({name: [value] for name, value in LEAST.items()}) == report()
    assert parse_report(LEAST | {"MR": ("1", "2")}).extra == {"MR": "2"}
    assert problems(LEAST | {"SM": 3, "NAME": "\ud800", 5: "x"}) == (
        "SM: must be text",
        "NAME: must be text",
        "a name is not text",
    )


@pytest.mark.parametrize("data", [None, 3, b"", "", {}, ["BatchID"], b"\x00\xff", "&&&", "=&="])
def test_what_is_none(data: Any) -> None:
    """Anything else is an InvalidReport."""
    assert problems(data)


def test_all_problems_are_listed_and_masked() -> None:
    """Every problem is told at once; values are masked, and control characters shown."""
    bad = {
        "BatchID": "a\nb",
        "RM": "",
        "STATUS": "0912345678x",
        "RT": "20261331120000",
        "ST": "soon",
        "CHARGE": "+886912345678",
    }
    with pytest.raises(InvalidReport) as raised:
        parse_report(bad)
    assert raised.value.problems == (
        "BatchID: must not hold control characters, not 'a\\\\…'",
        "RM: is missing",
        "STATUS: must be a whole number, not '09…78x'",
        "RT: must be a time such as 20260131120000, not '20261…000'",
        "ST: must be a time such as 20260131120000, not 'so…'",
        "CHARGE: must be an amount of points, not '+8869…678'",
    )
    assert str(raised.value).startswith("not a push report: BatchID")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), again.problems) == (InvalidReport, raised.value.problems)


# What is no letter, figure or sign, and can be sent all the same: blanks, joiners, own characters.
ODD = [
    char
    for char in map(chr, (*range(0xD800), 0xE000, 0xFEFF, 0xE0001, 0xF0000))
    if not char.isprintable() and is_line(char)
]


@pytest.mark.anyio
async def test_every_reference_that_can_be_sent_comes_back() -> None:
    """What the sending side lets pass as a reference is read in the push report, in its place."""
    assert {"\u3000", "\xa0", "\u200d", "\u2028", "\ue000"} <= {*ODD}
    simulator = Simulator()
    sent = [f"訂單{char}1" for char in ODD] + ["\u3000order 2\xa0", " order 3 "]
    messages = [PersonalizedMessage("0900000001", "x", reference=each) for each in sent]
    transport = in_memory(simulator)
    async with Every8DSession("demo", "demo", site="http://localhost", transport=transport) as s:
        await s.sms.send_personalized(messages)
    simulator.deliver_all()
    found = [parse_report(push.query).reference for push in simulator.take_pushes()]
    assert found == [each.strip() for each in sent]


@pytest.mark.parametrize("name", ["BatchID", "RM", "TYPE", "MSGID"])
def test_other_names_may_hold_odd_blanks(name: str) -> None:
    """A number that somebody typed with a wide blank is a report (-8); a line end in it is none."""
    report(**{name: "090\u3000000"})
    assert problems(LEAST | {name: "090\n000"}) == (
        f"{name}: must not hold control characters, not '09…000'",
    )


def test_what_cannot_be_sent_is_no_reference() -> None:
    """A control character is nothing that a gateway gives back."""
    assert problems(LEAST | {"MR": "a\0b"}) == (
        "MR: must not hold control characters, not 'a\\\\…'",
    )


def test_blank_texts_are_texts() -> None:
    """A reply of blanks is one; beside another value a blank one doesn't count."""
    assert reply(SM="  ").text == "  "
    assert reply(SM=["", " ", "好"]).text == "好"
    assert report(RT="  ", MR=[" ", ""]) == report()


def test_frameworks_own_mappings_give_all_values() -> None:
    """A mapping that shows the last of several values is asked for all: the key is the same."""
    raw = f"{urlencode(LEAST)}&MR=1&MR=2&New=a&New=b"
    found = parse_report(raw)
    assert (found.reference, found.extra) == ("1", {"MR": "2", "New": "a,b"})
    assert parse_report(QueryParams(raw)) == parse_report(MultiDict(parse_qsl(raw))) == found
    assert parse_report(parse_qs(raw)) == found


def test_one_unknown_name_very_many_times() -> None:
    """It takes no longer than as many different names: nobody may hold up the event loop."""
    count = 100_000
    once = "".join(f"&{number}=xxx" for number in range(count))
    assert duration(urlencode(LEAST) + "&note=xxx" * count) < 3 * duration(urlencode(LEAST) + once)


def duration(data: str) -> float:
    """Give the least CPU time that reading takes, of three times."""
    times: list[float] = []
    for _ in range(3):
        before = time.process_time()
        parse_report(data)
        times.append(time.process_time() - before)
    return min(times)


# --- key ---


def test_key_of_a_report() -> None:
    """It is the same for a second try, whatever else changed; another status is another report."""
    first = report(MR="1", RT="20260131120000")
    assert first.key == report(MR="1", RT="20260131120500", SM="x", New="y").key
    assert first.key == "6018b03c84b97cef0900763a8d93662f"  # kept by users: it must never change
    others = [report(MR="1", STATUS="0"), report(MR="2"), report(MR="1", BatchID="x")]
    assert len({first.key, *(each.key for each in others)}) == 4


def test_key_of_a_reply() -> None:
    """People write the same twice: time and text count."""
    first = reply(SM="好", RT="20260131120000")
    assert first.key == reply(SM="好", RT="20260131120000", New="y").key
    assert first.key == "b2e22f288abf048103da0d39dc89bf72"
    others = [reply(SM="好", RT="20260131120001"), reply(SM="好的", RT="20260131120000"), reply()]
    assert len({first.key, *(each.key for each in others)}) == 4


def test_reprs_are_quiet() -> None:
    """No number, text or name shows; values travel through pickle, and hash."""
    found = parse_report(RECORDED + "&SUBJECT=topsecret")
    shown = repr(found)
    for secret in ("987654321", "世界", "小明", "topsecret", "demo"):
        assert secret not in shown
    assert "+8869…321" in shown
    assert pickle.loads(pickle.dumps(found)) == found
    assert hash(found) == hash(parse_report(RECORDED + "&SUBJECT=topsecret"))


# --- whatever comes ---

NAMES = st.sampled_from([*LEAST, "RT", "ST", "MR", "SM", "CHARGE", "NAME", "x"]) | st.text()
VALUES = st.text() | st.sampled_from(["100", "999", "20260131120000", "0912345678", "1.5"])


def survives(data: Any, encoding: str) -> None:
    try:
        found = parse_report(data, encoding=encoding)
    except InvalidReport:
        return
    assert found.batch_id
    assert found.mobile
    assert len(found.key) == 32


@given(st.binary() | st.text(), st.sampled_from(["utf-8", "big5"]))
@example("STATUS=٣&RM=1&BatchID=1", "utf-8")
@example("STATUS=1&RM=1&BatchID=1&RT=٢٠٢٦٠١٣١١٢٠٠٠٠", "utf-8")
def test_raw_data(data: Any, encoding: str) -> None:
    """Whatever bytes or text come in, only InvalidReport comes out."""
    survives(data, encoding)


@given(st.lists(st.tuples(NAMES, VALUES)), st.sampled_from(["utf-8", "big5"]))
def test_escaped_pairs(pairs: list[tuple[str, str]], encoding: str) -> None:
    """Nor from well-formed query strings with any names and values."""
    survives(urlencode(pairs, encoding="utf-8", errors="surrogatepass"), encoding)


@given(st.dictionaries(NAMES | st.integers(), VALUES | st.lists(VALUES) | st.none() | st.binary()))
def test_mappings(data: dict[Any, Any]) -> None:
    """Nor from mappings with any values."""
    survives(data, "utf-8")


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_texts_come_back(text: str, name: str) -> None:
    """What was escaped is what is read."""
    data = urlencode(LEAST | {"SM": text, "NAME": name})
    found = parse_report(data)
    assert (found.text, found.name) == (text, name)
