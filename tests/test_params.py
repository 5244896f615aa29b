"""Own texts and templates: everything is checked before the wire, and all problems come at once."""

import json
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from every8d_async import (
    Every8DSession,
    InvalidRequest,
    PersonalizedMessage,
    TemplateRecipient,
)
from every8d_async._requests import Options, ParamMessage, personalized, template
from tests import kit
from tests.kit import ABROAD, FIRST, NOW, PICTURE, SECOND, golden

OPTIONS = Options(subject="", valid_for=None, event_id=None)
OWN, TEMPLATE = "sms.send_personalized", "sms.send_template"
FIVE = ["1", "2", "3", "4", "5"]


def own(messages: object, options: Options = OPTIONS) -> ParamMessage:
    return personalized(OWN, messages, options, now=lambda: NOW)


def filled(text: object, recipients: object, options: Options = OPTIONS) -> ParamMessage:
    return template(TEMPLATE, text, recipients, options, now=lambda: NOW)


def problems(check: Callable[[], object]) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        check()
    assert caught.value.sent is False
    return list(caught.value.problems)


# --- what goes out ---


def test_a_bare_message() -> None:
    """What is not given goes out as an empty text: all six keys are always there."""
    (recipient,) = own([PersonalizedMessage("0900000001", "hello")]).recipients
    assert recipient == (FIRST, "hello", "", "", "", "")


def test_a_full_message() -> None:
    """Name, mail, time and reference go out as they are; the time in Taipei."""
    message = PersonalizedMessage(
        "886-900-000-001",
        "hello",
        name="王小明",
        email="wang@example.com",
        send_at=datetime(2026, 12, 31, 20, 0, 30, tzinfo=UTC),
        reference="order 5/1",
    )
    (recipient,) = own([message]).recipients
    expected = (FIRST, "hello", "王小明", "wang@example.com", "20270101040030", "order 5/1")
    assert expected == recipient


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ([], "||||"),
        (["a"], "a||||"),
        (["a", "b"], "a|b|||"),
        (FIVE, "1|2|3|4|5"),
        (["", "", "c"], "||c||"),
        (["", "", "", "", ""], "||||"),
        (("a\tb\r\nc", "%field1%"), "a\tb\r\nc|%field1%|||"),
        ((field for field in "ab"), "a|b|||"),
    ],
    ids=["none", "one", "two", "five", "empty ones", "five empty", "lines", "generator"],
)
def test_four_separators_always(fields: Any, param: str) -> None:
    """Fewer would shift what follows: five fields go out, empty where none was given."""
    message = filled("text", [TemplateRecipient(FIRST, fields)])
    assert [param] == [param for _, param, *_ in message.recipients]


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("no field", 0),
        ("%field1%", 1),
        ("%field2%", 2),
        ("%field5% and %field1%", 5),
        ("%field1%%field1%", 1),
        ("100% %field1 %field% field1% %Field1%", 0),
        ("%%field3%%", 3),
    ],
)
def test_what_a_template_names(text: str, needed: int) -> None:
    """A recipient has at least as many fields as the highest that the template names."""
    filled(text, [TemplateRecipient(FIRST, FIVE[:needed])])
    if needed:
        found = problems(lambda: filled(text, [TemplateRecipient(FIRST, FIVE[: needed - 1])]))
        assert found == [
            f"recipients[0].fields: has {needed - 1} of the {needed} that the template names"
        ]


@pytest.mark.parametrize(
    "text",
    ["%field0%", "%field6%", "%field10%", "%field01%", "%field00%", f"%field{'9' * 5000}%",
     "%field1% %field6%"],
    ids=["0", "6", "10", "01", "00", "without end", "1 and 6"],
)  # fmt: skip
def test_fields_that_no_template_has(text: str) -> None:
    """Any other number than 1 to 5 would go out to people as it stands."""
    expected = ["template: fields are %field1% to %field5%"]
    assert expected == problems(lambda: filled(text, [TemplateRecipient(FIRST, FIVE)]))


def test_a_mobile_may_repeat() -> None:
    """Two texts for one person are two messages; empty references may repeat, too."""
    twice = [PersonalizedMessage(FIRST, "a"), PersonalizedMessage(FIRST, "b")]
    assert len(own(twice).recipients) == 2


