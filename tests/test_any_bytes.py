"""Whatever a gateway answers, each operation ends in a result or in one of its own errors."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from functools import partial
from xml.sax.saxutils import escape, quoteattr

import anyio
import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from every8d_async import (
    Cancellation,
    Every8DError,
    Every8DSession,
    FilteredReceipt,
    GatewayRefused,
    GatewayUnavailable,
    MalformedReply,
    OutcomeUnknown,
    Page,
    PersonalizedMessage,
    Receipt,
    ResponseFormat,
    TemplateRecipient,
)
from every8d_async._convert import ReplyPage, ReportPage
from every8d_async._wire import BadReply, Refusal
from tests import kit
from tests.kit import ENDPOINTS, FIRST, GOLDEN, PICTURE, SECOND, golden

Call = Callable[[Every8DSession], Awaitable[object]]
JSON, TAB, XML = ResponseFormat.JSON, ResponseFormat.TAB, ResponseFormat.XML
BATCH = "c496f706-9b0f-4ff8-9644-9503edbb7064"
OWN, FIELDS = [PersonalizedMessage(FIRST, "a")], [TemplateRecipient(FIRST, [])]

# What a user calls, and what may come back.
SENDS: dict[str, tuple[Call, type]] = {
    "sms.send": (lambda s: s.sms.send("a", [FIRST, SECOND]), Receipt),
    "sms.send_filtered": (lambda s: s.sms.send_filtered("a", FIRST), FilteredReceipt),
    "sms.send_personalized": (lambda s: s.sms.send_personalized(OWN), Receipt),
    "sms.send_template": (lambda s: s.sms.send_template("a", FIELDS), Receipt),
    "mms.send": (lambda s: s.mms.send("a", FIRST, PICTURE, subject="b"), Receipt),
    "mms.send_personalized": (
        lambda s: s.mms.send_personalized(OWN, PICTURE, subject="b"),
        Receipt,
    ),
    "mms.send_template": (
        lambda s: s.mms.send_template("a", FIELDS, PICTURE, subject="b"),
        Receipt,
    ),
    "sms.cancel": (lambda s: s.sms.cancel(BATCH), Cancellation),
    "mms.cancel": (lambda s: s.mms.cancel(BATCH), Cancellation),
}


def first_reports(form: ResponseFormat) -> Call:
    return lambda s: s.sms.delivery_reports(BATCH, response_format=form).first_page()


def all_reports(form: ResponseFormat) -> Call:
    """Give what gets the same page again and again, where the gateway counts ever more rows."""
    return lambda s: s.mms.delivery_reports(BATCH, response_format=form).collect(20)


def all_replies(form: ResponseFormat) -> Call:
    return lambda s: s.sms.replies(BATCH, response_format=form).collect(20)


QUERIES: dict[str, tuple[Call, type]] = {
    "credit": (lambda s: s.credit(), Decimal),
    "dry run": (lambda s: s.sms.send_filtered("a", FIRST, dry_run=True), FilteredReceipt),
    "sms.delivery_reports, TAB": (first_reports(TAB), Page),
    "sms.delivery_reports, JSON": (first_reports(JSON), Page),
    "sms.delivery_reports, XML": (first_reports(XML), Page),
    "mms.delivery_reports, TAB": (all_reports(TAB), list),
    "mms.delivery_reports, JSON": (all_reports(JSON), list),
    "mms.delivery_reports, XML": (all_reports(XML), list),
    "sms.replies, TAB": (all_replies(TAB), list),
    "sms.replies, JSON": (all_replies(JSON), list),
}
GOLDENS = [golden(path.name) for path in sorted((GOLDEN / "replies").iterdir())]
TAGS = [
    "SMS", "MMS", "MOBILE", "STATUS", "COST", "CODE", "GET_DELIVERY_STATUS",
    "GET_DELIVERY_STATUS_COUNT", "DESCRIPTION", "SENT_TIME", "other",
]  # fmt: skip
VALUES = ["100", "-99", "1", FIRST, "", " ", "1.00", "2026/01/31 12:00:00", "9" * 5000]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def elements(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Give some elements, each with a COUNT or without, around something."""
    count = st.just("") | TEXTS.map(lambda text: f" COUNT={quoteattr(text)}")
    some = st.sampled_from(VALUES) | inner
    element = st.builds("<{0}{1}>{2}</{0}>".format, st.sampled_from(TAGS), count, some)
    return st.lists(element, max_size=4).map("".join)


def table(count: str, rows: list[list[str]], end: str) -> bytes:
    return (count + end + end.join("\t".join(row) for row in rows)).encode()


