"""Receiving: exactly 200 once it is stored, and something else in every other case."""

import logging
from typing import Any

import pytest

from every8d_async.webhooks import (
    InvalidReport,
    Receiver,
    ReceiverStats,
    ReportApp,
    asgi,
    new_token,
    parse_report,
)
from tests.webhooks.kit import OLD, QUERY, TOKEN, Store, call, status

pytestmark = pytest.mark.anyio


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def app(store: Store) -> ReportApp:
    return asgi(store, tokens=[TOKEN])


async def test_get(app: ReportApp, store: Store) -> None:
    """A GET with a query is stored, and then answered with 200."""
    assert await call(app, query=QUERY) == (
        200,
        b"OK",
        {b"content-type": b"text/plain; charset=utf-8", b"content-length": b"2"},
    )
    assert store.reports == [parse_report(QUERY)]
    assert app.stats == ReceiverStats(stored=1)


@pytest.mark.parametrize(("query", "parts"), [(b"", [QUERY[:9], QUERY[9:]]), (QUERY, [b""])])
async def test_post(app: ReportApp, store: Store, query: bytes, parts: list[bytes]) -> None:
    """A POST has it in its form, or, with an empty one, in the query."""
    assert await status(app, "POST", query=query, parts=parts) == 200
    assert store.reports == [parse_report(QUERY)]


async def test_big5(store: Store) -> None:
    """The encoding of the gateway's settings is kept."""
    app = asgi(store, tokens=[TOKEN], encoding="big5")
    assert await status(app, query=QUERY.replace(b"secret+text", b"%a4%40")) == 200
    assert store.reports[0].text == "一"


@pytest.mark.parametrize("path", [f"/{TOKEN}", f"/a/b/{TOKEN}", f"/{TOKEN}/", f"/reports/{OLD}"])
async def test_paths(store: Store, path: str) -> None:
    """The token is the last segment, with or without a slash behind it; two may be valid."""
    app = asgi(store, tokens=(TOKEN, OLD))
    assert await status(app, path=path, query=QUERY) == 200


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "",
        "/reports",
        f"/{OLD}",
        f"/{TOKEN}x",
        f"/{TOKEN[:-1]}",
        f"/{TOKEN}/x",
        "/\ud800",
        "/é",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
async def test_strangers(app: ReportApp, store: Store, path: str, method: str) -> None:
    """Without the token all is 404, whatever else is right or wrong."""
    for query in (QUERY, b"", b"x" * 100_000):
        assert await status(app, method, path, query=query) == 404
    assert not store.reports
    assert app.stats == ReceiverStats(strangers=3)


async def test_head(app: ReportApp, store: Store) -> None:
    """HEAD tells that the path is right; a report in one is not stored, so it is not 200."""
    assert await call(app, "HEAD") == (
        200,
        b"",
        {b"content-type": b"text/plain; charset=utf-8", b"content-length": b"2"},
    )
    assert await status(app, "HEAD", query=QUERY) == 405
    assert not store.reports


async def test_other_methods(app: ReportApp) -> None:
    """Others are told which there are."""
    answer = await call(app, "PUT", query=QUERY)
    assert answer is not None
    assert (answer[0], answer[2][b"allow"]) == (405, b"GET, HEAD, POST")


@pytest.mark.parametrize(
    "error", [ValueError("+886987654321"), RuntimeError("secret text"), InvalidReport(["x"])]
)
async def test_a_failing_handler(
    app: ReportApp, store: Store, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a handler raises is 500, and the log says where, but holds no secret."""
    store.error = error
    with caplog.at_level(logging.DEBUG):
        assert await status(app, query=QUERY) == 500
    assert app.stats == ReceiverStats(failed=1)
    key = parse_report(QUERY).key
    assert f"report {key} was not stored: {type(error).__name__} in Store.__call__" in caplog.text
    for secret in (TOKEN, "987654321", "secret", "\nTraceback"):
        assert secret not in caplog.text
    store.error = None
    assert await status(app, query=QUERY) == 200


async def test_a_handler_that_is_no_coroutine(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that returns nothing to wait for is a failing one: nobody knows if it stored."""
    handler: Any = print
    assert await status(asgi(handler, tokens=[TOKEN]), query=QUERY) == 500


@pytest.mark.parametrize("data", [b"", b"BatchID=1&RM=%2b886987654321", QUERY + b"&RT=now"])
async def test_malformed(
    app: ReportApp, store: Store, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is no report is 400: nothing was stored, and the log says why, without its values."""
    assert await status(app, query=data) == 400
    assert app.stats == ReceiverStats(invalid=1)
    assert not store.reports
    assert "not a push report: " in caplog.text
    assert "987654321" not in caplog.text


async def test_quarantine(store: Store) -> None:
    """A quarantine keeps what can't be read, raw; then it is 200. When it fails, it is 500."""
    kept: list[tuple[bytes, InvalidReport]] = []
    full = False

    async def quarantine(data: bytes, invalid: InvalidReport) -> None:
        if full:
            raise OSError("no space left")
        kept.append((data, invalid))

    app = asgi(store, tokens=[TOKEN], quarantine=quarantine)
    assert await status(app, query=b"STATUS=%ff") == 200
    assert kept[0][0] == b"STATUS=%ff"
    assert "STATUS: is not utf-8" in kept[0][1].problems
    full = True
    assert await status(app, query=b"STATUS=%ff") == 500
    assert app.stats == ReceiverStats(invalid=2, quarantined=1, failed=1)


async def test_size_limits(store: Store) -> None:
    """A longer body is not read to its end, a longer query not parsed."""
    app = asgi(store, tokens=[TOKEN], max_bytes=len(QUERY))
    assert await status(app, query=QUERY) == 200
    assert await status(app, "POST", parts=[QUERY]) == 200
    assert await status(app, query=QUERY + b"&") == 413
    assert await status(app, "POST", parts=[QUERY, b"&", b"never read"]) == 413
    assert await status(app, "POST", query=QUERY + b"&") == 413
    assert app.stats == ReceiverStats(stored=2, too_long=3)


async def test_a_caller_that_hangs_up(app: ReportApp, store: Store) -> None:
    """Half a form is no report: nothing is stored, nothing answered."""
    assert await call(app, "POST", parts=[QUERY], hangs_up=True) is None
    assert not store.reports


@pytest.mark.parametrize(
    "tokens",
    [[], [TOKEN, OLD, new_token()], TOKEN, ["short"], ["with/slash/0123456789"], ["ünicode" * 4]],
)
async def test_tokens_that_will_not_do(store: Store, tokens: Any) -> None:
    """One token, or two while it is being changed; long, and made of what a path may hold."""
    with pytest.raises(ValueError, match="token"):
        asgi(store, tokens=tokens)


async def test_an_encoding_that_will_not_do(store: Store) -> None:
    """A wrong encoding is met when the receiver is made, not at the first report."""
    with pytest.raises(ValueError, match="encoding"):
        Receiver(store, tokens=[TOKEN], encoding="utf-16")


async def test_new_tokens(store: Store) -> None:
    """A new token will do, and is another each time."""
    first, second = new_token(), new_token()
    assert first != second
    assert Receiver(store, tokens=[first, second]).knows(second)


async def test_lifespan_and_websocket(app: ReportApp) -> None:
    """Servers may start and stop it; it is no websocket."""
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    await app({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
