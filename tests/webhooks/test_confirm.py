"""Confirming: what the gateway says counts, whatever was pushed."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from every8d_async import (
    Attachment,
    DeliveryReport,
    Every8DSession,
    PersonalizedMessage,
    Reply,
)
from every8d_async._pool import in_memory
from every8d_async.simulator import Simulator
from every8d_async.webhooks import (
    PushedReply,
    PushedReport,
    confirm,
    confirm_all,
    parse_report,
)

pytestmark = pytest.mark.anyio

FIRST, SECOND = "+886900000001", "+886900000002"
GIF = Attachment(b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,", "gif")


@pytest.fixture
def simulator() -> Simulator:
    return Simulator()


@pytest.fixture
async def session(simulator: Simulator) -> AsyncIterator[Every8DSession]:
    transport = in_memory(simulator)
    async with Every8DSession(
        "demo", "demo", site="http://localhost", transport=transport
    ) as session:
        yield session


def pushed(simulator: Simulator, encoding: Any = "utf-8") -> list[PushedReport | PushedReply]:
    pushes = simulator.take_pushes(encoding=encoding)
    return [parse_report(push.query, encoding=encoding) for push in pushes]


def report(batch_id: str, **more: str) -> PushedReport:
    fields = {"BatchID": batch_id, "RM": FIRST, "STATUS": "100", "MR": "1"} | more
    found = parse_report(fields)
    assert isinstance(found, PushedReport)
    return found


async def test_a_true_report(simulator: Simulator, session: Every8DSession) -> None:
    """What the gateway pushed, it confirms."""
    simulator.fail(FIRST, 103)
    receipt = await session.sms.send("hello", to=FIRST)
    simulator.deliver_all()
    (found,) = pushed(simulator)
    assert isinstance(found, PushedReport)
    row = await confirm(session, found)
    assert isinstance(row, DeliveryReport)
    assert (row.code, row.mobile, found.batch_id) == (103, FIRST, receipt.batch_id)


async def test_a_forged_status(simulator: Simulator, session: Every8DSession) -> None:
    """A forged status does not count: the gateway's own row comes back."""
    receipt = await session.sms.send("hello", to=FIRST)
    row = await confirm(session, report(receipt.batch_id))
    assert row is not None
    assert (row.code, row.is_final) == (0, False)


@pytest.mark.parametrize(
    "forged", [{"RM": SECOND}, {"MR": "7"}, {"BatchID": "made up"}, {"TYPE": "MMS"}]
)
async def test_a_forged_message(
    simulator: Simulator, session: Every8DSession, forged: dict[str, str]
) -> None:
    """Another number, reference, batch or kind is none that the gateway knows."""
    receipt = await session.sms.send("hello", to=FIRST)
    assert await confirm(session, report(**{"batch_id": receipt.batch_id} | forged)) is None


async def test_without_a_reference(simulator: Simulator, session: Every8DSession) -> None:
    """Where the report lacks MR, the number is enough."""
    receipt = await session.sms.send("hello", to=FIRST)
    assert await confirm(session, report(receipt.batch_id, MR="")) is not None


@pytest.mark.parametrize("kind", ["MMS", "mms", ""])
async def test_picture_messages(simulator: Simulator, session: Every8DSession, kind: str) -> None:
    """An MMS is asked for as such; where a report lacks TYPE, both kinds are."""
    receipt = await session.mms.send("hello", FIRST, GIF, subject="s")
    row = await confirm(session, report(receipt.batch_id, TYPE=kind))
    assert row is not None


async def test_replies(simulator: Simulator, session: Every8DSession) -> None:
    """A reply is confirmed by its text, and by its time where both have one."""
    receipt = await session.sms.send("hello", to=FIRST)
    simulator.deliver_all()
    simulator.add_reply(receipt.batch_id, FIRST, "好")
    _, found = pushed(simulator)
    assert isinstance(found, PushedReply)
    row = await confirm(session, found)
    assert isinstance(row, Reply)
    assert row.text == "好"
    fields = {"BatchID": receipt.batch_id, "RM": FIRST, "STATUS": "999"}
    assert await confirm(session, parse_report(fields | {"SM": "好"})) == row
    assert await confirm(session, parse_report(fields | {"SM": "不"})) is None
    late = {"SM": "好", "RT": "20200101000000"}
    assert await confirm(session, parse_report(fields | late)) is None


async def test_many_at_once(simulator: Simulator, session: Every8DSession) -> None:
    """Many reports of a batch take one reading of it; two of one number are told apart."""
    messages = [PersonalizedMessage(FIRST, "a", reference="x")]
    messages += [PersonalizedMessage(FIRST, "b", reference="y")]
    messages += [PersonalizedMessage(SECOND, "c", reference="z")]
    await session.sms.send_personalized(messages)
    await session.sms.send("hello", to=FIRST)
    simulator.advance(timedelta(seconds=5))
    reports = pushed(simulator)
    forged = report(reports[0].batch_id, MR="forged", TYPE="SMS")
    before = len(simulator.requests)
    rows = await confirm_all(session, [*reports, *reports, forged])
    assert len(simulator.requests) - before == 2
    references = {
        row.reference if isinstance(row, DeliveryReport) else None for row in rows.values()
    }
    assert references == {"x", "y", "z", "1", None}
    assert rows[forged.key] is None
    assert len(rows) == 5


@pytest.mark.parametrize("encoding", ["utf-8", "big5"])
async def test_characters_that_big5_lacks(
    simulator: Simulator, session: Every8DSession, encoding: str
) -> None:
    """BIG5 pushes other characters than were sent or answered; the gateway's own come back."""
    texts = ["好😀", "简体", "好\ue000 ", "  ", "plain", "?", "\u3000"]
    messages = [
        PersonalizedMessage(FIRST, "x", reference=f"{number} {text}")
        for number, text in enumerate(texts)
    ]
    receipt = await session.sms.send_personalized(messages)
    simulator.deliver_all()
    for text in texts:
        simulator.add_reply(receipt.batch_id, FIRST, text)
        simulator.advance(timedelta(seconds=1))
    found = pushed(simulator, encoding)
    rows = [row for row in (await confirm_all(session, found)).values() if row is not None]
    assert [row.text for row in rows if isinstance(row, Reply)] == texts
    references = [row.reference for row in rows if isinstance(row, DeliveryReport)]
    assert references == [message.reference.strip() for message in messages]


@pytest.mark.parametrize(
    ("pushed_text", "is_confirmed"),
    [
        ("好??", True),  # Windows counts it as two
        ("好\ufffd", True),  # what could not be read
        ("好", False),
        ("?", False),
        ("好?的", False),
        ("好👍", False),  # another character is no stand-in
    ],
)
async def test_what_stands_in_for_a_character(
    simulator: Simulator, session: Every8DSession, pushed_text: str, is_confirmed: bool
) -> None:
    """Question marks and U+FFFD stand in for what BIG5 lacks, and for nothing else."""
    receipt = await session.sms.send("hello", to=FIRST)
    simulator.deliver_all()
    simulator.add_reply(receipt.batch_id, FIRST, "好😀")
    fields = {"BatchID": receipt.batch_id, "RM": FIRST, "STATUS": "999", "SM": pushed_text}
    row = await confirm(session, parse_report(fields))
    assert (row is not None) == is_confirmed
