"""FastAPI, aiohttp's server and plain ASGI: the same receiver behind each, on real sockets."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import uvicorn
from aiohttp import web
from fastapi import FastAPI

from every8d_async import Every8DSession
from every8d_async.integrations.aiohttp import SESSION, cleanup_ctx, report_routes
from every8d_async.integrations.fastapi import SessionDep, lifespan, report_router
from every8d_async.simulator import Simulator
from every8d_async.webhooks import HideReports, ReceiverStats, asgi, parse_report
from tests.webhooks.kit import OLD, QUERY, TOKEN, Store

pytestmark = pytest.mark.anyio

Options = dict[str, Any]
Face = Callable[[Store, Options], AbstractAsyncContextManager[int]]
Answer = tuple[int, dict[str, str], bytes]
PATH = f"/reports/{TOKEN}"
GET = f"{PATH}?{QUERY.decode()}"


@pytest.fixture
def anyio_backend() -> str:
    """Both servers are asyncio's."""
    return "asyncio"


@asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncGenerator[int]:
    """Serve an ASGI application, and give its port."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.001)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def under_aiohttp(app: web.Application) -> AsyncGenerator[int]:
    """Serve an application of aiohttp's, and give its port."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def plain_face(store: Store, options: Options) -> AbstractAsyncContextManager[int]:
    return under_uvicorn(asgi(store, **options))


def fastapi_face(store: Store, options: Options) -> AbstractAsyncContextManager[int]:
    app = FastAPI()
    app.include_router(report_router(store, **options))
    return under_uvicorn(app)


def aiohttp_face(store: Store, options: Options) -> AbstractAsyncContextManager[int]:
    app = web.Application()
    app.add_routes(report_routes(store, **options))
    return under_aiohttp(app)


@pytest.fixture(params=[plain_face, fastapi_face, aiohttp_face])
def face(request: pytest.FixtureRequest) -> Face:
    found: Face = request.param
    return found


@pytest.fixture
def store() -> Store:
    return Store()


