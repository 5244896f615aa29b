"""
The shared httpx pool: transports of one connection each, behind a semaphore.

httpx's own pool is left wedged by cancelled requests and slows down with every waiting one. Here
each slot is a transport with a single connection. A slot whose request failed or was cancelled is
closed and replaced; the newest idle slot is taken first, and old ones are closed before the gateway
closes them, since a request on a connection that is just being closed is one of unknown outcome.
One that holds more than the reply is closed as well: httpx would take the rest for the next answer.
"""

import ssl
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Protocol, TypeAlias

import anyio
import httpx

Transport: TypeAlias = httpx.AsyncBaseTransport


class Slots(Protocol):
    """Where an exchange gets its transport, one caller at a time on each slot."""

    owned: bool

    async def take(self) -> Transport:
        """Wait for a free slot, and take it."""
        ...

    async def give(self, slot: Transport, *, sound: bool) -> None:
        """Give back a slot; it is not `sound` where its exchange failed or was cancelled."""
        ...

    async def aclose(self) -> None:
        """Close what is idle, and let nothing be kept from now on."""
        ...

    @property
    def waiting(self) -> int:
        """Tell how many wait for a slot."""
        ...

    @property
    def open(self) -> int:
        """Tell how many connections are in use or kept."""
        ...


class Pool:
    """At most `size` connections of our own."""

    owned = True

    def __init__(self, make: Callable[[], Transport], size: int, keepalive: float) -> None:
        self._make = make
        self._size = size
        self._keepalive = keepalive
        self._free = anyio.Semaphore(size, fast_acquire=True)
        self._idle: deque[tuple[Transport, float]] = deque()  # oldest first
        self._scrapped: list[Transport] = []
        self._closed = False

    async def take(self) -> Transport:
        """Wait for a free slot, and take the newest idle one or a new one."""
        await self._free.acquire()
        try:
            await self._sweep()
            return self._idle.pop()[0] if self._idle else self._make()
        except BaseException:
            self._free.release()
            raise

    async def give(self, slot: Transport, *, sound: bool) -> None:
        """Keep a sound slot for the next one; close any other: a new one will take its place."""
        try:
            if sound and not self._closed and not has_leftovers(slot):
                self._idle.append((slot, anyio.current_time()))
            else:
                self._scrapped.append(slot)
                await self._bury()
        finally:
            self._free.release()

    async def aclose(self) -> None:
        """Close what is idle, and let nothing be kept from now on."""
        self._closed = True
        self._scrapped += [slot for slot, _ in self._idle]
        self._idle.clear()
        await self._bury()

    @property
    def waiting(self) -> int:
        """Tell how many wait for a slot."""
        return self._free.statistics().tasks_waiting

    @property
    def open(self) -> int:
        """Tell how many connections are in use or kept."""
        return len(self._idle) + self._size - self._free.value

    async def _sweep(self) -> None:
        oldest = anyio.current_time() - self._keepalive
        while self._idle and self._idle[0][1] < oldest:
            self._scrapped.append(self._idle.popleft()[0])
        if self._scrapped:
            await self._bury()

    async def _bury(self) -> None:
        # The shield holds off scopes; a native cancel goes through it, and then the rest stays on
        # the list for whoever comes next.
        with anyio.CancelScope(shield=True):
            while self._scrapped:
                await self._scrapped.pop().aclose()


class Borrowed:
    """A transport of the user's: it serves all calls as it is, `size` at a time."""

    owned = False

    def __init__(self, transport: Transport, size: int) -> None:
        self._transport = transport
        self._size = size
        self._free = anyio.Semaphore(size, fast_acquire=True)
        self._closed = False

    async def take(self) -> Transport:
        """Wait for a turn."""
        await self._free.acquire()
        return self._transport

    async def give(self, slot: Transport, *, sound: bool) -> None:  # noqa: ARG002 - there is but one
        """Let the next one take its turn: what is not ours is not replaced."""
        self._free.release()

    async def aclose(self) -> None:
        """Close the transport, once."""
        if not self._closed:
            self._closed = True
            await self._transport.aclose()

    @property
    def waiting(self) -> int:
        """Tell how many wait for their turn."""
        return self._free.statistics().tasks_waiting

    @property
    def open(self) -> int:
        """Tell how many use the transport; what it keeps is its own business."""
        return self._size - self._free.value


