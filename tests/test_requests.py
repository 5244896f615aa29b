"""What callers hand in: checked before the wire, every problem told at once, none quoted whole."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from every8d_async import _requests as requests
from every8d_async._checks import is_sendable
from every8d_async._errors import InvalidRequest
from every8d_async._models import TAIPEI, ResponseFormat
from every8d_async._requests import Options, TextMessage, text_message
from tests import kit

FIRST, SECOND, THIRD = "+886900000001", "+886900000002", "+886900000003"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def checked(
    text: Any = "hello",
    to: Any = FIRST,
    *,
    subject: Any = "",
    send_at: Any = None,
    valid_for: Any = None,
    event_id: Any = None,
) -> TextMessage:
    options = Options(subject=subject, valid_for=valid_for, event_id=event_id)
    return text_message("sms.send", text, to, options, send_at, now=lambda: NOW)


def problems(*args: Any, **options: Any) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        checked(*args, **options)
    assert caught.value.operation == "sms.send"
    assert caught.value.sent is False
    return list(caught.value.problems)


def test_a_message_ready_for_the_wire() -> None:
    """Numbers in canonical form, times and minutes in the wire's words."""
    message = checked(
        "您的驗證碼是 123456",
        ["0900000001", "+886-900-000-002"],
        subject="主旨",
        send_at=datetime(2099, 11, 24, 12, 0, 0, tzinfo=TAIPEI),
        valid_for=timedelta(hours=2),
        event_id="-1",
    )
    assert message == TextMessage(
        text="您的驗證碼是 123456",
        mobiles=(FIRST, SECOND),
        subject="主旨",
        send_at="20991124120000",
        minutes=120,
        event_id="-1",
    )


def test_defaults() -> None:
    """At once, for a day, without a channel."""
    message = checked()
    assert (message.send_at, message.minutes, message.event_id) == ("", 1440, None)


# --- texts ---


@pytest.mark.parametrize(
    "text",
    [
        "a",
        " ",
        "您的驗證碼是 123456",
        "two\nlines",
        "two\r\nlines",
        "old\rMac",
        "a\ttab",
        "😀",
        "👩‍👩‍👧‍👦",
        "𠮷野家",
        "e\u0301",
        "\u00a0\u2028\u200b\ufeff",
        "\ue000\ufffe\U0010ffff",
        "100% & more + = ? # %field1% |",
        "<b>'\"\\</b>",
        "長" * 100_000,
    ],
    ids=lambda text: ascii(text)[:30],
)
def test_texts(text: str) -> None:
    """What people can read goes out as it stands."""
    assert checked(text, subject=text).text == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\x00", "holds a character that can't be sent (U+0000) at position 1"),
        ("\x08", "holds a character that can't be sent (U+0008) at position 0"),
        ("a\x0bb", "holds a character that can't be sent (U+000B) at position 1"),
        ("a\x0cb", "holds a character that can't be sent (U+000C) at position 1"),
        ("\x0e", "holds a character that can't be sent (U+000E) at position 0"),
        ("\x1b[31m", "holds a character that can't be sent (U+001B) at position 0"),
        ("\x1f", "holds a character that can't be sent (U+001F) at position 0"),
        ("\x7f", "holds a character that can't be sent (U+007F) at position 0"),
        ("\x80", "holds a character that can't be sent (U+0080) at position 0"),
        ("\x85", "holds a character that can't be sent (U+0085) at position 0"),
        ("\x9f", "holds a character that can't be sent (U+009F) at position 0"),
        ("\ud83d", "holds a character that can't be sent (U+D83D) at position 0"),
        ("ok \udfff", "holds a character that can't be sent (U+DFFF) at position 3"),
        ("\ud83d\ude00", "holds a character that can't be sent (U+D83D) at position 0"),
        (None, "must be a text, not NoneType"),
        (b"hello", "must be a text, not bytes"),
        (5, "must be a text, not int"),
        (["hello"], "must be a text, not list"),
    ],
    ids=ascii,
)
def test_what_is_no_text(text: Any, problem: str) -> None:
    """Controls and halves of characters can't be sent; a problem tells which, and where."""
    assert problems(text) == [f"text: {problem}"]
    assert problems(subject=text) == [f"subject: {problem}"]