def test_foreign_numbers_may_get_texts() -> None:
    """An SMS may go abroad; whether the account's switch is on is the gateway's to say."""
    assert own([PersonalizedMessage(ABROAD, "a")]).recipients[0][0] == ABROAD


def generated(them: Iterable[Any]) -> Iterable[Any]:
    yield from them


@pytest.mark.parametrize("make", [list, tuple, iter, set, dict.fromkeys, generated])
def test_any_iterable_will_do(make: Callable[[Any], Iterable[Any]]) -> None:
    """Messages are read once, from whatever can be iterated over."""
    them = [PersonalizedMessage(FIRST, "a"), PersonalizedMessage(SECOND, "b")]
    assert {FIRST, SECOND} == {mobile for mobile, *_ in own(make(them)).recipients}


# --- what does not ---

TIME = "must be a datetime with a time zone, such as TAIPEI"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (PersonalizedMessage("12", "a"), ["mobile: '12…' is no mobile number"]),
        (PersonalizedMessage("+886212345678", "a"), ["mobile: '+8862…678' is no mobile number"]),
        (PersonalizedMessage(None, "a"), ["mobile: must be a text, not NoneType"]),  # type: ignore[arg-type]
        (PersonalizedMessage(FIRST, ""), ["text: must not be empty"]),
        (PersonalizedMessage(FIRST, b"a"), ["text: must be a text, not bytes"]),  # type: ignore[arg-type]
        (PersonalizedMessage(FIRST, "a\x00"),
         ["text: holds a character that can't be sent (U+0000) at position 1"]),
        (PersonalizedMessage(FIRST, "a", name="\x1b"),
         ["name: holds a character that can't be sent (U+001B) at position 0"]),
        (PersonalizedMessage(FIRST, "a", name="a\tb"),
         ["name: holds a character that can't be sent (U+0009) at position 1"]),
        (PersonalizedMessage(FIRST, "a", email="a@b.c\r\nBcc: d@e.f"),
         ["email: holds a character that can't be sent (U+000D) at position 5"]),
        (PersonalizedMessage(FIRST, "a", reference="k\n1"),
         ["reference: holds a character that can't be sent (U+000A) at position 1"]),
        (PersonalizedMessage(FIRST, "a", email=None),  # type: ignore[arg-type]
         ["email: must be a text, not NoneType"]),
        (PersonalizedMessage(FIRST, "a", reference=7),  # type: ignore[arg-type]
         ["reference: must be a text, not int"]),
        (PersonalizedMessage(FIRST, "a", send_at="tomorrow"),  # type: ignore[arg-type]
         [f"send_at: {TIME}"]),
        (PersonalizedMessage(FIRST, "a", send_at=datetime(2099, 1, 1)),  # noqa: DTZ001 - naive
         [f"send_at: {TIME}"]),
        (PersonalizedMessage(FIRST, "a", send_at=NOW - timedelta(seconds=61)),
         ["send_at: is more than 60 s past"]),
        (PersonalizedMessage(FIRST, "a", send_at=datetime.max.replace(tzinfo=UTC)),
         ["send_at: is too far away"]),
        (
            PersonalizedMessage("", "\x00", name="\x01", email="\x02", reference="\x03",
                                send_at=datetime(2099, 1, 1)),  # noqa: DTZ001 - naive
            [
                "text: holds a character that can't be sent (U+0000) at position 0",
                "mobile: '…' is no mobile number",
                "name: holds a character that can't be sent (U+0001) at position 0",
                "email: holds a character that can't be sent (U+0002) at position 0",
                f"send_at: {TIME}",
                "reference: holds a character that can't be sent (U+0003) at position 0",
            ],
        ),
    ],
    ids=[
        "bad mobile", "land line", "no mobile", "empty text", "bytes", "control", "bad name",
        "TAB in a name", "line end in a mail", "line end in a reference",
        "bad mail", "bad reference", "no time", "naive time", "past", "too far", "everything",
    ],
)  # fmt: skip
def test_bad_messages(message: PersonalizedMessage, expected: list[str]) -> None:
    """Each problem names message and field; values are shown masked, or not at all."""
    found = problems(lambda: own([PersonalizedMessage(FIRST, "fine"), message]))
    assert [f"messages[1].{problem}" for problem in expected] == found


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["a"], ["fields: has 1 of the 2 that the template names"]),
        ([], ["fields: has 0 of the 2 that the template names"]),
        ([*FIVE, "6"], ["fields: has 6, more than 5"]),
        (["a|b", "c"], ["fields[0]: can't hold |"]),
        (["a", "|"], ["fields[1]: can't hold |"]),
        (["a", None], ["fields[1]: must be a text, not NoneType"]),
        (["a", 5], ["fields[1]: must be a text, not int"]),
        (["a", "\ud83d"],
         ["fields[1]: holds a character that can't be sent (U+D83D) at position 0"]),
        ("ab", ["fields: must be an iterable, not str",
                "fields: has 0 of the 2 that the template names"]),
        (None, ["fields: must be an iterable, not NoneType",
                "fields: has 0 of the 2 that the template names"]),
        (
            ["|", 7, "\x00", "a|b", "", ""],
            [
                "fields[1]: must be a text, not int",
                "fields[2]: holds a character that can't be sent (U+0000) at position 0",
                "fields[0]: can't hold |",
                "fields[3]: can't hold |",
                "fields: has 6, more than 5",
            ],
        ),
    ],
    ids=["one missing", "all missing", "six", "a bar", "a bar alone", "none", "a number",
         "half a character", "a text", "nothing", "everything"],
)  # fmt: skip
def test_bad_fields(fields: Any, expected: list[str]) -> None:
    """A field that the template names must be there, hold no bar, and be a text."""
    recipients = [TemplateRecipient(FIRST, ["a", "b"]), TemplateRecipient(SECOND, fields)]
    found = problems(lambda: filled("%field1%%field2%", recipients))
    assert [f"recipients[1].{problem}" for problem in expected] == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["template: must not be empty"]),
        (None, ["template: must be a text, not NoneType"]),
        ("\x00%field9%", [
            "template: holds a character that can't be sent (U+0000) at position 0",
            "template: fields are %field1% to %field5%",
        ]),
    ],
)  # fmt: skip
def test_bad_templates(text: Any, expected: list[str]) -> None:
    """A template is a text that people read."""
    assert expected == problems(lambda: filled(text, [TemplateRecipient(FIRST, [])]))


