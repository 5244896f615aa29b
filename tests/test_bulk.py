"""Planning a bulk run, without an event loop: grouping, checks, prices, limits, options."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from every8d_async import (
    Attachment,
    Every8DSession,
    InvalidRequest,
    PersonalizedMessage,
    TemplateRecipient,
)
from every8d_async import _endpoints as endpoints
from every8d_async import _requests as requests
from every8d_async._bulk import BulkSummary, Chunk, Chunker, Plan
from every8d_async._checks import Problems, is_line, is_sendable
from every8d_async._plans import Limits, broadcast_plan, by_halves, personal_plan
from every8d_async._requests import Options, ParamMessage, Template
from every8d_async._usual import ParamRecipient

if TYPE_CHECKING:
    from every8d_async._plans import Caller

from .kit import ABROAD, FIRST, PICTURE, SECOND

SMS = Options(subject="", valid_for=None, event_id=None)
MMS = Options(subject="主旨", valid_for=None, event_id=None, attachment=PICTURE, mms=True)
LIMITS = Limits(batch_size=500, max_in_flight=8)
SOON = datetime.now(UTC) + timedelta(days=1)


async def nobody(endpoint: object, args: object) -> Any:
    raise AssertionError("planning calls nobody")


CALL = cast("Caller", nobody)


def personal(template: object = None, options: Options = SMS, limits: Limits = LIMITS) -> Any:
    endpoint = endpoints.SEND_PERSONALIZED if template is None else endpoints.SEND_TEMPLATE
    return personal_plan("sms.send_bulk", CALL, endpoint, template, options, limits)


def broadcast(
    text: object = "text", options: Options = SMS, limits: Limits = LIMITS
) -> Plan[str, str]:
    return broadcast_plan("sms.broadcast", CALL, endpoints.SEND_SMS, text, None, options, limits)


def chunks_of(items: Sequence[tuple[int, str]], size: int) -> list[Chunk[int, int]]:
    chunker = Chunker[int, int](size)
    given = [chunker.add(item, -item, key) for item, key in items]
    return [chunk for chunk in [*given, chunker.rest()] if chunk is not None]


# --- grouping ---


@given(
    keys=st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=60),
    size=st.integers(1, 9),
)
def test_groups_hold_everything_once_in_order(keys: list[str], size: int) -> None:
    """No item is lost, doubled or moved; no group is too large, nor holds a key twice."""
    chunks = chunks_of(list(enumerate(keys)), size)
    assert list(range(len(keys))) == [item for chunk in chunks for item in chunk.items]
    for chunk in chunks:
        assert chunk.ready == tuple(-item for item in chunk.items)
        assert 1 <= len(chunk.items) <= size
        named = [keys[item] for item in chunk.items if keys[item]]
        assert len(named) == len(set(named))


@given(
    keys=st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=60),
    size=st.integers(1, 9),
)
def test_a_group_is_closed_early_by_a_key_that_is_there_alone(keys: list[str], size: int) -> None:
    """Each group but the last is full, or the next item's key stands in it."""
    chunks = chunks_of(list(enumerate(keys)), size)
    for chunk in chunks[:-1]:
        following = keys[chunk.items[-1] + 1]
        assert len(chunk.items) == size or following in [keys[item] for item in chunk.items]


@given(
    keys=st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=60),
    size=st.integers(1, 9),
    data=st.data(),
)
def test_items_taken_together_make_the_same_groups(
    keys: list[str], size: int, data: st.DataObject
) -> None:
    """Where several fit, taking them at once comes to the same as one by one."""
    items = list(enumerate(keys))
    chunker = Chunker[int, int](size)
    found: list[Chunk[int, int] | None] = []
    while items:
        count = data.draw(st.integers(1, chunker.lacks))
        some, items = items[:count], items[count:]
        names = [key for _, key in some]
        if chunker.fits(names):
            numbers = [item for item, _ in some]
            found.append(chunker.extend(numbers, [-number for number in numbers], names))
        else:
            found += [chunker.add(item, -item, key) for item, key in some]
    found.append(chunker.rest())
    assert chunks_of(list(enumerate(keys)), size) == [chunk for chunk in found if chunk]


@given(count=st.integers(0, 40), size=st.integers(1, 9))
def test_a_group_tells_what_it_still_takes(count: int, size: int) -> None:
    """`lacks` is what completes the group: never 0, so that reading that many always goes on."""
    chunker = Chunker[int, int](size)
    for item in range(count):
        assert chunker.lacks == size - item % size
        assert (chunker.add(item, item, "") is not None) == (chunker.lacks == size)


# --- what goes on the wire, or why it can't ---