async def ask(port: int, method: str, target: str, body: bytes = b"") -> Answer:
    """Send a request as it stands, byte for byte."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    if method == "POST":
        head += (
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n"
        )
    writer.write(head.encode() + b"\r\n" + body)
    reply = await reader.read()
    writer.close()
    await writer.wait_closed()
    top, _, rest = reply.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), headers, rest


async def status(port: int, method: str, target: str, body: bytes = b"") -> int:
    return (await ask(port, method, target, body))[0]


async def test_what_is_stored_is_200(face: Face, store: Store) -> None:
    """GET and POST, with and without slashes, under both tokens: exactly 200, no redirect."""
    async with face(store, {"tokens": [TOKEN, OLD]}) as port:
        assert await status(port, "GET", GET) == 200
        assert await status(port, "GET", GET.replace("?", "/?")) == 200
        assert await status(port, "GET", GET.replace("?", "//?")) == 200
        assert await status(port, "POST", PATH, QUERY) == 200
        assert await status(port, "POST", f"/reports/{OLD}/", QUERY) == 200
    assert store.reports == [parse_report(QUERY)] * 5


async def test_big5_byte_for_byte(face: Face, store: Store) -> None:
    """What the framework makes of a query does not matter: the raw one is read."""
    data = QUERY.replace(b"secret+text", b"%a4@+%a4%40+%a4A")
    async with face(store, {"tokens": [TOKEN], "encoding": "big5"}) as port:
        assert await status(port, "GET", f"{PATH}?{data.decode()}") == 200
        assert await status(port, "POST", PATH, data) == 200
    assert [report.text for report in store.reports] == ["一 一 乙"] * 2


async def test_what_is_not_stored_is_not_200(face: Face, store: Store) -> None:
    """A failing handler, what is no report, what is too long: each has its status."""
    async with face(store, {"tokens": [TOKEN], "max_bytes": 300}) as port:
        assert await status(port, "GET", f"{PATH}?BatchID=1") == 400
        assert await status(port, "POST", PATH, b"STATUS=%ff") == 400
        assert await status(port, "GET", f"{GET}&x={'x' * 300}") == 413
        assert await status(port, "POST", PATH, b"x" * 301) == 413
        assert not store.reports
        store.error = RuntimeError("no")
        assert await status(port, "GET", GET) == 500
        assert await status(port, "POST", PATH, QUERY) == 500
        store.error = None
        assert await status(port, "GET", GET) == 200


async def test_a_large_body_in_many_parts(face: Face, store: Store) -> None:
    """A body of many packets is one report."""
    body = QUERY + b"&NAME=" + b"x" * 900_000
    async with face(store, {"tokens": [TOKEN], "max_bytes": 1_000_000}) as port:
        assert await status(port, "POST", PATH, body) == 200
    assert len(store.reports[0].name) == 900_000


async def test_strangers_and_probes(face: Face, store: Store) -> None:
    """A wrong token is 404 for all that is understood; HEAD tells that the path is right."""
    async with face(store, {"tokens": [TOKEN]}) as port:
        for method in ("GET", "POST", "HEAD"):
            assert await status(port, method, GET.replace(TOKEN, OLD)) == 404
            assert await status(port, method, "/reports/") == 404
        assert (await ask(port, "HEAD", PATH))[::2] == (200, b"")
        assert await status(port, "HEAD", GET) == 405
        code, headers, _ = await ask(port, "PUT", PATH)
        assert (code, headers["allow"]) == (405, "get, head, post")
    assert not store.reports


async def test_stats_of_ones_own(face: Face, store: Store) -> None:
    """What became of requests is counted where you look."""
    stats = ReceiverStats()
    async with face(store, {"tokens": [TOKEN], "stats": stats}) as port:
        await status(port, "GET", GET)
        await status(port, "GET", f"{PATH}?BatchID=1")
        await status(port, "GET", GET.replace(TOKEN, OLD))
    assert stats == ReceiverStats(stored=1, invalid=1, strangers=1)


@pytest.mark.parametrize("path", ["/hooks/sms", "/hooks/sms/"])
async def test_another_path(store: Store, path: str) -> None:
    """The path before the token is yours."""
    for face in (fastapi_face, aiohttp_face):
        async with face(store, {"tokens": [TOKEN], "path": path}) as port:
            assert await status(port, "GET", GET.replace("/reports", "/hooks/sms")) == 200


async def test_quarantine(face: Face, store: Store) -> None:
    """A quarantine is handed on."""
    kept: list[bytes] = []

    async def quarantine(data: bytes, _invalid: object) -> None:
        kept.append(data)

    async with face(store, {"tokens": [TOKEN], "quarantine": quarantine}) as port:
        assert await status(port, "POST", PATH, b"nonsense") == 200
    assert kept == [b"nonsense"]


# --- the circle: send, push, handler ---


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("encoding", ["utf-8", "big5"])
async def test_the_full_circle(face: Face, store: Store, method: Any, encoding: Any) -> None:
    """What is sent comes back as a pushed report, and an answer as a pushed reply."""
    simulator = Simulator()
    async with face(store, {"tokens": [TOKEN], "encoding": encoding}) as port:
        with simulator.serve() as site:
            simulator.push_to(f"http://127.0.0.1:{port}{PATH}", method=method, encoding=encoding)
            async with Every8DSession("demo", "demo", site=site) as session:
                receipt = await session.sms.send("世界 & so on", to="0900000001")
            simulator.deliver_all()
            assert await asyncio.to_thread(simulator.settle_pushes)
            simulator.add_reply(receipt.batch_id, "0900000001", "好的 +1")
            assert await asyncio.to_thread(simulator.settle_pushes)
    assert [push.tries for push in simulator.pushes] == [(200,), (200,)]
    assert [(each.batch_id, each.text, each.code) for each in store.reports] == [
        (receipt.batch_id, "世界 & so on", 100),
        (receipt.batch_id, "好的 +1", 999),
    ]


@pytest.fixture
def _hidden() -> Iterator[None]:
    hide = HideReports()
    hide.install()
    yield
    for name in ("uvicorn.access", "aiohttp.access", "aiohttp.server"):
        logging.getLogger(name).removeFilter(hide)


@pytest.mark.usefixtures("_hidden")
@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"GET {GET}&NAME={'%e4' * 3000} HTTP/1.1", b""),
        (f"GET {GET}&NAME=世界 HTTP/1.1", b""),
        (f"POST {PATH} HTTP/1.1\r\nTransfer-Encoding: chunked", b"zz " + QUERY + b"\r\n"),
        (f"POST {PATH} HTTP/1.1\r\nContent-Length: 9\r\nContent-Encoding: gzip", b"not gzip."),
    ],
    ids=["too long", "not escaped", "no chunk", "no gzip"],
)
async def test_what_a_server_cannot_read(
    face: Face, store: Store, head: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever judges it: stored, or not 200; no log shows the token, the number or the text."""
    caplog.set_level(logging.INFO)
    async with face(store, {"tokens": [TOKEN]}) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + b"\r\nHost: x\r\nConnection: close\r\n\r\n" + body)
        answer = (await reader.read()).split()[1]
        writer.close()
        await writer.wait_closed()
    assert (answer == b"200") == bool(store.reports)
    for secret in (TOKEN, "987654321", "secret"):
        assert secret not in caplog.text
    assert answer != b"500"