SOME_XML: st.SearchStrategy[bytes] = st.recursive(TEXTS.map(escape), elements, max_leaves=8).map(
    lambda inner: f"<SMS_LOG>{inner}</SMS_LOG>".encode()
)
SOME_TAB: st.SearchStrategy[bytes] = st.builds(
    table,
    st.sampled_from(["0", "1", "3", "9" * 15, "9" * 16, "-1", ""]),
    st.lists(st.lists(st.sampled_from(VALUES) | TEXTS, min_size=3, max_size=7), max_size=3),
    st.sampled_from(["\n", "\r\n"]),
)
PIECES = [b",", b"-", b'"', b"{", b"}", b"\\", b"\t", b"\n", b"\x00", b"\xff", b"<", b"9" * 5000]


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Take a golden reply, and put other bytes in some place of it."""
    body = draw(st.sampled_from(GOLDENS))
    start = draw(st.integers(0, len(body)))
    end = draw(st.integers(start, min(len(body), start + 40)))
    return body[:start] + draw(st.sampled_from(PIECES) | st.binary(max_size=4)) + body[end:]


BODIES: st.SearchStrategy[bytes] = st.one_of(
    mutations(), SOME_XML, SOME_TAB, st.sampled_from(GOLDENS), st.binary()
)


class Unannounced(httpx.AsyncByteStream):
    """A body whose length nobody told."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


async def outcome(call: Call, body: bytes, *, announced: bool) -> object:
    """Make a call to which this is the answer; give the result or the error."""

    def answer(_request: httpx.Request) -> httpx.Response:
        if announced:
            return httpx.Response(200, content=body)
        return httpx.Response(200, stream=Unannounced(body))

    async with kit.session(httpx.MockTransport(answer), auth="password") as session:
        try:
            return await call(session)
        except Every8DError as error:
            return error


def read(name: str, body: bytes) -> ReportPage | ReplyPage | Refusal | None:
    """Read a page; None where it is said what is wrong with it."""
    try:
        page: ReportPage | ReplyPage | Refusal = ENDPOINTS[name][0].parse(body)
    except BadReply as bad:
        return None if all(bad.problems) else Refusal(0, "no problem was named")
    return page


@given(SOME_XML)
@settings(deadline=None)
def test_any_xml(body: bytes) -> None:
    """Elements in any order and depth, with any text: a page, a refusal, or what is wrong."""
    for name in ("sms.delivery_reports, XML", "mms.delivery_reports, XML"):
        page = read(name, body)
        assert page is None or (page.code < 0 if isinstance(page, Refusal) else page.total >= 0)


@given(SOME_TAB)
@settings(deadline=None)
def test_any_table(body: bytes) -> None:
    """Cells in any number and order: a row for each line, a refusal, or what is wrong."""
    lines = re.sub(rb"(\r?\n)+\Z", b"", body).count(b"\n")
    for name in ("sms.delivery_reports, TAB", "sms.replies, TAB"):
        page = read(name, body)
        assert page is None or isinstance(page, Refusal) or len(page.rows) == lines


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", QUERIES)
@given(BODIES, st.booleans())
@example(b'{"SMS_COUNT": 999999999999999, "DATA": [{"MOBILE": "", "STATUS": 0}]}', True)
@example(b'{"Result": false, ",Status": "-99"}', False)
@settings(deadline=None, max_examples=60)
def test_any_answer_to_a_query(backend: str, name: str, body: bytes, announced: bool) -> None:
    """A query gives its result, is refused, or was answered badly; nothing is ever in doubt."""
    call, result = QUERIES[name]
    end = anyio.run(partial(outcome, call, body, announced=announced), backend=backend)
    assert isinstance(end, result | GatewayRefused | MalformedReply | GatewayUnavailable)
    if isinstance(end, GatewayUnavailable):
        assert end.cause.startswith(("-99", "a refusal without a code"))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", SENDS)
@given(BODIES, st.booleans())
@settings(deadline=None, max_examples=60)
def test_any_answer_to_a_send(backend: str, name: str, body: bytes, announced: bool) -> None:
    """A send or cancel gives its result, is refused, or nobody knows; it is never called broken."""
    call, result = SENDS[name]
    end = anyio.run(partial(outcome, call, body, announced=announced), backend=backend)
    assert isinstance(end, result | GatewayRefused | OutcomeUnknown)
    if isinstance(end, Receipt | FilteredReceipt) and end.sent:
        assert len(end.batch_id) == 36
        assert end.batch_id.encode() in body