ODD: st.SearchStrategy[Any] = st.sampled_from([None, 0, 1.5, b"bytes", ["list"], object()])
# Controls, surrogates, and spaces that Python holds for unprintable.
TEXT = st.text(
    st.sampled_from("aZ 9字，\n\t\r\u3000\xa0\x00\x1f\x7f\x85\ud800\udfff😀|%"), max_size=6
)
MOBILE = st.sampled_from(
    [FIRST, "0912345678", "0912-345-678", "886912345678", ABROAD, "+886212345678", "", "1", "字"]
)
WHEN: st.SearchStrategy[Any] = st.sampled_from(
    [None, None, SOON, SOON.replace(tzinfo=None), datetime.min.replace(tzinfo=UTC), "now"]
)


def mostly(sound: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(*[sound] * 7, odd)


MORE: dict[str, st.SearchStrategy[Any]] = {
    "name": mostly(st.just(""), TEXT | ODD),
    "email": mostly(st.just(""), TEXT | ODD),
    "reference": mostly(st.just(""), TEXT | ODD),
    "send_at": mostly(st.none(), WHEN),
}
FIELDS: st.SearchStrategy[Any] = st.lists(mostly(TEXT, ODD), max_size=6)


@pytest.mark.parametrize("options", [SMS, MMS], ids=["sms", "mms"])
@given(data=st.data())
def test_quick_and_close_look_agree_on_texts(options: Options, data: st.DataObject) -> None:
    """What passes when looked at together is what the rules make of each; else it never passes."""
    one = st.builds(PersonalizedMessage, mostly(MOBILE, ODD), mostly(TEXT, ODD), **MORE)
    messages = data.draw(st.lists(one, max_size=9))

    def closely(problems: Problems, name: str, message: PersonalizedMessage) -> ParamRecipient:
        return requests.own_text(problems, name, message, options, requests.utc_now())

    check_agrees(messages, closely, personal(options=options).check(messages, 7))


@pytest.mark.parametrize("options", [SMS, MMS], ids=["sms", "mms"])
@pytest.mark.parametrize("template", ["hello", "%field1%", "%field2% and %field5%"])
@given(data=st.data())
def test_quick_and_close_look_agree_on_fields(
    template: str, options: Options, data: st.DataObject
) -> None:
    """Likewise for a template's fields, in any kind of sequence."""
    fields = mostly(FIELDS | FIELDS.map(tuple), FIELDS.map(deque) | ODD | TEXT)
    one = st.builds(TemplateRecipient, mostly(MOBILE, ODD), fields, **MORE)
    recipients = data.draw(st.lists(one, max_size=9))
    form = Template.checked(Problems(), template)

    def closely(problems: Problems, name: str, recipient: TemplateRecipient) -> ParamRecipient:
        return requests.own_fields(problems, name, recipient, form, options, requests.utc_now())

    check_agrees(recipients, closely, personal(template, options).check(recipients, 7))


def check_agrees(
    items: Sequence[Any],
    closely: Callable[[Problems, str, Any], object],
    checked: Sequence[object],
    operation: str = "sms.send_bulk",
    name: str = "messages",
) -> None:
    assert len(items) == len(checked)
    for position, (item, found) in enumerate(zip(items, checked, strict=True), 7):
        problems = Problems()
        expected = closely(problems, f"{name}[{position}]", item)
        if problems.found:
            assert isinstance(found, InvalidRequest)
            assert (tuple(problems.found), operation) == (found.problems, found.operation)
        else:
            assert expected == found


@given(numbers=st.lists(mostly(MOBILE, ODD | st.just("0912345678\n0912345678")), max_size=9))
def test_quick_and_close_look_agree_on_mobiles(numbers: list[Any]) -> None:
    """A broadcast's mobiles are brought into canonical form, or refused by their position."""
    checked = broadcast().check(numbers, 7)
    check_agrees(numbers, Problems.mobile, checked, "sms.broadcast", "to")


def test_one_odd_item_does_not_slow_the_others() -> None:
    """It is found by halving: the others are checked together, a few times."""
    looks: list[int] = []

    def at_once(items: Sequence[int]) -> list[str] | None:
        looks.append(len(items))
        return None if -1 in items else [str(item) for item in items]

    def closely(item: int, position: int) -> str:
        return f"closely {item} at {position}"

    items = [*range(100), -1, *range(27)]
    assert by_halves(at_once, closely)(items, 1000) == [
        *map(str, range(100)),
        "closely -1 at 1100",
        *map(str, range(27)),
    ]
    assert sum(looks) < 4 * len(items)


@given(text=st.text(st.characters(exclude_categories=[])))
def test_the_quick_look_at_a_text_is_the_rule(text: str) -> None:
    """`is_sendable` and `is_line` say of every character what `Problems` says."""
    problems = Problems()
    problems.text("text", text)
    assert is_sendable(text) == (not problems.found)
    problems = Problems()
    problems.line("line", text)
    assert is_line(text) == (not problems.found)


@pytest.mark.parametrize("name", ["name", "email", "reference"])
@pytest.mark.parametrize("char", ["\t", "\n", "\r", "\x85"])
def test_a_line_end_where_none_may_stand_is_its_own_row(name: str, char: str) -> None:
    """One person's bad name, mail or reference refuses that person alone, among many at once."""
    good = PersonalizedMessage(FIRST, "two\nlines", name="王", email="a@b.c", reference="")
    wrong: dict[str, Any] = {name: f"a{char}"}
    bad, recipient = evolve(good, **wrong), TemplateRecipient(FIRST, ["two\nlines"], **wrong)
    for plan, items in (
        (personal(), [*[good] * 5, bad, *[good] * 5]),
        (personal("%field1%"), [recipient]),
    ):
        refused = [each for each in plan.check(items, 0) if isinstance(each, InvalidRequest)]
        assert len(refused) == 1
        assert f"{name}: holds a character that can't be sent" in str(refused[0])


@pytest.mark.parametrize(
    ("template", "item", "said"),
    [
        (None, TemplateRecipient(FIRST, ["a"]), "a PersonalizedMessage, not TemplateRecipient"),
        ("%field1%", PersonalizedMessage(FIRST, "a"), "a TemplateRecipient, not Personalized"),
        (None, FIRST, "a PersonalizedMessage, not str"),
        (None, None, "a PersonalizedMessage, not NoneType"),
    ],
)
def test_an_item_of_another_kind_is_refused(template: object, item: object, said: str) -> None:
    """Without `template` there are texts, with it fields; anything else is refused, named."""
    (found,) = personal(template).check([item], 3)
    assert isinstance(found, InvalidRequest)
    assert f"messages[3]: must be {said}" in found.problems[0]


def test_a_reference_is_unique_in_a_request() -> None:
    """The key is the reference without the space around it; without one there is none."""
    plan = personal()
    for reference, key in [("a", "a"), (" a ", "a"), ("", ""), ("  ", "")]:
        (ready,) = plan.check([PersonalizedMessage(FIRST, "text", reference=reference)], 0)
        assert key == plan.key(ready)


def test_a_mobile_is_unique_in_a_broadcast_request() -> None:
    """The key is the canonical mobile: one number in two spellings is the same number."""
    plan = broadcast()
    for number in ("0912345678", "+886912345678"):
        (ready,) = plan.check([number], 0)
        assert not isinstance(ready, InvalidRequest)
        assert plan.key(ready) == ready == "+886912345678"


SENDABLE = st.text(st.characters(exclude_categories=["Cs"]))
TIME = st.sampled_from(["", "20260131120000"])
ROW = st.tuples(st.just(FIRST), SENDABLE, SENDABLE, SENDABLE, TIME, SENDABLE)


@given(rows=st.lists(ROW, max_size=5))
def test_rows_written_by_hand_are_json(rows: list[ParamRecipient]) -> None:
    """The body is byte for byte what the json module makes of the same fields."""
    message = ParamMessage(None, tuple(rows), "主旨", 1440, None)
    expected = {
        "SB": "主旨",
        "RETRYTIME": 1440,
        "RecipientDataList": [
            {
                "Name": name,
                "Mobile": mobile,
                "Email": email,
                "SendTime": send_at,
                "Param": param,
                "Mr": reference,
            }
            for mobile, param, name, email, send_at, reference in rows
        ],
    }
    body = endpoints.SEND_PERSONALIZED.request(message).body
    assert json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode() == body


# --- what it will probably cost ---


def test_texts_are_priced_one_by_one() -> None:
    """A text costs by its own length, and three times as much abroad."""
    plan = personal()
    messages = [
        PersonalizedMessage(FIRST, "a"),
        PersonalizedMessage(FIRST, "字" * 71),
        PersonalizedMessage(ABROAD, "a"),
    ]
    assert plan.points(plan.check(messages, 0)) == 1 + 2 + 3


def test_fields_are_priced_as_people_read_them() -> None:
    """A template costs by the text with the fields filled in."""
    plan = personal("%field1%%field1%")
    recipients = [TemplateRecipient(FIRST, ["a"]), TemplateRecipient(FIRST, ["字" * 36])]
    assert plan.points(plan.check(recipients, 0)) == 1 + 2


def test_an_event_id_makes_texts_longer() -> None:
    """Its link of 17 characters counts."""
    options = evolve(SMS, event_id="-1")
    plan = personal(options=options)
    assert plan.points(plan.check([PersonalizedMessage(FIRST, "字" * 60)], 0)) == 2


def test_pictures_are_priced_by_size() -> None:
    """An MMS costs 3 points up to 50 KB with its text, and 5 beyond."""
    large = Attachment(b"GIF89a" + bytes(60_000), "gif")
    for attachment, points in [(PICTURE, 3), (large, 5)]:
        plan = personal(options=evolve(MMS, attachment=attachment))
        group = plan.check([PersonalizedMessage(n, "a") for n in (FIRST, SECOND)], 0)
        assert plan.points(group) == 2 * points


def test_a_broadcast_is_priced_by_its_text() -> None:
    """Its one text counts for each mobile, three times abroad."""
    assert broadcast("字" * 71).points((FIRST, SECOND, ABROAD)) == 2 + 2 + 6


# --- options ---


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("batch_size", 0, "batch_size: must be a whole number from 1"),
        ("batch_size", 1.5, "batch_size: must be a whole number from 1"),
        ("max_in_flight", -1, "max_in_flight: must be a whole number from 1"),
        ("max_in_flight", True, "max_in_flight: must be a whole number from 1"),
        ("max_recipients", 0, "max_recipients: must be a whole number from 1"),
        ("max_points", 0, "max_points: must be above zero"),
        ("max_points", Decimal(-1), "max_points: must be above zero"),
        ("max_points", Decimal("NaN"), "max_points: must be above zero"),
        ("max_points", Decimal("sNaN"), "max_points: must be above zero"),
        ("max_points", float("nan"), "max_points: must be above zero"),
        ("max_points", "100", "max_points: must be above zero"),
        ("max_points", True, "max_points: must be above zero"),
        ("progress", "print", "progress: must be a plain function"),
        ("progress", nobody, "progress: must be a plain function"),
    ],
)
@pytest.mark.parametrize("plan", [personal, broadcast], ids=["own", "broadcast"])
def test_wrong_options_are_refused(
    plan: Callable[..., object], option: str, value: Any, problem: str
) -> None:
    """What is wrong for all is raised at once, by the call itself."""
    with pytest.raises(InvalidRequest) as refused:
        plan(limits=evolve(LIMITS, **{option: value}))
    assert (problem,) == refused.value.problems


