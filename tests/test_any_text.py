"""No text is changed on its way out: every field of every send, byte by byte."""

import json
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import httpx
import pytest
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from every8d_async import (
    Every8DSession,
    InvalidRequest,
    PersonalizedMessage,
    TemplateRecipient,
)
from every8d_async.simulator import Account, Simulator
from tests import kit
from tests.kit import FIRST, PICTURE, PICTURES, SECOND

Call = Callable[[Every8DSession, str], Awaitable[object]]


def own(text: str = "a", **more: Any) -> list[PersonalizedMessage]:
    """Give two messages, of which the second is the one that is looked at."""
    return [PersonalizedMessage(SECOND, "first"), PersonalizedMessage(FIRST, text, **more)]


def filled(*fields: str, **more: Any) -> list[TemplateRecipient]:
    first = TemplateRecipient(SECOND, ["first"] * 5)
    return [first, TemplateRecipient(FIRST, fields or [""], **more)]


def mms(subject: str = "主旨") -> dict[str, Any]:
    return {"attachment": PICTURE, "subject": subject}


@frozen
class Field:
    """
    A text that a caller gives, and where it goes.

    Attributes:
        name: The argument, for test ids.
        wire: The field of the request; of the second recipient where it is one of theirs.
        call: Makes the call with a text.
        sent: The attribute of the simulator's message, if it keeps the text there as it came.
        most: The most characters it may have.
        one_line: Whether it is a name for the machine, so that it may hold no control at all.
    """

    name: str
    wire: str
    call: Call
    sent: str = ""
    most: int = 200
    one_line: bool = False


TEXTS_OF = [
    Field("sms.send text", "MSG", lambda s, t: s.sms.send(t, FIRST), "text"),
    Field("sms.send_filtered text", "MSG", lambda s, t: s.sms.send_filtered(t, FIRST), "text"),
    Field("sms.send_filtered dry run", "MSG",
          lambda s, t: s.sms.send_filtered(t, FIRST, dry_run=True)),
    Field("sms.send_personalized text", "Param",
          lambda s, t: s.sms.send_personalized(own(t)), "text"),
    Field("sms.send_template template", "MSG",
          lambda s, t: s.sms.send_template(t, filled()), "text"),
    Field("sms.send_template first field", "Param 0",
          lambda s, t: s.sms.send_template("%field1%.", filled(t))),
    Field("sms.send_template middle field", "Param 2",
          lambda s, t: s.sms.send_template("%field3%.", filled("", "", t))),
    Field("sms.send_template last field", "Param 4",
          lambda s, t: s.sms.send_template("a", filled("1", "2", "3", "4", t))),
    Field("mms.send text", "MSG", lambda s, t: s.mms.send(t, FIRST, **mms()), "text"),
    Field("mms.send_personalized text", "Param",
          lambda s, t: s.mms.send_personalized(own(t), **mms()), "text"),
    Field("mms.send_template template", "MSG",
          lambda s, t: s.mms.send_template(t, filled(), **mms()), "text"),
    Field("mms.send_template first field", "Param 0",
          lambda s, t: s.mms.send_template("%field1%.", filled(t), **mms())),
]  # fmt: skip
# What all sends take beside text and recipients, and what each person has.
OPTIONS: dict[str, Callable[[Every8DSession, dict[str, Any]], Awaitable[object]]] = {
    "sms.send": lambda s, o: s.sms.send("a", FIRST, **o),
    "sms.send_filtered": lambda s, o: s.sms.send_filtered("a", FIRST, **o),
    "sms.send_personalized": lambda s, o: s.sms.send_personalized(own(), **o),
    "sms.send_template": lambda s, o: s.sms.send_template("a", filled(), **o),
    "mms.send": lambda s, o: s.mms.send("a", FIRST, **(mms() | o)),
    "mms.send_personalized": lambda s, o: s.mms.send_personalized(own(), **(mms() | o)),
    "mms.send_template": lambda s, o: s.mms.send_template("a", filled(), **(mms() | o)),
}
PEOPLE: dict[str, Callable[[Every8DSession, dict[str, Any]], Awaitable[object]]] = {
    "sms.send_personalized": lambda s, o: s.sms.send_personalized(own(**o)),
    "sms.send_template": lambda s, o: s.sms.send_template("a", filled(**o)),
    "mms.send_personalized": lambda s, o: s.mms.send_personalized(own(**o), **mms()),
    "mms.send_template": lambda s, o: s.mms.send_template("a", filled(**o), **mms()),
}


