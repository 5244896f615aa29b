"""
Bytes out, bytes in: the only IO, and the only place where httpx's errors are read.

An exchange ends in a `WireReply` or a `WireFailure`; it raises only for cancellation and for bugs.
What says whether a request left is the body itself: it notes when it is first read. The class of
an exception can't tell, on any transport.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Self, cast
from urllib.parse import urlsplit

import anyio
import httpx

from every8d_async._options import Timeout
from every8d_async._pool import Slots, Transport
from every8d_async._version import __version__
from every8d_async._wire import (
    CONNECT,
    READ,
    SEND,
    SLOT,
    Progress,
    WireFailure,
    WireReply,
    WireRequest,
)

_AGENT = f"every8d-async/{__version__}"
_API = "API21/HTTP/"
_OK = 200
# Under a transport with one connection these mean that no connection came about.
_UNCONNECTED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NETWORK = (httpx.HTTPError, httpx.StreamError, OSError, anyio.ClosedResourceError)


class _Body(httpx.AsyncByteStream):
    """The request's body, and the witness of whether it left."""

    def __init__(self, body: bytes, progress: Progress) -> None:
        self._body = body
        self._progress = progress

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Once(self._body, self._progress)


class _Once:
    # No async generator: one that a cancel leaves half-way is something trio warns of.

    def __init__(self, body: bytes, progress: Progress) -> None:
        self._rest = [body]
        self._progress = progress

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._progress.left = True
        if not self._rest:
            raise StopAsyncIteration
        return self._rest.pop()


class Exchange:
    """Sends requests to one site over the slots it is given."""

    def __init__(self, site: str, slots: Slots, timeout: Timeout) -> None:
        self._base = f"{site}/{_API}"
        # As bytes: httpx would encode them again for each request.
        self._head = [
            (b"Host", urlsplit(site).netloc.encode()),
            (b"User-Agent", _AGENT.encode()),
            (b"Accept", b"*/*"),
            (b"Accept-Encoding", b"identity"),
        ]
        self._slots = slots
        self._urls: dict[str, httpx.URL] = {}
        self._limits = {
            "connect": timeout.connect,
            "read": timeout.read,
            "write": timeout.write,
            "pool": timeout.connect,
        }

    async def send(
        self,
        request: WireRequest,
        progress: Progress,
        deadline: float,
        may_go: Callable[[], bool],
        leaving: Callable[[], Awaitable[None]] | None = None,
    ) -> WireReply | WireFailure | None:
        """
        Send a request, and read the reply until the deadline.

        `may_go` is asked once a slot is there, before anything leaves, since the wait for it may
        have been long; it may raise. Where it says no, nothing was done, and None comes back.
        `leaving` is waited for right before the first byte; where it raises, nothing left.
        """
        phase = SLOT
        reply: WireReply | WireFailure | None = None
        with anyio.CancelScope(deadline=deadline):
            try:
                slot = await self._slots.take()
            except OSError as error:  # the certificates can't be read, say
                return _failure(progress, CONNECT, type(error).__name__)
            phase = CONNECT
            sound = True
            try:
                if not may_go():
                    return None
                if leaving is not None:
                    await leaving()
                sound = False
                reply = await self._talk(slot, request, progress)
                # After any other answer than a whole one nobody knows whether more will follow.
                sound = isinstance(reply, WireReply) and reply.status == _OK and not reply.fault
            finally:
                await self._slots.give(slot, sound=sound)
        if reply is None:
            reply = _failure(progress, phase, "deadline")
        return reply

    async def aclose(self) -> None:
        """Close the connections."""
        await self._slots.aclose()

    async def _talk(
        self, slot: Transport, request: WireRequest, progress: Progress
    ) -> WireReply | WireFailure:
        try:
            response = await slot.handle_async_request(self._prepare(request, progress))
            progress.answered = True
            return await _read(response, request.reply_limit)
        except _UNCONNECTED as error:
            cause, connected = type(error).__name__, not self._slots.owned
        except _NETWORK as error:
            cause, connected = type(error).__name__, True
        except Exception as error:
            # Not the network's: a bug, and the caller's to see; but on a send that may have left,
            # what matters most is that it may have left.
            if not (request.once and progress.left):
                raise
            cause, connected = type(error).__name__, True
        progress.left = progress.left and connected
        return _failure(progress, CONNECT, cause)

    def _prepare(self, request: WireRequest, progress: Progress) -> httpx.Request:
        url = self._urls.get(request.path)
        if url is None:
            url = self._urls[request.path] = httpx.URL(self._base + request.path)
        headers = [
            *self._head,
            (b"Content-Type", request.content_type.encode()),
            (b"Content-Length", b"%d" % len(request.body)),
        ]
        if request.token is not None:
            headers.append((b"Authorization", b"Bearer " + request.token.encode()))
        # `stream=`, not `content=`: that would hand the bytes over without asking the witness.
        return httpx.Request(
            "POST",
            url,
            headers=headers,
            stream=_Body(request.body, progress),
            extensions={"timeout": self._limits},
        )


def _failure(progress: Progress, phase: str, cause: str) -> WireFailure:
    if progress.left:
        phase = READ if progress.answered else SEND
    return WireFailure(progress.left, phase, cause)


async def _read(response: httpx.Response, limit: int) -> WireReply:
    """Read a whole reply of at most `limit` bytes; of any other, only that it is unsound."""
    try:
        headers = {name.lower(): value for name, value in response.headers.items()}
        # Plain bytes were asked for: a small encoded body can unpack to gigabytes.
        if headers.get("content-encoding", "identity").lower() != "identity":
            return WireReply(response.status_code, headers, b"", fault="the reply is encoded")
        body = await _read_body(cast("httpx.AsyncByteStream", response.stream), limit)
    finally:
        with anyio.CancelScope(shield=True):
            await response.aclose()
    if body is None:
        fault = f"the reply is larger than {limit} bytes"
        return WireReply(response.status_code, headers, b"", fault=fault)
    delimited = (
        "content-length" in headers
        or "transfer-encoding" in headers
        # Its frames tell the end; our own connections don't speak it, a user's transport may.
        or response.extensions.get("http_version") == b"HTTP/2"
    )
    return WireReply(response.status_code, headers, body, delimited=delimited)


async def _read_body(stream: httpx.AsyncByteStream, limit: int) -> bytes | None:
    chunks: list[bytes] = []
    size = 0
    pieces = aiter(stream)
    async for chunk in pieces:
        size += len(chunk)
        if size > limit:
            await _end(pieces)
            return None
        chunks.append(chunk)
    return b"".join(chunks)


async def _end(pieces: AsyncIterator[bytes]) -> None:
    # A cancel ends all the generators underneath from within; after a break they would be
    # collected half-way, which trio warns of.
    with anyio.CancelScope() as scope:
        scope.cancel()
        async for _ in pieces:
            pass
