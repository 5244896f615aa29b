"""OpenTelemetry's instrumentation of httpx sees the session's requests, and no secret in them."""

from collections.abc import Iterator
from typing import Literal

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import AsyncOpenTelemetryTransport, HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from every8d_async import CallEvent, Every8DSession, OutcomeUnknown, RetryPolicy
from every8d_async.simulator import Account, HttpStatus, Refuse, Reset, Simulator

pytestmark = pytest.mark.anyio

UID, PASSWORD = "shop-uid", "a password"
TEXT, MOBILE = "您的驗證碼是 918273", "+886912345678"
QUICK = RetryPolicy(attempts=3, base=0.001)


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(spans: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return provider


@pytest.fixture
def instrumented(provider: TracerProvider) -> Iterator[None]:
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield
    instrumentor.uninstrument()


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(accounts=[Account(uid=UID, password=PASSWORD)])


@pytest.fixture
def site(simulator: Simulator) -> Iterator[str]:
    with simulator.serve() as url:
        yield url


def paths(spans: InMemorySpanExporter) -> list[str]:
    """Give the handler that each span's URL ends in, and forget the spans."""
    found = [
        str((span.attributes or {}).get("http.url", span.name))
        for span in spans.get_finished_spans()
    ]
    spans.clear()
    return [url.rpartition("/")[2] for url in found]


@pytest.mark.usefixtures("instrumented")
async def test_a_span_for_each_attempt(
    simulator: Simulator, site: str, spans: InMemorySpanExporter
) -> None:
    """The login, the send, and each try of a query have a span, without an AsyncClient."""
    async with Every8DSession(UID, PASSWORD, site=site, retry=QUICK) as session:
        await session.sms.send(TEXT, to=MOBILE)
        assert paths(spans) == ["ConnectionHandler.ashx", "SendSMS.ashx"]
        simulator.faults.add("GetCredit", HttpStatus(503), times=2)
        await session.credit()
        assert [
            dict(span.attributes or {})["http.status_code"] for span in spans.get_finished_spans()
        ] == [
            503,
            503,
            200,
        ]


async def test_a_pool_that_is_warm(
    site: str, spans: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """Connections that were there before are seen as well, until the instrumentation ends."""
    async with Every8DSession(UID, PASSWORD, site=site) as session:
        await session.credit()
        HTTPXClientInstrumentor().instrument(tracer_provider=provider)
        await session.credit()
        assert paths(spans) == ["GetCredit.ashx"]
        HTTPXClientInstrumentor().uninstrument()
        await session.credit()
        assert paths(spans) == []


@pytest.mark.usefixtures("instrumented")
async def test_parents_and_headers(
    simulator: Simulator,
    site: str,
    spans: InMemorySpanExporter,
    provider: TracerProvider,
    anyio_backend_name: str,
) -> None:
    """The caller's span is the parent; a login is its child on asyncio alone; the header leaves."""
    async with Every8DSession(UID, PASSWORD, site=site) as session:
        with provider.get_tracer("app").start_as_current_span("order") as order:
            await session.sms.send(TEXT, to=MOBILE)
    login, send, _ = spans.get_finished_spans()
    assert send.parent == order.get_span_context()
    assert login.parent == (order.get_span_context() if anyio_backend_name == "asyncio" else None)
    trace_id = f"{order.get_span_context().trace_id:032x}"
    assert trace_id in simulator.requests[-1].headers["traceparent"]


@pytest.mark.usefixtures("instrumented")
@pytest.mark.parametrize("auth", ["token", "password"])
async def test_no_secret_in_a_span(
    simulator: Simulator,
    site: str,
    spans: InMemorySpanExporter,
    auth: Literal["token", "password"],
) -> None:
    """Whatever becomes of a call, its spans hold no text, number, uid, password or token."""
    async with Every8DSession(UID, PASSWORD, site=site, auth=auth, retry=QUICK) as session:
        await session.credit()
        batch = (await session.sms.send(TEXT, to=MOBILE)).batch_id
        await session.sms.delivery_reports(batch).collect()
        for fault in (Reset(acts=True), HttpStatus(502), Refuse(-306, f"手機格式不符:{MOBILE}")):
            simulator.faults.add("SendSMS", fault)
            with pytest.raises(Exception, match=r"sms\.send"):
                await session.sms.send(TEXT, to=MOBILE)
    told = "".join(span.to_json() for span in spans.get_finished_spans())
    assert told.count("SendSMS.ashx") == 4
    assert "ReadError" in told
    sent = [
        request.headers.get("authorization", "Bearer -no token-") for request in simulator.requests
    ]
    tokens = {header.removeprefix("Bearer ") for header in sent}
    for secret in {UID, PASSWORD, PASSWORD.replace(" ", "+"), "918273", "912345678", *tokens}:
        assert secret not in told


@pytest.mark.usefixtures("instrumented")
async def test_an_event_says_what_became_of_the_call(
    simulator: Simulator, site: str, spans: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """An observer stands in the caller's span, and tells it what HTTP does not."""

    def tell(event: CallEvent) -> None:
        trace.get_current_span().add_event(
            event.operation, {"outcome": event.outcome, "unknown": event.unknown}
        )

    async with Every8DSession(UID, PASSWORD, site=site, observer=tell) as session:
        simulator.faults.add("SendSMS", Reset(acts=True))
        tracer = provider.get_tracer("app")
        with tracer.start_as_current_span("order"), pytest.raises(OutcomeUnknown):
            await session.sms.send(TEXT, to=MOBILE)
    order = next(span for span in spans.get_finished_spans() if span.name == "order")
    (told,) = [event for event in order.events if event.name == "sms.send"]
    assert dict(told.attributes or {}) == {"outcome": "OutcomeUnknown", "unknown": True}


async def test_a_transport_for_one_session(
    site: str, spans: InMemorySpanExporter, provider: TracerProvider
) -> None:
    """`transport=` takes the instrumented transport, for this session and no other."""
    transport = AsyncOpenTelemetryTransport(httpx.AsyncHTTPTransport(), tracer_provider=provider)
    async with Every8DSession(UID, PASSWORD, site=site, transport=transport) as session:
        await session.credit()
    assert paths(spans) == ["ConnectionHandler.ashx", "GetCredit.ashx"]
    async with Every8DSession(UID, PASSWORD, site=site) as session:
        await session.credit()
    assert paths(spans) == []