async def test_a_caller_that_hangs_up(
    face: Face, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a form is no report, and no error of ours: nothing is stored, nothing is shouted."""
    async with face(store, {"tokens": [TOKEN]}) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n"
        writer.write(head.encode() + QUERY)
        await writer.drain()
        assert await status(port, "HEAD", PATH) == 200  # it has come in, then
        writer.transport.abort()
        assert await status(port, "HEAD", PATH) == 200
    assert not store.reports
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- the session ---


@pytest.fixture
async def site() -> AsyncIterator[str]:
    with Simulator().serve() as url:
        yield url


async def test_fastapi_session(site: str) -> None:
    """One session for the application, there in endpoints, closed with it."""
    session = Every8DSession("demo", "demo", site=site)
    app = FastAPI(lifespan=lifespan(lambda: session))

    async def credit(held: SessionDep) -> bool:
        return held is session and await held.credit() == 10_000

    app.get("/credit")(credit)
    async with under_uvicorn(app) as port:
        assert (await ask(port, "GET", "/credit"))[::2] == (200, b"true")
        assert not session.is_closed
    assert session.is_closed


async def test_fastapi_without_lifespan(caplog: pytest.LogCaptureFixture) -> None:
    """Without a session the error says what to do."""
    app = FastAPI()

    async def credit(held: SessionDep) -> bool:
        return held.is_closed

    app.get("/credit")(credit)
    async with under_uvicorn(app) as port:
        assert await status(port, "GET", "/credit") == 500
    assert "FastAPI(lifespan=lifespan()) makes one" in caplog.text


async def test_aiohttp_session(site: str) -> None:
    """One session for the application, there under its key, closed with it."""
    session = Every8DSession("demo", "demo", site=site)
    app = web.Application()
    app.cleanup_ctx.append(cleanup_ctx(lambda: session))

    async def credit(request: web.Request) -> web.Response:
        assert request.app[SESSION] is session
        return web.Response(text=str(await request.app[SESSION].credit()))

    app.router.add_get("/credit", credit)
    async with under_aiohttp(app) as port:
        assert (await ask(port, "GET", "/credit"))[::2] == (200, b"10000.00")
        assert not session.is_closed
    assert session.is_closed


async def test_sessions_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is said the environment's variables count."""
    monkeypatch.setenv("EVERY8D_UID", "demo")
    monkeypatch.setenv("EVERY8D_PASSWORD", "demo")
    app = web.Application()
    app.cleanup_ctx.append(cleanup_ctx())
    async with under_aiohttp(app):
        assert not app[SESSION].is_closed
    api = FastAPI()
    async with lifespan()(api):
        assert not api.state.every8d_session.is_closed