class Column:
    """Like a table's column, which compares each of its cells and is neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError

    __ne__ = __eq__
    __hash__ = None  # type: ignore[assignment] # as a column has none


def test_a_column_is_no_text() -> None:
    """What is no text is asked for nothing else."""
    assert problems(Column()) == ["text: must be a text, not Column"]


def test_an_sms_says_something() -> None:
    """A text must not be empty, a subject may."""
    assert problems("") == ["text: must not be empty"]
    assert checked(subject="").subject == ""


EVERY_CHARACTER = st.characters(exclude_categories=())  # halves of characters as well


@given(st.text() | st.text(EVERY_CHARACTER))
def test_any_text(text: str) -> None:
    """A text that is taken can be written in UTF-8 and comes out unchanged."""
    try:
        message = checked(text, subject=text)
    except InvalidRequest as error:
        said = len(error.problems)
    else:
        said = 0
        assert (message.text, message.subject) == (text, text)
        assert text.encode("utf-8")
    assert said <= 2
    assert is_sendable(text) is (said == 0 or not text)


# --- recipients ---


def generated() -> Iterator[str]:
    yield "0900000001"
    yield "0900000002"


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("0900000001", [FIRST]),
        (["0900000001"], [FIRST]),
        (("0900000002", "+886900000001"), [SECOND, FIRST]),
        (generated(), [FIRST, SECOND]),
        ({FIRST: "Test01", SECOND: "Test02"}, [FIRST, SECOND]),
        ({FIRST}, [FIRST]),
        (map(str, [FIRST, THIRD]), [FIRST, THIRD]),
        (["+12025550123", "0900000001"], ["+12025550123", FIRST]),
    ],
    ids=["text", "list", "tuple", "generator", "dict", "set", "map", "foreign"],
)
def test_recipients(to: Any, expected: list[str]) -> None:
    """A text is one mobile; anything to iterate over is many, in its order."""
    assert expected == list(checked(to=to).mobiles)


def test_many_recipients() -> None:
    """No limit is published, so none is made up."""
    to = [f"09{number:08}" for number in range(50_000)]
    assert len(checked(to=to).mobiles) == 50_000


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (None, ["to: must be an iterable, not NoneType"]),
        (912345678, ["to: must be an iterable, not int"]),
        (b"0912345678", ["to: must be an iterable, not bytes"]),
        ([], ["to: holds nobody"]),
        (iter(()), ["to: holds nobody"]),
        ("", ["to[0]: '…' is no mobile number"]),
        (["0900000001", None], ["to[1]: must be a text, not NoneType"]),
        ([900000001], ["to[0]: must be a text, not int"]),
        ([["0900000001"]], ["to[0]: must be a text, not list"]),
        ("0900000001,0900000002", ["to[0]: '09000…002' is no mobile number"]),
        ("0900000001\n", ["to[0]: '09000…1\\\\n' is no mobile number"]),
        ("0223456789", ["to[0]: '02…789' is no mobile number"]),
    ],
    ids=repr,
)
def test_what_is_no_recipient(to: Any, expected: list[str]) -> None:
    """What could add recipients, or reach nobody, is refused."""
    assert expected == problems(to=to)


def test_every_bad_recipient_is_named() -> None:
    """A problem has the position and the masked number, so that it can be found in a long list."""
    to = ["0900000001", "x", "+886900000001", "0900000002", 5, "0900 000 002", "y", "0900000001"]
    again = "and would be sent and billed twice"
    assert problems(to=to) == [
        "to[1]: 'x…' is no mobile number",
        f"to[2]: '+8869…001' is the same mobile as to[0] {again}",
        "to[4]: must be a text, not int",
        f"to[5]: '+8869…002' is the same mobile as to[3] {again}",
        "to[6]: 'y…' is no mobile number",
        f"to[7]: '+8869…001' is the same mobile as to[0] {again}",
    ]


def test_a_callers_own_error_comes_through() -> None:
    """A generator that fails is the caller's own business, and nothing was sent."""

    def broken() -> Iterator[str]:
        yield FIRST
        raise LookupError("the caller's database")

    with pytest.raises(LookupError, match="the caller's database"):
        checked(to=broken())


@given(st.lists(st.text(st.sampled_from("0123456789+- ,\n９"), max_size=14) | st.just(FIRST)))
def test_no_list_adds_recipients(to: list[str]) -> None:
    """On the wire there are as many mobiles as were given, or there is no wire."""
    try:
        mobiles = checked(to=to).mobiles
    except InvalidRequest:
        return
    assert len(mobiles) == len(to) == len(",".join(mobiles).split(",")) == len(set(mobiles))


# --- times ---


class Nowhere(tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, dt: datetime | None) -> None:
        return None

    def dst(self, dt: datetime | None) -> None:
        return None

    def tzname(self, dt: datetime | None) -> str:
        return "nowhere"


EARLIEST = NOW - timedelta(seconds=60)


