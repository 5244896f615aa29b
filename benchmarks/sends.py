"""
Ways to send a text to one number over HTTP: ours, and what people would use instead.

What is compared: we check the arguments, keep a token, see to it that nothing is sent twice, and
read the receipt into a model. httpx, httpx2 and aiohttp post the same form with the same headers of
authorization to the same server, and read the answer's text, unparsed. Twilio's SDK builds another
form (fewer fields), authorizes by name and password, and reads a larger JSON answer into its model;
its own address is replaced by the server's right above the socket.

Clients are made as their documents say, but for time limits: httpx and httpx2 give up a call after
five seconds, and their waiting callers would all fail before they are served.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from importlib import import_module
from typing import Any

from benchmarks.measure import Run, Slice, Stopwatch, at_once
from tests.certificate import trusting_context

Call = Callable[[], Awaitable[bool]]

PATIENCE = 300  # seconds; the worker's limit comes first
MOBILE, TEXT = "+886912345678", "您的驗證碼是 123456，請於五分鐘內輸入"
FIELDS = {"SB": "", "MSG": TEXT, "DEST": MOBILE, "ST": "", "RETRYTIME": "1440"}
HEADERS = {"Authorization": "Bearer 4bc40f5255fa4d89ac4950b394eca0f6"}
SEND = "API21/HTTP/SendSMS.ashx"


def _trust(url: str) -> ssl.SSLContext | None:
    return trusting_context() if url.startswith("https:") else None


@asynccontextmanager
async def ours(url: str, connections: int | None = None) -> AsyncGenerator[Call]:
    """Send through a session, as its defaults are but for the number of connections."""
    from every8d_async import Every8DSession  # noqa: PLC0415 - each process imports what it measures

    options: Any = {"ssl_context": _trust(url)}
    if connections is not None:
        options["max_connections"] = connections
    async with Every8DSession("uid", "password", site=url, **options) as session:

        async def call() -> bool:
            return (await session.sms.send(TEXT, MOBILE)).sent == 1

        yield call


@asynccontextmanager
async def httpx(url: str, module: str = "httpx", raised: bool = False) -> AsyncGenerator[Call]:
    """Post by httpx or httpx2, with their default limits or none."""
    library: Any = import_module(module)
    options: dict[str, Any] = {"timeout": PATIENCE}
    if raised:
        options["limits"] = library.Limits(max_connections=None, max_keepalive_connections=None)
    if trust := _trust(url):
        options["verify"] = trust
    async with library.AsyncClient(**options) as client:

        async def call() -> bool:
            response = await client.post(f"{url}/{SEND}", data=FIELDS, headers=HEADERS)
            return bool(response.text) and response.status_code == 200  # noqa: PLR2004

        yield call


@asynccontextmanager
async def aiohttp(url: str) -> AsyncGenerator[Call]:
    """Post by aiohttp."""
    library: Any = import_module("aiohttp")
    connector = library.TCPConnector(ssl=_trust(url) or True)
    async with library.ClientSession(connector=connector) as session:

        async def call() -> bool:
            async with session.post(f"{url}/{SEND}", data=FIELDS, headers=HEADERS) as response:
                return bool(await response.text()) and response.status == 200  # noqa: PLR2004

        yield call


@asynccontextmanager
async def twilio(url: str) -> AsyncGenerator[Call]:
    """Create a message by Twilio's SDK."""
    library: Any = import_module("aiohttp")
    http: Any = import_module("twilio.http.async_http_client").AsyncTwilioHttpClient(timeout=None)
    await http.close()
    connector = library.TCPConnector(ssl=_trust(url) or True)
    http.session = library.ClientSession(connector=connector, base_url=f"{url}/")
    public = http.request

    async def request(method: str, uri: str, **options: Any) -> Any:
        return await public(method, uri.removeprefix("https://api.twilio.com/"), **options)

    http.request = request
    client: Any = import_module("twilio.rest").Client("AC" + "0" * 32, "secret", http_client=http)
    async with http:

        async def call() -> bool:
            sent = await client.messages.create_async(to=MOBILE, from_="+15005550006", body=TEXT)
            return bool(sent.status == "queued")

        yield call


Client = Callable[..., AbstractAsyncContextManager[Call]]
CLIENTS: dict[str, Client] = {"ours": ours, "httpx": httpx, "aiohttp": aiohttp, "twilio": twilio}


@contextmanager
def steady(url: str, client: str, callers: int, **options: Any) -> Generator[Run]:
    """Keep one client, and let so many callers use it."""
    with asyncio.Runner() as runner, _opened(runner, CLIENTS[client](url, **options)) as call:
        yield lambda seconds: runner.run(at_once(callers, call, seconds))


@contextmanager
def _opened(runner: asyncio.Runner, client: AbstractAsyncContextManager[Call]) -> Generator[Call]:
    stack = AsyncExitStack()
    yield runner.run(stack.enter_async_context(client))
    runner.run(stack.aclose())


@contextmanager
def burst(url: str, client: str, callers: int, **options: Any) -> Generator[Run]:
    """Make a new client each time, and let so many callers come at once, once each."""

    async def run() -> Slice:
        running = Stopwatch()
        async with CLIENTS[client](url, **options) as call:
            done = await at_once(callers, call, 0)
            return running.slice(done.calls, done.failed, done.why)

    yield lambda _: asyncio.run(run())


class Ticks:
    """
    Knows the longest time for which the event loop did not come round.

    It is CPU time of the loop's thread: that another process has the core is not the loop's fault.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = time.thread_time()
        self._handle = self._loop.call_soon(self._tick)
        self._worst = 0.0

    def _look(self) -> None:
        now = time.thread_time()
        self._worst = max(self._worst, now - self._last)
        self._last = now

    def _tick(self) -> None:
        self._look()
        self._handle = self._loop.call_soon(self._tick)

    def stop(self) -> float:
        """Stop, and tell; what ran since the last tick stood in the way of the next one."""
        self._look()
        self._handle.cancel()
        return self._worst


@contextmanager
def stall(url: str, client: str, callers: int, **options: Any) -> Generator[Run]:
    """Send as in `steady`, and look how long the event loop stands still at most."""

    async def run(call: Call, seconds: float) -> Slice:
        ticks, running = Ticks(), Stopwatch()
        done = await at_once(callers, call, seconds)
        return running.slice(done.calls, done.failed, done.why, stall=ticks.stop())

    with asyncio.Runner() as runner, _opened(runner, CLIENTS[client](url, **options)) as call:
        yield lambda seconds: runner.run(run(call, seconds))