def given_as(
    name: str, send: Callable[[Every8DSession, dict[str, Any]], Awaitable[object]]
) -> Call:
    return lambda session, text: send(session, {name: text})


FIELDS = [
    *TEXTS_OF,
    *(
        Field(f"{operation} subject", "SB", given_as("subject", send), "subject",
              most=15 if operation.startswith("mms") else 200)
        for operation, send in OPTIONS.items()
    ),
    *(
        Field(f"{operation} event_id", "EventID", given_as("event_id", send), one_line=True)
        for operation, send in OPTIONS.items()
    ),
    *(
        Field(f"{operation} {name}", wire, given_as(name, send), sent, one_line=True)
        for operation, send in PEOPLE.items()
        for name, wire, sent in (
            ("name", "Name", "name"), ("email", "Email", "email"), ("reference", "Mr", ""),
        )
    ),
    Field("sms.delivery_reports batch_id", "BID",
          lambda s, t: s.sms.delivery_reports(t).collect(), one_line=True),
    Field("mms.delivery_reports batch_id", "BID",
          lambda s, t: s.mms.delivery_reports(t).collect(), one_line=True),
    Field("sms.replies batch_id", "BID",
          lambda s, t: s.sms.replies(t).collect(), one_line=True),
]  # fmt: skip
fields = pytest.mark.parametrize("field", FIELDS, ids=[field.name for field in FIELDS])

SPECIAL = "&+%=;,\"\\'<>/?# \t\r\n|😀𠮷\u2028\u2029\ufeff\u200d\u0301"
TEXTS = st.text(
    st.sampled_from(SPECIAL) | st.characters(exclude_categories=["Cs", "Cc"]), min_size=1
)
CONTROLS = [chr(code) for code in (*range(32), *range(127, 160)) if chr(code) not in "\t\r\n"]
HALVES = ["\ud800", "\udbff", "\udc00", "\udfff"]


def undone(value: bytes) -> str:
    """Undo a form's spelling by hand: plus is a blank, per cent and two digits are a byte."""
    spaced = value.replace(b"+", b" ")
    return re.sub(rb"%([0-9A-F]{2})", lambda hex_: bytes([int(hex_[1], 16)]), spaced).decode()


def as_read(request: httpx.Request) -> dict[str, Any]:
    """Read a request's body by another way than it was written."""
    if request.headers["content-type"] == "application/json":
        plain: dict[str, Any] = json.loads(request.content.decode("utf-8"))
        return plain
    pairs = (pair.split(b"=") for pair in request.content.split(b"&"))
    return {name.decode("ascii"): undone(value) for name, value in pairs}


def found(plain: dict[str, Any], wire: str) -> str:
    """Find a field in a request; of the last recipient, if it is a recipient's."""
    name, _, position = wire.partition(" ")
    people = plain.get("RecipientDataList")
    value = str(people[-1][name] if people and name in people[-1] else plain[name])
    return value.split("|")[int(position)] if position else value


class Witness(httpx.AsyncBaseTransport):
    """Hands requests to a simulator, and keeps the last one."""

    def __init__(self) -> None:
        account = Account(uid="Test", password="XXX", credit=10**9, default_channel=True)
        self.simulator = Simulator(accounts=[account])
        self._inner = httpx.ASGITransport(app=self.simulator)
        self.request: httpx.Request | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.request = request
        return await self._inner.handle_async_request(request)