@pytest.mark.parametrize(
    ("send_at", "expected"),
    [
        (None, ""),
        (datetime(2099, 11, 24, 12, 0, 0, tzinfo=TAIPEI), "20991124120000"),
        (datetime(2099, 11, 24, 4, 0, 0, tzinfo=UTC), "20991124120000"),
        (datetime(2099, 11, 23, 23, tzinfo=timezone(-timedelta(hours=5))), "20991124120000"),
        (datetime(2099, 12, 31, 16, 0, 0, tzinfo=UTC), "21000101000000"),
        (datetime(2099, 11, 24, 12, 0, 0, 999999, tzinfo=TAIPEI), "20991124120000"),
        (NOW, "20260102110405"),
        (EARLIEST, "20260102110305"),
        (EARLIEST.astimezone(timezone(timedelta(hours=14))), "20260102110305"),
        (datetime(9999, 12, 31, 15, 59, 59, tzinfo=UTC), "99991231235959"),
    ],
    ids=str,
)
def test_times(send_at: datetime | None, expected: str) -> None:
    """A time goes out in Taipei's clock, 14 digits; 60 s past is still «now»."""
    assert expected == checked(send_at=send_at).send_at


ZONE = "send_at: must be a datetime with a time zone, such as TAIPEI"
PAST = "send_at: is more than 60 s past"


@pytest.mark.parametrize(
    ("send_at", "problem"),
    [
        (datetime(2099, 11, 24, 12, 0, 0), ZONE),  # noqa: DTZ001 - naive is the point
        (datetime(2099, 11, 24, 12, 0, 0, tzinfo=Nowhere()), ZONE),
        (date(2099, 11, 24), ZONE),
        (time(12, tzinfo=UTC), ZONE),
        ("20991124120000", ZONE),
        (4098484800, ZONE),
        (timedelta(hours=1), ZONE),
        (EARLIEST - timedelta(microseconds=1), PAST),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=TAIPEI), PAST),
        (datetime.min.replace(tzinfo=UTC), PAST),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), PAST),
        (datetime(9999, 12, 31, 16, 0, 0, tzinfo=UTC), "send_at: is too far away"),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))), "send_at: is too far away"),
    ],
    ids=str,
)
def test_bad_times(send_at: Any, problem: str) -> None:
    """A time without a zone, past, or beyond the calendar is refused."""
    assert problems(send_at=send_at) == [problem]


def test_the_clock_is_the_worlds() -> None:
    """Without a clock handed in, now is now."""
    options = Options(subject="", valid_for=None, event_id=None)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    assert len(text_message("sms.send", "a", FIRST, options, soon).send_at) == 14
    with pytest.raises(InvalidRequest):
        text_message("sms.send", "a", FIRST, options, soon - timedelta(seconds=90))


@given(st.datetimes(timezones=st.timezones()))
def test_any_time(send_at: datetime) -> None:
    """Whatever time comes: it goes out as the same moment, or is refused."""
    try:
        written = checked(send_at=send_at).send_at
    except InvalidRequest:
        return
    read = datetime.strptime(written, "%Y%m%d%H%M%S").replace(tzinfo=TAIPEI)
    assert read == send_at.astimezone(TAIPEI).replace(microsecond=0)


@pytest.mark.parametrize(
    ("valid_for", "minutes"),
    [
        (None, 1440),
        (timedelta(minutes=1), 1),
        (timedelta(seconds=120), 2),
        (timedelta(hours=24), 1440),
        (timedelta(days=2, minutes=1), 2881),
    ],
    ids=str,
)
def test_how_long_delivery_is_tried(valid_for: timedelta | None, minutes: int) -> None:
    """Whole minutes, a day if nothing is said."""
    assert minutes == checked(valid_for=valid_for).minutes


@pytest.mark.parametrize(
    "valid_for",
    [
        timedelta(0),
        timedelta(minutes=-1),
        timedelta(seconds=59),
        timedelta(seconds=61),
        timedelta(minutes=1, microseconds=1),
        timedelta.max,
        1440,
        "1440",
    ],
    ids=str,
)
def test_bad_minutes(valid_for: Any) -> None:
    """The wire knows minutes alone: nothing is rounded."""
    expected = ["valid_for: must be a timedelta of whole minutes, one at least"]
    assert expected == problems(valid_for=valid_for)


# --- identifiers ---

CONTROL = "holds a control character"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "must not be empty"),
        ("12\n34", CONTROL),
        ("12\t34", CONTROL),
        ("\x00", CONTROL),
        ("12\x85", CONTROL),
        ("12\ud800", CONTROL),
        (1234, "must be a text, not int"),
        (b"1234", "must be a text, not bytes"),
    ],
    ids=ascii,
)
def test_bad_identifiers(value: Any, problem: str) -> None:
    """A channel and a batch are named by a text without controls."""
    assert problems(event_id=value) == [f"event_id: {problem}"]
    with pytest.raises(InvalidRequest) as caught:
        requests.batch("sms.cancel", value)
    assert caught.value.problems == (f"batch_id: {problem}",)
    assert caught.value.operation == "sms.cancel"