class _Tracked(Transport):
    """
    A transport of one connection that closes it also where its TLS handshake was cancelled.

    httpcore forgets such a connection, which then stays open until the garbage collector comes by.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._stream: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["trace"] = self._note
        return await self._transport.handle_async_request(request)

    async def _note(self, event: str, info: dict[str, Any]) -> None:
        if event.endswith(".connect_tcp.complete"):
            self._stream = info["return_value"]

    async def aclose(self) -> None:
        await self._transport.aclose()
        if self._stream is not None:
            await self._stream.aclose()


# Private to httpx, httpcore and h11, as is what follows to anyio and trio; named here alone.
_CONNECTIONS, _INNER = attrgetter("_pool._connections"), attrgetter("_connection")
_BUFFERS = attrgetter("_h11_state._receive_buffer", "_network_stream._stream")


def has_leftovers(slot: Transport) -> bool:
    """
    Tell whether bytes wait in a slot's connection that came after the reply.

    httpcore looks for such at the socket alone, but they may have been read already: into h11's
    buffer, a TLS layer's, or anyio's queue. Where a name is gone nothing is found, and the tests
    that send too much over real sockets fail.
    """
    try:
        for connection in _CONNECTIONS(getattr(slot, "_transport", slot)):
            inner = _INNER(connection)
            parsed, stream = _BUFFERS(getattr(inner, "_connection", inner))  # a proxy's is deeper
            if parsed or _has_unread(stream):
                return True
    except AttributeError:
        pass
    return False


def _has_unread(stream: Any) -> bool:
    """Look into a stream of anyio's (whose `_protocol` is asyncio's) or of trio's."""
    while (tls := getattr(stream, "_ssl_object", None)) is not None:
        received = getattr(stream, "_incoming", None) or stream._read_bio  # noqa: SLF001 - see above
        if tls.pending() or received.pending:
            return True
        stream = stream.transport_stream
    protocol = getattr(stream, "_protocol", None)
    return protocol is not None and len(protocol.read_queue) > 0


def is_transport(value: object) -> bool:
    """Tell whether a value can serve as a transport."""
    return isinstance(value, httpx.AsyncBaseTransport)


def reaches_nobody(value: Transport | None) -> bool:
    """Tell whether a transport is one of httpx's own that use no network."""
    return isinstance(value, httpx.MockTransport | httpx.ASGITransport)


def is_stock(value: Transport | None) -> bool:
    """Tell whether requests go through httpx's own network transport, the one that respx mocks."""
    return value is None or isinstance(value, httpx.AsyncHTTPTransport)


def in_memory(app: Any) -> Transport:
    """Give a transport that hands requests to an ASGI application, without sockets."""
    return httpx.ASGITransport(app=app)


def one_connection(
    *, https: bool, keepalive: float, proxy: str | None, ssl_context: ssl.SSLContext | None
) -> Callable[[], Transport]:
    """Give a maker of transports with one connection each, all with the same TLS settings."""
    shared: list[ssl.SSLContext] = [] if ssl_context is None else [ssl_context]
    tls = https or (proxy or "").startswith("https:")

    def make() -> Transport:
        if not shared:
            # Loading certificates takes some 30 ms, so it is done once, and for https alone.
            shared.append(
                httpx.create_ssl_context() if tls else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            )
        transport = httpx.AsyncHTTPTransport(
            verify=shared[0],
            trust_env=False,
            http2=False,
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=keepalive
            ),
            proxy=None if proxy is None else httpx.Proxy(proxy, ssl_context=_tls_of(proxy, shared)),
        )
        return _Tracked(transport) if tls else transport

    return make


def _tls_of(proxy: str, shared: list[ssl.SSLContext]) -> ssl.SSLContext | None:
    return shared[0] if proxy.startswith("https:") else None