def test_references_are_unique() -> None:
    """MR must be unique in its request; each repetition is named with the first place."""
    messages = [
        PersonalizedMessage(FIRST, "a", reference="x"),
        PersonalizedMessage(FIRST, "b", reference=""),
        PersonalizedMessage(FIRST, "c", reference="y"),
        PersonalizedMessage(FIRST, "d", reference="x"),
        PersonalizedMessage(FIRST, "e", reference=""),
        PersonalizedMessage(FIRST, "f", reference="x"),
    ]
    assert problems(lambda: own(messages)) == [
        "messages[3].reference: is that of messages[0]; it must be unique in a request",
        "messages[5].reference: is that of messages[0]; it must be unique in a request",
    ]


def test_references_are_named_as_they_stand() -> None:
    """What is no message at all still counts in the positions of the others."""
    people: list[Any] = [
        "0900000001",
        TemplateRecipient(FIRST, [], reference="x"),
        None,
        TemplateRecipient(FIRST, [], reference="x"),
    ]
    assert problems(lambda: filled("a", people)) == [
        "recipients[0]: must be a TemplateRecipient, not str",
        "recipients[2]: must be a TemplateRecipient, not NoneType",
        "recipients[3].reference: is that of recipients[1]; it must be unique in a request",
    ]


NOT_MESSAGES: list[tuple[Any, list[str]]] = [
    ([], ["messages: holds nobody"]),
    ((), ["messages: holds nobody"]),
    (iter([]), ["messages: holds nobody"]),
    ({}, ["messages: holds nobody"]),
    (None, ["messages: must be an iterable, not NoneType"]),
    ("0900000001", ["messages: must be an iterable, not str"]),
    (b"0900000001", ["messages: must be an iterable, not bytes"]),
    (PersonalizedMessage(FIRST, "a"),
     ["messages: must be an iterable, not PersonalizedMessage"]),
    ([TemplateRecipient(FIRST, ["a"])],
     ["messages[0]: must be a PersonalizedMessage, not TemplateRecipient"]),
    ([("0900000001", "a"), {}],
     ["messages[0]: must be a PersonalizedMessage, not tuple",
      "messages[1]: must be a PersonalizedMessage, not dict"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    NOT_MESSAGES,
    ids=["list", "tuple", "iterator", "dict", "None", "text", "bytes", "one message",
         "another class", "two classes"],
)  # fmt: skip
def test_what_is_not_messages(given: Any, expected: list[str]) -> None:
    """Nobody, something else than an iterable, and other classes in it are problems."""
    assert expected == problems(lambda: own(given))


def test_an_async_iterable_is_none() -> None:
    """A request is made at once; streams are for bulk runs."""

    async def stream() -> Any:
        yield PersonalizedMessage(FIRST, "a")

    assert problems(lambda: own(stream())) == ["messages: must be an iterable, not async_generator"]


def test_what_a_generator_raises_comes_out() -> None:
    """An error of the caller's own source is the caller's own."""

    def broken() -> Any:
        yield PersonalizedMessage(FIRST, "a")
        raise KeyError("theirs")

    with pytest.raises(KeyError, match="theirs"):
        own(broken())


def test_everything_at_once() -> None:
    """Whatever is wrong, in whatever place, is told by one error."""
    bad = Options(subject="\x00", valid_for=timedelta(seconds=1), event_id="")
    found = problems(lambda: own(
        [
            PersonalizedMessage("1", "", reference="x"),
            7,
            PersonalizedMessage("2", "a", reference="x", send_at=NOW - timedelta(days=1)),
        ],
        bad,
    ))  # fmt: skip
    assert found == [
        "messages[0].text: must not be empty",
        "messages[0].mobile: '1…' is no mobile number",
        "messages[1]: must be a PersonalizedMessage, not int",
        "messages[2].mobile: '2…' is no mobile number",
        "messages[2].send_at: is more than 60 s past",
        "messages[2].reference: is that of messages[0]; it must be unique in a request",
        "subject: holds a character that can't be sent (U+0000) at position 0",
        "valid_for: must be a timedelta of whole minutes, one at least",
        "event_id: must not be empty",
    ]


# --- nothing reaches the wire ---

Call = Callable[[Every8DSession], Awaitable[object]]
REFUSED: dict[str, Call] = {
    "sms.send_personalized": lambda s: s.sms.send_personalized([]),
    "sms.send_template": lambda s: s.sms.send_template("%field6%", []),
    "sms.send_filtered": lambda s: s.sms.send_filtered("", [FIRST, FIRST]),
    "mms.send": lambda s: s.mms.send("a", ABROAD, PICTURE, subject=""),
    "mms.send_personalized": lambda s: s.mms.send_personalized([], PICTURE, subject=""),
    "mms.send_template": lambda s: s.mms.send_template("", [], PICTURE, subject=""),
    "sms.cancel": lambda s: s.sms.cancel(""),
    "mms.cancel": lambda s: s.mms.cancel("a\nb"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("auth", ["token", "password"])
@pytest.mark.parametrize("operation", REFUSED)
async def test_nothing_reaches_the_wire(operation: str, auth: str) -> None:
    """A bad argument is found before the login: the gateway hears nothing at all."""
    async with kit.session(kit.refusing(), auth=auth) as session:
        with pytest.raises(InvalidRequest) as caught:
            await REFUSED[operation](session)
    assert operation == caught.value.operation
    assert caught.value.sent is False


@pytest.mark.anyio
async def test_a_good_request_does() -> None:
    """With good arguments, six keys go out for each, whatever was given."""
    transport, requests = kit.recording(golden("param.json"))
    async with kit.session(transport, auth="password") as session:
        await session.sms.send_template(
            "%field1%", (TemplateRecipient(mobile, ["a"]) for mobile in (FIRST, SECOND))
        )
    (request,) = requests
    people = json.loads(request.content)["RecipientDataList"]
    assert [list(p) for p in people] == [["Name", "Mobile", "Email", "SendTime", "Param", "Mr"]] * 2