@pytest.mark.parametrize("batch_id", ["x", "3fbcc889-574e-4340-a561-5669b0f0e", "批次", " "])
def test_batch_ids_are_the_gateways(batch_id: str) -> None:
    """A batch id's form is not checked: the official text's own has 33 characters."""
    assert batch_id == requests.batch("sms.cancel", batch_id)


def paging_problems(**changes: Any) -> list[str]:
    given = {"batch_id": "b", "start_page": 1, "window": 4, "response_format": 1} | changes
    try:
        requests.check_paging("sms.delivery_reports", **given, formats=[ResponseFormat.JSON])
    except InvalidRequest as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize("value", [1, 2, 10**9], ids=str)
def test_pages_from_1(value: int) -> None:
    """A pager begins anywhere, with a window of any size."""
    assert paging_problems(start_page=value, window=value) == []


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None], ids=repr)
@pytest.mark.parametrize("name", ["start_page", "window"])
def test_bad_pages(name: str, value: Any) -> None:
    """Pages and windows are whole numbers from 1."""
    assert paging_problems(**{name: value}) == [f"{name}: must be a whole number from 1"]


def test_all_problems_of_a_pager() -> None:
    """All at once, before anything is asked for."""
    found = paging_problems(batch_id="", start_page=0, window=0, response_format=[])
    assert [problem.partition(":")[0] for problem in found] == [
        "batch_id",
        "start_page",
        "window",
        "response_format",
    ]


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-1), 30, None], ids=repr)
def test_a_watch_takes_timedeltas(value: Any) -> None:
    """A watch's times are above zero."""
    with pytest.raises(InvalidRequest) as caught:
        requests.check_watching("sms.watch", "", value, value)
    assert caught.value.problems == (
        "batch_id: must not be empty",
        "every: must be a timedelta above zero",
        "timeout: must be a timedelta above zero",
    )
    requests.check_watching("sms.watch", "b", timedelta(seconds=1), timedelta.max)


# --- together ---


def test_all_problems_are_listed() -> None:
    """One look tells everything there is to fix, in the order of the arguments."""
    found = problems(
        "",
        [],
        subject="\x00",
        send_at=datetime(2020, 1, 1, tzinfo=UTC),
        valid_for=timedelta(0),
        event_id="\n",
    )
    assert sorted(problem.partition(":")[0] for problem in found) == [
        "event_id",
        "send_at",
        "subject",
        "text",
        "to",
        "valid_for",
    ]


def test_problems_show_nobody() -> None:
    """Neither texts, subjects nor whole numbers stand in an error."""
    error = str(
        problems(
            "secret text\x00",
            ["0912345678,0987654321", "+886912345678x", "+886912345678", "0912345678"],
            subject="secret subject\x00",
            event_id="secret\n",
        )
    )
    assert [word for word in ("secret", "912345678", "987654321") if word in error] == []


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.none() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
    st.timedeltas(),
    st.datetimes(),
    st.builds(object),
)


@given(
    text=ANYTHING,
    to=ANYTHING,
    subject=ANYTHING,
    send_at=ANYTHING,
    valid_for=ANYTHING,
    event_id=ANYTHING,
)
def test_no_argument_raises_anything_else(**arguments: Any) -> None:
    """Whatever is handed in: a message, or `InvalidRequest` with problems that name arguments."""
    try:
        checked(**arguments)
    except InvalidRequest as error:
        names = {problem.partition(":")[0].partition("[")[0] for problem in error.problems}
    else:
        names = set[str]()
    assert names <= set(arguments)


BAD_CALLS: dict[str, Callable[[Any], Any]] = {
    "send": lambda session: session.sms.send("", to=[]),
    "hostile mobile": lambda session: session.sms.send("a", to="0912345678\n0987654321"),
    "filtered": lambda session: session.sms.send_filtered("", to=[]),
    "own texts": lambda session: session.sms.send_personalized([]),
    "template": lambda session: session.sms.send_template("", []),
    "cancel": lambda session: session.sms.cancel(""),
    "MMS": lambda session: session.mms.send("", [], None, subject=""),
    "MMS cancel": lambda session: session.mms.cancel("\n"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("call", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_nothing_is_sent_of_what_is_wrong(call: Callable[[Any], Any]) -> None:
    """A bad call never gets to the wire, not even to a login."""
    async with kit.session(kit.refusing()) as session:
        with pytest.raises(InvalidRequest) as caught:
            await call(session)
        assert caught.value.problems


def test_a_pager_is_checked_when_it_is_made() -> None:
    """What is wrong with a query is told at once, not when it is first iterated; no loop needed."""
    session = kit.session(kit.refusing())
    for make in (session.sms.delivery_reports, session.sms.replies, session.mms.delivery_reports):
        with pytest.raises(InvalidRequest):
            make("", start_page=0)