async def call(field: Field, text: str) -> Witness:
    witness = Witness()
    async with kit.session(witness, auth="password") as session:
        await field.call(session, text)
    return witness


@fields
@given(TEXTS)
@example("a+b&c=d%20e %41;\"\\'\t\r\n😀\u2028")
@settings(deadline=None, max_examples=50)
def test_no_text_is_changed(field: Field, text: str) -> None:
    """A text arrives as it was given, by our own reading of the bytes and by the simulator's."""
    text = text[: field.most]
    if field.one_line or field.wire.startswith("Param "):
        text = re.sub(r"[|\t\r\n]", "", text) or "x"
    witness = anyio.run(partial(call, field, text))
    assert witness.request is not None
    assert text == found(as_read(witness.request), field.wire)
    received = witness.simulator.requests[-1]
    assert text == found(dict(received.fields), field.wire)
    if field.sent:
        assert text == getattr(witness.simulator.sent[-1], field.sent)


@given(st.lists(TEXTS.map(lambda text: text.replace("|", "")), min_size=5, max_size=5))
@settings(deadline=None, max_examples=50)
def test_no_field_of_a_template_is_changed(texts: list[str]) -> None:
    """What the phone shows is the template with the very fields in it."""
    template = "%field5%/%field1%/%field2%/%field3%/%field4%/%field1%"

    async def send() -> str:
        witness = Witness()
        async with kit.session(witness) as session:
            await session.sms.send_template(template, [TemplateRecipient(FIRST, texts)])
        return witness.simulator.sent[-1].text

    one, two, three, four, five = texts
    assert f"{five}/{one}/{two}/{three}/{four}/{one}" == anyio.run(send)


@fields
@pytest.mark.anyio
async def test_controls_are_refused(field: Field) -> None:
    """
    Controls, and halves of characters, can't be sent: nothing goes out.

    TAB and line ends can, but not in what stands on a line of its own at the gateway.
    """
    more = ["\t", "\r", "\n"] if field.one_line else []
    session = kit.session(kit.refusing(), auth="password")
    for char in CONTROLS + HALVES + more:
        with pytest.raises(InvalidRequest):
            await field.call(session, f"a{char}b")


@fields
@pytest.mark.anyio
async def test_lines_are_kept(field: Field) -> None:
    """TAB, CR and LF are text: none is turned into another, wherever people read them."""
    if field.one_line:
        return
    for text in ("a\tb", "a\rb", "a\nb", "a\r\nb", "\n", "\r\n\r\n", "\ta\n"):
        witness = await call(field, text)
        assert witness.request is not None
        assert text == found(as_read(witness.request), field.wire)


@pytest.mark.anyio
@pytest.mark.parametrize("auth", ["token", "password"])
@pytest.mark.parametrize(
    "secret", ["a+b&c=d%20", "a b", "密碼", '"\\', "😀", "\u2028", "x" * 500], ids=ascii
)
async def test_no_password_is_changed(secret: str, auth: Any) -> None:
    """Uid and password arrive as they were given, in JSON and in forms."""
    simulator = Simulator(accounts=[Account(uid=secret, password=secret[::-1], credit=5)])
    async with Every8DSession(
        secret,
        secret[::-1],
        auth=auth,
        site="http://localhost",
        transport=httpx.ASGITransport(app=simulator),
    ) as session:
        assert await session.credit() == 5


@pytest.mark.anyio
@pytest.mark.parametrize("kind", PICTURES)
async def test_no_picture_is_changed(kind: Any) -> None:
    """A picture arrives byte by byte, in a form and in JSON."""
    witness = Witness()
    every_byte = PICTURES[kind] + bytes(range(256)) * 3
    picture = type(PICTURE)(every_byte, kind)
    async with kit.session(witness) as session:
        await session.mms.send("a", FIRST, picture, subject="b")
        await session.mms.send_personalized(own(), picture, subject="b")
    assert [every_byte] * 3 == [each.attachment for each in witness.simulator.sent]