def test_all_problems_are_told_at_once() -> None:
    """Limits, template, text and options are checked together."""
    limits = Limits(0, 0, 0, 0)
    with pytest.raises(InvalidRequest) as refused:
        personal("%field9%", evolve(SMS, subject=None, valid_for=1), limits)
    assert len(refused.value.problems) == 4 + 1 + 2
    with pytest.raises(InvalidRequest) as refused:
        broadcast("", evolve(SMS, event_id=""), limits)
    assert len(refused.value.problems) == 4 + 2


@pytest.mark.parametrize("points", [1, 0.5, Decimal("0.01"), float("inf"), Decimal("Infinity")])
def test_points_may_be_any_number(points: Decimal | float) -> None:
    """`max_points` is kept as a Decimal, a float by what it shows."""
    plan = personal(limits=evolve(LIMITS, max_points=points))
    assert Decimal(str(points)) == plan.max_points


def test_options_are_handed_on() -> None:
    """What a caller says is what the run goes by."""

    def progress(_summary: BulkSummary) -> None: ...

    plan = broadcast(limits=Limits(7, 3, max_recipients=9, progress=progress))
    told = (plan.batch_size, plan.max_in_flight, plan.max_points, plan.max_recipients)
    assert told == (7, 3, None, 9)
    assert plan.progress is progress


class Old:
    """What can only be iterated over by number, as nobody writes it any more."""

    def __getitem__(self, position: int) -> PersonalizedMessage:
        raise IndexError(position)


@pytest.mark.parametrize(
    "source", [None, 1, "text", b"bytes", PersonalizedMessage(FIRST, "a"), Old(), object]
)
def test_a_source_is_iterable(source: Any) -> None:
    """What is no iterable or async iterable, or a text, is refused at once."""
    session = Every8DSession("uid", "password")
    with pytest.raises(InvalidRequest, match="recipients: must be an iterable"):
        session.sms.send_bulk(source)
    with pytest.raises(InvalidRequest, match="recipients: must be an iterable"):
        session.mms.send_bulk(source, PICTURE, subject="主旨")
    if not isinstance(source, str):
        with pytest.raises(InvalidRequest, match="recipients: must be an iterable"):
            session.sms.broadcast("text", source)
